//! Bias: y = x + b, where b is learned or the second bottom, and meets the axes of x from `axis` on.
//!
//! dx = dy;   db = Σ dy over the axes that b does not have.
//!
//! Shapes: y as x; a learned b has `num_axes` axes of x from `axis` on (-1: all that follow; 0: a scalar). Backward reads
//! nothing.

use super::broadcast;
use crate::{
    error::Result,
    kernels::{channelwise, map, reduce},
    layer::{
        Affine, Arity, Backward, Forward, InPlace, InPlaceBackward, Layer, LayerDef, LayerType,
        Setup, Sharing, Tail, Traits,
    },
    params::Param,
    schema::BiasParameter,
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("Bias", |def| {
    Ok(Box::new(Bias {
        def: def.clone(),
        param: def.param.bias_param.clone().unwrap_or_default(),
        learned: None,
        dims: (1, 1),
    }))
})
.arity(Arity::Range(1, 2), Arity::Exact(1));

struct Bias {
    def: LayerDef,
    param: BiasParameter,
    /// The shape of b where it is a parameter.
    learned: Option<Shape>,
    dims: (usize, usize),
}

impl Bias {
    /// The gradient of b, added to `db`.
    fn add_gradient(&self, dy: &[f32], db: &mut [f32]) {
        reduce::channel_sum_add(dy, self.dims, db);
    }
}

impl Layer for Bias {
    fn setup(&mut self, cx: &mut Setup<'_>) -> Result<()> {
        if let [bottom] = cx.bottoms {
            let (axis, num_axes) = (self.param.axis(), self.param.num_axes());
            let shape = broadcast::learned_shape(&self.def, "bias_param", bottom, axis, num_axes)?;
            cx.param(shape.clone(), self.param.filler.as_ref());
            self.learned = Some(shape);
        }
        Ok(())
    }

    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let small = self.learned.as_ref().unwrap_or_else(|| &bottoms[1]);
        self.dims = broadcast::dims(&bottoms[0], small, self.param.axis())?;
        Ok(vec![bottoms[0].clone()])
    }

    fn traits(&self) -> Traits {
        Traits {
            sharing: match self.learned {
                Some(_) => Sharing::InPlace,
                None => Sharing::Separate,
            },
            ..Traits::default()
        }
    }

    fn tail(&self) -> Option<Tail> {
        let by_channel = self.param.axis() == 1 && self.param.num_axes() == 1;
        (self.learned.is_some() && by_channel).then_some(Tail::Affine)
    }

    fn affine(&self, params: &[Param]) -> Option<Affine> {
        let shift = params.first()?.value.data.clone();
        Some(Affine {
            scale: vec![1.0; shift.len()],
            shift,
        })
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let b = match io.bottoms.get(1) {
            Some(bottom) => bottom.data,
            None => &io.params[0].value.data,
        };
        let (x, y) = (io.bottoms[0].data, &mut *io.tops[0].data);
        channelwise::channel_map_to(x, y, self.dims, |c| plus(b[c]));
        Ok(())
    }

    fn forward_in_place(&mut self, io: &mut InPlace<'_>) -> Result<()> {
        let b = &io.params[0].value.data;
        channelwise::channel_map(io.data.data, self.dims, |c| plus(b[c]));
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let dy = io.top_diff().data;
        if let Some(db) = io.bottom_diffs.get_mut(1).and_then(Option::as_mut) {
            db.data.fill(0.0);
            self.add_gradient(dy, db.data);
        }
        if let Some(b) = io.params.first_mut().filter(|b| b.wants_grad()) {
            self.add_gradient(dy, &mut b.grad);
        }
        if let Some(dx) = &mut io.bottom_diffs[0] {
            map::copy(dy, dx.data);
        }
        Ok(())
    }

    fn backward_in_place(&mut self, io: &mut InPlaceBackward<'_>) -> Result<()> {
        let b = &mut io.params[0];
        if b.wants_grad() {
            self.add_gradient(io.diff.data, &mut b.grad);
        }
        Ok(())
    }
}

fn plus(b: f32) -> impl Fn(f32) -> f32 {
    move |x| x + b
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, check_gradient, check_threads, error_of, noise, tensor};

    #[test]
    fn each_channel_gets_its_own() {
        let x = tensor(&[2, 2, 2], &[1., 2., 3., 4., 5., 6., 7., 8.]);
        let mut bench = Bench::new("type: 'Bias'", &[x]).param(0, &[10., 20.]);
        assert_eq!(bench.forward(), [11., 12., 23., 24., 15., 16., 27., 28.]);
        let got = bench.backward(&[1., 2., 3., 4., 5., 6., 7., 8.], &[0]);
        assert_eq!(got.params[0], [14., 22.]);
        bench.check_in_place();
    }

    #[test]
    fn a_second_bottom_is_added() {
        let x = [
            tensor(&[2, 2], &[1., 2., 3., 4.]),
            tensor(&[2], &[10., 20.]),
        ];
        let mut bench = Bench::new("type: 'Bias' bias_param { axis: 0 }", &x);
        assert_eq!(bench.forward(), [11., 12., 23., 24.]);
        let got = bench.backward(&[1., 2., 3., 4.], &[0, 1]);
        assert_eq!(got.bottoms[1].as_ref().unwrap().data, [3., 7.]);
    }

    #[test]
    fn gradients_and_threads() {
        let x = || noise(&[2, 3, 2, 2], 1);
        for options in [
            "",
            "num_axes: 0",
            "axis: 0 num_axes: -1",
            "axis: -2 num_axes: 2",
        ] {
            let text = format!("type: 'Bias' bias_param {{ {options} }}");
            check_gradient(&text, &[x()], &[0], &[0]);
            check_threads(&text, &[noise(&[8, 9, 30, 20], 1)], &[0]);
        }
        check_gradient("type: 'Bias'", &[x(), noise(&[3, 2], 2)], &[0, 1], &[]);
    }

    #[test]
    fn errors_and_empty_bottoms() {
        let text = "type: 'Bias' bias_param { axis: 1 num_axes: 4 }";
        let error = error_of(text, &[noise(&[2, 3], 1)]);
        assert!(error.contains("bias_param.num_axes: 4 axes"), "{error}");
        let error = error_of("type: 'Bias' bias_param { axis: 5 }", &[noise(&[2, 3], 1)]);
        assert!(error.contains("bias_param.axis"), "{error}");
        let error = error_of("type: 'Bias'", &[noise(&[2, 3], 1), noise(&[2], 1)]);
        assert!(error.contains("does not match [2, 3]"), "{error}");
        let mut bench = Bench::new("type: 'Bias'", &[noise(&[0, 3, 2], 1)]);
        assert!(bench.forward().is_empty());
        assert_eq!(bench.backward(&[], &[0]).params[0], [0.0; 3]);
    }
}
