//! ImageData: image files from a list, decoded, resized, transformed, and made ahead by threads.
//!
//! Shapes: the first top \[batch_size, channels, height, width\] as the images are after `new_height`, `new_width` and
//! `transform_param`, the second, where there is one, their labels \[batch_size\]. No bottom, no gradient.
//!
//! `source` is a text file with a path and a label on each line, the label behind the last blank; `root_folder` is put
//! before each path as it is. `new_height` and `new_width`, both or neither, resize by OpenCV's linear rule. `is_color`
//! decides the channels, 3 or 1, not `force_color`. `shuffle` draws a new order for each pass over the list from the
//! seed, the layer's index and the pass; `rand_skip` starts up to so many entries later. A batch takes the size of its
//! first image. JPEG of any kind (the EXIF orientation is left alone, as Caffe's OpenCV 2.4 left it), PNG and BMP.
//!
//! Departures: a label that is no whole number and a list in no UTF-8 are errors with their line, where Caffe reads a 0;
//! blank lines are passed over.

use std::sync::Arc;

use super::fed::{AHEAD, Fed, batch_size};
use crate::{
    error::Result,
    feed::{
        datum::Color,
        files::{Folder, Listed},
        list::{Form, List, ListSource},
        source::Source,
        transform::Transformer,
    },
    layer::{Arity, LayerDef, LayerType, Role},
};

pub(super) const TYPE: LayerType =
    LayerType::new("ImageData", |def| Ok(Box::new(image_data(def)?)))
        .arity(Arity::Exact(0), Arity::Range(1, 2))
        .role(Role::Data);

fn image_data(def: &LayerDef) -> Result<Fed<Listed>> {
    let param = def.param.image_data_param.clone().unwrap_or_default();
    let batch = batch_size(def, "image_data_param.batch_size", param.batch_size())?;
    let list = list(def, "image_data_param.source", param.source(), Form::Label)?;
    let size = both(
        def,
        "image_data_param",
        ["new_height", "new_width"],
        [param.new_height(), param.new_width()],
    )?;
    let color = match param.is_color() {
        true => Color::Color,
        false => Color::Gray,
    };
    let transform = def.param.transform_param.clone().unwrap_or_default();
    let recipe = Listed {
        list: list.clone(),
        folder: Folder::new(&def.root, param.root_folder()),
        size,
        transformer: Transformer::with_color(&transform, def.is_train(), &def.root, color)?,
    };
    let open = opener(def, list, param.shuffle(), param.rand_skip());
    Fed::new(def, batch, AHEAD, recipe, open)
}

/// The list that a layer names in `field`.
pub(super) fn list(def: &LayerDef, field: &str, source: &str, form: Form) -> Result<Arc<List>> {
    if source.is_empty() {
        return Err(def.invalid(field, "names no list of files"));
    }
    Ok(Arc::new(List::read(&def.root, source, form)?))
}

/// Two sides that go together; `None` for two zeros.
pub(super) fn both(
    def: &LayerDef,
    message: &str,
    names: [&str; 2],
    sides: [u32; 2],
) -> Result<Option<[usize; 2]>> {
    match sides {
        [0, 0] => Ok(None),
        [0, _] | [_, 0] => {
            let missing = usize::from(sides[0] != 0);
            let [a, b] = names;
            Err(def.invalid(
                &format!("{message}.{}", names[missing]),
                format!("{a} and {b} go together; one of them is missing"),
            ))
        }
        [height, width] => Ok(Some([height as usize, width as usize])),
    }
}

