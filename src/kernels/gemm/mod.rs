//! C = act(alpha · op(A) · op(B) + beta · C + bias): the one matrix product of the program.

mod blocked;
mod driver;
#[cfg(test)]
pub(crate) mod plain;
mod reduced;
mod skinny;

use super::tile::Block;
pub use super::tile::{instruction_set, peak};
pub use driver::{gemm, gemm_serial};
pub use reduced::ReducedInner;

/// What [`gemm`] computes: sizes, transposes, factors, and what follows while the result is at hand.
///
/// op(A) is m×k, op(B) k×n, C m×n, all row-major; a transposed matrix is stored k×m or n×k. A leading dimension is the
/// distance between the starts of two stored rows.
#[derive(Clone, Copy, Debug)]
pub struct Gemm<'e> {
    /// Rows of op(A) and C.
    pub m: usize,
    /// Columns of op(B) and C.
    pub n: usize,
    /// Columns of op(A), rows of op(B).
    pub k: usize,
    /// A is stored k×m.
    pub trans_a: bool,
    /// B is stored n×k.
    pub trans_b: bool,
    /// Factor of the product.
    pub alpha: f32,
    /// Factor of the old C. With 0 the old C is not read: it may hold anything, NaN included.
    pub beta: f32,
    /// Leading dimension of A as stored.
    pub lda: usize,
    /// Leading dimension of B as stored.
    pub ldb: usize,
    /// Leading dimension of C.
    pub ldc: usize,
    /// What is done to C at the end.
    pub epilogue: Epilogue<'e>,
}

impl Gemm<'static> {
    /// C = A · B, with no gaps between rows.
    pub fn new(m: usize, n: usize, k: usize) -> Self {
        Gemm {
            m,
            n,
            k,
            trans_a: false,
            trans_b: false,
            alpha: 1.0,
            beta: 0.0,
            lda: k,
            ldb: n,
            ldc: n,
            epilogue: Epilogue::default(),
        }
    }
}

impl<'e> Gemm<'e> {
    /// A is stored transposed, k×m without gaps.
    pub fn trans_a(self) -> Self {
        Gemm {
            trans_a: true,
            lda: self.m,
            ..self
        }
    }

    /// B is stored transposed, n×k without gaps.
    pub fn trans_b(self) -> Self {
        Gemm {
            trans_b: true,
            ldb: self.k,
            ..self
        }
    }

    /// Sets the factor of the product.
    pub fn alpha(self, alpha: f32) -> Self {
        Gemm { alpha, ..self }
    }

    /// Sets the factor of the old C.
    pub fn beta(self, beta: f32) -> Self {
        Gemm { beta, ..self }
    }

    /// Sets A's leading dimension; call it after [`Gemm::trans_a`].
    pub fn lda(self, lda: usize) -> Self {
        Gemm { lda, ..self }
    }

    /// Sets B's leading dimension; call it after [`Gemm::trans_b`].
    pub fn ldb(self, ldb: usize) -> Self {
        Gemm { ldb, ..self }
    }

    /// Sets C's leading dimension.
    pub fn ldc(self, ldc: usize) -> Self {
        Gemm { ldc, ..self }
    }

    /// Sets the bias.
    pub fn bias<'b>(self, bias: Bias<'b>) -> Gemm<'b>
    where
        'e: 'b,
    {
        let epilogue = Epilogue {
            bias,
            ..self.epilogue
        };
        Gemm { epilogue, ..self }
    }

    /// Sets the activation.
    pub fn act(self, act: Act) -> Self {
        let epilogue = Epilogue {
            act,
            ..self.epilogue
        };
        Gemm { epilogue, ..self }
    }
}

/// What is done to each element of C after the sum is complete: first the bias, then the activation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'e> {
    /// Added.
    pub bias: Bias<'e>,
    /// Applied.
    pub act: Act,
}

/// A vector added to C.
#[derive(Clone, Copy, Debug, Default)]
pub enum Bias<'e> {
    /// Nothing.
    #[default]
    None,
    /// One value for each of the m rows (a convolution's output channels).
    PerRow(&'e [f32]),
    /// One value for each of the n columns (an inner product's outputs).
    PerCol(&'e [f32]),
}

/// An activation.
#[derive(Clone, Copy, Debug, Default)]
pub enum Act {
    /// Nothing.
    #[default]
    None,
    /// x where x > 0, else slope · x.
    Relu(f32),
}

impl Epilogue<'_> {
    /// Finishes a block of C.
    fn finish_block(&self, block: &mut Block<'_>) {
        if self.is_empty() {
            return;
        }
        for i in 0..block.rows.len() {
            let (row, col) = (block.rows.start + i, block.cols.start);
            self.finish(row, col, block.row(i));
        }
    }

    /// Finishes the part of row `row` that starts at column `col`.
    #[inline]
    fn finish(&self, row: usize, col: usize, c: &mut [f32]) {
        match self.bias {
            Bias::None => {}
            Bias::PerRow(bias) => c.iter_mut().for_each(|c| *c += bias[row]),
            Bias::PerCol(bias) => c.iter_mut().zip(&bias[col..]).for_each(|(c, b)| *c += b),
        }
        match self.act {
            Act::None => {}
            // Adding 0 turns -0 into 0, as Caffe's max(x, 0) + slope · min(x, 0) does; a NaN stays one.
            Act::Relu(slope) => c
                .iter_mut()
                .for_each(|c| *c = if *c > 0.0 { *c } else { slope * *c + 0.0 }),
        }
    }

    fn is_empty(&self) -> bool {
        matches!((self.bias, self.act), (Bias::None, Act::None))
    }
}
