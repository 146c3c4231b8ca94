//! BoxAnnotatorOHEM: keeps the labels and the box weights of those regions of each image that have the largest losses,
//! `roi_per_img` of them; the others get `ignore_label` and weights 0. No gradient.
//!
//! Of equal losses the earlier region is taken first.
//! Shapes: regions R × 5 × positions (image, x1, y1, x2, y2), losses and labels R × positions, weights R × values ×
//! positions; tops are as the labels and as the weights. R may be 0 and may change while a net runs.
//! Source: R-FCN's Caffe. Shrivastava et al., Training Region-based Object Detectors with Online Hard Example Mining
//! (2016). Losses: SoftmaxWithLossOHEM, SmoothL1LossOHEM.

use std::collections::BTreeMap;

use crate::{
    error::{Error, Result},
    kernels::map,
    layer::{Arity, Forward, Layer, LayerDef, LayerType},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("BoxAnnotatorOHEM", |def| {
    Ok(Box::new(BoxAnnotator::new(def)?))
})
.arity(Arity::Exact(4), Arity::Exact(2))
.stops(&[0, 1, 2, 3]);

struct BoxAnnotator {
    per_image: u32,
    ignore: f32,
    /// Regions, positions, weights at each.
    dims: (usize, usize, usize),
}

impl BoxAnnotator {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.box_annotator_ohem_param.unwrap_or_default();
        if param.roi_per_img() == 0 {
            let field = "box_annotator_ohem_param.roi_per_img";
            return Err(def.invalid(field, "is 0 or missing; it must be at least 1"));
        }
        Ok(Self {
            per_image: param.roi_per_img(),
            ignore: param.ignore_label() as f32,
            dims: (0, 0, 0),
        })
    }
}

impl Layer for BoxAnnotator {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let [rois, losses, labels, weights] = bottoms else {
            return Err(Error::shape("there must be four bottoms"));
        };
        let (&[count, 5, ref positions @ ..], Some(&of_weights)) =
            (rois.dims(), weights.dims().first())
        else {
            return Err(Error::shape(format!(
                "the regions have shape {rois}; each needs five values, an image's index, x1, y1, x2 and y2: [R, 5]"
            )));
        };
        let positions: usize = positions.iter().product();
        let at_each = |shape: &Shape| shape.count() == count * positions;
        if !at_each(losses) || !at_each(labels) || of_weights != count {
            return Err(Error::shape(format!(
                "regions {rois}, losses {losses}, labels {labels} and weights {weights} differ in how many regions they are of"
            )));
        }
        let per_item = weights.count_from(1);
        if per_item != per_item / positions.max(1) * positions {
            return Err(Error::shape(format!(
                "weights {weights} have not the {positions} positions of the regions {rois}"
            )));
        }
        self.dims = (count, positions, per_item / positions.max(1));
        Ok(vec![labels.clone(), weights.clone()])
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let (count, positions, values) = self.dims;
        let [rois, losses, labels, weights] = [0, 1, 2, 3].map(|i| io.bottoms[i].data);
        let [kept_labels, kept_weights] = &mut *io.tops else {
            return Ok(());
        };
        map::fill(kept_labels.data, self.ignore);
        map::fill(kept_weights.data, 0.0);
        let mut order: Vec<usize> = (0..count * positions).collect();
        order.sort_by(|&a, &b| losses[b].total_cmp(&losses[a]));
        let mut taken: BTreeMap<u32, u32> = BTreeMap::new();
        for i in order {
            let (roi, position) = (i / positions, i % positions);
            let image = rois[roi * 5 * positions + position];
            let index = image as u32;
            if index as f32 != image {
                return Err(Error::data(format!(
                    "region {roi} is of image {image}, which is not a whole number from 0"
                )));
            }
            let taken = taken.entry(index).or_default();
            if *taken < self.per_image {
                *taken += 1;
                kept_labels.data[i] = labels[i];
                for value in 0..values {
                    let at = (roi * values + value) * positions + position;
                    kept_weights.data[at] = weights[at];
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, error_of, noise, tensor};

    fn text(options: &str) -> String {
        format!("type: 'BoxAnnotatorOHEM' box_annotator_ohem_param {{ {options} }}")
    }

    #[test]
    fn the_hardest_of_each_image() {
        let mut rois = noise(&[4, 5], 1);
        for (r, image) in [1.0, 0.0, 1.0, 1.0].into_iter().enumerate() {
            rois.data[5 * r] = image;
        }
        let losses = tensor(&[4, 1, 1, 1], &[0.5, 0.1, 0.5, 2.0]);
        let labels = tensor(&[4], &[1.0, 2.0, 3.0, 4.0]);
        let weights = noise(&[4, 8], 2);
        let inputs = [rois, losses, labels, weights.clone()];
        let mut bench = Bench::new(&text("roi_per_img: 2"), &inputs);
        assert_eq!(bench.forward(), [1.0, 2.0, -1.0, 4.0]);
        let kept = &bench.tops[1].data;
        assert_eq!(kept[..16], weights.data[..16]);
        assert_eq!(kept[16..24], [0.0; 8]);
        assert_eq!(kept[24..], weights.data[24..]);
    }

    #[test]
    fn positions_count_as_regions() {
        let rois = tensor(&[1, 5, 1, 2], &[0.0; 10]);
        let losses = tensor(&[1, 1, 1, 2], &[0.5, 0.7]);
        let weights = tensor(&[1, 2, 1, 2], &[1.0, 2.0, 3.0, 4.0]);
        let inputs = [rois, losses.clone(), losses, weights];
        let mut bench = Bench::new(&text("roi_per_img: 1 ignore_label: 255"), &inputs);
        assert_eq!(bench.forward(), [255.0, 0.7]);
        assert_eq!(bench.tops[1].data, [0.0, 2.0, 0.0, 4.0]);
    }

    #[test]
    fn errors() {
        let one = |n: usize| tensor(&[n], &vec![0.0; n]);
        let rois = |image| tensor(&[1, 5], &[image, 0.0, 0.0, 0.0, 0.0]);
        let weights = || noise(&[1, 4], 1);
        for (options, rois, losses, weights, why) in [
            (
                "",
                rois(0.0),
                one(1),
                weights(),
                "roi_per_img: is 0 or missing",
            ),
            ("roi_per_img: 1", rois(0.5), one(1), weights(), "image 0.5"),
            ("roi_per_img: 1", rois(-1.0), one(1), weights(), "image -1"),
            (
                "roi_per_img: 1",
                rois(0.0),
                one(2),
                weights(),
                "how many regions",
            ),
            (
                "roi_per_img: 1",
                rois(0.0),
                one(1),
                noise(&[2, 4], 1),
                "how many regions",
            ),
            (
                "roi_per_img: 1",
                noise(&[1, 4], 1),
                one(1),
                weights(),
                "five values",
            ),
            (
                "roi_per_img: 1",
                noise(&[1, 5, 2], 1),
                one(2),
                noise(&[1, 3], 1),
                "2 positions",
            ),
        ] {
            let error = error_of(&text(options), &[rois, losses.clone(), losses, weights]);
            assert!(error.contains(why), "{error}");
        }
        let none = [noise(&[0, 5], 1), one(0), one(0), noise(&[0, 4], 1)];
        assert!(
            Bench::new(&text("roi_per_img: 1"), &none)
                .forward()
                .is_empty()
        );
    }
}
