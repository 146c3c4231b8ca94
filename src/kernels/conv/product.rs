//! The sums of a convolution, computed: weights packed by rows, the field packed by columns, tile after tile.

use std::ops::Range;

use rayon::prelude::*;

use super::sum::{Run, Sum};
use crate::kernels::{
    scratch::Scratch,
    tile::{Block, Finish, Job, MOST_LANES, Path, TILE, Taps, Tile, even_parts},
};

/// Steps of a sum that are added up before they go to memory.
const DEPTH: usize = 512;
/// Floats of packed columns: they should stay in a core's second cache while the weights pass by.
const COLUMNS: usize = 1 << 16;
/// Panels of weights up to which the field is read where it lies: packing it would cost more than it saves.
const IN_PLACE: usize = 2;
/// The same where halves of vectors do not lie apart.
const FEW: usize = 3;
/// Outputs of a vector up to which they are summed one by one, their rows side by side in vectors.
const NARROW: usize = 4;
/// Panels whose rows are summed together then, so that a sum need not wait for itself.
const ABREAST: usize = 4;
/// Steps up to which a tile is done before a hint about its outputs has helped.
const SHORT: usize = 64;

/// Floats that the packed weights of one group take.
pub(super) fn packed_len(path: Path, sum: &Sum) -> usize {
    sum.rows.div_ceil(path.rows()) * path.rows() * sum.taps.len()
}

/// Packs the weights of one group: panels of rows, step by step.
pub(super) fn pack(path: Path, sum: &Sum, w: &[f32], to: &mut [f32]) {
    let (height, steps) = (path.rows(), sum.weights.len());
    if steps == 0 {
        return;
    }
    let each = panel_rows(sum.rows, height);
    to.par_chunks_exact_mut(height * steps)
        .enumerate()
        .with_min_len((4096 / (height * steps)).max(1))
        .for_each(|(i, to)| {
            let rows = i * each..sum.rows.min((i + 1) * each);
            for (to, &step) in to.chunks_exact_mut(height).zip(&sum.weights) {
                for (to, row) in to.iter_mut().zip(rows.clone()) {
                    *to = w[row * sum.weights_row + step];
                }
            }
        });
}

/// Rows of each panel but the last: as even as can be, since a thin last one would waste most of its tile.
pub(super) fn panel_rows(rows: usize, height: usize) -> usize {
    rows.div_ceil(rows.div_ceil(height))
}

/// Rows from which on columns are packed.
pub(super) fn packed_rows(path: Path) -> usize {
    IN_PLACE * path.rows() + 1
}

/// How many panels there are, and how many rows each but the last has.
pub(super) fn panels(path: Path, sum: &Sum) -> (usize, usize) {
    let height = panel_rows(sum.rows, path.rows());
    (sum.rows.div_ceil(height), height)
}

/// What is done to an output after its sum.
#[derive(Clone, Copy)]
pub(super) struct End<'a> {
    /// One value for each row of the group.
    pub(super) bias: Option<&'a [f32]>,
    /// Added: the group's outputs in the first image, and so on; and how far apart the images are.
    pub(super) residual: Option<(&'a [f32], usize)>,
    /// The outputs hold what is to be added.
    pub(super) add: bool,
    /// Factor of negative outputs.
    pub(super) slope: f32,
}

/// Computes some vectors of some panels of one group, on the calling thread.
pub(super) struct Product<'p, 'y> {
    pub(super) sum: &'p Sum,
    /// The weights of the group, packed.
    pub(super) weights: &'p [f32],
    /// The field, or the input itself.
    pub(super) field: &'p [f32],
    /// Distance between the images in it.
    pub(super) image: usize,
    pub(super) end: End<'p>,
    /// Vectors of each image.
    pub(super) vectors: Range<usize>,
    pub(super) panels: Range<usize>,
    /// The outputs of the group, one block for each image: the rows of the panels, the columns of the vectors.
    pub(super) out: &'p mut [Block<'y>],
}

