//! Accuracy: the share of labels whose class is among the `top_k` best scores along `axis`; labels equal to
//! `ignore_label` do not count. No gradient.
//!
//! A label is a hit if fewer than `top_k` of the other classes score at least as high: on a tie it is a miss, as in
//! Caffe. Shapes: scores outer × classes × inner, labels outer × inner, accuracy a scalar, 0 without labels; the optional
//! second top is the accuracy of each class, 0 for classes that do not occur.
//! Departures: a label that is no class or no whole number is an error; a NaN score is a miss, where Caffe counts a hit;
//! `top_k: 0` is an error.

use rayon::prelude::*;

use super::labels::{Labels, SKIPPED};
use crate::{
    error::{Error, Result},
    layer::{Arity, Forward, Layer, LayerDef, LayerType, Role},
    schema::AccuracyParameter,
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("Accuracy", |def| Ok(Box::new(Accuracy::new(def)?)))
        .arity(Arity::Exact(2), Arity::Range(1, 2))
        .role(Role::Metric);

const TOP_K: &str = "accuracy_param.top_k";

/// Up to so many scores a second thread costs more than it brings.
const SERIAL: usize = 1 << 15;

struct Accuracy {
    param: AccuracyParameter,
    tops: usize,
    labels: Labels,
    /// For each label, whether it is a hit.
    hits: Vec<bool>,
    /// Hits and labels of each class.
    tally: Vec<(u32, u32)>,
}

impl Accuracy {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.accuracy_param.unwrap_or_default();
        if param.top_k() == 0 {
            return Err(def.invalid(TOP_K, "is 0; it must be at least 1"));
        }
        Ok(Self {
            param,
            tops: def.param.top.len(),
            labels: Labels::default(),
            hits: Vec::new(),
            tally: Vec::new(),
        })
    }

    /// Marks the labels whose class is among the best.
    fn mark(&mut self, scores: &[f32]) {
        let (labels, top_k) = (&self.labels, self.param.top_k() as usize);
        let mark = |(i, (hit, &class)): (usize, (&mut bool, &u32))| {
            *hit = class != SKIPPED && {
                let own = scores[labels.at(i, class)];
                let column = scores[labels.at(i, 0)..].iter().step_by(labels.inner);
                let as_good = column.take(labels.classes).filter(|&&s| s >= own).count();
                // Its own score is one of them, unless it is NaN.
                (1..=top_k).contains(&as_good)
            };
        };
        if scores.len() <= SERIAL {
            let pairs = self.hits.iter_mut().zip(&labels.named);
            pairs.enumerate().for_each(mark);
        } else {
            let pairs = self.hits.par_iter_mut().zip(&labels.named);
            pairs.enumerate().with_min_len(64).for_each(mark);
        }
    }
}

/// What part `hits` are; 0 of nothing.
fn share(hits: usize, labels: usize) -> f32 {
    (hits as f64 / labels.max(1) as f64) as f32
}

