//! Convolution of a batch, on any number of spatial axes, with groups, stride, padding and dilation.
//!
//! Per group, with w a matrix of one row for each output channel and one column for each input channel and tap:
//!
//! - y\[o, p\] = bias\[o\] + Σ over taps of w\[o, tap\] · x\[tap of p\]
//! - ∂x\[i, q\] = Σ over outputs that see q of w · ∂y
//! - ∂w\[o, tap\] += Σ over images and p of ∂y\[o, p\] · x\[tap of p\]
//! - ∂bias += Σ over images and pixels of ∂y
//!
//! The first two are one kind of sum (`sum`) over an input laid out with its padding (`field`), computed tile by tile
//! (`product`); the third is a long product of runs (`weights`). No matrix of columns is ever made. Each output is one
//! sum in a fixed order, and the gradient of the weights is cut by the sizes alone, so that threads change no bit.

mod depthwise;
mod field;
mod geometry;
#[cfg(test)]
pub(crate) mod plain;
mod product;
mod reduced;
mod sum;
mod weights;
mod winograd;

use std::sync::OnceLock;

use rayon::prelude::*;
use smallvec::SmallVec;

use depthwise::Three;
use field::Field;
pub use geometry::{ConvParams, ConvShape, Dims};
use product::{End, Product};
pub use reduced::{Reduced, ReducedWeights};
use sum::{Cut, Sum};
use weights::Weights;
use winograd::{Tiles, Winograd};

use super::{
    gemm::Act,
    reduce,
    scratch::Scratch,
    tile::{Block, Job, Path, Tile, for_each_block},
};

/// Tasks for each thread to aim at.
const TASKS: usize = 2;
/// Floats below which a thread's help to lay out an image costs more than it brings.
const FILL: usize = 1 << 14;

/// A convolution of a batch with its plan: made when the sizes are known, used for every pass.
pub struct Conv {
    shape: ConvShape,
    batch: usize,
    path: Path,
    cut: Cut,
    /// Threads share each image, and a field of it in the workspace.
    shared: bool,
    forward: Sum,
    /// Vectors of outputs of an image.
    vectors: usize,
    winograd: OnceLock<Winograd>,
    backward: OnceLock<Vec<Sum>>,
    weights: OnceLock<Weights>,
}

/// Weights in the order, and of the kind, in which the forward pass reads them.
#[derive(Clone, Debug)]
pub struct Packed {
    weights: Vec<f32>,
    /// Transformed, for tiles of this size.
    winograd: Option<usize>,
}

/// The weights of a forward pass.
#[derive(Clone, Copy, Debug)]
pub enum Filters<'w> {
    /// As the layer has them.
    Plain(&'w [f32]),
    /// From [`Conv::pack`].
    Packed(&'w Packed),
}

/// What is done to each output after its sum: y = act(sum + bias + residual).
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'e> {
    /// One value for each output channel.
    pub bias: Option<&'e [f32]>,
    /// What is added.
    pub residual: Residual<'e>,
    /// What is applied.
    pub act: Act,
}

/// A second term of the outputs.
#[derive(Clone, Copy, Debug, Default)]
pub enum Residual<'e> {
    /// Nothing.
    #[default]
    None,
    /// As many floats as the outputs.
    Other(&'e [f32]),
    /// What the outputs hold before.
    Output,
}

impl Conv {
    /// The plan for a batch of so many images.
    pub fn new(shape: &ConvShape, batch: usize) -> Self {
        Self::with_path(Path::best(), shape, batch, rayon::current_num_threads())
    }

