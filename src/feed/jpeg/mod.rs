//! JPEG files to the very bytes that libjpeg-turbo, and so OpenCV and Caffe, makes of them.
//!
//! Why by hand: decoders differ by up to 4 in a pixel, each having its own way of enlarging colour and of rounding, and a
//! database is made once and trained on for years. The rules are libjpeg's: its accurate transform in whole numbers
//! (`islow`), its triangle filter where colour has half the pixels ("fancy upsampling"), its rounding of YCbCr to RGB.
//!
//! Read are files of 8 bits, one or three components, baseline, extended or progressive. For anything else, and for
//! what is damaged, [`decode`] has no answer.

#![allow(
    clippy::as_conversions,
    reason = "bits and pixels: whole numbers that fit by construction or are clamped"
)]

mod bits;
mod color;
mod huffman;
mod idct;
mod scan;

use bits::Bits;
use huffman::Table;
use scan::Scan;

/// Pixels, the channels of each together.
pub(super) struct Image {
    /// 1, gray, or 3: red, green, blue.
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) pixels: Vec<u8>,
}

/// Pixels of a file, at most.
const MOST: usize = 170 << 20;

/// Where coefficients come from in a row of 64: by rising frequency.
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// One component: brightness, or a colour.
struct Component {
    id: u8,
    /// Samples beside and below each other where the picture has its full number.
    h: usize,
    v: usize,
    quantizer: usize,
    /// Samples that count.
    width: usize,
    height: usize,
    /// Blocks of 8 x 8 samples, up to the end of the last unit.
    blocks_wide: usize,
    blocks_high: usize,
    /// The coefficients of all blocks, each block's in rows.
    coefficients: Vec<[i16; 64]>,
    /// The samples, in rows of `8 * blocks_wide`.
    plane: Vec<u8>,
}

/// What the markers of a file say.
struct File<'a> {
    bytes: &'a [u8],
    at: usize,
    quantizers: [Option<[u16; 64]>; 4],
    dc: [Option<Table>; 4],
    ac: [Option<Table>; 4],
    restart: usize,
    progressive: bool,
    width: usize,
    height: usize,
    components: Vec<Component>,
    jfif: bool,
    adobe: Option<u8>,
}

/// Decodes a file; `gray` asks for its brightness alone. `None` where the file is of a kind that is not read here, or
/// damaged.
pub(super) fn decode(bytes: &[u8], gray: bool) -> Option<Image> {
    let mut file = File {
        bytes,
        at: 2,
        quantizers: [None; 4],
        dc: [const { None }; 4],
        ac: [const { None }; 4],
        restart: 0,
        progressive: false,
        width: 0,
        height: 0,
        components: Vec::new(),
        jfif: false,
        adobe: None,
    };
    if !bytes.starts_with(b"\xff\xd8") {
        return None;
    }
    file.read()?;
    file.finish(gray)
}

impl<'a> File<'a> {
    /// Reads all markers and scans.
    fn read(&mut self) -> Option<()> {
        let mut scans = 0;
        loop {
            let marker = self.marker()?;
            match marker {
                // The end; a file without one ends with its bytes, which is damage.
                0xD9 => return (scans > 0).then_some(()),
                0x01 | 0xD0..=0xD7 => continue,
                _ => {}
            }
            let segment = self.segment()?;
            match marker {
                0xC0..=0xC2 => self.frame(segment, marker == 0xC2)?,
                0xC4 => self.tables(segment)?,
                // Lossless, arithmetic, hierarchical.
                0xC3 | 0xC5..=0xCF => return None,
                0xDB => self.quantizer(segment)?,
                0xDD => self.restart = usize::from(word(segment, 0)?),
                0xDA => {
                    self.scan(segment)?;
                    scans += 1;
                    // Each scan costs a pass over all blocks.
                    if scans > 500 {
                        return None;
                    }
                }
                0xE0 => self.jfif |= segment.starts_with(b"JFIF\0"),
                0xEE if segment.starts_with(b"Adobe") => self.adobe = segment.get(11).copied(),
                _ => {}
            }
        }
    }

