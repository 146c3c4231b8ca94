//! ContinuationIndicator: y = 0 in the first step and 1 in all others: what LSTM and RNN read as `cont` where every sequence
//! of a batch starts at its first step. No gradient.
//!
//! Shapes: y is `time_step` × the extent of `axis` of the bottom, whose values are not read.

use crate::{
    error::{Error, Result},
    layer::{Forward, Layer, LayerType, Role},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("ContinuationIndicator", |def| {
    let param = def.param.continuation_indicator_param.unwrap_or_default();
    if param.time_step() == 0 {
        return Err(def.invalid(
            "continuation_indicator_param.time_step",
            "is 0 or missing; it is the number of steps",
        ));
    }
    Ok(Box::new(ContinuationIndicator {
        steps: param.time_step() as usize,
        axis: param.axis(),
        items: 0,
    }))
})
.role(Role::Metric);

struct ContinuationIndicator {
    steps: usize,
    axis: i32,
    items: usize,
}

impl Layer for ContinuationIndicator {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let axis = bottoms[0]
            .axis(self.axis)
            .map_err(|error| Error::param("continuation_indicator_param.axis", error.message()))?;
        self.items = bottoms[0].dims()[axis];
        Ok(vec![Shape::checked(&[self.steps, self.items])?])
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let (first, others) = io.tops[0].data.split_at_mut(self.items);
        first.fill(0.0);
        others.fill(1.0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, error_of, noise};

    fn text(options: &str) -> String {
        format!("type: 'ContinuationIndicator' continuation_indicator_param {{ {options} }}")
    }

    #[test]
    fn by_hand() {
        let mut bench = Bench::new(&text("time_step: 3 axis: 1"), &[noise(&[5, 2, 4], 1)]);
        assert_eq!(bench.forward(), [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(bench.tops[0].shape.dims(), [3, 2]);
        let mut bench = Bench::new(&text("time_step: 1"), &[noise(&[0, 2], 1)]);
        assert!(bench.forward().is_empty());
    }

    #[test]
    fn errors() {
        for (options, why) in [
            ("", "time_step: is 0 or missing"),
            (
                "time_step: 1 axis: 2",
                "continuation_indicator_param.axis: axis 2 is outside",
            ),
            ("time_step: 4294967295", "would hold more than"),
        ] {
            let error = error_of(&text(options), &[noise(&[5, 2], 1)]);
            assert!(error.contains(why), "{error}");
        }
    }
}
