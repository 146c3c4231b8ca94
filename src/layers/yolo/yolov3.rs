//! Yolov3: loss = Σ d² / N, d what each value of x is to move by (`iou_loss` other than MSE: Σ d² of all but x, y, w, h,
//! plus iou_normalizer times the mean of 1 − likeness over claimed boxes, all over N).   dx = d · w/N, w = the loss weight:
//! Darknet's rule, not the derivative of that sum. None by the labels.
//!
//! A cell tells for each anchor of `mask` x, y, w, h, how sure it is that there is a box (o), and scores of the classes;
//! σ is the sigmoid. Where there is no box: d(o) = σ(o), or 0 if a true box is like the told one by more than `thresh`.
//! A true box goes to the anchor most like it in width and height, and to others that are by more than `iou_thresh` (if
//! below 1), as far as they are in `mask`; there, in its cell (i, j), d(x) = s · (σ(x) − (x* · W − i)),
//! d(w) = s · (w − ln(w* · image / anchor)), y and h alike, s = coord_scale · (2 − w* · h*), d(o) = σ(o) − 1 (times
//! object_scale with `use_logic_gradient`) and d(class) = class_scale · (σ − t), t = [class = label] · (1 − ε) + ε/2 with
//! ε = `label_smooth_eps`; if d(label) is there already, of another box, only it is written anew. `use_focal_loss` takes
//! ε = 0 and multiplies by −½ (1 − p)(2p ln p + p − 1), p = σ(label). `use_logic_gradient` multiplies d of all but w and h
//! by σ' in the end.
//! IOU, GIOU, DIOU and CIOU move x, y, w and h by −iou_normalizer times what makes the boxes more alike (`rect.rs`), w and h
//! times e to their power, at most by `max_delta`; moves of several true boxes add up unless `accumulate` is false.
//! Likeness is the IoU with MSE and IOU, else less what the kind takes off.
//!
//! Shapes: x is N × (num · (5 + num_class)) × H × W; labels as RegionLoss; loss a scalar. `biases` are widths and heights of
//! all anchors in pixels of an image of W · anchors_scale by H · anchors_scale. Backward reads no data.
//! Options without effect, as in the fork: `side` (the bottom tells), `noobject_scale`; `object_scale` without
//! `use_logic_gradient`.
//! Departures: labels are checked, and any number of boxes is taken; NaN of classes stays visible; with an IoU loss and
//! `use_logic_gradient` σ' is that of x, where the fork takes x itself for σ(x); a told box never becomes a true one.
//! Source: Redmon and Farhadi, YOLOv3 (2018), section 2; the fork of eric612.

use rayon::prelude::*;

use super::{
    grid::{Grid, anchors, from, sigmoid},
    rect::Rect,
    truths::{self, Truth, Truths},
};
use crate::{
    error::Result,
    kernels::map,
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType, Role},
    schema::{Yolov3Parameter, yolov3_parameter::IouLoss},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("Yolov3", |def| Ok(Box::new(Yolov3::new(def)?)))
    .arity(Arity::Exact(2), Arity::Exact(1))
    .role(Role::Loss)
    .no_grad(&[1]);

const PARAM: &str = "yolov3_param";

struct Yolov3 {
    param: Yolov3Parameter,
    kind: IouLoss,
    grid: Grid,
    /// All of them, in pixels.
    anchors: Vec<[f64; 2]>,
    /// Those that this layer serves.
    mask: Vec<usize>,
    items: usize,
    /// d of the last forward pass.
    moves: Vec<f32>,
}

/// Sums over an image.
#[derive(Clone, Copy, Default)]
struct Tally {
    squares: f64,
    /// Boxes that were claimed, and 1 − likeness of them.
    claims: usize,
    apart: f64,
}

