//! The databases that a run's nets name, record by record. They are only read.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use image::RgbImage;
use serde::Serialize;

use crate::{
    error::{Error, ErrorKind, Result},
    feed::{
        datum::{Color, Pixels, Sample, decode},
        leveldb::LevelDbSource,
        lmdb::LmdbSource,
        source::Source,
    },
    report::{
        heatmap::Picture,
        photo::{Undo, photo},
        png,
    },
    schema::{NetParameter, NetState, Phase, data_parameter::Db},
};

/// Records of a page at most.
const PAGE: u64 = 100;
/// Pixels of a record at most.
const PIXELS: usize = 1 << 24;

/// The databases, opened when they are first asked for.
#[derive(Default)]
pub struct Databases {
    all: Vec<Database>,
}

struct Database {
    name: String,
    layer: String,
    phase: Phase,
    /// The net that names it, by its place.
    net: usize,
    /// It brings labels.
    labels: bool,
    root: PathBuf,
    backend: Option<Db>,
    open: Mutex<Option<Open>>,
}

struct Open {
    source: Box<dyn Source>,
    records: u64,
    /// The shape of the first record.
    shape: Vec<usize>,
}

/// A database, as the page hears of it.
#[derive(Serialize)]
pub(super) struct Listed {
    id: usize,
    name: String,
    records: u64,
    pair: Option<usize>,
    layer: String,
    phase: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A record, as the page hears of it.
#[derive(Serialize)]
pub(super) struct Row {
    index: u64,
    key: String,
    label: Option<i32>,
    shape: Vec<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Databases {
    /// Those of these nets, whose relative paths start at `root`.
    pub fn of(nets: &[NetParameter], root: &Path) -> Self {
        let mut all: Vec<Database> = Vec::new();
        for (index, net) in nets.iter().enumerate() {
            let phase = net.state.as_ref().map_or(Phase::Test, NetState::phase);
            for layer in net.layer.iter().filter(|l| l.r#type() == "Data") {
                let Some(param) = &layer.data_param else {
                    continue;
                };
                let known = |d: &Database| {
                    d.name == param.source() && d.phase == phase && d.layer == layer.name()
                };
                if param.source().is_empty() || all.iter().any(known) {
                    continue;
                }
                all.push(Database {
                    name: param.source().to_owned(),
                    layer: layer.name().to_owned(),
                    phase,
                    net: index,
                    labels: layer.top.first().is_some_and(|top| is_label(net, top)),
                    root: root.to_owned(),
                    backend: param.backend.and_then(|b| Db::try_from(b).ok()),
                    open: Mutex::new(None),
                });
            }
        }
        Self { all }
    }

    pub(super) fn list(&self) -> Vec<Listed> {
        let facts: Vec<Result<(u64, Vec<usize>)>> = self
            .all
            .iter()
            .map(|database| database.with(|open| Ok((open.records, open.shape.clone()))))
            .collect();
        let pair = |id: usize| {
            let (own, Ok((records, _))) = (self.all.get(id)?, facts.get(id)?) else {
                return None;
            };
            let fits = |&other: &usize| {
                let fact = facts[other].as_ref();
                let map = fact.is_ok_and(|(n, shape)| {
                    n == records && shape[..] != [1, 1, 1] && shape.first() == Some(&1)
                });
                self.all[other].net == own.net && self.all[other].labels && map
            };
            (0..self.all.len()).find(fits).filter(|_| !own.labels)
        };
        let listed = self.all.iter().enumerate().map(|(id, database)| Listed {
            id,
            name: database.name.clone(),
            records: facts[id].as_ref().map_or(0, |(records, _)| *records),
            pair: pair(id),
            layer: database.layer.clone(),
            phase: database.phase.as_str_name(),
            error: facts[id].as_ref().err().map(Error::to_string),
        });
        listed.collect()
    }

    fn get(&self, id: usize) -> Result<&Database> {
        self.all
            .get(id)
            .ok_or_else(|| Error::new(ErrorKind::Param, format!("there is no database {id}")))
    }

    /// Some records from one on.
    pub(super) fn records(&self, id: usize, from: u64, count: u64) -> Result<Vec<Row>> {
        self.get(id)?.with(|open| {
            let count = count.min(PAGE).min(open.records.saturating_sub(from));
            let count = usize::try_from(count).unwrap_or(0);
            if count == 0 {
                return Ok(Vec::new());
            }
            let mut rows = Vec::new();
            open.source.seek(from)?;
            open.source.read(count, &mut |records| {
                for record in records {
                    let sample = decode(record.value, Color::AsStored);
                    rows.push(Row {
                        index: record.number,
                        key: record.key.escape_ascii().to_string(),
                        label: sample.as_ref().ok().map(|s| s.label),
                        shape: sample
                            .as_ref()
                            .map_or_else(|_| Vec::new(), |s| s.dims().to_vec()),
                        error: sample.err().map(|e| e.message().to_owned()),
                    });
                }
                Ok(())
            })?;
            Ok(rows)
        })
    }

    /// A record as a PNG, with the label map of the same place in another database over it.
    pub(super) fn picture(&self, id: usize, index: u64, overlay: Option<usize>) -> Result<Vec<u8>> {
        let own = self.get(id)?;
        let image = own.sample(index, |sample| image(sample, own.labels))?;
        let Some(overlay) = overlay else {
            return png(&image);
        };
        let (classes, size) = self.get(overlay)?.sample(index, |sample| {
            if sample.channels != 1 {
                return Err(Error::data("a label map has one channel"));
            }
            Ok((classes(sample), (sample.height, sample.width)))
        })?;
        let side = |n: u32| n as usize;
        let under = Picture::new(side(image.width()), side(image.height()), image.as_raw())?;
        png(&under.classes(&classes, size, 1)?)
    }
}

/// Whether a net holds scores against this blob.
fn is_label(net: &NetParameter, blob: &str) -> bool {
    let compares = |kind: &str| kind.contains("Loss") || kind.contains("Accuracy");
    let layers = net.layer.iter().filter(|l| compares(l.r#type()));
    layers
        .flat_map(|l| l.bottom.iter().skip(1))
        .any(|b| b == blob)
}

impl Database {
    fn with<R>(&self, f: impl FnOnce(&mut Open) -> Result<R>) -> Result<R> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match &mut *open {
            Some(open) => open,
            none => none.insert(self.open()?),
        };
        f(open)
    }

    fn open(&self) -> Result<Open> {
        let lmdb = || -> Result<(Box<dyn Source>, u64)> {
            let source = LmdbSource::open(&self.root, &self.name)?;
            let records = source.records();
            Ok((Box::new(source), records))
        };
        let leveldb = || -> Result<(Box<dyn Source>, u64)> {
            let mut source = LevelDbSource::open(&self.root, &self.name)?;
            let records = source.records()?;
            Ok((Box::new(source), records))
        };
        let (mut source, records) = match self.backend {
            Some(Db::Lmdb) => lmdb()?,
            Some(Db::Leveldb) => leveldb()?,
            // What is not told is what is there.
            None => lmdb().or_else(|error| leveldb().map_err(|_| error))?,
        };
        let mut shape = Vec::new();
        source.read(1, &mut |records| {
            let sample = records.first().map(|r| decode(r.value, Color::AsStored));
            if let Some(Ok(sample)) = sample {
                shape = sample.dims().to_vec();
            }
            Ok(())
        })?;
        Ok(Open {
            source,
            records,
            shape,
        })
    }

    /// Lends a decoded record.
    fn sample<R>(&self, index: u64, f: impl FnOnce(&Sample<'_>) -> Result<R>) -> Result<R> {
        self.with(|open| {
            if index >= open.records {
                return Err(Error::new(
                    ErrorKind::Param,
                    format!("there is no record {index} of {}", open.records),
                ));
            }
            open.source.seek(index)?;
            let (mut f, mut result) = (Some(f), None);
            open.source.read(1, &mut |records| {
                let Some(record) = records.first() else {
                    return Ok(());
                };
                let sample = decode(record.value, Color::AsStored)?;
                let pixels = sample.height.checked_mul(sample.width);
                if pixels.is_none_or(|n| n > PIXELS) {
                    return Err(Error::data("the record is too large for a page"));
                }
                result = f.take().map(|f| f(&sample));
                Ok(())
            })?;
            result.unwrap_or_else(|| Err(Error::data("the record cannot be read")))
        })
    }
}

/// Labels, as classes; what is below 0 is none.
fn classes(sample: &Sample<'_>) -> Vec<usize> {
    let floats = sample.floats();
    floats.iter().map(|&v| v.max(0.0) as usize).collect()
}

/// A record as a picture: bytes as they are, other numbers between the least and the greatest, label maps in colours.
fn image(sample: &Sample<'_>, labels: bool) -> Result<RgbImage> {
    let (height, width) = (sample.height, sample.width);
    if labels && sample.channels == 1 {
        let white = vec![255; height.saturating_mul(width).saturating_mul(3)];
        let under = Picture::new(width, height, &white)?;
        return under.classes(&classes(sample), (height, width), 1);
    }
    let floats = sample.floats();
    let bytes = Undo {
        scale: 1.0,
        mean: Vec::new(),
    };
    let undo = match &sample.pixels {
        Pixels::F32(_) => None,
        _ => Some(&bytes),
    };
    photo(&floats, sample.dims(), undo)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::{
        events::Silent,
        feed::lmdb::LmdbWriter,
        load::{self, LoadOptions},
        schema::Datum,
    };

    fn write(root: &Path, name: &str, records: &[Datum]) {
        let mut writer = LmdbWriter::create(&root.join(name)).unwrap();
        for (i, datum) in records.iter().enumerate() {
            let key = format!("{i:04}");
            writer.put(key.as_bytes(), &datum.encode_to_vec()).unwrap();
        }
        writer.finish().unwrap();
    }

    fn datum(channels: i32, data: &[u8]) -> Datum {
        Datum {
            channels: Some(channels),
            height: Some(1),
            width: Some(2),
            data: Some(data.to_vec()),
            label: Some(7),
            ..Datum::default()
        }
    }

    const NET: &str = "state { phase: TRAIN }
       layer { name: 'a' type: 'Data' top: 'x' data_param { source: 'images' backend: LMDB batch_size: 1 } }
       layer { name: 'b' type: 'Data' top: 'y' data_param { source: 'maps' backend: LMDB batch_size: 1 } }
       layer { name: 'c' type: 'Data' top: 'z' data_param { source: '../gone' batch_size: 1 } }
       layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'x' bottom: 'y' }";

    fn databases(root: &Path) -> Databases {
        let images = [
            datum(3, &[1, 2, 3, 4, 5, 6]),
            datum(3, &[9; 6]),
            datum(3, &[1]),
        ];
        write(root, "images", &images);
        write(
            root,
            "maps",
            &[datum(1, &[0, 1]), datum(1, &[1, 1]), datum(1, &[0, 0])],
        );
        let net = load::net_from_text("n", NET, LoadOptions::default(), &mut Silent).unwrap();
        Databases::of(&[net.net], root)
    }

    #[test]
    fn what_the_nets_name_is_listed_with_its_pair() {
        let dir = tempfile::tempdir().unwrap();
        let listed = databases(dir.path()).list();
        let facts = |i: usize| (listed[i].name.as_str(), listed[i].records, listed[i].pair);
        assert_eq!(facts(0), ("images", 3, Some(1)));
        assert_eq!(facts(1), ("maps", 3, None));
        assert_eq!(facts(2), ("../gone", 0, None));
        assert!(listed[2].error.is_some());
        assert_eq!((listed[0].phase, &*listed[0].layer), ("TRAIN", "a"));
    }

    #[test]
    fn records_are_paged_and_bad_ones_told() {
        let dir = tempfile::tempdir().unwrap();
        let databases = databases(dir.path());
        let rows = databases.records(0, 1, u64::MAX).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].index, &*rows[0].key), (1, "0001"));
        assert_eq!(
            (rows[0].label, &rows[0].shape[..]),
            (Some(7), &[3, 1, 2][..])
        );
        assert!(rows[1].error.as_ref().unwrap().contains("3x1x2"));
        assert!(databases.records(0, 99, 5).unwrap().is_empty());
        assert!(databases.records(9, 0, 5).is_err());
    }

    #[test]
    fn records_are_pictures_with_their_labels_over_them() {
        let dir = tempfile::tempdir().unwrap();
        let databases = databases(dir.path());
        let pixels = |png: Vec<u8>| image::load_from_memory(&png).unwrap().to_rgb8();
        let plain = pixels(databases.picture(0, 0, None).unwrap());
        assert_eq!(plain.dimensions(), (2, 1));
        assert_eq!(plain.get_pixel(0, 0).0, [5, 3, 1]);
        let over = pixels(databases.picture(0, 0, Some(1)).unwrap());
        assert!(over.get_pixel(1, 0).0[0] > 100, "{over:?}");
        assert!(databases.picture(0, 2, None).is_err());
        assert!(databases.picture(0, 3, None).is_err());
        assert!(databases.picture(1, 0, Some(0)).is_err());
        assert!(databases.picture(1, 0, None).is_ok());
    }
}
