//! Layers that move, join, cut and reduce blobs.

use crate::layer::LayerType;

mod split;

/// The rows of this family, sorted by type.
pub(super) const TYPES: &[&LayerType] = &[&split::TYPE];
