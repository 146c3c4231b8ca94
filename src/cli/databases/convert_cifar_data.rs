//! `convert_cifar_data`: the binary files of CIFAR-10 to two databases.

use std::path::PathBuf;

use super::{BACKENDS, work::Work};
use crate::{
    cli::{
        args::{Args, Flag},
        command::{Command, Status},
        signals::Signals,
        ui::Ui,
    },
    database::convert_cifar,
    error::{Error, Result},
    feed::database::DatabaseWriter,
    schema::data_parameter::Db,
};

/// The row of the table.
pub(in crate::cli) const COMMAND: Command = Command {
    name: "convert_cifar_data",
    about: "make the databases of CIFAR-10 of its binary files",
    flags: &[
        Flag::operand(
            "input",
            "INPUT_FOLDER",
            "Where data_batch_1.bin to data_batch_5.bin and test_batch.bin are",
        ),
        Flag::operand(
            "output",
            "OUTPUT_FOLDER",
            "Where cifar10_train_lmdb and cifar10_test_lmdb are made",
        ),
        Flag::operand("kind", "DB_TYPE", "lmdb or leveldb (default lmdb)"),
        Flag::value("backend", "lmdb|leveldb", "The same, as a flag"),
    ],
    examples: "  cortado convert_cifar_data data/cifar10 examples/cifar10 lmdb",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let usage = "convert_cifar_data data/cifar10 examples/cifar10 lmdb";
    let input = args.operand("input", "the folder of the binary files", usage)?;
    let output = args.operand("output", "the folder of the databases", usage)?;
    let kind = match args.word("kind", BACKENDS)? {
        None => args.word("backend", BACKENDS)?,
        kind => kind,
    };
    let kind = kind.unwrap_or(Db::Lmdb);
    if !output.is_dir() {
        return Err(Error::data(format!(
            "there is no folder '{}' to make the databases in",
            output.display()
        ))
        .help("make it first"));
    }
    let name = match kind {
        Db::Lmdb => "lmdb",
        Db::Leveldb => "leveldb",
    };
    let train: Vec<PathBuf> = (1..=5)
        .map(|n| input.join(format!("data_batch_{n}.bin")))
        .collect();
    let test = vec![input.join("test_batch.bin")];
    if let Some(missing) = train.iter().chain(&test).find(|path| !path.exists()) {
        return Err(Error::data(format!("'{}' is not there", missing.display()))
            .help("unpack cifar-10-binary.tar.gz, and name the folder that comes out of it"));
    }
    let parts = [
        (
            "train",
            train,
            "convert_cifar_data.cpp:52",
            "Writing Training data",
        ),
        (
            "test",
            test,
            "convert_cifar_data.cpp:73",
            "Writing Testing data",
        ),
    ];
    // Both are there at the end, or none.
    Signals::ending()?;
    let mut made = Vec::new();
    for (part, ..) in &parts {
        let target = output.join(format!("cifar10_{part}_{name}"));
        made.push((DatabaseWriter::create(&target, kind)?, target));
    }
    for ((part, files, tag, words), (writer, target)) in parts.into_iter().zip(&mut made) {
        super::say(ui, tag, words);
        if part == "train" {
            for n in 1..=files.len() {
                ui.log("convert_cifar_data.cpp:55", &format!("Training Batch {n}"));
            }
        }
        let mut work = Work::begin(ui, part, 0, "convert_cifar_data.cpp:55", u64::MAX)?;
        convert_cifar(&files, writer, |_| {}, &mut work)?;
        let count = work.quiet();
        ui.tell(&format!("{count} images in {}", target.display()));
    }
    made.into_iter()
        .try_for_each(|(writer, _)| writer.finish().map(drop))?;
    Ok(Status::Done)
}
