//! BatchNorm: y = (x - μ) / σ for each channel, σ = √(v + ε).
//!
//! While training, μ and v are mean and (biased) variance of the batch, and forward keeps three running sums with the
//! fraction f: the mean m ← μ + f·m, the variance w ← v·n/(n-1) + f·w (n values a channel), the factor k ← 1 + f·k.
//! With `use_global_stats`, in TEST unless told otherwise, μ = m/k and v = w/k (0 where k is 0).
//!
//! dx = (dy - mean(dy) - y · mean(dy · y)) / σ where μ and v are the batch's, else dy / σ; means are over a channel.
//!
//! Shapes: y as x; axis 1 is the channel, and a blob of one axis has one channel. Parameters m \[C\], w \[C\], k \[1\]:
//! statistics, which no solver touches. Backward reads y where μ and v are the batch's, else nothing; either way the
//! layer may run in place. Caffe takes no blob of one axis, and divides by 0 on an empty one, which is passed on here.

use crate::{
    error::{Error, Result},
    kernels::{channelwise, finish, reduce},
    layer::{
        Affine, Backward, Forward, InPlace, InPlaceBackward, Layer, LayerDef, LayerType, Prepack,
        Reads, Setup, Sharing, Tail, Taken, Traits,
    },
    params::Param,
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("BatchNorm", |def| Ok(Box::new(BatchNorm::new(def)?)));

struct BatchNorm {
    global: bool,
    fraction: f32,
    eps: f32,
    channels: usize,
    inner: usize,
    /// μ of the last forward; in backward mean(dy).
    mean: Vec<f32>,
    /// mean(dy · y) in backward.
    product: Vec<f32>,
    /// 1/σ of the last forward.
    inverse: Vec<f32>,
    taken: Taken,
    /// (x - μ) / σ with the affine map that was absorbed.
    folded: Affine,
}

impl BatchNorm {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.batch_norm_param.unwrap_or_default();
        let eps = param.eps();
        if !(eps >= 0.0 && eps.is_finite()) {
            return Err(def.invalid(
                "batch_norm_param.eps",
                format!("{eps} is no small number above 0"),
            ));
        }
        Ok(Self {
            global: param.use_global_stats.unwrap_or(!def.is_train()),
            fraction: param.moving_average_fraction(),
            eps,
            channels: 0,
            inner: 0,
            mean: Vec::new(),
            product: Vec::new(),
            inverse: Vec::new(),
            taken: Taken::default(),
            folded: Affine::default(),
        })
    }

    /// Channels, and values of a channel that follow each other.
    fn dims(shape: &Shape) -> Result<(usize, usize)> {
        match shape.dims() {
            [] => Err(Error::shape(
                "BatchNorm needs a batch axis, but its bottom is a scalar",
            )),
            [_] => Ok((1, 1)),
            [_, channels, inner @ ..] => Ok((*channels, inner.iter().product())),
        }
    }

    /// μ and 1/σ for `x`; keeps the running statistics.
    fn statistics(&mut self, x: &[f32], params: &mut [Param]) {
        let dims = (self.channels, self.inner);
        let [mean, variance, factor] = params else {
            unreachable!("three parameters are declared")
        };
        let (mean, variance) = (&mut mean.value.data, &mut variance.value.data);
        let factor = &mut factor.value.data[0];
        if self.global {
            stored(mean, *factor, &mut self.mean);
            stored(variance, *factor, &mut self.inverse);
        } else {
            reduce::channel_moments(x, dims, &mut self.mean, &mut self.inverse);
            let f = self.fraction;
            *factor = *factor * f + 1.0;
            let n = x.len() / self.channels;
            let unbiased = if n > 1 {
                n as f32 / (n - 1) as f32
            } else {
                1.0
            };
            for (to, from) in mean.iter_mut().zip(&self.mean) {
                *to = *from + f * *to;
            }
            for (to, from) in variance.iter_mut().zip(&self.inverse) {
                *to = unbiased * *from + f * *to;
            }
        }
        for v in &mut self.inverse {
            *v = 1.0 / (*v + self.eps).sqrt();
        }
    }

    /// Forward from `x`, or in place.
    fn run(&mut self, x: Option<&[f32]>, y: &mut [f32], params: &mut [Param]) {
        if y.is_empty() {
            return;
        }
        let (dims, act) = ((self.channels, self.inner), self.taken.act);
        if self.taken.affine {
            let Affine { scale, shift } = &self.folded;
            let f = |c: usize| {
                let (s, t) = (scale[c], shift[c]);
                move |x| s * x + t
            };
            finish::channel_map_activate(x, y, dims, f, act);
        } else {
            self.statistics(x.unwrap_or(y), params);
            finish::channel_map_activate(x, y, dims, |c| self.normalize(c), act);
        }
    }

    /// What happens to a value of channel `c`.
    fn normalize(&self, c: usize) -> impl Fn(f32) -> f32 + use<> {
        let (mean, inverse) = (self.mean[c], self.inverse[c]);
        move |x| (x - mean) * inverse
    }

    /// mean(dy) and mean(dy · y) of each channel.
    fn diff_means(&mut self, dy: &[f32], y: &[f32]) {
        let dims = (self.channels, self.inner);
        reduce::channel_means(y, dy, dims, &mut self.mean, &mut self.product);
    }

    /// What happens to a diff and its y, in channel `c`.
    fn differentiate(&self, c: usize) -> impl Fn(f32, f32) -> f32 + use<> {
        let (mean, product, inverse) = (self.mean[c], self.product[c], self.inverse[c]);
        move |dy, y| (dy - mean - y * product) * inverse
    }

    /// What happens to a diff in channel `c` where μ and σ do not depend on x.
    fn divide(&self, c: usize) -> impl Fn(f32) -> f32 + use<> {
        let inverse = self.inverse[c];
        move |dy| dy * inverse
    }
}

