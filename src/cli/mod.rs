//! The program: `cortado train|test|time|run|calibrate|compare|view|quickstart`, with the flags, the log and the exit codes of Caffe's.
//!
//! A command is a row of [`COMMANDS`]; [`args`] reads the flags, [`ui`] is where all words go.

pub mod args;
mod calibrate;
mod check;
pub mod command;
mod compare;
mod dashboard;
mod databases;
mod db;
mod device_query;
mod doctor;
mod exits;
mod explain;
mod extract_features;
mod figures;
mod glog;
mod metrics;
mod model;
mod names;
mod nets;
mod onlookers;
mod parse_log;
mod plot;
mod progress;
pub mod quickstart;
mod recognize;
mod record;
mod run;
mod shell;
mod signals;
mod table;
mod test;
mod time;
mod train;
pub mod ui;
mod upgrade;
mod view;
mod weights;

use std::{ffi::OsString, path::Path, process::ExitCode};

use args::Args;
pub use command::{Command, Status};
pub use ui::Ui;

use crate::{
    error::{Error, ErrorKind, Result},
    nearest::nearest,
    threads,
};

/// Every command, in the order of the help.
pub const COMMANDS: &[&Command] = &[
    &train::COMMAND,
    &test::COMMAND,
    &time::COMMAND,
    &run::COMMAND,
    &calibrate::COMMAND,
    &compare::COMMAND,
    &parse_log::COMMAND,
    &plot::COMMAND,
    &check::COMMAND,
    &explain::COMMAND,
    &doctor::COMMAND,
    &view::COMMAND,
    &dashboard::COMMAND,
    &quickstart::COMMAND,
    &extract_features::COMMAND,
    &databases::convert_imageset::COMMAND,
    &databases::compute_image_mean::COMMAND,
    &databases::convert_mnist_data::COMMAND,
    &databases::convert_cifar_data::COMMAND,
    &databases::convert_annoset::COMMAND,
    &databases::create_label_map::COMMAND,
    &databases::get_image_size::COMMAND,
    &db::COMMAND,
    &model::summarize::COMMAND,
    &model::draw::COMMAND,
    &model::deploy_command::COMMAND,
    &model::weights::COMMAND,
    &model::fold::COMMAND,
    &model::export_onnx::COMMAND,
    &model::import_onnx::COMMAND,
    &upgrade::NET_TEXT,
    &upgrade::NET_BINARY,
    &upgrade::SOLVER_TEXT,
    &device_query::COMMAND,
    &recognize::CLASSIFY,
    &recognize::DETECT,
    &recognize::SEGMENT,
    &shell::COMPLETIONS,
    &shell::MAN,
];

