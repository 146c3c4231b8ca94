//! Caffe's tools that make databases and what goes with them, one file each.

pub(super) mod compute_image_mean;
pub(super) mod convert_annoset;
pub(super) mod convert_cifar_data;
pub(super) mod convert_imageset;
pub(super) mod convert_mnist_data;
pub(super) mod create_label_map;
pub(super) mod get_image_size;
pub(super) mod work;

use super::{args::Flag, ui::Ui};
use crate::schema::data_parameter::Db;

/// The words of `--backend`.
pub(super) const BACKENDS: &[(&str, Db)] = &[("lmdb", Db::Lmdb), ("leveldb", Db::Leveldb)];

pub(super) const BACKEND: Flag = Flag::value(
    "backend",
    "lmdb|leveldb",
    "The kind of database to write (default lmdb)",
);

/// A line that the log has, and a person gets too.
pub(super) fn say(ui: &mut Ui, tag: &str, text: &str) {
    ui.log(tag, text);
    ui.tell(text);
}
