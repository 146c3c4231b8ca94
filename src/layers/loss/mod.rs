//! Losses and measurements, and the product that makes the scores of a margin loss.

use super::normalize;
use crate::layer::LayerType;

mod accuracy;
mod center_loss;
mod contrastive_loss;
mod ctc_loss;
mod dice_coef_loss;
mod euclidean_loss;
mod focal_loss;
mod hinge_loss;
mod infogain_loss;
mod labels;
mod labelsequence_accuracy;
mod margin_inner_product;
mod multinomial_logistic_loss;
mod seg_accuracy;
mod sigmoid_cross_entropy_loss;
mod smooth_l1_loss;
mod smooth_l1_loss_ohem;
mod softmax_with_loss;
mod softmax_with_loss_ohem;
mod triplet_loss;

/// The rows of this family, sorted by type.
pub(super) const TYPES: &[&LayerType] = &[
    &accuracy::TYPE,
    &center_loss::TYPE,
    &contrastive_loss::TYPE,
    &ctc_loss::TYPE,
    &dice_coef_loss::TYPE,
    &euclidean_loss::TYPE,
    &focal_loss::TYPE,
    &hinge_loss::TYPE,
    &infogain_loss::TYPE,
    &labelsequence_accuracy::TYPE,
    &margin_inner_product::TYPE,
    &multinomial_logistic_loss::TYPE,
    &seg_accuracy::TYPE,
    &sigmoid_cross_entropy_loss::TYPE,
    &smooth_l1_loss::TYPE,
    &smooth_l1_loss_ohem::TYPE,
    &softmax_with_loss::TYPE,
    &softmax_with_loss_ohem::TYPE,
    &triplet_loss::TYPE,
];
