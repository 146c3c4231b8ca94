//! Another size, by the rules of OpenCV's `resize` for 8 bits.
//!
//! Linear, cubic and Lanczos interpolation weigh 2, 4 or 8 neighbours along each axis, in whole numbers: weights are
//! rounded to 1/2048. Pixel centres correspond (`(x + 0.5) · scale - 0.5`), neighbours beyond the edge are the edge.
//! Area averages what a new pixel covers; where it would enlarge, it interpolates linearly between pixel areas.
//!
//! Equal to OpenCV's bytes for nearest and linear; for the others but for ±1, where its sums run in another order.

use rand::RngExt as _;

use super::Picture;
use crate::{
    error::{Error, Result},
    rng::Rng,
};

/// How values between pixels are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interpolation {
    Nearest,
    Linear,
    Cubic,
    Area,
    Lanczos4,
}

impl Interpolation {
    /// One of several, drawn; linear where there is none.
    pub(crate) fn draw(of: &[Self], rng: &mut Rng) -> Self {
        match of {
            [] => Self::Linear,
            [one] => *one,
            several => several[rng.random_range(0..several.len())],
        }
    }
}

/// Weights are whole multiples of 1/2048.
const ONE: f32 = 2048.0;

/// For each new place along an axis, `taps` old places and their weights.
struct Axis {
    taps: usize,
    from: Vec<usize>,
    weights: Vec<i32>,
}

impl Axis {
    /// A step of a new place is `scale` old ones. Along rows, a place beyond the edge is the edge itself; from row to row it is mixed of the edge and its
    /// repetition, which rounds otherwise.
    fn new(old: usize, new: usize, scale: f64, how: Interpolation, along_rows: bool) -> Self {
        let taps = match how {
            Interpolation::Cubic => 4,
            Interpolation::Lanczos4 => 8,
            _ => 2,
        };
        let last = old as isize - 1;
        let mut axis = Self {
            taps,
            from: Vec::with_capacity(new * taps),
            weights: Vec::with_capacity(new * taps),
        };
        for x in 0..new {
            let (start, part) = if how == Interpolation::Area {
                // Enlarging: a new pixel lies in one old one, or across the border of two.
                let start = (x as f64 * scale).floor();
                let part = (x as f64 + 1.0 - (start + 1.0) / scale) as f32;
                (start, if part <= 0.0 { 0.0 } else { part.fract() })
            } else {
                let at = ((x as f64 + 0.5) * scale - 0.5) as f32;
                (f64::from(at.floor()), at - at.floor())
            };
            let mut start = start as isize;
            let mut part = part;
            if taps == 2 && along_rows {
                if start < 0 {
                    (start, part) = (0, 0.0);
                } else if start >= last {
                    (start, part) = (last, 0.0);
                }
            }
            let weights = match how {
                Interpolation::Cubic => cubic(part).to_vec(),
                Interpolation::Lanczos4 => lanczos(part).to_vec(),
                _ => vec![1.0 - part, part],
            };
            let first = start - (taps as isize / 2 - 1);
            for (k, weight) in weights.into_iter().enumerate() {
                let at = (first + k as isize).clamp(0, last);
                axis.from.push(at as usize);
                axis.weights.push((weight * ONE).round_ties_even() as i32);
            }
        }
        axis
    }

    fn at(&self, x: usize) -> (&[usize], &[i32]) {
        let range = x * self.taps..(x + 1) * self.taps;
        (&self.from[range.clone()], &self.weights[range])
    }
}

/// Keys' kernel with a = -0.75.
fn cubic(x: f32) -> [f32; 4] {
    const A: f32 = -0.75;
    let far = |d: f32| ((A * d - 5.0 * A) * d + 8.0 * A) * d - 4.0 * A;
    let near = |d: f32| ((A + 2.0) * d - (A + 3.0)) * d * d + 1.0;
    let (a, b, c) = (far(x + 1.0), near(x), near(1.0 - x));
    [a, b, c, 1.0 - a - b - c]
}

