//! Protobuf files of large blobs, read in two steps: first everything but the numbers, then the numbers, each straight to
//! where it belongs.
//!
//! What is left without the numbers is small; a message is decoded from it in the ordinary way. Nothing is kept for what
//! a file merely says: a length counts once it is seen to end within the file.

use std::{
    fs::File,
    io::{self, BufReader, Read as _},
    path::Path,
};

use rayon::prelude::*;

use super::stream::{key, write_head};
use crate::schema::BlobProto;

/// What a field is: a blob, or a message with blobs in some of its fields.
pub(super) enum Part {
    Blob,
    Message(&'static [(u32, Self)]),
}

/// A file without the numbers of its blobs, and where they are.
pub(super) struct Skimmed {
    file: File,
    /// The message without the numbers. A blob bears its index instead, see [`MARK`].
    pub(super) message: Vec<u8>,
    blobs: Vec<Vec<Run>>,
}

/// Numbers that lie together in the file.
#[derive(Clone, Copy)]
struct Run {
    at: u64,
    bytes: u64,
    double: bool,
}

const DATA: u32 = 5;
const DIFF: u32 = 6;
const DOUBLE_DATA: u32 = 8;
/// `BlobProto.double_diff`: nobody reads it from a file, so it carries a blob's index.
const MARK: u32 = 9;

/// Numbers that one thread reads at a time: long enough that a call costs nothing, short enough to share the work.
const PIECE: usize = 1 << 20;

impl Skimmed {
    /// Reads `path` without its numbers. `None` where it has another form than usual, or none at all: whoever reads the
    /// whole of it will know.
    pub(super) fn open(path: &Path, parts: &'static [(u32, Part)]) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Ok(None);
        }
        let mut reader = Reader {
            file: BufReader::with_capacity(1 << 16, &file),
            at: 0,
            blobs: Vec::new(),
        };
        let mut message = Vec::new();
        let whole = reader.message(parts, found.len(), &mut message)?;
        let blobs = reader.blobs;
        Ok(whole.then_some(Self {
            file,
            message,
            blobs,
        }))
    }

    fn runs(&self, blob: &BlobProto) -> &[Run] {
        let index = blob.double_diff.first().map_or(usize::MAX, |&i| i as usize);
        self.blobs.get(index).map_or(&[], |runs| runs)
    }

    /// How many numbers the file has for a blob of its message.
    pub(super) fn count(&self, blob: &BlobProto) -> usize {
        let of = |double: bool, size: u64| {
            let runs = self.runs(blob).iter().filter(|r| r.double == double);
            runs.map(|r| r.bytes / size).sum::<u64>()
        };
        usize::try_from(of(false, 4).max(of(true, 8))).unwrap_or(usize::MAX)
    }

    /// Reads the numbers of blobs, each to a place that holds [`count`](Self::count) of them.
    pub(super) fn read(&self, blobs: Vec<(&BlobProto, &mut [f32])>) -> io::Result<()> {
        let mut pieces: Vec<(Run, &mut [f32])> = Vec::new();
        for (blob, mut to) in blobs {
            let runs = self.runs(blob);
            // As in Caffe, doubles count where there are any.
            let double = runs.iter().any(|r| r.double);
            let size: u64 = if double { 8 } else { 4 };
            for run in runs.iter().filter(|r| r.double == double) {
                let mut at = run.at;
                let end = run.at + run.bytes;
                while at < end && !to.is_empty() {
                    let left = usize::try_from((end - at) / size).unwrap_or(usize::MAX);
                    let (piece, rest) = to.split_at_mut(left.min(PIECE).min(to.len()));
                    let bytes = piece.len() as u64 * size;
                    let run = Run { at, bytes, double };
                    at += bytes;
                    pieces.push((run, piece));
                    to = rest;
                }
            }
        }
        pieces.into_par_iter().try_for_each(|(run, to)| {
            if !run.double {
                read_at(&self.file, run.at, bytemuck::cast_slice_mut(to))?;
                to.iter_mut()
                    .for_each(|x| *x = f32::from_bits(u32::from_le(x.to_bits())));
                return Ok(());
            }
            let mut bytes = vec![0; to.len() * 8];
            read_at(&self.file, run.at, &mut bytes)?;
            let (numbers, _) = bytes.as_chunks::<8>();
            for (to, from) in to.iter_mut().zip(numbers) {
                *to = f64::from_le_bytes(*from) as f32;
            }
            Ok(())
        })
    }
}

#[cfg(unix)]
pub(super) fn read_at(file: &File, at: u64, to: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, to, at)
}

