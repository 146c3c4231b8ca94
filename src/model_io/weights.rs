//! Files of weights as such, whatever net they belong to: read and written in each form, renamed, cut down, compared.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    io::Read as _,
    path::Path,
};

use prost::Message as _;

use super::{
    atomic_write,
    binaryproto::to_tensor,
    caffemodel,
    hdf5::{Content, Tree, write},
    npz, write_file,
};
use crate::{
    error::{Error, ErrorKind, Place, Result},
    schema::{BlobProto, BlobShape, LayerParameter, NetParameter},
    tensor::{Shape, Tensor, View},
};

/// A file of weights, whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// The net's name; empty where the file has none.
    pub name: String,
    /// In the file's order.
    pub layers: Vec<Layer>,
}

/// The weights of a layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layer {
    /// What else the file says of the layer: its name at least, no blobs.
    pub param: LayerParameter,
    /// Its parameters; `None` for one that the file leaves to the layer that shares it.
    pub blobs: Vec<Option<Tensor>>,
}

/// The forms of a file of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `.caffemodel`: a `NetParameter`.
    Binary,
    /// `.caffemodel.h5`: datasets `/data/<layer>/<i>`.
    Hdf5,
    /// `.npz`: arrays `<layer>/<i>`.
    Npz,
}

impl Form {
    /// The form that a file's name asks for.
    pub fn of(path: &Path) -> Self {
        let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        match ending.as_deref() {
            Some("h5" | "hdf5") => Self::Hdf5,
            Some("npz") => Self::Npz,
            _ => Self::Binary,
        }
    }
}

impl Layer {
    /// Its name.
    pub fn name(&self) -> &str {
        self.param.name()
    }

    /// Its type; empty where the file does not say.
    pub fn kind(&self) -> &str {
        self.param.r#type()
    }

    /// Its parameters that are there, with their numbers.
    pub fn tensors(&self) -> impl Iterator<Item = (usize, &Tensor)> {
        let all = self.blobs.iter().enumerate();
        all.filter_map(|(i, blob)| Some((i, blob.as_ref()?)))
    }
}

impl Model {
    /// Reads a file in any form, which its first bytes tell.
    ///
    /// # Errors
    /// `Io` where it cannot be read, `Format` where it is damaged or something else.
    pub fn read(path: &Path) -> Result<Self> {
        let mut head = [0; 4];
        let is_zip = fs::File::open(path)
            .and_then(|mut f| f.read_exact(&mut head))
            .is_ok_and(|()| head == *b"PK\x03\x04");
        let model = if is_zip {
            Self::from_arrays(npz::read_npz(path)?)
        } else {
            Self::from_message(caffemodel::read(path)?)
        };
        model.map_err(|e| e.at(Place::File(path.display().to_string())))
    }

    /// The weights of a message.
    ///
    /// # Errors
    /// `Format` where a blob does not hold together.
    pub fn from_message(net: NetParameter) -> Result<Self> {
        let mut layers = Vec::with_capacity(net.layer.len());
        for mut param in net.layer {
            let blobs = std::mem::take(&mut param.blobs);
            let read = |blob: BlobProto| {
                let absent = blob.shape.is_none()
                    && blob.data.is_empty()
                    && blob.double_data.is_empty()
                    && blob.num.is_none();
                (!absent).then(|| to_tensor(blob)).transpose()
            };
            let blobs = blobs.into_iter().map(read).collect::<Result<_>>();
            let blobs = blobs.map_err(|e: Error| {
                let text = format!("layer '{}': {}", param.name(), e.message());
                Error::new(e.kind(), text)
            })?;
            layers.push(Layer { param, blobs });
        }
        Ok(Self {
            name: net.name.unwrap_or_default(),
            layers,
        })
    }

    fn from_arrays(arrays: BTreeMap<String, Tensor>) -> Result<Self> {
        let mut model = Self::default();
        for (key, tensor) in arrays {
            let place = key.rsplit_once('/').and_then(|(layer, i)| {
                let i: usize = i.parse().ok()?;
                (i < 64).then_some((layer, i))
            });
            let Some((layer, i)) = place else {
                return Err(
                    Error::format(format!("array '{key}' is no parameter of a layer"))
                        .help("arrays of weights are named <layer>/<number>: conv1/0, conv1/1"),
                );
            };
            if model.layers.last().is_none_or(|l| l.name() != layer) {
                model.layers.push(Layer {
                    param: LayerParameter {
                        name: Some(layer.to_owned()),
                        ..LayerParameter::default()
                    },
                    blobs: Vec::new(),
                });
            }
            if let Some(last) = model.layers.last_mut() {
                // "10" comes before "2".
                let length = last.blobs.len().max(i + 1);
                last.blobs.resize(length, None);
                last.blobs[i] = Some(tensor);
            }
        }
        Ok(model)
    }

