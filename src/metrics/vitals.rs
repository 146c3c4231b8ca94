//! How the values, gradients and updates of layers look at one moment.

/// Counts of values in equal bins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// The lower edge of the first bin.
    pub low: f32,
    /// The upper edge of the last bin.
    pub high: f32,
    /// Values in each bin; those that are not finite are in none.
    pub counts: Vec<u64>,
}

/// One blob, as a layer left it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BlobVitals {
    /// The blob's name.
    pub name: String,
    /// The mean of its finite values.
    pub mean: f64,
    /// Their standard deviation.
    pub deviation: f64,
    /// The smallest.
    pub low: f32,
    /// The largest.
    pub high: f32,
    /// The share of exact zeros.
    pub zeros: f64,
    /// How many channels (axis 1) it has; 0 where it has no such axis.
    pub channels: usize,
    /// Channels that are 0 everywhere in the batch.
    pub dead: Vec<usize>,
    /// Values that are not finite.
    pub not_finite: u64,
    /// The finite values.
    pub histogram: Histogram,
}

/// One parameter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParamVitals {
    /// Layer and place among its parameters: `conv1[0]`.
    pub name: String,
    /// Extents.
    pub shape: Vec<usize>,
    /// The mean of its values.
    pub mean: f64,
    /// Their standard deviation.
    pub deviation: f64,
    /// L2 norm of the weights before the update.
    pub norm: f64,
    /// L2 norm of the gradient, as backward left it; `None` where there is none.
    pub gradient: Option<f64>,
    /// L2 norm of what the update changed; `None` where nothing was updated.
    pub update: Option<f64>,
    /// Weights or gradients that are not finite.
    pub not_finite: u64,
    /// The weights.
    pub histogram: Histogram,
}

impl ParamVitals {
    /// The update over the weights: about 0.001 in a net that learns well. `None` where either is unknown or 0.
    pub fn ratio(&self) -> Option<f64> {
        self.update
            .filter(|_| self.norm > 0.0)
            .map(|update| update / self.norm)
    }
}

/// One layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerVitals {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// Its tops.
    pub blobs: Vec<BlobVitals>,
    /// Its parameters.
    pub params: Vec<ParamVitals>,
    /// Milliseconds of its forward step, where they were taken.
    pub forward_ms: Option<f64>,
    /// Milliseconds of its backward step, where they were taken.
    pub backward_ms: Option<f64>,
}