/// A stored sum divided by its factor; 0 where that is 0.
fn stored(sum: &[f32], factor: f32, to: &mut [f32]) {
    let k = if factor == 0.0 { 0.0 } else { 1.0 / factor };
    for (to, from) in to.iter_mut().zip(sum) {
        *to = k * *from;
    }
}

impl Layer for BatchNorm {
    fn setup(&mut self, cx: &mut Setup<'_>) -> Result<()> {
        (self.channels, self.inner) = Self::dims(&cx.bottoms[0])?;
        cx.statistic(Shape::from([self.channels]));
        cx.statistic(Shape::from([self.channels]));
        cx.statistic(Shape::from([1]));
        Ok(())
    }

    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let (channels, inner) = Self::dims(&bottoms[0])?;
        if channels != self.channels {
            return Err(Error::shape(format!(
                "the bottom has {channels} channels now, the statistics are for {}",
                self.channels
            )));
        }
        self.inner = inner;
        for state in [&mut self.mean, &mut self.product, &mut self.inverse] {
            state.resize(channels, 0.0);
        }
        Ok(vec![bottoms[0].clone()])
    }

    fn traits(&self) -> Traits {
        Traits {
            sharing: Sharing::InPlace,
            backward_reads: if self.global {
                Reads::NONE
            } else {
                Reads::TOPS
            },
            writes_params: !self.global,
            ..Traits::default()
        }
    }

    fn tail(&self) -> Option<Tail> {
        self.global.then_some(Tail::Affine)
    }

    fn affine(&self, params: &[Param]) -> Option<Affine> {
        let [mean, variance, factor] = params else {
            return None;
        };
        let k = *factor.value.data.first()?;
        let (mut shift, mut scale) = (vec![0.0; self.channels], vec![0.0; self.channels]);
        stored(&mean.value.data, k, &mut shift);
        stored(&variance.value.data, k, &mut scale);
        for (scale, shift) in scale.iter_mut().zip(&mut shift) {
            *scale = 1.0 / (*scale + self.eps).sqrt();
            *shift *= -*scale;
        }
        Some(Affine { scale, shift })
    }

    fn absorb(&mut self, tail: Tail) -> bool {
        match tail {
            Tail::Affine => self.global && self.taken.take(tail),
            Tail::Act(_) => self.taken.take(tail),
            _ => false,
        }
    }

    fn prepack(&mut self, io: &mut Prepack<'_>) -> Result<bool> {
        if let Some(then) = io.then {
            self.folded = self.affine(io.params).unwrap_or_default().then(then);
        }
        Ok(io.then.is_some())
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        self.run(Some(io.bottoms[0].data), io.tops[0].data, io.params);
        Ok(())
    }

    fn forward_in_place(&mut self, io: &mut InPlace<'_>) -> Result<()> {
        self.run(None, io.data.data, io.params);
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let dy = io.top_diff().data;
        let y = (!self.global).then(|| io.top(0).data);
        let Some(dx) = io.bottom_diffs[0].as_mut().filter(|_| !dy.is_empty()) else {
            return Ok(());
        };
        let dims = (self.channels, self.inner);
        if let Some(y) = y {
            self.diff_means(dy, y);
            channelwise::channel_zip_to((dy, y), dx.data, dims, |c| self.differentiate(c));
        } else {
            channelwise::channel_map_to(dy, dx.data, dims, |c| self.divide(c));
        }
        Ok(())
    }

    fn backward_in_place(&mut self, io: &mut InPlaceBackward<'_>) -> Result<()> {
        let diff = &mut *io.diff.data;
        if diff.is_empty() {
            return Ok(());
        }
        let dims = (self.channels, self.inner);
        if self.global {
            channelwise::channel_map(diff, dims, |c| self.divide(c));
        } else {
            let y = io.top.expect("declared in traits").data;
            self.diff_means(diff, y);
            channelwise::channel_zip(diff, y, dims, |c| self.differentiate(c));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{
        Bench, assert_close, check_gradient, check_threads, error_of, noise, tensor,
    };

    #[test]
    fn the_batch_is_normalized_and_remembered() {
        // Channel 0: 1 3 5 7, mean 4, variance 5; channel 1: all 2.
        let x = tensor(&[2, 2, 2], &[1., 3., 2., 2., 5., 7., 2., 2.]);
        let text = "type: 'BatchNorm' batch_norm_param { eps: 4 moving_average_fraction: 0.5 }";
        let mut bench = Bench::new(text, &[x])
            .param(0, &[2., 0.])
            .param(1, &[6., 0.])
            .param(2, &[1.]);
        let want = [-1., -1. / 3., 0., 0., 1. / 3., 1., 0., 0.];
        assert_close(bench.forward(), &want, 1e-6);
        assert_close(&bench.params[0].value.data, &[4. + 1., 2.], 1e-6);
        assert_close(&bench.params[1].value.data, &[5. * 4. / 3. + 3., 0.], 1e-6);
        assert_eq!(bench.params[2].value.data, [1.5]);
    }

    #[test]
    fn stored_statistics_serve_in_test() {
        let text = "type: 'BatchNorm' phase: TEST batch_norm_param { eps: 0 }";
        let mut bench = Bench::new(text, &[tensor(&[1, 1, 2], &[3., 7.])])
            .param(0, &[6.])
            .param(1, &[8.])
            .param(2, &[2.]);
        assert_eq!(bench.forward(), [0., 2.]);
        assert_eq!(bench.params[2].value.data, [2.]);
        let got = bench.backward(&[1., 2.], &[0]);
        assert_eq!(got.bottoms[0].as_ref().unwrap().data, [0.5, 1.]);
        bench.check_in_place();
        // Told otherwise, TEST uses the batch, and TRAIN what is stored.
        let text = "type: 'BatchNorm' phase: TEST batch_norm_param { use_global_stats: false }";
        let mut bench = Bench::new(text, &[tensor(&[1, 1, 2], &[3., 7.])]);
        assert_close(bench.forward(), &[-1., 1.], 1e-4);
        let text = "type: 'BatchNorm' batch_norm_param { use_global_stats: true eps: 1 }";
        let mut bench = Bench::new(text, &[tensor(&[1, 1, 2], &[3., 7.])]);
        assert_eq!(bench.forward(), [3., 7.]);
    }

    #[test]
    fn gradients_and_threads() {
        let text = "type: 'BatchNorm' batch_norm_param { eps: 0.1 }";
        for dims in [&[3, 2, 2, 2][..], &[5, 3], &[6], &[4, 1, 3]] {
            check_gradient(text, &[noise(dims, 1)], &[0], &[]);
            Bench::new(text, &[noise(dims, 1)]).check_in_place();
        }
        for dims in [&[8, 9, 30, 20][..], &[600, 70]] {
            check_threads(text, &[noise(dims, 1)], &[0]);
        }
    }

    #[test]
    fn errors_and_empty_bottoms() {
        let error = error_of("type: 'BatchNorm'", &[tensor(&[], &[1.])]);
        assert!(error.contains("scalar"), "{error}");
        let text = "type: 'BatchNorm' batch_norm_param { eps: -1 }";
        let error = error_of(text, &[noise(&[2, 3], 1)]);
        assert!(error.contains("batch_norm_param.eps"), "{error}");
        let mut bench = Bench::new("type: 'BatchNorm'", &[noise(&[2, 3, 2], 1)]);
        for empty in [[0, 3, 2], [2, 3, 0]] {
            bench.set_bottom(0, noise(&empty, 1)).unwrap();
            assert!(bench.forward().is_empty());
            bench.backward(&[], &[0]);
            assert_eq!(bench.params[2].value.data, [0.0]);
        }
        let error = bench.set_bottom(0, noise(&[2, 4], 1)).unwrap_err();
        assert!(error.message().contains("4 channels"), "{error}");
        let mut bench = Bench::new("type: 'BatchNorm'", &[noise(&[2, 0, 2], 1)]);
        assert!(bench.forward().is_empty());
    }
}
