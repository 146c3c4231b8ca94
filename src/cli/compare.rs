//! `compare`: a net against a recorded run, blob by blob.

use super::{
    args::{Args, Flag},
    command::{Command, Status},
    nets::{self, Loaded, Wish},
    table::Table,
    ui::Ui,
};
use crate::number::g;
use crate::{
    error::{Error, Place, Result},
    model_io::npz,
    net::Keep,
    report::compare::{Row, Tolerance, compare},
    schema::Phase,
};

/// The row of the table.
pub(super) const COMMAND: Command = Command {
    name: "compare",
    about: "hold a net against a recorded run, blob by blob",
    flags: &[
        nets::MODEL,
        nets::WEIGHTS,
        Flag::value(
            "reference",
            "FILE",
            "The record (.npz): in/<blob>, out/<blob>, grad_out/<blob>, grad_in/<blob>, grad_param/<layer>/<i>, param_after/<layer>/<i>",
        ),
        Flag::value(
            "rtol",
            "X",
            "Tolerance relative to the reference (default 1e-4)",
        ),
        Flag::value("atol", "X", "Absolute tolerance (default 1e-5)"),
        nets::PHASE,
        nets::LEVEL,
        nets::STAGE,
        nets::SHAPE,
        nets::SEED,
    ],
    examples: "  cortado compare --model=net.prototxt --weights=weights.caffemodel --reference=blobs.npz",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let example = "compare --model=net.prototxt --weights=weights.caffemodel --reference=blobs.npz";
    let reference = args.need("reference", "a recorded run", example)?;
    let usual = Tolerance::default();
    let tolerance = Tolerance {
        rtol: args.number("rtol")?.unwrap_or(usual.rtol),
        atol: args.number("atol")?.unwrap_or(usual.atol),
    };
    for (flag, value) in [("--rtol", tolerance.rtol), ("--atol", tolerance.atol)] {
        if !value.is_finite() || value < 0.0 {
            return Err(Error::param(flag, format!("{value} is no tolerance")));
        }
    }
    let wish = Wish {
        phase: Phase::Test,
        own_state: true,
        backward: true,
        keep: Keep::All,
        wanted: Vec::new(),
        frozen: false,
    };
    let Loaded {
        mut net,
        mut params,
    } = nets::load(args, &wish, example, ui)?;
    let record = npz::read_npz(&reference)?;
    let place = || Place::File(reference.display().to_string());
    let rows = compare(&mut net, &mut params, &record, tolerance).map_err(|e| e.at(place()))?;
    if rows.is_empty() {
        let keys: Vec<&str> = record.keys().map(String::as_str).collect();
        return Err(Error::data("the record has nothing to compare with")
            .help(format!(
                "it needs arrays named out/<blob>, grad_in/<blob> or the like; it has {}",
                keys.join(", ")
            ))
            .at(place()));
    }
    ui.print(&report(&rows, tolerance))?;
    Ok(if rows.iter().all(|row| row.ok) {
        Status::Done
    } else {
        Status::Failed
    })
}

fn report(rows: &[Row], tolerance: Tolerance) -> String {
    let mut table = Table::new(
        1,
        &[
            "array",
            "values",
            "max abs",
            "max rel",
            "",
            "ours",
            "reference",
        ],
    );
    for row in rows {
        let mut cells = vec![
            row.key.clone(),
            row.count.to_string(),
            g(row.max_abs),
            g(row.max_rel),
            if row.ok { "ok" } else { "OUT" }.to_owned(),
        ];
        match (&row.trouble, row.worst) {
            (Some(trouble), _) => cells.push(trouble.clone()),
            (None, Some((at, ours, theirs))) if !row.ok => {
                cells.push(format!("[{at}] {}", g(ours)));
                cells.push(g(theirs));
            }
            _ => {}
        }
        table.row(cells);
    }
    let out = rows.iter().filter(|row| !row.ok).count();
    format!(
        "{table}{} of {} arrays within |ours - reference| <= {} + {} * |reference|\n",
        rows.len() - out,
        rows.len(),
        g(tolerance.atol),
        g(tolerance.rtol)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::compare::compare_arrays;

    #[test]
    fn what_is_out_is_shown() {
        let tolerance = Tolerance::default();
        let rows = [
            compare_arrays("out/a", &[1.0, 2.0], &[1.0, 2.0], tolerance),
            compare_arrays("out/b", &[1.0, 2.5], &[1.0, 2.0], tolerance),
        ];
        assert_eq!(
            report(&rows, tolerance),
            "\
array  values  max abs  max rel          ours  reference
out/a       2        0        0   ok
out/b       2      0.5     0.25  OUT  [1] 2.5          2
1 of 2 arrays within |ours - reference| <= 1e-05 + 0.0001 * |reference|
"
        );
    }
}
