//! Boxes from the files of annotations that SSD's `convert_annoset` reads: VOC's XML, COCO's JSON, plain lines.

use std::{collections::BTreeMap, fs, path::Path};

use super::xml;
use crate::{
    error::{Error, Place, Result},
    nearest::nearest,
    schema::{Annotation, AnnotationGroup, LabelMap, NormalizedBBox},
};

/// How boxes are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnotationFormat {
    /// VOC's and ILSVRC's: names of classes, corners in pixels.
    Xml,
    /// An image of COCO: numbers of categories, a corner and sides in pixels.
    Json,
    /// `label xmin ymin xmax ymax` on a line, in pixels.
    Text,
}

/// How files of annotations are read.
#[derive(Clone, Debug)]
pub struct Annotations {
    format: AnnotationFormat,
    /// The number of each class by its name.
    labels: BTreeMap<String, i32>,
}

/// A box in pixels.
struct Found {
    label: i32,
    corners: [f32; 4],
    difficult: bool,
}

impl Annotations {
    /// With the names of a label map; `check` refuses names that come twice.
    ///
    /// # Errors
    /// `Data` for such a name.
    pub fn new(format: AnnotationFormat, map: &LabelMap, check: bool) -> Result<Self> {
        let mut labels = BTreeMap::new();
        for item in &map.item {
            let before = labels.insert(item.name().to_owned(), item.label());
            if check && before.is_some() {
                return Err(Error::data(format!(
                    "the label map has the name '{}' twice",
                    item.name()
                ))
                .help("give each class a name of its own, or leave --check_label out"));
            }
        }
        Ok(Self { format, labels })
    }

    /// The boxes in a file, by class, in fractions of the image of `[height, width]`. None where there is no file. What
    /// looks odd is added to `odd`.
    ///
    /// # Errors
    /// `Io`, `Syntax` or `Data` where the file cannot be read, or names a class that the label map has not.
    pub fn read(
        &self,
        file: &Path,
        image: [usize; 2],
        odd: &mut Vec<String>,
    ) -> Result<Vec<AnnotationGroup>> {
        let name = file.display().to_string();
        let text = match fs::read(file) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                odd.push(format!("{name} is not there: no boxes for its image"));
                return Ok(Vec::new());
            }
            Err(e) => return Err(Error::io("read", file, &e)),
        };
        let stated = |e: Error| match e.places() {
            [] => e.at(Place::File(name.clone())),
            _ => e,
        };
        let mut warn = |text: &str| odd.push(format!("{name}: {text}"));
        let (size, found) = match self.format {
            AnnotationFormat::Xml => self.xml(&name, &text),
            AnnotationFormat::Json => self.json(&text),
            AnnotationFormat::Text => lines(&text).map(|found| (None, found)),
        }
        .map_err(stated)?;
        let own = image.map(|n| n as f32);
        let size = match size {
            Some(size) => {
                if size != own {
                    warn(&format!(
                        "it says that the image is {}x{}, and it is {}x{} (height x width)",
                        size[0], size[1], image[0], image[1]
                    ));
                }
                size
            }
            None => {
                if self.format != AnnotationFormat::Text {
                    warn("it does not say how large the image is");
                }
                own
            }
        };
        if !size.iter().all(|&n| n > 0.0) {
            return Err(stated(Error::data(
                "the file says that its image has no height or no width",
            )));
        }
        let mut groups: Vec<AnnotationGroup> = Vec::new();
        for found in found {
            add(&mut groups, &found, size, &mut warn);
        }
        Ok(groups)
    }

    fn label(&self, name: &str) -> Result<i32> {
        self.labels.get(name).copied().ok_or_else(|| {
            let error = Error::data(format!("the class '{name}' is not in the label map"));
            match nearest(name, self.labels.keys().map(String::as_str)) {
                Some(near) => error.help(format!("it has '{near}'; write one or the other")),
                None => error.help("add it to the label map that --label_map_file names"),
            }
        })
    }

    fn xml(&self, name: &str, text: &str) -> Result<(Option<[f32; 2]>, Vec<Found>)> {
        let root = xml::parse(name, text)?;
        if root.name != "annotation" {
            return Err(Error::data(format!(
                "the file holds an element '{}' instead of 'annotation'",
                root.name
            ))
            .help("for files of another kind say --label_type=json or --label_type=txt"));
        }
        let size = root
            .child("size")
            .and_then(|size| Some([size.number("height")?, size.number("width")?]));
        let mut found = Vec::new();
        for object in root.children.iter().filter(|c| c.name == "object") {
            let class = object
                .child("name")
                .ok_or_else(|| Error::data("an object has no name"))?;
            let label = self.label(&class.text)?;
            let Some(bbox) = object.child("bndbox") else {
                continue;
            };
            let side = |name| bbox.number(name).unwrap_or(0.0).trunc();
            found.push(Found {
                label,
                corners: ["xmin", "ymin", "xmax", "ymax"].map(side),
                difficult: object.child("difficult").is_some_and(|d| d.text == "1"),
            });
        }
        Ok((size, found))
    }

    fn json(&self, text: &str) -> Result<(Option<[f32; 2]>, Vec<Found>)> {
        let root: serde_json::Value =
            serde_json::from_str(text).map_err(|e| Error::data(format!("it is no JSON: {e}")))?;
        let number = |value: &serde_json::Value| value.as_f64().map(|n| n as f32);
        let image = &root["image"];
        let size = number(&image["height"]).zip(number(&image["width"]));
        let list = root["annotation"]
            .as_array()
            .ok_or_else(|| Error::data("the file has no list 'annotation'"))?;
        let mut found = Vec::new();
        for object in list {
            let class = match &object["category_id"] {
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Null => {
                    return Err(Error::data("an annotation has no category_id"));
                }
                other => other.to_string(),
            };
            let bbox: Option<Vec<f32>> = object["bbox"]
                .as_array()
                .map(|sides| sides.iter().filter_map(number).collect());
            let Some(&[x, y, width, height]) = bbox.as_deref() else {
                return Err(Error::data(
                    "the bbox of an annotation is no list of 4 numbers: x, y, width, height",
                ));
            };
            found.push(Found {
                label: self.label(&class)?,
                corners: [x, y, x + width, y + height],
                difficult: object["iscrowd"].as_i64().unwrap_or(0) != 0,
            });
        }
        Ok((size.map(|(h, w)| [h, w]), found))
    }
}

