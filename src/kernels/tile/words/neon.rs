//! NEON: 4 words at a time.

use std::arch::aarch64::*;

use super::{super::TILE, Kind, wide::words};

const ROWS: usize = 12;
const LANES: usize = 4;
const VECTORS: usize = 2;
const COLS: usize = VECTORS * LANES;

words! {
    with vdupq_n_s32, vld1q_s32, vst1q_s32;
    rows (1 2 3 4 5 6 7 8 9 10 11 12);
    steps {
        shifted = shift with "neon";
        widened_a = widen with "neon";
        widened_b = widen_b with "neon";
    }
    plain { shifted, widened_a, widened_b }
}

impl Table {
    /// The fastest on this processor, which must have NEON.
    pub(in crate::kernels::tile) fn best() -> &'static Self {
        static BEST: Table = PLAIN;
        &BEST
    }
}

/// Halves as floats of their own: exact.
#[target_feature(enable = "neon")]
#[inline]
fn shift(sum: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t {
    let upper = |x| vreinterpretq_f32_s32(vandq_s32(x, vdupq_n_s32(0xffff_0000_u32 as i32)));
    let lower = |x| vreinterpretq_f32_s32(vshlq_n_s32::<16>(x));
    let sum = vfmaq_f32(vreinterpretq_f32_s32(sum), upper(a), upper(b));
    vreinterpretq_s32_f32(vfmaq_f32(sum, lower(a), lower(b)))
}

/// Even bytes and odd ones as numbers of 16 bits, which their products, at most 128 · 255, fit into.
#[target_feature(enable = "neon")]
#[inline]
fn widen(sum: int32x4_t, signed: int32x4_t, unsigned: int32x4_t) -> int32x4_t {
    let signed = vreinterpretq_s16_s32(signed);
    let unsigned = vreinterpretq_u16_s32(unsigned);
    let even = vreinterpretq_s16_u16(vandq_u16(unsigned, vdupq_n_u16(0xff)));
    let odd = vreinterpretq_s16_u16(vshrq_n_u16::<8>(unsigned));
    let signed_even = vshrq_n_s16::<8>(vshlq_n_s16::<8>(signed));
    let signed_odd = vshrq_n_s16::<8>(signed);
    let sum = vpadalq_s16(sum, vmulq_s16(even, signed_even));
    vpadalq_s16(sum, vmulq_s16(odd, signed_odd))
}

#[target_feature(enable = "neon")]
#[inline]
fn widen_b(sum: int32x4_t, unsigned: int32x4_t, signed: int32x4_t) -> int32x4_t {
    widen(sum, signed, unsigned)
}
