//! What DetectionOutput finds, written to files: `save_output_param`.
//!
//! Nothing is written unless `output_directory`, `label_map_file` (names of classes) and `name_size_file` (lines `name
//! height width` for the images in their order) are all given. After every `num_test_image` images (default: all of the
//! list) files are written whole, beside their place and then moved there, and the list starts over:
//! - VOC: a file `<output_name_prefix><class>.txt` for each class, lines `image score xmin ymin xmax ymax`,
//! - ILSVRC: one file `<output_name_prefix>.txt`, lines `image class score xmin ymin xmax ymax`,
//! - COCO: one file `<output_name_prefix>.json`, a list of `image_id`, `category_id`, `bbox` (xmin, ymin, width, height) and
//!   `score`.
//!
//! Boxes are in pixels of the original images, which `resize_param` tells how to get back to.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use super::{
    boxes::BBox,
    original::{self, Original, Resize},
};
use crate::{
    error::{Error, Result},
    layer::LayerDef,
    number::g,
    schema::{LabelMap, SaveOutputParameter},
    text::{self, Source},
};

const OWNER: &str = "detection_output_param.save_output_param";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    Voc,
    Coco,
    Ilsvrc,
}

/// Gathers detections and writes them.
#[derive(Debug)]
pub(super) struct Saver {
    folder: PathBuf,
    prefix: String,
    format: Format,
    /// Names of classes.
    names: BTreeMap<i64, String>,
    background: i64,
    /// The images of one round.
    originals: Vec<Original>,
    resize: Resize,
    /// Which of them comes next.
    next: usize,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    image: usize,
    class: i64,
    score: f32,
    /// xmin, ymin, width, height, to two places.
    bbox: [f32; 4],
}

impl Saver {
    /// `None` where nothing is to be written.
    ///
    /// # Errors
    /// `Param` for options that make no sense; where a list cannot be read.
    pub(super) fn new(
        def: &LayerDef,
        param: &SaveOutputParameter,
        background: i32,
    ) -> Result<Option<Self>> {
        let (map, list) = (param.label_map_file(), param.name_size_file());
        if param.output_directory().is_empty() || map.is_empty() || list.is_empty() {
            return Ok(None);
        }
        let invalid = |field: &str, why: String| def.invalid(&format!("{OWNER}.{field}"), why);
        let format = match param.output_format() {
            "VOC" => Format::Voc,
            "COCO" => Format::Coco,
            "ILSVRC" => Format::Ilsvrc,
            other => {
                return Err(invalid(
                    "output_format",
                    format!("'{other}' is none of VOC, COCO and ILSVRC"),
                ));
            }
        };
        let mut originals = original::read(def, &format!("{OWNER}.name_size_file"), list)?;
        let images = param.num_test_image.map_or(originals.len(), |n| n as usize);
        if images == 0 || images > originals.len() {
            return Err(invalid(
                "num_test_image",
                format!("is {images}, but '{list}' lists {} images", originals.len()),
            ));
        }
        originals.truncate(images);
        Ok(Some(Self {
            folder: def.path(param.output_directory()),
            prefix: param.output_name_prefix().to_owned(),
            format,
            names: names(def, map)?,
            background: i64::from(background),
            originals,
            resize: Resize::new(def, OWNER, param.resize_param.as_ref())?,
            next: 0,
            rows: Vec::new(),
        }))
    }

    /// Takes what was found in the next `images` images: rows of image, class, score, xmin, ymin, xmax, ymax.
    ///
    /// # Errors
    /// `Data` where a class has no name; `Io` where files cannot be written.
    pub(super) fn add(&mut self, found: &[[f32; 7]], images: usize) -> Result<()> {
        let mut found = found.iter().peekable();
        for image in 0..images {
            let original = &self.originals[self.next];
            while let Some(&[_, class, score, x0, y0, x1, y1]) =
                found.next_if(|row| row[0] == image as f32)
            {
                let class = class as i64;
                if !self.names.contains_key(&class) {
                    return Err(Error::data(format!(
                        "something of class {class} was found, which is not in {OWNER}.label_map_file"
                    )));
                }
                let BBox([x0, y0, x1, y1]) = self.resize.undo(BBox([x0, y0, x1, y1]), original);
                let places = |x: f32| (f64::from(x) * 100.0).round() / 100.0;
                self.rows.push(Row {
                    image: self.next,
                    class,
                    score,
                    bbox: [x0, y0, x1 - x0, y1 - y0].map(|x| places(x) as f32),
                });
            }
            self.next += 1;
            if self.next == self.originals.len() {
                self.write()?;
                self.rows.clear();
                self.next = 0;
            }
        }
        Ok(())
    }

