//! Im2col: y\[c · taps + t, p\] = x\[c, p · stride - pad + t · dilation\], 0 in the padding: the windows of a convolution
//! written out.   dx\[c, q\] = Σ dy\[c · taps + t, p\] over the t and p that look at q.
//!
//! Shapes: x \[.., C, spatial..\] with C at `axis` and at least one spatial axis; y \[.., C · taps,
//! ⌊(n + 2 pad - dilation (kernel - 1) - 1) / stride⌋ + 1..\]. Options are those of `convolution_param` that describe
//! windows; `force_nd_im2col` changes nothing.

use super::geometry::{Rounding, Window};
use crate::{
    error::{Error, Result},
    kernels::im2col::{self, WindowShape},
    layer::{Backward, Forward, Layer, LayerType},
    schema::ConvolutionParameter,
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("Im2col", |def| {
    Ok(Box::new(Im2col {
        param: def.param.convolution_param.clone().unwrap_or_default(),
        sizes: WindowShape::default(),
    }))
});

struct Im2col {
    param: ConvolutionParameter,
    sizes: WindowShape,
}

impl Layer for Im2col {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let x = &bottoms[0];
        let axis = x
            .axis(self.param.axis())
            .map_err(|e| Error::param("convolution_param.axis", e.message()))?;
        let input = &x.dims()[axis + 1..];
        if input.is_empty() {
            return Err(Error::shape(format!(
                "windows need an axis behind the channel axis, {axis}, but the bottom is {x}"
            )));
        }
        let window = Window::of_convolution(&self.param, input.len())?;
        let output = window.output(input, Rounding::Floor)?;
        let channels = [&x.dims()[axis..=axis], &window.kernel].concat();
        let channels = Shape::checked(&channels)?.count();
        let top = [&x.dims()[..axis], &[channels], &output[..]].concat();
        let top = Shape::checked(&top)?;
        self.sizes = WindowShape {
            input: input.to_vec(),
            output: output.to_vec(),
            kernel: window.kernel.to_vec(),
            stride: window.stride.to_vec(),
            pad: window.pad.to_vec(),
            dilation: window.dilation.to_vec(),
        };
        Ok(vec![top])
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        im2col::im2col(&self.sizes, io.bottoms[0].data, io.tops[0].data);
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let dy = io.top_diff().data;
        if let Some(dx) = &mut io.bottom_diffs[0] {
            im2col::col2im(&self.sizes, dy, dx.data);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, check_gradient, check_threads, error_of, noise, tensor};

    fn layer(options: &str) -> String {
        format!("type: 'Im2col' convolution_param {{ {options} }}")
    }

    #[test]
    fn windows_written_out() {
        // 1 2 3
        // 4 5 6
        let x = tensor(&[1, 1, 2, 3], &[1., 2., 3., 4., 5., 6.]);
        let mut bench = Bench::new(&layer("kernel_size: 2"), &[x]);
        assert_eq!(bench.tops[0].shape.dims(), [1, 4, 1, 2]);
        assert_eq!(bench.forward(), [1., 2., 2., 3., 4., 5., 5., 6.]);
    }

    #[test]
    fn gradients_and_threads() {
        for options in [
            "kernel_size: 3 stride: 2 pad: 1",
            "kernel_h: 1 kernel_w: 2 dilation: 2",
        ] {
            let text = layer(options);
            check_gradient(&text, &[noise(&[2, 2, 4, 5], 1)], &[0], &[]);
            check_threads(&text, &[noise(&[5, 4, 40, 30], 1)], &[0]);
        }
        check_gradient(
            &layer("kernel_size: 2"),
            &[noise(&[2, 2, 3, 3, 3], 1)],
            &[0],
            &[],
        );
        check_gradient(
            &layer("axis: 0 kernel_size: 2"),
            &[noise(&[2, 5], 1)],
            &[0],
            &[],
        );
    }

    #[test]
    fn the_batch_may_be_empty() {
        let mut bench = Bench::new(&layer("kernel_size: 2"), &[noise(&[0, 3, 4, 4], 1)]);
        assert!(bench.forward().is_empty());
        assert!(bench.backward(&[], &[0]).bottoms[0].is_some());
    }

    #[test]
    fn errors() {
        let x = [noise(&[1, 4, 5, 5], 1)];
        let says = |options: &str, part: &str| {
            let error = error_of(&layer(options), &x);
            assert!(error.contains(part), "{error}");
        };
        says("", "convolution_param.kernel_size");
        says("kernel_size: 6", "no window fits");
        says("kernel_size: 1 stride: 0", "stride: must be");
        says("kernel_size: 1 axis: 4", "convolution_param.axis: axis 4");
        says("kernel_size: 1 axis: 3", "an axis behind the channel axis");
        says("kernel_size: 40000 pad: 40000", "would hold more than");
    }
}
