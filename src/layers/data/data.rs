//! Data: batches of records from an LMDB or a LevelDB, decoded, transformed, and made ahead by a thread.
//!
//! Shapes: the first top \[batch_size, channels, height, width\] as the records are after `transform_param`, the second,
//! where there is one, their labels \[batch_size\]. No bottom, no gradient. Records come in the order of their keys, and
//! again from the first after the last. Crop and mirror draw from a stream that the seed, the layer's index and the
//! record's number name. A batch takes the size of its first record, so sizes may change from batch to batch.
//!
//! A `backend` that is not told is the one that is there, though Caffe's default is LEVELDB. `rand_skip` is accepted
//! without effect, as in today's Caffe, where nothing reads it.

use super::{
    fed::{Fed, batch_size, check_ahead},
    records,
};
use crate::{
    error::Result,
    feed::transform::Transformer,
    layer::{Arity, LayerDef, LayerType, Role},
};

pub(super) const TYPE: LayerType = LayerType::new("Data", |def| Ok(Box::new(data(def)?)))
    .arity(Arity::Exact(0), Arity::Range(1, 2))
    .role(Role::Data);

fn data(def: &LayerDef) -> Result<Fed<Transformer>> {
    let param = def.param.data_param.clone().unwrap_or_default();
    records::check(def, &param)?;
    let batch = batch_size(def, "data_param.batch_size", param.batch_size())?;
    check_ahead(def, "data_param.prefetch", param.prefetch())?;
    let transform = def.param.transform_param.clone().unwrap_or_default();
    let transformer = Transformer::new(&transform, def.is_train(), &def.root)?;
    let (root, prefetch) = (def.root.clone(), param.prefetch());
    Fed::new(def, batch, prefetch, transformer, move || {
        records::open(&root, &param)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use prost::Message as _;

    use super::*;
    use crate::{
        error::ErrorKind,
        feed::lmdb::LmdbWriter,
        layer::Layer as _,
        schema::{Datum, LayerParameter, Phase},
        tensor::Shape,
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

    fn layer(root: &Path, tops: usize, fields: &str) -> Result<Fed<Transformer>> {
        let source = text::Source::new("test", fields);
        let mut param = text::parse::<LayerParameter>("LayerParameter", &source)?.message;
        param.top = (0..tops).map(|i| format!("top{i}")).collect();
        data(&LayerDef {
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
        assert!(!layer.is_running(), "no thread before the first pull");
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
