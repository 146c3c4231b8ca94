//! Which boxes count in the loss: those that a net does worst on.
//!
//! Source: Liu et al., SSD (2016), section 2.2, "Hard negative mining"; Shrivastava et al., OHEM (2016).

use super::{
    boxes::BBox,
    matching::{FREE, Matches},
    nms::Nms,
};
use crate::{
    error::Result,
    layer::LayerDef,
    schema::{MultiBoxLossParameter, multi_box_loss_parameter::MiningType},
};

/// Boxes smaller than this are never picked where suppression is asked for.
const LEAST: f32 = 1e-5;

/// How to pick.
#[derive(Clone, Copy, Debug)]
pub(super) struct Miner {
    pub(super) kind: MiningType,
    /// Of [`MiningType::MaxNegative`]: so many negatives for each positive, of those that overlap every object by less.
    ratio: f32,
    overlap: f32,
    /// Of [`MiningType::HardExample`]: so many in an image.
    sample: usize,
    pub(super) nms: Option<Nms>,
}

impl Miner {
    /// # Errors
    /// `Param` where a field makes no sense.
    pub(super) fn new(def: &LayerDef, param: &MultiBoxLossParameter) -> Result<Self> {
        let invalid =
            |field: &str, why: &str| def.invalid(&format!("multibox_loss_param.{field}"), why);
        // The old flag: before there were kinds, it chose between none and what is now MAX_NEGATIVE.
        let kind = match (param.do_neg_mining, param.mining_type) {
            (None, _) => param.mining_type(),
            (Some(true), None) => MiningType::MaxNegative,
            (Some(false), None) => MiningType::None,
            (Some(old), Some(_)) if old == (param.mining_type() != MiningType::None) => {
                param.mining_type()
            }
            _ => {
                return Err(invalid("do_neg_mining", "contradicts mining_type")
                    .help("leave do_neg_mining out: it is the old form of mining_type"));
            }
        };
        let sample = usize::try_from(param.sample_size()).unwrap_or(0);
        if kind == MiningType::HardExample && sample == 0 {
            return Err(invalid("sample_size", "must be at least 1"));
        }
        let ratio = param.neg_pos_ratio();
        if ratio < 0.0 || ratio.is_nan() {
            return Err(invalid("neg_pos_ratio", "must be 0 or more"));
        }
        let owner = "multibox_loss_param";
        let nms = Nms::new(def, owner, param.nms_param.as_ref())?;
        Ok(Self {
            kind,
            ratio,
            overlap: param.neg_overlap(),
            sample,
            nms: (param.nms_param.is_some() && nms.threshold > 0.0).then_some(nms),
        })
    }

    /// The free boxes that count as background, ascending; matched ones that do not count are set free. `losses` are by
    /// box, and so is `bbox`, what is looked at for overlaps.
    pub(super) fn pick(
        &self,
        matches: &mut Matches,
        losses: &[f32],
        bbox: impl Fn(usize) -> BBox,
    ) -> Vec<usize> {
        let hard = self.kind == MiningType::HardExample;
        let may = |b: usize| hard || matches.object[b] == FREE && matches.overlap[b] < self.overlap;
        let mut candidates: Vec<(usize, f32)> = losses
            .iter()
            .copied()
            .enumerate()
            .filter(|&(b, _)| may(b))
            .collect();
        let most = if hard {
            self.sample
        } else {
            let matched = matches.object.iter().filter(|&&o| o > FREE).count();
            (matched as f32 * self.ratio) as usize
        };
        let most = most.min(candidates.len());
        let picked: Vec<usize> = match self.nms {
            Some(nms) => {
                let kept = nms.keep(candidates, LEAST, bbox);
                kept.into_iter().map(|(b, ..)| b).take(most).collect()
            }
            None => {
                candidates.sort_by(|a, b| b.1.total_cmp(&a.1));
                candidates.into_iter().map(|(b, _)| b).take(most).collect()
            }
        };
        let mut chosen = vec![false; losses.len()];
        picked.iter().for_each(|&b| chosen[b] = true);
        let mut negatives = Vec::new();
        for (b, &chosen) in chosen.iter().enumerate() {
            let object = &mut matches.object[b];
            if *object == FREE && chosen {
                negatives.push(b);
            } else if *object > FREE && hard && !chosen {
                *object = FREE;
            }
        }
        negatives
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::detection::matching::IGNORED;

    const LOSSES: [f32; 5] = [1.0, 4.0, 3.0, 5.0, 2.0];

    fn pick(miner: Miner) -> (Vec<usize>, Vec<i32>) {
        let mut matches = Matches {
            object: vec![0, FREE, FREE, IGNORED, FREE],
            overlap: vec![0.9, 0.0, 0.6, 0.0, 0.1],
        };
        // 1 and 4 are the same box.
        let bbox = |b: usize| {
            let x = if b == 4 { 1.0 } else { b as f32 };
            BBox([x, 0.0, x + 1.0, 1.0])
        };
        let negatives = miner.pick(&mut matches, &LOSSES, bbox);
        (negatives, matches.object)
    }

    #[test]
    fn negatives_and_hard_examples() {
        let miner = Miner {
            kind: MiningType::MaxNegative,
            ratio: 1.5,
            overlap: 0.5,
            sample: 2,
            nms: None,
        };
        let before = vec![0, FREE, FREE, IGNORED, FREE];
        assert_eq!(pick(miner), (vec![1], before.clone()));
        assert_eq!(
            pick(Miner {
                ratio: 9.0,
                ..miner
            }),
            (vec![1, 4], before.clone())
        );
        let nms = Nms::new(
            &crate::layers::detection::tests::def(""),
            "",
            Some(&Default::default()),
        );
        let nms = Some(nms.unwrap());
        assert_eq!(
            pick(Miner {
                ratio: 9.0,
                nms,
                ..miner
            }),
            (vec![1], before)
        );
        // The two hardest are 3, which is ignored, and 1.
        let hard = Miner {
            kind: MiningType::HardExample,
            ..miner
        };
        let after = vec![FREE, FREE, FREE, IGNORED, FREE];
        assert_eq!(pick(hard), (vec![1], after));
    }
}
