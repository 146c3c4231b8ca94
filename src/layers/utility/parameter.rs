//! Parameter: the top is a learned blob.   dw += dy.
//!
//! Shapes: no bottom; the top, and the parameter, as `shape` says. It starts at 0.
//! Departure: gradients accumulate as those of every parameter; Caffe's are overwritten, which `iter_size` above 1 shows.

use crate::{
    error::Result,
    kernels::map,
    layer::{Arity, Backward, Forward, Layer, LayerType, Setup},
    layers::data,
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("Parameter", |def| {
    let param = def.param.parameter_param.clone().unwrap_or_default();
    let dims = param.shape.unwrap_or_default().dim;
    Ok(Box::new(Parameter {
        shape: data::shape(def, "parameter_param.shape", &dims)?,
    }))
})
.arity(Arity::Exact(0), Arity::Exact(1));

struct Parameter {
    shape: Shape,
}

impl Layer for Parameter {
    fn setup(&mut self, cx: &mut Setup<'_>) -> Result<()> {
        cx.param(self.shape.clone(), None);
        Ok(())
    }

    fn reshape(&mut self, _: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![self.shape.clone()])
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        map::copy(&io.params[0].value.data, io.tops[0].data);
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let dy = io.top_diff().data;
        if io.params[0].wants_grad() {
            map::add(dy, &mut io.params[0].grad);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, check_gradient, error_of};

    const TEXT: &str = "type: 'Parameter' parameter_param { shape { dim: 2 dim: 1 } }";

    #[test]
    fn the_top_is_the_parameter() {
        let mut bench = Bench::new(TEXT, &[]);
        assert_eq!(bench.forward(), [0.0, 0.0]);
        let mut bench = bench.param(0, &[1.0, 2.0]);
        assert_eq!(bench.forward(), [1.0, 2.0]);
        assert_eq!(bench.tops[0].shape.dims(), [2, 1]);
        assert_eq!(bench.backward(&[3.0, 4.0], &[]).params[0], [3.0, 4.0]);
        check_gradient(TEXT, &[], &[], &[0]);
    }

    #[test]
    fn errors() {
        for (dims, why) in [
            ("dim: -1", "parameter_param.shape: an extent is negative"),
            ("dim: 2147483647 dim: 2147483647", "would hold more than"),
        ] {
            let text = format!("type: 'Parameter' parameter_param {{ shape {{ {dims} }} }}");
            let error = error_of(&text, &[]);
            assert!(error.contains(why), "{error}");
        }
    }
}
