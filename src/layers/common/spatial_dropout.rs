//! SpatialDropout: TRAIN: y = m · x / (1 - r) with one m for each channel of each item, 0 with probability
//! r = `dropout_ratio` of `spatial_dropout_param`, else 1.   dx = m · dy / (1 - r).   TEST: y = x, dx = dy, without work.
//!
//! Also in place of the Python layer `spatial_dropout.SpatialDropoutLayer`, which ENet's nets ask for: r is `p` of its
//! `param_str`, `phase` there counts and not the net's, and in TEST y = x / (1 - r), dx = dy / (1 - r).
//!
//! Shapes: x, y any with two axes or more, equal; axis 1 is the channel. Backward reads nothing.
//! Source: Tompson et al. 2015, "Efficient Object Localization Using Convolutional Networks", section 3.2; ENet's Caffe.
//! Departures from the Python layer: backward uses the mask of each item, there that of the last one for all; r = 0 keeps
//! everything, there it is an error.

use rand::RngExt as _;

use crate::{
    error::{Error, Result},
    kernels::channelwise,
    layer::{
        Backward, Forward, InPlace, InPlaceBackward, Layer, LayerDef, LayerType, Rng, Sharing,
        Tail, Traits,
    },
    layers::python,
    tensor::Shape,
};

pub(in crate::layers) const TYPE: LayerType = LayerType::new("SpatialDropout", |def| {
    Ok(Box::new(SpatialDropout::new(def)?))
});

struct SpatialDropout {
    mode: Mode,
    /// A draw below this drops.
    ratio: f32,
    /// What a kept channel is multiplied by.
    scale: f32,
    /// The factor of each channel of each item.
    factors: Vec<f32>,
    /// Values of a channel.
    plane: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    /// Channels fall.
    Drop,
    /// All are scaled as if they had survived.
    Scale,
    /// Nothing.
    Keep,
}

impl SpatialDropout {
    fn new(def: &LayerDef) -> Result<Self> {
        let (field, ratio, train, scales) = if python::is_python(def) {
            let field = python::PARAM_STR;
            let options = python::options(def)?;
            let ratio = options.number("p")?.ok_or_else(|| {
                def.invalid(field, "has no 'p', the chance of a channel to be dropped")
            })?;
            let train = match options.text("phase") {
                Some("TRAIN") => true,
                Some(_) => false,
                None => {
                    let why = "has no 'phase', which is 'TRAIN' or 'TEST'";
                    return Err(def.invalid(field, why));
                }
            };
            (field, ratio, train, true)
        } else {
            // One fork has a message of its own for it, another takes Dropout's.
            let (param, field) = match (def.param.spatial_dropout_param, def.param.dropout_param) {
                (None, Some(param)) => (param, "dropout_param.dropout_ratio"),
                (param, _) => (
                    param.unwrap_or_default(),
                    "spatial_dropout_param.dropout_ratio",
                ),
            };
            (field, param.dropout_ratio(), def.is_train(), false)
        };
        if !(0.0..1.0).contains(&ratio) {
            return Err(def.invalid(
                field,
                format!("the ratio is {ratio}; it must be at least 0 and below 1"),
            ));
        }
        Ok(Self {
            mode: match (train, scales) {
                _ if ratio == 0.0 => Mode::Keep,
                (true, _) => Mode::Drop,
                (false, true) => Mode::Scale,
                (false, false) => Mode::Keep,
            },
            ratio,
            scale: 1.0 / (1.0 - ratio),
            factors: Vec::new(),
            plane: 0,
        })
    }

    fn draw(&mut self, rng: &mut Rng) {
        if self.mode == Mode::Drop {
            for factor in &mut self.factors {
                let falls = rng.random::<f32>() < self.ratio;
                *factor = if falls { 0.0 } else { self.scale };
            }
        }
    }

    fn apply(&self, x: &[f32], y: &mut [f32]) {
        let dims = (self.factors.len(), self.plane);
        channelwise::channel_map_to(x, y, dims, |c| times(self.factors[c]));
    }

    fn apply_in_place(&self, data: &mut [f32]) {
        let dims = (self.factors.len(), self.plane);
        channelwise::channel_map(data, dims, |c| times(self.factors[c]));
    }
}

fn times(factor: f32) -> impl Fn(f32) -> f32 {
    move |x| x * factor
}

