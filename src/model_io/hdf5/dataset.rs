//! Datasets: what their header says, and their elements.

use super::{
    File, Walk,
    bytes::{Cursor, cut, damaged},
    chunks::{self, Grid, Index},
    filters::Filters,
    header::{self, Message},
    heap,
    kind::Kind,
    layout::{Extents, Layout},
};
use crate::{
    error::{Error, Result},
    tensor::Shape,
};

/// A dataset of a file.
pub struct Dataset<'f> {
    file: &'f File,
    shape: Shape,
    kind: Kind,
    extents: Extents,
    layout: Layout,
    filters: Filters,
    /// What stands where nothing was written; zeros if empty.
    fill: Vec<u8>,
}

/// What deflate can make of a byte, about.
const SWELL: u64 = 1100;
/// Bytes that any file may ask for.
const FREE: u64 = 1 << 20;
/// Bytes read at a time for elements that must be converted.
const PIECE: usize = 1 << 16;

impl<'f> Dataset<'f> {
    pub(super) fn new(file: &'f File, messages: &[Message]) -> Result<Self> {
        let cursor = |bytes| Cursor::new(bytes, file.widths);
        let wanted = |kind| {
            header::find(messages, kind)?.ok_or_else(|| damaged("a dataset without type or shape"))
        };
        let extents = Extents::new(cursor(wanted(header::DATASPACE)?))?;
        let dims: Option<Vec<usize>> = extents
            .dims
            .iter()
            .map(|&d| usize::try_from(d).ok())
            .collect();
        let shape = Shape::checked(&dims.ok_or_else(cut)?)?;
        let kind = Kind::new(cursor(wanted(header::DATATYPE)?))?;
        let layout = Layout::new(cursor(wanted(header::LAYOUT)?), extents.dims.len())?;
        let filters = match header::find(messages, header::FILTERS)? {
            Some(bytes) => Filters::new(cursor(bytes), kind.bytes(file))?,
            None => Filters::default(),
        };
        let fill = match header::find(messages, header::FILL)? {
            Some(bytes) => fill_value(cursor(bytes))?,
            None => match header::find(messages, header::OLD_FILL)? {
                Some(bytes) => sized(&mut cursor(bytes))?,
                None => Vec::new(),
            },
        };
        let dataset = Self {
            file,
            shape,
            kind,
            extents,
            layout,
            filters,
            fill,
        };
        dataset.check()?;
        Ok(dataset)
    }

    /// The extents; a scalar has none.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Refuses what the file is too short for.
    fn check(&self) -> Result<()> {
        let bytes = self.shape.count() as u64 * self.kind.bytes(self.file) as u64;
        match &self.layout {
            Layout::Compact(data) if (data.len() as u64) < bytes => Err(cut()),
            Layout::Contiguous(Some(at)) => self.file.check(*at, bytes),
            Layout::Compact(_) => Ok(()),
            _ if bytes
                > self
                    .file
                    .source
                    .len()
                    .saturating_mul(SWELL)
                    .saturating_add(FREE) =>
            {
                Err(Error::format(format!(
                    "a dataset of shape {} in a file of {} bytes",
                    self.shape,
                    self.file.source.len()
                ))
                .help("the file is damaged; copy or write it again"))
            }
            _ => Ok(()),
        }
    }

    /// All elements as `f32`, in C order.
    ///
    /// # Errors
    /// `Unsupported` where they are no numbers; `Format` where the file is damaged.
    pub fn read(&self) -> Result<Vec<f32>> {
        let mut out = vec![0.0; self.shape.count()];
        self.read_into(&mut out)?;
        Ok(out)
    }