impl Yolov3 {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.yolov3_param.clone().unwrap_or_default();
        let invalid = |field: &str, why: String| Err(def.invalid(&format!("{PARAM}.{field}"), why));
        for (field, value) in [
            ("num_class", param.num_class()),
            ("num", param.num()),
            ("anchors_scale", param.anchors_scale()),
        ] {
            if value == 0 {
                return invalid(field, "is 0; it must be at least 1".to_owned());
            }
        }
        let anchors = anchors(def, PARAM, &param.biases, None)?;
        let mask: Vec<usize> = param.mask.iter().map(|&m| m as usize).collect();
        if mask.len() != param.num() as usize {
            return invalid(
                "mask",
                format!("names {} anchors, but num is {}", mask.len(), param.num()),
            );
        }
        if let Some(wrong) = mask.iter().find(|&&m| m >= anchors.len()) {
            return invalid(
                "mask",
                format!("names anchor {wrong}, but biases has {}", anchors.len()),
            );
        }
        for (field, value, least) in [
            ("object_scale", param.object_scale(), f32::NEG_INFINITY),
            ("class_scale", param.class_scale(), f32::NEG_INFINITY),
            ("coord_scale", param.coord_scale(), f32::NEG_INFINITY),
            ("thresh", param.thresh(), f32::NEG_INFINITY),
            ("iou_normalizer", param.iou_normalizer(), f32::NEG_INFINITY),
            ("iou_thresh", param.iou_thresh(), f32::NEG_INFINITY),
            ("max_delta", param.max_delta(), 0.0),
            ("label_smooth_eps", param.label_smooth_eps(), 0.0),
        ] {
            from(def, PARAM, field, value, least)?;
        }
        Ok(Self {
            kind: param.iou_loss(),
            grid: Grid {
                anchors: mask.len(),
                lead: 5,
                classes: param.num_class() as usize,
                ..Grid::default()
            },
            anchors,
            mask,
            items: 0,
            moves: Vec::new(),
            param,
        })
    }

    /// Sides of an anchor, in fractions of the image.
    fn sides(&self, anchor: usize) -> [f64; 2] {
        let scale = f64::from(self.param.anchors_scale());
        let [w, h] = self.anchors[anchor];
        [
            w / (self.grid.width as f64 * scale),
            h / (self.grid.height as f64 * scale),
        ]
    }

    /// The box that a cell tells for an anchor of the mask.
    fn rect(&self, x: &[f32], slot: usize, cell: usize) -> Rect {
        let values = std::array::from_fn(|c| x[self.grid.at(slot, c, cell)]);
        self.grid.rect(cell, values, self.sides(self.mask[slot]))
    }

    fn like(&self, a: Rect, b: Rect) -> f64 {
        a.likeness(b, self.kind)
    }

    /// Writes the moves of an image.
    fn image(&self, x: &[f32], truths: &Truths, moves: &mut [f32]) -> Tally {
        let grid = &self.grid;
        let mut tally = Tally::default();
        moves.fill(0.0);
        for slot in 0..grid.anchors {
            for cell in 0..grid.cells() {
                let told = self.rect(x, slot, cell);
                let best = truths.best(told, |a, b| self.like(a, b));
                if best <= f64::from(self.param.thresh()) {
                    let at = grid.at(slot, 4, cell);
                    moves[at] = sigmoid(x[at]) as f32;
                }
            }
        }
        for truth in &truths.all {
            for slot in self.slots(truth) {
                let likeness = self.claim(x, slot, truth, moves);
                tally.claims += 1;
                tally.apart += 1.0 - likeness;
            }
        }
        let first = if self.kind == IouLoss::Mse { 0 } else { 4 };
        for slot in 0..grid.anchors {
            let values = &moves[grid.at(slot, first, 0)..grid.at(slot + 1, 0, 0)];
            tally.squares += values.iter().map(|&d| f64::from(d).powi(2)).sum::<f64>();
        }
        if self.param.use_logic_gradient() {
            for slot in 0..grid.anchors {
                for channel in (0..grid.lead + grid.classes).filter(|c| ![2, 3].contains(c)) {
                    let at = grid.at(slot, channel, 0)..grid.at(slot, channel + 1, 0);
                    for (d, &x) in moves[at.clone()].iter_mut().zip(&x[at]) {
                        let told = sigmoid(x);
                        *d *= (told * (1.0 - told)) as f32;
                    }
                }
            }
        }
        tally
    }

    /// The anchors of the mask that a true box goes to, by their place in it.
    fn slots(&self, truth: &Truth) -> Vec<usize> {
        let wanted = Rect::sized(truth.rect.w, truth.rect.h);
        let like: Vec<f64> = (0..self.anchors.len())
            .map(|anchor| {
                let [w, h] = self.sides(anchor);
                self.like(Rect::sized(w, h), wanted)
            })
            .collect();
        let (mut best, mut most) = (None, 0.0);
        for (anchor, &like) in like.iter().enumerate() {
            if like > most {
                (best, most) = (Some(anchor), like);
            }
        }
        let place = |anchor: usize| self.mask.iter().position(|&m| m == anchor);
        let first = best.and_then(place);
        let mut slots: Vec<usize> = first.into_iter().collect();
        // Where the best anchor is in the mask, the fork leaves out the anchor whose number is that place, which is another
        // unless the mask starts at 0; so the best one may come twice. Moves that add up show it, so it is kept.
        let left_out = first.or(best);
        let least = self.param.iou_thresh();
        if least < 1.0 {
            let others = (0..self.anchors.len())
                .filter(|&anchor| Some(anchor) != left_out && like[anchor] > f64::from(least));
            slots.extend(others.filter_map(place));
        }
        slots
    }

    /// Moves towards a true box; how alike the told one is.
    fn claim(&self, x: &[f32], slot: usize, truth: &Truth, moves: &mut [f32]) -> f64 {
        let (grid, param) = (&self.grid, &self.param);
        let cell = truth.row * grid.width + truth.column;
        let at = |channel| grid.at(slot, channel, cell);
        let told = self.rect(x, slot, cell);
        let likeness = if self.kind == IouLoss::Mse {
            self.move_to(x, slot, truth, moves);
            told.iou(truth.rect)
        } else {
            let whole = |side: f64| if side == 0.0 { 1.0 } else { side };
            let sized = Rect {
                w: whole(told.w),
                h: whole(told.h),
                ..told
            };
            let mut pull = sized.pull(truth.rect, self.kind);
            pull[2] *= f64::from(x[at(2)]).exp();
            pull[3] *= f64::from(x[at(3)]).exp();
            let most = f64::from(param.max_delta());
            for (c, pull) in pull.into_iter().enumerate() {
                let d = match pull * f64::from(param.iou_normalizer()) {
                    d if d.is_finite() => d.clamp(-most, most) as f32,
                    _ => 0.0,
                };
                let before = if param.accumulate() {
                    moves[at(c)]
                } else {
                    0.0
                };
                moves[at(c)] = before - d;
            }
            let kind = match self.kind {
                IouLoss::Iou => IouLoss::Diou,
                kind => kind,
            };
            sized.likeness(truth.rect, kind)
        };
        let scale = if param.use_logic_gradient() {
            param.object_scale()
        } else {
            1.0
        };
        moves[at(4)] = ((sigmoid(x[at(4)]) - 1.0) * f64::from(scale)) as f32;
        self.name(x, |class| at(5 + class), truth.class, moves);
        likeness
    }

    /// Moves x, y, w and h with MSE.
    fn move_to(&self, x: &[f32], slot: usize, truth: &Truth, moves: &mut [f32]) {
        let (grid, rect) = (&self.grid, truth.rect);
        let cell = truth.row * grid.width + truth.column;
        let at = |channel| grid.at(slot, channel, cell);
        let scale = f64::from(self.param.coord_scale()) * (2.0 - rect.w * rect.h);
        let center = [
            rect.x * grid.width as f64 - truth.column as f64,
            rect.y * grid.height as f64 - truth.row as f64,
        ];
        let (sides, anchor) = ([rect.w, rect.h], self.sides(self.mask[slot]));
        for k in [0, 1] {
            moves[at(k)] = (scale * (sigmoid(x[at(k)]) - center[k])) as f32;
            let wanted = (sides[k] / anchor[k]).ln();
            moves[at(2 + k)] = (scale * (f64::from(x[at(2 + k)]) - wanted)) as f32;
        }
    }

    /// Moves the classes of a box to its label.
    fn name(&self, x: &[f32], at: impl Fn(usize) -> usize, label: usize, moves: &mut [f32]) {
        let scale = f64::from(self.param.class_scale());
        let eps = f64::from(self.param.label_smooth_eps());
        let step = |class: usize, eps: f64| {
            let wanted = if class == label { 1.0 } else { 0.0 };
            scale * (sigmoid(x[at(class)]) - (wanted * (1.0 - eps) + eps / 2.0))
        };
        if moves[at(label)] != 0.0 {
            moves[at(label)] = step(label, eps) as f32;
            return;
        }
        let (eps, focus) = if self.param.use_focal_loss() {
            let p = sigmoid(x[at(label)]) + 1e-15;
            (0.0, -0.5 * (1.0 - p) * (2.0 * p * p.ln() + p - 1.0))
        } else {
            (eps, 1.0)
        };
        for class in 0..self.grid.classes {
            moves[at(class)] = (focus * step(class, eps)) as f32;
        }
    }
}

