//! Pooling: y\[p\] = the largest (MAX), the mean (AVE) or a drawn one (STOCHASTIC) of the values in window p, plane by plane.
//!
//! MAX: dx\[i\] = Σ dy\[p\] over the windows whose first largest value is i. AVE: dx\[i\] = Σ dy\[p\] / size of p over the
//! windows that hold i, the size being counted in the padded plane. STOCHASTIC (Zeiler and Fergus 2013): in TRAIN each value
//! is drawn with probability x / Σ x, and dy goes where it came from; in TEST y = Σ x² / Σ x, the mean of that, with its own
//! gradient dx\[i\] = Σ dy\[p\] (2 x\[i\] - y\[p\]) / Σ x. Values have to be at least 0, as behind a ReLU.
//!
//! Shapes: x \[N, C, H, W\]; y \[N, C, ⌈(H + 2 pad - kernel) / stride⌉ + 1, ..\], with `round_mode: FLOOR` or `ceil_mode: false`
//! rounded down; with any padding a last window that would begin behind plane and padding is dropped. `global_pooling` has
//! one window. MAX may have a second top as y: the position in the plane of each largest value. In TRAIN backward reads
//! neither bottoms nor tops: positions are kept here. In TEST none are kept, and backward finds them anew in the bottom.
//!
//! Departures: a window without any pixel, which a stride larger than the kernel can make, gives -`f32::MAX` (position -1) or
//! 0 and passes no gradient; there Caffe divides 0 by 0, and writes outside its blob. Caffe has STOCHASTIC on the GPU only,
//! without padding, which is left out of the window here, and with no gradient in TEST.

use super::{
    geometry::{Rounding, Window},
    pool::{Method, Pool},
};
use crate::{
    error::{Error, Result},
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType, Reads, Traits},
    schema::{
        PoolingParameter,
        pooling_parameter::{PoolMethod, RoundMode},
    },
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("Pooling", |def| Ok(Box::new(Pooling::new(def)?)))
        .arity(Arity::Exact(1), Arity::Range(1, 2));

struct Pooling {
    param: PoolingParameter,
    rounding: Rounding,
    tops: usize,
    pool: Pool,
    /// How many there are.
    windows: usize,
}

impl Pooling {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.pooling_param.unwrap_or_default();
        let tops = def.param.top.len();
        let method = match param.pool() {
            PoolMethod::Max => Method::Max,
            PoolMethod::Ave => Method::Average,
            PoolMethod::Stochastic => Method::Stochastic,
        };
        if tops > 1 && method != Method::Max {
            return Err(def.invalid(
                "pooling_param.pool",
                "a second top holds positions, which only pool: MAX has",
            ));
        }
        // Whatever does not depend on the bottom is wrong from the start.
        Window::of_pooling(&param, [1, 1])?;
        Ok(Self {
            rounding: rounding(&param)?,
            param,
            tops,
            pool: Pool::new(method, def.is_train(), tops > 1),
            windows: 0,
        })
    }
}

/// By `round_mode`, or by `ceil_mode`, the forks' name of it.
pub(crate) fn rounding(param: &PoolingParameter) -> Result<Rounding> {
    let of = |up: bool| if up { Rounding::Ceil } else { Rounding::Floor };
    let own = of(param.round_mode() == RoundMode::Ceil);
    match param.ceil_mode.map(of) {
        Some(forks) if forks != own && param.round_mode.is_some() => Err(Error::param(
            "pooling_param.ceil_mode",
            "contradicts round_mode, which is given as well",
        )
        .help("keep one of the two")),
        Some(forks) => Ok(forks),
        None => Ok(own),
    }
}

