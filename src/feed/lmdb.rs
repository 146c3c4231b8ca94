//! LMDB databases, read only and in place: no lock file, no copy of a record. Keys may be texts or integers
//! (`MDB_INTEGERKEY`); a database has its order from how it was made.
//!
//! LMDB trusts what it maps into memory, so a file is checked by hand before it is opened.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    ops::Bound,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use heed::{Env, EnvFlags, EnvOpenOptions, RoTxn, WithoutTls, types::Bytes};

use super::{
    find, resolve,
    source::{Record, Source},
};
use crate::error::{Error, ErrorKind, Result};

mod check;
mod writer;

pub use writer::LmdbWriter;

type Records = heed::Database<Bytes, Bytes>;

/// An open database. All sources of one file share it, because LMDB does not allow a process to open a file twice.
struct Shared {
    env: Env<WithoutTls>,
    records: Records,
    integer_keys: bool,
}

/// The open databases by the canonical path of their data file.
static OPEN: Mutex<BTreeMap<PathBuf, Weak<Shared>>> = Mutex::new(BTreeMap::new());

/// The records of an LMDB, in the order of their keys.
pub struct LmdbSource {
    // Fields drop in this order: the transaction ends before the environment closes.
    txn: RoTxn<'static, WithoutTls>,
    shared: Arc<Shared>,
    name: String,
    len: u64,
    position: u64,
    /// Key of the record before the next one; empty at the start.
    before: Vec<u8>,
}

impl LmdbSource {
    /// Opens the database that a network calls `source`: its folder, or the data file itself. Relative paths start at
    /// `root`.
    ///
    /// # Errors
    /// `Io` where nothing is there or it cannot be read, `Unsupported` for a LevelDB, `Format` where the file is
    /// foreign, cut short or of another version, `Data` where it has no records.
    pub fn open(root: &Path, source: &str) -> Result<Self> {
        Self::open_unplaced(root, source).map_err(|e| find::placed(e, source))
    }

    fn open_unplaced(root: &Path, source: &str) -> Result<Self> {
        let file = find::lmdb(&resolve(root, source), source)?;
        let shared = share(&file)?;
        let txn = shared.env.clone().static_read_txn().map_err(lmdb_error)?;
        let len = shared.records.len(&txn).map_err(lmdb_error)?;
        if len == 0 {
            return Err(find::empty());
        }
        Ok(Self {
            txn,
            shared,
            name: source.to_owned(),
            len,
            position: 0,
            before: Vec::new(),
        })
    }

    /// Number of records, at least 1.
    pub fn records(&self) -> u64 {
        self.len
    }

    /// Whether the keys are integers of this machine, in the order of their numbers.
    pub fn integer_keys(&self) -> bool {
        self.shared.integer_keys
    }

    /// The value of a key.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn get(&self, key: &[u8]) -> Result<Option<&[u8]>> {
        self.shared.records.get(&self.txn, key).map_err(lmdb_error)
    }
}

