//! MultiBoxLoss: loss = (`loc_weight` · Σ location + Σ confidence) / n, for boxes of SSD that are matched with annotated
//! objects (`match_type`, `overlap_threshold`; by prior boxes, or by the boxes found without `use_prior_for_matching`).
//!
//! Location: for each matched box and each of its 4 offsets d = offset − that of its object, |d| − 1/2, or d²/2 where |d| <
//! 1 or with `loc_loss_type: L2`. Confidence: −ln of the softmax at the class of the object, for boxes that have none at
//! the background; with LOGISTIC the cross-entropy of the sigmoid of each class. With mining (`mining_type`) only picked
//! boxes count there: matched ones and the worst of the free ones, `neg_pos_ratio` for each (MAX_NEGATIVE), or the
//! `sample_size` worst of all (HARD_EXAMPLE); images without objects then count for nothing. n: how many are matched, or
//! as `loss_param` says.
//!
//! Gradients: location w · `loc_weight` · clamp(d, −1, 1) / n (d with L2), confidence w · (p − \[right\]) / n, w = the loss
//! weight; 0 for boxes that do not count.
//!
//! Shapes: bottoms are offsets images × priors · 4 (one set for each class with `share_location: false`), confidences
//! images × priors · classes, prior boxes 1 × 2 × priors · 4, annotations 1 × 1 × rows × 8: image, class, instance, xmin,
//! ymin, xmax, ymax, difficult. Loss is a scalar. What backward needs is kept by the layer. No gradient by priors and
//! annotations. A term whose bottom has `propagate_down: false` is left out of the loss.
//! Source: Liu et al., SSD (2016), section 2.2; `matching.rs`, `mining.rs`, `boxes.rs`.
//! Departures from SSD's code: `do_neg_mining: false` alone turns mining off, as it did before there was `mining_type`;
//! `nms_param` without `top_k` looks at all boxes, not at none; with `encode_variance_in_target` gradients are divided by
//! the variances, as the chain rule has it; LOGISTIC without mining has the same targets as with it; annotations of images
//! that are not in the batch, or of classes that do not exist, are errors.

use rayon::prelude::*;

use super::{
    boxes::{BBox, Coder, Priors},
    confidence,
    layout::Layout,
    matching::{self, FREE, Matches, Rule},
    mining::Miner,
    normalize::Normalize,
    truth::{self, Truth},
};
use crate::{
    error::{Error, Result},
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType, Role},
    schema::multi_box_loss_parameter::{ConfLossType, LocLossType, MatchType, MiningType},
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("MultiBoxLoss", |def| Ok(Box::new(MultiBoxLoss::new(def)?)))
        .arity(Arity::Exact(4), Arity::Exact(1))
        .role(Role::Loss)
        .no_grad(&[2, 3]);

struct MultiBoxLoss {
    classes: usize,
    shared: bool,
    background: usize,
    /// All objects are of this class.
    agnostic: Option<usize>,
    difficult: bool,
    rule: Rule,
    by_priors: bool,
    coder: Coder,
    miner: Miner,
    mine_priors: bool,
    inside: bool,
    location: LocLossType,
    location_weight: f32,
    confidence: ConfLossType,
    /// Whether location and confidence count.
    terms: (bool, bool),
    normalize: Normalize,
    layout: Layout,
    /// Of the last forward pass.
    images: Vec<Counted>,
    divisor: f64,
}

/// What counts in one image.
#[derive(Debug, Default)]
struct Counted {
    location_loss: f64,
    confidence_loss: f64,
    /// Sets of offsets (by prior, then set) that find an object, each with its gradient.
    located: Vec<(usize, [f32; 4])>,
    /// Boxes whose confidences count, and their gradients one after the other.
    scored: Vec<usize>,
    slopes: Vec<f32>,
}

/// The bottoms of one image.
#[derive(Clone, Copy)]
struct Image<'a> {
    offsets: &'a [f32],
    scores: &'a [f32],
    priors: Priors<'a>,
    truths: &'a [Truth],
}

