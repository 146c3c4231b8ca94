//! DenseImageData: pairs of an image and a map of labels from a list, transformed together.
//!
//! Shapes: the first top \[batch_size, channels, height, width\], the second the labels \[batch_size, 1, height / d,
//! width / d\] with d = `label_divide_factor`; with `one_hot_nclasses` \[batch_size, one_hot_nclasses, ...\], 1 in the
//! plane of the label and 0 elsewhere. No bottom, no gradient.
//!
//! `source` is a text file with the paths of an image and of its label map on each line; `root_folder` is put before both.
//! `new_height` and `new_width` resize the image by OpenCV's linear rule and the map (to 1/d of it) to the nearest pixel.
//! `mirror`, `crop_height` and `crop_width` (at random in both phases, as in the forks), `rotate` (quarter turns, of
//! squares) and `transform_param` with all its effects apply to both alike; effects on colours to the image alone.
//! Label maps are gray images of 8 bits, or PNGs with a palette, whose numbers are the labels.
//!
//! Departures: a palette's numbers are read where OpenCV would give the brightness of its colours; a map with colours, or
//! of 16 bits, is an error; a file that cannot be read is an error, where a fork leaves the sample before in its place;
//! crops start at multiples of `label_divide_factor`.

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
        pair::{Labels, Pairs},
        transform::Transformer,
    },
    layer::{Arity, LayerDef, LayerType, Role},
};

pub(super) const TYPE: LayerType =
    LayerType::new("DenseImageData", |def| Ok(Box::new(dense_image_data(def)?)))
        .arity(Arity::Exact(0), Arity::Exact(2))
        .role(Role::Data);

