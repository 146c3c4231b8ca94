//! The sizes of what a data layer brings: from its source, where that is at hand, else from its options.

use super::Options;
use crate::{
    error::{Error, ErrorKind, Result},
    layer::{LayerDef, Role, Setup},
    layers,
    schema::{LayerParameter, Phase},
    tensor::Shape,
};

/// The shapes of a data layer's tops, with as many items as are asked for.
pub(super) fn shapes(
    layer: &LayerParameter,
    options: &Options,
    notes: &mut Vec<String>,
) -> Result<Vec<Shape>> {
    let told = |top: &String| options.shapes.iter().find(|(name, _)| name == top);
    let role = layers::of(layer)?.role;
    if role == Role::Input {
        let own = from_source(layer, options)?;
        let tops = layer.top.iter().zip(own);
        return Ok(tops
            .map(|(top, shape)| told(top).map_or(shape, |(_, s)| s.clone()))
            .collect());
    }
    let mut shapes = match from_source(layer, options) {
        Ok(shapes) => shapes,
        Err(_) if layer.top.iter().all(|top| told(top).is_some()) => {
            vec![Shape::default(); layer.top.len()]
        }
        Err(error) => match guess(layer, options.batch) {
            Some(shapes) => {
                notes.push(format!(
                    "the data of layer '{}' are not at hand; the size {} is that of its options",
                    layer.name(),
                    shapes.first().map(Shape::to_string).unwrap_or_default()
                ));
                shapes
            }
            None if layer.top.first().is_some_and(|t| told(t).is_some()) => {
                vec![Shape::new(&[options.batch]); layer.top.len()]
            }
            None => {
                return Err(Error::new(
                    ErrorKind::Data,
                    format!(
                        "the size of what layer '{}' ({}) brings is not known: {}",
                        layer.name(),
                        layer.r#type(),
                        error.message()
                    ),
                )
                .help(format!(
                    "say it: --shape={}:1x3x227x227",
                    layer.top.first().map_or("data", String::as_str)
                )));
            }
        },
    };
    for (top, shape) in layer.top.iter().zip(&mut shapes) {
        if let Some((_, own)) = told(top) {
            shape.clone_from(own);
        } else if let [_, rest @ ..] = shape.dims() {
            *shape = Shape::new(&[&[options.batch], rest].concat());
        }
    }
    Ok(shapes)
}

/// The items of a batch that a data layer is told to bring, where it is one that is told so.
pub fn batch(layer: &LayerParameter) -> Option<u32> {
    let data = layer.data_param.as_ref().map(|p| p.batch_size());
    let image = layer.image_data_param.as_ref().map(|p| p.batch_size());
    data.or(image).filter(|&batch| batch > 0)
}

fn from_source(layer: &LayerParameter, options: &Options) -> Result<Vec<Shape>> {
    let kind = layers::of(layer)?;
    let def = LayerDef {
        param: layer.clone(),
        phase: Phase::Test,
        backward: false,
        root: options.root.clone(),
        seed: 0,
        index: 0,
    };
    let mut made = (kind.build)(&def)?;
    made.setup(&mut Setup {
        bottoms: &[],
        declared: Vec::new(),
    })?;
    made.reshape(&[])
}

/// The shapes of a data layer's tops as its options have them, without a look at its data; `None` where they do not say.
/// Images have three channels unless something speaks against it; what follows them is one label an item.
pub fn guess(layer: &LayerParameter, batch: usize) -> Option<Vec<Shape>> {
    let transform = layer.transform_param.clone().unwrap_or_default();
    let size = |h: u32, w: u32| (h > 0 && w > 0).then_some([h as usize, w as usize]);
    let resize = transform.resize_param.as_ref();
    let plane = size(transform.crop_size(), transform.crop_size())
        .or_else(|| resize.and_then(|r| size(r.height(), r.width())))
        .or_else(|| {
            let p = layer.image_data_param.as_ref()?;
            size(p.new_height(), p.new_width())
        })
        .or_else(|| {
            let p = layer.dense_image_data_param.as_ref()?;
            size(p.crop_height(), p.crop_width()).or_else(|| size(p.new_height(), p.new_width()))
        })
        .or_else(|| {
            let p = layer.data_param.as_ref()?;
            size(p.crop_size(), p.crop_size())
        })
        .or_else(|| {
            let p = layer.window_data_param.as_ref()?;
            size(p.crop_size(), p.crop_size())
        })?;
    let gray = transform.force_gray()
        || layer
            .image_data_param
            .as_ref()
            .is_some_and(|p| !p.is_color())
        || layer
            .dense_image_data_param
            .as_ref()
            .is_some_and(|p| !p.is_color());
    let channels = if gray { 1 } else { 3 };
    let mut shapes = vec![Shape::new(&[batch, channels, plane[0], plane[1]])];
    // A label map is as large as its image, a label is one number.
    let map = matches!(layer.r#type(), "ImageSegData" | "DenseImageData");
    shapes.resize(
        layer.top.len().max(1),
        match map {
            true => Shape::new(&[batch, 1, plane[0], plane[1]]),
            false => Shape::new(&[batch]),
        },
    );
    Some(shapes)
}
