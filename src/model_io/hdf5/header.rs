//! Superblock and object headers: where everything in a file starts.

use super::{
    File, Walk,
    bytes::{Cursor, Source, Widths, cut, damaged},
};
use crate::error::{Error, Result};

/// What every file begins with, there or behind a block of the user's own at a power of two from 512 on.
pub(super) const SIGNATURE: &[u8; 8] = b"\x89HDF\r\n\x1a\n";

/// Places where the signature may stand.
pub(super) fn starts(length: u64) -> impl Iterator<Item = u64> {
    let later = (9..63).map(|n| 1u64 << n);
    std::iter::once(0)
        .chain(later)
        .take_while(move |&at| at < length)
}

/// Reads the superblock, versions 0 to 3.
pub(super) fn open(source: Source) -> Result<File> {
    let at = starts(source.len())
        .find(|&at| source.read(at, 8).is_ok_and(|bytes| bytes == SIGNATURE))
        .ok_or_else(|| Error::format("this is no HDF5 file: its signature is missing"))?;
    // The longest superblock is shorter than this.
    let block = source.read(at + 8, (source.len() - at - 8).min(120))?;
    let none = Widths {
        offset: 8,
        length: 8,
    };
    let mut c = Cursor::new(&block, none);
    let version = c.u8()?;
    let widths = match version {
        0 | 1 => {
            c.skip(4)?;
            Widths {
                offset: c.u8()?.into(),
                length: c.u8()?.into(),
            }
        }
        2 | 3 => Widths {
            offset: c.u8()?.into(),
            length: c.u8()?.into(),
        },
        _ => {
            return Err(Error::unsupported(format!(
                "an HDF5 file with a superblock of version {version}; up to 3 can be read"
            )));
        }
    };
    for width in [widths.offset, widths.length] {
        if !matches!(width, 2 | 4 | 8) {
            return Err(damaged("its addresses have an impossible width"));
        }
    }
    let mut c = {
        let read = block.len() - c.left();
        Cursor::new(&block[read..], widths)
    };
    c.skip(match version {
        0 => 1 + 4 + 4,
        1 => 1 + 4 + 4 + 4,
        _ => 1,
    })?;
    let base = c.address()?.unwrap_or(0);
    c.address()?;
    let end = c.address()?.ok_or_else(cut)?;
    if version < 2 {
        c.address()?;
        // The link of the root group: its name, then where it is.
        c.address()?;
    }
    let root = c.address()?.ok_or_else(cut)?;
    if end > source.len() {
        return Err(Error::format(format!(
            "the HDF5 file is cut short: {} bytes of {end} are there",
            source.len()
        ))
        .help("the copy or the snapshot was interrupted; copy it again or take an earlier one"));
    }
    Ok(File {
        source,
        widths,
        base,
        root,
    })
}

/// One message of an object's header.
pub(super) struct Message {
    pub(super) kind: u16,
    /// It stands elsewhere, and here is only where.
    pub(super) shared: bool,
    pub(super) data: Vec<u8>,
}

pub(super) const DATASPACE: u16 = 0x01;
pub(super) const LINK_INFO: u16 = 0x02;
pub(super) const DATATYPE: u16 = 0x03;
pub(super) const OLD_FILL: u16 = 0x04;
pub(super) const FILL: u16 = 0x05;
pub(super) const LINK: u16 = 0x06;
pub(super) const LAYOUT: u16 = 0x08;
pub(super) const FILTERS: u16 = 0x0B;
const CONTINUATION: u16 = 0x10;
pub(super) const SYMBOL_TABLE: u16 = 0x11;

/// The messages of the object at `at`.
pub(super) fn messages(walk: &mut Walk<'_>, at: u64) -> Result<Vec<Message>> {
    let head = walk.at_most(at, 32)?;
    let mut messages = Vec::new();
    let mut blocks = Vec::new();
    let mut c = walk.cursor(&head);
    // Bytes of a message's head, beside its type, size and flags.
    let (first, new, more) = if head.starts_with(b"OHDR") {
        c.skip(4)?;
        let version = c.u8()?;
        let flags = c.u8()?;
        if version != 2 {
            return Err(damaged("an object header of an unknown version"));
        }
        c.skip(if flags & 0x20 != 0 { 16 } else { 0 })?;
        c.skip(if flags & 0x10 != 0 { 4 } else { 0 })?;
        let length = c.number(1 << (flags & 3))?;
        let start = (head.len() - c.left()) as u64;
        let more = if flags & 0x04 != 0 { 2 } else { 0 };
        ((at.saturating_add(start), length), true, more)
    } else {
        if c.u8()? != 1 {
            return Err(damaged("no object where one is referred to"));
        }
        c.skip(7)?;
        let length = c.u32()?;
        ((at.saturating_add(16), length.into()), false, 0)
    };
    blocks.push(first);
    let mut done = 0;
    while let Some(&(at, length)) = blocks.get(done) {
        let bytes = walk.block(at, length)?;
        let mut c = walk.cursor(&bytes);
        if new && done > 0 {
            c.signature(b"OCHK")?;
        }
        // A new block of its own ends with a checksum.
        let tail = if new && done > 0 { 4 } else { 0 };
        let head = if new { 4 + more } else { 8 };
        while c.left() >= head + tail {
            let (kind, size, flags) = if new {
                (c.u8()?.into(), c.u16()?, c.u8()?)
            } else {
                (c.u16()?, c.u16()?, c.u8()?)
            };
            c.skip(if new { more } else { 3 })?;
            let data = c.take(size.into())?;
            if kind == CONTINUATION {
                let mut c = walk.cursor(data);
                let at = c.address()?.ok_or_else(cut)?;
                blocks.push((at, c.length()?));
            } else {
                messages.push(Message {
                    kind,
                    shared: flags & 0x02 != 0,
                    data: data.to_vec(),
                });
            }
        }
        done += 1;
    }
    Ok(messages)
}

/// The first message of a kind.
pub(super) fn find(messages: &[Message], kind: u16) -> Result<Option<&[u8]>> {
    match messages.iter().find(|m| m.kind == kind) {
        Some(m) if m.shared => Err(Error::unsupported(
            "a dataset whose type or shape is shared with others (a committed type)",
        )),
        found => Ok(found.map(|m| &m.data[..])),
    }
}
