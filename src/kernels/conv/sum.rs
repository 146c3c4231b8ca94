//! A convolution as sums over a field, forward or backward: which floats each output is the sum of, and where it goes.

use super::{
    field::{Axis, Field},
    geometry::{ConvShape, Dims, count_up},
};

/// Outputs of one image and group that are sums of the same kind: for each row m,
/// y\[m, to\] = Σ over steps p of weight\[m, p\] · field\[base + taps\[p\]\].
#[derive(Clone, Debug)]
pub(super) struct Sum {
    /// Rows: channels of the output, of one group.
    pub(super) rows: usize,
    /// Channels of the input, of one group.
    pub(super) channels: usize,
    /// Where each step's factor lies, from a base on.
    pub(super) taps: Vec<usize>,
    /// Where each step's weight lies, in those of row 0.
    pub(super) weights: Vec<usize>,
    /// Distance between the weights of two rows.
    pub(super) weights_row: usize,
    /// The layout of the input; none where it is read as it is.
    pub(super) field: Option<Field>,
    /// Vectors of outputs, in the outputs' order.
    pub(super) vectors: Vec<Vector>,
    /// Halves of vectors may lie apart.
    pub(super) halves: bool,
    /// What the vectors' lanes are.
    pub(super) runs: Vec<Run>,
    /// Distance between the outputs of neighbouring lanes.
    pub(super) step: usize,
    /// Where each part's vectors begin; no vector has outputs of two parts.
    pub(super) parts: Vec<usize>,
    /// Outputs of each part but the last.
    pub(super) part: usize,
    /// Where each line of outputs has its first base; outputs of a line have neighbouring bases. Forward, with a field.
    pub(super) lines: Vec<usize>,
}

/// How a sum is cut and for whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// Images side by side in the field.
    pub(super) images: usize,
    /// Floats of a vector.
    pub(super) lanes: usize,
    /// Parts of an image to aim at.
    pub(super) parts: usize,
    /// Rows from which on halves of vectors may lie apart: they are packed, so that it costs nothing.
    pub(super) halves: usize,
}

/// Lanes whose bases are neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vector {
    /// The first lane's.
    pub(super) base: usize,
    /// That of the lane in the middle; read only where halves may lie apart.
    pub(super) middle: usize,
    /// Its first run; they end where the next vector's begin.
    pub(super) runs: usize,
}

/// Lanes whose outputs are neighbours; lanes between runs are nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) lane: usize,
    pub(super) len: usize,
    /// The first output, in its channel.
    pub(super) to: usize,
}

impl Sum {
    /// The output: y = w ∗ x.
    pub(super) fn forward(s: &ConvShape, cut: Cut) -> Self {
        let lanes = cut.lanes;
        let (rows, channels) = (s.out_channels / s.groups, s.in_channels / s.groups);
        let mut sum = Sum {
            rows,
            channels,
            taps: Vec::new(),
            weights: (0..s.col_rows()).collect(),
            weights_row: s.col_rows(),
            field: None,
            vectors: Vec::new(),
            halves: false,
            runs: Vec::new(),
            step: 1,
            parts: vec![0],
            part: s.out_spatial(),
            lines: Vec::new(),
        };
        let pixels = s.out_spatial();
        if s.is_pointwise() && pixels >= lanes && cut.images == 1 {
            sum.taps = (0..channels).map(|c| c * pixels).collect();
            // The last vector starts early rather than read beyond the image.
            sum.part = pixels.div_ceil(cut.parts).next_multiple_of(2 * lanes);
            sum.parts.clear();
            for first in (0..pixels).step_by(sum.part) {
                let end = pixels.min(first + sum.part);
                sum.parts.push(sum.vectors.len());
                for start in (first..end).step_by(lanes) {
                    // Floats that belong to nobody where a part is shorter than a vector.
                    let lane = start.saturating_sub((end - lanes).max(first));
                    let base = (start - lane).min(pixels - lanes);
                    let lane = start - base;
                    let len = (lanes - lane).min(end - start);
                    let to = start;
                    sum.push([base; 2], &[Run { lane, len, to }]);
                }
            }
            return sum;
        }
        let field = input_field(s, cut.images);
        sum.taps = channel_taps(channels, &field, &input_taps(s, &field));
        let rows = s
            .output
            .iter()
            .map(|&o| (0..o).collect())
            .collect::<Vec<_>>();
        sum.place(&field, &rows, &s.output, cut, |at| at);
        sum.lines = lines(s, &field);
        sum.field = Some(field);
        sum
    }

