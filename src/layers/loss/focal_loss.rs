//! FocalLoss: loss = −Σᵢ αᵢ · (1 − pᵢ)^γ · ln pᵢ / n, p the probability of what the label says.   With softmax dx_c = α ·
//! ((1 − p)^γ − γ · p · (1 − p)^(γ−1) · ln p) · (p_c − \[c = label\]) · w / n; with sigmoids dx = ±α · (γ · p · (1 − p)^γ ·
//! ln p − (1 − p)^(γ+1)) · w / n; 0 where skipped. None by the labels.
//!
//! Two forms, told by the bottoms. One label for each position: p = softmax of the scores along `axis`, αᵢ = α, n as
//! `loss_param` says. One label, 1 or 0, for each score: p = σ(x) where it is 1 and σ(−x) where it is 0, αᵢ = α and 1 − α,
//! and n is BATCH_SIZE where no normalization is told; here `type: LINEAR` is −αᵢ · ln σ(±γx + β) / γ, dx = ∓αᵢ · (1 −
//! σ(±γx + β)) · w / n, with αᵢ = 1 unless α is given.
//! Shapes: scores outer × classes × inner; labels outer × inner, or as the scores; loss a scalar; the optional second top,
//! p of every class, is as the scores. The layer keeps what backward needs: it reads no data.
//! Source: Lin et al., Focal Loss for Dense Object Detection (2017), equations 4 and 5, appendix A.
//! Departures: a label that is no class or no whole number is an error; `type: ONEADDP` is not built.

use super::{
    labels::{Labels, SKIPPED},
    normalize::Normalize,
    sigmoid_cross_entropy_loss::{layout, skips},
};
use crate::{
    error::{Error, Result},
    kernels::{map, reduce, simd, softmax},
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType, Role},
    schema::{focal_loss_parameter::Type, loss_parameter::NormalizationMode},
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("FocalLoss", |def| Ok(Box::new(FocalLoss::new(def)?)))
        .arity(Arity::Exact(2), Arity::Range(1, 2))
        .role(Role::Loss)
        .no_grad(&[1]);

struct FocalLoss {
    axis: i32,
    focus: Focus,
    tops: usize,
    /// For the forms with softmax and with sigmoids.
    normalize: (Normalize, Normalize),
    /// `None` with sigmoids.
    labels: Option<Labels>,
    /// With sigmoids: items and values of each.
    items: (usize, usize),
    /// Of the last forward pass: probabilities, or with sigmoids the gradient but for w / n; the loss of each piece; n.
    kept: Vec<f32>,
    partial: Vec<f64>,
    divisor: f64,
}

/// The formula's options.
#[derive(Clone, Copy)]
struct Focus {
    /// Of labels that are 1, and of those that are 0.
    alpha: (f32, f32),
    gamma: f32,
    /// β of the linear form.
    linear: Option<f32>,
}

/// ln σ(x).
fn log_sigmoid(x: f32) -> f32 {
    let below = if x > 0.0 { 0.0 } else { x };
    below - (-x.abs()).exp().ln_1p()
}

impl Focus {
    /// For softmax: the loss of a probability, and what (p_c − [c = label]) is multiplied by in the gradient.
    fn of_probability(self, p: f32) -> (f32, f32) {
        let log = if p < f32::MIN_POSITIVE {
            f32::MIN_POSITIVE
        } else {
            p
        }
        .ln();
        let q = 1.0 - p;
        let power = q.powf(self.gamma);
        // Where p is 1 the second term is the limit, 0.
        let second = if q > 0.0 && self.gamma > 0.0 {
            self.gamma * p * (power / q) * log
        } else {
            0.0
        };
        (-self.alpha.0 * power * log, self.alpha.0 * (power - second))
    }

    /// For sigmoids: the loss of a score, and its derivative.
    fn of_score(self, x: f32, target: f32) -> (f32, f32) {
        let (sign, alpha) = match target {
            1.0 => (1.0, self.alpha.0),
            _ => (-1.0, self.alpha.1),
        };
        match self.linear {
            Some(beta) => {
                let z = sign * self.gamma * x + beta;
                let loss = -alpha * log_sigmoid(z) / self.gamma;
                (loss, -sign * alpha * simd::sigmoid(-z))
            }
            None => {
                let (p, q) = (simd::sigmoid(sign * x), simd::sigmoid(-sign * x));
                let (power, log) = (q.powf(self.gamma), log_sigmoid(sign * x));
                let slope = alpha * power * (self.gamma * p * log - q);
                (-alpha * power * log, sign * slope)
            }
        }
    }
}

