//! `summarize`: a net as a table: shapes, parameters, work, memory, receptive fields.

use serde_json::{Value, json};

use super::super::{
    args::{Args, Flag},
    command::{Command, Status},
    nets,
    table::Table,
    ui::Ui,
};
use crate::{
    anatomy::{Row, Summary, summary},
    error::Result,
    schema::Phase,
    tensor::Shape,
};

/// The row of the table.
pub(in crate::cli) const COMMAND: Command = Command {
    name: "summarize",
    about: "show a net as a table: shapes, parameters, multiply-adds, memory, receptive fields",
    flags: &[
        Flag::operand("net", "NET", "The net's definition, as --model"),
        nets::MODEL,
        nets::PHASE,
        nets::LEVEL,
        nets::STAGE,
        nets::SHAPE,
        Flag::switch("json", "Print one JSON object instead of a table"),
    ],
    examples: "  cortado summarize deploy.prototxt\n  cortado summarize --model=train_val.prototxt --phase=TRAIN --shape=data:32x3x224x224,label:32",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let phase = nets::phase(args)?.unwrap_or(Phase::Test);
    let (net, params) = super::stand_in(args, phase, "summarize deploy.prototxt", ui)?;
    let made = summary(&net, &params);
    if args.switch("json") {
        ui.json(&object(&made))?;
    } else {
        ui.print(&table(&made))?;
    }
    Ok(Status::Done)
}

/// Extents in short.
fn extents(shape: &Shape) -> String {
    let dims: Vec<String> = shape.dims().iter().map(usize::to_string).collect();
    match dims.is_empty() {
        true => "scalar".to_owned(),
        false => dims.join("x"),
    }
}

/// A number with a unit of thousands.
fn short(n: u64) -> String {
    const UNITS: [&str; 5] = ["", "k", "M", "G", "T"];
    let mut x = n as f64;
    let mut unit = 0;
    while x >= 999.5 && unit + 1 < UNITS.len() {
        x /= 1000.0;
        unit += 1;
    }
    match (unit, x) {
        (0, _) => n.to_string(),
        (_, x) if x < 9.995 => format!("{x:.2} {}", UNITS[unit]),
        (_, x) if x < 99.95 => format!("{x:.1} {}", UNITS[unit]),
        (_, x) => format!("{x:.0} {}", UNITS[unit]),
    }
}

/// A receptive field in short.
fn field(field: Option<[f64; 2]>) -> String {
    let whole = |x: f64| format!("{x:.0}");
    match field {
        None => String::new(),
        Some([h, w]) if !h.is_finite() && !w.is_finite() => "all".to_owned(),
        Some([h, w]) if h == w => whole(h),
        Some([h, w]) => format!("{}x{}", whole(h), whole(w)),
    }
}

fn table(made: &Summary) -> String {
    let head = [
        "layer",
        "type",
        "kernel",
        "output",
        "parameters",
        "multiply-adds",
        "memory",
        "field",
    ];
    let mut table = Table::new(4, &head);
    let none = |n: u64, text: String| if n == 0 { String::new() } else { text };
    for row in &made.rows {
        let shapes: Vec<String> = row.tops.iter().map(|(_, s)| extents(s)).collect();
        table.row(vec![
            row.name.clone(),
            row.kind.to_owned(),
            row.kernel.clone(),
            shapes.join(" "),
            none(row.params as u64, row.params.to_string()),
            none(row.multiply_adds, short(row.multiply_adds)),
            none(row.bytes, format!("{}B", short(row.bytes))),
            field(row.field),
        ]);
    }
    let layers = made.rows.len();
    let weighted = made.rows.iter().filter(|r| r.params > 0).count();
    format!(
        "{table}\n{layers} layers, {weighted} of them with parameters\n\
         {} parameters ({}B), {} multiply-adds\n\
         {}B of blobs, {}B as they are planned\n",
        made.params,
        short(4 * made.params as u64),
        short(made.multiply_adds),
        short(made.bytes),
        short(made.planned),
    )
}

fn object(made: &Summary) -> Value {
    let pair = |pair: Option<[f64; 2]>| match pair {
        Some([h, w]) if h.is_finite() && w.is_finite() => json!([h, w]),
        Some(_) => json!("all"),
        None => Value::Null,
    };
    let row = |r: &Row| {
        let tops = r.tops.iter();
        json!({
            "name": r.name, "type": r.kind, "kernel": r.kernel,
            "tops": tops.map(|(n, s)| json!({ "name": n, "shape": s.dims() })).collect::<Vec<_>>(),
            "parameters": r.params, "multiply_adds": r.multiply_adds, "bytes": r.bytes,
            "receptive_field": pair(r.field), "stride": pair(r.jump),
        })
    };
    json!({
        "net": made.name,
        "layers": made.rows.iter().map(row).collect::<Vec<_>>(),
        "parameters": made.params, "multiply_adds": made.multiply_adds,
        "bytes": made.bytes, "planned_bytes": made.planned,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_short() {
        for (n, text) in [
            (7, "7"),
            (999, "999"),
            (1000, "1.00 k"),
            (12_345, "12.3 k"),
            (999_600, "1.00 M"),
            (138_357_544, "138 M"),
        ] {
            assert_eq!(short(n), text);
        }
        assert_eq!(field(Some([3.0, 3.0])), "3");
        assert_eq!(field(Some([3.0, 5.0])), "3x5");
        assert_eq!(field(Some([f64::INFINITY; 2])), "all");
        assert_eq!(field(None), "");
    }
}
