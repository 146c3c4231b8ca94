//! The readable reference.

use super::Gemm;

/// What `gemm` computes, one element after the other.
pub(crate) fn gemm(g: &Gemm<'_>, a: &[f32], b: &[f32], c: &mut [f32]) {
    for i in 0..g.m {
        for j in 0..g.n {
            let mut sum = 0.0f64;
            for p in 0..g.k {
                let a = a[if g.trans_a {
                    p * g.lda + i
                } else {
                    i * g.lda + p
                }];
                let b = b[if g.trans_b {
                    j * g.ldb + p
                } else {
                    p * g.ldb + j
                }];
                sum += f64::from(a) * f64::from(b);
            }
            let c = &mut c[i * g.ldc + j];
            let old = if g.beta == 0.0 { 0.0 } else { g.beta * *c };
            *c = g.alpha * sum as f32 + old;
            g.epilogue.finish(i, j, std::slice::from_mut(c));
        }
    }
}
