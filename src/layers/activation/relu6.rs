//! ReLU6: y = min(max(x, 0), 6) + s · min(x, 0), s = `negative_slope` of `relu6_param`.
//!
//! dx = dy where 0 < x < 6, 0 above, s · dy below.
//!
//! Shapes: x, y any, equal. Backward reads y, which tells where x was for s >= 0; a negative slope reads x.
//! Source: Howard et al. 2017, "MobileNets"; the forks' layer of this name.

use super::unary::{Activation, GradFrom, Unary};
use crate::layer::LayerType;

pub(super) const TYPE: LayerType = LayerType::new("ReLU6", |def| {
    let slope = def.param.relu6_param.unwrap_or_default().negative_slope();
    if slope >= 0.0 {
        Ok(Box::new(Unary(Relu6::<false> { slope })))
    } else {
        Ok(Box::new(Unary(Relu6::<true> { slope })))
    }
});

/// Folding: y no longer tells where x was.
#[derive(Clone, Copy)]
struct Relu6<const FOLDS: bool> {
    slope: f32,
}

impl<const FOLDS: bool> Activation for Relu6<FOLDS> {
    const GRAD: GradFrom = if FOLDS {
        GradFrom::Bottom
    } else {
        GradFrom::Top
    };

    #[inline(always)]
    fn f(&self, x: f32) -> f32 {
        let y = x * if x > 0.0 { 1.0 } else { self.slope };
        if x > 6.0 { 6.0 } else { y }
    }

    #[inline(always)]
    fn df(&self, seen: f32) -> f32 {
        let slope = if seen > 0.0 { 1.0 } else { self.slope };
        if seen >= 6.0 { 0.0 } else { slope }
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, check_gradient, check_threads, noise, tensor};

    #[test]
    fn by_hand() {
        for slope in [0.0, 0.5, -0.5] {
            let text = format!("type: 'ReLU6' relu6_param {{ negative_slope: {slope} }}");
            let x = tensor(&[6], &[-1.0, 0.0, 2.0, 6.0, 8.0, -20.0]);
            let mut bench = Bench::new(&text, &[x]);
            assert_eq!(bench.forward(), [-slope, 0.0, 2.0, 6.0, 6.0, -20.0 * slope]);
            let dx = bench.backward(&[1.0; 6], &[0]).bottoms[0].take().unwrap();
            assert_eq!(dx.data, [slope, slope, 1.0, 0.0, 0.0, slope]);
            bench.check_in_place();
            let mut x = noise(&[2, 30], 1);
            x.data.iter_mut().for_each(|x| *x = *x * 10.0 + 0.05);
            check_gradient(&text, &[x], &[0], &[]);
            check_threads(&text, &[noise(&[50_000], 1)], &[0]);
        }
        let mut bench = Bench::new("type: 'ReLU6'", &[tensor(&[1], &[f32::NAN])]);
        assert!(bench.forward()[0].is_nan());
    }
}
