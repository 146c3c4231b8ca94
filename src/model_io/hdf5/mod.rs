//! HDF5 files: groups of named datasets. Caffe's other form of snapshots, and data that h5py writes.
//!
//! Read are superblocks 0 to 3, old and new groups, integers, IEEE numbers and texts, contiguous, compact and chunked
//! (every index, filters gzip, shuffle, fletcher32 and lzf). Written is what the oldest library reads too: contiguous
//! `float32`, `int32`, texts and bytes in old groups.
//!
//! Why both by hand: `hdf5-metno` needs the C library. Of the crates in plain Rust `hdf5-pure` (0.47) reads and writes
//! most, but it allocates what a file claims (a changed byte asks for petabytes and ends the program), does not read
//! what h5py writes as "latest" since HDF5 2.0, nor half floats, holds a file it writes in memory twice, and breaks its
//! interface every other week. Here nothing is allocated that the file's length does not justify, every walk over
//! blocks is paid for with a budget of twice the file, and large arrays go straight between file and tensor.
//!
//! Source of the format: the HDF5 File Format Specification, version 3.0, by The HDF Group.

use std::{collections::BTreeMap, path::Path};

use crate::error::{Error, Place, Result};

mod bytes;
mod chunks;
mod dataset;
mod filters;
mod group;
mod header;
mod heap;
mod kind;
mod layout;
mod tree;
mod writer;

pub use super::stream::write_values;
pub use dataset::Dataset;
pub use writer::{Content, Tree, write};

use bytes::{Cursor, Source, Widths, cut};
use group::Link;

/// Whether these are the first bytes of an HDF5 file without a block of the user's own.
pub(super) fn is_hdf5(bytes: &[u8]) -> bool {
    bytes.starts_with(header::SIGNATURE)
}

/// An open file.
pub struct File {
    source: Source,
    widths: Widths,
    /// Where address 0 is.
    base: u64,
    root: u64,
}

/// A group of a file: its links.
#[derive(Debug)]
pub struct Group {
    at: u64,
    links: BTreeMap<String, Link>,
}

/// What a name leads to.
pub enum Object<'f> {
    /// More names.
    Group(Group),
    /// Numbers or text.
    Dataset(Box<Dataset<'f>>),
}

/// Soft links that lead to soft links.
const MOST_HOPS: usize = 16;

impl File {
    /// Opens a file.
    ///
    /// # Errors
    /// `Io` where it cannot be read, `Format` where it is no HDF5 file or cut short.
    pub fn open(path: &Path) -> Result<Self> {
        header::open(Source::open(path)?).map_err(|e| e.at(Place::File(path.display().to_string())))
    }