impl Source for LmdbSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn count(&mut self) -> Result<Option<u64>> {
        Ok(Some(self.len))
    }

    fn seek(&mut self, record: u64) -> Result<()> {
        // LMDB cannot count its way in, but walking over keys touches no values: a million takes some tens of
        // milliseconds.
        let skip = record % self.len;
        self.before.clear();
        if let Some(last) = skip.checked_sub(1).and_then(|n| usize::try_from(n).ok()) {
            let mut records = self.shared.records.iter(&self.txn).map_err(lmdb_error)?;
            let (key, _) = records
                .nth(last)
                .transpose()
                .map_err(lmdb_error)?
                .ok_or_else(fewer)?;
            self.before.extend_from_slice(key);
        }
        self.position = record;
        Ok(())
    }

    fn read(&mut self, count: usize, f: &mut dyn FnMut(&[Record<'_>]) -> Result<()>) -> Result<()> {
        let mut batch = Vec::with_capacity(count.min(1 << 12));
        let mut number = self.position;
        let mut start = match self.before.as_slice() {
            [] => Bound::Unbounded,
            key => Bound::Excluded(key),
        };
        while batch.len() < count {
            let range: (Bound<&[u8]>, Bound<&[u8]>) = (start, Bound::Unbounded);
            let records = self.shared.records.range(&self.txn, &range);
            let found = batch.len();
            for record in records.map_err(lmdb_error)?.take(count - found) {
                let (key, value) = record.map_err(lmdb_error)?;
                batch.push(Record { number, key, value });
                number += 1;
            }
            // Nothing after the last record is the end of a pass; nothing at all is damage.
            if batch.len() == found && matches!(start, Bound::Unbounded) {
                return Err(fewer());
            }
            start = Bound::Unbounded;
        }
        f(&batch)?;
        if let Some(last) = batch.last() {
            self.before = last.key.to_vec();
        }
        self.position = number;
        Ok(())
    }
}

fn fewer() -> Error {
    Error::format("the database holds fewer records than it states")
        .help("the file is damaged; copy or write it again")
}

/// The open database of this data file, opened if it is not yet.
fn share(file: &Path) -> Result<Arc<Shared>> {
    let path = fs::canonicalize(file).map_err(|e| Error::io("open", file, &e))?;
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(shared) = open.get(&path).and_then(Weak::upgrade) {
        return Ok(shared);
    }
    let mut data = File::open(&path).map_err(|e| Error::io("open", file, &e))?;
    let found = check::check(&mut data)?;
    let env = open_env(&path, EnvFlags::READ_ONLY, found.size)?;
    let txn = env.read_txn().map_err(lmdb_error)?;
    let records = env
        .open_database::<Bytes, Bytes>(&txn, None)
        .map_err(lmdb_error)?
        .ok_or_else(|| Error::format("the database has no main table"))?;
    txn.commit().map_err(lmdb_error)?;
    let shared = Arc::new(Shared {
        env,
        records,
        integer_keys: found.integer_keys,
    });
    open.retain(|_, weak| weak.strong_count() > 0);
    open.insert(path, Arc::downgrade(&shared));
    Ok(shared)
}

/// Opens a data file with room for `size` bytes. Whoever opens a file to write must be its only user.
fn open_env(file: &Path, flags: EnvFlags, size: u64) -> Result<Env<WithoutTls>> {
    /// A multiple of every page size in use, which is what LMDB asks of a map.
    const STEP: u64 = 1 << 16;
    let map = size
        .max(1)
        .checked_next_multiple_of(STEP)
        .and_then(|n| usize::try_from(n).ok())
        .ok_or_else(|| {
            Error::unsupported(format!(
                "a database of {size} bytes does not fit this machine's address space"
            ))
        })?;
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(map);
    // The last user of an environment may still be closing it.
    for _ in 0..50 {
        #[allow(
            unsafe_code,
            reason = "LMDB maps the file into memory, and cannot know what other programs do to it"
        )]
        // SAFETY: the flags are those of a file used without locks. A reader maps a file that `check` found whole;
        // it is a finished data set, which nobody shortens or rewrites while a network reads it. A writer has a new
        // file in a private folder, used by one thread. An environment is opened once per process: `OPEN` sees to it
        // for readers, and a writer's file has no other name.
        let env = unsafe {
            options
                .flags(flags | EnvFlags::NO_SUB_DIR | EnvFlags::NO_LOCK)
                .open(file)
        };
        match env {
            Err(heed::Error::EnvAlreadyOpened) => match heed::env_closing_event(file) {
                Some(closing) => {
                    closing.wait_timeout(Duration::from_millis(100));
                }
                None => std::thread::yield_now(),
            },
            other => return other.map_err(lmdb_error),
        }
    }
    Err(lmdb_error(heed::Error::EnvAlreadyOpened))
}

/// What LMDB says, as one of our errors.
fn lmdb_error(error: heed::Error) -> Error {
    use heed::MdbError as M;
    let damaged = "the file is damaged; copy or write it again";
    let text = format!("LMDB: {error}");
    match error {
        heed::Error::Mdb(M::PageNotFound | M::Corrupted | M::Panic | M::Invalid) => {
            Error::format(text).help(damaged)
        }
        heed::Error::Mdb(M::VersionMismatch) => Error::format(text)
            .help("the file was written by an incompatible LMDB; write it again with 0.9"),
        heed::Error::Mdb(M::MapResized) => {
            Error::data(text).help("another program has made the database larger; start again")
        }
        _ => Error::new(ErrorKind::Io, text),
    }
}

#[cfg(test)]
mod tests;
