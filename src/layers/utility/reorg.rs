//! Reorg: moves values between channels and positions, s = `stride`, as YOLO's reorg layer does.   dx = dy, moved back.
//!
//! With `reverse` each block of s × s positions is made of s² channels: y\[c, s·i + p, s·j + q\] = x\[(s·p + q)·D + c, i, j\] for
//! C/s² = D channels of y. Without it, the values of x lie in memory as those of a blob V of C/s² channels, s·H rows and
//! s·W columns, and those of y as V taken apart in the inverse way.
//!
//! Shapes: x \[N, C, H, W\]; y \[N, C·s², H/s, W/s\], with `reverse` \[N, C/s², H·s, W·s\]. Both ways s² divides C. Backward
//! reads nothing.
//! Source: darknet's reorg layer, whose order of values the trained YOLO nets rely on: `reorg_param` of choasup's Caffe.

use crate::{
    error::{Error, Result},
    kernels::cut::{self, Units},
    layer::{Backward, Forward, Layer, LayerDef, LayerType},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("Reorg", |def| Ok(Box::new(Reorg::new(def)?)));

struct Reorg {
    stride: usize,
    reverse: bool,
    /// Channels, rows and columns of the blob with more channels, as its values are seen.
    deep: [usize; 3],
}

impl Reorg {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.reorg_param.unwrap_or_default();
        let stride = param.stride.unwrap_or(0) as usize;
        if stride == 0 {
            return Err(def.invalid(
                "reorg_param.stride",
                "is 0 or missing; it must be at least 1",
            ));
        }
        Ok(Self {
            stride,
            reverse: param.reverse(),
            deep: [0; 3],
        })
    }

    /// Calls `f` with the index of each value of plane `plane` of the deep blob, in order, and its index in the wide one.
    fn pairs(&self, plane: usize, mut f: impl FnMut(usize, usize)) {
        let ([channels, rows, columns], s) = (self.deep, self.stride);
        let (item, k) = (plane / channels, plane % channels);
        let wide = channels / (s * s);
        let (c, offset) = (k % wide, k / wide);
        let (p, q) = (offset / s, offset % s);
        for i in 0..rows {
            let row = ((item * wide + c) * rows * s + i * s + p) * columns * s + q;
            for j in 0..columns {
                f(i * columns + j, row + j * s);
            }
        }
    }

    /// From the wide blob to the deep one.
    fn gather(&self, wide: &[f32], deep: &mut [f32]) {
        let plane = self.deep[1] * self.deep[2];
        if deep.is_empty() {
            return;
        }
        let planes = deep.len() / plane;
        cut::each(Units(deep, plane), planes, 8 * plane, |first, deep| {
            for (p, deep) in (first..).zip(deep.0.chunks_exact_mut(plane)) {
                self.pairs(p, |d, w| deep[d] = wide[w]);
            }
        });
    }

    /// From the deep blob to the wide one.
    fn scatter(&self, deep: &[f32], wide: &mut [f32]) {
        let [channels, rows, columns] = self.deep;
        let (plane, item) = (rows * columns, channels * rows * columns);
        if wide.is_empty() {
            return;
        }
        let items = wide.len() / item;
        let parts = (Units(wide, item), Units(deep, item));
        cut::each(parts, items, 8 * item, |_, (wide, deep)| {
            for (p, deep) in deep.0.chunks_exact(plane).enumerate() {
                self.pairs(p, |d, w| wide.0[w] = deep[d]);
            }
        });
    }
}

