//! The input of a net as the picture that it was.

use image::RgbImage;

use crate::error::{Error, Result};

/// What was done to pixels before they became the input: `(pixel - mean) * scale`.
#[derive(Clone, Debug, PartialEq)]
pub struct Undo {
    /// What they were multiplied by.
    pub scale: f32,
    /// What was subtracted: nothing, one for all, one a channel, or one a value.
    pub mean: Vec<f32>,
}

/// A sample of `channels x height x width` as a picture: blue, green, red or grey; of any other number of channels the
/// mean. Where it is not known what was done to the pixels, they are taken as they are if they can be pixels, else
/// stretched between the darkest and the lightest.
///
/// # Errors
/// `Shape` where there are not so many values, or none, or too many.
pub fn photo(values: &[f32], size: [usize; 3], undo: Option<&Undo>) -> Result<RgbImage> {
    let [channels, height, width] = size;
    let plane = height.checked_mul(width).filter(|&n| n > 0);
    let fits = plane.and_then(|n| n.checked_mul(channels)) == Some(values.len());
    let side = |n: usize| u32::try_from(n).ok().filter(|&n| n <= 1 << 14);
    let (Some(plane), true, Some(w), Some(h)) =
        (plane, fits && channels > 0, side(width), side(height))
    else {
        return Err(Error::shape(format!(
            "{} values for a picture of {channels}x{height}x{width}",
            values.len()
        )));
    };
    let pixel = pixels(values, plane, undo);
    Ok(RgbImage::from_fn(w, h, |x, y| {
        let at = y as usize * width + x as usize;
        let byte = |v: f32| v.round().clamp(0.0, 255.0) as u8;
        image::Rgb(match channels {
            3 => [2, 1, 0].map(|c| byte(pixel(c * plane + at))),
            _ => {
                let sum: f32 = (0..channels).map(|c| pixel(c * plane + at)).sum();
                [byte(sum / channels as f32); 3]
            }
        })
    }))
}

/// What a value was, 0 to 255.
fn pixels<'a>(
    values: &'a [f32],
    plane: usize,
    undo: Option<&'a Undo>,
) -> Box<dyn Fn(usize) -> f32 + 'a> {
    if let Some(Undo { scale, mean }) = undo
        && *scale != 0.0
    {
        let channels = values.len() / plane;
        return Box::new(move |i| {
            let mean = match mean.len() {
                n if n == values.len() => mean[i],
                n if n == channels && n > 1 => mean[i / plane],
                _ => mean.first().copied().unwrap_or(0.0),
            };
            values[i] / scale + mean
        });
    }
    let figures = super::channels::figures(values);
    let (low, high) = (figures.low, figures.high);
    if low >= 0.0 && (2.0..=255.0).contains(&high) {
        return Box::new(|i| values[i]);
    }
    Box::new(move |i| super::channels::position(values[i], (low, high)) * 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_undone() {
        let pixels = [10.0, 20.0, 30.0];
        let mean = [1.0, 2.0, 3.0];
        let values: Vec<f32> = (0..3).map(|i| (pixels[i] - mean[i]) * 0.5).collect();
        let undo = Undo {
            scale: 0.5,
            mean: mean.to_vec(),
        };
        let image = photo(&values, [3, 1, 1], Some(&undo)).unwrap();
        assert_eq!(image.get_pixel(0, 0).0, [30, 20, 10]);
        let grey = photo(
            &[0.0, 1.0],
            [1, 1, 2],
            Some(&Undo {
                scale: 1.0,
                mean: vec![7.0],
            }),
        );
        assert_eq!(grey.unwrap().get_pixel(1, 0).0, [8; 3]);
    }

    #[test]
    fn unknown_pixels_are_stretched_only_where_they_must_be() {
        let same = photo(&[0.0, 100.0], [1, 1, 2], None).unwrap();
        assert_eq!(same.get_pixel(1, 0).0, [100; 3]);
        let stretched = photo(&[-1.0, 1.0], [1, 1, 2], None).unwrap();
        assert_eq!(stretched.get_pixel(0, 0).0, [0; 3]);
        assert_eq!(stretched.get_pixel(1, 0).0, [255; 3]);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert!(photo(&[0.0; 3], [1, 2, 2], None).is_err());
        assert!(photo(&[], [0, 0, 0], None).is_err());
        assert!(photo(&[], [3, usize::MAX, 2], None).is_err());
    }
}