/// Runs the program with its arguments, the name it was called by first.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match start(args.into_iter().collect()) {
        Ok(Status::Done) => ExitCode::SUCCESS,
        Ok(Status::Failed) => ExitCode::FAILURE,
        Ok(Status::Exit(code)) => ExitCode::from(code),
        Err(error) if ui::closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            // Where standard error is closed too, the exit code has to do.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: Vec<OsString>) -> Result<Status> {
    let program = args
        .first()
        .and_then(|arg| Path::new(arg).file_stem())
        .map_or_else(
            || "cortado".to_owned(),
            |s| s.to_string_lossy().into_owned(),
        );
    let mut args = args.get(1..).unwrap_or_default().to_vec();
    let tool = names::stand_in(&program, &args);
    let is_tool = tool.is_some();
    args = tool.unwrap_or(args);
    let Some(at) = args::command_name(&args, COMMANDS) else {
        return about(&program, &args);
    };
    let name = args.remove(at).to_string_lossy().into_owned();
    // How a line starts that calls this command.
    let call = if is_tool {
        program.clone()
    } else {
        format!("{program} {name}")
    };
    match name.as_str() {
        "help" => {
            let known = |word: &&OsString| COMMANDS.iter().any(|c| ***word == *c.name);
            return match args.first().filter(known) {
                Some(word) => start(vec![program.into(), word.clone(), "--help".into()]),
                None => about(&program, &["--help".into()]),
            };
        }
        "version" => return about(&program, &["--version".into()]),
        _ => {}
    }
    let Some(&command) = COMMANDS.iter().find(|c| c.name == name) else {
        return Err(unknown(&name, &program));
    };
    let line = args::normalise(&args, command, COMMANDS)?;
    let clap = args::clap_command(command, &call);
    let matches = match clap
        .try_get_matches_from(std::iter::once(OsString::from(command.name)).chain(line.rest))
    {
        Ok(matches) => matches,
        Err(error) => return told(&error, &args::after_help(command, &call)),
    };
    let args = Args::new(matches, command.name, &call);
    let count = args.number::<usize>("threads")?;
    threads::configure(count, args.switch("pin")).map_err(|why| Error::param("--threads", why))?;
    let mut ui = Ui::new(args.switch("log"), args.switch("log_year_in_prefix"));
    for note in &line.notes {
        ui.warn(note);
    }
    if let Some(gpu) = args.text("gpu") {
        ui.warn(&format!(
            "-gpu {gpu}: this program computes on the CPU; the results are the same"
        ));
    }
    threads::inside(|| threads::awake(|| (command.run)(&args, &mut ui)))
}

fn unknown(name: &str, program: &str) -> Error {
    let names = || COMMANDS.iter().map(|c| c.name);
    let error = Error::new(ErrorKind::Param, format!("unknown command '{name}'"));
    match nearest(name, names()) {
        Some(near) => error.help(format!("did you mean '{program} {near}'?")),
        None => error.help(format!(
            "the commands are {}",
            names().collect::<Vec<_>>().join(", ")
        )),
    }
}

/// No command: the overview.
fn about(program: &str, args: &[OsString]) -> Result<Status> {
    let wants = |names: &[&str]| args.iter().any(|a| names.iter().any(|n| a == n));
    if wants(&["--version", "-version", "-V"]) {
        ui::write(&format!("cortado {}\n", env!("CARGO_PKG_VERSION")))?;
        return Ok(Status::Done);
    }
    let mut text = format!(
        "{}\n\nUsage: {program} <command> [flags]\n\nCommands:\n",
        env!("CARGO_PKG_DESCRIPTION")
    );
    let width = COMMANDS.iter().map(|c| c.name.len()).max().unwrap_or(0);
    for command in COMMANDS {
        text += &format!("  {:<width$}  {}\n", command.name, command.about);
    }
    text += &format!(
        "\n'{program} <command> --help' tells the flags of a command. Flags may have one dash or two, as Caffe's.\n\
         Called by the name caffe, it takes caffe's place in scripts.\n\
         Exit codes: 0 where all went well, 1 for an error or a finding; each command's help tells its own.\n"
    );
    ui::write(&text)?;
    let asked =
        args.is_empty() || wants(&["--help", "-help", "-h", "--h", "-helpfull", "--helpfull"]);
    if asked {
        Ok(Status::Done)
    } else {
        Err(Error::new(ErrorKind::Param, "flags, but no command")
            .help("name the command first: train, test, time or run"))
    }
}

/// What clap has to say: help with what is behind it, the version, or what is wrong.
fn told(error: &clap::Error, after: &str) -> Result<Status> {
    use clap::error::ErrorKind as Kind;
    let text = error.render().to_string();
    match error.kind() {
        Kind::DisplayHelp => {
            ui::write(&format!("{text}{after}"))?;
            Ok(Status::Done)
        }
        Kind::DisplayVersion => {
            ui::write(&text)?;
            Ok(Status::Done)
        }
        _ => Err(Error::new(
            ErrorKind::Param,
            text.trim_start_matches("error: ").trim_end(),
        )),
    }
}
