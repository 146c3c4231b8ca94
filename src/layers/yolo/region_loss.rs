//! RegionLoss: loss = Σ d² / N, d what each value of x is to move by, the loss of YOLOv2.   dx = d · w/N, w = the loss
//! weight: Darknet's rule, not the derivative of that sum. None by the labels.
//!
//! A cell tells for each anchor x, y, w, h, how sure it is that there is a box (o), and scores of the classes; σ is the
//! sigmoid. Where there is no box: d(o) = noobject_scale · σ(o) · σ', or 0 if a true box overlaps the told one by more than
//! `thresh`. A true box (i, j its cell) goes to the anchor of its cell that is most like it in width and height; there
//! d(x) = s · (σ(x) − (x* · W − i)) · σ', d(w) = s · (w − ln(w* · W / anchor)), y and h alike,
//! d(o) = object_scale · (σ(o) − t) · σ', d(class) = class_scale · (softmax − [class = label]); of two true boxes at one
//! anchor the later counts. With `rescore` t is how much the told box overlaps and s = coord_scale, else t = 1 and
//! s = coord_scale · (2 − w* · h*). `bias_match: 0` compares told boxes instead of anchors.
//!
//! Shapes: x is N × (num · (5 + num_class)) × S × S; labels N × (most · 5), rows of class, x, y, w, h in fractions of the
//! image, ending where w is 0; loss a scalar. `biases` are widths and heights of the anchors in cells. The moves are kept by
//! the layer: backward reads no data.
//! Options without effect, as in the fork: `side` (the bottom tells), `jitter`, `absolute`, `random`. Others that it reads
//! and does not use (`softmax: 0`, `class_map`) are errors, as are `coords` other than 4 and `softmax_tree`.
//! Departures: labels are checked, and any number of boxes is taken, where the fork reads 300; a centre at 1 lies in the
//! last cell; without two sides for each anchor there is an error, where the fork takes zeros; an anchor is taken even if
//! none overlaps.
//! Source: Redmon and Farhadi, YOLO9000 (2017), section 2; the fork of eric612.

use rayon::prelude::*;

use super::{
    grid::{Grid, anchors, from, sigmoid},
    rect::Rect,
    truths::{self, Truth, Truths},
};
use crate::{
    error::{Error, Result},
    kernels::map,
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType, Role},
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("RegionLoss", |def| Ok(Box::new(RegionLoss::new(def)?)))
        .arity(Arity::Exact(2), Arity::Exact(1))
        .role(Role::Loss)
        .no_grad(&[1]);

const PARAM: &str = "region_loss_param";

struct RegionLoss {
    grid: Grid,
    /// In cells.
    anchors: Vec<[f64; 2]>,
    bias_match: bool,
    rescore: bool,
    object_scale: f64,
    noobject_scale: f64,
    class_scale: f64,
    coord_scale: f64,
    thresh: f64,
    items: usize,
    /// d of the last forward pass.
    moves: Vec<f32>,
}

