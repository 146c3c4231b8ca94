//! y = act(x · Wᵀ + bias) in reduced precision, the weights packed once.

use rayon::prelude::*;

use super::Act;
use crate::kernels::{
    narrow::{Bf16, INT8_TERMS, Int8, Number, Panels, Reduction, Words, kept_words, with_kept},
    tile::{Block, Finish, Job, Path, TILE, Tile, for_each_block},
};

/// Tasks for each thread to aim at.
const TASKS: usize = 4;

/// An inner product with its weights, for any number of rows.
pub struct ReducedInner {
    path: Path,
    reduction: Reduction,
    /// Outputs and inputs of a row.
    n: usize,
    k: usize,
    words: Words,
}

impl ReducedInner {
    /// Rounds and packs the weights: n×k, or k×n if `columns` says so.
    ///
    /// # Errors
    /// A sentence, where sums of bytes might overflow.
    ///
    /// # Panics
    /// If their length does not fit.
    pub fn new(
        (n, k): (usize, usize),
        w: &[f32],
        columns: bool,
        reduction: Reduction,
    ) -> Result<Self, String> {
        if matches!(reduction, Reduction::Int8 { .. }) && k > INT8_TERMS {
            return Err(format!(
                "sums of {k} products may overflow in int8, which takes {INT8_TERMS}"
            ));
        }
        Ok(Self::with_path(Path::best(), (n, k), w, columns, reduction))
    }

    fn with_path(
        path: Path,
        (n, k): (usize, usize),
        w: &[f32],
        columns: bool,
        reduction: Reduction,
    ) -> Self {
        assert_eq!(w.len(), n * k, "the weights do not fit");
        let cols = path.run(Cols);
        let panels = Panels {
            rows: n,
            groups: 1,
            len: k,
            height: cols,
            each: cols,
        };
        let at = |row: usize, step: usize| {
            if columns {
                w[step * n + row]
            } else {
                w[row * k + step]
            }
        };
        let words = match reduction {
            Reduction::Bf16 => panels.pack::<Bf16>(at),
            Reduction::Int8 { .. } => panels.pack::<Int8>(at),
        };
        Self {
            path,
            reduction,
            n,
            k,
            words,
        }
    }

    /// y = act(x · Wᵀ + bias): rows of k inputs give rows of n outputs.
    ///
    /// # Panics
    /// If a length does not fit.
    pub fn forward(&self, x: &[f32], bias: Option<&[f32]>, act: Act, y: &mut [f32]) {
        match self.reduction {
            Reduction::Bf16 => self.run(Bf16, x, bias, act, y),
            Reduction::Int8 { low, high } => self.run(Int8::new(low, high), x, bias, act, y),
        }
    }

    fn run<N: Number>(&self, number: N, x: &[f32], bias: Option<&[f32]>, act: Act, y: &mut [f32]) {
        let (m, n, k) = (y.len() / self.n, self.n, self.k);
        assert!(x.len() == m * k && y.len() == m * n, "rows do not fit");
        assert!(bias.is_none_or(|bias| bias.len() == n));
        let (height, steps, cols) = (self.path.rows(), k.div_ceil(N::PARTS), self.path.run(Cols));
        with_kept(kept_words(), m.div_ceil(height) * height * steps, |rows| {
            if steps > 0 {
                rows.par_chunks_exact_mut(height * steps)
                    .zip(x.par_chunks(height * k))
                    .for_each(|(to, x)| {
                        self.path.run(Rows {
                            number,
                            k,
                            height,
                            x,
                            to,
                        });
                    });
            }
            let rows = &*rows;
            let panels = n.div_ceil(cols);
            let each = panels.div_ceil(TASKS * rayon::current_num_threads());
            for_each_block(y, (m, n, n), (m.max(1), each * cols), |mut block| {
                self.path.run(Tiles {
                    plan: self,
                    number,
                    rows,
                    bias,
                    slope: match act {
                        Act::None => 1.0,
                        Act::Relu(slope) => slope,
                    },
                    block: &mut block,
                });
            });
        });
    }
}

/// Columns of a tile.
struct Cols;

impl Job for Cols {
    type Out = usize;

    #[inline(always)]
    fn run<T: Tile>(self, _: T) -> usize {
        T::COLS
    }
}

/// Rounds and packs a panel of rows.
struct Rows<'r, N> {
    number: N,
    k: usize,
    height: usize,
    x: &'r [f32],
    to: &'r mut [u32],
}

impl<N: Number> Job for Rows<'_, N> {
    type Out = ();

    #[inline(always)]
    fn run<T: Tile>(self, _: T) {
        let mut parts = [N::Part::default(); 4];
        for (i, x) in self.x.chunks_exact(self.k).enumerate() {
            let to = self.to[i..].iter_mut().step_by(self.height);
            for (to, x) in to.zip(x.chunks(N::PARTS)) {
                let pairs = parts.iter_mut().zip(x);
                pairs.for_each(|(to, x)| *to = self.number.input(*x));
                *to = N::word(&parts[..x.len()]);
            }
        }
    }
}

