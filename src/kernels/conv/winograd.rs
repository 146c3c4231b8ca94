//! 3×3 filters by Winograd's minimal filtering, for nets that only run forward: m×m outputs from (m+2)×(m+2) products
//! instead of 9 m², for m = 4 and m = 2 (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015).
//!
//! y = Aᵀ \[(G g Gᵀ) ⊙ (Bᵀ d B)\] A for each tile: d the pixels it sees, g the filter. The middle is one matrix product
//! for each of the (m+2)² elements, over the channels, with the tiles side by side. Results differ from the direct sum
//! by rounding, some 1e-6 of the largest term for m = 2 and 1e-5 for m = 4.

use std::ops::Range;

use rayon::prelude::*;
use smallvec::SmallVec;

use super::{
    geometry::ConvShape,
    product::{End, panel_rows},
};
use crate::kernels::{
    scratch::Scratch,
    tile::{Block, Finish, Job, Path, TILE, Tile},
};

/// Tiles that are transformed together.
const LANES: usize = 16;
/// Tiles of a block at most, and at least where there are as many.
const TILES: (usize, usize) = (112, 32);
/// Floats of a block's transformed inputs and outputs to aim at, for each element.
const FLOATS: usize = 1 << 16;
/// What the transforms cost beside the products, in parts of them.
const TRANSFORMS: f32 = 1.3;
/// Channels below which the transforms weigh more.
const CHANNELS: usize = 16;

/// A convolution by tiles of m×m outputs.
#[derive(Clone, Debug)]
pub(super) struct Winograd {
    m: usize,
    channels: usize,
    rows: usize,
    input: (usize, usize),
    output: (usize, usize),
    pad: (usize, usize),
    /// Tiles down and across.
    tiles: (usize, usize),
    /// Rows of tiles that make a block.
    pub(super) lines: usize,
}

impl Winograd {
    /// The tile size that should be faster than the direct sums, whose vectors of outputs are counted for one image.
    pub(super) fn choose(s: &ConvShape, batch: usize, vectors: usize) -> Option<usize> {
        if !Self::fits(s) || s.col_rows() / 9 < CHANNELS || s.out_channels / s.groups < CHANNELS {
            return None;
        }
        let direct = (batch * vectors * 9) as f32;
        let cost = |m: usize| {
            let plan = Self::new(s, m);
            let elements = ((m + 2) * (m + 2)) as f32;
            let tiles = (batch * plan.tiles.0 * plan.tiles.1).div_ceil(LANES) as f32;
            // The weights have to come from memory once, as long as two vectors take.
            (elements * tiles * TRANSFORMS).max(2.0 * elements)
        };
        let best = [4, 2]
            .into_iter()
            .min_by(|&a, &b| cost(a).total_cmp(&cost(b)))?;
        (cost(best) < direct).then_some(best)
    }

    fn fits(s: &ConvShape) -> bool {
        let all = |dims: &[usize], value| dims.iter().all(|&d| d == value);
        s.kernel.len() == 2 && all(&s.kernel, 3) && all(&s.stride, 1) && all(&s.dilation, 1)
    }

    pub(super) fn new(s: &ConvShape, m: usize) -> Self {
        assert!(Self::fits(s) && (m == 2 || m == 4));
        let (channels, rows) = (s.in_channels / s.groups, s.out_channels / s.groups);
        let tiles = (s.output[0].div_ceil(m), s.output[1].div_ceil(m));
        let most = (FLOATS / (channels + rows))
            .clamp(TILES.1, TILES.0)
            .max(tiles.1);
        // As many lines as fill their vectors best.
        let filled = |lines: usize| {
            let count = lines * tiles.1;
            count as f32 / count.next_multiple_of(LANES) as f32
        };
        let lines = (1..=most / tiles.1).rev();
        let lines = lines.max_by(|&a, &b| filled(a).total_cmp(&filled(b)));
        Winograd {
            m,
            channels,
            rows,
            input: (s.input[0], s.input[1]),
            output: (s.output[0], s.output[1]),
            pad: (s.pad[0], s.pad[1]),
            tiles,
            lines: lines.unwrap_or(1),
        }
    }

    /// Outputs of a block of lines in one channel, all but the last.
    pub(super) fn outputs(&self) -> usize {
        self.lines * self.m * self.output.1
    }

    /// Lines of an image.
    pub(super) fn image_lines(&self) -> usize {
        self.tiles.0
    }

    fn elements(&self) -> usize {
        (self.m + 2) * (self.m + 2)
    }

    /// Floats of the packed weights of one group.
    pub(super) fn packed_len(&self, path: Path) -> usize {
        let height = path.rows();
        self.elements() * self.rows.div_ceil(height) * height * self.channels
    }

