//! `quickstart`.
mod canvas;
pub mod faces;