impl Layer for Reorg {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let x = &bottoms[0];
        let s = self.stride;
        let &[n, c, h, w] = x.dims() else {
            return Err(Error::shape(format!(
                "a bottom of shape {x} is no [N, C, H, W]"
            )));
        };
        let square = s.saturating_mul(s);
        if !c.is_multiple_of(square) {
            return Err(Error::param(
                "reorg_param.stride",
                format!("{c} channels do not divide by its square, {square}"),
            ));
        }
        let fits = h.is_multiple_of(s) && w.is_multiple_of(s);
        if !(self.reverse || fits) {
            return Err(Error::param(
                "reorg_param.stride",
                format!("{s} does not divide {h} × {w} positions"),
            ));
        }
        // Without `reverse` too, values are paired by the extents of x: see above.
        self.deep = [c, h, w];
        let by = |n: usize, m: usize| n.saturating_mul(m);
        let y = match self.reverse {
            true => [n, c / square, by(h, s), by(w, s)],
            false => [n, by(c, square), h / s, w / s],
        };
        Ok(vec![Shape::checked(&y)?])
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let (x, y) = (io.bottoms[0].data, &mut *io.tops[0].data);
        match self.reverse {
            true => self.scatter(x, y),
            false => self.gather(x, y),
        }
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let dy = io.top_diff().data;
        if let Some(dx) = &mut io.bottom_diffs[0] {
            match self.reverse {
                true => self.gather(dy, dx.data),
                false => self.scatter(dy, dx.data),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, check_gradient, check_threads, error_of, noise, tensor};

    #[test]
    fn by_hand() {
        // Four channels of one position make a square.
        let x = tensor(&[1, 4, 1, 1], &[1.0, 2.0, 3.0, 4.0]);
        let text = "type: 'Reorg' reorg_param { stride: 2 reverse: true }";
        let mut bench = Bench::new(text, &[x]);
        assert_eq!(bench.forward(), [1., 2., 3., 4.]);
        assert_eq!(bench.tops[0].shape.dims(), [1, 1, 2, 2]);
        // Four channels of 2 × 2 in memory are one channel of 4 × 4:
        //   0 1 2 3 / 4 5 6 7 / 8 9 10 11 / 12 13 14 15.
        let x: Vec<f32> = (0u8..16).map(f32::from).collect();
        let text = "type: 'Reorg' reorg_param { stride: 2 }";
        let mut bench = Bench::new(text, &[tensor(&[1, 4, 2, 2], &x)]);
        let want = [
            0., 2., 8., 10., 1., 3., 9., 11., 4., 6., 12., 14., 5., 7., 13., 15.,
        ];
        assert_eq!(bench.forward(), want);
        assert_eq!(bench.tops[0].shape.dims(), [1, 16, 1, 1]);
        let dx = bench.backward(&want, &[0]).bottoms[0].take().unwrap();
        assert_eq!(dx.data, x);
    }

    #[test]
    fn gradients_threads_and_empty_bottoms() {
        for options in ["stride: 2", "stride: 2 reverse: true", "stride: 1"] {
            let text = format!("type: 'Reorg' reorg_param {{ {options} }}");
            check_gradient(&text, &[noise(&[2, 8, 2, 4], 1)], &[0], &[]);
            check_threads(&text, &[noise(&[3, 32, 30, 40], 1)], &[0]);
            for dims in [[0, 8, 2, 4], [2, 0, 2, 4], [2, 8, 0, 4]] {
                let mut bench = Bench::new(&text, &[noise(&dims, 1)]);
                assert!(bench.forward().is_empty());
                bench.backward(&[], &[0]);
            }
        }
    }

    #[test]
    fn errors() {
        for (options, dims, why) in [
            (
                "",
                &[1usize, 4, 2, 2][..],
                "reorg_param.stride: is 0 or missing",
            ),
            ("stride: 0", &[1, 4, 2, 2], "is 0"),
            (
                "stride: 4294967295",
                &[1, 4, 2, 2],
                "do not divide by its square",
            ),
            (
                "stride: 2",
                &[1, 3, 2, 2],
                "3 channels do not divide by its square, 4",
            ),
            (
                "stride: 2",
                &[1, 4, 3, 2],
                "2 does not divide 3 × 2 positions",
            ),
            ("stride: 2", &[4, 2, 2], "is no [N, C, H, W]"),
        ] {
            let text = format!("type: 'Reorg' reorg_param {{ {options} }}");
            let error = error_of(&text, &[noise(dims, 1)]);
            assert!(error.contains(why), "{error}");
        }
    }
}
