//! How a batch is shared out: runs of images, strips of columns, pieces of workspace.

use std::ops::Range;

use rayon::prelude::*;

use super::ConvShape;

/// Runs of images at most: enough for the balance of many threads, few enough for their buffers.
const RUNS: usize = 16;
/// Floats of a strip of columns to aim at: it should stay in a core's cache between being made and being used.
const STRIP: usize = 1 << 17;
/// Columns of a strip at least, else packing the weights again for each strip shows.
const STRIP_COLUMNS: usize = 512;
/// Floats that all partial weight gradients together may take (where one alone is larger, there is one).
const PARTIALS: usize = 1 << 23;

/// The cut: a function of the convolution and the batch alone.
pub(super) struct Split {
    /// Images of a run; the last has what is left.
    pub(super) images: usize,
    /// Floats of a run's column buffer.
    pub(super) col_len: usize,
    runs: usize,
    partial_len: usize,
    strip: usize,
    pixels: usize,
}

impl Split {
    /// For passes whose output is per image.
    pub(super) fn images(s: &ConvShape, batch: usize) -> Self {
        Self::new(s, batch, RUNS, 0)
    }

    /// For the weights' gradient: each run sums into a partial of its own.
    pub(super) fn weights(s: &ConvShape, batch: usize) -> Self {
        let partial = s.weights_len();
        Self::new(s, batch, (PARTIALS / partial).clamp(1, RUNS), partial)
    }

    fn new(s: &ConvShape, batch: usize, runs: usize, partial_len: usize) -> Self {
        let (rows, pixels) = (s.col_rows(), s.out_spatial());
        let images = batch.div_ceil(runs).max(1);
        let (strip, col_len) = if s.is_pointwise() {
            (pixels, 0)
        } else {
            let most = (STRIP / rows).max(STRIP_COLUMNS);
            let strips = pixels.div_ceil(most);
            let strip = pixels.div_ceil(strips).next_multiple_of(16).min(pixels);
            (strip, rows * strip)
        };
        Split {
            images,
            col_len,
            runs: batch.div_ceil(images),
            partial_len,
            strip,
            pixels,
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
