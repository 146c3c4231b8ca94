//! Tables and pictures of nets and runs.

pub mod boxes;
pub mod compare;
pub mod heatmap;
mod lettering;
pub mod palette;
