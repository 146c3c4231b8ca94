//! HingeLoss: loss = Σᵢ Σ_c mᵢc / N (`norm: L1`) or Σᵢ Σ_c mᵢc² / N (`L2`), with mᵢc = max(0, 1 − t·xᵢc), t = 1 where c is
//! the label of item i, else −1.   dx = −t · w / N where m > 0 (L1) or −2t · m · w / N (L2), w = the loss weight. None by
//! the labels.
//!
//! Shapes: N scores of any further extents, each value a class; N labels; loss is a scalar. Backward reads the scores.
//! Departures: a label that is no class or no whole number is an error; an empty batch gives 0, not NaN.

use super::labels::Labels;
use crate::{
    error::{Error, Result},
    kernels::cut::{self, Units},
    layer::{Arity, Backward, Forward, Layer, LayerType, Reads, Role, Traits},
    schema::hinge_loss_parameter::Norm,
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("HingeLoss", |def| {
    let param = def.param.hinge_loss_param.unwrap_or_default();
    Ok(Box::new(HingeLoss {
        squared: param.norm() == Norm::L2,
        labels: Labels::default(),
        sums: Vec::new(),
    }))
})
.arity(Arity::Exact(2), Arity::Exact(1))
.role(Role::Loss)
.no_grad(&[1]);

struct HingeLoss {
    squared: bool,
    labels: Labels,
    /// The sum of each item.
    sums: Vec<f64>,
}

/// The margin that a score is short of.
fn short(x: f32, own: bool) -> f32 {
    let m = if own { 1.0 - x } else { 1.0 + x };
    if m < 0.0 { 0.0 } else { m }
}

impl Layer for HingeLoss {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let (scores, labels) = (&bottoms[0], &bottoms[1]);
        let Some(&items) = scores.dims().first() else {
            return Err(Error::shape(
                "the scores are a scalar; they need a batch axis",
            ));
        };
        let rows = Shape::new(&[items, scores.count_from(1)]);
        self.labels = Labels::new(&rows, labels, 1, "axis")?;
        self.sums.resize(items, 0.0);
        Ok(vec![Shape::new(&[])])
    }

    fn traits(&self) -> Traits {
        Traits {
            backward_reads: Reads::BOTTOMS,
            ..Traits::default()
        }
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        self.labels.read(io.bottoms[1].data, None)?;
        let (classes, squared) = (self.labels.classes, self.squared);
        let x = io.bottoms[0].data;
        let parts = (
            Units(&mut self.sums[..], 1),
            Units(&self.labels.named[..], 1),
        );
        cut::each(
            parts,
            self.labels.outer,
            8 * classes,
            |first, (sums, named)| {
                for (i, (sum, &label)) in (first..).zip(sums.0.iter_mut().zip(named.0)) {
                    let item = x[i * classes..(i + 1) * classes].iter().zip(0..);
                    let terms = item.map(|(&x, c)| {
                        let m = f64::from(short(x, c == label));
                        if squared { m * m } else { m }
                    });
                    *sum = terms.sum();
                }
            },
        );
        let sum: f64 = self.sums.iter().sum();
        io.tops[0].data[0] = (sum / self.labels.outer.max(1) as f64) as f32;
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let (x, classes, squared) = (io.bottom(0).data, self.labels.classes, self.squared);
        let scale = io.top_diff().data[0] / self.labels.outer.max(1) as f32;
        let Some(dx) = &mut io.bottom_diffs[0] else {
            return Ok(());
        };
        if classes == 0 {
            return Ok(());
        }
        let parts = (
            Units(&mut *dx.data, classes),
            Units(x, classes),
            Units(&self.labels.named[..], 1),
        );
        cut::each(
            parts,
            self.labels.outer,
            8 * classes,
            |_, (dx, x, named)| {
                let items =
                    dx.0.chunks_exact_mut(classes)
                        .zip(x.0.chunks_exact(classes));
                for ((dx, x), &label) in items.zip(named.0) {
                    for (c, (dx, &x)) in (0..).zip(dx.iter_mut().zip(x)) {
                        let m = short(x, c == label);
                        let slope = match squared {
                            true => 2.0 * m,
                            false => f32::from(m > 0.0),
                        };
                        *dx = if c == label { -slope } else { slope } * scale;
                    }
                }
            },
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{
        Bench, assert_close, check_gradient, check_threads, error_of, noise, tensor,
    };

    fn text(norm: &str) -> String {
        format!("type: 'HingeLoss' hinge_loss_param {{ norm: {norm} }}")
    }

    #[test]
    fn by_hand() {
        // Margins 0.5, 0 and 1.5; 3, 2 and 0.
        let scores = tensor(&[2, 3, 1, 1], &[0.5, -2.0, 0.5, 2.0, -1.0, -3.0]);
        let labels = tensor(&[2, 1], &[0.0, 1.0]);
        for (norm, loss, dx) in [
            ("L1", 7.0, [-1.0, 0.0, 1.0, 1.0, -1.0, 0.0]),
            ("L2", 15.5, [-1.0, 0.0, 3.0, 6.0, -4.0, 0.0]),
        ] {
            let mut bench = Bench::new(&text(norm), &[scores.clone(), labels.clone()]);
            assert_close(bench.forward(), &[loss / 2.0], 1e-6);
            let got = bench.backward(&[2.0], &[0]);
            assert_close(&got.bottoms[0].as_ref().unwrap().data, &dx, 1e-6);
        }
    }

    #[test]
    fn gradients() {
        let labels = tensor(&[3], &[0.0, 2.0, 1.0]);
        for norm in ["L1", "L2"] {
            let inputs = [noise(&[3, 4], 1), labels.clone()];
            check_gradient(&text(norm), &inputs, &[0], &[]);
        }
    }

    #[test]
    fn threads_change_nothing() {
        let labels: Vec<f32> = (0..3000).map(|i| (i % 50) as f32).collect();
        check_threads(
            &text("L2"),
            &[noise(&[3000, 50], 1), tensor(&[3000], &labels)],
            &[0],
        );
    }

    #[test]
    fn an_empty_batch_costs_nothing() {
        let mut bench = Bench::new(&text("L1"), &[noise(&[0, 3], 1), noise(&[0], 1)]);
        assert_eq!(bench.forward(), [0.0]);
        bench.backward(&[1.0], &[0]);
    }

    #[test]
    fn errors() {
        for (scores, labels, why) in [
            (
                noise(&[2, 3], 1),
                tensor(&[2], &[0.0, 3.0]),
                "label 3 of image 1",
            ),
            (noise(&[2, 3], 1), tensor(&[3], &[0.0; 3]), "need 2 labels"),
            (noise(&[], 1), tensor(&[], &[0.0]), "batch axis"),
            (
                noise(&[2, 0], 1),
                tensor(&[2], &[0.0; 2]),
                "there are no classes",
            ),
        ] {
            let error = error_of(&text("L1"), &[scores, labels]);
            assert!(error.contains(why), "{error}");
        }
    }
}
