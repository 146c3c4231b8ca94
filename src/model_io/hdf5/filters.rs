//! What a chunk goes through on its way to the file, undone: deflate, shuffle, checksums, LZF.

use std::io::Read as _;

use flate2::read::ZlibDecoder;

use super::bytes::{Cursor, damaged};
use crate::error::{Error, Result};

/// One filter of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filter {
    Deflate,
    /// Of elements of so many bytes.
    Shuffle(usize),
    Checksum,
    Lzf,
}

/// The filters of a dataset, in the order in which they were applied.
#[derive(Default)]
pub(super) struct Filters(Vec<Filter>);

impl Filters {
    /// From the pipeline's message.
    pub(super) fn new(mut c: Cursor<'_>, element: usize) -> Result<Self> {
        let version = c.u8()?;
        let count = c.u8()?;
        c.skip(if version == 1 { 6 } else { 0 })?;
        let mut filters = Vec::new();
        for _ in 0..count {
            let id = c.u16()?;
            let named = version == 1 || id >= 256;
            let mut name = if named { usize::from(c.u16()?) } else { 0 };
            c.skip(2)?;
            let values = usize::from(c.u16()?);
            if version == 1 {
                name = name.next_multiple_of(8);
            }
            c.skip(name)?;
            let first = if values > 0 { Some(c.u32()?) } else { None };
            c.skip(values.saturating_sub(1) * 4)?;
            c.skip(if version == 1 && values % 2 == 1 {
                4
            } else {
                0
            })?;
            filters.push(match id {
                1 => Filter::Deflate,
                2 => Filter::Shuffle(first.map_or(element, |n| n as usize)),
                3 => Filter::Checksum,
                32000 => Filter::Lzf,
                _ => {
                    let name = match id {
                        4 => "szip".to_owned(),
                        5 => "nbit".to_owned(),
                        6 => "scale-offset".to_owned(),
                        _ => format!("number {id}"),
                    };
                    return Err(Error::unsupported(format!(
                        "a dataset stored with the filter {name}"
                    ))
                    .help("write it without, or with gzip: compression=\"gzip\" in h5py"));
                }
            });
        }
        Ok(Self(filters))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Undoes the filters but those whose bit in `skipped` is set; the outcome is `length` bytes.
    pub(super) fn undo(&self, mut bytes: Vec<u8>, skipped: u32, length: usize) -> Result<Vec<u8>> {
        // A checksum is all that makes a chunk longer, and what does not compress.
        let most = length + length / 8 + 64;
        for (i, filter) in self.0.iter().enumerate().rev() {
            if skipped.checked_shr(i as u32).unwrap_or(0) & 1 == 1 {
                continue;
            }
            bytes = match filter {
                Filter::Deflate => {
                    let mut out = Vec::new();
                    ZlibDecoder::new(&bytes[..])
                        .take(most as u64)
                        .read_to_end(&mut out)
                        .map_err(|e| damaged(&format!("a chunk cannot be inflated: {e}")))?;
                    out
                }
                Filter::Shuffle(element) => unshuffle(&bytes, *element),
                Filter::Checksum => {
                    let end = bytes.len().checked_sub(4);
                    let (data, sum) =
                        bytes.split_at(end.ok_or_else(|| damaged("a chunk without its checksum"))?);
                    let stated = u32::from_le_bytes([sum[0], sum[1], sum[2], sum[3]]);
                    if fletcher32(data) != stated {
                        return Err(damaged("a chunk's checksum is wrong"));
                    }
                    bytes.truncate(bytes.len() - 4);
                    bytes
                }
                Filter::Lzf => inflate_lzf(&bytes, most)?,
            };
        }
        if bytes.len() != length {
            return Err(damaged(&format!(
                "a chunk comes out as {} bytes instead of {length}",
                bytes.len()
            )));
        }
        Ok(bytes)
    }
}

/// All first bytes of the elements, then all second ones, back in order.
fn unshuffle(bytes: &[u8], element: usize) -> Vec<u8> {
    let count = bytes.len().checked_div(element).unwrap_or(0);
    if element < 2 || count < 2 {
        return bytes.to_vec();
    }
    let mut out = vec![0; bytes.len()];
    let (whole, rest) = bytes.split_at(count * element);
    for (part, from) in whole.chunks_exact(count).enumerate() {
        for (to, &byte) in out[part..].iter_mut().step_by(element).zip(from) {
            *to = byte;
        }
    }
    out[count * element..].copy_from_slice(rest);
    out
}

/// Two sums of big-endian words, each modulo 65535.
fn fletcher32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (0u64, 0u64);
    let (words, rest) = bytes.as_chunks::<2>();
    let last = rest.first().map(|&byte| [byte, 0]);
    for word in words.iter().copied().chain(last) {
        a = (a + u64::from(u16::from_be_bytes(word))) % 65535;
        b = (b + a) % 65535;
    }
    // The library's folding leaves 65535 where a sum that is not 0 is a multiple of it.
    let fold = |n: u64, any: bool| if n == 0 && any { 65535 } else { n as u32 };
    let any = bytes.iter().any(|&byte| byte != 0);
    fold(b, any) << 16 | fold(a, any)
}

/// LZF: runs of literals, and copies of 3 to 264 bytes from up to 8 KiB before.
fn inflate_lzf(bytes: &[u8], most: usize) -> Result<Vec<u8>> {
    let bad = || damaged("a chunk's LZF data makes no sense");
    let mut out: Vec<u8> = Vec::new();
    let mut rest = bytes.iter();
    while let Some(&first) = rest.next() {
        if first < 32 {
            let (run, left) = rest
                .as_slice()
                .split_at_checked(usize::from(first) + 1)
                .ok_or_else(bad)?;
            out.extend_from_slice(run);
            rest = left.iter();
        } else {
            let mut length = usize::from(first >> 5);
            if length == 7 {
                length += usize::from(*rest.next().ok_or_else(bad)?);
            }
            let low = usize::from(*rest.next().ok_or_else(bad)?);
            let back = (usize::from(first & 31) << 8 | low) + 1;
            let start = out.len().checked_sub(back).ok_or_else(bad)?;
            for i in start..start + length + 2 {
                out.push(out[i]);
            }
        }
        if out.len() > most {
            return Err(bad());
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffled_bytes_come_back() {
        assert_eq!(unshuffle(b"aAbBcC!", 3), b"abcABC!".map(|b| b));
        assert_eq!(unshuffle(b"ab", 0), b"ab");
    }

    #[test]
    fn lzf_copies_may_overlap_and_bad_ones_are_refused() {
        assert_eq!(inflate_lzf(&[0, b'a', 0x40, 0], 99).unwrap(), b"aaaaa");
        for bad in [
            &[5, b'a'][..],
            &[0x40, 0],
            &[0, b'a', 0xE0],
            &[0, b'a', 0x40, 9],
        ] {
            assert!(inflate_lzf(bad, 99).is_err(), "{bad:?}");
        }
        assert!(inflate_lzf(&[0, b'a', 0xE0, 255, 0], 99).is_err());
    }
}
