//! CtcLoss: loss = Σ −ln p(labels | x) / N, where p sums over all ways to spell an item's labels in T steps: a class each
//! step, repetitions read as one, blanks between and around.   dx = (softmax(x) − occupancy) · w, w = the loss weight and
//! occupancy the share of those ways that is in a class at a step. That is the gradient of the sum, not of the mean: the
//! fork does not divide it by N, and rates are made for that. None by the labels.
//!
//! Shapes: x is T×N×C, scores before a softmax; labels N×L, `blank_label` where an item has fewer; loss a scalar. Gradients
//! are kept by the layer: backward reads no data.
//! Options: `alphabet_size` is C, `time_step` the steps that count, at most T; further ones have the gradient 0.
//! An item with more labels (and blanks that must stand between equal ones) than steps costs nothing, as in the fork.
//! Departures: an item without labels is taken, and is spelled by blanks alone; labels and sizes are checked. Sums are in
//! f64.
//! Source: Graves et al., Connectionist Temporal Classification (2006), section 4.1.

use rayon::prelude::*;

use crate::{
    error::{Error, Result},
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType, Role},
    tensor::{Shape, View},
};

pub(super) const TYPE: LayerType =
    LayerType::new("CtcLoss", |def| Ok(Box::new(CtcLoss::new(def)?)))
        .arity(Arity::Exact(2), Arity::Exact(1))
        .role(Role::Loss)
        .no_grad(&[1]);

struct CtcLoss {
    classes: usize,
    steps: usize,
    blank: u32,
    backward: bool,
    items: usize,
    /// softmax(x) − occupancy, of the last forward pass; as the scores.
    grad: Vec<f32>,
}

impl CtcLoss {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.ctc_loss_param.unwrap_or_default();
        let invalid =
            |field: &str, why: String| Err(def.invalid(&format!("ctc_loss_param.{field}"), why));
        let (classes, blank) = (param.alphabet_size(), param.blank_label());
        if classes == 0 {
            let why = "is 0 or missing; it is the number of classes, the blank among them";
            return invalid("alphabet_size", why.to_owned());
        }
        if param.time_step() == 0 {
            return invalid(
                "time_step",
                "is 0 or missing; it must be at least 1".to_owned(),
            );
        }
        if !u32::try_from(blank).is_ok_and(|blank| blank < classes) {
            return invalid(
                "blank_label",
                format!("is {blank}; the classes are 0 to {}", classes - 1),
            );
        }
        Ok(Self {
            classes: classes as usize,
            steps: param.time_step() as usize,
            blank: blank.unsigned_abs(),
            backward: def.backward,
            items: 0,
            grad: Vec::new(),
        })
    }

    /// −ln p of item `n` and its gradients, step by step.
    fn item(&self, x: &[f32], n: usize, labels: &[u32]) -> (f64, Vec<f32>) {
        let classes = self.classes;
        let repeats = labels.windows(2).filter(|pair| pair[0] == pair[1]).count();
        if labels.len() + repeats > self.steps {
            let none = if self.backward {
                self.steps * classes
            } else {
                0
            };
            return (0.0, vec![0.0; none]);
        }
        let log: Vec<f64> = (0..self.steps)
            .flat_map(|t| {
                let scores = &x[(t * self.items + n) * classes..][..classes];
                let most = scores.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
                let sum: f64 = scores.iter().map(|&s| f64::from(s - most).exp()).sum();
                let sum = sum.ln();
                scores.iter().map(move |&s| f64::from(s - most) - sum)
            })
            .collect();
        let spelled = Spelled::new(labels, self.blank);
        let ahead = spelled.ahead(&log, classes);
        let width = spelled.0.len();
        let last = &ahead[(self.steps - 1) * width..];
        let total = last[last.len().saturating_sub(2)..]
            .iter()
            .fold(f64::NEG_INFINITY, |a, &b| add(a, b));
        if !self.backward {
            return (-total, Vec::new());
        }
        (-total, spelled.gradient(&log, classes, &ahead, total))
    }
}