    /// Packs the transformed weights of one group: for each element panels of rows, channel by channel.
    pub(super) fn pack(&self, path: Path, w: &[f32], to: &mut [f32]) {
        let height = path.rows();
        let each = panel_rows(self.rows, height);
        let panels = self.rows.div_ceil(each);
        let panel = height * self.channels;
        // By panels, so that threads share them; the element is the outer index of what they write.
        let mut parts: Vec<Vec<&mut [f32]>> = (0..panels).map(|_| Vec::new()).collect();
        let all = self.rows.div_ceil(height) * panel;
        for element in to.chunks_exact_mut(all) {
            for (part, to) in parts.iter_mut().zip(element.chunks_exact_mut(panel)) {
                part.push(to);
            }
        }
        parts.into_par_iter().enumerate().for_each(|(i, mut to)| {
            for (lane, row) in (i * each..self.rows.min((i + 1) * each)).enumerate() {
                for c in 0..self.channels {
                    let filter = &w[(row * self.channels + c) * 9..][..9];
                    let u = if self.m == 4 {
                        filter_elements(filter, &G4)
                    } else {
                        filter_elements(filter, &G2)
                    };
                    for (to, u) in to.iter_mut().zip(u) {
                        to[c * height + lane] = u;
                    }
                }
            }
        });
    }
}

/// The points of m = 4 are 0, ±A, ±B and infinity: A = 1/√2 and B = √2, near 1 from both sides, lose the fewest bits.
const A: f32 = std::f32::consts::FRAC_1_SQRT_2;
const B: f32 = std::f32::consts::SQRT_2;

/// Powers of a point over the product of its distances to the others.
const G4: [[f32; 3]; 6] = [
    [1.0, 0.0, 0.0],
    [-2.0 / 3.0, -2.0 / 3.0 * A, -1.0 / 3.0],
    [-2.0 / 3.0, 2.0 / 3.0 * A, -1.0 / 3.0],
    [1.0 / 6.0, B / 6.0, 1.0 / 3.0],
    [1.0 / 6.0, -B / 6.0, 1.0 / 3.0],
    [0.0, 0.0, 1.0],
];
const G2: [[f32; 3]; 4] = [
    [1.0, 0.0, 0.0],
    [0.5, 0.5, 0.5],
    [0.5, -0.5, 0.5],
    [0.0, 0.0, 1.0],
];

/// G g Gᵀ, row by row.
fn filter_elements(g: &[f32], by: &[[f32; 3]]) -> SmallVec<[f32; 36]> {
    let mut all = SmallVec::new();
    for left in by {
        let row: [f32; 3] = std::array::from_fn(|j| (0..3).map(|i| left[i] * g[i * 3 + j]).sum());
        for right in by {
            all.push((0..3).map(|j| row[j] * right[j]).sum());
        }
    }
    all
}

/// Some lines of tiles and some panels of rows, on the calling thread.
pub(super) struct Tiles<'t, 'y> {
    pub(super) plan: &'t Winograd,
    /// The weights of the group, packed.
    pub(super) weights: &'t [f32],
    /// The channels of the group in the first image, and how far apart the images are.
    pub(super) x: (&'t [f32], usize),
    pub(super) end: End<'t>,
    /// Lines of tiles, counted through all images.
    pub(super) lines: Range<usize>,
    pub(super) panels: Range<usize>,
    /// The outputs of the group, one block for each image: the rows of the panels, the columns of the lines.
    pub(super) out: &'t mut [Block<'y>],
}

impl Job for Tiles<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<T: Tile>(mut self, tile: T) {
        let (lines, step) = (self.lines.clone(), self.plan.lines);
        for first in lines.clone().step_by(step) {
            let block = first..lines.end.min(first + step);
            if self.plan.m == 4 {
                self.block::<T, 4, 6, 36>(tile, block);
            } else {
                self.block::<T, 2, 4, 16>(tile, block);
            }
        }
    }
}

