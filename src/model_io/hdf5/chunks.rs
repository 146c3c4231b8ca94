//! Where the chunks of a dataset are: each of the indices that a file may have.

use super::{
    Walk,
    bytes::{Cursor, cut, damaged},
    layout::Extents,
    tree::Records,
};
use crate::error::{Error, Result};

/// A chunk in the file.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) at: u64,
    /// Bytes in the file.
    pub(super) stored: u64,
    /// Filters that it did not go through, a bit for each.
    pub(super) skipped: u32,
    /// Its place, counted in chunks along each axis.
    pub(super) place: Vec<u64>,
}

/// The index of a chunked dataset, as its layout tells.
#[derive(Debug)]
pub(super) enum Index {
    /// A tree of version 1.
    Tree,
    /// The only chunk: its bytes and skipped filters where it is filtered.
    Single(Option<(u64, u32)>),
    /// All chunks in a row.
    Implicit,
    FixedArray,
    ExtensibleArray,
    /// A tree of version 2.
    Records,
}

/// Shapes in which an index counts.
pub(super) struct Grid<'a> {
    pub(super) extents: &'a Extents,
    /// Elements of a chunk along each axis, none of them 0.
    pub(super) chunk: &'a [u64],
    /// Bytes of a chunk before filters.
    pub(super) bytes: u64,
    pub(super) filtered: bool,
}

impl Grid<'_> {
    fn along(&self, axis: usize, extent: u64) -> u64 {
        extent.div_ceil(self.chunk[axis])
    }

    /// Chunks of the dataset as it is now; `None` beyond all bounds.
    fn count(&self) -> Option<u64> {
        let dims = self.extents.dims.iter().enumerate();
        dims.map(|(axis, &d)| self.along(axis, d))
            .try_fold(1u64, u64::checked_mul)
    }

    /// The place of the chunk that an array counts as number `n`: in the order of the greatest extents the dataset may
    /// have, an unlimited axis first.
    fn place(&self, n: u64) -> Vec<u64> {
        let extents = self.extents;
        let mut order: Vec<usize> = (0..self.chunk.len()).collect();
        if let Some(endless) = extents.most.iter().position(Option::is_none) {
            order.remove(endless);
            order.insert(0, endless);
        }
        let mut place = vec![0; order.len()];
        let mut left = n;
        for &axis in order.iter().rev() {
            place[axis] = match extents.most[axis] {
                Some(most) => {
                    let along = self.along(axis, most).max(1);
                    let at = left % along;
                    left /= along;
                    at
                }
                None => std::mem::take(&mut left),
            };
        }
        place
    }

    /// A chunk as an array or a record keeps it: address, and where filtered its bytes and skipped filters.
    fn element(&self, mut c: Cursor<'_>, tail: usize) -> Result<Option<Chunk>> {
        let at = c.address()?;
        let (stored, skipped) = if self.filtered {
            let width = c.left().checked_sub(4 + tail).ok_or_else(cut)?;
            (c.number(width)?, c.u32()?)
        } else {
            (self.bytes, 0)
        };
        Ok(at.map(|at| Chunk {
            at,
            stored,
            skipped,
            place: Vec::new(),
        }))
    }
}

/// All chunks that were written.
pub(super) fn find(
    walk: &mut Walk<'_>,
    index: &Index,
    at: u64,
    grid: &Grid<'_>,
) -> Result<Vec<Chunk>> {
    let mut chunks = Vec::new();
    let add = |n: u64, chunk: Option<Chunk>, chunks: &mut Vec<Chunk>| {
        if let Some(chunk) = chunk {
            let place = grid.place(n);
            chunks.push(Chunk { place, ..chunk });
        }
    };
    match index {
        Index::Single(filtered) => {
            let (stored, skipped) = filtered.unwrap_or((grid.bytes, 0));
            let place = vec![0; grid.chunk.len()];
            chunks.push(Chunk {
                at,
                stored,
                skipped,
                place,
            });
        }
        Index::Implicit => {
            let count = grid.count().ok_or_else(cut)?;
            let all = count.checked_mul(grid.bytes).ok_or_else(cut)?;
            walk.file.check(at, all)?;
            for n in 0..count {
                let chunk = Chunk {
                    at: at + n * grid.bytes,
                    stored: grid.bytes,
                    skipped: 0,
                    place: Vec::new(),
                };
                add(n, Some(chunk), &mut chunks);
            }
        }
        Index::Tree => old_tree(walk, at, None, grid, &mut chunks)?,
        Index::Records => {
            let records = Records::read(walk, at)?;
            let tail = 8 * grid.chunk.len();
            for record in records.iter() {
                let mut c = walk.cursor(record);
                let Some(chunk) = grid.element(c.clone(), tail)? else {
                    continue;
                };
                c.skip(record.len().checked_sub(tail).ok_or_else(cut)?)?;
                let place = grid.chunk.iter().map(|_| c.u64()).collect::<Result<_>>()?;
                chunks.push(Chunk { place, ..chunk });
            }
        }
        Index::FixedArray => fixed(walk, at, &mut |n, c| {
            add(n, grid.element(c, 0)?, &mut chunks);
            Ok(())
        })?,
        Index::ExtensibleArray => extensible(walk, at, &mut |n, c| {
            add(n, grid.element(c, 0)?, &mut chunks);
            Ok(())
        })?,
    }
    Ok(chunks)
}

