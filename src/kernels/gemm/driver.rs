//! The product cut into blocks of C, which threads share.

use super::{Bias, Gemm, blocked, skinny};
use crate::kernels::tile::{self, Block, Job, Path, Tile, for_each_block};

/// Multiply-adds below which a second thread costs more than it brings (about 10 µs of one core).
const SERIAL: usize = 1 << 19;
/// Blocks to aim at where the product is large enough: plenty for balance, few enough to pack little twice.
const BLOCKS: usize = 16;
/// A block's sides stay at least this: below, packing weighs more than the product.
const SIDE: usize = 64;
/// And multiples of these (rows, columns), so that tiles inside it are whole.
const TILE: (usize, usize) = (12, 32);

/// C = act(alpha · op(A) · op(B) + beta · C + bias), as `g` says.
///
/// Where k or alpha is 0, A and B are not read; where beta is 0, C is not. The result is the same, bit for bit, for any
/// number of threads.
///
/// # Panics
/// If a slice is shorter than `g` needs, or a leading dimension is smaller than a row.
pub fn gemm(g: &Gemm<'_>, a: &[f32], b: &[f32], c: &mut [f32]) {
    run(Path::best(), g, a, b, c, block_size(g));
}

/// [`gemm`] on the calling thread alone, for callers that are one of many.
///
/// # Panics
/// As [`gemm`].
pub fn gemm_serial(g: &Gemm<'_>, a: &[f32], b: &[f32], c: &mut [f32]) {
    run(Path::best(), g, a, b, c, (g.m, g.n));
}

fn run(path: Path, g: &Gemm<'_>, a: &[f32], b: &[f32], c: &mut [f32], block_size: (usize, usize)) {
    if g.m == 0 || g.n == 0 {
        return;
    }
    check(g, a, b, c);
    let product = g.k != 0 && g.alpha != 0.0;
    for_each_block(c, (g.m, g.n, g.ldc), block_size, |mut block| {
        if product {
            multiply(path, g, a, b, &mut block);
        } else {
            block.scale(g.beta);
            g.epilogue.finish_block(&mut block);
        }
    });
}

/// block = act(alpha · op(A)\[rows\] · op(B)\[cols\] + beta · block + bias). k must not be 0.
fn multiply(path: Path, g: &Gemm<'_>, a: &[f32], b: &[f32], block: &mut Block<'_>) {
    if !skinny::fits(g) && matches!(path, Path::Portable(_)) {
        tile::matrixmultiply(g, a, b, block);
        g.epilogue.finish_block(block);
    } else {
        path.run(Product { g, a, b, block });
    }
}

struct Product<'p, 'c> {
    g: &'p Gemm<'p>,
    a: &'p [f32],
    b: &'p [f32],
    block: &'p mut Block<'c>,
}

impl Job for Product<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<T: Tile>(self, tile: T) {
        if skinny::fits(self.g) {
            skinny::multiply(self.g, self.a, self.b, self.block);
        } else {
            blocked::multiply(tile, self.g, self.a, self.b, self.block);
        }
    }
}

/// Rows and columns of a block: a function of the product alone, never of the machine.
fn block_size(g: &Gemm<'_>) -> (usize, usize) {
    let work = |rows: usize, cols: usize| rows.saturating_mul(cols).saturating_mul(g.k.max(1));
    let (mut rows, mut cols) = (g.m, g.n);
    if work(rows, cols) < SERIAL {
        return (rows, cols);
    }
    let half = |side: usize, tile: usize| side.div_ceil(2).next_multiple_of(tile);
    while g.m.div_ceil(rows) * g.n.div_ceil(cols) < BLOCKS {
        // A narrow block packs its part of A for few columns, so the columns are kept longer.
        let next = if 2 * rows > cols && rows >= 2 * SIDE {
            (half(rows, TILE.0), cols)
        } else if cols >= 2 * SIDE {
            (rows, half(cols, TILE.1))
        } else {
            break;
        };
        if work(next.0, next.1) < SERIAL / 2 {
            break;
        }
        (rows, cols) = next;
    }
    (rows, cols)
}

