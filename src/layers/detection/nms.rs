//! Non-maximum suppression: of boxes that overlap, the best stays.

use super::boxes::BBox;
use crate::{
    error::{Error, Result},
    layer::LayerDef,
    schema::NonMaximumSuppressionParameter,
};

/// How to suppress.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nms {
    /// A box goes where it overlaps a better one by more.
    pub(super) threshold: f32,
    /// Only so many of the best are looked at.
    top_k: Option<usize>,
    /// Below 1: the threshold shrinks by it with each box that stays, down to a half.
    eta: f32,
}

impl Nms {
    /// As `nms_param` of the message `owner` says. Without `top_k` all boxes are looked at.
    ///
    /// # Errors
    /// `Param` where a field makes no sense.
    pub(super) fn new(
        def: &LayerDef,
        owner: &str,
        param: Option<&NonMaximumSuppressionParameter>,
    ) -> Result<Self> {
        let param = param.copied().unwrap_or_default();
        let invalid =
            |field: &str, why: String| Err(def.invalid(&format!("{owner}.nms_param.{field}"), why));
        let (threshold, eta) = (param.nms_threshold(), param.eta());
        if threshold < 0.0 || threshold.is_nan() {
            return invalid("nms_threshold", format!("{threshold} is below 0"));
        }
        if !(eta > 0.0 && eta <= 1.0) {
            return invalid("eta", format!("{eta} is not above 0 and at most 1"));
        }
        if param.soft_nms() {
            let error = Error::unsupported("soft non-maximum suppression is not built");
            return Err(error.help(format!("leave {owner}.nms_param.soft_nms out")));
        }
        Ok(Self {
            threshold,
            top_k: param.top_k.and_then(|k| usize::try_from(k).ok()),
            eta,
        })
    }

    /// Of candidates (index and score), those that stay with their boxes, best first; of equal ones the earlier comes
    /// first. Boxes smaller than `least` do not count.
    pub(super) fn keep(
        self,
        mut candidates: Vec<(usize, f32)>,
        least: f32,
        bbox: impl Fn(usize) -> BBox,
    ) -> Vec<(usize, f32, BBox)> {
        candidates.sort_by(|a, b| b.1.total_cmp(&a.1));
        candidates.truncate(self.top_k.unwrap_or(usize::MAX));
        let mut threshold = self.threshold;
        let mut kept: Vec<(usize, f32, BBox)> = Vec::new();
        for (index, score) in candidates {
            let this = bbox(index);
            if this.area(0.0) < least {
                continue;
            }
            let stays = kept
                .iter()
                .all(|(_, _, other)| this.overlap(*other, 0.0) <= threshold);
            if stays {
                kept.push((index, score, this));
                if self.eta < 1.0 && threshold > 0.5 {
                    threshold *= self.eta;
                }
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Boxes of width 1, each a quarter further right: neighbours overlap by 3/5, the next by 1/3.
    fn kept(nms: Nms, scores: &[f32]) -> Vec<usize> {
        let bbox = |i: usize| BBox([0.25 * i as f32, 0.0, 1.0 + 0.25 * i as f32, 1.0]);
        let candidates = scores.iter().copied().enumerate().collect();
        let kept = nms.keep(candidates, 0.0, bbox);
        kept.into_iter().map(|(i, ..)| i).collect()
    }

    #[test]
    fn the_best_stay() {
        let nms = Nms {
            threshold: 0.5,
            top_k: None,
            eta: 1.0,
        };
        let scores = [0.9, 0.95, 0.3, 0.8, 0.8];
        assert_eq!(kept(nms, &scores), [1, 3]);
        assert_eq!(
            kept(
                Nms {
                    threshold: 0.6,
                    ..nms
                },
                &scores
            ),
            [1, 0, 3, 4, 2]
        );
        assert_eq!(
            kept(
                Nms {
                    top_k: Some(2),
                    threshold: 1.0,
                    ..nms
                },
                &scores
            ),
            [1, 0]
        );
        assert_eq!(
            kept(
                Nms {
                    top_k: Some(0),
                    ..nms
                },
                &scores
            ),
            [0usize; 0]
        );
        // After the first box the threshold is 0.56.
        let shrinking = Nms {
            threshold: 0.7,
            eta: 0.8,
            ..nms
        };
        assert_eq!(kept(shrinking, &scores), [1, 3]);
        let small = nms.keep(vec![(0, 1.0)], 1e-5, |_| BBox([0.0, 0.0, 1e-3, 1e-3]));
        assert!(small.is_empty());
    }
}
