//! Proposal: regions where a region proposal network sees an object. For each cell of the map and each anchor the box that
//! the offsets tell, cut off at the image; without those smaller than `min_size` · the image's scale; of the rest the
//! `pre_nms_topn` of the best scores; of those the `post_nms_topn` best that overlap no better one by more than
//! `nms_thresh`. No gradient.
//!
//! Anchors have a base of `base_size` pixels, each `ratio` (height over width) at each `scale`, where none are given 0.5, 1, 2
//! and 8, 16, 32; cells lie `feat_stride` pixels apart. A number of boxes that is 0 is no limit.
//! Shapes: scores N × 2A × H × W of A anchors, first of background, then of objects; offsets N × 4A × H × W; N rows, or one
//! for all, of the image's height, width, scale and maybe another scale for widths; top R × 5 (image, x1, y1, x2, y2), the
//! optional second top R × 1, the scores. R is known when forward sees the scores, and what is behind is reshaped then; it
//! may be 0.
//! In place of the Python layer rpn.proposal_layer.ProposalLayer it reads `feat_stride`, `ratios` and `scales` from
//! `param_str`; the numbers are those of py-faster-rcnn: 12000 and 2000 boxes in phase TRAIN, 6000 and 300 in TEST.
//! Source: Ren et al., Faster R-CNN (2015). Departures: boxes that are too small are never among the regions, as in
//! Python, while the forks' C++ gives them a score of 0; of equal scores the earlier comes first.

use super::anchors::{anchors, decode, suppress};
use crate::{
    error::{Error, Result},
    layer::{Arity, Forward, Layer, LayerDef, LayerType, Traits},
    layers::python::{self, PARAM_STR},
    schema::ProposalParameter,
    tensor::{Shape, View},
};

pub(in crate::layers) const TYPE: LayerType =
    LayerType::new("Proposal", |def| Ok(Box::new(Proposal::new(def)?)))
        .arity(Arity::Exact(3), Arity::Range(1, 2))
        .stops(&[0, 1, 2]);

struct Proposal {
    param: ProposalParameter,
    anchors: Vec<[f32; 4]>,
    tops: usize,
    /// Images, height and width of the map.
    dims: [usize; 3],
    /// The regions of the next forward pass and their scores.
    found: Vec<([f32; 5], f32)>,
    /// How many the tops were last said to have.
    told: usize,
}

/// Numbers in brackets.
fn numbers(name: &str, text: &str) -> Result<Vec<f32>> {
    let inner = text
        .trim()
        .trim_start_matches(['[', '('])
        .trim_end_matches([']', ')']);
    let parts = inner
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let wrong = |_| {
        Error::param(
            PARAM_STR,
            format!("'{name}' is '{text}', no list of numbers"),
        )
    };
    parts.map(|part| part.parse().map_err(wrong)).collect()
}

/// The options of the Python layer.
fn of_python(def: &LayerDef) -> Result<ProposalParameter> {
    let options = python::options(def)?;
    let list = |name| match options.text(name) {
        Some(text) => numbers(name, text),
        None => Ok(Vec::new()),
    };
    let stride = options.number("feat_stride")?.ok_or_else(|| {
        Error::param(PARAM_STR, "tells no 'feat_stride'")
            .help("write param_str: \"'feat_stride': 16\"")
    })?;
    if stride.fract() != 0.0 {
        return Err(Error::param(
            PARAM_STR,
            format!("'feat_stride' is {stride}, no whole number"),
        ));
    }
    let (before, after) = match def.is_train() {
        true => (12_000, 2_000),
        false => (6_000, 300),
    };
    Ok(ProposalParameter {
        feat_stride: Some(stride as u32),
        ratio: list("ratios")?,
        scale: list("scales")?,
        pre_nms_topn: Some(before),
        post_nms_topn: Some(after),
        ..Default::default()
    })
}

