//! HDF5Data: batches of the rows of HDF5 files, each top from the dataset of its name. No gradient.
//!
//! Shapes: \[batch_size, …\] with the axes of the dataset behind its first, any number of them. `source` lists the files,
//! one a line; they follow each other, and the first comes again after the last, so a batch may have rows of several. Of
//! the files one is in memory at a time. With `shuffle` every pass has the files in another order, and the rows within
//! each; the orders are named by the seed, the layer's index and the pass.
//!
//! Departures: rows of different files must have the same shape, which the reference does not look at; datasets may be
//! of any numbers; a `transform_param` is refused, as there.

use crate::{
    error::Result,
    feed::hdf5::Rows,
    layer::{Arity, Forward, Layer, LayerDef, LayerType, Role},
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("HDF5Data", |def| Ok(Box::new(Hdf5Data::new(def)?)))
        .arity(Arity::Exact(0), Arity::AtLeast(1))
        .role(Role::Data);

struct Hdf5Data {
    rows: Rows,
    batch: usize,
    tops: Vec<Shape>,
}

impl Hdf5Data {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.hdf5_data_param.clone().unwrap_or_default();
        if def.param.transform_param.is_some() {
            let why = "HDF5Data does not transform what it reads";
            return Err(def
                .invalid("transform_param", why)
                .help("leave it out, and store the data as the net wants it"));
        }
        if param.source().is_empty() {
            return Err(def.invalid("hdf5_data_param.source", "names no list of files"));
        }
        let batch = param.batch_size() as usize;
        if batch == 0 {
            return Err(def.invalid("hdf5_data_param.batch_size", "must be at least 1"));
        }
        let shuffle = param.shuffle().then_some((def.seed, def.index));
        let rows = Rows::open(&def.root, param.source(), &def.param.top, shuffle)?;
        let tops = rows.shapes().iter();
        let tops = tops.map(|row| Shape::checked(&[&[batch], row.dims()].concat()));
        Ok(Self {
            tops: tops.collect::<Result<_>>()?,
            rows,
            batch,
        })
    }
}

impl Layer for Hdf5Data {
    fn reshape(&mut self, _: &[Shape]) -> Result<Vec<Shape>> {
        Ok(self.tops.clone())
    }

    /// Never called: a layer of [`Role::Data`] is pulled.
    fn forward(&mut self, _: &mut Forward<'_, '_>) -> Result<()> {
        Ok(())
    }

    fn pull(&mut self, tops: &mut [Vec<f32>]) -> Result<Option<Vec<Shape>>> {
        self.rows.read(self.batch, tops)?;
        Ok(None)
    }

    fn position(&self) -> Option<u64> {
        Some(self.rows.position())
    }

    fn records(&mut self) -> Result<Option<u64>> {
        Ok(Some(self.rows.count()))
    }

    fn seek(&mut self, records: u64) -> Result<()> {
        self.rows.seek(records);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        error::ErrorKind,
        schema::{LayerParameter, Phase},
        text,
    };

    fn layer(tops: &[&str], fields: &str) -> Result<Hdf5Data> {
        let source = text::Source::new("test", fields);
        let mut param = text::parse::<LayerParameter>("LayerParameter", &source)?.message;
        param.top = tops.iter().map(|&t| t.to_owned()).collect();
        Hdf5Data::new(&LayerDef {
            param,
            phase: Phase::Train,
            backward: true,
            root: Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hdf5"),
            seed: 1,
            index: 0,
        })
    }

    #[test]
    fn batches_of_what_h5py_wrote() {
        let fields = "hdf5_data_param { source: 'rows.txt' batch_size: 3 }";
        let mut layer = layer(&["label", "data", "five"], fields).unwrap();
        let shapes = layer.reshape(&[]).unwrap();
        assert_eq!(
            shapes,
            [
                Shape::from([3]),
                Shape::from([3, 2, 3]),
                Shape::from([3, 1, 1, 1, 1])
            ]
        );
        let mut tops = vec![Vec::new(); 3];
        // The third batch ends in the second pass.
        for labels in [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [6.0, 7.0, 0.0]] {
            assert!(layer.pull(&mut tops).unwrap().is_none());
            assert_eq!(tops[0], labels);
            assert_eq!(tops[2], labels);
            assert_eq!([tops[1][0], tops[1][6], tops[1][12]], labels);
        }
        assert_eq!(layer.position(), Some(9));
        layer.seek(4).unwrap();
        layer.pull(&mut tops).unwrap();
        assert_eq!(tops[0], [4.0, 5.0, 6.0]);
    }

    #[test]
    fn shuffled_batches_depend_on_the_position_only() {
        let fields = "hdf5_data_param { source: 'rows.txt' batch_size: 4 shuffle: true }";
        let mut whole = layer(&["label"], fields).unwrap();
        let mut tops = vec![Vec::new()];
        let batches: Vec<Vec<f32>> = (0..8)
            .map(|_| {
                whole.pull(&mut tops).unwrap();
                tops[0].clone()
            })
            .collect();
        assert!(batches[0] != batches[2] || batches[1] != batches[3]);
        let mut later = layer(&["label"], fields).unwrap();
        later.seek(20).unwrap();
        later.pull(&mut tops).unwrap();
        assert_eq!(tops[0], batches[5]);
    }

    #[test]
    fn errors() {
        let fails = |tops: &[&str], fields: &str, kind, part: &str| {
            let error = layer(tops, fields).err().unwrap();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(part), "{error}");
        };
        let top = &["data"][..];
        fails(top, "", ErrorKind::Param, "hdf5_data_param.source");
        let source = "hdf5_data_param { source: 'rows.txt' }";
        fails(top, source, ErrorKind::Param, "hdf5_data_param.batch_size");
        let good = "hdf5_data_param { source: 'rows.txt' batch_size: 1 }";
        let transform = format!("{good} transform_param {{ scale: 2 }}");
        fails(top, &transform, ErrorKind::Param, "transform_param");
        fails(&["data", "x"], good, ErrorKind::Data, "no dataset 'x'");
        let none = "hdf5_data_param { source: 'no.txt' batch_size: 1 }";
        fails(top, none, ErrorKind::Io, "no.txt");
        let large = "hdf5_data_param { source: 'rows.txt' batch_size: 4000000000 }";
        fails(top, large, ErrorKind::Shape, "would hold more");
    }
}
