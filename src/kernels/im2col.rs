//! Windows written out: a row of values for each tap of each channel, and the way back.

use super::cut::{self, Units};

/// Sizes of windows over planes; one entry for each spatial axis, of which there is at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WindowShape {
    /// Size of a plane.
    pub input: Vec<usize>,
    /// Windows along each axis.
    pub output: Vec<usize>,
    /// Taps of a window.
    pub kernel: Vec<usize>,
    /// Distance between windows, at least 1.
    pub stride: Vec<usize>,
    /// How far the first window starts outside.
    pub pad: Vec<usize>,
    /// Distance between taps.
    pub dilation: Vec<usize>,
}

impl WindowShape {
    fn in_plane(&self) -> usize {
        self.input.iter().product()
    }

    fn out_plane(&self) -> usize {
        self.output.iter().product()
    }

    fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Where window `o` finds tap `k` on `axis`; `None` in the padding.
    fn at(&self, axis: usize, o: usize, k: usize) -> Option<usize> {
        let at = o * self.stride[axis] + k * self.dilation[axis];
        at.checked_sub(self.pad[axis])
            .filter(|&at| at < self.input[axis])
    }

    /// Calls `f` for each line of windows that finds something at `tap`: with the line's first window in the plane of
    /// windows, the windows of the line that do not look into the padding, and where the first of these looks.
    fn lines(&self, tap: usize, mut f: impl FnMut(usize, std::ops::Range<usize>, usize)) {
        let last = self.input.len() - 1;
        let (n, stride) = (self.output[last], self.stride[last]);
        let shift = tap % self.kernel[last] * self.dilation[last];
        let first = self.pad[last].saturating_sub(shift).div_ceil(stride).min(n);
        let end = (self.input[last] + self.pad[last])
            .saturating_sub(shift)
            .div_ceil(stride)
            .clamp(first, n);
        let start = self.at(last, first, tap % self.kernel[last]);
        let Some(start) = start.filter(|_| first < end) else {
            return;
        };
        'lines: for line in 0..self.out_plane() / n {
            let (mut o, mut k) = (line, tap / self.kernel[last]);
            let (mut plane, mut size) = (start, self.input[last]);
            for axis in (0..last).rev() {
                let found = self.at(axis, o % self.output[axis], k % self.kernel[axis]);
                let Some(at) = found else {
                    continue 'lines;
                };
                plane += at * size;
                size *= self.input[axis];
                o /= self.output[axis];
                k /= self.kernel[axis];
            }
            f(line * n, first..end, plane);
        }
    }

    fn check(&self, x: &[f32], y: &[f32]) -> usize {
        let (input, output) = (self.in_plane(), self.taps() * self.out_plane());
        assert!(input > 0 && output > 0 && !self.input.is_empty());
        let planes = x.len() / input;
        assert_eq!((planes * input, planes * output), (x.len(), y.len()));
        planes
    }
}

/// y = for each plane of x a plane of windows for each tap, 0 where a tap looks into the padding.
pub fn im2col(s: &WindowShape, x: &[f32], y: &mut [f32]) {
    let planes = s.check(x, y);
    let (input, output, taps) = (s.in_plane(), s.out_plane(), s.taps());
    let stride = s.stride.last().copied().unwrap_or(1);
    let parts = (Units(x, input), Units(y, taps * output));
    cut::each(parts, planes, 4 * taps * output, |_, (x, y)| {
        let planes = x.0.chunks_exact(input);
        for (x, y) in planes.zip(y.0.chunks_exact_mut(taps * output)) {
            y.fill(0.0);
            for (tap, y) in y.chunks_exact_mut(output).enumerate() {
                s.lines(tap, |line, run, at| {
                    let y = &mut y[line..][run];
                    let x = x[at..].iter().step_by(stride);
                    y.iter_mut().zip(x).for_each(|(y, &x)| *y = x);
                });
            }
        }
    });
}

