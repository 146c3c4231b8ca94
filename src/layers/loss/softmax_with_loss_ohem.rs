//! SoftmaxWithLossOHEM: SoftmaxWithLoss that tells the loss of every label too, so that a net can mine the hard ones: see
//! BoxAnnotatorOHEM.   dx as there; the other tops pass none.
//!
//! Shapes: scores outer × classes × inner, labels outer × inner, loss a scalar; the optional second top is the
//! probabilities, as the scores, the optional third −ln p\[label\], as the labels, 0 where skipped and not divided by n.
//! Options: as SoftmaxWithLoss; `normalization: PRE_FIXED` divides by `pre_fixed_normalizer`.
//! Source: R-FCN's Caffe. Shrivastava et al., Training Region-based Object Detectors with Online Hard Example Mining
//! (2016).

use super::softmax_with_loss::SoftmaxWithLoss;
use crate::layer::{Arity, LayerType, Role};

pub(super) const TYPE: LayerType = LayerType::new("SoftmaxWithLossOHEM", |def| {
    Ok(Box::new(SoftmaxWithLoss::new(def)))
})
.arity(Arity::Exact(2), Arity::Range(1, 3))
.role(Role::Loss)
.no_grad(&[1]);

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, assert_close, check_gradient, error_of, noise, tensor};

    #[test]
    fn the_loss_of_each_label() {
        let text = "type: 'SoftmaxWithLossOHEM' top: 'loss' top: 'prob' top: 'each'
            loss_param { ignore_label: -1 normalization: PRE_FIXED pre_fixed_normalizer: 4 }";
        let scores = tensor(&[3, 2], &[0.0, 3.0f32.ln(), 0.0, 0.0, 1.0, 2.0]);
        let labels = tensor(&[3, 1], &[0.0, 1.0, -1.0]);
        let mut bench = Bench::new(text, &[scores, labels]);
        let (ln2, ln4) = (2.0f32.ln(), 4.0f32.ln());
        assert_close(bench.forward(), &[(ln4 + ln2) / 4.0], 1e-6);
        assert_close(&bench.tops[2].data, &[ln4, ln2, 0.0], 1e-6);
        assert_eq!(bench.tops[2].shape.dims(), [3, 1]);
        let got = bench.backward(&[4.0], &[0]);
        let dx = &got.bottoms[0].as_ref().unwrap().data;
        assert_close(dx, &[-0.75, 0.75, 0.5, -0.5, 0.0, 0.0], 1e-6);
    }

    #[test]
    fn gradients() {
        let text = "type: 'SoftmaxWithLossOHEM' loss_param { normalization: FULL }";
        let labels = tensor(&[2, 2], &[0.0, 2.0, 1.0, 1.0]);
        check_gradient(text, &[noise(&[2, 3, 2], 1), labels], &[0], &[]);
    }

    #[test]
    fn errors() {
        let inputs = [noise(&[2, 3], 1), tensor(&[2], &[0.0, 3.0])];
        let error = error_of("type: 'SoftmaxWithLossOHEM'", &inputs);
        assert!(
            error.contains("label 3 of image 1 names no class"),
            "{error}"
        );
    }
}
