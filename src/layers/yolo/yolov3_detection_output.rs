//! Yolov3DetectionOutput: the boxes that a YOLOv3 net finds. A cell tells for each anchor a box, how sure it is (o) and
//! scores of the classes; each class with σ(o) · σ(score) above `confidence_threshold` makes a box, and boxes that overlap a
//! better one by `nms_threshold` or more are left out, of whatever class. No gradient.
//!
//! Shapes: `mask_group_num` bottoms of N × (num_box · (5 + num_classes)) × H × W; the top as YoloDetectionOutput. `mask` names
//! the anchors of each bottom, one bottom after the other; `biases` are widths and heights of all anchors in pixels of an
//! image of W · anchors_scale by H · anchors_scale, one `anchors_scale` a bottom. With `gaussian_box`, x, y, w and h are each
//! followed by how unsure they are, and o is multiplied by 1 − the mean of the sigmoids of those.
//! Departures: images of a batch are kept apart, where the fork takes all for image 0; with `gaussian_box` its CPU code takes
//! the class before for each class, which is not followed.
//! Source: Redmon and Farhadi, YOLOv3 (2018); Choi et al., Gaussian YOLOv3 (2019), section 3.3.

use super::{
    found::{Candidate, Found},
    grid::{Grid, anchors, from, sigmoid},
    yolo_detection_output::images,
};
use crate::{
    error::Result,
    layer::{Arity, Forward, Layer, LayerDef, LayerType, Role, Traits},
    tensor::{Shape, View},
};

pub(super) const TYPE: LayerType = LayerType::new("Yolov3DetectionOutput", |def| {
    Ok(Box::new(Yolov3DetectionOutput::new(def)?))
})
.arity(Arity::AtLeast(1), Arity::Exact(1))
.role(Role::Metric);

const PARAM: &str = "yolov3_detection_output_param";

struct Yolov3DetectionOutput {
    grids: Vec<Source>,
    gaussian: bool,
    confidence: f64,
    images: usize,
    found: Found,
}

/// A bottom.
struct Source {
    grid: Grid,
    /// Its anchors, in pixels.
    anchors: Vec<[f64; 2]>,
    /// Pixels of a cell.
    scale: f64,
}

