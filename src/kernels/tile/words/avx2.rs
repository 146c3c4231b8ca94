//! AVX2: 8 words at a time.

use std::{arch::x86_64::*, sync::OnceLock};

use super::{super::TILE, Kind, wide::words};

const ROWS: usize = 6;
const LANES: usize = 8;
const VECTORS: usize = 2;
const COLS: usize = VECTORS * LANES;

words! {
    with _mm256_set1_epi32, _mm256_loadu_si256, _mm256_storeu_si256;
    rows (1 2 3 4 5 6);
    steps {
        shifted = shift with "avx2,fma";
        widened_a = widen with "avx2";
        widened_b = widen_b with "avx2";
        dpbusd_a = dot_a with "avx2,avxvnni";
        dpbusd_b = dot_b with "avx2,avxvnni";
    }
    plain { shifted, widened_a, widened_b }
}

impl Table {
    /// The fastest on this processor, which must have AVX2 and FMA.
    pub(in crate::kernels::tile) fn best() -> &'static Self {
        static BEST: OnceLock<Table> = OnceLock::new();
        BEST.get_or_init(|| {
            let mut best = PLAIN;
            if is_x86_feature_detected!("avxvnni") {
                best.signed_a = dpbusd_a::ALL;
                best.signed_b = dpbusd_b::ALL;
            }
            best
        })
    }
}

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
