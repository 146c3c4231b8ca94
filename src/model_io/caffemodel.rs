//! The weights of a net, `.caffemodel`: a `NetParameter` whose layers carry blobs.

use std::{collections::HashSet, fs, io, path::Path};

use prost::Message as _;

use super::{
    atomic_write,
    binaryproto::shape_of,
    foreign::{Looks, looks},
    stream,
};
use crate::{
    error::{Error, ErrorKind, Place, Result},
    layer::Role,
    net::Net,
    params::{ParamId, Params},
    schema::{BlobProto, LayerParameter, NetParameter},
    tensor::Shape,
    upgrade,
};

/// What [`load_weights`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Parameters copied.
    pub copied: usize,
    /// Layers of the file that the net does not have, in the file's order.
    pub ignored: Vec<String>,
    /// Layers of the net with parameters that the file does not have, in the net's order.
    pub untouched: Vec<String>,
}

/// Reads weights of any generation, in current form.
///
/// # Errors
/// `Io` where the file cannot be read; `Format` where it is cut short, damaged or something else, saying what.
pub fn read(path: &Path) -> Result<NetParameter> {
    let bytes = fs::read(path).map_err(|e| Error::io("read", path, &e))?;
    decode(&bytes).map_err(|e| e.at(Place::File(path.display().to_string())))
}

/// [`read`] from the bytes of the file.
///
/// # Errors
/// `Format` as in [`read`]; `Schema` where an old net cannot be brought into current form.
pub fn decode(bytes: &[u8]) -> Result<NetParameter> {
    match NetParameter::decode(bytes) {
        Ok(net) if !net.layer.is_empty() || !net.layers.is_empty() => Ok(upgrade::net(net)?.net),
        _ => Err(foreign(bytes)),
    }
}

fn foreign(bytes: &[u8]) -> Error {
    let looks = looks(bytes);
    let message = match looks {
        // Whole as a message, but without layers.
        Looks::Model => "the file holds no layers".to_owned(),
        _ => format!(
            "this is no file of weights: the file {}",
            looks.words(bytes.len())
        ),
    };
    Error::format(message).help(match looks {
        Looks::Text => {
            "give the .caffemodel here; a net's definition (.prototxt) holds no weights"
        }
        Looks::Hdf5 => {
            "only binary protobuf weights are read; save them in Caffe with snapshot_format: BINARYPROTO"
        }
        Looks::State => {
            "give the .caffemodel that was saved beside it; a .solverstate is for resuming (-snapshot)"
        }
        Looks::Empty | Looks::Cut { .. } => {
            "the copy or the snapshot was interrupted; copy it again or take an earlier one"
        }
        _ => "give a .caffemodel, as Caffe's snapshots are",
    })
}

/// Copies weights into the parameters of `net`, layer by layer, by name: each layer of `source` goes to the first
/// layer of that name. Layers that the net does not have are skipped. On an error nothing was copied.
///
/// # Errors
/// `Weights` where a layer has another number of parameters or another shape, or where no layer at all is in the net;
/// `Format` where a stored blob does not hold together.
pub fn load_weights(source: &NetParameter, net: &Net, params: &mut Params) -> Result<LoadReport> {
    let report = copy_weights(source, net, params)?;
    let needs = || net.graph().nodes.iter().filter(|n| !n.params.is_empty());
    if report.copied == 0 && needs().next().is_some() {
        let with_blobs = source.layer.iter().filter(|l| !l.blobs.is_empty());
        return Err(Error::new(
            ErrorKind::Weights,
            "not one layer with weights in the file is in this net",
        )
        .help(format!(
            "layers are matched by name; the file has weights for {}; the net wants them for {}",
            few(with_blobs.map(LayerParameter::name)),
            few(needs().map(|n| &*n.name))
        )));
    }
    Ok(report)
}

