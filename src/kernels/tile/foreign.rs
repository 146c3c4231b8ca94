//! A block of C by the `matrixmultiply` crate, which picks its own microkernel for the processor.

use super::Block;
use crate::kernels::gemm::Gemm;

/// block = alpha · op(A)\[rows\] · op(B)\[cols\] + beta · block, without the epilogue. k must not be 0.
#[allow(unsafe_code, reason = "matrixmultiply takes pointers")]
pub(in crate::kernels) fn multiply(g: &Gemm<'_>, a: &[f32], b: &[f32], block: &mut Block<'_>) {
    let (m, n, k) = (block.rows.len(), block.cols.len(), g.k);
    // Distances between rows and between columns of op(A) and op(B).
    let (rsa, csa) = if g.trans_a { (1, g.lda) } else { (g.lda, 1) };
    let (rsb, csb) = if g.trans_b { (1, g.ldb) } else { (g.ldb, 1) };
    let a = &a[block.rows.start * rsa..];
    let b = &b[block.cols.start * csb..];
    assert!(m > 0 && n > 0 && k > 0);
    let inside = |len: usize, rows: usize, rs: usize, cols: usize, cs: usize| {
        let (down, across) = ((rows - 1).checked_mul(rs), (cols - 1).checked_mul(cs));
        let last = down.zip(across).and_then(|(d, a)| d.checked_add(a));
        last.is_some_and(|last| last < len)
    };
    assert!(inside(a.len(), m, rsa, k, csa));
    assert!(inside(b.len(), k, rsb, n, csb));
    let (c, ldc) = block.as_mut_ptr();
    // SAFETY: the two asserts keep the last element read of A and of B inside their slices (offsets grow with both
    // indices, and a slice's length fits isize). The block is m×n elements of C, exclusively ours, rows ldc apart.
    unsafe {
        matrixmultiply::sgemm(
            m,
            k,
            n,
            g.alpha,
            a.as_ptr(),
            rsa as isize,
            csa as isize,
            b.as_ptr(),
            rsb as isize,
            csb as isize,
            g.beta,
            c,
            ldc as isize,
            1,
        );
    }
}
