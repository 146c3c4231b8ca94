//! cortado.

pub mod error;
pub mod rng;
pub mod schema;
pub mod tensor;
pub mod text;
pub mod upgrade;
