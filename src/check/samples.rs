//! What the records of a database say before any net runs: how many there are, and the values of their labels.

use std::{collections::BTreeMap, fs, path::Path};

use super::subject::under;
use crate::{
    feed::{self, datum, lmdb::LmdbSource},
    schema::{LayerParameter, data_parameter::Db},
};

/// Most values that are looked at, over all records.
const VALUES: usize = 5_000_000;

/// Labels as they are in a database.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// How often each whole number came up, and the key of the first record that has it.
    pub(crate) values: BTreeMap<i64, (u64, String)>,
    /// The first that is no whole number.
    pub(crate) broken: Option<f32>,
    /// Records looked at.
    pub(crate) records: u64,
    /// All of them.
    pub(crate) complete: bool,
}

/// Looks at what a data layer's top brings: for `Data` the label of each record (top 1) or its pixels (top 0), for
/// `ImageData` the numbers of the list. `None` for other layers and where nothing can be read.
pub(crate) fn look(layer: &LayerParameter, top: usize, root: &Path, most: usize) -> Option<Seen> {
    match (layer.r#type(), top) {
        ("Data", 0 | 1) => records(layer, top == 1, root, most),
        ("ImageData", 1) => list(layer, root),
        _ => None,
    }
}

fn records(layer: &LayerParameter, label: bool, root: &Path, most: usize) -> Option<Seen> {
    let param = layer.data_param.as_ref()?;
    let backend = param.backend.and_then(|b| Db::try_from(b).ok());
    let total = count(layer, root);
    let mut source = feed::open_database(root, param.source(), backend).ok()?;
    let wanted = total.unwrap_or(most as u64).min(most as u64);
    let (mut seen, mut values) = (Seen::default(), 0);
    while seen.records < wanted && values < VALUES {
        let read = source.read(1, &mut |batch| {
            for record in batch {
                let sample = datum::decode(record.value, datum::Color::AsStored)?;
                let key = || record.key.escape_ascii().to_string();
                if label {
                    seen.add(i64::from(sample.label), key);
                    values += 1;
                } else {
                    let pixels = sample.floats();
                    values += pixels.len();
                    pixels.iter().for_each(|&v| seen.number(v, key));
                }
            }
            Ok(())
        });
        read.ok()?;
        seen.records += 1;
    }
    seen.complete = total == Some(seen.records);
    Some(seen)
}

fn list(layer: &LayerParameter, root: &Path) -> Option<Seen> {
    let param = layer.image_data_param.as_ref()?;
    let text = fs::read_to_string(under(root, param.source())).ok()?;
    let mut seen = Seen::default();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (path, label) = line.trim_end().rsplit_once(char::is_whitespace)?;
        seen.add(label.parse().ok()?, || path.to_owned());
        seen.records += 1;
    }
    seen.complete = true;
    (seen.records > 0).then_some(seen)
}

impl Seen {
    fn add(&mut self, value: i64, key: impl Fn() -> String) {
        // More distinct values than this are no classes.
        if self.values.len() < 1 << 16 || self.values.contains_key(&value) {
            self.values.entry(value).or_insert_with(|| (0, key())).0 += 1;
        }
    }

    fn number(&mut self, value: f32, key: impl Fn() -> String) {
        let whole = value as i64;
        if whole as f32 == value {
            self.add(whole, key);
        } else {
            self.broken.get_or_insert(value);
        }
    }
}

/// Records of the source that a data layer names, where that can be told quickly.
pub(crate) fn count(layer: &LayerParameter, root: &Path) -> Option<u64> {
    match layer.r#type() {
        "Data" => {
            let param = layer.data_param.as_ref()?;
            let source = LmdbSource::open(root, param.source()).ok()?;
            Some(source.records())
        }
        "ImageData" => {
            let param = layer.image_data_param.as_ref()?;
            let text = fs::read_to_string(under(root, param.source())).ok()?;
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            Some(lines.count() as u64)
        }
        _ => None,
    }
}
