//! DetectionOutput: what a net of SSD has found. Offsets are decoded from their prior boxes; for each image and each class
//! but the background, boxes that score above `confidence_threshold` go through non-maximum suppression (`nms_param`);
//! of all that stay in an image, the best `keep_top_k` come out. No gradient.
//!
//! Shapes: bottoms are offsets images × priors · 4 (with `share_location: false` one set of 4 for each class), confidences
//! images × priors · classes, the prior boxes 1 × 2 × priors · 4; a fourth, for showing, is not read. Top \[1, 1, found, 7\]:
//! image, class, score, xmin, ymin, xmax, ymax, ordered by image, class and falling score. How many there are is known
//! when forward sees the bottoms. Where nothing is found there is a row (image, −1, …, −1) for each image.
//! `save_output_param` also writes what is found to files: see `save.rs`. `visualize` is accepted and shows nothing.
//! Source: Liu et al., SSD (2016), section 2.3; codes in `boxes.rs`.

use rayon::prelude::*;

use super::{
    super::rows::Found,
    boxes::{BBox, Coder, Priors},
    layout::Layout,
    nms::Nms,
    save::Saver,
};
use crate::{
    error::{Error, Result},
    layer::{Arity, Forward, Layer, LayerDef, LayerType, Role, Traits},
    tensor::{Shape, View},
};

pub(super) const TYPE: LayerType = LayerType::new("DetectionOutput", |def| {
    Ok(Box::new(DetectionOutput::new(def)?))
})
.arity(Arity::Range(3, 4), Arity::Exact(1))
.role(Role::Metric);

/// Up to so many scores a second thread costs more than it brings.
const SERIAL: usize = 1 << 12;

struct DetectionOutput {
    classes: usize,
    shared: bool,
    background: i32,
    coder: Coder,
    nms: Nms,
    keep_top_k: Option<usize>,
    confidence: f32,
    saver: Option<Saver>,
    layout: Layout,
    found: Found,
}

impl DetectionOutput {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.detection_output_param.clone().unwrap_or_default();
        let invalid =
            |field: &str, why: &str| def.invalid(&format!("detection_output_param.{field}"), why);
        let classes = match param.num_classes {
            None => return Err(invalid("num_classes", "has to be given")),
            Some(0) => return Err(invalid("num_classes", "is 0; it must be at least 1")),
            Some(n) => n as usize,
        };
        let confidence = param.confidence_threshold.unwrap_or(f32::MIN);
        if confidence.is_nan() {
            return Err(invalid("confidence_threshold", "is not a number"));
        }
        Ok(Self {
            classes,
            shared: param.share_location(),
            background: param.background_label_id(),
            coder: Coder {
                code: param.code_type(),
                in_target: param.variance_encoded_in_target(),
            },
            nms: Nms::new(def, "detection_output_param", param.nms_param.as_ref())?,
            keep_top_k: usize::try_from(param.keep_top_k()).ok(),
            confidence,
            saver: match &param.save_output_param {
                Some(save) => Saver::new(def, save, param.background_label_id())?,
                None => None,
            },
            layout: Layout::default(),
            found: Found::new(),
        })
    }

    /// What is found of one class in one image, best first.
    fn search(
        &self,
        offsets: &[f32],
        scores: &[f32],
        priors: Priors<'_>,
        class: usize,
    ) -> Vec<(usize, f32, BBox)> {
        let layout = &self.layout;
        let of_class = scores.iter().skip(class).step_by(layout.classes);
        let candidates = of_class
            .copied()
            .enumerate()
            .filter(|&(_, score)| score > self.confidence)
            .collect();
        self.nms.keep(candidates, f32::NEG_INFINITY, |prior| {
            let offset = layout.offset(offsets, prior, layout.set(class));
            let variance = priors.variance(prior);
            self.coder.decode(priors.bbox(prior), variance, offset)
        })
    }

    /// Finds everything, into `found`.
    fn detect(&mut self, bottoms: &[View<'_>]) -> Result<()> {
        let layout = self.layout;
        let priors = Priors::new(bottoms[2].data, self.coder)?;
        let background = usize::try_from(self.background).unwrap_or(usize::MAX);
        // The classes but the background, by number.
        let classes = self.classes - usize::from(background < self.classes);
        let class = |k: usize| k + usize::from(k >= background);
        let search = |job: usize| {
            let (image, class) = (job / classes, class(job % classes));
            let offsets = layout.offsets(bottoms[0].data, image);
            let scores = layout.scores(bottoms[1].data, image);
            self.search(offsets, scores, priors, class)
        };
        let jobs = layout.images * classes;
        let found: Vec<_> = if bottoms[1].data.len() <= SERIAL {
            (0..jobs).map(search).collect()
        } else {
            (0..jobs).into_par_iter().map(search).collect()
        };
        let mut rows = std::mem::take(&mut self.found.all);
        rows.clear();
        for (image, found) in found.chunks(classes.max(1)).enumerate() {
            let first = rows.len();
            for (k, found) in found.iter().enumerate() {
                for &(_, score, BBox([x0, y0, x1, y1])) in found {
                    rows.push([image as f32, class(k) as f32, score, x0, y0, x1, y1]);
                }
            }
            if let Some(most) = self.keep_top_k.filter(|&k| rows.len() - first > k) {
                let of_image = &mut rows[first..];
                of_image.sort_by(|a, b| b[2].total_cmp(&a[2]));
                rows.truncate(first + most);
                // Of one class, they stay in the order of their scores.
                rows[first..].sort_by(|a, b| a[1].total_cmp(&b[1]));
            }
        }
        self.found.all = rows;
        Ok(())
    }
}

