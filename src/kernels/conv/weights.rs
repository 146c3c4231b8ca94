//! The gradient of the weights: for each row of the output and each tap a long product of two runs of floats, the
//! gradient of the output laid out as the field of the input is.

use rayon::prelude::*;
use smallvec::SmallVec;

use super::{
    field::{Axis, Field},
    geometry::ConvShape,
    sum::{input_field, input_taps, lines},
};
use crate::kernels::{
    reduce::lane_sum,
    scratch::Scratch,
    tile::{Dots, Job, MOST, MOST_LANES, Path, TILE, Taps, Tile, turn},
};

/// Runs of images at most.
const RUNS: usize = 16;
/// Runs from which on threads have enough to do without cutting the rows.
const MANY: usize = 8;
/// Floats that all partial sums together may take (where one alone is larger, there is one).
const PARTIALS: usize = 1 << 23;
/// Floats of a row that are taken at a time: a tile's rows should stay in a core's first cache.
const STRIP: usize = 2048;
/// Floats of the longest vector.
const LANES: usize = 16;
/// Pixels that are taken at a time where their gradients are turned.
const PIXELS: usize = 512;
/// Rows from which on turning pays.
const TURNED: usize = 8;

/// How a batch is summed: a function of the convolution and the batch alone, and so are the bits.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    /// Images of a run; the last has what is left.
    images: usize,
    runs: usize,
    /// Parts of the rows of a group.
    parts: usize,
    input: Field,
    output: Field,
    taps: Vec<usize>,
    /// Where the lines of the output begin in the field of an image.
    lines: Vec<usize>,
}

impl Weights {
    pub(super) fn new(s: &ConvShape, batch: usize) -> Self {
        let runs = (PARTIALS / s.weights_len()).clamp(1, RUNS);
        let images = batch.div_ceil(runs).max(1);
        let runs = batch.div_ceil(images);
        let rows = s.out_channels / s.groups;
        let parts = if runs >= MANY {
            1
        } else {
            MANY.div_ceil(runs.max(1)).min(rows.div_ceil(8))
        };
        let axes = s.output.iter().map(|&o| Axis {
            source: o,
            stride: 1,
            residues: vec![0],
            pad: 0,
            len: o,
        });
        let pitch = input_field(s, 1).pitch;
        let mut output = Field::with_pitch(axes.collect(), &pitch, 1);
        output.lengthen(output.plane.next_multiple_of(LANES));
        // Images so small that several make one strip are taken together.
        let together = if rows < TURNED { STRIP } else { PIXELS };
        output.images = (together / output.plane).clamp(1, images);
        let input = input_field(s, output.images);
        let taps = input_taps(s, &input);
        let channel = input.channel();
        let channels = 0..s.in_channels / s.groups;
        let taps = channels
            .flat_map(|c| taps.iter().map(move |t| c * channel + t))
            .collect();
        let lines = lines(s, &input);
        Self {
            images,
            runs,
            parts,
            input,
            output,
            taps,
            lines,
        }
    }

    /// Floats of workspace.
    pub(super) fn workspace_len(&self, s: &ConvShape) -> usize {
        self.runs * (s.weights_len() + s.out_channels)
    }