impl RegionLoss {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.region_loss_param.clone().unwrap_or_default();
        let invalid = |field: &str, why: String| Err(def.invalid(&format!("{PARAM}.{field}"), why));
        for (field, value) in [("num_class", param.num_class()), ("num", param.num())] {
            if value == 0 {
                return invalid(field, "is 0; it must be at least 1".to_owned());
            }
        }
        if param.coords() != 4 {
            return invalid("coords", format!("is {}; boxes have 4", param.coords()));
        }
        if param.softmax() == 0 {
            let error = Error::unsupported(format!("{PARAM}.softmax: 0 is not built"));
            return Err(
                error.help("scores of classes always go through a softmax, in the fork too")
            );
        }
        for (field, value) in [
            ("softmax_tree", param.softmax_tree()),
            ("class_map", param.class_map()),
        ] {
            if !value.is_empty() {
                let error = Error::unsupported(format!("{PARAM}.{field} is not built"));
                return Err(error.help("leave it out; it has no effect in the fork"));
            }
        }
        let scale = |field: &str, value: f32| from(def, PARAM, field, value, f32::NEG_INFINITY);
        let count = param.num() as usize;
        Ok(Self {
            grid: Grid {
                anchors: count,
                lead: 5,
                classes: param.num_class() as usize,
                ..Grid::default()
            },
            anchors: anchors(def, PARAM, &param.biases, Some(count))?,
            bias_match: param.bias_match() != 0,
            rescore: param.rescore() != 0,
            object_scale: scale("object_scale", param.object_scale())?,
            noobject_scale: scale("noobject_scale", param.noobject_scale())?,
            class_scale: scale("class_scale", param.class_scale())?,
            coord_scale: scale("coord_scale", param.coord_scale())?,
            thresh: scale("thresh", param.thresh())?,
            items: 0,
            moves: Vec::new(),
        })
    }

    /// The box that a cell tells.
    fn rect(&self, x: &[f32], anchor: usize, cell: usize) -> Rect {
        let values = std::array::from_fn(|c| x[self.grid.at(anchor, c, cell)]);
        let side = self.grid.width as f64;
        let sides = self.anchors[anchor].map(|a| a / side);
        self.grid.rect(cell, values, sides)
    }

    /// Writes the moves of an image and returns the sum of their squares.
    fn image(&self, x: &[f32], truths: &Truths, moves: &mut [f32]) -> f64 {
        let grid = &self.grid;
        moves.fill(0.0);
        for anchor in 0..grid.anchors {
            for cell in 0..grid.cells() {
                let told = self.rect(x, anchor, cell);
                if truths.best(told, Rect::iou) <= self.thresh {
                    let at = grid.at(anchor, 4, cell);
                    let sure = sigmoid(x[at]);
                    moves[at] = (self.noobject_scale * sure * sure * (1.0 - sure)) as f32;
                }
            }
        }
        for truth in &truths.all {
            self.claim(x, truth, moves);
        }
        moves.iter().map(|&d| f64::from(d) * f64::from(d)).sum()
    }

    /// The anchor of a true box's cell that is most like it.
    fn anchor(&self, x: &[f32], truth: &Truth, cell: usize) -> usize {
        let wanted = Rect::sized(truth.rect.w, truth.rect.h);
        let (mut best, mut most) = (0, 0.0);
        for (i, anchor) in self.anchors.iter().enumerate() {
            let sides = if self.bias_match {
                let [w, h] = anchor.map(|a| a / self.grid.width as f64);
                Rect::sized(w, h)
            } else {
                let told = self.rect(x, i, cell);
                Rect::sized(told.w, told.h)
            };
            let overlap = sides.iou(wanted);
            if overlap > most {
                (best, most) = (i, overlap);
            }
        }
        best
    }

    /// Moves towards a true box.
    fn claim(&self, x: &[f32], truth: &Truth, moves: &mut [f32]) {
        let (grid, rect) = (&self.grid, truth.rect);
        let cell = truth.row * grid.width + truth.column;
        let anchor = self.anchor(x, truth, cell);
        let at = |channel| grid.at(anchor, channel, cell);
        let overlap = self.rect(x, anchor, cell).iou(rect);
        let (goal, scale) = if self.rescore {
            (overlap, self.coord_scale)
        } else {
            (1.0, self.coord_scale * (2.0 - rect.w * rect.h))
        };
        let side = grid.width as f64;
        let center = [
            rect.x * side - truth.column as f64,
            rect.y * side - truth.row as f64,
        ];
        let sides = [rect.w, rect.h];
        for k in [0, 1] {
            let told = sigmoid(x[at(k)]);
            moves[at(k)] = (scale * (told - center[k]) * told * (1.0 - told)) as f32;
            let wanted = (sides[k] * side / self.anchors[anchor][k]).ln();
            moves[at(2 + k)] = (scale * (f64::from(x[at(2 + k)]) - wanted)) as f32;
        }
        let sure = sigmoid(x[at(4)]);
        moves[at(4)] = (self.object_scale * (sure - goal) * sure * (1.0 - sure)) as f32;
        let scores = || (0..grid.classes).map(|class| x[at(5 + class)]);
        let most = scores().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = scores().map(|score| f64::from(score - most).exp()).sum();
        for class in 0..grid.classes {
            let share = f64::from(x[at(5 + class)] - most).exp() / sum;
            let wanted = if class == truth.class { 1.0 } else { 0.0 };
            moves[at(5 + class)] = (self.class_scale * (share - wanted)) as f32;
        }
    }
}

impl Layer for RegionLoss {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let (x, labels) = (&bottoms[0], &bottoms[1]);
        self.grid = self.grid.square(x, "region_loss_param.num and num_class")?;
        truths::check(x, labels)?;
        self.items = x.dims()[0];
        self.moves.resize(x.count(), 0.0);
        Ok(vec![Shape::new(&[])])
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let truths = Truths::read(io.bottoms[1].data, self.items, &self.grid)?;
        let mut moves = std::mem::take(&mut self.moves);
        let item = self.grid.item().max(1);
        let squares: Vec<f64> = moves
            .par_chunks_mut(item)
            .zip(io.bottoms[0].data.par_chunks(item))
            .zip(&truths)
            .map(|((moves, x), truths)| self.image(x, truths, moves))
            .collect();
        self.moves = moves;
        io.tops[0].data[0] = (squares.iter().sum::<f64>() / self.items.max(1) as f64) as f32;
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

    fn text(options: &str) -> String {
        let options = fields(&["num_class: 2", "num: 1"], options);
        format!("type: 'RegionLoss' region_loss_param {{ biases: [1, 2] {options} }}")
    }

    /// One anchor, four cells of zeros; a box in the cell below right, as wide as the anchor and half as high.
    fn bottoms() -> [Tensor; 2] {
        let labels = [1.0, 0.75, 0.8, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0];
        [tensor(&[1, 7, 2, 2], &[0.0; 28]), tensor(&[1, 10], &labels)]
    }

