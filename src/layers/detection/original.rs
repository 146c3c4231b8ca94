//! Boxes in the pixels of the original images: what they were called, how large they were, how they were resized.

use super::boxes::BBox;
use crate::{
    error::{Error, Place, Result},
    layer::LayerDef,
    schema::{ResizeParameter, resize_parameter::ResizeMode},
};

/// An image as it was before it was resized.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Original {
    pub(super) name: String,
    pub(super) width: f32,
    pub(super) height: f32,
}

/// Reads a file of lines `name height width`; `field` told its path.
///
/// # Errors
/// `Io` where it cannot be read, `Data` where a line is something else.
pub(super) fn read(def: &LayerDef, field: &str, path: &str) -> Result<Vec<Original>> {
    let path = def.path(path);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Error::io("read", &path, &error).help(format!("{field} names it")))?;
    let mut found = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let size = |word: &str| word.parse().ok().filter(|&n: &u32| n > 0).map(|n| n as f32);
        match words[..] {
            [] => {}
            [name, height, width] if size(height).is_some() && size(width).is_some() => {
                found.push(Original {
                    name: name.to_owned(),
                    width: size(width).unwrap_or_default(),
                    height: size(height).unwrap_or_default(),
                });
            }
            _ => {
                return Err(Error::data(format!(
                    "line {} is '{line}'; it must be: name height width",
                    i + 1
                ))
                .at(Place::File(path.display().to_string())));
            }
        }
    }
    Ok(found)
}

/// How images were brought to the net's size.
#[derive(Clone, Debug)]
pub(super) struct Resize(Option<ResizeParameter>);

impl Resize {
    /// # Errors
    /// `Param` where the mode needs a size that is not given.
    pub(super) fn new(
        def: &LayerDef,
        owner: &str,
        param: Option<&ResizeParameter>,
    ) -> Result<Self> {
        if let Some(param) = param
            && param.resize_mode() == ResizeMode::FitLargeSizeAndPad
            && (param.width() == 0 || param.height() == 0)
        {
            return Err(def.invalid(
                &format!("{owner}.resize_param.height"),
                "height and width have to be given, and above 0",
            ));
        }
        Ok(Self(param.cloned()))
    }

    /// A box of the net, in fractions of what it saw, in pixels of the original, cut off at its edges.
    pub(super) fn undo(&self, bbox: BBox, original: &Original) -> BBox {
        let (width, height) = (original.width, original.height);
        let whole = |bbox: BBox| bbox.clip(1.0, 1.0).scale(width, height);
        let Some(param) = &self.0 else {
            return whole(bbox);
        };
        match param.resize_mode() {
            ResizeMode::Warp => whole(bbox),
            ResizeMode::FitLargeSizeAndPad => {
                let (w, h) = (param.width() as f32, param.height() as f32);
                let aspect = width / height;
                // What the padding on each side takes, as a share.
                let (x, y) = if aspect > w / h {
                    (0.0, (h - w / aspect) / 2.0 / h)
                } else {
                    ((w - h * aspect) / 2.0 / w, 0.0)
                };
                let BBox([x0, y0, x1, y1]) = bbox;
                let (across, down) = (1.0 - 2.0 * x, 1.0 - 2.0 * y);
                whole(BBox([
                    (x0 - x) / across,
                    (y0 - y) / down,
                    (x1 - x) / across,
                    (y1 - y) / down,
                ]))
            }
            ResizeMode::FitSmallSize => match (param.width_scale(), param.height_scale()) {
                (0, _) | (_, 0) => whole(bbox),
                (w, h) => bbox.scale(w as f32, h as f32).clip(width, height),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::detection::tests::def;

    #[test]
    fn boxes_go_back() {
        let original = Original {
            name: "a".to_owned(),
            width: 200.0,
            height: 100.0,
        };
        let undo = |resize: &str| {
            let text = format!("detection_evaluate_param {{ {resize} }}");
            let def = def(&text);
            let param = def.param.detection_evaluate_param.clone().unwrap();
            let resize = Resize::new(&def, "x", param.resize_param.as_ref()).unwrap();
            resize.undo(BBox([-0.5, 0.25, 0.5, 0.75]), &original).0
        };
        assert_eq!(undo(""), [0.0, 25.0, 100.0, 75.0]);
        assert_eq!(undo("resize_param { }"), [0.0, 25.0, 100.0, 75.0]);
        let padded = "resize_param { resize_mode: FIT_LARGE_SIZE_AND_PAD height: 50 width: 50 }";
        assert_eq!(undo(padded), [0.0, 0.0, 100.0, 100.0]);
        let scaled =
            "resize_param { resize_mode: FIT_SMALL_SIZE height_scale: 300 width_scale: 80 }";
        assert_eq!(undo(scaled), [0.0, 75.0, 40.0, 100.0]);
        let none = def(
            "detection_evaluate_param { resize_param { resize_mode: FIT_LARGE_SIZE_AND_PAD } }",
        );
        let param = none.param.detection_evaluate_param.clone().unwrap();
        let error = Resize::new(&none, "x", param.resize_param.as_ref()).unwrap_err();
        assert!(
            error.to_string().contains("x.resize_param.height"),
            "{error}"
        );
    }

    #[test]
    fn files_of_sizes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sizes.txt");
        std::fs::write(&path, "000001 500 353\n\n000002 333 500\n").unwrap();
        let read = || super::read(&def(""), "f", &path.to_string_lossy());
        let got = read().unwrap();
        assert_eq!(got.len(), 2);
        assert_eq!(
            (&*got[0].name, got[0].width, got[0].height),
            ("000001", 353.0, 500.0)
        );
        for bad in ["a 3", "a 0 3", "a x 3", "a 3 4 5"] {
            std::fs::write(&path, format!("b 1 1\n{bad}\n")).unwrap();
            let error = read().unwrap_err().to_string();
            assert!(error.contains("line 2"), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        let error = read().unwrap_err().to_string();
        assert!(error.contains("f names it"), "{error}");
    }
}
