//! What looks at a net while it works, and fills the figures of [`crate::metrics`].

pub mod maps;
mod pairs;
mod samples;
pub mod vitals;
pub mod worst;

pub use maps::Maps;
pub use vitals::Vitals;
pub use worst::WorstSamples;