fn dense_image_data(def: &LayerDef) -> Result<Fed<Pairs>> {
    const MESSAGE: &str = "dense_image_data_param";
    let param = def.param.dense_image_data_param.clone().unwrap_or_default();
    let field = |name: &str| format!("{MESSAGE}.{name}");
    let batch = batch_size(def, &field("batch_size"), param.batch_size())?;
    let divide = batch_size(
        def,
        &field("label_divide_factor"),
        param.label_divide_factor(),
    )?;
    let list = list(def, &field("source"), param.source(), Form::Pair)?;
    let sides = [param.new_height(), param.new_width()];
    let size = both(def, MESSAGE, ["new_height", "new_width"], sides)?;
    let sides = [param.crop_height(), param.crop_width()];
    let own_crop = both(def, MESSAGE, ["crop_height", "crop_width"], sides)?.is_some();

    let mut transform = def.param.transform_param.clone().unwrap_or_default();
    if own_crop {
        if transform.crop_size() > 0 || transform.crop_h() > 0 || transform.crop_w() > 0 {
            let why = "transform_param has a crop as well; keep one of the two";
            return Err(def.invalid(&field("crop_height"), why));
        }
        transform.crop_h = param.crop_height;
        transform.crop_w = param.crop_width;
    }
    if transform.mean_file.is_none() && transform.mean_value.is_empty() {
        transform.mean_file.clone_from(&param.mean_file);
    }
    transform.mirror = Some(transform.mirror() || param.mirror());
    transform.rotate = Some((transform.rotate() && def.is_train()) || param.rotate());
    if divide > 1
        && (transform.geometry_param.is_some()
            || transform.expand_param.is_some()
            || transform.resize_param.is_some())
    {
        let why = "does not go with effects of transform_param that move pixels; they need a label for each pixel";
        return Err(def.invalid(&field("label_divide_factor"), why));
    }
    let random = def.is_train() || own_crop || param.rotate();
    let color = match param.is_color() {
        true => Color::Color,
        false => Color::Gray,
    };
    let recipe = Pairs {
        list: list.clone(),
        folder: Folder::new(&def.root, param.root_folder()),
        labels: Labels::Map,
        size,
        divide,
        one_hot: param.one_hot_nclasses() as usize,
        fill: None,
        dims: false,
        transformer: Transformer::with_color(&transform, random, &def.root, color)?,
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
        dense_image_data(&def(root, 2, fields))
    }

    /// A square image whose gray is ten times its label, and its map.
    fn folder(side: u8) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let labels: Vec<u8> = (0..side * side).collect();
        let gray: Vec<u8> = labels.iter().map(|v| v * 10).collect();
        let side = side.into();
        fs::write(dir.path().join("x.png"), png(side, side, &gray)).unwrap();
        fs::write(dir.path().join("y.png"), png(side, side, &labels)).unwrap();
        fs::write(dir.path().join("list"), "x.png y.png\n").unwrap();
        dir
    }

    const GRAY: &str = "source: 'list' is_color: false";

    #[test]
    fn a_pair_moves_together() {
        let dir = folder(4);
        let fields = format!(
            "dense_image_data_param {{ {GRAY} batch_size: 64 mirror: true rotate: true
             crop_height: 2 crop_width: 2 }}"
        );
        let mut layer = layer(dir.path(), &fields).unwrap();
        let shapes = layer.reshape(&[]).unwrap();
        assert_eq!(
            shapes,
            [Shape::from([64, 1, 2, 2]), Shape::from([64, 1, 2, 2])]
        );
        let mut tops = vec![Vec::new(), Vec::new()];
        layer.pull(&mut tops).unwrap();
        let labels: Vec<f32> = tops[1].iter().map(|v| v * 10.0).collect();
        assert_eq!(tops[0], labels);
        // Nine places, four turns, two sides.
        let seen: std::collections::BTreeSet<String> =
            tops[1].chunks(4).map(|c| format!("{c:?}")).collect();
        assert!(seen.len() > 30, "{}", seen.len());
    }

    #[test]
    fn effects_move_a_pair_together_too() {
        let dir = folder(5);
        let fields = format!(
            "dense_image_data_param {{ {GRAY} batch_size: 32 new_height: 20 new_width: 20 }}
             transform_param {{ mirror: true expand_param {{ max_expand_ratio: 2 }}
             resize_param {{ height: 10 width: 10 interp_mode: NEAREST }}
             geometry_param {{ prob: 0.5 pad_mode: REPEAT_NEAREST }} }}"
        );
        let mut layer = layer(dir.path(), &fields).unwrap();
        let mut tops = vec![Vec::new(), Vec::new()];
        layer.pull(&mut tops).unwrap();
        assert!(
            tops[1]
                .iter()
                .all(|v| (0.0..25.0).contains(v) && v.fract() == 0.0)
        );
        let near = tops[0].iter().zip(&tops[1]);
        let near = near.filter(|(x, y)| (*x - 10.0 * *y).abs() <= 60.0).count();
        assert!(near * 10 > tops[0].len() * 9, "{near} of {}", tops[0].len());
    }

    #[test]
    fn one_hot_and_smaller_maps() {
        let dir = folder(4);
        let fields =
            format!("dense_image_data_param {{ {GRAY} batch_size: 1 one_hot_nclasses: 16 }}");
        let mut one_hot = layer(dir.path(), &fields).unwrap();
        let mut tops = vec![Vec::new(), Vec::new()];
        one_hot.pull(&mut tops).unwrap();
        assert_eq!(tops[1].len(), 256);
        for (class, plane) in tops[1].chunks(16).enumerate() {
            let at: Vec<usize> = (0..16).filter(|&i| plane[i] == 1.0).collect();
            assert_eq!(at, [class]);
        }
        let fields = format!(
            "dense_image_data_param {{ {GRAY} batch_size: 1 label_divide_factor: 2
             new_height: 4 new_width: 4 }}"
        );
        let mut divided = layer(dir.path(), &fields).unwrap();
        divided.pull(&mut tops).unwrap();
        assert_eq!(tops[1], [0.0, 2.0, 8.0, 10.0]);
    }

    #[test]
    fn errors() {
        let dir = folder(4);
        fs::write(dir.path().join("small"), "x.png z.png\n").unwrap();
        fs::write(dir.path().join("z.png"), png(3, 4, &[0; 12])).unwrap();
        fs::write(dir.path().join("colored"), "x.png c.png\n").unwrap();
        let colors: Vec<u8> = (0..48).collect();
        fs::write(dir.path().join("c.png"), png(4, 4, &colors)).unwrap();
        fs::write(dir.path().join("single"), "x.png\n").unwrap();
        let fails = |fields: &str, kind, part: &str| {
            let fields = format!("dense_image_data_param {{ {fields} }}");
            let error = layer(dir.path(), &fields).err().unwrap();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(part), "{error} has no {part}");
        };
        fails(GRAY, ErrorKind::Param, "dense_image_data_param.batch_size");
        fails("batch_size: 1", ErrorKind::Param, "source");
        let with = |more: &str| format!("{GRAY} batch_size: 1 {more}");
        fails(&with("crop_width: 2"), ErrorKind::Param, "crop_height");
        fails(&with("new_width: 2"), ErrorKind::Param, "new_height");
        fails(
            &with("label_divide_factor: 0"),
            ErrorKind::Param,
            "label_divide_factor",
        );
        fails(
            &with("label_divide_factor: 2"),
            ErrorKind::Data,
            "label_divide_factor 2 makes that 2x2",
        );
        fails("batch_size: 1 source: 'small'", ErrorKind::Data, "is 4x3");
        fails("batch_size: 1 source: 'colored'", ErrorKind::Data, "c.png");
        fails("batch_size: 1 source: 'single'", ErrorKind::Data, "1 word");
        fails(
            &with("one_hot_nclasses: 4000000000 new_height: 100000 new_width: 100000"),
            ErrorKind::Shape,
            "",
        );
    }
}