    /// [`read`](Self::read) into a place of as many elements.
    ///
    /// # Errors
    /// As [`read`](Self::read); `Shape` where the place has another length.
    pub fn read_into(&self, out: &mut [f32]) -> Result<()> {
        if !matches!(self.kind, Kind::Integer { .. } | Kind::Float { .. }) {
            return Err(Error::unsupported(format!(
                "it holds {} where numbers are wanted",
                self.kind.words()
            )));
        }
        if out.len() != self.shape.count() {
            return Err(Error::shape(format!(
                "{} values for a place of {}",
                self.shape.count(),
                out.len()
            )));
        }
        if let (
            Layout::Contiguous(Some(at)),
            Kind::Float {
                bytes: 4,
                big: false,
            },
        ) = (&self.layout, self.kind)
        {
            let at = self.file.absolute(*at)?;
            self.file
                .source
                .read_into(at, bytemuck::cast_slice_mut(out))?;
            out.iter_mut()
                .for_each(|x| *x = f32::from_bits(u32::from_le(x.to_bits())));
            return Ok(());
        }
        let width = self.kind.bytes(self.file);
        if self.fill.len() == width && self.has_holes() {
            out.fill(self.kind.number(&self.fill) as f32);
        } else {
            out.fill(0.0);
        }
        self.visit(&mut |first, bytes| {
            let count = bytes.len() / width;
            if let Some(to) = out.get_mut(first..first + count) {
                self.kind.to_f32(bytes, to);
            }
        })
    }

