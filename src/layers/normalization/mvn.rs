//! MVN: y = x - μ, with `normalize_variance` y = (x - μ) / (σ + ε); mean and deviation (biased) of each channel of each
//! item, with `across_channels` of each item.
//!
//! dx = dy - mean(dy), with the variance dx = (dy - mean(dy) - y · (σ + ε)/σ · mean(dy · y)) / (σ + ε).
//!
//! Shapes: x of one axis or more; y as x, with axes of 1 behind up to four, as in Caffe. Backward reads y where the
//! variance is normalized, else nothing.
//! Departures: Caffe takes (σ + ε)/σ for 1 in backward, which shows where ε, 1e-9 unless told, is not small beside σ; where
//! σ is 0 it is left out here too. Caffe takes no blob of more than four axes.

use crate::{
    error::{Error, Result},
    kernels::{channelwise, reduce},
    layer::{
        Backward, Forward, InPlace, InPlaceBackward, Layer, LayerDef, LayerType, Reads, Sharing,
        Traits,
    },
    schema::MvnParameter,
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("MVN", |def| Ok(Box::new(Mvn::new(def)?)));

struct Mvn {
    param: MvnParameter,
    /// Groups that are normalized, and values of a group.
    dims: (usize, usize),
    same_shape: bool,
    /// μ of the last forward; in backward mean(dy).
    mean: Vec<f32>,
    /// mean(dy · y) in backward.
    product: Vec<f32>,
    /// σ of the last forward.
    deviation: Vec<f32>,
}

impl Mvn {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.mvn_param.unwrap_or_default();
        let eps = param.eps();
        if !(eps >= 0.0 && eps.is_finite()) {
            return Err(def.invalid("mvn_param.eps", format!("{eps} is no small number above 0")));
        }
        Ok(Self {
            param,
            dims: (0, 0),
            same_shape: true,
            mean: Vec::new(),
            product: Vec::new(),
            deviation: Vec::new(),
        })
    }

    fn statistics(&mut self, x: &[f32]) {
        if x.is_empty() {
            return;
        }
        if self.param.normalize_variance() {
            reduce::channel_moments(x, self.dims, &mut self.mean, &mut self.deviation);
            self.deviation.iter_mut().for_each(|v| *v = v.sqrt());
        } else {
            self.mean.fill(0.0);
            reduce::channel_sum_add(x, self.dims, &mut self.mean);
            let count = self.dims.1 as f32;
            self.mean.iter_mut().for_each(|m| *m /= count);
        }
    }

    /// What is done to a group in forward.
    fn normal(&self, group: usize) -> impl Fn(f32) -> f32 + use<> {
        let mean = self.mean[group];
        let by = match self.param.normalize_variance() {
            true => 1.0 / (self.deviation[group] + self.param.eps()),
            false => 1.0,
        };
        move |x| (x - mean) * by
    }

    /// mean(dy), and mean(dy · y) where `y` is given.
    fn means(&mut self, dy: &[f32], y: Option<&[f32]>) {
        if dy.is_empty() {
            return;
        }
        match y {
            Some(y) => {
                reduce::channel_means(y, dy, self.dims, &mut self.mean, &mut self.product);
            }
            None => {
                self.mean.fill(0.0);
                reduce::channel_sum_add(dy, self.dims, &mut self.mean);
                let count = self.dims.1 as f32;
                self.mean.iter_mut().for_each(|m| *m /= count);
            }
        }
    }

    /// dx of dy and y in a group, the variance normalized.
    fn slope(&self, group: usize) -> impl Fn(f32, f32) -> f32 + use<> {
        let (mean, deviation) = (self.mean[group], self.deviation[group]);
        let sum = deviation + self.param.eps();
        let ratio = if deviation > 0.0 {
            sum / deviation
        } else {
            1.0
        };
        let (product, by) = (self.product[group] * ratio, 1.0 / sum);
        move |dy, y| (dy - mean - y * product) * by
    }

    fn shift(&self, group: usize) -> impl Fn(f32) -> f32 + use<> {
        let mean = self.mean[group];
        move |dy| dy - mean
    }
}

