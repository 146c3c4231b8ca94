//! Sigmoid: y = 1 / (1 + e^-x).   dx = dy · y · (1 - y).
//!
//! Shapes: x, y any, equal. Backward reads y.

use super::unary::{Activation, GradFrom, Unary};
use crate::{kernels::simd, layer::LayerType};

pub(super) const TYPE: LayerType = LayerType::new("Sigmoid", |_| Ok(Box::new(Unary(Sigmoid))));

#[derive(Clone, Copy)]
struct Sigmoid;

impl Activation for Sigmoid {
    const GRAD: GradFrom = GradFrom::Top;

    #[inline(always)]
    fn f(&self, x: f32) -> f32 {
        simd::sigmoid(x)
    }

    #[inline(always)]
    fn df(&self, y: f32) -> f32 {
        y * (1.0 - y)
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{
        Bench, assert_close, check_gradient, check_threads, noise, tensor,
    };

    #[test]
    fn by_hand() {
        let ln3 = 3f32.ln();
        let x = tensor(&[5], &[0.0, ln3, -ln3, 1000.0, -1000.0]);
        let mut bench = Bench::new("type: 'Sigmoid'", &[x]);
        assert_close(bench.forward(), &[0.5, 0.75, 0.25, 1.0, 0.0], 1e-6);
        let dx = bench.backward(&[1.0; 5], &[0]).bottoms[0].take().unwrap();
        assert_close(&dx.data, &[0.25, 0.1875, 0.1875, 0.0, 0.0], 1e-6);
        bench.check_in_place();
        check_gradient("type: 'Sigmoid'", &[noise(&[2, 30], 1)], &[0], &[]);
        check_threads("type: 'Sigmoid'", &[noise(&[50_000], 1)], &[0]);
    }
}
