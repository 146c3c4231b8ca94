//! Pooling of planes: the largest, the mean or a drawn value of each window, and the gradients.
//!
//! Windows start at multiples of the stride, minus the pad, and are clipped to the image. A window that clipping leaves
//! empty (a stride beyond the kernel) has the maximum −`f32::MAX` at no pixel, and the mean 0.

pub(super) mod average;
pub(super) mod lines;
mod max;
mod stochastic;

use std::ops::Range;

use super::cut::{self, Units};

/// Sizes of a pooling; pairs are (vertical, horizontal).
#[derive(Clone, Copy, Debug)]
pub struct PoolShape {
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Height and width of the output.
    pub pooled: [usize; 2],
    /// Size of a window.
    pub kernel: [usize; 2],
    /// Distance between windows, at least 1.
    pub stride: [usize; 2],
    /// How far the first window starts outside.
    pub pad: [usize; 2],
}

/// The mark in an argmax for "no pixel": every value in the window was −`f32::MAX`, −∞ or NaN.
pub const NO_PIXEL: i32 = -1;

impl PoolShape {
    fn in_plane(&self) -> usize {
        self.input[0] * self.input[1]
    }

    fn out_plane(&self) -> usize {
        self.pooled[0] * self.pooled[1]
    }

    /// Rows of results that are kept until no window needs them: a power of two, so that a mask finds a row's place.
    fn kept_rows(&self) -> usize {
        self.kernel[0].min(self.input[0]).next_power_of_two()
    }

    /// Bytes that a plane moves.
    fn bytes(&self) -> usize {
        4 * (self.in_plane() + 2 * self.out_plane())
    }

    /// Input rows (axis 0) or columns (axis 1) of window `i`.
    fn window(&self, axis: usize, i: usize) -> Range<usize> {
        let (start, pad) = (i * self.stride[axis], self.pad[axis]);
        let end = (start + self.kernel[axis]).saturating_sub(pad);
        let end = end.min(self.input[axis]);
        start.saturating_sub(pad).min(end)..end
    }

    /// Extent of window `i` for the mean's divisor: clipped to the padded image, on its far side.
    fn extent(&self, axis: usize, i: usize) -> usize {
        let start = i * self.stride[axis];
        let end = (start + self.kernel[axis]).min(self.input[axis] + 2 * self.pad[axis]);
        end.saturating_sub(start)
    }

    /// Windows along `axis` that hold row or column `i`.
    fn covering(&self, axis: usize, i: usize) -> Range<usize> {
        let (stride, at) = (self.stride[axis], i + self.pad[axis]);
        let first = (at + 1).saturating_sub(self.kernel[axis]).div_ceil(stride);
        let end = (at / stride + 1).min(self.pooled[axis]);
        first.min(end)..end
    }

    /// Whether a single window is the whole plane.
    fn is_global(&self) -> bool {
        self.pooled == [1, 1] && self.kernel == self.input && self.pad == [0, 0]
    }

    fn check(&self, x: &[f32], y: &[f32]) {
        let (inner, outer) = (self.in_plane(), self.out_plane());
        assert!(inner > 0 && outer > 0 && self.stride[0] > 0 && self.stride[1] > 0);
        assert!(inner <= i32::MAX as usize, "a plane is too large");
        assert_eq!(x.len() % inner, 0);
        assert_eq!(x.len() / inner * outer, y.len());
    }
}

/// y = the largest value of each window, argmax = its pixel in the plane. The first of equal values wins; NaN never.
/// Where argmax is empty, it is not asked for.
pub fn max_forward(s: &PoolShape, x: &[f32], y: &mut [f32], argmax: &mut [i32]) {
    s.check(x, y);
    assert!(argmax.is_empty() || argmax.len() == y.len());
    let (inner, outer) = (s.in_plane(), s.out_plane());
    if argmax.is_empty() {
        let parts = (Units(x, inner), Units(y, outer));
        return cut::each(parts, x.len() / inner, s.bytes(), |_, (x, y)| {
            max::planes(s, x.0, y.0, &mut []);
        });
    }
    let parts = (Units(x, inner), Units(y, outer), Units(argmax, outer));
    cut::each(parts, x.len() / inner, s.bytes(), |_, (x, y, argmax)| {
        max::planes(s, x.0, y.0, argmax.0);
    });
}