impl Layer for Mvn {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let x = &bottoms[0];
        if x.axes() == 0 {
            return Err(Error::shape(
                "the bottom is a scalar; it needs a batch axis",
            ));
        }
        let grouped = if self.param.across_channels() { 1 } else { 2 };
        let grouped = grouped.min(x.axes());
        self.dims = match x.count() {
            // Extents may be large where there is nothing.
            0 => (0, 0),
            _ => (x.count_range(0, grouped), x.count_from(grouped)),
        };
        for sums in [&mut self.mean, &mut self.product, &mut self.deviation] {
            sums.resize(self.dims.0, 0.0);
        }
        let mut dims = x.dims().to_vec();
        dims.resize(dims.len().max(4), 1);
        self.same_shape = dims.len() == x.axes();
        Ok(vec![Shape::checked(&dims)?])
    }

    fn traits(&self) -> Traits {
        Traits {
            sharing: match self.same_shape {
                true => Sharing::InPlace,
                false => Sharing::Separate,
            },
            backward_reads: match self.param.normalize_variance() {
                true => Reads::TOPS,
                false => Reads::NONE,
            },
            ..Traits::default()
        }
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let x = io.bottoms[0].data;
        self.statistics(x);
        channelwise::channel_map_to(x, io.tops[0].data, self.dims, |g| self.normal(g));
        Ok(())
    }

    fn forward_in_place(&mut self, io: &mut InPlace<'_>) -> Result<()> {
        self.statistics(io.data.data);
        channelwise::channel_map(io.data.data, self.dims, |g| self.normal(g));
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let (dy, y) = (io.top_diff().data, io.tops[0].map(|y| y.data));
        let Some(dx) = &mut io.bottom_diffs[0] else {
            return Ok(());
        };
        self.means(dy, y);
        match y {
            Some(y) => {
                channelwise::channel_zip_to((dy, y), dx.data, self.dims, |g| self.slope(g));
            }
            None => channelwise::channel_map_to(dy, dx.data, self.dims, |g| self.shift(g)),
        }
        Ok(())
    }

    fn backward_in_place(&mut self, io: &mut InPlaceBackward<'_>) -> Result<()> {
        let y = io.top.map(|y| y.data);
        self.means(io.diff.data, y);
        match y {
            Some(y) => channelwise::channel_zip(io.diff.data, y, self.dims, |g| self.slope(g)),
            None => channelwise::channel_map(io.diff.data, self.dims, |g| self.shift(g)),
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
    fn by_hand() {
        let x = || tensor(&[1, 2, 1, 2], &[1.0, 3.0, 10.0, 30.0]);
        for (options, want) in [
            ("", [-1.0, 1.0, -1.0, 1.0]),
            ("normalize_variance: false", [-1.0, 1.0, -10.0, 10.0]),
            (
                "normalize_variance: false across_channels: true",
                [-10.0, -8.0, -1.0, 19.0],
            ),
            ("eps: 1", [-0.5, 0.5, -10.0 / 11.0, 10.0 / 11.0]),
        ] {
            let text = format!("type: 'MVN' mvn_param {{ {options} }}");
            let mut bench = Bench::new(&text, &[x()]);
            assert_close(bench.forward(), &want, 1e-6);
            bench.check_in_place();
        }
        // A constant has no deviation.
        let mut bench = Bench::new("type: 'MVN'", &[tensor(&[1, 1, 2], &[4.0, 4.0])]);
        assert_eq!(bench.forward(), [0.0, 0.0]);
        assert_eq!(bench.tops[0].shape.dims(), [1, 1, 2, 1]);
        bench.backward(&[1.0, 1.0], &[0]);
    }

    #[test]
    fn gradients_threads_and_empty_bottoms() {
        for options in [
            "",
            "normalize_variance: false",
            "across_channels: true",
            "eps: 0.5",
        ] {
            let text = format!("type: 'MVN' mvn_param {{ {options} }}");
            for dims in [&[2, 3, 3, 4][..], &[2, 2, 2, 2, 3], &[2, 3, 4]] {
                check_gradient(&text, &[noise(dims, 1)], &[0], &[]);
            }
            check_threads(&text, &[noise(&[8, 9, 30, 20], 1)], &[0]);
            for dims in [[0, 3, 2, 2], [2, 3, 0, 2]] {
                let mut bench = Bench::new(&text, &[noise(&dims, 1)]);
                assert!(bench.forward().is_empty());
                bench.backward(&[], &[0]);
            }
        }
        // One value is its own mean.
        let mut bench = Bench::new("type: 'MVN'", &[noise(&[3, 2], 1)]);
        assert_eq!(bench.forward(), [0.0; 6]);
    }

    #[test]
    fn errors() {
        for eps in ["-1", "nan", "inf"] {
            let text = format!("type: 'MVN' mvn_param {{ eps: {eps} }}");
            let error = error_of(&text, &[noise(&[2, 3], 1)]);
            assert!(error.contains("mvn_param.eps"), "{error}");
        }
        let error = error_of("type: 'MVN'", &[noise(&[], 1)]);
        assert!(error.contains("is a scalar"), "{error}");
    }
}
