//! Products with very few rows or columns, an inner product on one image above all: the large matrix is read where it
//! lies, because packing it would cost more than the product.

use super::Gemm;
use crate::kernels::tile::Block;

/// Rows or columns up to which this pays.
const FEW: usize = 2;
const LANES: usize = 16;

/// Few rows, each of them contiguous in A; or few columns, contiguous in B, and contiguous rows.
pub(super) fn fits(g: &Gemm<'_>) -> bool {
    let rows = !g.trans_a || g.lda == 1;
    rows && (g.m <= FEW || (g.n <= FEW && has_columns(g)))
}

/// Columns of op(B) are contiguous.
fn has_columns(g: &Gemm<'_>) -> bool {
    g.trans_b || g.ldb == 1
}

/// [`Path::multiply`](super::tile::Path::multiply) for these, inlined where an instruction set is switched on.
#[inline(always)]
pub(super) fn multiply(g: &Gemm<'_>, a: &[f32], b: &[f32], block: &mut Block<'_>) {
    block.scale(g.beta);
    multiply_add(g, a, b, block);
    g.epilogue.finish_block(block);
}

#[inline(always)]
fn multiply_add(g: &Gemm<'_>, a: &[f32], b: &[f32], block: &mut Block<'_>) {
    let (rows, cols) = (block.rows.clone(), block.cols.clone());
    let row_of_a = |i: usize| &a[i * if g.trans_a { 1 } else { g.lda }..][..g.k];
    if has_columns(g) {
        for j in cols.clone() {
            let b = &b[j * if g.trans_b { g.ldb } else { 1 }..][..g.k];
            for i in rows.clone() {
                let c = &mut block.row(i - rows.start)[j - cols.start];
                *c += g.alpha * dot(row_of_a(i), b);
            }
        }
    } else {
        for i in rows.clone() {
            let (a, c) = (row_of_a(i), block.row(i - rows.start));
            let row = |p: usize| &b[p * g.ldb + cols.start..][..cols.len()];
            // Four rows of B at a time: C is loaded and stored a quarter as often.
            let whole = g.k / 4 * 4;
            for p in (0..whole).step_by(4) {
                let f = [0, 1, 2, 3].map(|q| g.alpha * a[p + q]);
                let rows = row(p)
                    .iter()
                    .zip(row(p + 1))
                    .zip(row(p + 2))
                    .zip(row(p + 3));
                for (c, (((b0, b1), b2), b3)) in c.iter_mut().zip(rows) {
                    *c += f[0] * b0 + f[1] * b1 + (f[2] * b2 + f[3] * b3);
                }
            }
            for (p, a) in a.iter().enumerate().skip(whole) {
                let f = g.alpha * a;
                c.iter_mut().zip(row(p)).for_each(|(c, b)| *c += f * b);
            }
        }
    }
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a, a_end) = a.as_chunks::<LANES>();
    let (b, b_end) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i];
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(a_end.iter().zip(b_end)) {
        *lane += a * b;
    }
    lanes.iter().sum()
}