/// sinc(d) · sinc(d / 4) at the distances of eight neighbours, scaled to a sum of 1.
fn lanczos(x: f32) -> [f32; 8] {
    let sinc = |v: f64| {
        if v.abs() < 1e-9 { 1.0 } else { v.sin() / v }
    };
    let raw: [f64; 8] = std::array::from_fn(|k| {
        let d = (f64::from(x) + 3.0 - k as f64) * std::f64::consts::PI;
        sinc(d) * sinc(d / 4.0)
    });
    let sum: f64 = raw.iter().sum();
    raw.map(|w| (w / sum) as f32)
}

/// `picture` at another size.
///
/// # Errors
/// `Shape` where the new size is 0 or too large.
pub(crate) fn resize(
    picture: &Picture,
    height: usize,
    width: usize,
    how: Interpolation,
) -> Result<Picture> {
    if height == 0 || width == 0 {
        return Err(Error::shape(format!(
            "an image of {}x{} would be resized to {height}x{width}",
            picture.height, picture.width
        )));
    }
    let count = super::count(height, width, picture.channels)?;
    if (height, width) == (picture.height, picture.width) {
        return Ok(picture.clone());
    }
    let shrinks = height <= picture.height && width <= picture.width;
    let halves = (2 * height, 2 * width) == (picture.height, picture.width);
    let pixels = match how {
        Interpolation::Nearest => nearest(picture, height, width, count),
        Interpolation::Area if shrinks => area(picture, height, width, count),
        Interpolation::Linear if halves => area(picture, height, width, count),
        how => {
            let scale = |old: usize, new: usize| old as f64 / new as f64;
            let scales = [scale(picture.height, height), scale(picture.width, width)];
            interpolate(picture, [height, width], scales, count, how)
        }
    };
    Ok(Picture {
        channels: picture.channels,
        height,
        width,
        pixels,
    })
}

/// `picture` with sides `factor` times as long, linearly. Sides are rounded, and the factor is what places are told by:
/// the picture does not fill its new sides to the last bit, as where their lengths are given.
///
/// # Errors
/// `Shape` where the new size is too large.
pub(crate) fn scaled(picture: &Picture, factor: f32) -> Result<Picture> {
    let factor = f64::from(factor);
    let side = |old: usize| ((old as f64 * factor).round_ties_even() as usize).max(1);
    let (height, width) = (side(picture.height), side(picture.width));
    let count = super::count(height, width, picture.channels)?;
    let step = 1.0 / factor;
    let pixels = if step == 2.0 {
        cells(picture, [height, width], [2, 2], count)
    } else {
        interpolate(
            picture,
            [height, width],
            [step, step],
            count,
            Interpolation::Linear,
        )
    };
    Ok(Picture {
        channels: picture.channels,
        height,
        width,
        pixels,
    })
}

fn nearest(picture: &Picture, height: usize, width: usize, count: usize) -> Vec<u8> {
    let places = |old: usize, new: usize| -> Vec<usize> {
        // The reciprocal of a quotient, as OpenCV has it, and not the quotient the other way round.
        let step = 1.0 / (new as f64 / old as f64);
        let place = |x| ((x as f64 * step).floor() as usize).min(old - 1);
        (0..new).map(place).collect()
    };
    let columns = places(picture.width, width);
    let mut pixels = Vec::with_capacity(count);
    for y in places(picture.height, height) {
        let row = picture.row(y);
        for &x in &columns {
            pixels.extend_from_slice(&row[x * picture.channels..(x + 1) * picture.channels]);
        }
    }
    pixels
}

