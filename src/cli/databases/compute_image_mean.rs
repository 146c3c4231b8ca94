//! `compute_image_mean`: the mean of a database's images.

use serde_json::json;

use super::{
    BACKENDS, JSON,
    work::{Work, writable},
};
use crate::{
    cli::{
        args::{Args, Flag},
        command::{Command, Status},
        ui::Ui,
    },
    database::mean,
    error::{Error, Result},
    feed::database::Database,
    model_io::binaryproto::write_binaryproto,
    number::g,
    schema::data_parameter::Db,
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
        JSON,
    ],
    examples: "  cortado compute_image_mean train_lmdb mean.binaryproto\n  cortado compute_image_mean --backend=leveldb train_leveldb mean.binaryproto\n  cortado compute_image_mean --json train_lmdb",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let usage = "compute_image_mean train_lmdb mean.binaryproto";
    let path = args.operand("database", "a database", usage)?;
    let backend = args.word("backend", BACKENDS)?;
    let mut database = Database::open(&path)?;
    if backend.is_some_and(|kind| kind != database.kind()) {
        let (name, flag) = match database.kind() {
            Db::Lmdb => ("an LMDB", "lmdb"),
            Db::Leveldb => ("a LevelDB", "leveldb"),
        };
        return Err(Error::data(format!("'{}' is {name}", path.display()))
            .help(format!("write --backend={flag}, or leave it out")));
    }
    let output = args.path("output");
    output.as_deref().map(writable).transpose()?;
    ui.log("compute_image_mean.cpp:70", "Starting iteration");
    let records = database.records_known().unwrap_or(0);
    let mut work = Work::begin(ui, "records", records, "compute_image_mean.cpp:95", 10_000)?;
    let mean = mean(&mut database, &mut work)?;
    work.end();
    if let Some(output) = &output {
        let text = format!("Write to {}", output.display());
        super::say(ui, "compute_image_mean.cpp:108", &text);
        write_binaryproto(output, mean.image.view())?;
    }
    let channels = mean.channels();
    let text = format!("Number of channels: {}", channels.len());
    super::say(ui, "compute_image_mean.cpp:114", &text);
    for (c, &value) in channels.iter().enumerate() {
        let text = format!("mean_value channel [{c}]: {}", g(value));
        super::say(ui, "compute_image_mean.cpp:119", &text);
    }
    if args.switch("json") {
        let value = json!({
            "database": database.name(), "records": mean.records,
            "shape": mean.image.shape.dims().get(1..), "channels": channels,
            "file": output.map(|path| path.display().to_string()),
        });
        ui.json(&value)?;
    }
    Ok(Status::Done)
}
