//! Many values to one, in a shape that depends on the sizes alone.
//!
//! A piece is summed in sixteen `f32` lanes, and the lanes of all pieces in `f64`, in order: the error
//! does not grow with the length, and the same bits for any number of threads.

use rayon::prelude::*;

use super::simd::wide;

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

/// Σ x², every term in `f64`: no square is too large.
pub fn sumsq_f64(x: &[f32]) -> f64 {
    let mut partial = [0.0f64; PIECES];
    let piece = x.len().div_ceil(PIECES).next_multiple_of(RUN).max(RUN);
    let piece_sum = |(p, x): (&mut f64, &[f32])| *p = squares(x);
    if x.len() <= SERIAL {
        partial.iter_mut().zip(x.chunks(piece)).for_each(piece_sum);
    } else {
        partial
            .par_iter_mut()
            .zip(x.par_chunks(piece))
            .for_each(piece_sum);
    }
    partial.iter().sum()
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
    let piece_sum = |((p, x), y): ((&mut f64, &[f32]), &[f32])| *p = run(x, y, &f);
    if x.len() <= SERIAL {
        partial
            .iter_mut()
            .zip(x.chunks(piece))
            .zip(y.chunks(piece))
            .for_each(piece_sum);
    } else {
        partial
            .par_iter_mut()
            .zip(x.par_chunks(piece))
            .zip(y.par_chunks(piece))
            .for_each(piece_sum);
    }
    partial.iter().sum::<f64>() as f32
}

/// Σ f(x, y) on the calling thread.
#[inline(always)]
pub(super) fn lane_sum(x: &[f32], y: &[f32], f: &impl Fn(f32, f32) -> f32) -> f64 {
    lane_sums(x, y, &|x, y| [f(x, y)])[0]
}

