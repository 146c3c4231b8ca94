//! Reshape: y = x under another shape.   dx = dy.
//!
//! Shapes: the `num_axes` axes of x from `axis` on (-1: all the rest) are replaced by `shape`, where 0 copies the axis of
//! x at that position and a single -1 stands for what is left over. The counts must agree. No work: y is x.
//! Departures: bottom and top may have one name, which Caffe refuses; an extent is inferred from the replaced axes
//! alone, so that an empty batch has one too.

use crate::{
    error::{Error, Result},
    layer::{Forward, Layer, LayerDef, LayerType, Sharing, Traits},
    schema::ReshapeParameter,
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("Reshape", |def| Ok(Box::new(Reshape::new(def)?)));

const SHAPE: &str = "reshape_param.shape";

struct Reshape {
    param: ReshapeParameter,
    /// The extents told.
    dims: Vec<i64>,
}

impl Reshape {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.reshape_param.clone().unwrap_or_default();
        let dims = param.shape.clone().unwrap_or_default().dim;
        if let Some(dim) = dims.iter().find(|&&dim| dim < -1) {
            return Err(def.invalid(SHAPE, format!("an extent of {dim}; 0 copies, -1 infers")));
        }
        if dims.iter().filter(|&&dim| dim == -1).count() > 1 {
            return Err(def.invalid(
                SHAPE,
                "has -1 more than once; only one extent can be inferred",
            ));
        }
        Ok(Self { param, dims })
    }

    /// The axes of x that are replaced.
    fn replaced(&self, x: &Shape) -> Result<std::ops::Range<usize>> {
        let (axis, axes) = (i64::from(self.param.axis()), x.axes() as i64);
        // -1 stands behind the last axis: there, new ones can be appended.
        let start = if axis < 0 { axes + axis + 1 } else { axis };
        if !(0..=axes).contains(&start) {
            return Err(Error::param(
                "reshape_param.axis",
                format!("axis {axis} is outside a blob of {axes} axes, {x}"),
            ));
        }
        let count = i64::from(self.param.num_axes());
        let end = if count == -1 { axes } else { start + count };
        if count < -1 || end > axes {
            return Err(Error::param(
                "reshape_param.num_axes",
                format!(
                    "{count} axes from axis {start} on do not exist in {x}; -1 means all the rest"
                ),
            ));
        }
        Ok(start as usize..end as usize)
    }
}

impl Layer for Reshape {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let x = &bottoms[0];
        let replaced = self.replaced(x)?;
        // What of the replaced axes is not yet in y, and what of y is not in x: copies cancel out.
        let mut left: Vec<usize> = x.dims()[replaced.clone()].to_vec();
        let mut told: usize = 1;
        let mut new = Vec::with_capacity(self.dims.len());
        for (i, &dim) in self.dims.iter().enumerate() {
            let extent = match dim {
                -1 => 1,
                0 => *x.dims().get(replaced.start + i).ok_or_else(|| {
                    Error::param(
                        SHAPE,
                        format!(
                            "0 at position {i} copies axis {}, which {x} does not have",
                            replaced.start + i
                        ),
                    )
                })?,
                dim => usize::try_from(dim).unwrap_or(usize::MAX),
            };
            new.push(extent);
            match left.get_mut(i) {
                Some(copied) if dim == 0 => *copied = 1,
                _ => told = told.saturating_mul(extent),
            }
        }
        let left: usize = left.iter().product();
        if let Some(at) = self.dims.iter().position(|&dim| dim == -1) {
            if told == 0 || !left.is_multiple_of(told) {
                return Err(Error::param(
                    SHAPE,
                    format!(
                        "{:?} cannot be completed: {left} values of {x} do not divide by {told}",
                        self.dims
                    ),
                ));
            }
            new[at] = left / told;
        }
        let mut y = x.dims()[..replaced.start].to_vec();
        y.extend(new);
        y.extend(&x.dims()[replaced.end..]);
        let y = Shape::checked(&y)?;
        if y.count() != x.count() {
            return Err(Error::shape(format!(
                "{x} holds {} values, {y} would hold {}",
                x.count(),
                y.count()
            ))
            .help("a reshape keeps every value; one extent of -1 takes what is left over"));
        }
        Ok(vec![y])
    }

    fn traits(&self) -> Traits {
        Traits {
            sharing: Sharing::Alias,
            ..Traits::default()
        }
    }

    fn forward(&mut self, _: &mut Forward<'_, '_>) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, check_gradient, error_of, noise};

    fn text(options: &str) -> String {
        format!("type: 'Reshape' reshape_param {{ {options} }}")
    }

    fn shape(x: &[usize], options: &str) -> Vec<usize> {
        let bench = Bench::new(&text(options), &[noise(x, 1)]);
        bench.tops[0].shape.dims().to_vec()
    }

    #[test]
    fn shapes() {
        let x = [2, 3, 4, 6];
        for (options, y) in [
            ("shape { dim: 0 dim: -1 }", &[2, 72][..]),
            ("shape { dim: 0 dim: 0 dim: 8 dim: 3 }", &[2, 3, 8, 3]),
            ("shape { dim: 2 dim: -1 dim: 3 }", &[2, 24, 3]),
            ("axis: 1 num_axes: 2 shape { dim: -1 }", &[2, 12, 6]),
            (
                "axis: 1 num_axes: 0 shape { dim: 1 dim: 1 }",
                &[2, 1, 1, 3, 4, 6],
            ),
            ("axis: -1 shape { dim: 1 }", &[2, 3, 4, 6, 1]),
            ("axis: -3 shape { dim: 6 dim: 4 }", &[2, 3, 6, 4]),
            ("num_axes: 0", &[2, 3, 4, 6]),
        ] {
            assert_eq!(shape(&x, options), y, "{options}");
        }
        assert_eq!(shape(&[0, 3, 4], "shape { dim: 0 dim: -1 }"), [0, 12]);
        assert_eq!(shape(&[1], "shape { }"), [0; 0]);
    }

    #[test]
    fn passes_through() {
        check_gradient(&text("shape { dim: -1 }"), &[noise(&[2, 3], 1)], &[0], &[]);
    }

    #[test]
    fn errors() {
        for (options, wanted) in [
            ("shape { dim: -1 dim: -1 }", "-1 more than once"),
            ("shape { dim: -2 }", "an extent of -2"),
            (
                "shape { dim: 0 dim: 0 dim: 0 }",
                "copies axis 2, which [2, 3] does not have",
            ),
            (
                "shape { dim: 4 dim: -1 }",
                "6 values of [2, 3] do not divide by 4",
            ),
            (
                "shape { dim: 7 }",
                "[2, 3] holds 6 values, [7] would hold 7",
            ),
            (
                "shape { dim: 9000000000 dim: 9000000000 }",
                "would hold more than",
            ),
            (
                "shape { dim: 9000000000 dim: 9000000000 dim: 9000000000 dim: -1 }",
                "do not divide",
            ),
            ("axis: 3", "reshape_param.axis"),
            ("axis: -4", "reshape_param.axis"),
            ("axis: 1 num_axes: 2", "reshape_param.num_axes"),
            ("num_axes: -2", "reshape_param.num_axes"),
        ] {
            let error = error_of(&text(options), &[noise(&[2, 3], 1)]);
            assert!(error.contains(wanted), "{options}: {error}");
        }
    }
}
