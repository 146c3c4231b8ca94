//! What a line of the record says. One enum is the contract of the file `run.jsonl`, of the live stream and of the page.
//!
//! Numbers that are not finite become `null`; readers skip kinds and fields that they do not know.

use serde::{Deserialize, Serialize};

/// A line of a run's record; `t` counts seconds since the run began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Line {
    /// The first: what runs.
    Run {
        /// Of this format.
        version: u32,
        /// Program and version.
        program: String,
        /// What to call the run.
        name: String,
        /// The solver file, as named.
        solver: String,
        /// When it began, in UTC.
        started: String,
        /// Where training ends.
        max_iter: u64,
        /// The seed in force, where it is known.
        seed: Option<u64>,
        /// Iterations between displays.
        display: u64,
        /// Iterations between tests.
        test_interval: u64,
    },
    /// A net of the run.
    Net {
        /// `TRAIN` or `TEST`.
        phase: String,
        /// Index among the nets of its phase.
        index: usize,
        /// The net's name.
        name: String,
        /// Its layers, in the order in which they run.
        nodes: Vec<Node>,
    },
    /// Every iteration, thinned out.
    Step {
        /// Seconds.
        t: f64,
        /// The iteration.
        iteration: u64,
        /// The smoothed loss.
        loss: Option<f64>,
        /// The rate.
        rate: Option<f64>,
    },
    /// A displayed iteration.
    Train {
        /// Seconds.
        t: f64,
        /// The iteration.
        iteration: u64,
        /// The smoothed loss.
        loss: Option<f64>,
        /// The rate.
        rate: Option<f64>,
        /// The train net's outputs.
        outputs: Vec<Output>,
    },
    /// A test's means.
    Test {
        /// Seconds.
        t: f64,
        /// The iteration.
        iteration: u64,
        /// Index of the test net.
        net: usize,
        /// The outputs.
        outputs: Vec<Output>,
    },
    /// How scores met labels.
    Metrics {
        /// Seconds.
        t: f64,
        /// The iteration.
        iteration: u64,
        /// Index of the test net.
        net: usize,
        /// Each blob of scores.
        #[serde(default)]
        heads: Vec<Head>,
        /// Each blob of detections.
        #[serde(default)]
        detections: Vec<Detections>,
    },
    /// How layers look.
    Vitals {
        /// Seconds.
        t: f64,
        /// The iteration.
        iteration: u64,
        /// The layers.
        layers: Vec<Layer>,
    },
    /// A picture beside the record.
    Picture {
        /// Seconds.
        t: f64,
        /// The iteration.
        iteration: u64,
        /// `map`, `input`, `truth` or `answer`.
        role: String,
        /// Whose values.
        blob: String,
        /// Which of the samples.
        sample: usize,
        /// The sample's key.
        key: String,
        /// The channel, where it shows one.
        channel: Option<usize>,
        /// Words under it.
        caption: String,
        /// Where it is, from the run's folder.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        /// The picture itself, in base64, where it is not beside.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        png: Option<String>,
        /// The smallest value.
        low: Option<f64>,
        /// The largest.
        high: Option<f64>,
    },
    /// What a test did worst on.
    Worst {
        /// Seconds.
        t: f64,
        /// The iteration.
        iteration: u64,
        /// Index of the test net.
        net: usize,
        /// The samples, the worst first.
        samples: Vec<Sample>,
    },
    /// A line of the log.
    Log {
        /// Seconds.
        t: f64,
        /// `info`, `warning` or `error`.
        level: String,
        /// The text.
        text: String,
    },
    /// Weights were saved.
    Snapshot {
        /// Seconds.
        t: f64,
        /// The iteration.
        iteration: u64,
        /// The file.
        file: String,
    },
    /// Something that is wrong, or may be.
    Finding {
        /// Seconds.
        t: f64,
        /// `error`, `warning` or `note`.
        severity: String,
        /// The code that `explain` takes.
        code: String,
        /// What it is.
        message: String,
        /// Where it is.
        place: Option<String>,
        /// The way out.
        help: String,
        /// When it showed, in a run.
        iteration: Option<u64>,
    },
    /// What is wrong in the end.
    Verdict {
        /// Seconds.
        t: f64,
        /// Whether anything is.
        ill: bool,
        /// What was found.
        lines: Vec<String>,
        /// What to do.
        todo: Vec<String>,
    },
    /// The last.
    End {
        /// Seconds.
        t: f64,
        /// Iterations done.
        iteration: u64,
        /// Before `max_iter`.
        early: bool,
        /// What ended it, where it failed.
        error: Option<String>,
    },
    /// Of a later version.
    #[serde(other, skip_serializing)]
    Unknown,
}

/// A layer in [`Line::Net`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Names of its bottoms.
    pub bottoms: Vec<String>,
    /// Its tops.
    pub tops: Vec<Top>,
    /// Shapes of its parameters.
    pub params: Vec<Vec<usize>>,
    /// Additions and multiplications of a forward pass, where they are known.
    #[serde(default)]
    pub flops: Option<u64>,
}

/// A top in [`Node`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Top {
    /// The blob's name.
    pub name: String,
    /// Its extents.
    pub shape: Vec<usize>,
    /// Written over its bottom.
    pub in_place: bool,
}

