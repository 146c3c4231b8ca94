//! How predictions lie in their blobs.

use super::boxes::BBox;
use crate::{
    error::{Error, Result},
    tensor::Shape,
};

/// Most boxes and scores a layer takes from its bottoms.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Layout {
    pub(super) images: usize,
    pub(super) priors: usize,
    pub(super) classes: usize,
    /// Sets of offsets for each prior: 1 where all classes share them, else as many as classes.
    pub(super) sets: usize,
}

impl Layout {
    /// From the shapes of offsets (images × priors · sets · 4), scores (images × priors · classes) and priors (1 × 2 ×
    /// priors · 4).
    ///
    /// # Errors
    /// `Shape` where they do not fit.
    pub(super) fn new(
        [offsets, scores, priors]: [&Shape; 3],
        classes: usize,
        shared: bool,
    ) -> Result<Self> {
        let count = match *priors.dims() {
            [1, 2, n, ref rest @ ..] if n > 0 && n % 4 == 0 && rest.iter().all(|&d| d == 1) => {
                n / 4
            }
            _ => {
                return Err(Error::shape(format!(
                    "the prior boxes have shape {priors}; it must be [1, 2, 4 · boxes], as PriorBox makes them"
                ))
                .help("join PriorBox layers with Concat along axis 2"));
            }
        };
        let sets = if shared { 1 } else { classes };
        let (Some(&images), Some(&also)) = (offsets.dims().first(), scores.dims().first()) else {
            return Err(Error::shape("locations and confidences need a batch axis"));
        };
        if images != also {
            return Err(Error::shape(format!(
                "locations {offsets} and confidences {scores} differ in their first axis, the batch"
            )));
        }
        let fits = |shape: &Shape, of_a_prior: usize| {
            Some(shape.count_from(1)) == count.checked_mul(of_a_prior)
        };
        if !sets.checked_mul(4).is_some_and(|n| fits(offsets, n)) {
            return Err(Error::shape(format!(
                "locations have shape {offsets}, but {count} prior boxes with {sets} sets of 4 offsets need {} values for each image",
                count.saturating_mul(sets).saturating_mul(4)
            )));
        }
        if !fits(scores, classes) {
            return Err(Error::shape(format!(
                "confidences have shape {scores}, but {count} prior boxes with {classes} classes need {} values for each image",
                count.saturating_mul(classes)
            )));
        }
        Ok(Self {
            images,
            priors: count,
            classes,
            sets,
        })
    }

    /// The offsets of one image.
    pub(super) fn offsets<'a>(&self, data: &'a [f32], image: usize) -> &'a [f32] {
        let n = self.priors * self.sets * 4;
        &data[image * n..][..n]
    }

    /// The scores of one image.
    pub(super) fn scores<'a>(&self, data: &'a [f32], image: usize) -> &'a [f32] {
        let n = self.priors * self.classes;
        &data[image * n..][..n]
    }

    /// Which set of offsets a class has.
    pub(super) fn set(&self, class: usize) -> usize {
        if self.sets == 1 { 0 } else { class }
    }

    /// The offsets of a prior among those of an image.
    pub(super) fn offset(&self, offsets: &[f32], prior: usize, set: usize) -> [f32; 4] {
        BBox::at(offsets, prior * self.sets + set).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(
        offsets: &[usize],
        scores: &[usize],
        priors: &[usize],
        shared: bool,
    ) -> Result<Layout> {
        let [a, b, c] = [offsets, scores, priors].map(Shape::new);
        Layout::new([&a, &b, &c], 3, shared)
    }

    #[test]
    fn shapes_that_fit() {
        let shared = layout(&[2, 8], &[2, 6], &[1, 2, 8], true).unwrap();
        assert_eq!((shared.images, shared.priors, shared.sets), (2, 2, 1));
        assert_eq!(shared.set(2), 0);
        let own = layout(&[2, 24, 1, 1], &[2, 2, 3], &[1, 2, 8, 1], false).unwrap();
        assert_eq!((own.sets, own.set(2)), (3, 2));
        let offsets: Vec<f32> = (0..48).map(|i| i as f32).collect();
        let second = own.offsets(&offsets, 1);
        assert_eq!(own.offset(second, 1, 2), [44.0, 45.0, 46.0, 47.0]);
    }

    #[test]
    fn errors() {
        for (offsets, scores, priors, why) in [
            (&[2, 8][..], &[2, 6][..], &[1, 8][..], "[1, 2, 4 · boxes]"),
            (&[2, 8], &[2, 6], &[1, 2, 7], "[1, 2, 4 · boxes]"),
            (&[2, 8], &[2, 6], &[2, 2, 8], "[1, 2, 4 · boxes]"),
            (&[2, 0], &[2, 0], &[1, 2, 0], "[1, 2, 4 · boxes]"),
            (&[2, 9], &[2, 6], &[1, 2, 8], "need 8 values"),
            (&[2, 8], &[2, 7], &[1, 2, 8], "need 6 values"),
            (&[3, 8], &[2, 6], &[1, 2, 8], "the batch"),
            (&[], &[2, 6], &[1, 2, 8], "batch axis"),
        ] {
            let error = layout(offsets, scores, priors, true)
                .unwrap_err()
                .to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