/// dx = the transpose of [`im2col`]: each value of a plane is the sum of dy over the taps that look at it. Overwrites.
pub fn col2im(s: &WindowShape, dy: &[f32], dx: &mut [f32]) {
    let planes = s.check(dx, dy);
    let (input, output, taps) = (s.in_plane(), s.out_plane(), s.taps());
    let stride = s.stride.last().copied().unwrap_or(1);
    let parts = (Units(dx, input), Units(dy, taps * output));
    cut::each(parts, planes, 4 * taps * output, |_, (dx, dy)| {
        let planes = dx.0.chunks_exact_mut(input);
        for (dx, dy) in planes.zip(dy.0.chunks_exact(taps * output)) {
            dx.fill(0.0);
            for (tap, dy) in dy.chunks_exact(output).enumerate() {
                s.lines(tap, |line, run, at| {
                    let dy = &dy[line..][run];
                    let dx = dx[at..].iter_mut().step_by(stride);
                    dx.zip(dy).for_each(|(dx, &dy)| *dx += dy);
                });
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{assert_close, noise, same_bits};

    #[test]
    fn a_row_for_each_tap() {
        // 1 2 3, kernel 2, pad 1: windows (0 1) (1 2) (2 3) (3 0).
        let s = WindowShape {
            input: vec![3],
            output: vec![4],
            kernel: vec![2],
            stride: vec![1],
            pad: vec![1],
            dilation: vec![1],
        };
        let mut y = [f32::NAN; 8];
        im2col(&s, &[1., 2., 3.], &mut y);
        assert_eq!(y, [0., 1., 2., 3., 1., 2., 3., 0.]);
        let mut dx = [f32::NAN; 3];
        col2im(&s, &[1., 2., 3., 4., 10., 20., 30., 40.], &mut dx);
        assert_eq!(dx, [12., 23., 34.]);
    }

    /// Tap by tap, window by window.
    fn plain(s: &WindowShape, x: &[f32]) -> Vec<f32> {
        let digits = |mut i: usize, dims: &[usize]| -> Vec<usize> {
            let mut digits: Vec<usize> = dims
                .iter()
                .rev()
                .map(|d| {
                    let digit = i % d;
                    i /= d;
                    digit
                })
                .collect();
            digits.reverse();
            digits
        };
        let mut y = Vec::new();
        for x in x.chunks(s.in_plane()) {
            for tap in 0..s.taps() {
                for o in 0..s.out_plane() {
                    let (tap, o) = (digits(tap, &s.kernel), digits(o, &s.output));
                    let at = (0..s.input.len()).try_fold(0, |at, axis| {
                        Some(at * s.input[axis] + s.at(axis, o[axis], tap[axis])?)
                    });
                    y.push(at.map_or(0.0, |at| x[at]));
                }
            }
        }
        y
    }

    #[test]
    fn lines_agree_with_single_taps() {
        for (input, kernel, stride, pad, dilation) in [
            (&[5, 7][..], &[3, 2][..], [1, 2, 1], [1, 3, 0], [2, 1, 1]),
            (&[1, 1], &[1, 4], [1, 1, 1], [0, 2, 0], [1, 1, 1]),
            (&[9], &[3], [4, 1, 1], [2, 0, 0], [3, 1, 1]),
            (&[3, 4, 5], &[2, 3, 2], [1, 2, 3], [1, 0, 2], [1, 1, 2]),
        ] {
            let axes = input.len();
            let output = (0..axes).map(|i| {
                (input[i] + 2 * pad[i] - dilation[i] * (kernel[i] - 1) - 1) / stride[i] + 1
            });
            let s = WindowShape {
                input: input.to_vec(),
                output: output.collect(),
                kernel: kernel.to_vec(),
                stride: stride[..axes].to_vec(),
                pad: pad[..axes].to_vec(),
                dilation: dilation[..axes].to_vec(),
            };
            let x = noise(3 * s.in_plane(), 1);
            let want = plain(&s, &x);
            let mut y = vec![f32::NAN; want.len()];
            im2col(&s, &x, &mut y);
            assert_eq!(y, want);
            // <dy, im2col(x)> = <col2im(dy), x>
            let dy = noise(y.len(), 2);
            let mut dx = vec![f32::NAN; x.len()];
            col2im(&s, &dy, &mut dx);
            let inner = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            assert_close(&[inner(&dx, &x)], &[inner(&dy, &y)], 1e-4, "transpose");
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let s = WindowShape {
            input: vec![30, 31],
            output: vec![30, 31],
            kernel: vec![3, 3],
            stride: vec![1, 1],
            pad: vec![1, 1],
            dilation: vec![1, 1],
        };
        let x = noise(40 * s.in_plane(), 1);
        same_bits("columns", || {
            let (mut y, mut dx) = (vec![0.0; 9 * x.len()], x.clone());
            im2col(&s, &x, &mut y);
            col2im(&s, &y, &mut dx);
            [y, dx].concat()
        });
    }
}
