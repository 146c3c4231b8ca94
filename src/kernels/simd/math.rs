//! exp, ln, tanh and powers without branches, so that a loop over a slice does several at a time.
//!
//! Reductions and polynomials of exp, ln and tanh are those of Moshier's Cephes library, single precision (`expf.c`,
//! `logf.c`, `tanhf.c`), with the special cases chosen by selection. The error is at most 2 units in the last place
//! over the whole range, denormal results included; infinities and NaN behave as in the standard library.

/// Adding and subtracting it rounds to a whole number, which is then in the low bits.
const ROUND: f32 = 12_582_912.0;

/// ln 2 in two parts; the first has few bits, so that its products with small whole numbers are exact.
const LN2: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];

#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[0];
    let mut i = 1;
    while i < N {
        sum = sum * x + coefficients[i];
        i += 1;
    }
    sum
}

/// 2^n for -126 ≤ n ≤ 127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// e^x.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Beyond these the result is 0 and ∞ all the same. A NaN passes both.
    let x = if x < -104.0 { -104.0 } else { x };
    let x = if x > 89.0 { 89.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let r = x - whole * LN2[0] - whole * LN2[1];
    let p = polynomial(
        r,
        [
            1.987_569_1e-4,
            1.398_199_9e-3,
            8.333_452e-3,
            4.166_579_6e-2,
            1.666_666_5e-1,
            0.5,
        ],
    );
    let e = p * (r * r) + r + 1.0;
    // In two steps: the first is exact, so a denormal result is rounded once.
    let half = n >> 1;
    e * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// x = m · 2^e with √½ ≤ m < √2, for finite x > 0.
#[inline(always)]
fn split(x: f32) -> (f32, i32) {
    let denormal = x < f32::MIN_POSITIVE;
    let bits = if denormal { x * 16_777_216.0 } else { x }.to_bits();
    // Counted from the bits of √½, the exponent steps where m does.
    let from = bits.wrapping_sub(std::f32::consts::FRAC_1_SQRT_2.to_bits());
    let m = f32::from_bits((from & 0x007f_ffff) + std::f32::consts::FRAC_1_SQRT_2.to_bits());
    (m, (from as i32 >> 23) - if denormal { 24 } else { 0 })
}

/// The natural logarithm.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    let (m, e) = split(x);
    let (m, e) = (m - 1.0, e as f32);
    let square = m * m;
    let p = polynomial(
        m,
        [
            7.037_683_6e-2,
            -1.151_461e-1,
            1.167_699_9e-1,
            -1.242_014_1e-1,
            1.424_932_3e-1,
            -1.666_805_8e-1,
            2.000_071_5e-1,
            -2.499_999_4e-1,
            3.333_333e-1,
        ],
    );
    let small = p * m * square + e * LN2[1] - 0.5 * square;
    let y = m + small + e * LN2[0];
    let y = if x == f32::INFINITY { x } else { y };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    if x >= 0.0 { y } else { f32::NAN }
}

/// The hyperbolic tangent.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let (size, square) = (x.abs(), x * x);
    let p = polynomial(
        square,
        [
            -5.704_988_7e-3,
            2.063_909e-2,
            -5.373_971_6e-2,
            1.333_144_2e-1,
            -3.333_328e-1,
        ],
    );
    let near = p * square * x + x;
    let far = (1.0 - 2.0 / (exp(2.0 * size) + 1.0)).copysign(x);
    if size < 0.625 { near.copysign(x) } else { far }
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    // By the power that cannot overflow, so that small results keep their digits.
    let e = exp(-x.abs());
    let y = if x < 0.0 { e } else { 1.0 };
    y / (1.0 + e)
}

/// x^y for finite x > 0 and |y| < 2^100, rounded from a result in double precision. Anything else: [`pow`].
#[inline(always)]
pub(super) fn positive_pow(x: f32, y: f64) -> f32 {
    // log2 x = e + 2/ln 2 · (s + s³/3 + s⁵/5 + …), s = (m - 1) / (m + 1), |s| < 0.172.
    let (m, e) = split(x);
    let m = f64::from(m);
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let mut series = 0.0;
    for k in [15, 13, 11, 9, 7, 5, 3, 1] {
        series = series * square + 1.0 / f64::from(k);
    }
    let log2 = f64::from(e) + series * s * (2.0 / std::f64::consts::LN_2);
    // Beyond these the result is 0 and ∞ all the same.
    let t = y * log2;
    let t = if t < -200.0 { -200.0 } else { t };
    let t = if t > 200.0 { 200.0 } else { t };
    // 2^t = 2^n · e^r; the Taylor series is cut off after r⁹, |r| < 0.35.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let shifted = t + ROUND;
    let r = (t - (shifted - ROUND)) * std::f64::consts::LN_2;
    let mut e = 0.0;
    for factorial in [362_880, 40_320, 5_040, 720, 120, 24, 6, 2, 1, 1] {
        e = e * r + 1.0 / f64::from(factorial);
    }
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits());
    (e * f64::from_bits(n.wrapping_add(1023) << 52)) as f32
}

