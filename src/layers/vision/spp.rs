//! SPP: y = the windows of a pyramid, one level after the other: level l pools x into 2^l × 2^l windows, each method as in
//! Pooling.   dx = Σ over the levels of each one's dx.
//!
//! On an axis of n values level l has windows of k = ⌈n / 2^l⌉ values, k apart, and pads ⌊(k · 2^l - n + 1) / 2⌋ on each side.
//! Shapes: x \[N, C, H, W\]; y \[N, C (1 + 4 + 16 + ..)\], but \[N, C, 1, 1\] where `pyramid_height` is 1; a last window that
//! would begin behind plane and padding is dropped, as in Pooling. He et al. 2014. Backward reads x only for STOCHASTIC in
//! TEST. Where a level has more windows than an axis can serve, so that its padding reaches a window's size, Caffe stops, and
//! so does this.

use super::{
    geometry::{Rounding, Window},
    pool::{Method, Pool},
};
use crate::{
    error::{Error, Result},
    kernels::map,
    layer::{Backward, Forward, Layer, LayerDef, LayerType, Reads, Traits},
    schema::spp_parameter::PoolMethod,
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("SPP", |def| Ok(Box::new(Spp::new(def)?)));

/// More levels than any blob can have windows for.
const MOST: u32 = 31;

struct Spp {
    levels: Vec<Level>,
    /// Values of an image of x, and of y.
    image: [usize; 2],
}

struct Level {
    pool: Pool,
    /// Windows of an image.
    windows: usize,
}

impl Spp {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.spp_param.unwrap_or_default();
        let height = param.pyramid_height();
        if !(1..=MOST).contains(&height) {
            return Err(def.invalid(
                "spp_param.pyramid_height",
                format!("is {height}; it must be from 1 to {MOST}"),
            ));
        }
        let method = match param.pool() {
            PoolMethod::Max => Method::Max,
            PoolMethod::Ave => Method::Average,
            PoolMethod::Stochastic => Method::Stochastic,
        };
        let level = |_| Level {
            pool: Pool::new(method, def.is_train(), true),
            windows: 0,
        };
        Ok(Self {
            levels: (0..height).map(level).collect(),
            image: [0; 2],
        })
    }
}

/// The windows of a level with `bins` of them along each axis.
fn window(input: [usize; 2], bins: usize) -> Result<Window> {
    let kernel = input.map(|n| n.div_ceil(bins).max(1));
    let mut pad = [0; 2];
    for (i, pad) in pad.iter_mut().enumerate() {
        *pad = (kernel[i] * bins - input[i]).div_ceil(2);
        if *pad >= kernel[i] {
            return Err(Error::param(
                "spp_param.pyramid_height",
                format!("{bins} windows along an axis of {} are too many", input[i]),
            )
            .help("make pyramid_height smaller, or the bottom larger"));
        }
    }
    Ok(Window {
        kernel: kernel[..].into(),
        stride: kernel[..].into(),
        pad: pad[..].into(),
        dilation: [1, 1][..].into(),
    })
}

