//! InnerProduct: y = x · Wᵀ + b (`transpose`: x · W + b).   dx = dy · W,  dW += dyᵀ · x,  db += Σ dy over the rows.
//!
//! Shapes: x is M×K, where axes before `axis` make up M and the others K; y has the axes before `axis`, then
//! N = `num_output`. W is N×K (`transpose`: K×N), b N and absent without `bias_term`. Backward reads x.
//! Departure: Caffe takes `num_output: 0`; here it is an error.

use crate::{
    error::{Error, Result},
    kernels::{
        gemm::{Bias, Gemm, ReducedInner, gemm},
        reduce,
    },
    layer::{
        Backward, Folded, Forward, Layer, LayerDef, LayerType, Prepack, Reads, Reduction, Setup,
        Tail, Taken, Traits,
    },
    schema::InnerProductParameter,
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("InnerProduct", |def| Ok(Box::new(InnerProduct::new(def)?)));

struct InnerProduct {
    param: InnerProductParameter,
    m: usize,
    n: usize,
    k: usize,
    taken: Taken,
    folded: Folded,
    /// Asked for instead of `f32`, and the weights so.
    reduction: Option<Reduction>,
    reduced: Option<ReducedInner>,
}

impl InnerProduct {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.inner_product_param.clone().unwrap_or_default();
        if param.num_output() == 0 {
            return Err(def.invalid(
                "inner_product_param.num_output",
                "is 0 or missing; it must be at least 1",
            ));
        }
        Ok(Self {
            n: param.num_output() as usize,
            m: 0,
            k: 0,
            taken: Taken::default(),
            folded: Folded::default(),
            reduction: None,
            reduced: None,
            param,
        })
    }

    fn axis(&self, x: &Shape) -> Result<usize> {
        x.axis(self.param.axis())
            .map_err(|error| Error::param("inner_product_param.axis", error.message()))
    }
}