    /// The gradient of the input: for each residue of the input's coordinates by the stride, the taps that see it.
    /// Pixels that none sees are in a sum of no steps.
    pub(super) fn backward(s: &ConvShape, cut: Cut) -> Vec<Self> {
        let axes: Vec<Back> = (0..s.input.len()).map(|i| Back::new(s, i)).collect();
        let field = Field::new(
            axes.iter().map(Back::axis).collect(),
            axes.last().map_or(1, |a| a.bases),
            cut.images,
        );
        let residues: Dims = s.stride.clone();
        let mut sums = Vec::new();
        let mut class = Dims::from_elem(0, residues.len());
        for _ in 0..residues.iter().product() {
            sums.extend(Self::backward_class(s, &axes, &class, &field, cut));
            count_up(&mut class, &residues);
        }
        sums
    }

    fn backward_class(
        s: &ConvShape,
        axes: &[Back],
        class: &[usize],
        field: &Field,
        cut: Cut,
    ) -> Option<Self> {
        let channels = s.out_channels / s.groups;
        let in_group = s.in_channels / s.groups;
        let kernel: usize = s.kernel.iter().product();
        // Pixels of this class on each axis: (element of the field, input coordinate).
        let pixels: Vec<Vec<(usize, usize)>> =
            axes.iter().zip(class).map(|(a, &r)| a.pixels(r)).collect();
        if pixels.iter().any(Vec::is_empty) {
            return None;
        }
        let mut taps = Vec::new();
        let mut weights = Vec::new();
        let mut tap = Dims::from_elem(0, s.kernel.len());
        for t in 0..kernel {
            let seen = axes.iter().zip(class).zip(&tap);
            if let Some(at) = seen
                .map(|((a, &r), &t)| a.tap(r, t))
                .collect::<Option<Vec<_>>>()
            {
                taps.push(field.offset(&at));
                weights.push(t);
            }
            count_up(&mut tap, &s.kernel);
        }
        let mut sum = Sum {
            rows: in_group,
            channels,
            taps: channel_taps(channels, field, &taps),
            weights: (0..channels)
                .flat_map(|o| weights.iter().map(move |t| o * in_group * kernel + t))
                .collect(),
            weights_row: kernel,
            field: Some(field.clone()),
            vectors: Vec::new(),
            halves: false,
            runs: Vec::new(),
            step: s.stride[s.stride.len() - 1],
            parts: vec![0],
            part: s.in_spatial(),
            lines: Vec::new(),
        };
        // The pixels of several classes lie between each other.
        let parts = if s.stride.iter().all(|&n| n == 1) {
            cut.parts
        } else {
            1
        };
        let cut = Cut { parts, ..cut };
        let bases = pixels
            .iter()
            .map(|p| p.iter().map(|p| p.0).collect())
            .collect::<Vec<_>>();
        sum.place(field, &bases, &s.input, cut, |at| {
            at.iter().zip(&pixels).map(|(&i, p)| p[i].1).collect()
        });
        Some(sum)
    }

