//! AVX-512: tiles of up to 12 × 32 in 24 of the 32 registers.

use std::arch::x86_64::*;

use super::{Block, TILE, Tile, avx2::turn};
use crate::kernels::gemm::{Gemm, blocked, skinny};

const ROWS: usize = 12;
const STRIDE: usize = 16;
const LANES: usize = 16;
const VECTORS: usize = 2;
const COLS: usize = VECTORS * LANES;

/// Proof that the processor has AVX-512F, AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub(in crate::kernels::gemm) struct Avx512(());

impl Avx512 {
    /// `None` where the processor lacks it.
    pub(super) fn new() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma");
        has.then_some(Self(()))
    }

    #[allow(unsafe_code, reason = "the way into code for one instruction set")]
    pub(super) fn multiply_block(self, g: &Gemm<'_>, a: &[f32], b: &[f32], block: &mut Block<'_>) {
        #[target_feature(enable = "avx512f,avx2,fma")]
        fn with_features(t: Avx512, g: &Gemm<'_>, a: &[f32], b: &[f32], block: &mut Block<'_>) {
            if skinny::fits(g) {
                skinny::multiply(g, a, b, block);
            } else {
                blocked::multiply(t, g, a, b, block);
            }
        }
        // SAFETY: `self` exists only where the processor has these features.
        unsafe { with_features(self, g, a, b, block) }
    }
}

impl Tile for Avx512 {
    const ROWS: usize = ROWS;
    const STRIDE: usize = STRIDE;
    const LANES: usize = LANES;
    const COLS: usize = COLS;

    #[inline(always)]
    #[allow(unsafe_code, reason = "the way into code for one instruction set")]
    fn multiply(
        self,
        (rows, vectors, k): (usize, usize, usize),
        a: &[f32],
        b: &[f32],
        ldb: usize,
        out: &mut [f32; TILE],
    ) {
        // SAFETY: `self` exists only where the processor has these features.
        unsafe { KERNELS[rows - 1][vectors - 1](k, a, b, ldb, out) }
    }

    #[inline(always)]
    #[allow(unsafe_code, reason = "the way into code for one instruction set")]
    fn turn(self, from: &[f32], ld: usize, dims: (usize, usize), to: &mut [f32], stride: usize) {
        // SAFETY: `self` exists only where the processor has these features.
        unsafe { turn(from, ld, dims, to, stride) }
    }
}

type Kernel = unsafe fn(usize, &[f32], &[f32], usize, &mut [f32; TILE]);

macro_rules! kernels {
    ($($rows:literal)*) => { [$([kernel::<$rows, 1>, kernel::<$rows, 2>]),*] };
}

/// By rows and vectors.
static KERNELS: [[Kernel; VECTORS]; ROWS] = kernels!(1 2 3 4 5 6 7 8 9 10 11 12);

#[target_feature(enable = "avx512f")]
fn kernel<const R: usize, const V: usize>(
    k: usize,
    a: &[f32],
    b: &[f32],
    ldb: usize,
    out: &mut [f32; TILE],
) {
    let mut sums = [[_mm512_setzero_ps(); V]; R];
    let (steps, _) = a.as_chunks::<STRIDE>();
    for (p, a) in steps[..k].iter().enumerate() {
        let (b, _) = b[p * ldb..][..V * LANES].as_chunks::<LANES>();
        let mut row = [_mm512_setzero_ps(); V];
        for v in 0..V {
            row[v] = load(&b[v]);
        }
        for i in 0..R {
            let a = _mm512_set1_ps(a[i]);
            for v in 0..V {
                sums[i][v] = _mm512_fmadd_ps(a, row[v], sums[i][v]);
            }
        }
    }
    let (out, _) = out.as_chunks_mut::<LANES>();
    for i in 0..R {
        for v in 0..V {
            store(&mut out[i * VECTORS + v], sums[i][v]);
        }
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
#[allow(unsafe_code, reason = "vectors are loaded through pointers")]
fn load(from: &[f32; LANES]) -> __m512 {
    // SAFETY: the array has the size of the vector; alignment is not needed.
    unsafe { _mm512_loadu_ps(from.as_ptr()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
#[allow(unsafe_code, reason = "vectors are stored through pointers")]
fn store(to: &mut [f32; LANES], vector: __m512) {
    // SAFETY: the array has the size of the vector; alignment is not needed.
    unsafe { _mm512_storeu_ps(to.as_mut_ptr(), vector) }
}
