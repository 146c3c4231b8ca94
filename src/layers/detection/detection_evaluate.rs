//! DetectionEvaluate: whether what is found is there. Detections of one image and class, best first, are compared with the
//! annotations of that class: a detection is right if the one that it overlaps most (intersection over union) is
//! overlapped by at least `overlap_threshold` and was not found before. No gradient.
//!
//! Shapes: detections \[1, 1, found, 7\] as DetectionOutput makes them, annotations \[1, 1, rows, 8\]. Top \[1, 1, classes +
//! found, 5\]: first for each class but the background (−1, class, annotations, −1, −1), then for each detection (image,
//! class, score, right, wrong); both are 0 for one that found a difficult object while `evaluate_difficult_gt` is false:
//! it counts for nothing, and neither do such objects. How many rows there are is known when forward sees the bottoms. A
//! solver with `eval_type: "detection"` makes the mean average precision of it.
//!
//! With `name_size_file` (lines `name height width`, one for each image in the order of the test, starting over at the
//! end) boxes are compared in the original's pixels, `resize_param` telling how it was resized.
//! Source: Everingham et al., The PASCAL Visual Object Classes Challenge (2010), section 4.2.

use std::collections::BTreeMap;

use super::{
    super::rows::Rows,
    boxes::BBox,
    original::{self, Original, Resize},
    truth::{self, Truth, check_rows},
};
use crate::{
    error::{Error, Result},
    layer::{Arity, Forward, Layer, LayerDef, LayerType, Role, Traits},
    tensor::{Shape, View},
};

pub(super) const TYPE: LayerType = LayerType::new("DetectionEvaluate", |def| {
    Ok(Box::new(DetectionEvaluate::new(def)?))
})
.arity(Arity::Exact(2), Arity::Exact(1))
.role(Role::Metric);

const OWNER: &str = "detection_evaluate_param";
/// Values of a row of the detections.
const FOUND: usize = 7;

struct DetectionEvaluate {
    classes: u32,
    background: u32,
    threshold: f32,
    difficult: bool,
    originals: Vec<Original>,
    resize: Resize,
    /// Which of the originals comes next.
    next: usize,
    rows: Rows<5>,
}

impl DetectionEvaluate {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def
            .param
            .detection_evaluate_param
            .clone()
            .unwrap_or_default();
        let invalid = |field: &str, why: &str| def.invalid(&format!("{OWNER}.{field}"), why);
        let classes = match param.num_classes {
            None => return Err(invalid("num_classes", "has to be given")),
            Some(n) if n > 1 << 24 => {
                return Err(invalid(
                    "num_classes",
                    "is more than the 2^24 that a float can count",
                ));
            }
            Some(n) => n,
        };
        let threshold = param.overlap_threshold();
        if threshold <= 0.0 || threshold.is_nan() {
            return Err(invalid("overlap_threshold", "must be above 0"));
        }
        let originals = match &param.name_size_file {
            Some(path) => original::read(def, &format!("{OWNER}.name_size_file"), path)?,
            None => Vec::new(),
        };
        Ok(Self {
            classes,
            background: param.background_label_id(),
            threshold,
            difficult: param.evaluate_difficult_gt(),
            originals,
            resize: Resize::new(def, OWNER, param.resize_param.as_ref())?,
            next: 0,
            rows: Rows::new(),
        })
    }

    fn counted(&self, truth: &Truth) -> bool {
        self.difficult || !truth.difficult
    }

    /// Rows for the classes.
    fn count_truths(&mut self, truths: &[Truth]) {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for truth in truths.iter().filter(|truth| self.counted(truth)) {
            *counts.entry(truth.class).or_default() += 1;
        }
        for class in (0..self.classes).filter(|&class| class != self.background) {
            let count = counts.get(&(class as usize)).copied().unwrap_or(0);
            self.rows
                .all
                .push([-1.0, class as f32, count as f32, -1.0, -1.0]);
        }
    }

    /// Rows for the detections of one image and class.
    fn judge(&mut self, image: f32, class: f32, mut found: Vec<(f32, BBox)>, truths: &[&Truth]) {
        if truths.is_empty() {
            let wrong = |(score, _)| [image, class, score, 0.0, 1.0];
            self.rows.all.extend(found.into_iter().map(wrong));
            return;
        }
        let original = self.originals.get(self.next);
        let extra = match original {
            Some(size) if size.width > 1.0 || size.height > 1.0 => 1.0,
            _ => 0.0,
        };
        let place = |bbox| original.map_or(bbox, |original| self.resize.undo(bbox, original));
        let boxes: Vec<BBox> = truths.iter().map(|truth| place(truth.bbox)).collect();
        let mut taken = vec![false; truths.len()];
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut rows = Vec::with_capacity(found.len());
        for (score, bbox) in found {
            let bbox = place(bbox);
            let mut best = (0, f32::NEG_INFINITY);
            for (i, other) in boxes.iter().enumerate() {
                let overlap = bbox.overlap(*other, extra);
                if overlap > best.1 {
                    best = (i, overlap);
                }
            }
            let (right, wrong) = if best.1 < self.threshold {
                (0.0, 1.0)
            } else if !self.counted(truths[best.0]) {
                (0.0, 0.0)
            } else if std::mem::replace(&mut taken[best.0], true) {
                (0.0, 1.0)
            } else {
                (1.0, 0.0)
            };
            rows.push([image, class, score, right, wrong]);
        }
        self.rows.all.append(&mut rows);
    }
}

