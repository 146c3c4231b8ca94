//! Softmax over the middle axis of outer × channels × inner.
//!
//! y_c = exp(x_c − m) / Σ exp(x_k − m), with m the largest x of the column; dx_c = y_c · (dy_c − Σ dy_k · y_k).

use super::{
    cut::{self, Units},
    reduce::lane_sum,
    simd::{exp, wide},
};

/// Columns handled side by side.
const LANES: usize = 64;

/// Writes the softmax of `x` to `y`; `dims` are channels and inner.
pub fn forward(x: &[f32], (channels, inner): (usize, usize), y: &mut [f32]) {
    let image = channels * inner;
    assert_eq!(x.len(), y.len());
    if image == 0 {
        return;
    }
    assert!(x.len().is_multiple_of(image));
    let (units, parts) = (x.len() / image, (Units(x, image), Units(y, image)));
    // A power takes as long as some more bytes.
    cut::each(parts, units, 32 * image, |_, (x, y)| match inner {
        1 => columns(x.0, channels, y.0),
        _ => strips(x.0, channels, inner, y.0),
    });
}

wide! {
    /// Columns that lie in one piece each.
    fn columns(x: &[f32], channels: usize, y: &mut [f32]) {
        for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
            let max = x.iter().copied().fold(f32::NEG_INFINITY, larger);
            y.iter_mut().zip(x).for_each(|(y, x)| *y = exp(x - max));
            let sum = lane_sum(y, y, &|y, _| y) as f32;
            y.iter_mut().for_each(|y| *y /= sum);
        }
    }

    fn strips(x: &[f32], channels: usize, inner: usize, y: &mut [f32]) {
        let image = channels * inner;
        for (x, y) in x.chunks_exact(image).zip(y.chunks_exact_mut(image)) {
            for start in (0..inner).step_by(LANES) {
                let lanes = start..inner.min(start + LANES);
                let at = |c: usize| c * inner + lanes.start..c * inner + lanes.end;
                let mut max = [f32::NEG_INFINITY; LANES];
                let mut sum = [0.0; LANES];
                for c in 0..channels {
                    let x = &x[at(c)];
                    max.iter_mut().zip(x).for_each(|(m, x)| *m = larger(*m, *x));
                }
                for c in 0..channels {
                    let (x, y) = (&x[at(c)], &mut y[at(c)]);
                    let from = x.iter().zip(&max);
                    y.iter_mut().zip(from).for_each(|(y, (x, m))| *y = exp(x - m));
                    sum.iter_mut().zip(&*y).for_each(|(s, y)| *s += y);
                }
                for c in 0..channels {
                    y[at(c)].iter_mut().zip(&sum).for_each(|(y, s)| *y /= *s);
                }
            }
        }
    }

    fn backward_columns(y: &[f32], dy: &[f32], channels: usize, dx: &mut [f32]) {
        let from = y.chunks_exact(channels).zip(dy.chunks_exact(channels));
        for (dx, (y, dy)) in dx.chunks_exact_mut(channels).zip(from) {
            let dot = lane_sum(y, dy, &|y, d| d * y) as f32;
            let from = y.iter().zip(dy);
            dx.iter_mut().zip(from).for_each(|(dx, (y, d))| *dx = (d - dot) * y);
        }
    }

    fn backward_strips(y: &[f32], dy: &[f32], channels: usize, inner: usize, dx: &mut [f32]) {
        let image = channels * inner;
        let from = y.chunks_exact(image).zip(dy.chunks_exact(image));
        for (dx, (y, dy)) in dx.chunks_exact_mut(image).zip(from) {
            for start in (0..inner).step_by(LANES) {
                let lanes = start..inner.min(start + LANES);
                let at = |c: usize| c * inner + lanes.start..c * inner + lanes.end;
                let mut dot = [0.0; LANES];
                for c in 0..channels {
                    let terms = dy[at(c)].iter().zip(&y[at(c)]);
                    dot.iter_mut().zip(terms).for_each(|(dot, (d, y))| *dot += d * y);
                }
                for c in 0..channels {
                    let terms = dy[at(c)].iter().zip(&y[at(c)]).zip(&dot);
                    let terms = dx[at(c)].iter_mut().zip(terms);
                    terms.for_each(|(dx, ((d, y), dot))| *dx = (d - dot) * y);
                }
            }
        }
    }
}