/// All rows of some outputs.
struct Tiles<'t, 'b, 'y, N> {
    plan: &'t ReducedInner,
    number: N,
    /// The input, packed.
    rows: &'t [u32],
    bias: Option<&'t [f32]>,
    slope: f32,
    block: &'b mut Block<'y>,
}

impl<N: Number> Job for Tiles<'_, '_, '_, N> {
    type Out = ();

    #[inline(always)]
    fn run<T: Tile>(self, tile: T) {
        let (plan, cols) = (self.plan, self.block.cols.clone());
        let steps = plan.k.div_ceil(N::PARTS);
        let mut sums = [0; TILE];
        for first in cols.clone().step_by(T::COLS) {
            let size = steps * T::COLS;
            let weights = &plan.words.words[first / T::COLS * size..][..size];
            let width = T::COLS.min(cols.end - first);
            for top in (0..self.block.rows.len()).step_by(T::ROWS) {
                let rows = top..self.block.rows.len().min(top + T::ROWS);
                let x = &self.rows[top * steps..][..T::ROWS * steps];
                let dims = (rows.len(), width.div_ceil(T::LANES));
                tile.multiply_words(N::WEIGHTS_B, dims, (x, weights), &mut sums);
                for (i, sums) in rows.zip(sums.chunks_exact(T::COLS)) {
                    let y = &mut self.block.row(i)[first - cols.start..][..width];
                    for (j, (y, &sum)) in y.iter_mut().zip(sums).enumerate() {
                        let end = Finish {
                            add: false,
                            bias: self.bias.map_or(0.0, |bias| bias[first + j]),
                            slope: self.slope,
                        };
                        let sum = self.number.output(sum, plan.words.rows[first + j]);
                        *y = end.one(sum, 0.0, 0.0);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{narrow::rounded, testing::*};

    const BOTH: [Reduction; 2] = [
        Reduction::Bf16,
        Reduction::Int8 {
            low: -0.8,
            high: 1.0,
        },
    ];

    #[test]
    fn agrees_with_the_product_of_rounded_numbers() {
        for reduction in BOTH {
            for (m, n, k) in [
                (1, 1, 1),
                (1, 70, 33),
                (13, 31, 7),
                (12, 32, 64),
                (25, 65, 130),
                (0, 3, 5),
                (2, 3, 0),
            ] {
                let (x, w, bias) = (noise(m * k, 1), noise(n * k, 2), noise(n, 3));
                let (rx, rw) = (
                    rounded::inputs(&x, reduction),
                    rounded::weights(&w, k.max(1), reduction),
                );
                let mut want = Vec::new();
                for i in 0..m {
                    for j in 0..n {
                        let sum: f32 = (0..k).map(|p| rx[i * k + p] * rw[j * k + p]).sum();
                        want.push((sum + bias[j]).max(0.0));
                    }
                }
                // The same, stored k×n.
                let turned: Vec<f32> = (0..n * k).map(|i| w[i % n.max(1) * k + i / n]).collect();
                let mut first: Option<Vec<f32>> = None;
                for path in Path::all() {
                    for (w, columns) in [(&w, false), (&turned, true)] {
                        let inner = ReducedInner::with_path(path, (n, k), w, columns, reduction);
                        let mut y = vec![f32::NAN; m * n];
                        inner.forward(&x, Some(&bias), Act::Relu(0.0), &mut y);
                        assert_close(&y, &want, 1e-4, &format!("{m}x{n}x{k} {reduction:?}"));
                        assert_eq!(&y, first.get_or_insert_with(|| y.clone()), "{path:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let (m, n, k) = (30, 300, 77);
        let (x, w) = (noise(m * k, 1), noise(n * k, 2));
        for reduction in BOTH {
            let inner = ReducedInner::new((n, k), &w, false, reduction).unwrap();
            same_bits("inner product", || {
                let mut y = vec![f32::NAN; m * n];
                inner.forward(&x, None, Act::None, &mut y);
                y
            });
        }
    }

    #[test]
    fn what_may_overflow_is_refused() {
        let k = INT8_TERMS + 1;
        let make = |reduction| ReducedInner::new((1, k), &vec![1.0; k], false, reduction);
        let error = make(BOTH[1]).err().unwrap();
        assert!(error.contains("65537 products"), "{error}");
        assert!(make(Reduction::Bf16).is_ok());
        // The longest sum that is taken.
        let (low, high) = (0.0, 1.0);
        let k = INT8_TERMS;
        let inner = ReducedInner::new((1, k), &vec![1.0; k], false, Reduction::Int8 { low, high });
        let mut y = [0.0];
        inner
            .unwrap()
            .forward(&vec![1.0; k], None, Act::None, &mut y);
        assert_close(&y, &[65536.0], 1e-5, "the longest sum");
    }
}
