//! Layers that look at a blob as a whole: products, look-ups, dropout.

use crate::layer::LayerType;

mod dropout;
mod embed;
mod inner_product;
mod spatial_dropout;

pub(super) use spatial_dropout::TYPE as SPATIAL_DROPOUT;

/// The rows of this family, sorted by type.
pub(super) const TYPES: &[&LayerType] = &[
    &dropout::TYPE,
    &embed::TYPE,
    &inner_product::TYPE,
    &spatial_dropout::TYPE,
];
