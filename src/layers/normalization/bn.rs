//! BN: y = s · x̂ + b with x̂ = (x - μ) / √(v + ε) for each channel: normalization with its scale and shift, in three dialects.
//!
//! SegNet's and ENet's (`scale_filler`, `shift_filler`, `bn_mode`; parameters s, b): LEARN takes mean μ and biased variance v
//! of the batch, in TEST too, ε = 1e-9; INFERENCE has x̂ = x. PSPNet's and TSN's (`slope_filler`, `bias_filler`, `momentum`,
//! `eps`, `frozen`; parameters s, b, m, w): in TRAIN μ and v are the batch's, and m ← momentum · m + (1 - momentum) · μ, w so
//! from v; in TEST, or `frozen`, μ = m and v = w, and frozen s and b do not learn. ParseNet's (`var_eps`, `decay`,
//! `moving_average`; parameters s, b, m, w): in TRAIN, or without `moving_average`, the batch's, and in TRAIN
//! m ← (1 - decay) · m + decay · μ; else m and w.
//! The fields that a file gives say which; where none does, more than two `param` are PSPNet's, else it is SegNet's.
//!
//! ds = Σ dy · x̂, db = Σ dy; dx = s / √(v + ε) · (dy - mean(dy) - x̂ · mean(dy · x̂)) where μ and v are the batch's, else
//! dy · s / √(v + ε).
//!
//! Shapes: y as x; axis 1 is the channel; parameters \[1, C, 1, 1\]; no solver touches m and w, nor s and b if frozen, whatever
//! their `lr_mult`; w starts at 1 if frozen, else at 0. Backward reads x. With μ and v of their own the layer may run in place. `engine` and `icnet` change
//! nothing. Departure: with m and w the forks' dx in TEST is that of a batch, here it is the derivative.

use crate::{
    error::{Error, Result},
    kernels::{channelwise, finish, reduce},
    layer::{
        Affine, Backward, Forward, InPlace, InPlaceBackward, Layer, LayerDef, LayerType, Prepack,
        Reads, Setup, Sharing, Tail, Taken, Traits,
    },
    params::Param,
    schema::{BnParameter, FillerParameter, bn_parameter::BnMode},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("BN", |def| Ok(Box::new(Bn::new(def)?)));

/// Where μ and v come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moments {
    /// The batch.
    Batch,
    /// Parameters 2 and 3.
    Stored,
    /// x̂ is x.
    None,
}

struct Bn {
    moments: Moments,
    /// Whether there are statistics, and how much of them a batch leaves while training.
    stored: bool,
    keep: Option<f32>,
    eps: f32,
    frozen: bool,
    fillers: [FillerParameter; 2],
    channels: usize,
    inner: usize,
    /// μ and 1/√(v + ε) of the last forward.
    mean: Vec<f32>,
    inverse: Vec<f32>,
    /// Σ dy · x̂ and Σ dy.
    sums: [Vec<f32>; 2],
    taken: Taken,
    /// The whole as an affine map, with the one that was absorbed.
    folded: Affine,
}

