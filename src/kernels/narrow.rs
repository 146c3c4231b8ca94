//! Numbers of less precision, and weights packed as such: what reduced convolutions and inner products share.
//!
//! bf16: weights and inputs are rounded to the nearest bf16 (ties to even); products are exact, sums are `f32`, rounded
//! after each product.
//!
//! int8: the weights of each output are integers in [-127, 127] times a scale, chosen so that the largest weight is ±127.
//! The input is an integer in [0, 255] minus a zero point, times one scale for the whole blob: it covers a range that is
//! given, widened to hold 0, and what lies outside becomes its nearest end; what is no number becomes the lower end. Sums
//! are exact integers, so that every processor gives the same bits.
//!
//! Bias, residual and activation follow in `f32`: what leaves a layer is not rounded.

use std::{cell::RefCell, thread::LocalKey};

use super::tile::Kind;

/// How a product is to be reduced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reduction {
    /// bf16 with sums in `f32`.
    Bf16,
    /// 8-bit integers.
    Int8 {
        /// The least input that is told from smaller ones.
        low: f32,
        /// The largest input that is told from larger ones.
        high: f32,
    },
}

/// Terms of a sum up to which no sum of bytes can overflow.
pub const INT8_TERMS: usize = 1 << 16;

/// Buffers that a thread keeps.
type Kept<T> = &'static LocalKey<RefCell<Vec<Vec<T>>>>;

/// A kind of number.
pub(super) trait Number: Copy + Send + Sync {
    /// One of them; several make a word.
    type Part: Copy + Default + Send + Sync + 'static;
    /// Parts of a word.
    const PARTS: usize;
    /// Words where weights are a, and where they are b; see [`Kind`].
    const WEIGHTS_A: Kind;
    const WEIGHTS_B: Kind;
    /// An input.
    fn input(self, x: f32) -> Self::Part;
    /// A weight, of an output with this scale, and its value as an integer.
    fn weight(w: f32, scale: f32) -> (Self::Part, i32);
    /// The word of parts, lowest first; missing ones are weights of 0.
    fn word(parts: &[Self::Part]) -> u32;
    /// to\[i\] = the word of the parts that lie at base + taps + i. There are PARTS taps.
    fn join(parts: &[Self::Part], base: usize, taps: &[usize], to: &mut [u32]);
    /// The output whose sum of words is `sum`.
    fn output(self, sum: u32, row: Row) -> f32;
    /// Where a thread keeps its buffers.
    fn kept() -> Kept<Self::Part>;
}

/// What an output's weights have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// One step of their integers.
    scale: f32,
    /// The sum of these integers.
    sum: i32,
}

/// See [`Reduction::Bf16`].
#[derive(Clone, Copy)]
pub(super) struct Bf16;

impl Number for Bf16 {
    type Part = u16;
    const PARTS: usize = 2;
    const WEIGHTS_A: Kind = Kind::Bf16;
    const WEIGHTS_B: Kind = Kind::Bf16;

    #[inline(always)]
    fn input(self, x: f32) -> u16 {
        let bits = x.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
        // Rounding must not carry a NaN into infinity.
        (if x.is_nan() {
            bits | 0x40_0000
        } else {
            rounded
        } >> 16) as u16
    }

    fn weight(w: f32, _: f32) -> (u16, i32) {
        (Self.input(w), 0)
    }

    fn word(parts: &[u16]) -> u32 {
        let part = |i: usize| u32::from(parts.get(i).copied().unwrap_or_default());
        part(0) | part(1) << 16
    }

    #[inline(always)]
    fn join(parts: &[u16], base: usize, taps: &[usize], to: &mut [u32]) {
        let len = to.len();
        let [a, b] = [0, 1].map(|t| &parts[base + taps[t]..][..len]);
        for (i, to) in to.iter_mut().enumerate() {
            *to = u32::from(a[i]) | u32::from(b[i]) << 16;
        }
    }

    #[inline(always)]
    fn output(self, sum: u32, _: Row) -> f32 {
        f32::from_bits(sum)
    }

    fn kept() -> Kept<u16> {
        thread_local! {
            static KEPT: RefCell<Vec<Vec<u16>>> = const { RefCell::new(Vec::new()) };
        }
        &KEPT
    }
}

/// See [`Reduction::Int8`].
#[derive(Clone, Copy)]
pub(super) struct Int8 {
    /// One step of the input's integers.
    scale: f32,
    inverse: f32,
    /// The integer that means 0.
    zero: f32,
}

impl Int8 {
    pub(super) fn new(low: f32, high: f32) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = normal_or_one(high / 255.0 - low / 255.0);
        let zero = (-low / scale).round_ties_even().clamp(0.0, 255.0);
        Self {
            scale,
            inverse: 1.0 / scale,
            zero,
        }
    }
}

