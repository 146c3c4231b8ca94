//! A record's values as a picture.

use image::ImageFormat;

use super::encode::write_image;
use crate::{
    error::{Error, Result},
    feed::{
        Picture,
        datum::{Pixels, Sample},
    },
};

/// The picture as a PNG. Bytes of one or three channels are its pixels; channels of any other number stand one below the
/// other in gray; floats are stretched, each channel for itself, from its least value in black to its largest in white.
///
/// # Errors
/// `Data` where it is too large.
pub fn png(sample: Sample<'_>) -> Result<Vec<u8>> {
    write_image(&picture(sample)?, ImageFormat::Png)
}

pub(super) fn picture(sample: Sample<'_>) -> Result<Picture> {
    let [channels, height, width] = sample.dims();
    let bytes = match sample.pixels {
        Pixels::U8(_) | Pixels::Rgb(_) if matches!(channels, 1 | 3) => {
            return Ok(Picture::from_sample(sample)?.0);
        }
        Pixels::U8(bytes) => bytes.into_owned(),
        Pixels::Rgb(bytes) => bytes,
        Pixels::F32(values) => {
            let area = (height * width).max(1);
            values.chunks(area).flat_map(stretched).collect()
        }
    };
    let height = height
        .checked_mul(channels)
        .ok_or_else(|| Error::data("the record is too large for a picture"))?;
    Ok(Picture {
        channels: 1,
        height,
        width,
        pixels: bytes,
    })
}

/// Values to bytes, the least 0 and the largest 255; what is no number is 0.
fn stretched(values: &[f32]) -> Vec<u8> {
    let finite = || values.iter().copied().filter(|v| v.is_finite());
    let low = finite().fold(f32::INFINITY, f32::min);
    let high = finite().fold(f32::NEG_INFINITY, f32::max);
    let span = (high - low).max(f32::MIN_POSITIVE);
    let byte = |v: &f32| ((v - low) / span * 255.0).round().clamp(0.0, 255.0) as u8;
    values.iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_that_are_no_colours_stand_below_each_other() {
        let sample = Sample {
            channels: 2,
            height: 1,
            width: 2,
            pixels: Pixels::F32(vec![-1.0, 1.0, 5.0, f32::NAN]),
            label: 0,
        };
        let picture = picture(sample.clone()).unwrap();
        assert_eq!((picture.channels, picture.height, picture.width), (1, 2, 2));
        assert_eq!(picture.pixels, [0, 255, 0, 0]);
        let image = image::load_from_memory(&png(sample).unwrap()).unwrap();
        assert_eq!((image.height(), image.width()), (2, 2));
    }

    #[test]
    fn bytes_of_three_channels_are_colours() {
        let sample = Sample {
            channels: 3,
            height: 1,
            width: 1,
            pixels: Pixels::U8(vec![1, 2, 3].into()),
            label: 0,
        };
        let png = png(sample).unwrap();
        let image = image::load_from_memory(&png).unwrap().to_rgb8();
        assert_eq!(image.get_pixel(0, 0).0, [3, 2, 1]);
    }
}
