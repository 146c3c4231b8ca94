//! Mish: y = x · t, t = tanh(ln(1 + e^x)).   dx = dy · (t + x · (1 - t²) / (1 + e^-x)).
//!
//! Shapes: x, y any, equal. Backward reads x.
//! Source: Misra 2019, "Mish: A Self Regularized Non-Monotonic Activation Function"; the forks' layer.

use super::unary::{Activation, GradFrom, Unary};
use crate::{kernels::simd, layer::LayerType};

pub(super) const TYPE: LayerType = LayerType::new("Mish", |_| Ok(Box::new(Unary(Mish))));

#[derive(Clone, Copy)]
struct Mish;

/// tanh(ln(1 + e^x)) = n / (n + 2) for n = e^x · (e^x + 2).
#[inline(always)]
fn gate(x: f32) -> f32 {
    // From here on the gate is 1, and the square of e^x must not overflow.
    let e = simd::exp(if x > 20.0 { 20.0 } else { x });
    let n = e * (e + 2.0);
    n / (n + 2.0)
}

impl Activation for Mish {
    const GRAD: GradFrom = GradFrom::Bottom;

    #[inline(always)]
    fn f(&self, x: f32) -> f32 {
        x * gate(x)
    }

    #[inline(always)]
    fn df(&self, x: f32) -> f32 {
        let t = gate(x);
        t + x * (1.0 - t * t) * simd::sigmoid(x)
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{
        Bench, assert_close, check_gradient, check_threads, noise, tensor,
    };

    #[test]
    fn agrees_with_the_definition_in_double_precision() {
        let x: Vec<f32> = (-40..60).map(|i| i as f32 * 0.75).collect();
        let exact = |x: f64| x * x.exp().ln_1p().tanh();
        let want: Vec<f32> = x.iter().map(|&x| exact(x.into()) as f32).collect();
        let mut bench = Bench::new("type: 'Mish'", &[tensor(&[100], &x)]);
        assert_close(bench.forward(), &want, 1e-6);
        let slope = |x: f64| (exact(x + 1e-6) - exact(x - 1e-6)) / 2e-6;
        let want: Vec<f32> = x.iter().map(|&x| slope(x.into()) as f32).collect();
        let dx = bench.backward(&[1.0; 100], &[0]).bottoms[0].take().unwrap();
        assert_close(&dx.data, &want, 1e-5);
        bench.check_in_place();
        check_gradient("type: 'Mish'", &[noise(&[2, 30], 1)], &[0], &[]);
        check_threads("type: 'Mish'", &[noise(&[50_000], 1)], &[0]);
    }
}
