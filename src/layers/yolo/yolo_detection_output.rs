//! YoloDetectionOutput: the boxes that a YOLOv2 net finds. A cell tells for each anchor a box, how sure it is (o) and scores
//! of the classes; its best class counts with σ(o) · softmax, if that is at least `confidence_threshold`, and boxes that
//! overlap a better one by `nms_threshold` or more are left out, of whatever class. No gradient.
//!
//! Shapes: bottoms N × (num_box · (5 + num_classes)) × S × S, the second one optional, of another S and the same anchors; top
//! [1, 1, found, 7] with rows of image, class counted from 1, score, xmin, ymin, xmax, ymax, by image and then the best
//! first; where nothing at all is found, a row of each image with −1. Coordinates are fractions of the image, not cut off.
//! `biases` are widths and heights of the anchors in cells. `side` has no effect (the bottoms tell), nor has
//! `label_map_file`, which names classes for display; `coords` must be 4.
//! Departure: images of a batch are kept apart, where the fork takes all for image 0.

use super::{
    found::{Candidate, Found},
    grid::{Grid, anchors, from, sigmoid},
};
use crate::{
    error::{Error, Result},
    layer::{Arity, Forward, Layer, LayerDef, LayerType, Role, Traits},
    tensor::{Shape, View},
};

pub(super) const TYPE: LayerType = LayerType::new("YoloDetectionOutput", |def| {
    Ok(Box::new(YoloDetectionOutput::new(def)?))
})
.arity(Arity::Range(1, 2), Arity::Exact(1))
.role(Role::Metric);

const PARAM: &str = "yolo_detection_output_param";

struct YoloDetectionOutput {
    /// Of each bottom.
    grids: Vec<Grid>,
    /// In cells.
    anchors: Vec<[f64; 2]>,
    confidence: f64,
    images: usize,
    found: Found,
}

impl YoloDetectionOutput {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def
            .param
            .yolo_detection_output_param
            .clone()
            .unwrap_or_default();
        let invalid = |field: &str, why: String| Err(def.invalid(&format!("{PARAM}.{field}"), why));
        match param.num_classes {
            None => return invalid("num_classes", "has to be given".to_owned()),
            Some(0) => return invalid("num_classes", "is 0; it must be at least 1".to_owned()),
            Some(_) => {}
        }
        if param.num_box() == 0 {
            return invalid("num_box", "is 0; it must be at least 1".to_owned());
        }
        if param.coords() != 4 {
            return invalid("coords", format!("is {}; boxes have 4", param.coords()));
        }
        let count = param.num_box() as usize;
        let grid = Grid {
            anchors: count,
            lead: 5,
            classes: param.num_classes() as usize,
            ..Grid::default()
        };
        let confidence = param.confidence_threshold();
        Ok(Self {
            grids: vec![grid],
            anchors: anchors(def, PARAM, &param.biases, Some(count))?,
            confidence: from(
                def,
                PARAM,
                "confidence_threshold",
                confidence,
                f32::NEG_INFINITY,
            )?,
            images: 0,
            found: Found::new(from(
                def,
                PARAM,
                "nms_threshold",
                param.nms_threshold(),
                0.0,
            )?),
        })
    }

    /// What a bottom tells of an image.
    fn search(&self, x: &[f32], grid: &Grid, found: &mut Vec<Candidate>) {
        for cell in 0..grid.cells() {
            for (i, anchor) in self.anchors.iter().enumerate() {
                let at = |channel| x[grid.at(i, channel, cell)];
                let (mut best, mut most) = (0, at(5));
                for class in 1..grid.classes {
                    if at(5 + class) > most {
                        (best, most) = (class, at(5 + class));
                    }
                }
                let sum: f64 = (0..grid.classes)
                    .map(|class| f64::from(at(5 + class) - most).exp())
                    .sum();
                let score = (sigmoid(at(4)) / sum) as f32;
                if f64::from(score) >= self.confidence {
                    let sides = anchor.map(|a| a / grid.width as f64);
                    found.push(Candidate {
                        class: best,
                        score,
                        rect: grid.rect(cell, [at(0), at(1), at(2), at(3)], sides),
                    });
                }
            }
        }
    }
}

/// The number of images, the same of all bottoms.
///
/// # Errors
/// `Shape` where it is not.
pub(super) fn images(bottoms: &[Shape]) -> Result<usize> {
    let images = bottoms[0].legacy(0);
    match bottoms.iter().find(|b| b.legacy(0) != images) {
        None => Ok(images),
        Some(other) => Err(Error::shape(format!(
            "bottoms {} and {other} differ in their first axis, the batch",
            bottoms[0]
        ))),
    }
}