impl Layer for Yolov3 {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let (x, labels) = (&bottoms[0], &bottoms[1]);
        self.grid = self.grid.sized(x, "yolov3_param.num and num_class")?;
        truths::check(x, labels)?;
        self.items = x.dims()[0];
        self.moves.resize(x.count(), 0.0);
        Ok(vec![Shape::new(&[])])
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let truths = Truths::read(io.bottoms[1].data, self.items, &self.grid)?;
        let mut moves = std::mem::take(&mut self.moves);
        let item = self.grid.item().max(1);
        let tallies: Vec<Tally> = moves
            .par_chunks_mut(item)
            .zip(io.bottoms[0].data.par_chunks(item))
            .zip(&truths)
            .map(|((moves, x), truths)| self.image(x, truths, moves))
            .collect();
        self.moves = moves;
        let mut all = Tally::default();
        for tally in tallies {
            all.squares += tally.squares;
            all.claims += tally.claims;
            all.apart += tally.apart;
        }
        let mut loss = all.squares;
        if self.kind != IouLoss::Mse && all.claims > 0 {
            loss += f64::from(self.param.iou_normalizer()) * all.apart / all.claims as f64;
        }
        io.tops[0].data[0] = (loss / self.items.max(1) as f64) as f32;
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let alpha = io.top_diff().data[0] / self.items.max(1) as f32;
        if let Some(dx) = &mut io.bottom_diffs[0] {
            map::map(&self.moves, dx.data, |d| alpha * d);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        layer::testing::{Bench, assert_close, check_threads, error_of, fields, noise, tensor},
        tensor::Tensor,
    };