impl Layer for SpatialDropout {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let [items, channels, plane @ ..] = bottoms[0].dims() else {
            return Err(Error::shape(format!(
                "a bottom of shape {} has no axis of channels",
                bottoms[0]
            )));
        };
        self.plane = plane.iter().product();
        // Without values there is nothing to scale, however many channels.
        let channels = items.saturating_mul(*channels);
        let count = if self.plane == 0 { 0 } else { channels };
        self.factors.resize(count, self.scale);
        Ok(vec![bottoms[0].clone()])
    }

    fn traits(&self) -> Traits {
        Traits {
            sharing: match self.mode {
                Mode::Keep => Sharing::Alias,
                Mode::Drop | Mode::Scale => Sharing::InPlace,
            },
            ..Traits::default()
        }
    }

    fn tail(&self) -> Option<Tail> {
        (self.mode == Mode::Keep).then_some(Tail::Identity)
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        self.draw(io.rng);
        self.apply(io.bottoms[0].data, io.tops[0].data);
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let dy = io.top_diff();
        if let Some(dx) = &mut io.bottom_diffs[0] {
            self.apply(dy.data, dx.data);
        }
        Ok(())
    }

    fn forward_in_place(&mut self, io: &mut InPlace<'_>) -> Result<()> {
        self.draw(io.rng);
        self.apply_in_place(io.data.data);
        Ok(())
    }

    fn backward_in_place(&mut self, io: &mut InPlaceBackward<'_>) -> Result<()> {
        self.apply_in_place(io.diff.data);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::{
        Sharing,
        testing::{Bench, check_gradient, check_threads, error_of, noise, tensor},
    };

    const QUARTER: &str = "type: 'SpatialDropout' spatial_dropout_param { dropout_ratio: 0.25 }";

    fn python(options: &str) -> String {
        format!(
            "type: 'Python' python_param {{ module: 'spatial_dropout' layer: 'SpatialDropoutLayer' param_str: \"{options}\" }}"
        )
    }

    #[test]
    fn whole_channels_fall() {
        let (items, channels, plane) = (40, 100, 3);
        let n = items * channels * plane;
        for text in [
            QUARTER.to_owned(),
            python("{'phase': 'TRAIN', 'p': '0.25'}"),
        ] {
            let x = tensor(&[items, channels, plane], &vec![3.0; n]);
            let mut bench = Bench::new(&text, &[x]);
            let y = bench.forward().to_vec();
            let planes = y.chunks(plane);
            assert!(planes.clone().all(|p| p == [0.0; 3] || p == [4.0; 3]));
            let kept = planes.filter(|p| p[0] == 4.0).count() as f64;
            // Four standard deviations of a binomial.
            let spread = 4.0 * ((items * channels) as f64 * 0.25 * 0.75).sqrt();
            assert!(
                (kept - 0.75 * (items * channels) as f64).abs() < spread,
                "{kept}"
            );
            let dx = bench.backward(&vec![3.0; n], &[0]).bottoms[0].take();
            assert_eq!(dx.unwrap().data, y);
            bench.pass = 1;
            assert_ne!(bench.forward(), y, "each pass draws anew");
        }
    }

    #[test]
    fn in_test_the_layer_does_nothing_and_the_python_one_scales() {
        let x = tensor(&[1, 2, 2], &[3.0, 6.0, 9.0, 12.0]);
        let mut bench = Bench::new(&format!("{QUARTER} phase: TEST"), std::slice::from_ref(&x));
        assert_eq!(bench.layer.traits().sharing, Sharing::Alias);
        assert_eq!(bench.forward(), x.data);
        let mut bench = Bench::new(&python("{'phase': 'TEST', 'p': '0.25'}"), &[x]);
        assert_eq!(bench.forward(), [4.0, 8.0, 12.0, 16.0]);
        let dx = bench.backward(&[3.0; 4], &[0]).bottoms[0].take().unwrap();
        assert_eq!(dx.data, [4.0; 4]);
        bench.check_in_place();
    }

    #[test]
    fn gradients_threads_and_empty_bottoms() {
        Bench::new(QUARTER, &[noise(&[2, 30, 2], 1)]).check_in_place();
        check_gradient(QUARTER, &[noise(&[2, 30, 2], 1)], &[0], &[]);
        check_threads(QUARTER, &[noise(&[5, 100, 20, 10], 1)], &[0]);
        for dims in [[0, 3, 2], [2, 0, 2], [2, 3, 0]] {
            let mut bench = Bench::new(QUARTER, &[noise(&dims, 1)]);
            assert!(bench.forward().is_empty());
            bench.backward(&[], &[0]);
        }
    }

    #[test]
    fn errors() {
        let native = |r: &str| {
            format!("type: 'SpatialDropout' spatial_dropout_param {{ dropout_ratio: {r} }}")
        };
        for (text, why) in [
            (
                native("1"),
                "spatial_dropout_param.dropout_ratio: the ratio is 1",
            ),
            (native("-0.5"), "below 1"),
            (native("nan"), "below 1"),
            (python("{'phase': 'TRAIN'}"), "has no 'p'"),
            (python("{'p': 0.5}"), "has no 'phase'"),
            (
                python("{'p': 'much', 'phase': 'TEST'}"),
                "'p' is 'much', no number",
            ),
            (python("{'p': 1.5, 'phase': 'TEST'}"), "the ratio is 1.5"),
        ] {
            let error = error_of(&text, &[noise(&[2, 3], 1)]);
            assert!(error.contains(why), "{error}");
        }
        let error = error_of(QUARTER, &[noise(&[2], 1)]);
        assert!(error.contains("no axis of channels"), "{error}");
    }
}
