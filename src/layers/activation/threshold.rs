//! Threshold: y = 1 where x is above `threshold`, else 0. No gradient.
//!
//! Shapes: x, y any, equal.

use super::unary::{Activation, GradFrom, Unary};
use crate::layer::LayerType;

pub(super) const TYPE: LayerType = LayerType::new("Threshold", |def| {
    let level = def.param.threshold_param.unwrap_or_default().threshold();
    Ok(Box::new(Unary(Threshold { level })))
})
.no_grad(&[0]);

#[derive(Clone, Copy)]
struct Threshold {
    level: f32,
}

impl Activation for Threshold {
    const GRAD: GradFrom = GradFrom::Top;

    #[inline(always)]
    fn f(&self, x: f32) -> f32 {
        if x > self.level { 1.0 } else { 0.0 }
    }

    /// Never asked: no bottom gets a gradient.
    fn df(&self, _: f32) -> f32 {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, noise, tensor};

    #[test]
    fn by_hand() {
        let text = "type: 'Threshold' threshold_param { threshold: 0.5 }";
        let x = tensor(&[4], &[0.4, 0.5, 0.6, f32::NAN]);
        assert_eq!(Bench::new(text, &[x]).forward(), [0.0, 0.0, 1.0, 0.0]);
        let mut bench = Bench::new("type: 'Threshold'", &[noise(&[2, 3], 1)]);
        bench.check_in_place();
    }
}