#[cfg(windows)]
pub(super) fn read_at(file: &File, mut at: u64, mut to: &mut [u8]) -> io::Result<()> {
    while !to.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, to, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                to = &mut to[n..];
                at += n as u64;
            }
        }
    }
    Ok(())
}

struct Reader<'a> {
    file: BufReader<&'a File>,
    at: u64,
    blobs: Vec<Vec<Run>>,
}

impl Reader<'_> {
    /// Copies the fields of a message up to `end`, the numbers of its blobs left out. False where it has another form.
    fn message(&mut self, parts: &[(u32, Part)], end: u64, out: &mut Vec<u8>) -> io::Result<bool> {
        while self.at < end {
            let Some((field, wire)) = self.tag(end)? else {
                return Ok(false);
            };
            let part = parts.iter().find(|(f, _)| *f == field).map(|(_, p)| p);
            let Some(part) = part else {
                if !self.copy(field, wire, end, out)? {
                    return Ok(false);
                }
                continue;
            };
            let Some(inner) = self.length(wire, end)? else {
                return Ok(false);
            };
            let mut message = Vec::new();
            let whole = match part {
                Part::Message(parts) => self.message(parts, inner, &mut message)?,
                Part::Blob => self.blob(inner, &mut message)?,
            };
            if !whole {
                return Ok(false);
            }
            write_head(out, field, message.len())?;
            out.append(&mut message);
        }
        Ok(self.at == end)
    }

    fn blob(&mut self, end: u64, out: &mut Vec<u8>) -> io::Result<bool> {
        let mut runs = Vec::new();
        while self.at < end {
            let Some((field, wire)) = self.tag(end)? else {
                return Ok(false);
            };
            if !matches!(field, DATA | DIFF | DOUBLE_DATA | MARK) {
                if !self.copy(field, wire, end, out)? {
                    return Ok(false);
                }
                continue;
            }
            // Numbers one by one are allowed, but nobody writes them.
            let Some(inner) = self.length(wire, end)? else {
                return Ok(false);
            };
            let (at, bytes) = (self.at, inner - self.at);
            let double = matches!(field, DOUBLE_DATA | MARK);
            if !bytes.is_multiple_of(if double { 8 } else { 4 }) {
                return Ok(false);
            }
            if matches!(field, DATA | DOUBLE_DATA) {
                runs.push(Run { at, bytes, double });
            }
            let Ok(skip) = i64::try_from(bytes) else {
                return Ok(false);
            };
            self.file.seek_relative(skip)?;
            self.at = inner;
        }
        write_head(out, MARK, size_of::<f64>())?;
        out.extend((self.blobs.len() as f64).to_le_bytes());
        self.blobs.push(runs);
        Ok(self.at == end)
    }

    /// Number and wire type of the next field.
    fn tag(&mut self, end: u64) -> io::Result<Option<(u32, u64)>> {
        let Some(tag) = self.varint(end)? else {
            return Ok(None);
        };
        let field = u32::try_from(tag >> 3)
            .ok()
            .filter(|&f| f > 0 && f < 1 << 29);
        Ok(field.map(|f| (f, tag & 7)))
    }

    /// Where a field with a length ends; `None` for another kind of field, or where that is not within `end`.
    fn length(&mut self, wire: u64, end: u64) -> io::Result<Option<u64>> {
        if wire != 2 {
            return Ok(None);
        }
        let length = self.varint(end)?;
        let inner = length.and_then(|n| self.at.checked_add(n));
        Ok(inner.filter(|&inner| inner <= end))
    }

    /// Copies a field whose tag has been read.
    fn copy(&mut self, field: u32, wire: u64, end: u64, out: &mut Vec<u8>) -> io::Result<bool> {
        if wire == 2 {
            let Some(inner) = self.length(wire, end)? else {
                return Ok(false);
            };
            let length = inner - self.at;
            write_head(out, field, usize::try_from(length).unwrap_or(usize::MAX))?;
            return self.bytes(length, end, out);
        }
        // The tag again, with its own wire type in place of the length-delimited one.
        prost::encode_length_delimiter(key(field) - 2 + wire as usize, out)
            .map_err(io::Error::other)?;
        match wire {
            0 => match self.varint(end)? {
                Some(number) => {
                    varint(number, out);
                    Ok(true)
                }
                None => Ok(false),
            },
            1 => self.bytes(8, end, out),
            5 => self.bytes(4, end, out),
            _ => Ok(false),
        }
    }

    fn bytes(&mut self, count: u64, end: u64, out: &mut Vec<u8>) -> io::Result<bool> {
        if self.at.checked_add(count).is_none_or(|to| to > end) {
            return Ok(false);
        }
        let read = (&mut self.file).take(count).read_to_end(out)?;
        self.at += count;
        Ok(read as u64 == count)
    }

    fn varint(&mut self, end: u64) -> io::Result<Option<u64>> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            if self.at >= end || self.file.read(&mut byte)? == 0 {
                return Ok(None);
            }
            self.at += 1;
            number |= u64::from(byte[0] & 0x7F) << shift;
            if byte[0] & 0x80 == 0 {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::schema::{BlobShape, LayerParameter, NetParameter};

    const PARTS: &[(u32, Part)] = &[(100, Part::Message(&[(7, Part::Blob)]))];

    fn net() -> NetParameter {
        let blob = |data: &[f32], double: &[f64]| BlobProto {
            shape: Some(BlobShape { dim: vec![2, -1] }),
            data: data.to_vec(),
            double_data: double.to_vec(),
            diff: vec![9.0; 3],
            num: Some(-7),
            ..Default::default()
        };
        NetParameter {
            name: Some("n".into()),
            force_backward: Some(true),
            layer: vec![LayerParameter {
                name: Some("ip".into()),
                loss_weight: vec![0.5],
                blobs: vec![blob(&[1.0, -2.0, 0.5], &[]), blob(&[], &[0.25, 3.0])],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    fn skim(bytes: &[u8]) -> Option<Skimmed> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, bytes).unwrap();
        Skimmed::open(&path, PARTS).unwrap()
    }

    #[test]
    fn everything_but_the_numbers_and_then_the_numbers() {
        let whole = net();
        let skimmed = skim(&whole.encode_to_vec()).unwrap();
        let mut light = NetParameter::decode(&skimmed.message[..]).unwrap();
        let blobs = light.layer[0].blobs.clone();
        let counts: Vec<usize> = blobs.iter().map(|b| skimmed.count(b)).collect();
        assert_eq!(counts, [3, 2]);
        let (mut a, mut b) = ([0.0; 3], [0.0; 2]);
        skimmed
            .read(vec![(&blobs[0], &mut a), (&blobs[1], &mut b)])
            .unwrap();
        assert_eq!((a, b), ([1.0, -2.0, 0.5], [0.25, 3.0]));
        for (light, whole) in light.layer[0].blobs.iter_mut().zip(&whole.layer[0].blobs) {
            assert!(light.data.is_empty() && light.diff.is_empty());
            light.data.clone_from(&whole.data);
            light.diff.clone_from(&whole.diff);
            light.double_data.clone_from(&whole.double_data);
            light.double_diff.clear();
        }
        assert_eq!(light, whole);
    }

    #[test]
    fn numbers_in_parts_are_joined_and_single_ones_left_to_the_whole_reader() {
        // Layer 100 { blob 7 { data 5: 1.0, then 2.0 } }, each packed for itself.
        let part = |x: f32| [&[5 << 3 | 2, 4][..], &x.to_le_bytes()].concat();
        let blob = [part(1.0), part(2.0)].concat();
        let of = |blob: &[u8]| {
            let layer = [&[7 << 3 | 2, blob.len() as u8][..], blob].concat();
            [&[0xa2, 0x06, layer.len() as u8][..], &layer].concat()
        };
        let skimmed = skim(&of(&blob)).unwrap();
        let light = NetParameter::decode(&skimmed.message[..]).unwrap();
        let mut out = [0.0; 2];
        let blob = &light.layer[0].blobs[0];
        skimmed.read(vec![(blob, &mut out)]).unwrap();
        assert_eq!(out, [1.0, 2.0]);
        let single = [&[5 << 3 | 5][..], &1.0f32.to_le_bytes()].concat();
        assert!(skim(&of(&single)).is_none());
    }

    proptest! {
        #[test]
        fn damaged_files_are_skimmed_or_left(at in 0usize..120, value: u8, cut in 0usize..120) {
            let mut bytes = net().encode_to_vec();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(60)));
            if let Some(skimmed) = skim(&bytes) {
                // What is skimmed never reads as something that the whole does not read as.
                let light = NetParameter::decode(&skimmed.message[..]);
                if let (Ok(light), Ok(whole)) = (light, NetParameter::decode(&bytes[..])) {
                    prop_assert_eq!(light.layer.len(), whole.layer.len());
                    let blobs = light.layer.iter().flat_map(|l| &l.blobs);
                    let theirs = whole.layer.iter().flat_map(|l| &l.blobs);
                    for (blob, whole) in blobs.zip(theirs) {
                        let want = whole.data.len().max(whole.double_data.len());
                        prop_assert_eq!(skimmed.count(blob), want);
                    }
                }
            }
        }
    }
}