impl FocalLoss {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.focal_loss_param.unwrap_or_default();
        let linear = match param.r#type() {
            Type::Origin => None,
            Type::Linear => Some(param.beta()),
            Type::Oneaddp => {
                let error = Error::unsupported("focal_loss_param.type: ONEADDP is not built");
                return Err(error.help("ORIGIN is the paper's form, LINEAR that of its appendix"));
            }
        };
        let alpha = match (param.alpha, linear) {
            (Some(alpha), _) => (alpha, 1.0 - alpha),
            (None, None) => (0.25, 0.75),
            (None, Some(_)) => (1.0, 1.0),
        };
        let gamma = param.gamma();
        let invalid = |field: &str, value: f32, need: &str| {
            let why = format!("{value}; it must be {need}");
            Err(def.invalid(&format!("focal_loss_param.{field}"), why))
        };
        if !alpha.0.is_finite() {
            return invalid("alpha", alpha.0, "a number");
        }
        if !(gamma >= 0.0 && gamma.is_finite()) || (linear.is_some() && gamma == 0.0) {
            return invalid("gamma", gamma, "0 or more, and for LINEAR above 0");
        }
        if linear.is_some_and(|beta| !beta.is_finite()) {
            return invalid("beta", param.beta(), "a number");
        }
        let each = NormalizationMode::BatchSize;
        Ok(Self {
            axis: param.axis(),
            focus: Focus {
                alpha,
                gamma,
                linear,
            },
            tops: def.param.top.len().max(1),
            normalize: (Normalize::new(def), Normalize::or(def, each)),
            labels: None,
            items: (0, 0),
            kept: Vec::new(),
            partial: Vec::new(),
            divisor: 1.0,
        })
    }

    fn with_softmax(&mut self, io: &Forward<'_, '_>) -> Result<f64> {
        let Some(labels) = &mut self.labels else {
            return Ok(0.0);
        };
        labels.read(io.bottoms[1].data, self.normalize.0.ignore)?;
        let dims = (labels.classes, labels.inner);
        softmax::forward(io.bottoms[0].data, dims, &mut self.kept);
        let (prob, focus) = (&self.kept, self.focus);
        labels.pieces(&mut self.partial, |start, named| {
            let named = (start..).zip(named).filter(|&(_, &class)| class != SKIPPED);
            let terms = named.map(|(i, &c)| focus.of_probability(prob[labels.at(i, c)]).0);
            terms.map(f64::from).sum()
        });
        let items = (labels.outer, labels.inner);
        self.divisor = self.normalize.0.divisor(items, labels.valid);
        Ok(self.partial.iter().sum())
    }

    fn with_sigmoids(&mut self, io: &Forward<'_, '_>) -> Result<f64> {
        let (x, t) = (io.bottoms[0].data, io.bottoms[1].data);
        let (focus, normalize) = (self.focus, self.normalize.1);
        let ignore = normalize.ignore;
        let mut valid = 0;
        for (i, &label) in t.iter().enumerate() {
            if !skips(ignore, label) {
                if label != 0.0 && label != 1.0 {
                    let error =
                        Error::data(format!("label {label}, element {i}, is neither 0 nor 1"));
                    return Err(error.help("each score has a label here: 1 where its class is there, else 0; labels that mean \"no label\" are those of ignore_label"));
                }
                valid += 1;
            }
        }
        map::zip2(x, t, &mut self.kept, |x, t| match skips(ignore, t) {
            true => 0.0,
            false => focus.of_score(x, t).1,
        });
        self.divisor = normalize.divisor(self.items, valid);
        let sum = reduce::total(x, t, |x, t| match skips(ignore, t) {
            true => 0.0,
            false => focus.of_score(x, t).0,
        });
        Ok(f64::from(sum))
    }
}

