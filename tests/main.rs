//! One binary for all tests that look at the whole; what a single file promises is tested at its own bottom.

mod alloc;
mod check;
mod cli;
mod compare;
mod corpus;
mod dashboard;
mod data;
mod databases;
mod detector;
mod doctor;
mod golden;
mod hdf5;
mod journal;
mod laws;
mod layering;
mod logs;
mod metrics;
mod model;
#[cfg(unix)]
mod names;
mod onnx;
mod optimize;
mod page;
mod pictures;
mod precision;
mod prototxt;
mod recognize;
mod runs;
mod safety;
#[cfg(unix)]
mod scripts;
mod shell;
mod solver;
mod support;
