//! What the processor can do at most: multiply-adds on registers alone, without memory.

use std::time::Instant;

/// Chains of multiply-adds that do not wait for each other: more than latency times units on any processor. Those of ARM
/// have up to four units, and the registers for it.
const CHAINS: usize = if cfg!(target_arch = "aarch64") {
    24
} else {
    12
};

/// Multiply-adds of each chain in one measurement: some milliseconds.
const ROUNDS: usize = 1_000_000;

/// Measurements, of which the fastest counts.
const TRIES: usize = 8;

/// The most floating-point operations (a multiply-add is two) a second that all threads of the pool reach together,
/// measured, with the widest vectors that the products here use. It takes some tens of milliseconds.
pub fn peak() -> f64 {
    (0..TRIES).map(|_| measure()).fold(0.0, f64::max)
}

fn measure() -> f64 {
    let operations: Vec<(f64, f64)> = rayon::broadcast(|_| {
        let start = Instant::now();
        let lanes = chains(ROUNDS);
        let seconds = start.elapsed().as_secs_f64();
        ((2 * lanes * CHAINS * ROUNDS) as f64, seconds)
    });
    let slowest = operations.iter().map(|o| o.1).fold(1e-9, f64::max);
    operations.iter().map(|o| o.0).sum::<f64>() / slowest
}

/// Runs the chains, and returns how many floats each step of one takes.
#[allow(
    unsafe_code,
    reason = "the way into code for one instruction set, asked for just before"
)]
fn chains(rounds: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has the feature.
            unsafe { avx512(rounds) }
            return 16;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has the features.
            unsafe { avx2(rounds) }
            return 8;
        }
    }
    portable(rounds);
    LANES
}

/// Floats of a vector on any processor that is left.
const LANES: usize = 4;

fn portable(rounds: usize) {
    // A fused multiply-add where it is one instruction; a call into the C library elsewhere.
    const FUSED: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));
    let (factor, term) = std::hint::black_box((0.999_f32, 0.001_f32));
    let mut sums = [[1.0_f32; LANES]; CHAINS];
    for _ in 0..rounds {
        for sum in sums.as_flattened_mut() {
            *sum = if FUSED {
                sum.mul_add(factor, term)
            } else {
                *sum * factor + term
            };
        }
    }
    std::hint::black_box(sums);
}

#[cfg(target_arch = "x86_64")]
macro_rules! wide {
    ($name:ident, $features:literal, $set:ident, $fmadd:ident) => {
        #[target_feature(enable = $features)]
        fn $name(rounds: usize) {
            use std::arch::x86_64::*;
            let (factor, term) = std::hint::black_box((0.999, 0.001));
            let (factor, term) = ($set(factor), $set(term));
            let mut sums = [$set(1.0); CHAINS];
            for _ in 0..rounds {
                for sum in &mut sums {
                    *sum = $fmadd(*sum, factor, term);
                }
            }
            std::hint::black_box(sums);
        }
    };
}

#[cfg(target_arch = "x86_64")]
wide!(avx512, "avx512f", _mm512_set1_ps, _mm512_fmadd_ps);
#[cfg(target_arch = "x86_64")]
wide!(avx2, "avx2,fma", _mm256_set1_ps, _mm256_fmadd_ps);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_peak() {
        let peak = measure();
        assert!(peak.is_finite() && peak > 0.0, "{peak}");
    }

    #[test]
    fn the_portable_chains_run_too() {
        portable(10);
    }
}
