//! One value of each window, drawn in proportion to the values; and the mean of what may be drawn.

use super::{NO_PIXEL, PoolShape};

/// Calls `f` for each row of window `i` of a plane of windows: with the pixels of the row.
fn rows(s: &PoolShape, i: usize, mut f: impl FnMut(std::ops::Range<usize>)) {
    let across = s.window(1, i % s.pooled[1]);
    for row in s.window(0, i / s.pooled[1]) {
        let start = row * s.input[1];
        f(start + across.start..start + across.end);
    }
}

/// Σ x and Σ x² of window `i`.
fn sums(s: &PoolShape, x: &[f32], i: usize) -> (f32, f32) {
    let (mut sum, mut squares) = (0.0, 0.0);
    rows(s, i, |row| {
        for &x in &x[row] {
            sum += x;
            squares += x * x;
        }
    });
    (sum, squares)
}

/// The first pixel of window `i` at which the running sum reaches `share` of the sum; else the last one.
fn pick(s: &PoolShape, x: &[f32], i: usize, share: f32) -> Option<usize> {
    let threshold = share * sums(s, x, i).0;
    let (mut sum, mut found, mut last) = (0.0, None, None);
    rows(s, i, |row| {
        for at in row {
            sum += x[at];
            last = Some(at);
            if found.is_none() && sum >= threshold {
                found = last;
            }
        }
    });
    found.or(last)
}

/// Whole planes: y and, in the plane, the pixel that it came from.
pub(super) fn draw(s: &PoolShape, x: &[f32], shares: &[f32], y: &mut [f32], at: &mut [i32]) {
    let (inner, outer) = (s.in_plane(), s.out_plane());
    let tops = y.chunks_exact_mut(outer).zip(at.chunks_exact_mut(outer));
    let bottoms = x.chunks_exact(inner).zip(shares.chunks_exact(outer));
    for ((y, at), (x, shares)) in tops.zip(bottoms) {
        for (i, ((y, at), &share)) in y.iter_mut().zip(at).zip(shares).enumerate() {
            (*y, *at) = match pick(s, x, i, share) {
                Some(pixel) => (x[pixel], pixel as i32),
                None => (0.0, NO_PIXEL),
            };
        }
    }
}

/// Whole planes: y = Σ x² / Σ x, or 0 where Σ x is not above 0.
pub(super) fn mean(s: &PoolShape, x: &[f32], y: &mut [f32]) {
    let planes = x.chunks_exact(s.in_plane());
    for (x, y) in planes.zip(y.chunks_exact_mut(s.out_plane())) {
        for (i, y) in y.iter_mut().enumerate() {
            let (sum, squares) = sums(s, x, i);
            *y = if sum > 0.0 { squares / sum } else { 0.0 };
        }
    }
}

/// Whole planes: dx\[p\] = Σ dy (2 x\[p\] - y) / Σ x over the windows that hold p.
pub(super) fn mean_backward(s: &PoolShape, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    let (inner, outer) = (s.in_plane(), s.out_plane());
    let planes = x.chunks_exact(inner).zip(dy.chunks_exact(outer));
    for ((x, dy), dx) in planes.zip(dx.chunks_exact_mut(inner)) {
        dx.fill(0.0);
        for (i, &dy) in dy.iter().enumerate() {
            let (sum, squares) = sums(s, x, i);
            if sum > 0.0 {
                let (y, part) = (squares / sum, dy / sum);
                rows(s, i, |row| {
                    let pairs = dx[row.clone()].iter_mut().zip(&x[row]);
                    pairs.for_each(|(dx, x)| *dx += part * (2.0 * x - y));
                });
            }
        }
    }
}
