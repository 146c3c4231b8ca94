//! Scale: y = s · x + b, where s is learned or the second bottom, and meets the axes of x from `axis` on; b, learned and
//! of the shape of s, is there with `bias_term`.
//!
//! dx = s · dy;   ds = Σ x · dy,  db = Σ dy, both over the axes that s does not have.
//!
//! Shapes: y as x; a learned s has `num_axes` axes of x from `axis` on (-1: all that follow; 0: a scalar) and starts at 1
//! unless `filler` says otherwise. Backward reads the bottoms, so training keeps x whatever the prototxt spells.

use super::broadcast;
use crate::{
    error::Result,
    kernels::{channelwise, finish, reduce},
    layer::{
        Affine, Arity, Backward, Forward, InPlace, InPlaceBackward, Layer, LayerDef, LayerType,
        Prepack, Reads, Setup, Sharing, Tail, Taken, Traits,
    },
    params::Param,
    schema::{FillerParameter, ScaleParameter},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("Scale", |def| {
    Ok(Box::new(Scale {
        def: def.clone(),
        param: def.param.scale_param.clone().unwrap_or_default(),
        learned: None,
        dims: (1, 1),
        taken: Taken::default(),
        folded: Affine::default(),
    }))
})
.arity(Arity::Range(1, 2), Arity::Exact(1));

struct Scale {
    def: LayerDef,
    param: ScaleParameter,
    /// The shape of s where it is a parameter.
    learned: Option<Shape>,
    dims: (usize, usize),
    taken: Taken,
    /// s and b with the affine map that was absorbed.
    folded: Affine,
}

impl Scale {
    /// The parameters: s where it is learned, b where there is one.
    fn split<'p>(&self, params: &'p mut [Param]) -> (Option<&'p mut Param>, Option<&'p mut Param>) {
        let mut params = params.iter_mut();
        let s = self.learned.as_ref().and_then(|_| params.next());
        (s, params.next())
    }

    /// y = act(s · x + b), in place without `x`.
    fn run(&self, x: Option<&[f32]>, y: &mut [f32], s: &[f32], b: Option<&[f32]>) {
        let act = self.taken.act;
        match b {
            Some(b) => {
                let f = |c: usize| affine(s[c], b[c]);
                finish::channel_map_activate(x, y, self.dims, f, act);
            }
            None => finish::channel_map_activate(x, y, self.dims, |c| times(s[c]), act),
        }
    }

    /// s and b where both are learned or absorbed; s is parameter 0.
    fn factors<'a>(&'a self, params: &'a [Param]) -> (&'a [f32], Option<&'a [f32]>) {
        if self.taken.affine {
            (&self.folded.scale, Some(&self.folded.shift))
        } else {
            own_factors(params)
        }
    }

    /// Adds the gradients of the parameters.
    fn add_gradients(&self, x: &[f32], dy: &[f32], params: &mut [Param]) {
        let (s, b) = self.split(params);
        let s = s.filter(|s| s.wants_grad());
        match (s, b.filter(|b| b.wants_grad())) {
            (Some(s), Some(b)) => {
                reduce::channel_dot_sum_add(x, dy, self.dims, &mut s.grad, &mut b.grad);
            }
            (Some(s), None) => self.add_scale_gradient(x, dy, &mut s.grad),
            (None, Some(b)) => reduce::channel_sum_add(dy, self.dims, &mut b.grad),
            (None, None) => {}
        }
    }

    fn add_scale_gradient(&self, x: &[f32], dy: &[f32], ds: &mut [f32]) {
        reduce::channel_dot_add(x, dy, self.dims, ds);
    }
}

/// s and b where both are learned.
fn own_factors(params: &[Param]) -> (&[f32], Option<&[f32]>) {
    let b = params.get(1).map(|b| &b.value.data[..]);
    (&params[0].value.data, b)
}

impl Layer for Scale {
    fn setup(&mut self, cx: &mut Setup<'_>) -> Result<()> {
        let shape = match cx.bottoms {
            [_, scale, ..] => scale.clone(),
            [bottom, ..] => {
                let (axis, num_axes) = (self.param.axis(), self.param.num_axes());
                let shape =
                    broadcast::learned_shape(&self.def, "scale_param", bottom, axis, num_axes)?;
                let one = FillerParameter {
                    value: Some(1.0),
                    ..FillerParameter::default()
                };
                cx.param(
                    shape.clone(),
                    Some(self.param.filler.as_ref().unwrap_or(&one)),
                );
                self.learned = Some(shape.clone());
                shape
            }
            [] => Shape::default(),
        };
        if self.param.bias_term() {
            cx.param(shape, self.param.bias_filler.as_ref());
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
            backward_reads: Reads::BOTTOMS,
            ..Traits::default()
        }
    }

    fn tail(&self) -> Option<Tail> {
        let by_channel = self.param.axis() == 1 && self.param.num_axes() == 1;
        (self.learned.is_some() && by_channel).then_some(Tail::Affine)
    }

    fn affine(&self, params: &[Param]) -> Option<Affine> {
        let (s, b) = own_factors(params);
        Some(Affine {
            scale: s.to_vec(),
            shift: b.map_or_else(|| vec![0.0; s.len()], <[f32]>::to_vec),
        })
    }

    fn absorb(&mut self, tail: Tail) -> bool {
        match tail {
            Tail::Affine => self.tail().is_some() && self.taken.take(tail),
            Tail::Act(_) => self.taken.take(tail),
            _ => false,
        }
    }

