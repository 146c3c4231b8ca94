//! `check`: what is wrong with nets and solvers, told from their files.

use std::path::PathBuf;

use serde_json::json;

use super::{
    args::{Args, Flag},
    command::{Command, Status},
    nets,
    ui::Ui,
};
use crate::{
    check::{self, Counts, Finding, Mended, Options},
    error::{Error, ErrorKind, Result},
};

/// The row of the table.
pub(super) const COMMAND: Command = Command {
    name: "check",
    about: "say what is wrong with a net or a solver, with the line and the way out",
    flags: &[
        Flag::operand("file", "FILES", "Nets and solvers").many(),
        Flag::value("model", "FILE", "A net"),
        Flag::value("solver", "FILE", "A solver; its nets are checked too"),
        Flag::switch("fix", "Apply the safe edits; comments and layout stay"),
        Flag::switch("diff", "Show what --fix would change, and change nothing"),
        Flag::switch("json", "Print findings as JSON"),
        Flag::switch("deny_warnings", "Exit code 1 for warnings too"),
        Flag::switch(
            "no_probe",
            "Do not run a small batch forward to see what the weights start as",
        ),
        Flag::value(
            "records",
            "N",
            "Records of each database whose labels are looked at (default 2000)",
        ),
        nets::SHAPE,
    ],
    examples: "  cortado check solver.prototxt
  cortado check train_val.prototxt deploy.prototxt --diff
  cortado check --model=train_val.prototxt --shape=data:100x3x48x48,label:100 --fix",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let paths = paths(args)?;
    let options = Options {
        shapes: nets::shapes(args)?,
        load: nets::options(args)?,
        probe: !args.switch("no_probe"),
        records: args
            .number("records")?
            .unwrap_or(Options::default().records),
        ..Options::default()
    };
    if args.switch("fix") || args.switch("diff") {
        return mend(args, &paths, &options, ui);
    }
    let mut found = Vec::new();
    for path in &paths {
        found.extend(check::file(path, &options)?);
    }
    ui.print(&report(args, &found, &[], &paths))?;
    Ok(status(args, &found))
}

fn paths(args: &Args) -> Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = args.all("file").into_iter().map(PathBuf::from).collect();
    paths.extend(args.path("model"));
    paths.extend(args.path("solver"));
    if paths.is_empty() {
        return Err(Error::new(ErrorKind::Param, "check needs a file")
            .help(format!("name it: {}", args.other("check solver.prototxt"))));
    }
    Ok(paths)
}

fn status(args: &Args, found: &[Finding]) -> Status {
    let counts = Counts::of(found);
    let bad = counts.errors > 0 || (args.switch("deny_warnings") && counts.warnings > 0);
    if bad { Status::Failed } else { Status::Done }
}

fn mend(args: &Args, paths: &[PathBuf], options: &Options, ui: &mut Ui) -> Result<Status> {
    let (mended, left) = check::mend(paths, options)?;
    if args.switch("diff") {
        let shown: String = mended.iter().map(check::diff).collect();
        ui.print(&shown)?;
        return Ok(Status::Done);
    }
    check::write(&mended)?;
    ui.print(&report(args, &left, &mended, paths))?;
    Ok(status(args, &left))
}

fn report(args: &Args, found: &[Finding], mended: &[Mended], paths: &[PathBuf]) -> String {
    let counts = Counts::of(found);
    if args.switch("json") {
        let value = json!({
            "findings": found.iter().map(Finding::to_json).collect::<Vec<_>>(),
            "fixed": mended.iter().map(|m| json!({
                "file": m.file.to_string_lossy(),
                "codes": m.codes,
            })).collect::<Vec<_>>(),
            "errors": counts.errors,
            "warnings": counts.warnings,
            "notes": counts.notes,
        });
        return format!("{value:#}\n");
    }
    let mut text: String = found.iter().map(|f| format!("{f}\n\n")).collect();
    for m in mended {
        text += &format!("fixed {} ({})\n", m.file.display(), m.codes.join(", "));
    }
    let names: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    text += &format!("{}: {counts}\n", names.join(", "));
    let mendable = found.iter().filter(|f| !f.edits.is_empty()).count();
    if mendable > 0 {
        let these = match mendable {
            1 => "1 of them".to_owned(),
            n => format!("{n} of them"),
        };
        text += &format!("--fix mends {these}; --diff shows how\n");
    }
    // Of the worst, the first.
    if let Some(first) = found.iter().rev().max_by_key(|f| f.severity) {
        text += &format!(
            "'{}' tells more\n",
            args.other(&format!("explain {}", first.code))
        );
    }
    text
}