fn lines(text: &str) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.is_empty() {
            continue;
        }
        let label = words[0].parse().ok();
        let numbers: Vec<f32> = words
            .iter()
            .skip(1)
            .filter_map(|w| w.parse().ok())
            .collect();
        match (label, &numbers[..]) {
            (Some(label), &[xmin, ymin, xmax, ymax]) if words.len() == 5 => found.push(Found {
                label,
                corners: [xmin, ymin, xmax, ymax],
                difficult: false,
            }),
            _ => {
                return Err(Error::data(format!(
                    "line {number} is '{line}' instead of 'label xmin ymin xmax ymax'"
                )));
            }
        }
    }
    Ok(found)
}

/// Puts a box to those of its class.
fn add(
    groups: &mut Vec<AnnotationGroup>,
    found: &Found,
    [height, width]: [f32; 2],
    warn: &mut dyn FnMut(&str),
) {
    let [xmin, ymin, xmax, ymax] = found.corners;
    let outside = |x: f32, y: f32| !(0.0..=width).contains(&x) || !(0.0..=height).contains(&y);
    if outside(xmin, ymin) || outside(xmax, ymax) {
        warn("a box reaches beyond the image");
    }
    if xmin > xmax || ymin > ymax {
        warn("a box has its corners the wrong way round");
    }
    let at = groups
        .iter()
        .position(|group| group.group_label() == found.label)
        .unwrap_or_else(|| {
            groups.push(AnnotationGroup {
                group_label: Some(found.label),
                annotation: Vec::new(),
            });
            groups.len() - 1
        });
    let group = &mut groups[at].annotation;
    let instance = group.last().map_or(0, |last| last.instance_id() + 1);
    group.push(Annotation {
        instance_id: Some(instance),
        bbox: Some(NormalizedBBox {
            xmin: Some(xmin / width),
            ymin: Some(ymin / height),
            xmax: Some(xmax / width),
            ymax: Some(ymax / height),
            difficult: Some(found.difficult),
            ..NormalizedBBox::default()
        }),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::LabelMapItem;

    fn map() -> LabelMap {
        let item = |name: &str, label| LabelMapItem {
            name: Some(name.into()),
            label: Some(label),
            ..LabelMapItem::default()
        };
        LabelMap {
            item: vec![item("cat", 1), item("dog", 2), item("18", 3)],
        }
    }

    fn read(format: AnnotationFormat, text: &str) -> (Result<Vec<AnnotationGroup>>, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        fs::write(&file, text).unwrap();
        let mut odd = Vec::new();
        let annotations = Annotations::new(format, &map(), true).unwrap();
        (annotations.read(&file, [50, 100], &mut odd), odd)
    }

    const VOC: &str = "<annotation><size><width>100</width><height>50</height></size>
      <object><name>dog</name><bndbox><xmin>10</xmin><ymin>5</ymin><xmax>60</xmax><ymax>50</ymax></bndbox></object>
      <object><name>cat</name><difficult>1</difficult><bndbox><xmin>0</xmin><ymin>0</ymin><xmax>50</xmax><ymax>25</ymax></bndbox></object>
      <object><name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></object></annotation>";

    #[test]
    fn voc() {
        let (groups, odd) = read(AnnotationFormat::Xml, VOC);
        let groups = groups.unwrap();
        assert!(odd.is_empty(), "{odd:?}");
        let labels: Vec<i32> = groups.iter().map(AnnotationGroup::group_label).collect();
        assert_eq!(labels, [2, 1]);
        let dogs = &groups[0].annotation;
        assert_eq!((dogs[0].instance_id(), dogs[1].instance_id()), (0, 1));
        let bbox = dogs[0].bbox.unwrap();
        let sides = [bbox.xmin(), bbox.ymin(), bbox.xmax(), bbox.ymax()];
        assert_eq!(sides, [0.1, 0.1, 0.6, 1.0]);
        assert!(!bbox.difficult() && groups[1].annotation[0].bbox.unwrap().difficult());
    }

    #[test]
    fn coco_and_lines() {
        let json = r#"{"image": {"height": 50, "width": 100}, "annotation": [
            {"category_id": 18, "bbox": [10, 5, 50, 45], "iscrowd": 1}]}"#;
        let (groups, odd) = read(AnnotationFormat::Json, json);
        let group = &groups.unwrap()[0];
        assert!(odd.is_empty());
        assert_eq!(group.group_label(), 3);
        let bbox = group.annotation[0].bbox.unwrap();
        assert_eq!(
            (bbox.xmax(), bbox.ymax(), bbox.difficult()),
            (0.6, 1.0, true)
        );
        let (groups, _) = read(AnnotationFormat::Text, "7 10 5 60 50\n\n7 0 0 1 1\n");
        assert_eq!(groups.unwrap()[0].annotation.len(), 2);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let fails = |format, text: &str, part: &str| {
            let error = read(format, text).0.unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        let unknown = VOC.replace("dog", "dogg");
        fails(
            AnnotationFormat::Xml,
            &unknown,
            "'dogg' is not in the label map",
        );
        fails(AnnotationFormat::Xml, &unknown, "it has 'dog'");
        fails(AnnotationFormat::Xml, "<a/>", "'a' instead of 'annotation'");
        fails(AnnotationFormat::Json, "{}", "no list 'annotation'");
        fails(AnnotationFormat::Json, "[", "no JSON");
        fails(AnnotationFormat::Text, "1 2 3", "line 1 is '1 2 3'");
        let (_, odd) = read(AnnotationFormat::Text, "1 90 5 160 50");
        assert!(odd[0].contains("beyond the image"), "{odd:?}");
        let smaller = VOC.replace("<width>100", "<width>90");
        let (_, odd) = read(AnnotationFormat::Xml, &smaller);
        assert!(odd[0].contains("50x90, and it is 50x100"), "{odd:?}");
    }

    #[test]
    fn no_file_is_no_boxes() {
        let annotations = Annotations::new(AnnotationFormat::Xml, &map(), true).unwrap();
        let mut odd = Vec::new();
        let groups = annotations.read(Path::new("/nowhere/x.xml"), [1, 1], &mut odd);
        assert!(groups.unwrap().is_empty());
        assert_eq!(odd.len(), 1);
        let mut twice = map();
        twice.item.push(twice.item[0].clone());
        assert!(Annotations::new(AnnotationFormat::Xml, &twice, true).is_err());
        assert!(Annotations::new(AnnotationFormat::Xml, &twice, false).is_ok());
    }
}