    /// The next marker; fill bytes and rubbish before it are passed over.
    fn marker(&mut self) -> Option<u8> {
        loop {
            let rest = self.bytes.get(self.at..)?;
            let start = rest.iter().position(|&b| b == 0xFF)?;
            self.at += start + 1;
            while self.bytes.get(self.at) == Some(&0xFF) {
                self.at += 1;
            }
            let marker = *self.bytes.get(self.at)?;
            self.at += 1;
            if marker != 0 {
                return Some(marker);
            }
        }
    }

    /// The bytes that belong to a marker.
    fn segment(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(word(self.bytes, self.at)?);
        let segment = self.bytes.get(self.at + 2..self.at + length)?;
        self.at += length;
        Some(segment)
    }

    fn quantizer(&mut self, mut rest: &[u8]) -> Option<()> {
        while let Some((&head, after)) = rest.split_first() {
            let wide = head >> 4;
            let size = if wide == 0 { 64 } else { 128 };
            let (values, after) = after.split_at_checked(size)?;
            let mut table = [0; 64];
            for (i, &place) in ZIGZAG.iter().enumerate() {
                table[usize::from(place)] = match wide {
                    0 => u16::from(values[i]),
                    _ => word(values, 2 * i)?,
                };
            }
            *self.quantizers.get_mut(usize::from(head & 15))? = Some(table);
            rest = after;
        }
        Some(())
    }

    fn tables(&mut self, mut rest: &[u8]) -> Option<()> {
        while let Some((&head, after)) = rest.split_first() {
            let (counts, after) = after.split_first_chunk::<16>()?;
            let total = counts.iter().map(|&n| usize::from(n)).sum();
            let (symbols, after) = after.split_at_checked(total)?;
            let kinds = match head >> 4 {
                0 => &mut self.dc,
                1 => &mut self.ac,
                _ => return None,
            };
            *kinds.get_mut(usize::from(head & 15))? = Some(Table::new(counts, symbols)?);
            rest = after;
        }
        Some(())
    }

    fn frame(&mut self, segment: &[u8], progressive: bool) -> Option<()> {
        let (&[bits, h0, h1, w0, w1, count], rest) = segment.split_first_chunk()?;
        if bits != 8 || !matches!(count, 1 | 3) || !self.components.is_empty() {
            return None;
        }
        self.progressive = progressive;
        self.height = usize::from(u16::from_be_bytes([h0, h1]));
        self.width = usize::from(u16::from_be_bytes([w0, w1]));
        if self.width == 0 || self.height == 0 || self.width * self.height > MOST {
            return None;
        }
        let (parts, _) = rest.as_chunks::<3>();
        let parts = parts.get(..usize::from(count))?;
        let factors = |part: &[u8; 3]| (usize::from(part[1] >> 4), usize::from(part[1] & 15));
        if !parts
            .iter()
            .map(factors)
            .all(|(h, v)| (1..=4).contains(&h) && (1..=4).contains(&v))
        {
            return None;
        }
        let most_h = parts.iter().map(|p| factors(p).0).max()?;
        let most_v = parts.iter().map(|p| factors(p).1).max()?;
        let units_wide = self.width.div_ceil(8 * most_h);
        let units_high = self.height.div_ceil(8 * most_v);
        for part in parts {
            let (mut h, mut v) = factors(part);
            let (mut full_h, mut full_v) = (most_h, most_v);
            if count == 1 {
                // Alone, a component is at its full size, in units of one block.
                (h, v, full_h, full_v) = (1, 1, 1, 1);
            }
            let (blocks_wide, blocks_high) = match count {
                1 => (self.width.div_ceil(8), self.height.div_ceil(8)),
                _ => (units_wide * h, units_high * v),
            };
            let blocks = blocks_wide * blocks_high;
            self.components.push(Component {
                id: part[0],
                h,
                v,
                quantizer: usize::from(part[2]),
                width: (self.width * h).div_ceil(full_h),
                height: (self.height * v).div_ceil(full_v),
                blocks_wide,
                blocks_high,
                coefficients: vec![[0; 64]; blocks],
                plane: Vec::new(),
            });
        }
        Some(())
    }

