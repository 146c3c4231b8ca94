//! Swish: y = x · s, s = 1 / (1 + e^(-βx)), β = `beta`.   dx = dy · (s + βy · (1 - s)).
//!
//! Shapes: x, y any, equal. Backward reads x.

use super::unary::{Activation, GradFrom, Unary};
use crate::{kernels::simd, layer::LayerType};

pub(super) const TYPE: LayerType = LayerType::new("Swish", |def| {
    let beta = def.param.swish_param.unwrap_or_default().beta();
    Ok(Box::new(Unary(Swish { beta })))
});

#[derive(Clone, Copy)]
struct Swish {
    beta: f32,
}

impl Activation for Swish {
    const GRAD: GradFrom = GradFrom::Bottom;

    #[inline(always)]
    fn f(&self, x: f32) -> f32 {
        x * simd::sigmoid(self.beta * x)
    }

    #[inline(always)]
    fn df(&self, x: f32) -> f32 {
        let s = simd::sigmoid(self.beta * x);
        s + self.beta * x * s * (1.0 - s)
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
        let text = "type: 'Swish' swish_param { beta: 2 }";
        let x = tensor(&[4], &[0.0, ln3 / 2.0, -ln3 / 2.0, 500.0]);
        let mut bench = Bench::new(text, &[x]);
        assert_close(
            bench.forward(),
            &[0.0, 0.375 * ln3, -0.125 * ln3, 500.0],
            1e-6,
        );
        let dx = bench.backward(&[1.0; 4], &[0]).bottoms[0].take().unwrap();
        let bend = ln3 * 0.1875;
        assert_close(&dx.data, &[0.5, 0.75 + bend, 0.25 - bend, 1.0], 1e-6);
        bench.check_in_place();
        for text in [
            text,
            "type: 'Swish'",
            "type: 'Swish' swish_param { beta: -1 }",
        ] {
            check_gradient(text, &[noise(&[2, 30], 1)], &[0], &[]);
            check_threads(text, &[noise(&[50_000], 1)], &[0]);
        }
    }
}
