//! AbsVal: y = |x|.   dx = dy · sign(x), 0 at 0.
//!
//! Shapes: x, y any, equal. Backward reads x. In place is fine, where Caffe refuses it.

use super::unary::{Activation, GradFrom, Unary};
use crate::layer::LayerType;

pub(super) const TYPE: LayerType = LayerType::new("AbsVal", |_| Ok(Box::new(Unary(AbsVal))));

#[derive(Clone, Copy)]
struct AbsVal;

impl Activation for AbsVal {
    const GRAD: GradFrom = GradFrom::Bottom;

    #[inline(always)]
    fn f(&self, x: f32) -> f32 {
        x.abs()
    }

    #[inline(always)]
    fn df(&self, x: f32) -> f32 {
        f32::from(i8::from(x > 0.0) - i8::from(x < 0.0))
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, check_gradient, check_threads, noise, tensor};

    #[test]
    fn by_hand() {
        let mut bench = Bench::new("type: 'AbsVal'", &[tensor(&[3], &[-2.0, 0.0, 3.0])]);
        assert_eq!(bench.forward(), [2.0, 0.0, 3.0]);
        let dx = bench.backward(&[1.0, 1.0, 1.0], &[0]).bottoms[0].take();
        assert_eq!(dx.unwrap().data, [-1.0, 0.0, 1.0]);
        bench.check_in_place();
        check_gradient("type: 'AbsVal'", &[noise(&[2, 30], 1)], &[0], &[]);
        check_threads("type: 'AbsVal'", &[noise(&[50_000], 1)], &[0]);
    }
}