/// The sums of both of what f gives, on the calling thread.
#[inline(always)]
fn lane_sums<const N: usize>(x: &[f32], y: &[f32], f: &impl Fn(f32, f32) -> [f32; N]) -> [f64; N] {
    let mut sums = [0.0; N];
    for (x, y) in x.chunks(RUN).zip(y.chunks(RUN)) {
        let mut lanes = [[0.0f32; LANES]; N];
        let ((xs, x_end), (ys, y_end)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
        for (x, y) in xs.iter().zip(ys) {
            for i in 0..LANES {
                let terms = f(x[i], y[i]);
                for k in 0..N {
                    lanes[k][i] += terms[k];
                }
            }
        }
        for (i, (x, y)) in x_end.iter().zip(y_end).enumerate() {
            let terms = f(*x, *y);
            for k in 0..N {
                lanes[k][i] += terms[k];
            }
        }
        for (sum, lanes) in sums.iter_mut().zip(&lanes) {
            *sum += lanes.iter().map(|&l| f64::from(l)).sum::<f64>();
        }
    }
    sums
}

wide! {
    fn squares(x: &[f32]) -> f64 {
        let mut lanes = [0.0f64; LANES];
        let (xs, x_end) = x.as_chunks::<LANES>();
        for x in xs {
            for i in 0..LANES {
                lanes[i] += f64::from(x[i]) * f64::from(x[i]);
            }
        }
        for (lane, &x) in lanes.iter_mut().zip(x_end) {
            *lane += f64::from(x) * f64::from(x);
        }
        lanes.iter().sum()
    }

    fn run<F: Fn(f32, f32) -> f32>(x: &[f32], y: &[f32], f: &F) -> f64 {
        lane_sum(x, y, f)
    }

    fn run_two<F: Fn(f32, f32) -> [f32; 2]>(x: &[f32], y: &[f32], f: &F) -> [f64; 2] {
        lane_sums(x, y, f)
    }
}

/// out\[c\] += Σ over n and inner of f(x, y), for x and y of n × channels × inner.
pub fn channel_total_add(
    x: &[f32],
    y: &[f32],
    dims: (usize, usize),
    out: &mut [f32],
    f: impl Fn(f32, f32) -> f32 + Sync,
) {
    channels(x, y, dims, out, f, |old, sum| old + sum as f32);
}

/// out\[c\] += Σ over n and inner of x, for x of n × channels × inner.
pub fn channel_sum_add(x: &[f32], dims: (usize, usize), out: &mut [f32]) {
    channel_total_add(x, x, dims, out, |x, _| x);
}

/// out\[c\] += Σ over n and inner of x · y, for x and y of n × channels × inner.
pub fn channel_dot_add(x: &[f32], y: &[f32], dims: (usize, usize), out: &mut [f32]) {
    channel_total_add(x, y, dims, out, |x, y| x * y);
}

/// out\[c\] += Σ over n and inner of x · y, and sum\[c\] += Σ of y, in one pass.
pub fn channel_dot_sum_add(
    x: &[f32],
    y: &[f32],
    dims: (usize, usize),
    dot: &mut [f32],
    sum: &mut [f32],
) {
    pairs(
        x,
        y,
        dims,
        (dot, sum),
        |x, y| [x * y, y],
        |old, sum| old + sum as f32,
    );
}

/// mean\[c\] and mean of x · y, in one pass: those of y and of x · y.
pub fn channel_means(
    x: &[f32],
    y: &[f32],
    dims: (usize, usize),
    mean: &mut [f32],
    product: &mut [f32],
) {
    let count = (x.len() / dims.0.max(1)) as f64;
    pairs(
        x,
        y,
        dims,
        (product, mean),
        |x, y| [x * y, y],
        |_, sum| (sum / count) as f32,
    );
}

/// mean\[c\] = the mean of channel c, var\[c\] = the mean of (x − mean\[c\])² (not the unbiased estimate), for x of
/// n × channels × inner. The second pass over a channel follows the first while it is in the cache.
pub fn channel_moments(x: &[f32], dims: (usize, usize), mean: &mut [f32], var: &mut [f32]) {
    let count = (x.len() / dims.0.max(1)) as f64;
    let one = |(c, (mean, var)): (usize, (&mut f32, &mut f32))| {
        let m = (channel(x, x, dims, c, &|x, _| x) / count) as f32;
        let square = move |x: f32, _: f32| (x - m) * (x - m);
        (*mean, *var) = (m, (channel(x, x, dims, c, &square) / count) as f32);
    };
    check(x, x, dims, mean);
    assert_eq!(var.len(), dims.0);
    if x.len() <= SERIAL {
        mean.iter_mut().zip(var).enumerate().for_each(one);
    } else {
        mean.par_iter_mut().zip(var).enumerate().for_each(one);
    }
}

fn check(x: &[f32], y: &[f32], (channels, inner): (usize, usize), out: &[f32]) {
    assert_eq!(out.len(), channels);
    assert_eq!(x.len(), y.len());
    assert!(x.is_empty() || x.len().is_multiple_of(channels * inner));
}

/// Σ over n and inner of f(x, y) in channel `c`.
fn channel(
    x: &[f32],
    y: &[f32],
    (channels, inner): (usize, usize),
    c: usize,
    f: &impl Fn(f32, f32) -> f32,
) -> f64 {
    if inner == 1 {
        let terms = x.chunks_exact(channels).zip(y.chunks_exact(channels));
        return terms.map(|(x, y)| f64::from(f(x[c], y[c]))).sum();
    }
    let planes = x.chunks_exact(inner).zip(y.chunks_exact(inner));
    let own = planes.skip(c).step_by(channels);
    own.map(|(x, y)| run(x, y, f)).sum()
}

/// Where each element is a plane, channels that are summed side by side.
const BESIDE: usize = 64;

/// out\[c\] = end(out\[c\], Σ over n and inner of f(x, y)), for x and y of n × channels × inner.
fn channels(
    x: &[f32],
    y: &[f32],
    dims: (usize, usize),
    out: &mut [f32],
    f: impl Fn(f32, f32) -> f32 + Sync,
    end: impl Fn(f32, f64) -> f32 + Sync,
) {
    check(x, y, dims, out);
    let (serial, f) = (x.len() <= SERIAL, &f);
    if dims.1 == 1 {
        let some = |(i, out): (usize, &mut [f32])| {
            let mut sums = [0.0f64; BESIDE];
            for (x, y) in x.chunks_exact(dims.0).zip(y.chunks_exact(dims.0)) {
                let own = i * BESIDE..i * BESIDE + out.len();
                let terms = x[own.clone()].iter().zip(&y[own]);
                for (sum, (x, y)) in sums.iter_mut().zip(terms) {
                    *sum += f64::from(f(*x, *y));
                }
            }
            out.iter_mut()
                .zip(sums)
                .for_each(|(out, sum)| *out = end(*out, sum));
        };
        if serial {
            out.chunks_mut(BESIDE).enumerate().for_each(some);
        } else {
            out.par_chunks_mut(BESIDE).enumerate().for_each(some);
        }
        return;
    }
    let one = |(c, out): (usize, &mut f32)| *out = end(*out, channel(x, y, dims, c, f));
    if serial {
        out.iter_mut().enumerate().for_each(one);
    } else {
        out.par_iter_mut().enumerate().for_each(one);
    }
}

/// [`channels`] for two sums at once.
fn pairs(
    x: &[f32],
    y: &[f32],
    dims: (usize, usize),
    (a, b): (&mut [f32], &mut [f32]),
    f: impl Fn(f32, f32) -> [f32; 2] + Sync,
    end: impl Fn(f32, f64) -> f32 + Sync,
) {
    let f = &f;
    if dims.1 == 1 {
        channels(x, y, dims, a, |x, y| f(x, y)[0], &end);
        return channels(x, y, dims, b, |x, y| f(x, y)[1], &end);
    }
    check(x, y, dims, a);
    check(x, y, dims, b);
    let one = |(c, (a, b)): (usize, (&mut f32, &mut f32))| {
        let planes = x.chunks_exact(dims.1).zip(y.chunks_exact(dims.1));
        let mut sums = [0.0; 2];
        for (x, y) in planes.skip(c).step_by(dims.0) {
            let [p, q] = run_two(x, y, f);
            sums = [sums[0] + p, sums[1] + q];
        }
        (*a, *b) = (end(*a, sums[0]), end(*b, sums[1]));
    };
    if x.len() <= SERIAL {
        a.iter_mut().zip(b).enumerate().for_each(one);
    } else {
        a.par_iter_mut().zip(b).enumerate().for_each(one);
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
            assert!((sumsq_f64(&x) - f64::from(sumsq(&x))).abs() <= 1e-6 * n as f64);
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
            channel_moments(&x, dims, &mut mean, &mut var);
            let (mut one, mut product) = (vec![f32::NAN; channels], vec![f32::NAN; channels]);
            channel_means(&y, &x, dims, &mut one, &mut product);
            assert_eq!(one, mean);
            let (mut dots, mut sums) = (vec![1.0; channels], vec![1.0; channels]);
            channel_dot_sum_add(&x, &y, dims, &mut dots, &mut sums);
            for c in 0..channels {
                let m = of(c).map(|i| x[i]).sum::<f32>() / count;
                let v = of(c).map(|i| (x[i] - m).powi(2)).sum::<f32>() / count;
                assert_close(&[mean[c], var[c]], &[m, v], 1e-5, "moments");
                let dot = of(c).map(|i| x[i] * y[i]).sum::<f32>();
                assert_close(&[product[c]], &[dot / count], 1e-5, "mean of products");
                let sum = of(c).map(|i| y[i]).sum::<f32>();
                assert_close(
                    &[dots[c], sums[c]],
                    &[1.0 + dot, 1.0 + sum],
                    1e-4,
                    "two sums",
                );
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
