//! `upgrade_net_proto_text`, `upgrade_net_proto_binary`, `upgrade_solver_proto_text`: old files to new ones, as Caffe's
//! tools of these names: what they say, and how they end (1: usage, or an upgrade that fails; 2: no such file of this
//! kind).

use std::{fs, path::Path};

use prost::Message as _;
use serde_json::json;

use super::{
    args::{Args, Flag},
    command::{Command, Status},
    nets, signals,
    ui::Ui,
};
use crate::{
    error::{Error, Place, Result},
    model_io::{weights, write_file},
    schema::{NetParameter, SolverParameter, dialect},
    text, upgrade,
};

const WORDS: [Flag; 3] = [
    Flag::operand("in", "IN", "The old file"),
    Flag::operand("out", "OUT", "The new file"),
    Flag::switch("json", "Print one JSON object, with what was upgraded"),
];

/// The row of the table.
pub(super) const NET_TEXT: Command = Command {
    name: "upgrade_net_proto_text",
    about: "bring an old net's definition (.prototxt) into current form",
    flags: &WORDS,
    examples: "  cortado upgrade_net_proto_text old.prototxt new.prototxt",
    run: net_text,
};

/// The row of the table.
pub(super) const NET_BINARY: Command = Command {
    name: "upgrade_net_proto_binary",
    about: "bring an old net with its weights (.caffemodel) into current form",
    flags: &WORDS,
    examples: "  cortado upgrade_net_proto_binary old.caffemodel new.caffemodel",
    run: net_binary,
};

/// The row of the table.
pub(super) const SOLVER_TEXT: Command = Command {
    name: "upgrade_solver_proto_text",
    about: "bring an old solver's definition (.prototxt) into current form",
    flags: &WORDS,
    examples: "  cortado upgrade_solver_proto_text old.prototxt new.prototxt",
    run: solver_text,
};

/// The two files; without both, how the tool is used.
fn words(args: &Args, tool: &str) -> Result<(std::path::PathBuf, std::path::PathBuf)> {
    signals::tidy()?;
    let example = format!("{tool} IN OUT");
    Ok((
        args.operand("in", "the old file and the new one", &example)?,
        args.operand("out", "the new file, too", &example)?,
    ))
}

/// Says what is wrong with a file and ends with 2.
fn unread(ui: &mut Ui, what: &str, path: &Path, error: &Error) -> Result<Status> {
    ui.warn(&format!("Failed to parse input {what}: {}", path.display()));
    ui.fail(error);
    Ok(Status::Exit(2))
}

/// Says whether anything was old.
fn news<T: PartialEq>(ui: &mut Ui, before: &T, after: &T, path: &Path, notes: &[String]) {
    if before == after {
        ui.warn(&format!(
            "File already in latest proto format: {}",
            path.display()
        ));
    }
    for note in notes {
        ui.warn(note);
    }
}

/// Says that it is done, as Caffe does and for a program.
fn wrote(
    args: &Args,
    ui: &mut Ui,
    tag: &'static str,
    what: &str,
    [from, to]: [&Path; 2],
    (current, notes): (bool, &[String]),
) -> Result<Status> {
    ui.log(
        tag,
        &format!("Wrote upgraded {what} proto to {}", to.display()),
    );
    ui.tell(&format!("wrote {}", to.display()));
    if args.switch("json") {
        let json = json!({ "input": from, "output": to, "upgraded": !current, "notes": notes });
        ui.json(&json)?;
    }
    Ok(Status::Done)
}

fn net_text(args: &Args, ui: &mut Ui) -> Result<Status> {
    let (from, to) = words(args, "upgrade_net_proto_text")?;
    let options = text::Options {
        strict: nets::options(args)?.strict,
    };
    let parsed = match text::read_file::<NetParameter>("NetParameter", &from, options) {
        Ok(parsed) => parsed,
        Err(error) => return unread(ui, "text file as NetParameter", &from, &error),
    };
    for warning in &parsed.warnings {
        ui.warn(&warning.to_string());
    }
    let old = parsed.message;
    let upgraded = upgrade::net(old.clone())?;
    news(ui, &old, &upgraded.net, &from, &upgraded.notes);
    write_file(&to, text::print("NetParameter", &upgraded.net).as_bytes())?;
    wrote(
        args,
        ui,
        "upgrade_net_proto_text.cpp:51",
        "NetParameter text",
        [&from, &to],
        (old == upgraded.net, &upgraded.notes),
    )
}

fn net_binary(args: &Args, ui: &mut Ui) -> Result<Status> {
    let (from, to) = words(args, "upgrade_net_proto_binary")?;
    let read = || -> Result<NetParameter> {
        let bytes = fs::read(&from).map_err(|e| Error::io("read", &from, &e))?;
        let current = dialect::net(&bytes, nets::options(args)?.dialect);
        let net = current.and_then(|bytes| NetParameter::decode(&bytes[..]).ok());
        net.filter(|n| !n.layer.is_empty() || !n.layers.is_empty())
            .ok_or_else(|| {
                Error::format("this is no binary net")
                    .help("a net's text (.prototxt) goes through upgrade_net_proto_text")
                    .at(Place::File(from.display().to_string()))
            })
    };
    let old = match read() {
        Ok(old) => old,
        Err(error) => return unread(ui, "binary file as NetParameter", &from, &error),
    };
    let upgraded = upgrade::net(old.clone())?;
    news(ui, &old, &upgraded.net, &from, &upgraded.notes);
    weights::write_message(&to, &upgraded.net)?;
    wrote(
        args,
        ui,
        "upgrade_net_proto_binary.cpp:49",
        "NetParameter binary",
        [&from, &to],
        (old == upgraded.net, &upgraded.notes),
    )
}

fn solver_text(args: &Args, ui: &mut Ui) -> Result<Status> {
    let (from, to) = words(args, "upgrade_solver_proto_text")?;
    let options = text::Options {
        strict: nets::options(args)?.strict,
    };
    let parsed = match text::read_file::<SolverParameter>("SolverParameter", &from, options) {
        Ok(parsed) => parsed,
        Err(error) => return unread(ui, "text file as SolverParameter", &from, &error),
    };
    for warning in &parsed.warnings {
        ui.warn(&warning.to_string());
    }
    let old = parsed.message;
    let mut new = upgrade::solver(old.clone(), &from)?;
    // Where snapshots go is settled when the solver is read, not in the file.
    new.snapshot_prefix.clone_from(&old.snapshot_prefix);
    news(ui, &old, &new, &from, &[]);
    write_file(&to, text::print("SolverParameter", &new).as_bytes())?;
    wrote(
        args,
        ui,
        "upgrade_solver_proto_text.cpp:49",
        "SolverParameter text",
        [&from, &to],
        (old == new, &[]),
    )
}
