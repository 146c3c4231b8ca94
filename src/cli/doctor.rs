//! `doctor`: why a net does not learn.

use super::{
    args::{Args, Flag},
    command::{Command, Status},
    nets,
    ui::{Ui, json_text},
};
use crate::{
    doctor::{self, Options},
    error::Result,
    events::{Event, Observer},
    model_io::write_file,
};

/// The row of the table.
pub(super) const COMMAND: Command = Command {
    name: "doctor",
    about: "look for what keeps a net from learning: files, data, a few iterations, a verdict",
    flags: &[
        Flag::value("solver", "FILE", "The solver's definition (.prototxt)"),
        Flag::value(
            "weights",
            "FILE",
            "Judge these weights (.caffemodel), not what a few iterations make",
        ),
        Flag::value(
            "iterations",
            "N",
            "Iterations to train (default: some seconds' worth); 0 looks at files and data only",
        ),
        Flag::value(
            "records",
            "N",
            "Records of each database to look at, spread over it (default 1000)",
        ),
        Flag::value(
            "seed",
            "N",
            "The seed of all random numbers; goes before the solver's random_seed",
        ),
        Flag::value(
            "out",
            "DIR",
            "Draw samples with their labels into this folder",
        ),
        Flag::value("json", "FILE", "Write everything as JSON, too"),
    ],
    examples: "  cortado doctor --solver=solver.prototxt\n  cortado doctor --solver=solver.prototxt --weights=snap_iter_1000.caffemodel --out=doctor",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let solver = args.need(
        "solver",
        "a solver's definition",
        "doctor --solver=solver.prototxt",
    )?;
    let records = args.count("records", usize::try_from(Options::RECORDS).unwrap_or(1000))?;
    let options = Options {
        weights: args.path("weights"),
        iterations: args.number("iterations")?,
        records: u64::try_from(records).unwrap_or(u64::MAX),
        out: args.path("out"),
        seed: args.number("seed")?,
        load: nets::options(args)?,
        ..Options::new(solver)
    };
    let diagnosis = doctor::examine(&options, &mut Progress(ui))?;
    if let Some(path) = args.path("json") {
        write_file(&path, json_text(&diagnosis.to_json()).as_bytes())?;
    }
    ui.print(&diagnosis.to_text())?;
    Ok(if diagnosis.ill {
        Status::Failed
    } else {
        Status::Done
    })
}

/// What is printed at the end is not told on the way.
struct Progress<'a>(&'a mut Ui);

impl Observer for Progress<'_> {
    fn on(&mut self, event: &Event<'_>) {
        match event {
            Event::Finding { .. } | Event::Verdict { .. } | Event::Step { .. } => {}
            _ => self.0.on(event),
        }
    }
}
