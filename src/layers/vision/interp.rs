//! Interp: y = x at another size by bilinear interpolation, the corners staying corners: row h of y is read at
//! h (H - 1) / (H' - 1) of x, and so for columns.   dx is the transpose: each dy is shared out over the four it came from.
//!
//! Shapes: x \[N, C, H, W\]; y \[N, C, H', W'\]. Height and width are first cropped by negative `pad_beg` and `pad_end`; then with
//! `shrink_factor` alone H' = ⌊(H - 1) / shrink⌋ + 1, with `zoom_factor` alone H + (H - 1) (zoom - 1), with both the one, then
//! the other; `height` and `width` say H' and W' where none or, with both factors, too, are told. `mode: NEAREST` takes the
//! nearest value, the later one of two equally near. Of DeepLab and PSPNet; `mode` of DeepDetect's fork.

use crate::{
    error::{Error, Result},
    kernels::interp::{self, Axis},
    layer::{Backward, Forward, Layer, LayerDef, LayerType},
    schema::{InterpParameter, interp_parameter::Mode},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("Interp", |def| Ok(Box::new(Interp::new(def)?)));

struct Interp {
    param: InterpParameter,
    /// How the axes of planes are read.
    axes: [Axis; 2],
    /// Values of a plane of x, and of a row.
    plane: (usize, usize),
}

impl Interp {
    fn new(def: &LayerDef) -> Result<Self> {
        let p = def.param.interp_param.unwrap_or_default();
        for (value, field) in [(p.pad_beg(), "pad_beg"), (p.pad_end(), "pad_end")] {
            if value > 0 {
                return Err(def.invalid(
                    &format!("interp_param.{field}"),
                    format!("is {value}; it crops, and must be 0 or negative"),
                ));
            }
        }
        for (value, field) in [
            (p.zoom_factor(), "zoom_factor"),
            (p.shrink_factor(), "shrink_factor"),
        ] {
            if value < 1 {
                return Err(def.invalid(
                    &format!("interp_param.{field}"),
                    format!("is {value}; it must be at least 1"),
                ));
            }
        }
        let told = p.height.is_some() && p.width.is_some();
        if !told && p.zoom_factor.is_none() && p.shrink_factor.is_none() {
            return Err(def
                .invalid("interp_param", "says no size")
                .help("give height and width, zoom_factor or shrink_factor"));
        }
        for (value, field) in [(p.height, "height"), (p.width, "width")] {
            if told && value.is_some_and(|v| v < 1) {
                return Err(def.invalid(
                    &format!("interp_param.{field}"),
                    format!("is {}; it must be at least 1", value.unwrap_or(0)),
                ));
            }
        }
        Ok(Self {
            param: p,
            axes: [Axis::default(), Axis::default()],
            plane: (0, 0),
        })
    }

    /// Where an axis of `n` values is read from, how many, and how many come out; `told` is height or width.
    fn size(&self, n: usize, told: Option<i32>) -> Result<(usize, usize, usize)> {
        let p = &self.param;
        let [begin, end] = [p.pad_beg(), p.pad_end()].map(|pad| pad.unsigned_abs() as usize);
        let kept = n
            .checked_sub(begin)
            .and_then(|n| n.checked_sub(end))
            .filter(|&kept| kept > 0)
            .ok_or_else(|| {
                Error::shape(format!(
                    "nothing is left of an axis of {n} without its first {begin} and last {end}"
                ))
            })?;
        let shrunk = |n: usize| (n - 1) / p.shrink_factor() as usize + 1;
        // Saturates: a top of such a size is refused.
        let zoomed = |n: usize| {
            (n - 1)
                .saturating_mul(p.zoom_factor() as usize)
                .saturating_add(1)
        };
        let told = told.filter(|_| p.height.is_some() && p.width.is_some());
        let to = match (p.shrink_factor, p.zoom_factor, told) {
            (Some(_), None, _) => shrunk(kept),
            (None, Some(_), _) => zoomed(kept),
            (_, _, Some(size)) => usize::try_from(size).unwrap_or(0),
            _ => zoomed(shrunk(kept)),
        };
        Ok((begin, kept, to))
    }
}

impl Layer for Interp {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let [n, c, h, w] = *bottoms[0].dims() else {
            return Err(Error::shape(format!(
                "the bottom needs 4 axes (num, channels, height, width), but it is {}",
                bottoms[0]
            )));
        };
        let down = self.size(h, self.param.height)?;
        let across = self.size(w, self.param.width)?;
        let top = Shape::checked(&[n, c, down.2, across.2])?;
        // Nothing is read for an empty top, however long its axes would be.
        let nearest = self.param.mode() == Mode::Nearest;
        let axis = |(from, n, to)| match top.count() {
            0 => Axis::default(),
            _ => Axis::new(from, n, to, nearest),
        };
        self.axes = [axis(down), axis(across)];
        self.plane = (h * w, w);
        Ok(vec![top])
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let y = &mut *io.tops[0].data;
        if !y.is_empty() {
            let [down, across] = &self.axes;
            interp::interp(io.bottoms[0].data, self.plane, (down, across), y);
        }
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let dy = io.top_diff().data;
        if let Some(dx) = io.bottom_diffs[0].as_mut().filter(|_| !dy.is_empty()) {
            let [down, across] = &self.axes;
            interp::interp_backward(dy, self.plane, (down, across), dx.data);
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
        format!("type: 'Interp' interp_param {{ {options} }}")
    }

    #[test]
    fn corners_stay_corners() {
        let x = tensor(&[1, 1, 2, 2], &[0., 2., 4., 6.]);
        let mut bench = Bench::new(&layer("height: 3 width: 3"), &[x]);
        let want = [0., 1., 2., 2., 3., 4., 4., 5., 6.];
        assert_close(bench.forward(), &want, 1e-6);
        let mut dy = [0.0; 9];
        dy[4] = 4.0;
        let got = bench.backward(&dy, &[0]);
        assert_eq!(got.bottoms[0].as_ref().unwrap().data, [1.0; 4]);
    }

    #[test]
    fn shapes() {
        let top = |options: &str| {
            let bench = Bench::new(&layer(options), &[noise(&[1, 2, 9, 6], 1)]);
            bench.tops[0].shape.dims()[2..].to_vec()
        };
        assert_eq!(top("zoom_factor: 8"), [65, 41]);
        assert_eq!(top("shrink_factor: 2"), [5, 3]);
        assert_eq!(top("shrink_factor: 2 zoom_factor: 3"), [13, 7]);
        assert_eq!(
            top("shrink_factor: 2 zoom_factor: 3 height: 4 width: 5"),
            [4, 5]
        );
        assert_eq!(top("zoom_factor: 2 height: 4 width: 5"), [17, 11]);
        assert_eq!(top("pad_beg: -1 pad_end: -2 zoom_factor: 1"), [6, 3]);
        let mut bench = Bench::new(&layer("height: 3 width: 1"), &[noise(&[0, 2, 9, 6], 1)]);
        assert!(bench.forward().is_empty());
        assert!(bench.backward(&[], &[0]).bottoms[0].is_some());
    }

    #[test]
    fn gradients_and_threads() {
        for options in [
            "height: 7 width: 3",
            "zoom_factor: 2 pad_beg: -1",
            "shrink_factor: 2 pad_end: -1",
            "zoom_factor: 3 mode: NEAREST",
        ] {
            check_gradient(&layer(options), &[noise(&[2, 2, 4, 5], 1)], &[0], &[]);
            check_threads(&layer(options), &[noise(&[3, 20, 33, 40], 1)], &[0]);
        }
    }

    #[test]
    fn errors() {
        let x = [noise(&[1, 1, 4, 4], 1)];
        let says = |options: &str, part: &str| {
            let error = error_of(&layer(options), &x);
            assert!(error.contains(part), "{error}");
        };
        says("", "says no size");
        says("height: 3", "says no size");
        says("height: 3 width: -1", "interp_param.width: is -1");
        says("height: 0 width: 3", "interp_param.height: is 0");
        says("zoom_factor: 0", "interp_param.zoom_factor");
        says("shrink_factor: -2", "interp_param.shrink_factor");
        says("pad_beg: 1 zoom_factor: 2", "interp_param.pad_beg: is 1");
        says("pad_beg: -2 pad_end: -2 zoom_factor: 2", "nothing is left");
        says("pad_end: -2147483648 zoom_factor: 2", "nothing is left");
        says("zoom_factor: 2147483647", "would hold more");
        says("height: 2147483647 width: 2147483647", "would hold more");
        assert!(error_of(&layer("zoom_factor: 2"), &[noise(&[4, 4], 1)]).contains("4 axes"));
    }
}