/// x^y; its branch keeps a loop from several at a time, see [`slices::pow`](super::slices::pow).
#[inline(always)]
pub(super) fn pow(x: f32, y: f32) -> f32 {
    if x > 0.0 && x < f32::INFINITY && y.abs() < 1e30 {
        positive_pow(x, f64::from(y))
    } else {
        x.powf(y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::simd::at_each_level;
    use crate::kernels::simd::slices;

    /// Floats over the whole range, of both signs, denormals and borders among them.
    fn range(step: u32) -> Vec<f32> {
        let all = (0..0x7f80_0000u32).step_by(step as usize);
        let mut x: Vec<f32> = all
            .flat_map(|bits| [bits, bits | 1 << 31])
            .map(f32::from_bits)
            .collect();
        x.extend([1.0, -1.0, 0.625, f32::MIN_POSITIVE, f32::MAX, f32::MIN]);
        x
    }

    /// The distance of `got` from `want` in units of the last place of `want`.
    fn ulps(got: f32, want: f64) -> f64 {
        let nearest = want as f32;
        if got == nearest || (got.is_nan() && nearest.is_nan()) {
            return 0.0;
        }
        let unit = (nearest.abs().to_bits() & 0x7f80_0000).max(24 << 23) - (23 << 23);
        (f64::from(got) - want).abs() / f64::from(f32::from_bits(unit.max(1)))
    }

    fn worst(x: &[f32], f: impl Fn(f32) -> f32, want: impl Fn(f64) -> f64) -> (f64, f32) {
        let errors = x.iter().map(|&x| (ulps(f(x), want(x.into())), x));
        errors.fold(
            (0.0, 0.0),
            |a, b| {
                if b.0 > a.0 || b.0.is_nan() { b } else { a }
            },
        )
    }

    #[test]
    fn errors_are_at_most_two_units_in_the_last_place() {
        let x = range(9973);
        let near: Vec<f32> = (-1_000_000..1_000_000).map(|i| i as f32 * 1.1e-4).collect();
        for x in [&x, &near] {
            for (name, (error, at)) in [
                ("exp", worst(x, exp, f64::exp)),
                ("ln", worst(x, ln, f64::ln)),
                ("tanh", worst(x, tanh, f64::tanh)),
                ("x^-0.75", worst(x, |x| pow(x, -0.75), |x| x.powf(-0.75))),
                (
                    "x^2.2",
                    worst(x, |x| pow(x, 2.2), |x| x.powf(2.2f32.into())),
                ),
                ("x^3", worst(x, |x| pow(x, 3.0), |x| x.powi(3))),
                ("sigmoid", worst(x, sigmoid, |x| 1.0 / (1.0 + (-x).exp()))),
            ] {
                let most = if name == "sigmoid" { 3.0 } else { 2.0 };
                assert!(error <= most, "{name}({at:e}) is wrong by {error}");
            }
        }
    }

    #[test]
    fn borders() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        assert_eq!([exp(-inf), exp(inf), exp(0.0)], [0.0, inf, 1.0]);
        assert_eq!(
            [ln(0.0), ln(-0.0), ln(inf), ln(1.0)],
            [-inf, -inf, inf, 0.0]
        );
        assert_eq!([tanh(inf), tanh(-inf), tanh(0.0)], [1.0, -1.0, 0.0]);
        assert!(tanh(-0.0).is_sign_negative());
        assert_eq!([sigmoid(-inf), sigmoid(inf), sigmoid(0.0)], [0.0, 1.0, 0.5]);
        for f in [exp, ln, tanh, sigmoid] {
            assert!(f(nan).is_nan());
        }
        assert!(ln(-1.0).is_nan() && ln(-inf).is_nan());
        for (x, y) in [
            (0.0, 2.0),
            (0.0, -1.0),
            (-2.0, 3.0),
            (-2.0, 0.5),
            (inf, 0.5),
            (inf, -1.0),
            (nan, 0.0),
            (1.0, nan),
            (2.0, inf),
            (0.5, -inf),
            (1e-45, -1.0),
        ] {
            let (got, want) = (pow(x, y), x.powf(y));
            assert!(got == want || (got.is_nan() && want.is_nan()), "{x}^{y}");
        }
    }

    #[test]
    fn every_level_gives_the_same_bits() {
        let x = range(100_003);
        let bits = |f: fn(&[f32], &mut [f32])| {
            let all = at_each_level(|| {
                let mut y = vec![0.0; x.len()];
                f(&x, &mut y);
                y.iter().map(|y| y.to_bits()).collect::<Vec<_>>()
            });
            assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
        };
        bits(slices::exp);
        bits(slices::ln);
        bits(slices::tanh);
        bits(slices::sigmoid);
        bits(|x, y| slices::pow(x, -0.6, y));
        bits(|x, y| slices::pow(x, 3.0, y));
    }
}
