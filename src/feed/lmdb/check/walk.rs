//! Follows a database's tree through its file, to see whether every page in use is there.
//!
//! Layout, from LMDB's `mdb.c`: after its head of 16 bytes, with the flags at 10 and the end of the index at 12, a page
//! has an index of `u16` offsets to nodes. A node has a head of 8 bytes: on a branch page the child's number in bytes
//! 0 to 5; on a leaf page the value's length in bytes 0 to 3, flags at 4, the key's length at 6, then the key and the
//! value, or for a large value the number of its first page, whose bytes follow that page's head.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
};

use super::{Meta, int, int16};

const HEAD: u64 = 16;
const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const BIG_DATA: u16 = 0x01;
/// LMDB's own limit of a tree's depth.
const DEEPEST: u16 = 32;

/// Whether every page that a record needs lies within `length` bytes and can be followed.
pub(super) fn whole(file: &mut File, length: u64, meta: &Meta) -> io::Result<bool> {
    if meta.entries == 0 {
        return Ok(true);
    }
    let mut walk = Walk {
        file,
        length,
        page_size: meta.page_size,
        left: length / meta.page_size,
    };
    Ok(meta.depth <= DEEPEST && walk.page(meta.root, meta.depth)?)
}

struct Walk<'a> {
    file: &'a mut File,
    length: u64,
    page_size: u64,
    /// A tree visits a page once; more visits than pages are a loop.
    left: u64,
}

impl Walk<'_> {
    fn within(&self, page: u64, bytes: u64) -> bool {
        page.checked_mul(self.page_size)
            .and_then(|at| at.checked_add(bytes))
            .is_some_and(|end| end <= self.length)
    }

    fn page(&mut self, number: u64, depth: u16) -> io::Result<bool> {
        if depth == 0 || self.left == 0 || !self.within(number, self.page_size) {
            return Ok(false);
        }
        self.left -= 1;
        let mut bytes = vec![0; usize::try_from(self.page_size).unwrap_or(0)];
        self.file.seek(SeekFrom::Start(number * self.page_size))?;
        self.file.read_exact(&mut bytes)?;
        Ok(self.nodes(&bytes, depth)?.is_some())
    }

    /// `None` where a node leads nowhere.
    fn nodes(&mut self, page: &[u8], depth: u16) -> io::Result<Option<()>> {
        let (Some(flags), Some(end)) = (int16(page, 10), int16(page, 12)) else {
            return Ok(None);
        };
        for index in (16..end).step_by(2) {
            let Some(node) = int16(page, index.into()).and_then(|at| page.get(at.into()..)) else {
                return Ok(None);
            };
            let good = if flags & BRANCH != 0 {
                match int::<6>(node, 0) {
                    Some(child) => self.page(child, depth - 1)?,
                    None => false,
                }
            } else {
                flags & LEAF != 0 && depth == 1 && self.value(node).unwrap_or(false)
            };
            if !good {
                return Ok(None);
            }
        }
        Ok(Some(()))
    }

    /// Whether the value of a leaf's node is there.
    fn value(&self, node: &[u8]) -> Option<bool> {
        let length = int::<4>(node, 0)?;
        let start = 8 + usize::from(int16(node, 6)?);
        Some(if int16(node, 4)? & BIG_DATA != 0 {
            self.within(int::<8>(node, start)?, HEAD + length)
        } else {
            node.len() >= start + usize::try_from(length).ok()?
        })
    }
}