impl Layer for Pooling {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let [n, c, h, w] = *bottoms[0].dims() else {
            return Err(Error::shape(format!(
                "pooling needs a bottom of 4 axes (num, channels, height, width), not {}",
                bottoms[0]
            )));
        };
        let window = Window::of_pooling(&self.param, [h, w])?;
        let [ph, pw] = self.pool.fit(&window, [h, w], self.rounding)?;
        let top = Shape::checked(&[n, c, ph, pw])?;
        self.windows = top.count();
        self.pool.hold(self.windows);
        Ok(vec![top; self.tops])
    }

    fn traits(&self) -> Traits {
        Traits {
            backward_reads: Reads {
                bottoms: self.pool.reads_bottom(),
                tops: false,
            },
            workspace: self.pool.workspace(self.windows),
            ..Traits::default()
        }
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let x = io.bottoms[0].data;
        let (y, masks) = io.tops.split_at_mut(1);
        self.pool.forward(0, x, y[0].data, io.workspace, io.rng);
        if let Some(mask) = masks.first_mut() {
            for (m, &at) in mask.data.iter_mut().zip(self.pool.positions()) {
                *m = at as f32;
            }
        }
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let Some(dx) = &mut io.bottom_diffs[0] else {
            return Ok(());
        };
        match io.top_diffs[0] {
            None => dx.data.fill(0.0),
            Some(dy) => {
                let x = io.bottoms[0].map(|x| x.data);
                self.pool.backward(0, x, dy.data, dx.data, io.workspace);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{
        Bench, assert_close, check_gradient, check_threads, error_of, noise, tensor,
    };

    fn layer(options: &str) -> String {
        format!("type: 'Pooling' pooling_param {{ {options} }}")
    }

    fn top(options: &str, bottom: &[usize]) -> Vec<usize> {
        let bench = Bench::new(&layer(options), &[noise(bottom, 1)]);
        bench.tops[0].shape.dims().to_vec()
    }

    #[test]
    fn the_largest_of_each_window_and_where_it_was() {
        // 1 5 2 | 4      windows of 3 at stride 2, the last one cut off
        // 0 3 9 | 8
        // ------+
        // 7 6 1   2
        let x = tensor(
            &[1, 1, 3, 4],
            &[1., 5., 2., 4., 0., 3., 9., 8., 7., 6., 1., 2.],
        );
        let text = layer("kernel_h: 2 kernel_w: 3 stride: 2") + " top: 'y' top: 'mask'";
        let mut bench = Bench::new(&text, &[x]);
        assert_eq!(bench.forward(), [9., 9., 7., 2.]);
        assert_eq!(bench.tops[1].data, [6., 6., 8., 11.]);
        let got = bench.backward(&[1., 2., 3., 4.], &[0]);
        let dx = &got.bottoms[0].as_ref().unwrap().data;
        assert_eq!(dx[..], [0., 0., 0., 0., 0., 0., 3., 0., 3., 0., 0., 4.]);
        let none = bench.try_backward(&[None, None], &[0]).unwrap();
        assert_eq!(none.bottoms[0].as_ref().unwrap().data, [0.0; 12]);
    }

    #[test]
    fn test_keeps_no_positions_and_finds_them_when_asked() {
        let text = layer("kernel_size: 3 stride: 2");
        let x = [noise(&[2, 3, 9, 10], 1)];
        let (mut train, mut test) = (
            Bench::new(&text, &x),
            Bench::new(&format!("{text} phase: TEST"), &x),
        );
        assert_eq!(train.forward(), test.forward());
        let dy = noise(&[train.tops[0].data.len()], 2).data;
        let (a, b) = (train.backward(&dy, &[0]), test.backward(&dy, &[0]));
        assert_eq!(a.bottoms, b.bottoms);
    }

    #[test]
    fn the_mean_counts_padding() {
        let x = tensor(&[1, 1, 2, 2], &[4., 8., 12., 16.]);
        let mut bench = Bench::new(&layer("pool: AVE kernel_size: 2 stride: 2 pad: 1"), &[x]);
        assert_close(bench.forward(), &[1., 2., 3., 4.], 1e-6);
        let got = bench.backward(&[4., 8., 12., 16.], &[0]);
        assert_eq!(got.bottoms[0].as_ref().unwrap().data, [1., 2., 3., 4.]);
    }

    #[test]
    fn a_value_is_drawn_by_its_size() {
        // Two windows, over and over: 1 of 1 3, and nothing but 0.
        let x: Vec<f32> = [1., 3., 0., 0.].repeat(4000);
        let options = "pool: STOCHASTIC kernel_h: 1 kernel_w: 2 stride: 2";
        let mut bench = Bench::new(&layer(options), &[tensor(&[1, 4000, 1, 4], &x)]);
        let y = bench.forward().to_vec();
        assert!(y.chunks(2).all(|y| y[1] == 0.0 && [1., 3.].contains(&y[0])));
        let threes = y.iter().filter(|&&y| y == 3.0).count();
        assert!((2900..3100).contains(&threes), "{threes} of 4000");
        // The gradient goes where the value came from.
        let got = bench.backward(&vec![1.0; y.len()], &[0]);
        let dx = &got.bottoms[0].as_ref().unwrap().data;
        for (dx, y) in dx.chunks(4).zip(y.chunks(2)) {
            let first = if y[0] == 1.0 { [1., 0.] } else { [0., 1.] };
            assert_eq!(dx[..2], first);
            assert_eq!(dx[2] + dx[3], 1.0);
        }
        // Another pass draws anew, the same pass the same.
        bench.pass = 1;
        assert_ne!(bench.forward(), y);
        bench.pass = 0;
        assert_eq!(bench.forward(), y);
    }

    #[test]
    fn the_mean_of_what_is_drawn() {
        let text = layer("pool: STOCHASTIC kernel_size: 2") + " phase: TEST";
        let x = tensor(&[1, 2, 2, 2], &[1., 2., 0., 1., 0., 0., 0., 0.]);
        assert_eq!(Bench::new(&text, &[x]).forward(), [6. / 4., 0.]);
    }

    #[test]
    fn shapes() {
        assert_eq!(
            top("kernel_size: 3 stride: 2", &[2, 3, 32, 7]),
            [2, 3, 16, 3]
        );
        assert_eq!(
            top("kernel_size: 3 stride: 2 round_mode: FLOOR", &[2, 3, 32, 7]),
            [2, 3, 15, 3]
        );
        assert_eq!(
            top("kernel_size: 3 stride: 2 ceil_mode: false", &[2, 3, 32, 7]),
            [2, 3, 15, 3]
        );
        assert_eq!(
            top("kernel_size: 3 stride: 2 ceil_mode: true", &[2, 3, 32, 7]),
            [2, 3, 16, 3]
        );
        // Rounded up there would be 4, the last of which lies in the padding.
        assert_eq!(
            top("kernel_size: 2 stride: 2 pad: 1", &[1, 1, 5, 4]),
            [1, 1, 3, 3]
        );
        assert_eq!(
            top("pool: AVE global_pooling: true", &[2, 3, 5, 7]),
            [2, 3, 1, 1]
        );
    }

    #[test]
    fn global_pooling_follows_the_bottom() {
        let mut bench = Bench::new(
            &layer("pool: AVE global_pooling: true"),
            &[tensor(&[1, 1, 1, 2], &[1., 3.])],
        );
        assert_eq!(bench.forward(), [2.0]);
        bench
            .set_bottom(0, tensor(&[1, 1, 3, 1], &[1., 3., 5.]))
            .unwrap();
        assert_eq!(bench.forward(), [3.0]);
        bench.set_bottom(0, noise(&[0, 1, 3, 1], 1)).unwrap();
        assert!(bench.forward().is_empty());
        assert!(bench.set_bottom(0, noise(&[1, 1, 0, 1], 1)).is_err());
    }

    #[test]
    fn a_window_of_no_pixel() {
        // Kernel 1, stride 2 on 2 pixels: Caffe's rounding makes a second window at pixel 2.
        let x = tensor(&[1, 1, 1, 2], &[3., 4.]);
        for (pool, none) in [("MAX", -f32::MAX), ("AVE", 0.0)] {
            let options = format!("pool: {pool} kernel_size: 1 stride: 2");
            let mut bench = Bench::new(&layer(&options), std::slice::from_ref(&x));
            assert_eq!(bench.forward(), [3.0, none]);
            let got = bench.backward(&[1.0, 1.0], &[0]);
            assert_eq!(got.bottoms[0].as_ref().unwrap().data, [1.0, 0.0]);
        }
    }

    #[test]
    fn gradients_and_threads() {
        for options in [
            "pool: AVE kernel_size: 3 stride: 2 pad: 1",
            "pool: AVE kernel_h: 2 kernel_w: 3 stride_h: 1 stride_w: 2 round_mode: FLOOR",
            "pool: AVE global_pooling: true",
            "kernel_size: 3 stride: 2 pad: 1",
            "kernel_size: 2",
        ] {
            let mut x = noise(&[2, 2, 5, 6], 1);
            // No two values closer than the step of the differences.
            for (i, v) in x.data.iter_mut().enumerate() {
                *v = (i * 37 % 120) as f32 * 0.1 - 6.0;
            }
            check_gradient(&layer(options), &[x], &[0], &[]);
            check_threads(&layer(options), &[noise(&[3, 8, 33, 40], 1)], &[0]);
        }
        let text = layer("pool: STOCHASTIC kernel_size: 3 stride: 2 pad: 1");
        let positive = |dims: &[usize]| {
            let mut x = noise(dims, 1);
            x.data.iter_mut().for_each(|x| *x = x.abs() + 0.1);
            x
        };
        check_threads(&text, &[positive(&[3, 8, 33, 40])], &[0]);
        let text = text + " phase: TEST";
        check_threads(&text, &[positive(&[3, 8, 33, 40])], &[0]);
        check_gradient(&text, &[positive(&[2, 2, 5, 6])], &[0], &[]);
    }

    #[test]
    fn errors() {
        let x = [noise(&[1, 1, 4, 4], 1)];
        let error = |options: &str| error_of(&layer(options), &x);
        assert!(error("").contains("pooling_param.kernel_size"));
        assert!(
            error("kernel_size: 2 round_mode: CEIL ceil_mode: false")
                .contains("pooling_param.ceil_mode: contradicts round_mode")
        );
        assert!(
            error("kernel_size: 2 stride: 0").contains("pooling_param.stride: must be at least 1")
        );
        assert!(error("kernel_size: 9").contains("the bottom is [4, 4], kernel [9, 9]"));
        assert!(error("kernel_size: 1000000000 pad: 999999999").contains("would hold more"));
        let text = layer("pool: AVE kernel_size: 2") + " top: 'y' top: 'mask'";
        assert!(error_of(&text, &x).contains("only pool: MAX"));
        let text = layer("kernel_size: 2");
        assert!(error_of(&text, &[noise(&[1, 4, 4], 1)]).contains("4 axes"));
        // One huge window is a global one.
        let one = layer("kernel_size: 1000000000 stride: 1000000000");
        assert_eq!(Bench::new(&one, &x).forward().len(), 1);
    }
}