impl Layer for DetectionOutput {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let [offsets, scores, priors, ..] = bottoms else {
            return Err(Error::shape("three bottoms are needed"));
        };
        self.layout = Layout::new([offsets, scores, priors], self.classes, self.shared)?;
        self.found.plan(1)
    }

    fn traits(&self) -> Traits {
        Traits {
            moving: true,
            ..Traits::default()
        }
    }

    fn incoming_shapes(&mut self, bottoms: &[View<'_>]) -> Result<Option<Vec<Shape>>> {
        self.detect(bottoms)?;
        if let Some(saver) = &mut self.saver {
            saver.add(&self.found.all, self.layout.images)?;
        }
        self.found.or_nothing(self.layout.images);
        self.found.tell()
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        self.found.write(io.tops[0].data);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        layer::testing::{Bench, assert_close, error_of, noise, tensor},
        tensor::Tensor,
    };

    fn text(options: &str) -> String {
        format!(
            "type: 'DetectionOutput' detection_output_param {{ num_classes: 3 code_type: CORNER {options} }}"
        )
    }

    /// Four priors of side 0.2: 0 and 1 overlap by 1/3, 2 and 3 lie alone.
    fn priors() -> Tensor {
        let boxes = [
            [0.1, 0.1, 0.3, 0.3],
            [0.2, 0.1, 0.4, 0.3],
            [0.1, 0.6, 0.3, 0.8],
            [0.6, 0.6, 0.8, 0.8],
        ];
        let data = [boxes.as_flattened(), &[0.1; 16]].concat();
        tensor(&[1, 2, 16], &data)
    }

    /// Background, then two classes.
    const SCORES: [f32; 12] = [
        0.1, 0.8, 0.1, //
        0.1, 0.6, 0.3, //
        0.2, 0.0, 0.7, //
        1.0, 0.0, 0.0,
    ];

    fn run(options: &str) -> (Vec<usize>, Vec<f32>) {
        let offsets = tensor(&[1, 16], &[0.0; 16]);
        let scores = tensor(&[1, 12], &SCORES);
        let mut bench = Bench::new(&text(options), &[offsets, scores, priors()]);
        let found = bench.forward().to_vec();
        (bench.tops[0].shape.dims().to_vec(), found)
    }

    /// Class and score of each row.
    fn pairs(found: &[f32]) -> Vec<(f32, f32)> {
        found.chunks(7).map(|row| (row[1], row[2])).collect()
    }

    #[test]
    fn by_hand() {
        let (shape, found) = run("confidence_threshold: 0.2 nms_param { nms_threshold: 0.3 }");
        assert_eq!(shape, [1, 1, 3, 7]);
        let want = [
            [0.0, 1.0, 0.8, 0.1, 0.1, 0.3, 0.3],
            [0.0, 2.0, 0.7, 0.1, 0.6, 0.3, 0.8],
            [0.0, 2.0, 0.3, 0.2, 0.1, 0.4, 0.3],
        ];
        assert_close(&found, want.as_flattened(), 1e-6);
        let both = run("confidence_threshold: 0.2 nms_param { nms_threshold: 0.4 }").1;
        assert_eq!(
            pairs(&both),
            [(1.0, 0.8), (1.0, 0.6), (2.0, 0.7), (2.0, 0.3)]
        );
    }

    #[test]
    fn only_the_best_come_out() {
        let options = "confidence_threshold: 0.2 nms_param { nms_threshold: 0.4";
        let three = run(&format!("{options} }} keep_top_k: 3")).1;
        assert_eq!(pairs(&three), [(1.0, 0.8), (1.0, 0.6), (2.0, 0.7)]);
        let first = run(&format!("{options} top_k: 1 }}")).1;
        assert_eq!(pairs(&first), [(1.0, 0.8), (2.0, 0.7)]);
        let all = run("background_label_id: -1 nms_param { nms_threshold: 1 }").1;
        assert_eq!(all.len() / 7, 12);
    }

    #[test]
    fn nothing_is_found() {
        let (shape, found) = run("confidence_threshold: 0.9");
        assert_eq!(shape, [1, 1, 1, 7]);
        assert_eq!(found, [0.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0]);
    }

    #[test]
    fn classes_with_offsets_of_their_own() {
        let mut offsets = vec![0.0; 4 * 3 * 4];
        // Prior 2, class 2: right by 1 in units of its variance.
        offsets[2 * 12 + 8] = 1.0;
        offsets[2 * 12 + 10] = 1.0;
        let bottoms = [
            tensor(&[1, 48], &offsets),
            tensor(&[1, 12], &SCORES),
            priors(),
        ];
        let options = "share_location: false confidence_threshold: 0.65";
        let mut bench = Bench::new(&text(options), &bottoms);
        let found = bench.forward();
        assert_eq!(pairs(found), [(1.0, 0.8), (2.0, 0.7)]);
        assert_close(&found[10..], &[0.2, 0.6, 0.4, 0.8], 1e-6);
    }

    #[test]
    fn nan_is_never_found() {
        let mut bottoms = [
            tensor(&[1, 16], &[f32::NAN; 16]),
            tensor(&[1, 12], &SCORES),
            priors(),
        ];
        let mut bench = Bench::new(&text(""), &bottoms);
        assert_eq!(bench.forward().len() % 7, 0);
        bottoms[1].data.fill(f32::NAN);
        let mut bench = Bench::new(&text(""), &bottoms);
        assert_eq!(bench.forward()[1], -1.0);
    }

    #[test]
    fn errors() {
        let bottoms = [noise(&[1, 16], 1), noise(&[1, 12], 2), priors()];
        for (options, why) in [
            (
                "nms_param { nms_threshold: -1 }",
                "nms_param.nms_threshold: -1",
            ),
            (
                "nms_param { nms_threshold: nan }",
                "nms_param.nms_threshold",
            ),
            ("nms_param { eta: 0 }", "nms_param.eta: 0"),
            ("nms_param { eta: 1.5 }", "nms_param.eta: 1.5"),
            ("nms_param { soft_nms: true }", "soft"),
            ("confidence_threshold: nan", "confidence_threshold"),
            ("share_location: false", "3 sets of 4 offsets need 48"),
        ] {
            let error = error_of(&text(options), &bottoms);
            assert!(error.contains(why), "{error}");
        }
        for (text, why) in [
            ("type: 'DetectionOutput'", "num_classes: has to be given"),
            (
                "type: 'DetectionOutput' detection_output_param { num_classes: 0 }",
                "num_classes: is 0",
            ),
        ] {
            let error = error_of(text, &bottoms);
            assert!(error.contains(why), "{error}");
        }
        let flat = tensor(&[1, 2, 16], &[0.5; 32]);
        let [offsets, scores, _] = bottoms;
        let center = "type: 'DetectionOutput' detection_output_param { num_classes: 3 code_type: CENTER_SIZE }";
        let error = error_of(center, &[offsets, scores, flat]);
        assert!(error.contains("prior box 0 is"), "{error}");
    }
}
