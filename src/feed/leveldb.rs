//! LevelDB databases. Reading writes nothing into the folder, not even a lock.
//!
//! Why by hand: `rusty-leveldb`, the one kept crate, replays logs and merges tables in a way that writes, and indexes
//! into what a file claims, so that a damaged one ends the program. Here a database is its manifest, its tables and its
//! logs, each read where it is, every length checked before it counts. In memory are one block of each level, the keys
//! of the logs, and the records of a batch. Snappy is the crate `snap`.
//!
//! Source of the format: LevelDB's `doc/impl.md`, `table_format.md` and `log_format.md`.

use std::{ops::Range, path::Path, sync::Arc};

use super::{
    find, resolve,
    source::{Record, Source},
};
use crate::error::{Error, Place, Result};

mod build;
mod bytes;
mod log;
mod merge;
mod table;
mod version;
mod writer;

pub use writer::LevelDbWriter;

use merge::{Merge, Recent};
use version::Version;

/// The records of a LevelDB, in the order of their keys.
pub struct LevelDbSource {
    name: String,
    version: Version,
    recent: Arc<Recent>,
    /// Number of records, once a pass has come to its end.
    len: Option<u64>,
    position: u64,
    /// Where `position` is, unless that is still to be gone to.
    merge: Option<Merge>,
}

impl LevelDbSource {
    /// Opens the database that a network calls `source`, a folder. Relative paths start at `root`.
    ///
    /// # Errors
    /// `Io` where nothing is there or it cannot be read, `Unsupported` for an LMDB and for keys in another order,
    /// `Format` where it is foreign or damaged, `Data` where it has no records.
    pub fn open(root: &Path, source: &str) -> Result<Self> {
        Self::open_unplaced(root, source).map_err(|e| find::placed(e, source))
    }

    fn open_unplaced(root: &Path, source: &str) -> Result<Self> {
        let folder = find::leveldb(&resolve(root, source), source)?;
        let version = Version::read(&folder)?;
        let recent = Arc::new(Recent::read(&version.logs)?);
        if !Merge::new(&version, &recent)?.advance(None)? {
            return Err(find::empty());
        }
        Ok(Self {
            name: source.to_owned(),
            version,
            recent,
            len: None,
            position: 0,
            merge: None,
        })
    }

    /// Number of records, at least 1. The first call walks over all keys, unless a pass has come to its end.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn records(&mut self) -> Result<u64> {
        if let Some(len) = self.len {
            return Ok(len);
        }
        let mut merge = Merge::new(&self.version, &self.recent)?;
        let mut len = 0;
        while merge.advance(None).map_err(|e| self.placed(e))? {
            len += 1;
        }
        self.len = Some(len);
        Ok(len)
    }

    /// One way from the first record to the last.
    pub(super) fn pass(&self) -> Result<Pass> {
        Merge::new(&self.version, &self.recent)
            .map(Pass)
            .map_err(|e| self.placed(e))
    }

    fn placed(&self, e: Error) -> Error {
        match e.places() {
            [] => e.at(Place::File(self.name.clone())),
            _ => e,
        }
    }

    /// Goes to the next record, from the first again after the last, and appends its value where wanted.
    fn advance(
        &mut self,
        merge: &mut Merge,
        passed: &mut u64,
        to: Option<&mut Vec<u8>>,
    ) -> Result<()> {
        let mut to = to;
        if !merge.advance(to.as_deref_mut())? {
            self.len.get_or_insert(*passed);
            *passed = 0;
            *merge = Merge::new(&self.version, &self.recent)?;
            if !merge.advance(to)? {
                return Err(find::empty());
            }
        }
        *passed += 1;
        Ok(())
    }

    /// The merge at `position`.
    fn place(&mut self) -> Result<(Merge, u64)> {
        let passed = |position: u64, len: Option<u64>| len.map_or(position, |n| position % n);
        if let Some(merge) = self.merge.take() {
            return Ok((merge, passed(self.position, self.len)));
        }
        let mut merge = Merge::new(&self.version, &self.recent)?;
        let mut done = 0;
        while done < passed(self.position, self.len) {
            if !merge.advance(None)? {
                // The first end that is met tells the number of records.
                if done == 0 {
                    return Err(find::empty());
                }
                self.len = Some(done);
                merge = Merge::new(&self.version, &self.recent)?;
                done = 0;
                continue;
            }
            done += 1;
        }
        Ok((merge, done))
    }

    fn read_batch(
        &mut self,
        count: usize,
        f: &mut dyn FnMut(&[Record<'_>]) -> Result<()>,
    ) -> Result<Merge> {
        let (mut merge, mut passed) = self.place()?;
        let mut bytes = Vec::new();
        let mut places: Vec<(Range<usize>, Range<usize>)> = Vec::new();
        for _ in 0..count {
            let start = bytes.len();
            self.advance(&mut merge, &mut passed, Some(&mut bytes))?;
            let end = bytes.len();
            bytes.extend_from_slice(merge.key());
            places.push((end..bytes.len(), start..end));
        }
        let records = (self.position..).zip(places);
        let records: Vec<Record<'_>> = records
            .map(|(number, (key, value))| Record {
                number,
                key: &bytes[key],
                value: &bytes[value],
            })
            .collect();
        f(&records)?;
        Ok(merge)
    }
}

/// The records of a database, once.
pub(super) struct Pass(Merge);

impl Pass {
    /// Goes to the next record and puts its value in place of what `value` held; `false` at the end.
    pub(super) fn advance(&mut self, value: &mut Vec<u8>) -> Result<bool> {
        value.clear();
        self.0.advance(Some(value))
    }

    /// The key of the record that [`advance`](Self::advance) went to.
    pub(super) fn key(&self) -> &[u8] {
        self.0.key()
    }
}

impl Source for LevelDbSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn position(&self) -> u64 {
        self.position
    }

    /// Goes there with the next read: past every record before it, which costs a walk through the tables.
    fn count(&mut self) -> Result<Option<u64>> {
        if self.len.is_none() {
            let walk = || {
                let mut merge = Merge::new(&self.version, &self.recent)?;
                let mut records = 0;
                while merge.advance(None)? {
                    records += 1;
                }
                Ok(records)
            };
            self.len = Some(walk().map_err(|e| self.placed(e))?);
        }
        Ok(self.len)
    }

    fn seek(&mut self, record: u64) -> Result<()> {
        if record != self.position {
            self.merge = None;
            self.position = record;
        }
        Ok(())
    }

    fn read(&mut self, count: usize, f: &mut dyn FnMut(&[Record<'_>]) -> Result<()>) -> Result<()> {
        let merge = self.read_batch(count, f).map_err(|e| self.placed(e))?;
        self.merge = Some(merge);
        self.position += u64::try_from(count).unwrap_or(0);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