    /// The weights as a message, as Caffe stores them.
    ///
    /// # Errors
    /// `Weights` where a parameter is missing that only the net could tell.
    pub fn into_message(self) -> Result<NetParameter> {
        let mut net = NetParameter {
            name: Some(self.name),
            ..NetParameter::default()
        };
        for Layer { mut param, blobs } in self.layers {
            for (i, blob) in blobs.into_iter().enumerate() {
                let Some(tensor) = blob else {
                    return Err(shared(param.name(), i));
                };
                param.blobs.push(BlobProto {
                    shape: Some(BlobShape {
                        // An extent is at most `Shape::MAX_COUNT`.
                        dim: tensor.shape.dims().iter().map(|&d| d as i64).collect(),
                    }),
                    data: tensor.data,
                    ..BlobProto::default()
                });
            }
            net.layer.push(param);
        }
        Ok(net)
    }

    /// Writes a file in the form that its name asks for.
    ///
    /// # Errors
    /// `Io` where it cannot be written, which then stays as it was; `Weights` and `Format` where the form cannot hold
    /// these weights.
    pub fn write(self, path: &Path) -> Result<()> {
        match Form::of(path) {
            Form::Binary => write_message(path, &self.into_message()?),
            Form::Hdf5 => {
                let mut root = Tree::default();
                root.group("data")?;
                for layer in self.layers.iter().filter(|l| !l.name().is_empty()) {
                    let group = root.group(&format!("data/{}", layer.name()))?;
                    for (i, tensor) in layer.tensors() {
                        group.dataset(&i.to_string(), Content::Floats(tensor.view()))?;
                    }
                }
                atomic_write(path, |out| {
                    write(out, &root).map_err(|e| Error::io("write", path, &e))
                })
            }
            Form::Npz => {
                let mut arrays: Vec<(String, View<'_>)> = Vec::new();
                let mut seen = HashSet::new();
                for layer in &self.layers {
                    for (i, tensor) in layer.tensors() {
                        let key = format!("{}/{i}", layer.name());
                        if !seen.insert(key.clone()) {
                            return Err(Error::format(format!(
                                "two layers of the name '{}' would be in one .npz",
                                layer.name()
                            )));
                        }
                        arrays.push((key, tensor.view()));
                    }
                }
                npz::write_npz(path, arrays, false)
            }
        }
    }

    /// Values of all parameters.
    pub fn count(&self) -> usize {
        let all = self.layers.iter().flat_map(Layer::tensors);
        all.map(|(_, t)| t.data.len()).sum()
    }

    /// Renames layers. Of each pair the first is a name, or the beginning of names where it ends with `*`; then the
    /// second, which ends so too, takes its place. Returns how many were renamed.
    ///
    /// # Errors
    /// `Param` where a pair makes no sense or fits no layer; `Weights` where two layers would have one name.
    pub fn rename(&mut self, pairs: &[(String, String)]) -> Result<usize> {
        let mut renamed = 0;
        let mut old: Vec<String> = self.layers.iter().map(|l| l.name().to_owned()).collect();
        for (from, to) in pairs {
            if from.ends_with('*') != to.ends_with('*') || to.is_empty() {
                return Err(Error::param(
                    "--rename",
                    format!("'{from}:{to}' has a * on one side only, or no new name"),
                ));
            }
            let mut fits = 0;
            for (layer, name) in self.layers.iter_mut().zip(&mut old) {
                let new = match from.strip_suffix('*') {
                    Some(prefix) => name
                        .strip_prefix(prefix)
                        .map(|rest| format!("{}{rest}", to.trim_end_matches('*'))),
                    None => (*name == *from).then(|| to.clone()),
                };
                if let Some(new) = new {
                    layer.param.name = Some(new);
                    // Each layer goes by its first rule.
                    name.clear();
                    fits += 1;
                }
            }
            if fits == 0 {
                return Err(Error::param(
                    "--rename",
                    format!("no layer is named '{from}'"),
                ));
            }
            renamed += fits;
        }
        let mut names = HashSet::new();
        let mut weighted = self.layers.iter().filter(|l| !l.blobs.is_empty());
        match weighted.find(|l| !names.insert(l.name())) {
            Some(twice) => Err(Error::new(
                ErrorKind::Weights,
                format!("two layers would be named '{}'", twice.name()),
            )),
            None => Ok(renamed),
        }
    }

    /// Takes out layers by name, or by the beginning of it where that ends with `*`; and all that have no weights.
    /// Returns the names of those that had some.
    ///
    /// # Errors
    /// `Param` where a name fits no layer.
    pub fn strip(&mut self, names: &[String]) -> Result<Vec<String>> {
        let fits = |pattern: &String, name: &str| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => pattern == name,
        };
        for pattern in names {
            if !self.layers.iter().any(|l| fits(pattern, l.name())) {
                return Err(Error::param(
                    "--layers",
                    format!("no layer is named '{pattern}'"),
                ));
            }
        }
        let mut gone = Vec::new();
        self.layers.retain(|layer| {
            let goes = names.iter().any(|pattern| fits(pattern, layer.name()));
            if goes && !layer.blobs.is_empty() {
                gone.push(layer.name().to_owned());
            }
            !goes && !layer.blobs.is_empty()
        });
        Ok(gone)
    }
}