impl Layer for YoloDetectionOutput {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let fields = "yolo_detection_output_param.num_box and num_classes";
        let grid = self.grids[0];
        self.images = images(bottoms)?;
        self.grids = bottoms
            .iter()
            .map(|bottom| grid.square(bottom, fields))
            .collect::<Result<_>>()?;
        self.found.reshape()
    }

    fn traits(&self) -> Traits {
        Traits {
            moving: true,
            ..Traits::default()
        }
    }

    fn incoming_shapes(&mut self, bottoms: &[View<'_>]) -> Result<Option<Vec<Shape>>> {
        let kept = self.found.keep(self.images, |image| {
            let mut all = Vec::new();
            for (bottom, grid) in bottoms.iter().zip(&self.grids) {
                let item = grid.item();
                self.search(&bottom.data[image * item..][..item], grid, &mut all);
            }
            all
        });
        self.found.tell(&kept)
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        self.found.write(io.tops[0].data);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, assert_close, error_of, fields, noise, tensor};

    fn text(options: &str) -> String {
        let options = fields(
            &["num_classes: 2", "num_box: 1", "confidence_threshold: 0.3"],
            options,
        );
        format!(
            "type: 'YoloDetectionOutput' yolo_detection_output_param {{ biases: [1, 2] {options} }}"
        )
    }

    #[test]
    fn by_hand() {
        // Two images of 2 × 2 cells: all unsure but cell 3 of image 1, whose class 1 is three times as likely.
        let mut x = vec![0.0; 56];
        x[16..20].fill(-9.0);
        x[28 + 16..28 + 19].fill(-9.0);
        x[28 + 27] = 3.0f32.ln();
        let x = tensor(&[2, 7, 2, 2], &x);
        let mut bench = Bench::new(&text(""), std::slice::from_ref(&x));
        let want = [1.0, 2.0, 0.375, 0.5, 0.25, 1.0, 1.25];
        assert_close(bench.forward(), &want, 1e-6);
        // Another bottom, of one cell.
        let mut second = vec![0.0; 14];
        second[4] = 9.0;
        second[11] = -9.0;
        let mut bench = Bench::new(&text(""), &[x, tensor(&[2, 7, 1, 1], &second)]);
        let sure = 0.5 / (1.0 + (-9.0f32).exp());
        let want = [[0.0, 1.0, sure, 0.0, -0.5, 1.0, 1.5], want];
        assert_close(bench.forward(), want.as_flattened(), 1e-6);
    }

    #[test]
    fn nothing_is_found() {
        let x = noise(&[2, 7, 3, 3], 1);
        let mut bench = Bench::new(&text("confidence_threshold: 1"), std::slice::from_ref(&x));
        let want = [
            [0.0, -1., -1., -1., -1., -1., -1.],
            [1.0, -1., -1., -1., -1., -1., -1.],
        ];
        assert_eq!(bench.forward(), want.as_flattened());
        let nan = tensor(&[1, 7, 1, 1], &[f32::NAN; 7]);
        assert_eq!(Bench::new(&text(""), &[nan]).forward()[1], -1.0);
        let mut bench = Bench::new(&text("nms_threshold: 0"), &[x]);
        assert_eq!(bench.forward().len(), 14);
        assert!(
            Bench::new(&text(""), &[noise(&[0, 7, 1, 1], 1)])
                .forward()
                .is_empty()
        );
    }

    #[test]
    fn errors() {
        let x = noise(&[1, 7, 2, 2], 1);
        for (options, why) in [
            ("num_classes: 0", "num_classes: is 0"),
            ("num_box: 0", "num_box: is 0"),
            ("num_box: 2", "biases: has 2 values"),
            ("coords: 5", "coords: is 5"),
            ("confidence_threshold: nan", "confidence_threshold: is NaN"),
            ("nms_threshold: -1", "nms_threshold: is -1"),
            (
                "num_classes: 3",
                "1 anchors of 5 values and 3 classes need 8",
            ),
        ] {
            let error = error_of(&text(options), std::slice::from_ref(&x));
            assert!(error.contains(why), "{error}");
        }
        let error = error_of("type: 'YoloDetectionOutput'", std::slice::from_ref(&x));
        assert!(error.contains("num_classes: has to be given"), "{error}");
        let error = error_of(&text(""), &[noise(&[1, 7, 2, 3], 1)]);
        assert!(error.contains("as high as wide"), "{error}");
        let error = error_of(&text(""), &[x, noise(&[2, 7, 2, 2], 1)]);
        assert!(error.contains("differ in their first axis"), "{error}");
    }
}
