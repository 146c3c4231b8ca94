//! AVX2 with FMA: tiles of up to 6 × 16 in 12 of the 16 registers.

use std::arch::x86_64::*;

use super::{Block, TILE, Tile};
use crate::kernels::gemm::{Gemm, blocked, skinny};

const ROWS: usize = 6;
const STRIDE: usize = 8;
const LANES: usize = 8;
const VECTORS: usize = 2;
const COLS: usize = VECTORS * LANES;

/// Proof that the processor has AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub(in crate::kernels::gemm) struct Avx2(());

impl Avx2 {
    /// `None` where the processor lacks it.
    pub(super) fn new() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        has.then_some(Self(()))
    }

    #[allow(unsafe_code, reason = "the way into code for one instruction set")]
    pub(super) fn multiply_block(self, g: &Gemm<'_>, a: &[f32], b: &[f32], block: &mut Block<'_>) {
        #[target_feature(enable = "avx2,fma")]
        fn with_features(t: Avx2, g: &Gemm<'_>, a: &[f32], b: &[f32], block: &mut Block<'_>) {
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

impl Tile for Avx2 {
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
static KERNELS: [[Kernel; VECTORS]; ROWS] = kernels!(1 2 3 4 5 6);

#[target_feature(enable = "avx2,fma")]
fn kernel<const R: usize, const V: usize>(
    k: usize,
    a: &[f32],
    b: &[f32],
    ldb: usize,
    out: &mut [f32; TILE],
) {
    let mut sums = [[_mm256_setzero_ps(); V]; R];
    let (steps, _) = a.as_chunks::<STRIDE>();
    for (p, a) in steps[..k].iter().enumerate() {
        let (b, _) = b[p * ldb..][..V * LANES].as_chunks::<LANES>();
        let mut row = [_mm256_setzero_ps(); V];
        for v in 0..V {
            row[v] = load(&b[v]);
        }
        for i in 0..R {
            let a = _mm256_set1_ps(a[i]);
            for v in 0..V {
                sums[i][v] = _mm256_fmadd_ps(a, row[v], sums[i][v]);
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

/// [`Tile::turn`], eight steps of k at a time.
#[target_feature(enable = "avx2")]
#[allow(unsafe_code, reason = "vectors are loaded and stored through pointers")]
pub(super) fn turn(
    from: &[f32],
    ld: usize,
    (rows, len): (usize, usize),
    to: &mut [f32],
    stride: usize,
) {
    assert!((1..=8).contains(&rows) && len > 0);
    let inside = |steps: usize, by: usize, width: usize, all: usize| {
        let end = steps.checked_mul(by).and_then(|at| at.checked_add(width));
        end.is_some_and(|end| end <= all)
    };
    assert!(inside(rows - 1, ld, len, from.len()) && inside(len - 1, stride, 8, to.len()));
    let whole = len / 8 * 8;
    for p in (0..whole).step_by(8) {
        let mut square = [_mm256_setzero_ps(); 8];
        for (i, line) in square.iter_mut().enumerate() {
            // Where rows are missing, the last one stands in.
            let at = i.min(rows - 1) * ld + p;
            // SAFETY: row below `rows`, p + 8 <= len: inside `from` by the assert.
            *line = unsafe { _mm256_loadu_ps(from.as_ptr().add(at)) };
        }
        for (q, column) in turned(square).into_iter().enumerate() {
            let at = (p + q) * stride;
            // SAFETY: p + q < len: the eight are inside `to` by the assert.
            unsafe { _mm256_storeu_ps(to.as_mut_ptr().add(at), column) };
        }
    }
    for p in whole..len {
        for (i, to) in to[p * stride..][..8].iter_mut().enumerate() {
            *to = from[i.min(rows - 1) * ld + p];
        }
    }
}

/// The transpose of a square, in three rounds: neighbours, pairs, halves.
#[target_feature(enable = "avx2")]
#[inline]
fn turned(r: [__m256; 8]) -> [__m256; 8] {
    let low = |i: usize| _mm256_unpacklo_ps(r[i], r[i + 1]);
    let high = |i: usize| _mm256_unpackhi_ps(r[i], r[i + 1]);
    let two = [
        low(0),
        high(0),
        low(2),
        high(2),
        low(4),
        high(4),
        low(6),
        high(6),
    ];
    let even = |i: usize| _mm256_shuffle_ps::<0b01_00_01_00>(two[i], two[i + 2]);
    let odd = |i: usize| _mm256_shuffle_ps::<0b11_10_11_10>(two[i], two[i + 2]);
    let four = [
        even(0),
        odd(0),
        even(1),
        odd(1),
        even(4),
        odd(4),
        even(5),
        odd(5),
    ];
    let left = |i: usize| _mm256_permute2f128_ps::<0x20>(four[i], four[i + 4]);
    let right = |i: usize| _mm256_permute2f128_ps::<0x31>(four[i], four[i + 4]);
    [
        left(0),
        left(1),
        left(2),
        left(3),
        right(0),
        right(1),
        right(2),
        right(3),
    ]
}

#[target_feature(enable = "avx2")]
#[inline]
#[allow(unsafe_code, reason = "vectors are loaded through pointers")]
fn load(from: &[f32; LANES]) -> __m256 {
    // SAFETY: the array has the size of the vector; alignment is not needed.
    unsafe { _mm256_loadu_ps(from.as_ptr()) }
}

#[target_feature(enable = "avx2")]
#[inline]
#[allow(unsafe_code, reason = "vectors are stored through pointers")]
fn store(to: &mut [f32; LANES], vector: __m256) {
    // SAFETY: the array has the size of the vector; alignment is not needed.
    unsafe { _mm256_storeu_ps(to.as_mut_ptr(), vector) }
}
