//! `explain`: the page of a finding's code.

use super::{
    args::{Args, Flag},
    command::{Command, Status},
    ui::Ui,
};
use crate::{
    check, doctor,
    error::{Error, ErrorKind, Result},
};

/// The row of the table.
pub(super) const COMMAND: Command = Command {
    name: "explain",
    about: "what a code of check or doctor means, why, and an example wrong and right",
    flags: &[Flag::operand(
        "code",
        "CODES",
        "N010, for instance; without one, all codes in a line each",
    )
    .many()],
    examples: "  cortado explain N010
  cortado explain",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let codes = args.all("code");
    if codes.is_empty() {
        let mut text = check::table();
        text += "\nWhat the doctor sees in data and training\n";
        for rule in doctor::RULES {
            text += &format!(
                "  {}  {:<8}{}\n",
                rule.code,
                rule.severity.name(),
                rule.title
            );
        }
        ui.print(&text)?;
        return Ok(Status::Done);
    }
    let pages: Vec<String> = codes
        .iter()
        .map(|code| page(code).ok_or_else(|| unknown(code, args)))
        .collect::<Result<_>>()?;
    ui.print(&pages.join("\n"))?;
    Ok(Status::Done)
}

fn page(code: &str) -> Option<String> {
    if let Some(rule) = check::find(code) {
        return Some(check::page(rule));
    }
    let rule = doctor::rule(code.trim())?;
    Some(format!(
        "{} ({}): {}\n\n{}\n",
        rule.code,
        rule.severity.name(),
        rule.title,
        rule.page.trim_end()
    ))
}

fn unknown(code: &str, args: &Args) -> Error {
    Error::new(ErrorKind::Param, format!("there is no code '{code}'"))
        .help(format!("'{}' lists all codes", args.other("explain")))
}
