//! LevelDB's tables: sorted records in blocks, and an index of the blocks.
//!
//! A block has its compression and a checksum behind it. In it each key leaves out what it has in common with the one
//! before; the offsets at its end, for searching, are of no use here. The last 48 bytes of a table say where the index
//! is.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
};

use super::bytes::{self, damaged};
use crate::{
    error::{Error, Result},
    model_io::crc32c as crc,
};

const FOOTER: usize = 48;
pub(super) const MAGIC: u64 = 0xDB47_7524_8B80_FB57;
/// What Snappy can make of a byte, at most and about.
const SWELL: usize = 32;

/// The records of a block, one after the other.
#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    /// Where the next record begins, and where the records end.
    at: usize,
    end: usize,
    key: Vec<u8>,
    value: std::ops::Range<usize>,
}

impl Block {
    fn new(bytes: Vec<u8>) -> Result<Self> {
        let short = || damaged("a block is too short");
        let (rest, count) = bytes.split_last_chunk().ok_or_else(short)?;
        let count = usize::try_from(u32::from_le_bytes(*count)).map_err(|_| short())?;
        let offsets = count.checked_mul(4).ok_or_else(short)?;
        let end = rest.len().checked_sub(offsets).ok_or_else(short)?;
        Ok(Self {
            bytes,
            end,
            ..Self::default()
        })
    }

    /// Goes to the next record; `false` at the end.
    fn advance(&mut self) -> Result<bool> {
        let mut rest = self.bytes.get(self.at..self.end).unwrap_or(&[]);
        if rest.is_empty() {
            return Ok(false);
        }
        let common = bytes::length(&mut rest)?;
        let own = bytes::length(&mut rest)?;
        let value = bytes::length(&mut rest)?;
        if common > self.key.len() {
            return Err(damaged("a key goes on where none is"));
        }
        self.key.truncate(common);
        self.key.extend_from_slice(bytes::take(&mut rest, own)?);
        let start = self.end - rest.len();
        bytes::take(&mut rest, value)?;
        self.value = start..start + value;
        self.at = start + value;
        Ok(true)
    }

    fn value(&self) -> &[u8] {
        &self.bytes[self.value.clone()]
    }
}

/// Goes through a table's records. One block of it is in memory at a time, and the index.
pub(super) struct TableReader {
    file: File,
    length: u64,
    index: Block,
    block: Block,
}

impl TableReader {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let failed = |e: std::io::Error| Error::io("read", path, &e);
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut table = Self {
            file,
            length,
            index: Block::default(),
            block: Block::default(),
        };
        let from = length.checked_sub(48).ok_or_else(|| cut(path))?;
        let footer = table.read(from, FOOTER)?;
        let mut rest = &footer[..];
        // The index of the filters, which only searching needs.
        bytes::varint(&mut rest)?;
        bytes::varint(&mut rest)?;
        let index = (bytes::varint(&mut rest)?, bytes::varint(&mut rest)?);
        let mut magic = &footer[FOOTER - 8..];
        if bytes::u64(&mut magic)? != MAGIC {
            return Err(cut(path));
        }
        table.index = Block::new(table.contents(index)?)?;
        Ok(table)
    }

    /// Goes to the next record; `false` at the end.
    pub(super) fn advance(&mut self) -> Result<bool> {
        while !self.block.advance()? {
            if !self.index.advance()? {
                return Ok(false);
            }
            let mut place = self.index.value();
            let place = (bytes::varint(&mut place)?, bytes::varint(&mut place)?);
            // The memory of the last one goes first.
            self.block = Block::default();
            self.block = Block::new(self.contents(place)?)?;
        }
        Ok(true)
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.block.key
    }

    pub(super) fn value(&self) -> &[u8] {
        self.block.value()
    }

    fn read(&mut self, at: u64, count: usize) -> Result<Vec<u8>> {
        let outside = || damaged("a table refers to what lies behind its end");
        let end = u64::try_from(count).ok().and_then(|n| at.checked_add(n));
        if end.is_none_or(|end| end > self.length) {
            return Err(outside());
        }
        let mut bytes = vec![0; count];
        self.file
            .seek(SeekFrom::Start(at))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(|e| damaged(&format!("a table cannot be read: {e}")))?;
        Ok(bytes)
    }

    /// A block's records, unpacked.
    fn contents(&mut self, (at, length): (u64, u64)) -> Result<Vec<u8>> {
        let count = usize::try_from(length).ok().and_then(|n| n.checked_add(5));
        let mut bytes = self.read(at, count.unwrap_or(usize::MAX))?;
        let sum = bytes.split_off(bytes.len() - 4);
        if bytes::u32(&mut &sum[..])? != crc::masked(&[&bytes]) {
            return Err(damaged("the checksum of a block is wrong"));
        }
        match bytes.pop() {
            Some(0) => Ok(bytes),
            Some(1) => {
                let bad = |e: snap::Error| damaged(&format!("a block cannot be unpacked: {e}"));
                let long = snap::raw::decompress_len(&bytes).map_err(bad)?;
                if long > bytes.len().saturating_mul(SWELL) {
                    return Err(damaged("a block claims to be longer than it can be"));
                }
                snap::raw::Decoder::new()
                    .decompress_vec(&bytes)
                    .map_err(bad)
            }
            _ => Err(Error::unsupported(
                "a LevelDB whose blocks are packed otherwise than by Snappy",
            )
            .help("write it again with Snappy, or as LMDB")),
        }
    }
}

fn cut(path: &Path) -> Error {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    damaged(&format!("table {name} is cut short or foreign"))
}