impl Layer for FocalLoss {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let (scores, labels) = (&bottoms[0], &bottoms[1]);
        self.labels = None;
        if scores.count() == labels.count() && scores.axes() > 0 {
            self.items = layout(scores, labels)?;
        } else {
            if self.focus.linear.is_some() {
                return Err(Error::unsupported(format!(
                    "focal_loss_param.type: LINEAR needs a label for each score; scores are {scores}, labels {labels}"
                )));
            }
            let labels = Labels::new(scores, labels, self.axis, "focal_loss_param.axis")?;
            self.partial.resize(labels.piece_count(), 0.0);
            self.labels = Some(labels);
        }
        self.kept.resize(scores.count(), 0.0);
        let mut tops = vec![Shape::new(&[]), scores.clone()];
        tops.truncate(self.tops);
        Ok(tops)
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let sum = match self.labels {
            Some(_) => self.with_softmax(io)?,
            None => self.with_sigmoids(io)?,
        };
        io.tops[0].data[0] = (sum / self.divisor) as f32;
        if let Some(top) = io.tops.get_mut(1) {
            match self.labels {
                Some(_) => top.data.copy_from_slice(&self.kept),
                None => map::map(io.bottoms[0].data, top.data, simd::sigmoid),
            }
        }
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let weight = io.top_diffs[0].map_or(0.0, |dy| dy.data[0]);
        let scale = (f64::from(weight) / self.divisor) as f32;
        let Some(dx) = &mut io.bottom_diffs[0] else {
            return Ok(());
        };
        let Some(labels) = &self.labels else {
            map::map(&self.kept, dx.data, |g| g * scale);
            return Ok(());
        };
        let (inner, focus) = (labels.inner, self.focus);
        labels.items(dx.data, &self.kept, |dx, prob, named| {
            let slopes = named.iter().enumerate().map(|(j, &label)| match label {
                SKIPPED => 0.0,
                label => focus.of_probability(prob[label as usize * inner + j]).1 * scale,
            });
            let slopes: Vec<f32> = slopes.collect();
            let classes = dx.chunks_exact_mut(inner).zip(prob.chunks_exact(inner));
            for (c, (dx, prob)) in (0..).zip(classes) {
                let positions = dx.iter_mut().zip(prob).zip(named.iter().zip(&slopes));
                for ((dx, &p), (&label, slope)) in positions {
                    *dx = match label {
                        SKIPPED => 0.0,
                        label if label == c => slope * (p - 1.0),
                        _ => slope * p,
                    };
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

    fn text(options: &str, loss: &str) -> String {
        format!("type: 'FocalLoss' focal_loss_param {{ {options} }} loss_param {{ {loss} }}")
    }

    #[test]
    fn by_hand() {
        // p = 1/4 and, skipped, 1/2.
        let ln3 = 3.0f32.ln();
        let scores = tensor(&[2, 2], &[0.0, ln3, 0.0, 0.0]);
        let labels = tensor(&[2], &[0.0, 5.0]);
        let text = text("alpha: 0.5 gamma: 2", "ignore_label: 5");
        let mut bench = Bench::new(&text, &[scores, labels]);
        assert_close(bench.forward(), &[0.5 * 0.5625 * 4.0f32.ln()], 1e-6);
        let slope = 0.5 * (0.5625 + 2.0 * 0.25 * 0.75 * 4.0f32.ln());
        let got = bench.backward(&[1.0], &[0]);
        let dx = &got.bottoms[0].as_ref().unwrap().data;
        assert_close(dx, &[-0.75 * slope, 0.75 * slope, 0.0, 0.0], 1e-6);
    }

    #[test]
    fn a_label_for_each_score() {
        let ln3 = 3.0f32.ln();
        let scores = tensor(&[1, 3], &[-ln3, -ln3, 9.0]);
        let labels = tensor(&[1, 3], &[1.0, 0.0, -1.0]);
        let text = "type: 'FocalLoss' top: 'loss' top: 'p' focal_loss_param { alpha: 0.25 gamma: 1 } loss_param { ignore_label: -1 }";
        let mut bench = Bench::new(text, &[scores, labels]);
        let (hard, easy) = (0.75 * 4.0f32.ln(), 0.25 * (4.0f32 / 3.0).ln());
        assert_close(bench.forward(), &[0.25 * hard + 0.75 * easy], 1e-6);
        assert_close(&bench.tops[1].data[..2], &[0.25, 0.25], 1e-6);
    }

    #[test]
    fn without_focus_it_is_the_plain_loss() {
        let labels = tensor(&[3], &[0.0, 2.0, 3.0]);
        let inputs = [noise(&[3, 4], 1), labels];
        let mut plain = Bench::new("type: 'SoftmaxWithLoss'", &inputs);
        let mut bench = Bench::new(&text("alpha: 1 gamma: 0", ""), &inputs);
        assert_close(bench.forward(), plain.forward(), 1e-6);
        let want = plain.backward(&[1.0], &[0]).bottoms[0].take().unwrap();
        let got = bench.backward(&[1.0], &[0]).bottoms[0].take().unwrap();
        assert_close(&got.data, &want.data, 1e-6);
    }

    #[test]
    fn certain_scores_have_finite_losses() {
        for gamma in ["0", "0.5", "2"] {
            let text = text(&format!("gamma: {gamma}"), "");
            for labels in [tensor(&[1], &[0.0]), tensor(&[1, 2], &[1.0, 0.0])] {
                for x in [-1000.0, 1000.0] {
                    let scores = tensor(&[1, 2], &[x, 0.0]);
                    let mut bench = Bench::new(&text, &[scores, labels.clone()]);
                    assert!(bench.forward()[0].is_finite());
                    let got = bench.backward(&[1.0], &[0]).bottoms[0].take().unwrap();
                    assert!(got.data.iter().all(|g| g.is_finite()), "{:?}", got.data);
                }
            }
        }
    }

    /// Labels 0 and 1 and one that is 7.
    fn binary() -> Tensor {
        let mut labels = noise(&[2, 3, 2], 2);
        labels.data.iter_mut().for_each(|t| *t = (*t > 0.0).into());
        labels.data[4] = 7.0;
        labels
    }

    #[test]
    fn gradients() {
        let scores = noise(&[2, 3, 2], 1);
        let labels = tensor(&[2, 2], &[0.0, 2.0, 1.0, 7.0]);
        for loss in ["ignore_label: 7", "ignore_label: 7 normalization: VALID"] {
            for options in ["", "alpha: 0.9 gamma: 0.5", "gamma: 0"] {
                let inputs = [scores.clone(), labels.clone()];
                check_gradient(&text(options, loss), &inputs, &[0], &[]);
            }
            for options in [
                "",
                "alpha: 0.9 gamma: 0.5",
                "type: LINEAR",
                "type: LINEAR alpha: 0.5 beta: -1",
            ] {
                let inputs = [scores.clone(), binary()];
                check_gradient(&text(options, loss), &inputs, &[0], &[]);
            }
        }
    }

    #[test]
    fn threads_change_nothing() {
        let labels: Vec<f32> = (0..6000).map(|i| (i % 7) as f32).collect();
        let inputs = [noise(&[3, 7, 2000], 1), tensor(&[3, 2000], &labels)];
        check_threads(&text("", "ignore_label: 3"), &inputs, &[0]);
    }

    #[test]
    fn errors() {
        let scores = || noise(&[2, 3], 1);
        let labels = tensor(&[2], &[0.0, 1.0]);
        for (options, labels, why) in [
            ("gamma: -1", labels.clone(), "focal_loss_param.gamma: -1"),
            (
                "type: LINEAR gamma: 0",
                labels.clone(),
                "focal_loss_param.gamma: 0",
            ),
            (
                "type: LINEAR",
                labels.clone(),
                "LINEAR needs a label for each score",
            ),
            ("type: ONEADDP", labels.clone(), "ONEADDP is not built"),
            ("axis: 2", labels, "focal_loss_param.axis"),
            ("", tensor(&[2], &[0.0, 3.0]), "label 3 of image 1"),
            ("", tensor(&[3], &[0.0; 3]), "need 2 labels"),
            ("", noise(&[2, 3], 2), "is neither 0 nor 1"),
        ] {
            let error = error_of(&text(options, ""), &[scores(), labels]);
            assert!(error.contains(why), "{error}");
        }
    }
}