impl Job for Product<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<T: Tile>(mut self, tile: T) {
        if self.panels.is_empty() {
            return;
        }
        // By all panels, not by those at hand: how many these are depends on the threads, and the two ways round apart.
        let panels = self.sum.rows.div_ceil(panel_rows(self.sum.rows, T::ROWS));
        let few =
            panels <= IN_PLACE || self.sum.taps.is_empty() || panels <= FEW && !self.sum.halves;
        if few {
            self.in_place(tile)
        } else {
            self.packed(tile)
        }
    }
}

impl Product<'_, '_> {
    /// The vector at `i` of all images': image, vector, base.
    #[inline(always)]
    pub(super) fn vector(&self, i: usize) -> (usize, usize, usize) {
        let count = self.vectors.len();
        // Mostly there is one image, and a division takes as long as many products.
        let (image, i) = if self.out.len() == 1 {
            (0, i)
        } else {
            (i / count, i % count)
        };
        let vector = self.vectors.start + i;
        (
            image,
            vector,
            self.sum.vectors[vector].base + image * self.image,
        )
    }

    /// Where both halves of the vector at `i` begin.
    #[inline(always)]
    fn halves(&self, i: usize) -> [usize; 2] {
        let (image, vector, base) = self.vector(i);
        [base, self.sum.vectors[vector].middle + image * self.image]
    }

    #[inline(always)]
    fn panel_weights<T: Tile>(&self, panel: usize) -> &[f32] {
        let len = T::ROWS * self.sum.taps.len();
        &self.weights[panel * len..][..len]
    }

    #[inline(always)]
    fn in_place<T: Tile>(&mut self, tile: T) {
        let taps = Taps::new(&self.sum.taps);
        let each = panel_rows(self.sum.rows, T::ROWS);
        let count = self.vectors.len() * self.out.len();
        let width = (T::SUMS / each).clamp(1, 8);
        let mut out = [0.0; TILE];
        let mut bases = [0; 8];
        for first in (0..count).step_by(width) {
            let width = width.min(count - first);
            for (v, base) in bases[..width].iter_mut().enumerate() {
                *base = self.vector(first + v).2;
            }
            for p in self.panels.clone() {
                let rows = p * each..self.sum.rows.min((p + 1) * each);
                let (a, bases) = (self.panel_weights::<T>(p), &bases[..width]);
                tile.multiply_at(rows.len(), a, self.field, bases, taps, &mut out);
                for v in 0..width {
                    let sums = (&out[v * T::LANES..], width * T::LANES);
                    self.put(tile, first + v, rows.clone(), sums, (true, true));
                }
            }
        }
    }

