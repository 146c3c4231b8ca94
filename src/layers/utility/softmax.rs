//! Softmax: y_c = exp(x_c − m) / Σ_k exp(x_k − m) along `axis`, m = max x_k.   dx_c = y_c · (dy_c − Σ_k dy_k · y_k).
//!
//! Shapes: x, y any with the axis, equal. Backward reads y.

use crate::{
    error::{Error, Result},
    kernels::softmax,
    layer::{Backward, Forward, Layer, LayerType, Reads, Traits},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("Softmax", |def| {
    let param = def.param.softmax_param.as_ref();
    Ok(Box::new(Softmax {
        axis: param.map_or(1, |param| param.axis()),
        dims: (0, 0),
    }))
});

struct Softmax {
    axis: i32,
    /// Channels and inner: extents of the axis and of all behind it.
    dims: (usize, usize),
}

impl Layer for Softmax {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let x = &bottoms[0];
        let axis = x
            .axis(self.axis)
            .map_err(|error| Error::param("softmax_param.axis", error.message()))?;
        self.dims = (x.dims()[axis], x.count_from(axis + 1));
        Ok(vec![x.clone()])
    }

    fn traits(&self) -> Traits {
        Traits {
            backward_reads: Reads::TOPS,
            ..Traits::default()
        }
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        softmax::forward(io.bottoms[0].data, self.dims, io.tops[0].data);
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let (y, dy) = (io.top(0), io.top_diff());
        if let Some(dx) = &mut io.bottom_diffs[0] {
            softmax::backward(y.data, dy.data, self.dims, dx.data);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{
        Bench, assert_close, check_gradient, check_threads, error_of, noise, tensor,
    };

    #[test]
    fn by_hand() {
        let ln = f32::ln;
        let x = tensor(
            &[2, 3],
            &[ln(1.0), ln(2.0), ln(5.0), 1000.0, 1000.0, -1000.0],
        );
        let mut bench = Bench::new("type: 'Softmax'", &[x]);
        assert_close(bench.forward(), &[0.125, 0.25, 0.625, 0.5, 0.5, 0.0], 1e-6);
        let dx = bench.backward(&[8.0, 0.0, 0.0, 0.0, 0.0, 0.0], &[0]);
        let dx = &dx.bottoms[0].as_ref().unwrap().data;
        assert_close(dx, &[0.875, -0.25, -0.625, 0.0, 0.0, 0.0], 1e-6);
    }

    #[test]
    fn gradients_along_any_axis() {
        for axis in [0, 1, -1] {
            let text = format!("type: 'Softmax' softmax_param {{ axis: {axis} }}");
            check_gradient(&text, &[noise(&[2, 3, 4], 1)], &[0], &[]);
        }
        check_threads("type: 'Softmax'", &[noise(&[8, 5, 700], 1)], &[0]);
    }

    #[test]
    fn nothing_may_come() {
        for dims in [[0, 3], [2, 0]] {
            let mut bench = Bench::new("type: 'Softmax'", &[noise(&dims, 1)]);
            assert!(bench.forward().is_empty());
            bench.backward(&[], &[0]);
        }
    }

    #[test]
    fn no_such_axis() {
        let error = error_of("type: 'Softmax'", &[noise(&[3], 1)]);
        assert!(
            error.contains("softmax_param.axis: axis 1 is outside"),
            "{error}"
        );
    }
}
