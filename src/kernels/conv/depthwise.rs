//! One channel to one channel: too little to add up for tiles to pay, so each line of outputs is summed where it lies.

use super::{product::End, sum::Sum};
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
