//! Layers that look at a blob as a whole: products, dropout.

use crate::layer::LayerType;

/// The rows of this family, sorted by type.
pub(super) const TYPES: &[&LayerType] = &[];
