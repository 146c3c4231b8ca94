//! Pictures and tables of nets and runs.

pub mod heatmap;
mod lettering;
pub mod metrics;
pub mod palette;
