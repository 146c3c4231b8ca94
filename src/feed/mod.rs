//! What brings samples: databases of records, their decoding, Caffe's transformations and
//! its forks', and the thread that runs ahead.

#![deny(clippy::as_conversions)]

pub mod annotated;
mod augment;
pub mod database;
pub mod datum;
pub mod files;
mod find;
mod folder;
pub mod hdf5;
mod image;
mod jpeg;
pub mod leveldb;
pub mod list;
pub mod lmdb;
pub mod pair;
pub mod pictures;
pub mod prefetch;
pub mod recipe;
pub mod record;
mod sampler;
pub mod source;
pub mod transform;
pub mod video;
pub mod windows;

use std::path::{Path, PathBuf};

pub(crate) use augment::{Interpolation, Picture, resize, scaled};
pub(crate) use folder::NewFolder;

use crate::{error::Result, model_io::binaryproto, schema::data_parameter::Db, tensor::Tensor};

/// Opens the database that a network calls `source`, of the kind it says; where it says none, of the kind that is there.
///
/// # Errors
/// As [`lmdb::LmdbSource::open`] and [`leveldb::LevelDbSource::open`].
pub fn open_database(
    root: &Path,
    source: &str,
    backend: Option<Db>,
) -> Result<Box<dyn source::Source>> {
    let kind = backend.unwrap_or_else(|| find::kind(&resolve(root, source)));
    Ok(match kind {
        Db::Lmdb => Box::new(lmdb::LmdbSource::open(root, source)?),
        Db::Leveldb => Box::new(leveldb::LevelDbSource::open(root, source)?),
    })
}

/// A file that a network names, seen from the folder `root` that its relative paths start from.
pub(crate) fn resolve(root: &Path, name: &str) -> PathBuf {
    let path = root.join(name);
    std::path::absolute(&path).unwrap_or(path)
}

/// The blob of a `.binaryproto` that a network names.
///
/// # Errors
/// Where the file cannot be read or holds no blob.
pub(crate) fn read_blob(root: &Path, name: &str) -> Result<Tensor> {
    binaryproto::read_binaryproto(&resolve(root, name))
}