    fn with_path(path: Path, shape: &ConvShape, batch: usize, threads: usize) -> Self {
        let lanes = path.run(Lanes);
        let one = Cut {
            images: 1,
            lanes,
            parts: 1,
            halves: product::packed_rows(path),
        };
        let vectors = Sum::forward(shape, one).vectors.len();
        let shared = threads > 1 && batch < TASKS * threads;
        // Where images are so small that their last vectors are mostly empty, several fill theirs together.
        let images = (16 / vectors.max(1)).min(batch / (TASKS * threads)).max(1);
        let images = if shape.groups == 1 { images } else { 1 };
        let parts = if shared {
            (TASKS * threads).min(vectors / 8).max(1)
        } else {
            1
        };
        let cut = Cut {
            images,
            parts,
            ..one
        };
        Self {
            forward: Sum::forward(shape, cut),
            vectors,
            winograd: OnceLock::new(),
            shape: shape.clone(),
            batch,
            path,
            cut,
            shared,
            backward: OnceLock::new(),
            weights: OnceLock::new(),
        }
    }

    /// The sizes.
    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }

    /// Images that the plan is for.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Floats of workspace that [`Conv::forward`] needs; less where the weights are packed.
    pub fn forward_workspace_len(&self, packed: bool) -> usize {
        let weights = if packed {
            0
        } else {
            self.packed_len(&self.forward)
        };
        weights + self.shared_field_len(&self.forward)
    }

    /// Floats of workspace that [`Conv::backward_data`] needs.
    pub fn data_workspace_len(&self) -> usize {
        let sums = self.backward_sums().iter();
        let weights = sums.clone().map(|sum| self.packed_len(sum)).max();
        let field = sums.map(|sum| self.shared_field_len(sum)).max();
        weights.unwrap_or(0) + field.unwrap_or(0)
    }

    /// Floats of workspace that any pass needs.
    pub fn workspace_len(&self) -> usize {
        let weights = self.weights_plan().workspace_len(&self.shape);
        self.forward_workspace_len(false)
            .max(self.data_workspace_len())
            .max(weights)
    }

    /// Packs the weights for [`Conv::forward`], transformed where that should be faster; they serve plans for any other
    /// size of the images too.
    ///
    /// # Panics
    /// If their length does not fit.
    pub fn pack(&self, w: &[f32]) -> Packed {
        self.pack_for(w, Winograd::choose(&self.shape, self.batch, self.vectors))
    }

    fn pack_for(&self, w: &[f32], winograd: Option<usize>) -> Packed {
        let s = &self.shape;
        assert_eq!(w.len(), s.weights_len(), "the weights do not fit");
        let mut weights = Vec::new();
        if let Some(m) = winograd {
            let plan = Winograd::new(s, m);
            let len = plan.packed_len(self.path);
            weights.resize(s.groups * len, 0.0);
            for (w, to) in w
                .chunks_exact(s.weights_len() / s.groups)
                .zip(weights.chunks_exact_mut(len))
            {
                plan.pack(self.path, w, to);
            }
        } else {
            weights.resize(self.packed_len(&self.forward), 0.0);
            self.pack_into(&self.forward, w, &mut weights);
        }
        Packed { weights, winograd }
    }

    /// y = act(w ∗ x + bias + residual); `x` holds whole images, `y` as many outputs.
    ///
    /// # Panics
    /// If a length does not fit.
    pub fn forward(
        &self,
        x: &[f32],
        w: Filters<'_>,
        end: Epilogue<'_>,
        y: &mut [f32],
        workspace: &mut [f32],
    ) {
        let sum = &self.forward;
        let batch = self.check(x, y);
        if let Residual::Other(r) = end.residual {
            assert_eq!(
                r.len(),
                batch * self.shape.out_len(),
                "the residual does not fit"
            );
        }
        let (packed, workspace) = match w {
            Filters::Packed(packed) => {
                if let Some(m) = packed.winograd {
                    return self.forward_tiles(m, &packed.weights, (x, y), end);
                }
                (&packed.weights[..], workspace)
            }
            Filters::Plain(w) => {
                let (packed, rest) = workspace.split_at_mut(self.packed_len(sum));
                self.pack_into(sum, w, packed);
                (&*packed, rest)
            }
        };
        let lens = (self.shape.in_len(), self.shape.out_len());
        self.run(sum, packed, (x, y), lens, end, workspace);
    }

    /// [`Conv::forward`] by transformed tiles.
    fn forward_tiles(
        &self,
        m: usize,
        packed: &[f32],
        (x, y): (&[f32], &mut [f32]),
        end: Epilogue<'_>,
    ) {
        let s = &self.shape;
        let plan = self.winograd.get_or_init(|| Winograd::new(s, m));
        let task = Task {
            conv: self,
            sum: &self.forward,
            packed,
            x_group: s.in_len() / s.groups,
            y_group: s.out_len() / s.groups,
            y_len: s.out_len(),
            end,
        };
        let len = plan.packed_len(self.path);
        let (panels, height) = product::panels(self.path, &self.forward);
        let lines = plan.image_lines();
        let run = |first: usize, group: usize, x: &[f32], lines, panels, out: &mut [Block<'_>]| {
            self.path.run(Tiles {
                plan,
                weights: &packed[group * len..][..len],
                x: (&x[group * task.x_group..], s.in_len()),
                end: task.end(first, group),
                lines,
                panels,
                out,
            });
        };
        // Whole images for each thread, as many as fill a block; or parts of one where there are few.
        let together =
            (plan.lines / lines).clamp(1, self.batch.div_ceil(rayon::current_num_threads()).max(1));
        if !self.shared {
            y.par_chunks_mut(together * s.out_len())
                .zip(x.par_chunks(together * s.in_len()))
                .with_max_len(1)
                .enumerate()
                .for_each(|(i, (y, x))| {
                    let images = y.len() / s.out_len();
                    for group in 0..s.groups {
                        let mut out = task.blocks_of(group, y);
                        run(
                            i * together,
                            group,
                            x,
                            0..images * lines,
                            0..panels,
                            &mut out,
                        );
                    }
                });
            return;
        }
        let images = x.chunks(s.in_len()).zip(y.chunks_mut(s.out_len()));
        for (image, (x, y)) in images.enumerate() {
            for (group, y) in y.chunks_exact_mut(task.y_group).enumerate() {
                let blocks = lines.div_ceil(plan.lines);
                // Each part of the rows transforms the input again: no more of them than it takes.
                let cuts = rayon::current_num_threads().div_ceil(blocks);
                let each = panels.div_ceil(cuts.min(panels));
                let size = (each * height, plan.outputs());
                let pixels = s.out_spatial();
                for_each_block(y, (self.forward.rows, pixels, pixels), size, |mut block| {
                    let first = block.rows.start / height;
                    let line = block.cols.start / plan.outputs() * plan.lines;
                    let panels = first..panels.min(first + each);
                    let part = line..lines.min(line + plan.lines);
                    run(
                        image,
                        group,
                        x,
                        part,
                        panels,
                        std::slice::from_mut(&mut block),
                    );
                });
            }
        }
    }

    /// dx = the gradient of the input, from `dy`, that of the output. Overwrites.
    ///
    /// # Panics
    /// If a length does not fit.
    pub fn backward_data(&self, w: &[f32], dy: &[f32], dx: &mut [f32], workspace: &mut [f32]) {
        self.check(dx, dy);
        for sum in self.backward_sums() {
            let (packed, workspace) = workspace.split_at_mut(self.packed_len(sum));
            self.pack_into(sum, w, packed);
            let lens = (self.shape.out_len(), self.shape.in_len());
            self.run(sum, packed, (dy, dx), lens, Epilogue::default(), workspace);
        }
    }

    /// dw += the gradient of the weights, from the input and `dy`, the gradient of the output; db += that of the bias, the
    /// sum of `dy` over images and pixels.
    ///
    /// # Panics
    /// If a length does not fit.
    pub fn backward_weights(
        &self,
        x: &[f32],
        dy: &[f32],
        (dw, db): (&mut [f32], Option<&mut [f32]>),
        workspace: &mut [f32],
    ) {
        let s = &self.shape;
        self.check(x, dy);
        assert_eq!(dw.len(), s.weights_len(), "the weights do not fit");
        let bias_fits = db.as_ref().is_none_or(|db| db.len() == s.out_channels);
        assert!(bias_fits, "the bias does not fit");
        let plan = self.weights_plan();
        plan.add(self.path, s, (x, dy), (dw, db), workspace);
    }

    /// db += the gradient of the bias alone.
    ///
    /// # Panics
    /// If a length does not fit.
    pub fn backward_bias(&self, dy: &[f32], db: &mut [f32]) {
        let s = &self.shape;
        reduce::channel_sum_add(dy, (s.out_channels, s.out_spatial()), db);
    }

    fn backward_sums(&self) -> &[Sum] {
        self.backward
            .get_or_init(|| Sum::backward(&self.shape, self.cut))
    }

    fn weights_plan(&self) -> &Weights {
        self.weights
            .get_or_init(|| Weights::new(&self.shape, self.batch))
    }

    fn packed_len(&self, sum: &Sum) -> usize {
        self.shape.groups * product::packed_len(self.path, sum)
    }

    fn pack_into(&self, sum: &Sum, w: &[f32], packed: &mut [f32]) {
        let s = &self.shape;
        assert_eq!(w.len(), s.weights_len(), "the weights do not fit");
        let w = w.chunks_exact(s.weights_len() / s.groups);
        let len = product::packed_len(self.path, sum);
        if len > 0 {
            w.zip(packed.chunks_exact_mut(len))
                .for_each(|(w, to)| product::pack(self.path, sum, w, to));
        }
    }

    fn shared_field_len(&self, sum: &Sum) -> usize {
        let len = sum
            .field
            .as_ref()
            .map_or(0, |field| field.len(sum.channels));
        if self.shared { len } else { 0 }
    }

    /// The number of images, after checking every length.
    fn check(&self, x: &[f32], y: &[f32]) -> usize {
        let (input, output) = (self.shape.in_len(), self.shape.out_len());
        let batch = x.len() / input;
        assert_eq!(x.len(), batch * input, "input is not whole images");
        assert_eq!(y.len(), batch * output, "output does not fit the input");
        batch
    }

    /// Computes a sum for all images and groups: from x to y, whose images have `x_len` and `y_len` floats.
    fn run(
        &self,
        sum: &Sum,
        packed: &[f32],
        (x, y): (&[f32], &mut [f32]),
        (x_len, y_len): (usize, usize),
        end: Epilogue<'_>,
        workspace: &mut [f32],
    ) {
        let task = Task {
            conv: self,
            sum,
            packed,
            x_group: x_len / self.shape.groups,
            y_group: y_len / self.shape.groups,
            y_len,
            end,
        };
        let images = self.cut.images;
        let (units, threads) = (x.len() / task.x_group, rayon::current_num_threads());
        if images == 1 && units >= TASKS * threads {
            // Groups of images are work of their own, whoever's they are.
            let units = (units / (4 * TASKS * threads)).max(1);
            y.par_chunks_mut(units * task.y_group)
                .zip(x.par_chunks(units * task.x_group))
                .with_max_len(1)
                .enumerate()
                .for_each(|(i, (y, x))| {
                    let (task, first) = (&task, i * units);
                    self.path.run(Units { task, first, x, y });
                });
        } else if self.shared {
            for (i, (x, y)) in x.chunks(x_len).zip(y.chunks_mut(y_len)).enumerate() {
                task.one(i, x, y, workspace);
            }
        } else {
            y.par_chunks_mut(images * y_len)
                .zip(x.par_chunks(images * x_len))
                .with_max_len(1)
                .enumerate()
                .for_each(|(i, (y, x))| {
                    let (task, first) = (&task, i * images);
                    self.path.run(Several { task, first, x, y });
                });
        }
    }
}

