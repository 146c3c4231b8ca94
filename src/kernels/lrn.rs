//! Local response normalization.
//!
//! Across channels: scale_c = k + α/n · Σ x_j² over the n channels around c; y = x · scale^−β;
//! dx_c = dy_c · scale_c^−β − 2αβ/n · x_c · Σ dy_j · y_j / scale_j over the same channels.
//!
//! Within a channel: scale = 1 + α · mean of x² over the n×n pixels around (as average pooling counts them);
//! y = x · scale^−β. There is no k, and the mean divides in place of α/n².

//! Nothing is kept between the passes: backward computes scale and power anew, which is cheaper than to store and to read
//! them. A pass goes through the memory once: what it needs again stays in the cache.

use std::cell::RefCell;

use super::{
    cut::{self, Units},
    pool::{PoolShape, average, lines::Lines},
    simd::{
        lanes::{self, Kernel, Lanes},
        slices, wide,
    },
};

/// The parameters; `size` (n) is odd.
#[derive(Clone, Copy, Debug)]
pub struct Lrn {
    /// Channels, or pixels on a side, of the neighbourhood.
    pub size: usize,
    /// Weight of the squares.
    pub alpha: f32,
    /// Exponent.
    pub beta: f32,
    /// Constant part of the scale; across channels only.
    pub k: f32,
}

impl Lrn {
    fn per_channel(&self) -> f32 {
        self.alpha / self.size as f32
    }

    /// The channels around `c`.
    fn around(&self, c: usize, channels: usize) -> std::ops::Range<usize> {
        let reach = self.size / 2;
        c.saturating_sub(reach)..(c + reach + 1).min(channels)
    }
}

/// t = s^−β. The usual exponents go by square roots.
#[inline(always)]
fn powers(beta: f32, s: &[f32], t: &mut [f32]) {
    let pairs = t.iter_mut().zip(s);
    if beta == 0.75 {
        pairs.for_each(|(t, s)| {
            let root = s.sqrt();
            *t = 1.0 / (root * root.sqrt());
        });
    } else if beta == 0.5 {
        pairs.for_each(|(t, s)| *t = 1.0 / s.sqrt());
    } else if beta == 1.0 {
        pairs.for_each(|(t, s)| *t = 1.0 / s);
    } else {
        slices::powers(s, -beta, t);
    }
}

/// Pixels that go through the channels side by side: the rows around one stay in the first-level cache.
const BLOCK: usize = 512;

/// A piece of the planes of a blob, as far as it lies in one image.
struct Piece<'a> {
    p: &'a Lrn,
    /// The image, `channels` × `inner`.
    x: &'a [f32],
    channels: usize,
    inner: usize,
    /// The channels of the piece.
    own: std::ops::Range<usize>,
}

