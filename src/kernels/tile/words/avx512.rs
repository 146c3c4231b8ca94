//! AVX-512: 16 words at a time, with the instructions made for them where the processor has those.

use std::{arch::x86_64::*, sync::OnceLock};

use super::{super::TILE, Kind, wide::words};

const ROWS: usize = 12;
const LANES: usize = 16;
const VECTORS: usize = 2;
const COLS: usize = VECTORS * LANES;

words! {
    with _mm512_set1_epi32, _mm512_loadu_si512, _mm512_storeu_si512;
    rows (1 2 3 4 5 6 7 8 9 10 11 12);
    steps {
        shifted = shift with "avx512f";
        widened_a = widen with "avx512f,avx512bw";
        widened_b = widen_b with "avx512f,avx512bw";
        dpbf16 = dot_bf16 with "avx512f,avx512bf16";
        dpbusd_a = dot_a with "avx512f,avx512vnni";
        dpbusd_b = dot_b with "avx512f,avx512vnni";
    }
    plain { shifted, widened_a, widened_b }
}

impl Table {
    /// The fastest on this processor, which must have AVX-512F and BW.
    pub(in crate::kernels::tile) fn best() -> &'static Self {
        static BEST: OnceLock<Table> = OnceLock::new();
        BEST.get_or_init(|| {
            let mut best = PLAIN;
            if is_x86_feature_detected!("avx512bf16") {
                best.bf16 = dpbf16::ALL;
            }
            if is_x86_feature_detected!("avx512vnni") {
                best.signed_a = dpbusd_a::ALL;
                best.signed_b = dpbusd_b::ALL;
            }
            best
        })
    }
}

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

#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
#[allow(unsafe_code, reason = "a vector of one type is read as another")]
fn dot_bf16(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: both types are 512 bits, and any bits are a value of either.
    let [a, b] = unsafe { std::mem::transmute::<[__m512i; 2], [__m512bh; 2]>([a, b]) };
    _mm512_castps_si512(_mm512_dpbf16_ps(_mm512_castsi512_ps(sum), a, b))
}

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
