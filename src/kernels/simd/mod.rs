//! Wide registers for plain loops, and the functions of a number that such loops want.
//!
//! The compiler turns a plain loop over slices into vector code for the instruction set that it compiles for, which is
//! the oldest of the architecture. `wide!` compiles a function once more for a newer one and picks at run time.
//! Rust rounds after every operation and never contracts a · b + c, so every path gives the same bits.

pub(crate) mod lanes;
mod math;
pub mod slices;

use std::sync::atomic::{AtomicU8, Ordering};

pub use math::{exp, ln, sigmoid, tanh};

/// An instruction set that [`wide!`](wide) compiles for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Level {
    /// What every processor of the architecture has.
    Base = 1,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2 = 2,
    /// NEON. Loops get it in any case, it is in the base of the architecture; only [`lanes`] name it.
    #[cfg(target_arch = "aarch64")]
    Neon = 2,
}

/// The level in use; 0: not known yet.
static LEVEL: AtomicU8 = AtomicU8::new(0);

impl Level {
    /// The best that this processor has.
    pub(crate) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Self::Avx2;
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            return Self::Neon;
        }
        Self::Base
    }

    /// Whether the wide path is to run: the processor has what it needs.
    #[inline]
    pub(crate) fn is_wide() -> bool {
        match LEVEL.load(Ordering::Relaxed) {
            0 => {
                let best = Self::best();
                LEVEL.store(best as u8, Ordering::Relaxed);
                best != Self::Base
            }
            level => level != Self::Base as u8,
        }
    }
}

/// Defines functions whose loops use the widest registers that the processor has.
///
/// The body is compiled once for each [`Level`]; what it calls must be `#[inline(always)]`, or small enough that the
/// compiler inlines it, to take part. Closures are inlined as long as they are short.
macro_rules! wide {
    ($(
        $(#[$meta:meta])*
        $vis:vis fn $name:ident $(<$($generic:ident: $bound:path),+>)? ($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)?
        $body:block
    )+) => {$(
        $(#[$meta])*
        #[allow(unsafe_code, reason = "the way into code for one instruction set")]
        $vis fn $name $(<$($generic: $bound),+>)? ($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body $(<$($generic: $bound),+>)? ($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn avx2 $(<$($generic: $bound),+>)? ($($arg: $ty),*) $(-> $ret)? {
                    body($($arg),*)
                }
                if $crate::kernels::simd::Level::is_wide() {
                    // SAFETY: the level is wide only where the processor has these features.
                    return unsafe { avx2($($arg),*) };
                }
            }
            body($($arg),*)
        }
    )+};
}
pub(crate) use wide;

/// Calls `f` once for each level of this processor; for tests that compare the levels' bits.
#[cfg(test)]
pub(crate) fn at_each_level<R>(mut f: impl FnMut() -> R) -> Vec<R> {
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _held = ONE_AT_A_TIME.lock();
    let best = Level::best();
    let mut results = Vec::new();
    for level in [Level::Base, best] {
        // Whoever else computes meanwhile gets the same bits: that is the law under test.
        LEVEL.store(level as u8, Ordering::Relaxed);
        results.push(f());
    }
    results
}
