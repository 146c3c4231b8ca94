//! WindowData: windows of images, drawn from a file of them, cut out, warped to one size.
//!
//! Shapes: the first top \[batch_size, 3, crop_size, crop_size\], the second, where there is one, classes \[batch_size\].
//! No bottom, no gradient.
//!
//! `source` holds, image after image, `# index`, path, channels, height, width, the number of windows, and for each
//! `class overlap x1 y1 x2 y2`, corners inclusive. A batch begins with background windows (overlap below `bg_threshold`,
//! class 0) and ends with batch_size · `fg_fraction` of objects (`fg_threshold` or more), each drawn with equal chances.
//! `context_pad` widens a window so that many pixels of the crop lie around it; `crop_mode: "square"` first widens its
//! shorter side. What of it lies outside of the image is 0 in the crop. `crop_size`, `mirror` and the mean are those of
//! `transform_param`, the factor is `window_data_param.scale`. `cache_images` keeps the files in memory.
//!
//! Departures: `transform_param.scale` is the factor where `window_data_param.scale` is not given (Caffe ignores it); the
//! indices of images have to count from 0; a window outside of its image is an error with its place, and so is an image
//! that cannot be read, where Caffe leaves a batch of zeros.

use std::sync::Arc;

use super::fed::{AHEAD, Fed, batch_size};
use crate::{
    error::Result,
    feed::{
        files::Folder,
        transform::Transformer,
        windows::{CropOptions, Crops, Windows},
    },
    layer::{Arity, LayerDef, LayerType, Role},
    schema::TransformationParameter,
};

pub(super) const TYPE: LayerType =
    LayerType::new("WindowData", |def| Ok(Box::new(window_data(def)?)))
        .arity(Arity::Exact(0), Arity::Range(1, 2))
        .role(Role::Data);