    /// Two anchors, 4 × 8 and 16 × 16 pixels; only the first is served. The image is of 8 × 8.
    fn text(options: &str) -> String {
        let options = fields(&["num_class: 2", "num: 1", "anchors_scale: 4"], options);
        format!("type: 'Yolov3' yolov3_param {{ biases: [4, 8, 16, 16] mask: 0 {options} }}")
    }

    /// Four cells of zeros; a box in the cell below right, as wide as the anchor and half as high.
    fn bottoms() -> [Tensor; 2] {
        let labels = [1.0, 0.75, 0.8, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0];
        [tensor(&[1, 7, 2, 2], &[0.0; 28]), tensor(&[1, 10], &labels)]
    }

    fn moves(options: &str, bottoms: &[Tensor]) -> (f32, Vec<f32>) {
        let mut bench = Bench::new(&text(options), bottoms);
        let loss = bench.forward()[0];
        let dx = bench.backward(&[1.0], &[0]).bottoms[0].clone();
        (loss, dx.unwrap().data)
    }

    #[test]
    fn by_hand() {
        let (loss, dx) = moves("thresh: 0.9 label_smooth_eps: 0.2", &bottoms());
        let mut want = [0.0; 28];
        want[16..20].copy_from_slice(&[0.5, 0.5, 0.5, -0.5]);
        // s = 5 · (2 − 0.25): x is right, y 0.1 too small, h twice too large.
        want[7] = 8.75 * (0.5 - 0.6);
        want[15] = 8.75 * 2.0f32.ln();
        want[23] = 0.5 - 0.1;
        want[27] = 0.5 - 0.9;
        assert_close(&dx, &want, 1e-5);
        assert_close(&[loss], &[want.iter().map(|d| d * d).sum()], 1e-5);
        let (same, logic) = moves(
            "thresh: 0.9 label_smooth_eps: 0.2 use_logic_gradient: true object_scale: 1",
            &bottoms(),
        );
        assert_eq!(same, loss);
        assert_close(
            &[logic[7], logic[15], logic[19]],
            &[want[7] / 4.0, want[15], -0.125],
            1e-5,
        );
    }

    #[test]
    fn focal_classes() {
        let dx = moves("use_focal_loss: true class_scale: 2", &bottoms()).1;
        let factor = -0.5 * 0.5 * (0.5f32.ln() - 0.5);
        assert_close(&[dx[23], dx[27]], &[factor, -factor], 1e-5);
    }

