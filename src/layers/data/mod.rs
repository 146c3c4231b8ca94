//! Layers that bring blobs into a net, and the one that takes them out.

mod annotated_data;
#[allow(clippy::module_inception, reason = "a file is named after its layer")]
mod data;
mod dense_image_data;
mod dummy_data;
mod fed;
mod hdf5_data;
mod hdf5_output;
mod image_data;
mod image_seg_data;
mod input;
mod memory_data;
mod records;
#[cfg(test)]
mod testing;
mod video_data;
mod window_data;

pub(crate) use dummy_data::is_constant;

use crate::{
    error::Result,
    layer::{LayerDef, LayerType},
    tensor::Shape,
};

/// The rows of this family, sorted by type.
pub(super) const TYPES: &[&LayerType] = &[
    &annotated_data::TYPE,
    &data::TYPE,
    &dense_image_data::TYPE,
    &dummy_data::TYPE,
    &hdf5_data::TYPE,
    &hdf5_output::TYPE,
    &image_data::TYPE,
    &image_seg_data::TYPE,
    &input::TYPE,
    &memory_data::TYPE,
    &video_data::TYPE,
    &window_data::TYPE,
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
