//! Effects in which a pixel takes from its neighbours.

use super::{Picture, border::Border};

/// A Gaussian of standard deviation 1.5 over 7 × 7 pixels, mirrored at the edge, in whole numbers as OpenCV's
/// `GaussianBlur`: weights of 1/256, whose rounding errors are handed on from tap to tap.
pub(super) fn blur(picture: &Picture) -> Picture {
    const RADIUS: isize = 3;
    let raw: [f64; 7] = std::array::from_fn(|i| {
        let d = i as f64 - 3.0;
        (-d * d / (2.0 * 1.5 * 1.5)).exp()
    });
    let sum: f64 = raw.iter().sum();
    let mut weights = [0u32; 7];
    let mut error = 0.0;
    for (i, weight) in raw.iter().take(3).enumerate() {
        let exact = weight / sum * 256.0 + error;
        let whole = exact.round_ties_even();
        error = exact - whole;
        weights[i] = whole as u32;
        weights[6 - i] = whole as u32;
    }
    weights[3] = 256 - 2 * (weights[0] + weights[1] + weights[2]);

    let n = picture.channels;
    let places = |len: usize| -> Vec<[usize; 7]> {
        let place = |at: isize| Border::Mirrored.place(at, len).unwrap_or(0);
        (0..len as isize)
            .map(|x| std::array::from_fn(|k| place(x + k as isize - RADIUS)))
            .collect()
    };
    let (rows, columns) = (places(picture.height), places(picture.width));
    let mut wide = Vec::with_capacity(picture.pixels.len());
    for y in 0..picture.height {
        let row = picture.row(y);
        for from in &columns {
            for c in 0..n {
                let taps = from.iter().zip(weights);
                wide.push(
                    taps.map(|(x, w)| u32::from(row[x * n + c]) * w)
                        .sum::<u32>(),
                );
            }
        }
    }
    let stride = picture.width * n;
    let mut pixels = Vec::with_capacity(picture.pixels.len());
    for from in &rows {
        for i in 0..stride {
            let taps = from.iter().zip(weights);
            let sum: u32 = taps.map(|(y, w)| wide[y * stride + i] * w).sum();
            pixels.push(((sum + (1 << 15)) >> 16) as u8);
        }
    }
    Picture { pixels, ..*picture }
}

/// The least of a pixel and its four neighbours.
pub(super) fn erode(picture: &Picture) -> Picture {
    let n = picture.channels;
    let stride = picture.width * n;
    let old = &picture.pixels;
    let pixels = (0..old.len())
        .map(|i| {
            let (y, x) = (i / stride, i % stride);
            let mut least = old[i];
            let mut also = |inside: bool, at: usize| {
                if inside {
                    least = least.min(old[at]);
                }
            };
            also(y > 0, i.wrapping_sub(stride));
            also(y + 1 < picture.height, i + stride);
            also(x >= n, i.wrapping_sub(n));
            also(x + n < stride, i + n);
            least
        })
        .collect();
    Picture { pixels, ..*picture }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dark_spot_grows_into_a_cross() {
        let mut spot = Picture {
            channels: 1,
            height: 4,
            width: 3,
            pixels: vec![9; 12],
        };
        spot.pixels[4] = 1;
        assert_eq!(erode(&spot).pixels, [9, 1, 9, 1, 1, 1, 9, 1, 9, 9, 9, 9]);
    }

    #[test]
    fn blurring_keeps_a_flat_picture_and_the_sum() {
        let mut spot = Picture {
            channels: 1,
            height: 15,
            width: 15,
            pixels: vec![0; 225],
        };
        spot.pixels[112] = 255;
        let out = blur(&spot);
        let sum: u32 = out.pixels.iter().map(|&p| u32::from(p)).sum();
        assert!((235..275).contains(&sum), "{sum}");
        assert!(out.pixels.iter().all(|&p| p <= out.pixels[112]));
        spot.pixels.fill(77);
        assert_eq!(blur(&spot), spot);
    }
}
