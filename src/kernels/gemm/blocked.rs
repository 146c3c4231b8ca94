//! One block of C on one thread: k and the columns cut so that the packed part of B stays in a core's second cache and
//! a panel of A in its first; tiles between them.
//!
//! Each element of C is a sum in order of k, in pieces that depend on k alone: neither the cut into blocks nor the
//! shape of a tile changes its bits. The functions here are inlined where an instruction set is switched on.

use std::ops::Range;

use super::{
    Gemm,
    scratch::Scratch,
    tile::{Block, TILE, Tile},
};

/// Steps of k at a time.
const DEPTH: usize = 320;
/// Columns of B packed at a time.
const WIDTH: usize = 512;
/// Panels of A up to which B is read where it lies: packing it would cost more than it saves.
const IN_PLACE: usize = 1;

/// block = act(alpha · op(A)\[rows\] · op(B)\[cols\] + beta · block + bias). k must not be 0.
#[inline(always)]
pub(super) fn multiply<T: Tile>(t: T, g: &Gemm<'_>, a: &[f32], b: &[f32], block: &mut Block<'_>) {
    let (rows, cols) = (block.rows.len(), block.cols.len());
    let panels = rows.div_ceil(T::ROWS);
    let depth = even_parts(g.k, DEPTH, 8);
    let width = even_parts(cols, WIDTH, T::COLS);
    let in_place = panels <= IN_PLACE && !g.trans_b;
    let mut scratch = Scratch::take(depth * (T::STRIDE + width.next_multiple_of(T::COLS)));
    let (a_panel, b_panels) = scratch.floats().split_at_mut(depth * T::STRIDE);
    let mut out = [0.0; TILE];
    for p in (0..g.k).step_by(depth) {
        let steps = p..g.k.min(p + depth);
        let k = steps.len();
        for col in (0..cols).step_by(width) {
            let part = col..cols.min(col + width);
            // Whole panels may be read in place; what is left of the last is packed in any case.
            let whole = if in_place {
                part.len() / T::COLS * T::COLS
            } else {
                0
            };
            pack_b(
                t,
                g,
                b,
                &steps,
                block.cols.start + col + whole..block.cols.start + part.end,
                b_panels,
            );
            for i in 0..panels {
                let panel = rows * i / panels..rows * (i + 1) / panels;
                let start = block.rows.start;
                pack_a(
                    t,
                    g,
                    a,
                    &steps,
                    start + panel.start..start + panel.end,
                    a_panel,
                );
                for j in (0..part.len()).step_by(T::COLS) {
                    let width = T::COLS.min(part.len() - j);
                    let dims = (panel.len(), width.div_ceil(T::LANES), k);
                    if j < whole {
                        let b = &b[p * g.ldb + block.cols.start + col + j..];
                        t.multiply(dims, a_panel, b, g.ldb, &mut out);
                    } else {
                        t.multiply(
                            dims,
                            a_panel,
                            &b_panels[(j - whole) * k..],
                            T::COLS,
                            &mut out,
                        );
                    }
                    let cols = col + j..col + j + width;
                    write::<T>(g, &steps, &out, panel.clone(), cols, block);
                }
            }
        }
    }
}

/// The size of a part where `len` is cut into as few parts as `most` allows, all but the last equal and multiples of
/// `unit`.
fn even_parts(len: usize, most: usize, unit: usize) -> usize {
    len.div_ceil(len.div_ceil(most)).next_multiple_of(unit)
}

/// Columns of B in panels of COLS, step by step; columns that are missing in the last panel hold any value.
#[inline(always)]
fn pack_b<T: Tile>(
    t: T,
    g: &Gemm<'_>,
    b: &[f32],
    steps: &Range<usize>,
    cols: Range<usize>,
    to: &mut [f32],
) {
    let k = steps.len();
    if g.trans_b {
        for (panel, j) in to
            .chunks_exact_mut(k * T::COLS)
            .zip(cols.clone().step_by(T::COLS))
        {
            let width = T::COLS.min(cols.end - j);
            for i in (0..width).step_by(8) {
                let from = &b[(j + i) * g.ldb + steps.start..];
                t.turn(from, g.ldb, (8.min(width - i), k), &mut panel[i..], T::COLS);
            }
        }
    } else {
        for (p, step) in steps.clone().enumerate() {
            let row = &b[step * g.ldb + cols.start..];
            for (j, panel) in (0..cols.len())
                .step_by(T::COLS)
                .zip(to.chunks_exact_mut(k * T::COLS))
            {
                let width = T::COLS.min(cols.len() - j);
                copy(&row[j..], width, &mut panel[p * T::COLS..][..T::COLS]);
            }
        }
    }
}

/// Rows of A, step by step, STRIDE apart.
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
        for (to, step) in to.chunks_exact_mut(T::STRIDE).zip(steps.clone()) {
            copy(&a[step * g.lda + rows.start..], rows.len(), to);
        }
    } else {
        for i in (0..rows.len()).step_by(8) {
            let from = &a[(rows.start + i) * g.lda + steps.start..];
            let dims = (8.min(rows.len() - i), steps.len());
            t.turn(from, g.lda, dims, &mut to[i..], T::STRIDE);
        }
    }
}

/// Copies `len` floats, and whatever follows them up to whole eights where both sides have them: whole vectors are
/// faster than exact ends.
#[inline(always)]
fn copy(from: &[f32], len: usize, to: &mut [f32]) {
    for (i, to) in to.chunks_exact_mut(8).enumerate().take(len.div_ceil(8)) {
        let from = &from[i * 8..];
        match from.first_chunk::<8>() {
            Some(eight) => to.copy_from_slice(eight),
            None => to[..from.len()].copy_from_slice(from),
        }
    }
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
        if beta == 0.0 {
            c.iter_mut().zip(sums).for_each(|(c, s)| *c = g.alpha * s);
        } else {
            c.iter_mut()
                .zip(sums)
                .for_each(|(c, s)| *c = g.alpha * s + beta * *c);
        }
        if steps.end == g.k && !g.epilogue.is_empty() {
            g.epilogue.finish(first_row + i, first_col + cols.start, c);
        }
    }
}
