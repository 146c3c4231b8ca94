//! Layers over images: windows that slide.

use crate::layer::LayerType;

/// The rows of this family, sorted by type.
pub(super) const TYPES: &[&LayerType] = &[];