    /// The file of these bytes.
    ///
    /// # Errors
    /// As [`File::open`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        header::open(Source::Memory(bytes))
    }

    /// The outermost group.
    ///
    /// # Errors
    /// `Format` where the file is damaged.
    pub fn root(&self) -> Result<Group> {
        match self.object(self.root)? {
            Object::Group(group) => Ok(group),
            Object::Dataset(_) => Err(bytes::damaged("its root is no group")),
        }
    }

    /// What a path from the root leads to; `None` where there is no such name.
    ///
    /// # Errors
    /// `Format` where the file is damaged, `Unsupported` for what cannot be read.
    pub fn find(&self, path: &str) -> Result<Option<Object<'_>>> {
        self.follow(path, &mut { MOST_HOPS })
    }

    /// The dataset that a path from the root leads to; `None` where there is no such name.
    ///
    /// # Errors
    /// As [`File::find`]; `Format` where it is a group.
    pub fn dataset(&self, path: &str) -> Result<Option<Dataset<'_>>> {
        let named = |e: Error| {
            let text = format!("dataset '{path}': {}", e.message());
            let help = e.help_text().map(str::to_owned);
            let error = Error::new(e.kind(), text);
            match help {
                Some(help) => error.help(help),
                None => error,
            }
        };
        match self.find(path).map_err(named)? {
            Some(Object::Dataset(dataset)) => Ok(Some(*dataset)),
            Some(Object::Group(_)) => Err(Error::format(format!(
                "'{path}' is a group of the HDF5 file, not a dataset"
            ))),
            None => Ok(None),
        }
    }

    /// What a name of a group leads to; `None` where there is no such name, or it leads nowhere.
    ///
    /// # Errors
    /// As [`File::find`].
    pub fn get(&self, group: &Group, name: &str) -> Result<Option<Object<'_>>> {
        match group.links.get(name) {
            Some(link) => self.target(link, &mut { MOST_HOPS }),
            None => Ok(None),
        }
    }

    fn follow(&self, path: &str, hops: &mut usize) -> Result<Option<Object<'_>>> {
        let mut object = Object::Group(self.root()?);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let Object::Group(group) = &object else {
                return Ok(None);
            };
            let Some(link) = group.links.get(name) else {
                return Ok(None);
            };
            let Some(next) = self.target(link, hops)? else {
                return Ok(None);
            };
            object = next;
        }
        Ok(Some(object))
    }

    fn target(&self, link: &Link, hops: &mut usize) -> Result<Option<Object<'_>>> {
        match link {
            Link::Hard(at) => self.object(*at).map(Some),
            // From its root on; h5py's `SoftLink("/a")` and nearly all others say so. All links of a walk count together:
            // each may name the next one many times.
            Link::Soft(path) => {
                *hops = hops
                    .checked_sub(1)
                    .ok_or_else(|| Error::format("a link of the HDF5 file leads to itself"))?;
                self.follow(path, hops)
            }
            Link::External => Err(Error::unsupported(
                "a link of the HDF5 file leads into another file",
            )
            .help("name that file itself")),
        }
    }

    fn object(&self, at: u64) -> Result<Object<'_>> {
        let mut walk = Walk::new(self);
        let messages = header::messages(&mut walk, at)?;
        if group::is_group(&messages) {
            let links = group::links(&mut walk, &messages)?;
            return Ok(Object::Group(Group { at, links }));
        }
        let dataset = Dataset::new(self, &messages)?;
        Ok(Object::Dataset(Box::new(dataset)))
    }

    /// An address as a place in the file.
    fn absolute(&self, address: u64) -> Result<u64> {
        self.base.checked_add(address).ok_or_else(cut)
    }

    /// Whether so many bytes are there.
    fn check(&self, address: u64, length: u64) -> Result<()> {
        if self.source.holds(self.absolute(address)?, length) {
            Ok(())
        } else {
            Err(cut())
        }
    }
}

impl Group {
    /// Where it is in the file, by which it is known again.
    pub fn id(&self) -> u64 {
        self.at
    }

    /// The names in the group, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.links.keys().map(String::as_str)
    }
}

/// A walk from block to block. A sound file's blocks are met once each, so a walk that has read more than twice the file
/// goes in circles.
struct Walk<'f> {
    file: &'f File,
    left: u64,
}

impl<'f> Walk<'f> {
    /// What a block costs beside its bytes.
    const COST: u64 = 8;

    fn new(file: &'f File) -> Self {
        Self {
            file,
            left: file.source.len().saturating_mul(2).saturating_add(1 << 12),
        }
    }

    fn cursor<'b>(&self, bytes: &'b [u8]) -> Cursor<'b> {
        Cursor::new(bytes, self.file.widths)
    }

    fn pay(&mut self, length: u64) -> Result<()> {
        self.left = length
            .checked_add(Self::COST)
            .and_then(|cost| self.left.checked_sub(cost))
            .ok_or_else(|| bytes::damaged("its blocks refer to each other in circles"))?;
        Ok(())
    }

    fn block(&mut self, address: u64, length: u64) -> Result<Vec<u8>> {
        self.pay(length)?;
        self.file.source.read(self.file.absolute(address)?, length)
    }

    /// A block that may end with the file.
    fn at_most(&mut self, address: u64, length: u64) -> Result<Vec<u8>> {
        let at = self.file.absolute(address)?;
        let there = self.file.source.len().checked_sub(at).ok_or_else(cut)?;
        self.block(address, length.min(there))
    }

    fn addresses(&mut self, address: u64, count: u64) -> Result<Vec<Option<u64>>> {
        let width = self.file.widths.offset;
        let bytes = self.block(address, count.checked_mul(width as u64).ok_or_else(cut)?)?;
        let each = bytes.chunks_exact(width);
        each.map(|bytes| self.cursor(bytes).address()).collect()
    }
}

#[cfg(test)]
mod tests;
