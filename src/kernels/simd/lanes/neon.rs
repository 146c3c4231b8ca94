//! Lanes of two registers of NEON.

use std::arch::aarch64::*;

use super::{LANES, Lanes};

/// Registers of NEON, and the proof that the processor has them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Neon(());

impl Neon {
    /// `None` where the processor lacks it.
    #[inline]
    pub(super) fn new() -> Option<Self> {
        crate::kernels::simd::Level::is_wide().then_some(Self(()))
    }
}

/// SAFETY (of every block in it): `self` exists only where the processor has NEON; loads and stores are of arrays of the
/// vectors' size, and need no alignment.
#[allow(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    reason = "one instruction for each half; the reason is the same for all and stands above"
)]
impl Lanes for Neon {
    type F = float32x4x2_t;
    type I = int32x4x2_t;

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> float32x4x2_t {
        unsafe { vld1q_f32_x2(from.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, x: float32x4x2_t, to: &mut [f32; LANES]) {
        unsafe { vst1q_f32_x2(to.as_mut_ptr(), x) }
    }
    #[inline(always)]
    fn load_i(self, from: &[i32; LANES]) -> int32x4x2_t {
        unsafe { vld1q_s32_x2(from.as_ptr()) }
    }
    #[inline(always)]
    fn store_i(self, x: int32x4x2_t, to: &mut [i32; LANES]) {
        unsafe { vst1q_s32_x2(to.as_mut_ptr(), x) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> float32x4x2_t {
        unsafe { float32x4x2_t(vdupq_n_f32(x), vdupq_n_f32(x)) }
    }
    #[inline(always)]
    fn splat_i(self, x: i32) -> int32x4x2_t {
        unsafe { int32x4x2_t(vdupq_n_s32(x), vdupq_n_s32(x)) }
    }
    #[inline(always)]
    fn add(self, a: float32x4x2_t, b: float32x4x2_t) -> float32x4x2_t {
        unsafe { float32x4x2_t(vaddq_f32(a.0, b.0), vaddq_f32(a.1, b.1)) }
    }
    #[inline(always)]
    fn add_i(self, a: int32x4x2_t, b: int32x4x2_t) -> int32x4x2_t {
        unsafe { int32x4x2_t(vaddq_s32(a.0, b.0), vaddq_s32(a.1, b.1)) }
    }
    #[inline(always)]
    fn div(self, a: float32x4x2_t, b: float32x4x2_t) -> float32x4x2_t {
        unsafe { float32x4x2_t(vdivq_f32(a.0, b.0), vdivq_f32(a.1, b.1)) }
    }
    #[inline(always)]
    fn larger(self, top: float32x4x2_t, x: float32x4x2_t) -> float32x4x2_t {
        // Not `vmaxq_f32`: a NaN would come in.
        let larger = |top, x| unsafe { vbslq_f32(vcgtq_f32(x, top), x, top) };
        float32x4x2_t(larger(top.0, x.0), larger(top.1, x.1))
    }
    #[inline(always)]
    fn better(
        self,
        (top, at): (float32x4x2_t, int32x4x2_t),
        (x, from): (float32x4x2_t, int32x4x2_t),
    ) -> (float32x4x2_t, int32x4x2_t) {
        let better = |(top, at), (x, from)| unsafe {
            let better = vcgtq_f32(x, top);
            (vbslq_f32(better, x, top), vbslq_s32(better, from, at))
        };
        let (low, low_at) = better((top.0, at.0), (x.0, from.0));
        let (high, high_at) = better((top.1, at.1), (x.1, from.1));
        (float32x4x2_t(low, high), int32x4x2_t(low_at, high_at))
    }
    #[inline(always)]
    fn deal(self, from: &[f32; 2 * LANES]) -> (float32x4x2_t, float32x4x2_t) {
        let [low, high] = from.as_chunks::<LANES>().0 else {
            unreachable!("sixteen are two times eight")
        };
        let (low, high) = unsafe { (vld2q_f32(low.as_ptr()), vld2q_f32(high.as_ptr())) };
        (float32x4x2_t(low.0, high.0), float32x4x2_t(low.1, high.1))
    }
    #[inline(always)]
    fn interleave(self, a: float32x4x2_t, b: float32x4x2_t, to: &mut [f32; 2 * LANES]) {
        let [low, high] = to.as_chunks_mut::<LANES>().0 else {
            unreachable!("sixteen are two times eight")
        };
        unsafe {
            vst2q_f32(low.as_mut_ptr(), float32x4x2_t(a.0, b.0));
            vst2q_f32(high.as_mut_ptr(), float32x4x2_t(a.1, b.1));
        }
    }
}
