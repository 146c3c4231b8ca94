//! Softmax over the middle axis of outer × channels × inner.
//!
//! y_c = exp(x_c − m) / Σ exp(x_k − m), with m the largest x of the column; dx_c = y_c · (dy_c − Σ dy_k · y_k).

use rayon::prelude::*;

/// Columns handled side by side.
const LANES: usize = 64;
/// Elements below which one thread does it all.
const SERIAL: usize = 1 << 12;

/// Writes the softmax of `x` to `y`; `dims` are channels and inner.
pub fn forward(x: &[f32], (channels, inner): (usize, usize), y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    for_each_image(y, x, channels * inner, |y, x| {
        if inner == 1 {
            return column(x, y);
        }
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
                let terms = y[at(c)].iter_mut().zip(&x[at(c)]);
                for ((y, x), (m, s)) in terms.zip(max.iter().zip(&mut sum)) {
                    *y = (x - m).exp();
                    *s += *y;
                }
            }
            for c in 0..channels {
                y[at(c)].iter_mut().zip(&sum).for_each(|(y, s)| *y /= *s);
            }
        }
    });
}

/// A single column that lies in one piece.
fn column(x: &[f32], y: &mut [f32]) {
    let max = x.iter().copied().fold(f32::NEG_INFINITY, larger);
    let mut sum = 0.0;
    for (y, x) in y.iter_mut().zip(x) {
        *y = (x - max).exp();
        sum += *y;
    }
    y.iter_mut().for_each(|y| *y /= sum);
}

/// The larger one; cheaper than `f32::max`, and a NaN in `b` is not hidden for long: it makes the sum NaN.
fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// Writes the gradient of the input to `dx`, from the output `y` and its gradient `dy`.
pub fn backward(y: &[f32], dy: &[f32], (channels, inner): (usize, usize), dx: &mut [f32]) {
    assert!(y.len() == dx.len() && dy.len() == dx.len());
    let image = channels * inner;
    if image == 0 {
        return;
    }
    // The gradient of the output rides along in dx, so that one helper cuts everything.
    dx.copy_from_slice(dy);
    for_each_image(dx, y, image, |dx, y| {
        for start in (0..inner).step_by(LANES) {
            let lanes = start..inner.min(start + LANES);
            let at = |c: usize| c * inner + lanes.start..c * inner + lanes.end;
            let mut dot = [0.0; LANES];
            for c in 0..channels {
                let terms = dx[at(c)].iter().zip(&y[at(c)]);
                terms.zip(&mut dot).for_each(|((d, y), dot)| *dot += d * y);
            }
            for c in 0..channels {
                let terms = dx[at(c)].iter_mut().zip(&y[at(c)]);
                terms
                    .zip(&dot)
                    .for_each(|((d, y), dot)| *d = (*d - dot) * y);
            }
        }
    });
}

/// Calls `f` with each image of `y` and of `x`, in parallel.
fn for_each_image(y: &mut [f32], x: &[f32], image: usize, f: impl Fn(&mut [f32], &[f32]) + Sync) {
    if image == 0 {
        return;
    }
    assert_eq!(y.len() % image, 0);
    let run = |(y, x): (&mut [f32], &[f32])| {
        let images = y.chunks_exact_mut(image).zip(x.chunks_exact(image));
        images.for_each(|(y, x)| f(y, x));
    };
    if y.len() <= SERIAL {
        return run((y, x));
    }
    let piece = SERIAL.div_ceil(image) * image;
    y.par_chunks_mut(piece)
        .zip(x.par_chunks(piece))
        .for_each(run);
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
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let (x, dy) = (noise(90 * 5 * 144, 1), noise(90 * 5 * 144, 2));
        same_bits("softmax", || {
            let (mut y, mut dx) = (x.clone(), x.clone());
            forward(&x, (5, 144), &mut y);
            backward(&y, &dy, (5, 144), &mut dx);
            [y, dx].concat()
        });
    }
}
