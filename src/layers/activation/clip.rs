//! Clip: y = x between `min` and `max`, and the nearer of the two outside.   dx = dy where min <= x <= max, else 0.
//!
//! Shapes: x, y any, equal. Backward reads x.
//! Departures: NaN stays NaN, where Caffe makes it `min`; `min` above `max` is an error.

use super::unary::{Activation, GradFrom, Unary};
use crate::layer::LayerType;

pub(super) const TYPE: LayerType = LayerType::new("Clip", |def| {
    let param = def.param.clip_param.unwrap_or_default();
    let (low, high) = (param.min, param.max);
    if low.is_nan() || high.is_nan() || low > high {
        return Err(def.invalid("clip_param.min", format!("{low} is not below max, {high}")));
    }
    Ok(Box::new(Unary(Clip { low, high })))
});

#[derive(Clone, Copy)]
struct Clip {
    low: f32,
    high: f32,
}

impl Activation for Clip {
    const GRAD: GradFrom = GradFrom::Bottom;

    #[inline(always)]
    fn f(&self, x: f32) -> f32 {
        let y = if x < self.low { self.low } else { x };
        if y > self.high { self.high } else { y }
    }

    #[inline(always)]
    fn df(&self, x: f32) -> f32 {
        if x >= self.low && x <= self.high {
            1.0
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, check_gradient, check_threads, error_of, noise, tensor};

    const TEXT: &str = "type: 'Clip' clip_param { min: -0.5 max: 0.25 }";

    #[test]
    fn by_hand() {
        let x = tensor(&[4], &[-1.0, -0.5, 0.0, 1.0]);
        let mut bench = Bench::new(TEXT, &[x]);
        assert_eq!(bench.forward(), [-0.5, -0.5, 0.0, 0.25]);
        let dx = bench.backward(&[1.0; 4], &[0]).bottoms[0].take().unwrap();
        assert_eq!(dx.data, [0.0, 1.0, 1.0, 0.0]);
        bench.check_in_place();
        let mut bench = Bench::new(TEXT, &[tensor(&[1], &[f32::NAN])]);
        assert!(bench.forward()[0].is_nan());
    }

    #[test]
    fn gradients_and_threads() {
        let x = tensor(&[5], &[-0.9, -0.4, 0.1, 0.2, 0.9]);
        check_gradient(TEXT, &[x], &[0], &[]);
        check_threads(TEXT, &[noise(&[50_000], 1)], &[0]);
    }

    #[test]
    fn errors() {
        for range in ["min: 1 max: 0.5", "min: nan max: 1", "min: 0 max: nan"] {
            let text = format!("type: 'Clip' clip_param {{ {range} }}");
            let error = error_of(&text, &[noise(&[2], 1)]);
            assert!(error.contains("clip_param.min"), "{error}");
        }
    }
}