fn shared(layer: &str, i: usize) -> Error {
    Error::new(
        ErrorKind::Weights,
        format!("parameter {i} of layer '{layer}' is shared with another layer, and this file does not say with which"),
    )
    .help("HDF5 files keep shared parameters once; load them into their net with --weights and save a snapshot")
}

/// Writes a net with its blobs as a `.caffemodel`.
///
/// # Errors
/// `Io` where the file cannot be written, which then stays as it was.
pub fn write_message(path: &Path, net: &NetParameter) -> Result<()> {
    write_file(path, &net.encode_to_vec())
}

/// Figures of some values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// How many there are.
    pub count: usize,
    /// How many are 0.
    pub zeros: usize,
    /// How many are not finite; the others do not count them.
    pub bad: usize,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
    /// The (biased) deviation from it.
    pub std: f64,
    /// Σ |x|.
    pub l1: f64,
    /// √ Σ x².
    pub l2: f64,
}

impl Figures {
    /// Those of some values.
    pub fn of(data: &[f32]) -> Self {
        let finite = || data.iter().filter(|x| x.is_finite()).map(|&x| f64::from(x));
        let good = finite().count();
        let (sum, square) = finite().fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
        let mean = if good == 0 { 0.0 } else { sum / good as f64 };
        let spread: f64 = finite().map(|x| (x - mean) * (x - mean)).sum();
        Self {
            count: data.len(),
            zeros: data.iter().filter(|&&x| x == 0.0).count(),
            bad: data.len() - good,
            min: finite().reduce(f64::min).unwrap_or(0.0),
            max: finite().reduce(f64::max).unwrap_or(0.0),
            mean,
            std: (spread / good.max(1) as f64).sqrt(),
            l1: finite().map(f64::abs).sum(),
            l2: square.sqrt(),
        }
    }

    /// How many values lie in each of `bins` equal parts from the smallest to the largest.
    pub fn histogram(&self, data: &[f32], bins: usize) -> Vec<u64> {
        let mut counts = vec![0; bins.max(1)];
        let width = self.max - self.min;
        let last = counts.len() - 1;
        for x in data.iter().filter(|x| x.is_finite()) {
            let part = if width > 0.0 {
                (f64::from(*x) - self.min) / width
            } else {
                0.5
            };
            counts[((part * (last + 1) as f64) as usize).min(last)] += 1;
        }
        counts
    }
}

/// A parameter of two files of weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The layer's name.
    pub layer: String,
    /// Which of its parameters.
    pub index: usize,
    /// The shape in each file; `None` where it is not there.
    pub shapes: [Option<Shape>; 2],
    /// Where both have as many values: how far they are apart.
    pub apart: Option<Apart>,
}

/// How far two lists of values are apart.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Apart {
    /// The largest difference of two values.
    pub max: f64,
    /// √ Σ (a - b)² / √ Σ a²; infinite where all of the first are 0 and the second are not.
    pub relative: f64,
    /// How many values differ.
    pub count: usize,
}

impl Difference {
    /// Whether both files have it, in one shape. Axes of extent 1 do not count: old files have four axes throughout.
    pub fn same_shape(&self) -> bool {
        let squeezed = |shape: &Shape| -> Vec<usize> {
            shape.dims().iter().copied().filter(|&d| d != 1).collect()
        };
        match &self.shapes {
            [Some(a), Some(b)] => squeezed(a) == squeezed(b),
            _ => false,
        }
    }

    /// Whether it is none.
    pub fn is_none(&self) -> bool {
        self.same_shape() && self.apart.is_some_and(|a| a.count == 0)
    }
}

/// Compares two files of weights, layer by layer, by name and in the order of the first; what only the second has comes
/// last.
pub fn compare(a: &Model, b: &Model) -> Vec<Difference> {
    let mut rows = Vec::new();
    for layer in &a.layers {
        let other = b.layers.iter().find(|l| l.name() == layer.name());
        let theirs = other.map_or(&[][..], |l| &l.blobs);
        for i in 0..layer.blobs.len().max(theirs.len()) {
            let pair = [layer.blobs.get(i), theirs.get(i)].map(|t| t.and_then(Option::as_ref));
            rows.push(difference(layer.name(), i, pair));
        }
    }
    for layer in &b.layers {
        if a.layers.iter().all(|l| l.name() != layer.name()) {
            for (i, tensor) in layer.tensors() {
                rows.push(difference(layer.name(), i, [None, Some(tensor)]));
            }
        }
    }
    rows
}

