//! Is this file an LMDB, of our version and whole? Read by hand, because LMDB maps what the file claims, and the system
//! ends a program that reads a mapped page behind the end of its file.
//!
//! Layout, from LMDB's `mdb.c` (64 bit, version 1): pages 0 and 1 are copies of the meta page, the later transaction
//! counts. A page has a head of 16 bytes, its flags at 10. In the meta page follow at 16 magic and version (`u32`), at
//! 32 the map size, at 40 and 88 two tables of 48 bytes (free pages and records: `u32` page size or 0, `u16` flags and
//! depth, then 64 bit: branch, leaf and overflow pages, entries, root), at 136 the last page used and at 144 the
//! transaction.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
};

use crate::error::{Error, Result};

mod walk;

const MAGIC: u32 = 0xBEEF_C0DE;
const VERSION: u32 = 1;
const META_BYTES: usize = 152;
const META_FLAG: u16 = 0x08;
/// Keys compared backwards or as integers; any other flag of a table means several values under one key.
const KEY_ORDERS: u16 = 0x02 | INTEGER_KEYS;
const INTEGER_KEYS: u16 = 0x08;
/// Up to this length every page is checked; beyond, a disk could take minutes.
const WALKED: u64 = 1 << 30;

/// What a meta page says.
struct Meta {
    page_size: u64,
    flags: u16,
    depth: u16,
    entries: u64,
    root: u64,
    last_page: u64,
    transaction: u64,
}

/// The little-endian integer at `at`; files of the other byte order have the wrong magic.
fn int<const N: usize>(page: &[u8], at: usize) -> Option<u64> {
    let bytes = page.get(at..at + N)?;
    Some(bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
}

fn int16(page: &[u8], at: usize) -> Option<u16> {
    let bytes = page.get(at..at + 2)?;
    Some(u16::from_le_bytes([*bytes.first()?, *bytes.get(1)?]))
}

/// A file that is whole.
pub(super) struct Found {
    /// How many bytes it takes.
    pub(super) size: u64,
    /// Whether keys are compared as integers.
    pub(super) integer_keys: bool,
}

/// What the data file is; it is whole.
///
/// # Errors
/// `Format` where it is foreign, cut short or of another version; `Unsupported` for tables that Caffe never writes.
pub(super) fn check(file: &mut File) -> Result<Found> {
    let unreadable =
        |e: std::io::Error| Error::format(format!("the database file cannot be read: {e}"));
    let length = file.metadata().map_err(unreadable)?.len();
    let mut page = |at: u64| -> Result<[u8; META_BYTES]> {
        let mut bytes = [0; META_BYTES];
        file.seek(SeekFrom::Start(at)).map_err(unreadable)?;
        file.read_exact(&mut bytes).map_err(|_| cut(length, None))?;
        Ok(bytes)
    };
    if length == 0 {
        return Err(Error::format("the database file is empty (0 bytes)")
            .help("copy or write the database again"));
    }
    let first = meta(&page(0)?)?;
    let second = meta(&page(first.page_size)?)?;
    let now = if second.transaction > first.transaction {
        second
    } else {
        first
    };
    if now.flags & !KEY_ORDERS != 0 {
        return Err(Error::unsupported(
            "the database keeps several values under one key, which Caffe's never do",
        ));
    }
    let size = now
        .last_page
        .checked_add(1)
        .and_then(|pages| pages.checked_mul(now.page_size))
        .ok_or_else(|| foreign("its last page has an impossible number"))?;
    // Pages at the end that were given up again may be missing from a whole file; then its records are followed. So
    // they are where that costs little.
    if length % now.page_size != 0 {
        return Err(cut(length, Some(size)));
    }
    if length < size || length <= WALKED {
        match walk::find_bad_page(file, length, &now).map_err(unreadable)? {
            Some(_) if length < size => return Err(cut(length, Some(size))),
            Some(page) => return Err(damaged(page)),
            None => {}
        }
    }
    Ok(Found {
        size: length.max(size),
        integer_keys: now.flags & INTEGER_KEYS != 0,
    })
}

fn meta(page: &[u8; META_BYTES]) -> Result<Meta> {
    let fields = || {
        Some((
            int::<4>(page, 16)?,
            int::<4>(page, 20)?,
            Meta {
                page_size: int::<4>(page, 40)?,
                flags: int16(page, 92)?,
                depth: int16(page, 94)?,
                entries: int::<8>(page, 120)?,
                root: int::<8>(page, 128)?,
                last_page: int::<8>(page, 136)?,
                transaction: int::<8>(page, 144)?,
            },
            int16(page, 10)?,
        ))
    };
    let (magic, version, meta, flags) = fields().ok_or_else(|| cut(0, None))?;
    if magic == u64::from(MAGIC.swap_bytes()) {
        return Err(foreign(
            "it was written on a machine of the other byte order",
        ));
    }
    // A 32-bit LMDB has a page head of 12 bytes.
    if int::<4>(page, 12) == Some(u64::from(MAGIC)) {
        return Err(foreign("it was written by a 32-bit LMDB"));
    }
    if magic != u64::from(MAGIC) || flags & META_FLAG == 0 {
        return Err(foreign("the magic number of LMDB is missing"));
    }
    if version != u64::from(VERSION) {
        return Err(Error::format(format!(
            "the database has LMDB's data format {version}; format {VERSION} can be read"
        ))
        .help("write it again with LMDB 0.9, which Caffe uses"));
    }
    if !meta.page_size.is_power_of_two() || !(256..=32768).contains(&meta.page_size) {
        return Err(foreign("its page size makes no sense"));
    }
    Ok(meta)
}

fn foreign(why: &str) -> Error {
    Error::format(format!("the file is no LMDB that can be read here: {why}"))
        .help("name a database written by Caffe's convert_imageset or a like tool")
}

fn damaged(page: u64) -> Error {
    Error::format(format!(
        "the database file is damaged: page {page} is not what its place in the tree asks for"
    ))
    .help("copy or write the database again; a copy may have been interrupted")
}

fn cut(length: u64, needed: Option<u64>) -> Error {
    let text = match needed {
        Some(needed) => {
            format!("the database file is cut short: {length} bytes of {needed} are there")
        }
        None => format!("the database file is cut short: {length} bytes are no whole database"),
    };
    Error::format(text).help("copy or write the database again; a copy may have been interrupted")
}
