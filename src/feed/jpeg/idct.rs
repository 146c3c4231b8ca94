//! From frequencies to samples: the inverse cosine transform of 8 x 8 values in whole numbers.
//!
//! The method is that of Loeffler, Ligtenberg and Moschytz (1989), with constants of 13 bits and two more bits between
//! the passes: libjpeg's accurate one. All rounding is as there, so the samples are equal.

use std::num::Wrapping as W;

/// Bits of the constants, and bits that values keep between the passes.
const BITS: usize = 13;
const BETWEEN: usize = 2;

type Lanes = [W<i32>; 8];

fn each(a: Lanes, b: Lanes, f: impl Fn(W<i32>, W<i32>) -> W<i32>) -> Lanes {
    std::array::from_fn(|i| f(a[i], b[i]))
}

fn add(a: Lanes, b: Lanes) -> Lanes {
    each(a, b, |a, b| a + b)
}

fn sub(a: Lanes, b: Lanes) -> Lanes {
    each(a, b, |a, b| a - b)
}

fn times(a: Lanes, factor: i32) -> Lanes {
    a.map(|v| v * W(factor))
}

/// Eight transforms of eight values at once, one in each lane; the sums lose `shift` bits, rounded.
#[inline(always)]
fn pass(rows: &mut [Lanes; 8], shift: usize) {
    // Even frequencies.
    let turned = times(add(rows[2], rows[6]), 4433);
    let low = add(turned, times(rows[6], -15137));
    let high = add(turned, times(rows[2], 6270));
    let sum = add(rows[0], rows[4]).map(|v| v << BITS);
    let difference = sub(rows[0], rows[4]).map(|v| v << BITS);
    let even = [
        add(sum, high),
        add(difference, low),
        sub(difference, low),
        sub(sum, high),
    ];
    // Odd frequencies.
    let [a, b, c, d] = [rows[7], rows[5], rows[3], rows[1]];
    let (ac, bd) = (add(a, c), add(b, d));
    let both = times(add(ac, bd), 9633);
    let outer = times(add(a, d), -7373);
    let inner = times(add(b, c), -20995);
    let ac = add(times(ac, -16069), both);
    let bd = add(times(bd, -3196), both);
    let odd = [
        add(times(d, 12299), add(outer, bd)),
        add(times(c, 25172), add(inner, ac)),
        add(times(b, 16819), add(inner, bd)),
        add(times(a, 2446), add(outer, ac)),
    ];
    let half = W(1 << (shift - 1));
    for (i, (even, odd)) in even.into_iter().zip(odd).enumerate() {
        rows[i] = add(even, odd).map(|v| (v + half) >> shift);
        rows[7 - i] = sub(even, odd).map(|v| (v + half) >> shift);
    }
}

#[inline(always)]
fn transposed(rows: &[Lanes; 8]) -> [Lanes; 8] {
    let mut out = [[W(0); 8]; 8];
    for (y, row) in rows.iter().enumerate() {
        for (x, &value) in row.iter().enumerate() {
            out[x][y] = value;
        }
    }
    out
}

/// The samples of a block, in rows of `stride`.
pub(super) fn block(coefficients: &[i16; 64], quantizer: &[u16; 64], to: &mut [u8], stride: usize) {
    let sample = |v: i32| (v + 128).clamp(0, 255) as u8;
    if coefficients[1..].iter().all(|&c| c == 0) {
        // The mean alone; rounded as both passes would.
        let mean = i32::from(coefficients[0]).wrapping_mul(i32::from(quantizer[0]));
        let value = sample((mean.wrapping_shl(BETWEEN as u32).wrapping_add(16)) >> 5);
        for row in to.chunks_mut(stride).take(8) {
            row[..8].fill(value);
        }
        return;
    }
    let mut rows = [[W(0); 8]; 8];
    let (values, _) = coefficients.as_chunks::<8>();
    let (factors, _) = quantizer.as_chunks::<8>();
    for (row, (values, factors)) in rows.iter_mut().zip(values.iter().zip(factors)) {
        *row = std::array::from_fn(|x| W(i32::from(values[x])) * W(i32::from(factors[x])));
    }
    pass(&mut rows, BITS - BETWEEN);
    let mut rows = transposed(&rows);
    pass(&mut rows, BITS + BETWEEN + 3);
    let rows = transposed(&rows);
    for (row, values) in to.chunks_mut(stride).zip(&rows) {
        for (to, value) in row.iter_mut().zip(values) {
            *to = sample(value.0.clamp(-256, 256));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the definition in floats: never more than 1 apart, and equal in 98 % of 3200 samples.
    #[test]
    fn near_the_definition() {
        use rand::RngExt as _;
        let mut rng = crate::rng::stream(1, crate::rng::Use::Other, 0, 0);
        let mut apart = 0;
        for _ in 0..50 {
            let mut coefficients = [0i16; 64];
            for _ in 0..10 {
                coefficients[rng.random_range(0..64)] = rng.random_range(-60..60);
            }
            coefficients[0] = rng.random_range(-900..900);
            let mut samples = [0u8; 64];
            block(&coefficients, &[1; 64], &mut samples, 8);
            for (at, &sample) in samples.iter().enumerate() {
                let (y, x) = (at / 8, at % 8);
                let mut sum = 0.0f64;
                for (k, &c) in coefficients.iter().enumerate() {
                    let wave = |k: usize, x: usize| {
                        let scale = if k == 0 { 0.5f64.sqrt() } else { 1.0 };
                        let angle = (2 * x + 1) as f64 * k as f64 * std::f64::consts::PI / 16.0;
                        scale * angle.cos()
                    };
                    sum += f64::from(c) * wave(k / 8, y) * wave(k % 8, x) / 4.0;
                }
                let wanted = (sum + 128.0).round().clamp(0.0, 255.0);
                let off = (wanted - f64::from(sample)).abs();
                assert!(off <= 1.0, "{wanted} and {sample}");
                apart += usize::from(off > 0.0);
            }
        }
        assert!(apart < 64, "{apart}");
    }

    #[test]
    fn a_mean_alone_is_what_both_passes_make_of_it() {
        for mean in [-1030, -9, -5, -4, -3, 0, 3, 4, 5, 12, 700, 1030] {
            let mut one = [0; 64];
            one[0] = mean;
            let (mut short, mut long) = ([0u8; 64], [0u8; 64]);
            block(&one, &[1; 64], &mut short, 8);
            // A second coefficient that the quantizer makes 0.
            let mut quantizer = [1; 64];
            (one[63], quantizer[63]) = (1, 0);
            block(&one, &quantizer, &mut long, 8);
            assert_eq!(short, long, "{mean}");
        }
    }
}
