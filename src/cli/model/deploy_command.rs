//! `deploy`: the net that is deployed from the one that is trained, or whether two belong together.

use serde_json::json;

use super::super::{
    args::{Args, Flag},
    command::{Command, Status},
    nets, signals,
    table::Table,
    ui::Ui,
};
use crate::{
    deploy::{self, Difference, Options},
    error::Result,
    load,
    model_io::write_file,
    schema::NetState,
};

/// The row of the table.
pub(in crate::cli) const COMMAND: Command = Command {
    name: "deploy",
    about: "make the net that is deployed from the one that is trained, or compare the two",
    flags: &[
        nets::MODEL,
        Flag::value(
            "output",
            "FILE",
            "Where the net that is deployed is written (default: standard output)",
        ),
        Flag::value(
            "check",
            "FILE",
            "Instead, tell where this net that is deployed differs from --model; exit code 1 where it does",
        ),
        Flag::value("batch", "N", "Items of a batch (default 1)"),
        nets::SHAPE,
        Flag::switch(
            "all_losses",
            "Keep the scores of losses that count less than the largest, too",
        ),
        nets::LEVEL,
        nets::STAGE,
        Flag::switch(
            "json",
            "With --check, print one JSON object instead of a table",
        ),
    ],
    examples: "  cortado deploy --model=train_val.prototxt --output=deploy.prototxt\n  cortado deploy --model=train_val.prototxt --shape=data:1x3x227x227\n  cortado deploy --model=train_val.prototxt --check=deploy.prototxt",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    signals::tidy()?;
    let example = "deploy --model=train_val.prototxt --output=deploy.prototxt";
    let file = super::read(args, example, ui)?;
    let options = Options {
        batch: args.count("batch", 1)?,
        shapes: nets::shapes(args)?,
        all_losses: args.switch("all_losses"),
        state: NetState {
            phase: None,
            level: args.number("level")?,
            stage: args.list("stage"),
        },
        ..Options::default()
    };
    let deployed = deploy::deploy(&file.net, &options)?;
    for note in &deployed.notes {
        ui.warn(note);
    }
    if let Some(path) = args.path("check") {
        let found = load::net(&path, nets::options(args)?, ui)?;
        let rows = deploy::compare(&deployed.net(), &found.net)?;
        let feeding = deploy::preparation(&file.net)?;
        return told(args, &rows, &feeding, ui);
    }
    let text = deploy::render(&deployed, &file);
    match args.path("output") {
        None => ui.print(&text)?,
        Some(path) => {
            write_file(&path, text.as_bytes())?;
            ui.tell(&format!("wrote {}", path.display()));
        }
    }
    Ok(Status::Done)
}

fn told(args: &Args, rows: &[Difference], feeding: &[String], ui: &mut Ui) -> Result<Status> {
    if args.switch("json") {
        let rows: Vec<_> = rows
            .iter()
            .map(|r| {
                json!({ "layer": r.layer, "what": r.what, "expected": r.expected, "found": r.found })
            })
            .collect();
        let json = json!({ "differences": rows, "feeding": feeding });
        ui.json(&json)?;
    } else {
        let mut text = String::new();
        if rows.is_empty() {
            text += "the nets belong together\n";
        } else {
            let mut table = Table::new(4, &["layer", "what", "expected", "found"]);
            for r in rows {
                let dash = |s: &String| {
                    if s.is_empty() {
                        "-".to_owned()
                    } else {
                        s.clone()
                    }
                };
                table.row(vec![
                    r.layer.clone(),
                    r.what.clone(),
                    dash(&r.expected),
                    dash(&r.found),
                ]);
            }
            text += &table.to_string();
        }
        for line in feeding {
            text += &format!("{line}\n");
        }
        ui.print(&text)?;
    }
    Ok(if rows.is_empty() {
        Status::Done
    } else {
        Status::Failed
    })
}
