//! A record's bytes as Caffe stores a sample, a `Datum`, and its pixels.
//!
//! Raw pixels stay where they are: a `Datum` borrows from its record.

use std::borrow::Cow;

use super::image;
use crate::{
    error::{Error, Result},
    tensor::Shape,
};

pub(super) mod wire;

/// How an encoded image is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Color {
    /// Gray as one channel, colour as three.
    #[default]
    AsStored,
    /// Three channels (`force_color`).
    Color,
    /// One channel (`force_gray`).
    Gray,
    /// One channel of numbers: of a file with a palette its indices, not its colours.
    Labels,
}

/// The pixels of a sample, channel by channel, rows within, unless it says otherwise.
#[derive(Clone, Debug, PartialEq)]
pub enum Pixels<'a> {
    /// Bytes, 0 to 255.
    U8(Cow<'a, [u8]>),
    /// Bytes as a decoder of images leaves them: red, green, blue of each pixel together.
    Rgb(Vec<u8>),
    /// Numbers.
    F32(Vec<f32>),
}

/// A sample: as many pixels as channels × height × width, each at least 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    /// Channels; colour is blue, green, red.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// The pixels.
    pub pixels: Pixels<'a>,
    /// The label, 0 where none is stored.
    pub label: i32,
}

impl Sample<'_> {
    /// Channels, height, width.
    pub fn dims(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }

    /// The pixels as numbers, channel by channel: blue, green, red.
    pub fn floats(&self) -> Vec<f32> {
        match &self.pixels {
            Pixels::U8(bytes) => bytes.iter().map(|&b| f32::from(b)).collect(),
            Pixels::Rgb(bytes) => {
                let (pixels, _) = bytes.as_chunks::<3>();
                let plane = |c: usize| pixels.iter().map(move |p| f32::from(p[c]));
                plane(2).chain(plane(1)).chain(plane(0)).collect()
            }
            Pixels::F32(values) => values.clone(),
        }
    }

    /// The memory of a decoded image, for [`decode_with`] the next one.
    pub(super) fn spare(self) -> Vec<u8> {
        match self.pixels {
            Pixels::Rgb(bytes) | Pixels::U8(Cow::Owned(bytes)) => bytes,
            Pixels::U8(Cow::Borrowed(_)) | Pixels::F32(_) => Vec::new(),
        }
    }
}

/// A size as messages name it: `3x32x32`.
pub(crate) fn size(dims: [usize; 3]) -> String {
    let [c, h, w] = dims;
    format!("{c}x{h}x{w}")
}

/// Reads a `Datum`; an encoded one, JPEG or PNG, is decoded as `color` says.
///
/// As in Caffe, `data` counts where both it and `float_data` are there, and the stated size of an encoded image does
/// not.
///
/// # Errors
/// `Data` where the bytes are no `Datum`, its pixels are not as many as its size says, or the image is damaged;
/// `Unsupported` for other formats of images.
pub fn decode(bytes: &[u8], color: Color) -> Result<Sample<'_>> {
    decode_with(bytes, color, Vec::new())
}

/// [`decode`] into the memory of an earlier sample.
pub(super) fn decode_with(bytes: &[u8], color: Color, spare: Vec<u8>) -> Result<Sample<'_>> {
    let datum = wire::Datum::read(bytes)?;
    let label = datum.label;
    if datum.encoded {
        if datum.data.is_empty() {
            return Err(Error::data(
                "the sample says it is an encoded image, but has no data",
            ));
        }
        return Ok(image::decode(datum.data, color, spare)?.into_sample(label));
    }
    let stated = [datum.channels, datum.height, datum.width];
    let impossible = || {
        let [c, h, w] = stated;
        Error::data(format!(
            "the sample states the size {c}x{h}x{w}, which is impossible"
        ))
    };
    let [channels, height, width] = stated.map(|d| usize::try_from(d).ok().filter(|&d| d > 0));
    let (Some(channels), Some(height), Some(width)) = (channels, height, width) else {
        return Err(encoded_by_mistake(datum.data).unwrap_or_else(impossible));
    };
    let dims = [channels, height, width];
    let count = Shape::checked(&dims).map_err(|_| impossible())?.count();
    let (found, pixels) = if datum.data.is_empty() {
        let floats = datum.floats()?;
        (floats.len(), Pixels::F32(floats))
    } else {
        (datum.data.len(), Pixels::U8(datum.data.into()))
    };
    if found != count {
        let wrong = || {
            let what = match pixels {
                Pixels::U8(_) | Pixels::Rgb(_) => "bytes of data",
                Pixels::F32(_) => "values of float_data",
            };
            Error::data(format!(
                "the sample states the size {}, which is {count} values, but has {found} {what}",
                size(dims)
            ))
            .help("write the database again; every sample needs channels x height x width values")
        };
        return Err(encoded_by_mistake(datum.data).unwrap_or_else(wrong));
    }
    Ok(Sample {
        channels,
        height,
        width,
        pixels,
        label,
    })
}

