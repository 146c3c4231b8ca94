//! ReLU: y = max(x, 0) + s · min(x, 0), s = `negative_slope`.   dx = dy where x > 0, else s · dy.
//!
//! Shapes: x, y any, equal. Backward reads y, whose sign is x's for s >= 0; a negative slope reads x.

use super::unary::{Activation, GradFrom, Unary};
use crate::layer::{Act, LayerType, Tail};

pub(super) const TYPE: LayerType = LayerType::new("ReLU", |def| {
    let slope = def
        .param
        .relu_param
        .as_ref()
        .map_or(0.0, |param| param.negative_slope());
    Ok(if slope >= 0.0 {
        Box::new(Unary(Relu { slope }))
    } else {
        Box::new(Unary(Folding { slope }))
    })
});

#[derive(Clone, Copy)]
struct Relu {
    slope: f32,
}

impl Activation for Relu {
    const GRAD: GradFrom = GradFrom::Top;

    #[inline(always)]
    fn f(&self, x: f32) -> f32 {
        // A product, for of two values the compiler would store only the one that differs, by a branch.
        x * if x > 0.0 { 1.0 } else { self.slope }
    }

    fn tail(&self) -> Option<Tail> {
        Some(Tail::Act(Act::Relu(self.slope)))
    }

    #[inline(always)]
    fn df(&self, y: f32) -> f32 {
        if y > 0.0 { 1.0 } else { self.slope }
    }
}

/// A slope below zero folds the line: y no longer tells where x was.
#[derive(Clone, Copy)]
struct Folding {
    slope: f32,
}

impl Activation for Folding {
    const GRAD: GradFrom = GradFrom::Bottom;

    #[inline(always)]
    fn f(&self, x: f32) -> f32 {
        x * if x > 0.0 { 1.0 } else { self.slope }
    }

    fn tail(&self) -> Option<Tail> {
        Some(Tail::Act(Act::Relu(self.slope)))
    }

    #[inline(always)]
    fn df(&self, x: f32) -> f32 {
        if x > 0.0 { 1.0 } else { self.slope }
    }
}