fn old_tree(
    walk: &mut Walk<'_>,
    at: u64,
    level: Option<u8>,
    grid: &Grid<'_>,
    chunks: &mut Vec<Chunk>,
) -> Result<()> {
    let offset = walk.file.widths.offset;
    let head = walk.block(at, 8 + 2 * offset as u64)?;
    let mut c = walk.cursor(&head);
    c.signature(b"TREE")?;
    let (kind, own, entries) = (c.u8()?, c.u8()?, u64::from(c.u16()?));
    if kind != 1 || level.is_some_and(|level| level != own) {
        return Err(damaged("a dataset's tree has a foreign node"));
    }
    // The key after the last child is of no use here.
    let entry = 8 + 8 * (grid.chunk.len() + 1) + offset;
    let body = walk.block(at.saturating_add(head.len() as u64), entries * entry as u64)?;
    for entry in body.chunks_exact(entry) {
        let mut c = walk.cursor(entry);
        let (stored, skipped) = (u64::from(c.u32()?), c.u32()?);
        let mut place = Vec::with_capacity(grid.chunk.len());
        for &extent in grid.chunk {
            place.push(c.u64()? / extent);
        }
        c.skip(8)?;
        let child = c.address()?.ok_or_else(cut)?;
        match own.checked_sub(1) {
            Some(below) => old_tree(walk, child, Some(below), grid, chunks)?,
            None => chunks.push(Chunk {
                at: child,
                stored,
                skipped,
                place,
            }),
        }
    }
    Ok(())
}