impl<'a> Piece<'a> {
    /// Pixels `at` of channel `c` of a blob of the image's size.
    #[inline(always)]
    fn row(&self, of: &'a [f32], c: usize, at: &std::ops::Range<usize>) -> &'a [f32] {
        &of[c * self.inner..][..self.inner][at.clone()]
    }

    /// The scales of channel `c` at pixels `at`.
    #[inline(always)]
    fn scales(&self, c: usize, at: &std::ops::Range<usize>, s: &mut [f32]) {
        let around = self.p.around(c, self.channels);
        let row = |i: usize| self.row(self.x, around.start + i, at);
        if around.len() == 5 {
            squares([row(0), row(1), row(2), row(3), row(4)], self.p, s);
        } else if around.len() == 3 {
            squares([row(0), row(1), row(2)], self.p, s);
        } else {
            s.fill(0.0);
            for i in 0..around.len() {
                s.iter_mut().zip(row(i)).for_each(|(s, x)| *s += x * x);
            }
            let (k, alpha) = (self.p.k, self.p.per_channel());
            s.iter_mut().for_each(|s| *s = k + alpha * *s);
        }
    }

    /// The blocks of a plane.
    #[inline(always)]
    fn blocks(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let inner = self.inner;
        (0..inner)
            .step_by(BLOCK)
            .map(move |start| start..inner.min(start + BLOCK))
    }
}

/// s = k + α/n · Σ x² over the rows, in order.
#[inline(always)]
fn squares<const N: usize>(rows: [&[f32]; N], p: &Lrn, s: &mut [f32]) {
    let (k, alpha) = (p.k, p.per_channel());
    let rows = rows.map(|row| &row[..s.len()]);
    for (i, s) in s.iter_mut().enumerate() {
        let mut sum = 0.0;
        for row in rows {
            sum += row[i] * row[i];
        }
        *s = k + alpha * sum;
    }
}

/// Calls `f` with the parts of planes `first..first + count` that lie in one image: image, channels, first plane of them.
fn images(
    first: usize,
    count: usize,
    channels: usize,
    mut f: impl FnMut(usize, std::ops::Range<usize>, usize),
) {
    let (mut at, end) = (first, first + count);
    while at < end {
        let c = at % channels;
        let len = (channels - c).min(end - at);
        f(at / channels, c..c + len, at - first);
        at += len;
    }
}

/// y, for x of n × channels × inner.
pub fn across_forward(p: &Lrn, x: &[f32], (channels, inner): (usize, usize), y: &mut [f32]) {
    let image = channels * inner;
    assert!(y.len() == x.len() && image > 0 && x.len().is_multiple_of(image));
    // Roots and a division take as long as some more bytes.
    cut::each(
        Units(y, inner),
        x.len() / inner,
        16 * inner,
        |first, Units(y, _)| {
            images(first, y.len() / inner, channels, |n, own, at| {
                let y = &mut y[at * inner..][..own.len() * inner];
                let x = &x[n * image..][..image];
                forward_piece(
                    &Piece {
                        p,
                        x,
                        channels,
                        inner,
                        own,
                    },
                    y,
                );
            });
        },
    );
}

/// dx, overwritten, for x of n × channels × inner.
pub fn across_backward(
    p: &Lrn,
    x: &[f32],
    (channels, inner): (usize, usize),
    dy: &[f32],
    dx: &mut [f32],
) {
    let image = channels * inner;
    assert!(dy.len() == x.len() && dx.len() == x.len());
    assert!(image > 0 && x.len().is_multiple_of(image));
    cut::each(
        Units(dx, inner),
        x.len() / inner,
        24 * inner,
        |first, Units(dx, _)| {
            images(first, dx.len() / inner, channels, |n, own, at| {
                let dx = &mut dx[at * inner..][..own.len() * inner];
                let (x, dy) = (&x[n * image..][..image], &dy[n * image..][..image]);
                let rows = (2 * (p.size / 2) + 1).min(channels);
                SCRATCH.with_borrow_mut(|ring| {
                    ring.resize(ring.len().max(rows * BLOCK), 0.0);
                    let piece = Piece {
                        p,
                        x,
                        channels,
                        inner,
                        own,
                    };
                    backward_piece(&piece, dy, dx, &mut ring[..rows * BLOCK]);
                });
            });
        },
    );
}

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

wide! {
    fn forward_piece(piece: &Piece<'_>, y: &mut [f32]) {
        let (mut s, mut t) = ([0.0; BLOCK], [0.0; BLOCK]);
        for at in piece.blocks() {
            let (s, t) = (&mut s[..at.len()], &mut t[..at.len()]);
            for (y, c) in y.chunks_exact_mut(piece.inner).zip(piece.own.clone()) {
                piece.scales(c, &at, s);
                powers(piece.p.beta, s, t);
                let from = piece.row(piece.x, c, &at).iter().zip(&*t);
                y[at.clone()].iter_mut().zip(from).for_each(|(y, (x, t))| *y = x * t);
            }
        }
    }

    fn backward_piece(piece: &Piece<'_>, dy: &[f32], dx: &mut [f32], ring: &mut [f32]) {
        let (p, own, inner) = (piece.p, &piece.own, piece.inner);
        let (rows, reach) = (ring.len() / BLOCK, p.size / 2);
        let factor = 2.0 * p.beta * p.per_channel();
        let (mut s, mut t, mut sum) = ([0.0; BLOCK], [0.0; BLOCK], [0.0; BLOCK]);
        for at in piece.blocks() {
            let (s, t, sum) = (&mut s[..at.len()], &mut t[..at.len()], &mut sum[..at.len()]);
            for c in own.start.saturating_sub(reach)..own.end + reach {
                // Channel c comes in: its part in the sums of its neighbours, dy · y / scale.
                if c < piece.channels {
                    let (x, dy) = (piece.row(piece.x, c, &at), piece.row(dy, c, &at));
                    piece.scales(c, &at, s);
                    powers(p.beta, s, t);
                    let ratio = ring[c % rows * BLOCK..][..at.len()].iter_mut();
                    let from = x.iter().zip(dy).zip(s.iter().zip(&*t));
                    for (ratio, ((x, dy), (s, t))) in ratio.zip(from) {
                        *ratio = dy * (x * t) / s;
                    }
                    if own.contains(&c) {
                        let dx = &mut dx[(c - own.start) * inner..][..inner][at.clone()];
                        let from = dy.iter().zip(&*t);
                        dx.iter_mut().zip(from).for_each(|(dx, (dy, t))| *dx = dy * t);
                    }
                }
                // The last neighbour of this one has come in.
                let Some(done) = c.checked_sub(reach).filter(|c| own.contains(c)) else {
                    continue;
                };
                sum.fill(0.0);
                for j in p.around(done, piece.channels) {
                    let ratio = &ring[j % rows * BLOCK..][..at.len()];
                    sum.iter_mut().zip(ratio).for_each(|(sum, r)| *sum += r);
                }
                let dx = &mut dx[(done - own.start) * inner..][..inner][at.clone()];
                let from = piece.row(piece.x, done, &at).iter().zip(&*sum);
                dx.iter_mut().zip(from).for_each(|(dx, (x, sum))| *dx -= factor * x * sum);
            }
        }
    }
}

/// The average pooling over the neighbourhood of each pixel.
fn neighbourhood(p: &Lrn, plane: [usize; 2]) -> PoolShape {
    PoolShape {
        input: plane,
        pooled: plane,
        kernel: std::array::from_fn(|i| p.size.min(plane[i] + 2 * (p.size / 2))),
        stride: [1; 2],
        pad: [p.size / 2; 2],
    }
}

/// y, for planes of `plane` (height, width).
pub fn within_forward(p: &Lrn, x: &[f32], plane: [usize; 2], y: &mut [f32]) {
    let inner = plane[0] * plane[1];
    assert!(inner > 0 && y.len() == x.len() && x.len().is_multiple_of(inner));
    let (units, parts) = (x.len() / inner, (Units(x, inner), Units(y, inner)));
    cut::each(parts, units, 24 * inner, |_, (x, y)| {
        within(p, plane, |s, scratch| {
            lanes::run(Within {
                p,
                s,
                x: x.0,
                dy: None,
                to: y.0,
                scratch,
            });
        });
    });
}

/// dx, overwritten, for planes of `plane` (height, width).
pub fn within_backward(p: &Lrn, x: &[f32], plane: [usize; 2], dy: &[f32], dx: &mut [f32]) {
    let inner = plane[0] * plane[1];
    assert!(inner > 0 && dx.len() == x.len() && x.len().is_multiple_of(inner));
    assert_eq!(dy.len(), x.len());
    let parts = (Units(x, inner), Units(dy, inner), Units(dx, inner));
    cut::each(parts, x.len() / inner, 48 * inner, |_, (x, dy, dx)| {
        within(p, plane, |s, scratch| {
            lanes::run(Within {
                p,
                s,
                x: x.0,
                dy: Some(dy.0),
                to: dx.0,
                scratch,
            });
        });
    });
}

/// Calls `f` with the neighbourhood and zeros enough for [`Within`].
fn within(p: &Lrn, plane: [usize; 2], f: impl FnOnce(&PoolShape, &mut [f32])) {
    let s = neighbourhood(p, plane);
    let len = 3 * plane[0] * plane[1] + average::scratch_len(&s) + average::back_scratch_len(&s);
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        scratch.resize(len, 0.0);
        f(&s, scratch);
    });
}

