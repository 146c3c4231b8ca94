//! Element by element, with constants that change from channel to channel.
//!
//! A blob is seen as n × channels × inner, given as `(channels, inner)`. The functions ask a closure for what is to be
//! done to a channel, so that its constants are looked up once a plane. Work is split over elements.

use super::{
    cut::{self, Units},
    map,
};

/// y\[i\] = f(c)(y\[i\]).
pub fn channel_map<F: Fn(f32) -> f32>(
    y: &mut [f32],
    dims: (usize, usize),
    f: impl Fn(usize) -> F + Sync,
) {
    let units = y.len();
    cut::each(Units(y, 1), units, 8, |first, Units(y, _)| {
        if dims.1 == 1 {
            let channels = cycle(first, dims.0);
            y.iter_mut().zip(channels).for_each(|(y, c)| *y = f(c)(*y));
        } else {
            planes(first, y.len(), dims, |c, run| map::run(&mut y[run], &f(c)));
        }
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
    let parts = (Units(y, 1), Units(x, 1));
    cut::each(parts, x.len(), 12, |first, (Units(y, _), Units(x, _))| {
        if dims.1 == 1 {
            let from = x.iter().zip(cycle(first, dims.0));
            y.iter_mut()
                .zip(from)
                .for_each(|(y, (&x, c))| *y = f(c)(*y, x));
        } else {
            planes(first, y.len(), dims, |c, run| {
                map::run_zip(&mut y[run.clone()], &x[run], &f(c));
            });
        }
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
    let parts = (Units(y, 1), Units(a, 1), Units(b, 1));
    cut::each(
        parts,
        a.len(),
        16,
        |first, (Units(y, _), Units(a, _), Units(b, _))| {
            planes(first, y.len(), dims, |c, run| {
                let f = f(c);
                let f = move |_, a, b| f(a, b);
                map::run_zip2(&mut y[run.clone()], &a[run.clone()], &b[run], &f);
            });
        },
    );
}

/// The channels of elements `first` and on, where each element is a plane.
fn cycle(first: usize, channels: usize) -> impl Iterator<Item = usize> {
    let start = first.checked_rem(channels).unwrap_or(0);
    (start..channels).chain((0..).flat_map(move |_| 0..channels))
}

/// Calls `f` with each plane's channel and range among the `len` elements from `first` on.
fn planes(
    first: usize,
    len: usize,
    (channels, inner): (usize, usize),
    mut f: impl FnMut(usize, std::ops::Range<usize>),
) {
    if len == 0 {
        return;
    }
    // Where the first begins inside its plane. Elements exist, so neither extent is 0.
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
