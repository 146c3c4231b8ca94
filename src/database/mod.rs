//! Databases made, looked at and rearranged: what Caffe's tools of this kind do, without their flags and words.
//!
//! Inputs are read only. An output is made beside its place and appears whole, or not at all. Work on records is shared
//! by all threads, a chunk of records at a time, and its results are taken in the order of the records.

mod annotate;
mod arrange;
mod bytes;
mod compare;
mod encode;
mod export;
mod imageset;
mod in_order;
mod label_map;
mod labels;
mod like;
mod mean;
mod picture;
mod sizes;
mod stats;
mod weights;
mod xml;

pub use annotate::{AnnotationFormat, Annotations};
pub use arrange::{merge, shuffle, split};
pub use bytes::{convert_cifar, convert_mnist};
pub use compare::{Difference, Differences, Pairing, diff, pair};
pub use encode::{Encoding, Images, Size, Stored as StoredImage};
pub use export::export;
pub use imageset::{Contents, Options, convert};
pub use label_map::label_map;
pub use labels::{Cells, LabelOptions, Sampling, write_labels};
pub use like::{Grid, Like, Line};
pub use mean::{Mean, mean};
pub use picture::png;
pub use sizes::{ImageSize, image_sizes};
pub use stats::{Duplicate, Stats, stats};
pub use weights::ClassCounts;

use crate::error::Result;

/// Who looks on while a database is read or made.
pub trait Watch: Send {
    /// So many records are done.
    ///
    /// # Errors
    /// An error ends the work, and nothing is left behind.
    fn done(&mut self, records: u64) -> Result<()>;

    /// Something was left out, or looks odd.
    fn warn(&mut self, text: &str);
}

/// Nobody.
impl Watch for () {
    fn done(&mut self, _: u64) -> Result<()> {
        Ok(())
    }

    fn warn(&mut self, _: &str) {}
}