fn difference(layer: &str, index: usize, pair: [Option<&Tensor>; 2]) -> Difference {
    let apart = match pair {
        [Some(a), Some(b)] if a.data.len() == b.data.len() => Some(apart(&a.data, &b.data)),
        _ => None,
    };
    Difference {
        layer: layer.to_owned(),
        index,
        shapes: pair.map(|t| t.map(|t| t.shape.clone())),
        apart,
    }
}

fn apart(a: &[f32], b: &[f32]) -> Apart {
    let mut found = Apart::default();
    let (mut square, mut own) = (0.0f64, 0.0f64);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (f64::from(a), f64::from(b));
        own += a * a;
        // Two that are equally not finite are equal.
        if a == b || (a.is_nan() && b.is_nan()) {
            continue;
        }
        found.count += 1;
        let d = (a - b).abs();
        found.max = if d.is_nan() {
            f64::INFINITY
        } else {
            found.max.max(d)
        };
        square += d * d;
    }
    found.relative = match (square.sqrt(), own.sqrt()) {
        (0.0, _) => 0.0,
        (d, own) => d / own,
    };
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(layers: &[(&str, &[&[f32]])]) -> Model {
        let layers = layers.iter().map(|(name, blobs)| Layer {
            param: LayerParameter {
                name: Some((*name).to_owned()),
                ..LayerParameter::default()
            },
            blobs: blobs
                .iter()
                .map(|data| Some(Tensor::new([data.len()], data.to_vec()).unwrap()))
                .collect(),
        });
        Model {
            name: String::new(),
            layers: layers.collect(),
        }
    }

    #[test]
    fn each_form_holds_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let own = model(&[("a", &[&[1., 2.], &[3.]]), ("b/c", &[&[4.]])]);
        for name in ["w.caffemodel", "w.caffemodel.h5", "w.npz"] {
            let path = dir.path().join(name);
            own.clone().write(&path).unwrap();
            assert_eq!(Model::read(&path).unwrap(), own, "{name}");
        }
        assert_eq!(own.count(), 4);
        fs::write(dir.path().join("bad"), "text").unwrap();
        assert!(Model::read(&dir.path().join("bad")).is_err());
    }

    #[test]
    fn layers_are_renamed_and_taken_out() {
        let all: &[(&str, &[&[f32]])] = &[
            ("a1", &[&[1.]]),
            ("a2", &[&[2.]]),
            ("b", &[&[3.]]),
            ("n", &[]),
        ];
        let mut own = model(all);
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            own.rename(&[pair("a*", "x/*"), pair("b", "a1")]).unwrap(),
            3
        );
        let names: Vec<&str> = own.layers.iter().map(Layer::name).collect();
        assert_eq!(names, ["x/1", "x/2", "a1", "n"]);
        assert!(own.rename(&[pair("no", "x")]).is_err());
        assert!(own.rename(&[pair("x/1", "x/2")]).is_err());
        let mut own = model(all);
        assert_eq!(own.strip(&["a*".to_owned()]).unwrap(), ["a1", "a2"]);
        assert_eq!(own.layers.len(), 1);
        assert!(own.strip(&["a*".to_owned()]).is_err());
    }

    #[test]
    fn differences_are_told() {
        let (a, b) = (
            model(&[("a", &[&[3., 4.]]), ("b", &[&[1.]])]),
            model(&[("a", &[&[3., 5.]]), ("c", &[&[1.]])]),
        );
        let rows = compare(&a, &b);
        let apart = rows[0].apart.unwrap();
        assert_eq!((apart.max, apart.relative, apart.count), (1.0, 0.2, 1));
        assert!(rows[1].shapes[1].is_none() && rows[2].shapes[0].is_none());
        assert!(compare(&a, &a).iter().all(Difference::is_none));
    }

    #[test]
    fn figures_leave_out_what_is_not_finite() {
        let f = Figures::of(&[0.0, 2.0, f32::NAN, -2.0]);
        assert_eq!((f.count, f.zeros, f.bad), (4, 1, 1));
        assert_eq!((f.min, f.max, f.mean, f.l1), (-2.0, 2.0, 0.0, 4.0));
        assert_eq!(f.histogram(&[0.0, 2.0, f32::NAN, -2.0], 2), [1, 2]);
        assert_eq!(Figures::of(&[]).l2, 0.0);
    }
}
