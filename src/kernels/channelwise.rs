//! Element by element, with constants that change from channel to channel.
//!
//! A blob is seen as n × channels × inner, given as `(channels, inner)`. The functions ask a closure for what is to be
//! done to a channel, so that its constants are looked up once a plane. Work is split over elements.

use rayon::prelude::*;

/// Elements that one task handles.
const PIECE: usize = 1 << 14;

/// y\[i\] = f(c)(y\[i\]).
pub fn channel_map<F: Fn(f32) -> f32>(
    y: &mut [f32],
    dims: (usize, usize),
    f: impl Fn(usize) -> F + Sync,
) {
    y.par_chunks_mut(PIECE).enumerate().for_each(|(i, y)| {
        planes(i, y.len(), dims, |c, run| {
            let f = f(c);
            y[run].iter_mut().for_each(|y| *y = f(*y));
        });
    });
}

/// y\[i\] = f(c)(x\[i\]).
pub fn channel_map_to<F: Fn(f32) -> f32>(
    x: &[f32],
    y: &mut [f32],
    dims: (usize, usize),
    f: impl Fn(usize) -> F + Sync,
) {
    channel_zip(y, x, dims, |c| {
        let f = f(c);
        move |_, x| f(x)
    });
}

/// y\[i\] = f(c)(y\[i\], x\[i\]).
pub fn channel_zip<F: Fn(f32, f32) -> f32>(
    y: &mut [f32],
    x: &[f32],
    dims: (usize, usize),
    f: impl Fn(usize) -> F + Sync,
) {
    assert_eq!(x.len(), y.len());
    y.par_chunks_mut(PIECE)
        .zip(x.par_chunks(PIECE))
        .enumerate()
        .for_each(|(i, (y, x))| {
            planes(i, y.len(), dims, |c, run| {
                let f = f(c);
                let x = &x[run.clone()];
                y[run].iter_mut().zip(x).for_each(|(y, &x)| *y = f(*y, x));
            });
        });
}

/// y\[i\] = f(c)(a\[i\], b\[i\]).
pub fn channel_zip_to<F: Fn(f32, f32) -> f32>(
    (a, b): (&[f32], &[f32]),
    y: &mut [f32],
    dims: (usize, usize),
    f: impl Fn(usize) -> F + Sync,
) {
    assert!(a.len() == y.len() && b.len() == y.len());
    y.par_chunks_mut(PIECE)
        .zip(a.par_chunks(PIECE))
        .zip(b.par_chunks(PIECE))
        .enumerate()
        .for_each(|(i, ((y, a), b))| {
            planes(i, y.len(), dims, |c, run| {
                let f = f(c);
                let from = a[run.clone()].iter().zip(&b[run.clone()]);
                y[run]
                    .iter_mut()
                    .zip(from)
                    .for_each(|(y, (&a, &b))| *y = f(a, b));
            });
        });
}

/// Calls `f` with each plane's channel and range within piece `i`, which has `len` elements.
fn planes(
    i: usize,
    len: usize,
    (channels, inner): (usize, usize),
    mut f: impl FnMut(usize, std::ops::Range<usize>),
) {
    let first = i * PIECE;
    // Where the piece begins inside its plane. Elements exist, so neither extent is 0.
    let (mut channel, within) = (first / inner % channels, first % inner);
    let mut start = 0;
    let mut end = (inner - within).min(len);
    while start < len {
        f(channel, start..end);
        channel = if channel + 1 == channels {
            0
        } else {
            channel + 1
        };
        start = end;
        end = (start + inner).min(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{noise, same_bits};

    #[test]
    fn every_element_meets_its_channel() {
        for (n, channels, inner) in [
            (2, 3, 4),
            (7, 5, 1),
            (3, 1, 9000),
            (2, 3, 20_000),
            (0, 3, 4),
        ] {
            let dims = (channels, inner);
            let count = n * channels * inner;
            let (a, b) = (noise(count, 1), noise(count, 2));
            let factor = |i: usize| (i / inner % channels) as f32 + 0.5;
            let want: Vec<f32> = (0..count).map(|i| a[i] * factor(i)).collect();
            let with = |c: usize| {
                let k = c as f32 + 0.5;
                move |x: f32| k * x
            };
            let got = same_bits("map to", || {
                let mut y = vec![f32::NAN; count];
                channel_map_to(&a, &mut y, dims, with);
                y
            });
            assert_eq!(got, want);
            let mut y = a.clone();
            channel_map(&mut y, dims, with);
            assert_eq!(y, want);
            let want: Vec<f32> = (0..count).map(|i| a[i] * factor(i) - b[i]).collect();
            let with = |c: usize| {
                let k = c as f32 + 0.5;
                move |x: f32, y: f32| k * x - y
            };
            let mut y = a.clone();
            channel_zip(&mut y, &b, dims, with);
            assert_eq!(y, want);
            let mut y = vec![f32::NAN; count];
            channel_zip_to((&a, &b), &mut y, dims, with);
            assert_eq!(y, want);
        }
    }
}
