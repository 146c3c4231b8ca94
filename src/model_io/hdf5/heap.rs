//! Heaps: the fractal one, where new groups keep many links, and the global one, where texts of any length are.

use super::{
    Walk,
    bytes::{cut, damaged, width_of},
};
use crate::error::{Error, Result};

/// A heap of objects in blocks whose sizes double from row to row.
pub(super) struct FractalHeap {
    width: u64,
    start: u64,
    largest: u64,
    root: Option<u64>,
    /// Rows of the root, where it is a block of blocks; else 0.
    rows: u64,
    /// Bytes of an offset and of a length in the name of an object.
    offset: usize,
    length: usize,
}

impl FractalHeap {
    pub(super) fn open(walk: &mut Walk<'_>, at: u64) -> Result<Self> {
        let widths = walk.file.widths;
        let size = 26 + 12 * widths.length as u64 + 3 * widths.offset as u64;
        let head = walk.block(at, size)?;
        let mut c = walk.cursor(&head);
        c.signature(b"FRHP")?;
        c.skip(1)?;
        c.skip(2)?;
        if c.u16()? != 0 {
            return Err(Error::unsupported("a group whose links are compressed"));
        }
        c.skip(1)?;
        let most = u64::from(c.u32()?);
        c.length()?;
        c.address()?;
        c.length()?;
        c.address()?;
        for _ in 0..8 {
            c.length()?;
        }
        let width = u64::from(c.u16()?);
        let start = c.length()?;
        let largest = c.length()?;
        let bits = c.u16()?;
        c.skip(2)?;
        let root = c.address()?;
        let rows = u64::from(c.u16()?);
        let sound = start.is_power_of_two()
            && largest.is_power_of_two()
            && start <= largest
            && width.is_power_of_two()
            && bits <= 64
            && rows <= 64;
        if !sound {
            return Err(damaged("a heap of impossible form"));
        }
        Ok(Self {
            width,
            start,
            largest,
            root,
            rows,
            offset: usize::from(bits.div_ceil(8)),
            length: (largest.ilog2().div_ceil(8) as usize).min(width_of(most)),
        })
    }

    /// Bytes of each block in a row.
    fn block(&self, row: u64) -> Option<u64> {
        self.start
            .checked_shl(u32::try_from(row.saturating_sub(1)).ok()?)
    }

    /// The object of this name.
    pub(super) fn object(&self, walk: &mut Walk<'_>, id: &[u8]) -> Result<Vec<u8>> {
        let mut c = walk.cursor(id);
        if c.u8()? & 0x30 != 0 {
            return Err(Error::unsupported("a group with a link of unusual length"));
        }
        let offset = c.number(self.offset)?;
        let length = c.number(self.length)?;
        let root = self.root.ok_or_else(cut)?;
        let (block, from) = if self.rows == 0 {
            (root, offset)
        } else {
            self.find(walk, root, self.rows, offset)?
        };
        walk.block(block.checked_add(from).ok_or_else(cut)?, length)
    }

    /// The direct block that holds an offset, and the offset in it.
    fn find(
        &self,
        walk: &mut Walk<'_>,
        root: u64,
        mut rows: u64,
        mut offset: u64,
    ) -> Result<(u64, u64)> {
        let lost = || damaged("an object lies outside its heap");
        let mut at = root;
        // Blocks within blocks get smaller, so this ends.
        for _ in 0..64 {
            let mut start = 0u64;
            let mut row = 0;
            let size = loop {
                let size = self.block(row).ok_or_else(lost)?;
                let whole = size.checked_mul(self.width).ok_or_else(lost)?;
                if row >= rows {
                    return Err(lost());
                }
                if offset - start < whole {
                    break size;
                }
                start = start
                    .checked_add(whole)
                    .filter(|&s| s <= offset)
                    .ok_or_else(lost)?;
                row += 1;
            };
            let column = (offset - start) / size;
            let head = 5 + walk.file.widths.offset as u64 + self.offset as u64;
            let entry = (row * self.width + column) * walk.file.widths.offset as u64;
            let entry = at.checked_add(head + entry).ok_or_else(cut)?;
            let mark = walk.block(at, 4)?;
            walk.cursor(&mark).signature(b"FHIB")?;
            let bytes = walk.block(entry, walk.file.widths.offset as u64)?;
            at = walk.cursor(&bytes).address()?.ok_or_else(lost)?;
            offset = (offset - start) % size;
            if size <= self.largest {
                return Ok((at, offset));
            }
            // A block of blocks that covers `size` bytes.
            let first = self.start * self.width;
            rows = u64::from(
                size.checked_div(first)
                    .filter(|&n| n > 0)
                    .ok_or_else(lost)?
                    .ilog2(),
            ) + 1;
        }
        Err(lost())
    }
}

/// The object `index` of the global heap collection at `at`.
pub(super) fn global(walk: &mut Walk<'_>, at: u64, index: u32) -> Result<Vec<u8>> {
    let length = walk.file.widths.length;
    let head = walk.block(at, 8 + length as u64)?;
    let mut c = walk.cursor(&head);
    c.signature(b"GCOL")?;
    c.skip(4)?;
    let size = c.length()?;
    let body = size.checked_sub(head.len() as u64).ok_or_else(cut)?;
    let body = walk.block(at + head.len() as u64, body)?;
    let mut c = walk.cursor(&body);
    while c.left() >= 8 + length {
        let number = c.u16()?;
        c.skip(6)?;
        let size = usize::try_from(c.length()?).map_err(|_| cut())?;
        if u32::from(number) == index {
            return Ok(c.take(size)?.to_vec());
        }
        if number == 0 {
            break;
        }
        let padded = size.checked_next_multiple_of(8).ok_or_else(cut)?;
        c.skip(padded.min(c.left()))?;
    }
    Err(damaged("a text is not in its heap"))
}
