//! Data: batches of records from an LMDB or a LevelDB, decoded, transformed, and made ahead by a thread.
//!
//! Shapes: the first top \[batch_size, channels, height, width\] as the records are after `transform_param`, the second,
//! where there is one, their labels \[batch_size\]. No bottom, no gradient. Records come in the order of their keys, and
//! again from the first after the last. Crop and mirror draw from a stream that the seed, the layer's index and the
//! record's number name. A batch takes the size of its first record, so sizes may change from batch to batch.
//!
//! A `backend` that is not told is the one that is there, though Caffe's default is LEVELDB. `rand_skip` is accepted without effect, as in today's Caffe, where nothing reads it.

use crate::{
    error::{Place, Result},
    feed::{
        datum, open_database,
        prefetch::{Options, Prefetcher},
        source::Source,
        transform::Transformer,
    },
    layer::{Arity, Forward, Layer, LayerDef, LayerType, Role},
    schema::{DataParameter, data_parameter::Db},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("Data", |def| Ok(Box::new(Data::new(def)?)))
    .arity(Arity::Exact(0), Arity::Range(1, 2))
    .role(Role::Data);

/// More batches than this in memory are a mistake.
const MOST_AHEAD: u32 = 1 << 12;

struct Data {
    def: LayerDef,
    param: DataParameter,
    /// The shape of the data top as last told.
    shape: Shape,
    /// Records delivered; the truth while no thread runs.
    position: u64,
    /// The database until a thread takes it.
    source: Option<Box<dyn Source>>,
    transformer: Transformer,
    running: Option<Prefetcher>,
}

impl Data {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.data_param.clone().unwrap_or_default();
        if param.batch_size() == 0 {
            return Err(def.invalid("data_param.batch_size", "must be at least 1"));
        }
        if param.prefetch() > MOST_AHEAD {
            let why = format!(
                "{} batches ahead are too many; {MOST_AHEAD} is the most",
                param.prefetch()
            );
            return Err(def.invalid("data_param.prefetch", why));
        }
        if param.source().is_empty() {
            return Err(def.invalid("data_param.source", "names no database"));
        }
        let transform = def.param.transform_param.clone().unwrap_or_default();
        let transformer = Transformer::new(&transform, def.is_train(), &def.root)?;
        let mut source = open(def, &param)?;
        let [channels, height, width] = first_dims(&mut *source, &transformer)?;
        let batch = param.batch_size() as usize;
        Ok(Self {
            shape: Shape::checked(&[batch, channels, height, width])?,
            def: def.clone(),
            param,
            position: 0,
            source: Some(source),
            transformer,
            running: None,
        })
    }

    fn tops(&self) -> Vec<Shape> {
        let mut tops = vec![self.shape.clone()];
        if self.def.param.top.len() > 1 {
            tops.push(Shape::from([self.param.batch_size() as usize]));
        }
        tops
    }

    /// The thread, started now if need be.
    fn running(&mut self) -> Result<&mut Prefetcher> {
        let prefetcher = match self.running.take() {
            Some(prefetcher) => prefetcher,
            None => {
                let source = match self.source.take() {
                    Some(source) => source,
                    None => open(&self.def, &self.param)?,
                };
                let options = Options {
                    batch_size: self.param.batch_size() as usize,
                    depth: self.param.prefetch() as usize,
                    seed: self.def.seed,
                    layer: self.def.index,
                    start_record: self.position,
                    threads: 0,
                };
                Prefetcher::new(source, self.transformer.clone(), options)?
            }
        };
        Ok(self.running.insert(prefetcher))
    }
}

fn open(def: &LayerDef, param: &DataParameter) -> Result<Box<dyn Source>> {
    let backend = param.backend.and_then(|b| Db::try_from(b).ok());
    open_database(&def.root, param.source(), backend)
}

/// Channels, height and width that the first record comes out with.
fn first_dims(source: &mut dyn Source, transformer: &Transformer) -> Result<[usize; 3]> {
    let name = source.name().to_owned();
    let mut dims = [0; 3];
    source.read(1, &mut |records| {
        for record in records {
            dims = datum::decode(record.value, transformer.color())
                .and_then(|sample| transformer.output_dims(sample.dims()))
                .map_err(|error| {
                    error.at(Place::Record {
                        source: name.clone(),
                        key: record.key.escape_ascii().to_string(),
                    })
                })?;
        }
        Ok(())
    })?;
    Ok(dims)
}

impl Layer for Data {
    fn reshape(&mut self, _: &[Shape]) -> Result<Vec<Shape>> {
        Ok(self.tops())
    }

    /// Never called: a layer of [`Role::Data`] is pulled.
    fn forward(&mut self, _: &mut Forward<'_, '_>) -> Result<()> {
        Ok(())
    }

    fn pull(&mut self, tops: &mut [Vec<f32>]) -> Result<Option<Vec<Shape>>> {
        let prefetcher = self.running()?;
        let mut tops = tops.iter_mut();
        if let Some(data) = tops.next() {
            prefetcher.next(data, tops.next())?;
        }
        let records = prefetcher.records();
        let shape = prefetcher.shape().clone();
        self.position = records;
        if shape == self.shape {
            return Ok(None);
        }
        self.shape = shape;
        Ok(Some(self.tops()))
    }

    fn position(&self) -> Option<u64> {
        Some(self.position)
    }

