//! Where matrix products touch memory and the processor: blocks of C, and what fills one. The only unsafe code of the
//! matrix product.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod block;
mod peak;
mod portable;

use std::sync::OnceLock;

use super::{Gemm, skinny};
pub(super) use block::{Block, for_each_block};
pub use peak::peak;

/// Floats of the largest tile.
#[cfg(target_arch = "x86_64")]
pub(super) const TILE: usize = 512;

/// What fills a block of C. A value for an instruction set exists only where the processor has it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Path {
    /// The `matrixmultiply` crate.
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
}

impl Path {
    /// The fastest on this processor.
    pub(super) fn best() -> Self {
        static BEST: OnceLock<Path> = OnceLock::new();
        *BEST.get_or_init(|| Self::all().next().unwrap_or(Self::Portable))
    }

    /// What this processor can run, the fastest first.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let own = [
            avx512::Avx512::new().map(Self::Avx512),
            avx2::Avx2::new().map(Self::Avx2),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let own: [Option<Self>; 0] = [];
        own.into_iter().flatten().chain([Self::Portable])
    }

    /// block = act(alpha · op(A)\[rows\] · op(B)\[cols\] + beta · block + bias). k must not be 0.
    pub(super) fn multiply(self, g: &Gemm<'_>, a: &[f32], b: &[f32], block: &mut Block<'_>) {
        match self {
            Self::Portable if skinny::fits(g) => skinny::multiply(g, a, b, block),
            Self::Portable => {
                portable::multiply(g, a, b, block);
                g.epilogue.finish_block(block);
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(tile) => tile.multiply_block(g, a, b, block),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(tile) => tile.multiply_block(g, a, b, block),
        }
    }
}

/// A microkernel: the product of a few rows of A with a few vectors of columns of B, kept in registers.
#[cfg(target_arch = "x86_64")]
pub(super) trait Tile: Copy {
    /// Rows of a tile at most.
    const ROWS: usize;
    /// Distance between the steps of k in packed rows of A: a multiple of 8.
    const STRIDE: usize;
    /// Columns of one vector.
    const LANES: usize;
    /// Columns of a tile at most: a multiple of 16.
    const COLS: usize;

    /// out\[i · COLS + j\] = Σ over p of a\[p · STRIDE + i\] · b\[p · ldb + j\], in order of p, for `rows` i and `vectors`
    /// whole vectors of j; the rest of `out` is left.
    fn multiply(
        self,
        dims: (usize, usize, usize),
        a: &[f32],
        b: &[f32],
        ldb: usize,
        out: &mut [f32; TILE],
    );

    /// to\[p · stride + i\] = from\[i · ld + p\] for all p below `len` and i below `rows`, at most 8; the other i of 8 get
    /// any value.
    fn turn(self, from: &[f32], ld: usize, dims: (usize, usize), to: &mut [f32], stride: usize);
}
