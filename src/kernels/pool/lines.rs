//! Rows of windows, eight side by side: rows of pixels are dealt out by the stride, so that whatever tap of neighbouring
//! windows is wanted lies side by side in memory, with room on both sides for the taps outside the image.

use super::PoolShape;
use crate::kernels::simd::lanes::{LANES, Lanes};

/// How rows of a pooling lie in the scratch.
#[derive(Clone, Copy, Debug)]
pub(in crate::kernels) struct Lines {
    /// Pixels, and windows, of a row.
    pub(super) width: usize,
    pub(super) windows: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) pad: usize,
    /// Windows rounded up to whole lanes.
    pub(super) padded: usize,
    /// Length of a phase: every `stride`-th pixel of the padded row.
    pub(super) phase: usize,
}

impl Lines {
    pub(in crate::kernels) fn new(s: &PoolShape) -> Self {
        let padded = s.pooled[1].next_multiple_of(LANES);
        Self {
            width: s.input[1],
            windows: s.pooled[1],
            kernel: s.kernel[1],
            stride: s.stride[1],
            pad: s.pad[1],
            padded,
            phase: padded + (s.kernel[1] - 1) / s.stride[1],
        }
    }

    /// The phases that any window looks at.
    #[inline(always)]
    pub(super) fn phases(&self) -> usize {
        self.kernel.min(self.stride)
    }

    /// Floats of a dealt row.
    pub(super) fn dealt(&self) -> usize {
        self.phases() * self.phase
    }

    /// Where the pixels of phase `r` begin: the first one in the row, and its place in the phase.
    #[inline(always)]
    fn start(&self, r: usize) -> (usize, usize) {
        let first = (r + self.stride - self.pad % self.stride) % self.stride;
        (first, (self.pad + first) / self.stride)
    }

    /// Deals out a row of pixels; what lies outside the image is left as it is.
    #[inline(always)]
    pub(super) fn deal<V: Lanes>(&self, v: V, row: &[f32], to: &mut [f32]) {
        if self.stride == 1 {
            let len = self.width.min(self.phase.saturating_sub(self.pad));
            if len > 0 {
                copy(&row[..len], &mut to[self.pad..][..len]);
            }
            return;
        }
        if self.stride == 2 && self.kernel > 1 {
            let (even, odd) = to.split_at_mut(self.phase);
            // The phase of the row's first pixel, and that of the second.
            let (a, b) = if self.pad.is_multiple_of(2) {
                (even, odd)
            } else {
                (odd, even)
            };
            let a = a.get_mut(self.pad / 2..).unwrap_or_default();
            let b = b.get_mut(self.pad.div_ceil(2)..).unwrap_or_default();
            return deal_two(v, row, a, b);
        }
        for (r, to) in to
            .chunks_exact_mut(self.phase)
            .take(self.phases())
            .enumerate()
        {
            let (first, at) = self.start(r);
            let from = row.get(first..).unwrap_or_default();
            let to = to.get_mut(at..).unwrap_or_default();
            let from = from.iter().step_by(self.stride);
            to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        }
    }

    /// The lanes of tap `t` for the eight windows from `j` on.
    #[inline(always)]
    pub(super) fn tap<'a>(&self, dealt: &'a [f32], t: usize, j: usize) -> &'a [f32; LANES] {
        let at = t % self.stride * self.phase + t / self.stride + j;
        eight(dealt, at)
    }
}

/// Eight values from `at` on.
#[inline(always)]
pub(super) fn eight(from: &[f32], at: usize) -> &[f32; LANES] {
    from[at..at + LANES]
        .first_chunk()
        .expect("eight were cut out")
}

/// Lanes from `at` on, as many as there are.
#[inline(always)]
pub(super) fn load<T: Copy + Default>(from: &[T], at: usize) -> [T; LANES] {
    match from[at..].first_chunk() {
        Some(lanes) => *lanes,
        None => std::array::from_fn(|i| from.get(at + i).copied().unwrap_or_default()),
    }
}

/// Writes eight values at `at`, as many as fit: what runs over the end of a row is overwritten by the next one.
#[inline(always)]
pub(super) fn store<T: Copy + Default>(to: &mut [T], at: usize, write: impl Fn(&mut [T; LANES])) {
    let to = &mut to[at..];
    match to.first_chunk_mut() {
        Some(to) => write(to),
        None => {
            let mut eight = [T::default(); LANES];
            write(&mut eight);
            to.iter_mut().zip(eight).for_each(|(to, x)| *to = x);
        }
    }
}

/// A copy that is no call for rows as short as these are.
#[inline(always)]
fn copy(from: &[f32], to: &mut [f32]) {
    let ((from, from_end), (to, to_end)) = (from.as_chunks::<LANES>(), to.as_chunks_mut());
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    to_end
        .iter_mut()
        .zip(from_end)
        .for_each(|(to, from)| *to = *from);
}

/// Pixels in turn to `a` and to `b`, as far as there is room.
#[inline(always)]
fn deal_two<V: Lanes>(v: V, row: &[f32], a: &mut [f32], b: &mut [f32]) {
    let (sixteens, _) = row.as_chunks::<{ 2 * LANES }>();
    let whole = sixteens.len().min(a.len() / LANES).min(b.len() / LANES);
    for (block, sixteen) in sixteens[..whole].iter().enumerate() {
        let (even, odd) = v.deal(sixteen);
        store(a, block * LANES, |to| v.store(even, to));
        store(b, block * LANES, |to| v.store(odd, to));
    }
    let mut done = whole * LANES;
    // What is left of a longer row once more from its end back: some pixels come twice.
    let last = (row.len() / 2).saturating_sub(LANES);
    if done > 0 && last + LANES > done && last + LANES <= a.len().min(b.len()) {
        let sixteen = row[2 * last..].first_chunk().expect("eight pairs");
        let (even, odd) = v.deal(sixteen);
        store(a, last, |to| v.store(even, to));
        store(b, last, |to| v.store(odd, to));
        done = last + LANES;
    }
    let rest = &row[2 * done..];
    let (a, b) = (&mut a[done..], &mut b[done..]);
    let (pairs, last) = rest.as_chunks::<2>();
    for (i, pair) in pairs.iter().enumerate() {
        if let Some(a) = a.get_mut(i) {
            *a = pair[0];
        }
        if let Some(b) = b.get_mut(i) {
            *b = pair[1];
        }
    }
    if let ([x], Some(a)) = (last, a.get_mut(pairs.len())) {
        *a = *x;
    }
}
