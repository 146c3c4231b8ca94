//! TanH: y = tanh(x).   dx = dy · (1 - y²).
//!
//! Shapes: x, y any, equal.

use super::unary::{Activation, GradFrom, Unary};
use crate::{kernels::simd, layer::LayerType};

pub(super) const TYPE: LayerType = LayerType::new("TanH", |_| Ok(Box::new(Unary(Tanh))));

#[derive(Clone, Copy)]
struct Tanh;

impl Activation for Tanh {
    const GRAD: GradFrom = GradFrom::Top;

    #[inline(always)]
    fn f(&self, x: f32) -> f32 {
        simd::tanh(x)
    }

    #[inline(always)]
    fn df(&self, y: f32) -> f32 {
        1.0 - y * y
    }
}
