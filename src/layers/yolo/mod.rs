//! Detection of objects as YOLO does it: a grid of cells, each with a box from every anchor.

use crate::layer::LayerType;

mod found;
mod grid;
mod rect;
mod region_loss;
mod truths;
mod yolo_detection_output;
mod yolov3;
mod yolov3_detection_output;

/// The rows of this family, sorted by type.
pub(super) const TYPES: &[&LayerType] = &[
    &region_loss::TYPE,
    &yolo_detection_output::TYPE,
    &yolov3::TYPE,
    &yolov3_detection_output::TYPE,
];
