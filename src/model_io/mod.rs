//! Files of weights and arrays: what Caffe saves, and what NumPy reads.

mod atomic;
pub mod binaryproto;
pub mod npz;

pub use atomic::{Writer, atomic_write};
