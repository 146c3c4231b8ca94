//! AVX-512: 16 words at a time, with the instructions made for them where the processor has those.

use std::{arch::x86_64::*, sync::OnceLock};

use super::{super::TILE, Kind};

const ROWS: usize = 12;
const LANES: usize = 16;
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
            let mut sums = [[_mm512_setzero_si512(); V]; R];
            let steps = a.as_chunks::<ROWS>().0.iter();
            for (a, b) in steps.zip(b.as_chunks::<COLS>().0) {
                let (b, _) = b.as_chunks::<LANES>();
                let mut row = [_mm512_setzero_si512(); V];
                for v in 0..V {
                    row[v] = load(&b[v]);
                }
                for i in 0..R {
                    let a = _mm512_set1_epi32(a[i] as i32);
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
    ($kernel:ident) => { kernels!($kernel: 1 2 3 4 5 6 7 8 9 10 11 12) };
    ($kernel:ident: $($rows:literal)*) => { [$([$kernel::<$rows, 1>, $kernel::<$rows, 2>]),*] };
}

#[target_feature(enable = "avx512f")]
#[inline]
#[allow(unsafe_code, reason = "vectors are loaded through pointers")]
fn load(from: &[u32; LANES]) -> __m512i {
    // SAFETY: the array has the size of the vector; alignment is not needed.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
#[allow(unsafe_code, reason = "vectors are stored through pointers")]
fn store(to: &mut [u32; LANES], vector: __m512i) {
    // SAFETY: the array has the size of the vector; alignment is not needed.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), vector) }
}

/// The kernels of each kind.
pub(in crate::kernels::tile) struct Table {
    bf16: Kernels,
    signed_a: Kernels,
    signed_b: Kernels,
}

impl Table {
    /// The fastest on this processor, which must have AVX-512F and BW.
    pub(in crate::kernels::tile) fn best() -> &'static Self {
        static BEST: OnceLock<Table> = OnceLock::new();
        BEST.get_or_init(|| {
            let mut best = PLAIN;
            if is_x86_feature_detected!("avx512bf16") {
                best.bf16 = kernels!(dpbf16);
            }
            if is_x86_feature_detected!("avx512vnni") {
                best.signed_a = kernels!(dpbusd_a);
                best.signed_b = kernels!(dpbusd_b);
            }
            best
        })
    }

    /// Sums over as many steps as both slices hold.
    ///
    /// # Safety
    /// The processor must have AVX-512F and BW.
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
#[target_feature(enable = "avx512f")]
#[inline]
fn shift(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    let upper = _mm512_set1_epi32(0xffff_0000_u32 as i32);
    let upper = |x| _mm512_castsi512_ps(_mm512_and_si512(x, upper));
    let lower = |x| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(x));
    let sum = _mm512_fmadd_ps(upper(a), upper(b), _mm512_castsi512_ps(sum));
    _mm512_castps_si512(_mm512_fmadd_ps(lower(a), lower(b), sum))
}
kernel!(shifted, shift, "avx512f");

/// Even bytes and odd ones as numbers of 16 bits: their products and sums of two fit into 32.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn widen(sum: __m512i, signed: __m512i, unsigned: __m512i) -> __m512i {
    let even = _mm512_and_si512(unsigned, _mm512_set1_epi16(0xff));
    let odd = _mm512_srli_epi16::<8>(unsigned);
    let signed_even = _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(signed));
    let signed_odd = _mm512_srai_epi16::<8>(signed);
    let even = _mm512_madd_epi16(even, signed_even);
    let odd = _mm512_madd_epi16(odd, signed_odd);
    _mm512_add_epi32(sum, _mm512_add_epi32(even, odd))
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn widen_b(sum: __m512i, unsigned: __m512i, signed: __m512i) -> __m512i {
    widen(sum, signed, unsigned)
}
kernel!(widened_a, widen, "avx512f,avx512bw");
kernel!(widened_b, widen_b, "avx512f,avx512bw");

#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
#[allow(unsafe_code, reason = "a vector of one type is read as another")]
fn dot_bf16(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: both types are 512 bits, and any bits are a value of either.
    let [a, b] = unsafe { std::mem::transmute::<[__m512i; 2], [__m512bh; 2]>([a, b]) };
    _mm512_castps_si512(_mm512_dpbf16_ps(_mm512_castsi512_ps(sum), a, b))
}
kernel!(dpbf16, dot_bf16, "avx512f,avx512bf16");

#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
fn dot_a(sum: __m512i, signed: __m512i, unsigned: __m512i) -> __m512i {
    _mm512_dpbusd_epi32(sum, unsigned, signed)
}

#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
fn dot_b(sum: __m512i, unsigned: __m512i, signed: __m512i) -> __m512i {
    _mm512_dpbusd_epi32(sum, unsigned, signed)
}
kernel!(dpbusd_a, dot_a, "avx512f,avx512vnni");
kernel!(dpbusd_b, dot_b, "avx512f,avx512vnni");
