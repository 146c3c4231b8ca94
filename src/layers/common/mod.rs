//! Layers that look at a blob as a whole: products, dropout.

use crate::layer::LayerType;

mod dropout;
mod inner_product;

/// The rows of this family, sorted by type.
pub(super) const TYPES: &[&LayerType] = &[&dropout::TYPE, &inner_product::TYPE];
