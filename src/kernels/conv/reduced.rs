//! Convolution in reduced precision, forward only: the same sums, of words that hold several products.

use rayon::prelude::*;

use super::{
    ConvShape, Epilogue, FILL, Residual, TASKS,
    product::{self, End, Product},
    sum::{Cut, Sum},
};
use crate::kernels::{
    gemm::Act,
    narrow::{Bf16, INT8_TERMS, Int8, Number, Panels, Reduction, Words, kept_words, with_kept},
    scratch::Scratch,
    tile::{Block, Job, Path, TILE, Tile, for_each_block},
};

/// Words of packed columns: they should stay in a core's second cache while the weights pass by.
const COLUMNS: usize = 1 << 16;
/// Outputs of a group from which its input, rounded and packed once, is used often enough.
const ROWS: usize = 4;

/// A convolution of any number of images with its plan and its weights.
pub struct Reduced {
    shape: ConvShape,
    path: Path,
    reduction: Reduction,
    sum: Sum,
    /// The taps of each word; those beyond the last step repeat it and meet weights of 0.
    taps: Vec<usize>,
}

/// Weights for [`Reduced::forward`].
#[derive(Clone, Debug)]
pub struct ReducedWeights(Words);

impl Reduced {
    /// Whether a reduced convolution of these sizes is of any use: not with few outputs in a group, where rounding and
    /// packing the input would cost more than is saved.
    pub fn suits(shape: &ConvShape) -> bool {
        shape.out_channels / shape.groups >= ROWS
    }

    /// The plan.
    ///
    /// # Errors
    /// A sentence, where sums of bytes might overflow.
    pub fn new(shape: &ConvShape, reduction: Reduction) -> Result<Self, String> {
        let terms = shape.col_rows();
        if matches!(reduction, Reduction::Int8 { .. }) && terms > INT8_TERMS {
            return Err(format!(
                "sums of {terms} products may overflow in int8, which takes {INT8_TERMS}"
            ));
        }
        Ok(Self::with_path(Path::best(), shape, reduction))
    }

    fn with_path(path: Path, shape: &ConvShape, reduction: Reduction) -> Self {
        let cut = Cut {
            images: 1,
            lanes: path.run(super::Lanes),
            parts: 1,
            halves: usize::MAX,
        };
        let vectors = Sum::forward(shape, cut).vectors.len();
        // The same parts for any number of threads: a few vectors each.
        let parts = (vectors / 8).clamp(1, 16);
        let sum = Sum::forward(shape, Cut { parts, ..cut });
        let mut taps = sum.taps.clone();
        let last = taps.last().copied().unwrap_or(0);
        let parts = match reduction {
            Reduction::Bf16 => Bf16::PARTS,
            Reduction::Int8 { .. } => Int8::PARTS,
        };
        taps.resize(taps.len().next_multiple_of(parts), last);
        Self {
            shape: shape.clone(),
            path,
            reduction,
            sum,
            taps,
        }
    }

    /// Rounds and packs the weights; the result does not depend on the size of the images.
    ///
    /// # Panics
    /// If their length does not fit.
    pub fn pack(&self, w: &[f32]) -> ReducedWeights {
        let len = self.shape.col_rows();
        assert_eq!(w.len(), self.shape.weights_len(), "the weights do not fit");
        let at = |row: usize, k: usize| w[row * len + k];
        ReducedWeights(match self.reduction {
            Reduction::Bf16 => self.panels().pack::<Bf16>(at),
            Reduction::Int8 { .. } => self.panels().pack::<Int8>(at),
        })
    }

    fn panels(&self) -> Panels {
        Panels {
            rows: self.sum.rows,
            groups: self.shape.groups,
            len: self.shape.col_rows(),
            height: self.path.rows(),
            each: product::panels(self.path, &self.sum).1,
        }
    }

    /// y = act(w ∗ x + bias + residual); `x` holds whole images, `y` as many outputs.
    ///
    /// # Panics
    /// If a length does not fit.
    pub fn forward(&self, x: &[f32], w: &ReducedWeights, end: Epilogue<'_>, y: &mut [f32]) {
        let (input, output) = (self.shape.in_len(), self.shape.out_len());
        let batch = x.len() / input;
        assert_eq!(x.len(), batch * input, "input is not whole images");
        assert_eq!(y.len(), batch * output, "output does not fit the input");
        if let Residual::Other(r) = end.residual {
            assert_eq!(r.len(), y.len(), "the residual does not fit");
        }
        match self.reduction {
            Reduction::Bf16 => self.run(Bf16, x, w, end, y),
            Reduction::Int8 { low, high } => self.run(Int8::new(low, high), x, w, end, y),
        }
    }

