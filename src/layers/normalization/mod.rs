//! Layers that bring values to a common scale.

use crate::layer::LayerType;

/// The rows of this family, sorted by type.
pub(super) const TYPES: &[&LayerType] = &[];