    fn scan(&mut self, segment: &[u8]) -> Option<()> {
        let (&count, rest) = segment.split_first()?;
        let count = usize::from(count);
        let (parts, end) = rest.split_at_checked(2 * count)?;
        let (parts, _) = parts.as_chunks::<2>();
        let &[first, last, shifts, ..] = end else {
            return None;
        };
        let mut members: Vec<scan::Member> = Vec::with_capacity(count);
        for &[id, tables] in parts {
            let at = self.components.iter().position(|c| c.id == id)?;
            if members.iter().any(|&(other, ..)| other == at) {
                return None;
            }
            members.push((at, usize::from(tables >> 4), usize::from(tables & 15)));
        }
        let scan = Scan {
            first: usize::from(first),
            last: usize::from(last),
            high: shifts >> 4,
            low: shifts & 15,
            progressive: self.progressive,
            restart: self.restart,
        };
        let mut bits = Bits::new(self.bytes.get(self.at..)?);
        scan.read(
            &mut self.components,
            &members,
            &self.dc,
            &self.ac,
            &mut bits,
        )?;
        self.at += bits.end()?;
        Some(())
    }

    /// From coefficients to pixels.
    fn finish(mut self, gray: bool) -> Option<Image> {
        let rgb = self.components.len() == 3 && self.is_rgb();
        if rgb && gray {
            return None;
        }
        let wanted = if gray { 1 } else { self.components.len() };
        for component in self.components.iter_mut().take(wanted) {
            let quantizer = (*self.quantizers.get(component.quantizer)?)?;
            let stride = 8 * component.blocks_wide;
            component.plane = vec![0; stride * 8 * component.blocks_high];
            let rows = component.plane.chunks_exact_mut(8 * stride);
            let blocks = component.coefficients.chunks_exact(component.blocks_wide);
            for (rows, blocks) in rows.zip(blocks) {
                for (x, block) in blocks.iter().enumerate() {
                    idct::block(block, &quantizer, &mut rows[8 * x..], stride);
                }
            }
            component.coefficients = Vec::new();
        }
        let (height, width) = (self.height, self.width);
        let parts = self.components.get(..wanted)?;
        let pixels = match parts {
            [one] => color::gray(one, width, height)?,
            parts => color::colors(parts, width, height, rgb)?,
        };
        Some(Image {
            channels: wanted,
            height,
            width,
            pixels,
        })
    }

    /// Whether three components are red, green and blue, as libjpeg tells it.
    fn is_rgb(&self) -> bool {
        if self.jfif {
            return false;
        }
        match self.adobe {
            Some(transform) => transform == 0,
            None => self.components.iter().map(|c| c.id).eq(*b"RGB"),
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_be_bytes(*pair))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use proptest::prelude::*;

    use super::*;

    fn folder() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/feed")
    }

    /// `fixtures/feed`: equal bytes, in colour and in gray.
    #[test]
    fn files_are_read_as_opencv_reads_them() {
        let record = crate::model_io::npz::read_npz(&folder().join("decoded.npz")).unwrap();
        let mut seen = 0;
        for (key, want) in &record {
            let (mode, name) = key.split_once('/').unwrap();
            if !name.ends_with(".jpg") || name.starts_with("cmyk") {
                continue;
            }
            let bytes = fs::read(folder().join("images").join(name)).unwrap();
            let image = decode(&bytes, mode == "gray").unwrap();
            let channels = want.shape.dims().get(2).copied().unwrap_or(1);
            let got = image.pixels.chunks_exact(image.channels).flat_map(|p| {
                let gray = [p[0]; 3];
                // The record has red, green, blue together.
                let rgb = if p.len() == 3 {
                    [p[0], p[1], p[2]]
                } else {
                    gray
                };
                rgb.into_iter().take(channels)
            });
            let apart = got.zip(&want.data).map(|(a, &b)| (f32::from(a) - b).abs());
            let most = apart.fold(0.0, f32::max);
            assert_eq!(most, 0.0, "{key}");
            seen += 1;
        }
        assert!(seen >= 8, "{seen}");
    }

    #[test]
    fn what_is_cut_short_has_no_answer() {
        let bytes = fs::read(folder().join("images/baseline.jpg")).unwrap();
        for end in [0, 2, 30, bytes.len() / 2, bytes.len() - 2] {
            assert!(decode(&bytes[..end], false).is_none(), "{end}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn damage_is_no_panic(name in 0usize..3, at in 0usize..4000, value: u8, more in 0usize..4000) {
            let name = ["baseline.jpg", "progressive.jpg", "subsampled.jpg"][name];
            let mut bytes = fs::read(folder().join("images").join(name)).unwrap();
            for at in [at, more] {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            let _ = decode(&bytes, false);
        }
    }
}
