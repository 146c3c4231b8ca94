//! Layers that move, join, cut and reduce blobs.

use crate::layer::LayerType;

mod arg_max;
mod axpy;
mod batch_reindex;
mod concat;
mod eltwise;
mod filter;
mod flatten;
mod parameter;
mod permute;
mod reduction;
mod reorg;
mod reshape;
mod shuffle_channel;
mod silence;
mod slice;
mod softmax;
mod split;
mod strips;
mod tile;

/// The rows of this family, sorted by type.
pub(super) const TYPES: &[&LayerType] = &[
    &arg_max::TYPE,
    &axpy::TYPE,
    &batch_reindex::TYPE,
    &concat::TYPE,
    &eltwise::TYPE,
    &filter::TYPE,
    &flatten::TYPE,
    &parameter::TYPE,
    &permute::TYPE,
    &reduction::TYPE,
    &reorg::TYPE,
    &reshape::TYPE,
    &shuffle_channel::TYPE,
    &silence::TYPE,
    &slice::TYPE,
    &softmax::TYPE,
    &split::TYPE,
    &tile::TYPE,
];