    /// Covers all outputs with vectors. `bases` gives, on each axis, the element of each output; `output` turns an
    /// index into them into a coordinate of an output of size `dims`.
    fn place(
        &mut self,
        field: &Field,
        bases: &[Vec<usize>],
        dims: &[usize],
        cut: Cut,
        output: impl Fn(Dims) -> Dims,
    ) {
        let lanes = cut.lanes;
        let Some((row, outer)) = bases.split_last() else {
            return;
        };
        let counts: Dims = outer.iter().map(Vec::len).collect();
        let mut at = Dims::from_elem(0, bases.len());
        // The base of each line, and its first output.
        let mut lines = Vec::new();
        for _ in 0..counts.iter().product() {
            let index = at.iter().zip(bases).zip(&field.pitch);
            let base: usize = index.map(|((&i, b), p)| b[i] * p).sum();
            let to = output(at.clone());
            lines.push((base, to.iter().zip(dims).fold(0, |sum, (x, d)| sum * d + x)));
            let last = at.len() - 1;
            count_up(&mut at[..last], &counts);
        }
        let part = lines.len().div_ceil(cut.parts).max(1);
        if part < lines.len() {
            self.part = part * row.len();
        }
        self.parts.clear();
        for lines in lines.chunks(part) {
            self.parts.push(self.vectors.len());
            self.place_runs(lines, row.len(), lanes);
        }
        let halves = row.len().div_ceil(lanes / 2);
        let count = |lines: &[_]| (lines.len() * halves).div_ceil(2);
        let apart: usize = lines.chunks(part).map(count).sum();
        if self.rows >= cut.halves && apart < self.vectors.len() {
            self.halves = true;
            self.parts.clear();
            self.vectors.clear();
            self.runs.clear();
            for lines in lines.chunks(part) {
                self.parts.push(self.vectors.len());
                self.place_halves(lines, row.len(), lanes / 2);
            }
        }
    }

    /// Covers lines of `width` outputs, each with its base and first output, with vectors that go on over the gaps
    /// between them.
    fn place_runs(&mut self, lines: &[(usize, usize)], width: usize, lanes: usize) {
        // The vector in the making: its base, and its runs so far.
        let mut open: Option<(usize, Vec<Run>)> = None;
        for &(base, to) in lines {
            let mut done = 0;
            while done < width {
                let here = base + done;
                let to = to + done * self.step;
                let lane = open.as_ref().map_or(0, |(start, _)| here - start);
                if lane >= lanes || open.is_none() {
                    if let Some((base, runs)) = open.take() {
                        self.push([base; 2], &runs);
                    }
                    open = Some((here, Vec::new()));
                    continue;
                }
                let len = (lanes - lane).min(width - done);
                if let Some((_, runs)) = &mut open {
                    runs.push(Run { lane, len, to });
                }
                done += len;
            }
        }
        if let Some((base, runs)) = open {
            self.push([base; 2], &runs);
        }
    }

    /// Covers lines as [`Sum::place_runs`] does, with vectors of two halves, each in one line.
    fn place_halves(&mut self, lines: &[(usize, usize)], width: usize, half: usize) {
        let step = self.step;
        let halves: Vec<(usize, Run)> = lines
            .iter()
            .flat_map(|&(base, to)| {
                (0..width).step_by(half).map(move |at| {
                    let len = half.min(width - at);
                    let to = to + at * step;
                    (base + at, Run { lane: 0, len, to })
                })
            })
            .collect();
        for pair in halves.chunks(2) {
            match *pair {
                [(a, mut one), (b, other)] => {
                    let follows = one.len == half && other.to == one.to + half * step;
                    if follows {
                        one.len += other.len;
                        self.push([a, b], &[one]);
                    } else {
                        self.push(
                            [a, b],
                            &[
                                one,
                                Run {
                                    lane: half,
                                    ..other
                                },
                            ],
                        );
                    }
                }
                [(a, one)] => self.push([a, a], &[one]),
                _ => {}
            }
        }
    }

    fn push(&mut self, [base, middle]: [usize; 2], runs: &[Run]) {
        self.vectors.push(Vector {
            base,
            middle,
            runs: self.runs.len(),
        });
        self.runs.extend_from_slice(runs);
    }

    /// The vectors of a part.
    pub(super) fn vectors_of(&self, part: usize) -> std::ops::Range<usize> {
        self.parts[part]
            ..self
                .parts
                .get(part + 1)
                .copied()
                .unwrap_or(self.vectors.len())
    }

    /// The runs of a vector.
    pub(super) fn runs_of(&self, vector: usize) -> &[Run] {
        let end = self
            .vectors
            .get(vector + 1)
            .map_or(self.runs.len(), |v| v.runs);
        &self.runs[self.vectors[vector].runs..end]
    }
}