/// ln(eᵃ + eᵇ)
fn add(a: f64, b: f64) -> f64 {
    match (a, b) {
        (f64::NEG_INFINITY, _) => b,
        (_, f64::NEG_INFINITY) => a,
        _ => a.max(b) + (-(a - b).abs()).exp().ln_1p(),
    }
}

/// The labels of an item with blanks between and around: the states that a way goes through, one a step. From a state it
/// goes on to itself or the next, or over a blank between different labels.
struct Spelled(Vec<u32>);

impl Spelled {
    fn new(labels: &[u32], blank: u32) -> Self {
        let mut states = vec![blank];
        states.extend(labels.iter().flat_map(|&label| [label, blank]));
        Self(states)
    }

    /// Whether a way may come to state `s` over the one before.
    fn skips(&self, s: usize) -> bool {
        // A blank has the same blank two states before.
        s >= 2 && self.0[s] != self.0[s - 2]
    }

    /// ln of the share of ways up to each step that are in each state, that step among them.
    fn ahead(&self, log: &[f64], classes: usize) -> Vec<f64> {
        let width = self.0.len();
        let steps = log.len() / classes;
        let mut ahead = vec![f64::NEG_INFINITY; steps * width];
        for s in 0..width.min(2) {
            ahead[s] = log[self.0[s] as usize];
        }
        for t in 1..steps {
            let (before, now) = ahead.split_at_mut(t * width);
            let before = &before[(t - 1) * width..];
            for s in 0..width {
                let mut sum = before[s];
                if s >= 1 {
                    sum = add(sum, before[s - 1]);
                }
                if self.skips(s) {
                    sum = add(sum, before[s - 2]);
                }
                now[s] = sum + log[t * classes + self.0[s] as usize];
            }
        }
        ahead
    }

    /// softmax − occupancy for each step and class.
    fn gradient(&self, log: &[f64], classes: usize, ahead: &[f64], total: f64) -> Vec<f32> {
        let width = self.0.len();
        let steps = log.len() / classes;
        let mut grad: Vec<f64> = log.iter().map(|l| l.exp()).collect();
        // ln of the share of ways from each state to the end, the step itself not among them.
        let mut behind = vec![f64::NEG_INFINITY; width];
        behind[width.saturating_sub(2)..].fill(0.0);
        let mut next = vec![0.0; width];
        for t in (0..steps).rev() {
            let grad = &mut grad[t * classes..];
            for s in 0..width {
                grad[self.0[s] as usize] -= (ahead[t * width + s] + behind[s] - total).exp();
                next[s] = behind[s] + log[t * classes + self.0[s] as usize];
            }
            for s in 0..width {
                let mut sum = next[s];
                if s + 1 < width {
                    sum = add(sum, next[s + 1]);
                }
                if s + 2 < width && self.skips(s + 2) {
                    sum = add(sum, next[s + 2]);
                }
                behind[s] = sum;
            }
        }
        grad.iter().map(|&g| g as f32).collect()
    }
}

/// The labels of each item, blanks left out.
///
/// # Errors
/// `Data` for the first label that is not a whole number or no class.
pub(super) fn sequences(
    labels: &View<'_>,
    items: usize,
    classes: usize,
    blank: u32,
) -> Result<Vec<Vec<u32>>> {
    let length = labels.shape.count_from(1);
    let mut sequences = vec![Vec::new(); items];
    for (i, sequence) in sequences.iter_mut().enumerate() {
        for (j, &label) in labels.data[i * length..][..length].iter().enumerate() {
            let class = label as u32;
            if class as f32 != label || class as usize >= classes {
                return Err(Error::data(format!(
                    "label {label} of item {i}, position {j}, names no class: the {classes} classes are 0 to {}",
                    classes.saturating_sub(1)
                ))
                .help(format!("fill items of fewer labels up with the blank, {blank}")));
            }
            if class != blank {
                sequence.push(class);
            }
        }
    }
    Ok(sequences)
}

