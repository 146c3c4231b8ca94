//! `calibrate`: the ranges that a net of 8-bit integers needs, and what it loses.

use serde_json::{Value, json};

use super::{
    args::{Args, Flag},
    command::{Command, Status},
    nets::{self, Loaded, Wish},
    table::Table,
    ui::Ui,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model_io::atomic_write,
    net::{Calibration, Net, Precision},
    number::g,
};

/// The row of the table.
pub(super) const COMMAND: Command = Command {
    name: "calibrate",
    about: "find the ranges for --precision=int8, and what bf16 and int8 lose",
    flags: &[
        nets::MODEL,
        nets::WEIGHTS,
        nets::ITERATIONS,
        Flag::value(
            "output",
            "FILE",
            "Write the ranges here (default: the weights' name with .calibration)",
        ),
        nets::LEVEL,
        nets::STAGE,
        nets::SEED,
        nets::EXACT,
        Flag::switch("json", "Print the table as JSON"),
    ],
    examples: "  cortado calibrate --model=train_val.prototxt --weights=final.caffemodel --iterations=100\n  cortado calibrate --model=train_val.prototxt --weights=final.caffemodel --output=int8.calibration",
    run,
};

/// An output in each precision: f32, bf16, int8.
struct Row {
    blob: String,
    values: usize,
    sums: [f64; 3],
    /// The largest distance of a value from that in f32.
    off: [f64; 3],
}

impl Row {
    fn means(&self) -> [f64; 3] {
        self.sums.map(|sum| sum / self.values.max(1) as f64)
    }
}

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let example = "calibrate --model=train_val.prototxt --weights=final.caffemodel";
    let iterations = args.count("iterations", 50)?;
    args.need("model", "a net's definition", example)?;
    args.need("weights", "the weights to calibrate for", example)?;
    let target = match (args.path("output"), args.paths("weights").pop()) {
        (Some(path), _) => path,
        (None, Some(weights)) => weights.with_extension("calibration"),
        (None, None) => "net.calibration".into(),
    };
    let table = observe(args, example, iterations, ui)?;
    let text = table.to_text()?;
    atomic_write(&target, |file| {
        use std::io::Write as _;
        file.write_all(text.as_bytes())
            .map_err(|e| Error::io("write", &target, &e))
    })?;
    let count = table.ranges().count();
    ui.log(
        "cortado:1",
        &format!("Ranges of {count} layers written to {}", target.display()),
    );
    ui.tell(&format!("ranges of {count} layers in {}", target.display()));
    let rows = compare(args, example, iterations, &table, ui)?;
    match args.switch("json") {
        true => ui.json(&report_json(&rows, iterations))?,
        false => ui.print(&report(&rows, iterations))?,
    }
    Ok(Status::Done)
}

fn load(args: &Args, precision: Precision<'_>, example: &str, ui: &mut Ui) -> Result<Loaded> {
    let wish = Wish::test(true);
    nets::load_as(args, &wish, precision, example, ui)
}

/// Runs the net in f32 and notes what its layers read.
fn observe(args: &Args, example: &str, iterations: usize, ui: &mut Ui) -> Result<Calibration> {
    let Loaded {
        mut net,
        mut params,
    } = load(args, Precision::F32, example, ui)?;
    if !net.inputs().is_empty() {
        return Err(Error::new(
            ErrorKind::Param,
            format!(
                "the net has inputs that nothing feeds here ({}), so there is nothing to calibrate on",
                net.inputs().join(", ")
            ),
        )
        .help("give the net that is tested: one whose data layer reads the database"));
    }
    net.calibrate();
    let bar = ui.bar("calibrate", iterations as u64);
    for _ in 0..iterations {
        net.forward(&mut params)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(net.calibration().cloned().unwrap_or_default())
}

/// Runs the nets of all precisions side by side over the same batches.
fn compare(
    args: &Args,
    example: &str,
    iterations: usize,
    table: &Calibration,
    ui: &mut Ui,
) -> Result<Vec<Row>> {
    let mut loaded = Vec::with_capacity(3);
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8(table)] {
        loaded.push(load(args, precision, example, ui)?);
    }
    let mut rows: Vec<Row> = Vec::new();
    let bar = ui.bar("compare", iterations as u64);
    for _ in 0..iterations {
        for Loaded { net, params } in &mut loaded {
            net.forward(params)?;
        }
        let nets: Vec<&Net> = loaded.iter().map(|l| &l.net).collect();
        add(&nets, &mut rows);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(rows)
}

/// Adds the outputs of one batch.
fn add(nets: &[&Net], rows: &mut Vec<Row>) {
    let Some((first, _)) = nets.split_first() else {
        return;
    };
    for (at, (blob, _, plain)) in first.output_values().enumerate() {
        if rows.len() <= at {
            rows.push(Row {
                blob: blob.to_owned(),
                values: 0,
                sums: [0.0; 3],
                off: [0.0; 3],
            });
        }
        let row = &mut rows[at];
        row.values += plain.data.len();
        for (i, net) in nets.iter().enumerate() {
            let Some((_, _, view)) = net.output_values().nth(at) else {
                continue;
            };
            for (&x, &want) in view.data.iter().zip(plain.data) {
                row.sums[i] += f64::from(x);
                row.off[i] = row.off[i].max(f64::from((x - want).abs()));
            }
        }
    }
}

/// [`report`] as JSON.
fn report_json(rows: &[Row], iterations: usize) -> Value {
    let outputs = rows.iter().map(|row| {
        let [f32, bf16, int8] = row.means();
        json!({
            "output": row.blob, "values": row.values, "f32": f32, "bf16": bf16, "int8": int8,
            "bf16_off": row.off[1], "int8_off": row.off[2],
        })
    });
    json!({ "iterations": iterations, "outputs": outputs.collect::<Vec<_>>() })
}

fn report(rows: &[Row], iterations: usize) -> String {
    let mut table = Table::new(
        1,
        &[
            "output", "values", "f32", "bf16", "int8", "bf16 off", "int8 off",
        ],
    );
    for row in rows {
        let [f32, bf16, int8] = row.means().map(g);
        table.row(vec![
            row.blob.clone(),
            row.values.to_string(),
            f32,
            bf16,
            int8,
            g(row.off[1]),
            g(row.off[2]),
        ]);
    }
    format!(
        "means over {iterations} batches; off: the largest distance of a value from that in f32\n{table}"
    )
}
