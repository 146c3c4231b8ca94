//! AVX2 with FMA: tiles of 6 × 16, or fewer rows and more vectors, in 12 of the 16 registers.

use std::arch::x86_64::*;

use super::{Dots, Finish, Job, Kind, MOST, TILE, Taps, Tile, words};

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

impl Tile for Avx2 {
    const ROWS: usize = ROWS;
    const LANES: usize = LANES;
    const COLS: usize = COLS;
    const SUMS: usize = SUMS;

    type V = __m256;

    #[inline(always)]
    #[allow(unsafe_code, reason = "vectors are loaded through pointers")]
    fn load(self, from: &[f32]) -> __m256 {
        let from = &from[..LANES];
        // SAFETY: the slice has the size of the vector, and `self` proves the features.
        unsafe { _mm256_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    #[allow(unsafe_code, reason = "vectors are stored through pointers")]
    fn store(self, v: __m256, to: &mut [f32]) {
        let to = &mut to[..LANES];
        // SAFETY: the slice has the size of the vector, and `self` proves the features.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), v) }
    }

    #[inline(always)]
    #[allow(unsafe_code, reason = "an instruction of this set")]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` exists only where the processor has the features.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    #[allow(unsafe_code, reason = "an instruction of this set")]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` exists only where the processor has the features.
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    #[allow(unsafe_code, reason = "an instruction of this set")]
    fn scale_add(self, f: f32, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` exists only where the processor has the features.
        unsafe { _mm256_fmadd_ps(_mm256_set1_ps(f), a, b) }
    }

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
    fn multiply_at(
        self,
        rows: usize,
        a: &[f32],
        b: &[f32],
        bases: &[usize],
        taps: Taps<'_>,
        out: &mut [f32; TILE],
    ) {
        // SAFETY: `self` exists only where the processor has these features.
        unsafe { AT[rows - 1][bases.len() - 1](a, b, bases, taps, out) }
    }

    #[inline(always)]
    #[allow(unsafe_code, reason = "the way into code for one instruction set")]
    fn pack_at(self, b: &[f32], bases: &[usize], taps: Taps<'_>, to: &mut [f32], stride: usize) {
        // SAFETY: `self` exists only where the processor has these features.
        unsafe {
            match *bases {
                [base] => pack([base], b, taps, to, stride),
                [one, two] => pack([one, two], b, taps, to, stride),
                _ => panic!("one or two vectors are packed at a time"),
            }
        }
    }

    #[inline(always)]
    #[allow(unsafe_code, reason = "the way into code for one instruction set")]
    fn outer_at(
        self,
        (len, vectors): (usize, usize),
        a: &[f32],
        bases: &[usize],
        taps: Taps<'_>,
        b: &[f32],
        out: &mut [f32; TILE],
    ) {
        // SAFETY: `self` exists only where the processor has these features.
        unsafe { OUTER[taps.offsets.len() - 1][vectors - 1](len, a, bases, taps, b, out) }
    }

    #[inline(always)]
    #[allow(unsafe_code, reason = "the way into code for one instruction set")]
    fn dot_at(self, dims: Dots, a: &[f32], b: &[f32], taps: Taps<'_>, out: &mut [f32; TILE]) {
        // SAFETY: `self` exists only where the processor has these features.
        unsafe { DOT[dims.rows - 1][taps.offsets.len() - 1](dims, a, b, taps, out) }
    }

    #[inline(always)]
    #[allow(unsafe_code, reason = "the way into code for one instruction set")]
    fn multiply_words(
        self,
        kind: Kind,
        dims: (usize, usize),
        words: (&[u32], &[u32]),
        out: &mut [u32; TILE],
    ) {
        // SAFETY: `self` exists only where the processor has these features.
        unsafe { words::avx2::Table::best().multiply(kind, dims, words, out) }
    }

    #[inline(always)]
    #[allow(unsafe_code, reason = "the way into code for one instruction set")]
    fn put(self, from: &[f32], lane: usize, to: &mut [f32], residual: Option<&[f32]>, end: Finish) {
        // SAFETY: `self` exists only where the processor has these features.
        unsafe { put(from, lane, to, residual, end) }
    }

    #[inline(always)]
    #[allow(unsafe_code, reason = "the way into code for one instruction set")]
    fn turn(self, from: &[f32], ld: usize, dims: (usize, usize), to: &mut [f32], stride: usize) {
        // SAFETY: `self` exists only where the processor has these features.
        unsafe { turn(from, ld, dims, to, stride) }
    }
}

type Kernel = unsafe fn(usize, &[f32], &[f32], usize, &mut [f32; TILE]);
type KernelAt = unsafe fn(&[f32], &[f32], &[usize], Taps<'_>, &mut [f32; TILE]);
type KernelOuter = unsafe fn(usize, &[f32], &[usize], Taps<'_>, &[f32], &mut [f32; TILE]);
type KernelDot = unsafe fn(Dots, &[f32], &[f32], Taps<'_>, &mut [f32; TILE]);

macro_rules! kernels {
    ($kernel:ident: $($rows:literal)*) => { [$([$kernel::<$rows, 1>, $kernel::<$rows, 2>]),*] };
}

/// By rows and vectors.
static KERNELS: [[Kernel; VECTORS]; ROWS] = kernels!(kernel: 1 2 3 4 5 6);
static OUTER: [[KernelOuter; VECTORS]; ROWS] = kernels!(outer: 1 2 3 4 5 6);

/// Rows and vectors (or taps) that do not fit into the registers together.
fn too_many(_: &[f32], _: &[f32], _: &[usize], _: Taps<'_>, _: &mut [f32; TILE]) {
    panic!("a tile has at most {SUMS} sums");
}

fn too_many_dots(_: Dots, _: &[f32], _: &[f32], _: Taps<'_>, _: &mut [f32; TILE]) {
    panic!("a tile has at most {SUMS} sums");
}

macro_rules! at {
    ($($rows:literal: $($vectors:literal)*;)*) => {{
        let mut table: [[KernelAt; 8]; ROWS] = [[too_many; 8]; ROWS];
        $($(table[$rows - 1][$vectors - 1] = at::<$rows, $vectors>;)*)*
        table
    }};
}

/// By rows and vectors.
static AT: [[KernelAt; 8]; ROWS] = at! {
    1: 1 2 3 4 5 6 7 8; 2: 1 2 3 4 5 6; 3: 1 2 3 4; 4: 1 2 3; 5: 1 2; 6: 1 2;
};

macro_rules! dots {
    ($($rows:literal: $($taps:literal)*;)*) => {{
        let mut table: [[KernelDot; MOST]; 6] = [[too_many_dots; MOST]; 6];
        $($(table[$rows - 1][$taps - 1] = dot::<$rows, $taps>;)*)*
        table
    }};
}

/// By rows and taps.
static DOT: [[KernelDot; MOST]; 6] = dots! {
    1: 1 2 3 4 5 6 7 8 9 10 11 12; 2: 1 2 3 4 5 6; 3: 1 2 3 4; 4: 1 2 3; 5: 1 2; 6: 1 2;
};

#[target_feature(enable = "avx2,fma")]
fn kernel<const R: usize, const V: usize>(
    k: usize,
    a: &[f32],
    b: &[f32],
    ldb: usize,
    out: &mut [f32; TILE],
) {
    let mut sums = [[_mm256_setzero_ps(); V]; R];
    let (steps, _) = a.as_chunks::<ROWS>();
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

#[target_feature(enable = "avx2,fma")]
#[allow(unsafe_code, reason = "vectors are loaded through pointers")]
fn at<const R: usize, const V: usize>(
    a: &[f32],
    b: &[f32],
    bases: &[usize],
    taps: Taps<'_>,
    out: &mut [f32; TILE],
) {
    let bases: &[usize; V] = bases.first_chunk().expect("one base for each vector");
    assert!(
        bases.iter().all(|&base| taps.inside(base, LANES, b)),
        "a vector beyond the field"
    );
    let (steps, _) = a.as_chunks::<ROWS>();
    let mut sums = [[_mm256_setzero_ps(); V]; R];
    for (a, &tap) in steps[..taps.offsets.len()].iter().zip(taps.offsets) {
        let mut row = [_mm256_setzero_ps(); V];
        for v in 0..V {
            // SAFETY: base + reach + LANES is inside `b` by the assert, and no tap is above the reach.
            row[v] = unsafe { _mm256_loadu_ps(b.as_ptr().add(bases[v] + tap)) };
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
            store(&mut out[i * V + v], sums[i][v]);
        }
    }
}

#[target_feature(enable = "avx2")]
#[allow(unsafe_code, reason = "vectors are copied through pointers")]
fn pack<const V: usize>(
    bases: [usize; V],
    b: &[f32],
    taps: Taps<'_>,
    to: &mut [f32],
    stride: usize,
) {
    assert!(
        bases.iter().all(|&base| taps.inside(base, LANES, b)),
        "a vector beyond the field"
    );
    let last = taps.offsets.len().saturating_sub(1);
    let end = last
        .checked_mul(stride)
        .and_then(|n| n.checked_add(V * LANES));
    assert!(end.is_some_and(|end| end <= to.len()));
    for (p, &tap) in taps.offsets.iter().enumerate() {
        for (v, base) in bases.iter().enumerate() {
            // SAFETY: base + reach + LANES is inside `b`, the last step's vectors are inside `to`, by the asserts.
            unsafe {
                let x = _mm256_loadu_ps(b.as_ptr().add(base + tap));
                _mm256_storeu_ps(to.as_mut_ptr().add(p * stride + v * LANES), x);
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
#[allow(unsafe_code, reason = "floats are loaded through pointers")]
fn outer<const R: usize, const V: usize>(
    len: usize,
    a: &[f32],
    bases: &[usize],
    taps: Taps<'_>,
    b: &[f32],
    out: &mut [f32; TILE],
) {
    let offsets: &[usize; R] = taps
        .offsets
        .first_chunk()
        .expect("as many taps as the kernel has");
    let farthest = bases.iter().copied().max().unwrap_or(0);
    assert!(
        bases.is_empty() || taps.inside(farthest, len, a),
        "a run beyond the field"
    );
    let (steps, _) = b.as_chunks::<COLS>();
    let mut steps = steps[..bases.len() * len].iter();
    let mut sums = [[_mm256_setzero_ps(); V]; R];
    for base in bases {
        for (q, b) in steps.by_ref().take(len).enumerate() {
            let (b, _) = b.as_chunks::<LANES>();
            for i in 0..R {
                // SAFETY: base + reach + len is inside `a` by the assert, and q < len.
                let a = _mm256_set1_ps(unsafe { *a.get_unchecked(base + offsets[i] + q) });
                for v in 0..V {
                    sums[i][v] = _mm256_fmadd_ps(a, load(&b[v]), sums[i][v]);
                }
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

#[target_feature(enable = "avx2,fma")]
#[allow(unsafe_code, reason = "vectors are loaded through pointers")]
fn dot<const R: usize, const S: usize>(
    dims: Dots,
    a: &[f32],
    b: &[f32],
    taps: Taps<'_>,
    out: &mut [f32; TILE],
) {
    let offsets: &[usize; S] = taps
        .offsets
        .first_chunk()
        .expect("as many taps as the kernel has");
    assert!(dims.rows == R && dims.len.is_multiple_of(LANES) && dims.inside(a, b, taps));
    let mut sums = [[_mm256_setzero_ps(); S]; R];
    for n in 0..dims.count {
        let (a_start, b_start) = (n * dims.a_apart, n * dims.b_apart);
        for q in (0..dims.len).step_by(LANES) {
            let mut rows = [_mm256_setzero_ps(); R];
            for (i, row) in rows.iter_mut().enumerate() {
                // SAFETY: n < count, i < rows and q + LANES <= len: inside `a` by the assert.
                *row = unsafe { _mm256_loadu_ps(a.as_ptr().add(a_start + i * dims.lda + q)) };
            }
            for t in 0..S {
                // SAFETY: n < count, no tap is above the reach and q + LANES <= len: inside `b` by the assert.
                let x = unsafe { _mm256_loadu_ps(b.as_ptr().add(b_start + offsets[t] + q)) };
                for i in 0..R {
                    sums[i][t] = _mm256_fmadd_ps(rows[i], x, sums[i][t]);
                }
            }
        }
    }
    for i in 0..R {
        for t in 0..S {
            out[i * S + t] = sum(sums[i][t]);
        }
    }
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
        let zero = _mm256_setzero_ps();
        let negative = _mm256_cmp_ps::<_CMP_NGT_UQ>(y, zero);
        let scaled = _mm256_add_ps(_mm256_mul_ps(_mm256_set1_ps(end.slope), y), zero);
        y = _mm256_blendv_ps(y, scaled, negative);
    }
    // SAFETY: the mask keeps to the n lanes that lie in `to`.
    unsafe { _mm256_maskstore_ps(at, mask, y) }
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

#[target_feature(enable = "avx2,fma")]
#[inline]
#[allow(unsafe_code, reason = "vectors are loaded through pointers")]
fn load(from: &[f32; LANES]) -> __m256 {
    // SAFETY: the array has the size of the vector; alignment is not needed.
    unsafe { _mm256_loadu_ps(from.as_ptr()) }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
#[allow(unsafe_code, reason = "vectors are stored through pointers")]
fn store(to: &mut [f32; LANES], vector: __m256) {
    // SAFETY: the array has the size of the vector; alignment is not needed.
    unsafe { _mm256_storeu_ps(to.as_mut_ptr(), vector) }
}
