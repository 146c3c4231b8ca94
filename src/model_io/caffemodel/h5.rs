//! The weights of a net as HDF5, `.caffemodel.h5`: a dataset `/data/<layer>/<i>` for each parameter, and a group for
//! each layer without any. A parameter that several layers share is stored with the first of them.
//!
//! A layer of the name `a/b` is a group in a group, which Caffe itself fails to write.

use std::{
    collections::HashSet,
    fs::File as FsFile,
    io::{self, Read as _},
    path::Path,
};

use crate::{
    error::{Error, Result},
    model_io::{
        atomic_write,
        hdf5::{Content, Dataset, File, Group, Object, Tree, is_hdf5, write},
    },
    net::Net,
    params::Params,
    schema::{BlobProto, BlobShape, LayerParameter, NetParameter},
    tensor::View,
};

/// Whether a file begins as HDF5 files do.
pub(in crate::model_io) fn detect(path: &Path) -> io::Result<bool> {
    let file = FsFile::open(path)?;
    let mut head = Vec::new();
    if file.metadata()?.is_file() {
        file.take(16).read_to_end(&mut head)?;
    }
    Ok(is_hdf5(&head))
}

/// An open file and the paths of its parameters.
pub(super) struct Stored {
    file: File,
    paths: Vec<String>,
}

/// Groups within groups: as many as a layer's name has slashes.
const DEEPEST: usize = 16;

impl Stored {
    /// The layers of a file, their blobs with shapes only.
    pub(super) fn open(path: &Path) -> Result<(NetParameter, Self)> {
        let file = File::open(path)?;
        let mut net = NetParameter::default();
        let mut paths = Vec::new();
        let Some(Object::Group(data)) = file.find("data")? else {
            let error =
                Error::format("this is no file of weights: the HDF5 file has no group 'data'");
            return Err(error.help(if file.root()?.names().any(|name| name == "history") {
                "give the .caffemodel.h5 that was saved beside it; a .solverstate.h5 is for resuming (-snapshot)"
            } else {
                "give a .caffemodel.h5, as Caffe's snapshots are"
            }));
        };
        let mut seen = HashSet::new();
        layers(&file, &data, "", DEEPEST, &mut seen, &mut net, &mut paths)?;
        if net.layer.is_empty() {
            return Err(Error::format("the file holds no layers"));
        }
        Ok((net, Self { file, paths }))
    }

    fn dataset(&self, blob: &BlobProto) -> Result<Dataset<'_>> {
        let index = blob.double_diff.first().map_or(usize::MAX, |&i| i as usize);
        let found = self.paths.get(index).map(|path| self.file.dataset(path));
        found
            .transpose()?
            .flatten()
            .ok_or_else(|| Error::format("a parameter is gone from the file"))
    }

    /// How many numbers the file has for a blob.
    pub(super) fn count(&self, blob: &BlobProto) -> usize {
        self.dataset(blob).map_or(0, |d| d.shape().count())
    }

    /// Reads the numbers of a blob.
    pub(super) fn read(&self, blob: &BlobProto, to: &mut [f32]) -> Result<()> {
        self.dataset(blob)?.read_into(to)
    }
}

/// Whether the file leaves a blob out, because another layer has it.
pub(super) fn is_absent(blob: &BlobProto) -> bool {
    blob.double_diff.is_empty()
}

/// Adds the layers in a group, whose names begin with `prefix`. A group with numbered datasets, or with nothing in it,
/// is a layer.
fn layers(
    file: &File,
    group: &Group,
    prefix: &str,
    deeper: usize,
    seen: &mut HashSet<u64>,
    net: &mut NetParameter,
    paths: &mut Vec<String>,
) -> Result<()> {
    for name in group.names() {
        let Some(Object::Group(inner)) = file.get(group, name)? else {
            continue;
        };
        let layer = format!("{prefix}{name}");
        if deeper == 0 || !seen.insert(inner.id()) {
            return Err(Error::format(format!(
                "the groups of the HDF5 file go in circles at '{layer}'"
            )));
        }
        let mut numbers: Vec<usize> = inner.names().filter_map(|n| n.parse().ok()).collect();
        numbers.sort_unstable();
        let mut blobs: Vec<BlobProto> = Vec::new();
        for number in numbers {
            let path = format!("data/{layer}/{number}");
            let Some(Object::Dataset(dataset)) = file.get(&inner, &number.to_string())? else {
                continue;
            };
            // Holes are parameters that other layers own; there are few.
            if number > blobs.len() + MOST_HOLES {
                return Err(Error::format(format!(
                    "'{path}' is a parameter of no layer"
                )));
            }
            blobs.resize(number, BlobProto::default());
            blobs.push(BlobProto {
                shape: Some(BlobShape {
                    // An extent is at most `Shape::MAX_COUNT`.
                    dim: dataset.shape().dims().iter().map(|&d| d as i64).collect(),
                }),
                double_diff: vec![paths.len() as f64],
                ..BlobProto::default()
            });
            paths.push(path);
        }
        let is_layer = !blobs.is_empty() || inner.names().next().is_none();
        layers(
            file,
            &inner,
            &format!("{layer}/"),
            deeper - 1,
            seen,
            net,
            paths,
        )?;
        if is_layer {
            net.layer.push(LayerParameter {
                name: Some(layer),
                blobs,
                ..LayerParameter::default()
            });
        }
    }
    Ok(())
}

const MOST_HOLES: usize = 64;

/// Writes the net's weights; with the gradients, under `/diff`, where `diff` says so.
///
/// # Errors
/// `Io` where the file cannot be written; `Format` where a layer's name is none that HDF5 can hold.
pub fn write_hdf5(path: &Path, net: &Net, params: &Params, diff: bool) -> Result<()> {
    let mut root = Tree::default();
    root.group("data")?;
    if diff {
        root.group("diff")?;
    }
    let mut stored = HashSet::new();
    for node in &net.graph().nodes {
        if node.name.is_empty() && node.params.is_empty() {
            continue;
        }
        let name = &node.name;
        let data = root.group(&format!("data/{name}"))?;
        for (i, &id) in node.params.iter().enumerate() {
            if stored.insert(id) {
                data.dataset(&i.to_string(), Content::Floats(params[id].value.view()))?;
            }
        }
        if !diff {
            continue;
        }
        let diffs = root.group(&format!("diff/{name}"))?;
        for (i, &id) in node.params.iter().enumerate() {
            let param = &params[id];
            if param.wants_grad() {
                let view = View {
                    shape: &param.value.shape,
                    data: &param.grad,
                };
                diffs.dataset(&i.to_string(), Content::Floats(view))?;
            }
        }
    }
    atomic_write(path, |out| {
        write(out, &root).map_err(|e| Error::io("write", path, &e))
    })
}
