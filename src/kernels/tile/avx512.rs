//! AVX-512: tiles of 12 × 32, or fewer rows and more vectors, in 24 of the 32 registers.

use std::arch::x86_64::*;

use super::{
    Dots, Finish, Job, Kind, MOST, TILE, Taps, Tile,
    avx2::turn,
    wide::{at, dots, tile},
    words,
};

const ROWS: usize = 12;
const LANES: usize = 16;
const VECTORS: usize = 2;
const COLS: usize = VECTORS * LANES;
const SUMS: usize = 24;

/// Proof that the processor has AVX-512F, AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub(in crate::kernels) struct Avx512(());

impl Avx512 {
    /// `None` where the processor lacks it.
    pub(super) fn new() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma");
        has.then_some(Self(()))
    }

    #[allow(unsafe_code, reason = "the way into code for one instruction set")]
    pub(super) fn run<J: Job>(self, job: J) -> J::Out {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        fn with_features<J: Job>(t: Avx512, job: J) -> J::Out {
            job.run(t)
        }
        // SAFETY: `self` exists only where the processor has these features.
        unsafe { with_features(self, job) }
    }
}

tile! {
    impl Avx512 with "avx512f":
    __m512, _mm512_setzero_ps, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_add_ps, _mm512_sub_ps, _mm512_fmadd_ps,
    _mm512_reduce_add_ps;
    rows 1 2 3 4 5 6 7 8 9 10 11 12;
    words avx512;
    own {
        #[inline(always)]
        #[allow(unsafe_code, reason = "the way into code for one instruction set")]
        fn split<const M: usize>(self, from: &[f32]) -> [__m512; M] {
            let mut parts = [self.load(from); M];
            match M {
                4 => {
                    // SAFETY: `self` exists only where the processor has these features.
                    parts.copy_from_slice(&unsafe { split4(from) });
                }
                2 => {
                    let (a, b) = (self.load(from), self.load(&from[LANES..]));
                    // SAFETY: `self` exists only where the processor has these features.
                    parts.copy_from_slice(&unsafe { split2(a, b) });
                }
                _ => unreachable!("tiles are of 2 or 4"),
            }
            parts
        }

        #[inline(always)]
        #[allow(unsafe_code, reason = "the way into code for one instruction set")]
        fn join<const M: usize>(self, parts: [__m512; M], to: &mut [f32]) {
            let to = to[..M * LANES].chunks_exact_mut(LANES);
            // SAFETY: `self` exists only where the processor has these features.
            let join = |a, b| unsafe { join2(a, b) };
            match parts[..] {
                [a, b, c, d] => {
                    let (even, odd) = (join(a, c), join(b, d));
                    let ([w, x], [y, z]) = (join(even[0], odd[0]), join(even[1], odd[1]));
                    to.zip([w, x, y, z]).for_each(|(to, v)| self.store(v, to));
                }
                [a, b] => to.zip(join(a, b)).for_each(|(to, v)| self.store(v, to)),
                _ => unreachable!("tiles are of 2 or 4"),
            }
        }
    }
}

/// Floats of packed rows that are asked for ahead of their step: weights often come from memory.
const AHEAD: usize = 512;

/// By rows and vectors.
static AT: [[KernelAt; 8]; ROWS] = at! {
    1: 1 2 3 4 5 6 7 8; 2: 1 2 3 4 5 6 7 8; 3: 1 2 3 4 5 6 7 8; 4: 1 2 3 4 5 6; 5: 1 2 3 4; 6: 1 2 3 4;
    7: 1 2 3; 8: 1 2 3; 9: 1 2; 10: 1 2; 11: 1 2; 12: 1 2;
};

/// By rows and taps.
static DOT: [[KernelDot; MOST]; 6] = dots! {
    1: 1 2 3 4 5 6 7 8 9 10 11 12; 2: 1 2 3 4 5 6 7 8 9 10 11 12; 3: 1 2 3 4 5 6 7 8; 4: 1 2 3 4 5 6; 5: 1 2 3 4;
    6: 1 2 3 4;
};

/// One of the floats of a step's rows, in all lanes.
#[target_feature(enable = "avx512f")]
#[inline]
fn spread(a: &[f32; ROWS], i: usize) -> __m512 {
    _mm512_set1_ps(a[i])
}