/// A value of an output blob.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// The blob's name.
    pub blob: String,
    /// The value.
    pub value: Option<f64>,
    /// Its loss weight, 0 for none.
    pub weight: f64,
}

/// Scores against labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// The blob of scores.
    pub scores: String,
    /// The blob of labels.
    pub label: String,
    /// The layer that compares them.
    pub layer: String,
    /// How many classes.
    pub classes: usize,
    /// Their names, where they are known.
    pub names: Vec<String>,
    /// A row for each true class, a column for each answer; empty where there are more than 64 classes.
    pub confusion: Vec<Vec<u64>>,
    /// The commonest mistakes, the commonest first: truth, answer, how often.
    #[serde(default)]
    pub confused: Vec<(usize, usize, u64)>,
    /// Labels that were counted.
    #[serde(default)]
    pub labels: u64,
    /// Labels that were left out.
    pub ignored: u64,
    /// The share of right answers.
    pub accuracy: Option<f64>,
    /// Always saying the commonest class.
    pub constant: Option<Constant>,
    /// Of each class; this and the next two are empty where there are more than 4096 classes.
    pub recall: Vec<Option<f64>>,
    /// Of each class.
    pub precision: Vec<Option<f64>>,
    /// Of each class.
    pub iou: Vec<Option<f64>>,
    /// Over the classes that occur.
    pub mean_iou: Option<f64>,
    /// Over the classes that occur.
    pub mean_recall: Option<f64>,
    /// k, and the share of labels among the k highest scores.
    pub top_k: Vec<(usize, f64)>,
    /// Channels of scores that go together.
    pub alike: Vec<Alike>,
    /// The share of exact zeros of each channel of scores; empty where they were not counted.
    pub zeros: Vec<Option<f64>>,
    /// Where each channel answers no (class 0) or yes (class 1) by itself: the channels. Else empty.
    #[serde(default)]
    pub each: Vec<YesNo>,
}

/// A channel that answers no or yes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct YesNo {
    /// The share of right answers.
    pub accuracy: Option<f64>,
    /// What the better of always no and always yes would score.
    pub constant: Option<f64>,
    /// Labels that are yes.
    pub positives: u64,
    /// Share of them that were found.
    pub recall: Option<f64>,
    /// Share of the answers yes that were right.
    pub precision: Option<f64>,
    /// Intersection over union of yes.
    pub iou: Option<f64>,
}

/// The predictor that never looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Constant {
    /// What it always says.
    pub class: usize,
    /// How often that is right.
    pub accuracy: f64,
}

/// Two channels that say the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Alike {
    /// The one.
    pub a: usize,
    /// The other.
    pub b: usize,
    /// Pearson's; 1 where neither ever changes and they are equal.
    pub correlation: f64,
    /// The share of places where they are the same number.
    #[serde(default)]
    pub equal: f64,
}

/// A detector's average precisions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Detections {
    /// The blob of detections.
    pub blob: String,
    /// The mean over the classes.
    pub mean: Option<f64>,
    /// Class and its average precision.
    pub average_precision: Vec<(i32, Option<f64>)>,
}

/// A layer in [`Line::Vitals`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its forward step.
    pub forward_ms: Option<f64>,
    /// Its backward step.
    pub backward_ms: Option<f64>,
    /// Its tops.
    pub blobs: Vec<Blob>,
    /// Its parameters.
    pub params: Vec<Param>,
}

/// A blob's values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Blob {
    /// Its name.
    pub name: String,
    /// Their mean.
    pub mean: Option<f64>,
    /// Their deviation.
    pub deviation: Option<f64>,
    /// The smallest.
    pub low: Option<f64>,
    /// The largest.
    pub high: Option<f64>,
    /// The share of exact zeros.
    pub zeros: f64,
    /// Channels that are 0 everywhere.
    pub dead: Vec<usize>,
    /// How many channels there are.
    pub channels: usize,
    /// Values that are not finite.
    pub not_finite: u64,
    /// Their spread.
    pub histogram: Bins,
}

/// A parameter's values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Param {
    /// Layer and place: `conv1[0]`.
    pub name: String,
    /// Extents.
    pub shape: Vec<usize>,
    /// L2 norm.
    pub norm: Option<f64>,
    /// L2 norm of the gradient.
    pub gradient: Option<f64>,
    /// L2 norm of the update.
    pub update: Option<f64>,
    /// The mean.
    pub mean: Option<f64>,
    /// The deviation.
    pub deviation: Option<f64>,
    /// Values that are not finite.
    pub not_finite: u64,
    /// The spread.
    pub histogram: Bins,
}

/// Counts in equal bins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bins {
    /// Lower edge of the first.
    pub low: f64,
    /// Upper edge of the last.
    pub high: f64,
    /// Counts.
    pub counts: Vec<u64>,
}

/// A sample in [`Line::Worst`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Its key.
    pub key: String,
    /// Its loss.
    pub loss: Option<f64>,
    /// What it is.
    pub truth: String,
    /// What the net says.
    pub answer: String,
    /// Its picture, from the run's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<String>,
    /// The picture itself, in base64, where it is not beside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub png: Option<String>,
}
