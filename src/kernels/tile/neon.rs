//! NEON: tiles of 12 × 8, or fewer rows and more vectors, in 24 of the 32 registers.

use std::arch::aarch64::*;

use super::{
    Dots, Finish, Job, Kind, MOST, TILE, Taps, Tile,
    wide::{at, dots, tile},
    words,
};

const ROWS: usize = 12;
const LANES: usize = 4;
const VECTORS: usize = 2;
const COLS: usize = VECTORS * LANES;
const SUMS: usize = 24;

/// Proof that the processor has NEON.
#[derive(Clone, Copy, Debug)]
pub(in crate::kernels) struct Neon(());

impl Neon {
    /// `None` where the processor lacks it, as hardly any does.
    pub(super) fn new() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
    }

    #[allow(unsafe_code, reason = "the way into code for one instruction set")]
    pub(super) fn run<J: Job>(self, job: J) -> J::Out {
        #[target_feature(enable = "neon")]
        fn with_features<J: Job>(t: Neon, job: J) -> J::Out {
            job.run(t)
        }
        // SAFETY: `self` exists only where the processor has the feature.
        unsafe { with_features(self, job) }
    }
}

tile! {
    impl Neon with "neon":
    float32x4_t, zero, vdupq_n_f32, vld1q_f32, vst1q_f32, vaddq_f32, vsubq_f32, multiply_add, vaddvq_f32;
    rows 1 2 3 4 5 6 7 8 9 10 11 12;
    words neon;
    own {
        #[inline(always)]
        #[allow(unsafe_code, reason = "vectors are loaded through pointers")]
        fn split<const M: usize>(self, from: &[f32]) -> [float32x4_t; M] {
            let mut parts = [self.load(from); M];
            let from = from[..M * LANES].as_ptr();
            match M {
                // SAFETY: `from` has M vectors, and `self` exists only where the processor has the feature.
                2 => parts.copy_from_slice(&unsafe {
                    let float32x4x2_t(a, b) = vld2q_f32(from);
                    [a, b]
                }),
                // SAFETY: as above.
                4 => parts.copy_from_slice(&unsafe {
                    let float32x4x4_t(a, b, c, d) = vld4q_f32(from);
                    [a, b, c, d]
                }),
                _ => unreachable!("tiles are of 2 or 4"),
            }
            parts
        }

        #[inline(always)]
        #[allow(unsafe_code, reason = "vectors are stored through pointers")]
        fn join<const M: usize>(self, parts: [float32x4_t; M], to: &mut [f32]) {
            let to = to[..M * LANES].as_mut_ptr();
            match parts[..] {
                // SAFETY: `to` has M vectors, and `self` exists only where the processor has the feature.
                [a, b] => unsafe { vst2q_f32(to, float32x4x2_t(a, b)) },
                // SAFETY: as above.
                [a, b, c, d] => unsafe { vst4q_f32(to, float32x4x4_t(a, b, c, d)) },
                _ => unreachable!("tiles are of 2 or 4"),
            }
        }
    }
}

/// By rows and vectors.
static AT: [[KernelAt; 8]; ROWS] = at! {
    1: 1 2 3 4 5 6 7 8; 2: 1 2 3 4 5 6 7 8; 3: 1 2 3 4 5 6 7 8; 4: 1 2 3 4 5 6; 5: 1 2 3 4; 6: 1 2 3 4;
    7: 1 2 3; 8: 1 2 3; 9: 1 2; 10: 1 2; 11: 1 2; 12: 1 2;
};

/// By rows and taps.
static DOT: [[KernelDot; MOST]; 6] = dots! {
    1: 1 2 3 4 5 6 7 8 9 10 11 12; 2: 1 2 3 4 5 6 7 8 9 10 11 12; 3: 1 2 3 4 5 6 7 8; 4: 1 2 3 4 5 6; 5: 1 2 3 4;
    6: 1 2 3 4;
};

#[target_feature(enable = "neon")]
#[inline]
fn zero() -> float32x4_t {
    vdupq_n_f32(0.0)
}

/// a · b + c, rounded once.
#[target_feature(enable = "neon")]
#[inline]
fn multiply_add(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
    vfmaq_f32(c, a, b)
}

/// One of the floats of a step's rows, in all lanes: as a lane of four, since products take a lane as it is, and a step
/// then loads three vectors of rows.
#[target_feature(enable = "neon")]
#[inline]
fn spread(a: &[f32; ROWS], i: usize) -> float32x4_t {
    let four = load(&a.as_chunks().0[i / LANES]);
    match i % LANES {
        0 => vdupq_laneq_f32::<0>(four),
        1 => vdupq_laneq_f32::<1>(four),
        2 => vdupq_laneq_f32::<2>(four),
        _ => vdupq_laneq_f32::<3>(four),
    }
}

