//! How a batch is shared out: runs of images, strips of columns, pieces of workspace.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    ConvShape,
    im2col::{col2im, im2col},
};
use crate::kernels::gemm::{Gemm, gemm, gemm_serial};

/// Runs of images at most: enough for the balance of many threads, few enough for their buffers.
const RUNS: usize = 32;
/// From this many runs on, each is one thread's work; with fewer, the matrix products share out theirs as well.
const MANY: usize = 8;
/// Floats of a strip of columns to aim at: it should stay in a core's cache between being made and being used.
const STRIP: usize = 1 << 16;
/// Columns of a strip at least, else packing the weights again for each strip shows.
const STRIP_COLUMNS: usize = 96;
/// The same for the weights' gradient, which sums over the columns of a strip before it goes to memory.
const WEIGHTS_COLUMNS: usize = 256;
/// The same where threads share a strip.
const SHARED_STRIP_COLUMNS: usize = 1024;
/// Floats that all partial weight gradients together may take (where one alone is larger, there is one).
const PARTIALS: usize = 1 << 23;

/// The cut: a function of the convolution and the batch alone.
pub(super) struct Split {
    /// Images of a run; the last has what is left.
    pub(super) images: usize,
    /// Floats of a run's parts of the workspace.
    col_len: usize,
    partial_len: usize,
    shared: bool,
    runs: usize,
    strip: usize,
    pixels: usize,
}

impl Split {
    /// For passes whose output is per image.
    pub(super) fn images(s: &ConvShape, batch: usize) -> Self {
        let mut split = Self::new(s, batch, RUNS, STRIP_COLUMNS);
        if s.is_pointwise() {
            (split.strip, split.col_len) = (split.pixels, 0);
        }
        split
    }

    /// For the weights' gradient: each run sums into a partial of its own.
    pub(super) fn weights(s: &ConvShape, batch: usize) -> Self {
        let partial = s.weights_len();
        let runs = (PARTIALS / partial).clamp(1, RUNS / 2);
        let mut split = Self::new(s, batch, runs, WEIGHTS_COLUMNS);
        split.partial_len = partial;
        if s.is_pointwise() {
            split.col_len = 0;
        }
        split
    }

    fn new(s: &ConvShape, batch: usize, runs: usize, columns: usize) -> Self {
        let (rows, pixels) = (s.col_rows(), s.out_spatial());
        let images = batch.div_ceil(runs).max(1);
        let runs = batch.div_ceil(images);
        let shared = runs < MANY;
        let most = if shared {
            SHARED_STRIP_COLUMNS
        } else {
            (STRIP / rows).max(columns)
        };
        let strip = pixels.div_ceil(pixels.div_ceil(most));
        let strip = strip.next_multiple_of(16).min(pixels);
        Split {
            images,
            col_len: rows * strip,
            partial_len: 0,
            shared,
            runs,
            strip,
            pixels,
        }
    }

    /// Cuts a piece of the workspace for the weights' gradient: columns, the partial sum.
    pub(super) fn cut<'p>(&self, piece: &'p mut [f32]) -> (&'p mut [f32], &'p mut [f32]) {
        piece.split_at_mut(self.col_len)
    }

    /// The partial sum in a piece.
    pub(super) fn partial<'p>(&self, piece: &'p [f32]) -> &'p [f32] {
        &piece[piece.len() - self.partial_len..]
    }

    /// [`im2col`] of one strip.
    pub(super) fn columns(&self, s: &ConvShape, x: &[f32], cols: Range<usize>, col: &mut [f32]) {
        let [plane, rows] = channel_lens(s, &cols);
        if self.shared {
            x.par_chunks(plane)
                .zip(col.par_chunks_mut(rows))
                .for_each(|(x, col)| im2col(s, x, cols.clone(), col));
        } else {
            im2col(s, x, cols, col);
        }
    }

    /// [`col2im`] of one strip.
    pub(super) fn add_columns(
        &self,
        s: &ConvShape,
        col: &mut [f32],
        cols: Range<usize>,
        x: &mut [f32],
    ) {
        let [plane, rows] = channel_lens(s, &cols);
        if self.shared {
            x.par_chunks_mut(plane)
                .zip(col.par_chunks_mut(rows))
                .for_each(|(x, col)| col2im(s, col, cols.clone(), x));
        } else {
            col2im(s, col, cols, x);
        }
    }

    /// The product of one strip.
    pub(super) fn multiply(&self, g: &Gemm<'_>, a: &[f32], b: &[f32], c: &mut [f32]) {
        if self.shared {
            gemm(g, a, b, c);
        } else {
            gemm_serial(g, a, b, c);
        }
    }

    /// The ranges of output pixels that are handled at a time.
    pub(super) fn strips(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (strip, pixels) = (self.strip, self.pixels);
        (0..pixels)
            .step_by(strip)
            .map(move |start| start..pixels.min(start + strip))
    }

    /// Floats of one run's piece of the workspace; never 0, so that there is always something to cut.
    pub(super) fn piece_len(&self) -> usize {
        (self.col_len + self.partial_len).max(1)
    }

    /// Floats of all pieces.
    pub(super) fn workspace_len(&self) -> usize {
        self.runs * self.piece_len()
    }

    /// One piece for each run.
    pub(super) fn pieces<'w>(
        &self,
        workspace: &'w mut [f32],
    ) -> impl IndexedParallelIterator<Item = &'w mut [f32]> + use<'w> {
        let len = self.workspace_len();
        assert!(workspace.len() >= len, "workspace is too short");
        workspace[..len].par_chunks_exact_mut(self.piece_len())
    }
}

/// Floats of one channel of the image, and of its rows in the column matrix.
fn channel_lens(s: &ConvShape, cols: &Range<usize>) -> [usize; 2] {
    let taps = s.kernel.iter().product::<usize>();
    [s.in_spatial(), taps * cols.len()]
}