fn window_data(def: &LayerDef) -> Result<Fed<Crops>> {
    let param = def.param.window_data_param.clone().unwrap_or_default();
    let transform = def.param.transform_param.clone().unwrap_or_default();
    let field = |name: &str| format!("window_data_param.{name}");
    let batch = batch_size(def, &field("batch_size"), param.batch_size())?;
    let crop = transform.crop_size();
    if crop == 0 {
        return Err(def.invalid(
            "transform_param.crop_size",
            "must be at least 1: windows are warped to it",
        ));
    }
    let context = param.context_pad();
    if u64::from(context) * 2 >= u64::from(crop) {
        let why = format!("{context} pixels on both sides leave nothing of a crop of {crop}");
        return Err(def.invalid(&field("context_pad"), why));
    }
    let square = match param.crop_mode() {
        "warp" => false,
        "square" => true,
        other => {
            let why = format!("'{other}' is no mode; there are \"warp\" and \"square\"");
            return Err(def.invalid(&field("crop_mode"), why));
        }
    };
    let fraction = param.fg_fraction();
    if !(0.0..=1.0).contains(&fraction) {
        let why = format!("{fraction} is no share; it goes from 0 to 1");
        return Err(def.invalid(&field("fg_fraction"), why));
    }
    if param.source().is_empty() {
        return Err(def.invalid(&field("source"), "names no window file"));
    }
    let thresholds = [param.fg_threshold(), param.bg_threshold()];
    let windows = Arc::new(Windows::read(&def.root, param.source(), thresholds)?);
    // Of the transformation only the mean is left to the transformer; the crop is the warp's.
    let mean = TransformationParameter {
        mean_file: transform.mean_file.clone(),
        mean_value: transform.mean_value.clone(),
        ..TransformationParameter::default()
    };
    let transformer = Transformer::new(&mean, def.is_train(), &def.root)?;
    if ![0, 1, 3].contains(&mean.mean_value.len()) {
        return Err(def.invalid("transform_param.mean_value", "give one value, or three"));
    }
    let options = CropOptions {
        batch: batch as u64,
        foreground: (batch as f32 * fraction) as u64,
        crop: crop as usize,
        context: context as usize,
        square,
        cache: param.cache_images(),
        mirror: transform.mirror(),
        scale: param.scale.or(transform.scale).unwrap_or(1.0),
    };
    let folder = Folder::new(&def.root, param.root_folder());
    let recipe = Crops::new(windows.clone(), folder, options, transformer)?;
    Fed::new(def, batch, AHEAD, recipe, move || {
        Ok(Box::new(windows.draws()))
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::{
        error::ErrorKind,
        layer::Layer as _,
        layers::data::testing::{def, png},
    };

    fn layer(root: &Path, fields: &str) -> Result<Fed<Crops>> {
        window_data(&def(root, 2, fields))
    }

    /// An image of 4x4 pixels, value 10 · row + column, with an object in its middle and a window at its left.
    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let pixels: Vec<u8> = (0..16).flat_map(|i| [10 * (i / 4) + i % 4; 3]).collect();
        fs::write(dir.path().join("x.png"), png(4, 4, &pixels)).unwrap();
        let text = "# 0\nx.png\n3\n4\n4\n2\n5 0.9 1 1 2 2\n3 0.1 0 0 1 3\n";
        fs::write(dir.path().join("windows"), text).unwrap();
        dir
    }

    #[test]
    fn a_batch_is_background_then_objects() {
        let dir = folder();
        for cached in [false, true] {
            let fields = format!(
                "window_data_param {{ source: 'windows' batch_size: 4 fg_fraction: 0.5 scale: 2
                 cache_images: {cached} }} transform_param {{ crop_size: 2 mean_value: 1 }}"
            );
            let mut layer = layer(dir.path(), &fields).unwrap();
            let mut tops = vec![Vec::new(), Vec::new()];
            layer.pull(&mut tops).unwrap();
            assert_eq!(tops[1], [0.0, 0.0, 5.0, 5.0]);
            // The object is 2x2 pixels and stays as it is.
            let object = [11.0, 12.0, 21.0, 22.0].map(|v| (v - 1.0) * 2.0);
            assert_eq!(tops[0][24..28], object);
            assert_eq!(tops[0].len(), 48);
        }
    }

    #[test]
    fn context_beyond_the_image_is_zero() {
        let dir = folder();
        // A context of 1 in a crop of 4 makes the 2x2 object and its surroundings fill the crop; the window at the left
        // reaches beyond the image's edge on three sides.
        let fields =
            "window_data_param { source: 'windows' batch_size: 2 fg_fraction: 0.5 context_pad: 1 }
                      transform_param { crop_size: 4 mirror: true }";
        let mut layer = layer(dir.path(), fields).unwrap();
        let mut tops = vec![Vec::new(), Vec::new()];
        for _ in 0..20 {
            layer.pull(&mut tops).unwrap();
            let edge = &tops[0][..16];
            assert_eq!(edge[..4], [0.0; 4], "{edge:?}");
            let side = if edge[4] == 0.0 { 0 } else { 3 };
            assert!((0..4).all(|y| edge[4 * y + side] == 0.0), "{edge:?}");
        }
    }

    #[test]
    fn errors() {
        let dir = folder();
        let fails = |window: &str, transform: &str, kind, part: &str| {
            let fields = format!(
                "window_data_param {{ batch_size: 2 {window} }} transform_param {{ {transform} }}"
            );
            let error = layer(dir.path(), &fields).err().unwrap();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(part), "{error} has no {part}");
        };
        let (source, crop) = ("source: 'windows'", "crop_size: 4");
        fails(source, "", ErrorKind::Param, "transform_param.crop_size");
        fails("", crop, ErrorKind::Param, "window_data_param.source");
        fails("source: 'no'", crop, ErrorKind::Io, "no");
        let with = |more: &str| format!("{source} {more}");
        fails(
            &with("context_pad: 2"),
            crop,
            ErrorKind::Param,
            "context_pad",
        );
        fails(
            &with("crop_mode: 'round'"),
            crop,
            ErrorKind::Param,
            "crop_mode",
        );
        fails(
            &with("fg_fraction: 1.5"),
            crop,
            ErrorKind::Param,
            "fg_fraction",
        );
        fails(
            &with("fg_threshold: 2"),
            crop,
            ErrorKind::Data,
            "no foreground",
        );
        fails(&with("root_folder: 'a/'"), crop, ErrorKind::Io, "a/x.png");
        fails(source, "crop_size: 4000000000", ErrorKind::Shape, "");
    }
}
