//! AVX-512: tiles of 12 × 32, or fewer rows and more vectors, in 24 of the 32 registers.

use std::arch::x86_64::*;

use super::{Dots, Finish, Job, Kind, MOST, TILE, Taps, Tile, avx2::turn, words};

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

impl Tile for Avx512 {
    const ROWS: usize = ROWS;
    const LANES: usize = LANES;
    const COLS: usize = COLS;
    const SUMS: usize = SUMS;

    type V = __m512;

    #[inline(always)]
    #[allow(unsafe_code, reason = "vectors are loaded through pointers")]
    fn load(self, from: &[f32]) -> __m512 {
        let from = &from[..LANES];
        // SAFETY: the slice has the size of the vector, and `self` proves the features.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    #[allow(unsafe_code, reason = "vectors are stored through pointers")]
    fn store(self, v: __m512, to: &mut [f32]) {
        let to = &mut to[..LANES];
        // SAFETY: the slice has the size of the vector, and `self` proves the features.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), v) }
    }

    #[inline(always)]
    #[allow(unsafe_code, reason = "an instruction of this set")]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` exists only where the processor has the features.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    #[allow(unsafe_code, reason = "an instruction of this set")]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` exists only where the processor has the features.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    #[allow(unsafe_code, reason = "an instruction of this set")]
    fn scale_add(self, f: f32, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` exists only where the processor has the features.
        unsafe { _mm512_fmadd_ps(_mm512_set1_ps(f), a, b) }
    }

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
        unsafe { words::avx512::Table::best().multiply(kind, dims, words, out) }
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
static KERNELS: [[Kernel; VECTORS]; ROWS] = kernels!(kernel: 1 2 3 4 5 6 7 8 9 10 11 12);
static OUTER: [[KernelOuter; VECTORS]; ROWS] = kernels!(outer: 1 2 3 4 5 6 7 8 9 10 11 12);

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
    1: 1 2 3 4 5 6 7 8; 2: 1 2 3 4 5 6 7 8; 3: 1 2 3 4 5 6 7 8; 4: 1 2 3 4 5 6; 5: 1 2 3 4; 6: 1 2 3 4;
    7: 1 2 3; 8: 1 2 3; 9: 1 2; 10: 1 2; 11: 1 2; 12: 1 2;
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
    1: 1 2 3 4 5 6 7 8 9 10 11 12; 2: 1 2 3 4 5 6 7 8 9 10 11 12; 3: 1 2 3 4 5 6 7 8; 4: 1 2 3 4 5 6; 5: 1 2 3 4;
    6: 1 2 3 4;
};

#[target_feature(enable = "avx512f")]
fn kernel<const R: usize, const V: usize>(
    k: usize,
    a: &[f32],
    b: &[f32],
    ldb: usize,
    out: &mut [f32; TILE],
) {
    let mut sums = [[_mm512_setzero_ps(); V]; R];
    let (steps, _) = a.as_chunks::<ROWS>();
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
    let mut sums = [[_mm512_setzero_ps(); V]; R];
    for (a, &tap) in steps[..taps.offsets.len()].iter().zip(taps.offsets) {
        let mut row = [_mm512_setzero_ps(); V];
        for v in 0..V {
            // SAFETY: base + reach + LANES is inside `b` by the assert, and no tap is above the reach.
            row[v] = unsafe { _mm512_loadu_ps(b.as_ptr().add(bases[v] + tap)) };
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
            store(&mut out[i * V + v], sums[i][v]);
        }
    }
}

#[target_feature(enable = "avx512f")]
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
                let x = _mm512_loadu_ps(b.as_ptr().add(base + tap));
                _mm512_storeu_ps(to.as_mut_ptr().add(p * stride + v * LANES), x);
            }
        }
    }
}

#[target_feature(enable = "avx512f")]
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
    let mut sums = [[_mm512_setzero_ps(); V]; R];
    for base in bases {
        for (q, b) in steps.by_ref().take(len).enumerate() {
            let (b, _) = b.as_chunks::<LANES>();
            for i in 0..R {
                // SAFETY: base + reach + len is inside `a` by the assert, and q < len.
                let a = _mm512_set1_ps(unsafe { *a.get_unchecked(base + offsets[i] + q) });
                for v in 0..V {
                    sums[i][v] = _mm512_fmadd_ps(a, load(&b[v]), sums[i][v]);
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

#[target_feature(enable = "avx512f")]
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
    let mut sums = [[_mm512_setzero_ps(); S]; R];
    for n in 0..dims.count {
        let (a_start, b_start) = (n * dims.a_apart, n * dims.b_apart);
        for q in (0..dims.len).step_by(LANES) {
            let mut rows = [_mm512_setzero_ps(); R];
            for (i, row) in rows.iter_mut().enumerate() {
                // SAFETY: n < count, i < rows and q + LANES <= len: inside `a` by the assert.
                *row = unsafe { _mm512_loadu_ps(a.as_ptr().add(a_start + i * dims.lda + q)) };
            }
            for t in 0..S {
                // SAFETY: n < count, no tap is above the reach and q + LANES <= len: inside `b` by the assert.
                let x = unsafe { _mm512_loadu_ps(b.as_ptr().add(b_start + offsets[t] + q)) };
                for i in 0..R {
                    sums[i][t] = _mm512_fmadd_ps(rows[i], x, sums[i][t]);
                }
            }
        }
    }
    for i in 0..R {
        for t in 0..S {
            out[i * S + t] = _mm512_reduce_add_ps(sums[i][t]);
        }
    }
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
        let zero = _mm512_setzero_ps();
        let negative = _mm512_cmp_ps_mask::<_CMP_NGT_UQ>(y, zero);
        let scaled = _mm512_add_ps(_mm512_mul_ps(_mm512_set1_ps(end.slope), y), zero);
        y = _mm512_mask_blend_ps(negative, y, scaled);
    }
    // SAFETY: the mask keeps to the n lanes that lie in `to`.
    unsafe { _mm512_mask_storeu_ps(at, mask, y) }
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
