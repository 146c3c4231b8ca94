//! Making LevelDB's tables: the counterpart of [`super::table`].

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use super::{
    bytes::{put_length, put_sized, put_varint},
    table::MAGIC,
};
use crate::{
    error::{Error, Result},
    model_io::crc32c as crc,
};

/// A block is closed once its records take so much; Caffe's choice.
const BLOCK: usize = 64 << 10;
/// Every so many records of a block a key stands whole.
const WHOLE_EVERY: usize = 16;

/// Records in a row; keys leave out what they share with the one before.
struct Block {
    bytes: Vec<u8>,
    /// Where keys stand whole.
    whole: Vec<u32>,
    since: usize,
    every: usize,
    last: Vec<u8>,
}

impl Block {
    fn new(every: usize) -> Self {
        Self {
            bytes: Vec::new(),
            whole: vec![0],
            since: 0,
            every,
            last: Vec::new(),
        }
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut common = 0;
        if self.since < self.every {
            let pairs = self.last.iter().zip(key);
            common = pairs.take_while(|(a, b)| a == b).count();
        } else {
            let at = u32::try_from(self.bytes.len());
            self.whole
                .push(at.map_err(|_| Error::data("a record is too large for a LevelDB"))?);
            self.since = 0;
        }
        self.since += 1;
        put_length(&mut self.bytes, common);
        put_length(&mut self.bytes, key.len() - common);
        put_length(&mut self.bytes, value.len());
        self.bytes.extend_from_slice(&key[common..]);
        self.bytes.extend_from_slice(value);
        self.last.clear();
        self.last.extend_from_slice(key);
        Ok(())
    }

    /// The bytes of the block, which is empty afterwards.
    fn take(&mut self) -> Vec<u8> {
        let done = std::mem::replace(self, Self::new(self.every));
        let mut bytes = done.bytes;
        for at in &done.whole {
            bytes.extend(at.to_le_bytes());
        }
        let count = u32::try_from(done.whole.len()).unwrap_or(u32::MAX);
        bytes.extend(count.to_le_bytes());
        bytes
    }
}

/// A finished table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) size: u64,
    /// First and last key, as tables hold them.
    pub(super) smallest: Vec<u8>,
    pub(super) largest: Vec<u8>,
}

/// A table in the making. Keys come in order, each as tables hold it.
pub(super) struct TableBuilder {
    file: BufWriter<File>,
    table: Table,
    block: Block,
    index: Block,
    packer: snap::raw::Encoder,
}

impl TableBuilder {
    pub(super) fn create(folder: &Path, number: u64) -> Result<Self> {
        let path = folder.join(format!("{number:06}.ldb"));
        let file = File::create_new(&path).map_err(|e| Error::io("create", &path, &e))?;
        Ok(Self {
            file: BufWriter::with_capacity(1 << 18, file),
            table: Table {
                number,
                path,
                size: 0,
                smallest: Vec::new(),
                largest: Vec::new(),
            },
            block: Block::new(WHOLE_EVERY),
            // An index is searched by bisection: all of its keys are whole.
            index: Block::new(1),
            packer: snap::raw::Encoder::new(),
        })
    }

    /// Bytes written so far.
    pub(super) fn size(&self) -> u64 {
        self.table.size
    }

    /// The last key, as tables hold it.
    pub(super) fn last(&self) -> &[u8] {
        &self.table.largest
    }

    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if self.table.smallest.is_empty() {
            self.table.smallest = key.to_vec();
        }
        self.block.add(key, value)?;
        self.table.largest.clear();
        self.table.largest.extend_from_slice(key);
        if self.block.bytes.len() >= BLOCK {
            self.close_block()?;
        }
        Ok(())
    }

    fn close_block(&mut self) -> Result<()> {
        let bytes = self.block.take();
        let place = self.write_block(bytes)?;
        self.index.add(&self.table.largest, &place)
    }

    /// Writes a block, packed where that saves an eighth, and returns its place as the index says it.
    fn write_block(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        let packed = self.packer.compress_vec(&bytes).ok();
        let packed = packed.filter(|packed| packed.len() < bytes.len() - bytes.len() / 8);
        let (kind, bytes) = match packed {
            Some(packed) => (1u8, packed),
            None => (0, bytes),
        };
        let mut place = Vec::new();
        put_varint(&mut place, self.table.size);
        put_length(&mut place, bytes.len());
        let sum = crc::masked(&[&bytes[..], &[kind]]);
        self.write(&bytes)?;
        self.write(&[kind])?;
        self.write(&sum.to_le_bytes())?;
        Ok(place)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .map_err(|e| Error::io("write", &self.table.path, &e))?;
        self.table.size += u64::try_from(bytes.len()).unwrap_or(0);
        Ok(())
    }

    /// Writes the index and what points to it, and syncs.
    pub(super) fn finish(mut self) -> Result<Table> {
        if !self.block.bytes.is_empty() {
            self.close_block()?;
        }
        // No filters.
        let mut footer = self.write_block(Block::new(1).take())?;
        let index = self.index.take();
        footer.extend(self.write_block(index)?);
        footer.resize(40, 0);
        footer.extend(MAGIC.to_le_bytes());
        self.write(&footer)?;
        let failed = |e: std::io::Error| Error::io("write", &self.table.path, &e);
        let file = self.file.into_inner().map_err(|e| failed(e.into_error()))?;
        file.sync_all().map_err(failed)?;
        Ok(self.table)
    }
}

/// What a manifest says of a new table on this level.
pub(super) fn put_table(edit: &mut Vec<u8>, level: u64, table: &Table) {
    put_varint(edit, 7);
    put_varint(edit, level);
    put_varint(edit, table.number);
    put_varint(edit, table.size);
    put_sized(edit, &table.smallest);
    put_sized(edit, &table.largest);
}
