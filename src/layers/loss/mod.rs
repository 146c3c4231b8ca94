//! Losses and measurements.

use super::normalize;
use crate::layer::LayerType;

mod accuracy;
mod euclidean_loss;
mod labels;
mod smooth_l1_loss;
mod softmax_with_loss;

/// The rows of this family, sorted by type.
pub(super) const TYPES: &[&LayerType] = &[
    &accuracy::TYPE,
    &euclidean_loss::TYPE,
    &smooth_l1_loss::TYPE,
    &softmax_with_loss::TYPE,
];
