//! What the elements of a dataset are, and numbers out of their bytes.

use super::{File, bytes::Cursor};
use crate::error::{Error, Result};

/// What an element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A whole number of 1, 2, 4 or 8 bytes.
    Integer {
        bytes: usize,
        signed: bool,
        big: bool,
    },
    /// An IEEE number of 2, 4 or 8 bytes.
    Float { bytes: usize, big: bool },
    /// A text of a fixed number of bytes.
    Text(usize),
    /// A text elsewhere in the file: its length, and where it is.
    Elsewhere,
}

/// Most bytes of an element: a text.
const MOST_BYTES: u64 = 1 << 24;

impl Kind {
    pub(super) fn new(mut c: Cursor<'_>) -> Result<Self> {
        let class = c.u8()? & 15;
        let bits = c.number(3)?;
        let bytes = u64::from(c.u32()?);
        let name = match class {
            0 => {
                let whole = (c.u16()?, u64::from(c.u16()?)) == (0, 8 * bytes);
                if whole && matches!(bytes, 1 | 2 | 4 | 8) {
                    return Ok(Self::Integer {
                        bytes: bytes as usize,
                        signed: bits & 8 != 0,
                        big: bits & 1 != 0,
                    });
                }
                "integers of unusual size"
            }
            1 => {
                c.skip(4)?;
                let form = [c.u8()?, c.u8()?, c.u8()?, c.u8()?];
                let usual = match bytes {
                    2 => form == [10, 5, 0, 10],
                    4 => form == [23, 8, 0, 23],
                    8 => form == [52, 11, 0, 52],
                    _ => false,
                };
                if usual && bits & 0x40 == 0 {
                    return Ok(Self::Float {
                        bytes: bytes as usize,
                        big: bits & 1 != 0,
                    });
                }
                "floating-point numbers of unusual form"
            }
            3 if (1..=MOST_BYTES).contains(&bytes) => return Ok(Self::Text(bytes as usize)),
            9 if bits & 15 == 1 => return Ok(Self::Elsewhere),
            2 => "times",
            4 => "bit fields",
            5 => "opaque bytes",
            6 => "compound elements",
            7 => "references",
            8 => "enumerated values (or booleans)",
            9 => "sequences",
            10 => "arrays",
            _ => "elements of an unknown class",
        };
        Err(Error::unsupported(format!("it holds {name}"))
            .help("store it as integers or as float32 or float64"))
    }

    pub(super) fn bytes(self, file: &File) -> usize {
        match self {
            Self::Integer { bytes, .. } | Self::Float { bytes, .. } | Self::Text(bytes) => bytes,
            Self::Elsewhere => 8 + file.widths.offset,
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Integer { .. } => "integers",
            Self::Float { .. } => "floating-point numbers",
            Self::Text(_) | Self::Elsewhere => "text",
        }
    }

    /// One number, from its bytes.
    pub(super) fn number(self, bytes: &[u8]) -> f64 {
        let mut word = [0u8; 8];
        let (big, width) = match self {
            Self::Integer { big, bytes, .. } | Self::Float { big, bytes } => (big, bytes),
            _ => return 0.0,
        };
        for (i, &byte) in bytes.iter().take(width).enumerate() {
            word[if big { width - 1 - i } else { i }] = byte;
        }
        let word = u64::from_le_bytes(word);
        match self {
            Self::Integer { signed: true, .. } => {
                let unused = 64 - 8 * width as u32;
                ((word << unused) as i64 >> unused) as f64
            }
            Self::Integer { .. } => word as f64,
            _ => match width {
                2 => half(word as u16),
                4 => f32::from_bits(word as u32).into(),
                _ => f64::from_bits(word),
            },
        }
    }

    /// Converts elements, as many as `to` holds.
    pub(super) fn to_f32(self, from: &[u8], to: &mut [f32]) {
        match self {
            Self::Float { bytes: 4, big } => {
                let (words, _) = from.as_chunks::<4>();
                for (to, &word) in to.iter_mut().zip(words) {
                    *to = if big {
                        f32::from_be_bytes(word)
                    } else {
                        f32::from_le_bytes(word)
                    };
                }
            }
            // By way of `f64` some integers of 64 bits would be rounded twice.
            Self::Integer {
                bytes: 8,
                signed,
                big,
            } => {
                let (words, _) = from.as_chunks::<8>();
                for (to, &word) in to.iter_mut().zip(words) {
                    let word = if big {
                        u64::from_be_bytes(word)
                    } else {
                        u64::from_le_bytes(word)
                    };
                    *to = if signed {
                        word as i64 as f32
                    } else {
                        word as f32
                    };
                }
            }
            Self::Integer { bytes, .. } | Self::Float { bytes, .. } => {
                for (to, from) in to.iter_mut().zip(from.chunks_exact(bytes)) {
                    *to = self.number(from) as f32;
                }
            }
            _ => to.fill(0.0),
        }
    }
}

fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let fraction = f64::from(bits & 0x3FF);
    sign * match i32::from(bits >> 10 & 31) {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}
