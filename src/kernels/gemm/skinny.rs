//! Products with very few rows, an inner product on one image above all: B is read once, where it lies, because packing
//! it would cost more than the product.

use super::{Gemm, tile::Block};

/// Rows up to which this pays.
const ROWS: usize = 4;
const LANES: usize = 16;

/// Few rows, each of them contiguous in A.
pub(super) fn fits(g: &Gemm<'_>) -> bool {
    g.m <= ROWS && (!g.trans_a || g.lda == 1)
}

/// block += alpha · op(A)\[rows\] · op(B)\[cols\].
pub(super) fn multiply_add(g: &Gemm<'_>, a: &[f32], b: &[f32], block: &mut Block<'_>) {
    let cols = block.cols.clone();
    for i in 0..block.rows.len() {
        let a = &a[(block.rows.start + i) * if g.trans_a { 1 } else { g.lda }..][..g.k];
        let c = block.row(i);
        if g.trans_b {
            for (c, j) in c.iter_mut().zip(cols.clone()) {
                *c += g.alpha * dot(a, &b[j * g.ldb..][..g.k]);
            }
        } else {
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
