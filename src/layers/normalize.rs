//! What a loss is divided by, and which labels it skips: `loss_param`, the same for every loss over labels.
//!
//! FULL: the number of labels. VALID: the number of labels that are not skipped. BATCH_SIZE: the number of items, the
//! labels' positions not counted. NONE: 1. PRE_FIXED: `pre_fixed_normalizer`. Never less than 1, so that a batch without
//! valid labels gives 0, not NaN.

use crate::{
    layer::LayerDef,
    schema::{LossParameter, loss_parameter::NormalizationMode},
};

/// The options of `loss_param`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Normalize {
    mode: NormalizationMode,
    /// For PRE_FIXED.
    fixed: f32,
    /// The label that is skipped.
    pub(super) ignore: Option<i32>,
}

impl Normalize {
    /// As the layer's `loss_param` says. The old flag `normalize` (true: VALID, false: BATCH_SIZE) counts only where
    /// `normalization` is not given; without either it is VALID.
    pub(super) fn new(def: &LayerDef) -> Self {
        Self::or(def, NormalizationMode::Valid)
    }

    /// [`Normalize::new`] for a layer that has another mode where neither is given.
    pub(super) fn or(def: &LayerDef, otherwise: NormalizationMode) -> Self {
        let none = LossParameter::default();
        let param = def.param.loss_param.as_ref().unwrap_or(&none);
        let mode = match (param.normalization, param.normalize) {
            (None, Some(true)) => NormalizationMode::Valid,
            (None, Some(false)) => NormalizationMode::BatchSize,
            (None, None) => otherwise,
            _ => param.normalization(),
        };
        Self {
            mode,
            fixed: param.pre_fixed_normalizer(),
            ignore: param.ignore_label,
        }
    }

    /// What to divide by, for `outer` items of `inner` labels each, `valid` of which in all are not skipped.
    pub(super) fn divisor(self, (outer, inner): (usize, usize), valid: usize) -> f64 {
        let n = match self.mode {
            NormalizationMode::Full => outer * inner,
            NormalizationMode::Valid => valid,
            NormalizationMode::BatchSize => outer,
            NormalizationMode::None => 1,
            NormalizationMode::PreFixed => return f64::from(self.fixed).max(1.0),
        };
        n.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{LayerParameter, Phase};

    fn divisor(normalization: Option<NormalizationMode>, normalize: Option<bool>) -> f64 {
        let def = LayerDef {
            param: LayerParameter {
                loss_param: Some(LossParameter {
                    normalization: normalization.map(|mode| mode as i32),
                    normalize,
                    ..LossParameter::default()
                }),
                ..LayerParameter::default()
            },
            phase: Phase::Train,
            backward: true,
            root: std::path::PathBuf::new(),
            seed: 0,
            index: 0,
        };
        Normalize::new(&def).divisor((2, 6), 9)
    }

    #[test]
    fn modes_and_the_old_flag() {
        use NormalizationMode::{BatchSize, Full, None as Nothing, Valid};
        assert_eq!(divisor(None, None), 9.0);
        assert_eq!(divisor(Some(Full), None), 12.0);
        assert_eq!(divisor(Some(Valid), None), 9.0);
        assert_eq!(divisor(Some(BatchSize), None), 2.0);
        assert_eq!(divisor(Some(Nothing), None), 1.0);
        assert_eq!(divisor(None, Some(true)), 9.0);
        assert_eq!(divisor(None, Some(false)), 2.0);
        assert_eq!(divisor(Some(Full), Some(false)), 12.0);
    }

    #[test]
    fn never_zero() {
        let mode = NormalizationMode::Valid;
        let none = Normalize {
            mode,
            fixed: 0.0,
            ignore: None,
        };
        assert_eq!(none.divisor((3, 1), 0), 1.0);
        let mode = NormalizationMode::PreFixed;
        let fixed = |fixed| Normalize {
            mode,
            fixed,
            ignore: None,
        };
        assert_eq!(fixed(128.0).divisor((3, 1), 0), 128.0);
        assert_eq!(fixed(f32::NAN).divisor((3, 1), 0), 1.0);
    }
}
