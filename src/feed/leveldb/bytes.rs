//! Numbers and keys out of LevelDB's bytes.

use crate::error::{Error, Result};

pub(super) fn damaged(what: &str) -> Error {
    Error::format(format!("the LevelDB is damaged: {what}"))
        .help("copy or write the database again")
}

fn early() -> Error {
    damaged("a structure ends too early")
}

pub(super) fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or_else(early)?;
    *bytes = rest;
    Ok(taken)
}

pub(super) fn byte(bytes: &mut &[u8]) -> Result<u8> {
    Ok(take(bytes, 1)?[0])
}

pub(super) fn u32(bytes: &mut &[u8]) -> Result<u32> {
    let (word, rest) = bytes.split_first_chunk().ok_or_else(early)?;
    *bytes = rest;
    Ok(u32::from_le_bytes(*word))
}

pub(super) fn u64(bytes: &mut &[u8]) -> Result<u64> {
    let (word, rest) = bytes.split_first_chunk().ok_or_else(early)?;
    *bytes = rest;
    Ok(u64::from_le_bytes(*word))
}

/// A number in groups of 7 bits, the lowest first.
pub(super) fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let next = byte(bytes)?;
        number |= u64::from(next & 127) << shift;
        if next < 128 {
            return Ok(number);
        }
    }
    Err(damaged("a number of more than 64 bits"))
}

pub(super) fn length(bytes: &mut &[u8]) -> Result<usize> {
    usize::try_from(varint(bytes)?).map_err(|_| early())
}

/// Bytes with their length before them.
pub(super) fn sized<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8]> {
    let count = length(bytes)?;
    take(bytes, count)
}

/// A key as tables hold it, taken apart: the user's part, the number of the change, and whether that put a value.
pub(super) fn key(bytes: &[u8]) -> Result<(&[u8], u64, bool)> {
    let (key, tag) = bytes.split_last_chunk().ok_or_else(early)?;
    let tag = u64::from_le_bytes(*tag);
    match tag & 255 {
        kind @ (0 | 1) => Ok((key, tag >> 8, kind == 1)),
        _ => Err(damaged("a change of an unknown kind")),
    }
}

/// Appends a number in groups of 7 bits.
pub(super) fn put_varint(to: &mut Vec<u8>, mut number: u64) {
    while number >= 128 {
        to.push(u8::try_from(number & 127).unwrap_or(0) | 128);
        number >>= 7;
    }
    to.push(u8::try_from(number).unwrap_or(0));
}

/// Appends a length.
pub(super) fn put_length(to: &mut Vec<u8>, length: usize) {
    put_varint(to, u64::try_from(length).unwrap_or(u64::MAX));
}

/// Appends bytes with their length before them.
pub(super) fn put_sized(to: &mut Vec<u8>, bytes: &[u8]) {
    put_length(to, bytes.len());
    to.extend_from_slice(bytes);
}