impl Layer for InnerProduct {
    fn setup(&mut self, cx: &mut Setup<'_>) -> Result<()> {
        let x = &cx.bottoms[0];
        self.k = x.count_from(self.axis(x)?);
        let weight = if self.param.transpose() {
            [self.k, self.n]
        } else {
            [self.n, self.k]
        };
        cx.param(weight.into(), self.param.weight_filler.as_ref());
        if self.param.bias_term() {
            cx.param([self.n].into(), self.param.bias_filler.as_ref());
        }
        Ok(())
    }

    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let x = &bottoms[0];
        let axis = self.axis(x)?;
        if x.count_from(axis) != self.k {
            return Err(Error::shape(format!(
                "{} values a row from axis {axis} of bottom {x} on, but the weights are made for {}",
                x.count_from(axis),
                self.k
            ))
            .help("an inner product takes inputs of one size; resize them, or make the net convolutional"));
        }
        self.m = x.count_range(0, axis);
        let mut y = x.dims()[..axis].to_vec();
        y.push(self.n);
        Ok(vec![Shape::new(&y)])
    }

    fn traits(&self) -> Traits {
        Traits {
            backward_reads: Reads::BOTTOMS,
            ..Traits::default()
        }
    }

    fn absorb(&mut self, tail: Tail) -> bool {
        match tail {
            // Axis 1 of the top is that of the outputs.
            Tail::Affine => self.param.axis() == 1 && self.taken.take(tail),
            Tail::Act(_) => self.taken.take(tail),
            _ => false,
        }
    }

    fn prepack(&mut self, io: &mut Prepack<'_>) -> Result<bool> {
        self.folded.fold(io, self.param.transpose());
        let Some(reduction) = self.reduction else {
            return Ok(io.then.is_some());
        };
        let (dims, columns) = ((self.n, self.k), self.param.transpose());
        let weights = if io.then.is_some() {
            &self.folded.weights
        } else {
            let bias = io.params.get(1);
            self.folded.bias = bias.map_or_else(Vec::new, |b| b.value.data.clone());
            &io.params[0].value.data
        };
        let made = ReducedInner::new(dims, weights, columns, reduction)
            .map_err(|why| Error::unsupported(why).help("run this net in bf16"))?;
        self.reduced = Some(made);
        self.folded.weights = Vec::new();
        Ok(true)
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        if let Some(reduced) = &self.reduced {
            let bias = Some(&self.folded.bias[..]).filter(|bias| !bias.is_empty());
            reduced.forward(io.bottoms[0].data, bias, self.taken.act, io.tops[0].data);
            return Ok(());
        }
        let mut product = Gemm::new(self.m, self.n, self.k);
        if !self.param.transpose() {
            product = product.trans_b();
        }
        let (weight, bias) = if self.taken.affine {
            (&self.folded.weights, Some(&self.folded.bias))
        } else {
            let bias = io.params.get(1).map(|bias| &bias.value.data);
            (&io.params[0].value.data, bias)
        };
        let bias = bias.map_or(Bias::None, |bias| Bias::PerCol(bias));
        let product = product.bias(bias).act(self.taken.act);
        gemm(&product, io.bottoms[0].data, weight, io.tops[0].data);
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let (m, n, k) = (self.m, self.n, self.k);
        let (x, dy) = (io.bottom(0).data, io.top_diff().data);
        let transpose = self.param.transpose();
        if io.params[0].wants_grad() {
            let dw = &mut io.params[0].grad;
            if transpose {
                gemm(&Gemm::new(k, n, m).trans_a().beta(1.0), x, dy, dw);
            } else {
                gemm(&Gemm::new(n, k, m).trans_a().beta(1.0), dy, x, dw);
            }
        }
        if let Some(bias) = io.params.get_mut(1).filter(|bias| bias.wants_grad()) {
            reduce::channel_sum_add(dy, (n, 1), &mut bias.grad);
        }
        if let Some(dx) = &mut io.bottom_diffs[0] {
            let mut product = Gemm::new(m, k, n);
            if transpose {
                product = product.trans_b();
            }
            gemm(&product, dy, &io.params[0].value.data, dx.data);
        }
        Ok(())
    }

    fn reducible(&self) -> bool {
        true
    }

    fn reduce(&mut self, to: Reduction) -> Result<()> {
        self.reduction = Some(to);
        Ok(())
    }

    fn flops(&self) -> u64 {
        let bias = u64::from(self.param.bias_term());
        (self.m as u64) * (self.n as u64) * (2 * self.k as u64 + bias)
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, assert_close, check_gradient, error_of, noise, tensor};

    const SMALL: &str = "type: 'InnerProduct' inner_product_param { num_output: 2 }";
    const FILLED: &str = "num_output: 3 weight_filler { type: 'gaussian' std: 0.5 }
        bias_filler { type: 'gaussian' std: 0.5 }";

    #[test]
    fn by_hand() {
        // x = [1 2 3]   W = [1 0 2]  b = [10 20]
        //     [4 5 6]       [0 1 1]
        let x = tensor(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let mut bench = Bench::new(SMALL, &[x])
            .param(0, &[1.0, 0.0, 2.0, 0.0, 1.0, 1.0])
            .param(1, &[10.0, 20.0]);
        assert_close(bench.forward(), &[17.0, 25.0, 26.0, 31.0], 1e-6);
        let got = bench.backward(&[1.0, 0.0, 0.0, 2.0], &[0]);
        let dx = &got.bottoms[0].as_ref().unwrap().data;
        assert_close(dx, &[1.0, 0.0, 2.0, 0.0, 2.0, 2.0], 1e-6);
        assert_close(&got.params[0], &[1.0, 2.0, 3.0, 8.0, 10.0, 12.0], 1e-6);
        assert_close(&got.params[1], &[1.0, 2.0], 1e-6);
        assert_eq!(bench.layer.flops(), 2 * 2 * (2 * 3 + 1));
    }

    #[test]
    fn gradients() {
        for options in [
            "",
            "transpose: true",
            "bias_term: false axis: 2",
            "axis: -3",
        ] {
            let text = format!("type: 'InnerProduct' inner_product_param {{ {FILLED} {options} }}");
            let params: &[usize] = if options.contains("bias_term") {
                &[0]
            } else {
                &[0, 1]
            };
            check_gradient(&text, &[noise(&[2, 3, 2, 2], 1)], &[0], params);
        }
    }

    #[test]
    fn transposed_weights_mean_the_same() {
        let x = noise(&[2, 3], 1);
        let mut plain =
            Bench::new(SMALL, std::slice::from_ref(&x)).param(0, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let text = "type: 'InnerProduct' inner_product_param { num_output: 2 transpose: true }";
        let mut turned = Bench::new(text, &[x]).param(0, &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_close(plain.forward(), turned.forward(), 1e-6);
    }

    #[test]
    fn axis_shapes() {
        let shape = |axis: i32| {
            let text = format!(
                "type: 'InnerProduct' inner_product_param {{ num_output: 7 axis: {axis} }}"
            );
            Bench::new(&text, &[noise(&[2, 3, 4], 1)]).tops[0]
                .shape
                .dims()
                .to_vec()
        };
        assert_eq!(shape(0), [7]);
        assert_eq!(shape(1), [2, 7]);
        assert_eq!(shape(-1), [2, 3, 7]);
    }

    #[test]
    fn a_frozen_parameter_gets_no_gradient() {
        let mut bench = Bench::new(SMALL, &[noise(&[2, 3], 1)]);
        bench.params[0].grad.clear();
        bench.forward();
        let got = bench.backward(&[1.0; 4], &[]);
        assert!(got.bottoms[0].is_none() && got.params[0].is_empty());
        assert_eq!(got.params[1], [2.0, 2.0]);
    }

    #[test]
    fn the_batch_may_change_and_be_empty() {
        let mut bench = Bench::new(SMALL, &[noise(&[2, 3], 1)]);
        bench.set_bottom(0, noise(&[0, 3], 1)).unwrap();
        assert!(bench.forward().is_empty());
        let got = bench.backward(&[], &[0]);
        assert_eq!(got.params[1], [0.0, 0.0]);
        let error = bench.set_bottom(0, noise(&[2, 4], 1)).unwrap_err();
        assert!(error.to_string().contains("made for 3"), "{error}");
    }

    #[test]
    fn errors() {
        let error = error_of("type: 'InnerProduct'", &[noise(&[2, 3], 1)]);
        assert!(error.contains("num_output: is 0 or missing"), "{error}");
        let text = "type: 'InnerProduct' inner_product_param { num_output: 2 axis: 2 }";
        let error = error_of(text, &[noise(&[2, 3], 1)]);
        assert!(
            error.contains("axis 2 is outside a blob of 2 axes"),
            "{error}"
        );
    }
}