/// Parts of vectors go through arrays, so that a number is rounded alike wherever a line was cut.
#[target_feature(enable = "neon")]
#[inline]
fn put(from: &[f32], lane: usize, to: &mut [f32], residual: Option<&[f32]>, end: Finish) {
    let n = to.len();
    assert!(lane + n <= LANES && residual.is_none_or(|r| r.len() == n));
    let from = load(from.first_chunk().expect("a whole vector"));
    if let Some(to) = to.first_chunk_mut() {
        let residual = residual
            .and_then(|r| r.first_chunk())
            .map(|four| load(four));
        let y = finished(from, load(to), residual, end);
        store(to, y);
        return;
    }
    let part = |x: &[f32]| {
        let mut four = [0.0; LANES];
        four[lane..lane + n].copy_from_slice(x);
        load(&four)
    };
    let y = finished(from, part(to), residual.map(part), end);
    let mut four = [0.0; LANES];
    store(&mut four, y);
    to.copy_from_slice(&four[lane..lane + n]);
}

/// [`Finish::one`] of a vector.
#[target_feature(enable = "neon")]
#[inline]
fn finished(
    sum: float32x4_t,
    old: float32x4_t,
    residual: Option<float32x4_t>,
    end: Finish,
) -> float32x4_t {
    let sum = if end.add { vaddq_f32(old, sum) } else { sum };
    let mut y = vaddq_f32(sum, vdupq_n_f32(end.bias));
    if let Some(residual) = residual {
        y = vaddq_f32(y, residual);
    }
    if end.slope != 1.0 {
        y = slope_of(y, end.slope);
    }
    y
}

/// [`Tile::slope`].
#[target_feature(enable = "neon")]
#[inline]
fn slope_of(y: float32x4_t, slope: f32) -> float32x4_t {
    let positive = vcgtq_f32(y, zero());
    let scaled = vaddq_f32(vmulq_n_f32(y, slope), zero());
    vbslq_f32(positive, y, scaled)
}

/// [`Tile::load_part`].
#[target_feature(enable = "neon")]
#[inline]
fn load_part(from: &[f32]) -> float32x4_t {
    let n = from.len().min(LANES);
    let mut four = [0.0; LANES];
    four[..n].copy_from_slice(&from[..n]);
    load(&four)
}

/// [`Tile::store_part`].
#[target_feature(enable = "neon")]
#[inline]
fn store_part(v: float32x4_t, to: &mut [f32]) {
    let mut four = [0.0; LANES];
    store(&mut four, v);
    let n = to.len();
    to.copy_from_slice(&four[..n]);
}

/// The stable library has no request for memory that is used later.
#[inline]
fn ahead(_: &[f32; ROWS]) {}

/// [`Tile::turn`], four steps of k at a time.
#[target_feature(enable = "neon")]
fn turn(from: &[f32], ld: usize, (rows, len): (usize, usize), to: &mut [f32], stride: usize) {
    assert!((1..=8).contains(&rows) && len > 0);
    // Where rows are missing, the last one stands in.
    let lines: [&[f32]; 8] = std::array::from_fn(|i| &from[i.min(rows - 1) * ld..][..len]);
    let whole = len / LANES * LANES;
    for p in (0..whole).step_by(LANES) {
        let quarter = |i: usize| load(lines[i][p..].first_chunk().expect("p + 4 <= len"));
        let low = turned([quarter(0), quarter(1), quarter(2), quarter(3)]);
        let high = turned([quarter(4), quarter(5), quarter(6), quarter(7)]);
        for (q, (low, high)) in low.into_iter().zip(high).enumerate() {
            let (to, _) = to[(p + q) * stride..][..8].as_chunks_mut();
            store(&mut to[0], low);
            store(&mut to[1], high);
        }
    }
    for p in whole..len {
        for (to, line) in to[p * stride..][..8].iter_mut().zip(lines) {
            *to = line[p];
        }
    }
}

/// The transpose of a square, in two rounds: neighbours, pairs.
#[target_feature(enable = "neon")]
#[inline]
fn turned([a, b, c, d]: [float32x4_t; 4]) -> [float32x4_t; 4] {
    let pairs = |a, b| {
        (
            vreinterpretq_f64_f32(vtrn1q_f32(a, b)),
            vreinterpretq_f64_f32(vtrn2q_f32(a, b)),
        )
    };
    let ((ab_even, ab_odd), (cd_even, cd_odd)) = (pairs(a, b), pairs(c, d));
    [
        vreinterpretq_f32_f64(vtrn1q_f64(ab_even, cd_even)),
        vreinterpretq_f32_f64(vtrn1q_f64(ab_odd, cd_odd)),
        vreinterpretq_f32_f64(vtrn2q_f64(ab_even, cd_even)),
        vreinterpretq_f32_f64(vtrn2q_f64(ab_odd, cd_odd)),
    ]
}