/// Where each line of the output begins in the field of its image.
pub(super) fn lines(s: &ConvShape, field: &Field) -> Vec<usize> {
    let outer = &s.output[..s.output.len() - 1];
    let mut at = Dims::from_elem(0, outer.len());
    let mut lines = Vec::new();
    for _ in 0..outer.iter().product() {
        lines.push(at.iter().zip(&field.pitch).map(|(i, p)| i * p).sum());
        count_up(&mut at, outer);
    }
    lines
}

/// The taps of every channel.
fn channel_taps(channels: usize, field: &Field, taps: &[usize]) -> Vec<usize> {
    let of = |c: usize| taps.iter().map(move |t| c * field.channel() + t);
    (0..channels).flat_map(of).collect()
}

/// The field of the input, for the output and for the gradient of the weights.
pub(super) fn input_field(s: &ConvShape, images: usize) -> Field {
    let axis = |i: usize| {
        let at = |t: usize| t * s.dilation[i];
        let mut residues: Vec<usize> = (0..s.kernel[i]).map(|t| at(t) % s.stride[i]).collect();
        residues.sort_unstable();
        residues.dedup();
        Axis {
            source: s.input[i],
            stride: s.stride[i],
            residues,
            pad: s.pad[i] as isize,
            len: s.output[i] + at(s.kernel[i] - 1) / s.stride[i],
        }
    };
    let n = s.input.len();
    Field::new((0..n).map(axis).collect(), s.output[n - 1], images)
}

/// Where each tap lies in a channel of [`input_field`], from the base of the output pixel on.
pub(super) fn input_taps(s: &ConvShape, field: &Field) -> Vec<usize> {
    let mut tap = Dims::from_elem(0, s.kernel.len());
    let mut taps = Vec::new();
    for _ in 0..s.kernel.iter().product() {
        let at: Vec<(usize, usize)> = (0..tap.len())
            .map(|i| {
                let distance = tap[i] * s.dilation[i];
                (distance % s.stride[i], distance / s.stride[i])
            })
            .collect();
        taps.push(field.offset(&at));
        count_up(&mut tap, &s.kernel);
    }
    taps
}

/// One axis seen from the input: pixel x = q · stride + r - pad is seen by the taps t whose distance t · dilation has
/// the residue r, as output pixel q - ⌊t · dilation / stride⌋.
struct Back {
    source: usize,
    stride: usize,
    dilation: usize,
    pad: usize,
    output: usize,
    /// The first q, and how many there are from there on.
    first: usize,
    bases: usize,
    /// ⌊t · dilation / stride⌋ of the last tap.
    reach: usize,
}

impl Back {
    fn new(s: &ConvShape, i: usize) -> Self {
        let (pad, stride) = (s.pad[i], s.stride[i]);
        let first = pad / stride;
        Back {
            source: s.input[i],
            stride,
            dilation: s.dilation[i],
            pad,
            output: s.output[i],
            first,
            bases: (s.input[i] - 1 + pad) / stride + 1 - first,
            reach: (s.kernel[i] - 1) * s.dilation[i] / stride,
        }
    }

    /// The field's: element v is output pixel v + first - reach.
    fn axis(&self) -> Axis {
        Axis {
            source: self.output,
            stride: 1,
            residues: vec![0],
            pad: self.reach as isize - self.first as isize,
            len: self.bases + self.reach,
        }
    }

    /// Element and coordinate of the pixels of residue `r`.
    fn pixels(&self, r: usize) -> Vec<(usize, usize)> {
        (0..self.bases)
            .filter_map(|v| {
                let x = ((v + self.first) * self.stride + r).checked_sub(self.pad)?;
                (x < self.source).then_some((v, x))
            })
            .collect()
    }

    /// Residue (always 0) and element, from the pixel's on, of what tap `t` sees of pixels of residue `r`.
    fn tap(&self, r: usize, t: usize) -> Option<(usize, usize)> {
        let distance = t * self.dilation;
        (distance % self.stride == r).then(|| (0, self.reach - distance / self.stride))
    }
}
