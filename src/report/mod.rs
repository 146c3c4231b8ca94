//! Tables and pictures of nets and runs.

pub mod compare;