    fn run<N: Number>(
        &self,
        number: N,
        x: &[f32],
        w: &ReducedWeights,
        end: Epilogue<'_>,
        y: &mut [f32],
    ) {
        let (x_len, y_len) = (self.shape.in_len(), self.shape.out_len());
        let task = Task {
            plan: self,
            number,
            weights: &w.0,
            end,
        };
        let threads = rayon::current_num_threads();
        if threads > 1 && y.len() / y_len < TASKS * threads {
            for (i, (x, y)) in x.chunks(x_len).zip(y.chunks_mut(y_len)).enumerate() {
                task.image::<true>(i, x, y);
            }
        } else {
            y.par_chunks_mut(y_len)
                .zip(x.par_chunks(x_len))
                .with_max_len(1)
                .enumerate()
                .for_each(|(i, (y, x))| task.image::<false>(i, x, y));
        }
    }
}

/// What one pass is about.
struct Task<'t, N> {
    plan: &'t Reduced,
    number: N,
    weights: &'t Words,
    end: Epilogue<'t>,
}

impl<N: Number> Task<'_, N> {
    /// One image, by all threads or by this one.
    fn image<const SHARED: bool>(&self, image: usize, x: &[f32], y: &mut [f32]) {
        let (sum, shape) = (&self.plan.sum, &self.plan.shape);
        let (x_group, y_group) = (x.len() / shape.groups, y.len() / shape.groups);
        let len = sum
            .field
            .as_ref()
            .map_or(x_group, |field| field.len(sum.channels));
        let groups = x.chunks_exact(x_group).zip(y.chunks_exact_mut(y_group));
        with_kept(N::kept(), len, |parts| {
            for (group, (x, y)) in groups.enumerate() {
                self.fill::<SHARED>(x, parts);
                self.products::<SHARED>((image, group), parts, y);
            }
        });
    }

    /// Rounds the input of a group and lays it out.
    fn fill<const SHARED: bool>(&self, x: &[f32], parts: &mut [N::Part]) {
        let sum = &self.plan.sum;
        let plane = x.len() / sum.channels;
        let channel = sum.field.as_ref().map_or(plane, |field| field.channel());
        let (planes, behind) = parts.split_at_mut(channel * sum.channels);
        behind.fill(N::Part::default());
        let fill = |(to, x)| {
            self.plan.path.run(Fill {
                number: self.number,
                sum,
                x,
                to,
            });
        };
        if SHARED {
            planes
                .par_chunks_exact_mut(channel)
                .zip(x.par_chunks_exact(plane))
                .with_min_len((FILL / channel).max(1))
                .for_each(fill);
        } else {
            planes
                .chunks_exact_mut(channel)
                .zip(x.chunks_exact(plane))
                .for_each(fill);
        }
    }

    fn products<const SHARED: bool>(
        &self,
        (image, group): (usize, usize),
        parts: &[N::Part],
        y: &mut [f32],
    ) {
        let (plan, sum) = (self.plan, &self.plan.sum);
        let (panels, height) = product::panels(plan.path, sum);
        let (len, pixels, y_group) = (plan.panels().group::<N>(), y.len() / sum.rows, y.len());
        let rows = group * sum.rows..(group + 1) * sum.rows;
        let end = End {
            bias: self.end.bias.map(|bias| &bias[rows.clone()]),
            residual: match self.end.residual {
                Residual::Other(r) => {
                    Some((&r[image * plan.shape.out_len() + group * y_group..], 0))
                }
                _ => None,
            },
            add: matches!(self.end.residual, Residual::Output),
            slope: match self.end.act {
                Act::None => 1.0,
                Act::Relu(slope) => slope,
            },
        };
        let run = |vectors, panels, block: &mut Block<'_>| {
            plan.path.run(Tiles {
                task: self,
                words: &self.weights.words[group * len..][..len],
                first_row: rows.start,
                parts,
                product: Product {
                    sum,
                    weights: &[],
                    field: &[],
                    image: 0,
                    end,
                    vectors,
                    panels,
                    out: std::slice::from_mut(block),
                },
            });
        };
        if !SHARED {
            let mut block = Block::whole(y, sum.rows, pixels);
            return run(0..sum.vectors.len(), 0..panels, &mut block);
        }
        let tasks = TASKS * rayon::current_num_threads();
        let cuts = tasks.div_ceil(sum.parts.len()).min(panels.div_ceil(4));
        let each = panels.div_ceil(cuts);
        let size = (each * height, sum.part);
        for_each_block(y, (sum.rows, pixels, pixels), size, |mut block| {
            let first = block.rows.start / height;
            let vectors = sum.vectors_of(block.cols.start / sum.part);
            run(vectors, first..panels.min(first + each), &mut block);
        });
    }
}

