//! What looks at a net while it works, and fills the figures of [`crate::metrics`].

pub mod balance;
pub mod detections;
pub mod heads;
pub mod maps;
mod samples;
pub mod scores;
pub mod vitals;
pub mod worst;

pub use detections::Detections;
pub use maps::Maps;
pub use scores::Scores;
pub use vitals::Vitals;
pub use worst::WorstSamples;
