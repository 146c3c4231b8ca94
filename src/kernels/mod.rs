//! Loops over floats: pure functions on slices, in `f32`, row-major, images as N×C×H×W.
//!
//! A kernel knows no layer, no shape type and no error: the caller has checked the sizes, and a slice that is too
//! short is a bug of the caller and panics. Every kernel gives the same bits for any number of threads. Beside each
//! fast kernel stands a plain one, which its tests compare it with.

pub mod channelwise;
pub mod conv;
pub mod cut;
pub mod finish;
pub mod gemm;
pub mod im2col;
pub mod interp;
pub mod lrn;
pub mod map;
pub mod narrow;
pub mod pool;
pub mod reduce;
mod scratch;
pub mod simd;
pub mod softmax;
mod tile;

#[cfg(test)]
pub(crate) mod testing;