fn check(g: &Gemm<'_>, a: &[f32], b: &[f32], c: &[f32]) {
    let holds = |slice: &[f32], rows: usize, cols: usize, ld: usize| {
        let needed = || (rows - 1).checked_mul(ld)?.checked_add(cols);
        rows == 0 || cols == 0 || (ld >= cols && needed().is_some_and(|len| len <= slice.len()))
    };
    let (m, n, k) = (g.m, g.n, g.k);
    let (a_rows, a_cols) = if g.trans_a { (k, m) } else { (m, k) };
    let (b_rows, b_cols) = if g.trans_b { (n, k) } else { (k, n) };
    assert!(holds(a, a_rows, a_cols, g.lda), "gemm: A is too short");
    assert!(holds(b, b_rows, b_cols, g.ldb), "gemm: B is too short");
    assert!(holds(c, m, n, g.ldc), "gemm: C is too short");
    match g.epilogue.bias {
        Bias::None => {}
        Bias::PerRow(bias) => assert!(bias.len() >= m, "gemm: bias is too short"),
        Bias::PerCol(bias) => assert!(bias.len() >= n, "gemm: bias is too short"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{
        gemm::{Act, plain},
        testing::{assert_close, noise, same_bits},
    };

    /// Every path of this processor, in blocks and in one, against the plain loop; C starts as noise, or as NaN where
    /// beta is 0.
    fn compare(g: &Gemm<'_>, what: &str) {
        let (a, b) = (
            noise(g.lda * if g.trans_a { g.k } else { g.m }, 1),
            noise(g.ldb * if g.trans_b { g.n } else { g.k }, 2),
        );
        let before = if g.beta == 0.0 {
            vec![f32::NAN; g.m * g.ldc]
        } else {
            noise(g.m * g.ldc, 3)
        };
        let mut want = before.clone();
        plain::gemm(g, &a, &b, &mut want);
        let bits = |c: &[f32]| c.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        for path in Path::all() {
            for block in [block_size(g), (g.m, g.n)] {
                let what = format!("{what}, {path:?}, blocks of {block:?}");
                let mut got = before.clone();
                run(path, g, &a, &b, &mut got, block);
                for (got, want) in got.chunks(g.ldc.max(1)).zip(want.chunks(g.ldc.max(1))) {
                    assert_close(&got[..g.n], &want[..g.n], 2e-5, &what);
                    let gaps = bits(&got[g.n..]) == bits(&want[g.n..]);
                    assert!(gaps, "{what}: a gap between rows was written");
                }
            }
        }
    }

    #[test]
    fn awkward_sizes_and_transposes_agree_with_the_plain_loop() {
        for m in [0, 1, 7, 8, 9, 31] {
            for n in [0, 1, 7, 8, 9, 37] {
                for k in [0, 1, 7, 8, 9, 41] {
                    for flip in 0..4 {
                        let mut g = Gemm::new(m, n, k);
                        g = if flip & 1 != 0 { g.trans_a() } else { g };
                        g = if flip & 2 != 0 { g.trans_b() } else { g };
                        compare(&g, &format!("{m} {n} {k} {flip}"));
                    }
                }
            }
        }
    }

    #[test]
    fn factors_gaps_and_epilogues() {
        let bias = noise(300, 4);
        for (m, n, k) in [
            (5, 11, 3),
            (2, 65, 9),
            (130, 67, 97),
            (3, 300, 0),
            (61, 300, 127),
        ] {
            for (alpha, beta) in [(1.0, 1.0), (0.5, -2.0), (0.0, 3.0), (2.0, 0.0)] {
                for bias in [Bias::None, Bias::PerRow(&bias), Bias::PerCol(&bias)] {
                    let g = Gemm::new(m, n, k).alpha(alpha).beta(beta).bias(bias);
                    let g = g.lda(k + 3).ldb(n + 1).ldc(n + 2);
                    compare(&g, &format!("{m} {n} {k} {alpha} {beta}"));
                    compare(&g.act(Act::Relu(0.1)), &format!("relu {m} {n} {k}"));
                }
            }
        }
    }

    #[test]
    fn shapes_that_are_cut_into_blocks_agree() {
        for (m, n, k) in [
            (1, 1000, 701),
            (999, 1, 613),
            (211, 223, 227),
            (17, 2309, 75),
            (2, 3, 200_003),
            (3, 1001, 997),
            (611, 2, 77),
            (601, 45, 1100),
            (5, 1001, 530),
        ] {
            compare(&Gemm::new(m, n, k), &format!("{m} {n} {k}"));
            compare(
                &Gemm::new(m, n, k).trans_a().trans_b().beta(1.0),
                "transposed",
            );
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        for (m, n, k) in [(32, 2304, 75), (257, 263, 129), (1, 4099, 512)] {
            let (a, b) = (noise(m * k, 1), noise(n * k, 2));
            let bias = noise(m, 3);
            let g = Gemm::new(m, n, k).bias(Bias::PerRow(&bias));
            assert_ne!(block_size(&g), (m, n), "the case must use several threads");
            same_bits("gemm", || {
                let mut c = vec![f32::NAN; m * n];
                gemm(&g, &a, &b, &mut c);
                c
            });
        }
    }

    /// Each element is one sum in order of k, whatever the tile: a net gives the same bits on both kinds of processor.
    #[test]
    fn own_tiles_give_the_same_bits() {
        let (m, n, k) = (29, 83, 701);
        let (a, b) = (noise(m * k, 1), noise(n * k, 2));
        let g = Gemm::new(m, n, k).alpha(0.7);
        let results: Vec<Vec<f32>> = Path::all()
            .filter(|path| !matches!(path, Path::Portable(_)))
            .flat_map(|path| [(path, (m, n)), (path, (16, 32))])
            .map(|(path, block)| {
                let mut c = vec![f32::NAN; m * n];
                run(path, &g, &a, &b, &mut c, block);
                c
            })
            .collect();
        let bits = |c: &[f32]| c.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert!(results.windows(2).all(|two| bits(&two[0]) == bits(&two[1])));
    }

    #[test]
    fn nothing_is_allocated_once_warm() {
        let (m, n, k) = (33, 1000, 500);
        let (a, b, mut c) = (noise(m * k, 1), noise(n * k, 2), vec![0.0; m * n]);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1);
        let pool = pool.build().unwrap();
        for path in Path::all().filter(|path| !matches!(path, Path::Portable(_))) {
            let count = pool.install(|| {
                let mut pass = || {
                    for (m, n, k) in [(m, n, k), (2, n, k), (7, 5, 3)] {
                        let g = Gemm::new(m, n, k);
                        run(path, &g, &a, &b, &mut c, block_size(&g));
                        run(path, &g.trans_a().trans_b(), &a, &b, &mut c, (m, n));
                    }
                };
                pass();
                allocation_counter::measure(pass).count_total
            });
            assert_eq!(count, 0, "{path:?}");
        }
    }

    #[test]
    #[should_panic(expected = "B is too short")]
    fn a_short_slice_is_refused() {
        gemm(&Gemm::new(2, 2, 2), &[0.0; 4], &[0.0; 3], &mut [0.0; 4]);
    }
}
