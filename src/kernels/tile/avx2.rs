//! AVX2 with FMA: tiles of 6 × 16, or fewer rows and more vectors, in 12 of the 16 registers.

use std::arch::x86_64::*;

use super::{
    Dots, Finish, Job, Kind, MOST, TILE, Taps, Tile,
    wide::{at, dots, tile},
    words,
};

const ROWS: usize = 6;
const LANES: usize = 8;
const VECTORS: usize = 2;
const COLS: usize = VECTORS * LANES;
const SUMS: usize = 12;

/// Proof that the processor has AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub(in crate::kernels) struct Avx2(());

impl Avx2 {
    /// `None` where the processor lacks it.
    pub(super) fn new() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        has.then_some(Self(()))
    }

    #[allow(unsafe_code, reason = "the way into code for one instruction set")]
    pub(super) fn run<J: Job>(self, job: J) -> J::Out {
        #[target_feature(enable = "avx2,fma")]
        fn with_features<J: Job>(t: Avx2, job: J) -> J::Out {
            job.run(t)
        }
        // SAFETY: `self` exists only where the processor has these features.
        unsafe { with_features(self, job) }
    }
}

tile! {
    impl Avx2 with "avx2,fma":
    __m256, _mm256_setzero_ps, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_add_ps, _mm256_sub_ps, _mm256_fmadd_ps,
    sum;
    rows 1 2 3 4 5 6;
    words avx2;
    own {}
}

/// Floats of packed rows that are asked for ahead of their step: weights often come from memory.
const AHEAD: usize = 512;

/// By rows and vectors.
static AT: [[KernelAt; 8]; ROWS] = at! {
    1: 1 2 3 4 5 6 7 8; 2: 1 2 3 4 5 6; 3: 1 2 3 4; 4: 1 2 3; 5: 1 2; 6: 1 2;
};

/// By rows and taps.
static DOT: [[KernelDot; MOST]; 6] = dots! {
    1: 1 2 3 4 5 6 7 8 9 10 11 12; 2: 1 2 3 4 5 6; 3: 1 2 3 4; 4: 1 2 3; 5: 1 2; 6: 1 2;
};

/// One of the floats of a step's rows, in all lanes.
#[target_feature(enable = "avx2")]
#[inline]
fn spread(a: &[f32; ROWS], i: usize) -> __m256 {
    _mm256_set1_ps(a[i])
}

#[target_feature(enable = "avx2")]
#[inline]
#[allow(
    unsafe_code,
    reason = "parts of vectors are loaded and stored through pointers"
)]
fn put(from: &[f32], lane: usize, to: &mut [f32], residual: Option<&[f32]>, end: Finish) {
    let n = to.len();
    assert!(from.len() >= LANES && lane + n <= LANES);
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let from_lane = _mm256_cmpgt_epi32(lanes, _mm256_set1_epi32(lane as i32 - 1));
    let to_lane = _mm256_cmpgt_epi32(_mm256_set1_epi32((lane + n) as i32), lanes);
    let mask = _mm256_and_si256(from_lane, to_lane);
    // SAFETY: `from` holds a whole vector.
    let mut y = unsafe { _mm256_loadu_ps(from.as_ptr()) };
    let at = to.as_mut_ptr().wrapping_sub(lane);
    if end.add {
        // SAFETY: the mask keeps to the n lanes that lie in `to`; the others are not touched.
        y = _mm256_add_ps(unsafe { _mm256_maskload_ps(at, mask) }, y);
    }
    y = _mm256_add_ps(y, _mm256_set1_ps(end.bias));
    if let Some(residual) = residual {
        assert!(residual.len() == n);
        let at = residual.as_ptr().wrapping_sub(lane);
        // SAFETY: the mask keeps to the n lanes that lie in `residual`.
        y = _mm256_add_ps(y, unsafe { _mm256_maskload_ps(at, mask) });
    }
    if end.slope != 1.0 {
        y = slope_of(y, end.slope);
    }
    // SAFETY: the mask keeps to the n lanes that lie in `to`.
    unsafe { _mm256_maskstore_ps(at, mask, y) }
}

/// [`Tile::slope`].
#[target_feature(enable = "avx2")]
#[inline]
fn slope_of(y: __m256, slope: f32) -> __m256 {
    let zero = _mm256_setzero_ps();
    let negative = _mm256_cmp_ps::<_CMP_NGT_UQ>(y, zero);
    let scaled = _mm256_add_ps(_mm256_mul_ps(_mm256_set1_ps(slope), y), zero);
    _mm256_blendv_ps(y, scaled, negative)
}

/// Asks for the weights that lie AHEAD of a step's.
#[target_feature(enable = "avx2")]
#[inline]
fn ahead(a: &[f32; ROWS]) {
    _mm_prefetch::<_MM_HINT_T0>(a.as_ptr().wrapping_add(AHEAD).cast());
}

/// [`Tile::load_part`].
#[target_feature(enable = "avx2")]
#[inline]
#[allow(unsafe_code, reason = "parts of vectors are loaded through pointers")]
fn load_part(from: &[f32]) -> __m256 {
    // SAFETY: the mask keeps to the floats that lie in `from`.
    unsafe { _mm256_maskload_ps(from.as_ptr(), part(from.len())) }
}

/// [`Tile::store_part`].
#[target_feature(enable = "avx2")]
#[inline]
#[allow(unsafe_code, reason = "parts of vectors are stored through pointers")]
fn store_part(v: __m256, to: &mut [f32]) {
    assert!(to.len() <= LANES);
    // SAFETY: the mask keeps to the floats that lie in `to`.
    unsafe { _mm256_maskstore_ps(to.as_mut_ptr(), part(to.len()), v) }
}

/// The first `n` lanes, at most all.
#[target_feature(enable = "avx2")]
#[inline]
fn part(n: usize) -> __m256i {
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_cmpgt_epi32(_mm256_set1_epi32(n.min(LANES) as i32), lanes)
}

/// The sum of the lanes: halves, pairs, neighbours.
#[target_feature(enable = "avx2")]
#[inline]
fn sum(x: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
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
