//! cortado.

pub mod cli;
pub mod error;
pub mod events;
pub mod feed;
pub mod filler;
pub mod graph;
pub mod kernels;
pub mod layer;
pub mod layers;
pub mod load;
pub mod model_io;
pub mod net;
pub mod params;
pub mod report;
pub mod rng;
pub mod schema;
pub mod solver;
pub mod tensor;
pub mod text;
pub mod threads;
pub mod upgrade;
