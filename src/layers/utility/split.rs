//! Split: every top is the bottom.   dx = Σ dy over the tops that have a gradient.
//!
//! Shapes: all equal. Inserted wherever a blob has more than one reader; forward costs nothing, tops are aliases.

use crate::{
    error::Result,
    kernels::map,
    layer::{Arity, Backward, Forward, Layer, LayerType, Sharing, Tail, Traits},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("Split", |def| {
    Ok(Box::new(Split {
        tops: def.param.top.len(),
    }))
})
.arity(Arity::Exact(1), Arity::AtLeast(1));

struct Split {
    tops: usize,
}

impl Layer for Split {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![bottoms[0].clone(); self.tops])
    }

    fn traits(&self) -> Traits {
        Traits {
            sharing: Sharing::Alias,
            ..Traits::default()
        }
    }

    fn tail(&self) -> Option<Tail> {
        (self.tops == 1).then_some(Tail::Identity)
    }

    fn forward(&mut self, _: &mut Forward<'_, '_>) -> Result<()> {
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let Some(dx) = &mut io.bottom_diffs[0] else {
            return Ok(());
        };
        let mut diffs = io.top_diffs.iter().flatten();
        // The first two in one pass.
        match (diffs.next(), diffs.next()) {
            (Some(a), Some(b)) => map::zip2(a.data, b.data, dx.data, |a, b| a + b),
            (Some(first), None) => map::copy(first.data, dx.data),
            (None, _) => map::fill(dx.data, 0.0),
        }
        for dy in diffs {
            map::add(dy.data, dx.data);
        }
        Ok(())
    }
}
