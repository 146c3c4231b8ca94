//! Permute: y is x with its axes in another order, `order` first and the axes it does not name behind, as they were.
//! dx is dy with the axes put back.
//!
//! Shapes: axis i of y is axis `order[i]` of x. Where the order changes nothing in memory (axes of extent 1 may go
//! anywhere), y is x under another shape and there is no work. Backward reads nothing.

use crate::{
    error::{Error, Result},
    kernels::cut::{self, Units},
    layer::{Backward, Forward, Layer, LayerType, Sharing, Traits},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("Permute", |def| {
    let param = def.param.permute_param.as_ref();
    Ok(Box::new(Permute {
        order: param.map_or_else(Vec::new, |param| param.order.clone()),
        forward: Walk::default(),
        backward: Walk::default(),
    }))
});

const ORDER: &str = "permute_param.order";

struct Permute {
    order: Vec<u32>,
    forward: Walk,
    backward: Walk,
}

/// A way through a blob: its axes in the order of the other blob, each with its extent and its step.
#[derive(Debug, Default)]
struct Walk(Vec<(usize, usize)>);

impl Walk {
    /// The way through `x` for axes in this order. Axes of extent 1 are left out and axes that stay together are one.
    fn new(x: &[usize], order: &[usize]) -> Self {
        let step = |axis: usize| x[axis + 1..].iter().product::<usize>();
        let mut walk: Vec<(usize, usize)> = Vec::new();
        for &axis in order.iter().filter(|&&axis| x[axis] != 1) {
            let (extent, step) = (x[axis], step(axis));
            match walk.last_mut() {
                Some(last) if last.1 == extent * step => *last = (last.0 * extent, step),
                _ => walk.push((extent, step)),
            }
        }
        Self(walk)
    }

    /// Whether it is the way in which the values lie.
    fn is_straight(&self) -> bool {
        matches!(self.0[..], [] | [(_, 1)])
    }

    /// Writes the values of `x` in the order of the way.
    fn collect(&self, x: &[f32], y: &mut [f32]) {
        let Some((&(run, step), outer)) = self.0.split_last() else {
            return y.copy_from_slice(x);
        };
        if y.is_empty() {
            return;
        }
        let rows = y.len() / run;
        cut::each(Units(y, run), rows, 8 * run, |first, y| {
            for (row, y) in (first..).zip(y.0.chunks_exact_mut(run)) {
                let (mut rest, mut start) = (row, 0);
                for &(extent, step) in outer.iter().rev() {
                    start += rest % extent * step;
                    rest /= extent;
                }
                if step == 1 {
                    y.copy_from_slice(&x[start..][..run]);
                } else {
                    let from = x[start..].iter().step_by(step);
                    y.iter_mut().zip(from).for_each(|(y, x)| *y = *x);
                }
            }
        });
    }
}

impl Permute {
    /// All axes of a blob of `axes` axes in their new order.
    fn full(&self, shape: &Shape) -> Result<Vec<usize>> {
        let mut full: Vec<usize> = Vec::with_capacity(shape.axes());
        for &axis in &self.order {
            let axis = axis as usize;
            if axis >= shape.axes() {
                return Err(Error::param(
                    ORDER,
                    format!(
                        "axis {axis} is outside a blob of {} axes, {shape}",
                        shape.axes()
                    ),
                ));
            }
            if full.contains(&axis) {
                return Err(Error::param(ORDER, format!("names axis {axis} twice")));
            }
            full.push(axis);
        }
        let others = (0..shape.axes()).filter(|axis| !self.order.contains(&(*axis as u32)));
        full.extend(others);
        Ok(full)
    }
}

impl Layer for Permute {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let order = self.full(&bottoms[0])?;
        let x = bottoms[0].dims();
        let y: Vec<usize> = order.iter().map(|&axis| x[axis]).collect();
        let mut back = vec![0; order.len()];
        for (to, &from) in order.iter().enumerate() {
            back[from] = to;
        }
        self.forward = Walk::new(x, &order);
        self.backward = Walk::new(&y, &back);
        Ok(vec![Shape::new(&y)])
    }

    fn traits(&self) -> Traits {
        Traits {
            sharing: if self.forward.is_straight() {
                Sharing::Alias
            } else {
                Sharing::Separate
            },
            ..Traits::default()
        }
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        self.forward.collect(io.bottoms[0].data, io.tops[0].data);
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        if let Some(dx) = &mut io.bottom_diffs[0] {
            let dy = io.top_diffs[0].map_or(&[][..], |dy| dy.data);
            self.backward.collect(dy, dx.data);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::testing::{Bench, check_gradient, check_threads, error_of, noise, tensor};

    fn text(order: &[usize]) -> String {
        let order: String = order.iter().map(|o| format!("order: {o} ")).collect();
        format!("type: 'Permute' permute_param {{ {order} }}")
    }

    #[test]
    fn channels_go_last() {
        // Two channels of 1 × 3.
        let x = tensor(&[1, 2, 1, 3], &[1.0, 2.0, 3.0, 10.0, 20.0, 30.0]);
        let mut bench = Bench::new(&text(&[0, 2, 3, 1]), &[x]);
        assert_eq!(bench.forward(), [1.0, 10.0, 2.0, 20.0, 3.0, 30.0]);
        assert_eq!(bench.tops[0].shape.dims(), [1, 1, 3, 2]);
        let dy = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let dx = bench.backward(&dy, &[0]).bottoms[0].take().unwrap();
        assert_eq!(dx.data, [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
    }

    #[test]
    fn every_order_agrees_with_the_indices() {
        let dims = [2, 3, 4, 5];
        let x = noise(&dims, 1);
        for code in 0..256usize {
            let order = [code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6];
            if (0..4).any(|axis| !order.contains(&axis)) {
                continue;
            }
            let mut bench = Bench::new(&text(&order), std::slice::from_ref(&x));
            bench.forward();
            let y = &bench.tops[0];
            let to = order.map(|axis| dims[axis]);
            assert_eq!(y.shape.dims(), to);
            for (i, &value) in y.data.iter().enumerate() {
                let mut at = [0; 4];
                let mut rest = i;
                for k in (0..4).rev() {
                    at[order[k]] = rest % to[k];
                    rest /= to[k];
                }
                let from = at.iter().zip(&dims).fold(0, |sum, (i, d)| sum * d + i);
                assert_eq!(value, x.data[from]);
            }
        }
    }

    #[test]
    fn what_lies_in_order_is_no_work() {
        let alias = |dims: &[usize], order: &[usize]| {
            Bench::new(&text(order), &[noise(dims, 1)])
                .layer
                .traits()
                .sharing
                == Sharing::Alias
        };
        assert!(alias(&[2, 3], &[]));
        assert!(alias(&[2, 3, 1, 1], &[0, 2, 3, 1]));
        assert!(!alias(&[2, 3, 2, 1], &[0, 2, 3, 1]));
        assert_eq!(Walk::new(&[2, 3, 4, 5], &[0, 2, 3, 1]).0.len(), 3);
    }

    #[test]
    fn gradients() {
        for order in [&[0, 2, 3, 1][..], &[3], &[1, 0], &[]] {
            check_gradient(&text(order), &[noise(&[2, 3, 2, 2], 1)], &[0], &[]);
        }
        check_threads(&text(&[0, 2, 3, 1]), &[noise(&[2, 40, 50, 50], 1)], &[0]);
        let mut bench = Bench::new(&text(&[1, 0]), &[noise(&[0, 3], 1)]);
        assert!(bench.forward().is_empty());
    }

    #[test]
    fn errors() {
        let x = [noise(&[2, 3], 1)];
        let error = error_of(&text(&[2]), &x);
        assert!(
            error.contains("permute_param.order: axis 2 is outside"),
            "{error}"
        );
        let error = error_of(&text(&[1, 1]), &x);
        assert!(error.contains("names axis 1 twice"), "{error}");
    }
}
