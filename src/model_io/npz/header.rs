//! The head of a `.npy`: a magic, a version and a Python dictionary of three entries.

use std::io::Read;

use crate::{
    error::{Error, Result},
    tensor::Shape,
};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Longer headers belong to structured arrays, which hold no blob.
const LONGEST: usize = 1 << 16;

/// What stands in the array and how it lies.
pub(super) struct Header {
    pub(super) number: Number,
    pub(super) fortran: bool,
    pub(super) shape: Shape,
}

/// One kind of number as it is stored.
pub(super) struct Number {
    /// NumPy's name for it.
    pub(super) descr: String,
    /// Bytes each.
    pub(super) size: usize,
    big: bool,
    convert: fn([u8; 8]) -> f32,
}

impl Number {
    fn new(descr: &str) -> Result<Self> {
        let (order, kind) = match descr.as_bytes() {
            [order @ (b'<' | b'>' | b'|' | b'='), kind @ ..] => (*order, kind),
            kind => (b'=', kind),
        };
        // Eight little-endian bytes, of which the first `size` are the number's.
        fn head<const N: usize>(b: [u8; 8]) -> [u8; N] {
            std::array::from_fn(|i| b[i])
        }
        let (size, convert): (usize, fn([u8; 8]) -> f32) = match kind {
            b"f4" => (4, |b| f32::from_le_bytes(head(b))),
            b"f8" => (8, |b| f64::from_le_bytes(b) as f32),
            b"i1" => (1, |b| i8::from_le_bytes(head(b)).into()),
            b"i2" => (2, |b| i16::from_le_bytes(head(b)).into()),
            b"i4" => (4, |b| i32::from_le_bytes(head(b)) as f32),
            b"i8" => (8, |b| i64::from_le_bytes(b) as f32),
            b"u1" => (1, |b| u8::from_le_bytes(head(b)).into()),
            b"u2" => (2, |b| u16::from_le_bytes(head(b)).into()),
            b"u4" => (4, |b| u32::from_le_bytes(head(b)) as f32),
            b"u8" => (8, |b| u64::from_le_bytes(b) as f32),
            b"b1" => (1, |b| f32::from(u8::from(b[0] != 0))),
            _ => {
                return Err(Error::unsupported(format!(
                    "elements of the kind '{}'; integers, booleans, f4 and f8 are read",
                    descr.escape_debug()
                )));
            }
        };
        Ok(Self {
            descr: descr.to_owned(),
            size,
            big: order == b'>' || (order == b'=' && cfg!(target_endian = "big")),
            convert,
        })
    }

    /// Appends the numbers of `bytes`, whose length is a multiple of the size.
    pub(super) fn convert(&self, bytes: &[u8], values: &mut Vec<f32>) {
        values.extend(bytes.chunks_exact(self.size).map(|stored| {
            let mut number = [0u8; 8];
            for (to, from) in number.iter_mut().zip(stored) {
                *to = *from;
            }
            if self.big {
                number[..self.size].reverse();
            }
            (self.convert)(number)
        }));
    }
}

impl Header {
    pub(super) fn read(reader: &mut impl Read) -> Result<Self> {
        let short = |e| Error::format(format!("the .npy header cannot be read: {e}"));
        let mut start = [0u8; 8];
        reader.read_exact(&mut start).map_err(short)?;
        if !start.starts_with(MAGIC) {
            return Err(Error::format("no .npy header: the magic bytes are missing"));
        }
        let length = match start[6] {
            1 => {
                let mut n = [0u8; 2];
                reader.read_exact(&mut n).map_err(short)?;
                usize::from(u16::from_le_bytes(n))
            }
            2 | 3 => {
                let mut n = [0u8; 4];
                reader.read_exact(&mut n).map_err(short)?;
                usize::try_from(u32::from_le_bytes(n)).unwrap_or(usize::MAX)
            }
            version => {
                return Err(Error::format(format!(
                    "a .npy header of the unknown version {version}"
                )));
            }
        };
        if length > LONGEST {
            return Err(Error::format(format!(
                "a .npy header of {length} bytes; no plain array has more than {LONGEST}"
            )));
        }
        let mut text = vec![0u8; length];
        reader.read_exact(&mut text).map_err(short)?;
        Self::parse(&String::from_utf8_lossy(&text))
    }

    fn parse(text: &str) -> Result<Self> {
        let malformed =
            || Error::format(format!("a malformed .npy header: {}", text.escape_debug()));
        let missing = |key: &str| Error::format(format!("the .npy header has no '{key}'"));
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        let mut scan = Scan(text.trim());
        if !scan.eat("{") {
            return Err(malformed());
        }
        while !scan.eat("}") {
            let key = scan.string().ok_or_else(malformed)?;
            if !scan.eat(":") {
                return Err(malformed());
            }
            match key {
                "descr" => {
                    descr = Some(scan.string().ok_or_else(|| {
                        Error::unsupported("a structured array; one kind of number is expected")
                    })?);
                }
                "fortran_order" if scan.eat("True") => fortran = Some(true),
                "fortran_order" if scan.eat("False") => fortran = Some(false),
                "shape" => {
                    shape = Some(scan.tuple().ok_or_else(|| {
                        Error::format(format!(
                            "the .npy header has no usable shape: {}",
                            text.escape_debug()
                        ))
                    })?);
                }
                _ => return Err(malformed()),
            }
            if !scan.eat(",") && !scan.0.starts_with('}') {
                return Err(malformed());
            }
        }
        let shape = shape.ok_or_else(|| missing("shape"))?;
        Ok(Self {
            number: Number::new(descr.ok_or_else(|| missing("descr"))?)?,
            fortran: fortran.ok_or_else(|| missing("fortran_order"))?,
            shape: Shape::checked(&shape).map_err(|e| Error::format(e.message()))?,
        })
    }
}

/// What is left of the text; every step skips the space after it.
struct Scan<'a>(&'a str);

impl<'a> Scan<'a> {
    fn eat(&mut self, token: &str) -> bool {
        match self.0.strip_prefix(token) {
            Some(rest) => {
                self.0 = rest.trim_start();
                true
            }
            None => false,
        }
    }

    /// A quoted string without escapes.
    fn string(&mut self) -> Option<&'a str> {
        let quote = self.0.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let (text, rest) = self.0[1..].split_once(quote)?;
        self.0 = rest.trim_start();
        Some(text)
    }

    /// A tuple of extents.
    fn tuple(&mut self) -> Option<Vec<usize>> {
        let mut extents = Vec::new();
        if !self.eat("(") {
            return None;
        }
        while !self.eat(")") {
            let digits = self.0.bytes().take_while(u8::is_ascii_digit).count();
            extents.push(self.0[..digits].parse().ok()?);
            self.0 = self.0[digits..].trim_start();
            // Python 2 marked long integers.
            self.eat("L");
            if !self.eat(",") && !self.0.starts_with(')') {
                return None;
            }
        }
        Some(extents)
    }
}

/// The header of an array of `f32` in C order, padded so that the numbers begin at a multiple of 64.
pub(super) fn f32_header(shape: &Shape) -> Vec<u8> {
    let mut extents = String::new();
    for d in shape.dims() {
        extents.push_str(&format!("{d}, "));
    }
    // One extent keeps its comma, or Python would see a number in brackets.
    let extents = match shape.axes() {
        1 => extents.trim_end(),
        _ => extents.trim_end_matches(", "),
    };
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({extents}), }}");
    // Ten bytes come before the text and a line end after it. 32 axes of 10 digits stay far below 64 KiB.
    while (10 + text.len() + 1) % 64 != 0 {
        text.push(' ');
    }
    text.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}