/// The larger one; cheaper than `f32::max`, and a NaN in `b` is not hidden for long: it makes the sum NaN.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// Writes the gradient of the input to `dx`, from the output `y` and its gradient `dy`.
pub fn backward(y: &[f32], dy: &[f32], (channels, inner): (usize, usize), dx: &mut [f32]) {
    let image = channels * inner;
    assert!(y.len() == dx.len() && dy.len() == dx.len());
    if image == 0 {
        return;
    }
    assert!(y.len().is_multiple_of(image));
    let parts = (Units(y, image), Units(dy, image), Units(dx, image));
    cut::each(
        parts,
        y.len() / image,
        16 * image,
        |_, (y, dy, dx)| match inner {
            1 => backward_columns(y.0, dy.0, channels, dx.0),
            _ => backward_strips(y.0, dy.0, channels, inner, dx.0),
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{assert_close, noise, same_bits};

    fn plain(x: &[f32], channels: usize, inner: usize) -> Vec<f32> {
        let of = |i: usize, c: usize| {
            x[i / (channels * inner) * channels * inner + c * inner + i % inner]
        };
        (0..x.len())
            .map(|i| {
                let sum: f32 = (0..channels).map(|c| (of(i, c) - x[i]).exp()).sum();
                1.0 / sum
            })
            .collect()
    }

    #[test]
    fn forward_agrees_with_the_formula() {
        for (outer, channels, inner) in
            [(3, 5, 1), (2, 3, 7), (2, 4, 64), (1, 2, 131), (700, 10, 1)]
        {
            let x: Vec<f32> = noise(outer * channels * inner, 1)
                .iter()
                .map(|x| 9.0 * x)
                .collect();
            let mut y = vec![f32::NAN; x.len()];
            forward(&x, (channels, inner), &mut y);
            assert_close(&y, &plain(&x, channels, inner), 1e-6, "softmax");
        }
    }

    #[test]
    fn large_inputs_do_not_overflow_and_nan_stays() {
        let mut y = [0.0; 3];
        forward(&[1000.0, 1000.0, -1000.0], (3, 1), &mut y);
        assert_eq!(y, [0.5, 0.5, 0.0]);
        forward(&[1.0, f32::NAN, 2.0], (3, 1), &mut y);
        assert!(y.iter().all(|y| y.is_nan()));
    }

    #[test]
    fn backward_is_the_derivative() {
        let (channels, inner) = (4, 3);
        let (x, dy) = (noise(24, 1), noise(24, 2));
        let value = |x: &[f32]| {
            plain(x, channels, inner)
                .iter()
                .zip(&dy)
                .map(|(y, d)| f64::from(y * d))
                .sum::<f64>()
        };
        let want: Vec<f32> = (0..24)
            .map(|i| {
                let moved = |by: f32| {
                    let mut x = x.clone();
                    x[i] += by;
                    value(&x)
                };
                ((moved(1e-2) - moved(-1e-2)) / 2e-2) as f32
            })
            .collect();
        let mut dx = vec![f32::NAN; 24];
        backward(&plain(&x, channels, inner), &dy, (channels, inner), &mut dx);
        assert_close(&dx, &want, 1e-4, "gradient");
        // The same columns, each in one piece.
        let turned = |v: &[f32]| -> Vec<f32> {
            let at = |i: usize| i / 12 * 12 + i % 4 * 3 + i / 4 % 3;
            (0..24).map(|i| v[at(i)]).collect()
        };
        let mut columns = vec![f32::NAN; 24];
        let y = turned(&plain(&x, channels, inner));
        backward(&y, &turned(&dy), (channels, 1), &mut columns);
        assert_close(&columns, &turned(&want), 1e-4, "gradient of columns");
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let (x, dy) = (noise(90 * 5 * 144, 1), noise(90 * 5 * 144, 2));
        same_bits("softmax", || {
            let (mut y, mut dx) = (x.clone(), x.clone());
            forward(&x, (5, 144), &mut y);
            backward(&y, &dy, (5, 144), &mut dx);
            let (mut z, mut dz) = (x.clone(), x.clone());
            forward(&x, (720, 1), &mut z);
            backward(&z, &dy, (720, 1), &mut dz);
            [y, dx, z, dz].concat()
        });
    }
}
