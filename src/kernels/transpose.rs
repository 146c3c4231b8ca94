//! Transposes, block by block, so that both sides are read and written in whole cache lines.

use rayon::prelude::*;

/// Side of a block: a cache line of floats.
const SIDE: usize = 16;
/// Elements up to which a second thread costs more than it brings.
const SERIAL: usize = 1 << 15;

/// out\[j\]\[i\] = a\[i\]\[j\] for `a` of rows × cols whose rows start `lda` apart; `out` has no gaps.
pub fn transpose(a: &[f32], dims: (usize, usize), lda: usize, out: &mut [f32]) {
    if dims.0 * dims.1 <= SERIAL {
        return transpose_serial(a, dims, lda, out);
    }
    let (rows, out) = check(a, dims, lda, out);
    out.par_chunks_mut(SIDE * rows)
        .enumerate()
        .for_each(|(i, out)| strip(a, i * SIDE, rows, lda, out));
}

/// [`transpose()`] on the calling thread alone, for callers that are one of many.
pub fn transpose_serial(a: &[f32], dims: (usize, usize), lda: usize, out: &mut [f32]) {
    let (rows, out) = check(a, dims, lda, out);
    for (i, out) in out.chunks_mut(SIDE * rows.max(1)).enumerate() {
        strip(a, i * SIDE, rows, lda, out);
    }
}

/// The rows of `a`, and the part of `out` that is written.
fn check<'o>(
    a: &[f32],
    (rows, cols): (usize, usize),
    lda: usize,
    out: &'o mut [f32],
) -> (usize, &'o mut [f32]) {
    let empty = rows == 0 || cols == 0;
    assert!(empty || (lda >= cols && a.len() >= (rows - 1) * lda + cols));
    (rows, &mut out[..rows * cols])
}

/// Up to SIDE columns of `a`, from `col` on, as rows of `out`.
fn strip(a: &[f32], col: usize, rows: usize, lda: usize, out: &mut [f32]) {
    let count = out.len() / rows;
    let whole = if count == SIDE { rows / SIDE * SIDE } else { 0 };
    for row in (0..whole).step_by(SIDE) {
        let mut block = [[0.0f32; SIDE]; SIDE];
        for (i, line) in block.iter_mut().enumerate() {
            line.copy_from_slice(&a[(row + i) * lda + col..][..SIDE]);
        }
        for (j, out) in out.chunks_exact_mut(rows).enumerate() {
            let out = &mut out[row..row + SIDE];
            for (o, line) in out.iter_mut().zip(&block) {
                *o = line[j];
            }
        }
    }
    for row in whole..rows {
        for j in 0..count {
            out[j * rows + row] = a[row * lda + col + j];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::noise;

    #[test]
    fn rows_become_columns() {
        for (rows, cols, lda) in [
            (0, 3, 3),
            (3, 0, 1),
            (1, 1, 1),
            (16, 16, 16),
            (33, 50, 53),
            (300, 211, 211),
        ] {
            let a = noise(rows * lda, 1);
            let mut out = vec![f32::NAN; rows * cols];
            transpose(&a, (rows, cols), lda, &mut out);
            for i in 0..rows {
                assert!((0..cols).all(|j| out[j * rows + i] == a[i * lda + j]));
            }
        }
    }
}
