//! A `Datum` read in place from its wire bytes: prost would copy its pixels.

use crate::error::{Error, Result};

/// The fields of a `Datum`, with the schema's defaults.
#[derive(Default)]
pub(in crate::feed) struct Datum<'a> {
    pub(in crate::feed) channels: i32,
    pub(in crate::feed) height: i32,
    pub(in crate::feed) width: i32,
    pub(in crate::feed) data: &'a [u8],
    pub(in crate::feed) label: i32,
    pub(in crate::feed) encoded: bool,
    /// All bytes, where there are floats in them.
    floats: Option<&'a [u8]>,
}

/// A field's value.
pub(in crate::feed) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
    Other,
}

impl<'a> Datum<'a> {
    /// Reads the fields; unknown ones are skipped, of repeated ones the last counts, as everywhere in protobuf.
    pub(in crate::feed) fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut datum = Self::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            match field(&mut rest)? {
                (1, Value::Varint(n)) => datum.channels = int32(n),
                (2, Value::Varint(n)) => datum.height = int32(n),
                (3, Value::Varint(n)) => datum.width = int32(n),
                (4, Value::Bytes(data)) => datum.data = data,
                (5, Value::Varint(n)) => datum.label = int32(n),
                (6, Value::Fixed32(_) | Value::Bytes(_)) => datum.floats = Some(bytes),
                (7, Value::Varint(n)) => datum.encoded = n != 0,
                (1..=7, _) => return Err(malformed()),
                _ => {}
            }
        }
        Ok(datum)
    }

    /// The floats, collected.
    pub(in crate::feed) fn floats(&self) -> Result<Vec<f32>> {
        let mut floats = Vec::new();
        let mut rest = self.floats.unwrap_or_default();
        while !rest.is_empty() {
            match field(&mut rest)? {
                (6, Value::Fixed32(bytes)) => floats.push(f32::from_le_bytes(bytes)),
                (6, Value::Bytes(packed)) => {
                    let (numbers, tail) = packed.as_chunks::<4>();
                    if !tail.is_empty() {
                        return Err(malformed());
                    }
                    floats.extend(numbers.iter().map(|b| f32::from_le_bytes(*b)));
                }
                _ => {}
            }
        }
        Ok(floats)
    }
}

pub(in crate::feed) fn malformed() -> Error {
    Error::data("the record is no Datum: its bytes are not those of the message")
        .help("name a database of samples, as Caffe's convert_imageset writes them")
}

/// Takes the next field off: its number and value.
pub(in crate::feed) fn field<'a>(rest: &mut &'a [u8]) -> Result<(u64, Value<'a>)> {
    let tag = varint(rest)?;
    let value = match tag & 7 {
        0 => Value::Varint(varint(rest)?),
        1 => take(rest, 8).map(|_| Value::Other)?,
        2 => {
            let length = usize::try_from(varint(rest)?).map_err(|_| malformed())?;
            Value::Bytes(take(rest, length)?)
        }
        5 => Value::Fixed32(take(rest, 4)?.try_into().map_err(|_| malformed())?),
        _ => return Err(malformed()),
    };
    match tag >> 3 {
        number @ 1..=0x1FFF_FFFF => Ok((number, value)),
        _ => Err(malformed()),
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(count).ok_or_else(malformed)?;
    *rest = tail;
    Ok(head)
}

fn varint(rest: &mut &[u8]) -> Result<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest.split_first().ok_or_else(malformed)?;
        *rest = tail;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(malformed())
}

/// An `int32` travels sign-extended to 64 bits; a reader keeps the low 32.
fn int32(n: u64) -> i32 {
    let [a, b, c, d, ..] = n.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}
