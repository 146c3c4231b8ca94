//! HSwish: y = x · min(max(x + 3, 0), 6) / 6.   dx = dy · (2x + 3) / 6 where -3 <= x <= 3, 0 below, dy above.
//!
//! Shapes: x, y any, equal. Backward reads x. Also known as HardSwish.
//! Source: Howard et al. 2019, "Searching for MobileNetV3", section 5.2; the forks' layer.

use super::unary::{Activation, GradFrom, Unary};
use crate::layer::LayerType;

pub(super) const TYPE: LayerType = LayerType::new("HSwish", |_| Ok(Box::new(Unary(HSwish))));

#[derive(Clone, Copy)]
struct HSwish;

impl Activation for HSwish {
    const GRAD: GradFrom = GradFrom::Bottom;

    #[inline(always)]
    fn f(&self, x: f32) -> f32 {
        let gate = if x < -3.0 { 0.0 } else { x + 3.0 };
        x * (if x > 3.0 { 6.0 } else { gate } / 6.0)
    }

    #[inline(always)]
    fn df(&self, x: f32) -> f32 {
        let slope = (2.0 * x + 3.0) / 6.0;
        let slope = if x < -3.0 { 0.0 } else { slope };
        if x > 3.0 { 1.0 } else { slope }
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{
        Bench, assert_close, check_gradient, check_threads, noise, tensor,
    };

    #[test]
    fn by_hand() {
        for kind in ["HSwish", "HardSwish"] {
            let text = format!("type: '{kind}'");
            let x = tensor(&[6], &[-5.0, -3.0, -1.5, 0.0, 1.5, 4.0]);
            let mut bench = Bench::new(&text, &[x]);
            assert_close(bench.forward(), &[0.0, 0.0, -0.375, 0.0, 1.125, 4.0], 1e-6);
            let dx = bench.backward(&[1.0; 6], &[0]).bottoms[0].take().unwrap();
            assert_close(&dx.data, &[0.0, -0.5, 0.0, 0.5, 1.0, 1.0], 1e-6);
            bench.check_in_place();
            let mut x = noise(&[2, 30], 1);
            x.data.iter_mut().for_each(|x| *x = *x * 5.0 + 0.05);
            check_gradient(&text, &[x], &[0], &[]);
            check_threads(&text, &[noise(&[50_000], 1)], &[0]);
        }
    }
}
