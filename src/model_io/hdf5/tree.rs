//! Trees of version 2: records in order, of one length each.

use super::{
    Walk,
    bytes::{cut, damaged, width_of},
};
use crate::error::Result;

/// All records of a tree, one after the other.
pub(super) struct Records {
    /// Bytes of a record, at least 1.
    pub(super) width: usize,
    bytes: Vec<u8>,
}

/// What is the same for all nodes of a level; leaves are level 0.
struct Level {
    /// Bytes of a pointer to a node below.
    pointer: usize,
    /// Bytes in such a pointer that count the records of all below.
    total: usize,
    most: u64,
    /// Most records of a node and all below it.
    most_below: u64,
}

struct Shape {
    record: usize,
    node: u64,
    /// Bytes of a node's own number of records.
    count: usize,
    levels: Vec<Level>,
}

/// Signature, version, type and checksum.
const FRAME: u64 = 10;

impl Records {
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.width)
    }

    /// Reads the tree whose header is at `at`.
    pub(super) fn read(walk: &mut Walk<'_>, at: u64) -> Result<Self> {
        let widths = walk.file.widths;
        let head = walk.block(at, 18 + (widths.offset + widths.length) as u64 + 4)?;
        let mut c = walk.cursor(&head);
        c.signature(b"BTHD")?;
        c.skip(2)?;
        let node = u64::from(c.u32()?);
        let record = usize::from(c.u16()?);
        let depth = c.u16()?;
        c.skip(2)?;
        let root = c.address()?;
        let count = u64::from(c.u16()?);
        let mut records = Self {
            width: record.max(1),
            bytes: Vec::new(),
        };
        let Some(root) = root else {
            return Ok(records);
        };
        if record == 0 || depth > 32 {
            return Err(damaged("a tree of impossible form"));
        }
        let shape = Shape::new(node, record, depth, widths.offset)?;
        records.node(walk, &shape, root, depth.into(), count)?;
        Ok(records)
    }

    fn node(
        &mut self,
        walk: &mut Walk<'_>,
        shape: &Shape,
        at: u64,
        level: usize,
        count: u64,
    ) -> Result<()> {
        let of = shape.levels.get(level).ok_or_else(cut)?;
        if count > of.most {
            return Err(damaged("a node of a tree is fuller than it can be"));
        }
        let bytes = walk.block(at, shape.node)?;
        let mut c = walk.cursor(&bytes);
        c.signature(if level == 0 { b"BTLF" } else { b"BTIN" })?;
        c.skip(2)?;
        let count = usize::try_from(count).map_err(|_| cut())?;
        self.bytes.extend_from_slice(c.take(count * shape.record)?);
        if level == 0 {
            return Ok(());
        }
        for _ in 0..=count {
            let child = c.address()?.ok_or_else(cut)?;
            let records = c.number(shape.count)?;
            c.skip(of.total)?;
            self.node(walk, shape, child, level - 1, records)?;
        }
        Ok(())
    }
}

impl Shape {
    fn new(node: u64, record: usize, depth: u16, offset: usize) -> Result<Self> {
        let small = || damaged("a tree's nodes are too small");
        let room = node.checked_sub(FRAME).ok_or_else(small)?;
        let most = room / record as u64;
        let mut levels = vec![Level {
            pointer: 0,
            total: 0,
            most,
            most_below: most,
        }];
        let count = width_of(most);
        for level in 0..usize::from(depth) {
            let below = &levels[level];
            let total = if level == 0 {
                0
            } else {
                width_of(below.most_below)
            };
            let pointer = offset + count + total;
            let room = room.checked_sub(pointer as u64).ok_or_else(small)?;
            let most = room / (record + pointer) as u64;
            let most_below = (most + 1)
                .saturating_mul(below.most_below)
                .saturating_add(most);
            levels.push(Level {
                pointer,
                total,
                most,
                most_below,
            });
        }
        debug_assert!(levels.iter().all(|l| l.pointer < 32));
        Ok(Self {
            record,
            node,
            count,
            levels,
        })
    }
}