/// Rounds and lays out one channel.
struct Fill<'f, N: Number> {
    number: N,
    sum: &'f Sum,
    x: &'f [f32],
    to: &'f mut [N::Part],
}

impl<N: Number> Job for Fill<'_, N> {
    type Out = ();

    #[inline(always)]
    fn run<T: Tile>(self, _: T) {
        let round = |x: &[f32], to: &mut [N::Part]| {
            let pairs = to.iter_mut().zip(x);
            pairs.for_each(|(to, x)| *to = self.number.input(*x));
        };
        match &self.sum.field {
            None => round(self.x, self.to),
            Some(layout) => {
                let mut scratch = Scratch::take(self.to.len());
                let field = &mut scratch.floats()[..self.to.len()];
                layout.fill(0, self.x, field);
                round(field, self.to);
            }
        }
    }
}

/// Some vectors of some panels of one group.
struct Tiles<'t, 'y, N: Number> {
    task: &'t Task<'t, N>,
    /// The weights of the group.
    words: &'t [u32],
    first_row: usize,
    /// The field, or the input itself, rounded.
    parts: &'t [N::Part],
    /// What knows where outputs go.
    product: Product<'t, 'y>,
}

impl<N: Number> Job for Tiles<'_, '_, N> {
    type Out = ();

    #[inline(always)]
    fn run<T: Tile>(mut self, tile: T) {
        let taps = &self.task.plan.taps;
        let steps = taps.len() / N::PARTS;
        let count = self.product.vectors.len();
        if count == 0 || self.product.panels.is_empty() {
            return;
        }
        let (pair, size) = (T::COLS / T::LANES, steps * T::COLS);
        let chunk = (COLUMNS / size.max(1)).max(1) * pair;
        // As many vectors in each chunk, whole tiles.
        let chunk = count.div_ceil(count.div_ceil(chunk)).next_multiple_of(pair);
        with_kept(kept_words(), size * chunk / pair, |columns| {
            for first in (0..count).step_by(chunk) {
                let chunk = first..count.min(first + chunk);
                for (i, v) in chunk.clone().step_by(pair).enumerate() {
                    let width = pair.min(chunk.end - v);
                    let to = &mut columns[i * size..][..size];
                    for (v, first) in (v..v + width).zip((0..).step_by(T::LANES)) {
                        let base = self.product.vector(v).2;
                        for (taps, to) in taps
                            .chunks_exact(N::PARTS)
                            .zip(to.chunks_exact_mut(T::COLS))
                        {
                            N::join(self.parts, base, taps, &mut to[first..first + T::LANES]);
                        }
                    }
                }
                for panel in self.product.panels.clone() {
                    for (i, v) in chunk.clone().step_by(pair).enumerate() {
                        let width = pair.min(chunk.end - v);
                        let columns = &columns[i * size..][..size];
                        self.tile(tile, panel, (v, width), columns);
                    }
                }
            }
        });
    }
}

impl<N: Number> Tiles<'_, '_, N> {
    /// One panel of weights against one or two vectors of columns.
    #[inline(always)]
    fn tile<T: Tile>(
        &mut self,
        tile: T,
        panel: usize,
        (first, width): (usize, usize),
        columns: &[u32],
    ) {
        let sum = self.product.sum;
        let each = product::panel_rows(sum.rows, T::ROWS);
        let rows = panel * each..sum.rows.min((panel + 1) * each);
        let len = columns.len() / T::COLS * T::ROWS;
        let weights = &self.words[panel * len..][..len];
        let (mut sums, mut values) = ([0; TILE], [0.0; TILE]);
        let words = (weights, columns);
        (first..first + width).for_each(|v| self.product.prefetch(v, rows.clone()));
        tile.multiply_words(N::WEIGHTS_A, (rows.len(), width), words, &mut sums);
        let of = sums
            .chunks_exact(T::COLS)
            .zip(values.chunks_exact_mut(T::COLS));
        for ((sums, values), row) in of.zip(rows.clone()) {
            let row = self.task.weights.rows[self.first_row + row];
            let pairs = sums.iter().zip(values);
            pairs.for_each(|(&sum, y)| *y = self.task.number.output(sum, row));
        }
        for w in 0..width {
            let sums = (&values[w * T::LANES..], T::COLS);
            self.product
                .put(tile, first + w, rows.clone(), sums, (true, true));
        }
    }
}

#[cfg(test)]
mod tests;
