//! One channel to one channel: too little to add up for tiles to pay, so each line of outputs is summed where it lies.

use super::{geometry::ConvShape, product::End, sum::Sum};
use crate::kernels::tile::{Finish, MOST_LANES, Tile};

/// Whether a sum is of this kind.
pub(super) fn fits(sum: &Sum) -> bool {
    sum.rows == 1 && sum.channels == 1 && !sum.lines.is_empty()
}

/// The outputs of one image and group, from its packed weights and its field.
#[inline(always)]
pub(super) fn forward<T: Tile>(
    tile: T,
    sum: &Sum,
    weights: &[f32],
    field: &[f32],
    end: End<'_>,
    y: &mut [f32],
) {
    let width = y.len() / sum.lines.len();
    let finish = Finish {
        add: end.add,
        bias: end.bias.map_or(0.0, |bias| bias[0]),
        slope: end.slope,
    };
    let zero = tile.load(&[0.0; MOST_LANES]);
    let mut flat = [0.0; MOST_LANES];
    for ((i, base), y) in sum.lines.iter().enumerate().zip(y.chunks_exact_mut(width)) {
        for (x, y) in (0..width).step_by(T::LANES).zip(y.chunks_mut(T::LANES)) {
            let from = &field[base + x..];
            let mut sums = zero;
            for (tap, weight) in sum.taps.iter().zip(weights.iter().step_by(T::ROWS)) {
                sums = tile.scale_add(*weight, tile.load(&from[*tap..]), sums);
            }
            tile.store(sums, &mut flat);
            let residual = end.residual.map(|(r, _)| &r[i * width + x..][..y.len()]);
            tile.put(&flat, 0, y, residual, finish);
        }
    }
}

/// Lines of outputs that are summed together: they share the lines that they see.
const LINES: usize = 4;
/// Taps on each axis of a filter of [`Three`].
const TAPS: usize = 3;

/// A filter of 3×3 taps with stride 1 or 2 on both axes. Its input is laid out line by line, split by the stride's
/// residues, whole vectors at a time.
#[derive(Clone, Copy)]
pub(super) struct Three {
    input: (usize, usize),
    output: (usize, usize),
    pad: (usize, usize),
    stride: usize,
    /// Floats of one residue of a line.
    part: usize,
    /// Lines that are read.
    lines: usize,
}

impl Three {
    /// None where it is another filter.
    pub(super) fn new(s: &ConvShape, lanes: usize) -> Option<Self> {
        let two = |dims: &[usize]| <[usize; 2]>::try_from(dims).ok();
        let ([3, 3], [1, 1]) = (two(&s.kernel)?, two(&s.dilation)?) else {
            return None;
        };
        let (stride @ (1 | 2), true) = (s.stride[0], s.stride[0] == s.stride[1]) else {
            return None;
        };
        let ([high, wide], [above, left]) = (two(&s.input)?, two(&s.pad)?);
        let [down, across] = two(&s.output)?;
        // Vectors of outputs read one float beyond their own at most, data is written in vectors of its own.
        let read = across.next_multiple_of(lanes) + lanes;
        let written = left / stride + 1 + wide.div_ceil(stride).next_multiple_of(lanes);
        Some(Self {
            input: (high, wide),
            output: (down, across),
            pad: (above, left),
            stride,
            part: read.max(written),
            lines: (down.next_multiple_of(LINES) - 1) * stride + TAPS,
        })
    }

    /// Floats of the lines.
    pub(super) fn len(&self) -> usize {
        self.lines * self.stride * self.part
    }

    /// The outputs of one image and group; `lines` holds zeros, or what another image has left there.
    #[inline(always)]
    pub(super) fn forward<T: Tile>(
        &self,
        tile: T,
        weights: &[f32],
        x: &[f32],
        lines: &mut [f32],
        end: End<'_>,
        y: &mut [f32],
    ) {
        let mut taps = [0.0; TAPS * TAPS];
        for (tap, weight) in taps.iter_mut().zip(weights.iter().step_by(T::ROWS)) {
            *tap = *weight;
        }
        if self.stride == 1 {
            self.fill::<T, 1>(tile, x, lines);
            self.sums::<T, 1>(tile, &taps, lines, end, y);
        } else {
            self.fill::<T, 2>(tile, x, lines);
            self.sums::<T, 2>(tile, &taps, lines, end, y);
        }
    }

    #[inline(always)]
    fn fill<T: Tile, const S: usize>(&self, tile: T, x: &[f32], lines: &mut [f32]) {
        let lines = lines.chunks_exact_mut(S * self.part).take(self.lines);
        let from = x.chunks_exact(self.input.1);
        let left = self.pad.1;
        for (to, from) in lines.skip(self.pad.0).zip(from) {
            for (i, from) in from.chunks(S * T::LANES).enumerate() {
                if S == 1 {
                    let to = &mut to[left + i * T::LANES..];
                    if from.len() == T::LANES {
                        tile.store(tile.load(from), to);
                    } else {
                        tile.store(tile.load_part(from), to);
                    }
                    continue;
                }
                let parts = if from.len() == 2 * T::LANES {
                    tile.split::<2>(from)
                } else {
                    let mut whole = [0.0; 2 * MOST_LANES];
                    let (one, two) = from.split_at(from.len().min(T::LANES));
                    tile.store(tile.load_part(one), &mut whole);
                    tile.store(tile.load_part(two), &mut whole[T::LANES..]);
                    tile.split::<2>(&whole)
                };
                for (r, v) in parts.into_iter().enumerate() {
                    let at = (r + left) % 2 * self.part + (r + left) / 2;
                    tile.store(v, &mut to[at + i * T::LANES..]);
                }
            }
        }
    }

    #[inline(always)]
    #[allow(
        clippy::needless_range_loop,
        reason = "counted loops are unrolled, so that the sums stay in registers"
    )]
    fn sums<T: Tile, const S: usize>(
        &self,
        tile: T,
        taps: &[f32; TAPS * TAPS],
        lines: &[f32],
        end: End<'_>,
        y: &mut [f32],
    ) {
        let across = self.output.1;
        let (part, pitch) = (self.part, S * self.part);
        let finish = Finish {
            add: end.add,
            bias: end.bias.map_or(0.0, |bias| bias[0]),
            slope: end.slope,
        };
        let zero = tile.all(0.0);
        for (i, y) in y.chunks_mut(LINES * across).enumerate() {
            let lines = &lines[i * LINES * S * pitch..];
            for x in (0..across).step_by(T::LANES) {
                let mut sums = [zero; LINES];
                for line in 0..(LINES - 1) * S + TAPS {
                    let from = &lines[line * pitch + x..][..pitch - x];
                    for t in 0..TAPS {
                        let v = tile.load(&from[t % S * part + t / S..]);
                        for o in 0..LINES {
                            let row = line.wrapping_sub(S * o);
                            if row < TAPS {
                                sums[o] = tile.scale_add(taps[row * TAPS + t], v, sums[o]);
                            }
                        }
                    }
                }
                let width = T::LANES.min(across - x);
                for (o, y) in y.chunks_exact_mut(across).enumerate() {
                    let residual = end
                        .residual
                        .map(|(r, _)| &r[(i * LINES + o) * across + x..][..width]);
                    tile.finish(sums[o], &mut y[x..x + width], residual, finish);
                }
            }
        }
    }
}