fn interpolate(
    picture: &Picture,
    [height, width]: [usize; 2],
    [down, right]: [f64; 2],
    count: usize,
    how: Interpolation,
) -> Vec<u8> {
    let (rows, columns) = (
        Axis::new(picture.height, height, down, how, false),
        Axis::new(picture.width, width, right, how, true),
    );
    let channels = picture.channels;
    // Rows at the new width, each with the number of the row that it was.
    let mut done: Vec<(usize, Vec<i32>)> = vec![(usize::MAX, Vec::new()); rows.taps];
    let mut pixels = Vec::with_capacity(count);
    for y in 0..height {
        let (from, weights) = rows.at(y);
        for &row in from {
            if done.iter().any(|(number, _)| *number == row) {
                continue;
            }
            // Whichever is not wanted now is not wanted again, since rows go down.
            let free = done.iter().position(|(number, _)| !from.contains(number));
            if let Some(free) = free {
                done[free].0 = row;
                across(picture.row(row), channels, &columns, &mut done[free].1);
            }
        }
        let wide: Vec<&[i32]> = from
            .iter()
            .map(|row| {
                let found = done.iter().find(|(number, _)| number == row);
                found.map_or(&[][..], |(_, values)| values)
            })
            .collect();
        if let ([a, b], [wa, wb]) = (&wide[..], weights) {
            let mix = a.iter().zip(*b).map(|(a, b)| {
                let sum = ((wa * (a >> 4)) >> 16) + ((wb * (b >> 4)) >> 16);
                ((sum + 2) >> 2).clamp(0, 255) as u8
            });
            pixels.extend(mix);
        } else {
            let mix = (0..width * channels).map(|i| {
                let sum: i64 = (wide.iter().zip(weights))
                    .map(|(row, &w)| i64::from(row[i]) * i64::from(w))
                    .sum();
                ((sum + (1 << 21)) >> 22).clamp(0, 255) as u8
            });
            pixels.extend(mix);
        }
    }
    pixels
}

/// One row at the new width, times 2048.
fn across(row: &[u8], channels: usize, columns: &Axis, out: &mut Vec<i32>) {
    out.clear();
    let each = columns.from.chunks_exact(columns.taps);
    for (from, weights) in each.zip(columns.weights.chunks_exact(columns.taps)) {
        for c in 0..channels {
            let taps = from.iter().zip(weights);
            out.push(
                taps.map(|(&x, &w)| i32::from(row[x * channels + c]) * w)
                    .sum(),
            );
        }
    }
}

/// The parts of old pixels that a new one covers: first, and the share of each.
fn covers(old: usize, new: usize) -> Vec<(usize, Vec<f32>)> {
    let scale = old as f64 / new as f64;
    (0..new)
        .map(|x| {
            let (from, to) = (x as f64 * scale, (x as f64 + 1.0) * scale);
            let cell = scale.min(old as f64 - from);
            let last = to.floor().min(old as f64);
            let first = from.ceil().min(last);
            let mut shares = Vec::new();
            let mut start = first as usize;
            if first - from > 1e-3 {
                start -= 1;
                shares.push(((first - from) / cell) as f32);
            }
            shares.extend((first as usize..last as usize).map(|_| (1.0 / cell) as f32));
            if to - last > 1e-3 && (last as usize) < old {
                shares.push(((to - last).min(1.0).min(cell) / cell) as f32);
            }
            (start, shares)
        })
        .collect()
}

fn area(picture: &Picture, height: usize, width: usize, count: usize) -> Vec<u8> {
    let (rows, columns) = (covers(picture.height, height), covers(picture.width, width));
    let channels = picture.channels;
    let whole = picture.height.is_multiple_of(height) && picture.width.is_multiple_of(width);
    if whole {
        let each = [picture.height / height, picture.width / width];
        return cells(picture, [height, width], each, count);
    }
    let mut pixels = Vec::with_capacity(count);
    let mut sums = vec![0.0f32; width * channels];
    for (top, shares) in &rows {
        sums.fill(0.0);
        for (row, share) in (*top..).zip(shares) {
            let row = picture.row(row);
            for (x, (left, parts)) in columns.iter().enumerate() {
                for c in 0..channels {
                    let cells = (*left..).zip(parts);
                    let sum: f32 = cells
                        .map(|(x, part)| f32::from(row[x * channels + c]) * part)
                        .sum();
                    sums[x * channels + c] += share * sum;
                }
            }
        }
        pixels.extend(sums.iter().map(|&sum| super::byte(sum)));
    }
    pixels
}

