//! Which files a LevelDB consists of: `CURRENT` names a manifest, a log of what was added and taken away.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
};

use super::{
    bytes::{self, damaged},
    log::LogReader,
};
use crate::error::{Error, Result};

pub(super) const LEVELS: usize = 7;
/// The order of keys that Caffe's databases have.
pub(super) const BYTEWISE: &[u8] = b"leveldb.BytewiseComparator";

/// The tables of a database.
#[derive(Debug)]
pub(super) struct Version {
    /// Tables whose keys may overlap.
    pub(super) young: Vec<PathBuf>,
    /// Of each further level the tables in the order of their keys, which do not overlap.
    pub(super) levels: Vec<Vec<PathBuf>>,
    /// Logs of changes that are in no table yet, oldest first.
    pub(super) logs: Vec<PathBuf>,
}

#[derive(Default)]
struct Edits {
    /// By level and number: the smallest key.
    tables: BTreeMap<(usize, u64), Vec<u8>>,
    log: u64,
    previous_log: u64,
}

impl Version {
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let current = folder.join("CURRENT");
        let name = fs::read(&current).map_err(|e| Error::io("read", &current, &e))?;
        let name = String::from_utf8_lossy(&name);
        let name = name.trim_end();
        let number = name.strip_prefix("MANIFEST-");
        if number.is_none_or(|n| n.is_empty() || !n.bytes().all(|b| b.is_ascii_digit())) {
            return Err(damaged("CURRENT names no manifest"));
        }
        let manifest = folder.join(name);
        let file = File::open(&manifest).map_err(|e| Error::io("open", &manifest, &e))?;
        let mut log = LogReader::new(file)?;
        let mut edits = Edits::default();
        let mut any = false;
        while log.advance()? {
            edits.add(&log.record)?;
            any = true;
        }
        if !any {
            return Err(damaged("its manifest is empty"));
        }
        edits.version(folder)
    }
}

impl Edits {
    fn add(&mut self, mut edit: &[u8]) -> Result<()> {
        let level = |edit: &mut &[u8]| -> Result<usize> {
            bytes::length(edit)
                .ok()
                .filter(|&level| level < LEVELS)
                .ok_or_else(|| damaged("a table of an impossible level"))
        };
        while !edit.is_empty() {
            let edit = &mut edit;
            match bytes::varint(edit)? {
                1 => {
                    let order = bytes::sized(edit)?;
                    if order != BYTEWISE {
                        return Err(Error::unsupported(format!(
                            "a LevelDB with keys in the order '{}'",
                            order.escape_ascii()
                        )));
                    }
                }
                2 => self.log = bytes::varint(edit)?,
                3 | 4 => {
                    bytes::varint(edit)?;
                }
                5 => {
                    level(edit)?;
                    bytes::sized(edit)?;
                }
                6 => {
                    let level = level(edit)?;
                    self.tables.remove(&(level, bytes::varint(edit)?));
                }
                7 => {
                    let level = level(edit)?;
                    let number = bytes::varint(edit)?;
                    bytes::varint(edit)?;
                    let smallest = bytes::sized(edit)?.to_vec();
                    bytes::sized(edit)?;
                    self.tables.insert((level, number), smallest);
                }
                9 => self.previous_log = bytes::varint(edit)?,
                other => {
                    return Err(Error::unsupported(format!(
                        "a database whose manifest has the field {other}, which LevelDB's have not"
                    ))
                    .help("a RocksDB, perhaps; write it again as LMDB"));
                }
            }
        }
        Ok(())
    }

    fn version(&self, folder: &Path) -> Result<Version> {
        let mut young = Vec::new();
        let mut levels: Vec<Vec<(&[u8], PathBuf)>> = vec![Vec::new(); LEVELS];
        for ((level, number), smallest) in &self.tables {
            let names = ["ldb", "sst"].map(|end| folder.join(format!("{number:06}.{end}")));
            let found = names.into_iter().find(|path| path.exists());
            let path = found.ok_or_else(|| {
                Error::format(format!("the database's table {number:06}.ldb is missing"))
                    .help("copy the whole folder again")
            })?;
            if *level == 0 {
                young.push(path);
            } else {
                levels[*level].push((bytes::key(smallest)?.0, path));
            }
        }
        let sorted = |mut tables: Vec<(&[u8], PathBuf)>| {
            tables.sort();
            tables.into_iter().map(|(_, path)| path).collect()
        };
        Ok(Version {
            young,
            levels: levels.into_iter().map(sorted).collect(),
            logs: self.logs(folder)?,
        })
    }

    /// The logs that count, by number.
    fn logs(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(folder).map_err(|e| Error::io("read", folder, &e))?;
        let mut logs: Vec<(u64, PathBuf)> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let number = name.strip_suffix(".log")?.parse().ok()?;
                Some((number, entry.path()))
            })
            .filter(|&(n, _)| n >= self.log || (n == self.previous_log && n > 0))
            .collect();
        logs.sort();
        Ok(logs.into_iter().map(|(_, path)| path).collect())
    }
}
