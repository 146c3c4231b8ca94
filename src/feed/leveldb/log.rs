//! LevelDB's log: records in pieces, in blocks of 32 KiB. Both the list of a database's files and its latest changes are
//! kept so.
//!
//! A piece has a head of 7 bytes: checksum, `u16` length, and whether it is all of a record (1), its start (2), middle
//! (3) or end (4). No piece crosses the end of a block, and the last 6 bytes of one hold none.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek as _, SeekFrom},
};

use crate::{
    error::{Error, Result},
    model_io::crc32c as crc,
};

const BLOCK: u64 = 32 << 10;
const HEAD: u64 = 7;

/// Where a value is in the log: its first byte, and how many there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    at: u64,
    length: u64,
}

/// Reads a log from its start.
pub(super) struct LogReader {
    file: BufReader<File>,
    at: u64,
    length: u64,
    /// The record's bytes.
    pub(super) record: Vec<u8>,
    /// Where its pieces begin: in the record, and in the file.
    pieces: Vec<(u64, u64)>,
}

fn damaged(at: u64) -> Error {
    Error::format(format!("a log of the database is damaged at byte {at}"))
        .help("copy or write the database again")
}

fn unreadable(e: &io::Error) -> Error {
    Error::format(format!("a log of the database cannot be read: {e}"))
}

impl LogReader {
    pub(super) fn new(file: File) -> Result<Self> {
        let length = file.metadata().map_err(|e| unreadable(&e))?.len();
        Ok(Self {
            file: BufReader::with_capacity(1 << 15, file),
            at: 0,
            length,
            record: Vec::new(),
            pieces: Vec::new(),
        })
    }

    /// Reads the next record. `false` at the end; a record that the file ends in was never completed.
    pub(super) fn advance(&mut self) -> Result<bool> {
        self.record.clear();
        self.pieces.clear();
        loop {
            let left = BLOCK - self.at % BLOCK;
            if left < HEAD {
                self.skip(left)?;
                continue;
            }
            let start = self.at;
            let mut head = [0; 7];
            if !self.fill(&mut head)? {
                return Ok(false);
            }
            let [c0, c1, c2, c3, l0, l1, kind] = head;
            let length = u64::from(u16::from_le_bytes([l0, l1]));
            if kind == 0 && length == 0 {
                // Space set aside and never used.
                self.skip(left - HEAD)?;
                continue;
            }
            if length > left - HEAD {
                return Err(damaged(start));
            }
            self.pieces.push((self.record_length(), self.at));
            let from = self.record.len();
            if self.length - self.at < length {
                return Ok(false);
            }
            self.record
                .resize(from + usize::from(u16::from_le_bytes([l0, l1])), 0);
            let mut record = std::mem::take(&mut self.record);
            let whole = self.fill(&mut record[from..]);
            self.record = record;
            if !whole? {
                return Ok(false);
            }
            let sum = crc::masked(&[&[kind], &self.record[from..]]);
            let first = self.pieces.len() == 1;
            if sum != u32::from_le_bytes([c0, c1, c2, c3]) || !(1..=4).contains(&kind) {
                return Err(damaged(start));
            }
            if first != matches!(kind, 1 | 2) {
                return Err(damaged(start));
            }
            if matches!(kind, 1 | 4) {
                return Ok(true);
            }
        }
    }

    /// Where bytes of the record are in the file.
    pub(super) fn span(&self, offset: usize, length: usize) -> Span {
        let of = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let next = self
            .pieces
            .partition_point(|&(start, _)| start <= of(offset));
        let (start, at) = self.pieces[next.saturating_sub(1)];
        Span {
            at: at + (of(offset) - start),
            length: of(length),
        }
    }

    fn record_length(&self) -> u64 {
        u64::try_from(self.record.len()).unwrap_or(u64::MAX)
    }

    fn skip(&mut self, count: u64) -> Result<()> {
        let mut rest = (&mut self.file).take(count);
        let skipped = io::copy(&mut rest, &mut io::sink()).map_err(|e| unreadable(&e))?;
        self.at += count.max(skipped);
        Ok(())
    }

    /// `false` where the file ends first.
    fn fill(&mut self, to: &mut [u8]) -> Result<bool> {
        match self.file.read_exact(to) {
            Ok(()) => {
                self.at += u64::try_from(to.len()).unwrap_or(0);
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(unreadable(&e)),
        }
    }
}

/// Appends the bytes of a span to `to`.
pub(super) fn read_span(file: &mut File, span: Span, to: &mut Vec<u8>) -> Result<()> {
    let Span {
        mut at,
        length: mut left,
    } = span;
    while left > 0 {
        // Where a record goes on, its piece fills the block, and the next one begins behind a head.
        let now = left.min(BLOCK - at % BLOCK);
        let read = file
            .seek(SeekFrom::Start(at))
            .and_then(|_| (&mut *file).take(now).read_to_end(to));
        if u64::try_from(read.map_err(|e| unreadable(&e))?).ok() != Some(now) {
            return Err(damaged(at));
        }
        left -= now;
        at += now + HEAD;
    }
    Ok(())
}

/// Appends a record to a log that is in memory from its start.
pub(super) fn append(log: &mut Vec<u8>, record: &[u8]) {
    const BLOCK: usize = 32 << 10;
    const HEAD: usize = 7;
    let mut rest = record;
    let mut first = true;
    loop {
        let mut left = BLOCK - log.len() % BLOCK;
        if left < HEAD {
            log.resize(log.len() + left, 0);
            left = BLOCK;
        }
        let (piece, after) = rest.split_at(rest.len().min(left - HEAD));
        let kind = match (first, after.is_empty()) {
            (true, true) => 1,
            (true, false) => 2,
            (false, false) => 3,
            (false, true) => 4,
        };
        log.extend(crc::masked(&[&[kind], piece]).to_le_bytes());
        // A piece is shorter than a block.
        log.extend(u16::try_from(piece.len()).unwrap_or(0).to_le_bytes());
        log.push(kind);
        log.extend_from_slice(piece);
        if after.is_empty() {
            return;
        }
        (rest, first) = (after, false);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn records_of_all_lengths_come_back() {
        let lengths = [0usize, 1, 32_754, 32_761, 5, 70_000, 32_768, 3];
        let records: Vec<Vec<u8>> = lengths.iter().map(|&n| vec![7; n]).collect();
        let mut log = Vec::new();
        for record in &records {
            append(&mut log, record);
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&log).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        let mut reader = LogReader::new(file).unwrap();
        for record in &records {
            assert!(reader.advance().unwrap());
            assert_eq!(&reader.record, record);
        }
        assert!(!reader.advance().unwrap());
    }
}
