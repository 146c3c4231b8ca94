//! Follows the tree of a database through its file: is every page that a reader comes to there, and sound?
//!
//! LMDB itself ends the program, or worse, where a page is not what it expects.
//!
//! Layout, from LMDB's `mdb.c`: a page begins with its number, has its flags at 10, and at 12 and 14 the end of its
//! index and the start of its nodes. From 16 on stands the index, `u16` offsets to nodes in the order of their keys. A
//! node has a head of 8 bytes: on a branch page the child's number in bytes 0 to 5; on a leaf page the value's length
//! in bytes 0 to 3 and flags at 4; in both the key's length at 6, then the key. A leaf's value follows, or, for a large
//! one, the number of its first page, whose bytes follow that page's head.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
};

use super::{Meta, int, int16};

const HEAD: u16 = 16;
const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
/// Flags that only say how a page came about.
const TRACES: u16 = 0xC010;
const BIG_DATA: u16 = 0x01;
/// The value is the root of a named table; to a reader it is bytes.
const SUB_DATA: u16 = 0x02;
/// Flag of a table: its keys are numbers of the machine.
const INTEGER_KEYS: u16 = 0x08;
/// LMDB's own limits of a tree's depth and of a key.
const DEEPEST: u16 = 32;
const MAX_KEY: usize = 511;

/// Number of the first page that is missing or not sound, if any.
pub(super) fn find_bad_page(file: &mut File, length: u64, meta: &Meta) -> io::Result<Option<u64>> {
    if meta.entries == 0 {
        return Ok(None);
    }
    if !(1..=DEEPEST).contains(&meta.depth) {
        return Ok(Some(meta.root));
    }
    let mut walk = Walk {
        file,
        length,
        meta,
        pages: 0,
        entries: 0,
        last_key: Vec::new(),
    };
    match walk.page(meta.root, meta.depth) {
        Ok(()) if walk.entries == meta.entries => Ok(None),
        Ok(()) => Ok(Some(meta.root)),
        Err(Stop::Bad(page)) => Ok(Some(page)),
        Err(Stop::Io(e)) => Err(e),
    }
}

struct Walk<'a> {
    file: &'a mut File,
    length: u64,
    meta: &'a Meta,
    /// Pages visited. A tree visits each once; more visits than pages are a loop.
    pages: u64,
    entries: u64,
    last_key: Vec<u8>,
}

enum Stop {
    Bad(u64),
    Io(io::Error),
}

impl Walk<'_> {
    /// Whether `bytes` from the start of `page` on lie in the file.
    fn within(&self, page: u64, bytes: u64) -> bool {
        page.checked_mul(self.meta.page_size)
            .and_then(|at| at.checked_add(bytes))
            .is_some_and(|end| end <= self.length)
    }

    /// Checks a page and all below it; leaves are at depth 1.
    fn page(&mut self, number: u64, depth: u16) -> Result<(), Stop> {
        self.pages += 1;
        if !self.within(number, self.meta.page_size) || self.pages > self.meta.last_page {
            return Err(Stop::Bad(number));
        }
        let mut page = vec![0; usize::try_from(self.meta.page_size).unwrap_or(0)];
        let mut read = || {
            self.file
                .seek(SeekFrom::Start(number * self.meta.page_size))?;
            self.file.read_exact(&mut page)
        };
        read().map_err(Stop::Io)?;
        let nodes = self.index(&page, number, depth).ok_or(Stop::Bad(number))?;
        for (i, at) in nodes.into_iter().enumerate() {
            if depth == 1 {
                self.leaf_node(&page, at).ok_or(Stop::Bad(number))?;
            } else {
                let child =
                    branch_node(&page, at, i == 0, self.meta.flags).ok_or(Stop::Bad(number))?;
                self.page(child, depth - 1)?;
            }
        }
        Ok(())
    }

    /// The offsets of a page's nodes, if its head is what its place in the tree asks for.
    fn index(&self, page: &[u8], number: u64, depth: u16) -> Option<Vec<u16>> {
        let (flags, lower, upper) = (int16(page, 10)?, int16(page, 12)?, int16(page, 14)?);
        let (kind, fewest) = if depth == 1 { (LEAF, 1) } else { (BRANCH, 2) };
        let nodes = lower.checked_sub(HEAD)? / 2;
        let sound = int::<8>(page, 0)? == number
            && flags & !TRACES == kind
            && lower % 2 == 0
            && lower <= upper
            && u64::from(upper) <= self.meta.page_size
            && nodes >= fewest;
        let offsets = (0..nodes).map(|i| int16(page, usize::from(HEAD + 2 * i)));
        offsets.collect::<Option<Vec<_>>>().filter(|_| sound)
    }

    /// Checks one record: its key comes after the last one, its value is there.
    fn leaf_node(&mut self, page: &[u8], at: u16) -> Option<()> {
        let (node, key) = node(page, at)?;
        let (length, flags) = (int::<4>(node, 0)?, int16(node, 4)?);
        let start = 8 + key.len();
        let there = match flags {
            BIG_DATA => self.within(int::<8>(node, start)?, u64::from(HEAD) + length),
            0 | SUB_DATA => node.len() >= start.checked_add(usize::try_from(length).ok()?)?,
            _ => false,
        };
        let ordered = match self.meta.flags {
            0 => self.entries == 0 || *self.last_key < *key,
            // LMDB reads a whole number from each, whatever its length says, so all must be as long.
            INTEGER_KEYS => match (integer(key)?, integer(&self.last_key)) {
                (own, Some(last)) => last < own && key.len() == self.last_key.len(),
                (_, None) => self.entries == 0,
            },
            _ => true,
        };
        self.entries += 1;
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        (there && ordered && !key.is_empty()).then_some(())
    }
}

/// A node, to the end of its page, and its key.
fn node(page: &[u8], at: u16) -> Option<(&[u8], &[u8])> {
    let node = page.get(usize::from(at)..).filter(|_| at >= HEAD)?;
    let length = usize::from(int16(node, 6)?);
    let key = node.get(8..8 + length).filter(|_| length <= MAX_KEY)?;
    Some((node, key))
}

/// The page below a node of a branch page. The first key of a page is never looked at.
fn branch_node(page: &[u8], at: u16, first: bool, flags: u16) -> Option<u64> {
    let (node, key) = node(page, at)?;
    if flags == INTEGER_KEYS && !first {
        integer(key)?;
    }
    int::<6>(node, 0)
}

/// A key of `MDB_INTEGERKEY`: a number of the machine, of 4 or 8 bytes.
fn integer(key: &[u8]) -> Option<u64> {
    match key.len() {
        4 => int::<4>(key, 0),
        8 => int::<8>(key, 0),
        _ => None,
    }
}
