//! Convolution: y = w ∗ x + b, a window of weights over the axes behind the channel axis, for each bottom and its top.
//!
//! y\[o, p\] = b\[o\] + Σ over channels i of o's group and taps t of w\[o, i, t\] · x\[i, p · stride - pad + t · dilation\], 0 in
//! the padding.   dw, db and dx are its transposes, see [`crate::kernels::conv`].
//!
//! Shapes: x \[.., C, spatial..\] with C at `axis`; w \[num_output, C / group, kernel..\]; b \[num_output\]; y \[.., num_output,
//! ⌊(n + 2 pad - dilation (kernel - 1) - 1) / stride⌋ + 1..\]. Bottoms share w and b and have one shape. Backward reads
//! the bottoms. `engine` and `force_nd_im2col` change nothing: there is one way for any number of axes. Where the kernel
//! is larger than the padded bottom Caffe may round to one window that reads beyond it; here that is an error.

use super::{filters::Filters, geometry::Rounding};
use crate::{
    error::{Error, Result},
    kernels::conv::{
        self, Conv, ConvParams, ConvShape, Epilogue, Packed, Reduced, ReducedWeights, Residual,
    },
    layer::{
        Arity, Backward, Folded, Forward, Layer, LayerDef, LayerType, Prepack, Reads, Reduction,
        Setup, Tail, Taken, Traits,
    },
    schema::ConvolutionParameter,
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("Convolution", |def| Ok(build(def, false)))
    .arity(Arity::AtLeast(1), Arity::LikeBottoms);

/// The layer; `depthwise` where each channel has filters of its own.
pub(super) fn build(def: &LayerDef, depthwise: bool) -> Box<dyn Layer> {
    Box::new(Convolution {
        backward: def.backward,
        param: def.param.convolution_param.clone().unwrap_or_default(),
        depthwise,
        conv: None,
        weights: Shape::default(),
        batch: 0,
        bottoms: 0,
        taken: Taken::default(),
        folded: Folded::default(),
        packed: None,
        reduction: None,
        reduced: None,
        rounded: None,
    })
}

struct Convolution {
    /// Whether the net runs backward.
    backward: bool,
    param: ConvolutionParameter,
    depthwise: bool,
    /// Known from `reshape` on.
    conv: Option<Conv>,
    weights: Shape,
    batch: usize,
    bottoms: usize,
    taken: Taken,
    /// Weights only while they are packed.
    folded: Folded,
    /// In nets that only run forward.
    packed: Option<Packed>,
    /// Asked for instead of `f32`, with its plan and its weights.
    reduction: Option<Reduction>,
    reduced: Option<Reduced>,
    rounded: Option<ReducedWeights>,
}

impl Convolution {
    /// The sizes for a bottom, with the shapes of the weights and the top.
    fn fit(&self, bottom: &Shape) -> Result<(ConvShape, Shape, Shape)> {
        let told = Filters::told(&self.param, self.depthwise, bottom)?;
        let window = &told.window;
        let input = &bottom.dims()[told.axis + 1..];
        let output = window.output(input, Rounding::Floor)?;
        let sizes = ConvShape::new(&ConvParams {
            in_channels: told.channels,
            out_channels: told.outputs,
            groups: told.groups,
            input,
            kernel: &window.kernel,
            stride: &window.stride,
            pad: &window.pad,
            dilation: &window.dilation,
        })
        .map_err(Error::shape)?;
        let weights = [
            &[told.outputs, told.channels / told.groups],
            &window.kernel[..],
        ]
        .concat();
        Ok((sizes, Shape::checked(&weights)?, told.top(bottom, &output)?))
    }

    /// Plans for the sizes of now, where less precision is asked for.
    fn plan_reduced(&mut self) -> Result<()> {
        self.reduced = match self.reduction {
            Some(to) => Some(Reduced::new(self.conv().shape(), to).map_err(too_long)?),
            None => None,
        };
        Ok(())
    }

    fn conv(&self) -> &Conv {
        self.conv.as_ref().expect("reshape comes first")
    }
}

fn too_long(why: String) -> Error {
    Error::unsupported(why).help("run this net in bf16")
}

impl Layer for Convolution {
    fn setup(&mut self, cx: &mut Setup<'_>) -> Result<()> {
        let (_, weights, _) = self.fit(&cx.bottoms[0])?;
        let outputs = weights.dims()[0];
        self.weights = weights.clone();
        cx.param(weights, self.param.weight_filler.as_ref());
        if self.param.bias_term() {
            cx.param(Shape::from([outputs]), self.param.bias_filler.as_ref());
        }
        Ok(())
    }

    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        if let Some(other) = bottoms.iter().find(|&b| *b != bottoms[0]) {
            return Err(Error::shape(format!(
                "all bottoms must have one shape, but there are {} and {other}",
                bottoms[0]
            )));
        }
        let (sizes, weights, top) = self.fit(&bottoms[0])?;
        if weights != self.weights {
            return Err(Error::shape(format!(
                "a bottom of shape {} needs weights of shape {weights}, but they are {}",
                bottoms[0], self.weights
            )));
        }
        self.batch = bottoms[0].count() / sizes.in_len();
        self.bottoms = bottoms.len();
        let known = self.conv.as_ref().map(|conv| (conv.shape(), conv.batch()));
        if known != Some((&sizes, self.batch)) {
            self.conv = Some(Conv::new(&sizes, self.batch));
            self.plan_reduced()?;
        }
        Ok(vec![top; bottoms.len()])
    }

    fn traits(&self) -> Traits {
        Traits {
            backward_reads: Reads::BOTTOMS,
            workspace: if self.reduced.is_some() {
                0
            } else if self.backward {
                self.conv().workspace_len()
            } else {
                self.conv().forward_workspace_len(true)
            },
            ..Traits::default()
        }
    }

    fn absorb(&mut self, tail: Tail) -> bool {
        match tail {
            Tail::Affine => self.param.axis() == 1 && self.taken.take(tail),
            Tail::Sum => self.bottoms == 1 && self.taken.take(tail),
            Tail::Act(_) => self.taken.take(tail),
            Tail::Identity => false,
        }
    }

    fn prepack(&mut self, io: &mut Prepack<'_>) -> Result<bool> {
        self.folded.fold(io, false);
        let own = io.then.is_none();
        let weights = if own {
            self.folded.bias = io
                .params
                .get(1)
                .map_or_else(Vec::new, |b| b.value.data.clone());
            &io.params[0].value.data
        } else {
            &self.folded.weights
        };
        match &self.reduced {
            Some(reduced) => self.rounded = Some(reduced.pack(weights)),
            None => self.packed = Some(self.conv().pack(weights)),
        }
        self.folded.weights = Vec::new();
        Ok(true)
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let Taken { sum, act, .. } = self.taken;
        let rounded = self.reduced.as_ref().zip(self.rounded.as_ref());
        let own = io.params.get(1).map(|b| &b.value.data[..]);
        let (w, bias) = match &self.packed {
            Some(packed) => (conv::Filters::Packed(packed), Some(&self.folded.bias[..])),
            None if rounded.is_some() => (conv::Filters::Plain(&[]), Some(&self.folded.bias[..])),
            None => (conv::Filters::Plain(&io.params[0].value.data), own),
        };
        let bias = bias.filter(|bias| !bias.is_empty());
        let (bottoms, residual) = match io.bottoms {
            [x, residual] if sum => (std::slice::from_ref(x), Residual::Other(residual.data)),
            all => (all, Residual::None),
        };
        let end = Epilogue {
            bias,
            residual,
            act,
        };
        for (x, y) in bottoms.iter().zip(io.tops.iter_mut()) {
            match rounded {
                Some((reduced, weights)) => reduced.forward(x.data, weights, end, y.data),
                None => self.conv().forward(x.data, w, end, y.data, io.workspace),
            }
        }
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let conv = self.conv();
        for (i, dy) in io.top_diffs.iter().enumerate() {
            let Some(dy) = dy.map(|dy| dy.data) else {
                if let Some(dx) = &mut io.bottom_diffs[i] {
                    dx.data.fill(0.0);
                }
                continue;
            };
            let bias = io.params.get(1).is_some_and(|b| b.wants_grad());
            if io.params[0].wants_grad() {
                let x = io.bottom(i).data;
                let (w, b) = io.params.split_at_mut(1);
                let db = b.first_mut().filter(|_| bias).map(|b| &mut b.grad[..]);
                conv.backward_weights(x, dy, (&mut w[0].grad, db), io.workspace);
            } else if bias {
                conv.backward_bias(dy, &mut io.params[1].grad);
            }
            if let Some(dx) = &mut io.bottom_diffs[i] {
                let w = &io.params[0].value.data;
                conv.backward_data(w, dy, dx.data, io.workspace);
            }
        }
        Ok(())
    }

    fn reducible(&self) -> bool {
        self.conv
            .as_ref()
            .is_some_and(|conv| Reduced::suits(conv.shape()))
    }

    fn reduce(&mut self, to: Reduction) -> Result<()> {
        self.reduction = Some(to);
        self.plan_reduced()
    }

    fn flops(&self) -> u64 {
        let images = self.batch.saturating_mul(self.bottoms) as u64;
        (self.conv().shape().multiply_adds() as u64)
            .saturating_mul(2)
            .saturating_mul(images)
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{
        Bench, assert_close, check_gradient, check_threads, error_of, noise, tensor,
    };

    fn layer(options: &str) -> String {
        format!("type: 'Convolution' convolution_param {{ {options} }}")
    }

    const FILLED: &str = "weight_filler { type: 'gaussian' } bias_filler { type: 'gaussian' }";

    #[test]
    fn a_hand_sized_one() {
        // 1 2 3      1 0
        // 4 5 6  ∗   0 2   + 10
        let x = tensor(&[1, 1, 2, 3], &[1., 2., 3., 4., 5., 6.]);
        let mut bench = Bench::new(&layer("num_output: 1 kernel_size: 2"), &[x])
            .param(0, &[1., 0., 0., 2.])
            .param(1, &[10.]);
        assert_close(bench.forward(), &[21., 24.], 1e-6);
        let got = bench.backward(&[1., 2.], &[0]);
        let dx = &got.bottoms[0].as_ref().unwrap().data;
        assert_close(dx, &[1., 2., 0., 0., 2., 4.], 1e-6);
        assert_close(&got.params[0], &[5., 8., 14., 17.], 1e-6);
        assert_close(&got.params[1], &[3.], 1e-6);
        assert_eq!(bench.layer.flops(), 2 * 4 * 2);
    }

    #[test]
    fn bottoms_share_the_weights() {
        let one = |v| tensor(&[1, 1, 1, 1], &[v]);
        let text = layer("num_output: 1 kernel_size: 1 bias_term: false");
        let mut bench = Bench::new(&text, &[one(2.0), one(3.0)]).param(0, &[5.0]);
        bench.forward();
        assert_eq!([bench.tops[0].data[0], bench.tops[1].data[0]], [10.0, 15.0]);
        let got = bench
            .try_backward(&[Some(one(1.0)), Some(one(1.0))], &[0, 1])
            .unwrap();
        assert_eq!(got.params[0], [5.0]);
        // A top without a gradient brings none.
        let got = bench
            .try_backward(&[None, Some(one(1.0))], &[0, 1])
            .unwrap();
        assert_eq!(got.params[0], [3.0]);
        assert_eq!(got.bottoms[0].as_ref().unwrap().data, [0.0]);
        assert_eq!(got.bottoms[1].as_ref().unwrap().data, [5.0]);
    }

    #[test]
    fn gradients_and_threads() {
        for options in [
            "kernel_size: 3 stride: 2 pad: 1",
            "kernel_size: 2 dilation: 2 group: 2",
            "kernel_size: 1",
            "kernel_h: 1 kernel_w: 3 pad_w: 1 group: 4 force_nd_im2col: true engine: CUDNN",
        ] {
            let text = layer(&format!("num_output: 4 {FILLED} {options}"));
            check_gradient(&text, &[noise(&[2, 4, 4, 5], 1)], &[0], &[0, 1]);
            check_threads(&text, &[noise(&[5, 4, 20, 30], 1)], &[0]);
        }
        let text = layer(&format!("num_output: 2 {FILLED} kernel_size: 2"));
        check_gradient(&text, &[noise(&[2, 3, 5], 1)], &[0], &[0, 1]);
        check_gradient(&text, &[noise(&[1, 2, 3, 3, 3], 1)], &[0], &[0, 1]);
        let text = layer(&format!("num_output: 2 {FILLED} axis: 0 kernel_size: 2"));
        check_gradient(&text, &[noise(&[2, 3, 5], 1)], &[0], &[0, 1]);
    }

    #[test]
    fn shapes() {
        let bench = Bench::new(
            &layer("num_output: 6 kernel_size: 5 kernel_size: 3 group: 2 stride: 2"),
            &[noise(&[2, 4, 9, 8], 1)],
        );
        assert_eq!(bench.tops[0].shape.dims(), [2, 6, 3, 3]);
        assert_eq!(bench.params[0].value.shape.dims(), [6, 2, 5, 3]);
        assert_eq!(bench.params[1].value.shape.dims(), [6]);
    }

    #[test]
    fn the_batch_may_change_and_be_empty() {
        let mut bench = Bench::new(
            &layer("num_output: 2 kernel_size: 2"),
            &[noise(&[2, 3, 4, 4], 1)],
        );
        bench.set_bottom(0, noise(&[0, 3, 4, 4], 1)).unwrap();
        assert!(bench.forward().is_empty());
        assert_eq!(bench.backward(&[], &[0]).params[1], [0.0; 2]);
        bench.set_bottom(0, noise(&[3, 3, 5, 7], 1)).unwrap();
        assert_eq!(bench.forward().len(), 3 * 2 * 4 * 6);
        let error = bench.set_bottom(0, noise(&[1, 4, 4, 4], 1)).unwrap_err();
        assert!(error.message().contains("[2, 4, 2, 2]"), "{error}");
    }

    #[test]
    fn errors() {
        let x = [noise(&[1, 4, 5, 5], 1)];
        let says = |options: &str, part: &str| {
            let error = error_of(&layer(options), &x);
            assert!(error.contains(part), "{error}");
        };
        says(
            "kernel_size: 3",
            "convolution_param.num_output: must be at least 1",
        );
        says(
            "num_output: 6 kernel_size: 3 group: 3",
            "convolution_param.group: 4 input channels do not divide by group 3",
        );
        says("num_output: 6 kernel_size: 3 group: 4", "6 output channels");
        says("num_output: 6 kernel_size: 3 group: 0", "group: must be");
        says(
            "num_output: 6 kernel_size: 3 stride: 0",
            "stride: must be at least 1",
        );
        says(
            "num_output: 6 kernel_size: 3 axis: 7",
            "convolution_param.axis: axis 7",
        );
        says(
            "num_output: 6 kernel_size: 1000000000",
            "the bottom is [5, 5]",
        );
        says(
            "num_output: 4000000000 kernel_size: 3",
            "would hold more than",
        );
        says("num_output: 2 kernel_size: 1 pad: 2000000000", "");
        let error = error_of(
            &layer("num_output: 2 kernel_size: 1"),
            &[noise(&[1, 2, 3, 3], 1), noise(&[1, 2, 3, 4], 1)],
        );
        assert!(error.contains("one shape"), "{error}");
    }
}
