//! The mean of each window: sums of rows first, then of columns; and its transpose.

use std::cell::RefCell;

use super::{
    PoolShape,
    lines::{Lines, eight, load, store},
};
use crate::kernels::{
    reduce,
    simd::{
        lanes::{self, Kernel, LANES, Lanes},
        wide,
    },
};

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Floats that [`plane`] needs.
pub(in crate::kernels) fn scratch_len(s: &PoolShape) -> usize {
    let l = Lines::new(s);
    // Sums of rows, a row of zeros, the extents.
    l.dealt() + (s.kept_rows() + 2) * l.padded
}

/// y of whole planes.
pub(super) fn forward(s: &PoolShape, x: &[f32], y: &mut [f32]) {
    if s.is_global() {
        return means(x, s.in_plane(), y);
    }
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        scratch.resize(scratch_len(s), 0.0);
        lanes::run(Forward { s, x, y, scratch });
    });
}

wide! {
    fn means(x: &[f32], plane: usize, y: &mut [f32]) {
        for (x, y) in x.chunks_exact(plane).zip(y) {
            *y = reduce::lane_sum(x, x, &|x, _| x) as f32 / plane as f32;
        }
    }
}

struct Forward<'a> {
    s: &'a PoolShape,
    x: &'a [f32],
    y: &'a mut [f32],
    scratch: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    fn run<V: Lanes>(self, v: V) {
        let Self { s, x, y, scratch } = self;
        let l = &Lines::new(s);
        extents(s, l, scratch);
        let (inner, outer) = (s.in_plane(), s.out_plane());
        for (i, x) in x.chunks_exact(inner).enumerate() {
            plane(v, s, l, x, &mut y[i * outer..], scratch);
        }
    }
}

/// Writes the width of each window, as the divisor counts it, to the end of the scratch.
#[inline(always)]
pub(in crate::kernels) fn extents(s: &PoolShape, l: &Lines, scratch: &mut [f32]) {
    let at = scratch.len() - l.padded;
    for (j, to) in scratch[at..].iter_mut().enumerate() {
        *to = s.extent(1, j).max(1) as f32;
    }
}

/// One plane, `y` being its place and what follows it, which may be overwritten. The scratch was zeros before the first
/// plane, and has the [`extents`].
#[inline(always)]
pub(in crate::kernels) fn plane<V: Lanes>(
    v: V,
    s: &PoolShape,
    l: &Lines,
    x: &[f32],
    y: &mut [f32],
    scratch: &mut [f32],
) {
    let with = |kernel, stride| Lines {
        kernel,
        stride,
        ..*l
    };
    // The kinds of most nets get code with their numbers as constants.
    match (s.kernel[0], l.kernel, l.stride) {
        (2, 2, 2) => rows_of::<V, 2>(v, s, &with(2, 2), x, y, scratch),
        (3, 3, 2) => rows_of::<V, 3>(v, s, &with(3, 2), x, y, scratch),
        (3, 3, 1) => rows_of::<V, 3>(v, s, &with(3, 1), x, y, scratch),
        _ => rows_of::<V, 1>(v, s, l, x, y, scratch),
    }
}

