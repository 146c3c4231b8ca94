//! Layers that bring values to a common scale.

use crate::layer::LayerType;

mod batch_norm;
mod bn;
mod lrn;
mod mvn;
mod normalize_vectors;

/// The rows of this family, sorted by type.
pub(super) const TYPES: &[&LayerType] = &[
    &bn::TYPE,
    &batch_norm::TYPE,
    &lrn::TYPE,
    &mvn::TYPE,
    &normalize_vectors::TYPE,
];
