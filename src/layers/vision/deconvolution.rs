//! Deconvolution: y = wᵀ ∗ x + b, the transpose of a convolution: each value spreads over a window of the top, for each
//! bottom and its top.
//!
//! y\[o, q\] = b\[o\] + Σ over channels i of o's group, positions p and taps t with p · stride - pad + t · dilation = q of
//! w\[i, o, t\] · x\[i, p\]. This is the data gradient of the convolution from y to x, so dx is that convolution of dy,
//! dw its weight gradient with the roles of input and output changed, and db = Σ dy, see [`crate::kernels::conv`].
//!
//! Shapes: x \[.., C, spatial..\] with C at `axis`; w \[C, num_output / group, kernel..\]; b \[num_output\]; y \[.., num_output,
//! stride (n - 1) + dilation (kernel - 1) + 1 - 2 pad..\]. Bottoms share w and b and have one shape. Backward reads the
//! bottoms. `engine` and `force_nd_im2col` change nothing: there is one way for any number of axes.

use super::{filters::Filters, geometry::Dims};
use crate::{
    error::{Error, Result},
    kernels::{
        conv::{self, Conv, ConvParams, ConvShape, Epilogue},
        finish, reduce,
    },
    layer::{
        Affine, Arity, Backward, Forward, Layer, LayerType, Prepack, Reads, Setup, Tail, Taken,
        Traits,
    },
    schema::ConvolutionParameter,
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("Deconvolution", |def| {
    Ok(Box::new(Deconvolution {
        backward: def.backward,
        param: def.param.convolution_param.clone().unwrap_or_default(),
        conv: None,
        weights: Shape::default(),
        outputs: 0,
        bottoms: 0,
        taken: Taken::default(),
        then: Affine::default(),
    }))
})
.arity(Arity::AtLeast(1), Arity::LikeBottoms);

struct Deconvolution {
    /// Whether the net runs backward.
    backward: bool,
    param: ConvolutionParameter,
    /// From the top to the bottom; known from `reshape` on.
    conv: Option<Conv>,
    weights: Shape,
    outputs: usize,
    bottoms: usize,
    taken: Taken,
    /// What follows the sums, bias included, where an affine map was absorbed.
    then: Affine,
}

impl Deconvolution {
    /// The sizes of the convolution back, with the shapes of the weights and the top.
    fn fit(&self, bottom: &Shape) -> Result<(ConvShape, Shape, Shape)> {
        let told = Filters::told(&self.param, false, bottom)?;
        let window = &told.window;
        let input = &bottom.dims()[told.axis + 1..];
        let size = |i: usize| -> Option<usize> {
            // Each is below 2^31 (a blob's limit, and the window's), so 64 bits hold it all.
            let [n, k, s, p, d] = [
                input[i],
                window.kernel[i],
                window.stride[i],
                window.pad[i],
                window.dilation[i],
            ]
            .map(|v| i64::try_from(v).unwrap_or(i64::from(i32::MAX)));
            let size = s * (n - 1) + d * (k - 1) + 1 - 2 * p;
            usize::try_from(size).ok().filter(|&size| size > 0 && n > 0)
        };
        let output = (0..input.len())
            .map(size)
            .collect::<Option<Dims>>()
            .ok_or_else(|| {
                Error::shape(format!(
                    "the top would be empty: the bottom is {input:?}, kernel {:?}, pad {:?}, stride {:?}",
                    window.kernel, window.pad, window.stride
                ))
                .help("make pad smaller, or the bottom or the kernel larger")
            })?;
        let top = told.top(bottom, &output)?;
        let sizes = ConvShape::new(&ConvParams {
            in_channels: told.outputs,
            out_channels: told.channels,
            groups: told.groups,
            input: &output,
            kernel: &window.kernel,
            stride: &window.stride,
            pad: &window.pad,
            dilation: &window.dilation,
        })
        .map_err(Error::shape)?;
        let weights = [
            &[told.channels, told.outputs / told.groups],
            &window.kernel[..],
        ]
        .concat();
        Ok((sizes, Shape::checked(&weights)?, top))
    }

    fn conv(&self) -> &Conv {
        self.conv.as_ref().expect("reshape comes first")
    }

    /// Channels of a top, and values of a channel that follow each other.
    fn dims(&self) -> (usize, usize) {
        (self.outputs, self.conv().shape().in_len() / self.outputs)
    }
}

impl Layer for Deconvolution {
    fn setup(&mut self, cx: &mut Setup<'_>) -> Result<()> {
        let told = Filters::told(&self.param, false, &cx.bottoms[0])?;
        let (_, weights, _) = self.fit(&cx.bottoms[0])?;
        self.outputs = told.outputs;
        self.weights = weights.clone();
        cx.param(weights, self.param.weight_filler.as_ref());
        if self.param.bias_term() {
            cx.param(Shape::from([told.outputs]), self.param.bias_filler.as_ref());
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
        let batch = bottoms[0].count() / sizes.out_len();
        self.bottoms = bottoms.len();
        let known = self.conv.as_ref().map(|conv| (conv.shape(), conv.batch()));
        if known != Some((&sizes, batch)) {
            self.conv = Some(Conv::new(&sizes, batch));
        }
        Ok(vec![top; bottoms.len()])
    }

    fn traits(&self) -> Traits {
        Traits {
            backward_reads: Reads::BOTTOMS,
            workspace: if self.backward {
                self.conv().workspace_len()
            } else {
                self.conv().data_workspace_len()
            },
            ..Traits::default()
        }
    }

    fn absorb(&mut self, tail: Tail) -> bool {
        match tail {
            Tail::Affine => self.param.axis() == 1 && self.taken.take(tail),
            Tail::Act(_) => self.taken.take(tail),
            _ => false,
        }
    }

    fn prepack(&mut self, io: &mut Prepack<'_>) -> Result<bool> {
        if let Some(then) = io.then {
            let bias = io.params.get(1).map(|b| &b.value.data[..]);
            self.then = Affine {
                scale: vec![1.0; self.outputs],
                shift: bias.map_or_else(|| vec![0.0; self.outputs], <[f32]>::to_vec),
            }
            .then(then);
        }
        Ok(false)
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let (dims, act) = (self.dims(), self.taken.act);
        let w = &io.params[0].value.data;
        for (x, y) in io.bottoms.iter().zip(io.tops.iter_mut()) {
            self.conv().backward_data(w, x.data, y.data, io.workspace);
            if self.taken.affine {
                let Affine { scale, shift } = &self.then;
                let f = |c: usize| {
                    let (s, t) = (scale[c], shift[c]);
                    move |y| s * y + t
                };
                finish::channel_map_activate(None, y.data, dims, f, act);
            } else if let Some(b) = io.params.get(1) {
                let f = |c: usize| {
                    let b = b.value.data[c];
                    move |y| y + b
                };
                finish::channel_map_activate(None, y.data, dims, f, act);
            } else {
                finish::activate(y.data, act);
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
            if io.params[0].wants_grad() {
                let x = io.bottom(i).data;
                let dw = &mut io.params[0].grad;
                conv.backward_weights(dy, x, (dw, None), io.workspace);
            }
            if let Some(b) = io.params.get_mut(1).filter(|b| b.wants_grad()) {
                reduce::channel_sum_add(dy, self.dims(), &mut b.grad);
            }
            if let Some(dx) = &mut io.bottom_diffs[i] {
                let w = conv::Filters::Plain(&io.params[0].value.data);
                conv.forward(dy, w, Epilogue::default(), dx.data, io.workspace);
            }
        }
        Ok(())
    }

    fn flops(&self) -> u64 {
        let conv = self.conv();
        let images = conv.batch().saturating_mul(self.bottoms) as u64;
        (conv.shape().multiply_adds() as u64)
            .saturating_mul(2)
            .saturating_mul(images)
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::{
        Act, Affine, Prepack, Tail,
        testing::{Bench, assert_close, check_gradient, check_threads, error_of, noise, tensor},
    };

    fn layer(options: &str) -> String {
        format!("type: 'Deconvolution' convolution_param {{ {options} }}")
    }

    const FILLED: &str = "weight_filler { type: 'gaussian' } bias_filler { type: 'gaussian' }";

    #[test]
    fn a_hand_sized_one() {
        // 1 2 spread by 1 10 100, two apart: 1 10 100+2 20 200, and 5 everywhere.
        let x = tensor(&[1, 1, 2], &[1., 2.]);
        let mut bench = Bench::new(&layer("num_output: 1 kernel_size: 3 stride: 2"), &[x])
            .param(0, &[1., 10., 100.])
            .param(1, &[5.]);
        assert_close(bench.forward(), &[6., 15., 107., 25., 205.], 1e-6);
        let got = bench.backward(&[1., 2., 3., 4., 5.], &[0]);
        let dx = &got.bottoms[0].as_ref().unwrap().data;
        assert_close(dx, &[321., 543.], 1e-6);
        assert_close(&got.params[0], &[1. + 6., 2. + 8., 3. + 10.], 1e-6);
        assert_close(&got.params[1], &[15.], 1e-6);
        assert_eq!(bench.layer.flops(), 2 * 2 * 3);
    }

    #[test]
    fn bilinear_filters_enlarge() {
        // FCN's use: twice as large, a filter for each channel.
        let text = layer(
            "num_output: 2 group: 2 kernel_size: 4 stride: 2 pad: 1 bias_term: false
             weight_filler { type: 'bilinear' }",
        );
        let mut bench = Bench::new(&text, &[tensor(&[1, 2, 2, 2], &[3.0; 8])]);
        assert_eq!(bench.tops[0].shape.dims(), [1, 2, 4, 4]);
        let y = bench.forward();
        assert_close(&[y[5], y[6], y[9], y[26]], &[3.0; 4], 1e-6);
    }

    #[test]
    fn what_follows_is_absorbed() {
        let text = layer(&format!("num_output: 2 kernel_size: 2 stride: 2 {FILLED}"));
        let mut bench = Bench::new(&text, &[noise(&[2, 3, 3, 4], 1)]);
        let mut want = bench.forward().to_vec();
        assert!(bench.layer.absorb(Tail::Affine));
        assert!(bench.layer.absorb(Tail::Act(Act::Relu(0.1))));
        let then = Affine {
            scale: vec![2.0, -3.0],
            shift: vec![0.5, 1.0],
        };
        let mut io = Prepack {
            params: &mut bench.params,
            then: Some(&then),
            last: false,
        };
        assert!(!bench.layer.prepack(&mut io).unwrap());
        for (i, y) in want.iter_mut().enumerate() {
            let c = i / 48 % 2;
            *y = then.scale[c] * *y + then.shift[c];
            *y *= if *y > 0.0 { 1.0 } else { 0.1 };
        }
        assert_close(bench.forward(), &want, 1e-5);
    }

    #[test]
    fn bottoms_share_the_weights() {
        let one = |v| tensor(&[1, 1, 1, 1], &[v]);
        let text = layer("num_output: 1 kernel_size: 1 bias_term: false");
        let mut bench = Bench::new(&text, &[one(2.0), one(3.0)]).param(0, &[5.0]);
        bench.forward();
        assert_eq!([bench.tops[0].data[0], bench.tops[1].data[0]], [10.0, 15.0]);
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
            "kernel_size: 1 stride: 3",
            "kernel_h: 1 kernel_w: 3 pad_w: 1 group: 4 force_nd_im2col: true engine: CUDNN",
        ] {
            let text = layer(&format!("num_output: 4 {FILLED} {options}"));
            check_gradient(&text, &[noise(&[2, 4, 3, 4], 1)], &[0], &[0, 1]);
            check_threads(&text, &[noise(&[5, 4, 20, 30], 1)], &[0]);
        }
        let text = layer(&format!("num_output: 2 {FILLED} kernel_size: 2"));
        check_gradient(&text, &[noise(&[2, 3, 5], 1)], &[0], &[0, 1]);
        check_gradient(&text, &[noise(&[1, 2, 2, 3, 3], 1)], &[0], &[0, 1]);
        check_gradient(&text, &[noise(&[2, 3], 1)], &[0], &[0, 1]);
        let text = layer(&format!("num_output: 2 {FILLED} axis: 0 kernel_size: 2"));
        check_gradient(&text, &[noise(&[2, 3, 5], 1)], &[0], &[0, 1]);
    }

    #[test]
    fn the_batch_may_change_and_be_empty() {
        let text = layer("num_output: 2 kernel_size: 2");
        let mut bench = Bench::new(&text, &[noise(&[2, 3, 4, 4], 1)]);
        bench.set_bottom(0, noise(&[0, 3, 4, 4], 1)).unwrap();
        assert!(bench.forward().is_empty());
        assert_eq!(bench.backward(&[], &[0]).params[1], [0.0; 2]);
        bench.set_bottom(0, noise(&[3, 3, 5, 7], 1)).unwrap();
        assert_eq!(bench.forward().len(), 3 * 2 * 6 * 8);
        let error = bench.set_bottom(0, noise(&[1, 4, 4, 4], 1)).unwrap_err();
        assert!(error.message().contains("[4, 2, 2, 2]"), "{error}");
    }

    #[test]
    fn errors() {
        let x = [noise(&[1, 4, 5, 5], 1)];
        let says = |options: &str, part: &str| {
            let error = error_of(&layer(options), &x);
            assert!(error.contains(part), "{error}");
        };
        says("kernel_size: 3", "convolution_param.num_output: must be");
        says("num_output: 2", "convolution_param.kernel_size");
        says("num_output: 6 kernel_size: 3 group: 3", "group: 4 input");
        says("num_output: 6 kernel_size: 3 group: 0", "group: must be");
        says("num_output: 2 kernel_size: 1 stride: 0", "stride: must be");
        says("num_output: 2 kernel_size: 1 pad: 3", "would be empty");
        says("num_output: 2 kernel_size: 3 axis: 7", "axis: axis 7");
        says(
            "num_output: 2 kernel_size: 1 stride: 2000000000",
            "would hold",
        );
        says("num_output: 4000000000 kernel_size: 3", "would hold");
        says("num_output: 2 kernel_size: 1 pad: 2000000000", "empty");
        let text = layer("num_output: 1 kernel_size: 1");
        let empty = tensor(&[1, 2, 0, 3], &[]);
        assert!(error_of(&text, &[empty]).contains("empty"));
        let error = error_of(&text, &[noise(&[1, 2, 3, 3], 1), noise(&[1, 2, 3, 4], 1)]);
        assert!(error.contains("one shape"), "{error}");
    }
}