    /// dw += Σ over images of dy · xᵀ and db += Σ of dy, see [`super::Conv::backward_weights`].
    pub(super) fn add(
        &self,
        path: Path,
        s: &ConvShape,
        (x, dy): (&[f32], &[f32]),
        (dw, mut db): (&mut [f32], Option<&mut [f32]>),
        workspace: &mut [f32],
    ) {
        let group = s.weights_len() / s.groups;
        let rows = s.out_channels / s.groups;
        let part = rows.div_ceil(self.parts);
        let partials = &mut workspace[..self.workspace_len(s)];
        let each = s.weights_len() + s.out_channels;
        let with_bias = db.is_some();
        x.par_chunks(self.images * s.in_len())
            .zip(dy.par_chunks(self.images * s.out_len()))
            .zip(partials.par_chunks_exact_mut(each))
            .with_max_len(1)
            .for_each(|((x, dy), partial)| {
                let (partial, bias) = partial.split_at_mut(s.weights_len());
                let partials = partial.chunks_exact_mut(group);
                for (g, (partial, bias)) in partials.zip(bias.chunks_exact_mut(rows)).enumerate() {
                    let job = |(i, (partial, bias)): (usize, (&mut [f32], &mut [f32]))| {
                        let rows = i * part..rows.min((i + 1) * part);
                        path.run(Run {
                            weights: self,
                            s,
                            x,
                            dy,
                            group: g,
                            rows,
                            partial,
                            bias: with_bias.then_some(bias),
                        });
                    };
                    if self.parts == 1 {
                        job((0, (partial, bias)));
                    } else {
                        let parts = partial.par_chunks_mut(part * s.col_rows());
                        let parts = parts.zip(bias.par_chunks_mut(part));
                        parts.enumerate().with_max_len(1).for_each(job);
                    }
                }
            });
        dw.par_chunks_mut(4096).enumerate().for_each(|(i, dw)| {
            for partial in partials.chunks_exact(each) {
                let partial = &partial[i * 4096..][..dw.len()];
                dw.iter_mut().zip(partial).for_each(|(d, p)| *d += *p);
            }
        });
        for partial in partials.chunks_exact(each) {
            let db = db.as_deref_mut().unwrap_or_default().iter_mut();
            let partial = &partial[s.weights_len()..];
            db.zip(partial).for_each(|(d, p)| *d += *p);
        }
    }
}

/// The sum over a run of images, of some rows of one group.
struct Run<'r> {
    weights: &'r Weights,
    s: &'r ConvShape,
    x: &'r [f32],
    dy: &'r [f32],
    group: usize,
    rows: std::ops::Range<usize>,
    /// rows × taps.
    partial: &'r mut [f32],
    /// The gradient's own sums, one for each row, where they are wanted.
    bias: Option<&'r mut [f32]>,
}

impl Job for Run<'_> {
    type Out = ();

    #[inline(always)]
    fn run<T: Tile>(self, tile: T) {
        let Run {
            weights,
            s,
            x,
            dy,
            group,
            rows,
            partial,
            mut bias,
        } = self;
        let (input, output) = (&weights.input, &weights.output);
        let (in_group, out_group) = (s.in_len() / s.groups, s.out_len() / s.groups);
        let (count, images) = (rows.len(), input.images);
        let channels = s.in_channels / s.groups;
        let turned = count >= TURNED;
        let mut input_room = Scratch::take(input.len(channels));
        let mut output_room = Scratch::take(if turned { 0 } else { output.len(count) });
        let mut sum_room = Scratch::take(if turned {
            turned_len::<T>(count, weights)
        } else {
            0
        });
        let xs = &mut input_room.floats()[..input.len(channels)];
        if let Some(bias) = &mut bias {
            bias.fill(0.0);
        }
        if turned {
            sum_room.floats()[..turned_len::<T>(count, weights)].fill(0.0);
        } else {
            partial.fill(0.0);
        }
        let together = x
            .chunks(images * s.in_len())
            .zip(dy.chunks(images * s.out_len()));
        for (x, dy) in together {
            let pairs = x.chunks_exact(s.in_len()).zip(dy.chunks_exact(s.out_len()));
            let filled = pairs.len();
            for (image, (x, dy)) in pairs.enumerate() {
                input.fill(image, &x[group * in_group..][..in_group], xs);
                if !turned {
                    let dy = &dy[group * out_group..][rows.start * s.out_spatial()..];
                    let dys = &mut output_room.floats()[..output.len(count)];
                    output.fill(image, &dy[..count * s.out_spatial()], dys);
                    let rows = dy.chunks_exact(s.out_spatial());
                    for (sum, dy) in bias.iter_mut().flat_map(|b| b.iter_mut()).zip(rows) {
                        *sum += lane_sum(dy, dy, &|dy, _| dy) as f32;
                    }
                }
            }
            if turned {
                let dy = &dy[group * out_group + rows.start * s.out_spatial()..];
                let gradients = Gradients {
                    dy,
                    apart: s.out_len(),
                    pixels: s.out_spatial(),
                    width: s.output[s.output.len() - 1],
                    rows: count,
                    images: filled,
                };
                let sums = (sum_room.floats(), bias.as_deref_mut());
                products(tile, weights, xs, &gradients, sums);
            } else {
                let dys = &output_room.floats()[..output.len(count)];
                dots(tile, weights, (xs, dys), (count, filled), partial);
            }
        }
        if turned {
            give_back(tile, weights.taps.len(), sum_room.floats(), partial);
        }
    }
}

