//! Normalize: y = s · x / m, m = √(Σ x² + eps) over a vector: the channels at one place, or with `across_spatial` the
//! whole image. s is learned, one for each channel or one for all.
//!
//! dx = (s · dy − x · Σ (s · dy · x) / m²) / m;   ds = Σ dy · x / m.
//!
//! With `normalize_param`, or a second top, it is the layer of face nets: no s, always the channels at one place, eps
//! 10⁻⁶, m as the second top if there is one; its gradient flows back with `bp_norm`. `normalize_type: "L1"` takes m = Σ
//! |x| + 10⁻⁶, and then dx = (dy − sign(x) · Σ (dy · y)) / m.
//!
//! Shapes: x images × channels × anything, y as x; the second top has 1 channel. Parameter of `norm_param`: s, a scalar or
//! with `channel_shared: false` \[channels\], starting at 1 unless `scale_filler` says otherwise. Backward reads x.
//! Source: Liu, Rabinovich, Berg: ParseNet (2015), section 3.3.
//! Departure: where the channels have scales of their own, SSD's code multiplies Σ (dy · x) by the scale of the channel
//! that dx is for; here each term has its own, as the chain rule has it. `fix_gradient` changes nothing.

use crate::{
    error::{Error, Result},
    kernels::{
        cut::{self, Units},
        reduce,
    },
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType, Reads, Setup, Traits},
    schema::{FillerParameter, NormalizeParameter},
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("Normalize", |def| Ok(Box::new(Normalize::new(def)?)))
        .arity(Arity::Exact(1), Arity::Range(1, 2));

#[derive(Clone, Copy, Debug, PartialEq)]
enum Length {
    L1,
    L2,
}

struct Normalize {
    length: Length,
    across: bool,
    eps: f32,
    /// How s is asked for; `None` without s.
    scale: Option<NormalizeParameter>,
    tops: usize,
    /// The gradient by m counts.
    by_length: bool,
    images: usize,
    channels: usize,
    inner: usize,
    /// m of each vector, of the last forward pass.
    lengths: Vec<f32>,
    /// In backward what is subtracted of x (or of its sign), by vector.
    pull: Vec<f32>,
}

impl Normalize {
    fn new(def: &LayerDef) -> Result<Self> {
        let (ssd, face) = (&def.param.norm_param, &def.param.normalize_param);
        let tops = def.param.top.len();
        let of_faces = face.is_some() || tops > 1;
        if ssd.is_some() && of_faces {
            return Err(def
                .invalid(
                    "norm_param",
                    "is of SSD's Normalize, but normalize_param or a second top ask for that of face nets",
                )
                .help("leave one of them out"));
        }
        let face = face.clone().unwrap_or_default();
        let ssd = ssd.clone().unwrap_or_default();
        let length = match face.normalize_type() {
            "L2" => Length::L2,
            "L1" => Length::L1,
            other => {
                return Err(def.invalid(
                    "normalize_param.normalize_type",
                    format!("'{other}' is neither \"L2\" nor \"L1\""),
                ));
            }
        };
        let eps = if of_faces { 1e-6 } else { ssd.eps() };
        if !(eps >= 0.0 && eps.is_finite()) {
            return Err(def.invalid(
                "norm_param.eps",
                format!("{eps} is no small number above 0"),
            ));
        }
        Ok(Self {
            length,
            across: !of_faces && ssd.across_spatial(),
            eps,
            scale: (!of_faces).then_some(ssd),
            tops,
            by_length: of_faces && face.bp_norm(),
            images: 0,
            channels: 0,
            inner: 0,
            lengths: Vec::new(),
            pull: Vec::new(),
        })
    }

    fn dims(shape: &Shape) -> Result<(usize, usize, usize)> {
        match shape.dims() {
            [images, channels, inner @ ..] => Ok((*images, *channels, inner.iter().product())),
            _ => Err(Error::shape(format!(
                "the bottom has shape {shape}; vectors lie along axis 1, the channels"
            ))),
        }
    }

