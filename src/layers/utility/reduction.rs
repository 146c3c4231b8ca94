//! Reduction: y = `coeff` · r(x) over all axes from `axis` on, n values.
//!
//! SUM: r = Σ x, dx = c · dy.   MEAN: r = Σ x / n, dx = c · dy / n.   ASUM: r = Σ |x|, dx = c · dy · sign(x), 0 at 0.
//! SUMSQ: r = Σ x², dx = 2 · c · x · dy.
//!
//! Shapes: y has the axes of x before `axis`; with `axis: 0` it is a scalar. ASUM and SUMSQ read x in backward.

use crate::{
    error::{Error, Result},
    kernels::{channelwise, reduce},
    layer::{Backward, Forward, Layer, LayerType, Reads, Traits},
    schema::{ReductionParameter, reduction_parameter::ReductionOp},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("Reduction", |def| {
    Ok(Box::new(Reduction {
        param: def.param.reduction_param.unwrap_or_default(),
        rows: 0,
        run: 0,
    }))
});

struct Reduction {
    param: ReductionParameter,
    /// How many values of y.
    rows: usize,
    /// How many values of x make one.
    run: usize,
}

impl Reduction {
    /// What a sum is multiplied by.
    fn factor(&self) -> f32 {
        match self.param.operation() {
            ReductionOp::Mean => self.param.coeff() / self.run.max(1) as f32,
            _ => self.param.coeff(),
        }
    }
}

/// y\[r\] = Σ f(x) over row r.
fn rows(x: &[f32], run: usize, y: &mut [f32], f: impl Fn(f32) -> f32 + Sync) {
    if let [y] = y {
        // One long sum is cut for threads, many are not.
        *y = reduce::total(x, x, |x, _| f(x));
    } else {
        y.fill(0.0);
        let dims = (y.len(), run);
        if !x.is_empty() {
            reduce::channel_total_add(x, x, dims, y, |x, _| f(x));
        }
    }
}

impl Layer for Reduction {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let x = &bottoms[0];
        let axis = match (self.param.axis(), x.axes()) {
            // All of a scalar is itself.
            (0 | -1, 0) => 0,
            (axis, _) => x
                .axis(axis)
                .map_err(|error| Error::param("reduction_param.axis", error.message()))?,
        };
        (self.rows, self.run) = (x.count_range(0, axis), x.count_from(axis));
        Ok(vec![Shape::new(&x.dims()[..axis])])
    }

    fn traits(&self) -> Traits {
        Traits {
            backward_reads: match self.param.operation() {
                ReductionOp::Asum | ReductionOp::Sumsq => Reads::BOTTOMS,
                ReductionOp::Sum | ReductionOp::Mean => Reads::NONE,
            },
            ..Traits::default()
        }
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let (x, y) = (io.bottoms[0].data, &mut *io.tops[0].data);
        match self.param.operation() {
            ReductionOp::Sum | ReductionOp::Mean => rows(x, self.run, y, |x| x),
            ReductionOp::Asum => rows(x, self.run, y, f32::abs),
            ReductionOp::Sumsq => rows(x, self.run, y, |x| x * x),
        }
        let factor = self.factor();
        if factor != 1.0 {
            y.iter_mut().for_each(|y| *y *= factor);
        }
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let (dy, factor) = (io.top_diff().data, self.factor());
        let x = io.bottoms[0].map(|x| x.data);
        let Some(dx) = &mut io.bottom_diffs[0] else {
            return Ok(());
        };
        // Where backward reads no bottom it needs none.
        let (x, dx, dims) = (x.unwrap_or(&[]), &mut *dx.data, (self.rows, self.run));
        match self.param.operation() {
            ReductionOp::Sum | ReductionOp::Mean => channelwise::channel_map(dx, dims, |r| {
                let value = factor * dy[r];
                move |_| value
            }),
            ReductionOp::Asum => channelwise::channel_map_to(x, dx, dims, |r| {
                let value = factor * dy[r];
                move |x| {
                    if x == 0.0 {
                        0.0
                    } else {
                        value.copysign(value * x)
                    }
                }
            }),
            ReductionOp::Sumsq => channelwise::channel_map_to(x, dx, dims, |r| {
                let value = 2.0 * factor * dy[r];
                move |x| value * x
            }),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, check_gradient, check_threads, error_of, noise, tensor};

    #[test]
    fn by_hand() {
        for (options, want, dx) in [
            ("axis: 1", [-3.0, 3.0], [2.0, 2.0, 1.0, 1.0]),
            ("axis: 1 operation: ASUM", [5.0, 3.0], [2.0, -2.0, 1.0, 0.0]),
            (
                "axis: 1 operation: SUMSQ coeff: 2",
                [34.0, 18.0],
                [8.0, -32.0, 12.0, 0.0],
            ),
            (
                "axis: -1 operation: MEAN coeff: 4",
                [-6.0, 6.0],
                [4.0, 4.0, 2.0, 2.0],
            ),
        ] {
            let text = format!("type: 'Reduction' reduction_param {{ {options} }}");
            let x = tensor(&[2, 2], &[1.0, -4.0, 3.0, 0.0]);
            let mut bench = Bench::new(&text, &[x]);
            assert_eq!(bench.forward(), want, "{options}");
            let got = bench.backward(&[2.0, 1.0], &[0]).bottoms[0].take().unwrap();
            assert_eq!(got.data, dx, "{options}");
        }
        let mut bench = Bench::new("type: 'Reduction'", &[tensor(&[3], &[1.0, 2.0, 3.0])]);
        assert_eq!(bench.forward(), [6.0]);
        assert_eq!(bench.tops[0].shape.axes(), 0);
    }

    #[test]
    fn gradients_threads_and_empty_bottoms() {
        for operation in ["SUM", "ASUM", "SUMSQ", "MEAN"] {
            for axis in [0, 1, 2] {
                let text = format!(
                    "type: 'Reduction' reduction_param {{ operation: {operation} axis: {axis} coeff: 0.5 }}"
                );
                check_gradient(&text, &[noise(&[2, 3, 2], 1)], &[0], &[]);
                check_threads(&text, &[noise(&[20, 50, 90], 1)], &[0]);
                for dims in [[0, 3, 2], [2, 3, 0]] {
                    let mut bench = Bench::new(&text, &[noise(&dims, 1)]);
                    bench.forward();
                    let dy = vec![1.0; bench.tops[0].data.len()];
                    bench.backward(&dy, &[0]);
                }
            }
        }
        assert_eq!(
            Bench::new("type: 'Reduction'", &[tensor(&[], &[4.0])]).forward(),
            [4.0]
        );
    }

    #[test]
    fn errors() {
        for axis in [2, -3] {
            let text = format!("type: 'Reduction' reduction_param {{ axis: {axis} }}");
            let error = error_of(&text, &[noise(&[2, 3], 1)]);
            assert!(error.contains("reduction_param.axis: axis"), "{error}");
        }
    }
}
