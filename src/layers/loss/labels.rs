//! Labels: whole numbers that name a class, one for each position of the scores, always checked.

use rayon::prelude::*;

use crate::{
    error::{Error, Result},
    kernels::cut::{self, Units},
    tensor::Shape,
};

/// The labels of a pass, read and checked, and where their scores are: scores are `outer` × `classes` × `inner`, labels
/// `outer` × `inner`.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels {
    pub(super) outer: usize,
    pub(super) classes: usize,
    pub(super) inner: usize,
    axis: usize,
    /// The extents behind the axis.
    behind: Shape,
    /// The class that each label names, or [`SKIPPED`].
    pub(super) named: Vec<u32>,
    /// How many of them are not skipped.
    pub(super) valid: usize,
}

/// Stands for the class of a label that is to be ignored.
pub(super) const SKIPPED: u32 = u32::MAX;

/// Labels that one task handles; fixed, so that sums over tasks are too.
const PIECE: usize = 1 << 10;
/// Up to so many scores a second thread costs more than it brings.
const SERIAL: usize = 1 << 13;

impl Labels {
    /// For bottoms `scores` and `labels` with the classes along `axis`, which the option `field` told.
    ///
    /// # Errors
    /// `Param` where there is no such axis, `Shape` where the labels are not one for each position.
    pub(super) fn new(scores: &Shape, labels: &Shape, axis: i32, field: &str) -> Result<Self> {
        let axis = scores
            .axis(axis)
            .map_err(|error| Error::param(field, error.message()))?;
        let (outer, inner) = (scores.count_range(0, axis), scores.count_from(axis + 1));
        if outer * inner != labels.count() {
            return Err(Error::shape(format!(
                "scores {scores} with classes along axis {axis} need {} labels, but the labels are {labels}",
                outer * inner
            ))
            .help("give one label, a whole number, for each position of the scores: scores [N, C, H, W] need labels [N, 1, H, W]"));
        }
        Ok(Self {
            outer,
            classes: scores.dims()[axis],
            inner,
            axis,
            behind: Shape::new(&scores.dims()[axis + 1..]),
            named: vec![SKIPPED; labels.count()],
            valid: 0,
        })
    }

    /// Takes the labels of a pass.
    ///
    /// # Errors
    /// `Data` for the first label that is not a whole number or no class.
    pub(super) fn read(&mut self, labels: &[f32], ignore: Option<i32>) -> Result<()> {
        self.read_but(labels, ignore.as_slice())
    }

    /// [`Labels::read`] where any of several labels is to be ignored.
    ///
    /// # Errors
    /// As `read`.
    pub(super) fn read_but(&mut self, labels: &[f32], ignore: &[i32]) -> Result<()> {
        self.valid = 0;
        let classes = self.classes;
        for (i, (named, &label)) in self.named.iter_mut().zip(labels).enumerate() {
            let whole = label as i32;
            *named = if whole as f32 != label {
                return Err(self.bad(label, i, ignore));
            } else if ignore.contains(&whole) {
                SKIPPED
            } else if whole >= 0 && (whole as usize) < classes {
                self.valid += 1;
                whole as u32
            } else {
                return Err(self.bad(label, i, ignore));
            };
        }
        Ok(())
    }

    /// Where in the scores the class `class` of label `i` is.
    pub(super) fn at(&self, i: usize, class: u32) -> usize {
        let (item, position) = (i / self.inner, i % self.inner);
        (item * self.classes + class as usize) * self.inner + position
    }

    /// How many results [`Labels::pieces`] has.
    pub(super) fn piece_count(&self) -> usize {
        self.named.len().div_ceil(PIECE)
    }

    /// Writes what `f` gives for each piece of the labels, told by their indices and the classes that they name, to
    /// `results`. Pieces run in parallel where there are enough.
    pub(super) fn pieces<T: Send>(&self, results: &mut [T], f: impl Fn(usize, &[u32]) -> T + Sync) {
        let run = |(p, (result, named)): (usize, (&mut T, &[u32]))| *result = f(p * PIECE, named);
        if self.named.len() * self.classes <= SERIAL {
            let pieces = results.iter_mut().zip(self.named.chunks(PIECE));
            pieces.enumerate().for_each(run);
        } else {
            let pieces = results.par_iter_mut().zip(self.named.par_chunks(PIECE));
            pieces.enumerate().for_each(run);
        }
    }

    /// Calls `f` with each item's part of `dx`, of `kept` (both as the scores) and of the classes that its labels name; in
    /// parallel where it pays.
    pub(super) fn items(
        &self,
        dx: &mut [f32],
        kept: &[f32],
        f: impl Fn(&mut [f32], &[f32], &[u32]) + Sync,
    ) {
        let (inner, item) = (self.inner, self.classes * self.inner);
        if item == 0 {
            return;
        }
        let parts = (
            Units(dx, item),
            Units(kept, item),
            Units(&self.named[..], inner),
        );
        cut::each(parts, self.outer, 12 * item, |_, (dx, kept, named)| {
            let items = dx.0.chunks_exact_mut(item).zip(kept.0.chunks_exact(item));
            for ((dx, kept), named) in items.zip(named.0.chunks_exact(inner)) {
                f(dx, kept, named);
            }
        });
    }

