//! Crop: y\[i\] = x\[i + offset\], as large as the second bottom from `axis` on.   dx\[i + offset\] = dy\[i\], 0 elsewhere.
//!
//! Shapes: x and the second bottom have as many axes; y has x's extents before `axis`, those of the second bottom from it
//! on. Only the second bottom's shape counts: its data is not read, and it gets no gradient. `offset` is told once for all
//! cut axes, or once for each.

use crate::{
    error::{Error, Result},
    kernels::cut::{self, Units},
    layer::{Arity, Backward, Forward, Layer, LayerType},
    schema::CropParameter,
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("Crop", |def| {
    Ok(Box::new(Crop {
        param: def.param.crop_param.clone().unwrap_or_default(),
        whole: Vec::new(),
        piece: Vec::new(),
        offset: Vec::new(),
    }))
})
.arity(Arity::Exact(2), Arity::Exact(1))
.stops(&[1]);

struct Crop {
    param: CropParameter,
    /// Extents of x, of y, and where y begins in x; axes behind the last that is cut are one with it.
    whole: Vec<usize>,
    piece: Vec<usize>,
    offset: Vec<usize>,
}

impl Crop {
    fn fit(&self, x: &Shape, like: &Shape) -> Result<(Shape, Vec<usize>)> {
        let axis = x
            .axis(self.param.axis())
            .map_err(|error| Error::param("crop_param.axis", error.message()))?;
        if x.axes() != like.axes() {
            return Err(Error::shape(format!(
                "the bottoms must have as many axes, but they are {x} and {like}"
            )));
        }
        let offsets = &self.param.offset;
        if offsets.len() > 1 && offsets.len() != x.axes() - axis {
            return Err(Error::param(
                "crop_param.offset",
                format!(
                    "given {} times, but {} axes are cut",
                    offsets.len(),
                    x.axes() - axis
                ),
            )
            .help("give it once, or once for each axis from crop_param.axis on"));
        }
        let mut dims = x.dims().to_vec();
        let mut starts = vec![0; dims.len()];
        for i in axis..dims.len() {
            let at = offsets.get(i - axis).or_else(|| offsets.first());
            let at = at.map_or(0, |&at| at as usize);
            let (n, room) = (like.dims()[i], x.dims()[i]);
            if at.checked_add(n).is_none_or(|end| end > room) {
                return Err(Error::shape(format!(
                    "axis {i}: {n} values from {at} on are wanted, but {x} has {room}"
                ))
                .help("make crop_param.offset smaller, or the first bottom larger"));
            }
            (dims[i], starts[i]) = (n, at);
        }
        Ok((Shape::new(&dims), starts))
    }

    /// The row of y that row `row` of x holds, if any; rows run along the last axis.
    fn cut_row(&self, mut row: usize) -> Option<usize> {
        let mut at = 0;
        let mut stride = 1;
        for i in (0..self.whole.len() - 1).rev() {
            let here = row % self.whole[i];
            row /= self.whole[i];
            let here = here.checked_sub(self.offset[i])?;
            if here >= self.piece[i] {
                return None;
            }
            at += here * stride;
            stride *= self.piece[i];
        }
        Some(at)
    }

    /// The row of x that holds row `row` of y.
    fn whole_row(&self, mut row: usize) -> usize {
        let mut at = 0;
        let mut stride = 1;
        for i in (0..self.whole.len() - 1).rev() {
            at += (row % self.piece[i] + self.offset[i]) * stride;
            row /= self.piece[i];
            stride *= self.whole[i];
        }
        at
    }

    /// Length of a row of x, of y, and where y begins in it.
    fn row(&self) -> (usize, usize, usize) {
        let last = self.whole.len() - 1;
        (self.whole[last], self.piece[last], self.offset[last])
    }
}

impl Layer for Crop {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let x = &bottoms[0];
        let (top, offset) = self.fit(x, &bottoms[1])?;
        let axes = x.axes();
        let cut = (0..axes).rfind(|&i| x.dims()[i] != top.dims()[i]);
        let last = cut.unwrap_or(0);
        let behind = x.count_range(last + 1, axes);
        let merge = |dims: &[usize]| {
            let mut dims = dims[..=last].to_vec();
            dims[last] *= behind;
            dims
        };
        (self.whole, self.piece, self.offset) =
            (merge(x.dims()), merge(top.dims()), merge(&offset));
        Ok(vec![top])
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let (x, y) = (io.bottoms[0].data, &mut *io.tops[0].data);
        if y.is_empty() {
            return Ok(());
        }
        let (whole, piece, offset) = self.row();
        let rows = y.len() / piece;
        cut::each(Units(y, piece), rows, 8 * piece, |first, y| {
            for (row, y) in (first..).zip(y.0.chunks_exact_mut(piece)) {
                let from = self.whole_row(row) * whole + offset;
                y.copy_from_slice(&x[from..][..piece]);
            }
        });
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let dy = io.top_diff().data;
        let Some(dx) = io.bottom_diffs[0].as_mut().filter(|dx| !dx.data.is_empty()) else {
            return Ok(());
        };
        let (whole, piece, offset) = self.row();
        let rows = dx.data.len() / whole;
        cut::each(Units(&mut *dx.data, whole), rows, 8 * whole, |first, dx| {
            for (row, dx) in (first..).zip(dx.0.chunks_exact_mut(whole)) {
                dx.fill(0.0);
                if let Some(row) = self.cut_row(row) {
                    dx[offset..][..piece].copy_from_slice(&dy[row * piece..][..piece]);
                }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, check_gradient, check_threads, error_of, noise, tensor};

    fn layer(options: &str) -> String {
        format!("type: 'Crop' crop_param {{ {options} }}")
    }

    #[test]
    fn a_piece_and_its_gradient() {
        // 1 2 3
        // 4 5 6   from row 1, column 1 on
        // 7 8 9
        let x = tensor(&[1, 1, 3, 3], &[1., 2., 3., 4., 5., 6., 7., 8., 9.]);
        let like = noise(&[1, 1, 2, 1], 1);
        let mut bench = Bench::new(&layer("offset: 1"), &[x, like]);
        assert_eq!(bench.forward(), [5., 8.]);
        let got = bench.backward(&[10., 20.], &[0]);
        let dx = &got.bottoms[0].as_ref().unwrap().data;
        assert_eq!(dx[..], [0., 0., 0., 0., 10., 0., 0., 20., 0.]);
    }

    #[test]
    fn axes_before_the_axis_stay() {
        let bottoms = [noise(&[2, 3, 4, 5], 1), noise(&[9, 2, 4, 1], 1)];
        let bench = Bench::new(&layer("axis: -3 offset: 1 offset: 0 offset: 4"), &bottoms);
        assert_eq!(bench.tops[0].shape.dims(), [2, 2, 4, 1]);
        let bench = Bench::new(&layer("axis: 3"), &bottoms);
        assert_eq!(bench.tops[0].shape.dims(), [2, 3, 4, 1]);
    }

    #[test]
    fn gradients_and_threads() {
        for (options, like) in [
            ("axis: 1 offset: 1", [2, 2, 2, 3]),
            ("axis: 1 offset: 1 offset: 0 offset: 0", [2, 2, 4, 5]),
            (
                "axis: 0 offset: 1 offset: 0 offset: 2 offset: 1",
                [1, 3, 2, 3],
            ),
            ("axis: 3", [2, 3, 4, 5]),
        ] {
            let bottoms = [noise(&[2, 3, 4, 5], 1), noise(&like, 1)];
            check_gradient(&layer(options), &bottoms, &[0], &[]);
        }
        let bottoms = [noise(&[5, 20, 40, 50], 1), noise(&[5, 20, 31, 37], 1)];
        check_threads(&layer("offset: 3 offset: 5"), &bottoms, &[0]);
    }

    #[test]
    fn nothing_may_be_left() {
        let bottoms = [noise(&[2, 3, 4], 1), noise(&[2, 3, 0], 1)];
        let mut bench = Bench::new(&layer("offset: 1"), &bottoms);
        assert!(bench.forward().is_empty());
        let got = bench.backward(&[], &[0]);
        assert_eq!(got.bottoms[0].as_ref().unwrap().data, [0.0; 24]);
    }

    #[test]
    fn errors() {
        let bottoms = [noise(&[1, 2, 5, 5], 1), noise(&[1, 2, 3, 3], 1)];
        let says = |options: &str, part: &str| {
            let error = error_of(&layer(options), &bottoms);
            assert!(error.contains(part), "{error}");
        };
        says("axis: 4", "crop_param.axis: axis 4");
        says(
            "offset: 1 offset: 2 offset: 3",
            "crop_param.offset: given 3 times, but 2",
        );
        says("offset: 2 offset: 3", "axis 3: 3 values from 3 on");
        says("offset: 4294967295", "axis 2");
        let error = error_of(&layer(""), &[noise(&[1, 2, 5], 1), noise(&[1, 2], 1)]);
        assert!(error.contains("as many axes"), "{error}");
    }
}
