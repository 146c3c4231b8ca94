//! cortado.

pub mod error;
pub mod feed;
pub mod model_io;
pub mod rng;
pub mod schema;
pub mod tensor;
