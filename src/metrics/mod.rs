//! Figures about nets and runs, as plain data: how good a classifier is, what its channels have in common, how a
//! layer's values and gradients look. Nothing here knows a net; [`crate::watch`] fills what stands here from one.

mod channels;
mod confusion;
pub mod precision;
pub mod vitals;
pub mod weights;

pub use channels::{Alike, ChannelStats};
pub use confusion::{ConfusionMatrix, argmax};

/// How the scores of a net met their labels, summed over a test.
///
/// The answer to a label is the class of the highest score, the first of equals; NaN counts as the least. The rank of a
/// label follows the same order, so that the first of [`Head::top_k`] is the accuracy. (The layer Accuracy calls a tie a
/// miss, as Caffe does.)
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The blob of scores.
    pub scores: String,
    /// The blob of labels.
    pub label: String,
    /// The layer that holds them against each other.
    pub layer: String,
    /// Names of the classes, where they are known; else empty.
    pub names: Vec<String>,
    /// Truth against answer. Where each channel is a question of its own (`each`), class 0 is no and class 1 yes, over all
    /// channels.
    pub confusion: ConfusionMatrix,
    /// Labels that `ignore_label` left out.
    pub ignored: u64,
    /// k, and how many of the counted labels were among the k highest scores.
    pub top_k: Vec<(usize, u64)>,
    /// Of the scores; `None` where there are too many classes to hold each against each.
    pub channels: Option<ChannelStats>,
    /// Where each channel answers yes (a score above 0) or no by itself: no and yes of each channel. Else empty.
    pub each: Vec<ConfusionMatrix>,
}

/// Channels whose correlation, or share of equal values, is this or more say the same.
pub const ALIKE: f64 = 0.99;

impl Head {
    /// What a class is called: its name where one is known, else its number.
    pub fn name(&self, class: usize) -> String {
        let name = self.names.get(class).filter(|name| !name.is_empty());
        name.cloned().unwrap_or_else(|| class.to_string())
    }

    /// Channels of scores that say the same; empty where they were not held against each other.
    pub fn alike(&self) -> Vec<Alike> {
        let channels = self.channels.as_ref();
        channels.map_or_else(Vec::new, |channels| channels.alike(ALIKE))
    }
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