/// What one run of a sum is about.
struct Task<'t> {
    conv: &'t Conv,
    sum: &'t Sum,
    packed: &'t [f32],
    /// Floats of a group of an image.
    x_group: usize,
    y_group: usize,
    y_len: usize,
    end: Epilogue<'t>,
}

impl Task<'_> {
    fn weights(&self, group: usize) -> &[f32] {
        let len = product::packed_len(self.conv.path, self.sum);
        &self.packed[group * len..][..len]
    }

    /// What ends the sums of a group, from image `first` on.
    fn end(&self, first: usize, group: usize) -> End<'_> {
        let rows = self.sum.rows;
        End {
            bias: self.end.bias.map(|bias| &bias[group * rows..][..rows]),
            residual: match self.end.residual {
                Residual::Other(r) => {
                    Some((&r[first * self.y_len + group * self.y_group..], self.y_len))
                }
                _ => None,
            },
            add: matches!(self.end.residual, Residual::Output),
            slope: match self.end.act {
                Act::None => 1.0,
                Act::Relu(slope) => slope,
            },
        }
    }

    /// A group's outputs of some images.
    fn blocks_of<'y>(&self, group: usize, y: &'y mut [f32]) -> SmallVec<[Block<'y>; 16]> {
        let rows = self.sum.rows;
        y.chunks_exact_mut(self.y_len)
            .map(|y| {
                let y = &mut y[group * self.y_group..][..self.y_group];
                Block::whole(y, rows, self.y_group / rows)
            })
            .collect()
    }

    /// One image, by all threads.
    fn one(&self, image: usize, x: &[f32], y: &mut [f32], workspace: &mut [f32]) {
        let groups = x
            .chunks_exact(self.x_group)
            .zip(y.chunks_exact_mut(self.y_group));
        for (group, (x, y)) in groups.enumerate() {
            let field = match &self.sum.field {
                None => x,
                Some(layout) => {
                    let field = &mut workspace[..layout.len(self.sum.channels)];
                    self.fill(layout, x, field);
                    field
                }
            };
            self.blocks((image, group), field, y);
        }
    }

    /// Lays out one image.
    fn fill(&self, layout: &Field, x: &[f32], field: &mut [f32]) {
        let (channel, plane) = (layout.channel(), x.len() / self.sum.channels);
        let (planes, behind) = field.split_at_mut(channel * self.sum.channels);
        behind.fill(0.0);
        planes
            .par_chunks_exact_mut(channel)
            .zip(x.par_chunks_exact(plane))
            .with_min_len((FILL / channel).max(1))
            .for_each(|(to, x)| self.conv.path.run(Fill { layout, x, to }));
    }

    /// The outputs of one image and group, cut by parts, and by rows where there are too few.
    fn blocks(&self, (image, group): (usize, usize), field: &[f32], y: &mut [f32]) {
        let sum = self.sum;
        let (panels, height) = product::panels(self.conv.path, sum);
        let tasks = TASKS * rayon::current_num_threads();
        let cuts = tasks.div_ceil(sum.parts.len()).min(panels.div_ceil(4));
        let each = panels.div_ceil(cuts);
        let size = (each * height, sum.part);
        let pixels = y.len() / sum.rows;
        for_each_block(y, (sum.rows, pixels, pixels), size, |mut block| {
            let first = block.rows.start / height;
            self.conv.path.run(Product {
                sum,
                weights: self.weights(group),
                field,
                image: 0,
                end: self.end(image, group),
                vectors: sum.vectors_of(block.cols.start / sum.part),
                panels: first..panels.min(first + each),
                out: std::slice::from_mut(&mut block),
            });
        });
    }
}