/// Nothing but zeros, or numbers that may be zeros, have any scale.
fn normal_or_one(scale: f32) -> f32 {
    if scale.is_normal() { scale } else { 1.0 }
}

impl Number for Int8 {
    type Part = u8;
    const PARTS: usize = 4;
    const WEIGHTS_A: Kind = Kind::SignedA;
    const WEIGHTS_B: Kind = Kind::SignedB;

    #[inline(always)]
    #[allow(
        clippy::manual_clamp,
        reason = "clamp would let through what is no number"
    )]
    fn input(self, x: f32) -> u8 {
        // `max` takes the number where the other is none. From 2²³ on neighbours are 1 apart: the sum rounds to an
        // integer, ties to even, which is in its low bits.
        let x = (x * self.inverse + self.zero).max(0.0).min(255.0) + 8_388_608.0;
        x.to_bits() as u8
    }

    fn weight(w: f32, scale: f32) -> (u8, i32) {
        let w = (w / scale).round_ties_even().clamp(-127.0, 127.0) as i8;
        (w as u8, w.into())
    }

    fn word(parts: &[u8]) -> u32 {
        let mut bytes = [0; 4];
        bytes.iter_mut().zip(parts).for_each(|(to, p)| *to = *p);
        u32::from_le_bytes(bytes)
    }

    #[inline(always)]
    fn join(parts: &[u8], base: usize, taps: &[usize], to: &mut [u32]) {
        let len = to.len();
        let [a, b, c, d] = [0, 1, 2, 3].map(|t| &parts[base + taps[t]..][..len]);
        for (i, to) in to.iter_mut().enumerate() {
            *to = u32::from(a[i])
                | u32::from(b[i]) << 8
                | u32::from(c[i]) << 16
                | u32::from(d[i]) << 24;
        }
    }

    #[inline(always)]
    fn output(self, sum: u32, row: Row) -> f32 {
        let sum = (sum as i32).wrapping_sub((self.zero as i32).wrapping_mul(row.sum));
        sum as f32 * (self.scale * row.scale)
    }

    fn kept() -> Kept<u8> {
        thread_local! {
            static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
        }
        &KEPT
    }
}

/// Where a thread keeps its buffers of words.
pub(super) fn kept_words() -> Kept<u32> {
    thread_local! {
        static KEPT: RefCell<Vec<Vec<u32>>> = const { RefCell::new(Vec::new()) };
    }
    &KEPT
}

/// Calls `f` with `len` elements that the thread keeps for the next time; they hold anything.
#[inline(always)]
pub(super) fn with_kept<T: Copy + Default, R>(
    kept: Kept<T>,
    len: usize,
    f: impl FnOnce(&mut [T]) -> R,
) -> R {
    let mut buffer = kept.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len() < len {
        buffer = vec![T::default(); len];
    }
    let result = f(&mut buffer[..len]);
    kept.with_borrow_mut(|kept| kept.push(buffer));
    result
}

/// Weights as words: panels of `height` slots of which all panels but the last use `each`, word by word. A whole
/// number of panels makes a group.
#[derive(Clone, Debug)]
pub(super) struct Words {
    pub(super) words: Vec<u32>,
    /// One for each output.
    pub(super) rows: Vec<Row>,
}

/// How weights are cut into panels.
#[derive(Clone, Copy)]
pub(super) struct Panels {
    /// Outputs of each group.
    pub(super) rows: usize,
    pub(super) groups: usize,
    /// Weights of each output.
    pub(super) len: usize,
    pub(super) height: usize,
    pub(super) each: usize,
}

impl Panels {
    /// Words of one group.
    pub(super) fn group<N: Number>(&self) -> usize {
        self.rows.div_ceil(self.each) * self.height * self.len.div_ceil(N::PARTS)
    }

    /// Packs weights; `w` gives the one of an output and a step.
    pub(super) fn pack<N: Number>(&self, w: impl Fn(usize, usize) -> f32) -> Words {
        let (steps, group) = (self.len.div_ceil(N::PARTS), self.group::<N>());
        let mut words = vec![0; group * self.groups];
        let mut rows = Vec::with_capacity(self.rows * self.groups);
        let mut parts = vec![N::Part::default(); self.len];
        for row in 0..self.rows * self.groups {
            let largest = (0..self.len).fold(0.0, |m: f32, k| m.max(w(row, k).abs()));
            let scale = normal_or_one(largest / 127.0);
            let mut sum = 0i32;
            for (k, part) in parts.iter_mut().enumerate() {
                let (to, value) = N::weight(w(row, k), scale);
                *part = to;
                sum = sum.wrapping_add(value);
            }
            rows.push(Row { scale, sum });
            if steps == 0 {
                continue;
            }
            let (at, inside) = (row / self.rows, row % self.rows);
            let (panel, slot) = (inside / self.each, inside % self.each);
            let to = &mut words[at * group + panel * steps * self.height + slot..];
            for (to, parts) in to
                .iter_mut()
                .step_by(self.height)
                .zip(parts.chunks(N::PARTS))
            {
                *to = N::word(parts);
            }
        }
        Words { words, rows }
    }
}

