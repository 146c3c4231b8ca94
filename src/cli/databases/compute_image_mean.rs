//! `compute_image_mean`: the mean of a database's images.

use super::{BACKENDS, work::Work};
use crate::{
    cli::{
        args::{Args, Flag},
        command::{Command, Status},
        ui::Ui,
    },
    database::mean,
    error::{Error, ErrorKind, Result},
    feed::database::Database,
    model_io::binaryproto::write_binaryproto,
    number::g,
};

/// The row of the table.
pub(in crate::cli) const COMMAND: Command = Command {
    name: "compute_image_mean",
    about: "compute the mean image of a database",
    flags: &[
        Flag::operand("database", "INPUT_DB", "The database, LMDB or LevelDB"),
        Flag::operand(
            "output",
            "OUTPUT_FILE",
            "The .binaryproto to write; without it only the mean of each channel is told",
        ),
        Flag::value(
            "backend",
            "lmdb|leveldb",
            "What the database has to be (default: what it is)",
        ),
    ],
    examples: "  cortado compute_image_mean train_lmdb mean.binaryproto\n  cortado compute_image_mean --backend=leveldb train_leveldb mean.binaryproto",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let usage = "compute_image_mean train_lmdb mean.binaryproto";
    let path = args.operand("database", "a database", usage)?;
    let backend = args.word("backend", BACKENDS)?;
    let mut database = Database::open_as(&path, backend)?;
    let output = args.path("output");
    if let Some(folder) = output.as_ref().filter(|path| path.is_dir()) {
        return Err(Error::new(
            ErrorKind::Io,
            format!("cannot write '{}': it is a folder", folder.display()),
        )
        .help("name a file, mean.binaryproto for example"));
    }
    ui.log("compute_image_mean.cpp:70", "Starting iteration");
    let records = database.records_known().unwrap_or(0);
    let mut work = Work::begin(ui, "records", records, "compute_image_mean.cpp:95", 10_000)?;
    let mean = mean(&mut database, &mut work)?;
    work.end();
    if let Some(output) = output {
        let text = format!("Write to {}", output.display());
        super::say(ui, "compute_image_mean.cpp:108", &text);
        write_binaryproto(&output, mean.image.view())?;
    }
    let channels = mean.channels();
    let text = format!("Number of channels: {}", channels.len());
    super::say(ui, "compute_image_mean.cpp:114", &text);
    for (c, value) in channels.into_iter().enumerate() {
        let text = format!("mean_value channel [{c}]: {}", g(value));
        super::say(ui, "compute_image_mean.cpp:119", &text);
    }
    Ok(Status::Done)
}
