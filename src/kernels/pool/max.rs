//! The largest of each window. Rows first: the maxima of each row of pixels are kept until no window needs them, and
//! the first of equal values in a row, then the first row, is the first in the window.

use std::cell::RefCell;

use super::{
    NO_PIXEL, PoolShape,
    lines::{Lines, eight, load, store},
};
use crate::kernels::simd::lanes::{self, Kernel, LANES, Lanes};

/// Scratch of a thread: a dealt row, and maxima and their pixels for as many rows as a window has.
#[derive(Default)]
struct Scratch {
    dealt: Vec<f32>,
    best: Vec<f32>,
    at: Vec<[i32; LANES]>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Whole planes; argmax only where it is not empty.
pub(super) fn planes(s: &PoolShape, x: &[f32], y: &mut [f32], argmax: &mut [i32]) {
    SCRATCH.with_borrow_mut(|scratch| {
        let lines = Lines::new(s);
        let rows = s.kept_rows();
        scratch.dealt.clear();
        scratch.dealt.resize(lines.dealt(), -f32::MAX);
        scratch.best.resize(rows * lines.padded, 0.0);
        scratch.at.resize(rows * lines.padded / LANES, [0; LANES]);
        let (s, l) = (s, &lines);
        if argmax.is_empty() {
            lanes::run(Planes::<false> {
                s,
                l,
                x,
                y,
                argmax,
                scratch,
            });
        } else {
            lanes::run(Planes::<true> {
                s,
                l,
                x,
                y,
                argmax,
                scratch,
            });
        }
    });
}

/// `AT`: argmax, too.
struct Planes<'a, const AT: bool> {
    s: &'a PoolShape,
    l: &'a Lines,
    x: &'a [f32],
    y: &'a mut [f32],
    argmax: &'a mut [i32],
    scratch: &'a mut Scratch,
}

impl<const AT: bool> Kernel for Planes<'_, AT> {
    /// The kinds of most nets get code with their numbers as constants.
    #[inline(always)]
    fn run<V: Lanes>(self, v: V) {
        let l = self.l;
        let with = |kernel, stride| Lines {
            kernel,
            stride,
            ..*l
        };
        match (self.s.kernel[0], l.kernel, l.stride) {
            (2, 2, 2) => self.all::<V, 2>(v, &with(2, 2)),
            (3, 3, 2) => self.all::<V, 3>(v, &with(3, 2)),
            (3, 3, 1) => self.all::<V, 3>(v, &with(3, 1)),
            _ => self.all::<V, 1>(v, l),
        }
    }
}

impl<const AT: bool> Planes<'_, AT> {
    /// `ROWS` at a time of a window are compared.
    #[inline(always)]
    fn all<V: Lanes, const ROWS: usize>(self, v: V, l: &Lines) {
        let Self {
            s, x, y, argmax, ..
        } = self;
        let Scratch { dealt, best, at } = self.scratch;
        let (padded, blocks) = (l.padded, l.padded / LANES);
        // A power of two: a mask finds a row's place.
        let mask = best.len() / padded - 1;
        let none = (v.splat(-f32::MAX), v.splat_i(NO_PIXEL));
        for (plane, x) in x.chunks_exact(s.in_plane()).enumerate() {
            // Rows below `done` are in `best`, as far as it reaches back.
            let mut done = 0;
            for ph in 0..s.pooled[0] {
                let window = s.window(0, ph);
                done = done.max(window.start);
                while done < window.end {
                    l.deal(v, &x[done * l.width..][..l.width], dealt);
                    let keep = done & mask;
                    let best = &mut best[keep * padded..][..padded];
                    let at = &mut at[keep * blocks..][..blocks];
                    row::<V, AT>(v, l, done, dealt, best, at);
                    done += 1;
                }
                let out = (plane * s.pooled[0] + ph) * l.windows;
                let mut first = true;
                for h in window.clone().step_by(ROWS) {
                    // A row that comes twice changes nothing.
                    let kept: [usize; ROWS] =
                        std::array::from_fn(|i| (h + i).min(window.end - 1) & mask);
                    for block in 0..blocks {
                        let to = out + block * LANES;
                        let mut top = none;
                        if ROWS == 1 && !first {
                            top.0 = v.load(&load(y, to));
                            if AT {
                                top.1 = v.load_i(&load(argmax, to));
                            }
                        }
                        for keep in kept {
                            let x = v.load(eight(best, keep * padded + block * LANES));
                            if AT {
                                let from = v.load_i(&at[keep * blocks + block]);
                                top = v.better(top, (x, from));
                            } else {
                                top.0 = v.larger(top.0, x);
                            }
                        }
                        store(y, to, |to| v.store(top.0, to));
                        if AT {
                            store(argmax, to, |to| v.store_i(top.1, to));
                        }
                    }
                    first = false;
                }
                if first {
                    y[out..][..l.windows].fill(-f32::MAX);
                    if AT {
                        argmax[out..][..l.windows].fill(NO_PIXEL);
                    }
                }
            }
        }
    }
}

/// The maxima of row `h` within each window's columns, and their pixels.
#[inline(always)]
fn row<V: Lanes, const AT: bool>(
    v: V,
    l: &Lines,
    h: usize,
    dealt: &[f32],
    best: &mut [f32],
    at: &mut [[i32; LANES]],
) {
    // The pixel of tap 0 in the first window; in the padding it may be none.
    let first = ((h * l.width) as i32).wrapping_sub(l.pad as i32);
    let steps: [i32; LANES] = std::array::from_fn(|i| (i * l.stride) as i32);
    let mut from = v.add_i(v.splat_i(first), v.load_i(&steps));
    let next = v.splat_i((LANES * l.stride) as i32);
    let one = v.splat_i(1);
    let (best, _) = best.as_chunks_mut::<LANES>();
    for (block, (best, at)) in best.iter_mut().zip(at).enumerate() {
        let mut top = (v.splat(-f32::MAX), v.splat_i(NO_PIXEL));
        let mut pixel = from;
        for t in 0..l.kernel {
            let x = v.load(l.tap(dealt, t, block * LANES));
            if AT {
                top = v.better(top, (x, pixel));
                pixel = v.add_i(pixel, one);
            } else {
                top.0 = v.larger(top.0, x);
            }
        }
        v.store(top.0, best);
        if AT {
            v.store_i(top.1, at);
            from = v.add_i(from, next);
        }
    }
}

/// dx of whole planes.
pub(super) fn backward(s: &PoolShape, dy: &[f32], argmax: &[i32], dx: &mut [f32]) {
    let (inner, outer) = (s.in_plane(), s.out_plane());
    let planes = dx.chunks_exact_mut(inner).zip(dy.chunks_exact(outer));
    for ((dx, dy), argmax) in planes.zip(argmax.chunks_exact(outer)) {
        dx.fill(0.0);
        for (d, &at) in dy.iter().zip(argmax) {
            if let Some(x) = dx.get_mut(at as usize) {
                *x += *d;
            }
        }
    }
}