impl MultiBoxLoss {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.multibox_loss_param.unwrap_or_default();
        let invalid =
            |field: &str, why: String| def.invalid(&format!("multibox_loss_param.{field}"), why);
        let classes = match param.num_classes {
            None => return Err(invalid("num_classes", "has to be given".to_owned())),
            Some(0) => {
                return Err(invalid(
                    "num_classes",
                    "is 0; it must be at least 1".to_owned(),
                ));
            }
            Some(n) => n as usize,
        };
        let background = param.background_label_id() as usize;
        if param.conf_loss_type() == ConfLossType::Softmax && background >= classes {
            return Err(invalid(
                "background_label_id",
                format!("{background} is none of the {classes} classes, which SOFTMAX needs"),
            ));
        }
        let agnostic = match (param.map_object_to_agnostic(), background, classes) {
            (false, ..) => None,
            (true, 0, 2) => Some(1),
            (true, background, 1) if background >= 1 => Some(0),
            _ => {
                return Err(invalid(
                    "map_object_to_agnostic",
                    "needs 2 classes, the background being 0; or with LOGISTIC 1 class and a background that is none"
                        .to_owned(),
                ));
            }
        };
        let miner = Miner::new(def, &param)?;
        if miner.kind != MiningType::None && !param.share_location() {
            return Err(invalid(
                "share_location",
                "is false, which goes with mining_type: NONE only".to_owned(),
            ));
        }
        let weight = param.loc_weight();
        if !weight.is_finite() {
            return Err(invalid("loc_weight", format!("{weight} is no factor")));
        }
        let down = |i: usize| def.param.propagate_down.get(i).copied().unwrap_or(true);
        Ok(Self {
            classes,
            shared: param.share_location(),
            background,
            agnostic,
            difficult: param.use_difficult_gt(),
            rule: Rule {
                threshold: (param.match_type() == MatchType::PerPrediction)
                    .then(|| param.overlap_threshold()),
                ignore_crossing: param.ignore_cross_boundary_bbox(),
            },
            by_priors: param.use_prior_for_matching(),
            coder: Coder {
                code: param.code_type(),
                in_target: param.encode_variance_in_target(),
            },
            miner,
            mine_priors: param.use_prior_for_nms(),
            inside: param.bp_inside(),
            location: param.loc_loss_type(),
            location_weight: weight,
            confidence: param.conf_loss_type(),
            terms: (down(0), down(1)),
            normalize: Normalize::new(def),
            layout: Layout::default(),
            images: Vec::new(),
            divisor: 1.0,
        })
    }

    /// The class of the background, where it is one.
    fn background(&self) -> Option<usize> {
        (self.background < self.classes).then_some(self.background)
    }

    /// The objects of each image.
    fn truths(&self, mut all: Vec<Truth>) -> Result<Vec<Vec<Truth>>> {
        let mut by_image = vec![Vec::new(); self.layout.images];
        for truth in &mut all {
            if let Some(class) = self.agnostic {
                truth.class = class;
            } else if truth.class >= self.classes {
                return Err(Error::data(format!(
                    "an annotation is of class {}, but there are {} classes, 0 to {}",
                    truth.class,
                    self.classes,
                    self.classes - 1
                )));
            }
            match by_image.get_mut(truth.image) {
                Some(truths) => truths.push(*truth),
                None => {
                    return Err(Error::data(format!(
                        "an annotation is of image {}, but the batch has {}",
                        truth.image, self.layout.images
                    )));
                }
            }
        }
        Ok(by_image)
    }

    /// The box that a set of offsets tells.
    fn decode(&self, image: Image<'_>, prior: usize, set: usize) -> BBox {
        let offset = self.layout.offset(image.offsets, prior, set);
        let (bbox, variance) = (image.priors.bbox(prior), image.priors.variance(prior));
        self.coder.decode(bbox, variance, offset)
    }

    /// Matches of each set of offsets.
    fn matches(&self, image: Image<'_>) -> Vec<(usize, Matches)> {
        let priors = self.layout.priors;
        let all: Vec<usize> = (0..image.truths.len()).collect();
        let sets = (0..self.layout.sets).filter(|&set| self.shared || set != self.background);
        if self.by_priors {
            let boxes: Vec<BBox> = (0..priors).map(|p| image.priors.bbox(p)).collect();
            let found = matching::find(image.truths, &all, &boxes, self.rule);
            if self.shared {
                return vec![(0, found)];
            }
            let of_class = |set: usize| {
                let mut own = found.clone();
                for object in &mut own.object {
                    let fits = usize::try_from(*object).is_ok_and(|o| image.truths[o].class == set);
                    if !fits {
                        *object = FREE;
                    }
                }
                (set, own)
            };
            return sets.map(of_class).collect();
        }
        sets.map(|set| {
            let boxes: Vec<BBox> = (0..priors).map(|p| self.decode(image, p, set)).collect();
            let mut objects = all.clone();
            objects.retain(|&o| self.shared || image.truths[o].class == set);
            (
                set,
                matching::find(image.truths, &objects, &boxes, self.rule),
            )
        })
        .collect()
    }

    /// The loss of one set of offsets against its object, and the gradient.
    fn locate(&self, image: Image<'_>, prior: usize, set: usize, object: usize) -> (f32, [f32; 4]) {
        let (bbox, variance) = (image.priors.bbox(prior), image.priors.variance(prior));
        let told = self.layout.offset(image.offsets, prior, set);
        let want = self.coder.encode(bbox, variance, image.truths[object].bbox);
        let units = if self.coder.in_target {
            variance
        } else {
            [1.0; 4]
        };
        let edges = match (self.inside, self.by_priors) {
            (false, _) => [0.0; 4],
            (true, true) => bbox.0,
            (true, false) => self.decode(image, prior, set).0,
        };
        let (mut loss, mut slope) = (0.0, [0.0; 4]);
        for i in 0..4 {
            // With `bp_inside`, edges that lie outside of the image pull nothing.
            if self.inside && !(0.0..=1.0).contains(&edges[i]) {
                continue;
            }
            let d = (told[i] - want[i]) / units[i];
            if self.location == LocLossType::L2 || d.abs() < 1.0 {
                loss += 0.5 * d * d;
                slope[i] = d / units[i];
            } else {
                loss += d.abs() - 0.5;
                slope[i] = d.clamp(-1.0, 1.0) / units[i];
            }
        }
        (loss, slope)
    }

    /// Everything that counts in one image.
    fn count(&self, image: Image<'_>) -> Counted {
        let mut counted = Counted::default();
        let priors = self.layout.priors;
        let mut matches = if image.truths.is_empty() {
            Vec::new()
        } else {
            self.matches(image)
        };
        let mut classes = vec![self.background(); priors];
        for (_, found) in &matches {
            for (class, &object) in classes.iter_mut().zip(&found.object) {
                if let Ok(object) = usize::try_from(object) {
                    *class = Some(image.truths[object].class);
                }
            }
        }
        let scores = |p: usize| &image.scores[p * self.classes..][..self.classes];
        let mut negatives: Vec<usize> = Vec::new();
        if let (true, Some((set, found))) =
            (self.miner.kind != MiningType::None, matches.first_mut())
        {
            let losses: Vec<f32> = (0..priors)
                .map(|p| {
                    let scored = confidence::loss(self.confidence, scores(p), classes[p]);
                    match usize::try_from(found.object[p]) {
                        Ok(object) if self.miner.kind == MiningType::HardExample => {
                            scored + self.locate(image, p, *set, object).0
                        }
                        _ => scored,
                    }
                })
                .collect();
            negatives = self.miner.pick(found, &losses, |p| {
                if self.mine_priors {
                    image.priors.bbox(p)
                } else {
                    self.decode(image, p, *set)
                }
            });
        }
        let mut positives: Vec<usize> = Vec::new();
        for (set, found) in &matches {
            for (p, &object) in found.object.iter().enumerate() {
                if let Ok(object) = usize::try_from(object) {
                    let (loss, slope) = self.locate(image, p, *set, object);
                    counted.location_loss += f64::from(loss);
                    counted.located.push((p * self.layout.sets + set, slope));
                    positives.push(p);
                }
            }
        }
        counted.scored = match self.miner.kind {
            MiningType::None => (0..priors).collect(),
            _ => [positives, negatives].concat(),
        };
        counted.slopes = vec![0.0; counted.scored.len() * self.classes];
        let slopes = counted.slopes.chunks_exact_mut(self.classes);
        for (&p, slope) in counted.scored.iter().zip(slopes) {
            let loss = confidence::loss(self.confidence, scores(p), classes[p]);
            counted.confidence_loss += f64::from(loss);
            confidence::slope(self.confidence, scores(p), classes[p], slope);
        }
        counted
    }
}