/// Inputs and weights as reduced products see them, for the tests of these.
#[cfg(test)]
pub(super) mod rounded {
    use super::{Bf16, Int8, Number as _, Reduction, normal_or_one};

    fn bf16(x: f32) -> f32 {
        f32::from_bits(u32::from(Bf16.input(x)) << 16)
    }

    pub(in crate::kernels) fn inputs(x: &[f32], reduction: Reduction) -> Vec<f32> {
        let of = |x| match reduction {
            Reduction::Bf16 => bf16(x),
            Reduction::Int8 { low, high } => {
                let n = Int8::new(low, high);
                (f32::from(n.input(x)) - n.zero) * n.scale
            }
        };
        x.iter().copied().map(of).collect()
    }

    pub(in crate::kernels) fn weights(w: &[f32], len: usize, reduction: Reduction) -> Vec<f32> {
        let of = |row: &[f32]| -> Vec<f32> {
            let largest = row.iter().fold(0.0, |m: f32, w| m.max(w.abs()));
            let scale = normal_or_one(largest / 127.0);
            let of = |&w: &f32| match reduction {
                Reduction::Bf16 => bf16(w),
                Reduction::Int8 { .. } => Int8::weight(w, scale).1 as f32 * scale,
            };
            row.iter().map(of).collect()
        };
        w.chunks(len).flat_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_rounds_to_even_and_keeps_what_is_no_number() {
        for (x, want) in [
            (1.0, 0x3f80),
            (f32::from_bits(0x3f80_8000), 0x3f80),
            (f32::from_bits(0x3f81_8000), 0x3f82),
            (f32::from_bits(0x3f80_8001), 0x3f81),
            (-1.5, 0xbfc0),
            (f32::MAX, 0x7f80),
            (f32::INFINITY, 0x7f80),
            (-0.0, 0x8000),
        ] {
            assert_eq!(Bf16.input(x), want, "{x}");
        }
        for bits in [0x7fff_ffff, 0xffff_ffff, 0x7f80_0001] {
            let got = Bf16.input(f32::from_bits(bits));
            assert!(f32::from_bits(u32::from(got) << 16).is_nan(), "{bits:x}");
        }
    }

    #[test]
    fn inputs_of_int8_cover_their_range_with_zero_exact() {
        let n = Int8::new(-1.0, 4.1);
        for (x, want) in [
            (0.0, 50),
            (-1.0, 0),
            (4.1, 255),
            (-9.0, 0),
            (f32::INFINITY, 255),
            (f32::NAN, 0),
            (0.02, 51),
        ] {
            assert_eq!(n.input(x), want, "{x}");
        }
        // Ranges of nothing, of zeros, without 0, and too large for a difference.
        assert_eq!(Int8::new(0.0, 0.0).input(0.0), 0);
        assert_eq!(Int8::new(3.0, 5.1).input(5.1), 255);
        assert_eq!(Int8::new(-f32::MAX, f32::MAX).input(f32::MAX), 255);
    }

    #[test]
    fn panels_hold_every_weight_once() {
        let panels = Panels {
            rows: 3,
            groups: 2,
            len: 5,
            height: 4,
            each: 2,
        };
        let w = |row: usize, k: usize| (row * 5 + k) as f32 - 12.0;
        let packed = panels.pack::<Int8>(w);
        assert_eq!(packed.words.len(), 2 * 2 * 4 * 2);
        for row in 0..6 {
            let (group, panel, slot) = (row / 3, row % 3 / 2, row % 3 % 2);
            let scale = packed.rows[row].scale;
            let mut sum = 0;
            for k in 0..8 {
                let word = packed.words[group * 16 + panel * 8 + k / 4 * 4 + slot];
                let got = word.to_le_bytes()[k % 4] as i8;
                let want = if k < 5 { w(row, k) } else { 0.0 };
                assert!((f32::from(got) * scale - want).abs() <= scale / 2.0);
                sum += i32::from(got);
            }
            assert_eq!(packed.rows[row].sum, sum);
        }
    }
}
