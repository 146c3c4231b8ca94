//! The bytes of an HDF5 file, and numbers out of them. Nothing is allocated for what lies outside the file.

use std::{fs::File, path::Path};

use crate::{
    error::{Error, Result},
    model_io::skim::read_at,
};

/// Where the bytes are.
pub(super) enum Source {
    Disk(File, u64),
    Memory(Vec<u8>),
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let failed = |e: std::io::Error| Error::io("read", path, &e);
        let file = File::open(path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        if found.is_dir() {
            return Err(failed(std::io::ErrorKind::IsADirectory.into()));
        }
        Ok(Self::Disk(file, found.len()))
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Disk(_, length) => *length,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    pub(super) fn holds(&self, at: u64, length: u64) -> bool {
        at.checked_add(length).is_some_and(|end| end <= self.len())
    }

    /// Reads the bytes from `at` on.
    pub(super) fn read_into(&self, at: u64, to: &mut [u8]) -> Result<()> {
        if !self.holds(at, to.len() as u64) {
            return Err(cut());
        }
        match self {
            Self::Disk(file, _) => read_at(file, at, to)
                .map_err(|e| Error::format(format!("the file cannot be read: {e}"))),
            Self::Memory(bytes) => {
                let at = usize::try_from(at).map_err(|_| cut())?;
                let from = bytes.get(at..at + to.len()).ok_or_else(cut)?;
                to.copy_from_slice(from);
                Ok(())
            }
        }
    }

    pub(super) fn read(&self, at: u64, length: u64) -> Result<Vec<u8>> {
        if !self.holds(at, length) {
            return Err(cut());
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| cut())?];
        self.read_into(at, &mut bytes)?;
        Ok(bytes)
    }
}

/// What the file refers to is not there.
pub(super) fn cut() -> Error {
    Error::format("the HDF5 file is cut short or damaged: it refers to what lies behind its end")
        .help("copy or write the file again")
}

pub(super) fn damaged(what: &str) -> Error {
    Error::format(format!("the HDF5 file is damaged: {what}")).help("copy or write the file again")
}

/// Sizes of the two kinds of numbers whose width a file chooses.
#[derive(Clone, Copy)]
pub(super) struct Widths {
    pub(super) offset: usize,
    pub(super) length: usize,
}

/// Reads numbers one after the other, all of them little-endian.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    widths: Widths,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], widths: Widths) -> Self {
        Self { bytes, widths }
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(count)
            .ok_or_else(|| damaged("a structure ends too early"))?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(super) fn skip(&mut self, count: usize) -> Result<()> {
        self.take(count).map(|_| ())
    }

    /// A number of up to 8 bytes.
    pub(super) fn number(&mut self, width: usize) -> Result<u64> {
        if width > 8 {
            return Err(damaged("a number of more than 8 bytes"));
        }
        let bytes = self.take(width)?;
        Ok(bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(self.number(1)? as u8)
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        Ok(self.number(2)? as u16)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(self.number(4)? as u32)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.number(8)
    }

    pub(super) fn length(&mut self) -> Result<u64> {
        self.number(self.widths.length)
    }

    /// An address in the file; `None` where it is undefined, all bits being set.
    pub(super) fn address(&mut self) -> Result<Option<u64>> {
        let width = self.widths.offset;
        let at = self.number(width)?;
        Ok((at != u64::MAX >> (64 - 8 * width)).then_some(at))
    }

    pub(super) fn signature(&mut self, wanted: &[u8; 4]) -> Result<()> {
        if self.take(4)? == wanted {
            return Ok(());
        }
        let name = String::from_utf8_lossy(wanted);
        Err(damaged(&format!(
            "no {name} block where one is referred to"
        )))
    }
}

/// Bytes that hold every number up to `most`.
pub(super) fn width_of(most: u64) -> usize {
    (most.max(1).ilog2() / 8 + 1) as usize
}
