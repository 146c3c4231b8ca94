//! Detection of objects as SSD and the R-CNN family do it: boxes and regions, and what is done with them.

use super::normalize;
use crate::layer::LayerType;

mod anchors;
mod box_annotator_ohem;
mod boxes;
mod confidence;
mod detection_evaluate;
mod detection_output;
mod layout;
mod matching;
mod mining;
mod multi_box_loss;
mod nms;
mod original;
mod prior_box;
mod proposal;
mod psroi_pooling;
mod roi_align;
mod roi_pooling;
mod rois;
mod save;
mod truth;

pub(super) use proposal::TYPE as PROPOSAL;

/// The rows of this family, sorted by type.
pub(super) const TYPES: &[&LayerType] = &[
    &box_annotator_ohem::TYPE,
    &detection_evaluate::TYPE,
    &detection_output::TYPE,
    &multi_box_loss::TYPE,
    &psroi_pooling::TYPE,
    &prior_box::TYPE,
    &proposal::TYPE,
    &roi_align::TYPE,
    &roi_pooling::TYPE,
];

#[cfg(test)]
mod tests {
    use crate::{
        layer::LayerDef,
        schema::{LayerParameter, Phase},
        text::{self, Source},
    };

    /// A definition with these fields.
    pub(super) fn def(fields: &str) -> LayerDef {
        let source = Source::new("test", fields);
        LayerDef {
            param: text::parse::<LayerParameter>("LayerParameter", &source)
                .unwrap()
                .message,
            phase: Phase::Test,
            backward: false,
            root: std::path::PathBuf::new(),
            seed: 0,
            index: 0,
        }
    }
}
