//! Columns: every window of an image as a column of a matrix, so that a convolution is a matrix product; and back.
//!
//! Row r of the matrix stands for one tap (channel, kernel position), column s for one output pixel in row-major order.
//! Both functions work on a range of columns, so that a large image needs only a small buffer, and on any number of
//! spatial axes: the innermost axis is handled in runs, the outer ones by counting.

use std::ops::Range;

use super::geometry::{ConvShape, Dims};

/// col\[r\]\[s − cols.start\] = the pixel that tap r sees for output pixel s, 0 in the padding.
///
/// `image` holds some input channels, `col` as many times kernel × cols.len() floats.
pub(super) fn im2col(s: &ConvShape, image: &[f32], cols: Range<usize>, col: &mut [f32]) {
    let channels = image.len() / s.in_spatial();
    for_each_tap(s, channels, |row, channel, tap| {
        let plane = &image[channel * s.in_spatial()..][..s.in_spatial()];
        let out = &mut col[row * cols.len()..][..cols.len()];
        if let Some(shift) = tap.plane_shift {
            let (dst, src) = tap.shifted(s, shift, &cols);
            out[..dst.start].fill(0.0);
            out[dst.end..].fill(0.0);
            out[dst].copy_from_slice(&plane[src]);
            tap.clear_edges(s, &cols, out);
            return;
        }
        let stride = s.stride[s.stride.len() - 1];
        tap.for_each_run(s, &cols, |at, x, base| {
            let out = &mut out[at];
            let Some(base) = base else {
                out.fill(0.0);
                return;
            };
            let (lo, hi) = tap.inside(x, out.len());
            out[..lo].fill(0.0);
            out[hi..].fill(0.0);
            if lo < hi {
                let first = base + tap.pixel(x + lo, stride);
                if stride == 1 {
                    out[lo..hi].copy_from_slice(&plane[first..first + hi - lo]);
                } else {
                    let pixels = plane[first..].iter().step_by(stride);
                    out[lo..hi]
                        .iter_mut()
                        .zip(pixels)
                        .for_each(|(o, p)| *o = *p);
                }
            }
        });
    });
}

/// Adds each element of the column matrix to the pixel it was taken from; those of the padding are dropped.
///
/// `col` is scratch afterwards.
pub(super) fn col2im(s: &ConvShape, col: &mut [f32], cols: Range<usize>, image: &mut [f32]) {
    let channels = image.len() / s.in_spatial();
    for_each_tap(s, channels, |row, channel, tap| {
        let plane = &mut image[channel * s.in_spatial()..][..s.in_spatial()];
        let from = &mut col[row * cols.len()..][..cols.len()];
        if let Some(shift) = tap.plane_shift {
            tap.clear_edges(s, &cols, from);
            let (dst, src) = tap.shifted(s, shift, &cols);
            add(&mut plane[src], &from[dst]);
            return;
        }
        let stride = s.stride[s.stride.len() - 1];
        tap.for_each_run(s, &cols, |at, x, base| {
            let from = &from[at];
            let (lo, hi) = tap.inside(x, from.len());
            if let (Some(base), true) = (base, lo < hi) {
                let first = base + tap.pixel(x + lo, stride);
                if stride == 1 {
                    add(&mut plane[first..first + hi - lo], &from[lo..hi]);
                } else {
                    let pixels = plane[first..].iter_mut().step_by(stride);
                    pixels.zip(&from[lo..hi]).for_each(|(p, f)| *p += *f);
                }
            }
        });
    });
}

fn add(to: &mut [f32], from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(t, f)| *t += *f);
}

/// One position in the kernel.
struct Tap {
    /// What each outer axis adds to the input coordinate: dilation · index − pad.
    outer: SmallOffsets,
    /// The same for the innermost axis.
    inner: isize,
    /// Output columns whose innermost coordinate falls into the image.
    valid: Range<usize>,
    /// Where input and output planes have the same rows, and the stride is 1: the pixel that output pixel s sees is
    /// s + shift, whole rows at a time.
    plane_shift: Option<isize>,
}

type SmallOffsets = smallvec::SmallVec<[isize; 4]>;

