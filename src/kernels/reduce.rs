//! Many values to one, in a shape that depends on the sizes alone.
//!
//! A piece is summed in sixteen `f32` lanes, and the lanes of all pieces in `f64`, in order: the error
//! does not grow with the length, and the same bits for any number of threads.

use rayon::prelude::*;

/// Elements of a lane sum: short enough for `f32`, long enough to amortise its end.
const RUN: usize = 1 << 10;
/// Up to here a second thread costs more than it brings.
const SERIAL: usize = 1 << 15;
/// Pieces that a long slice is cut into, at most.
const PIECES: usize = 64;
const LANES: usize = 16;

/// Σ x.
pub fn sum(x: &[f32]) -> f32 {
    total(x, x, |x, _| x)
}

/// Σ |x|.
pub fn asum(x: &[f32]) -> f32 {
    total(x, x, |x, _| x.abs())
}

/// Σ x².
pub fn sumsq(x: &[f32]) -> f32 {
    total(x, x, |x, _| x * x)
}

/// Σ x · y.
pub fn dot(x: &[f32], y: &[f32]) -> f32 {
    total(x, y, |x, y| x * y)
}

/// Σ f(x, y).
pub fn total(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32 + Sync) -> f32 {
    assert_eq!(x.len(), y.len());
    let mut partial = [0.0f64; PIECES];
    let piece = x.len().div_ceil(PIECES).next_multiple_of(RUN).max(RUN);
    let run = |((p, x), y): ((&mut f64, &[f32]), &[f32])| *p = serial(x, y, &f);
    if x.len() <= SERIAL {
        partial
            .iter_mut()
            .zip(x.chunks(piece))
            .zip(y.chunks(piece))
            .for_each(run);
    } else {
        partial
            .par_iter_mut()
            .zip(x.par_chunks(piece))
            .zip(y.par_chunks(piece))
            .for_each(run);
    }
    partial.iter().sum::<f64>() as f32
}

/// Σ f(x, y) on the calling thread.
fn serial(x: &[f32], y: &[f32], f: &impl Fn(f32, f32) -> f32) -> f64 {
    let mut sum = 0.0;
    for (x, y) in x.chunks(RUN).zip(y.chunks(RUN)) {
        let mut lanes = [0.0f32; LANES];
        let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
        let (x_end, y_end) = (xs.remainder(), ys.remainder());
        for (x, y) in xs.zip(ys) {
            for i in 0..LANES {
                lanes[i] += f(x[i], y[i]);
            }
        }
        for ((lane, x), y) in lanes.iter_mut().zip(x_end).zip(y_end) {
            *lane += f(*x, *y);
        }
        sum += lanes.iter().map(|&l| f64::from(l)).sum::<f64>();
    }
    sum
}

/// out\[c\] += Σ over n and inner of x, for x of n × channels × inner.
pub fn channel_sum_add(x: &[f32], dims: (usize, usize), out: &mut [f32]) {
    channels(x, x, dims, out, |_, x, _| x, |old, sum| old + sum as f32);
}

/// out\[c\] += Σ over n and inner of x · y, for x and y of n × channels × inner.
pub fn channel_dot_add(x: &[f32], y: &[f32], dims: (usize, usize), out: &mut [f32]) {
    channels(
        x,
        y,
        dims,
        out,
        |_, x, y| x * y,
        |old, sum| old + sum as f32,
    );
}

/// mean\[c\] = the mean of channel c, for x of n × channels × inner.
pub fn channel_mean(x: &[f32], dims: (usize, usize), mean: &mut [f32]) {
    let count = (x.len() / dims.0.max(1)) as f64;
    channels(x, x, dims, mean, |_, x, _| x, |_, sum| (sum / count) as f32);
}

/// var\[c\] = the mean of (x − mean\[c\])² of channel c (not the unbiased estimate), for x of n × channels × inner.
pub fn channel_var(x: &[f32], mean: &[f32], dims: (usize, usize), var: &mut [f32]) {
    let count = (x.len() / dims.0.max(1)) as f64;
    let square = |c: usize, x: f32, _: f32| (x - mean[c]) * (x - mean[c]);
    channels(x, x, dims, var, square, |_, sum| (sum / count) as f32);
}