/// The image in a file's bytes, as OpenCV reads it.
///
/// # Errors
/// `Data` where it is damaged, `Unsupported` for other formats.
pub(crate) fn decode_image(file: &[u8], color: Color) -> Result<Sample<'static>> {
    Ok(image::decode_exactly(file, color)?.into_sample(0))
}

/// Data that does not fit its size is often an image file without the mark that says so.
fn encoded_by_mistake(data: &[u8]) -> Option<Error> {
    let kind = image::kind(data)?;
    Some(
        Error::data(format!(
            "the sample holds a {kind} file, but is not marked as encoded"
        ))
        .help("write the database again with `encoded: true` in each Datum, or with raw pixels"),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::{error::ErrorKind, schema};

    fn raw(c: i32, h: i32, w: i32, data: &[u8]) -> schema::Datum {
        schema::Datum {
            channels: Some(c),
            height: Some(h),
            width: Some(w),
            data: Some(data.to_vec()),
            label: Some(-7),
            ..Default::default()
        }
    }

    #[test]
    fn raw_pixels_are_borrowed() {
        let bytes = raw(2, 1, 2, &[1, 2, 3, 255]).encode_to_vec();
        let sample = decode(&bytes, Color::Color).unwrap();
        assert_eq!(sample.dims(), [2, 1, 2]);
        assert_eq!(sample.label, -7);
        assert!(matches!(
            &sample.pixels,
            Pixels::U8(Cow::Borrowed([1, 2, 3, 255]))
        ));
    }

    #[test]
    fn floats_in_both_wire_forms() {
        let mut datum = raw(1, 1, 2, &[]);
        datum.float_data = vec![0.5, -1.0];
        let unpacked = datum.encode_to_vec();
        datum.float_data.clear();
        let mut packed = datum.encode_to_vec();
        packed.extend([6 << 3 | 2, 8]);
        packed.extend([0.5f32, -1.0].map(f32::to_le_bytes).concat());
        for bytes in [unpacked, packed] {
            let sample = decode(&bytes, Color::AsStored).unwrap();
            assert_eq!(sample.pixels, Pixels::F32(vec![0.5, -1.0]));
        }
    }

    #[test]
    fn data_counts_before_floats() {
        let mut datum = raw(1, 1, 1, &[9]);
        datum.float_data = vec![0.5, 0.5];
        let bytes = datum.encode_to_vec();
        let sample = decode(&bytes, Color::AsStored).unwrap();
        assert_eq!(sample.pixels, Pixels::U8(vec![9].into()));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (datum, words) in [
            (
                raw(1, 2, 2, &[0; 3]),
                "1x2x2, which is 4 values, but has 3 bytes",
            ),
            (raw(1, 2, 2, &[]), "but has 0 values of float_data"),
            (raw(0, 2, 2, &[0; 4]), "0x2x2, which is impossible"),
            (raw(-1, 2, 2, &[0; 4]), "-1x2x2"),
            (raw(i32::MAX, i32::MAX, 2, &[0; 4]), "impossible"),
            (
                raw(3, 9, 9, b"\xff\xd8\xff\xe0rest"),
                "JPEG file, but is not marked",
            ),
        ] {
            let bytes = datum.encode_to_vec();
            let error = decode(&bytes, Color::AsStored).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Data);
            assert!(error.message().contains(words), "{error} has no '{words}'");
        }
        let error = decode(b"plain text", Color::AsStored).unwrap_err();
        assert!(error.message().contains("no Datum"), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes, Color::AsStored);
        }

        #[test]
        fn any_datum_reads_as_prost_reads_it(
            (c, h, w) in (0i32..4, 0i32..4, 0i32..4), label: i32, encoded: bool,
            data in proptest::collection::vec(any::<u8>(), 0..30),
            floats in proptest::collection::vec(-1f32..1.0, 0..30),
        ) {
            let mut datum = raw(c, h, w, &data);
            datum.label = Some(label);
            datum.encoded = Some(encoded);
            datum.float_data = floats.clone();
            let bytes = datum.encode_to_vec();
            let read = wire::Datum::read(&bytes).unwrap();
            prop_assert_eq!((read.channels, read.height, read.width), (c, h, w));
            prop_assert_eq!((read.label, read.encoded, read.data), (label, encoded, &data[..]));
            prop_assert_eq!(read.floats().unwrap(), floats);
            let _ = decode(&bytes, Color::Gray);
        }

        #[test]
        fn any_damaged_datum_is_decoded_or_refused(at in 0usize..40, value: u8, cut in 0usize..40) {
            let mut bytes = raw(1, 4, 5, &[3; 20]).encode_to_vec();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.truncate(bytes.len().saturating_sub(cut));
            let _ = decode(&bytes, Color::AsStored);
        }
    }
}
