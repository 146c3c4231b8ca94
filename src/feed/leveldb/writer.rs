//! Writing a LevelDB that Google's library, and so Caffe, reads.
//!
//! All tables go to the last level, where they do not overlap, so that nobody ever has to rearrange them. Records that
//! come in the order of their keys go straight into them. Others are sorted in memory, a run at a time, each run goes
//! to tables of its own, and at the end the runs are merged.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    super::folder::NewFolder,
    build::{Table, TableBuilder, put_table},
    bytes::{self, put_sized, put_varint},
    log,
    merge::{Merge, Recent},
    version::{BYTEWISE, LEVELS, Version},
};
use crate::error::{Error, Result};

/// Size of a table.
const TABLE: u64 = 64 << 20;
/// So much is sorted in memory.
const RUN: usize = 64 << 20;
/// So many runs are merged at once: each is an open file.
const RUNS: usize = 64;
/// LevelDB keeps lengths in 32 bits; a message of protobuf is shorter still.
const MAX_VALUE: usize = 1 << 30;
const MANIFEST: &str = "MANIFEST-000001";

/// A new database. It is written beside its place and appears there, whole, by [`finish`](Self::finish); dropped
/// before, it leaves nothing.
pub struct LevelDbWriter {
    folder: NewFolder,
    files: Files,
    /// What has come in order so far; `None` once something has not.
    sorted: Option<Run>,
    /// Records that wait to be sorted.
    waiting: BTreeMap<Vec<u8>, Vec<u8>>,
    waiting_bytes: usize,
    runs: Vec<Vec<Table>>,
    count: u64,
    run_bytes: usize,
}

/// Numbers of files and of changes.
struct Files {
    folder: PathBuf,
    /// The number of the next file.
    next: u64,
    /// The number of the last change.
    change: u64,
}

/// Tables in a row.
#[derive(Default)]
struct Run {
    done: Vec<Table>,
    open: Option<TableBuilder>,
}

impl Run {
    fn add(&mut self, files: &mut Files, key: &[u8], value: &[u8]) -> Result<()> {
        files.change += 1;
        let mut whole = key.to_vec();
        // The number of the change, and that it put a value.
        whole.extend((files.change << 8 | 1).to_le_bytes());
        let table = match &mut self.open {
            Some(table) => table,
            none => {
                files.next += 1;
                none.insert(TableBuilder::create(&files.folder, files.next - 1)?)
            }
        };
        table.add(&whole, value)?;
        if table.size() >= TABLE {
            self.close()?;
        }
        Ok(())
    }

    /// The last key.
    fn last(&self) -> Option<&[u8]> {
        let whole = match (&self.open, self.done.last()) {
            (Some(table), _) => table.last(),
            (None, Some(table)) => &table.largest,
            (None, None) => return None,
        };
        bytes::key(whole).ok().map(|(key, ..)| key)
    }