    fn write(&self) -> Result<()> {
        fs::create_dir_all(&self.folder).map_err(|e| refused("create", &self.folder, &e))?;
        let place =
            |name: &str, ending: &str| self.folder.join(format!("{}{name}.{ending}", self.prefix));
        match self.format {
            Format::Voc => {
                let classes = self
                    .names
                    .iter()
                    .filter(|(class, _)| **class != self.background);
                for (class, name) in classes {
                    let rows = self.rows.iter().filter(|row| row.class == *class);
                    let text: String = rows.map(|row| self.line(row, "")).collect();
                    put(&place(name, "txt"), &text)?;
                }
                Ok(())
            }
            Format::Ilsvrc => {
                let line = |row: &Row| self.line(row, &format!("{} ", row.class));
                let text: String = self.rows.iter().map(line).collect();
                put(&place("", "txt"), &text)
            }
            Format::Coco => {
                let mut text = "[".to_owned();
                for (i, row) in self.rows.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    let bbox = row.bbox.map(number).join(", ");
                    // Writing to a string does not fail.
                    let _ = write!(
                        text,
                        "{comma}\n  {{\"image_id\": {}, \"category_id\": {}, \"bbox\": [{bbox}], \"score\": {}}}",
                        json(&self.originals[row.image].name),
                        json(&self.names[&row.class]),
                        number(row.score)
                    );
                }
                put(&place("", "json"), &(text + "\n]\n"))
            }
        }
    }

    /// A line of VOC or ILSVRC.
    fn line(&self, row: &Row, class: &str) -> String {
        let [x, y, width, height] = row.bbox.map(|v| v as i64);
        format!(
            "{} {class}{} {x} {y} {} {}\n",
            self.originals[row.image].name,
            g(row.score),
            x.saturating_add(width),
            y.saturating_add(height)
        )
    }
}

/// The names of classes, from a file of a `LabelMap`.
fn names(def: &LayerDef, path: &str) -> Result<BTreeMap<i64, String>> {
    let path = def.path(path);
    let text = fs::read_to_string(&path).map_err(|error| {
        Error::io("read", &path, &error).help(format!("{OWNER}.label_map_file names it"))
    })?;
    let source = Source::new(&path.display().to_string(), text);
    let map = text::parse::<LabelMap>("LabelMap", &source)?.message;
    let mut names = BTreeMap::new();
    for item in map.item {
        let name = item.name().to_owned();
        if name.contains(['/', '\\', '\0']) {
            return Err(Error::data(format!(
                "the class '{name}' of '{}' cannot be part of a file's name",
                path.display()
            )));
        }
        names.insert(i64::from(item.label()), name);
    }
    Ok(names)
}

/// A number in JSON, which has no infinity.
fn number(x: f32) -> String {
    if x.is_finite() {
        x.to_string()
    } else {
        "null".to_owned()
    }
}

/// A name in JSON: a number where it is one.
fn json(name: &str) -> String {
    if let Ok(n) = name.parse::<u64>() {
        return n.to_string();
    }
    let mut text = "\"".to_owned();
    for c in name.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text + "\""
}

fn refused(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::io(what, path, error).help(format!(
        "name a folder that can be written in {OWNER}.output_directory, or leave it out"
    ))
}

