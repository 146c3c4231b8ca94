//! Brightness spread evenly, over the whole image or tile by tile. Of colour images the luminance alone is changed.

use super::{Picture, border::Border, byte, color};

/// Applies `f` to one plane of brightness.
fn on_luminance(picture: &mut Picture, f: impl FnOnce(usize, usize, &mut [u8])) {
    let (height, width) = (picture.height, picture.width);
    if picture.channels == 1 {
        return f(height, width, &mut picture.pixels);
    }
    if picture.channels != 3 {
        return;
    }
    let pixels = picture.pixels.as_chunks_mut::<3>().0;
    let mut plane = Vec::with_capacity(pixels.len());
    for pixel in &mut *pixels {
        *pixel = color::to_ycrcb(*pixel);
        plane.push(pixel[0]);
    }
    f(height, width, &mut plane);
    for (pixel, y) in pixels.iter_mut().zip(plane) {
        *pixel = color::from_ycrcb([y, pixel[1], pixel[2]]);
    }
}

fn histogram(values: impl Iterator<Item = u8>) -> [u32; 256] {
    let mut counts = [0; 256];
    values.for_each(|v| counts[usize::from(v)] += 1);
    counts
}

/// As many pixels in each range of brightness as the image allows.
pub(super) fn equalize(picture: &mut Picture) {
    on_luminance(picture, |_, _, plane| {
        let counts = histogram(plane.iter().copied());
        let Some(first) = counts.iter().position(|&n| n > 0) else {
            return;
        };
        let rest = plane.len() as u32 - counts[first];
        if rest == 0 {
            return;
        }
        let scale = 255.0 / rest as f32;
        let mut sum = 0;
        let table: Vec<u8> = (0..256)
            .map(|i| {
                if i > first {
                    sum += counts[i];
                }
                byte(sum as f32 * scale)
            })
            .collect();
        plane.iter_mut().for_each(|v| *v = table[usize::from(*v)]);
    });
}

/// Tiles along each side.
const TILES: usize = 8;
/// How often a brightness may occur in a tile, over how often it would if all did alike.
const LIMIT: f64 = 4.0;

/// [`equalize`] by 8 × 8 tiles with a limit of contrast, mixed linearly between the tiles' centres.
pub(super) fn clahe(picture: &mut Picture) {
    on_luminance(picture, |height, width, plane| {
        // Tiles are equal: where the sides do not divide, the mirrored edge completes them.
        let whole = height.is_multiple_of(TILES) && width.is_multiple_of(TILES);
        let side = |n: usize| match whole {
            true => n / TILES,
            false => n / TILES + 1,
        };
        let (high, wide) = (side(height), side(width));
        let table = |ty: usize, tx: usize| -> [u8; 256] {
            let at = |i: usize, len: usize| Border::Mirrored.place(i as isize, len).unwrap_or(0);
            let rows = ty * high..(ty + 1) * high;
            let counts = histogram(rows.flat_map(|y| {
                let row = at(y, height) * width;
                let plane = &plane;
                (tx * wide..(tx + 1) * wide).map(move |x| plane[row + at(x, width)])
            }));
            spread(counts, high * wide)
        };
        let tables: Vec<[u8; 256]> = (0..TILES * TILES)
            .map(|t| table(t / TILES, t % TILES))
            .collect();
        // The two tiles that a place lies between, and the share of the second.
        let mix = |i: usize, tile: usize| {
            let at = i as f32 * (1.0 / tile as f32) - 0.5;
            let low = at.floor();
            let tile = |t: f32| t.clamp(0.0, TILES as f32 - 1.0) as usize;
            (tile(low), tile(low + 1.0), at - low)
        };
        for (y, row) in plane.chunks_exact_mut(width).enumerate() {
            let (up, down, b) = mix(y, high);
            for (x, value) in row.iter_mut().enumerate() {
                let (left, right, a) = mix(x, wide);
                let v = usize::from(*value);
                let at = |ty: usize, tx: usize| f32::from(tables[ty * TILES + tx][v]);
                let upper = at(up, left) * (1.0 - a) + at(up, right) * a;
                let lower = at(down, left) * (1.0 - a) + at(down, right) * a;
                *value = byte(upper * (1.0 - b) + lower * b);
            }
        }
    });
}

/// The table of a tile: what goes beyond the limit is dealt out over all.
fn spread(mut counts: [u32; 256], total: usize) -> [u8; 256] {
    let limit = ((LIMIT * total as f64 / 256.0) as u32).max(1);
    let mut excess = 0;
    for count in &mut counts {
        excess += count.saturating_sub(limit);
        *count = (*count).min(limit);
    }
    counts.iter_mut().for_each(|n| *n += excess / 256);
    let rest = (excess % 256) as usize;
    if let Some(step) = 256usize.checked_div(rest) {
        counts
            .iter_mut()
            .step_by(step)
            .take(rest)
            .for_each(|n| *n += 1);
    }
    let scale = 255.0 / total as f32;
    let mut sum = 0;
    counts.map(|n| {
        sum += n;
        byte(sum as f32 * scale)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_is_filled() {
        let mut picture = Picture {
            channels: 1,
            height: 1,
            width: 4,
            pixels: vec![100, 101, 102, 103],
        };
        equalize(&mut picture);
        assert_eq!(picture.pixels, [0, 85, 170, 255]);
        picture.pixels.fill(9);
        equalize(&mut picture);
        assert_eq!(picture.pixels, [9; 4]);
    }

    #[test]
    fn small_and_odd_sizes() {
        for (height, width) in [(1, 1), (3, 20), (8, 16), (17, 9)] {
            for channels in [1, 2, 3] {
                let count = channels * height * width;
                let mut picture = Picture {
                    channels,
                    height,
                    width,
                    pixels: (0..count).map(|i| (i * 7 % 256) as u8).collect(),
                };
                clahe(&mut picture);
                assert_eq!(picture.pixels.len(), count);
            }
        }
    }
}
