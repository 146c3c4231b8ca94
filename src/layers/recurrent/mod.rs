//! Layers that carry a state from step to step of a sequence.

use crate::layer::LayerType;

mod cell;
mod continuation_indicator;
mod lstm;
mod lstm_unit;
mod rnn;
mod sequence;

/// The rows of this family, sorted by type.
pub(super) const TYPES: &[&LayerType] = &[
    &continuation_indicator::TYPE,
    &lstm::TYPE,
    &lstm_unit::TYPE,
    &rnn::TYPE,
];
