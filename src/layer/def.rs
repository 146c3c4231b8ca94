//! What a layer is built from.

use std::path::{Path, PathBuf};

use crate::{
    error::Error,
    schema::{LayerParameter, Phase},
};

/// The definition of one layer: its message and the circumstances of the net.
#[derive(Clone, Debug)]
pub struct LayerDef {
    /// The layer's message.
    pub param: LayerParameter,
    /// TRAIN or TEST.
    pub phase: Phase,
    /// Whether the net is made to run backward; without it a layer need keep nothing for that.
    pub backward: bool,
    /// Relative paths in the message start here; empty means the working directory.
    pub root: PathBuf,
    /// The seed of the run.
    pub seed: u64,
    /// The layer's index in its net: names its random streams.
    pub index: u64,
}

impl LayerDef {
    /// The error that `field` (a path from the layer: `pooling_param.stride`) has a value that makes no sense.
    pub fn invalid(&self, field: &str, why: impl std::fmt::Display) -> Error {
        Error::param(field, why)
    }

    /// A path of the message, seen from the net's root.
    pub fn path(&self, path: &str) -> PathBuf {
        if self.root.as_os_str().is_empty() {
            Path::new(path).to_path_buf()
        } else {
            self.root.join(path)
        }
    }

    /// Whether the net trains.
    pub fn is_train(&self) -> bool {
        self.phase == Phase::Train
    }
}
