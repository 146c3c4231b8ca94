//! DepthwiseConvolution: y\[c·m + j\] = w\[c·m + j\] ∗ x\[c\] + b\[c·m + j\]: each channel has filters of its own.   dx, dw
//! and db are those of Convolution.
//!
//! Shapes: x \[.., C, spatial..\]; w \[num_output, 1, kernel..\]; y as of Convolution, with `num_output` a multiple m·C of the
//! channels, C where it is not told. A Convolution with `group: C`, whether `group` is told or not; of MobileNet's forks,
//! after Howard et al. 2017. Departure: there another `group` makes a grouped convolution, here it is an error.

use super::convolution;
use crate::layer::{Arity, LayerType};

pub(super) const TYPE: LayerType = LayerType::new("DepthwiseConvolution", |def| {
    Ok(convolution::build(def, true))
})
.arity(Arity::AtLeast(1), Arity::LikeBottoms);

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, check_gradient, error_of, noise, tensor};

    fn layer(options: &str) -> String {
        format!("type: 'DepthwiseConvolution' convolution_param {{ {options} }}")
    }

    #[test]
    fn a_filter_for_each_channel() {
        let x = tensor(&[1, 2, 1, 3], &[1., 2., 3., 4., 5., 6.]);
        let options = "kernel_h: 1 kernel_w: 2 bias_term: false";
        let mut bench = Bench::new(&layer(options), &[x]).param(0, &[1., 1., 1., -1.]);
        assert_eq!(bench.params[0].value.shape.dims(), [2, 1, 1, 2]);
        assert_eq!(bench.forward(), [3., 5., -1., -1.]);
    }

    #[test]
    fn gradients() {
        let filled = "weight_filler { type: 'gaussian' } bias_filler { type: 'gaussian' }";
        for options in ["group: 3 num_output: 3 stride: 2", "num_output: 6 group: 1"] {
            let text = layer(&format!("kernel_size: 3 pad: 1 {options} {filled}"));
            check_gradient(&text, &[noise(&[2, 3, 4, 5], 1)], &[0], &[0, 1]);
        }
    }

    #[test]
    fn errors() {
        let x = [noise(&[1, 4, 5, 5], 1)];
        let error = error_of(&layer("kernel_size: 1 group: 2"), &x);
        assert!(
            error.contains("a group for each of the 4 channels"),
            "{error}"
        );
        let error = error_of(&layer("kernel_size: 1 num_output: 6"), &x);
        assert!(error.contains("6 output channels"), "{error}");
    }
}