/// dx = each output's gradient, added at the pixel that was largest. Overwrites.
pub fn max_backward(s: &PoolShape, dy: &[f32], argmax: &[i32], dx: &mut [f32]) {
    s.check(dx, dy);
    assert_eq!(argmax.len(), dy.len());
    let (inner, outer, planes) = (s.in_plane(), s.out_plane(), dx.len() / s.in_plane());
    let parts = (Units(dx, inner), Units(dy, outer), Units(argmax, outer));
    cut::each(parts, planes, s.bytes(), |_, (dx, dy, argmax)| {
        max::backward(s, dy.0, argmax.0, dx.0);
    });
}

/// y = the sum of each window, divided by the window's size in the padded image.
pub fn average_forward(s: &PoolShape, x: &[f32], y: &mut [f32]) {
    s.check(x, y);
    let (inner, outer) = (s.in_plane(), s.out_plane());
    let parts = (Units(x, inner), Units(y, outer));
    cut::each(parts, x.len() / inner, s.bytes(), |_, (x, y)| {
        average::forward(s, x.0, y.0);
    });
}

/// dx = each output's gradient, shared out over its window with the divisor of the mean. Overwrites.
pub fn average_backward(s: &PoolShape, dy: &[f32], dx: &mut [f32]) {
    s.check(dx, dy);
    let (inner, outer, planes) = (s.in_plane(), s.out_plane(), dx.len() / s.in_plane());
    let parts = (Units(dx, inner), Units(dy, outer));
    cut::each(parts, planes, s.bytes(), |_, (dx, dy)| {
        average::backward(s, dy.0, dx.0);
    });
}

/// y = of each window the value at which the running sum of the values first reaches `shares` (0 to 1, one for each window)
/// of their sum, at = its pixel in the plane: Zeiler and Fergus 2013, for values of at least 0.
pub fn stochastic_forward(s: &PoolShape, x: &[f32], shares: &[f32], y: &mut [f32], at: &mut [i32]) {
    s.check(x, y);
    assert!(shares.len() == y.len() && at.len() == y.len());
    let (inner, outer) = (s.in_plane(), s.out_plane());
    let parts = (
        Units(x, inner),
        Units(shares, outer),
        Units(y, outer),
        Units(at, outer),
    );
    cut::each(
        parts,
        x.len() / inner,
        s.bytes(),
        |_, (x, shares, y, at)| {
            stochastic::draw(s, x.0, shares.0, y.0, at.0);
        },
    );
}

/// y = Σ x² / Σ x of each window, the mean of what [`stochastic_forward`] draws; 0 where Σ x is not above 0.
pub fn stochastic_mean(s: &PoolShape, x: &[f32], y: &mut [f32]) {
    s.check(x, y);
    let (inner, outer) = (s.in_plane(), s.out_plane());
    let parts = (Units(x, inner), Units(y, outer));
    cut::each(parts, x.len() / inner, s.bytes(), |_, (x, y)| {
        stochastic::mean(s, x.0, y.0);
    });
}

