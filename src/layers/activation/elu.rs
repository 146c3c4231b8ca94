//! ELU: y = x where x > 0, else α · (e^x - 1), α = `alpha`.   dx = dy where x > 0, else dy · α · e^x = dy · (y + α).
//!
//! Shapes: x, y any, equal. Backward reads y, whose sign is x's for α >= 0; a negative α reads x.

use super::unary::{Activation, GradFrom, Unary};
use crate::{kernels::simd, layer::LayerType};

pub(super) const TYPE: LayerType = LayerType::new("ELU", |def| {
    let alpha = def.param.elu_param.unwrap_or_default().alpha();
    if alpha >= 0.0 {
        Ok(Box::new(Unary(Elu::<false> { alpha })))
    } else {
        Ok(Box::new(Unary(Elu::<true> { alpha })))
    }
});

/// Folding: y no longer tells where x was.
#[derive(Clone, Copy)]
struct Elu<const FOLDS: bool> {
    alpha: f32,
}

impl<const FOLDS: bool> Activation for Elu<FOLDS> {
    const GRAD: GradFrom = if FOLDS {
        GradFrom::Bottom
    } else {
        GradFrom::Top
    };

    #[inline(always)]
    fn f(&self, x: f32) -> f32 {
        let y = self.alpha * (simd::exp(x) - 1.0);
        if x > 0.0 { x } else { y }
    }

    #[inline(always)]
    fn df(&self, seen: f32) -> f32 {
        let slope = if FOLDS {
            self.alpha * simd::exp(seen)
        } else {
            seen + self.alpha
        };
        if seen > 0.0 { 1.0 } else { slope }
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{
        Bench, assert_close, check_gradient, check_threads, noise, tensor,
    };

    #[test]
    fn by_hand() {
        for alpha in [0.0, 0.5, -0.5] {
            let text = format!("type: 'ELU' elu_param {{ alpha: {alpha} }}");
            let x = tensor(&[4], &[2.0, 0.0, -1.0, 500.0]);
            let mut bench = Bench::new(&text, &[x]);
            let e = (-1f32).exp();
            assert_close(bench.forward(), &[2.0, 0.0, alpha * (e - 1.0), 500.0], 1e-6);
            let dx = bench.backward(&[1.0; 4], &[0]).bottoms[0].take().unwrap();
            assert_close(&dx.data, &[1.0, alpha, alpha * e, 1.0], 1e-6);
            bench.check_in_place();
            check_gradient(&text, &[noise(&[2, 30], 1)], &[0], &[]);
            check_threads(&text, &[noise(&[50_000], 1)], &[0]);
        }
    }
}