/// Some groups of images on one thread, one after the other.
struct Units<'s, 't> {
    task: &'s Task<'t>,
    /// The first, counted through the groups of all images.
    first: usize,
    x: &'s [f32],
    y: &'s mut [f32],
}

impl Job for Units<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<T: Tile>(self, tile: T) {
        let Units { task, first, x, y } = self;
        let (sum, groups) = (task.sum, task.conv.shape.groups);
        let pairs = x
            .chunks_exact(task.x_group)
            .zip(y.chunks_exact_mut(task.y_group));
        let three = if depthwise::fits(sum) {
            Three::new(&task.conv.shape, T::LANES)
        } else {
            None
        };
        if let Some(three) = three {
            let mut room = Scratch::take(three.len());
            let lines = &mut room.floats()[..three.len()];
            lines.fill(0.0);
            for (i, (x, y)) in pairs.enumerate() {
                let (image, group) = ((first + i) / groups, (first + i) % groups);
                let (weights, end) = (task.weights(group), task.end(image, group));
                three.forward(tile, weights, x, lines, end, y);
            }
            return;
        }
        let len = sum
            .field
            .as_ref()
            .map_or(0, |layout| layout.len(sum.channels));
        let mut room = Scratch::take(len);
        for (i, (x, y)) in pairs.enumerate() {
            let field = match &sum.field {
                None => x,
                Some(layout) => {
                    let field = &mut room.floats()[..len];
                    if i == 0 {
                        layout.fill(0, x, field);
                    } else {
                        layout.refill(x, field);
                    }
                    field
                }
            };
            let unit = first + i;
            if depthwise::fits(sum) {
                let end = task.end(unit / groups, unit % groups);
                let weights = task.weights(unit % groups);
                depthwise::forward(tile, sum, weights, field, end, y);
                continue;
            }
            let mut out = Block::whole(y, sum.rows, task.y_group / sum.rows);
            let product = Product {
                sum,
                weights: task.weights(unit % groups),
                field,
                image: 0,
                end: task.end(unit / groups, unit % groups),
                vectors: 0..sum.vectors.len(),
                panels: 0..product::panels(task.conv.path, sum).0,
                out: std::slice::from_mut(&mut out),
            };
            product.run(tile);
        }
    }
}

