//! cortado.

pub mod error;
pub mod kernels;
pub mod rng;
pub mod schema;
pub mod tensor;
pub mod threads;