/// Writes a file beside its place and moves it there.
fn put(path: &Path, text: &str) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    let beside = PathBuf::from(beside);
    fs::write(&beside, text).map_err(|error| refused("write", &beside, &error))?;
    fs::rename(&beside, path).map_err(|error| refused("write", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::detection::tests::def;

    const FOUND: [[f32; 7]; 3] = [
        [0.0, 1.0, 0.9, 0.1, 0.2, 0.5, 0.6],
        [0.0, 2.0, 0.123_456_78, 0.0, 0.0, 1.5, 1.0],
        [1.0, 1.0, 0.5, 0.25, 0.25, 0.5, 0.5],
    ];

    fn saver(dir: &Path, options: &str) -> Result<Option<Saver>> {
        let map = "item { name: 'none' label: 0 } item { name: 'cat' label: 1 } item { name: '7' label: 2 }";
        fs::write(dir.join("map.prototxt"), map).unwrap();
        fs::write(dir.join("sizes.txt"), "a 100 200\n12 50 50\nb 1 1\n").unwrap();
        let text = format!(
            "detection_output_param {{ save_output_param {{ label_map_file: 'map.prototxt' name_size_file: 'sizes.txt' {options} }} }}"
        );
        let mut def = def(&text);
        def.root = dir.to_path_buf();
        let param = def.param.detection_output_param.clone().unwrap();
        Saver::new(&def, &param.save_output_param.unwrap(), 0)
    }

    fn written(format: &str, file: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let options = format!(
            "output_directory: 'out/deep' output_name_prefix: 'det_' output_format: '{format}' num_test_image: 2"
        );
        let mut saver = saver(dir.path(), &options).unwrap().unwrap();
        saver.add(&FOUND[..2], 1).unwrap();
        assert!(!dir.path().join("out").exists());
        let mut second = [FOUND[2]];
        second[0][0] = 0.0;
        saver.add(&second, 1).unwrap();
        saver.add(&FOUND, 2).unwrap();
        let out = dir.path().join("out/deep");
        let parts = fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name());
        assert!(
            parts
                .into_iter()
                .all(|name| !name.to_string_lossy().ends_with("part"))
        );
        fs::read_to_string(out.join(file)).unwrap()
    }

    #[test]
    fn three_formats() {
        assert_eq!(
            written("VOC", "det_cat.txt"),
            "a 0.9 20 20 100 60\n12 0.5 12 12 24 24\n"
        );
        assert_eq!(written("VOC", "det_7.txt"), "a 0.123457 0 0 200 100\n");
        let ilsvrc = "a 1 0.9 20 20 100 60\na 2 0.123457 0 0 200 100\n12 1 0.5 12 12 24 24\n";
        assert_eq!(written("ILSVRC", "det_.txt"), ilsvrc);
        let coco = written("COCO", "det_.json");
        let first = "[\n  {\"image_id\": \"a\", \"category_id\": \"cat\", \"bbox\": [20, 20, 80, 40], \"score\": 0.9},\n";
        assert!(coco.starts_with(first), "{coco}");
        let last = "{\"image_id\": 12, \"category_id\": \"cat\", \"bbox\": [12.5, 12.5, 12.5, 12.5], \"score\": 0.5}\n]\n";
        assert!(coco.ends_with(last), "{coco}");
        assert_eq!(json("a\"\n"), "\"a\\\"\\u000a\"");
    }

    #[test]
    fn nothing_is_written_unless_all_is_told() {
        let dir = tempfile::tempdir().unwrap();
        assert!(saver(dir.path(), "").unwrap().is_none());
        let options = "output_name_prefix: 'a' output_format: 'VOC'";
        assert!(saver(dir.path(), options).unwrap().is_none());
    }

    #[test]
    fn errors() {
        let dir = tempfile::tempdir().unwrap();
        for (options, why) in [
            ("output_format: 'XML'", "output_format: 'XML'"),
            (
                "output_format: 'VOC' num_test_image: 4",
                "num_test_image: is 4",
            ),
            (
                "output_format: 'VOC' num_test_image: 0",
                "num_test_image: is 0",
            ),
        ] {
            let options = format!("output_directory: 'out' {options}");
            let error = saver(dir.path(), &options).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        fs::write(dir.path().join("file"), "").unwrap();
        let options = "output_directory: 'file/out' output_format: 'VOC' num_test_image: 1";
        let mut saver = saver(dir.path(), options).unwrap().unwrap();
        let error = saver
            .add(&[[0.0, 5.0, 0.5, 0.0, 0.0, 1.0, 1.0]], 1)
            .unwrap_err();
        assert!(error.to_string().contains("class 5"), "{error}");
        let error = saver.add(&FOUND[..1], 1).unwrap_err().to_string();
        assert!(error.contains("output_directory"), "{error}");
    }
}