impl Layer for DetectionEvaluate {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        check_rows(&bottoms[0], FOUND, "the detections")?;
        check_rows(&bottoms[1], truth::ROW, "the annotations")?;
        let classes = self.classes - u32::from(self.background < self.classes);
        self.rows
            .plan((classes as usize).saturating_add(bottoms[0].count() / FOUND))
    }

    fn traits(&self) -> Traits {
        Traits {
            moving: true,
            ..Traits::default()
        }
    }

    fn incoming_shapes(&mut self, bottoms: &[View<'_>]) -> Result<Option<Vec<Shape>>> {
        let truths = truth::read(bottoms[1], i64::from(self.background), true)?;
        let mut found: BTreeMap<i64, BTreeMap<i64, Vec<(f32, BBox)>>> = BTreeMap::new();
        for row in bottoms[0].data.chunks_exact(FOUND) {
            let (image, class) = (row[0] as i64, row[1] as i64);
            if image == -1 {
                continue;
            }
            if class == i64::from(self.background) {
                return Err(Error::data(format!(
                    "a detection is of class {class}, which is the background"
                ))
                .help("give DetectionOutput the same background_label_id"));
            }
            let of_image = found.entry(image).or_default();
            of_image
                .entry(class)
                .or_default()
                .push((row[2], BBox::at(&row[3..], 0)));
        }
        // An image without detections has its line in the list of sizes all the same.
        for truth in &truths {
            found.entry(truth.image as i64).or_default();
        }
        self.rows.all.clear();
        self.count_truths(&truths);
        for (image, classes) in found {
            for (class, found) in classes.into_iter().filter(|&(class, _)| class != -1) {
                let these = |t: &&Truth| t.image as i64 == image && t.class as i64 == class;
                let truths: Vec<&Truth> = truths.iter().filter(these).collect();
                self.judge(image as f32, class as f32, found, &truths);
            }
            self.next += 1;
            if self.next >= self.originals.len() {
                self.next = 0;
            }
        }
        self.rows.tell()
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        self.rows.write(io.tops[0].data);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        layer::testing::{Bench, error_of, tensor},
        tensor::Tensor,
    };

    fn text(options: &str) -> String {
        format!("type: 'DetectionEvaluate' detection_evaluate_param {{ num_classes: 3 {options} }}")
    }

    fn found(rows: &[[f32; 7]]) -> Tensor {
        tensor(&[1, 1, rows.len(), 7], rows.as_flattened())
    }

    /// Class 1 twice in image 0, the second difficult; class 2 in image 1.
    fn truths() -> Tensor {
        let rows = [
            [0.0, 1.0, 0.0, 0.1, 0.1, 0.3, 0.3, 0.0],
            [0.0, 1.0, 0.0, 0.6, 0.6, 0.8, 0.8, 1.0],
            [1.0, 2.0, 0.0, 0.1, 0.1, 0.3, 0.3, 0.0],
        ];
        tensor(&[1, 1, 3, 8], rows.as_flattened())
    }

    const FOUND: [[f32; 7]; 5] = [
        [0.0, 1.0, 0.6, 0.1, 0.1, 0.3, 0.31],
        [0.0, 1.0, 0.9, 0.1, 0.12, 0.3, 0.3],
        [0.0, 1.0, 0.7, 0.61, 0.6, 0.8, 0.8],
        [1.0, 1.0, 0.5, 0.1, 0.1, 0.3, 0.3],
        [1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0],
    ];

    #[test]
    fn by_hand() {
        let mut bench = Bench::new(&text(""), &[found(&FOUND), truths()]);
        let want = [
            [-1.0, 1.0, 2.0, -1.0, -1.0],
            [-1.0, 2.0, 1.0, -1.0, -1.0],
            [0.0, 1.0, 0.9, 1.0, 0.0],
            [0.0, 1.0, 0.7, 1.0, 0.0],
            [0.0, 1.0, 0.6, 0.0, 1.0],
            [1.0, 1.0, 0.5, 0.0, 1.0],
        ];
        assert_eq!(bench.forward(), want.as_flattened());
        assert_eq!(bench.tops[0].shape.dims(), [1, 1, 6, 5]);
        let options = text("evaluate_difficult_gt: false");
        let mut bench = Bench::new(&options, &[found(&FOUND), truths()]);
        let rows = bench.forward();
        assert_eq!(rows[..5], [-1.0, 1.0, 1.0, -1.0, -1.0]);
        assert_eq!(rows[15..20], [0.0, 1.0, 0.7, 0.0, 0.0]);
        let strict = text("overlap_threshold: 0.99 background_label_id: 7");
        let mut bench = Bench::new(&strict, &[found(&FOUND[..1]), truths()]);
        let rows = bench.forward();
        assert_eq!(rows.len(), 4 * 5);
        assert_eq!(rows[15..], [0.0, 1.0, 0.6, 0.0, 1.0]);
    }

    #[test]
    fn boxes_in_pixels() {
        // Of 4 × 4 pixels: pixels 0 to 1 and 1 to 2 along x share 1 of 3 columns; as fractions they only touch.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sizes.txt");
        std::fs::write(&path, "a 4 4\n").unwrap();
        let sizes = format!(
            "overlap_threshold: 0.3 name_size_file: '{}'",
            path.display()
        );
        let found = found(&[[0.0, 1.0, 0.5, 0.0, 0.0, 0.25, 1.0]]);
        let truth = tensor(&[1, 8], &[0.0, 1.0, 0.0, 0.25, 0.0, 0.5, 1.0, 0.0]);
        for (options, right) in [(&*sizes, 1.0), ("overlap_threshold: 0.3", 0.0)] {
            let mut bench = Bench::new(&text(options), &[found.clone(), truth.clone()]);
            assert_eq!(bench.forward()[13], right);
            assert_eq!(bench.forward()[13], right);
        }
    }

    #[test]
    fn errors() {
        let background = found(&[[0.0; 7]]);
        for (text, bottoms, why) in [
            (
                "type: 'DetectionEvaluate'".to_owned(),
                [found(&FOUND), truths()],
                "num_classes: has to be given",
            ),
            (
                text("overlap_threshold: 0"),
                [found(&FOUND), truths()],
                "overlap_threshold",
            ),
            (
                text("name_size_file: 'none such'"),
                [found(&FOUND), truths()],
                "name_size_file",
            ),
            (text(""), [truths(), truths()], "the detections have shape"),
            (
                text(""),
                [found(&FOUND), found(&FOUND)],
                "the annotations have shape",
            ),
            (text(""), [background, truths()], "the background"),
            (
                text("background_label_id: 1"),
                [found(&[]), truths()],
                "the background",
            ),
        ] {
            let error = error_of(&text, &bottoms);
            assert!(error.contains(why), "{error}");
        }
        let many = "type: 'DetectionEvaluate' detection_evaluate_param { num_classes: 4000000000 }";
        let error = error_of(many, &[found(&FOUND), truths()]);
        assert!(error.contains("2^24"), "{error}");
    }
}
