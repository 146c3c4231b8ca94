//! The record of a run: one JSON object a line, written while it goes on and read back later.

pub mod figures;
pub mod line;

pub use line::Line;
