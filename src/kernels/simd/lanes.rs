//! Eight numbers side by side, for kernels whose loops the compiler does not see through: short rows, comparisons that
//! carry a place along.
//!
//! A kernel is written once over [`Lanes`] and run by [`run`] with the best implementation that the processor has. All
//! give the same bits.

#[cfg(target_arch = "aarch64")]
mod neon;

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Numbers of a vector.
pub(crate) const LANES: usize = 8;

/// An implementation of vectors of eight. Kernels take it by value and call its functions, all inlined.
pub(crate) trait Lanes: Copy {
    /// Eight floats.
    type F: Copy;
    /// Eight whole numbers.
    type I: Copy;

    /// The floats of an array.
    fn load(self, from: &[f32; LANES]) -> Self::F;
    /// Writes floats.
    fn store(self, x: Self::F, to: &mut [f32; LANES]);
    /// The whole numbers of an array.
    fn load_i(self, from: &[i32; LANES]) -> Self::I;
    /// Writes whole numbers.
    fn store_i(self, x: Self::I, to: &mut [i32; LANES]);
    /// Eight times `x`.
    fn splat(self, x: f32) -> Self::F;
    /// Eight times `x`.
    fn splat_i(self, x: i32) -> Self::I;
    /// a + b.
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    /// a + b, wrapping.
    fn add_i(self, a: Self::I, b: Self::I) -> Self::I;
    /// a / b.
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// x where x > top, else top: a NaN in x never comes in.
    fn larger(self, top: Self::F, x: Self::F) -> Self::F;
    /// (x, from) where x > top, else (top, at).
    fn better(self, top: (Self::F, Self::I), x: (Self::F, Self::I)) -> (Self::F, Self::I);
    /// The even ones and the odd ones of sixteen.
    fn deal(self, from: &[f32; 2 * LANES]) -> (Self::F, Self::F);
    /// Writes `a` and `b` in turn.
    fn interleave(self, a: Self::F, b: Self::F, to: &mut [f32; 2 * LANES]);
}

/// Work written over [`Lanes`]; `run` must be `#[inline(always)]`, and all that it calls with the lanes.
pub(crate) trait Kernel {
    /// Does it.
    fn run<L: Lanes>(self, lanes: L);
}

/// Runs `kernel` with the best lanes that the processor has.
#[allow(unsafe_code, reason = "the way into code for one instruction set")]
pub(crate) fn run<K: Kernel>(kernel: K) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        fn avx2<K: Kernel>(kernel: K, lanes: Avx2) {
            kernel.run(lanes);
        }
        if let Some(lanes) = Avx2::new() {
            // SAFETY: the lanes exist only where the processor has these features.
            return unsafe { avx2(kernel, lanes) };
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        #[target_feature(enable = "neon")]
        fn neon<K: Kernel>(kernel: K, lanes: neon::Neon) {
            kernel.run(lanes);
        }
        if let Some(lanes) = neon::Neon::new() {
            // SAFETY: the lanes exist only where the processor has the feature.
            return unsafe { neon(kernel, lanes) };
        }
    }
    kernel.run(Plain);
}

/// Arrays and loops.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain;

impl Lanes for Plain {
    type F = [f32; LANES];
    type I = [i32; LANES];

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Self::F {
        *from
    }
    #[inline(always)]
    fn store(self, x: Self::F, to: &mut [f32; LANES]) {
        *to = x;
    }
    #[inline(always)]
    fn load_i(self, from: &[i32; LANES]) -> Self::I {
        *from
    }
    #[inline(always)]
    fn store_i(self, x: Self::I, to: &mut [i32; LANES]) {
        *to = x;
    }
    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        [x; LANES]
    }
    #[inline(always)]
    fn splat_i(self, x: i32) -> Self::I {
        [x; LANES]
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn add_i(self, a: Self::I, b: Self::I) -> Self::I {
        std::array::from_fn(|i| a[i].wrapping_add(b[i]))
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn larger(self, top: Self::F, x: Self::F) -> Self::F {
        std::array::from_fn(|i| if x[i] > top[i] { x[i] } else { top[i] })
    }
    #[inline(always)]
    fn better(
        self,
        (top, at): (Self::F, Self::I),
        (x, from): (Self::F, Self::I),
    ) -> (Self::F, Self::I) {
        let at = std::array::from_fn(|i| if x[i] > top[i] { from[i] } else { at[i] });
        (self.larger(top, x), at)
    }
    #[inline(always)]
    fn deal(self, from: &[f32; 2 * LANES]) -> (Self::F, Self::F) {
        (
            std::array::from_fn(|i| from[2 * i]),
            std::array::from_fn(|i| from[2 * i + 1]),
        )
    }
    #[inline(always)]
    fn interleave(self, a: Self::F, b: Self::F, to: &mut [f32; 2 * LANES]) {
        *to = std::array::from_fn(|i| if i % 2 == 0 { a[i / 2] } else { b[i / 2] });
    }
}

/// Registers of AVX2, and the proof that the processor has them.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    /// `None` where the processor lacks it.
    #[inline]
    fn new() -> Option<Self> {
        super::Level::is_wide().then_some(Self(()))
    }
}