/// Opens the list as a source.
pub(super) fn opener(
    def: &LayerDef,
    list: Arc<List>,
    shuffle: bool,
    rand_skip: u32,
) -> impl Fn() -> Result<Box<dyn Source>> + Send + 'static {
    let (seed, layer) = (def.seed, def.index);
    move || {
        let source = ListSource::new(list.clone(), shuffle, seed, layer);
        Ok(Box::new(source.skip(rand_skip, seed, layer)?))
    }
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

    fn layer(root: &Path, fields: &str) -> Result<Fed<Listed>> {
        image_data(&def(root, 2, fields))
    }

    #[test]
    fn images_and_labels_in_the_order_of_the_list() {
        let dir = tempfile::tempdir().unwrap();
        for (name, value) in [("a b.png", 10), ("c.png", 30)] {
            fs::write(dir.path().join(name), png(2, 2, &[value; 12])).unwrap();
        }
        fs::write(dir.path().join("list"), "a b.png 7\nc.png 8\n").unwrap();
        let fields = "image_data_param { source: 'list' batch_size: 3 }
                      transform_param { scale: 0.1 mean_value: 10 }";
        let mut layer = layer(dir.path(), fields).unwrap();
        let shapes = layer.reshape(&[]).unwrap();
        assert_eq!(shapes, [Shape::from([3, 3, 2, 2]), Shape::from([3])]);
        let mut tops = vec![Vec::new(), Vec::new()];
        layer.pull(&mut tops).unwrap();
        assert_eq!(tops[1], [7.0, 8.0, 7.0]);
        assert_eq!(tops[0][..12], [0.0; 12]);
        assert_eq!(tops[0][12..24], [2.0; 12]);
        layer.pull(&mut tops).unwrap();
        assert_eq!(tops[1], [8.0, 7.0, 8.0]);
        assert_eq!(layer.position(), Some(6));
    }

    #[test]
    fn gray_and_resized_under_a_root_folder() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("pics")).unwrap();
        let pixels: Vec<u8> = [10, 50].iter().flat_map(|v| [*v; 3]).collect();
        fs::write(dir.path().join("pics/x.png"), png(2, 1, &pixels)).unwrap();
        fs::write(dir.path().join("list"), "x.png").unwrap();
        let fields = "image_data_param { source: 'list' root_folder: 'pics/' is_color: false
                      new_height: 1 new_width: 4 }";
        let mut layer = layer(dir.path(), fields).unwrap();
        let mut tops = vec![Vec::new(), Vec::new()];
        layer.pull(&mut tops).unwrap();
        assert_eq!(tops[0], [10.0, 20.0, 40.0, 50.0]);
        assert_eq!(tops[1], [0.0]);
    }

    #[test]
    fn errors() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("pics")).unwrap();
        fs::write(dir.path().join("pics/a.png"), png(1, 1, &[1; 3])).unwrap();
        fs::write(dir.path().join("list"), "\na.png 1\n").unwrap();
        fs::write(dir.path().join("broken"), b"\x89PNG\r\n\x1a\n").unwrap();
        fs::write(dir.path().join("bad"), "broken 1\n").unwrap();
        let fails = |fields: &str, kind, parts: &[&str]| {
            let error = layer(dir.path(), fields).err().unwrap();
            assert_eq!(error.kind(), kind, "{error}");
            for part in parts {
                assert!(error.to_string().contains(part), "{error} has no {part}");
            }
        };
        fails("", ErrorKind::Param, &["image_data_param.source"]);
        fails(
            "image_data_param { source: 'none' }",
            ErrorKind::Io,
            &["none"],
        );
        fails(
            "image_data_param { source: 'list' batch_size: 0 }",
            ErrorKind::Param,
            &["batch_size"],
        );
        fails(
            "image_data_param { source: 'list' new_height: 3 }",
            ErrorKind::Param,
            &["image_data_param.new_width"],
        );
        // The file that was tried, the line that names it, and the slash that is missing.
        fails(
            "image_data_param { source: 'list' root_folder: 'pics' }",
            ErrorKind::Io,
            &["picsa.png", "list:2:1", "root_folder: \"pics/\""],
        );
        fails(
            "image_data_param { source: 'bad' }",
            ErrorKind::Data,
            &["broken", "bad:1:1"],
        );
        fails(
            "image_data_param { source: 'list' root_folder: 'pics/' new_height: 4000000000 new_width: 4000000000 }",
            ErrorKind::Shape,
            &["list:2:1"],
        );
        fails(
            "image_data_param { source: 'list' root_folder: 'pics/' } transform_param { crop_size: 2 }",
            ErrorKind::Data,
            &["crop_size 2", "list:2:1"],
        );
    }
}
