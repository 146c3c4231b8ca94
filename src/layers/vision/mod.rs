//! Layers over images: windows that slide.

use crate::layer::LayerType;

mod convolution;
mod convolution_depthwise;
mod crop;
mod deconvolution;
mod depthwise_convolution;
pub(crate) mod filters;
pub(crate) mod geometry;
mod im2col;
mod interp;
mod pool;
pub(crate) mod pooling;
mod spp;
mod upsample;

/// The rows of this family, sorted by type.
pub(super) const TYPES: &[&LayerType] = &[
    &convolution::TYPE,
    &convolution_depthwise::TYPE,
    &crop::TYPE,
    &deconvolution::TYPE,
    &depthwise_convolution::TYPE,
    &im2col::TYPE,
    &interp::TYPE,
    &pooling::TYPE,
    &spp::TYPE,
    &upsample::TYPE,
];
