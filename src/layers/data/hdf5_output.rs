//! HDF5Output: writes its bottoms to an HDF5 file, the first as dataset `data`, the second as `label`. No gradient.
//!
//! Shapes: both \[num, …\] with the same num. In the file they have the four axes num, channels, height and width, as the
//! reference writes them; a blob of more axes keeps its own.
//!
//! Departures: the reference fails at the second batch; here each batch adds its rows. The file is written beside
//! `file_name` and renamed, after the first batch and whenever their number has doubled, the last time when the net is
//! let go.

use crate::{
    error::{Error, Result},
    feed::hdf5::RowWriter,
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType},
    tensor::{Shape, View},
};

pub(super) const TYPE: LayerType =
    LayerType::new("HDF5Output", |def| Ok(Box::new(Hdf5Output::new(def)?)))
        .arity(Arity::Exact(2), Arity::Exact(0));

struct Hdf5Output {
    def: LayerDef,
    name: String,
    /// From the first batch on: a net that is only looked at leaves no trace.
    writer: Option<RowWriter>,
}

impl Hdf5Output {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.hdf5_output_param.as_ref();
        let name = param.map_or("", |p| p.file_name()).to_owned();
        if name.is_empty() {
            return Err(def.invalid("hdf5_output_param.file_name", "names no file"));
        }
        Ok(Self {
            def: def.clone(),
            name,
            writer: None,
        })
    }
}

/// The shape under which a blob is stored.
fn stored(shape: &Shape) -> Shape {
    if shape.axes() > 4 {
        return shape.clone();
    }
    Shape::from([0, 1, 2, 3].map(|i| shape.legacy(i)))
}

impl Layer for Hdf5Output {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let [data, label] = [0, 1].map(|i| bottoms[i].legacy(0));
        if data != label {
            return Err(Error::shape(format!(
                "the two bottoms have {data} and {label} rows; they must have as many"
            )));
        }
        Ok(Vec::new())
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(RowWriter::create(&self.def.root, &self.name)?),
        };
        let [data, label] = [0, 1].map(|i| (stored(io.bottoms[i].shape), io.bottoms[i].data));
        writer.add(
            View {
                shape: &data.0,
                data: data.1,
            },
            View {
                shape: &label.0,
                data: label.1,
            },
        )
    }

    /// `force_backward` comes this far, and nothing flows from here.
    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        for diff in io.bottom_diffs.iter_mut().flatten() {
            diff.data.fill(0.0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        layer::testing::{Bench, error_of, tensor},
        model_io::hdf5::File,
    };

    #[test]
    fn a_file_with_data_and_label() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.h5");
        let text = format!(
            "type: 'HDF5Output' hdf5_output_param {{ file_name: '{}' }}",
            path.display()
        );
        let data = tensor(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let mut bench = Bench::new(&text, &[data, tensor(&[2], &[7.0, 8.0])]);
        assert!(!path.exists());
        bench.forward();
        let read = |name: &str| {
            let file = File::open(&path).unwrap();
            let dataset = file.dataset(name).unwrap().unwrap();
            (dataset.shape().dims().to_vec(), dataset.read().unwrap())
        };
        assert_eq!(
            read("data"),
            (vec![2, 3, 1, 1], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        );
        assert_eq!(read("label"), (vec![2, 1, 1, 1], vec![7.0, 8.0]));
        // Two more batches; the last is in the file once the layer is gone.
        bench.forward();
        bench.forward();
        assert_eq!(read("label").0, [4, 1, 1, 1]);
        drop(bench);
        assert_eq!(read("label").1, [7.0, 8.0, 7.0, 8.0, 7.0, 8.0]);
    }

    #[test]
    fn errors() {
        let row = || tensor(&[1, 2], &[0.0; 2]);
        let error = error_of("type: 'HDF5Output'", &[row(), row()]);
        assert!(error.contains("hdf5_output_param.file_name"), "{error}");
        let text = "type: 'HDF5Output' hdf5_output_param { file_name: 'x.h5' }";
        let error = error_of(text, &[row(), tensor(&[2], &[0.0; 2])]);
        assert!(error.contains("1 and 2 rows"), "{error}");
        let text = "type: 'HDF5Output' hdf5_output_param { file_name: '/no/such/x.h5' }";
        let mut bench = Bench::new(text, &[row(), row()]);
        let error = bench.try_forward().unwrap_err();
        assert!(error.to_string().contains("/no/such"), "{error}");
    }
}
