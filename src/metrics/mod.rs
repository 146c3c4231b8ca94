//! Figures about nets and runs, as plain data: how good a classifier is, what its channels have in common, how a
//! layer's values and gradients look. Nothing here knows a net; [`crate::watch`] fills what stands here from one.

mod channels;
mod confusion;
pub mod vitals;

pub use channels::ChannelStats;
pub use confusion::{ConfusionMatrix, argmax};

/// How the scores of a net met their labels, summed over a test.
#[derive(Clone, Debug)]
pub struct Head {
    /// The blob of scores.
    pub scores: String,
    /// The blob of labels.
    pub label: String,
    /// The layer that holds them against each other.
    pub layer: String,
    /// Names of the classes, where they are known; else empty.
    pub names: Vec<String>,
    /// Truth against answer.
    pub confusion: ConfusionMatrix,
    /// Labels that `ignore_label` left out.
    pub ignored: u64,
    /// k, and how many of the counted labels were among the k highest scores.
    pub top_k: Vec<(usize, u64)>,
    /// Of the scores; `None` where there are too many classes to hold each against each.
    pub channels: Option<ChannelStats>,
}

/// A sample that a net does badly on.
#[derive(Clone, Debug, PartialEq)]
pub struct Worst {
    /// Its key in the database, or its running number.
    pub key: String,
    /// Its loss.
    pub loss: f32,
    /// What it is, in words; for a map of classes the share of right pixels.
    pub truth: String,
    /// What the net says.
    pub answer: String,
    /// The sample as PNG, where it is a picture.
    pub png: Option<Vec<u8>>,
}