/// [`plane`], where `ROWS` at a time of a window are added.
#[inline(always)]
fn rows_of<V: Lanes, const ROWS: usize>(
    v: V,
    s: &PoolShape,
    l: &Lines,
    x: &[f32],
    y: &mut [f32],
    scratch: &mut [f32],
) {
    let (dealt, rest) = scratch.split_at_mut(l.dealt());
    let (sums, extents) = rest.split_at_mut(rest.len() - l.padded);
    let (padded, blocks) = (l.padded, l.padded / LANES);
    // A power of two: a mask finds a row's place.
    let rows = sums.len() / padded - 1;
    let mask = rows - 1;
    let mut done = 0;
    for ph in 0..s.pooled[0] {
        let window = s.window(0, ph);
        done = done.max(window.start);
        while done < window.end {
            l.deal(v, &x[done * l.width..][..l.width], dealt);
            let (sums, _) = sums[(done & mask) * padded..][..padded].as_chunks_mut::<LANES>();
            for (block, sums) in sums.iter_mut().enumerate() {
                let mut sum = v.load(l.tap(dealt, 0, block * LANES));
                for t in 1..l.kernel {
                    sum = v.add(sum, v.load(l.tap(dealt, t, block * LANES)));
                }
                v.store(sum, sums);
            }
            done += 1;
        }
        let height = s.extent(0, ph).max(1) as f32;
        let out = ph * l.windows;
        if window.is_empty() {
            y[out..][..l.windows].fill(0.0);
        }
        for h in window.clone().step_by(ROWS) {
            // The row behind the others is zeros.
            let kept: [usize; ROWS] = std::array::from_fn(|i| {
                if h + i < window.end {
                    (h + i) & mask
                } else {
                    rows
                }
            });
            let last = h + ROWS >= window.end;
            for block in 0..blocks {
                let to = out + block * LANES;
                let mut sum = v.splat(0.0);
                if ROWS == 1 && h > window.start {
                    sum = v.load(&load(y, to));
                }
                for keep in kept {
                    sum = v.add(sum, v.load(eight(sums, keep * padded + block * LANES)));
                }
                if last {
                    let width: [f32; LANES] = *eight(extents, block * LANES);
                    sum = v.div(sum, v.load(&width.map(|width| height * width)));
                }
                store(y, to, |to| v.store(sum, to));
            }
        }
    }
}

/// dx of whole planes.
pub(super) fn backward(s: &PoolShape, dy: &[f32], dx: &mut [f32]) {
    if s.is_global() {
        let plane = s.in_plane();
        for (dx, dy) in dx.chunks_exact_mut(plane).zip(dy) {
            dx.fill(dy / plane as f32);
        }
        return;
    }
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        scratch.resize(back_scratch_len(s), 0.0);
        lanes::run(Back { s, dy, dx, scratch });
    });
}

/// Sizes of the scratch of backward: zeros before and after a row of windows, and the length of a phase.
#[inline(always)]
fn back_sizes(l: &Lines) -> (usize, usize, usize) {
    let margin = (l.kernel - 1) / l.stride;
    let phase = (l.pad + l.width).div_ceil(l.stride).next_multiple_of(LANES);
    (margin, margin + l.padded.max(phase), phase)
}

/// Floats that [`plane_back`] needs.
pub(in crate::kernels) fn back_scratch_len(s: &PoolShape) -> usize {
    let l = Lines::new(s);
    let (_, row, phase) = back_sizes(&l);
    s.pooled[0] * l.padded + row + l.phases() * phase + l.padded
}

struct Back<'a> {
    s: &'a PoolShape,
    dy: &'a [f32],
    dx: &'a mut [f32],
    scratch: &'a mut [f32],
}

impl Kernel for Back<'_> {
    #[inline(always)]
    fn run<V: Lanes>(self, v: V) {
        let Self { s, dy, dx, scratch } = self;
        let l = &Lines::new(s);
        extents(s, l, scratch);
        let planes = dx.chunks_exact_mut(s.in_plane());
        for (dx, dy) in planes.zip(dy.chunks_exact(s.out_plane())) {
            plane_back(v, s, l, dy, dx, scratch);
        }
    }
}

/// One plane. The scratch was zeros before the first, and has the [`extents`].
#[inline(always)]
pub(in crate::kernels) fn plane_back<V: Lanes>(
    v: V,
    s: &PoolShape,
    l: &Lines,
    dy: &[f32],
    dx: &mut [f32],
    scratch: &mut [f32],
) {
    let with = |kernel, stride| Lines {
        kernel,
        stride,
        ..*l
    };
    match (l.kernel, l.stride) {
        (2, 2) => rows_back(v, s, &with(2, 2), dy, dx, scratch),
        (3, 2) => rows_back(v, s, &with(3, 2), dy, dx, scratch),
        (3, 1) => rows_back(v, s, &with(3, 1), dy, dx, scratch),
        _ => rows_back(v, s, l, dy, dx, scratch),
    }
}

