//! Losses and measurements, and the product that makes the scores of a margin loss.

use super::normalize;
use crate::layer::LayerType;

mod accuracy;
mod center_loss;
mod ctc_loss;
mod euclidean_loss;
mod labels;
mod labelsequence_accuracy;
mod margin_inner_product;
mod smooth_l1_loss;
mod softmax_with_loss;
mod triplet_loss;

/// The rows of this family, sorted by type.
pub(super) const TYPES: &[&LayerType] = &[
    &accuracy::TYPE,
    &center_loss::TYPE,
    &ctc_loss::TYPE,
    &euclidean_loss::TYPE,
    &labelsequence_accuracy::TYPE,
    &margin_inner_product::TYPE,
    &smooth_l1_loss::TYPE,
    &softmax_with_loss::TYPE,
    &triplet_loss::TYPE,
];
