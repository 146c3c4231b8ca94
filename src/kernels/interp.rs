//! Planes of another size, first and last values of each axis staying first and last.

use super::{
    cut::{self, Units},
    scratch::Scratch,
    simd::wide,
};

/// Where a value of an axis comes from: between two values, `share` of the second.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Source {
    first: usize,
    second: usize,
    share: f32,
}

/// How an axis is read.
#[derive(Clone, Debug, Default)]
pub struct Axis {
    sources: Vec<Source>,
}

impl Axis {
    /// `to` values from the `n` values from `from` on; both are at least 1. `nearest` takes the nearer value instead of both,
    /// the second of two equally near.
    pub fn new(from: usize, n: usize, to: usize, nearest: bool) -> Self {
        let step = match to {
            0 | 1 => 0.0,
            _ => (n - 1) as f32 / (to - 1) as f32,
        };
        let source = |i: usize| {
            let at = step * i as f32;
            let first = (at as usize).min(n - 1);
            let mut share = (at - first as f32).clamp(0.0, 1.0);
            if nearest {
                share = if share < 0.5 { 0.0 } else { 1.0 };
            }
            let second = if share > 0.0 { first + 1 } else { first };
            Source {
                first: from + first,
                second: from + second.min(n - 1),
                share,
            }
        };
        Self {
            sources: (0..to).map(source).collect(),
        }
    }

    /// Values that come out.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether none do.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }
}

/// A value between two.
#[inline(always)]
fn between(a: f32, b: f32, share: f32) -> f32 {
    (1.0 - share) * a + share * b
}

wide! {
    fn rows(a: &[f32], b: &[f32], share: f32, y: &mut [f32]) {
        let from = a.iter().zip(b);
        y.iter_mut().zip(from).for_each(|(y, (&a, &b))| *y = between(a, b, share));
    }
}

/// y = planes of x, each of `plane` values in rows of `width`, read by rows and columns.
pub fn interp(x: &[f32], (plane, width): (usize, usize), axes: (&Axis, &Axis), y: &mut [f32]) {
    let (down, across) = (&axes.0.sources[..], &axes.1.sources[..]);
    let (height, wide) = (down.len(), across.len());
    let lines = y.len() / wide.max(1);
    assert_eq!(lines * wide, y.len());
    assert_eq!(lines / height.max(1) * plane, x.len());
    cut::each(Units(y, wide), lines, 16 * wide, |first, y| {
        let mut line = Scratch::take(width);
        let line = &mut line.floats()[..width];
        for (i, y) in (first..).zip(y.0.chunks_exact_mut(wide)) {
            let source = down[i % height];
            let x = &x[i / height * plane..][..plane];
            let row = |i: usize| &x[i * width..][..width];
            rows(row(source.first), row(source.second), source.share, line);
            for (y, s) in y.iter_mut().zip(across) {
                *y = between(line[s.first], line[s.second], s.share);
            }
        }
    });
}

/// dx = the transpose of [`interp`]. Overwrites.
pub fn interp_backward(
    dy: &[f32],
    (plane, width): (usize, usize),
    axes: (&Axis, &Axis),
    dx: &mut [f32],
) {
    let (down, across) = (&axes.0.sources[..], &axes.1.sources[..]);
    let size = down.len() * across.len();
    let planes = dx.len() / plane.max(1);
    assert_eq!((planes * plane, planes * size), (dx.len(), dy.len()));
    let parts = (Units(dx, plane), Units(dy, size));
    cut::each(parts, planes, 16 * size, |_, (dx, dy)| {
        let mut line = Scratch::take(width);
        let line = &mut line.floats()[..width];
        for (dx, dy) in dx.0.chunks_exact_mut(plane).zip(dy.0.chunks_exact(size)) {
            dx.fill(0.0);
            for (source, dy) in down.iter().zip(dy.chunks_exact(across.len())) {
                line.fill(0.0);
                for (&dy, s) in dy.iter().zip(across) {
                    line[s.first] += (1.0 - s.share) * dy;
                    line[s.second] += s.share * dy;
                }
                for (row, share) in [
                    (source.first, 1.0 - source.share),
                    (source.second, source.share),
                ] {
                    let dx = &mut dx[row * width..][..width];
                    dx.iter_mut()
                        .zip(&*line)
                        .for_each(|(dx, line)| *dx += share * line);
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{assert_close, noise, same_bits};

    #[test]
    fn ends_stay_ends() {
        let mut y = [f32::NAN; 5];
        interp(
            &[1., 2., 4.],
            (3, 3),
            (&Axis::new(0, 1, 1, false), &Axis::new(0, 3, 5, false)),
            &mut y,
        );
        assert_eq!(y, [1., 1.5, 2., 3., 4.]);
        interp(
            &[1., 2., 4.],
            (3, 3),
            (&Axis::new(0, 1, 1, false), &Axis::new(0, 3, 5, true)),
            &mut y,
        );
        assert_eq!(y, [1., 2., 2., 4., 4.]);
        // One value comes from the first; what is cropped is not read.
        let mut y = [f32::NAN; 1];
        let axes = (&Axis::new(0, 1, 1, false), &Axis::new(1, 2, 1, false));
        interp(&[f32::NAN, 2., 4.], (3, 3), axes, &mut y);
        assert_eq!(y, [2.]);
    }

    #[test]
    fn backward_is_the_transpose() {
        for (from, to) in [
            ([4, 5], [7, 9]),
            ([7, 6], [3, 2]),
            ([1, 1], [2, 3]),
            ([5, 5], [1, 5]),
        ] {
            for nearest in [false, true] {
                let axis = |i: usize| Axis::new(1, from[i], to[i], nearest);
                let axes = (&axis(0), &axis(1));
                let (width, plane) = (from[1] + 2, (from[0] + 2) * (from[1] + 2));
                let x = noise(80 * plane, 1);
                let dy = noise(80 * to[0] * to[1], 2);
                let got = same_bits("interp", || {
                    let (mut y, mut dx) = (vec![f32::NAN; dy.len()], vec![f32::NAN; x.len()]);
                    interp(&x, (plane, width), axes, &mut y);
                    interp_backward(&dy, (plane, width), axes, &mut dx);
                    [y, dx].concat()
                });
                let (y, dx) = got.split_at(dy.len());
                let inner = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
                assert_close(&[inner(dx, &x)], &[inner(&dy, y)], 1e-3, "transpose");
            }
        }
    }
}
