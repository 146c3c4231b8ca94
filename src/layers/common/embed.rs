//! Embed: y = row x of the weights (+ bias), for each index x.   dW_k += Σ dy over the x = k,  db += Σ dy.
//!
//! Shapes: x any; y as x with one more axis of N = `num_output`. W is K×N, K = `input_dim`; b N, absent without `bias_term`.
//! Backward reads x, which gets no gradient.
//! Departure: an index that is no whole number from 0 to K - 1 is an error, where Caffe reads what lies there.

use crate::{
    error::Result,
    kernels::{
        cut::{self, Units},
        reduce,
    },
    layer::{Backward, Forward, Layer, LayerDef, LayerType, Setup},
    layers::indices,
    schema::EmbedParameter,
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("Embed", |def| Ok(Box::new(Embed::new(def)?))).no_grad(&[0]);

struct Embed {
    param: EmbedParameter,
    /// Rows of the weights, and values of a row.
    rows: usize,
    width: usize,
    /// x of the last forward.
    taken: Vec<usize>,
}

impl Embed {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.embed_param.clone().unwrap_or_default();
        for (field, value) in [
            ("num_output", param.num_output()),
            ("input_dim", param.input_dim()),
        ] {
            if value == 0 {
                return Err(def.invalid(
                    &format!("embed_param.{field}"),
                    "is 0 or missing; it must be at least 1",
                ));
            }
        }
        Ok(Self {
            rows: param.input_dim() as usize,
            width: param.num_output() as usize,
            param,
            taken: Vec::new(),
        })
    }
}

impl Layer for Embed {
    fn setup(&mut self, cx: &mut Setup<'_>) -> Result<()> {
        let weight = Shape::checked(&[self.rows, self.width])?;
        cx.param(weight, self.param.weight_filler.as_ref());
        if self.param.bias_term() {
            cx.param([self.width].into(), self.param.bias_filler.as_ref());
        }
        Ok(())
    }

    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let mut dims = bottoms[0].dims().to_vec();
        dims.push(self.width);
        Ok(vec![Shape::checked(&dims)?])
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let x = io.bottoms[0].data;
        indices::read(x, self.rows, "rows of the weights", &mut self.taken)?;
        let (weight, bias) = match &*io.params {
            [weight, bias] => (&weight.value.data[..], &bias.value.data[..]),
            params => (&params[0].value.data[..], &[][..]),
        };
        let width = self.width;
        let parts = (
            Units(&mut *io.tops[0].data, width),
            Units(&self.taken[..], 1),
        );
        cut::each(parts, self.taken.len(), 12 * width, |_, (y, taken)| {
            for (y, &k) in y.0.chunks_exact_mut(width).zip(taken.0) {
                y.copy_from_slice(&weight[k * width..][..width]);
                y.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
            }
        });
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let (dy, width) = (io.top_diff().data, self.width);
        if io.params[0].wants_grad() {
            // In order: a row may come more than once.
            for (dy, &k) in dy.chunks_exact(width).zip(&self.taken) {
                let dw = &mut io.params[0].grad[k * width..][..width];
                dw.iter_mut().zip(dy).for_each(|(dw, dy)| *dw += dy);
            }
        }
        if let Some(bias) = io.params.get_mut(1).filter(|bias| bias.wants_grad()) {
            reduce::channel_sum_add(dy, (width, 1), &mut bias.grad);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, check_gradient, check_threads, error_of, noise, tensor};

    const TEXT: &str = "type: 'Embed' embed_param { input_dim: 3 num_output: 2 }";

    #[test]
    fn rows_are_looked_up() {
        let x = tensor(&[2, 2], &[2.0, 0.0, 2.0, 1.0]);
        let mut bench = Bench::new(TEXT, &[x])
            .param(0, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
            .param(1, &[10.0, 20.0]);
        assert_eq!(bench.forward(), [15., 26., 11., 22., 15., 26., 13., 24.]);
        assert_eq!(bench.tops[0].shape.dims(), [2, 2, 2]);
        let got = bench.backward(&[1., 2., 3., 4., 5., 6., 7., 8.], &[]);
        assert_eq!(got.params[0], [3., 4., 7., 8., 6., 8.]);
        assert_eq!(got.params[1], [16., 20.]);
    }

    #[test]
    fn gradients_threads_and_empty_bottoms() {
        let filled = "input_dim: 40 num_output: 50 weight_filler { type: 'gaussian' }";
        let x: Vec<f32> = (0..3000).map(|i| (i * 7 % 40) as f32).collect();
        for bias in [true, false] {
            let text = format!("type: 'Embed' embed_param {{ {filled} bias_term: {bias} }}");
            check_threads(&text, &[tensor(&[60, 50], &x)], &[]);
            let params: &[usize] = if bias { &[0, 1] } else { &[0] };
            check_gradient(&text, &[tensor(&[3], &[1.0, 0.0, 1.0])], &[], params);
            assert!(Bench::new(&text, &[noise(&[0], 1)]).forward().is_empty());
        }
        let mut bench = Bench::new(TEXT, &[tensor(&[], &[1.0])]);
        assert_eq!(bench.forward(), [0.0, 0.0]);
    }

    #[test]
    fn errors() {
        for (options, index, why) in [
            (
                "num_output: 2",
                0.0,
                "embed_param.input_dim: is 0 or missing",
            ),
            (
                "input_dim: 2",
                0.0,
                "embed_param.num_output: is 0 or missing",
            ),
            (
                "input_dim: 4294967295 num_output: 4294967295",
                0.0,
                "would hold more than",
            ),
            (
                "input_dim: 2 num_output: 3",
                2.0,
                "outside 0 to 1, the rows of the weights",
            ),
            ("input_dim: 2 num_output: 3", -1.0, "outside"),
            ("input_dim: 2 num_output: 3", 0.5, "not a whole number"),
        ] {
            let text = format!("type: 'Embed' embed_param {{ {options} }}");
            let error = error_of(&text, &[tensor(&[1], &[index])]);
            assert!(error.contains(why), "{error}");
        }
    }
}
