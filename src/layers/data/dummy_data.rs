//! DummyData: tops that fillers fill.
//!
//! Shapes: `shape`, or `num`, `channels`, `height` and `width`, told once for all tops or once for each; so are the
//! fillers, and without any the tops are 0. Random fillers draw anew in each pass. No bottom, no gradient.

use crate::{
    error::Result,
    filler,
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType},
    schema::{DummyDataParameter, FillerParameter, LayerParameter},
    tensor::{Shape, Tensor},
};

pub(super) const TYPE: LayerType =
    LayerType::new("DummyData", |def| Ok(Box::new(DummyData::new(def)?)))
        .arity(Arity::Exact(0), Arity::AtLeast(1));

/// Whether a layer of this type brings the same numbers in each pass.
pub(crate) fn is_constant(param: &LayerParameter) -> bool {
    let fillers = param.dummy_data_param.iter().flat_map(|p| &p.data_filler);
    param.r#type() == "DummyData" && fillers.into_iter().all(|f| f.r#type() == "constant")
}

/// One top.
struct Source {
    filler: FillerParameter,
    shape: Shape,
    /// What a random filler fills.
    drawn: Option<Tensor>,
}

struct DummyData {
    tops: Vec<Source>,
}

impl DummyData {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.dummy_data_param.clone().unwrap_or_default();
        let tops = def.param.top.len();
        let shapes = shapes(def, &param, tops)?;
        let fillers = &param.data_filler;
        if fillers.len() > 1 {
            once_or_each(def, "data_filler", fillers.len(), tops)?;
        }
        let tops = shapes
            .into_iter()
            .enumerate()
            .map(|(i, shape)| {
                let at = i.min(fillers.len().saturating_sub(1));
                let filler = fillers.get(at).cloned().unwrap_or_default();
                let random = filler.r#type() != "constant";
                Source {
                    drawn: random.then(|| Tensor::zeros(shape.clone())),
                    filler,
                    shape,
                }
            })
            .collect();
        Ok(Self { tops })
    }
}

/// Whether a field was told as often as it may be.
fn once_or_each(def: &LayerDef, field: &str, told: usize, tops: usize) -> Result<()> {
    if told == 1 || told == tops {
        return Ok(());
    }
    Err(def.invalid(
        &format!("dummy_data_param.{field}"),
        format!("given {told} times for {tops} tops; give one for all or one for each"),
    ))
}

fn shapes(def: &LayerDef, param: &DummyDataParameter, tops: usize) -> Result<Vec<Shape>> {
    let legacy = [
        ("num", &param.num),
        ("channels", &param.channels),
        ("height", &param.height),
        ("width", &param.width),
    ];
    if legacy.iter().all(|(_, told)| told.is_empty()) {
        once_or_each(def, "shape", param.shape.len(), tops)?;
        let field = "dummy_data_param.shape";
        return (0..tops)
            .map(|i| super::shape(def, field, &param.shape[i.min(param.shape.len() - 1)].dim))
            .collect();
    }
    if !param.shape.is_empty() {
        return Err(def.invalid(
            "dummy_data_param.shape",
            "num, channels, height or width is given as well; keep shape",
        ));
    }
    for (field, told) in legacy {
        once_or_each(def, field, told.len(), tops)?;
    }
    (0..tops)
        .map(|i| Shape::checked(&legacy.map(|(_, told)| told[i.min(told.len() - 1)] as usize)))
        .collect()
}

impl Layer for DummyData {
    fn reshape(&mut self, _: &[Shape]) -> Result<Vec<Shape>> {
        Ok(self.tops.iter().map(|top| top.shape.clone()).collect())
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        for (source, top) in self.tops.iter_mut().zip(io.tops.iter_mut()) {
            match &mut source.drawn {
                Some(drawn) => {
                    filler::fill(&source.filler, drawn, io.rng)?;
                    top.data.copy_from_slice(&drawn.data);
                }
                None => top.data.fill(source.filler.value()),
            }
        }
        Ok(())
    }

    /// `force_backward` comes this far, and there is nobody below to get anything.
    fn backward(&mut self, _: &mut Backward<'_, '_>) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, error_of};

    fn layer(tops: &str, options: &str) -> String {
        format!("type: 'DummyData' {tops} dummy_data_param {{ {options} }}")
    }

    #[test]
    fn shapes_and_fillers_go_with_their_tops() {
        let two = "top: 'a' top: 'b'";
        let text = layer(
            two,
            "shape { dim: 2 } shape { dim: 1 dim: 3 } data_filler { value: 7 } data_filler { value: 8 }",
        );
        let mut bench = Bench::new(&text, &[]);
        assert_eq!(bench.forward(), [7.0, 7.0]);
        assert_eq!(bench.tops[1].shape.dims(), [1, 3]);
        assert_eq!(bench.tops[1].data, [8.0; 3]);

        let text = layer(two, "num: 2 channels: 1 channels: 3 height: 1 width: 1");
        let mut bench = Bench::new(&text, &[]);
        assert_eq!(bench.forward(), [0.0; 2]);
        assert_eq!(bench.tops[1].shape.dims(), [2, 3, 1, 1]);
    }

    #[test]
    fn random_fillers_draw_anew_in_each_pass() {
        let text = layer(
            "",
            "shape { dim: 8 } data_filler { type: 'gaussian' std: 1 }",
        );
        let mut bench = Bench::new(&text, &[]);
        let first = bench.forward().to_vec();
        assert_eq!(bench.forward(), first);
        bench.pass = 1;
        assert_ne!(bench.forward(), first);
    }

    #[test]
    fn errors() {
        let two = "top: 'a' top: 'b' top: 'c'";
        let error = |options| error_of(&layer(two, options), &[]);
        assert!(error("").contains("dummy_data_param.shape: given 0 times"));
        assert!(error("shape { dim: 1 } shape { dim: 1 }").contains("given 2 times for 3 tops"));
        assert!(error("shape { dim: -1 }").contains("negative"));
        assert!(error("shape { dim: 1 } num: 1").contains("keep shape"));
        assert!(error("num: 1 channels: 1 height: 1").contains("dummy_data_param.width"));
        let twice = "shape { dim: 1 } data_filler {} data_filler {}";
        assert!(error(twice).contains("dummy_data_param.data_filler"));
        let unknown = "shape { dim: 1 } data_filler { type: 'x' }";
        assert!(error(unknown).contains("unknown filler type 'x'"));
    }
}
