//! Exp: y = b^(`shift` + `scale` · x), b = `base`, -1 for e.   dx = dy · y · `scale` · ln b.
//!
//! Shapes: x, y any, equal. Backward reads y.

use super::{
    logarithm,
    unary::{Activation, GradFrom, Unary},
};
use crate::{kernels::simd, layer::LayerType};

pub(super) const TYPE: LayerType = LayerType::new("Exp", |def| {
    let param = def.param.exp_param.unwrap_or_default();
    let ln = logarithm::of_base(def, "exp_param.base", param.base())?;
    Ok(Box::new(Unary(Exp {
        inner: ln * param.scale(),
        // In double precision, as b^shift and not by its logarithm's rounding.
        outer: (f64::from(ln) * f64::from(param.shift())).exp() as f32,
    })))
});

/// y = outer · e^(inner · x).
#[derive(Clone, Copy)]
struct Exp {
    inner: f32,
    outer: f32,
}

impl Activation for Exp {
    const GRAD: GradFrom = GradFrom::Top;

    #[inline(always)]
    fn f(&self, x: f32) -> f32 {
        self.outer * simd::exp(self.inner * x)
    }

    #[inline(always)]
    fn df(&self, y: f32) -> f32 {
        self.inner * y
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{
        Bench, assert_close, check_gradient, check_threads, error_of, noise, tensor,
    };

    #[test]
    fn by_hand() {
        let text = "type: 'Exp' exp_param { base: 2 scale: 3 shift: -1 }";
        let mut bench = Bench::new(text, &[tensor(&[3], &[0.0, 1.0, -1.0])]);
        assert_close(bench.forward(), &[0.5, 4.0, 0.0625], 1e-6);
        let dx = bench.backward(&[1.0, 2.0, 0.0], &[0]).bottoms[0]
            .take()
            .unwrap();
        let slope = 3.0 * 2f32.ln();
        assert_close(&dx.data, &[0.5 * slope, 8.0 * slope, 0.0], 1e-6);
        bench.check_in_place();
        let mut bench = Bench::new("type: 'Exp'", &[tensor(&[2], &[1.0, 1000.0])]);
        assert_close(&bench.forward()[..1], &[std::f32::consts::E], 1e-6);
        assert_eq!(bench.forward()[1], f32::INFINITY);
    }

    #[test]
    fn gradients_and_threads() {
        for options in ["", "base: 10 scale: 0.5 shift: 0.1", "base: 1"] {
            let text = format!("type: 'Exp' exp_param {{ {options} }}");
            check_gradient(&text, &[noise(&[2, 30], 1)], &[0], &[]);
            check_threads(&text, &[noise(&[50_000], 1)], &[0]);
        }
    }

    #[test]
    fn errors() {
        for base in ["0", "-2", "inf", "nan"] {
            let text = format!("type: 'Exp' exp_param {{ base: {base} }}");
            let error = error_of(&text, &[noise(&[2], 1)]);
            assert!(error.contains("exp_param.base"), "{error}");
        }
    }
}
