//! Where matrix products touch memory: blocks of C, and what fills one. The only unsafe code of the matrix product.

mod block;
mod portable;

pub(super) use block::{Block, for_each_block};
pub(super) use portable::multiply;
