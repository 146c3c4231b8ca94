//! Concat: y = the bottoms side by side along `axis` (old name: `concat_dim`).   dxᵢ = its part of dy.
//!
//! Shapes: bottoms are equal but for `axis`, whose extents add up in y. One bottom: y is the bottom, without work.
//! Backward reads only dy.

use super::strips::{Axis, cut_out, join};
use crate::{
    error::{Error, Result},
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType, Sharing, Tail, Traits},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("Concat", |def| Ok(Box::new(Concat::new(def)?)))
    .arity(Arity::AtLeast(1), Arity::Exact(1));

struct Concat {
    axis: Axis,
    /// How many bottoms there are.
    parts: usize,
    /// For each bottom, how many values of a row of y are its own.
    runs: Vec<usize>,
    /// y has one row.
    one_row: bool,
}

impl Concat {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.concat_param.unwrap_or_default();
        let old = ("concat_dim", param.concat_dim);
        Ok(Self {
            axis: Axis::new(def, "concat_param", param.axis, old)?,
            parts: def.param.bottom.len(),
            runs: Vec::new(),
            one_row: false,
        })
    }
}

impl Layer for Concat {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let axis = self.axis.of(&bottoms[0])?;
        let mut y = bottoms[0].dims().to_vec();
        for (i, x) in bottoms.iter().enumerate().skip(1) {
            let fits =
                x.axes() == y.len() && (0..y.len()).all(|a| a == axis || x.dims()[a] == y[a]);
            if !fits {
                return Err(Error::shape(format!(
                    "bottom {i} is {x}, bottom 0 {}: they may differ only along axis {axis}",
                    bottoms[0]
                )));
            }
            y[axis] += x.dims()[axis];
        }
        self.runs = bottoms.iter().map(|x| x.count_from(axis)).collect();
        self.one_row = bottoms[0].count_range(0, axis) == 1;
        Ok(vec![Shape::new(&y)])
    }

    fn traits(&self) -> Traits {
        Traits {
            sharing: match self.parts {
                1 => Sharing::Alias,
                _ if self.one_row => Sharing::Gather,
                _ => Sharing::Separate,
            },
            ..Traits::default()
        }
    }

    fn tail(&self) -> Option<Tail> {
        (self.parts == 1).then_some(Tail::Identity)
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let parts = io
            .bottoms
            .iter()
            .map(|&x| Some(x))
            .zip(self.runs.iter().copied());
        join(io.tops[0].data, self.runs.iter().sum(), parts);
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let dy = io.top_diff();
        let width = self.runs.iter().sum();
        let mut offset = 0;
        for (dx, &run) in io.bottom_diffs.iter_mut().zip(&self.runs) {
            if let Some(dx) = dx {
                cut_out(dy.data, width, offset, run, dx.data);
            }
            offset += run;
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

    #[test]
    fn by_hand() {
        // [1 2] beside [5] is [1 2 5]
        // [3 4]        [6]    [3 4 6]
        let a = tensor(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let b = tensor(&[2, 1], &[5.0, 6.0]);
        let mut bench = Bench::new("type: 'Concat'", &[a, b]);
        assert_eq!(bench.forward(), [1.0, 2.0, 5.0, 3.0, 4.0, 6.0]);
        assert_eq!(bench.tops[0].shape.dims(), [2, 3]);
        let got = bench.backward(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[1]);
        assert!(got.bottoms[0].is_none());
        assert_eq!(got.bottoms[1].as_ref().unwrap().data, [3.0, 6.0]);
    }

    #[test]
    fn gradients() {
        let (a, b, c) = (
            noise(&[2, 3, 2], 1),
            noise(&[2, 1, 2], 2),
            noise(&[2, 0, 2], 3),
        );
        for option in ["axis: 1", "axis: -2", "concat_dim: 1"] {
            let text = format!("type: 'Concat' concat_param {{ {option} }}");
            check_gradient(&text, &[a.clone(), b.clone(), c.clone()], &[0, 1, 2], &[]);
        }
    }

    #[test]
    fn one_bottom_is_free() {
        let mut bench = Bench::new("type: 'Concat'", &[noise(&[2, 3], 1)]);
        assert_eq!(bench.layer.traits().sharing, Sharing::Alias);
        assert_eq!(bench.forward(), noise(&[2, 3], 1).data);
    }

    #[test]
    fn nothing_beside_nothing() {
        let empty = noise(&[2, 0, 2], 1);
        assert!(
            Bench::new("type: 'Concat'", &[empty.clone(), empty])
                .forward()
                .is_empty()
        );
    }

    #[test]
    fn errors() {
        let two = [noise(&[2, 3], 1), noise(&[3, 3], 1)];
        let error = error_of("type: 'Concat'", &two);
        assert!(
            error.contains("bottom 1 is [3, 3], bottom 0 [2, 3]"),
            "{error}"
        );
        let error = error_of("type: 'Concat' concat_param { concat_dim: 2 }", &two);
        assert!(
            error.contains("concat_param.concat_dim: axis 2 is outside"),
            "{error}"
        );
        let error = error_of(
            "type: 'Concat' concat_param { axis: 1 concat_dim: 1 }",
            &two,
        );
        assert!(error.contains("give axis alone"), "{error}");
    }
}
