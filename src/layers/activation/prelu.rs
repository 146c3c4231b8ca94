//! PReLU: y = x where x > 0, else s · x, with a learned slope s for each channel (`channel_shared`: one for all).
//!
//! dx = dy where x > 0, else s · dy;   ds = Σ x · dy over the x <= 0 of the channel.
//!
//! Shapes: x, y any with two axes or more, equal; s \[C\] by axis 1 (`channel_shared`: a scalar), and starts at 0.25 unless
//! `filler` says otherwise. Backward reads x, so training keeps x whatever the prototxt spells.

use crate::{
    error::{Error, Result},
    kernels::{channelwise, reduce},
    layer::{
        Backward, Forward, InPlace, InPlaceBackward, Layer, LayerType, Reads, Setup, Sharing,
        Traits,
    },
    params::Param,
    schema::{FillerParameter, PReLuParameter},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("PReLU", |def| {
    Ok(Box::new(PRelu {
        param: def.param.prelu_param.clone().unwrap_or_default(),
        slopes: 0,
        dims: (1, 1),
    }))
});

struct PRelu {
    param: PReLuParameter,
    slopes: usize,
    /// Channels, and values of a channel; all is one channel where the slope is shared.
    dims: (usize, usize),
}

/// The extent of axis 1 and what follows it.
fn channels(x: &Shape) -> Result<(usize, usize)> {
    match x.dims() {
        [_, channels, plane @ ..] => Ok((*channels, plane.iter().product())),
        _ => Err(Error::shape(format!(
            "a bottom of shape {x} has no axis of channels; PReLU needs two axes or more"
        ))),
    }
}

impl PRelu {
    fn add_gradient(&self, x: &[f32], dy: &[f32], slope: &mut Param) {
        if !slope.wants_grad() || x.is_empty() {
            return;
        }
        let term = |x: f32, dy: f32| if x > 0.0 { 0.0 } else { x * dy };
        if let [ds] = &mut slope.grad[..] {
            // One long sum is cut for threads.
            *ds += reduce::total(x, dy, term);
        } else {
            reduce::channel_total_add(x, dy, self.dims, &mut slope.grad, term);
        }
    }
}

fn bend(s: f32) -> impl Fn(f32) -> f32 {
    move |x| x * if x > 0.0 { 1.0 } else { s }
}

fn bend_diff(s: f32) -> impl Fn(f32, f32) -> f32 {
    move |dy, x| dy * if x > 0.0 { 1.0 } else { s }
}

impl Layer for PRelu {
    fn setup(&mut self, cx: &mut Setup<'_>) -> Result<()> {
        let (channels, _) = channels(&cx.bottoms[0])?;
        let shape = if self.param.channel_shared() {
            Shape::default()
        } else {
            [channels].into()
        };
        self.slopes = shape.count();
        let quarter = FillerParameter {
            value: Some(0.25),
            ..FillerParameter::default()
        };
        cx.param(shape, Some(self.param.filler.as_ref().unwrap_or(&quarter)));
        Ok(())
    }

    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let x = &bottoms[0];
        let (channels, plane) = channels(x)?;
        self.dims = match self.param.channel_shared() {
            true => (1, x.count()),
            false if channels == self.slopes => (channels, plane),
            false => {
                return Err(Error::shape(format!(
                    "a bottom of shape {x} has {channels} channels, but there are slopes for {}",
                    self.slopes
                )));
            }
        };
        Ok(vec![x.clone()])
    }

    fn traits(&self) -> Traits {
        Traits {
            sharing: Sharing::InPlace,
            backward_reads: Reads::BOTTOMS,
            ..Traits::default()
        }
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let (x, s) = (io.bottoms[0].data, &io.params[0].value.data);
        channelwise::channel_map_to(x, io.tops[0].data, self.dims, |c| bend(s[c]));
        Ok(())
    }

    fn forward_in_place(&mut self, io: &mut InPlace<'_>) -> Result<()> {
        let s = &io.params[0].value.data;
        channelwise::channel_map(io.data.data, self.dims, |c| bend(s[c]));
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let (x, dy) = (io.bottom(0).data, io.top_diff().data);
        self.add_gradient(x, dy, &mut io.params[0]);
        if let Some(dx) = &mut io.bottom_diffs[0] {
            let s = &io.params[0].value.data;
            channelwise::channel_zip_to((dy, x), dx.data, self.dims, |c| bend_diff(s[c]));
        }
        Ok(())
    }

    fn backward_in_place(&mut self, io: &mut InPlaceBackward<'_>) -> Result<()> {
        let x = io.bottom.expect("declared in traits").data;
        self.add_gradient(x, io.diff.data, &mut io.params[0]);
        let s = &io.params[0].value.data;
        channelwise::channel_zip(io.diff.data, x, self.dims, |c| bend_diff(s[c]));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, check_gradient, check_threads, error_of, noise, tensor};

    const SHARED: &str = "type: 'PReLU' prelu_param { channel_shared: true }";

    #[test]
    fn each_channel_has_its_slope() {
        let x = tensor(&[1, 2, 3], &[1.0, -2.0, 0.0, -3.0, 4.0, -5.0]);
        let mut bench = Bench::new("type: 'PReLU'", std::slice::from_ref(&x));
        assert_eq!(bench.forward(), [1.0, -0.5, 0.0, -0.75, 4.0, -1.25]);
        let mut bench = bench.param(0, &[0.5, 2.0]);
        assert_eq!(bench.forward(), [1.0, -1.0, 0.0, -6.0, 4.0, -10.0]);
        let got = bench.backward(&[1.0, 1.0, 1.0, 1.0, 1.0, 2.0], &[0]);
        let dx = &got.bottoms[0].as_ref().unwrap().data;
        assert_eq!(*dx, [1.0, 0.5, 0.5, 2.0, 1.0, 4.0]);
        assert_eq!(got.params[0], [-2.0, -13.0]);
        bench.check_in_place();
        let mut bench = Bench::new(SHARED, &[x]).param(0, &[2.0]);
        assert_eq!(bench.forward(), [1.0, -4.0, 0.0, -6.0, 4.0, -10.0]);
        assert_eq!(bench.params[0].value.shape.axes(), 0);
        assert_eq!(bench.backward(&[1.0; 6], &[0]).params[0], [-10.0]);
        bench.check_in_place();
    }

    #[test]
    fn gradients_threads_and_empty_bottoms() {
        for text in ["type: 'PReLU'", SHARED] {
            for dims in [&[2, 3, 2, 2][..], &[4, 3]] {
                check_gradient(text, &[noise(dims, 1)], &[0], &[0]);
            }
            check_threads(text, &[noise(&[8, 9, 30, 20], 1)], &[0]);
            for dims in [[0, 3, 2], [2, 3, 0]] {
                let mut bench = Bench::new(text, &[noise(&dims, 1)]);
                assert!(bench.forward().is_empty());
                assert!(
                    bench.backward(&[], &[0]).params[0]
                        .iter()
                        .all(|&d| d == 0.0)
                );
            }
        }
    }

    #[test]
    fn errors() {
        let error = error_of("type: 'PReLU'", &[noise(&[3], 1)]);
        assert!(error.contains("two axes or more"), "{error}");
        let mut bench = Bench::new("type: 'PReLU'", &[noise(&[2, 3], 1)]);
        let error = bench.set_bottom(0, noise(&[2, 4], 1)).unwrap_err();
        assert!(error.message().contains("slopes for 3"), "{error}");
    }
}