/// What an array calls for each of its elements, with its number.
type Each<'f> = &'f mut dyn FnMut(u64, Cursor<'_>) -> Result<()>;

/// Gives out `count` elements, the first of them number `first`.
fn elements(
    walk: &mut Walk<'_>,
    at: u64,
    width: usize,
    first: u64,
    count: u64,
    each: Each<'_>,
) -> Result<()> {
    let bytes = walk.block(at, count.checked_mul(width as u64).ok_or_else(cut)?)?;
    for (n, element) in (first..).zip(bytes.chunks_exact(width)) {
        each(n, walk.cursor(element))?;
    }
    Ok(())
}

/// Bits for pages, the first one highest: whether a page was ever written.
struct Written {
    bits: Vec<u8>,
    first: u64,
}

impl Written {
    fn has(&self, page: u64) -> bool {
        let bit = self.first.saturating_add(page);
        let byte = usize::try_from(bit / 8).ok().and_then(|i| self.bits.get(i));
        byte.is_some_and(|byte| byte >> (7 - bit % 8) & 1 == 1)
    }
}

/// Gives out the elements of a block that is kept in pages of `page` elements, with a checksum before and behind each.
fn paged(
    walk: &mut Walk<'_>,
    mut at: u64,
    (width, page): (usize, u64),
    (first, count): (u64, u64),
    written: &Written,
    each: Each<'_>,
) -> Result<()> {
    at = at.saturating_add(4);
    for n in 0..count.div_ceil(page) {
        let now = page.min(count - n * page);
        if written.has(n) {
            elements(walk, at, width, first + n * page, now, each)?;
        }
        at = at.saturating_add(now * width as u64 + 4);
    }
    Ok(())
}

fn page_of(bits: u8) -> Result<u64> {
    1u64.checked_shl(bits.into())
        .filter(|_| bits < 32)
        .ok_or_else(|| damaged("pages of impossible size"))
}

fn fixed(walk: &mut Walk<'_>, at: u64, each: Each<'_>) -> Result<()> {
    let widths = walk.file.widths;
    let head = walk.block(at, 8 + (widths.length + widths.offset) as u64 + 4)?;
    let mut c = walk.cursor(&head);
    c.signature(b"FAHD")?;
    c.skip(2)?;
    let width = usize::from(c.u8()?).max(1);
    let page = page_of(c.u8()?)?;
    let count = c.length()?;
    let Some(block) = c.address()? else {
        return Ok(());
    };
    let head = 6 + widths.offset as u64;
    let mark = walk.block(block, head)?;
    walk.cursor(&mark).signature(b"FADB")?;
    let pages = count.div_ceil(page);
    let at = block.saturating_add(head);
    if pages <= 1 {
        return elements(walk, at, width, 0, count, each);
    }
    let bits = walk.block(at, pages.div_ceil(8))?;
    let at = at.saturating_add(bits.len() as u64);
    let written = Written { bits, first: 0 };
    paged(walk, at, (width, page), (0, count), &written, each)
}

/// An array that grows: elements in the index block, then data blocks that it lists, then super blocks of data blocks.
/// The blocks' sizes double every second group of them.
fn extensible(walk: &mut Walk<'_>, at: u64, each: Each<'_>) -> Result<()> {
    let widths = walk.file.widths;
    let head = walk.block(at, 12 + (6 * widths.length + widths.offset) as u64 + 4)?;
    let mut c = walk.cursor(&head);
    c.signature(b"EAHD")?;
    c.skip(2)?;
    let width = usize::from(c.u8()?).max(1);
    let bits = c.u8()?;
    let in_index = u64::from(c.u8()?);
    let least = u64::from(c.u8()?);
    let pointers = u64::from(c.u8()?);
    let page = page_of(c.u8()?)?;
    for _ in 0..4 {
        c.length()?;
    }
    // One more than the last element that was ever set.
    let count = c.length()?;
    c.length()?;
    let Some(index) = c.address()? else {
        return Ok(());
    };
    if bits > 64 || !least.is_power_of_two() || !pointers.is_power_of_two() {
        return Err(damaged("an index of impossible form"));
    }
    let number = u64::from(bits.div_ceil(8));
    let head = 6 + widths.offset as u64;
    let mark = walk.block(index, head)?;
    walk.cursor(&mark).signature(b"EAIB")?;
    let mut at = index.saturating_add(head);
    elements(walk, at, width, 0, in_index.min(count), each)?;
    at = at.saturating_add(in_index * width as u64);
    let mut first = in_index;
    let direct = 2 * u64::from(pointers.ilog2());
    for group in 0u64.. {
        if first >= count {
            return Ok(());
        }
        // Data blocks of this group, and elements in each.
        let too_many = || damaged("an index counts more than it can hold");
        let blocks = 1u64.checked_shl((group / 2) as u32).ok_or_else(too_many)?;
        let size = 1u64
            .checked_shl(group.div_ceil(2) as u32)
            .and_then(|n| n.checked_mul(least))
            .ok_or_else(too_many)?;
        let pages = if size > page { size / page } else { 0 };
        let mut written = Written {
            bits: Vec::new(),
            first: 0,
        };
        let listed = if group < direct {
            let list = walk.addresses(at, blocks)?;
            at = at.saturating_add(blocks * widths.offset as u64);
            list
        } else {
            let own = walk.addresses(at, 1)?;
            at = at.saturating_add(widths.offset as u64);
            match own.first() {
                Some(&Some(own)) => {
                    let mark = walk.block(own, 4)?;
                    walk.cursor(&mark).signature(b"EASB")?;
                    let bits = blocks.checked_mul(pages.div_ceil(8)).ok_or_else(too_many)?;
                    let list = own.saturating_add(head + number);
                    written.bits = walk.block(list, bits)?;
                    walk.addresses(list.saturating_add(bits), blocks)?
                }
                _ => Vec::new(),
            }
        };
        for (n, block) in (0..).zip(&listed) {
            let start = first.saturating_add(size.saturating_mul(n));
            let Some(block) = block.filter(|_| start < count) else {
                continue;
            };
            let mark = walk.block(block, 4)?;
            walk.cursor(&mark).signature(b"EADB")?;
            let data = block.saturating_add(head + number);
            let now = size.min(count - start);
            if pages == 0 {
                elements(walk, data, width, start, now, each)?;
            } else {
                written.first = n * pages;
                paged(walk, data, (width, page), (start, now), &written, each)?;
            }
        }
        first = blocks
            .checked_mul(size)
            .and_then(|n| n.checked_add(first))
            .ok_or_else(too_many)?;
    }
    Err(Error::format("an endless index"))
}
