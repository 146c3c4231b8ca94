//! SoftmaxWithLoss: loss = −Σᵢ u[labelᵢ] · ln max(pᵢ[labelᵢ], 2⁻¹²⁶) / n, p = softmax of the scores along
//! `softmax_param.axis`; n and the labels that are skipped as `loss_param` says.   dx = (p − [class = label]) · u[label] ·
//! w / n, 0 where skipped, w = the loss weight. None by the labels.
//!
//! The class weights u are 1 unless `weight_by_label_freqs` is set, in any net: then they are `class_weighting`, one for
//! each class, or where that is not given 1 over the number of labels of the class in the batch. That is SegNet's rule,
//! of its two generations; n does not see the weights, and `class_weighting` alone changes nothing. For two classes, the
//! second ten times as dear: `loss_param { weight_by_label_freqs: true class_weighting: [1, 10] }`. `train
//! --class-weights` counts labels and sets both fields.
//! Shapes: scores outer × classes × inner, labels outer × inner, loss a scalar; the optional second top is p, as the
//! scores. Probabilities and labels are kept by the layer: backward reads no data.
//! Departures: a label that is no class, no whole number or NaN is an error, where Caffe reads outside the blob or cuts
//! off the fraction. The sum is in f64.

use super::{
    labels::{Labels, SKIPPED},
    normalize::Normalize,
};
use crate::{
    error::{Error, Result},
    kernels::softmax,
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType, Role},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("SoftmaxWithLoss", |def| {
    Ok(Box::new(SoftmaxWithLoss::new(def)))
})
.arity(Arity::Exact(2), Arity::Range(1, 2))
.role(Role::Loss)
.no_grad(&[1]);

const CLASS_WEIGHTING: &str = "loss_param.class_weighting";

pub(super) struct SoftmaxWithLoss {
    normalize: Normalize,
    axis: i32,
    tops: usize,
    by_class: ByClass,
    /// The weight of each class in the last forward pass; empty where all are 1.
    weights: Vec<f32>,
    /// Of the last forward pass: labels, probabilities, the loss of each piece, what their sum was divided by.
    labels: Labels,
    prob: Vec<f32>,
    partial: Vec<f64>,
    divisor: f64,
}

/// Where class weights come from.
enum ByClass {
    /// There are none.
    Equal,
    /// From the definition.
    Given(Vec<f32>),
    /// 1 over the number of labels.
    Rarity,
}

impl SoftmaxWithLoss {
    pub(super) fn new(def: &LayerDef) -> Self {
        let loss = def.param.loss_param.clone().unwrap_or_default();
        let by_class = match loss.weight_by_label_freqs() {
            false => ByClass::Equal,
            true if loss.class_weighting.is_empty() => ByClass::Rarity,
            true => ByClass::Given(loss.class_weighting),
        };
        let softmax = def.param.softmax_param.as_ref();
        Self {
            normalize: Normalize::new(def),
            axis: softmax.map_or(1, |param| param.axis()),
            tops: def.param.top.len().max(1),
            by_class,
            weights: Vec::new(),
            labels: Labels::default(),
            prob: Vec::new(),
            partial: Vec::new(),
            divisor: 1.0,
        }
    }

    /// The weights of the labels read.
    fn weigh(&mut self) {
        let labels = &self.labels;
        self.weights.clear();
        match &self.by_class {
            ByClass::Equal => {}
            ByClass::Given(weights) => self.weights.extend(weights),
            ByClass::Rarity => {
                self.weights.resize(labels.classes, 0.0);
                for &class in labels.named.iter().filter(|&&class| class != SKIPPED) {
                    self.weights[class as usize] += 1.0;
                }
                self.weights.iter_mut().for_each(|n| *n = 1.0 / n.max(1.0));
            }
        }
    }

    fn weight(&self, class: u32) -> f32 {
        *self.weights.get(class as usize).unwrap_or(&1.0)
    }

    /// What label `i` of this class adds to the loss.
    fn term(&self, i: usize, class: u32) -> f32 {
        if class == SKIPPED {
            return 0.0;
        }
        // Written so that a NaN passes: a net that has diverged must not look well.
        let p = match self.prob[self.labels.at(i, class)] {
            p if p < f32::MIN_POSITIVE => f32::MIN_POSITIVE,
            p => p,
        };
        -p.ln() * self.weight(class)
    }
}