    fn seek(&mut self, records: u64) -> Result<()> {
        if records != self.position {
            // Whatever the thread made ahead is of no use.
            self.running = None;
            self.position = records;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use prost::Message as _;

    use super::*;
    use crate::{
        error::ErrorKind,
        feed::lmdb::LmdbWriter,
        schema::{Datum, LayerParameter, Phase},
        text,
    };

    /// A database `db` of one-pixel-wide records: pixels and label are the record's number, heights as given.
    fn database(root: &Path, heights: &[i32]) {
        let mut writer = LmdbWriter::create(&root.join("db")).unwrap();
        for (i, &height) in heights.iter().enumerate() {
            let datum = Datum {
                channels: Some(1),
                height: Some(height),
                width: Some(1),
                data: Some(vec![i as u8; height as usize]),
                label: Some(i as i32),
                ..Datum::default()
            };
            writer
                .put(format!("{i:04}").as_bytes(), &datum.encode_to_vec())
                .unwrap();
        }
        writer.finish().unwrap();
    }

    fn layer(root: &Path, tops: usize, fields: &str) -> Result<Data> {
        let source = text::Source::new("test", fields);
        let mut param = text::parse::<LayerParameter>("LayerParameter", &source)?.message;
        param.top = (0..tops).map(|i| format!("top{i}")).collect();
        Data::new(&LayerDef {
            param,
            phase: Phase::Train,
            backward: true,
            root: root.to_owned(),
            seed: 1,
            index: 0,
        })
    }

    #[test]
    fn batches_and_labels_follow_each_other_round_the_database() {
        let dir = tempfile::tempdir().unwrap();
        database(dir.path(), &[1, 1, 1]);
        let fields = "data_param { source: 'db' backend: LMDB batch_size: 2 }
                      transform_param { scale: 10 }";
        let mut layer = layer(dir.path(), 2, fields).unwrap();
        let shapes = layer.reshape(&[]).unwrap();
        assert_eq!(shapes, [Shape::from([2, 1, 1, 1]), Shape::from([2])]);
        assert!(layer.running.is_none(), "no thread before the first pull");
        let mut tops = vec![Vec::new(), Vec::new()];
        for want in [[0.0, 1.0], [2.0, 0.0], [1.0, 2.0]] {
            assert!(layer.pull(&mut tops).unwrap().is_none());
            assert_eq!(tops[0], want.map(|v| 10.0 * v));
            assert_eq!(tops[1], want);
        }
        assert_eq!(layer.position(), Some(6));
        layer.seek(4).unwrap();
        assert_eq!(layer.position(), Some(4));
        layer.pull(&mut tops).unwrap();
        assert_eq!(tops[1], [1.0, 2.0]);
        assert_eq!(layer.position(), Some(6));
    }

    #[test]
    fn a_batch_of_another_size_tells_its_shapes() {
        let dir = tempfile::tempdir().unwrap();
        database(dir.path(), &[1, 3]);
        let mut layer = layer(dir.path(), 1, "data_param { source: 'db' batch_size: 1 }").unwrap();
        let mut tops = vec![Vec::new()];
        assert!(layer.pull(&mut tops).unwrap().is_none());
        let shapes = layer.pull(&mut tops).unwrap();
        assert_eq!(shapes, Some(vec![Shape::from([1, 1, 3, 1])]));
        assert_eq!(tops[0], [1.0; 3]);
        // Seeking to a record of another size than the last one told.
        layer.seek(4).unwrap();
        let shapes = layer.pull(&mut tops).unwrap();
        assert_eq!(shapes, Some(vec![Shape::from([1, 1, 1, 1])]));
    }

    #[test]
    fn records_of_a_leveldb() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/leveldb");
        // Told, and found out.
        for backend in ["backend: LEVELDB", ""] {
            let fields = format!("data_param {{ source: 'snappy' batch_size: 40 {backend} }}");
            let mut layer = layer(&root, 2, &fields).unwrap();
            let shapes = layer.reshape(&[]).unwrap();
            assert_eq!(shapes, [Shape::from([40, 1, 2, 2]), Shape::from([40])]);
            let mut tops = vec![Vec::new(), Vec::new()];
            for first in [0, 40, 80, 20] {
                layer.pull(&mut tops).unwrap();
                let wanted: Vec<f32> = (first..first + 40).map(|n| (n % 100) as f32).collect();
                assert_eq!(tops[1], wanted);
                assert_eq!(tops[0][4 * 39..], [wanted[39]; 4]);
            }
            layer.seek(299).unwrap();
            layer.pull(&mut tops).unwrap();
            assert_eq!(tops[1][..2], [99.0, 0.0]);
        }
    }

    #[test]
    fn errors() {
        let dir = tempfile::tempdir().unwrap();
        database(dir.path(), &[1]);
        let fails = |fields: &str, kind, part: &str| {
            let error = layer(dir.path(), 1, fields).err().unwrap();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(part), "{error}");
        };
        fails(
            "data_param { source: 'db' batch_size: 1 backend: LEVELDB }",
            ErrorKind::Unsupported,
            "say `backend: LMDB`",
        );
        fails(
            "data_param { source: 'db' backend: LMDB }",
            ErrorKind::Param,
            "data_param.batch_size",
        );
        fails(
            "data_param { source: 'db' batch_size: 1 prefetch: 4000000000 }",
            ErrorKind::Param,
            "data_param.prefetch",
        );
        fails(
            "data_param { batch_size: 1 }",
            ErrorKind::Param,
            "data_param.source",
        );
        fails(
            "data_param { source: 'none' batch_size: 1 }",
            ErrorKind::Io,
            "none",
        );
        fails(
            "data_param { source: 'db' batch_size: 1 } transform_param { crop_size: 2 }",
            ErrorKind::Data,
            "crop_size 2 is larger",
        );
        fails(
            "data_param { source: 'db' batch_size: 4000000000 }",
            ErrorKind::Shape,
            "would hold more",
        );
    }
}