    #[test]
    fn by_hand() {
        let mut bench = Bench::new(&text("rescore: 0 object_scale: 4 thresh: 0.9"), &bottoms());
        let loss = bench.forward()[0];
        let dx = bench.backward(&[1.0], &[0]).bottoms[0]
            .clone()
            .unwrap()
            .data;
        let mut want = [0.0; 28];
        // No box: 0.5 · σσ' = 0.5 · 0.5 · 0.25; a box: 4 · (0.5 − 1) · 0.25.
        want[16..20].copy_from_slice(&[0.0625, 0.0625, 0.0625, -0.5]);
        // s = 5 · (2 − 0.25): x is right, y 0.1 too small, h twice too large.
        want[7] = 8.75 * (0.5 - 0.6) * 0.25;
        want[15] = 8.75 * 2.0f32.ln();
        want[23] = 0.5;
        want[27] = -0.5;
        assert_close(&dx, &want, 1e-5);
        assert_close(&[loss], &[want.iter().map(|d| d * d).sum()], 1e-5);
    }

    #[test]
    fn rescoring_asks_for_the_overlap() {
        let mut bench = Bench::new(&text(""), &bottoms());
        bench.forward();
        let dx = bench.backward(&[2.0], &[0]).bottoms[0]
            .clone()
            .unwrap()
            .data;
        // The told box is 0.5 × 1 around (0.75, 0.75): overlap 0.5 · 0.5 of 0.5 · 1; that is more than 0.2 for all.
        assert_close(&[dx[19]], &[2.0 * (0.5 - 0.5) * 0.25], 1e-5);
        assert_close(&[dx[15]], &[2.0 * 5.0 * 2.0f32.ln()], 1e-5);
    }

    #[test]
    fn told_boxes_may_choose_the_anchor() {
        let [_, labels] = bottoms();
        let mut x = vec![0.0; 56];
        // Anchor 1 (2 × 2 cells) tells a quarter of its sides in the last cell.
        x[28 + 11] = -(2.0f32.ln());
        x[28 + 15] = -(2.0f32.ln());
        let x = tensor(&[1, 14, 2, 2], &x);
        for (options, class_at) in [("", 23), ("bias_match: 0", 28 + 23)] {
            let text = format!(
                "type: 'RegionLoss' region_loss_param {{ num_class: 2 num: 2 biases: [1, 2, 2, 2] {options} }}"
            );
            let mut bench = Bench::new(&text, &[x.clone(), labels.clone()]);
            bench.forward();
            let dx = bench.backward(&[1.0], &[0]).bottoms[0]
                .clone()
                .unwrap()
                .data;
            assert_eq!(dx[class_at], 0.5, "{options}");
        }
    }

    #[test]
    fn threads_and_batches() {
        let row = [0.0, 0.3, 0.6, 0.2, 0.4];
        let labels = tensor(&[5, 5], &[row; 5].concat());
        check_threads(&text(""), &[noise(&[5, 7, 6, 6], 1), labels], &[0]);
        let mut bench = Bench::new(&text(""), &[noise(&[0, 7, 2, 2], 1), noise(&[0, 10], 1)]);
        assert_eq!(bench.forward(), [0.0]);
        bench.backward(&[1.0], &[0]);
        let mut bench = Bench::new(&text(""), &[noise(&[1, 7, 0, 0], 1), noise(&[1, 0], 1)]);
        assert_eq!(bench.forward(), [0.0]);
    }

    #[test]
    fn errors() {
        let [x, labels] = bottoms();
        for (options, why) in [
            ("num_class: 0", "region_loss_param.num_class: is 0"),
            ("num: 0", "region_loss_param.num: is 0"),
            ("num: 2", "biases: has 2 values, but each of the 2 anchors"),
            ("biases: 3", "biases: has 3 values"),
            ("num: 2 biases: [-1, 1]", "biases: -1 is no side"),
            ("coords: 5", "region_loss_param.coords: is 5"),
            ("softmax: 0", "region_loss_param.softmax: 0 is not built"),
            (
                "softmax_tree: 'a'",
                "region_loss_param.softmax_tree is not built",
            ),
            ("class_map: 'a'", "region_loss_param.class_map is not built"),
            ("thresh: nan", "region_loss_param.thresh: is NaN"),
            ("coord_scale: nan", "region_loss_param.coord_scale: is NaN"),
            ("num_class: 3", "1 anchors of 5 values and 3 classes need 8"),
        ] {
            let error = error_of(&text(options), &[x.clone(), labels.clone()]);
            assert!(error.contains(why), "{error}");
        }
        let error = error_of(&text(""), &[noise(&[1, 7, 2, 3], 1), labels.clone()]);
        assert!(error.contains("as high as wide"), "{error}");
        for wrong in [&[1, 9][..], &[2, 10], &[]] {
            let error = error_of(&text(""), &[x.clone(), noise(wrong, 1)]);
            assert!(error.contains("five values a box"), "{error}");
        }
        let error = error_of(&text(""), &[x, tensor(&[1, 5], &[2.0, 0.5, 0.5, 0.1, 0.1])]);
        assert!(
            error.contains("box 0 of image 0 has the label 2"),
            "{error}"
        );
    }
}
