//! Layers that work element by element.

use crate::layer::LayerType;

mod relu;
mod tanh;
mod unary;

/// The rows of this family, sorted by type.
pub(super) const TYPES: &[&LayerType] = &[&relu::TYPE, &tanh::TYPE];
