//! `compare --reference`: a net against a recorded run.

use std::path::Path;

use serde_json::{Value, json};

use super::{EXAMPLE, tolerance};
use crate::{
    cli::{
        args::Args,
        command::Status,
        nets::{self, Loaded, Wish},
        table::Table,
        ui::Ui,
    },
    error::{Error, Place, Result},
    model_io::npz,
    net::{Keep, Net},
    number::g,
    report::compare::{Row, Tolerance, compare, coordinates},
    schema::Phase,
    tensor::Shape,
};

pub(super) fn run(args: &Args, reference: &Path, ui: &mut Ui) -> Result<Status> {
    let tolerance = tolerance(args)?;
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
    } = nets::load(args, &wish, EXAMPLE, ui)?;
    let record = npz::read_npz(reference)?;
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
    let shape = |key: &str| record.get(key).map(|t| t.shape.clone());
    if args.switch("json") {
        let rows: Vec<Value> = rows
            .iter()
            .map(|row| super::row_json(row, shape(&row.key).as_ref()))
            .collect();
        ui.json(&json!({ "kind": "net", "arrays": rows }))?;
    } else {
        let mut text = report(&rows, tolerance);
        if let Some(row) = rows.iter().find(|row| !row.ok) {
            text += &first(&net, row, shape(&row.key).as_ref());
        }
        ui.print(&text)?;
    }
    Ok(if rows.iter().all(|row| row.ok) {
        Status::Done
    } else {
        Status::Failed
    })
}

/// Which layer is the first out of tolerance, and where.
fn first(net: &Net, row: &Row, shape: Option<&Shape>) -> String {
    let name = row.key.split_once('/').map_or("", |(_, name)| name);
    let layer = net
        .graph()
        .latest(name)
        .map(|id| net.graph().node(net.graph().value(id).producer))
        .map(|node| format!(" of layer '{}' ({})", node.name, node.kind.name))
        .unwrap_or_default();
    let mut text = format!(
        "the first apart, in the order of the net: {}{layer}",
        row.key
    );
    if let (Some((at, ours, theirs)), Some(shape)) = (row.first, shape) {
        text += &super::spot(
            &coordinates(shape, at),
            !row.key.contains("param"),
            ours,
            theirs,
        );
    }
    text + "\n"
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