impl Layer for CtcLoss {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let (x, labels) = (&bottoms[0], &bottoms[1]);
        if x.axes() < 3 || labels.axes() == 0 || x.dims()[1] != labels.dims()[0] {
            return Err(Error::shape(format!(
                "scores {x} and labels {labels}: the scores must be steps × items × classes, the labels items × labels"
            )));
        }
        if x.count_from(2) != self.classes {
            return Err(Error::param(
                "ctc_loss_param.alphabet_size",
                format!(
                    "is {}, but the scores {x} have {} classes",
                    self.classes,
                    x.count_from(2)
                ),
            ));
        }
        if x.dims()[0] < self.steps {
            return Err(Error::param(
                "ctc_loss_param.time_step",
                format!(
                    "is {}, but the scores {x} have {} steps",
                    self.steps,
                    x.dims()[0]
                ),
            ));
        }
        self.items = x.dims()[1];
        // What an item takes: its states at each step. One with more labels than steps is not gone through.
        let states = 2 * labels.count_from(1).min(self.steps) + 1;
        Shape::checked(&[self.steps, states])?;
        self.grad.clear();
        self.grad
            .resize(if self.backward { x.count() } else { 0 }, 0.0);
        Ok(vec![Shape::new(&[])])
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let (x, items, classes) = (io.bottoms[0].data, self.items, self.classes);
        let labels = sequences(&io.bottoms[1], items, classes, self.blank)?;
        let run = |n: usize| self.item(x, n, &labels[n]);
        let results: Vec<(f64, Vec<f32>)> = (0..items).into_par_iter().map(run).collect();
        let mut sum = 0.0;
        for (n, (loss, grad)) in results.iter().enumerate() {
            sum += loss;
            for (t, grad) in grad.chunks(classes).enumerate() {
                self.grad[(t * items + n) * classes..][..classes].copy_from_slice(grad);
            }
        }
        io.tops[0].data[0] = (sum / items.max(1) as f64) as f32;
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let weight = io.top_diff().data[0];
        if let Some(dx) = &mut io.bottom_diffs[0] {
            crate::kernels::map::map(&self.grad, dx.data, |g| weight * g);
        }
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
        format!("type: 'CtcLoss' ctc_loss_param {{ {options} }}")
    }

    #[test]
    fn by_hand() {
        // One label in two steps: "1-", "-1" and "11", each of 1/9 where all scores are equal.
        let x = tensor(&[2, 1, 3], &[0.0; 6]);
        let options = "alphabet_size: 3 time_step: 2";
        let mut bench = Bench::new(&text(options), &[x, tensor(&[1, 2], &[1.0, 0.0])]);
        assert_close(bench.forward(), &[3.0f32.ln()], 1e-6);
        let got = bench.backward(&[3.0], &[0]);
        let dx = &got.bottoms[0].as_ref().unwrap().data;
        // At each step, two of the three ways are in class 1, one in the blank.
        assert_close(dx, &[0.0, -1.0, 1.0, 0.0, -1.0, 1.0], 1e-6);
    }

    #[test]
    fn the_blank_may_be_another_class() {
        let x = noise(&[4, 1, 3], 1);
        let loss = |x: Tensor, label: f32, blank: u32| {
            let options = format!("alphabet_size: 3 time_step: 4 blank_label: {blank}");
            let labels = tensor(&[1, 3], &[label, blank as f32, label]);
            Bench::new(&text(&options), &[x, labels]).forward()[0]
        };
        let mut turned = x.clone();
        for step in turned.data.chunks_mut(3) {
            step.rotate_left(1);
        }
        assert_close(&[loss(turned, 0.0, 2)], &[loss(x, 1.0, 0)], 1e-6);
    }

    /// Differences see the mean, backward tells the sum.
    #[test]
    fn gradients() {
        let options = "alphabet_size: 4 time_step: 5 blank_label: 3";
        for labels in [[0.0, 0.0, 3.0], [2.0, 0.0, 1.0], [3.0, 3.0, 1.0], [3.0; 3]] {
            let bottoms = [noise(&[5, 1, 4], 1), tensor(&[1, 3], &labels)];
            check_gradient(&text(options), &bottoms, &[0], &[]);
        }
    }

    #[test]
    fn the_gradient_is_of_the_sum() {
        let options = text("alphabet_size: 3 time_step: 3");
        let one = noise(&[3, 1, 3], 1);
        let label = |n: usize| tensor(&[n, 1], &vec![1.0; n]);
        let mut alone = Bench::new(&options, &[one.clone(), label(1)]);
        let loss = alone.forward()[0];
        let want = alone.backward(&[1.0], &[0]).bottoms[0]
            .clone()
            .unwrap()
            .data;
        let twice: Vec<f32> = one.data.chunks(3).flat_map(|c| [c, c].concat()).collect();
        let mut both = Bench::new(&options, &[tensor(&[3, 2, 3], &twice), label(2)]);
        assert_close(both.forward(), &[loss], 1e-6);
        let got = both.backward(&[1.0], &[0]).bottoms[0].clone().unwrap().data;
        assert_eq!(got[..3], want[..3]);
        assert_eq!(got[3..6], want[..3]);
    }

    #[test]
    fn steps_behind_and_items_too_long() {
        let bottoms = [noise(&[4, 1, 3], 1), tensor(&[1, 2], &[1.0, 1.0])];
        let mut bench = Bench::new(&text("alphabet_size: 3 time_step: 3"), &bottoms);
        // "1-1" alone spells it.
        assert!(bench.forward()[0] > 0.0);
        let dx = bench.backward(&[1.0], &[0]).bottoms[0]
            .clone()
            .unwrap()
            .data;
        assert!(dx[..9].iter().all(|&d| d != 0.0) && dx[9..].iter().all(|&d| d == 0.0));
        let mut bench = Bench::new(&text("alphabet_size: 3 time_step: 2"), &bottoms);
        assert_eq!(bench.forward(), [0.0]);
        let got = bench.backward(&[1.0], &[0]);
        assert_eq!(got.bottoms[0].as_ref().unwrap().data, [0.0; 12]);
    }

    #[test]
    fn threads_batches_and_nan() {
        let options = text("alphabet_size: 5 time_step: 20");
        let labels: Vec<f32> = (0..60).map(|i| (i % 5) as f32).collect();
        check_threads(
            &options,
            &[noise(&[20, 12, 5], 1), tensor(&[12, 5], &labels)],
            &[0],
        );
        let mut bench = Bench::new(&options, &[noise(&[20, 0, 5], 1), noise(&[0, 5], 1)]);
        assert_eq!(bench.forward(), [0.0]);
        bench.backward(&[1.0], &[0]);
        let nan = tensor(&[20, 1, 5], &[f32::NAN; 100]);
        let mut bench = Bench::new(&options, &[nan, tensor(&[1, 1], &[1.0])]);
        assert!(bench.forward()[0].is_nan());
    }

    #[test]
    fn errors() {
        let bottoms = [noise(&[4, 2, 3], 1), tensor(&[2, 1], &[1.0, 2.0])];
        for (options, why) in [
            ("time_step: 4", "alphabet_size: is 0 or missing"),
            ("alphabet_size: 3", "time_step: is 0 or missing"),
            (
                "alphabet_size: 3 time_step: 4 blank_label: 3",
                "blank_label: is 3; the classes are 0 to 2",
            ),
            (
                "alphabet_size: 3 time_step: 4 blank_label: -1",
                "blank_label: is -1",
            ),
            (
                "alphabet_size: 4 time_step: 4",
                "alphabet_size: is 4, but the scores [4, 2, 3] have 3",
            ),
            (
                "alphabet_size: 3 time_step: 5",
                "time_step: is 5, but the scores [4, 2, 3] have 4",
            ),
        ] {
            let error = error_of(&text(options), &bottoms);
            assert!(error.contains(why), "{error}");
        }
        let options = text("alphabet_size: 3 time_step: 4");
        let [x, labels] = bottoms;
        let error = error_of(&options, &[noise(&[4, 6], 1), labels]);
        assert!(error.contains("steps × items × classes"), "{error}");
        for label in [3.0, -1.0, 0.5, f32::NAN] {
            let error = error_of(&options, &[x.clone(), tensor(&[2, 1], &[0.0, label])]);
            assert!(
                error.contains(&format!("label {label} of item 1, position 0")),
                "{error}"
            );
        }
        let error = error_of(&options, &[x, noise(&[3, 1], 1)]);
        assert!(error.contains("labels items × labels"), "{error}");
    }
}