impl Tiles<'_, '_> {
    #[inline(always)]
    fn block<T: Tile, const M: usize, const N: usize, const E: usize>(
        &mut self,
        tile: T,
        lines: Range<usize>,
    ) where
        Tiled: Transform<M, N>,
    {
        let p = self.plan;
        let tiles = lines.len() * p.tiles.1;
        let vectors = tiles.div_ceil(LANES);
        let columns = (vectors * LANES).next_multiple_of(T::COLS);
        let each = panel_rows(p.rows, T::ROWS);
        let first_row = self.panels.start * each;
        let rows = p.rows.min(self.panels.end * each) - first_row;
        // One plane for each element: all tiles side by side, with room for whole vectors.
        let plane = (tiles + 2 * LANES).next_multiple_of(LANES);
        let line = (p.tiles.1 + 1 + LANES) * M + LANES;
        let (planes, inputs) = (E * plane + line, E * p.channels * columns);
        let mut room = Scratch::take(planes + inputs + E * rows * columns);
        let (planes, rest) = room.floats().split_at_mut(planes);
        let (planes, line) = planes.split_at_mut(E * plane);
        let (inputs, sums) = rest.split_at_mut(inputs);
        let zero = tile.load(&[0.0; LANES]);
        for c in 0..p.channels {
            self.gather::<T, M, N>(tile, c, lines.clone(), (plane, planes), line);
            for at in (0..vectors * LANES).step_by(T::LANES) {
                // Loops, not closures: only what is inlined is compiled for the instruction set.
                let mut d = [[zero; N]; N];
                for (i, row) in d.iter_mut().enumerate() {
                    for (j, d) in row.iter_mut().enumerate() {
                        *d = tile.load(&planes[(i * N + j) * plane + at..]);
                    }
                    *row = Tiled::before(tile, *row);
                }
                let place = at / T::COLS * T::COLS * p.channels + c * T::COLS + at % T::COLS;
                for j in 0..N {
                    let mut column = [zero; N];
                    for (to, row) in column.iter_mut().zip(&d) {
                        *to = row[j];
                    }
                    let column = Tiled::before(tile, column);
                    for (i, v) in column.iter().enumerate() {
                        let e = i * N + j;
                        tile.store(*v, &mut inputs[e * columns * p.channels + place..]);
                    }
                }
            }
        }
        let panel = T::ROWS * p.channels;
        let all = p.rows.div_ceil(T::ROWS) * panel;
        let mut out = [0.0; TILE];
        for e in 0..E {
            for i in self.panels.clone() {
                let a = &self.weights[e * all + i * panel..][..panel];
                let height = each.min(p.rows - i * each);
                for col in (0..columns).step_by(T::COLS) {
                    let left = (vectors * LANES - col).min(T::COLS).div_ceil(T::LANES);
                    let b = &inputs[(e * columns + col) * p.channels..][..T::COLS * p.channels];
                    tile.multiply((height, left, p.channels), a, b, T::COLS, &mut out);
                    for (r, out) in out.chunks_exact(T::COLS).take(height).enumerate() {
                        let row = i * each + r - first_row;
                        let to = &mut sums[(row * E + e) * columns + col..][..T::COLS];
                        to.copy_from_slice(out);
                    }
                }
            }
        }
        for row in 0..rows {
            let sums = &sums[row * E * columns..][..E * columns];
            for at in (0..tiles).step_by(T::LANES) {
                let mut half = [[zero; M]; N];
                for (i, half) in half.iter_mut().enumerate() {
                    let mut row = [zero; N];
                    for (j, s) in row.iter_mut().enumerate() {
                        *s = tile.load(&sums[(i * N + j) * columns + at..]);
                    }
                    *half = Tiled::after(tile, row);
                }
                let mut y = [[zero; M]; M];
                for j in 0..M {
                    let mut column = [zero; N];
                    for (to, row) in column.iter_mut().zip(&half) {
                        *to = row[j];
                    }
                    let column = Tiled::after(tile, column);
                    for (y, v) in y.iter_mut().zip(&column) {
                        y[j] = *v;
                    }
                }
                let range = at..tiles.min(at + T::LANES);
                let mut flat = [0.0; 4 * LANES + LANES];
                for (i, y) in y.iter().enumerate() {
                    tile.join::<M>(*y, &mut flat);
                    let place = (first_row + row, i);
                    self.scatter::<T, M>(tile, place, lines.start, range.clone(), &flat);
                }
            }
        }
    }

    /// planes\[element (i, j)\]\[tile\] = the pixel at (m·down + i, m·across + j) less the padding, 0 outside. `line` is
    /// room for one line of pixels with its padding. Whole vectors are written: each line's last reaches into the next.
    #[inline(always)]
    fn gather<T: Tile, const M: usize, const N: usize>(
        &self,
        tile: T,
        channel: usize,
        lines: Range<usize>,
        (plane, planes): (usize, &mut [f32]),
        line: &mut [f32],
    ) {
        let p = self.plan;
        let ((height, width), across) = (p.input, p.tiles.1);
        let seen = width.min((across * M + 2).saturating_sub(p.pad.1));
        line.fill(0.0);
        for (at, index) in lines.enumerate() {
            let (image, down) = (index / p.tiles.0, index % p.tiles.0);
            let x = &self.x.0[image * self.x.1 + channel * height * width..][..height * width];
            for i in 0..N {
                let row = (down * M + i).checked_sub(p.pad.0).filter(|&y| y < height);
                match row {
                    Some(y) => line[p.pad.1..][..seen].copy_from_slice(&x[y * width..][..seen]),
                    None => line[p.pad.1..][..seen].fill(0.0),
                }
                for t in (0..across).step_by(T::LANES) {
                    let parts: [T::V; M] = tile.split(&line[t * M..]);
                    let next: [T::V; M] = tile.split(&line[(t + 1) * M..]);
                    for j in 0..N {
                        let part = if j < M { parts[j] } else { next[j - M] };
                        tile.store(part, &mut planes[(i * N + j) * plane + at * across + t..]);
                    }
                }
            }
        }
    }

