//! Caffe's tools that make databases and what goes with them, one file each.

pub(super) mod compute_image_mean;
pub(super) mod convert_annoset;
pub(super) mod convert_cifar_data;
pub(super) mod convert_imageset;
pub(super) mod convert_mnist_data;
pub(super) mod create_label_map;
pub(super) mod get_image_size;
pub(super) mod work;

use std::path::PathBuf;

use super::{
    args::{Args, Flag},
    ui::Ui,
};
use crate::{error::Result, schema::data_parameter::Db};

/// The words of `--backend`.
pub(super) const BACKENDS: &[(&str, Db)] = &[("lmdb", Db::Lmdb), ("leveldb", Db::Leveldb)];

/// For commands that print figures.
const JSON: Flag = Flag::switch("json", "Print JSON to standard output");

pub(super) const BACKEND: Flag = Flag::value(
    "backend",
    "lmdb|leveldb",
    "The kind of database to write (default lmdb)",
);

/// The folder of listed images: what is put before their paths, which may be nothing.
fn root(args: &Args, usage: &str) -> Result<PathBuf> {
    match args.path("root") {
        None if args.given("root") => Ok(PathBuf::new()),
        _ => args.operand("root", "the folder of the images", usage),
    }
}

/// A line that the log has, and a person gets too.
pub(super) fn say(ui: &mut Ui, tag: &str, text: &str) {
    ui.log(tag, text);
    ui.tell(text);
}