impl Layer for SoftmaxWithLoss {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let (scores, labels) = (&bottoms[0], &bottoms[1]);
        if scores.dims().first() != labels.dims().first() {
            return Err(Error::shape(format!(
                "scores {scores} and labels {labels} differ in their first axis, the batch"
            )));
        }
        self.labels = Labels::new(scores, labels, self.axis, "softmax_param.axis")?;
        if let ByClass::Given(weights) = &self.by_class
            && weights.len() != self.labels.classes
        {
            return Err(Error::param(
                CLASS_WEIGHTING,
                format!(
                    "{} weights, but there are {} classes; each class needs one",
                    weights.len(),
                    self.labels.classes
                ),
            ));
        }
        self.prob.resize(scores.count(), 0.0);
        self.partial.resize(self.labels.piece_count(), 0.0);
        let mut tops = vec![Shape::new(&[]), scores.clone(), labels.clone()];
        tops.truncate(self.tops);
        Ok(tops)
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let labels = &mut self.labels;
        labels.read(io.bottoms[1].data, self.normalize.ignore)?;
        let dims = (labels.classes, labels.inner);
        softmax::forward(io.bottoms[0].data, dims, &mut self.prob);
        self.weigh();
        let mut partial = std::mem::take(&mut self.partial);
        self.labels.pieces(&mut partial, |start, named| {
            let terms = (start..)
                .zip(named)
                .map(|(i, &c)| f64::from(self.term(i, c)));
            terms.sum()
        });
        self.partial = partial;
        let labels = &self.labels;
        let items = (labels.outer, labels.inner);
        self.divisor = self.normalize.divisor(items, labels.valid);
        io.tops[0].data[0] = (self.partial.iter().sum::<f64>() / self.divisor) as f32;
        if let Some(top) = io.tops.get_mut(1) {
            top.data.copy_from_slice(&self.prob);
        }
        if let Some(top) = io.tops.get_mut(2) {
            for (i, (y, &class)) in top.data.iter_mut().zip(&labels.named).enumerate() {
                *y = self.term(i, class);
            }
        }
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let Some(dx) = &mut io.bottom_diffs[0] else {
            return Ok(());
        };
        let weight = io.top_diffs[0].map_or(0.0, |dy| dy.data[0]);
        let scale = weight / self.divisor as f32;
        let (classes, inner) = (self.labels.classes, self.labels.inner);
        self.labels.items(dx.data, &self.prob, |dx, prob, labels| {
            for (dx, &p) in dx.iter_mut().zip(prob) {
                *dx = p * scale;
            }
            for (j, &label) in labels.iter().enumerate() {
                if label == SKIPPED {
                    for class in 0..classes {
                        dx[class * inner + j] = 0.0;
                    }
                } else {
                    let at = label as usize * inner + j;
                    dx[at] = (prob[at] - 1.0) * scale;
                    if !self.weights.is_empty() {
                        let weight = self.weight(label);
                        let column = dx[j..].iter_mut().step_by(inner);
                        column.for_each(|dx| *dx *= weight);
                    }
                }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        layer::testing::{
            Bench, assert_close, check_gradient, check_threads, error_of, noise, tensor,
        },
        tensor::Tensor,
    };

    fn text(options: &str) -> String {
        format!("type: 'SoftmaxWithLoss' loss_param {{ {options} }}")
    }

    /// Probabilities 1/8, 2/8, 5/8 and 1/2, 1/4, 1/4.
    fn scores() -> Tensor {
        let data = [1.0f32, 2.0, 5.0, 2.0, 1.0, 1.0].map(f32::ln);
        tensor(&[2, 3], &data)
    }

    #[test]
    fn by_hand() {
        let labels = tensor(&[2], &[0.0, 1.0]);
        let mut bench = Bench::new(&text(""), &[scores(), labels]);
        let want = -(0.125f32.ln() + 0.25f32.ln()) / 2.0;
        assert_close(bench.forward(), &[want], 1e-6);
        assert!(bench.tops[0].shape.dims().is_empty());
        let got = bench.backward(&[4.0], &[0]);
        let dx = &got.bottoms[0].as_ref().unwrap().data;
        assert_close(dx, &[-1.75, 0.5, 1.25, 1.0, -1.5, 0.5], 1e-6);
    }

    #[test]
    fn ignored_labels_count_for_nothing() {
        let labels = tensor(&[2], &[255.0, 1.0]);
        for (options, n) in [
            ("", 1.0),
            ("normalize: false", 2.0),
            ("normalization: NONE", 1.0),
        ] {
            let text = text(&format!("ignore_label: 255 {options}"));
            let mut bench = Bench::new(&text, &[scores(), labels.clone()]);
            assert_close(bench.forward(), &[4.0f32.ln() / n], 1e-6);
            let got = bench.backward(&[n], &[0]);
            let dx = &got.bottoms[0].as_ref().unwrap().data;
            assert_close(dx, &[0.0, 0.0, 0.0, 0.5, -0.75, 0.25], 1e-6);
        }
        let none = tensor(&[2], &[255.0, 255.0]);
        let mut bench = Bench::new(&text("ignore_label: 255"), &[scores(), none]);
        assert_eq!(bench.forward(), [0.0]);
        assert_eq!(
            bench.backward(&[1.0], &[0]).bottoms[0]
                .as_ref()
                .unwrap()
                .data,
            [0.0; 6]
        );
    }

    #[test]
    fn the_second_top_is_the_probabilities() {
        let both = "type: 'SoftmaxWithLoss' top: 'loss' top: 'prob'";
        let mut bench = Bench::new(both, &[scores(), tensor(&[2], &[0.0, 1.0])]);
        bench.forward();
        assert_close(
            &bench.tops[1].data,
            &[0.125, 0.25, 0.625, 0.5, 0.25, 0.25],
            1e-6,
        );
        assert!(bench.backward(&[1.0], &[]).bottoms[0].is_none());
    }

    #[test]
    fn class_weights_of_segnet() {
        let labels = || tensor(&[3], &[0.0, 1.0, 1.0]);
        let scores = || tensor(&[3, 2], &[0.0; 6]);
        let ln2 = 2.0f32.ln();
        for (options, loss, dx) in [
            // Each class counts alike: 1 + 2 · 1/2.
            (
                "weight_by_label_freqs: true",
                2.0,
                [-0.5, 0.5, 0.25, -0.25, 0.25, -0.25],
            ),
            (
                "weight_by_label_freqs: true class_weighting: 4 class_weighting: 0.5",
                5.0,
                [-2.0, 2.0, 0.25, -0.25, 0.25, -0.25],
            ),
            ("class_weighting: 4", 3.0, [-0.5, 0.5, 0.5, -0.5, 0.5, -0.5]),
        ] {
            let mut bench = Bench::new(&text(options), &[scores(), labels()]);
            assert_close(bench.forward(), &[loss * ln2 / 3.0], 1e-6);
            let got = bench.backward(&[3.0], &[0]);
            assert_close(&got.bottoms[0].as_ref().unwrap().data, &dx, 1e-6);
        }
        let options = text("weight_by_label_freqs: true class_weighting: 4");
        let error = error_of(&options, &[scores(), labels()]);
        assert!(
            error.contains("class_weighting: 1 weights, but there are 2 classes"),
            "{error}"
        );
    }

    /// A label of weight u costs and pulls as u labels without a weight, under every normalization.
    #[test]
    fn weights_are_multiples_of_the_plain_loss() {
        let scores = noise(&[2, 3, 2, 2], 1);
        let labels = [0.0, 2.0, 1.0, 9.0, 2.0, 0.0, 0.0, 1.0];
        let weights = [3.0, 0.25, 2.0];
        for mode in ["FULL", "VALID", "BATCH_SIZE", "NONE"] {
            let options = format!("ignore_label: 9 normalization: {mode}");
            let given =
                format!("{options} weight_by_label_freqs: true class_weighting: [3, 0.25, 2]");
            let inputs = [scores.clone(), tensor(&[2, 1, 2, 2], &labels)];
            let mut weighed = Bench::new(&text(&given), &inputs);
            let loss = weighed.forward()[0];
            let back = weighed.backward(&[1.0], &[0]);
            let dx = &back.bottoms[0].as_ref().unwrap().data;
            // Plain: one label at a time, all others skipped and nothing divided, added up with its weight.
            let n = match mode {
                "FULL" => 8.0,
                "VALID" => 7.0,
                "BATCH_SIZE" => 2.0,
                _ => 1.0,
            };
            let (mut sum, mut pull) = (0.0, vec![0.0; dx.len()]);
            for (i, &label) in labels.iter().enumerate().filter(|(_, l)| **l != 9.0) {
                let mut alone = [9.0; 8];
                alone[i] = label;
                let inputs = [scores.clone(), tensor(&[2, 1, 2, 2], &alone)];
                let mut plain = Bench::new(&text("ignore_label: 9 normalization: NONE"), &inputs);
                let weight = weights[label as usize] / n;
                sum += plain.forward()[0] * weight;
                let back = plain.backward(&[1.0], &[0]);
                let own = &back.bottoms[0].as_ref().unwrap().data;
                pull.iter_mut().zip(own).for_each(|(p, d)| *p += d * weight);
            }
            assert_close(&[loss], &[sum], 1e-5);
            assert_close(dx, &pull, 1e-5);
        }
    }

    #[test]
    fn gradients() {
        let labels = tensor(&[2, 1, 2, 2], &[0.0, 2.0, 1.0, 1.0, 2.0, 0.0, 0.0, 2.0]);
        let inputs = [noise(&[2, 3, 2, 2], 1), labels];
        for options in [
            "ignore_label: 1",
            "normalization: FULL",
            "ignore_label: 0 normalization: BATCH_SIZE",
            "normalization: NONE",
            "ignore_label: 0 weight_by_label_freqs: true",
            "weight_by_label_freqs: true class_weighting: [3, 0.25, 2]",
        ] {
            check_gradient(&text(options), &inputs, &[0], &[]);
        }
        let last = "type: 'SoftmaxWithLoss' softmax_param { axis: -1 }";
        let labels = tensor(&[2, 2], &[0.0, 2.0, 1.0, 1.0]);
        check_gradient(last, &[noise(&[2, 2, 3], 1), labels], &[0], &[]);
    }

    #[test]
    fn threads_change_nothing() {
        let labels: Vec<f32> = (0..6000).map(|i| (i % 7) as f32).collect();
        let inputs = [noise(&[3, 7, 2000], 1), tensor(&[3, 2000], &labels)];
        check_threads(&text("ignore_label: 3"), &inputs, &[0]);
    }

    #[test]
    fn a_hopeless_score_has_a_finite_loss_and_nan_stays_visible() {
        let scores = |x| tensor(&[1, 2], &[x, 0.0]);
        let label = || tensor(&[1], &[0.0]);
        let loss = |x| Bench::new(&text(""), &[scores(x), label()]).forward()[0];
        assert_close(&[loss(-1000.0)], &[87.336_54], 1e-6);
        assert!(loss(f32::NAN).is_nan());
    }

    #[test]
    fn an_empty_batch_costs_nothing() {
        let inputs = [noise(&[0, 3], 1), noise(&[0], 1)];
        let mut bench = Bench::new(&text(""), &inputs);
        assert_eq!(bench.forward(), [0.0]);
        bench.backward(&[1.0], &[0]);
    }

    #[test]
    fn errors() {
        let labels = |data: &[f32]| [scores(), tensor(&[data.len()], data)];
        let error = error_of(&text(""), &labels(&[0.0, 3.0]));
        assert!(
            error.contains("label 3 of image 1 names no class: the 3 classes are 0 to 2"),
            "{error}"
        );
        let error = error_of(&text(""), &labels(&[0.5, 0.0]));
        assert!(
            error.contains("label 0.5 of image 0 is not a whole number"),
            "{error}"
        );
        let error = error_of(&text(""), &labels(&[0.0]));
        assert!(error.contains("differ in their first axis"), "{error}");
        let error = error_of(&text(""), &[scores(), noise(&[2, 2], 1)]);
        assert!(error.contains("need 2 labels"), "{error}");
    }
}
