//! Writing: a tree of groups and datasets, in the form that the oldest library reads: superblock 0, groups with a tree
//! of symbol nodes and a heap of names, contiguous datasets.
//!
//! What describes the data is built in memory and comes first; the numbers follow from where they are, so that no second
//! copy of them is made.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _, Seek as _, Write},
};

use crate::{
    error::{Error, Result},
    model_io::stream::write_values,
    tensor::{Shape, View},
};

/// What a dataset holds.
#[derive(Clone, Copy)]
pub enum Content<'a> {
    /// `float32` of any shape.
    Floats(View<'a>),
    /// `float32` of this shape, little-endian, from the start of another file.
    Stored(&'a Shape, &'a File),
    /// One `int32`, a list of length 1.
    Integer(i32),
    /// One text with the zero byte that ends it.
    Text(&'a str),
    /// A list of `uint8`.
    Bytes(&'a [u8]),
}

/// A group, and all that is in it.
#[derive(Default)]
pub struct Tree<'a> {
    members: BTreeMap<String, Member<'a>>,
}

enum Member<'a> {
    Group(Tree<'a>),
    Dataset(Content<'a>),
}

impl<'a> Tree<'a> {
    /// The group that a path leads to from here, made where it is missing.
    ///
    /// # Errors
    /// `Format` where a part of the path is no possible name, or is a dataset.
    pub fn group(&mut self, path: &str) -> Result<&mut Self> {
        let mut tree = self;
        for name in path.split('/') {
            check(name, path)?;
            let member = tree.members.entry(name.to_owned());
            tree = match member.or_insert_with(|| Member::Group(Self::default())) {
                Member::Group(tree) => tree,
                Member::Dataset(_) => return Err(taken(path)),
            };
        }
        Ok(tree)
    }

    /// Adds a dataset.
    ///
    /// # Errors
    /// `Format` where the name is impossible or taken.
    pub fn dataset(&mut self, name: &str, content: Content<'a>) -> Result<()> {
        check(name, name)?;
        match self
            .members
            .insert(name.to_owned(), Member::Dataset(content))
        {
            None => Ok(()),
            Some(_) => Err(taken(name)),
        }
    }
}

fn check(name: &str, path: &str) -> Result<()> {
    if name.is_empty() || name == "." || name.contains(['/', '\0']) {
        return Err(Error::format(format!(
            "an HDF5 file cannot hold anything of the name '{}'",
            path.escape_debug()
        )));
    }
    Ok(())
}

fn taken(path: &str) -> Error {
    Error::format(format!(
        "two things of the name '{path}' would be in one HDF5 file"
    ))
}

/// Writes the file of this tree.
///
/// # Errors
/// What `out` says.
pub fn write(out: &mut impl Write, tree: &Tree<'_>) -> io::Result<()> {
    let mut file = Builder {
        head: vec![0; SUPERBLOCK],
        data: Vec::new(),
        length: 0,
        places: Vec::new(),
    };
    let root = file.group(tree);
    // Data begins behind the last of the heads.
    let start = file.head.len() as u64;
    for (at, offset) in std::mem::take(&mut file.places) {
        file.put(at, start + offset);
    }
    let end = start + file.length;
    let superblock = superblock(end, &root);
    file.head[..SUPERBLOCK].copy_from_slice(&superblock);
    out.write_all(&file.head)?;
    for content in &file.data {
        match content {
            Content::Floats(view) => write_values(out, view.data)?,
            &Content::Stored(_, mut file) => {
                file.rewind()?;
                let length = content.length();
                if io::copy(&mut file.take(length), out)? != length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Content::Integer(n) => out.write_all(&n.to_le_bytes())?,
            Content::Text(text) => {
                out.write_all(text.as_bytes())?;
                out.write_all(&[0])?;
            }
            Content::Bytes(bytes) => out.write_all(bytes)?,
        }
        let length = content.length();
        let padding = length.next_multiple_of(8) - length;
        out.write_all(&[0; 8][..padding as usize])?;
    }
    out.flush()
}

const SUPERBLOCK: usize = 96;
const NOWHERE: u64 = u64::MAX;
/// Half of the entries of a symbol node and of a tree's node: the library's own choice.
const LEAF_K: usize = 4;
const NODE_K: usize = 16;

/// Where a group is.
struct Placed {
    header: u64,
    tree: u64,
    heap: u64,
}

fn superblock(end: u64, root: &Placed) -> Vec<u8> {
    let mut b = super::header::SIGNATURE.to_vec();
    // Versions, then the widths of addresses and lengths.
    b.extend([0, 0, 0, 0, 0, 8, 8, 0]);
    b.extend((LEAF_K as u16).to_le_bytes());
    b.extend((NODE_K as u16).to_le_bytes());
    b.extend([0; 4]);
    words(&mut b, &[0, NOWHERE, end, NOWHERE]);
    entry(&mut b, 0, root.header, Some(root));
    b
}

fn words(b: &mut Vec<u8>, words: &[u64]) {
    words.iter().for_each(|w| b.extend(w.to_le_bytes()));
}

/// A symbol: the place of its name, its object, and, for a group, where that is kept.
fn entry(b: &mut Vec<u8>, name: u64, object: u64, group: Option<&Placed>) {
    words(b, &[name, object, u64::from(group.is_some())]);
    words(b, &group.map_or([0, 0], |g| [g.tree, g.heap]));
}

/// A message of an object header: type and contents.
type Message = (u16, Vec<u8>);

struct Builder<'a> {
    head: Vec<u8>,
    data: Vec<Content<'a>>,
    /// Bytes of `data` so far, each padded.
    length: u64,
    /// Addresses of data in `head`, and how far behind the heads it begins.
    places: Vec<(usize, u64)>,
}

impl<'a> Builder<'a> {
    fn add(&mut self, bytes: &[u8]) -> u64 {
        let at = self.head.len() as u64;
        self.head.extend_from_slice(bytes);
        self.head.resize(self.head.len().next_multiple_of(8), 0);
        at
    }

    fn put(&mut self, at: usize, word: u64) {
        self.head[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }

    fn object(&mut self, messages: &[Message]) -> u64 {
        let mut body = Vec::new();
        for (kind, data) in messages {
            let length = data.len().next_multiple_of(8);
            body.extend(kind.to_le_bytes());
            // No message here is longer than a shape.
            body.extend((length as u16).to_le_bytes());
            body.extend([0; 4]);
            let end = body.len() + length;
            body.extend_from_slice(data);
            body.resize(end, 0);
        }
        let mut b = vec![1, 0];
        b.extend((messages.len() as u16).to_le_bytes());
        b.extend(1u32.to_le_bytes());
        b.extend((body.len() as u32).to_le_bytes());
        b.extend([0; 4]);
        b.extend(body);
        self.add(&b)
    }

    fn dataset(&mut self, content: Content<'a>) -> u64 {
        let length = content.length();
        let mut layout = vec![3, 1];
        words(&mut layout, &[NOWHERE, length]);
        // Undefined as yet, so that a place can be found in the header; the last message but for its length.
        let at = self.object(&[
            (0x01, content.space()),
            (0x03, content.kind()),
            (0x05, vec![2, 2, 2, 1, 0, 0, 0, 0]),
            (0x08, layout),
        ]);
        if length > 0 {
            let layout = self.head.len() - 24;
            self.places.push((layout + 2, self.length));
            self.length += length.next_multiple_of(8);
            self.data.push(content);
        }
        at
    }

    fn group(&mut self, tree: &Tree<'a>) -> Placed {
        // Members first: their places are known when the group is written.
        let mut names = vec![0u8; 8];
        let mut symbols = Vec::new();
        for (name, member) in &tree.members {
            let at = names.len() as u64;
            names.extend_from_slice(name.as_bytes());
            names.push(0);
            names.resize(names.len().next_multiple_of(8), 0);
            symbols.push(match member {
                Member::Group(tree) => {
                    let placed = self.group(tree);
                    (at, placed.header, Some(placed))
                }
                Member::Dataset(content) => (at, self.dataset(*content), None),
            });
        }
        // Nodes of a level: the name of the last symbol below, and the address.
        let mut level: Vec<(u64, u64)> = Vec::new();
        for part in symbols.chunks(2 * LEAF_K) {
            let mut b = b"SNOD\x01\0".to_vec();
            b.extend((part.len() as u16).to_le_bytes());
            for (name, object, group) in part {
                entry(&mut b, *name, *object, group.as_ref());
            }
            b.resize(8 + 2 * LEAF_K * 40, 0);
            let last = part.last().map_or(0, |(name, ..)| *name);
            level.push((last, self.add(&b)));
        }
        let mut height = 0u8;
        loop {
            level = self.tree_level(&level, height);
            height += 1;
            if level.len() < 2 {
                break;
            }
        }
        let tree = level.first().map_or(NOWHERE, |&(_, at)| at);
        // The names lie right behind the head of their heap. 1: no free piece in it.
        let mut heap = b"HEAP\0\0\0\0".to_vec();
        let at = self.head.len() as u64 + 32;
        words(&mut heap, &[names.len() as u64, 1, at]);
        heap.extend(&names);
        let heap = self.add(&heap);
        let mut table = Vec::new();
        words(&mut table, &[tree, heap]);
        let header = self.object(&[(0x11, table)]);
        Placed { header, tree, heap }
    }

    /// The nodes above those of a level; one node, if an empty one, at least.
    fn tree_level(&mut self, below: &[(u64, u64)], height: u8) -> Vec<(u64, u64)> {
        const NODE: usize = 24 + 8 * (2 * NODE_K + 1) + 8 * 2 * NODE_K;
        let count = below.len().div_ceil(2 * NODE_K).max(1);
        let start = self.head.len() as u64;
        let address = |n: usize| start + (n * NODE) as u64;
        let mut level = Vec::new();
        // The name before the first one is the empty one.
        let mut last = 0;
        for n in 0..count {
            let children: Vec<_> = below.iter().skip(n * 2 * NODE_K).take(2 * NODE_K).collect();
            let mut b = b"TREE\0".to_vec();
            b.push(height);
            b.extend((children.len() as u16).to_le_bytes());
            let left = if n == 0 { NOWHERE } else { address(n - 1) };
            let right = if n + 1 == count {
                NOWHERE
            } else {
                address(n + 1)
            };
            words(&mut b, &[left, right, last]);
            for &&(name, at) in &children {
                words(&mut b, &[at, name]);
                last = name;
            }
            b.resize(NODE, 0);
            level.push((last, self.add(&b)));
        }
        level
    }
}

impl Content<'_> {
    fn length(&self) -> u64 {
        match self {
            Self::Floats(view) => size_of_val(view.data) as u64,
            Self::Stored(shape, _) => shape.count() as u64 * 4,
            Self::Integer(_) => 4,
            Self::Text(text) => text.len() as u64 + 1,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// The message that tells the shape.
    fn space(&self) -> Vec<u8> {
        let of = |shape: &Shape| shape.dims().iter().map(|&d| d as u64).collect();
        let dims: Vec<u64> = match self {
            Self::Floats(View { shape, .. }) | Self::Stored(shape, _) => of(shape),
            Self::Integer(_) => vec![1],
            Self::Text(_) => Vec::new(),
            Self::Bytes(bytes) => vec![bytes.len() as u64],
        };
        let mut b = vec![1, dims.len() as u8, 0, 0, 0, 0, 0, 0];
        words(&mut b, &dims);
        b
    }

    /// The message that tells what an element is.
    fn kind(&self) -> Vec<u8> {
        match self {
            Self::Floats(_) | Self::Stored(..) => vec![
                0x11, 0x20, 31, 0, 4, 0, 0, 0, 0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0,
            ],
            Self::Integer(_) => vec![0x10, 8, 0, 0, 4, 0, 0, 0, 0, 0, 32, 0],
            Self::Bytes(_) => vec![0x10, 0, 0, 0, 1, 0, 0, 0, 0, 0, 8, 0],
            Self::Text(text) => {
                let utf8 = if text.is_ascii() { 0 } else { 0x10 };
                let mut b = vec![0x13, utf8, 0, 0];
                b.extend((text.len() as u32 + 1).to_le_bytes());
                b
            }
        }
    }
}
