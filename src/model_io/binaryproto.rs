//! One blob in a file, `.binaryproto`: Caffe's mean images; and the blobs inside every other file of weights.

use std::{fs, path::Path};

use prost::Message as _;

use super::write_file;
use crate::{
    error::{Error, Place, Result},
    schema::{BlobProto, BlobShape},
    tensor::{Shape, Tensor, View},
};

/// The shape a blob states: its four legacy fields where any is set, as in Caffe, else `shape`.
///
/// # Errors
/// `Format` where an extent is negative or the blob would be too large.
pub fn shape_of(blob: &BlobProto) -> Result<Shape> {
    let legacy = [blob.num, blob.channels, blob.height, blob.width];
    let stated: Vec<i64> = if legacy.iter().any(Option::is_some) {
        legacy.iter().map(|d| d.unwrap_or(0).into()).collect()
    } else {
        blob.shape
            .as_ref()
            .map(|s| s.dim.clone())
            .unwrap_or_default()
    };
    let dims: Option<Vec<usize>> = stated.iter().map(|&d| usize::try_from(d).ok()).collect();
    let Some(dims) = dims else {
        return Err(Error::format(format!(
            "a stored blob has the shape {stated:?}, which no blob can have"
        )));
    };
    Shape::checked(&dims).map_err(|e| Error::format(format!("a stored blob: {}", e.message())))
}

/// The values of a blob under its shape; `double_data` is rounded to `f32`.
///
/// # Errors
/// `Format` where the shape is impossible or holds another number of values than the blob brings.
pub fn to_tensor(blob: BlobProto) -> Result<Tensor> {
    let shape = shape_of(&blob)?;
    let data = if blob.double_data.is_empty() {
        blob.data
    } else {
        blob.double_data.iter().map(|&v| v as f32).collect()
    };
    if data.len() != shape.count() {
        return Err(disagree(&shape, data.len()));
    }
    Ok(Tensor { shape, data })
}

/// A shape and a number of values that do not go together.
pub(super) fn disagree(shape: &Shape, brings: usize) -> Error {
    Error::format(format!(
        "a stored blob has the shape {shape}, which is {} values, but brings {brings}",
        shape.count()
    ))
    .help("the file is damaged or was not written by Caffe; make or copy it again")
}

/// The blob that holds these values, its shape in `shape`: what snapshots hold.
pub fn from_view(view: View<'_>) -> BlobProto {
    BlobProto {
        shape: Some(BlobShape {
            // An extent is at most `Shape::MAX_COUNT`.
            dim: view.shape.dims().iter().map(|&d| d as i64).collect(),
        }),
        data: view.data.to_vec(),
        ..BlobProto::default()
    }
}

/// Decodes the bytes of a `.binaryproto`.
///
/// # Errors
/// `Format` where they are no blob, or a blob that does not hold together.
pub fn decode(bytes: &[u8]) -> Result<Tensor> {
    let blob = BlobProto::decode(bytes).map_err(|e| {
        Error::format(format!("these bytes are no stored blob: {e}")).help(
            "a .binaryproto holds one BlobProto; Caffe's compute_image_mean writes such files",
        )
    })?;
    to_tensor(blob)
}

/// Reads a `.binaryproto`.
///
/// # Errors
/// `Io` where the file cannot be read, `Format` as in [`decode`].
pub fn read_binaryproto(path: &Path) -> Result<Tensor> {
    let bytes = fs::read(path).map_err(|e| Error::io("read", path, &e))?;
    decode(&bytes).map_err(|e| e.at(Place::File(path.display().to_string())))
}

/// Writes a `.binaryproto`. Four axes go into the legacy fields, because that is what readers of mean images
/// expect; any other number goes into `shape`.
///
/// # Errors
/// `Io` where the file cannot be written; a file that was there then stays whole.
pub fn write_binaryproto(path: &Path, view: View<'_>) -> Result<()> {
    let mut blob = from_view(view);
    let legacy: Option<Vec<i32>> = view
        .shape
        .dims()
        .iter()
        .map(|&d| i32::try_from(d).ok())
        .collect();
    if let Some(&[num, channels, height, width]) = legacy.as_deref() {
        blob.shape = None;
        blob.num = Some(num);
        blob.channels = Some(channels);
        blob.height = Some(height);
        blob.width = Some(width);
    }
    let bytes = blob.encode_to_vec();
    write_file(path, &bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    fn legacy(dims: [i32; 4], data: Vec<f32>) -> BlobProto {
        let [num, channels, height, width] = dims.map(Some);
        BlobProto {
            num,
            channels,
            height,
            width,
            data,
            ..BlobProto::default()
        }
    }

    #[test]
    fn both_forms_of_shape_and_both_kinds_of_values() {
        let old = to_tensor(legacy([1, 1, 2, 2], vec![1., 2., 3., 4.])).unwrap();
        assert_eq!(old.shape, Shape::from([1, 1, 2, 2]));
        let new = to_tensor(BlobProto {
            shape: Some(BlobShape { dim: vec![2] }),
            double_data: vec![0.5, -1.0],
            ..BlobProto::default()
        })
        .unwrap();
        assert_eq!(new, Tensor::new([2], vec![0.5, -1.0]).unwrap());
    }

    #[test]
    fn a_scalar_has_no_axes() {
        let blob = BlobProto {
            shape: Some(BlobShape::default()),
            data: vec![7.0],
            ..BlobProto::default()
        };
        assert_eq!(to_tensor(blob).unwrap().shape.axes(), 0);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let error = to_tensor(legacy([1, 3, 2, 2], vec![0.0; 11])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Format);
        assert!(
            error.message().contains("[1, 3, 2, 2]") && error.message().contains("12 values"),
            "{error}"
        );
        assert!(error.message().contains("brings 11"), "{error}");
        for dims in [[-1, 1, 1, 1], [i32::MAX; 4]] {
            let error = to_tensor(legacy(dims, vec![])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Format, "{error}");
        }
    }

    #[test]
    fn files_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mean.binaryproto");
        for dims in [&[1, 3, 1, 2][..], &[6], &[2, 3], &[1, 1, 1, 2, 3]] {
            let shape = Shape::new(dims);
            let tensor = Tensor::new(shape, (0u8..6).map(f32::from).collect()).unwrap();
            write_binaryproto(&path, tensor.view()).unwrap();
            assert_eq!(read_binaryproto(&path).unwrap(), tensor);
        }
    }

    #[test]
    fn a_foreign_file_is_a_format_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mean.txt");
        fs::write(&path, "not a blob").unwrap();
        let error = read_binaryproto(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Format);
        assert!(error.to_string().contains("mean.txt"), "{error}");
    }

    #[test]
    #[allow(clippy::print_stderr, reason = "a skipped test says so")]
    fn the_recorded_mean_images() {
        let Ok(shared) = std::env::var("CORTADO_SHARED") else {
            eprintln!("skipped: CORTADO_SHARED is not set");
            return;
        };
        let mut seen = 0;
        for run in fs::read_dir(Path::new(&shared).join("reference/runs")).unwrap() {
            let path = run.unwrap().path().join("mean.binaryproto");
            if path.exists() {
                let mean = read_binaryproto(&path).unwrap();
                assert_eq!(mean.shape.axes(), 4, "{}", mean.shape);
                assert!(mean.data.iter().all(|v| (0.0..=255.0).contains(v)));
                seen += 1;
            }
        }
        assert!(seen > 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