impl Layer for Spp {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let [n, c, h, w] = *bottoms[0].dims() else {
            return Err(Error::shape(format!(
                "a pyramid needs a bottom of 4 axes (num, channels, height, width), not {}",
                bottoms[0]
            )));
        };
        if h == 0 || w == 0 {
            return Err(Error::shape(format!(
                "the planes of {} are empty",
                bottoms[0]
            )));
        }
        let mut columns = 0usize;
        for (i, level) in self.levels.iter_mut().enumerate() {
            let window = window([h, w], 1 << i)?;
            let [ph, pw] = level.pool.fit(&window, [h, w], Rounding::Ceil)?;
            let windows = Shape::checked(&[n, c, ph, pw])?.count();
            level.windows = Shape::checked(&[c, ph, pw])?.count();
            level.pool.hold(windows);
            columns = columns.saturating_add(level.windows);
        }
        self.image = [c * h * w, columns];
        Ok(vec![match self.levels.len() {
            1 => Shape::new(&[n, c, 1, 1]),
            _ => Shape::checked(&[n, columns])?,
        }])
    }

    fn traits(&self) -> Traits {
        let pools = self.levels.iter();
        let pools = pools.map(|level| level.pool.workspace(level.windows));
        Traits {
            backward_reads: Reads {
                bottoms: self.levels.iter().any(|level| level.pool.reads_bottom()),
                tops: false,
            },
            // A level's part of dx, besides what its windows ask for.
            workspace: self.image[0].saturating_add(pools.max().unwrap_or(0)),
            ..Traits::default()
        }
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let [image, columns] = self.image;
        if columns == 0 {
            return Ok(());
        }
        let images = io.bottoms[0].data.chunks_exact(image);
        for (n, (x, y)) in images
            .zip(io.tops[0].data.chunks_exact_mut(columns))
            .enumerate()
        {
            let mut rest = y;
            for Level { pool, windows } in &mut self.levels {
                let (y, after) = std::mem::take(&mut rest).split_at_mut(*windows);
                pool.forward(n * *windows, x, y, io.workspace, io.rng);
                rest = after;
            }
        }
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let dy = io.top_diff().data;
        let [image, columns] = self.image;
        let Some(dx) = &mut io.bottom_diffs[0] else {
            return Ok(());
        };
        if columns == 0 {
            return Ok(());
        }
        let (part, workspace) = io.workspace.split_at_mut(image);
        let images = dx
            .data
            .chunks_exact_mut(image)
            .zip(dy.chunks_exact(columns));
        for (n, (dx, dy)) in images.enumerate() {
            let x = io.bottoms[0].map(|x| &x.data[n * image..][..image]);
            let mut rest = dy;
            for (i, Level { pool, windows }) in self.levels.iter_mut().enumerate() {
                let (dy, after) = rest.split_at(*windows);
                rest = after;
                if i == 0 {
                    pool.backward(n * *windows, x, dy, dx, workspace);
                } else {
                    pool.backward(n * *windows, x, dy, part, workspace);
                    map::add(part, dx);
                }
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
        format!("type: 'SPP' spp_param {{ {options} }}")
    }

    #[test]
    fn levels_follow_each_other() {
        // 1 2 | 3     the whole, then quarters of 2, the padding first and last
        // 4 5 | 6
        let x = tensor(&[1, 1, 2, 3], &[1., 2., 3., 4., 5., 6.]);
        let mut bench = Bench::new(&layer("pyramid_height: 2"), &[x]);
        // Along the width: 2 windows of 2 with pad 1: 1, and 2 3.
        assert_eq!(bench.forward(), [6., 1., 3., 4., 6.]);
        let got = bench.backward(&[1., 10., 20., 30., 40.], &[0]);
        let dx = &got.bottoms[0].as_ref().unwrap().data;
        assert_eq!(dx[..], [10., 0., 20., 30., 0., 41.]);
    }

    #[test]
    fn one_level_keeps_four_axes() {
        let text = layer("pyramid_height: 1 pool: AVE");
        let mut bench = Bench::new(&text, &[tensor(&[2, 1, 1, 2], &[1., 3., 5., 7.])]);
        assert_eq!(bench.tops[0].shape.dims(), [2, 1, 1, 1]);
        assert_close(bench.forward(), &[2., 6.], 1e-6);
        bench.set_bottom(0, noise(&[0, 1, 1, 2], 1)).unwrap();
        assert!(bench.forward().is_empty());
        assert!(bench.backward(&[], &[0]).bottoms[0].is_some());
    }

    #[test]
    fn gradients_and_threads() {
        let mut x = noise(&[2, 2, 6, 7], 1);
        // No two values closer than the step of the differences, all above 0.
        for (i, v) in x.data.iter_mut().enumerate() {
            *v = (i * 37 % 141) as f32 * 0.05 + 0.5;
        }
        for options in [
            "pyramid_height: 3",
            "pyramid_height: 2 pool: AVE",
            "pyramid_height: 1",
        ] {
            check_gradient(&layer(options), std::slice::from_ref(&x), &[0], &[]);
            check_threads(&layer(options), &[noise(&[3, 40, 33, 40], 1)], &[0]);
        }
        let text = layer("pyramid_height: 2 pool: STOCHASTIC");
        check_threads(&text, std::slice::from_ref(&x), &[0]);
        check_gradient(&(text + " phase: TEST"), &[x], &[0], &[]);
    }

    #[test]
    fn errors() {
        let x = [noise(&[1, 1, 5, 4], 1)];
        let says = |options: &str, part: &str| {
            let error = error_of(&layer(options), &x);
            assert!(error.contains(part), "{error}");
        };
        says("", "spp_param.pyramid_height: is 0");
        says("pyramid_height: 32", "spp_param.pyramid_height: is 32");
        says("pyramid_height: 3", "4 windows along an axis of 5");
        says("pyramid_height: 31", "4 windows along an axis of 5");
        let text = layer("pyramid_height: 2");
        assert!(error_of(&text, &[noise(&[1, 4, 4], 1)]).contains("4 axes"));
        assert!(error_of(&text, &[tensor(&[1, 4, 0, 3], &[])]).contains("empty"));
    }
}