    /// Σ f(c)(x, y) of every vector into `sums`.
    fn sums<F: Fn(f32, f32) -> f32 + Sync>(
        &self,
        (x, y): (&[f32], &[f32]),
        sums: &mut [f32],
        f: impl Fn(usize) -> F + Sync,
    ) {
        let (channels, inner) = (self.channels, self.inner);
        if self.across {
            for (n, sum) in sums.iter_mut().enumerate() {
                let planes = (n * channels..(n + 1) * channels).map(|p| p * inner);
                *sum = planes
                    .enumerate()
                    .map(|(c, at)| reduce::total(&x[at..][..inner], &y[at..][..inner], f(c)))
                    .sum();
            }
            return;
        }
        let units = sums.len();
        cut::each(Units(sums, 1), units, 8 * channels, |first, sums| {
            let (mut rest, mut at) = (sums.0, first);
            while !rest.is_empty() {
                let (n, s) = (at / inner, at % inner);
                let run = (inner - s).min(rest.len());
                let (part, behind) = rest.split_at_mut(run);
                part.fill(0.0);
                for c in 0..channels {
                    let start = (n * channels + c) * inner + s;
                    let (x, y) = (&x[start..][..run], &y[start..][..run]);
                    let f = f(c);
                    for ((sum, &x), &y) in part.iter_mut().zip(x).zip(y) {
                        *sum += f(x, y);
                    }
                }
                (rest, at) = (behind, at + run);
            }
        });
    }

    /// Calls `f` with every plane of `y`, its channel, the same plane of `a`, and the range of its vectors.
    fn planes(
        &self,
        a: &[f32],
        y: &mut [f32],
        f: impl Fn(usize, &[f32], &mut [f32], std::ops::Range<usize>) + Sync,
    ) {
        let (channels, inner) = (self.channels, self.inner);
        if inner == 0 {
            return;
        }
        let parts = (Units(a, inner), Units(y, inner));
        cut::each(
            parts,
            self.images * channels,
            16 * inner,
            |first, (a, y)| {
                let planes = a.0.chunks_exact(inner).zip(y.0.chunks_exact_mut(inner));
                for (p, (a, y)) in (first..).zip(planes) {
                    let (n, c) = (p / channels, p % channels);
                    let vectors = if self.across {
                        n..n + 1
                    } else {
                        n * inner..(n + 1) * inner
                    };
                    f(c, a, y, vectors);
                }
            },
        );
    }
}

/// y\[i\] = f(y\[i\], a\[i\], v\[i\]); one v may serve all.
fn along(y: &mut [f32], a: &[f32], v: &[f32], f: impl Fn(f32, f32, f32) -> f32) {
    let pairs = y.iter_mut().zip(a);
    match v {
        [v] => pairs.for_each(|(y, &a)| *y = f(*y, a, *v)),
        _ => pairs.zip(v).for_each(|((y, &a), &v)| *y = f(*y, a, v)),
    }
}

/// The sign of x, 0 for 0.
fn sign(x: f32) -> f32 {
    f32::from(i8::from(x > 0.0) - i8::from(x < 0.0))
}

/// The scale of a channel.
fn scale_of(scale: &[f32], c: usize) -> f32 {
    match scale {
        [] => 1.0,
        [s] => *s,
        _ => scale[c],
    }
}

