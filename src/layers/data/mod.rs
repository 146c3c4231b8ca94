//! Layers that bring blobs into a net, and the one that takes them out.

#[allow(clippy::module_inception, reason = "a file is named after its layer")]
mod data;
mod dummy_data;
mod hdf5_data;
mod hdf5_output;
mod input;

use crate::{
    error::Result,
    layer::{LayerDef, LayerType},
    tensor::Shape,
};

/// The rows of this family, sorted by type.
pub(super) const TYPES: &[&LayerType] = &[
    &data::TYPE,
    &dummy_data::TYPE,
    &hdf5_data::TYPE,
    &hdf5_output::TYPE,
    &input::TYPE,
];

/// The shape that a `BlobShape` of the prototxt tells.
pub(super) fn shape(def: &LayerDef, field: &str, dims: &[i64]) -> Result<Shape> {
    let dims = dims
        .iter()
        .map(|&d| usize::try_from(d))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| def.invalid(field, "an extent is negative"))?;
    Shape::checked(&dims)
}
