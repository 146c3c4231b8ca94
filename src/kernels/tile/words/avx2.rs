//! AVX2: 8 words at a time.

use std::{arch::x86_64::*, sync::OnceLock};

use super::{super::TILE, Kind};

const ROWS: usize = 6;
const LANES: usize = 8;
const VECTORS: usize = 2;
const COLS: usize = VECTORS * LANES;

type Kernel = unsafe fn(&[u32], &[u32], &mut [u32; TILE]);
/// By rows and vectors.
type Kernels = [[Kernel; VECTORS]; ROWS];

/// A kernel that adds words by a function.
macro_rules! kernel {
    ($name:ident, $step:ident, $features:literal) => {
        #[target_feature(enable = $features)]
        fn $name<const R: usize, const V: usize>(a: &[u32], b: &[u32], out: &mut [u32; TILE]) {
            let mut sums = [[_mm256_setzero_si256(); V]; R];
            let steps = a.as_chunks::<ROWS>().0.iter();
            for (a, b) in steps.zip(b.as_chunks::<COLS>().0) {
                let (b, _) = b.as_chunks::<LANES>();
                let mut row = [_mm256_setzero_si256(); V];
                for v in 0..V {
                    row[v] = load(&b[v]);
                }
                for i in 0..R {
                    let a = _mm256_set1_epi32(a[i] as i32);
                    for v in 0..V {
                        sums[i][v] = $step(sums[i][v], a, row[v]);
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
    };
}

macro_rules! kernels {
    ($kernel:ident) => { kernels!($kernel: 1 2 3 4 5 6) };
    ($kernel:ident: $($rows:literal)*) => { [$([$kernel::<$rows, 1>, $kernel::<$rows, 2>]),*] };
}

#[target_feature(enable = "avx2")]
#[inline]
#[allow(unsafe_code, reason = "vectors are loaded through pointers")]
fn load(from: &[u32; LANES]) -> __m256i {
    // SAFETY: the array has the size of the vector; alignment is not needed.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
#[allow(unsafe_code, reason = "vectors are stored through pointers")]
fn store(to: &mut [u32; LANES], vector: __m256i) {
    // SAFETY: the array has the size of the vector; alignment is not needed.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), vector) }
}

/// The kernels of each kind.
pub(in crate::kernels::tile) struct Table {
    bf16: Kernels,
    signed_a: Kernels,
    signed_b: Kernels,
}

impl Table {
    /// The fastest on this processor, which must have AVX2 and FMA.
    pub(in crate::kernels::tile) fn best() -> &'static Self {
        static BEST: OnceLock<Table> = OnceLock::new();
        BEST.get_or_init(|| {
            let mut best = PLAIN;
            if is_x86_feature_detected!("avxvnni") {
                best.signed_a = kernels!(dpbusd_a);
                best.signed_b = kernels!(dpbusd_b);
            }
            best
        })
    }

    /// Sums over as many steps as both slices hold.
    ///
    /// # Safety
    /// The processor must have AVX2 and FMA.
    #[inline(always)]
    #[allow(unsafe_code, reason = "the way into code for one instruction set")]
    pub(in crate::kernels::tile) unsafe fn multiply(
        &self,
        kind: Kind,
        (rows, vectors): (usize, usize),
        (a, b): (&[u32], &[u32]),
        out: &mut [u32; TILE],
    ) {
        let kernels = match kind {
            Kind::Bf16 => &self.bf16,
            Kind::SignedA => &self.signed_a,
            Kind::SignedB => &self.signed_b,
        };
        // SAFETY: the caller's promise; `best` lists what needs more only where the processor has it.
        unsafe { kernels[rows - 1][vectors - 1](a, b, out) }
    }
}

/// Without instructions made for it.
pub(super) const PLAIN: Table = Table {
    bf16: kernels!(shifted),
    signed_a: kernels!(widened_a),
    signed_b: kernels!(widened_b),
};

/// Halves as floats of their own: exact.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn shift(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
    let upper = _mm256_set1_epi32(0xffff_0000_u32 as i32);
    let upper = |x| _mm256_castsi256_ps(_mm256_and_si256(x, upper));
    let lower = |x| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(x));
    let sum = _mm256_fmadd_ps(upper(a), upper(b), _mm256_castsi256_ps(sum));
    _mm256_castps_si256(_mm256_fmadd_ps(lower(a), lower(b), sum))
}
kernel!(shifted, shift, "avx2,fma");

/// Even bytes and odd ones as numbers of 16 bits: their products and sums of two fit into 32.
#[target_feature(enable = "avx2")]
#[inline]
fn widen(sum: __m256i, signed: __m256i, unsigned: __m256i) -> __m256i {
    let even = _mm256_and_si256(unsigned, _mm256_set1_epi16(0xff));
    let odd = _mm256_srli_epi16::<8>(unsigned);
    let signed_even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(signed));
    let signed_odd = _mm256_srai_epi16::<8>(signed);
    let even = _mm256_madd_epi16(even, signed_even);
    let odd = _mm256_madd_epi16(odd, signed_odd);
    _mm256_add_epi32(sum, _mm256_add_epi32(even, odd))
}

#[target_feature(enable = "avx2")]
#[inline]
fn widen_b(sum: __m256i, unsigned: __m256i, signed: __m256i) -> __m256i {
    widen(sum, signed, unsigned)
}
kernel!(widened_a, widen, "avx2");
kernel!(widened_b, widen_b, "avx2");

#[target_feature(enable = "avx2,avxvnni")]
#[inline]
fn dot_a(sum: __m256i, signed: __m256i, unsigned: __m256i) -> __m256i {
    _mm256_dpbusd_avx_epi32(sum, unsigned, signed)
}

#[target_feature(enable = "avx2,avxvnni")]
#[inline]
fn dot_b(sum: __m256i, unsigned: __m256i, signed: __m256i) -> __m256i {
    _mm256_dpbusd_avx_epi32(sum, unsigned, signed)
}
kernel!(dpbusd_a, dot_a, "avx2,avxvnni");
kernel!(dpbusd_b, dot_b, "avx2,avxvnni");
