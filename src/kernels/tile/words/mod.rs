//! Sums of products of small numbers, several to a word of 32 bits: what reduced precision computes with.
//!
//! A word holds two bf16 numbers, or four bytes; its low bits come first. The sums of bytes are exact. Those of bf16
//! round twice a word: first the product of the upper halves is added, then that of the lower ones, each product exact.
//! All instruction sets give the same bits; only numbers below 2⁻¹²⁶, operands or results, may count as zero.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
#[cfg(target_arch = "aarch64")]
pub(super) mod neon;
#[cfg(test)]
mod tests;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod wide;

use super::TILE;

/// What the words of both operands hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernels) enum Kind {
    /// bf16; a sum is the bits of an `f32`.
    Bf16,
    /// Bytes, in a signed, in b not; a sum is an `i32`, wrapping.
    SignedA,
    /// Bytes, in b signed, in a not; a sum is an `i32`, wrapping.
    SignedB,
}

/// sum + a · b, one word of each.
#[inline(always)]
pub(super) fn add(kind: Kind, sum: u32, a: u32, b: u32) -> u32 {
    let bytes = |signed: u32, unsigned: u32| {
        let (s, u) = (signed.to_le_bytes(), unsigned.to_le_bytes());
        (0..4)
            .map(|i| i32::from(s[i] as i8) * i32::from(u[i]))
            .sum::<i32>()
    };
    match kind {
        Kind::Bf16 => {
            let upper = |x: u32| f32::from_bits(x & 0xffff_0000);
            let lower = |x: u32| f32::from_bits(x << 16);
            let sum = f32::from_bits(sum) + upper(a) * upper(b);
            (sum + lower(a) * lower(b)).to_bits()
        }
        Kind::SignedA => (sum as i32).wrapping_add(bytes(a, b)) as u32,
        Kind::SignedB => (sum as i32).wrapping_add(bytes(b, a)) as u32,
    }
}

/// [`super::Tile::multiply_words`] for any processor, with tiles of this size.
pub(super) fn multiply<const ROWS: usize, const COLS: usize>(
    kind: Kind,
    (rows, width): (usize, usize),
    (a, b): (&[u32], &[u32]),
    out: &mut [u32; TILE],
) {
    let mut sums = [[0; COLS]; ROWS];
    for (a, b) in a.as_chunks::<ROWS>().0.iter().zip(b.as_chunks::<COLS>().0) {
        for (sums, &a) in sums[..rows].iter_mut().zip(a) {
            for (sum, &b) in sums[..width].iter_mut().zip(b) {
                *sum = add(kind, *sum, a, b);
            }
        }
    }
    for (sums, out) in sums[..rows].iter().zip(out.chunks_exact_mut(COLS)) {
        out[..width].copy_from_slice(&sums[..width]);
    }
}
