//! Input: tops that the caller sets.
//!
//! Shapes: as `input_param.shape` says, one for all tops or one for each. No bottom, no gradient.

use crate::{
    error::Result,
    layer::{Arity, Forward, Layer, LayerDef, LayerType, Role},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("Input", |def| Ok(Box::new(Input::new(def)?)))
    .arity(Arity::Exact(0), Arity::AtLeast(1))
    .role(Role::Input);

struct Input {
    tops: Vec<Shape>,
}

impl Input {
    fn new(def: &LayerDef) -> Result<Self> {
        let tops = def.param.top.len();
        let shapes = def
            .param
            .input_param
            .as_ref()
            .map_or(&[][..], |param| &param.shape);
        if shapes.len() != 1 && shapes.len() != tops {
            return Err(def.invalid(
                "input_param.shape",
                format!(
                    "given {} times for {tops} tops; give one for all or one for each",
                    shapes.len()
                ),
            ));
        }
        let tops = (0..tops)
            .map(|i| {
                super::shape(
                    def,
                    "input_param.shape",
                    &shapes[i.min(shapes.len() - 1)].dim,
                )
            })
            .collect::<Result<_>>()?;
        Ok(Self { tops })
    }
}

impl Layer for Input {
    fn reshape(&mut self, _: &[Shape]) -> Result<Vec<Shape>> {
        Ok(self.tops.clone())
    }

    fn forward(&mut self, _: &mut Forward<'_, '_>) -> Result<()> {
        Ok(())
    }
}