    #[test]
    fn boxes_of_other_anchors_are_left_alone() {
        let [x, mut labels] = bottoms();
        labels.data[3] = 2.0;
        labels.data[4] = 2.0;
        let dx = moves("thresh: 1", &[x.clone(), labels.clone()]).1;
        assert!(dx[..16].iter().chain(&dx[20..]).all(|&d| d == 0.0));
        // The first anchor overlaps it by 1/8.
        let dx = moves("thresh: 1 iou_thresh: 0.1", &[x, labels]).1;
        assert!(dx[19] < 0.0 && dx[27] < 0.0);
    }

    #[test]
    fn alike_boxes() {
        for kind in ["IOU", "GIOU", "DIOU", "CIOU"] {
            let options = format!("iou_loss: {kind} thresh: 0.99 label_smooth_eps: 0");
            let (loss, dx) = moves(&options, &bottoms());
            let rest = 3.0 * 0.25 + 0.25 + 0.5;
            assert!(loss > rest && loss < rest + 0.3, "{kind}: {loss}");
            // Less high; and down, where centres count.
            let down = if ["DIOU", "CIOU"].contains(&kind) {
                1.0
            } else {
                0.0
            };
            assert!(dx[15] > 0.0 && dx[7] <= -0.01 * down, "{kind}: {dx:?}");
            let (_, clipped) = moves(&format!("{options} max_delta: 0.001"), &bottoms());
            assert_close(&[clipped[7], clipped[15]], &[-0.001 * down, 0.001], 1e-6);
            let [x, mut labels] = bottoms();
            labels.data.copy_within(0..5, 5);
            let (_, twice) = moves(&options, &[x.clone(), labels.clone()]);
            assert_close(&[twice[15]], &[2.0 * dx[15]], 1e-5);
            let (_, once) = moves(&format!("{options} accumulate: false"), &[x, labels]);
            assert_eq!(once[15], dx[15]);
        }
    }

    #[test]
    fn threads_and_batches() {
        let row = [0.0, 0.3, 0.6, 0.4, 0.4];
        let labels = tensor(&[5, 5], &[row; 5].concat());
        check_threads(
            &text("iou_loss: CIOU"),
            &[noise(&[5, 7, 6, 4], 1), labels],
            &[0],
        );
        let mut bench = Bench::new(&text(""), &[noise(&[0, 7, 2, 3], 1), noise(&[0, 10], 1)]);
        assert_eq!(bench.forward(), [0.0]);
        bench.backward(&[1.0], &[0]);
        let mut bench = Bench::new(&text(""), &[noise(&[1, 7, 0, 2], 1), noise(&[1, 0], 1)]);
        assert_eq!(bench.forward(), [0.0]);
        let [x, labels] = bottoms();
        let wild = tensor(x.shape.dims(), &[1e30; 28]);
        for kind in ["MSE", "IOU", "GIOU", "DIOU", "CIOU"] {
            Bench::new(
                &text(&format!("iou_loss: {kind}")),
                &[wild.clone(), labels.clone()],
            )
            .forward();
        }
    }

    #[test]
    fn errors() {
        let [x, labels] = bottoms();
        for (options, why) in [
            ("num_class: 0", "yolov3_param.num_class: is 0"),
            ("num: 0", "yolov3_param.num: is 0"),
            ("anchors_scale: 0", "yolov3_param.anchors_scale: is 0"),
            ("biases: 1", "yolov3_param.biases: has 5 values"),
            ("biases: [1, 0]", "yolov3_param.biases: 0 is no side"),
            ("num: 2", "yolov3_param.mask: names 1 anchors, but num is 2"),
            (
                "num: 2 mask: 2",
                "yolov3_param.mask: names anchor 2, but biases has 2",
            ),
            (
                "max_delta: -1",
                "yolov3_param.max_delta: is -1; it must be a number from 0 on",
            ),
            (
                "label_smooth_eps: nan",
                "yolov3_param.label_smooth_eps: is NaN",
            ),
            (
                "thresh: nan",
                "yolov3_param.thresh: is NaN; it must be a number",
            ),
            ("num_class: 3", "1 anchors of 5 values and 3 classes need 8"),
        ] {
            let error = error_of(&text(options), &[x.clone(), labels.clone()]);
            assert!(error.contains(why), "{error}");
        }
        let error = error_of("type: 'Yolov3'", &[x.clone(), labels]);
        assert!(
            error.contains("yolov3_param.biases: has 0 values"),
            "{error}"
        );
        let error = error_of(&text(""), &[x, noise(&[1, 4], 1)]);
        assert!(error.contains("five values a box"), "{error}");
    }
}
