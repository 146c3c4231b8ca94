//! Losses, and the measurements beside them.

use crate::layer::LayerType;

/// The rows of this family, sorted by type.
pub(super) const TYPES: &[&LayerType] = &[];
