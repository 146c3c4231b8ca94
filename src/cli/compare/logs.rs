//! `compare a.log b.log`: two trainings, iteration by iteration.

use std::path::Path;

use serde_json::{Value, json};

use super::tolerance;
use crate::{
    cli::{
        args::Args,
        command::Status,
        plot::{short_names, warn_of_gaps},
        table::Table,
        ui::Ui,
    },
    error::{Error, Result},
    model_io::write_file,
    number::{g, general},
    report::{
        log::Log,
        log_compare::{Figure, Spot, compare_logs, loss_plot},
    },
};

pub(super) fn run(args: &Args, a: &Path, b: &Path, ui: &mut Ui) -> Result<Status> {
    let tolerance = tolerance(args)?;
    let (ours, theirs) = (Log::open(a)?, Log::open(b)?);
    for (path, log) in [(a, &ours), (b, &theirs)] {
        warn_of_gaps(ui, path, log);
    }
    let figures = compare_logs(&ours, &theirs, tolerance);
    if figures.iter().all(|f| f.common == 0) {
        let told = |log: &Log| {
            let mut iterations = log.train.iter().map(|t| t.iteration);
            let first = iterations.next().unwrap_or(0);
            let step = iterations.next().map_or(0, |n| n.saturating_sub(first));
            format!("{first} and then each {step}")
        };
        return Err(
            Error::data("the logs have no iteration in common").help(format!(
                "the first tells of {}, the second of {}: give both runs the same display",
                told(&ours),
                told(&theirs)
            )),
        );
    }
    let first = first(&figures);
    if let Some(path) = args.path("plot") {
        let names = short_names(&[a, b]);
        let logs: Vec<_> = names
            .iter()
            .map(String::as_str)
            .zip([&ours, &theirs])
            .collect();
        let plot = loss_plot(&logs, first.map(|(_, spot)| spot.iteration));
        write_file(&path, plot.to_svg().as_bytes())?;
        ui.log("cortado:1", &format!("Plot written to {}", path.display()));
        ui.tell(&format!("plot in {}", path.display()));
    }
    if args.switch("json") {
        let rows: Vec<Value> = figures.iter().map(figure_json).collect();
        let first = first.map(|(f, spot)| json!({ "figure": f.name, "at": spot_json(&spot) }));
        let all = json!({ "kind": "logs", "first": first, "figures": rows });
        ui.json(&all)?;
    } else {
        ui.print(&report(&figures))?;
    }
    Ok(match first {
        None => Status::Done,
        Some(_) => Status::Failed,
    })
}

/// The figure that is apart first; of several at one iteration the first that a log tells.
fn first(figures: &[Figure]) -> Option<(&Figure, Spot)> {
    let apart = figures.iter().filter_map(|f| Some((f, f.first?)));
    apart.min_by_key(|(_, spot)| spot.iteration)
}

fn report(figures: &[Figure]) -> String {
    let head = [
        "figure",
        "iterations",
        "max abs",
        "max rel",
        "",
        "apart from",
        "1st log",
        "2nd log",
        "last",
        "1st log",
        "2nd log",
    ];
    let mut table = Table::new(1, &head);
    for f in figures {
        let mut cells = vec![f.name.clone(), f.common.to_string()];
        if f.common == 0 {
            let only = if f.alone[0] > 0 { "first" } else { "second" };
            cells.push(format!("only in the {only}"));
            table.row(cells);
            continue;
        }
        cells.extend([g(f.max_abs), g(f.max_rel)]);
        cells.push(if f.first.is_none() { "ok" } else { "OUT" }.to_owned());
        for spot in [f.first, f.last] {
            match spot {
                Some(spot) => cells.extend([spot.iteration.to_string(), g(spot.a), g(spot.b)]),
                None => cells.extend([String::new(), String::new(), String::new()]),
            }
        }
        table.row(cells);
    }
    let mut text = table.to_string();
    let alone: [usize; 2] = [0, 1].map(|i| figures.iter().map(|f| f.alone[i]).max().unwrap_or(0));
    if alone != [0, 0] {
        text += &format!(
            "iterations that only one tells of: {} in the first, {} in the second\n",
            alone[0], alone[1]
        );
    }
    text += &match first(figures) {
        None => "the logs agree\n".to_owned(),
        Some((f, spot)) => {
            let apart = (spot.a - spot.b).abs();
            let share = match spot.b {
                0.0 => String::new(),
                b => format!(" ({} %)", general(100.0 * apart / b.abs(), 3)),
            };
            format!(
                "the first apart: {} at iteration {}, {} against {}, by {}{share}\n",
                f.name,
                spot.iteration,
                g(spot.a),
                g(spot.b),
                general(apart, 3)
            )
        }
    };
    text
}

fn spot_json(spot: &Spot) -> Value {
    json!({ "iteration": spot.iteration, "a": spot.a, "b": spot.b })
}

fn figure_json(f: &Figure) -> Value {
    json!({
        "name": f.name,
        "common": f.common,
        "alone": f.alone,
        "ok": f.common > 0 && f.first.is_none(),
        "max_abs": f.max_abs,
        "max_rel": f.max_rel,
        "first": f.first.as_ref().map(spot_json),
        "worst": f.worst.as_ref().map(spot_json),
        "last": f.last.as_ref().map(spot_json),
    })
}