    /// Brings line `i` of the outputs of some tiles of a block that starts at line `first` to their places.
    #[inline(always)]
    fn scatter<T: Tile, const M: usize>(
        &mut self,
        tile: T,
        (row, i): (usize, usize),
        first: usize,
        tiles: Range<usize>,
        flat: &[f32],
    ) {
        let p = self.plan;
        let (height, width) = p.output;
        let across = p.tiles.1;
        let finish = Finish {
            add: self.end.add,
            bias: self.end.bias.map_or(0.0, |bias| bias[row]),
            slope: self.end.slope,
        };
        // One run of tiles for each line.
        let mut at = tiles.start;
        while at < tiles.end {
            let (line, x) = (first + at / across, at % across);
            let end = tiles.end.min(at + across - x);
            let (image, down) = (line / p.tiles.0, line % p.tiles.0 * M + i);
            let from = (at - tiles.start) * M;
            let len = ((end - at) * M).min(width - x * M);
            at = end;
            if down >= height {
                continue;
            }
            let to = down * width + x * M;
            let block = &mut self.out[image];
            let whole = block.ldc();
            let (top, left) = (block.rows.start, block.cols.start);
            let residual = self
                .end
                .residual
                .map(|(r, apart)| &r[image * apart + row * whole + to..][..len]);
            let out = &mut block.row(row - top)[to - left..][..len];
            for (k, out) in out.chunks_mut(T::LANES).enumerate() {
                let k = k * T::LANES;
                let residual = residual.map(|r| &r[k..][..out.len()]);
                tile.put(&flat[from + k..][..T::LANES], 0, out, residual, finish);
            }
        }
    }
}

/// The transforms of m×m outputs, on one axis.
struct Tiled;

trait Transform<const M: usize, const N: usize> {
    /// Bᵀ.
    fn before<T: Tile>(t: T, d: [T::V; N]) -> [T::V; N];

    /// Aᵀ.
    fn after<T: Tile>(t: T, s: [T::V; N]) -> [T::V; M];
}

impl Transform<4, 6> for Tiled {
    #[inline(always)]
    fn before<T: Tile>(t: T, [a, b, c, d, e, f]: [T::V; 6]) -> [T::V; 6] {
        let (even, odd) = (t.scale_add(-2.0, c, e), t.scale_add(-2.0, b, d));
        let (near, far) = (t.scale_add(-0.5, c, e), t.scale_add(-0.5, b, d));
        [
            t.scale_add(-2.5, c, t.add(a, e)),
            t.scale_add(A, odd, even),
            t.scale_add(-A, odd, even),
            t.scale_add(B, far, near),
            t.scale_add(-B, far, near),
            t.scale_add(-2.5, d, t.add(b, f)),
        ]
    }

    #[inline(always)]
    fn after<T: Tile>(t: T, [a, b, c, d, e, f]: [T::V; 6]) -> [T::V; 4] {
        let (sum, less) = (t.add(b, c), t.sub(b, c));
        let (more, fewer) = (t.add(d, e), t.sub(d, e));
        let (zero, half) = (t.load(&[0.0; LANES]), 0.5);
        [
            t.add(t.add(a, sum), more),
            t.scale_add(B, fewer, t.scale_add(A, less, zero)),
            t.scale_add(2.0, more, t.scale_add(half, sum, zero)),
            t.scale_add(2.0 * B, fewer, t.scale_add(half * A, less, f)),
        ]
    }
}

impl Transform<2, 4> for Tiled {
    #[inline(always)]
    fn before<T: Tile>(t: T, [a, b, c, d]: [T::V; 4]) -> [T::V; 4] {
        [t.sub(a, c), t.add(b, c), t.sub(c, b), t.sub(b, d)]
    }

    #[inline(always)]
    fn after<T: Tile>(t: T, [a, b, c, d]: [T::V; 4]) -> [T::V; 2] {
        [t.add(t.add(a, b), c), t.sub(t.sub(b, c), d)]
    }
}
