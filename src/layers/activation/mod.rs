//! Layers that work element by element.

use crate::layer::LayerType;

mod bias;
mod broadcast;
mod power;
mod relu;
mod scale;
mod tanh;
mod unary;

/// The rows of this family, sorted by type.
pub(super) const TYPES: &[&LayerType] = &[
    &bias::TYPE,
    &power::TYPE,
    &relu::TYPE,
    &scale::TYPE,
    &tanh::TYPE,
];
