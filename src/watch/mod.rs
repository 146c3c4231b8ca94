//! What looks at a net while it works, and fills the figures of [`crate::metrics`].

pub mod vitals;

pub use vitals::Vitals;
