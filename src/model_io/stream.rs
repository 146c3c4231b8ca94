//! Writing protobuf with large blobs straight from where they are, without building the message first.

use std::io::{self, Write};

use prost::Message as _;

use crate::{
    schema::BlobShape,
    tensor::{Shape, View},
};

/// Writes the key and the length of a length-delimited field.
pub(super) fn write_head(out: &mut impl Write, tag: u32, length: usize) -> io::Result<()> {
    let mut head = Vec::with_capacity(20);
    for n in [key(tag), length] {
        prost::encode_length_delimiter(n, &mut head).map_err(io::Error::other)?;
    }
    out.write_all(&head)
}

pub(super) fn key(tag: u32) -> usize {
    // Wire type 2: length-delimited.
    (tag as usize) << 3 | 2
}

/// Bytes of a length-delimited field of this length.
pub(super) fn field_len(tag: u32, length: usize) -> usize {
    prost::length_delimiter_len(key(tag)) + prost::length_delimiter_len(length) + length
}

const SHAPE: u32 = 7;
const DATA: u32 = 5;
const DIFF: u32 = 6;

fn shape_message(shape: &Shape) -> BlobShape {
    BlobShape {
        // An extent is at most `Shape::MAX_COUNT`.
        dim: shape.dims().iter().map(|&d| d as i64).collect(),
    }
}

fn floats_len(tag: u32, floats: usize) -> usize {
    // As any writer of protobuf does, an empty packed field is left out.
    if floats == 0 {
        0
    } else {
        field_len(tag, floats * size_of::<f32>())
    }
}

/// Bytes of the `BlobProto` that [`write_blob`] writes, its own key and length not included.
fn blob_len(view: View<'_>, diff: &[f32]) -> usize {
    field_len(SHAPE, shape_message(view.shape).encoded_len())
        + floats_len(DATA, view.data.len())
        + floats_len(DIFF, diff.len())
}

/// Bytes of a field that holds a blob.
pub(super) fn blob_field_len(tag: u32, view: View<'_>, diff: &[f32]) -> usize {
    field_len(tag, blob_len(view, diff))
}

/// Writes a field that holds a blob: shape, values and, unless empty, diffs.
pub(super) fn write_blob(
    out: &mut impl Write,
    tag: u32,
    view: View<'_>,
    diff: &[f32],
) -> io::Result<()> {
    write_head(out, tag, blob_len(view, diff))?;
    write_floats(out, DATA, view.data)?;
    write_floats(out, DIFF, diff)?;
    let shape = shape_message(view.shape).encode_to_vec();
    write_head(out, SHAPE, shape.len())?;
    out.write_all(&shape)
}

fn write_floats(out: &mut impl Write, tag: u32, floats: &[f32]) -> io::Result<()> {
    if floats.is_empty() {
        return Ok(());
    }
    write_head(out, tag, size_of_val(floats))?;
    write_values(out, floats)
}

/// Writes numbers, little-endian.
///
/// # Errors
/// What `out` says.
pub fn write_values(out: &mut impl Write, floats: &[f32]) -> io::Result<()> {
    // In memory as in the file: the bytes go out from where they are.
    if cfg!(target_endian = "little") {
        return out.write_all(bytemuck::cast_slice(floats));
    }
    let mut bytes = [0u8; 4096];
    for part in floats.chunks(bytes.len() / size_of::<f32>()) {
        for (to, from) in bytes.chunks_exact_mut(size_of::<f32>()).zip(part) {
            to.copy_from_slice(&from.to_le_bytes());
        }
        out.write_all(&bytes[..size_of_val(part)])?;
    }
    Ok(())
}
