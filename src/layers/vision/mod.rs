//! Layers over images: windows that slide.

use crate::layer::LayerType;

mod convolution;
mod geometry;
mod pooling;

/// The rows of this family, sorted by type.
pub(super) const TYPES: &[&LayerType] = &[&convolution::TYPE, &pooling::TYPE];