/// [`load_weights`] for a net that may have none of the layers.
///
/// # Errors
/// As [`load_weights`], but for the last case.
pub fn copy_weights(source: &NetParameter, net: &Net, params: &mut Params) -> Result<LoadReport> {
    let nodes = &net.graph().nodes;
    let mut report = LoadReport::default();
    let mut copies: Vec<(ParamId, &BlobProto)> = Vec::new();
    for layer in &source.layer {
        let Some(node) = nodes.iter().find(|n| *n.name == *layer.name()) else {
            report.ignored.push(layer.name().to_owned());
            continue;
        };
        if node.params.len() != layer.blobs.len() {
            return Err(Error::new(
                ErrorKind::Weights,
                format!(
                    "layer '{}' ({}) has {} parameters, the file has {} for it",
                    node.name,
                    node.kind.name,
                    node.params.len(),
                    layer.blobs.len()
                ),
            )
            .help("rename the layer in the net to train it afresh, or give it the options that it was trained with (bias_term, for instance)"));
        }
        for (i, (&id, blob)) in node.params.iter().zip(&layer.blobs).enumerate() {
            let own = &params[id].value.shape;
            if !shape_equals(own, blob)? {
                return Err(Error::new(
                    ErrorKind::Weights,
                    format!(
                        "layer '{}' ({}), parameter {i}: the net has shape {own}, the file {}",
                        node.name,
                        node.kind.name,
                        shape_of(blob)?
                    ),
                )
                .help("rename the layer in the net to train it afresh and keep the rest"));
            }
            let brings = blob.data.len().max(blob.double_data.len());
            if brings != own.count() {
                return Err(Error::format(format!(
                    "layer '{}', parameter {i}: {own} is {} values, but the file brings {brings}",
                    node.name,
                    own.count()
                ))
                .help("the file is damaged; copy it again"));
            }
            copies.push((id, blob));
        }
    }
    let mut seen = HashSet::new();
    for (id, blob) in copies {
        let value = &mut params[id].value.data;
        if blob.double_data.is_empty() {
            value.copy_from_slice(&blob.data);
        } else {
            for (to, &from) in value.iter_mut().zip(&blob.double_data) {
                *to = from as f32;
            }
        }
        seen.insert(id);
        report.copied += 1;
    }
    report.untouched = nodes
        .iter()
        .filter(|n| n.params.iter().any(|id| !seen.contains(id)))
        .map(|n| n.name.to_string())
        .collect();
    Ok(report)
}

/// Whether a stored blob has this shape. The four legacy extents count from the end, a bias of 32 being 1, 1, 1, 32.
fn shape_equals(own: &Shape, blob: &BlobProto) -> Result<bool> {
    let stored = shape_of(blob)?;
    let legacy = [blob.num, blob.channels, blob.height, blob.width];
    if legacy.iter().all(Option::is_none) {
        return Ok(stored == *own);
    }
    Ok(legacy_equals(own, &stored))
}

/// Whether `own`, with ones before it up to four axes, is `stored`.
pub(crate) fn legacy_equals(own: &Shape, stored: &Shape) -> bool {
    let Some(pad) = stored.axes().checked_sub(own.axes()) else {
        return false;
    };
    stored.dims()[..pad].iter().all(|&d| d == 1) && stored.dims()[pad..] == *own.dims()
}

fn few<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const MOST: usize = 5;
    let names: Vec<&str> = names.collect();
    match names.len() {
        0 => "no layer".to_owned(),
        n if n > MOST => format!("{}, … ({n} layers)", names[..MOST].join(", ")),
        _ => names.join(", "),
    }
}

/// Writes the net's layers with their weights, as Caffe does: each layer's own message, splits included.
///
/// # Errors
/// `Io` where the file cannot be written; a file that was there then stays whole.
pub fn write(path: &Path, net: &Net, params: &Params) -> Result<()> {
    write_with(path, net, params, false)
}

/// [`write()`], with the gradients too where `diff` says so (`snapshot_diff`).
///
/// # Errors
/// As [`write()`].
pub fn write_with(path: &Path, net: &Net, params: &Params, diff: bool) -> Result<()> {
    atomic_write(path, |out| {
        encode(out, net, params, diff).map_err(|e| Error::io("write", path, &e))
    })
}

/// Field numbers of `NetParameter` and `LayerParameter`.
const NAME: u32 = 1;
const LAYER: u32 = 100;
const BLOBS: u32 = 7;

/// Layer by layer, so that no second copy of the weights is made.
fn encode(out: &mut impl io::Write, net: &Net, params: &Params, diff: bool) -> io::Result<()> {
    let name = net.name().as_bytes();
    stream::write_head(out, NAME, name.len())?;
    out.write_all(name)?;
    let graph = net.graph();
    for node in &graph.nodes {
        let mut message = node.def.param.clone();
        message.blobs.clear();
        message.bottom = node
            .bottoms
            .iter()
            .map(|&b| graph.value(b).name.to_string())
            .collect();
        message.phase.get_or_insert(graph.phase as i32);
        // A split carries the weight of the top that it splits; a loss says its own even where the net does not.
        let carries = node.loss_weights.iter().any(|&w| w != 0.0);
        if !message.loss_weight.is_empty() || (node.origin.is_none() && carries) {
            message.loss_weight = node.loss_weights.clone();
        } else if node.kind.role == Role::Loss {
            message.loss_weight = vec![1.0];
        }
        let message = message.encode_to_vec();
        let blobs = || {
            node.params.iter().map(|&id| {
                let param = &params[id];
                let diff: &[f32] = if diff { &param.grad } else { &[] };
                (param.value.view(), diff)
            })
        };
        let length = message.len()
            + blobs()
                .map(|(view, diff)| stream::blob_field_len(BLOBS, view, diff))
                .sum::<usize>();
        stream::write_head(out, LAYER, length)?;
        out.write_all(&message)?;
        for (view, diff) in blobs() {
            stream::write_blob(out, BLOBS, view, diff)?;
        }
    }
    out.flush()
}
