//! What Concat and Slice share: a whole and its parts along one axis.
//!
//! Seen from the axis, a blob is `outer` rows of `extent · inner` values. The whole's row is the parts' rows, one after
//! the other.

use crate::{
    error::{Error, Result},
    kernels::{
        cut::{self, Units},
        map,
    },
    layer::LayerDef,
    tensor::{Shape, View},
};

/// The axis as the prototxt tells it: `axis`, negative from the end, or the old unsigned name of the same thing.
#[derive(Debug)]
pub(super) struct Axis {
    index: i32,
    field: String,
}

impl Axis {
    /// From the fields `axis` and `old` of `message`.
    ///
    /// # Errors
    /// `Param` where both are given.
    pub(super) fn new(
        def: &LayerDef,
        message: &str,
        axis: Option<i32>,
        (old_name, old): (&str, Option<u32>),
    ) -> Result<Self> {
        let (index, name) = match (axis, old) {
            (Some(_), Some(_)) => {
                return Err(def
                    .invalid(
                        &format!("{message}.{old_name}"),
                        "is the old name of axis, and axis is given too",
                    )
                    .help("give axis alone"));
            }
            (None, Some(old)) => (i32::try_from(old).unwrap_or(i32::MAX), old_name),
            (axis, None) => (axis.unwrap_or(1), "axis"),
        };
        Ok(Self {
            index,
            field: format!("{message}.{name}"),
        })
    }

    /// Which axis of `shape` it is.
    ///
    /// # Errors
    /// `Param` where the shape has no such axis.
    pub(super) fn of(&self, shape: &Shape) -> Result<usize> {
        shape
            .axis(self.index)
            .map_err(|error| Error::param(&self.field, error.message()))
    }
}

/// Writes the whole, with rows of `width`, from its parts, each with its length of a row; a part that is not there
/// counts as zeros.
pub(super) fn join<'a>(
    whole: &mut [f32],
    width: usize,
    parts: impl Iterator<Item = (Option<View<'a>>, usize)> + Clone + Sync,
) {
    let rows = whole.len().checked_div(width).unwrap_or(0);
    if rows >= FEW {
        return cut::each(Units(whole, width), rows, 8 * width, |first, whole| {
            for (row, whole) in (first..).zip(whole.0.chunks_exact_mut(width)) {
                for (strip, part) in strips(whole, row, parts.clone()) {
                    match part {
                        Some(part) => strip.copy_from_slice(part),
                        None => strip.fill(0.0),
                    }
                }
            }
        });
    }
    for row in 0..rows {
        let whole = &mut whole[row * width..][..width];
        for (strip, part) in strips(whole, row, parts.clone()) {
            match part {
                Some(part) => map::copy(part, strip),
                None => map::fill(strip, 0.0),
            }
        }
    }
}

/// So many rows are shared out among threads; of fewer, each row is.
const FEW: usize = 8;

/// The strips of a row of the whole, with the same row of each part.
fn strips<'w, 'a>(
    whole: &'w mut [f32],
    row: usize,
    parts: impl Iterator<Item = (Option<View<'a>>, usize)>,
) -> impl Iterator<Item = (&'w mut [f32], Option<&'a [f32]>)> {
    let mut rest = whole;
    parts.map(move |(part, run)| {
        let (strip, after) = std::mem::take(&mut rest).split_at_mut(run);
        rest = after;
        (strip, part.map(|part| &part.data[row * run..][..run]))
    })
}

/// Writes one part, `run` values of each row from `offset` on, from the whole with rows of `width`.
pub(super) fn cut_out(whole: &[f32], width: usize, offset: usize, run: usize, part: &mut [f32]) {
    let rows = part.len().checked_div(run).unwrap_or(0);
    if rows >= FEW {
        let parts = (Units(part, run), Units(whole, width));
        return cut::each(parts, rows, 8 * run, |_, (part, whole)| {
            let rows = part.0.chunks_exact_mut(run);
            for (strip, whole) in rows.zip(whole.0.chunks_exact(width)) {
                strip.copy_from_slice(&whole[offset..][..run]);
            }
        });
    }
    for row in 0..rows {
        let from = &whole[row * width + offset..][..run];
        map::copy(from, &mut part[row * run..][..run]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::testing::tensor;

    #[test]
    fn join_and_cut_are_inverse() {
        let a = tensor(&[2, 2], &[1.0, 2.0, 5.0, 6.0]);
        let b = tensor(&[2, 1], &[3.0, 7.0]);
        let mut whole = [0.0; 6];
        let parts = [(Some(a.view()), 2), (Some(b.view()), 1)];
        join(&mut whole, 3, parts.into_iter());
        assert_eq!(whole, [1.0, 2.0, 3.0, 5.0, 6.0, 7.0]);
        let mut part = [0.0; 2];
        cut_out(&whole, 3, 2, 1, &mut part);
        assert_eq!(part, [3.0, 7.0]);
        join(&mut whole, 3, [(None, 2), (Some(b.view()), 1)].into_iter());
        assert_eq!(whole, [0.0, 0.0, 3.0, 0.0, 0.0, 7.0]);
    }

    #[test]
    fn many_rows_and_long_ones() {
        for (rows, runs) in [(3, [40_000, 0, 7]), (500, [3, 300, 0]), (8, [1, 1, 20_000])] {
            let parts = runs.map(|run: usize| {
                let data: Vec<f32> = (0..rows * run).map(|i| i as f32 + run as f32).collect();
                tensor(&[rows, run], &data)
            });
            let width = runs.iter().sum();
            let mut whole = vec![f32::NAN; rows * width];
            let views = parts.iter().map(|part| Some(part.view()));
            join(&mut whole, width, views.zip(runs));
            let mut offset = 0;
            for (part, run) in parts.iter().zip(runs) {
                let mut got = vec![f32::NAN; rows * run];
                cut_out(&whole, width, offset, run, &mut got);
                assert_eq!(got, part.data);
                offset += run;
            }
        }
    }
}
