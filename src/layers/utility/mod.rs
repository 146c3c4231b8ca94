//! Layers that move, join, cut and reduce blobs.

use crate::layer::LayerType;

mod concat;
mod eltwise;
mod filter;
mod flatten;
mod reshape;
mod silence;
mod slice;
mod softmax;
mod split;
mod strips;

/// The rows of this family, sorted by type.
pub(super) const TYPES: &[&LayerType] = &[
    &concat::TYPE,
    &eltwise::TYPE,
    &filter::TYPE,
    &flatten::TYPE,
    &reshape::TYPE,
    &silence::TYPE,
    &slice::TYPE,
    &softmax::TYPE,
    &split::TYPE,
];