impl Proposal {
    fn new(def: &LayerDef) -> Result<Self> {
        let from_python = python::is_python(def);
        let mut param = match from_python {
            true => of_python(def)?,
            false => def.param.proposal_param.clone().unwrap_or_default(),
        };
        let invalid = |name: &str, why: String| {
            let field = match from_python {
                true => PARAM_STR.to_owned(),
                false => format!("proposal_param.{name}"),
            };
            Err(def.invalid(&field, why))
        };
        if param.ratio.is_empty() {
            param.ratio = vec![0.5, 1.0, 2.0];
        }
        if param.scale.is_empty() {
            param.scale = vec![8.0, 16.0, 32.0];
        }
        for (name, values) in [("ratio", &param.ratio), ("scale", &param.scale)] {
            if let Some(value) = values.iter().find(|v| !(**v > 0.0 && v.is_finite())) {
                return invalid(name, format!("{name} {value} is not above 0"));
            }
        }
        for (name, value) in [
            ("feat_stride", param.feat_stride()),
            ("base_size", param.base_size()),
        ] {
            if value == 0 {
                return invalid(name, format!("{name} is 0; it must be at least 1"));
            }
        }
        if param.nms_thresh() < 0.0 || param.nms_thresh().is_nan() {
            return invalid(
                "nms_thresh",
                format!("{} is no overlap; it must be 0 or more", param.nms_thresh()),
            );
        }
        if param.ratio.len().saturating_mul(param.scale.len()) > 4096 {
            return invalid(
                "scale",
                "so many ratios and scales make more than 4096 anchors".to_owned(),
            );
        }
        Ok(Self {
            anchors: anchors(param.base_size() as f32, &param.ratio, &param.scale),
            param,
            tops: def.param.top.len().max(1),
            dims: [0; 3],
            found: Vec::new(),
            told: 0,
        })
    }

    /// At most so many.
    fn limit(most: u32) -> usize {
        if most == 0 { usize::MAX } else { most as usize }
    }

    fn shapes(&self, regions: usize) -> Result<Vec<Shape>> {
        let mut tops = vec![Shape::checked(&[regions, 5])?, Shape::new(&[regions, 1])];
        tops.truncate(self.tops);
        Ok(tops)
    }

    /// The regions of one image, best first.
    fn of_image(
        &self,
        image: usize,
        scores: &[f32],
        offsets: &[f32],
        info: &[f32],
    ) -> Vec<([f32; 5], f32)> {
        let [_, height, width] = self.dims;
        let (plane, count) = (height * width, self.anchors.len());
        let scores = &scores[(2 * image + 1) * count * plane..][..count * plane];
        let offsets = &offsets[4 * image * count * plane..][..4 * count * plane];
        let (tall, wide, scale) = (info[0], info[1], info[2]);
        let least = self.param.min_size() as f32;
        let least = (least * info.get(3).copied().unwrap_or(scale), least * scale);
        let stride = self.param.feat_stride() as f32;
        let mut boxes: Vec<([f32; 4], f32)> = Vec::new();
        for cell in 0..plane {
            let (x, y) = (
                (cell % width) as f32 * stride,
                (cell / width) as f32 * stride,
            );
            for (a, &[x1, y1, x2, y2]) in self.anchors.iter().enumerate() {
                let offset = std::array::from_fn(|i| offsets[(4 * a + i) * plane + cell]);
                let [x1, y1, x2, y2] = decode([x1 + x, y1 + y, x2 + x, y2 + y], offset);
                let clip = |at: f32, extent: f32| at.min(extent - 1.0).max(0.0);
                let all = [
                    clip(x1, wide),
                    clip(y1, tall),
                    clip(x2, wide),
                    clip(y2, tall),
                ];
                if all[2] - all[0] + 1.0 >= least.0 && all[3] - all[1] + 1.0 >= least.1 {
                    boxes.push((all, scores[a * plane + cell]));
                }
            }
        }
        boxes.sort_by(|a, b| b.1.total_cmp(&a.1));
        boxes.truncate(Self::limit(self.param.pre_nms_topn()));
        let corners: Vec<[f32; 4]> = boxes.iter().map(|&(corners, _)| corners).collect();
        let most = Self::limit(self.param.post_nms_topn());
        let kept = suppress(&corners, self.param.nms_thresh(), most);
        let region = |i: usize| {
            let ([x1, y1, x2, y2], score) = boxes[i];
            ([image as f32, x1, y1, x2, y2], score)
        };
        kept.into_iter().map(region).collect()
    }
}

