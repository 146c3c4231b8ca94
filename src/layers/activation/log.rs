//! Log: y = log_b(`shift` + `scale` · x), b = `base`, -1 for e.   dx = dy · `scale` / (ln b · (`shift` + `scale` · x)).
//!
//! Shapes: x, y any, equal. Backward reads x. The logarithm of 0 is -∞, of less NaN.

use super::{
    logarithm,
    unary::{Activation, GradFrom, Unary},
};
use crate::{kernels::simd, layer::LayerType};

pub(super) const TYPE: LayerType = LayerType::new("Log", |def| {
    let param = def.param.log_param.unwrap_or_default();
    let ln = logarithm::of_base(def, "log_param.base", param.base())?;
    if ln == 0.0 {
        return Err(def.invalid("log_param.base", "is 1, to which there are no logarithms"));
    }
    Ok(Box::new(Unary(Log {
        scale: param.scale(),
        shift: param.shift(),
        by: 1.0 / ln,
        slope: param.scale() / ln,
    })))
});

/// y = by · ln(shift + scale · x).
#[derive(Clone, Copy)]
struct Log {
    scale: f32,
    shift: f32,
    by: f32,
    slope: f32,
}

impl Activation for Log {
    const GRAD: GradFrom = GradFrom::Bottom;

    #[inline(always)]
    fn f(&self, x: f32) -> f32 {
        self.by * simd::ln(self.shift + self.scale * x)
    }

    #[inline(always)]
    fn df(&self, x: f32) -> f32 {
        self.slope / (self.shift + self.scale * x)
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{
        Bench, assert_close, check_gradient, check_threads, error_of, noise, tensor,
    };

    #[test]
    fn by_hand() {
        let text = "type: 'Log' log_param { base: 2 scale: 3 shift: 2 }";
        let mut bench = Bench::new(text, &[tensor(&[2], &[0.0, 2.0])]);
        assert_close(bench.forward(), &[1.0, 3.0], 1e-6);
        let dx = bench.backward(&[1.0, 8.0], &[0]).bottoms[0].take().unwrap();
        let slope = 3.0 / 2f32.ln();
        assert_close(&dx.data, &[0.5 * slope, slope], 1e-6);
        bench.check_in_place();
        let mut bench = Bench::new("type: 'Log'", &[tensor(&[2], &[0.0, -1.0])]);
        assert!(bench.forward()[0] == f32::NEG_INFINITY && bench.forward()[1].is_nan());
    }

    #[test]
    fn gradients_and_threads() {
        for options in [
            "shift: 2",
            "base: 10 scale: 0.5 shift: 2",
            "base: 0.5 shift: 1.5",
        ] {
            let text = format!("type: 'Log' log_param {{ {options} }}");
            check_gradient(&text, &[noise(&[2, 30], 1)], &[0], &[]);
            check_threads(&text, &[noise(&[50_000], 1)], &[0]);
        }
    }

    #[test]
    fn errors() {
        for base in ["0", "1", "-2", "inf", "nan"] {
            let text = format!("type: 'Log' log_param {{ base: {base} }}");
            let error = error_of(&text, &[noise(&[2], 1)]);
            assert!(error.contains("log_param.base"), "{error}");
        }
    }
}