#[inline(always)]
fn rows_back<V: Lanes>(
    v: V,
    s: &PoolShape,
    l: &Lines,
    dy: &[f32],
    dx: &mut [f32],
    scratch: &mut [f32],
) {
    let (margin, row_len, phase) = back_sizes(l);
    let padded = l.padded;
    let (shares, rest) = scratch.split_at_mut(s.pooled[0] * padded);
    let (row, rest) = rest.split_at_mut(row_len);
    let (dealt, extents) = rest.split_at_mut(rest.len() - padded);
    for (ph, share) in shares.chunks_exact_mut(padded).enumerate() {
        let height = s.extent(0, ph).max(1) as f32;
        for block in 0..padded / LANES {
            let width: [f32; LANES] = *eight(extents, block * LANES);
            let dy = v.load(&load(dy, ph * l.windows + block * LANES));
            let each = v.div(dy, v.load(&width.map(|width| height * width)));
            store(share, block * LANES, |to| v.store(each, to));
        }
        // What was read beyond the row belongs to the next one.
        share[l.windows..].fill(0.0);
    }
    for (h, dx) in dx.chunks_exact_mut(l.width).enumerate() {
        let reach = s.covering(0, h);
        let (sums, _) = row[margin..][..padded].as_chunks_mut::<LANES>();
        for (block, to) in sums.iter_mut().enumerate() {
            let mut sum = v.splat(0.0);
            for ph in reach.clone() {
                sum = v.add(sum, v.load(eight(shares, ph * padded + block * LANES)));
            }
            v.store(sum, to);
        }
        for (r, dealt) in dealt.chunks_exact_mut(phase).enumerate() {
            let (dealt, _) = dealt.as_chunks_mut::<LANES>();
            for (block, to) in dealt.iter_mut().enumerate() {
                let mut sum = v.splat(0.0);
                let mut t = r;
                while t < l.kernel {
                    let from = eight(row, margin + block * LANES - t / l.stride);
                    sum = v.add(sum, v.load(from));
                    t += l.stride;
                }
                v.store(sum, to);
            }
        }
        gather(v, l, dealt, phase, dx);
    }
}

/// A row of pixels from its phases; a phase that no window looks at is zeros.
#[inline(always)]
fn gather<V: Lanes>(v: V, l: &Lines, dealt: &[f32], phase: usize, row: &mut [f32]) {
    if l.stride == 1 {
        return row.copy_from_slice(&dealt[l.pad..][..row.len()]);
    }
    if l.stride == 2 && l.kernel > 1 {
        let (even, odd) = dealt.split_at(phase);
        let odd_first = !l.pad.is_multiple_of(2);
        let (a, b) = if odd_first { (odd, even) } else { (even, odd) };
        let (a, b) = (&a[l.pad / 2..], &b[l.pad.div_ceil(2)..]);
        let (sixteens, rest) = row.as_chunks_mut::<{ 2 * LANES }>();
        let done = sixteens.len() * LANES;
        for (block, to) in sixteens.iter_mut().enumerate() {
            let at = block * LANES;
            v.interleave(v.load(eight(a, at)), v.load(eight(b, at)), to);
        }
        for (i, to) in rest.iter_mut().enumerate() {
            let from = if i % 2 == 0 { a } else { b };
            *to = from[done + i / 2];
        }
        return;
    }
    for (w, to) in row.iter_mut().enumerate() {
        let at = l.pad + w;
        let r = at % l.stride;
        *to = if r < l.phases() {
            dealt[r * phase + at / l.stride]
        } else {
            0.0
        };
    }
}
