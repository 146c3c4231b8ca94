//! The messages of ONNX, how a file of them is read and written, and short ways to make their parts.

use std::{fs, path::Path};

use half::{bf16, f16};
use prost::Message as _;

use crate::{
    error::{Error, Place, Result},
    model_io::write_file,
    tensor::Shape,
};

mod generated {
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        rustdoc::all,
        reason = "made by prost-build from proto/onnx.proto"
    )]
    include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
}

pub use generated::*;

use attribute_proto::AttributeType;
use tensor_proto::{DataLocation, DataType};
use type_proto::Tensor as TensorType;

/// Most bytes of a protobuf message.
const LIMIT: usize = i32::MAX as usize;

/// Reads a model.
///
/// # Errors
/// `Io` where the file cannot be read, `Format` where it is no ONNX model.
pub fn read(path: &Path) -> Result<ModelProto> {
    let placed = |e: Error| e.at(Place::File(path.display().to_string()));
    let bytes = fs::read(path).map_err(|e| Error::io("read", path, &e))?;
    let none = |why: String| {
        placed(Error::format(format!("this is no ONNX model: {why}")).help(
            "give the .onnx file that an exporter wrote; the way from Caffe's files to one is export-onnx",
        ))
    };
    if bytes.is_empty() {
        return Err(none("the file is empty".to_owned()));
    }
    let model = ModelProto::decode(&bytes[..]).map_err(|e| none(e.to_string()))?;
    if model.graph.is_none() {
        return Err(none("it has no graph".to_owned()));
    }
    Ok(model)
}

/// Writes a model.
///
/// # Errors
/// `Io` where the file cannot be written, which then stays as it was; `Unsupported` for more than 2 GiB.
pub fn write(path: &Path, model: &ModelProto) -> Result<()> {
    if model.encoded_len() > LIMIT {
        return Err(Error::unsupported(
            "the model is larger than 2 GiB, which one ONNX file cannot hold",
        ));
    }
    write_file(path, &model.encode_to_vec())
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(kind.into()),
        ..AttributeProto::default()
    }
}

/// An attribute of one integer.
pub(super) fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        i: Some(i),
        ..attribute(name, AttributeType::Int)
    }
}

/// An attribute of integers.
pub(super) fn ints(name: &str, ints: impl IntoIterator<Item = usize>) -> AttributeProto {
    AttributeProto {
        ints: ints.into_iter().map(|i| i as i64).collect(),
        ..attribute(name, AttributeType::Ints)
    }
}

/// An attribute of one number.
pub(super) fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto {
        f: Some(f),
        ..attribute(name, AttributeType::Float)
    }
}

/// An attribute of text.
pub(super) fn text(name: &str, s: &str) -> AttributeProto {
    AttributeProto {
        s: Some(s.as_bytes().to_vec()),
        ..attribute(name, AttributeType::String)
    }
}

/// A tensor of floats.
pub(super) fn floats_tensor(name: &str, dims: &[usize], data: &[f32]) -> TensorProto {
    TensorProto {
        dims: dims.iter().map(|&d| d as i64).collect(),
        data_type: Some(DataType::Float.into()),
        name: Some(name.to_owned()),
        raw_data: Some(data.iter().flat_map(|x| x.to_le_bytes()).collect()),
        ..TensorProto::default()
    }
}

/// A list of integers; a scalar where `list` says no.
pub(super) fn ints_tensor(name: &str, data: &[i64], list: bool) -> TensorProto {
    TensorProto {
        dims: if list {
            vec![data.len() as i64]
        } else {
            Vec::new()
        },
        data_type: Some(DataType::Int64.into()),
        name: Some(name.to_owned()),
        raw_data: Some(data.iter().flat_map(|x| x.to_le_bytes()).collect()),
        ..TensorProto::default()
    }
}

/// A value of floats of this shape; the first extent by a name where `batch` gives one.
pub(super) fn value(name: &str, shape: &Shape, batch: Option<&str>) -> ValueInfoProto {
    let dim = |(i, &d): (usize, &usize)| match batch.filter(|_| i == 0) {
        Some(batch) => tensor_shape_proto::Dimension {
            dim_param: Some(batch.to_owned()),
            dim_value: None,
        },
        None => tensor_shape_proto::Dimension {
            dim_value: Some(d as i64),
            dim_param: None,
        },
    };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorType {
                elem_type: Some(DataType::Float.into()),
                shape: Some(TensorShapeProto {
                    dim: shape.dims().iter().enumerate().map(dim).collect(),
                }),
            }),
        }),
    }
}

/// A stored tensor, read: its extents, and its numbers as both kinds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    pub(super) dims: Vec<usize>,
    pub(super) data: Numbers,
}

/// Numbers of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Numbers {
    Floats(Vec<f32>),
    Ints(Vec<i64>),
}