/// dx = the gradient of [`stochastic_mean`]. Overwrites.
pub fn stochastic_mean_backward(s: &PoolShape, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    s.check(dx, dy);
    assert_eq!(x.len(), dx.len());
    let (inner, outer, planes) = (s.in_plane(), s.out_plane(), dx.len() / s.in_plane());
    let parts = (Units(x, inner), Units(dy, outer), Units(dx, inner));
    cut::each(parts, planes, s.bytes(), |_, (x, dy, dx)| {
        stochastic::mean_backward(s, x.0, dy.0, dx.0);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{
        simd::at_each_level,
        testing::{assert_close, noise, same_bits},
    };

    const NAN: f32 = f32::NAN;

    fn shape(input: [usize; 2], pooled: [usize; 2], [k, stride, pad]: [usize; 3]) -> PoolShape {
        PoolShape {
            input,
            pooled,
            kernel: [k, k],
            stride: [stride, stride],
            pad: [pad, pad],
        }
    }

    #[test]
    fn the_largest_of_each_window_and_where_it_was() {
        // 3x5, kernel 2, stride 2, rounded up: 2x3 windows, clipped below and on the right.
        let s = shape([3, 5], [2, 3], [2, 2, 0]);
        #[rustfmt::skip]
        let x = [1., 2., 5., 3., 9.,
                 4., 2., 5., 5., 8.,
                 0., 7., NAN, -1., -2.];
        let (mut y, mut at) = ([NAN; 6], [7; 6]);
        max_forward(&s, &x, &mut y, &mut at);
        assert_eq!(y, [4., 5., 9., 7., -1., -2.]);
        assert_eq!(at, [5, 2, 4, 11, 13, 14]);
        let mut dx = [NAN; 15];
        max_backward(&s, &[1., 2., 3., 4., 5., 6.], &at, &mut dx);
        let want = [0., 0., 2., 0., 3., 1., 0., 0., 0., 0., 0., 4., 0., 5., 6.];
        assert_eq!(dx, want);
    }

    #[test]
    fn the_mean_counts_padding_but_not_what_lies_beyond_it() {
        // 3 wide, kernel 3, stride 2, pad 1: windows -1..2 and 1..4, both of extent 3 in the padded image.
        let s = shape([3, 3], [2, 2], [3, 2, 1]);
        let x = [9., 9., 9., 9., 9., 9., 9., 9., 9.];
        let mut y = [NAN; 4];
        average_forward(&s, &x, &mut y);
        assert_eq!(y, [4.; 4]);
        // 4 wide, kernel 3, stride 2, rounded up: the second window is 2..4, of extent 2.
        let s = shape([1, 4], [1, 2], [3, 2, 0]);
        let mut y = [NAN; 2];
        average_forward(&s, &[3., 6., 9., 1.], &mut y);
        assert_eq!(y, [6., 5.]);
        let mut dx = [NAN; 4];
        average_backward(&s, &[3., 4.], &mut dx);
        assert_eq!(dx, [1., 1., 3., 2.]);
    }

    #[test]
    fn a_window_of_nothing() {
        // One pixel every 3 of 2, rounded up: the second window starts outside.
        let s = shape([1, 2], [1, 2], [1, 3, 0]);
        let (mut y, mut at) = ([NAN; 2], [7; 2]);
        max_forward(&s, &[5., 6.], &mut y, &mut at);
        assert_eq!((y, at), ([5., -f32::MAX], [0, NO_PIXEL]));
        average_forward(&s, &[5., 6.], &mut y);
        assert_eq!(y, [5., 0.]);
        let mut dx = [NAN; 2];
        max_backward(&s, &[1., 1.], &at, &mut dx);
        assert_eq!(dx, [1., 0.]);
        average_backward(&s, &[1., 1.], &mut dx);
        assert_eq!(dx, [1., 0.]);
    }

    /// Window by window, pixel by pixel: (maximum, its pixel, mean).
    fn plain(s: &PoolShape, x: &[f32]) -> Vec<(f32, i32, f32)> {
        let mut out = Vec::new();
        for plane in x.chunks(s.in_plane()) {
            for i in 0..s.out_plane() {
                let at = [i / s.pooled[1], i % s.pooled[1]];
                let (mut best, mut index, mut sum, mut size) = (-f32::MAX, NO_PIXEL, 0.0, 0);
                for dh in 0..s.kernel[0] {
                    for dw in 0..s.kernel[1] {
                        let h = (at[0] * s.stride[0] + dh) as isize - s.pad[0] as isize;
                        let w = (at[1] * s.stride[1] + dw) as isize - s.pad[1] as isize;
                        let [height, width] = s.input.map(|n| n as isize);
                        size += i32::from(
                            h < height + s.pad[0] as isize && w < width + s.pad[1] as isize,
                        );
                        if h < 0 || w < 0 || h >= height || w >= width {
                            continue;
                        }
                        let x = plane[(h * width + w) as usize];
                        sum += x;
                        if x > best {
                            (best, index) = (x, (h * width + w) as i32);
                        }
                    }
                }
                out.push((best, index, sum / size as f32));
            }
        }
        out
    }

    #[test]
    fn rows_of_windows_agree_with_single_windows() {
        for (input, kernel, stride, pad) in [
            ([5, 7], [3, 3], [2, 2], [0, 0]),
            ([6, 6], [3, 2], [2, 1], [1, 1]),
            ([9, 4], [4, 4], [3, 3], [3, 2]),
            ([1, 1], [1, 1], [1, 1], [0, 0]),
            ([13, 11], [5, 3], [1, 2], [2, 2]),
            ([4, 5], [4, 5], [1, 1], [0, 0]),
        ] {
            for up in [false, true] {
                let size = |i: usize| {
                    let room: usize = input[i] + 2 * pad[i] - kernel[i];
                    let steps = if up {
                        room.div_ceil(stride[i])
                    } else {
                        room / stride[i]
                    };
                    let clip = pad[i] > 0 && steps * stride[i] >= input[i] + pad[i];
                    steps + 1 - usize::from(clip)
                };
                let s = PoolShape {
                    input,
                    pooled: [size(0), size(1)],
                    kernel,
                    stride,
                    pad,
                };
                let x = noise(6 * s.in_plane(), 1);
                let want = plain(&s, &x);
                let (mut y, mut at) = (vec![NAN; want.len()], vec![7; want.len()]);
                max_forward(&s, &x, &mut y, &mut at);
                assert!(
                    want.iter()
                        .zip(&y)
                        .zip(&at)
                        .all(|((w, y), at)| w.0 == *y && w.1 == *at)
                );
                average_forward(&s, &x, &mut y);
                let means: Vec<f32> = want.iter().map(|w| w.2).collect();
                assert_close(&y, &means, 1e-6, "mean");
                // <dy, mean(x)> = <backward(dy), x>: the gradient of a linear map is its transpose.
                let dy = noise(y.len(), 2);
                let mut dx = vec![NAN; x.len()];
                average_backward(&s, &dy, &mut dx);
                let inner = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
                assert_close(&[inner(&dx, &x)], &[inner(&dy, &means)], 1e-4, "transpose");
            }
        }
    }

    #[test]
    fn every_width_up_to_some_vectors_on_every_level() {
        for width in (1..=35).chain([64, 65, 67]) {
            for [k, stride, pad] in [
                [2, 2, 0],
                [3, 2, 0],
                [3, 2, 1],
                [3, 1, 1],
                [5, 3, 2],
                [1, 2, 0],
            ] {
                let size = |i: usize| {
                    let room = (i + 2 * pad).saturating_sub(k);
                    let steps = room.div_ceil(stride);
                    steps + 1 - usize::from(pad > 0 && steps * stride >= i + pad)
                };
                let s = shape([4, width], [size(4), size(width)], [k, stride, pad]);
                let x = noise(3 * s.in_plane(), width as u64);
                let want = plain(&s, &x);
                let all = at_each_level(|| {
                    let (mut y, mut at) = (vec![NAN; want.len()], vec![7; want.len()]);
                    max_forward(&s, &x, &mut y, &mut at);
                    for ((w, y), at) in want.iter().zip(&y).zip(&at) {
                        assert!(w.0 == *y && w.1 == *at, "{s:?}: {w:?}, {y}, {at}");
                    }
                    let mut alone = vec![NAN; want.len()];
                    max_forward(&s, &x, &mut alone, &mut []);
                    assert_eq!(alone, y);
                    let mut mean = vec![NAN; want.len()];
                    average_forward(&s, &x, &mut mean);
                    let mut dx = vec![NAN; x.len()];
                    average_backward(&s, &y, &mut dx);
                    let all = mean.iter().chain(&dx).map(|v| v.to_bits());
                    all.collect::<Vec<_>>()
                });
                assert_eq!(all[0], all[1], "{s:?}");
                let means: Vec<f32> = all[0][..want.len()]
                    .iter()
                    .map(|&b| f32::from_bits(b))
                    .collect();
                let close = want
                    .iter()
                    .zip(&means)
                    .all(|(w, m)| !w.2.is_finite() || (w.2 - m).abs() < 1e-5);
                assert!(close, "{s:?}");
            }
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let s = shape([31, 30], [15, 15], [3, 2, 0]);
        let x = noise(71 * s.in_plane(), 1);
        same_bits("pooling", || {
            let (mut y, mut at) = (vec![0.0; 71 * 225], vec![0; 71 * 225]);
            let (mut mean, mut dx, mut dm) = (y.clone(), x.clone(), x.clone());
            max_forward(&s, &x, &mut y, &mut at);
            average_forward(&s, &x, &mut mean);
            max_backward(&s, &mean, &at, &mut dx);
            average_backward(&s, &y, &mut dm);
            [y, mean, dx, dm].concat()
        });
    }
}