/// A few images on one thread, all groups.
struct Several<'s, 't> {
    task: &'s Task<'t>,
    first: usize,
    x: &'s [f32],
    y: &'s mut [f32],
}

impl Job for Several<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<T: Tile>(self, tile: T) {
        let Several { task, first, x, y } = self;
        let sum = task.sum;
        let (x_len, y_len) = (task.x_group * task.conv.shape.groups, task.y_len);
        let len = sum
            .field
            .as_ref()
            .map_or(0, |layout| layout.len(sum.channels));
        let mut room = Scratch::take(len);
        for group in 0..task.conv.shape.groups {
            let x_of = |image: usize| &x[image * x_len + group * task.x_group..][..task.x_group];
            let (field, apart) = match &sum.field {
                None => (x_of(0), 0),
                Some(layout) => {
                    let field = &mut room.floats()[..len];
                    (0..y.len() / y_len).for_each(|image| layout.fill(image, x_of(image), field));
                    (&*field, layout.plane)
                }
            };
            let mut out = task.blocks_of(group, y);
            let product = Product {
                sum,
                weights: task.weights(group),
                field,
                image: apart,
                end: task.end(first, group),
                vectors: 0..sum.vectors.len(),
                panels: 0..product::panels(task.conv.path, sum).0,
                out: &mut out,
            };
            product.run(tile);
        }
    }
}

/// Lays out a part of one image.
struct Fill<'f> {
    layout: &'f Field,
    x: &'f [f32],
    to: &'f mut [f32],
}

impl Job for Fill<'_> {
    type Out = ();

    #[inline(always)]
    fn run<T: Tile>(self, _: T) {
        self.layout.fill(0, self.x, self.to);
    }
}

/// Floats of a vector.
struct Lanes;

impl Job for Lanes {
    type Out = usize;

    #[inline(always)]
    fn run<T: Tile>(self, _: T) -> usize {
        T::LANES
    }
}

#[cfg(test)]
mod tests;
