//! BNLL: y = ln(1 + e^x), binomial normal log likelihood.   dx = dy / (1 + e^-x).
//!
//! Shapes: x, y any, equal. Backward reads x.

use super::{
    softplus,
    unary::{Activation, GradFrom, Unary},
};
use crate::{kernels::simd, layer::LayerType};

pub(super) const TYPE: LayerType = LayerType::new("BNLL", |_| Ok(Box::new(Unary(Bnll))));

#[derive(Clone, Copy)]
struct Bnll;

impl Activation for Bnll {
    const GRAD: GradFrom = GradFrom::Bottom;

    #[inline(always)]
    fn f(&self, x: f32) -> f32 {
        softplus(x)
    }

    #[inline(always)]
    fn df(&self, x: f32) -> f32 {
        simd::sigmoid(x)
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{
        Bench, assert_close, check_gradient, check_threads, noise, tensor,
    };

    #[test]
    fn small_and_large_values_keep_their_digits() {
        let x = [
            -80.0,
            -20.0,
            -1.0,
            0.0,
            1.0,
            20.0,
            100.0,
            1e30,
            f32::INFINITY,
        ];
        let want = x.map(|x: f32| f64::from(x.max(0.0)) + (-f64::from(x).abs()).exp().ln_1p());
        let mut bench = Bench::new("type: 'BNLL'", &[tensor(&[9], &x)]);
        let got = bench.forward().to_vec();
        for (got, want) in got.iter().zip(want) {
            let error = (f64::from(*got) - want).abs();
            assert!(
                f64::from(*got) == want || error <= 4e-7 * want,
                "{got} for {want}"
            );
        }
        let mut bench = Bench::new("type: 'BNLL'", &[tensor(&[3], &[-1e30, f32::NAN, 0.0])]);
        assert!(bench.forward()[0] == 0.0 && bench.forward()[1].is_nan());
        let dx = bench.backward(&[1.0, 1.0, 1.0], &[0]).bottoms[0]
            .take()
            .unwrap();
        assert_close(&[dx.data[0], dx.data[2]], &[0.0, 0.5], 1e-6);
    }

    #[test]
    fn gradients_threads_and_in_place() {
        check_gradient("type: 'BNLL'", &[noise(&[2, 30], 1)], &[0], &[]);
        check_threads("type: 'BNLL'", &[noise(&[50_000], 1)], &[0]);
        Bench::new("type: 'BNLL'", &[noise(&[2, 30], 1)]).check_in_place();
    }
}