impl Layer for MultiBoxLoss {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let [offsets, scores, priors, truths] = bottoms else {
            return Err(Error::shape("four bottoms are needed"));
        };
        self.layout = Layout::new([offsets, scores, priors], self.classes, self.shared)?;
        truth::check_rows(truths, truth::ROW, "the annotations")?;
        Ok(vec![Shape::new(&[])])
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let background = self.background as i64;
        let truths = truth::read(io.bottoms[3], background, self.difficult)?;
        let truths = self.truths(truths)?;
        let priors = Priors::new(io.bottoms[2].data, self.coder)?;
        priors.check_variances()?;
        let count = |(i, truths): (usize, &Vec<Truth>)| {
            self.count(Image {
                offsets: self.layout.offsets(io.bottoms[0].data, i),
                scores: self.layout.scores(io.bottoms[1].data, i),
                priors,
                truths,
            })
        };
        let images: Vec<Counted> = truths.par_iter().enumerate().map(count).collect();
        self.images = images;
        let matched = self.images.iter().map(|image| image.located.len()).sum();
        let items = (self.layout.images, self.layout.priors);
        self.divisor = self.normalize.divisor(items, matched);
        let mut loss = 0.0;
        for image in &self.images {
            if self.terms.0 {
                loss += f64::from(self.location_weight) * image.location_loss;
            }
            if self.terms.1 {
                loss += image.confidence_loss;
            }
        }
        io.tops[0].data[0] = (loss / self.divisor) as f32;
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let scale = (f64::from(io.top_diff().data[0]) / self.divisor) as f32;
        let (layout, classes) = (self.layout, self.classes);
        if let Some(dx) = &mut io.bottom_diffs[0] {
            dx.data.fill(0.0);
            let scale = scale * self.location_weight;
            let size = (layout.priors * layout.sets * 4).max(1);
            for (dx, image) in dx.data.chunks_exact_mut(size).zip(&self.images) {
                for (set, slope) in &image.located {
                    let to = &mut dx[4 * set..][..4];
                    to.iter_mut().zip(slope).for_each(|(to, d)| *to = scale * d);
                }
            }
        }
        if let Some(dx) = &mut io.bottom_diffs[1] {
            dx.data.fill(0.0);
            let size = (layout.priors * classes).max(1);
            for (dx, image) in dx.data.chunks_exact_mut(size).zip(&self.images) {
                for (&p, slope) in image.scored.iter().zip(image.slopes.chunks_exact(classes)) {
                    let to = &mut dx[p * classes..][..classes];
                    to.iter_mut().zip(slope).for_each(|(to, d)| *to = scale * d);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        layer::testing::{
            Bench, assert_close, check_gradient, check_threads, error_of, noise, tensor,
        },
        tensor::Tensor,
    };

    fn text(options: &str) -> String {
        let code = if options.contains("code_type") {
            ""
        } else {
            "code_type: CENTER_SIZE"
        };
        format!("type: 'MultiBoxLoss' multibox_loss_param {{ num_classes: 3 {code} {options} }}")
    }

    /// Six priors of side 0.4 along a line; neighbours overlap by 1/3.
    fn priors() -> Tensor {
        let mut data = Vec::new();
        for i in 0..6 {
            let x = 0.2 * i as f32 - 0.1;
            data.extend([x, 0.3, x + 0.4, 0.7]);
        }
        data.extend([0.1, 0.1, 0.2, 0.2].repeat(6));
        tensor(&[1, 2, 24], &data)
    }

    /// In image 0 an object a little right of prior 1 and one at prior 4; in image 1 one at prior 2.
    fn truths() -> Tensor {
        let rows = [
            [0.0, 1.0, 0.0, 0.12, 0.3, 0.54, 0.72, 0.0],
            [0.0, 2.0, 0.0, 0.68, 0.3, 1.1, 0.65, 0.0],
            [1.0, 2.0, 0.0, 0.31, 0.31, 0.68, 0.7, 1.0],
        ];
        tensor(&[1, 1, 3, 8], rows.as_flattened())
    }

    fn bottoms(sets: usize) -> [Tensor; 4] {
        let offsets = noise(&[2, 24 * sets], 1);
        [offsets, noise(&[2, 18], 2), priors(), truths()]
    }

    #[test]
    fn by_hand() {
        // One image, two priors; the object is prior 0, moved right by 2 in units of the variance times the width.
        let priors = tensor(
            &[1, 2, 8],
            &[&[0.0, 0.0, 0.5, 0.5, 0.5, 0.5, 1.0, 1.0], &[0.1; 8][..]].concat(),
        );
        let truth = tensor(&[1, 1, 1, 8], &[0.0, 1.0, 0.0, 0.1, 0.0, 0.6, 0.5, 0.0]);
        let scores = tensor(&[1, 4], &[0.0, 3.0f32.ln(), 0.0, 0.0]);
        let offsets = tensor(&[1, 8], &[0.5, 0.5, 0.0, 0.0, 9.0, 9.0, 9.0, 9.0]);
        let text = "type: 'MultiBoxLoss' multibox_loss_param { num_classes: 2 code_type: CENTER_SIZE loc_weight: 2 }";
        let mut bench = Bench::new(text, &[offsets, scores, priors, truth]);
        let location = (1.5 - 0.5) + 0.5 * 0.25;
        let confidence = (4.0f32 / 3.0).ln() + 2.0f32.ln();
        assert_close(bench.forward(), &[2.0 * location + confidence], 1e-5);
        let got = bench.backward(&[3.0], &[0, 1]);
        let d = |i: usize| &got.bottoms[i].as_ref().unwrap().data;
        assert_close(d(0), &[-6.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], 1e-4);
        assert_close(d(1), &[0.75, -0.75, -1.5, 1.5], 1e-5);
    }

    #[test]
    fn gradients() {
        for options in [
            "",
            "mining_type: NONE match_type: BIPARTITE",
            "mining_type: NONE conf_loss_type: LOGISTIC loc_loss_type: L2 loc_weight: 0.3",
            "mining_type: HARD_EXAMPLE sample_size: 3",
            "conf_loss_type: LOGISTIC neg_pos_ratio: 1.5 overlap_threshold: 0.3",
            "encode_variance_in_target: true code_type: CORNER",
            "code_type: CORNER_SIZE bp_inside: true overlap_threshold: 0.2",
            "use_difficult_gt: false ignore_cross_boundary_bbox: true",
            "nms_param { nms_threshold: 0.3 } use_prior_for_nms: true",
        ] {
            let mut bench = Bench::new(&text(options), &bottoms(1));
            bench.check_gradient_to(&[0, 1], &[], 2e-3, 4e-3);
        }
        for options in ["", "use_prior_for_matching: false code_type: CORNER"] {
            let options = format!("mining_type: NONE share_location: false {options}");
            let mut bench = Bench::new(&text(&options), &bottoms(3));
            bench.check_gradient_to(&[0, 1], &[], 2e-3, 4e-3);
        }
        check_gradient(&text("mining_type: NONE"), &bottoms(1), &[1], &[]);
        check_threads(&text(""), &bottoms(1), &[0, 1]);
    }

    #[test]
    fn normalization() {
        let loss = |extra: &str| {
            let text = format!(
                "{} {extra}",
                text("mining_type: NONE match_type: BIPARTITE")
            );
            Bench::new(&text, &bottoms(1)).forward()[0]
        };
        let sum = loss("loss_param { normalization: NONE }");
        assert_close(&[loss("")], &[sum / 3.0], 1e-5);
        let batch = loss("loss_param { normalize: false }");
        assert_close(&[batch], &[sum / 2.0], 1e-5);
        assert_close(
            &[loss("loss_param { normalization: FULL }")],
            &[sum / 12.0],
            1e-5,
        );
        let location = loss(
            "propagate_down: true propagate_down: false propagate_down: false propagate_down: false",
        );
        let scores = loss(
            "propagate_down: false propagate_down: true propagate_down: false propagate_down: false",
        );
        assert_close(&[location + scores], &[sum / 3.0], 1e-5);
    }

    #[test]
    fn the_old_flag_turns_mining_off() {
        let loss = |options: &str| Bench::new(&text(options), &bottoms(1)).forward()[0];
        assert_eq!(loss("do_neg_mining: false"), loss("mining_type: NONE"));
        assert_eq!(loss("do_neg_mining: true"), loss(""));
        assert_ne!(loss("do_neg_mining: false"), loss(""));
    }

    #[test]
    fn without_objects_there_is_no_loss() {
        let [offsets, scores, priors, _] = bottoms(1);
        let none = tensor(&[1, 1, 1, 8], &[-1.0; 8]);
        let mut bench = Bench::new(&text(""), &[offsets, scores, priors, none]);
        assert_eq!(bench.forward(), [0.0]);
        let got = bench.backward(&[1.0], &[0, 1]);
        assert_eq!(got.bottoms[0].as_ref().unwrap().data, [0.0; 48]);
    }

    #[test]
    fn errors() {
        for (options, why) in [
            ("background_label_id: 3", "background_label_id: 3 is none"),
            ("map_object_to_agnostic: true", "map_object_to_agnostic"),
            ("share_location: false", "share_location: is false"),
            (
                "do_neg_mining: true mining_type: NONE",
                "contradicts mining_type",
            ),
            ("mining_type: HARD_EXAMPLE sample_size: 0", "sample_size"),
            ("mining_type: HARD_EXAMPLE sample_size: -4", "sample_size"),
            ("neg_pos_ratio: -1", "neg_pos_ratio"),
            ("neg_pos_ratio: nan", "neg_pos_ratio"),
            ("loc_weight: inf", "loc_weight"),
            ("nms_param { eta: 2 }", "multibox_loss_param.nms_param.eta"),
        ] {
            let error = error_of(&text(options), &bottoms(1));
            assert!(error.contains(why), "{error}");
        }
        for (i, bottom, why) in [
            (0, noise(&[2, 25], 1), "need 24 values"),
            (3, noise(&[1, 1, 1, 7], 1), "[1, 1, rows, 8]"),
            (
                3,
                tensor(&[1, 8], &[2.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0]),
                "of image 2, but the batch has 2",
            ),
            (
                3,
                tensor(&[1, 8], &[0.0, 3.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0]),
                "class 3, but there are 3",
            ),
            (3, tensor(&[1, 8], &[0.0; 8]), "the background"),
            (2, tensor(&[1, 2, 24], &[0.5; 48]), "prior box 0"),
        ] {
            let mut bottoms = bottoms(1);
            bottoms[i] = bottom;
            let error = error_of(&text(""), &bottoms);
            assert!(error.contains(why), "{error}");
        }
        let error = error_of("type: 'MultiBoxLoss'", &bottoms(1));
        assert!(error.contains("num_classes: has to be given"), "{error}");
    }
}