    #[inline(always)]
    fn packed<T: Tile>(&mut self, tile: T) {
        let steps = self.sum.taps.len();
        let depth = even_parts(steps, DEPTH, 8);
        let each = panel_rows(self.sum.rows, T::ROWS);
        let count = self.vectors.len() * self.out.len();
        let (pair, size) = (T::COLS / T::LANES, depth * T::COLS);
        let chunk = (COLUMNS / size).max(1) * pair;
        // As many vectors in each chunk, whole tiles.
        let chunk = count.div_ceil(count.div_ceil(chunk)).next_multiple_of(pair);
        let mut scratch = Scratch::take(size * chunk / pair);
        let packed = scratch.floats();
        let mut out = [0.0; TILE];
        let mut bases = [0; 8];
        for first in (0..count).step_by(chunk) {
            let chunk = first..count.min(first + chunk);
            for p in (0..steps).step_by(depth) {
                let part = p..steps.min(p + depth);
                let k = part.len();
                let taps = Taps::new(&self.sum.taps[part.clone()]);
                for (v, to) in chunk
                    .clone()
                    .step_by(pair)
                    .zip(packed.chunks_exact_mut(size))
                {
                    let width = pair.min(chunk.end - v);
                    if self.sum.halves {
                        for (i, halves) in bases[..2 * width].chunks_exact_mut(2).enumerate() {
                            halves.copy_from_slice(&self.halves(v + i));
                        }
                        tile.pack_halves_at(self.field, &bases[..2 * width], taps, to, T::COLS);
                        continue;
                    }
                    for (i, base) in bases[..width].iter_mut().enumerate() {
                        *base = self.vector(v + i).2;
                    }
                    tile.pack_at(self.field, &bases[..width], taps, to, T::COLS);
                }
                // The image's last vector may hold next to nothing.
                let wide =
                    chunk.start..chunk.end - usize::from(self.narrow(chunk.end - 1).is_some());
                for i in self.panels.clone() {
                    let rows = i * each..self.sum.rows.min((i + 1) * each);
                    for (v, b) in wide.clone().step_by(pair).zip(packed.chunks_exact(size)) {
                        let width = pair.min(wide.end - v);
                        if k > SHORT {
                            (v..v + width).for_each(|v| self.prefetch(v, rows.clone()));
                        }
                        let a = &self.panel_weights::<T>(i)[p * T::ROWS..];
                        tile.multiply((rows.len(), width, k), a, b, T::COLS, &mut out);
                        for w in 0..width {
                            let sums = (&out[w * T::LANES..], T::COLS);
                            let ends = (p == 0, part.end == steps);
                            self.put(tile, v + w, rows.clone(), sums, ends);
                        }
                    }
                }
                if let Some(run) = self.narrow(chunk.end - 1) {
                    let at = chunk.len() - 1;
                    let b = &packed[at / pair * size + at % pair * T::LANES + run.lane..];
                    let ends = (p == 0, part.end == steps);
                    match run.len {
                        1 => self.columns::<T, 1>(tile, part, b, (chunk.end - 1, run), ends),
                        2 => self.columns::<T, 2>(tile, part, b, (chunk.end - 1, run), ends),
                        3 => self.columns::<T, 3>(tile, part, b, (chunk.end - 1, run), ends),
                        _ => self.columns::<T, NARROW>(tile, part, b, (chunk.end - 1, run), ends),
                    }
                }
            }
        }
    }

    /// The run of a vector that has few outputs, in neighbouring lanes.
    #[inline(always)]
    fn narrow(&self, vector: usize) -> Option<Run> {
        match self.sum.runs_of(self.vector(vector).1) {
            &[run] if run.len <= NARROW && self.panels.len() >= ABREAST => Some(run),
            _ => None,
        }
    }

    /// The sums of all panels for N neighbouring outputs: `b` holds their factors, COLS apart.
    #[inline(always)]
    fn columns<T: Tile, const N: usize>(
        &mut self,
        tile: T,
        part: Range<usize>,
        b: &[f32],
        (vector, run): (usize, Run),
        (first, last): (bool, bool),
    ) {
        let each = panel_rows(self.sum.rows, T::ROWS);
        let len = T::ROWS * self.sum.taps.len();
        let mut out = [[0.0; MOST_LANES]; N];
        for panel in self.panels.clone().step_by(ABREAST) {
            // Where there are fewer panels left, the last one is summed several times.
            let mut starts = [0; ABREAST];
            for (i, start) in starts.iter_mut().enumerate() {
                *start = (panel + i).min(self.panels.end - 1) * len;
            }
            let mut sums = [[tile.all(0.0); N]; ABREAST];
            for (p, b) in part.clone().zip(b.chunks(T::COLS)) {
                let b: &[f32; N] = b.first_chunk().expect("the factors of each step");
                for i in 0..ABREAST {
                    let a = &self.weights[starts[i] + p * T::ROWS..];
                    let a = if a.len() >= T::LANES {
                        tile.load(a)
                    } else {
                        tile.load_part(a)
                    };
                    for n in 0..N {
                        sums[i][n] = tile.scale_add(b[n], a, sums[i][n]);
                    }
                }
            }
            let panels = self.panels.len() - (panel - self.panels.start);
            for (i, sums) in sums.iter().enumerate().take(panels) {
                let rows = (panel + i) * each..self.sum.rows.min((panel + i + 1) * each);
                for n in 0..N {
                    tile.store(sums[n], &mut out[n]);
                }
                self.put_columns(vector, rows, run, &out, (first, last));
            }
        }
    }

