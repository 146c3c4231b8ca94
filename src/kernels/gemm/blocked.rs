//! One block of C on one thread: k and the rows cut so that the packed part of A stays in a core's second cache; then
//! panel after panel of B, each used for all those rows while it is near.
//!
//! Each element of C is a sum in order of k, in pieces that depend on k alone: neither the cut into blocks nor the
//! shape of a tile changes its bits. The functions here are inlined where an instruction set is switched on.

use std::ops::Range;

use super::Gemm;
use crate::kernels::{
    scratch::Scratch,
    tile::{Block, TILE, Tile, even_parts, turn},
};

/// Steps of k at a time.
const DEPTH: usize = 512;
/// Rows of A packed at a time.
const HEIGHT: usize = 288;
/// Panels of A up to which B is read where it lies: packing it would cost more than it saves.
const IN_PLACE: usize = 1;
/// What whole vectors may write beyond a panel; the next panel follows.
const EIGHT: usize = 8;
/// Steps of k up to which a tile is done before a hint about C has helped.
const SHORT: usize = 64;

/// block = act(alpha · op(A)\[rows\] · op(B)\[cols\] + beta · block + bias). k must not be 0.
#[inline(always)]
pub(super) fn multiply<T: Tile>(t: T, g: &Gemm<'_>, a: &[f32], b: &[f32], block: &mut Block<'_>) {
    let (rows, cols) = (block.rows.len(), block.cols.clone());
    let depth = even_parts(g.k, DEPTH, 8);
    let height = even_parts(rows, HEIGHT, T::ROWS);
    let mut scratch = Scratch::take(depth * (height.div_ceil(T::ROWS) * T::ROWS + T::COLS) + EIGHT);
    let (b_panel, a_panels) = scratch.floats().split_at_mut(depth * T::COLS);
    let mut out = [0.0; TILE];
    for p in (0..g.k).step_by(depth) {
        let steps = p..g.k.min(p + depth);
        let k = steps.len();
        for row in (0..rows).step_by(height) {
            let (start, height) = (block.rows.start + row, height.min(rows - row));
            let panels = height.div_ceil(T::ROWS);
            // Panels differ by one row at most: a thin last one would waste most of its tile.
            let panel = |i: usize| height * i / panels..height * (i + 1) / panels;
            for i in 0..panels {
                let rows = panel(i).start + start..panel(i).end + start;
                let to = &mut a_panels[i * k * T::ROWS..][..k * T::ROWS + EIGHT];
                pack_a(t, g, a, &steps, rows, to);
            }
            for col in cols.clone().step_by(T::COLS) {
                let width = T::COLS.min(cols.end - col);
                let in_place = panels <= IN_PLACE && !g.trans_b && width == T::COLS;
                let (b, ldb) = if in_place {
                    (&b[p * g.ldb + col..], g.ldb)
                } else {
                    pack_b(t, g, b, &steps, col..col + width, b_panel);
                    (&*b_panel, T::COLS)
                };
                let col = col - cols.start..col - cols.start + width;
                for (i, a) in (0..panels).zip(a_panels.chunks_exact(k * T::ROWS)) {
                    let rows = panel(i).start + row..panel(i).end + row;
                    let dims = (rows.len(), width.div_ceil(T::LANES), k);
                    if k > SHORT {
                        for i in rows.clone() {
                            block.prefetch(i, col.start);
                        }
                    }
                    t.multiply(dims, a, b, ldb, &mut out);
                    write::<T>(g, &steps, &out, rows, col.clone(), block);
                }
            }
        }
    }
}

/// A panel of B, step by step, COLS apart; columns that are missing hold any value.
#[inline(always)]
fn pack_b<T: Tile>(
    t: T,
    g: &Gemm<'_>,
    b: &[f32],
    steps: &Range<usize>,
    cols: Range<usize>,
    to: &mut [f32],
) {
    if g.trans_b {
        let from = &b[cols.start * g.ldb + steps.start..];
        turn(t, from, g.ldb, (cols.len(), steps.len()), to, T::COLS);
    } else {
        for (to, step) in to.chunks_exact_mut(T::COLS).zip(steps.clone()) {
            copy(&b[step * g.ldb + cols.start..], cols.len(), to);
        }
    }
}

/// Rows of A, step by step, ROWS apart; up to eight floats behind the last step get any value.
#[inline(always)]
fn pack_a<T: Tile>(
    t: T,
    g: &Gemm<'_>,
    a: &[f32],
    steps: &Range<usize>,
    rows: Range<usize>,
    to: &mut [f32],
) {
    if g.trans_a {
        for (i, step) in steps.clone().enumerate() {
            let from = &a[step * g.lda + rows.start..];
            let to = &mut to[i * T::ROWS..];
            match (from.first_chunk::<16>(), to.first_chunk_mut::<16>()) {
                (Some(from), Some(to)) => *to = *from,
                _ => copy_end(&from[..rows.len()], to),
            }
        }
    } else {
        let from = &a[rows.start * g.lda + steps.start..];
        turn(t, from, g.lda, (rows.len(), steps.len()), to, T::ROWS);
    }
}

/// Copies `len` floats, and whatever follows them up to whole eights where both sides have them: whole vectors are
/// faster than exact ends.
#[inline(always)]
fn copy(from: &[f32], len: usize, to: &mut [f32]) {
    let (to, _) = to.as_chunks_mut::<8>();
    for (i, to) in to.iter_mut().enumerate().take(len.div_ceil(8)) {
        match from[i * 8..].first_chunk() {
            Some(eight) => *to = *eight,
            None => copy_end(&from[i * 8..], to),
        }
    }
}

/// Apart, so that the copies above stay vectors.
#[cold]
#[inline(never)]
fn copy_end(from: &[f32], to: &mut [f32]) {
    to[..from.len()].copy_from_slice(from);
}

/// Brings a tile to its place in the block.
#[inline(always)]
fn write<T: Tile>(
    g: &Gemm<'_>,
    steps: &Range<usize>,
    out: &[f32; TILE],
    rows: Range<usize>,
    cols: Range<usize>,
    block: &mut Block<'_>,
) {
    let beta = if steps.start == 0 { g.beta } else { 1.0 };
    let (first_row, first_col) = (block.rows.start, block.cols.start);
    for (i, sums) in rows.zip(out.chunks_exact(T::COLS)) {
        let c = &mut block.row(i)[cols.clone()];
        let (whole, rest) = c.as_chunks_mut::<8>();
        let (sums, last) = sums.split_at(whole.len() * 8);
        if beta == 0.0 {
            for (c, s) in whole.iter_mut().zip(sums.as_chunks::<8>().0) {
                *c = s.map(|s| g.alpha * s);
            }
            rest.iter_mut()
                .zip(last)
                .for_each(|(c, s)| *c = g.alpha * s);
        } else {
            for (c, s) in whole.iter_mut().zip(sums.as_chunks::<8>().0) {
                for (c, s) in c.iter_mut().zip(s) {
                    *c = g.alpha * s + beta * *c;
                }
            }
            rest.iter_mut()
                .zip(last)
                .for_each(|(c, s)| *c = g.alpha * s + beta * *c);
        }
        if steps.end == g.k && !g.epilogue.is_empty() {
            g.epilogue.finish(first_row + i, first_col + cols.start, c);
        }
    }
}