impl Layer for Accuracy {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let (scores, labels) = (&bottoms[0], &bottoms[1]);
        let axis = self.param.axis();
        self.labels = Labels::new(scores, labels, axis, "accuracy_param.axis")?;
        let classes = self.labels.classes;
        if self.param.top_k() as usize > classes {
            return Err(Error::param(
                TOP_K,
                format!(
                    "{} best of {classes} classes, the scores being {scores}",
                    self.param.top_k()
                ),
            ));
        }
        self.hits.resize(labels.count(), false);
        self.tally.resize(classes, (0, 0));
        let mut tops = vec![Shape::new(&[]), Shape::new(&[classes])];
        tops.truncate(self.tops);
        Ok(tops)
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let labels = io.bottoms[1].data;
        self.labels.read(labels, self.param.ignore_label)?;
        self.mark(io.bottoms[0].data);
        let hits = self.hits.iter().filter(|&&hit| hit).count();
        io.tops[0].data[0] = share(hits, self.labels.valid);
        if let Some(top) = io.tops.get_mut(1) {
            self.tally.fill((0, 0));
            for (&class, &hit) in self.labels.named.iter().zip(&self.hits) {
                if class != SKIPPED {
                    let (hits, labels) = &mut self.tally[class as usize];
                    *hits += u32::from(hit);
                    *labels += 1;
                }
            }
            for (y, &(hits, labels)) in top.data.iter_mut().zip(&self.tally) {
                *y = share(hits as usize, labels as usize);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, error_of, noise, tensor};

    fn text(options: &str) -> String {
        format!("type: 'Accuracy' accuracy_param {{ {options} }}")
    }

    #[test]
    fn by_hand() {
        // Second, first and third best.
        let scores = tensor(&[3, 3], &[1.0, 2.0, 0.0, 5.0, 4.0, 3.0, 1.0, 2.0, 3.0]);
        let labels = tensor(&[3], &[0.0, 0.0, 0.0]);
        for (k, want) in [(1, 1.0 / 3.0), (2, 2.0 / 3.0), (3, 1.0)] {
            let inputs = [scores.clone(), labels.clone()];
            let mut bench = Bench::new(&text(&format!("top_k: {k}")), &inputs);
            assert_eq!(bench.forward(), [want]);
        }
    }

    #[test]
    fn a_tie_is_a_miss_and_so_is_nan() {
        let accuracy = |scores: &[f32], k: u32| {
            let inputs = [tensor(&[1, 3], scores), tensor(&[1], &[1.0])];
            Bench::new(&text(&format!("top_k: {k}")), &inputs).forward()[0]
        };
        assert_eq!(accuracy(&[0.0, 1.0, 1.0], 1), 0.0);
        assert_eq!(accuracy(&[0.0, 1.0, 1.0], 2), 1.0);
        assert_eq!(accuracy(&[0.0, f32::NAN, 1.0], 3), 0.0);
        assert_eq!(accuracy(&[f32::NAN, 1.0, 0.0], 1), 1.0);
    }

    #[test]
    fn per_class_and_spatial_with_an_ignored_label() {
        // Classes along axis 1, two positions: the better class is 0 at the first, 1 at the second.
        let scores = tensor(&[1, 3, 2], &[3.0, 1.0, 2.0, 2.0, 0.0, 0.0]);
        let both = "type: 'Accuracy' top: 'all' top: 'each' accuracy_param { ignore_label: 2 }";
        let mut bench = Bench::new(both, &[scores.clone(), tensor(&[1, 2], &[0.0, 0.0])]);
        assert_eq!(bench.forward(), [0.5]);
        assert_eq!(bench.tops[1].data, [0.5, 0.0, 0.0]);
        bench.set_bottom(1, tensor(&[1, 2], &[2.0, 1.0])).unwrap();
        assert_eq!(bench.forward(), [1.0]);
        assert_eq!(bench.tops[1].data, [0.0, 1.0, 0.0]);
        bench.set_bottom(1, tensor(&[1, 2], &[2.0, 2.0])).unwrap();
        assert_eq!(bench.forward(), [0.0]);
    }

    #[test]
    fn many_labels_are_counted() {
        let n = 30_000;
        let labels: Vec<f32> = (0..n).map(|i| (i % 3 == 0).into()).collect();
        let scores = [0.0, 1.0].repeat(n);
        let mut bench = Bench::new(
            &text(""),
            &[tensor(&[n, 2], &scores), tensor(&[n], &labels)],
        );
        assert_eq!(bench.forward(), [1.0 / 3.0]);
    }

    #[test]
    fn errors() {
        let inputs = |label: f32| [noise(&[2, 3], 1), tensor(&[2], &[0.0, label])];
        for (options, label, wanted) in [
            (
                "",
                3.0,
                "label 3 of image 1 names no class: the 3 classes are 0 to 2",
            ),
            ("ignore_label: 255", -1.0, "label -1 of image 1"),
            ("", 0.25, "label 0.25 of image 1 is not a whole number"),
            ("top_k: 4", 0.0, "accuracy_param.top_k: 4 best of 3 classes"),
            ("top_k: 0", 0.0, "at least 1"),
            ("axis: 0", 0.0, "need 3 labels"),
            ("axis: 2", 0.0, "accuracy_param.axis"),
        ] {
            let error = error_of(&text(options), &inputs(label));
            assert!(error.contains(wanted), "{options}: {error}");
        }
        assert_eq!(
            Bench::new(&text(""), &[noise(&[0, 3], 1), noise(&[0], 1)]).forward(),
            [0.0]
        );
    }
}
