//! What Concat and Slice share: a whole and its parts along one axis.
//!
//! Seen from the axis, a blob is `outer` rows of `extent · inner` values. The whole's row is the parts' rows, one after
//! the other.

use crate::{
    error::{Error, Result},
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
    parts: impl Iterator<Item = (Option<View<'a>>, usize)> + Clone,
) {
    if width == 0 {
        return;
    }
    for (row, whole) in whole.chunks_exact_mut(width).enumerate() {
        let mut rest = whole;
        for (part, run) in parts.clone() {
            let (strip, after) = rest.split_at_mut(run);
            match part {
                Some(part) => strip.copy_from_slice(&part.data[row * run..][..run]),
                None => strip.fill(0.0),
            }
            rest = after;
        }
    }
}

/// Writes one part, `run` values of each row from `offset` on, from the whole with rows of `width`.
pub(super) fn cut(whole: &[f32], width: usize, offset: usize, run: usize, part: &mut [f32]) {
    if run == 0 {
        return;
    }
    for (strip, whole) in part.chunks_exact_mut(run).zip(whole.chunks_exact(width)) {
        strip.copy_from_slice(&whole[offset..][..run]);
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
        cut(&whole, 3, 2, 1, &mut part);
        assert_eq!(part, [3.0, 7.0]);
        join(&mut whole, 3, [(None, 2), (Some(b.view()), 1)].into_iter());
        assert_eq!(whole, [0.0, 0.0, 3.0, 0.0, 0.0, 7.0]);
    }
}