impl Stored {
    /// Reads a tensor.
    ///
    /// # Errors
    /// `Format` where it does not hold together, `Unsupported` for kinds of numbers or places that are not read.
    pub(super) fn read(tensor: &TensorProto) -> Result<Self> {
        let name = tensor.name();
        if tensor.data_location() == DataLocation::External {
            return Err(Error::unsupported(format!(
                "the numbers of '{name}' are in a file beside the model"
            ))
            .help("save the model as one file: onnx.save(model, path) with save_as_external_data=False"));
        }
        let wrong = |what: String| Error::format(format!("tensor '{name}' {what}"));
        let dims: Vec<usize> = tensor
            .dims
            .iter()
            .map(|&d| usize::try_from(d))
            .collect::<Result<_, _>>()
            .map_err(|_| wrong(format!("has shape {:?}", tensor.dims)))?;
        let count = dims
            .iter()
            .try_fold(1usize, |n, &d| n.checked_mul(d))
            .ok_or_else(|| wrong(format!("has shape {dims:?}")))?;
        let kind = DataType::try_from(tensor.data_type()).unwrap_or(DataType::Undefined);
        let raw = tensor.raw_data.as_deref();
        let data = match (kind, raw) {
            (DataType::Float, Some(raw)) => Numbers::Floats(of_bytes(raw, f32::from_le_bytes)),
            (DataType::Float, None) => Numbers::Floats(tensor.float_data.clone()),
            (DataType::Double, Some(raw)) => {
                Numbers::Floats(of_bytes(raw, |b| f64::from_le_bytes(b) as f32))
            }
            (DataType::Double, None) => {
                Numbers::Floats(tensor.double_data.iter().map(|&x| x as f32).collect())
            }
            (DataType::Float16, Some(raw)) => {
                Numbers::Floats(of_bytes(raw, |b| f16::from_le_bytes(b).to_f32()))
            }
            (DataType::Bfloat16, Some(raw)) => {
                Numbers::Floats(of_bytes(raw, |b| bf16::from_le_bytes(b).to_f32()))
            }
            (DataType::Int64, Some(raw)) => Numbers::Ints(of_bytes(raw, i64::from_le_bytes)),
            (DataType::Int64, None) => Numbers::Ints(tensor.int64_data.clone()),
            (DataType::Int32, Some(raw)) => {
                Numbers::Ints(of_bytes(raw, |b| i64::from(i32::from_le_bytes(b))))
            }
            (DataType::Int32, None) => {
                Numbers::Ints(tensor.int32_data.iter().map(|&x| x.into()).collect())
            }
            (DataType::Bool | DataType::Uint8, Some(raw)) => {
                Numbers::Ints(raw.iter().map(|&b| b.into()).collect())
            }
            _ => {
                return Err(Error::unsupported(format!(
                    "tensor '{name}' holds numbers of the kind {}",
                    kind.as_str_name()
                )));
            }
        };
        let brings = match &data {
            Numbers::Floats(data) => data.len(),
            Numbers::Ints(data) => data.len(),
        };
        if brings != count {
            return Err(wrong(format!(
                "of shape {dims:?} would hold {count} values, but brings {brings}"
            )));
        }
        Ok(Self { dims, data })
    }

    /// The numbers as floats.
    pub(super) fn floats(&self) -> Vec<f32> {
        match &self.data {
            Numbers::Floats(data) => data.clone(),
            Numbers::Ints(data) => data.iter().map(|&x| x as f32).collect(),
        }
    }

    /// The numbers as integers; floats are none.
    pub(super) fn ints(&self) -> Option<&[i64]> {
        match &self.data {
            Numbers::Ints(data) => Some(data),
            Numbers::Floats(_) => None,
        }
    }
}

fn of_bytes<const N: usize, T>(raw: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
    // A rest that is no whole number makes the count differ, which the caller tells.
    let (whole, rest) = raw.as_chunks();
    if rest.is_empty() {
        whole.iter().map(|&bytes| number(bytes)).collect()
    } else {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_of_many_kinds() {
        let of = |kind: DataType, raw: Vec<u8>| TensorProto {
            dims: vec![2],
            data_type: Some(kind.into()),
            raw_data: Some(raw),
            ..TensorProto::default()
        };
        let halves = vec![0x00, 0x3c, 0x00, 0xc0];
        let read = |t: &TensorProto| Stored::read(t).unwrap();
        assert_eq!(
            read(&of(DataType::Float16, halves.clone())).floats(),
            [1.0, -2.0]
        );
        let longs = [5i64, -1].map(i64::to_le_bytes).concat();
        assert_eq!(read(&of(DataType::Int64, longs)).ints(), Some(&[5, -1][..]));
        assert_eq!(
            read(&floats_tensor("x", &[1, 2], &[0.5, 1.5])).floats(),
            [0.5, 1.5]
        );
        assert!(Stored::read(&of(DataType::Float, halves)).is_err());
        let mut outside = of(DataType::Float, Vec::new());
        outside.data_location = Some(DataLocation::External.into());
        let error = Stored::read(&outside).unwrap_err();
        assert!(error.message().contains("beside the model"), "{error}");
        let mut huge = of(DataType::Float, Vec::new());
        huge.dims = vec![i64::MAX, i64::MAX];
        assert!(Stored::read(&huge).is_err());
    }

    #[test]
    fn what_is_no_model_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.onnx");
        fs::write(&path, "name: 'net'").unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.to_string().contains("no ONNX model"), "{error}");
        fs::write(&path, "").unwrap();
        assert!(read(&path).is_err());
    }
}
