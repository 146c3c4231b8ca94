//! What brings samples: databases of records, their decoding, Caffe's transformations, and the thread that runs ahead.

#![deny(clippy::as_conversions)]

pub mod datum;
mod image;
pub mod lmdb;
pub mod prefetch;
pub mod source;
pub mod transform;

use std::path::{Path, PathBuf};

/// A file that a network names, seen from the folder `root` that its relative paths start from.
pub(crate) fn resolve(root: &Path, name: &str) -> PathBuf {
    let path = root.join(name);
    std::path::absolute(&path).unwrap_or(path)
}
