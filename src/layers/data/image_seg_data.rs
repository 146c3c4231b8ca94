//! ImageSegData: images and what each of their pixels shows, from a list.
//!
//! Shapes: the first top \[batch_size, channels, height, width\], the second labels \[batch_size, 1, height, width\], the
//! third, where there is one, height and width of each image as far as they are seen \[batch_size, 1, 1, 2\]. No bottom,
//! no gradient.
//!
//! `image_data_param` is ImageData's. Each line of `source` has the path of an image and, by `label_type`, the path of a
//! label map (PIXEL), one number for all its pixels (IMAGE), or nothing (NONE: all pixels get `ignore_label`). An image
//! smaller than the crop is filled up at the right and the bottom, with the mean and with `ignore_label`. Image and map
//! are resized, cropped, mirrored and changed by `transform_param` together, the map to the nearest pixel.
//!
//! Departures: as DenseImageData.

use super::{
    fed::{AHEAD, Fed, batch_size},
    image_data::{both, list, opener},
};
use crate::{
    error::Result,
    feed::{
        datum::Color,
        files::Folder,
        list::Form,
        pair::{Fill, Labels, Pairs},
        transform::Transformer,
    },
    layer::{Arity, LayerDef, LayerType, Role},
    schema::image_data_parameter::LabelType,
};

pub(super) const TYPE: LayerType =
    LayerType::new("ImageSegData", |def| Ok(Box::new(image_seg_data(def)?)))
        .arity(Arity::Exact(0), Arity::Range(2, 3))
        .role(Role::Data);

fn image_seg_data(def: &LayerDef) -> Result<Fed<Pairs>> {
    const MESSAGE: &str = "image_data_param";
    let param = def.param.image_data_param.clone().unwrap_or_default();
    let transform = def.param.transform_param.clone().unwrap_or_default();
    let field = |name: &str| format!("{MESSAGE}.{name}");
    let batch = batch_size(def, &field("batch_size"), param.batch_size())?;
    if transform.mean_file.is_some() {
        let why = "images of any size go with mean_value only";
        return Err(def.invalid("transform_param.mean_file", why));
    }
    let ignored = u8::try_from(param.ignore_label());
    let ignored =
        ignored.map_err(|_| def.invalid(&field("ignore_label"), "must be from 0 to 255"))?;
    let (form, labels) = match param.label_type() {
        LabelType::Pixel => (Form::Pair, Labels::Map),
        LabelType::Image => (Form::Pair, Labels::Number),
        LabelType::None => (Form::Path, Labels::All(ignored)),
    };
    let list = list(def, &field("source"), param.source(), form)?;
    let sides = [param.new_height(), param.new_width()];
    let size = both(def, MESSAGE, ["new_height", "new_width"], sides)?;
    let crop = match transform.crop_size() {
        0 => [transform.crop_h(), transform.crop_w()],
        side => [side, side],
    };
    let color = match param.is_color() {
        true => Color::Color,
        false => Color::Gray,
    };
    let recipe = Pairs {
        list: list.clone(),
        folder: Folder::new(&def.root, param.root_folder()),
        labels,
        size,
        divide: 1,
        one_hot: 0,
        fill: (crop[0] > 0 && crop[1] > 0).then(|| Fill {
            size: crop.map(|n| n as usize),
            mean: transform.mean_value.clone(),
            label: ignored,
        }),
        dims: true,
        transformer: Transformer::with_color(&transform, def.is_train(), &def.root, color)?,
    };
    let open = opener(def, list, param.shuffle(), param.rand_skip());
    Fed::new(def, batch, AHEAD, recipe, open)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::{
        error::ErrorKind,
        layer::Layer as _,
        layers::data::testing::{def, png},
        tensor::Shape,
    };

    fn layer(root: &Path, fields: &str) -> Result<Fed<Pairs>> {
        image_seg_data(&def(root, 3, fields))
    }

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.png"), png(2, 1, &[10, 20])).unwrap();
        fs::write(dir.path().join("y.png"), png(2, 1, &[1, 2])).unwrap();
        fs::write(dir.path().join("list"), "x.png y.png\n").unwrap();
        fs::write(dir.path().join("numbers"), "x.png 7\n").unwrap();
        dir
    }

    fn run(fields: &str) -> Vec<Vec<f32>> {
        let dir = folder();
        let mut layer = layer(dir.path(), fields).unwrap();
        let shapes = layer.reshape(&[]).unwrap();
        assert_eq!(shapes[2], Shape::from([1, 1, 1, 2]));
        let mut tops = vec![Vec::new(); 3];
        layer.pull(&mut tops).unwrap();
        tops
    }

    #[test]
    fn small_images_are_filled_up() {
        let tops = run("image_data_param { source: 'list' is_color: false }
             transform_param { crop_size: 3 mean_value: 4 }");
        assert_eq!(tops[0], [6.0, 16.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let ignored = 255.0;
        assert_eq!(tops[1][..3], [1.0, 2.0, ignored]);
        assert_eq!(tops[1][3..], [ignored; 6]);
        assert_eq!(tops[2], [1.0, 2.0]);
    }

    #[test]
    fn labels_of_whole_images_or_none() {
        let tops = run("image_data_param { source: 'numbers' is_color: false label_type: IMAGE }");
        assert_eq!(tops[1], [7.0, 7.0]);
        let tops = run(
            "image_data_param { source: 'list' is_color: false label_type: NONE ignore_label: 9 }",
        );
        assert_eq!(tops[0], [10.0, 20.0]);
        assert_eq!(tops[1], [9.0, 9.0]);
    }

    #[test]
    fn errors() {
        let dir = folder();
        let fails = |fields: &str, kind, part: &str| {
            let error = layer(dir.path(), fields).err().unwrap();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(part), "{error} has no {part}");
        };
        fails("", ErrorKind::Param, "image_data_param.source");
        fails(
            "image_data_param { source: 'list' ignore_label: 300 }",
            ErrorKind::Param,
            "ignore_label",
        );
        fails(
            "image_data_param { source: 'list' label_type: IMAGE }",
            ErrorKind::Data,
            "'y.png' is no label",
        );
        fails(
            "image_data_param { source: 'list' } transform_param { mean_file: 'm' }",
            ErrorKind::Param,
            "mean_file",
        );
        fails(
            "image_data_param { source: 'list' } transform_param { crop_size: 4000000000 }",
            ErrorKind::Shape,
            "",
        );
    }
}
