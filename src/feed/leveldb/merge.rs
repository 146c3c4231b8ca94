//! The records of a whole LevelDB in the order of their keys: its tables and logs, merged, of each key the latest change.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    bytes::{self, damaged},
    log::{LogReader, Span, read_span},
    table::TableReader,
    version::Version,
};
use crate::error::{Error, Result};

/// The latest change of a key in the logs.
struct Change {
    number: u64,
    /// Log and place of the value; `None` where the key was deleted.
    value: Option<(usize, Span)>,
}

/// What the logs hold: keys in memory, values where they are.
pub(super) struct Recent {
    logs: Vec<PathBuf>,
    changes: Vec<(Vec<u8>, Change)>,
}

impl Recent {
    pub(super) fn read(logs: &[PathBuf]) -> Result<Self> {
        let mut changes: BTreeMap<Vec<u8>, Change> = BTreeMap::new();
        for (i, path) in logs.iter().enumerate() {
            let file = File::open(path).map_err(|e| Error::io("open", path, &e))?;
            let mut log = LogReader::new(file)?;
            while log.advance()? {
                batch(&log, i, &mut changes)?;
            }
        }
        Ok(Self {
            logs: logs.to_vec(),
            changes: changes.into_iter().collect(),
        })
    }
}

/// Takes the changes of one record of a log: the number of the first, how many, and each.
fn batch(log: &LogReader, file: usize, changes: &mut BTreeMap<Vec<u8>, Change>) -> Result<()> {
    let mut rest = &log.record[..];
    let first = bytes::u64(&mut rest)?;
    let count = bytes::u32(&mut rest)?;
    let mut number = first;
    while !rest.is_empty() {
        let kind = bytes::byte(&mut rest)?;
        let key = bytes::sized(&mut rest)?;
        let value = match kind {
            0 => None,
            1 => {
                let value = bytes::sized(&mut rest)?;
                let end = log.record.len() - rest.len();
                Some((file, log.span(end - value.len(), value.len())))
            }
            _ => return Err(damaged("a change of an unknown kind")),
        };
        changes.insert(key.to_vec(), Change { number, value });
        number = number.wrapping_add(1);
    }
    if number.wrapping_sub(first) != u64::from(count) {
        return Err(damaged("a log counts its changes wrong"));
    }
    Ok(())
}

/// Records in order: tables one after the other.
struct Run {
    tables: std::vec::IntoIter<PathBuf>,
    table: Option<TableReader>,
}

impl Run {
    /// Goes to the next record; `false` at the end.
    fn advance(&mut self) -> Result<bool> {
        loop {
            if let Some(table) = &mut self.table
                && table.advance()?
            {
                return Ok(true);
            }
            self.table = None;
            match self.tables.next() {
                Some(path) => self.table = Some(TableReader::open(&path)?),
                None => return Ok(false),
            }
        }
    }

    /// The record it is at, if any.
    fn record(&self) -> Result<Option<(&[u8], u64, bool)>> {
        self.table.as_ref().map(|t| bytes::key(t.key())).transpose()
    }
}

/// Goes through all records.
pub(super) struct Merge {
    recent: Arc<Recent>,
    /// Number of the next change of the logs.
    next: usize,
    /// Logs that values were read from.
    files: Vec<Option<File>>,
    runs: Vec<Run>,
    key: Vec<u8>,
    began: bool,
    /// Changes of the current key that are in the tables and logs.
    changes: usize,
}

impl Merge {
    pub(super) fn new(version: &Version, recent: &Arc<Recent>) -> Result<Self> {
        let young = version.young.iter().map(|path| vec![path.clone()]);
        let levels = version.levels.iter().cloned();
        let mut runs = Vec::new();
        for tables in young.chain(levels) {
            let mut run = Run {
                tables: tables.into_iter(),
                table: None,
            };
            if run.advance()? {
                runs.push(run);
            }
        }
        Ok(Self {
            recent: Arc::clone(recent),
            next: 0,
            files: recent.logs.iter().map(|_| None).collect(),
            runs,
            key: Vec::new(),
            began: false,
            changes: 0,
        })
    }

    /// The key of the record that [`advance`](Self::advance) went to.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// How often that key was written.
    pub(super) fn changes(&self) -> usize {
        self.changes
    }

    /// Goes to the next record and appends its value to `to`, if given; `false` at the end.
    pub(super) fn advance(&mut self, mut to: Option<&mut Vec<u8>>) -> Result<bool> {
        loop {
            // The smallest key; of several changes of it the latest.
            let mut best: Option<(Option<usize>, &[u8], u64, bool)> = None;
            let recent = self.recent.changes.get(self.next);
            if let Some((key, change)) = recent {
                best = Some((None, key, change.number, change.value.is_some()));
            }
            for (i, run) in self.runs.iter().enumerate() {
                let Some((key, number, put)) = run.record()? else {
                    continue;
                };
                let before = best.is_none_or(|(_, other, later, _)| match key.cmp(other) {
                    Ordering::Less => true,
                    Ordering::Equal => number > later,
                    Ordering::Greater => false,
                });
                if before {
                    best = Some((Some(i), key, number, put));
                }
            }
            let Some((whose, key, _, put)) = best else {
                return Ok(false);
            };
            if self.began && key <= &self.key[..] {
                return Err(damaged("its keys are not in order"));
            }
            self.began = true;
            self.key.clear();
            self.key.extend_from_slice(key);
            if put && let Some(to) = to.as_deref_mut() {
                match whose {
                    Some(run) => {
                        let table = self.runs[run].table.as_ref();
                        to.extend_from_slice(table.map_or(&[], |t| t.value()));
                    }
                    None => {
                        if let Some((log, span)) = recent.and_then(|(_, change)| change.value) {
                            let file = open(&mut self.files[log], &self.recent.logs[log])?;
                            read_span(file, span, to)?;
                        }
                    }
                }
            }
            self.leave()?;
            if put {
                return Ok(true);
            }
        }
    }

    /// Goes behind every change of the current key.
    fn leave(&mut self) -> Result<()> {
        self.changes = 0;
        let recent = self.recent.changes.get(self.next);
        if recent.is_some_and(|(key, _)| *key == self.key) {
            self.next += 1;
            self.changes += 1;
        }
        let mut ended = false;
        for run in &mut self.runs {
            while run.record()?.is_some_and(|(key, ..)| key == self.key) {
                run.advance()?;
                self.changes += 1;
            }
            ended |= run.table.is_none();
        }
        if ended {
            self.runs.retain(|run| run.table.is_some());
        }
        Ok(())
    }
}

fn open<'a>(file: &'a mut Option<File>, path: &Path) -> Result<&'a mut File> {
    match file {
        Some(file) => Ok(file),
        none => Ok(none.insert(File::open(path).map_err(|e| Error::io("open", path, &e))?)),
    }
}