    #[cold]
    fn bad(&self, label: f32, i: usize, ignore: &[i32]) -> Error {
        let place = self.place(i);
        if label.fract() != 0.0 || !label.is_finite() {
            return Error::data(format!("label {label} of {place} is not a whole number")).help(
                "labels name classes, counted from 0; for targets that are measures use EuclideanLoss",
            );
        }
        let range = match self.classes {
            0 => "there are no classes".to_owned(),
            n => format!("the {n} classes are 0 to {}", n - 1),
        };
        let ignored = match ignore {
            [label] => format!("ignore_label is {label}"),
            [] => format!("if it means \"no label\", set ignore_label: {label}"),
            several => format!("ignore_label is {several:?}"),
        };
        Error::data(format!("label {label} of {place} names no class: {range}")).help(format!(
            "{ignored}; if it is a class, raise num_output of the layer that makes the scores"
        ))
    }

    /// Label `i` in words, as far as its blob has them.
    fn place(&self, i: usize) -> String {
        let (item, position) = (i / self.inner, i % self.inner);
        let item = match self.axis {
            0 => String::new(),
            1 => format!("image {item}"),
            _ => format!("item {item}"),
        };
        let position = match *self.behind.dims() {
            [_, width] if self.inner > 1 => {
                format!("position y {}, x {}", position / width, position % width)
            }
            _ if self.inner > 1 || item.is_empty() => format!("position {position}"),
            _ => String::new(),
        };
        let comma = if item.is_empty() || position.is_empty() {
            ""
        } else {
            ", "
        };
        format!("{item}{comma}{position}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(scores: &[usize], labels: &[usize], axis: i32) -> Labels {
        Labels::new(&Shape::new(scores), &Shape::new(labels), axis, "axis").unwrap()
    }

    /// The error of a blob of labels that are 0 but for one.
    fn error(labels: &Labels, label: f32, at: usize) -> String {
        let mut labels = labels.clone();
        let mut blob = vec![0.0; labels.named.len()];
        blob[at] = label;
        labels.read(&blob, Some(255)).unwrap_err().to_string()
    }

    #[test]
    fn classes_and_the_ignored() {
        let mut labels = layout(&[3, 4], &[3], 1);
        labels.read(&[0.0, 3.0, 255.0], Some(255)).unwrap();
        assert_eq!((&labels.named[..], labels.valid), (&[0, 3, SKIPPED][..], 2));
        labels.read(&[-1.0, 2.0, -1.0], Some(-1)).unwrap();
        assert_eq!(
            (&labels.named[..], labels.valid),
            (&[SKIPPED, 2, SKIPPED][..], 1)
        );
    }

    #[test]
    fn bad_labels_are_named() {
        let flat = layout(&[3, 4], &[3], 1);
        let text = error(&flat, 4.0, 1);
        assert!(
            text.contains("label 4 of image 1 names no class: the 4 classes are 0 to 3"),
            "{text}"
        );
        assert!(
            text.contains("ignore_label is 255") && text.contains("num_output"),
            "{text}"
        );
        assert!(error(&flat, -1.0, 0).contains("label -1 of image 0"));
        assert!(error(&flat, 1.5, 2).contains("label 1.5 of image 2 is not a whole number"));
        assert!(error(&flat, f32::NAN, 0).contains("label NaN"));
        assert!(error(&flat, f32::INFINITY, 0).contains("not a whole number"));
        assert!(error(&flat, 1e20, 0).contains("names no class"));
        let map = layout(&[2, 4, 2, 3], &[2, 1, 2, 3], 1);
        assert!(error(&map, 9.0, 11).contains("label 9 of image 1, position y 1, x 2 "));
        let line = layout(&[2, 4, 5], &[2, 5], 1);
        assert!(error(&line, 9.0, 7).contains("of image 1, position 2 "));
        let first = layout(&[4, 5], &[5], 0);
        assert!(error(&first, 9.0, 3).contains("of position 3 "));
        let last = layout(&[2, 3, 4], &[2, 3], -1);
        assert!(error(&last, 9.0, 5).contains("of item 5 "));
    }

    #[test]
    fn without_an_ignored_label_the_help_says_how() {
        let mut labels = layout(&[1, 2], &[1], 1);
        let text = labels.read(&[7.0], None).unwrap_err().to_string();
        assert!(text.contains("set ignore_label: 7"), "{text}");
    }

    #[test]
    fn pieces_cover_all_labels_in_order() {
        let mut labels = layout(&[5000, 2], &[5000], 1);
        labels.read(&vec![1.0; 5000], None).unwrap();
        let mut starts = vec![(0, 0); labels.piece_count()];
        labels.pieces(&mut starts, |start, named| (start, named.len()));
        assert_eq!(starts.len(), 5);
        assert_eq!((starts[0], starts[4]), ((0, 1024), (4096, 904)));
        assert_eq!(labels.at(7, 1), 15);
    }

    #[test]
    fn labels_must_match_the_scores() {
        let error = Labels::new(&[2, 3, 4, 5].into(), &[2].into(), 1, "axis").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("need 40 labels, but the labels are [2]"),
            "{error}"
        );
        let error = Labels::new(&[2].into(), &[2].into(), 1, "softmax_param.axis").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("softmax_param.axis: axis 1 is outside"),
            "{error}"
        );
    }
}
