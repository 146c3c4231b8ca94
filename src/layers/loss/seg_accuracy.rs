//! SegAccuracy: of a confusion matrix M, whose rows are labels and whose columns predictions: the share of pixels that are
//! right, Σ M_cc / Σ M; the mean recall, M_cc / row_c over the classes that occur; the mean intersection over union, M_cc /
//! (row_c + column_c − M_cc) over all classes, 1 for a class in neither. No gradient.
//!
//! The prediction is the class of the best score, the first of equals; with one channel it is class 1 above 0.5, else 0.
//! Shapes: scores N × classes × H × W, labels N × 1 × H × W; the first top is 1 × 1 × 1 × 3, and so is one more for each
//! `output_label`: precision, recall and intersection over union of that class, the first two 0 of nothing.
//! Options: labels of `ignore_label`, a list, do not count; `reset: false` goes on counting over all passes; `metric` is
//! accepted and not used, as in the forks, since all three are there.
//! Source: the Caffe of DeepLab and PSPNet. Departures: a label that is no class is an error that names the pixel.

use super::labels::{Labels, SKIPPED};
use crate::{
    error::{Error, Result},
    kernels::cut::{self, Units},
    layer::{Arity, Forward, Layer, LayerDef, LayerType, Role},
    schema::SegAccuracyParameter,
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("SegAccuracy", |def| Ok(Box::new(SegAccuracy::new(def)?)))
        .arity(Arity::Exact(2), Arity::AtLeast(1))
        .role(Role::Metric);

const OUTPUT_LABEL: &str = "seg_accuracy_param.output_label";

/// Most classes: the matrix has their square.
const MOST: usize = 4096;

struct SegAccuracy {
    param: SegAccuracyParameter,
    labels: Labels,
    predicted: Vec<u32>,
    /// Rows of labels, columns of predictions.
    confusion: Vec<u64>,
}

impl SegAccuracy {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.seg_accuracy_param.clone().unwrap_or_default();
        let (tops, wanted) = (def.param.top.len().max(1), param.output_label.len() + 1);
        if tops != wanted {
            return Err(def.invalid(
                OUTPUT_LABEL,
                format!(
                    "{} of them need {wanted} tops, but there are {tops}",
                    wanted - 1
                ),
            ));
        }
        Ok(Self {
            param,
            labels: Labels::default(),
            predicted: Vec::new(),
            confusion: Vec::new(),
        })
    }

    /// Right, in the row, and in the column.
    fn counts(&self, class: usize) -> (f64, f64, f64) {
        let n = self.labels.classes;
        let row = &self.confusion[class * n..][..n];
        let column = self.confusion[class..].iter().step_by(n);
        let sum = |all: u64| all as f64;
        (sum(row[class]), sum(row.iter().sum()), sum(column.sum()))
    }
}

/// `part` of `whole`, or what nothing has.
fn share(part: f64, whole: f64, nothing: f64) -> f64 {
    if whole > 0.0 { part / whole } else { nothing }
}