    fn close(&mut self) -> Result<()> {
        if let Some(table) = self.open.take() {
            self.done.push(table.finish()?);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Table>> {
        self.close()?;
        Ok(self.done)
    }
}

fn twice(key: &[u8]) -> Error {
    Error::data(format!(
        "the key '{}' twice in one database",
        key.escape_ascii()
    ))
}

impl LevelDbWriter {
    /// Begins the database that is to be the folder `path`.
    ///
    /// # Errors
    /// `Io` where something is there already, other than an empty folder, or the parent cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        Self::with_runs(path, RUN)
    }

    pub(super) fn with_runs(path: &Path, run_bytes: usize) -> Result<Self> {
        let folder = NewFolder::create(path)?;
        Ok(Self {
            files: Files {
                folder: folder.path().to_owned(),
                // The manifest is the first.
                next: 2,
                change: 0,
            },
            folder,
            sorted: Some(Run::default()),
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            runs: Vec::new(),
            count: 0,
            run_bytes,
        })
    }

    /// Adds a record. Readers get records in the order of their keys, whatever the order they are added in.
    ///
    /// # Errors
    /// `Data` where the key is empty or there already, which may show only some records later, or the value is too
    /// large; `Io` where a file cannot be written.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if key.is_empty() {
            return Err(Error::data("a key of 0 bytes; it needs at least 1"));
        }
        if value.len() > MAX_VALUE || key.len() > MAX_VALUE {
            return Err(Error::data(format!(
                "a record of {} bytes, which is too large for a LevelDB",
                value.len()
            )));
        }
        if let Some(run) = &mut self.sorted {
            if run.last().is_none_or(|last| last < key) {
                run.add(&mut self.files, key, value)?;
                self.count += 1;
                return Ok(());
            }
            if run.last() == Some(key) {
                return Err(twice(key));
            }
            if let Some(run) = self.sorted.take() {
                self.runs.push(run.finish()?);
            }
        }
        self.waiting_bytes += key.len() + value.len();
        if self.waiting.insert(key.to_vec(), value.to_vec()).is_some() {
            return Err(twice(key));
        }
        self.count += 1;
        if self.waiting_bytes >= self.run_bytes {
            self.spill()?;
        }
        Ok(())
    }

    /// Writes what waits as a run.
    fn spill(&mut self) -> Result<()> {
        let mut run = Run::default();
        for (key, value) in std::mem::take(&mut self.waiting) {
            run.add(&mut self.files, &key, &value)?;
        }
        self.waiting_bytes = 0;
        self.runs.push(run.finish()?);
        if self.runs.len() >= RUNS {
            self.merge()?;
        }
        Ok(())
    }

    /// Makes one run of all.
    fn merge(&mut self) -> Result<()> {
        let runs = std::mem::take(&mut self.runs);
        let paths = |run: &Vec<Table>| run.iter().map(|table| table.path.clone()).collect();
        let version = Version {
            young: Vec::new(),
            levels: runs.iter().map(paths).collect(),
            logs: Vec::new(),
        };
        let mut merge = Merge::new(&version, &Arc::new(Recent::read(&[])?))?;
        let mut run = Run::default();
        let mut value = Vec::new();
        while merge.advance(Some(&mut value))? {
            if merge.changes() > 1 {
                return Err(twice(merge.key()));
            }
            run.add(&mut self.files, merge.key(), &value)?;
            value.clear();
        }
        drop(merge);
        for table in runs.iter().flatten() {
            fs::remove_file(&table.path).map_err(|e| Error::io("remove", &table.path, &e))?;
        }
        self.runs.push(run.finish()?);
        Ok(())
    }

    /// Writes the rest, and gives the database its name; returns the number of its records.
    ///
    /// # Errors
    /// As [`put`](Self::put); `Io` where the name has been taken meanwhile.
    pub fn finish(mut self) -> Result<u64> {
        if let Some(run) = self.sorted.take() {
            self.runs.push(run.finish()?);
        }
        if !self.waiting.is_empty() {
            self.spill()?;
        }
        if self.runs.len() > 1 {
            self.merge()?;
        }
        let mut edit = Vec::new();
        put_varint(&mut edit, 1);
        put_sized(&mut edit, BYTEWISE);
        for (field, number) in [(2, 0), (9, 0), (3, self.files.next), (4, self.files.change)] {
            put_varint(&mut edit, field);
            put_varint(&mut edit, number);
        }
        let last = u64::try_from(LEVELS - 1).unwrap_or(0);
        for table in self.runs.iter().flatten() {
            put_table(&mut edit, last, table);
        }
        let mut manifest = Vec::new();
        log::append(&mut manifest, &edit);
        for (name, bytes) in [
            (MANIFEST, &manifest[..]),
            ("CURRENT", format!("{MANIFEST}\n").as_bytes()),
        ] {
            let path = self.folder.path().join(name);
            fs::write(&path, bytes).map_err(|e| Error::io("write", &path, &e))?;
        }
        self.folder.finish()?;
        Ok(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::LevelDbSource, *};
    use crate::feed::source::Source as _;

    fn read(dir: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
        let source = LevelDbSource::open(dir, "db").unwrap();
        let mut pass = source.pass().unwrap();
        let mut all = Vec::new();
        let mut value = Vec::new();
        while pass.advance(&mut value).unwrap() {
            all.push((pass.key().to_vec(), value.clone()));
        }
        all
    }

    fn records(n: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let value = |i: usize| vec![u8::try_from(i % 251).unwrap(); i % 5000];
        (0..n)
            .map(|i| (format!("{i:08}_x").into_bytes(), value(i)))
            .collect()
    }

    #[test]
    fn records_in_order_go_straight_into_a_table() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = LevelDbWriter::create(&dir.path().join("db")).unwrap();
        let records = records(300);
        for (key, value) in &records {
            writer.put(key, value).unwrap();
        }
        assert!(!dir.path().join("db").exists());
        assert_eq!(writer.finish().unwrap(), 300);
        assert_eq!(read(dir.path()), records);
        let names = fs::read_dir(dir.path().join("db")).unwrap().count();
        assert_eq!(names, 3);
        let mut source = LevelDbSource::open(dir.path(), "db").unwrap();
        source.seek(299).unwrap();
        source
            .read(1, &mut |r| {
                assert_eq!(r[0].key, b"00000299_x");
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn any_other_order_is_sorted_in_runs() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = LevelDbWriter::with_runs(&dir.path().join("db"), 9000).unwrap();
        let records = records(400);
        // 7 and 400 have no common divisor: every record once.
        for i in 0..400 {
            let (key, value) = &records[i * 7 % 400];
            writer.put(key, value).unwrap();
        }
        assert_eq!(writer.finish().unwrap(), 400);
        assert_eq!(read(dir.path()), records);
        let files = fs::read_dir(dir.path().join("db")).unwrap().count();
        assert_eq!(files, 3, "runs are gone");
    }

    #[test]
    fn a_key_twice_is_told_whenever_it_comes() {
        for order in [&["a", "a"][..], &["b", "a", "a"], &["a", "c", "b", "a"]] {
            let dir = tempfile::tempdir().unwrap();
            let mut writer = LevelDbWriter::with_runs(&dir.path().join("db"), 2).unwrap();
            let put = order.iter().try_for_each(|k| writer.put(k.as_bytes(), b""));
            let error = put.and_then(|()| writer.finish()).unwrap_err();
            assert!(error.message().contains("'a' twice"), "{error}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn an_empty_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = LevelDbWriter::create(&dir.path().join("db")).unwrap();
        assert!(writer.put(b"", b"v").is_err());
    }
}