/// Forward, or with `dy` backward, of whole planes, one after the other.
struct Within<'a> {
    p: &'a Lrn,
    s: &'a PoolShape,
    x: &'a [f32],
    dy: Option<&'a [f32]>,
    to: &'a mut [f32],
    scratch: &'a mut [f32],
}

impl Kernel for Within<'_> {
    #[inline(always)]
    fn run<V: Lanes>(self, v: V) {
        let Self {
            p,
            s,
            x,
            dy,
            to,
            scratch,
        } = self;
        let (l, inner) = (&Lines::new(s), s.input[0] * s.input[1]);
        let (a, rest) = scratch.split_at_mut(inner);
        let (scale, rest) = rest.split_at_mut(inner);
        let (t, rest) = rest.split_at_mut(inner);
        let (there, back) = rest.split_at_mut(average::scratch_len(s));
        average::extents(s, l, there);
        average::extents(s, l, back);
        for (i, (x, to)) in x
            .chunks_exact(inner)
            .zip(to.chunks_exact_mut(inner))
            .enumerate()
        {
            a.iter_mut().zip(x).for_each(|(a, x)| *a = x * x);
            average::plane(v, s, l, a, scale, there);
            scale.iter_mut().for_each(|s| *s = 1.0 + p.alpha * *s);
            powers(p.beta, scale, t);
            let Some(dy) = dy else {
                let from = x.iter().zip(&*t);
                to.iter_mut().zip(from).for_each(|(y, (x, t))| *y = x * t);
                continue;
            };
            // Gradient of the mean: −αβ · scale^(−β−1) · x · dy; then through the pooling, and 2x for the square.
            let dy = &dy[i * inner..][..inner];
            let factor = -p.alpha * p.beta;
            let from = x.iter().zip(dy).zip(scale.iter().zip(&*t));
            for (a, ((x, dy), (s, t))) in a.iter_mut().zip(from) {
                *a = factor * (x * dy) * t / s;
            }
            average::plane_back(v, s, l, a, to, back);
            let from = x.iter().zip(dy).zip(&*t);
            for (dx, ((x, dy), t)) in to.iter_mut().zip(from) {
                *dx = 2.0 * x * *dx + dy * t;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{
        simd::at_each_level,
        testing::{assert_close, noise, same_bits},
    };

    const LRN: Lrn = Lrn {
        size: 3,
        alpha: 0.9,
        beta: 0.75,
        k: 1.5,
    };

    /// y by the formulas, one element after the other; x is n × channels × height × width.
    fn plain(p: &Lrn, x: &[f32], [c, h, w]: [usize; 3], across: bool) -> Vec<f32> {
        let reach = (p.size / 2) as isize;
        let near = |a: usize, b: usize| (a as isize - b as isize).abs() <= reach;
        let index = |i: usize| [i / (c * h * w), i / (h * w) % c, i / w % h, i % w];
        let clipped = |at: usize, size: usize| {
            let (from, to) = (at as isize - reach, at as isize + reach + 1);
            (to.min(size as isize + reach) - from) as f32
        };
        (0..x.len())
            .map(|i| {
                let a = index(i);
                let sum: f32 = (0..x.len())
                    .filter(|&j| {
                        let b = index(j);
                        let same = |axes: &[usize]| axes.iter().all(|&i| a[i] == b[i]);
                        if across {
                            same(&[0, 2, 3]) && near(a[1], b[1])
                        } else {
                            same(&[0, 1]) && near(a[2], b[2]) && near(a[3], b[3])
                        }
                    })
                    .map(|j| x[j] * x[j])
                    .sum();
                let scale = if across {
                    p.k + p.alpha / p.size as f32 * sum
                } else {
                    1.0 + p.alpha * sum / (clipped(a[2], h) * clipped(a[3], w))
                };
                x[i] * scale.powf(-p.beta)
            })
            .collect()
    }

    fn run(p: &Lrn, x: &[f32], dims: [usize; 3], across: bool, dy: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let [c, h, w] = dims;
        let (mut y, mut dx) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
        if across {
            across_forward(p, x, (c, h * w), &mut y);
            across_backward(p, x, (c, h * w), dy, &mut dx);
        } else {
            within_forward(p, x, [h, w], &mut y);
            within_backward(p, x, [h, w], dy, &mut dx);
        }
        (y, dx)
    }

    #[test]
    fn both_regions_agree_with_the_formulas_and_their_derivatives() {
        for across in [true, false] {
            for (p, dims) in [
                (LRN, [5, 2, 3]),
                (
                    Lrn {
                        size: 5,
                        beta: 0.6,
                        ..LRN
                    },
                    [3, 4, 2],
                ),
                (Lrn { size: 1, ..LRN }, [2, 2, 2]),
                (
                    Lrn {
                        size: 5,
                        beta: 0.5,
                        ..LRN
                    },
                    [7, 1, 3],
                ),
                (
                    Lrn {
                        size: 9,
                        beta: 1.0,
                        ..LRN
                    },
                    [4, 3, 3],
                ),
            ] {
                let len = 2 * dims.iter().product::<usize>();
                let (x, dy) = (noise(len, 1), noise(len, 2));
                let (y, dx) = run(&p, &x, dims, across, &dy);
                assert_close(&y, &plain(&p, &x, dims, across), 1e-5, "forward");
                let value = |x: &[f32]| -> f64 {
                    let y = plain(&p, x, dims, across);
                    y.iter().zip(&dy).map(|(y, d)| f64::from(y * d)).sum()
                };
                for i in 0..len {
                    let moved = |by: f32| {
                        let mut x = x.clone();
                        x[i] += by;
                        value(&x)
                    };
                    let want = ((moved(1e-2) - moved(-1e-2)) / 2e-2) as f32;
                    assert_close(&[dx[i]], &[want], 5e-4, "backward");
                }
            }
        }
    }

    #[test]
    fn every_level_gives_the_same_bits() {
        let dims = [6, 7, 11];
        let (x, dy) = (noise(2 * 6 * 77, 1), noise(2 * 6 * 77, 2));
        for beta in [0.75, 0.6] {
            for across in [true, false] {
                let p = Lrn { beta, ..LRN };
                let all = at_each_level(|| {
                    let (y, dx) = run(&p, &x, dims, across, &dy);
                    let bits = y.iter().chain(&dx).map(|v| v.to_bits());
                    bits.collect::<Vec<_>>()
                });
                assert_eq!(all[0], all[1]);
            }
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let dims = [7, 23, 29];
        let (x, dy) = (noise(11 * 7 * 23 * 29, 1), noise(11 * 7 * 23 * 29, 2));
        for across in [true, false] {
            same_bits("lrn", || {
                let (y, dx) = run(&LRN, &x, dims, across, &dy);
                [y, dx].concat()
            });
        }
    }
}