impl Layer for Proposal {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let [scores, offsets, info] = bottoms else {
            return Err(Error::shape("there must be three bottoms"));
        };
        let count = self.anchors.len();
        let (&[n, channels, height, width], &[m, others, h, w]) = (scores.dims(), offsets.dims())
        else {
            return Err(Error::shape(format!(
                "scores {scores} and offsets {offsets} must be images × channels × height × width"
            )));
        };
        if (n, height, width) != (m, h, w) || channels != 2 * count || others != 4 * count {
            return Err(Error::shape(format!(
                "scores are {scores} and offsets {offsets}, but {count} anchors need {} and {} channels over one map",
                2 * count,
                4 * count
            )));
        }
        let rows = info.dims().first().copied().unwrap_or(0);
        if info.count_from(info.axes().min(1)) < 3 || (rows != n && rows != 1) {
            return Err(Error::shape(format!(
                "the third bottom has shape {info}; it must hold height, width and scale of each image: [{n}, 3]"
            )));
        }
        self.dims = [n, height, width];
        let most = count * height * width;
        self.told = n * most.min(Self::limit(self.param.post_nms_topn()));
        self.found.clear();
        self.shapes(self.told)
    }

    fn traits(&self) -> Traits {
        Traits {
            moving: true,
            ..Traits::default()
        }
    }

    fn incoming_shapes(&mut self, bottoms: &[View<'_>]) -> Result<Option<Vec<Shape>>> {
        let [scores, offsets, info] = bottoms else {
            return Ok(None);
        };
        let row = info.shape.count_from(1);
        let rows = info.data.chunks_exact(row.max(1)).cycle();
        self.found.clear();
        for (image, info) in (0..self.dims[0]).zip(rows) {
            if !info[..3].iter().all(|x| x.is_finite()) {
                return Err(Error::data(format!(
                    "image {image} has height, width and scale {:?}",
                    &info[..3]
                )));
            }
            let found = self.of_image(image, scores.data, offsets.data, info);
            self.found.extend(found);
        }
        if self.found.len() == self.told {
            return Ok(None);
        }
        self.told = self.found.len();
        self.shapes(self.told).map(Some)
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let (rois, scores) = io.tops.split_at_mut(1);
        for (y, (region, _)) in rois[0].data.chunks_exact_mut(5).zip(&self.found) {
            y.copy_from_slice(region);
        }
        if let Some(top) = scores.first_mut() {
            for (y, (_, score)) in top.data.iter_mut().zip(&self.found) {
                *y = *score;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        layer::testing::{Bench, assert_close, error_of, noise, tensor},
        tensor::Tensor,
    };

    /// One anchor of 16 × 16 at 8 pixels' stride.
    const SMALL: &str = "feat_stride: 8 base_size: 16 ratio: 1 scale: 1";

    fn text(options: &str) -> String {
        format!("type: 'Proposal' top: 'rois' top: 'scores' proposal_param {{ {SMALL} {options} }}")
    }

    /// Three cells in a row with these scores of an object, offsets 0, an image of 24 × 32.
    fn inputs(scores: [f32; 3]) -> [Tensor; 3] {
        let both = [[0.0; 3], scores].concat();
        [
            tensor(&[1, 2, 1, 3], &both),
            tensor(&[1, 4, 1, 3], &[0.0; 12]),
            tensor(&[1, 3], &[24.0, 32.0, 1.0]),
        ]
    }

    #[test]
    fn by_hand() {
        // Boxes from 0, 8 and 16 to 16 pixels further; neighbours overlap by 9 of 25 columns.
        let mut bench = Bench::new(&text("nms_thresh: 0.3"), &inputs([0.5, 0.9, 0.7]));
        assert_close(bench.forward(), &[0.0, 8.0, 0.0, 24.0, 16.0], 1e-6);
        assert_eq!(bench.tops[1].data, [0.9]);
        let mut bench = Bench::new(&text("nms_thresh: 0.3"), &inputs([0.9, 0.5, 0.7]));
        let want = [0.0, 0.0, 0.0, 16.0, 16.0, 0.0, 16.0, 0.0, 31.0, 16.0];
        assert_close(bench.forward(), &want, 1e-6);
        assert_eq!(bench.tops[0].shape.dims(), [2, 5]);
        for (options, scores) in [
            ("pre_nms_topn: 2", vec![0.9, 0.7]),
            ("post_nms_topn: 1", vec![0.9]),
            ("pre_nms_topn: 0 post_nms_topn: 0", vec![0.9, 0.7, 0.5]),
            // The last is cut off to 16 pixels.
            ("min_size: 17", vec![0.9, 0.5]),
            ("min_size: 40", vec![]),
        ] {
            let mut bench = Bench::new(&text(options), &inputs([0.9, 0.5, 0.7]));
            bench.forward();
            assert_eq!(bench.tops[1].data, scores, "{options}");
        }
    }

    #[test]
    fn of_the_python_layer() {
        let python = "type: 'Python' top: 'rois' python_param { module: 'rpn.proposal_layer' layer: 'ProposalLayer' param_str: \"'feat_stride': 16\" }";
        let native = "type: 'Proposal' top: 'rois'";
        let mut info = tensor(&[1, 3], &[600.0, 800.0, 1.5]);
        let inputs = |info: &Tensor| {
            [
                noise(&[1, 18, 12, 15], 1),
                noise(&[1, 36, 12, 15], 2),
                info.clone(),
            ]
        };
        for phase in ["phase: TEST", ""] {
            let test = !phase.is_empty();
            let more = if test {
                ""
            } else {
                "proposal_param { pre_nms_topn: 12000 post_nms_topn: 2000 }"
            };
            let mut a = Bench::new(&format!("{python} {phase}"), &inputs(&info));
            let mut b = Bench::new(&format!("{native} {phase} {more}"), &inputs(&info));
            assert_eq!(a.forward(), b.forward());
            assert_eq!(a.tops[0].shape.dims()[0] <= 300, test);
        }
        let listed = "type: 'Python' python_param { module: 'rpn.proposal_layer' layer: 'ProposalLayer' param_str: \"{'feat_stride': 16, 'scales': [8, 16, 32], 'ratios': (0.5, 1, 2)}\" }";
        info.data[2] = 1.0;
        let mut a = Bench::new(listed, &inputs(&info));
        let mut b = Bench::new(python, &inputs(&info));
        assert_eq!(a.forward(), b.forward());
        for (param, why) in [
            ("", "tells no 'feat_stride'"),
            ("'feat_stride': 0.5", "no whole number"),
            ("'feat_stride': 0", "feat_stride is 0"),
            ("'feat_stride': 16, 'scales': [8, x]", "no list of numbers"),
            (
                "'feat_stride': 16, 'scales': [-8]",
                "scale -8 is not above 0",
            ),
        ] {
            let text = format!(
                "type: 'Python' python_param {{ module: 'rpn.proposal_layer' layer: 'ProposalLayer' param_str: \"{param}\" }}"
            );
            let error = error_of(&text, &inputs(&info));
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn several_images_share_a_row_or_have_their_own() {
        let double = |t: &Tensor| {
            let mut dims = t.shape.dims().to_vec();
            dims[0] = 2;
            tensor(&dims, &[&t.data[..], &t.data].concat())
        };
        let [scores, offsets, info] = inputs([0.9, 0.5, 0.7]);
        let mut bench = Bench::new(
            &text("nms_thresh: 0.3"),
            &[double(&scores), double(&offsets), info],
        );
        let first = [0.0, 0.0, 0.0, 16.0, 16.0, 0.0, 16.0, 0.0, 31.0, 16.0];
        assert_close(&bench.forward()[..10], &first, 1e-6);
        assert_eq!(bench.tops[0].shape.dims(), [4, 5]);
        assert_eq!(bench.tops[0].data[10], 1.0);
        let info = tensor(&[2, 4], &[24.0, 32.0, 1.0, 1.0, 24.0, 20.0, 1.0, 2.0]);
        bench.set_bottom(2, info).unwrap();
        bench.forward();
        // In the second image the least width is 32.
        assert_eq!(bench.tops[0].shape.dims(), [2, 5]);
    }

    #[test]
    fn any_number_is_an_offset() {
        for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30] {
            let mut inputs = inputs([x, 0.5, -x]);
            inputs[1].data.fill(x);
            Bench::new(&text(""), &inputs).forward();
        }
    }

    #[test]
    fn errors() {
        let with = |i: usize, t: Tensor| {
            let mut all = inputs([0.5; 3]);
            all[i] = t;
            all
        };
        for (options, inputs, why) in [
            ("scale: 0", inputs([0.5; 3]), "proposal_param.scale"),
            ("ratio: -1", inputs([0.5; 3]), "proposal_param.ratio"),
            (
                "nms_thresh: -1",
                inputs([0.5; 3]),
                "proposal_param.nms_thresh",
            ),
            (
                "scale: 2",
                inputs([0.5; 3]),
                "2 anchors need 4 and 8 channels",
            ),
            ("", with(0, noise(&[1, 2, 3], 1)), "images × channels"),
            ("", with(0, noise(&[1, 2, 2, 3], 1)), "over one map"),
            ("", with(2, noise(&[1, 2], 1)), "height, width and scale"),
            ("", with(2, noise(&[], 1)), "height, width and scale"),
            (
                "",
                with(2, tensor(&[1, 3], &[f32::NAN; 3])),
                "image 0 has height",
            ),
        ] {
            let error = error_of(&text(options), &inputs);
            assert!(error.contains(why), "{error}");
        }
        for field in ["feat_stride", "base_size"] {
            let text = format!("type: 'Proposal' proposal_param {{ {field}: 0 }}");
            let error = error_of(&text, &inputs([0.5; 3]));
            assert!(
                error.contains(&format!("proposal_param.{field}")),
                "{error}"
            );
        }
    }
}
