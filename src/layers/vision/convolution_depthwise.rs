//! ConvolutionDepthwise: y\[c\] = w\[c\] ∗ x\[c\] + b\[c\]: each channel has a filter of its own.   dx, dw and db are those of
//! Convolution.
//!
//! Shapes: x \[N, C, H, W\]; w \[C, 1, kernel_h, kernel_w\]; b \[C\]; y \[N, C, ..\] as of Convolution. The other name of
//! DepthwiseConvolution, which some forks use. Departure: there `group` and `num_output` are not looked at; here they must
//! make sense.

use super::convolution;
use crate::layer::{Arity, LayerType};

pub(super) const TYPE: LayerType = LayerType::new("ConvolutionDepthwise", |def| {
    Ok(convolution::build(def, true))
})
.arity(Arity::AtLeast(1), Arity::LikeBottoms);

#[cfg(test)]
mod tests {
    use crate::layer::testing::{check_gradient, noise};

    #[test]
    fn gradients() {
        let text = "type: 'ConvolutionDepthwise' convolution_param { num_output: 3 kernel_size: 3
            pad: 1 stride: 2 bias_term: false weight_filler { type: 'msra' } }";
        check_gradient(text, &[noise(&[2, 3, 4, 5], 1)], &[0], &[0]);
    }
}
