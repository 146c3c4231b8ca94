//! Silence: takes blobs that nobody else wants, so that they are no outputs of the net. No tops.
//!
//! Shapes: any. No gradient flows in, so none flows down and there is no backward step.

use crate::{
    error::Result,
    layer::{Arity, Forward, Layer, LayerType},
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("Silence", |_| Ok(Box::new(Silence))).arity(Arity::AtLeast(1), Arity::Exact(0));

struct Silence;

impl Layer for Silence {
    fn reshape(&mut self, _: &[Shape]) -> Result<Vec<Shape>> {
        Ok(Vec::new())
    }

    fn forward(&mut self, _: &mut Forward<'_, '_>) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, noise};

    #[test]
    fn takes_anything_and_makes_nothing() {
        let mut bench = Bench::new("type: 'Silence'", &[noise(&[2, 3], 1), noise(&[0], 2)]);
        bench.forward();
        assert!(bench.tops.is_empty());
    }
}