impl Bn {
    fn new(def: &LayerDef) -> Result<Self> {
        let p = def.param.bn_param.clone().unwrap_or_default();
        let dialect = Dialect::of(&p, def.param.param.len())?;
        let train = def.is_train();
        let filler = |own: &Option<FillerParameter>| own.clone().unwrap_or_default();
        let slopes = [filler(&p.slope_filler), filler(&p.bias_filler)];
        let scales = [filler(&p.scale_filler), filler(&p.shift_filler)];
        let (moments, keep, eps, frozen, fillers) = match dialect {
            Dialect::Seg => {
                let moments = match p.bn_mode() {
                    BnMode::Learn => Moments::Batch,
                    BnMode::Inference => Moments::None,
                };
                (moments, None, ("", 1e-9), false, scales)
            }
            Dialect::Psp => {
                let batch = train && !p.frozen();
                let keep = share("momentum", p.momentum())?;
                (
                    if batch {
                        Moments::Batch
                    } else {
                        Moments::Stored
                    },
                    batch.then_some(keep),
                    ("eps", p.eps()),
                    p.frozen(),
                    slopes,
                )
            }
            Dialect::Parse => {
                let batch = train || !p.moving_average();
                let keep = 1.0 - share("decay", p.decay())?;
                (
                    if batch {
                        Moments::Batch
                    } else {
                        Moments::Stored
                    },
                    train.then_some(keep),
                    ("var_eps", p.var_eps()),
                    false,
                    scales,
                )
            }
        };
        let (field, eps) = eps;
        if !(eps >= 0.0 && eps.is_finite()) {
            return Err(def.invalid(
                &format!("bn_param.{field}"),
                format!("{eps} is no small number above 0"),
            ));
        }
        Ok(Self {
            moments,
            stored: dialect != Dialect::Seg,
            keep,
            eps,
            frozen,
            fillers,
            channels: 0,
            inner: 0,
            mean: Vec::new(),
            inverse: Vec::new(),
            sums: [Vec::new(), Vec::new()],
            taken: Taken::default(),
            folded: Affine::default(),
        })
    }

    fn dims(&self) -> (usize, usize) {
        (self.channels, self.inner)
    }

    fn fit(&mut self, x: &Shape) -> Result<usize> {
        let [_, channels, inner @ ..] = x.dims() else {
            return Err(Error::shape(format!(
                "the bottom needs an axis of channels, but it is {x}"
            )));
        };
        self.inner = inner.iter().product();
        Ok(*channels)
    }