/// The mean of `high` by `wide` old pixels for each new one; of those that are there, where the picture ends before.
fn cells(
    picture: &Picture,
    [height, width]: [usize; 2],
    [high, wide]: [usize; 2],
    count: usize,
) -> Vec<u8> {
    let channels = picture.channels;
    let mut pixels = Vec::with_capacity(count);
    for y in 0..height {
        let rows = y * high..((y + 1) * high).min(picture.height);
        for x in 0..width {
            let columns = x * wide..((x + 1) * wide).min(picture.width);
            let there = rows.len() * columns.len();
            for c in 0..channels {
                let sum: u64 = rows
                    .clone()
                    .map(|y| {
                        let row = picture.row(y);
                        let cells = columns.clone().map(|x| row[x * channels + c]);
                        cells.map(u64::from).sum::<u64>()
                    })
                    .sum();
                // Whole cells and those at the edge are rounded each in their own way.
                pixels.push(match there == high * wide {
                    true if there == 4 => ((sum + 2) >> 2) as u8,
                    true => super::byte(sum as f32 * (1.0 / there as f32)),
                    false => super::byte(sum as f32 / there as f32),
                });
            }
        }
    }
    pixels
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gray(height: usize, width: usize, pixels: &[u8]) -> Picture {
        Picture {
            channels: 1,
            height,
            width,
            pixels: pixels.to_vec(),
        }
    }

    #[test]
    fn twice_as_wide() {
        // New centres lie a quarter inside: 0, 0.25, 0.75 and 1 of the way from 10 to 50.
        let wide = resize(&gray(1, 2, &[10, 50]), 1, 4, Interpolation::Linear).unwrap();
        assert_eq!(wide.pixels, [10, 20, 40, 50]);
        let wide = resize(&gray(1, 2, &[10, 50]), 1, 4, Interpolation::Nearest).unwrap();
        assert_eq!(wide.pixels, [10, 10, 50, 50]);
    }

    #[test]
    fn half_is_the_mean_of_four() {
        for how in [Interpolation::Linear, Interpolation::Area] {
            let half = resize(&gray(2, 4, &[1, 2, 9, 9, 3, 4, 9, 9]), 1, 2, how).unwrap();
            assert_eq!(half.pixels, [3, 9]);
        }
    }

    #[test]
    fn area_weighs_by_what_is_covered() {
        // 3 to 2: each new pixel covers one old one and half of the next.
        let two = resize(&gray(1, 3, &[30, 60, 90]), 1, 2, Interpolation::Area).unwrap();
        assert_eq!(two.pixels, [40, 80]);
    }

    #[test]
    fn a_factor_is_not_the_size_that_it_gives() {
        // Half of 3 is 2 (1.5 rounds to even), and the second new pixel covers the last old one alone.
        let half = scaled(&gray(1, 3, &[10, 20, 90]), 0.5).unwrap();
        assert_eq!((half.height, half.width), (1, 2));
        assert_eq!(half.pixels, [15, 90]);
        // 1.25 times 3 is 4, whose steps are 0.8: centres at -0.1, 0.7, 1.5 and 2.3. By the size they were 0.75.
        let more = scaled(&gray(1, 3, &[0, 100, 200]), 1.25).unwrap();
        assert_eq!(more.pixels, [0, 70, 150, 200]);
        let sized = resize(&gray(1, 3, &[0, 100, 200]), 1, 4, Interpolation::Linear).unwrap();
        assert_eq!(sized.pixels, [0, 63, 138, 200]);
        assert!(scaled(&gray(1, 1, &[0]), f32::MAX).is_err());
    }

    #[test]
    fn sizes_are_checked() {
        let error = resize(&gray(1, 1, &[0]), 0, 3, Interpolation::Linear).unwrap_err();
        assert!(error.message().contains("0x3"), "{error}");
        let huge = resize(&gray(1, 1, &[0]), usize::MAX, 3, Interpolation::Linear);
        assert!(huge.is_err());
    }

    proptest! {
        /// One value stays that value, whatever the sizes and the rule.
        #[test]
        fn a_flat_picture_stays_flat(
            (h, w) in (1usize..9, 1usize..9), (to_h, to_w) in (1usize..20, 1usize..20), value: u8, how in 0usize..5,
        ) {
            use Interpolation::*;
            let how = [Nearest, Linear, Cubic, Area, Lanczos4][how];
            let flat = Picture { channels: 3, height: h, width: w, pixels: vec![value; 3 * h * w] };
            let out = resize(&flat, to_h, to_w, how).unwrap();
            prop_assert_eq!(out.pixels.len(), 3 * to_h * to_w);
            prop_assert!(out.pixels.iter().all(|p| p.abs_diff(value) <= 1), "{:?}", out.pixels);
        }
    }
}
