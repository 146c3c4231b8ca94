//! MultinomialLogisticLoss: loss = −Σᵢ ln max(xᵢ[labelᵢ], 10⁻²⁰) / N over N items whose values are probabilities already.
//! dx = −w / (N · max(x, 10⁻²⁰)) at the label, else 0, w = the loss weight. None by the labels.
//!
//! Shapes: N items of any further extents, each value a class; N labels; loss is a scalar. Backward reads the
//! probabilities. For scores SoftmaxWithLoss is the stable one.
//! Departures: a label that is no class or no whole number is an error; an empty batch gives 0, not NaN.

use super::labels::Labels;
use crate::{
    error::{Error, Result},
    kernels::map,
    layer::{Arity, Backward, Forward, Layer, LayerType, Reads, Role, Traits},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("MultinomialLogisticLoss", |_| {
    Ok(Box::new(MultinomialLogisticLoss {
        labels: Labels::default(),
    }))
})
.arity(Arity::Exact(2), Arity::Exact(1))
.role(Role::Loss)
.no_grad(&[1]);

/// The smallest probability that the logarithm sees.
const LEAST: f32 = 1e-20;

struct MultinomialLogisticLoss {
    labels: Labels,
}

/// Not below [`LEAST`]; NaN stays visible.
fn bounded(p: f32) -> f32 {
    if p < LEAST { LEAST } else { p }
}

impl Layer for MultinomialLogisticLoss {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let (x, labels) = (&bottoms[0], &bottoms[1]);
        let Some(&items) = x.dims().first() else {
            return Err(Error::shape(
                "the probabilities are a scalar; they need a batch axis",
            ));
        };
        let rows = Shape::new(&[items, x.count_from(1)]);
        self.labels = Labels::new(&rows, labels, 1, "axis")?;
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
        let (x, labels) = (io.bottoms[0].data, &self.labels);
        let named = labels.named.iter().enumerate();
        let terms = named.map(|(i, &c)| -f64::from(bounded(x[labels.at(i, c)]).ln()));
        io.tops[0].data[0] = (terms.sum::<f64>() / labels.outer.max(1) as f64) as f32;
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let (x, labels) = (io.bottom(0).data, &self.labels);
        let scale = io.top_diff().data[0] / labels.outer.max(1) as f32;
        if let Some(dx) = &mut io.bottom_diffs[0] {
            map::fill(dx.data, 0.0);
            for (i, &class) in labels.named.iter().enumerate() {
                let at = labels.at(i, class);
                dx.data[at] = -scale / bounded(x[at]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, assert_close, check_gradient, error_of, noise, tensor};

    const TEXT: &str = "type: 'MultinomialLogisticLoss'";

    #[test]
    fn by_hand() {
        let x = tensor(&[2, 2], &[0.25, 0.75, 0.5, 0.0]);
        let mut bench = Bench::new(TEXT, &[x, tensor(&[2], &[0.0, 1.0])]);
        let want = (4.0f32.ln() + 20.0 * 10.0f32.ln()) / 2.0;
        assert_close(bench.forward(), &[want], 1e-6);
        let got = bench.backward(&[2.0], &[0]);
        let dx = &got.bottoms[0].as_ref().unwrap().data;
        assert_close(dx, &[-4.0, 0.0, 0.0, -1e20], 1e-6);
    }

    #[test]
    fn gradients() {
        let mut x = noise(&[3, 4, 1, 1], 1);
        x.data.iter_mut().for_each(|x| *x = 0.5 + 0.3 * *x);
        check_gradient(TEXT, &[x, tensor(&[3], &[0.0, 2.0, 3.0])], &[0], &[]);
    }

    #[test]
    fn an_empty_batch_costs_nothing() {
        let mut bench = Bench::new(TEXT, &[noise(&[0, 3], 1), noise(&[0], 1)]);
        assert_eq!(bench.forward(), [0.0]);
        bench.backward(&[1.0], &[0]);
    }

    #[test]
    fn errors() {
        for (x, labels, why) in [
            (
                noise(&[2, 3], 1),
                tensor(&[2], &[0.0, -1.0]),
                "label -1 of image 1",
            ),
            (noise(&[2, 3], 1), tensor(&[3], &[0.0; 3]), "need 2 labels"),
            (noise(&[], 1), tensor(&[], &[0.0]), "batch axis"),
        ] {
            let error = error_of(TEXT, &[x, labels]);
            assert!(error.contains(why), "{error}");
        }
    }
}