    /// μ and 1/√(v + ε) for `x`; keeps the running statistics.
    fn measure(&mut self, x: &[f32], params: &mut [Param]) {
        match (self.moments, params) {
            (Moments::None, _) => {
                self.mean.fill(0.0);
                self.inverse.fill(1.0);
                return;
            }
            (Moments::Stored, [_, _, mean, variance, ..]) => {
                self.mean.copy_from_slice(&mean.value.data);
                self.inverse.copy_from_slice(&variance.value.data);
            }
            (_, params) => {
                let dims = (self.channels, self.inner);
                reduce::channel_moments(x, dims, &mut self.mean, &mut self.inverse);
                if let (Some(keep), [_, _, mean, variance, ..]) = (self.keep, params) {
                    for (stored, now) in [(mean, &self.mean), (variance, &self.inverse)] {
                        for (stored, now) in stored.value.data.iter_mut().zip(now) {
                            *stored = keep * *stored + (1.0 - keep) * now;
                        }
                    }
                }
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
        let (dims, act) = (self.dims(), self.taken.act);
        if self.taken.affine {
            let Affine { scale, shift } = &self.folded;
            let f = |c: usize| {
                let (s, t) = (scale[c], shift[c]);
                move |x| s * x + t
            };
            return finish::channel_map_activate(x, y, dims, f, act);
        }
        self.measure(x.unwrap_or(y), params);
        let [s, b, ..] = params else {
            unreachable!("they were declared")
        };
        let f = |c: usize| {
            let (mean, s, b) = (
                self.mean[c],
                self.inverse[c] * s.value.data[c],
                b.value.data[c],
            );
            move |x| (x - mean) * s + b
        };
        finish::channel_map_activate(x, y, dims, f, act);
    }

    /// x̂ of a value of channel `c`.
    fn normalize(&self, c: usize) -> impl Fn(f32) -> f32 + use<> {
        let (mean, inverse) = (self.mean[c], self.inverse[c]);
        move |x| (x - mean) * inverse
    }

    /// Σ dy · x̂ and Σ dy into `sums`, and from there to the parameters. `x` is x̂ with `done`, else x.
    fn gradients(&mut self, x: &[f32], done: bool, dy: &[f32], params: &mut [Param]) {
        let dims = self.dims();
        let [dot, sum] = &mut self.sums;
        dot.fill(0.0);
        sum.fill(0.0);
        reduce::channel_dot_sum_add(x, dy, dims, dot, sum);
        if !done {
            let moments = self.mean.iter().zip(&self.inverse);
            for ((dot, sum), (mean, inverse)) in dot.iter_mut().zip(&*sum).zip(moments) {
                *dot = (*dot - mean * sum) * inverse;
            }
        }
        for (param, from) in params.iter_mut().zip([dot, sum]) {
            if param.wants_grad() {
                param
                    .grad
                    .iter_mut()
                    .zip(&*from)
                    .for_each(|(to, from)| *to += from);
            }
        }
    }

    /// Whether s or b wants a gradient.
    fn learns(&self, params: &[Param]) -> bool {
        !self.frozen && params.iter().take(2).any(Param::wants_grad)
    }

    /// What happens to a diff in channel `c` where μ and v do not depend on x.
    fn pass(&self, c: usize, params: &[Param]) -> impl Fn(f32) -> f32 + use<> {
        let s = self.inverse[c] * params[0].value.data[c];
        move |dy| dy * s
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Seg,
    Psp,
    Parse,
}

impl Dialect {
    /// By the fields that are told, else by the number of `param`.
    fn of(p: &BnParameter, params: usize) -> Result<Self> {
        let first = |fields: &[(bool, &'static str)]| {
            fields.iter().find(|field| field.0).map(|field| field.1)
        };
        let psp = first(&[
            (p.slope_filler.is_some(), "slope_filler"),
            (p.bias_filler.is_some(), "bias_filler"),
            (p.momentum.is_some(), "momentum"),
            (p.eps.is_some(), "eps"),
            (p.frozen.is_some(), "frozen"),
        ]);
        let parse = first(&[
            (p.var_eps.is_some(), "var_eps"),
            (p.decay.is_some(), "decay"),
            (p.moving_average.is_some(), "moving_average"),
        ]);
        let mode = first(&[(p.bn_mode.is_some(), "bn_mode")]);
        let seg = first(&[
            (p.scale_filler.is_some(), "scale_filler"),
            (p.shift_filler.is_some(), "shift_filler"),
        ]);
        let clash = |a: &str, b: &str| {
            Err(Error::param(
                &format!("bn_param.{a}"),
                format!("and {b} are of different forks, whose BN are different layers"),
            )
            .help("keep the fields of the fork that the weights come from"))
        };
        match (psp, parse, mode, seg) {
            (Some(a), Some(b), ..) | (Some(a), _, Some(b), _) | (Some(a), .., Some(b)) => {
                clash(a, b)
            }
            (_, Some(a), Some(b), _) => clash(a, b),
            (Some(_), ..) => Ok(Self::Psp),
            (_, Some(_), ..) => Ok(Self::Parse),
            (.., Some(_), _) => Ok(Self::Seg),
            (.., Some(_)) if params > 2 => Ok(Self::Parse),
            (.., Some(_)) => Ok(Self::Seg),
            _ if params > 2 => Ok(Self::Psp),
            _ => Ok(Self::Seg),
        }
    }
}

/// A share of what was or comes.
fn share(field: &str, value: f32) -> Result<f32> {
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    Err(Error::param(
        &format!("bn_param.{field}"),
        format!("is {value}; it must be from 0 to 1"),
    ))
}

impl Layer for Bn {
    fn setup(&mut self, cx: &mut Setup<'_>) -> Result<()> {
        self.channels = self.fit(&cx.bottoms[0])?;
        let shape = Shape::from([1, self.channels, 1, 1]);
        for filler in &self.fillers {
            match self.frozen {
                true => cx.fixed(shape.clone(), Some(filler)),
                false => cx.param(shape.clone(), Some(filler)),
            }
        }
        if self.stored {
            let start = FillerParameter {
                value: Some(if self.frozen { 1.0 } else { 0.0 }),
                ..FillerParameter::default()
            };
            cx.fixed(shape.clone(), None);
            cx.fixed(shape, Some(&start));
        }
        Ok(())
    }

    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let channels = self.fit(&bottoms[0])?;
        if channels != self.channels {
            return Err(Error::shape(format!(
                "the bottom has {channels} channels now, the parameters are for {}",
                self.channels
            )));
        }
        let [dot, sum] = &mut self.sums;
        for state in [&mut self.mean, &mut self.inverse, dot, sum] {
            state.resize(channels, 0.0);
        }
        Ok(vec![bottoms[0].clone()])
    }

    fn traits(&self) -> Traits {
        let batch = self.moments == Moments::Batch;
        Traits {
            sharing: if batch {
                Sharing::Separate
            } else {
                Sharing::InPlace
            },
            backward_reads: if self.frozen {
                Reads::NONE
            } else {
                Reads::BOTTOMS
            },
            writes_params: self.keep.is_some(),
            ..Traits::default()
        }
    }

    fn tail(&self) -> Option<Tail> {
        (self.moments != Moments::Batch).then_some(Tail::Affine)
    }

    fn affine(&self, params: &[Param]) -> Option<Affine> {
        let [s, b, rest @ ..] = params else {
            return None;
        };
        let (mut scale, mut shift) = (s.value.data.clone(), b.value.data.clone());
        if let (Moments::Stored, [mean, variance, ..]) = (self.moments, rest) {
            let moments = mean.value.data.iter().zip(&variance.value.data);
            for ((s, b), (mean, variance)) in scale.iter_mut().zip(&mut shift).zip(moments) {
                *s /= (variance + self.eps).sqrt();
                *b -= mean * *s;
            }
        }
        Some(Affine { scale, shift })
    }

    fn absorb(&mut self, tail: Tail) -> bool {
        match tail {
            Tail::Affine => self.tail().is_some() && self.taken.take(tail),
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
        if dy.is_empty() {
            return Ok(());
        }
        let dims = self.dims();
        let wanted = self.learns(io.params);
        let dx = io.bottom_diffs[0].as_mut().map(|dx| &mut *dx.data);
        match (self.moments, dx) {
            (Moments::Batch, Some(dx)) => {
                let x = io.bottoms[0].expect("declared in traits").data;
                channelwise::channel_map_to(x, dx, dims, |c| self.normalize(c));
                self.gradients(dx, true, dy, io.params);
                let count = (dy.len() / self.channels) as f32;
                let [dot, sum] = &self.sums;
                let s = &io.params[0].value.data;
                channelwise::channel_zip(dx, dy, dims, |c| {
                    let (dot, sum) = (dot[c] / count, sum[c] / count);
                    let factor = s[c] * self.inverse[c];
                    move |x, dy| factor * (dy - sum - x * dot)
                });
            }
            (_, dx) => {
                if wanted {
                    let x = io.bottoms[0].expect("declared in traits").data;
                    self.gradients(x, false, dy, io.params);
                }
                if let Some(dx) = dx {
                    let params = &*io.params;
                    channelwise::channel_map_to(dy, dx, dims, |c| self.pass(c, params));
                }
            }
        }
        Ok(())
    }

    fn backward_in_place(&mut self, io: &mut InPlaceBackward<'_>) -> Result<()> {
        let diff = &mut *io.diff.data;
        if diff.is_empty() {
            return Ok(());
        }
        if self.learns(io.params) {
            let x = io.bottom.expect("declared in traits").data;
            self.gradients(x, false, diff, io.params);
        }
        let params = &*io.params;
        channelwise::channel_map(diff, self.dims(), |c| self.pass(c, params));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::{
        Act, Affine, Prepack, Tail,
        testing::{Bench, assert_close, check_gradient, check_threads, error_of, noise, tensor},
    };

    fn layer(options: &str) -> String {
        format!("type: 'BN' bn_param {{ {options} }}")
    }

    const SCALE: &str = "scale_filler { type: 'uniform' min: 1 max: 2 } shift_filler { value: 3 }";
    const SLOPE: &str = "slope_filler { type: 'uniform' min: 1 max: 2 } bias_filler { value: 3 }";

    /// Channel 0: 1 3 5 7, mean 4, variance 5; channel 1: all 2.
    fn x() -> crate::tensor::Tensor {
        tensor(&[2, 2, 2], &[1., 3., 2., 2., 5., 7., 2., 2.])
    }

    #[test]
    fn segnet_takes_the_batch_or_nothing() {
        let text = layer("scale_filler { value: 2 } shift_filler { value: 1 }") + "phase: TEST";
        let mut bench = Bench::new(&text, &[x()]);
        assert_eq!(bench.params.len(), 2);
        assert_eq!(bench.params[0].value.shape.dims(), [1, 2, 1, 1]);
        let n = |x: f32| 2.0 * (x - 4.0) / 5f32.sqrt() + 1.0;
        assert_close(
            bench.forward(),
            &[n(1.), n(3.), 1., 1., n(5.), n(7.), 1., 1.],
            1e-5,
        );
        let text = layer("bn_mode: INFERENCE scale_filler { value: 2 } shift_filler { value: 1 }");
        let mut bench = Bench::new(&text, &[x()]);
        assert_close(bench.forward(), &[3., 7., 5., 5., 11., 15., 5., 5.], 1e-6);
    }

    #[test]
    fn pspnet_keeps_running_statistics() {
        let text = layer("momentum: 0.75 eps: 4 slope_filler { value: 1 }");
        let mut bench = Bench::new(&text, &[x()])
            .param(2, &[8., 0.])
            .param(3, &[1., 0.]);
        assert_close(&bench.forward()[..2], &[-1., -1. / 3.], 1e-6);
        assert_close(&bench.params[2].value.data, &[7., 0.5], 1e-6);
        assert_close(&bench.params[3].value.data, &[2., 0.], 1e-6);
        for end in [" phase: TEST", ""] {
            let frozen = if end.is_empty() { "frozen: true" } else { "" };
            let text = layer(&format!("eps: 4 slope_filler {{ value: 1 }} {frozen}")) + end;
            let mut bench = Bench::new(&text, &[x()])
                .param(2, &[1., 0.])
                .param(3, &[12., 0.]);
            assert_close(&bench.forward()[..4], &[0., 0.5, 1., 1.], 1e-6);
            assert_close(&bench.params[2].value.data, &[1., 0.], 1e-6);
        }
        let bench = Bench::new(&layer("frozen: true"), &[x()]);
        assert_eq!(bench.params[3].value.data, [1., 1.]);
        assert!(bench.params.iter().all(|param| !param.wants_grad()));
    }

    #[test]
    fn parsenet_decays_the_other_way() {
        let options = "decay: 0.25 var_eps: 4 scale_filler { value: 1 }";
        let mut bench = Bench::new(&layer(options), &[x()]).param(2, &[8., 0.]);
        assert_close(&bench.forward()[..2], &[-1., -1. / 3.], 1e-6);
        assert_close(&bench.params[2].value.data, &[7., 0.5], 1e-6);
        let test = layer(options) + "phase: TEST";
        let mut bench = Bench::new(&test, &[x()]).param(2, &[1., 2.]);
        assert_close(&bench.forward()[..4], &[0., 1., 0., 0.], 1e-6);
        let test = layer(&format!("{options} moving_average: false")) + "phase: TEST";
        let mut bench = Bench::new(&test, &[x()]).param(2, &[1., 2.]);
        assert_close(&bench.forward()[..2], &[-1., -1. / 3.], 1e-6);
        assert_close(&bench.params[2].value.data, &[1., 2.], 1e-6);
    }

    #[test]
    fn fields_and_blobs_tell_the_dialect() {
        let count = |text: &str| Bench::new(text, &[x()]).params.len();
        assert_eq!(count("type: 'BN'"), 2);
        assert_eq!(count("type: 'BN' param {} param {} param {} param {}"), 4);
        assert_eq!(count(&layer("eps: 0.1")), 4);
        assert_eq!(count(&layer("decay: 0.1 scale_filler { value: 1 }")), 4);
        let four = "param {} param {} param {} param {}";
        assert_eq!(count(&(layer("scale_filler { value: 1 }") + four)), 4);
        assert_eq!(count(&(layer("bn_mode: LEARN") + "param {} param {}")), 2);
    }

    #[test]
    fn gradients_and_threads() {
        for text in [
            layer(SCALE),
            layer(&format!("bn_mode: INFERENCE {SCALE}")),
            layer(SLOPE),
            layer(&format!("frozen: true {SLOPE}")),
            layer(SLOPE) + "phase: TEST",
            layer(&format!("var_eps: 0.1 {SCALE}")),
        ] {
            let params: &[usize] = if text.contains("frozen") {
                &[]
            } else {
                &[0, 1]
            };
            let mut bench = Bench::new(&text, &[noise(&[3, 2, 2, 2], 1)]);
            if let Some(variance) = bench.params.get_mut(3) {
                variance.value.data.copy_from_slice(&[0.5, 2.0]);
            }
            bench.check_gradient_to(&[0], params, 1e-2, 2e-3);
            check_threads(&text, &[noise(&[5, 20, 30, 40], 1)], &[0]);
        }
        let text = layer(&format!("bn_mode: INFERENCE {SCALE}"));
        Bench::new(&text, &[noise(&[3, 2, 2, 2], 1)]).check_in_place();
        check_gradient(&text, &[noise(&[3, 4], 1)], &[0], &[0, 1]);
    }

    #[test]
    fn what_follows_is_absorbed() {
        for (text, fixed) in [(layer(SLOPE) + "phase: TEST", true), (layer(SCALE), false)] {
            let mut bench = Bench::new(&text, &[noise(&[2, 2, 4], 1)]);
            let mut want = bench.forward().to_vec();
            let then = Affine {
                scale: vec![2.0, -3.0],
                shift: vec![0.5, 1.0],
            };
            assert_eq!(bench.layer.absorb(Tail::Affine), fixed);
            assert!(bench.layer.absorb(Tail::Act(Act::Relu(0.1))));
            let mut io = Prepack {
                params: &mut bench.params,
                then: fixed.then_some(&then),
                last: false,
            };
            assert_eq!(bench.layer.prepack(&mut io).unwrap(), fixed);
            for (i, y) in want.iter_mut().enumerate() {
                if fixed {
                    let c = i / 4 % 2;
                    *y = then.scale[c] * *y + then.shift[c];
                }
                *y *= if *y > 0.0 { 1.0 } else { 0.1 };
            }
            assert_close(bench.forward(), &want, 2e-3);
        }
    }

    #[test]
    fn the_batch_may_be_empty() {
        let mut bench = Bench::new(&layer(SCALE), &[noise(&[0, 2, 3], 1)]);
        assert!(bench.forward().is_empty());
        assert!(bench.backward(&[], &[0]).bottoms[0].is_some());
        assert!(bench.set_bottom(0, noise(&[1, 3, 3], 1)).is_err());
    }

    #[test]
    fn errors() {
        let says = |options: &str, part: &str| {
            let error = error_of(&layer(options), &[x()]);
            assert!(error.contains(part), "{error}");
        };
        says(
            "frozen: true bn_mode: LEARN",
            "bn_param.frozen: and bn_mode are of",
        );
        says("slope_filler {} scale_filler {}", "different forks");
        says("bn_mode: LEARN decay: 0.1", "bn_param.decay: and bn_mode");
        says("momentum: 1.5", "bn_param.momentum: is 1.5");
        says("decay: -1", "bn_param.decay: is -1");
        says("eps: -1", "bn_param.eps");
        says("var_eps: -1", "bn_param.var_eps");
        assert!(error_of("type: 'BN'", &[noise(&[3], 1)]).contains("an axis of channels"));
    }
}