    /// Brings sums of neighbouring outputs, one row to each lane, to their outputs.
    fn put_columns(
        &mut self,
        vector: usize,
        rows: Range<usize>,
        run: Run,
        sums: &[[f32; MOST_LANES]],
        (first, last): (bool, bool),
    ) {
        let (image, _, _) = self.vector(vector);
        let (end, step) = (self.end, self.sum.step);
        let block = &mut self.out[image];
        let residual = end.residual.filter(|_| last);
        let residual = residual.map(|(r, whole)| &r[image * whole..]);
        for (i, row) in rows.enumerate() {
            let finish = Finish {
                add: !first || end.add,
                bias: end.bias.filter(|_| last).map_or(0.0, |bias| bias[row]),
                slope: if last { end.slope } else { 1.0 },
            };
            let (above, start, ldc) = (block.rows.start, run.to - block.cols.start, block.ldc());
            let y = &mut block.row(row - above)[start..];
            for (n, sums) in sums.iter().enumerate() {
                let residual = residual.map_or(0.0, |r| r[row * ldc + run.to + n * step]);
                y[n * step] = finish.one(sums[i], y[n * step], residual);
            }
        }
    }

    #[inline(always)]
    pub(super) fn prefetch(&mut self, vector: usize, rows: Range<usize>) {
        let (image, vector, _) = self.vector(vector);
        let block = &mut self.out[image];
        let (first, start) = (block.rows.start, block.cols.start);
        for run in self.sum.runs_of(vector).iter().take(1) {
            for row in rows.clone() {
                block.prefetch(row - first, run.to - start);
            }
        }
    }

    /// Brings one vector of sums for each row to its outputs. `ends`: these are the first, the last of their steps.
    #[inline(always)]
    pub(super) fn put<T: Tile>(
        &mut self,
        tile: T,
        vector: usize,
        rows: Range<usize>,
        (sums, distance): (&[f32], usize),
        (first, last): (bool, bool),
    ) {
        let (image, vector, _) = self.vector(vector);
        let block = &mut self.out[image];
        let end = self.end;
        let residual = end.residual.filter(|_| last);
        let residual = residual.map(|(r, whole)| &r[image * whole..]);
        let runs = self.sum.runs_of(vector);
        if let (1, &[Run { lane: 0, len, to }]) = (self.sum.step, runs) {
            let bias = end.bias.filter(|_| last).map(|bias| &bias[rows.clone()]);
            let mut finish = Finish {
                add: !first || end.add,
                bias: 0.0,
                slope: if last { end.slope } else { 1.0 },
            };
            let (above, start, ldc) = (block.rows.start, to - block.cols.start, block.ldc());
            for (i, row) in rows.enumerate() {
                finish.bias = bias.map_or(0.0, |bias| bias[i]);
                let residual = residual.map(|r| &r[row * ldc + to..][..len]);
                let y = &mut block.row(row - above)[start..start + len];
                tile.finish(tile.load(&sums[i * distance..]), y, residual, finish);
            }
            return;
        }
        for &Run { lane, len, to } in runs {
            for (i, row) in rows.clone().enumerate() {
                let finish = Finish {
                    add: !first || end.add,
                    bias: end.bias.filter(|_| last).map_or(0.0, |bias| bias[row]),
                    slope: if last { end.slope } else { 1.0 },
                };
                let sums = &sums[i * distance..][..T::LANES];
                let (y, start) = (row - block.rows.start, to - block.cols.start);
                let residual = residual.map(|r| &r[row * block.ldc() + to..]);
                if self.sum.step == 1 {
                    let y = &mut block.row(y)[start..start + len];
                    tile.put(sums, lane, y, residual.map(|r| &r[..len]), finish);
                } else {
                    let y = block.row(y)[start..].iter_mut().step_by(self.sum.step);
                    for (i, y) in y.take(len).enumerate() {
                        let residual = residual.map_or(0.0, |r| r[i * self.sum.step]);
                        *y = finish.one(sums[lane + i], *y, residual);
                    }
                }
            }
        }
    }
}
