//! `plot`: loss, accuracy and rate of one or several trainings as a picture.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{
    args::{Args, Flag},
    command::{Command, Status},
    ui::Ui,
};
use crate::{
    error::{Error, Result},
    model_io::write_file,
    report::{
        curves::{self, Across, Figure, Upwards},
        log::Log,
        plot::{Plot, to_picture, to_svg},
        png,
    },
};

/// The row of the table.
pub(super) const COMMAND: Command = Command {
    name: "plot",
    about: "loss, accuracy and rate of one or several trainings as SVG or PNG",
    flags: &[
        Flag::operand(
            "logs",
            "LOG",
            "What trainings wrote to standard error, Caffe's or ours; a run.jsonl or the folder with it",
        )
        .many(),
        Flag::value(
            "output",
            "FILE",
            "The picture: .svg or .png (default: LOG.svg, beside the first log); may be given more than once",
        )
        .many(),
        Flag::value(
            "figures",
            "LIST",
            "What to show, each in a plot of its own: loss, accuracy, rate or names of output blobs (default: the first three, as far as the logs tell of them)",
        ),
        Flag::value("xaxis", "iterations|seconds", "What runs to the right"),
        Flag::value(
            "yscale",
            "fitting|linear|log",
            "How values run upwards; fitting (the default) goes by factors where they differ by more than a hundred",
        ),
    ],
    examples: "  cortado plot train.log\n  \
               cortado plot a.log b.log --output=both.png --figures=loss,rate\n  \
               cortado plot snapshots/lenet_run --figures=accuracy --xaxis=seconds --output=accuracy.svg",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let given = args.all_paths("logs");
    let Some(first) = given.first() else {
        args.operand("logs", "a training's log", "plot train.log")?;
        return Ok(Status::Done);
    };
    let across = [
        ("iterations", Across::Iterations),
        ("seconds", Across::Seconds),
    ];
    let across = args.word("xaxis", &across)?.unwrap_or_default();
    let upwards = [
        ("fitting", Upwards::Fitting),
        ("linear", Upwards::Linear),
        ("log", Upwards::Logarithmic),
    ];
    let upwards = args.word("yscale", &upwards)?.unwrap_or_default();
    let outputs = outputs(args, first)?;

    let paths: Vec<PathBuf> = given.iter().map(|path| record(path)).collect();
    let mut logs = Vec::new();
    for path in &paths {
        let log = Log::open(path)?;
        warn_of_gaps(ui, path, &log);
        logs.push(log);
    }
    let names = short_names(&given);
    let named: Vec<(&str, &Log)> = names.iter().map(String::as_str).zip(&logs).collect();
    let plots = plots(args, &named, across, upwards, ui)?;
    for path in &outputs {
        let bytes = match is_png(path) {
            true => png(&to_picture(&plots))?,
            false => to_svg(&plots).into_bytes(),
        };
        write_file(path, &bytes)?;
        let figures: Vec<&str> = plots.iter().map(|plot| plot.title.as_str()).collect();
        let figures = figures.join(", ").to_lowercase();
        ui.print(&format!("drew {figures} to {}\n", path.display()))?;
    }
    Ok(Status::Done)
}

/// Says how much of a log was not read.
pub(super) fn warn_of_gaps(ui: &mut Ui, path: &Path, log: &Log) {
    if log.skipped > 0 {
        ui.warn(&format!(
            "{}: {} lines or records are left out: they are too long, or too many",
            path.display(),
            log.skipped
        ));
    }
}

/// File names, with as much of their folders as tells them apart.
pub(super) fn short_names(paths: &[impl AsRef<Path>]) -> Vec<String> {
    let parts: Vec<Vec<String>> = paths
        .iter()
        .map(|path| {
            let parts = path.as_ref().components();
            parts
                .map(|c| c.as_os_str().to_string_lossy().into_owned())
                .collect()
        })
        .collect();
    let longest = parts.iter().map(Vec::len).max().unwrap_or(0);
    let names = |keep: usize| -> Vec<String> {
        let ends = parts
            .iter()
            .map(|p| p[p.len().saturating_sub(keep)..].join("/"));
        ends.collect()
    };
    let apart = |names: &[String]| names.iter().collect::<BTreeSet<_>>().len() == names.len();
    let keep = (1..longest).find(|&keep| apart(&names(keep)));
    names(keep.unwrap_or(longest))
}

/// The log of a run that is given by its folder.
fn record(path: &Path) -> PathBuf {
    match path.is_dir() {
        true => path.join("run.jsonl"),
        false => path.to_owned(),
    }
}

fn is_png(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("png"))
}

fn outputs(args: &Args, first: &Path) -> Result<Vec<PathBuf>> {
    let given = args.all_paths("output");
    if given.is_empty() {
        let mut name = first.as_os_str().to_owned();
        name.push(".svg");
        return Ok(vec![name.into()]);
    }
    for path in &given {
        let is_svg = path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("svg"));
        if !is_svg && !is_png(path) {
            return Err(Error::param(
                "--output",
                format!("'{}' ends neither with .svg nor with .png", path.display()),
            )
            .help("end the name with .svg or .png"));
        }
    }
    Ok(given)
}

fn plots(
    args: &Args,
    logs: &[(&str, &Log)],
    across: Across,
    upwards: Upwards,
    ui: &mut Ui,
) -> Result<Vec<Plot>> {
    let asked = args.list("figures");
    let words: Vec<&str> = match asked.is_empty() {
        true => vec!["loss", "accuracy", "rate"],
        false => asked.iter().map(String::as_str).collect(),
    };
    let mut plots = Vec::new();
    for word in words {
        match curves::plot(logs, &Figure::of(word), across, upwards) {
            Some((plot, left_out)) => {
                if left_out > 0 {
                    ui.warn(&format!(
                        "{word}: {left_out} curves are left out: so many cannot be told apart"
                    ));
                }
                plots.push(plot);
            }
            None if asked.is_empty() => {}
            None => {
                let of: Vec<&Log> = logs.iter().map(|&(_, log)| log).collect();
                let all = curves::names(&of).join(", ");
                return Err(Error::param(
                    "--figures",
                    format!("the logs tell nothing of '{word}'"),
                )
                .help(format!("there is: {all}")));
            }
        }
    }
    if plots.is_empty() {
        return Err(
            Error::data("the logs tell neither of a loss nor of an accuracy or a rate")
                .help("name output blobs: --figures=NAME"),
        );
    }
    Ok(plots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_files_apart() {
        assert_eq!(short_names(&["x/a.log", "y/b.log"]), ["a.log", "b.log"]);
        assert_eq!(short_names(&["r/x/log", "r/y/log"]), ["x/log", "y/log"]);
        assert_eq!(
            short_names(&["x/log", "y/log", "y/b"]),
            ["x/log", "y/log", "y/b"]
        );
        assert_eq!(short_names(&["log", "r/log"]), ["log", "r/log"]);
        assert_eq!(short_names(&["log", "log"]), ["log", "log"]);
    }
}