/// Floats of the sums of `rows` rows where they are made by [`products`]: panels of COLS rows, tap by tap.
#[inline(always)]
fn turned_len<T: Tile>(rows: usize, weights: &Weights) -> usize {
    rows.next_multiple_of(T::COLS) * weights.taps.len()
}

/// The gradients of some rows of a group, images side by side.
struct Gradients<'g> {
    /// The first row of the first image.
    dy: &'g [f32],
    /// Distance between images.
    apart: usize,
    /// Floats of a row, and of a line.
    pixels: usize,
    width: usize,
    rows: usize,
    images: usize,
}

/// sums\[panel, tap, row\] += x · dyᵀ: a block of pixels of dy is turned, so that rows are neighbours, and x read where
/// it lies. bias\[row\] += Σ dy.
#[inline(always)]
fn products<T: Tile>(
    tile: T,
    weights: &Weights,
    xs: &[f32],
    g: &Gradients<'_>,
    (sums, mut bias): (&mut [f32], Option<&mut [f32]>),
) {
    let (all, count) = (weights.taps.len(), weights.lines.len());
    // Blocks of whole lines, of one or more images; or parts of one line.
    let lines = (PIXELS / g.width).clamp(1, count * g.images);
    let piece = g.width.min(PIXELS);
    let mut room = Scratch::take(lines * piece * T::COLS);
    let b = room.floats();
    let mut bases: SmallVec<[usize; 64]> = SmallVec::new();
    let mut out = [0.0; TILE];
    for first in (0..count * g.images).step_by(lines) {
        let block = first..(first + lines).min(count * g.images);
        for start in (0..g.width).step_by(piece) {
            let len = piece.min(g.width - start);
            bases.clear();
            bases.extend(block.clone().map(|line| {
                line / count * weights.input.plane + weights.lines[line % count] + start
            }));
            for (o, sums) in (0..g.rows)
                .step_by(T::COLS)
                .zip(sums.chunks_exact_mut(T::COLS * all))
            {
                let rows = T::COLS.min(g.rows - o);
                // Lines that follow each other in one image are one run of floats.
                let mut line = block.start;
                while line < block.end {
                    let last = if len < g.width {
                        line + 1
                    } else {
                        (line / count + 1) * count
                    };
                    let last = last.min(block.end);
                    let from =
                        line / count * g.apart + o * g.pixels + line % count * g.width + start;
                    let to = &mut b[(line - block.start) * len * T::COLS..];
                    let pixels = (last - line) * len;
                    turn(tile, &g.dy[from..], g.pixels, (rows, pixels), to, T::COLS);
                    line = last;
                }
                if let Some(bias) = &mut bias {
                    add_up(
                        tile,
                        &b[..block.len() * len * T::COLS],
                        &mut bias[o..][..rows],
                    );
                }
                let dims = (len, rows.div_ceil(T::LANES));
                for (t, taps) in weights.taps.chunks(T::ROWS).enumerate() {
                    tile.outer_at(dims, xs, &bases, Taps::new(taps), b, &mut out);
                    let sums = &mut sums[t * T::ROWS * T::COLS..][..taps.len() * T::COLS];
                    if dims.1 * T::LANES == T::COLS {
                        sums.iter_mut().zip(&out).for_each(|(s, o)| *s += o);
                    } else {
                        let rows = sums
                            .chunks_exact_mut(T::COLS)
                            .zip(out.chunks_exact(T::COLS));
                        for (sums, out) in rows {
                            let half = &mut sums[..T::LANES];
                            half.iter_mut().zip(out).for_each(|(s, o)| *s += o);
                        }
                    }
                }
            }
        }
    }
}