/// SAFETY (of every block in it): `self` exists only where the processor has AVX2; loads and stores are of arrays of the
/// vector's size, and need no alignment.
#[cfg(target_arch = "x86_64")]
#[allow(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    reason = "one instruction each; the reason is the same for all and stands above"
)]
impl Lanes for Avx2 {
    type F = __m256;
    type I = __m256i;

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> __m256 {
        unsafe { _mm256_loadu_ps(from.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, x: __m256, to: &mut [f32; LANES]) {
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), x) }
    }
    #[inline(always)]
    fn load_i(self, from: &[i32; LANES]) -> __m256i {
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn store_i(self, x: __m256i, to: &mut [i32; LANES]) {
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), x) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    fn splat_i(self, x: i32) -> __m256i {
        unsafe { _mm256_set1_epi32(x) }
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn add_i(self, a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_add_epi32(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    fn larger(self, top: __m256, x: __m256) -> __m256 {
        // The instruction gives its second operand where the comparison fails.
        unsafe { _mm256_max_ps(x, top) }
    }
    #[inline(always)]
    fn better(
        self,
        (top, at): (__m256, __m256i),
        (x, from): (__m256, __m256i),
    ) -> (__m256, __m256i) {
        unsafe {
            let better = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_GT_OQ>(x, top));
            (_mm256_max_ps(x, top), _mm256_blendv_epi8(at, from, better))
        }
    }
    #[inline(always)]
    fn deal(self, from: &[f32; 2 * LANES]) -> (__m256, __m256) {
        unsafe {
            let (low, high) = (
                _mm256_loadu_ps(from.as_ptr()),
                _mm256_loadu_ps(from.as_ptr().add(LANES)),
            );
            let even = _mm256_castps_pd(_mm256_shuffle_ps::<0b10_00_10_00>(low, high));
            let odd = _mm256_castps_pd(_mm256_shuffle_ps::<0b11_01_11_01>(low, high));
            (
                _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(even)),
                _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(odd)),
            )
        }
    }
    #[inline(always)]
    fn interleave(self, a: __m256, b: __m256, to: &mut [f32; 2 * LANES]) {
        unsafe {
            let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let to = to.as_mut_ptr();
            _mm256_storeu_ps(to, _mm256_permute2f128_ps::<0x20>(low, high));
            _mm256_storeu_ps(to.add(LANES), _mm256_permute2f128_ps::<0x31>(low, high));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::simd::at_each_level;

    /// Every operation on awkward numbers, one result after the other.
    struct All<'a>(&'a mut Vec<u32>);

    impl Kernel for All<'_> {
        fn run<L: Lanes>(self, l: L) {
            let a = [1.0, f32::NAN, -0.0, 3.0, f32::INFINITY, -5.0, 1e-45, 7.0];
            let b = [2.0, 1.0, 0.0, f32::NAN, 1.0, -5.0, 0.0, -7.0];
            let (at, from) = ([1, 2, 3, 4, 5, 6, 7, i32::MAX], [-1; LANES]);
            let (x, y) = (l.load(&a), l.load(&b));
            let (i, j) = (l.load_i(&at), l.load_i(&from));
            let (top, place) = l.better((x, i), (y, j));
            let mut both = [0.0; 2 * LANES];
            both[..LANES].copy_from_slice(&a);
            both[LANES..].copy_from_slice(&b);
            let (even, odd) = l.deal(&both);
            let mut turns = [0.0; 2 * LANES];
            l.interleave(even, odd, &mut turns);
            assert!(
                turns
                    .iter()
                    .zip(&both)
                    .all(|(a, b)| a.to_bits() == b.to_bits())
            );
            let mut out = [0.0; LANES];
            for v in [
                l.add(x, y),
                l.div(x, y),
                l.larger(x, y),
                top,
                even,
                odd,
                l.splat(2.5),
            ] {
                l.store(v, &mut out);
                self.0
                    .extend(out.map(|x| if x.is_nan() { 0 } else { x.to_bits() }));
            }
            let mut out = [0; LANES];
            for v in [l.add_i(i, j), place, l.splat_i(-3)] {
                l.store_i(v, &mut out);
                self.0.extend(out.map(|x| x as u32));
            }
        }
    }

    #[test]
    fn every_level_gives_the_same_bits() {
        let all = at_each_level(|| {
            let mut bits = Vec::new();
            run(All(&mut bits));
            bits
        });
        assert_eq!(all[0], all[1]);
        // The larger of 1 and 2; of NaN and 1 the first, which nothing beats; of -0 and 0 the first.
        assert_eq!(all[0][2 * LANES], 2.0f32.to_bits());
        assert_eq!(all[0][2 * LANES + 2], (-0.0f32).to_bits());
    }
}