fn for_each_tap(s: &ConvShape, channels: usize, mut f: impl FnMut(usize, usize, &Tap)) {
    let last = s.kernel.len() - 1;
    let (width, out_width) = (s.input[last], s.output[last]);
    let offset = |axis: usize, k: usize| (k * s.dilation[axis]) as isize - s.pad[axis] as isize;
    let same_rows = last == 1 && s.stride.iter().all(|&n| n == 1) && width == out_width;
    let taps: usize = s.kernel.iter().product();
    let mut at: Dims = s.kernel.iter().map(|_| 0).collect();
    for tap in 0..taps {
        let inner = offset(last, at[last]);
        let first_at = |pixel: isize| {
            let distance = usize::try_from(pixel - inner).unwrap_or(0);
            distance.div_ceil(s.stride[last]).min(out_width)
        };
        let outer: SmallOffsets = (0..last).map(|axis| offset(axis, at[axis])).collect();
        let t = Tap {
            plane_shift: same_rows.then(|| outer[0] * width as isize + inner),
            valid: first_at(0)..first_at(width as isize),
            outer,
            inner,
        };
        for channel in 0..channels {
            f(channel * taps + tap, channel, &t);
        }
        count_up(&mut at, &s.kernel);
    }
}

/// The next index in row-major order.
fn count_up(at: &mut [usize], dims: &[usize]) {
    for (i, &d) in at.iter_mut().zip(dims).rev() {
        *i += 1;
        if *i < d {
            return;
        }
        *i = 0;
    }
}

impl Tap {
    /// Input coordinate on the innermost axis of output column `x`, which must be valid.
    fn pixel(&self, x: usize, stride: usize) -> usize {
        (x * stride).wrapping_add_signed(self.inner)
    }

    /// The part of a run of `len` output columns from `x` on that falls into the image, relative to the run.
    fn inside(&self, x: usize, len: usize) -> (usize, usize) {
        let clip = |end: usize| end.saturating_sub(x).min(len);
        (clip(self.valid.start), clip(self.valid.end))
    }

    /// Calls `f` for each run of output pixels in one row: its place in `cols`, its first innermost coordinate, and
    /// where the row that it sees starts in the input plane (`None`: in the padding).
    fn for_each_run(
        &self,
        s: &ConvShape,
        cols: &Range<usize>,
        mut f: impl FnMut(Range<usize>, usize, Option<usize>),
    ) {
        let last = s.output.len() - 1;
        let width = s.output[last];
        let outer_dims = &s.output[..last];
        let mut row = cols.start / width;
        let mut at: Dims = unravel(row, outer_dims);
        while row * width < cols.end {
            let start = cols.start.max(row * width);
            let end = cols.end.min((row + 1) * width);
            let mut base = Some(0);
            for axis in 0..last {
                let pixel = (at[axis] * s.stride[axis]).checked_add_signed(self.outer[axis]);
                base = match (base, pixel) {
                    (Some(b), Some(p)) if p < s.input[axis] => Some(b * s.input[axis] + p),
                    _ => None,
                };
            }
            let base = base.map(|b| b * s.input[last]);
            f(
                start - cols.start..end - cols.start,
                start - row * width,
                base,
            );
            count_up(&mut at, outer_dims);
            row += 1;
        }
    }

    /// For a plane shift: which part of `cols` sees rows of the image, and the pixels it sees. Columns beside the
    /// image are still in it, see [`Tap::clear_edges`].
    fn shifted(
        &self,
        s: &ConvShape,
        shift: isize,
        cols: &Range<usize>,
    ) -> (Range<usize>, Range<usize>) {
        let (height, width) = (s.input[0] as isize, s.input[1] as isize);
        let (first, end) = (cols.start as isize, cols.end as isize);
        let up = self.outer[0];
        // Rows inside the image, and pixels inside it: the second cuts corners that are beside the image anyway.
        let lo = first.max(-up * width).max(-shift).min(end);
        let hi = end
            .min((height - up) * width)
            .min(height * width - shift)
            .max(lo);
        let range = |by: isize| (lo + by) as usize..(hi + by) as usize;
        if lo == hi {
            return (0..0, 0..0);
        }
        (range(-first), range(shift))
    }

    /// For a plane shift: zeros where the tap looks beside the image.
    fn clear_edges(&self, s: &ConvShape, cols: &Range<usize>, row: &mut [f32]) {
        let width = s.output[1];
        let mut clear = |from: usize, to: usize| {
            let (from, to) = (from.max(cols.start), to.min(cols.end));
            if from < to {
                row[from - cols.start..to - cols.start].fill(0.0);
            }
        };
        if self.valid == (0..width) {
            return;
        }
        for start in (cols.start / width * width..cols.end).step_by(width) {
            clear(start, start + self.valid.start);
            clear(start + self.valid.end, start + width);
        }
    }
}

/// The index whose row-major position is `position`.
fn unravel(mut position: usize, dims: &[usize]) -> Dims {
    let mut at: Dims = dims.iter().map(|_| 0).collect();
    for (i, &d) in at.iter_mut().zip(dims).rev() {
        *i = position % d;
        position /= d;
    }
    at
}
