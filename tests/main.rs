//! One binary for all tests that look at the whole; what a single file promises is tested at its own bottom.

mod alloc;
mod cli;
mod corpus;
mod data;
mod detector;
mod golden;
mod hdf5;
mod laws;
mod layering;
mod optimize;
mod page;
mod precision;
mod prototxt;
mod recognize;
mod runs;
mod safety;
mod solver;
mod support;