    fn prepack(&mut self, io: &mut Prepack<'_>) -> Result<bool> {
        if let Some(then) = io.then {
            self.folded = self.affine(io.params).unwrap_or_default().then(then);
        }
        Ok(io.then.is_some())
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let (x, y) = (io.bottoms[0].data, &mut *io.tops[0].data);
        if let Some(s) = io.bottoms.get(1) {
            let b = io.params.first().map(|b| &b.value.data[..]);
            self.run(Some(x), y, s.data, b);
        } else {
            let (s, b) = self.factors(io.params);
            self.run(Some(x), y, s, b);
        }
        Ok(())
    }

    fn forward_in_place(&mut self, io: &mut InPlace<'_>) -> Result<()> {
        let (s, b) = self.factors(io.params);
        self.run(None, io.data.data, s, b);
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let (x, dy) = (io.bottom(0).data, io.top_diff().data);
        self.add_gradients(x, dy, io.params);
        if let Some(ds) = io.bottom_diffs.get_mut(1).and_then(Option::as_mut) {
            ds.data.fill(0.0);
            self.add_scale_gradient(x, dy, ds.data);
        }
        let s = match io.bottoms.get(1) {
            Some(_) => io.bottom(1).data,
            None => &io.params[0].value.data,
        };
        if let Some(dx) = &mut io.bottom_diffs[0] {
            channelwise::channel_map_to(dy, dx.data, self.dims, |c| times(s[c]));
        }
        Ok(())
    }

    fn backward_in_place(&mut self, io: &mut InPlaceBackward<'_>) -> Result<()> {
        let x = io.bottom.expect("declared in traits");
        self.add_gradients(x.data, io.diff.data, io.params);
        let s = &io.params[0].value.data;
        channelwise::channel_map(io.diff.data, self.dims, |c| times(s[c]));
        Ok(())
    }
}

fn times(s: f32) -> impl Fn(f32) -> f32 {
    move |x| s * x
}

fn affine(s: f32, b: f32) -> impl Fn(f32) -> f32 {
    move |x| s * x + b
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, check_gradient, check_threads, error_of, noise, tensor};

    #[test]
    fn each_channel_gets_its_own_factor_and_shift() {
        let x = tensor(&[2, 2, 2], &[1., 2., 3., 4., 5., 6., 7., 8.]);
        let text = "type: 'Scale' scale_param { bias_term: true }";
        let mut bench = Bench::new(text, &[x]);
        // Starts at 1 and 0.
        assert_eq!(bench.forward(), [1., 2., 3., 4., 5., 6., 7., 8.]);
        let mut bench = bench.param(0, &[2., 3.]).param(1, &[1., -1.]);
        assert_eq!(bench.forward(), [3., 5., 8., 11., 11., 13., 20., 23.]);
        let got = bench.backward(&[1., 0., 0., 1., 1., 0., 0., 2.], &[0]);
        assert_eq!(
            got.bottoms[0].as_ref().unwrap().data,
            [2., 0., 0., 3., 2., 0., 0., 6.]
        );
        assert_eq!(got.params[0], [6., 20.]);
        assert_eq!(got.params[1], [2., 3.]);
        bench.check_in_place();
    }

    #[test]
    fn a_second_bottom_multiplies() {
        let x = [
            tensor(&[2, 2], &[1., 2., 3., 4.]),
            tensor(&[2], &[10., 20.]),
        ];
        let text = "type: 'Scale' scale_param { axis: 0 bias_term: true }";
        let mut bench = Bench::new(text, &x).param(0, &[1., 2.]);
        assert_eq!(bench.forward(), [11., 21., 62., 82.]);
        let got = bench.backward(&[1., 1., 1., 2.], &[0, 1]);
        assert_eq!(got.bottoms[1].as_ref().unwrap().data, [3., 11.]);
        assert_eq!(got.params[0], [2., 3.]);
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
            let text = format!(
                "type: 'Scale' scale_param {{ {options} filler {{ type: 'gaussian' }} bias_term: true }}"
            );
            check_gradient(&text, &[x()], &[0], &[0, 1]);
            check_threads(&text, &[noise(&[8, 9, 30, 20], 1)], &[0]);
        }
        check_gradient("type: 'Scale'", &[x(), noise(&[3, 2], 2)], &[0, 1], &[]);
    }

    #[test]
    fn errors_and_empty_bottoms() {
        let text = "type: 'Scale' scale_param { num_axes: -2 }";
        let error = error_of(text, &[noise(&[2, 3], 1)]);
        assert!(
            error.contains("scale_param.num_axes: -2 is neither"),
            "{error}"
        );
        let error = error_of("type: 'Scale'", &[noise(&[2, 3], 1), noise(&[2], 1)]);
        assert!(error.contains("does not match [2, 3]"), "{error}");
        let mut bench = Bench::new("type: 'Scale'", &[noise(&[0, 3, 2], 1)]);
        assert!(bench.forward().is_empty());
        assert_eq!(bench.backward(&[], &[0]).params[0], [0.0; 3]);
        // A frozen factor still passes the gradient on.
        let mut bench = Bench::new("type: 'Scale'", &[noise(&[2, 3], 1)]);
        bench.params[0].grad.clear();
        bench.forward();
        let got = bench.backward(&[1.0; 6], &[0]);
        assert_eq!(got.bottoms[0].as_ref().unwrap().data, [1.0; 6]);
    }
}
