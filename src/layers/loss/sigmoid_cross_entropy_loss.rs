//! SigmoidCrossEntropyLoss: loss = −Σᵢ (tᵢ ln σ(xᵢ) + (1 − tᵢ) ln(1 − σ(xᵢ))) / n, written as max(x, 0) − xt +
//! ln(1 + e⁻ˡˣˡ), which does not overflow.   dx = (σ(x) − t) · w / n, 0 where skipped, w = the loss weight. None by the
//! targets.
//!
//! Shapes: scores x and targets t of equal counts, t in [0, 1]; loss is a scalar. Backward reads both.
//! Options: `loss_param`, with BATCH_SIZE where it tells no normalization; targets whose whole part is `ignore_label` are
//! skipped.

use super::normalize::Normalize;
use crate::{
    error::{Error, Result},
    kernels::{map, reduce, simd},
    layer::{Arity, Backward, Forward, Layer, LayerType, Reads, Role, Traits},
    schema::loss_parameter::NormalizationMode,
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("SigmoidCrossEntropyLoss", |def| {
    Ok(Box::new(SigmoidCrossEntropyLoss {
        normalize: Normalize::or(def, NormalizationMode::BatchSize),
        items: (0, 0),
        divisor: 1.0,
    }))
})
.arity(Arity::Exact(2), Arity::Exact(1))
.role(Role::Loss)
.no_grad(&[1]);

struct SigmoidCrossEntropyLoss {
    normalize: Normalize,
    /// Items and values of each.
    items: (usize, usize),
    /// n of the last forward pass.
    divisor: f64,
}

/// −ln σ(x) · t − ln(1 − σ(x)) · (1 − t).
pub(super) fn cross_entropy(x: f32, t: f32) -> f32 {
    // The first as it is where x is NaN, which has to stay visible.
    let above = if x < 0.0 { 0.0 } else { x };
    above - x * t + (-x.abs()).exp().ln_1p()
}

/// Whether a target is to be skipped.
pub(super) fn skips(ignore: Option<i32>, target: f32) -> bool {
    ignore == Some(target as i32)
}

/// That scores and targets agree; items and values of each.
pub(super) fn layout(scores: &Shape, targets: &Shape) -> Result<(usize, usize)> {
    match scores.dims().first() {
        Some(&items) if scores.count() == targets.count() => Ok((items, scores.count_from(1))),
        _ => Err(Error::shape(format!(
            "scores are {scores} and targets {targets}: each score needs a target, and there must be a batch axis"
        ))),
    }
}

impl Layer for SigmoidCrossEntropyLoss {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        self.items = layout(&bottoms[0], &bottoms[1])?;
        Ok(vec![Shape::new(&[])])
    }

    fn traits(&self) -> Traits {
        Traits {
            backward_reads: Reads::BOTTOMS,
            ..Traits::default()
        }
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let (x, t) = (io.bottoms[0].data, io.bottoms[1].data);
        let ignore = self.normalize.ignore;
        let sum = reduce::total(x, t, |x, t| {
            if skips(ignore, t) {
                0.0
            } else {
                cross_entropy(x, t)
            }
        });
        let valid = match ignore {
            None => t.len(),
            Some(_) => t.iter().filter(|&&t| !skips(ignore, t)).count(),
        };
        self.divisor = self.normalize.divisor(self.items, valid);
        io.tops[0].data[0] = (f64::from(sum) / self.divisor) as f32;
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let (x, t) = (io.bottom(0).data, io.bottom(1).data);
        let scale = (f64::from(io.top_diff().data[0]) / self.divisor) as f32;
        let ignore = self.normalize.ignore;
        if let Some(dx) = &mut io.bottom_diffs[0] {
            match ignore {
                None => map::zip2(x, t, dx.data, |x, t| (simd::sigmoid(x) - t) * scale),
                Some(_) => map::zip2(x, t, dx.data, |x, t| match skips(ignore, t) {
                    true => 0.0,
                    false => (simd::sigmoid(x) - t) * scale,
                }),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{
        Bench, assert_close, check_gradient, check_threads, error_of, noise, tensor,
    };

    fn text(options: &str) -> String {
        format!("type: 'SigmoidCrossEntropyLoss' loss_param {{ {options} }}")
    }

    #[test]
    fn by_hand() {
        let ln3 = 3.0f32.ln();
        // σ is 3/4, 1/2 and 1/4.
        let x = tensor(&[1, 3], &[ln3, 0.0, -ln3]);
        let t = tensor(&[1, 3], &[1.0, 0.5, -1.0]);
        let first = -0.75f32.ln() + 2.0f32.ln();
        for (options, n) in [
            ("", 1.0),
            ("normalization: VALID", 2.0),
            ("normalize: true", 2.0),
            ("normalization: FULL", 3.0),
        ] {
            let options = format!("ignore_label: -1 {options}");
            let mut bench = Bench::new(&text(&options), &[x.clone(), t.clone()]);
            assert_close(bench.forward(), &[first / n], 1e-6);
            let got = bench.backward(&[n], &[0]);
            let dx = &got.bottoms[0].as_ref().unwrap().data;
            assert_close(dx, &[-0.25, 0.0, 0.0], 1e-6);
        }
    }

    #[test]
    fn large_scores_do_not_overflow_and_nan_stays_visible() {
        let loss = |x: f32, t: f32| {
            Bench::new(&text(""), &[tensor(&[1], &[x]), tensor(&[1], &[t])]).forward()[0]
        };
        assert_eq!(loss(1000.0, 1.0), 0.0);
        assert_eq!(loss(1000.0, 0.0), 1000.0);
        assert_eq!(loss(-1000.0, 1.0), 1000.0);
        assert!(loss(f32::NAN, 1.0).is_nan());
    }

    #[test]
    fn gradients() {
        let mut t = noise(&[2, 3, 2], 2);
        t.data.iter_mut().for_each(|t| *t = 0.5 + 0.5 * *t);
        t.data[3] = 7.0;
        for options in ["", "ignore_label: 7 normalization: VALID"] {
            check_gradient(
                &text(options),
                &[noise(&[2, 3, 2], 1), t.clone()],
                &[0],
                &[],
            );
        }
    }

    #[test]
    fn threads_change_nothing() {
        let inputs = [noise(&[100_000], 1), noise(&[100_000], 2)];
        check_threads(&text("ignore_label: 1"), &inputs, &[0]);
    }

    #[test]
    fn shapes_must_agree() {
        for (x, t) in [(&[2, 3][..], &[2, 4][..]), (&[], &[])] {
            let error = error_of(&text(""), &[noise(x, 1), noise(t, 2)]);
            assert!(error.contains("each score needs a target"), "{error}");
        }
        let mut bench = Bench::new(&text(""), &[noise(&[0, 3], 1), noise(&[0, 3], 2)]);
        assert_eq!(bench.forward(), [0.0]);
    }
}