/// out\[c\] = end(out\[c\], Σ over n and inner of f(c, x, y)), for x and y of n × channels × inner.
pub fn channels(
    x: &[f32],
    y: &[f32],
    (channels, inner): (usize, usize),
    out: &mut [f32],
    f: impl Fn(usize, f32, f32) -> f32 + Sync,
    end: impl Fn(f32, f64) -> f32 + Sync,
) {
    assert_eq!(out.len(), channels);
    assert_eq!(x.len(), y.len());
    let image = channels * inner;
    let images = x.len().checked_div(image).unwrap_or(0);
    assert_eq!(x.len(), images * image);
    let run = |(c, out): (usize, &mut f32)| {
        let mut sum = 0.0;
        if inner == 1 {
            let at = |v: &[f32], n: usize| v[n * channels + c];
            for n in 0..images {
                sum += f64::from(f(c, at(x, n), at(y, n)));
            }
        } else {
            for n in 0..images {
                let plane = n * image + c * inner..n * image + (c + 1) * inner;
                sum += serial(&x[plane.clone()], &y[plane], &|x, y| f(c, x, y));
            }
        }
        *out = end(*out, sum);
    };
    if x.len() <= SERIAL {
        out.iter_mut().enumerate().for_each(run);
    } else {
        out.par_iter_mut().enumerate().for_each(run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{assert_close, noise, same_bits};

    #[test]
    fn sums_agree_with_a_plain_loop_in_double_precision() {
        for n in [0, 1, 15, 16, 17, 1023, 1025, SERIAL, SERIAL + 1, 200_003] {
            let (x, y) = (noise(n, 1), noise(n, 2));
            let plain = |f: &dyn Fn(f64, f64) -> f64| {
                let terms = x.iter().zip(&y);
                terms.map(|(&x, &y)| f(x.into(), y.into())).sum::<f64>() as f32
            };
            let got = [sum(&x), asum(&x), sumsq(&x), dot(&x, &y)];
            let want = [
                plain(&|x, _| x),
                plain(&|x, _| x.abs()),
                plain(&|x, _| x * x),
                plain(&|x, y| x * y),
            ];
            // The sums cancel: the error is measured against the sum of magnitudes.
            for (g, w) in got.iter().zip(want) {
                assert!((g - w).abs() <= 1e-6 * (n as f32).max(1.0), "{n}: {g}, {w}");
            }
        }
    }

    #[test]
    fn a_long_sum_keeps_its_accuracy() {
        let n = 10_000_000;
        assert!((sum(&vec![0.1; n]) - 1e6).abs() < 1.0);
    }

    #[test]
    fn channels_are_kept_apart() {
        for (n, channels, inner) in [(3, 2, 5), (4, 7, 1), (1, 3, 4), (0, 3, 4), (9, 5, 1000)] {
            let x = noise(n * channels * inner, 1);
            let y = noise(n * channels * inner, 2);
            let count = (n * inner) as f32;
            let of = |c: usize| (0..x.len()).filter(move |i| i / inner % channels == c);
            let dims = (channels, inner);
            let (mut got, mut want) = (vec![1.0; channels], vec![1.0; channels]);
            channel_sum_add(&x, dims, &mut got);
            channel_dot_add(&x, &y, dims, &mut got);
            for (c, want) in want.iter_mut().enumerate() {
                *want += of(c).map(|i| x[i] + x[i] * y[i]).sum::<f32>();
            }
            assert_close(&got, &want, 1e-4, "sums");
            if n == 0 {
                continue;
            }
            let (mut mean, mut var) = (vec![f32::NAN; channels], vec![f32::NAN; channels]);
            channel_mean(&x, dims, &mut mean);
            channel_var(&x, &mean, dims, &mut var);
            for c in 0..channels {
                let m = of(c).map(|i| x[i]).sum::<f32>() / count;
                let v = of(c).map(|i| (x[i] - m).powi(2)).sum::<f32>() / count;
                assert_close(&[mean[c], var[c]], &[m, v], 1e-5, "moments");
            }
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let (x, y) = (noise(7 * 11 * 1301, 1), noise(7 * 11 * 1301, 2));
        same_bits("reductions", || {
            let mut out = vec![0.0; 11];
            channel_dot_add(&x, &y, (11, 1301), &mut out);
            out.extend([sum(&x), dot(&x, &y)]);
            out
        });
    }
}