impl Layer for SegAccuracy {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let (scores, labels) = (&bottoms[0], &bottoms[1]);
        let classes = self.labels.classes;
        self.labels = Labels::new(scores, labels, 1, "axis")?;
        if self.labels.classes == 0 {
            return Err(Error::shape(format!(
                "scores are {scores}: there are no classes"
            )));
        }
        // One channel tells two classes apart.
        self.labels.classes = self.labels.classes.max(2);
        let now = self.labels.classes;
        if now > MOST {
            return Err(Error::shape(format!(
                "scores are {scores}: {now} classes, where at most {MOST} are possible"
            )));
        }
        let outside = |l: &&i32| usize::try_from(**l).map_or(true, |l| l >= now);
        if let Some(label) = self.param.output_label.iter().find(outside) {
            let why = format!(
                "{label} is no class: the {now} classes are 0 to {}",
                now - 1
            );
            return Err(Error::param(OUTPUT_LABEL, why));
        }
        if classes != now {
            self.confusion = vec![0; now * now];
        }
        self.predicted.resize(labels.count(), 0);
        Ok(vec![
            Shape::new(&[1, 1, 1, 3]);
            self.param.output_label.len() + 1
        ])
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let (x, shape) = (io.bottoms[0].data, io.bottoms[0].shape);
        self.labels
            .read_but(io.bottoms[1].data, &self.param.ignore_label)?;
        let (channels, inner) = (shape.dims()[1], self.labels.inner);
        let parts = Units(&mut self.predicted[..], 1);
        cut::each(
            parts,
            self.labels.named.len(),
            4 * channels,
            |first, parts| {
                for (i, predicted) in (first..).zip(parts.0) {
                    let start = i / inner * channels * inner + i % inner;
                    let column = x[start..].iter().step_by(inner).take(channels);
                    *predicted = match channels {
                        1 => u32::from(x[start] > 0.5),
                        _ => {
                            let mut best = (0, f32::NEG_INFINITY);
                            for (c, &x) in (0..).zip(column) {
                                if x > best.1 {
                                    best = (c, x);
                                }
                            }
                            best.0
                        }
                    };
                }
            },
        );
        if self.param.reset() {
            self.confusion.fill(0);
        }
        let n = self.labels.classes;
        for (&label, &predicted) in self.labels.named.iter().zip(&self.predicted) {
            if label != SKIPPED {
                self.confusion[label as usize * n + predicted as usize] += 1;
            }
        }
        let (mut right, mut all, mut recall, mut occur, mut union) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for class in 0..n {
            let (own, row, column) = self.counts(class);
            right += own;
            all += row;
            recall += share(own, row, 0.0);
            occur += f64::from(row > 0.0);
            union += share(own, row + column - own, 1.0);
        }
        let means = [
            share(right, all, 0.0),
            share(recall, occur, 0.0),
            union / n as f64,
        ];
        let each = self.param.output_label.iter().map(|&label| {
            let (own, row, column) = self.counts(label as usize);
            [
                share(own, column, 0.0),
                share(own, row, 0.0),
                share(own, row + column - own, 1.0),
            ]
        });
        for (top, values) in io.tops.iter_mut().zip(std::iter::once(means).chain(each)) {
            for (y, value) in top.data.iter_mut().zip(values) {
                *y = value as f32;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        layer::testing::{Bench, assert_close, error_of, noise, tensor},
        tensor::Tensor,
    };

    fn text(options: &str) -> String {
        format!("type: 'SegAccuracy' seg_accuracy_param {{ {options} }}")
    }

    /// Predictions 0, 1, 1, 2.
    fn scores() -> Tensor {
        let data = [
            3.0, 1.0, 0.0, 0.0, // class 0
            1.0, 2.0, 5.0, 0.0, // class 1
            1.0, 2.0, 2.0, 1.0, // class 2
        ];
        tensor(&[1, 3, 2, 2], &data)
    }

    #[test]
    fn by_hand() {
        let labels = tensor(&[1, 1, 2, 2], &[0.0, 1.0, 0.0, 1.0]);
        let both = "type: 'SegAccuracy' top: 'all' top: 'one' seg_accuracy_param { output_label: 1 metric: Jaccard }";
        let mut bench = Bench::new(both, &[scores(), labels]);
        // Unions: 1 of 2, 1 of 3, 0 of 1.
        let union = (0.5 + 1.0 / 3.0) / 3.0;
        assert_close(bench.forward(), &[0.5, 0.5, union], 1e-6);
        assert_close(&bench.tops[1].data, &[0.5, 0.5, 1.0 / 3.0], 1e-6);
    }

    #[test]
    fn ignored_labels_and_absent_classes() {
        let labels = tensor(&[1, 1, 2, 2], &[0.0, 255.0, 1.0, -1.0]);
        let options = text("ignore_label: [255, -1]");
        let mut bench = Bench::new(&options, &[scores(), labels]);
        assert_close(bench.forward(), &[1.0, 1.0, 1.0], 1e-6);
        let none = tensor(&[1, 1, 2, 2], &[255.0; 4]);
        bench.set_bottom(1, none).unwrap();
        assert_close(bench.forward(), &[0.0, 0.0, 1.0], 1e-6);
    }

    #[test]
    fn counting_goes_on_without_reset() {
        let labels = |label| tensor(&[1, 1, 2, 2], &[0.0, 1.0, 1.0, label]);
        for (options, second) in [("", 1.0), ("reset: false", 7.0 / 8.0)] {
            let mut bench = Bench::new(&text(options), &[scores(), labels(0.0)]);
            assert_eq!(bench.forward()[0], 0.75);
            bench.set_bottom(1, labels(2.0)).unwrap();
            assert_eq!(bench.forward()[0], second);
        }
    }

    #[test]
    fn one_channel_is_two_classes() {
        let scores = tensor(&[1, 1, 1, 4], &[0.4, 0.6, 0.5, 0.9]);
        let labels = tensor(&[1, 1, 1, 4], &[0.0, 1.0, 1.0, 1.0]);
        let mut bench = Bench::new(&text(""), &[scores, labels]);
        assert_close(
            bench.forward(),
            &[0.75, 5.0 / 6.0, (0.5 + 2.0 / 3.0) / 2.0],
            1e-6,
        );
    }

    #[test]
    fn errors() {
        for (options, labels, why) in [
            (
                "",
                tensor(&[1, 1, 2, 2], &[0.0, 0.0, 3.0, 0.0]),
                "label 3 of image 0, position y 1, x 0",
            ),
            (
                "ignore_label: [255, 254]",
                tensor(&[1, 1, 2, 2], &[-1.0; 4]),
                "ignore_label is [255, 254]",
            ),
            ("", noise(&[1, 3], 1), "need 4 labels"),
            ("output_label: 1", noise(&[1, 4], 1), "need 2 tops"),
        ] {
            let error = error_of(&text(options), &[scores(), labels]);
            assert!(error.contains(why), "{error}");
        }
        let two = "type: 'SegAccuracy' top: 'a' top: 'b' seg_accuracy_param { output_label: 3 }";
        let error = error_of(two, &[scores(), noise(&[1, 4], 1)]);
        assert!(error.contains("3 is no class"), "{error}");
        let many = [noise(&[1, 5000], 1), tensor(&[1], &[0.0])];
        assert!(error_of(&text(""), &many).contains("5000 classes"));
    }
}
