//! Slice: the tops are the bottom cut along `axis` (old name: `slice_dim`), at each `slice_point` or, without one, into
//! equal parts.   dx = the top diffs side by side, zeros where a top has none.
//!
//! Shapes: tops have the bottom's shape but for `axis`. One top: it is the bottom, without work. Backward reads only
//! the top diffs.

use super::strips::{Axis, cut_out, join};
use crate::{
    error::{Error, Result},
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType, Sharing, Tail, Traits},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("Slice", |def| Ok(Box::new(Slice::new(def)?)))
    .arity(Arity::Exact(1), Arity::AtLeast(1));

struct Slice {
    axis: Axis,
    points: Vec<usize>,
    tops: usize,
    /// For each top, how many values of a row of x are its own.
    runs: Vec<usize>,
    /// x has one row.
    one_row: bool,
}

impl Slice {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.slice_param.clone().unwrap_or_default();
        let old = ("slice_dim", param.slice_dim);
        let tops = def.param.top.len();
        let points: Vec<usize> = param.slice_point.iter().map(|&p| p as usize).collect();
        if !points.is_empty() && points.len() + 1 != tops {
            return Err(def.invalid(
                "slice_param.slice_point",
                format!(
                    "{} points cut into {} parts, but there are {tops} tops",
                    points.len(),
                    points.len() + 1
                ),
            ));
        }
        if points.first() == Some(&0) || points.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(def.invalid(
                "slice_param.slice_point",
                format!("{points:?} must start above 0 and rise"),
            ));
        }
        Ok(Self {
            axis: Axis::new(def, "slice_param", param.axis, old)?,
            points,
            tops,
            runs: Vec::new(),
            one_row: false,
        })
    }

    /// The extent of each top along an axis of `extent`.
    fn extents(&self, x: &Shape, axis: usize) -> Result<Vec<usize>> {
        let extent = x.dims()[axis];
        if self.points.is_empty() {
            if !extent.is_multiple_of(self.tops) {
                return Err(Error::shape(format!(
                    "axis {axis} of {x} does not divide into {} equal tops",
                    self.tops
                ))
                .help("say where to cut with slice_point"));
            }
            return Ok(vec![extent / self.tops; self.tops]);
        }
        if self.points.last().is_some_and(|&last| last >= extent) {
            return Err(Error::param(
                "slice_param.slice_point",
                format!(
                    "{:?} must stay below {extent}, the extent of axis {axis} of {x}",
                    self.points
                ),
            ));
        }
        let ends = self.points.iter().copied().chain([extent]);
        let starts = [0].into_iter().chain(self.points.iter().copied());
        Ok(ends.zip(starts).map(|(end, start)| end - start).collect())
    }
}

impl Layer for Slice {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let x = &bottoms[0];
        let axis = self.axis.of(x)?;
        let extents = self.extents(x, axis)?;
        let inner = x.count_from(axis + 1);
        self.one_row = x.count_range(0, axis) == 1;
        self.runs = extents.iter().map(|extent| extent * inner).collect();
        Ok(extents
            .into_iter()
            .map(|extent| {
                let mut y = x.dims().to_vec();
                y[axis] = extent;
                Shape::new(&y)
            })
            .collect())
    }

    fn traits(&self) -> Traits {
        Traits {
            sharing: match self.tops {
                1 => Sharing::Alias,
                _ if self.one_row => Sharing::Scatter,
                _ => Sharing::Separate,
            },
            ..Traits::default()
        }
    }

    fn tail(&self) -> Option<Tail> {
        (self.tops == 1).then_some(Tail::Identity)
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let x = io.bottoms[0];
        let width = self.runs.iter().sum();
        let mut offset = 0;
        for (y, &run) in io.tops.iter_mut().zip(&self.runs) {
            cut_out(x.data, width, offset, run, y.data);
            offset += run;
        }
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        if let Some(dx) = &mut io.bottom_diffs[0] {
            let parts = io.top_diffs.iter().copied().zip(self.runs.iter().copied());
            join(dx.data, self.runs.iter().sum(), parts);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::{
        Sharing,
        testing::{Bench, check_gradient, error_of, noise, tensor},
    };

    const TWO: &str = "type: 'Slice' top: 'a' top: 'b'";

    #[test]
    fn by_hand() {
        // [1 2 3] cut at 1 is [1] and [2 3]
        // [4 5 6]             [4]     [5 6]
        let x = tensor(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let text = format!("{TWO} slice_param {{ slice_point: 1 }}");
        let mut bench = Bench::new(&text, &[x]);
        assert_eq!(bench.forward(), [1.0, 4.0]);
        assert_eq!(bench.tops[1].data, [2.0, 3.0, 5.0, 6.0]);
        assert_eq!(bench.tops[1].shape.dims(), [2, 2]);
        let got = bench.backward(&[7.0, 8.0], &[0]);
        let dx = &got.bottoms[0].as_ref().unwrap().data;
        assert_eq!(dx, &[7.0, 0.0, 0.0, 8.0, 0.0, 0.0]);
    }

    #[test]
    fn gradients() {
        for option in ["", "axis: -2", "slice_dim: 1", "axis: 1 slice_point: 3"] {
            let text = format!("{TWO} slice_param {{ {option} }}");
            check_gradient(&text, &[noise(&[2, 4, 2], 1)], &[0], &[]);
        }
    }

    #[test]
    fn one_top_is_free_and_nothing_can_be_cut() {
        let mut bench = Bench::new("type: 'Slice' top: 'a'", &[noise(&[2, 3], 1)]);
        assert_eq!(bench.layer.traits().sharing, Sharing::Alias);
        assert_eq!(bench.forward(), noise(&[2, 3], 1).data);
        let mut bench = Bench::new(TWO, &[noise(&[2, 0, 3], 1)]);
        assert!(bench.forward().is_empty());
    }

    #[test]
    fn errors() {
        for (options, wanted) in [
            ("", "axis 1 of [2, 3] does not divide into 2 equal tops"),
            ("slice_point: 1 slice_point: 2", "there are 2 tops"),
            ("slice_point: 0", "must start above 0"),
            ("slice_point: 3", "must stay below 3"),
            ("axis: 2", "slice_param.axis: axis 2 is outside"),
            ("axis: 1 slice_dim: 1", "give axis alone"),
        ] {
            let text = format!("{TWO} slice_param {{ {options} }}");
            let error = error_of(&text, &[noise(&[2, 3], 1)]);
            assert!(error.contains(wanted), "{error}");
        }
    }
}
