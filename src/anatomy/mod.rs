//! What a net is made of: its layers in figures, and as a drawing.

mod dot;
mod drawing;
mod layout;
mod reach;
mod summary;
mod svg;

pub use dot::dot;
pub use drawing::{Direction, Drawing};
pub use summary::{Row, Summary, summary};
pub use svg::svg;