/// sums\[row\] += the turned gradients of each pixel.
#[inline(always)]
fn add_up<T: Tile>(tile: T, turned: &[f32], sums: &mut [f32]) {
    let mut flat = [0.0; MOST_LANES];
    for (at, sums) in (0..T::COLS)
        .step_by(T::LANES)
        .zip(sums.chunks_mut(T::LANES))
    {
        // Four sums at a time, since one would wait for itself.
        let mut parts = [tile.load(&[0.0; MOST_LANES]); 4];
        let fours = turned.chunks_exact(4 * T::COLS);
        for (part, pixel) in parts
            .iter_mut()
            .zip(fours.remainder().chunks_exact(T::COLS))
        {
            *part = tile.load(&pixel[at..]);
        }
        for four in fours {
            for (part, pixel) in parts.iter_mut().zip(four.chunks_exact(T::COLS)) {
                *part = tile.add(*part, tile.load(&pixel[at..]));
            }
        }
        let [a, b, c, d] = parts;
        tile.store(tile.add(tile.add(a, b), tile.add(c, d)), &mut flat);
        sums.iter_mut().zip(&flat).for_each(|(to, sum)| *to += *sum);
    }
}

/// The sums of [`products`] in the order of the weights.
#[inline(always)]
fn give_back<T: Tile>(_: T, taps: usize, sums: &[f32], partial: &mut [f32]) {
    let panels = partial
        .chunks_mut(T::COLS * taps)
        .zip(sums.chunks_exact(T::COLS * taps));
    for (rows, sums) in panels {
        for t in (0..taps).step_by(64) {
            for (o, row) in rows.chunks_exact_mut(taps).enumerate() {
                let sums = sums[t * T::COLS..].iter().skip(o).step_by(T::COLS);
                row[t..]
                    .iter_mut()
                    .take(64)
                    .zip(sums)
                    .for_each(|(to, sum)| *to = *sum);
            }
        }
    }
}

/// partial += dy · xᵀ for images side by side. What is read behind a row of x meets zeros behind the row of dy.
#[inline(always)]
fn dots<T: Tile>(
    tile: T,
    weights: &Weights,
    (xs, dys): (&[f32], &[f32]),
    (rows, images): (usize, usize),
    partial: &mut [f32],
) {
    let (all, len) = (weights.taps.len(), weights.output.plane);
    let strip = len.div_ceil(len.div_ceil(STRIP)).next_multiple_of(T::LANES);
    let height = rows.min(T::SUMS / 6).max(1);
    let width = (T::SUMS / height).min(MOST);
    let mut dims = Dots {
        rows: 0,
        lda: weights.output.channel(),
        len: 0,
        count: images,
        a_apart: len,
        b_apart: weights.input.plane,
    };
    let mut out = [0.0; TILE];
    for q in (0..len).step_by(strip) {
        dims.len = strip.min(len - q);
        for o in (0..rows).step_by(height) {
            dims.rows = height.min(rows - o);
            for (t, taps) in (0..all).step_by(width).zip(weights.taps.chunks(width)) {
                let dy = &dys[o * dims.lda + q..];
                tile.dot_at(dims, dy, &xs[q..], Taps::new(taps), &mut out);
                for (i, sums) in out.chunks_exact(taps.len()).take(dims.rows).enumerate() {
                    let to = &mut partial[(o + i) * all + t..][..taps.len()];
                    to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
                }
            }
        }
    }
}