impl Layer for Normalize {
    fn setup(&mut self, cx: &mut Setup<'_>) -> Result<()> {
        let (_, channels, _) = Self::dims(&cx.bottoms[0])?;
        if let Some(param) = &self.scale {
            let shape = if param.channel_shared() {
                Shape::new(&[])
            } else {
                Shape::new(&[channels])
            };
            let one = FillerParameter {
                value: Some(1.0),
                ..FillerParameter::default()
            };
            cx.param(shape, Some(param.scale_filler.as_ref().unwrap_or(&one)));
        }
        Ok(())
    }

    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let (images, channels, inner) = Self::dims(&bottoms[0])?;
        (self.images, self.channels, self.inner) = (images, channels, inner);
        let vectors = if self.across { images } else { images * inner };
        self.lengths.resize(vectors, 0.0);
        self.pull.resize(vectors, 0.0);
        let mut tops = vec![bottoms[0].clone()];
        if self.tops > 1 {
            let mut dims = bottoms[0].dims().to_vec();
            dims[1] = 1;
            tops.push(Shape::new(&dims));
        }
        Ok(tops)
    }

    fn traits(&self) -> Traits {
        Traits {
            backward_reads: Reads::BOTTOMS,
            ..Traits::default()
        }
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let x = io.bottoms[0].data;
        let eps = self.eps;
        let mut lengths = std::mem::take(&mut self.lengths);
        match self.length {
            Length::L2 => {
                self.sums((x, x), &mut lengths, |_| |x, _| x * x);
                lengths.iter_mut().for_each(|m| *m = (*m + eps).sqrt());
            }
            Length::L1 => {
                self.sums((x, x), &mut lengths, |_| |x: f32, _| x.abs());
                lengths.iter_mut().for_each(|m| *m += eps);
            }
        }
        let scale = io.params.first().map_or(&[][..], |s| &s.value.data);
        self.planes(x, io.tops[0].data, |c, x, y, vectors| {
            let s = scale_of(scale, c);
            along(y, x, &lengths[vectors], |_, x, m| s * (x / m));
        });
        if let Some(top) = io.tops.get_mut(1) {
            top.data.copy_from_slice(&lengths);
        }
        self.lengths = lengths;
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let x = io.bottom(0).data;
        let lengths = &self.lengths;
        if let (Some(dy), Some(s)) = (io.top_diffs[0], io.params.first_mut())
            && s.wants_grad()
        {
            let inner = self.inner.max(1);
            let shared = s.grad.len() == 1;
            for (p, (x, dy)) in x.chunks(inner).zip(dy.data.chunks(inner)).enumerate() {
                let (n, c) = (p / self.channels, p % self.channels);
                let sum = if self.across {
                    f64::from(reduce::dot(x, dy) / lengths[n])
                } else {
                    let m = &lengths[n * inner..][..inner];
                    let terms = x.iter().zip(dy).zip(m);
                    terms.map(|((&x, &dy), &m)| f64::from(x * dy / m)).sum()
                };
                s.grad[if shared { 0 } else { c }] += sum as f32;
            }
        }
        let Some(dx) = &mut io.bottom_diffs[0] else {
            return Ok(());
        };
        let scale = io.params.first().map_or(&[][..], |s| &s.value.data);
        let l2 = self.length == Length::L2;
        let mut pull = std::mem::take(&mut self.pull);
        match io.top_diffs[0] {
            Some(dy) => {
                self.sums((x, dy.data), &mut pull, |c| {
                    let s = scale_of(scale, c);
                    move |x, dy| s * dy * x
                });
                for (p, &m) in pull.iter_mut().zip(lengths) {
                    *p /= if l2 { m * m * m } else { m * m };
                }
                self.planes(dy.data, dx.data, |c, dy, dx, vectors| {
                    let s = scale_of(scale, c);
                    along(dx, dy, &lengths[vectors], |_, dy, m| s * dy / m);
                });
            }
            None => {
                pull.fill(0.0);
                dx.data.fill(0.0);
            }
        }
        if let (true, Some(Some(dm))) = (self.by_length, io.top_diffs.get(1)) {
            for ((p, &m), &dm) in pull.iter_mut().zip(lengths).zip(dm.data) {
                *p -= if l2 { dm / m } else { dm };
            }
        }
        self.planes(x, dx.data, |_, x, dx, vectors| {
            let pull = &pull[vectors];
            if l2 {
                along(dx, x, pull, |dx, x, p| dx - x * p);
            } else {
                along(dx, x, pull, |dx, x, p| dx - sign(x) * p);
            }
        });
        self.pull = pull;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{
        Bench, assert_close, check_gradient, check_threads, error_of, noise, tensor,
    };

    fn text(options: &str) -> String {
        format!("type: 'Normalize' norm_param {{ {options} }}")
    }

    const FACE: &str = "type: 'Normalize' normalize_param {";

    #[test]
    fn by_hand() {
        // Two channels, two places: (3, 4) and (0, 2).
        let x = tensor(&[1, 2, 1, 2], &[3.0, 0.0, 4.0, 2.0]);
        let pixel = text("across_spatial: false channel_shared: false scale_filler { value: 10 }");
        let mut bench = Bench::new(&pixel, std::slice::from_ref(&x)).param(0, &[10.0, 20.0]);
        assert_close(bench.forward(), &[6.0, 0.0, 16.0, 20.0], 1e-6);
        let got = bench.backward(&[1.0, 0.0, 0.0, 1.0], &[0]);
        // s · dy = (10, 0) at the first place, (0, 20) at the second, where all of it points along x.
        let dx = &got.bottoms[0].as_ref().unwrap().data;
        assert_close(
            dx,
            &[10.0 * 16.0 / 125.0, 0.0, -10.0 * 12.0 / 125.0, 0.0],
            1e-5,
        );
        assert_close(&got.params[0], &[0.6, 1.0], 1e-6);
        let all = Bench::new(&text(""), std::slice::from_ref(&x))
            .forward()
            .to_vec();
        let m = 29.0f32.sqrt();
        assert_close(&all, &[3.0 / m, 0.0, 4.0 / m, 2.0 / m], 1e-6);
        let face = format!("{FACE} normalize_type: 'L1' }} top: 'y' top: 'm'");
        let mut bench = Bench::new(&face, &[x]);
        assert_close(bench.forward(), &[3.0 / 7.0, 0.0, 4.0 / 7.0, 1.0], 1e-6);
        assert_close(&bench.tops[1].data, &[7.0, 2.0], 1e-6);
        assert_eq!(bench.tops[1].shape.dims(), [1, 1, 1, 2]);
    }

    #[test]
    fn gradients() {
        let x = noise(&[2, 3, 2, 2], 1);
        for options in [
            "",
            "across_spatial: false",
            "channel_shared: false eps: 0.1 scale_filler { type: 'uniform' min: 1 max: 3 }",
            "across_spatial: false channel_shared: false scale_filler { type: 'uniform' min: 1 max: 3 }",
        ] {
            check_gradient(&text(options), std::slice::from_ref(&x), &[0], &[0]);
        }
        for options in [
            "}",
            "normalize_type: 'L1' }",
            "bp_norm: true } top: 'y' top: 'm'",
            "normalize_type: 'L1' bp_norm: true } top: 'y' top: 'm'",
        ] {
            check_gradient(
                &format!("{FACE} {options}"),
                std::slice::from_ref(&x),
                &[0],
                &[],
            );
        }
    }

    #[test]
    fn without_bp_norm_the_length_gets_no_gradient() {
        let x = noise(&[2, 3], 1);
        let mut bench = Bench::new("type: 'Normalize' top: 'y' top: 'm'", &[x]);
        bench.forward();
        let dm = Some(tensor(&[2, 1], &[1.0, 1.0]));
        let got = bench.try_backward(&[None, dm], &[0]).unwrap();
        assert_eq!(got.bottoms[0].as_ref().unwrap().data, [0.0; 6]);
    }

    #[test]
    fn threads_change_nothing() {
        let x = [noise(&[2, 16, 100, 90], 1)];
        check_threads(
            &text("across_spatial: false channel_shared: false"),
            &x,
            &[0],
        );
        check_threads(&text(""), &x, &[0]);
    }

    #[test]
    fn nothing_may_come() {
        for dims in [&[0, 3, 2][..], &[2, 0, 2], &[2, 3, 0]] {
            for options in ["across_spatial: false", ""] {
                let mut bench = Bench::new(&text(options), &[noise(dims, 1)]);
                assert!(bench.forward().is_empty());
                bench.backward(&[], &[0]);
            }
        }
    }

    #[test]
    fn errors() {
        for (text, dims, why) in [
            (text("eps: -1"), &[2, 3][..], "norm_param.eps"),
            (text("eps: nan"), &[2, 3], "norm_param.eps"),
            (text(""), &[2], "vectors lie along axis 1"),
            (text(""), &[], "vectors lie along axis 1"),
            (
                format!("{FACE} normalize_type: 'L3' }}"),
                &[2, 3],
                "normalize_type: 'L3'",
            ),
            (
                format!("{} normalize_param {{ }}", text("")),
                &[2, 3],
                "leave one of them out",
            ),
        ] {
            let error = error_of(&text, &[noise(dims, 1)]);
            assert!(error.contains(why), "{error}");
        }
    }
}
