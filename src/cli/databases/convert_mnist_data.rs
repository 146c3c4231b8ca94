//! `convert_mnist_data`: MNIST's files to a database.

use super::{BACKEND, BACKENDS, work::Work};
use crate::{
    cli::{
        args::{Args, Flag},
        command::{Command, Status},
        ui::Ui,
    },
    database::convert_mnist,
    error::Result,
    schema::data_parameter::Db,
};

/// The row of the table.
pub(in crate::cli) const COMMAND: Command = Command {
    name: "convert_mnist_data",
    about: "make a database of MNIST's files",
    flags: &[
        Flag::operand(
            "images",
            "IMAGE_FILE",
            "The file of images, as it is or packed by gzip",
        ),
        Flag::operand("labels", "LABEL_FILE", "The file of their labels"),
        Flag::operand("database", "DB_NAME", "The database to make, a folder"),
        BACKEND,
    ],
    examples: "  cortado convert_mnist_data train-images-idx3-ubyte train-labels-idx1-ubyte mnist_train_lmdb\n  cortado convert_mnist_data --backend=leveldb t10k-images-idx3-ubyte.gz t10k-labels-idx1-ubyte.gz mnist_test_leveldb",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let usage =
        "convert_mnist_data train-images-idx3-ubyte train-labels-idx1-ubyte mnist_train_lmdb";
    let images = args.operand("images", "the file of images", usage)?;
    let labels = args.operand("labels", "the file of labels", usage)?;
    let target = args.operand("database", "the name of the database to make", usage)?;
    let backend = args.word("backend", BACKENDS)?.unwrap_or(Db::Lmdb);
    let mut told = Vec::new();
    let about = |count: u32, rows: u32, columns: u32| {
        told.push(format!("A total of {count} items."));
        told.push(format!("Rows: {rows} Cols: {columns}"));
    };
    let mut work = Work::begin(ui, "images", 0, "convert_mnist_data.cpp:108", u64::MAX)?;
    convert_mnist(&images, &labels, &target, backend, about, &mut work)?;
    let count = work.quiet();
    for (line, text) in [88, 89].into_iter().zip(&told) {
        super::say(ui, &format!("convert_mnist_data.cpp:{line}"), text);
    }
    let text = format!("Processed {count} files.");
    super::say(ui, "convert_mnist_data.cpp:108", &text);
    Ok(Status::Done)
}