#[target_feature(enable = "avx512f,avx512dq")]
#[inline]
#[allow(
    unsafe_code,
    reason = "parts of vectors are loaded and stored through pointers"
)]
fn put(from: &[f32], lane: usize, to: &mut [f32], residual: Option<&[f32]>, end: Finish) {
    let n = to.len();
    assert!(from.len() >= LANES && lane + n <= LANES);
    let mask = (((1u32 << n) - 1) << lane) as __mmask16;
    // SAFETY: `from` holds a whole vector.
    let mut y = unsafe { _mm512_loadu_ps(from.as_ptr()) };
    let at = to.as_mut_ptr().wrapping_sub(lane);
    if end.add {
        // SAFETY: the mask keeps to the n lanes that lie in `to`; the others are not touched.
        y = _mm512_add_ps(unsafe { _mm512_maskz_loadu_ps(mask, at) }, y);
    }
    y = _mm512_add_ps(y, _mm512_set1_ps(end.bias));
    if let Some(residual) = residual {
        assert!(residual.len() == n);
        let at = residual.as_ptr().wrapping_sub(lane);
        // SAFETY: the mask keeps to the n lanes that lie in `residual`.
        y = _mm512_add_ps(y, unsafe { _mm512_maskz_loadu_ps(mask, at) });
    }
    if end.slope != 1.0 {
        y = slope_of(y, end.slope);
    }
    // SAFETY: the mask keeps to the n lanes that lie in `to`.
    unsafe { _mm512_mask_storeu_ps(at, mask, y) }
}

/// [`Tile::slope`].
#[target_feature(enable = "avx512f")]
#[inline]
fn slope_of(y: __m512, slope: f32) -> __m512 {
    let zero = _mm512_setzero_ps();
    let negative = _mm512_cmp_ps_mask::<_CMP_NGT_UQ>(y, zero);
    let scaled = _mm512_add_ps(_mm512_mul_ps(_mm512_set1_ps(slope), y), zero);
    _mm512_mask_blend_ps(negative, y, scaled)
}

/// Asks for the weights that lie AHEAD of a step's.
#[target_feature(enable = "avx512f")]
#[inline]
fn ahead(a: &[f32; ROWS]) {
    _mm_prefetch::<_MM_HINT_T0>(a.as_ptr().wrapping_add(AHEAD).cast());
}

/// [`Tile::load_part`].
#[target_feature(enable = "avx512f")]
#[inline]
#[allow(unsafe_code, reason = "parts of vectors are loaded through pointers")]
fn load_part(from: &[f32]) -> __m512 {
    let mask = part(from.len());
    // SAFETY: the mask keeps to the floats that lie in `from`.
    unsafe { _mm512_maskz_loadu_ps(mask, from.as_ptr()) }
}

/// [`Tile::store_part`].
#[target_feature(enable = "avx512f")]
#[inline]
#[allow(unsafe_code, reason = "parts of vectors are stored through pointers")]
fn store_part(v: __m512, to: &mut [f32]) {
    assert!(to.len() <= LANES);
    let mask = part(to.len());
    // SAFETY: the mask keeps to the floats that lie in `to`.
    unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), mask, v) }
}

/// The first `n` lanes, at most all.
#[inline]
fn part(n: usize) -> __mmask16 {
    ((1u32 << n.min(LANES)) - 1) as __mmask16
}

/// Even and odd elements of two vectors in a row.
#[target_feature(enable = "avx512f")]
#[inline]
fn split2(a: __m512, b: __m512) -> [__m512; 2] {
    let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    [
        _mm512_permutex2var_ps(a, even, b),
        _mm512_permutex2var_ps(a, odd, b),
    ]
}

/// Every fourth element of four vectors in a row.
#[target_feature(enable = "avx512f")]
#[inline]
#[allow(unsafe_code, reason = "vectors are loaded through pointers")]
fn split4(from: &[f32]) -> [__m512; 4] {
    let (from, _) = from[..4 * LANES].as_chunks::<LANES>();
    let [even, odd] = split2(load(&from[0]), load(&from[1]));
    let [more_even, more_odd] = split2(load(&from[2]), load(&from[3]));
    let [a, c] = split2(even, more_even);
    let [b, d] = split2(odd, more_odd);
    [a, b, c, d]
}

/// The elements of two vectors in turn.
#[target_feature(enable = "avx512f")]
#[inline]
fn join2(a: __m512, b: __m512) -> [__m512; 2] {
    let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    [
        _mm512_permutex2var_ps(a, low, b),
        _mm512_permutex2var_ps(a, high, b),
    ]
}
