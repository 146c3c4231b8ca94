//! Groups: names and what they lead to, in each of the forms in which a file may keep them.
//!
//! Old groups have a tree (version 1) of symbol nodes and a heap of names; new ones have links in their header, or,
//! where these are many, in a fractal heap that a tree (version 2) leads into.

use std::collections::BTreeMap;

use super::{
    Walk,
    bytes::{Cursor, cut, damaged},
    header::{self, LINK, LINK_INFO, Message, SYMBOL_TABLE},
    heap::FractalHeap,
    tree::Records,
};
use crate::error::Result;

/// Where a name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// To the object at this address.
    Hard(u64),
    /// To what a path leads to.
    Soft(String),
    /// Out of the file.
    External,
}

/// Whether an object with these messages is a group.
pub(super) fn is_group(messages: &[Message]) -> bool {
    let of_groups = [SYMBOL_TABLE, LINK_INFO, LINK];
    messages.iter().any(|m| of_groups.contains(&m.kind))
}

/// The links of a group, by name.
pub(super) fn links(walk: &mut Walk<'_>, messages: &[Message]) -> Result<BTreeMap<String, Link>> {
    let mut links = BTreeMap::new();
    if let Some(table) = header::find(messages, SYMBOL_TABLE)? {
        let mut c = walk.cursor(table);
        let tree = c.address()?;
        let heap = c.address()?;
        if let (Some(tree), Some(heap)) = (tree, heap) {
            let names = local_heap(walk, heap)?;
            symbols(walk, tree, None, &names, &mut links)?;
        }
    }
    for message in messages.iter().filter(|m| m.kind == LINK) {
        let (name, link) = link(walk.cursor(&message.data))?;
        links.insert(name, link);
    }
    if let Some(info) = header::find(messages, LINK_INFO)? {
        let mut c = walk.cursor(info);
        c.skip(1)?;
        let flags = c.u8()?;
        c.skip(if flags & 1 != 0 { 8 } else { 0 })?;
        let heap = c.address()?;
        let names = c.address()?;
        if let (Some(heap), Some(names)) = (heap, names) {
            let heap = FractalHeap::open(walk, heap)?;
            let records = Records::read(walk, names)?;
            for record in records.iter() {
                // A hash of the name, then the link's place in the heap.
                let id = record.get(4..).ok_or_else(cut)?;
                let bytes = heap.object(walk, id)?;
                let (name, link) = link(walk.cursor(&bytes))?;
                links.insert(name, link);
            }
        }
    }
    Ok(links)
}

fn local_heap(walk: &mut Walk<'_>, at: u64) -> Result<Vec<u8>> {
    let widths = walk.file.widths;
    let head = walk.block(at, 8 + 2 * widths.length as u64 + widths.offset as u64)?;
    let mut c = walk.cursor(&head);
    c.signature(b"HEAP")?;
    c.skip(4)?;
    let length = c.length()?;
    c.length()?;
    let data = c.address()?.ok_or_else(cut)?;
    walk.block(data, length)
}

fn text_at(names: &[u8], at: u64) -> Result<String> {
    let from = usize::try_from(at).ok().and_then(|at| names.get(at..));
    let from = from.ok_or_else(|| damaged("a name lies outside its heap"))?;
    let end = from.iter().position(|&b| b == 0).unwrap_or(from.len());
    Ok(String::from_utf8_lossy(&from[..end]).into_owned())
}

/// Reads a node of an old group's tree and all below it. `level` is the node's, where it is known.
fn symbols(
    walk: &mut Walk<'_>,
    at: u64,
    level: Option<u8>,
    names: &[u8],
    links: &mut BTreeMap<String, Link>,
) -> Result<()> {
    let (offset, length) = (walk.file.widths.offset, walk.file.widths.length);
    let head = walk.block(at, 8 + 2 * offset as u64)?;
    let mut c = walk.cursor(&head);
    c.signature(b"TREE")?;
    let (kind, own, entries) = (c.u8()?, c.u8()?, u64::from(c.u16()?));
    if kind != 0 || level.is_some_and(|level| level != own) {
        return Err(damaged("a group's tree has a foreign node"));
    }
    let body = walk.block(
        at.saturating_add(head.len() as u64),
        entries * (length + offset) as u64 + length as u64,
    )?;
    let mut c = walk.cursor(&body);
    for _ in 0..entries {
        c.length()?;
        let child = c.address()?.ok_or_else(cut)?;
        match own.checked_sub(1) {
            Some(below) => symbols(walk, child, Some(below), names, links)?,
            None => symbol_node(walk, child, names, links)?,
        }
    }
    Ok(())
}

fn symbol_node(
    walk: &mut Walk<'_>,
    at: u64,
    names: &[u8],
    links: &mut BTreeMap<String, Link>,
) -> Result<()> {
    let head = walk.block(at, 8)?;
    let mut c = walk.cursor(&head);
    c.signature(b"SNOD")?;
    c.skip(2)?;
    let entry = 2 * walk.file.widths.offset + 24;
    let count = u64::from(c.u16()?);
    let body = walk.block(at.saturating_add(8), count * entry as u64)?;
    for entry in body.chunks_exact(entry) {
        let mut c = walk.cursor(entry);
        let name = c.address()?.ok_or_else(cut)?;
        let object = c.address()?;
        let kind = c.u32()?;
        c.skip(4)?;
        let link = match (kind, object) {
            (2, _) => Link::Soft(text_at(names, c.u32()?.into())?),
            (_, Some(at)) => Link::Hard(at),
            (_, None) => return Err(cut()),
        };
        links.insert(text_at(names, name)?, link);
    }
    Ok(())
}

fn link(mut c: Cursor<'_>) -> Result<(String, Link)> {
    c.skip(1)?;
    let flags = c.u8()?;
    let kind = if flags & 0x08 != 0 { c.u8()? } else { 0 };
    c.skip(if flags & 0x04 != 0 { 8 } else { 0 })?;
    c.skip(if flags & 0x10 != 0 { 1 } else { 0 })?;
    let length = c.number(1 << (flags & 3))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let name = text(c.take(usize::try_from(length).map_err(|_| cut())?)?);
    let link = match kind {
        0 => Link::Hard(c.address()?.ok_or_else(cut)?),
        1 => {
            let length = c.u16()?;
            Link::Soft(text(c.take(length.into())?))
        }
        _ => Link::External,
    };
    Ok((name, link))
}
