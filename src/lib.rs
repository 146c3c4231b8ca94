//! cortado.

pub mod error;
pub mod events;
pub mod filler;
pub mod graph;
pub mod layer;
pub mod layers;
pub mod net;
pub mod params;
pub mod rng;
pub mod schema;
pub mod tensor;
pub mod text;
pub mod upgrade;
