//! MemoryData: arrays that the caller sets.
//!
//! Shapes: the first top \[batch_size, channels, height, width\], the second, where there is one, \[batch_size\]. No
//! bottom, no gradient.
//!
//! The tops are inputs of the net: a program sets them before each pass with `Net::set_input`, `cortado run` from the
//! arrays of `--input=file.npz` (or `--input=top=file.npy`). As in Caffe, arrays that are set are not transformed:
//! `transform_param` has no effect on them.
//!
//! Departure: Caffe's layer is handed many batches at once and goes round them; here each batch is set.

use crate::{
    error::Result,
    layer::{Arity, Forward, Layer, LayerDef, LayerType, Role},
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("MemoryData", |def| Ok(Box::new(MemoryData::new(def)?)))
        .arity(Arity::Exact(0), Arity::Range(1, 2))
        .role(Role::Input);

struct MemoryData {
    tops: Vec<Shape>,
}

impl MemoryData {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.memory_data_param.unwrap_or_default();
        let sides = [
            ("batch_size", param.batch_size()),
            ("channels", param.channels()),
            ("height", param.height()),
            ("width", param.width()),
        ];
        if let Some((missing, _)) = sides.iter().find(|(_, n)| *n == 0) {
            return Err(def.invalid(
                &format!("memory_data_param.{missing}"),
                "batch_size, channels, height and width must be given, each at least 1",
            ));
        }
        let dims = sides.map(|(_, n)| n as usize);
        let mut tops = vec![Shape::checked(&dims)?, Shape::from([dims[0]])];
        tops.truncate(def.param.top.len());
        Ok(Self { tops })
    }
}

impl Layer for MemoryData {
    fn reshape(&mut self, _: &[Shape]) -> Result<Vec<Shape>> {
        Ok(self.tops.clone())
    }

    fn forward(&mut self, _: &mut Forward<'_, '_>) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{error::ErrorKind, layers::data::testing::def};

    #[test]
    fn shapes_are_as_told() {
        let fields = "memory_data_param { batch_size: 4 channels: 3 height: 2 width: 5 }";
        let mut layer = MemoryData::new(&def(Path::new(""), 2, fields)).unwrap();
        let shapes = layer.reshape(&[]).unwrap();
        assert_eq!(shapes, [Shape::from([4, 3, 2, 5]), Shape::from([4])]);
    }

    #[test]
    fn errors() {
        let fails = |fields: &str, kind, part: &str| {
            let error = MemoryData::new(&def(Path::new(""), 2, fields))
                .err()
                .unwrap();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(part), "{error}");
        };
        fails("", ErrorKind::Param, "memory_data_param.batch_size");
        fails(
            "memory_data_param { batch_size: 4 channels: 3 height: 2 }",
            ErrorKind::Param,
            "memory_data_param.width",
        );
        let huge = 4_000_000_000u32;
        fails(
            &format!(
                "memory_data_param {{ batch_size: {huge} channels: {huge} height: 2 width: 1 }}"
            ),
            ErrorKind::Shape,
            "",
        );
    }
}
