//! Seeded random streams, numbered so that a draw depends on what it is for and never on what ran before it.
//!
//! A stream is named by the run's seed and up to three numbers: who draws (a layer, a parameter) and when (a forward
//! pass, a record). Threads may then draw in any order, and a resumed run needs no generator state.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// A source of random numbers; implements rand's traits.
pub type Rng = ChaCha8Rng;

/// What a stream is for; keeps streams of different uses apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Use {
    /// Filling a parameter: `who` is the layer's index, `when` the parameter's.
    Filler = 1,
    /// A layer's own draws in forward: `who` is the layer's index, `when` the pass.
    Forward = 2,
    /// Transforming a record: `who` is the layer's index, `when` the record's number.
    Transform = 3,
    /// Everything else.
    Other = 4,
}

/// The stream for these numbers.
pub fn stream(seed: u64, purpose: Use, who: u64, when: u64) -> Rng {
    let mut key = [0u8; 32];
    for (chunk, n) in key
        .chunks_exact_mut(8)
        .zip([seed, purpose as u64, who, when])
    {
        chunk.copy_from_slice(&n.to_le_bytes());
    }
    Rng::from_seed(key)
}
