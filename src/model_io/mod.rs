//! Files of weights and arrays: what Caffe saves, and what NumPy reads.

mod atomic;
pub mod binaryproto;
pub mod caffemodel;
pub(crate) mod crc32c;
mod foreign;
pub mod hdf5;
pub mod npz;
pub(crate) mod pending;
mod skim;
pub mod solverstate;
mod stream;
pub mod weights;

pub use atomic::{Writer, atomic_write, write_file};
