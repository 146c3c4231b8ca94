//! The channels of a blob, or of anything else that is planes of numbers, as pictures.

use image::RgbImage;

use super::palette::Palette;
use crate::{
    error::{Error, Result},
    tensor::Shape,
};

/// Figures of one channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// The smallest finite value; 0 where there is none.
    pub low: f32,
    /// The largest finite value; 0 where there is none.
    pub high: f32,
    /// The mean of the finite values; 0 where there is none.
    pub mean: f64,
    /// The share of exact zeros.
    pub zeros: f64,
    /// Values that are not finite.
    pub not_finite: usize,
}

/// The figures of some values.
pub fn figures(values: &[f32]) -> Figures {
    let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
    let (mut sum, mut zeros, mut finite) = (0.0, 0usize, 0usize);
    for &value in values {
        if value.is_finite() {
            low = low.min(value);
            high = high.max(value);
            sum += f64::from(value);
            finite += 1;
            zeros += usize::from(value == 0.0);
        }
    }
    if finite == 0 {
        (low, high) = (0.0, 0.0);
    }
    Figures {
        low,
        high,
        mean: sum / finite.max(1) as f64,
        zeros: zeros as f64 / values.len().max(1) as f64,
        not_finite: values.len() - finite,
    }
}

/// The lowest and the highest value of several channels.
pub fn shared<'a>(figures: impl IntoIterator<Item = &'a Figures>) -> (f32, f32) {
    let mut range: Option<(f32, f32)> = None;
    for f in figures {
        range = Some(match range {
            None => (f.low, f.high),
            Some((low, high)) => (low.min(f.low), high.max(f.high)),
        });
    }
    range.unwrap_or((0.0, 0.0))
}

/// Where a value stands between `low` (0) and `high` (1). All is 0 where there is nothing between them.
pub fn position(value: f32, (low, high): (f32, f32)) -> f32 {
    let span = f64::from(high) - f64::from(low);
    match value {
        v if v.is_nan() => f32::NAN,
        _ if span <= 0.0 => 0.0,
        v => ((f64::from(v) - f64::from(low)) / span).clamp(0.0, 1.0) as f32,
    }
}

/// What one sample of a blob looks like as planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planes {
    /// How many; the channels, or 1.
    pub channels: usize,
    /// Height of each.
    pub rows: usize,
    /// Width of each.
    pub columns: usize,
    /// The blob is a list of single numbers, laid in rows to be seen.
    pub list: bool,
}

/// The planes of one sample of a blob of this shape. Axis 0 counts samples and axis 1 channels; further axes make the
/// plane, all but the last together its rows. A blob of numbers without a plane is one plane of all of them, row by
/// row; what does not fill its last row is left out of the blob's figures and NaN in its picture.
///
/// # Errors
/// `Shape` where the blob has no values, or does not have the sample.
pub fn planes(shape: &Shape, sample: usize) -> Result<Planes> {
    let dims = shape.dims();
    if shape.count() == 0 {
        return Err(Error::shape(format!(
            "a blob of shape {shape} has no values"
        )));
    }
    let samples = dims.first().copied().unwrap_or(1);
    if sample >= samples {
        return Err(Error::shape(format!(
            "there is no sample {sample} in a blob of shape {shape}"
        ))
        .help(format!("its samples are 0 to {}", samples - 1)));
    }
    let list = |count: usize| {
        let columns = count.min(32.max((count as f64).sqrt().ceil() as usize));
        Planes {
            channels: 1,
            rows: count.div_ceil(columns.max(1)),
            columns,
            list: true,
        }
    };
    Ok(match *dims {
        [] | [_] => list(1),
        [_, channels] => list(channels),
        [_, channels, ref plane @ ..] => {
            let (rows, columns) = match *plane {
                [columns] => (1, columns),
                [ref rows @ .., columns] => (rows.iter().product(), columns),
                [] => (1, 1),
            };
            match rows * columns {
                1 => list(channels),
                _ => Planes {
                    channels,
                    rows,
                    columns,
                    list: false,
                },
            }
        }
    })
}