impl Yolov3DetectionOutput {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def
            .param
            .yolov3_detection_output_param
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
        let (groups, count) = (param.mask_group_num() as usize, param.num_box() as usize);
        if groups != def.param.bottom.len() {
            let bottoms = def.param.bottom.len();
            return invalid(
                "mask_group_num",
                format!("is {groups}, but there are {bottoms} bottoms"),
            );
        }
        if param.mask.len() as u128 != groups as u128 * count as u128 {
            return invalid(
                "mask",
                format!(
                    "names {} anchors, but {groups} groups of num_box {count} need {}",
                    param.mask.len(),
                    groups as u128 * count as u128
                ),
            );
        }
        let all = anchors(def, PARAM, &param.biases, None)?;
        if let Some(wrong) = param.mask.iter().find(|&&m| m as usize >= all.len()) {
            return invalid(
                "mask",
                format!("names anchor {wrong}, but biases has {}", all.len()),
            );
        }
        let scales = &param.anchors_scale;
        if scales.len() != groups || scales.contains(&0) {
            return invalid(
                "anchors_scale",
                format!("is {scales:?}; each of the {groups} bottoms needs one above 0"),
            );
        }
        let gaussian = param.gaussian_box();
        let grids = param
            .mask
            .chunks(count)
            .zip(scales)
            .map(|(mask, &scale)| Source {
                grid: Grid {
                    anchors: count,
                    lead: if gaussian { 9 } else { 5 },
                    classes: param.num_classes() as usize,
                    ..Grid::default()
                },
                anchors: mask.iter().map(|&m| all[m as usize]).collect(),
                scale: scale.into(),
            });
        let confidence = param.confidence_threshold();
        Ok(Self {
            grids: grids.collect(),
            gaussian,
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
    fn search(&self, x: &[f32], source: &Source, found: &mut Vec<Candidate>) {
        let grid = &source.grid;
        let size = [grid.width, grid.height].map(|cells| cells as f64 * source.scale);
        for cell in 0..grid.cells() {
            for (i, anchor) in source.anchors.iter().enumerate() {
                let at = |channel| x[grid.at(i, channel, cell)];
                let (values, sure) = if self.gaussian {
                    let unsure: f64 = [1, 3, 5, 7].map(|c| sigmoid(at(c))).iter().sum();
                    let values = [at(0), at(2), at(4), at(6)];
                    (values, sigmoid(at(8)) * (4.0 - unsure) / 4.0)
                } else {
                    ([at(0), at(1), at(2), at(3)], sigmoid(at(4)))
                };
                for class in 0..grid.classes {
                    let score = (sure * sigmoid(at(grid.lead + class))) as f32;
                    if f64::from(score) > self.confidence {
                        let sides = [anchor[0] / size[0], anchor[1] / size[1]];
                        let rect = grid.rect(cell, values, sides);
                        found.push(Candidate { class, score, rect });
                    }
                }
            }
        }
    }
}

impl Layer for Yolov3DetectionOutput {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let fields = "yolov3_detection_output_param.num_box and num_classes";
        self.images = images(bottoms)?;
        for (source, bottom) in self.grids.iter_mut().zip(bottoms) {
            source.grid = source.grid.sized(bottom, fields)?;
        }
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
            for (bottom, source) in bottoms.iter().zip(&self.grids) {
                let item = source.grid.item();
                self.search(&bottom.data[image * item..][..item], source, &mut all);
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
            "type: 'Yolov3DetectionOutput' yolov3_detection_output_param {{ biases: [4, 8, 16, 16] {options} }}"
        )
    }

    const TWO: &str = "mask: [1, 0] anchors_scale: [8, 4]";

    #[test]
    fn by_hand() {
        // Coarse: one cell, unsure. Fine: cell 1 of 2 × 1 is sure of its second class.
        let coarse = tensor(&[1, 7, 1, 1], &[0.0, 0.0, 0.0, 0.0, -9.0, 0.0, 0.0]);
        let mut fine = vec![0.0; 14];
        fine[8] = -9.0;
        fine[9] = 3.0f32.ln();
        fine[11] = -9.0;
        let mut bench = Bench::new(&text(TWO), &[coarse, tensor(&[1, 7, 1, 2], &fine)]);
        // The image is of 8 × 4 pixels there, the anchor of 4 × 8.
        assert_close(
            bench.forward(),
            &[0.0, 2.0, 0.375, 0.5, -0.5, 1.0, 1.5],
            1e-6,
        );
    }

    #[test]
    fn unsure_boxes() {
        let mut x = vec![0.0; 11];
        x[8] = 30.0;
        x[9] = 30.0;
        x[10] = -30.0;
        let options = "mask: 0 mask_group_num: 1 anchors_scale: 8 gaussian_box: true";
        let mut bench = Bench::new(&text(options), &[tensor(&[1, 11, 1, 1], &x)]);
        assert_close(
            bench.forward(),
            &[0.0, 1.0, 0.5, 0.25, 0.0, 0.75, 1.0],
            1e-6,
        );
    }

    #[test]
    fn errors() {
        let x = || [noise(&[1, 7, 1, 1], 1), noise(&[1, 7, 2, 2], 1)];
        for (options, why) in [
            (
                "mask_group_num: 1",
                "mask_group_num: is 1, but there are 2 bottoms",
            ),
            (
                "mask: 0",
                "mask: names 1 anchors, but 2 groups of num_box 1 need 2",
            ),
            ("mask: [0, 2]", "mask: names anchor 2, but biases has 2"),
            (
                "mask: [0, 1]",
                "anchors_scale: is []; each of the 2 bottoms",
            ),
            (
                "mask: [0, 1] anchors_scale: [1, 0]",
                "anchors_scale: is [1, 0]",
            ),
            ("num_classes: 0", "num_classes: is 0"),
            ("num_box: 0", "num_box: is 0"),
            ("biases: 1 mask: [0, 1]", "biases: has 5 values"),
        ] {
            let error = error_of(&text(options), &x());
            assert!(error.contains(why), "{error}");
        }
        for (options, why) in [
            ("confidence_threshold: nan", "confidence_threshold: is NaN"),
            ("nms_threshold: nan", "nms_threshold: is NaN"),
            ("num_classes: 3", "classes need 8"),
        ] {
            let error = error_of(&text(&format!("{TWO} {options}")), &x());
            assert!(error.contains(why), "{error}");
        }
        let error = error_of("type: 'Yolov3DetectionOutput'", &x());
        assert!(error.contains("num_classes: has to be given"), "{error}");
        let [a, _] = x();
        let error = error_of(&text(TWO), &[a, noise(&[2, 7, 2, 2], 1)]);
        assert!(error.contains("differ in their first axis"), "{error}");
        let mut bench = Bench::new(&text(TWO), &x());
        bench.set_bottom(1, noise(&[1, 7, 3, 4], 1)).unwrap();
        bench.forward();
    }
}