    /// The only element, a whole number.
    ///
    /// # Errors
    /// `Format` where it is something else.
    pub fn integer(&self) -> Result<i64> {
        let Kind::Integer { signed, .. } = self.kind else {
            return Err(Error::format(format!(
                "it holds {}, not a number",
                self.kind.words()
            )));
        };
        let mut found = Vec::new();
        if self.shape.count() == 1 {
            self.visit(&mut |_, bytes| found = bytes.to_vec())?;
        }
        let Kind::Integer { bytes, big, .. } = self.kind else {
            return Err(cut());
        };
        if found.len() != bytes {
            return Err(Error::format(format!(
                "a number was expected, not {}",
                self.shape
            )));
        }
        if big {
            found.reverse();
        }
        let negative = signed && found.last().is_some_and(|&byte| byte >= 0x80);
        found.resize(8, if negative { 0xFF } else { 0 });
        let word = found.iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b));
        Ok(word as i64)
    }

    /// The bytes of the elements, as they stand.
    ///
    /// # Errors
    /// `Format` where the file is damaged.
    pub fn raw(&self) -> Result<Vec<u8>> {
        let width = self.kind.bytes(self.file);
        let mut out = vec![0; self.shape.count() * width];
        self.visit(&mut |first, bytes| {
            if let Some(to) = out.get_mut(first * width..first * width + bytes.len()) {
                to.copy_from_slice(bytes);
            }
        })?;
        Ok(out)
    }

    /// The only element, a text, up to its first zero byte.
    ///
    /// # Errors
    /// `Format` where it is something else.
    pub fn text(&self) -> Result<String> {
        if !matches!(self.kind, Kind::Text(_) | Kind::Elsewhere) || self.shape.count() != 1 {
            return Err(Error::format(format!(
                "a text was expected, not {} {}",
                self.shape,
                self.kind.words()
            )));
        }
        let mut bytes = self.raw()?;
        if self.kind == Kind::Elsewhere {
            let mut walk = Walk::new(self.file);
            let mut c = walk.cursor(&bytes);
            let length = c.u32()? as usize;
            let at = c.address()?.ok_or_else(cut)?;
            let index = c.u32()?;
            bytes = heap::global(&mut walk, at, index)?;
            bytes.truncate(length);
        }
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        bytes.truncate(end);
        String::from_utf8(bytes).map_err(|_| Error::format("a text that is not UTF-8"))
    }

    /// Whether elements may never have been written.
    fn has_holes(&self) -> bool {
        matches!(
            self.layout,
            Layout::Chunked { .. } | Layout::Contiguous(None)
        )
    }

    /// Gives out everything that was written, in pieces of whole elements with the number of the first one.
    fn visit(&self, each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        let width = self.kind.bytes(self.file);
        match &self.layout {
            Layout::Compact(data) => {
                let bytes = data.get(..self.shape.count() * width).ok_or_else(cut)?;
                each(0, bytes);
                Ok(())
            }
            Layout::Contiguous(None) => Ok(()),
            Layout::Contiguous(Some(at)) => {
                let at = self.file.absolute(*at)?;
                let step = (PIECE / width).max(1);
                for first in (0..self.shape.count()).step_by(step) {
                    let count = step.min(self.shape.count() - first);
                    let from = at + (first * width) as u64;
                    let bytes = self.file.source.read(from, (count * width) as u64)?;
                    each(first, &bytes);
                }
                Ok(())
            }
            Layout::Chunked { at: None, .. } => Ok(()),
            Layout::Chunked {
                index,
                at: Some(at),
                chunk,
                edges_plain,
            } => self.visit_chunks(index, *at, chunk, *edges_plain, each),
        }
    }

    fn visit_chunks(
        &self,
        index: &Index,
        at: u64,
        chunk: &[u64],
        edges_plain: bool,
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<()> {
        let width = self.kind.bytes(self.file);
        let length = self.file.source.len();
        let bytes = chunk
            .iter()
            .try_fold(width as u64, |n, &d| n.checked_mul(d));
        let bytes = bytes
            .filter(|&n| n <= length.saturating_mul(SWELL).saturating_add(FREE))
            .ok_or_else(|| damaged("chunks larger than the file can hold"))?;
        let mut walk = Walk::new(self.file);
        let grid = Grid {
            extents: &self.extents,
            chunk,
            bytes,
            filtered: !self.filters.is_empty(),
        };
        let found = chunks::find(&mut walk, index, at, &grid)?;
        // Chunks do not overlap, so all of them together are no longer than the file.
        let mut left = length;
        for found in found {
            let start: Vec<u64> = found
                .place
                .iter()
                .zip(chunk)
                .map(|(&place, &extent)| place.saturating_mul(extent))
                .collect();
            let dims = &self.extents.dims;
            if start.len() != dims.len() || start.iter().zip(dims).any(|(s, d)| s >= d) {
                // Left over from when the dataset was larger.
                continue;
            }
            left = left
                .checked_sub(found.stored)
                .ok_or_else(|| damaged("its chunks are longer than the file"))?;
            let stored = self
                .file
                .source
                .read(self.file.absolute(found.at)?, found.stored)?;
            let over = |i: usize| start[i].saturating_add(chunk[i]) > dims[i];
            let plain = edges_plain && (0..dims.len()).any(over);
            let skipped = if plain { u32::MAX } else { found.skipped };
            let size = usize::try_from(bytes).map_err(|_| cut())?;
            let data = self.filters.undo(stored, skipped, size)?;
            self.runs(&start, chunk, &mut |first, from, count| {
                let from = from * width..(from + count) * width;
                if let Some(bytes) = data.get(from) {
                    each(first, bytes);
                }
            });
        }
        Ok(())
    }

    /// The runs of elements that a chunk and the dataset have in common: first in the dataset, first in the chunk, how
    /// many.
    fn runs(&self, start: &[u64], chunk: &[u64], each: &mut dyn FnMut(usize, usize, usize)) {
        let dims = self.shape.dims();
        let start: Vec<usize> = start.iter().map(|&n| n as usize).collect();
        let chunk: Vec<usize> = chunk.iter().map(|&n| n as usize).collect();
        let Some(last) = dims.len().checked_sub(1) else {
            return;
        };
        let within: Vec<usize> = (0..dims.len())
            .map(|i| chunk[i].min(dims[i].saturating_sub(start[i])))
            .collect();
        let mut at = vec![0; dims.len()];
        loop {
            let (mut to, mut from) = (0, 0);
            for i in 0..dims.len() {
                to = to * dims[i] + start[i] + at[i];
                from = from * chunk[i] + at[i];
            }
            each(to, from, within[last]);
            // The next row.
            let mut axis = last;
            loop {
                let Some(up) = axis.checked_sub(1) else {
                    return;
                };
                axis = up;
                at[axis] += 1;
                if at[axis] < within[axis] {
                    break;
                }
                at[axis] = 0;
            }
        }
    }
}

/// A length of 4 bytes and what follows.
fn sized(c: &mut Cursor<'_>) -> Result<Vec<u8>> {
    let length = c.u32()?;
    Ok(c.take(length as usize)?.to_vec())
}

fn fill_value(mut c: Cursor<'_>) -> Result<Vec<u8>> {
    let version = c.u8()?;
    let defined = if version < 3 {
        c.skip(2)?;
        c.u8()? == 1 || version == 1
    } else {
        c.u8()? & 0x20 != 0
    };
    if defined && c.left() >= 4 {
        sized(&mut c)
    } else {
        Ok(Vec::new())
    }
}