/// A plane as a picture, cell by cell, each `zoom` pixels a side.
///
/// # Errors
/// `Shape` where there are more than `rows * columns` values, or too many pixels.
pub fn picture(
    values: &[f32],
    (rows, columns): (usize, usize),
    range: (f32, f32),
    palette: Palette,
    zoom: u32,
) -> Result<RgbImage> {
    if values.is_empty() || rows.checked_mul(columns).is_none_or(|n| n < values.len()) {
        return Err(Error::shape(format!(
            "{} values for a map of {rows}x{columns}",
            values.len()
        )));
    }
    let side = |cells: usize| {
        u32::try_from(cells)
            .ok()
            .and_then(|n| n.checked_mul(zoom))
            .filter(|&n| n <= 1 << 14)
            .ok_or_else(|| Error::shape(format!("a map of {rows}x{columns} cells is too large")))
    };
    Ok(RgbImage::from_fn(side(columns)?, side(rows)?, |x, y| {
        let at = (y / zoom) as usize * columns + (x / zoom) as usize;
        let value = values.get(at).copied().unwrap_or(f32::NAN);
        image::Rgb(palette.color(position(value, range)))
    }))
}

/// How many pixels a cell should have, where so many maps of this size stand on one sheet: at least 1.
pub fn zoom(rows: usize, columns: usize, count: usize) -> u32 {
    let target = match count {
        0..=6 => 216,
        7..=16 => 168,
        17..=64 => 112,
        _ => 64,
    };
    u32::try_from(target / rows.max(columns).max(1))
        .unwrap_or(1)
        .max(1)
}

/// A picture made smaller where it is larger than sheets are for.
pub fn shrunk(image: RgbImage, count: usize) -> RgbImage {
    let most = if count <= 16 { 640 } else { 320 };
    let larger = image.width().max(image.height());
    if larger <= most {
        return image;
    }
    let side = |n: u32| (u64::from(n) * u64::from(most) / u64::from(larger)).max(1) as u32;
    image::imageops::thumbnail(&image, side(image.width()), side(image.height()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_leave_out_what_is_not_finite() {
        let f = figures(&[1.0, f32::NAN, -3.0, 0.0, f32::INFINITY]);
        assert_eq!((f.low, f.high, f.not_finite), (-3.0, 1.0, 2));
        assert!((f.mean + 2.0 / 3.0).abs() < 1e-9 && f.zeros == 0.2);
        assert_eq!(figures(&[f32::NAN]).high, 0.0);
        assert_eq!(shared(&[f, figures(&[4.0])]), (-3.0, 4.0));
    }

    #[test]
    fn positions() {
        assert_eq!(position(1.0, (0.0, 4.0)), 0.25);
        assert_eq!(position(9.0, (0.0, 4.0)), 1.0);
        assert_eq!(position(2.0, (2.0, 2.0)), 0.0);
        assert!(position(f32::NAN, (0.0, 1.0)).is_nan());
        assert_eq!(position(0.0, (f32::MIN, f32::MAX)), 0.5);
    }

    #[test]
    fn shapes_become_planes() {
        let of = |dims: &[usize]| {
            let p = planes(&Shape::new(dims), 0).unwrap();
            (p.channels, p.rows, p.columns, p.list)
        };
        assert_eq!(of(&[2, 3, 4, 5]), (3, 4, 5, false));
        assert_eq!(of(&[2, 3, 5]), (3, 1, 5, false));
        assert_eq!(of(&[2, 3, 2, 4, 5]), (3, 8, 5, false));
        assert_eq!(of(&[2, 10]), (1, 1, 10, true));
        assert_eq!(of(&[2, 100, 1, 1]), (1, 4, 32, true));
        assert_eq!(of(&[]), (1, 1, 1, true));
        assert!(planes(&Shape::new(&[2, 3]), 2).is_err());
        assert!(planes(&Shape::new(&[2, 0]), 0).is_err());
    }

    #[test]
    fn a_cell_is_a_square_of_its_colour() {
        let image = picture(&[0.0, 2.0, 1.0], (2, 2), (0.0, 2.0), Palette::Grey, 3).unwrap();
        assert_eq!(image.dimensions(), (6, 6));
        assert_eq!(image.get_pixel(2, 2).0, [0; 3]);
        assert_eq!(image.get_pixel(3, 0).0, [255; 3]);
        assert_eq!(image.get_pixel(0, 5).0, [128; 3]);
        assert_eq!(image.get_pixel(5, 5).0, Palette::Grey.color(f32::NAN));
        assert!(picture(&[0.0; 5], (2, 2), (0.0, 1.0), Palette::Grey, 1).is_err());
        assert!(picture(&[0.0], (1, 1), (0.0, 1.0), Palette::Grey, u32::MAX).is_err());
    }

    #[test]
    fn large_pictures_shrink_and_small_ones_grow() {
        assert_eq!(zoom(12, 12, 5), 18);
        assert_eq!(zoom(500, 500, 5), 1);
        let image = shrunk(RgbImage::new(1280, 640), 4);
        assert_eq!(image.dimensions(), (640, 320));
        assert_eq!(shrunk(RgbImage::new(8, 8), 4).dimensions(), (8, 8));
    }
}
