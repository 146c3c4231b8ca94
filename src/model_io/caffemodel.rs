//! The weights of a net: `.caffemodel`, a `NetParameter` whose layers carry blobs, and `.caffemodel.h5`.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use half::f16;
use prost::Message as _;

use super::{
    atomic_write,
    binaryproto::shape_of,
    foreign::{Looks, looks},
    skim::{Part, Skimmed},
    stream,
};
use crate::{
    error::{Error, ErrorKind, Place, Result},
    layer::Role,
    net::Net,
    params::{ParamId, Params},
    schema::{BlobProto, LayerParameter, NetParameter, blob_proto::RawType, dialect},
    tensor::Shape,
    upgrade,
};

mod h5;

pub(super) use h5::detect;
pub use h5::write_hdf5;

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

/// Reads weights of any generation, in current form. Those of an HDF5 file are layers with a name and blobs, and what
/// one layer shares with another is an empty blob.
///
/// # Errors
/// `Io` where the file cannot be read; `Format` where it is cut short, damaged or something else, saying what.
pub fn read(path: &Path) -> Result<NetParameter> {
    if detect(path).map_err(|e| Error::io("read", path, &e))? {
        let placed = |e: Error| e.at(Place::File(path.display().to_string()));
        let (mut net, stored) = h5::Stored::open(path).map_err(placed)?;
        let blobs = net.layer.iter_mut().flat_map(|l| &mut l.blobs);
        for blob in blobs.filter(|blob| !h5::is_absent(blob)) {
            let mut data = vec![0.0; stored.count(blob)];
            stored.read(blob, &mut data).map_err(placed)?;
            blob.double_diff.clear();
            blob.data = data;
        }
        return Ok(net);
    }
    let bytes = fs::read(path).map_err(|e| Error::io("read", path, &e))?;
    decode(&bytes).map_err(|e| e.at(Place::File(path.display().to_string())))
}

/// [`read`] from the bytes of the file.
///
/// # Errors
/// `Format` as in [`read`]; `Schema` where an old net cannot be brought into current form.
pub fn decode(bytes: &[u8]) -> Result<NetParameter> {
    let current = dialect::net(bytes, None);
    match current.map(|bytes| NetParameter::decode(&bytes[..])) {
        Some(Ok(mut net)) if !net.layer.is_empty() || !net.layers.is_empty() => {
            let current = net.layer.iter_mut().flat_map(|l| &mut l.blobs);
            let old = net.layers.iter_mut().flat_map(|l| &mut l.blobs);
            current.chain(old).try_for_each(unpack)?;
            Ok(upgrade::net(net)?.net)
        }
        _ => Err(foreign(bytes)),
    }
}

/// Numbers that NVIDIA's fork stores as bytes, brought to where Caffe has them.
fn unpack(blob: &mut BlobProto) -> Result<()> {
    let Some(raw) = blob.raw_data.take() else {
        return Ok(());
    };
    let size = match blob.raw_data_type() {
        RawType::Double => 8,
        RawType::Float => 4,
        RawType::Float16 => 2,
    };
    if raw.len() % size != 0 {
        return Err(Error::format(format!(
            "a stored blob brings {} bytes for numbers of {size}",
            raw.len()
        ))
        .help("the file is damaged; make or copy it again"));
    }
    blob.data = match blob.raw_data_type() {
        RawType::Double => bytes_of(&raw, |b| f64::from_le_bytes(b) as f32),
        RawType::Float => bytes_of(&raw, f32::from_le_bytes),
        RawType::Float16 => bytes_of(&raw, |b| f16::from_le_bytes(b).to_f32()),
    };
    Ok(())
}

fn bytes_of<const N: usize>(raw: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    raw.as_chunks()
        .0
        .iter()
        .map(|&bytes| number(bytes))
        .collect()
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
        Looks::State => {
            "give the .caffemodel that was saved beside it; a .solverstate is for resuming (-snapshot)"
        }
        Looks::Empty | Looks::Cut { .. } => {
            "the copy or the snapshot was interrupted; copy it again or take an earlier one"
        }
        _ => "give a .caffemodel, as Caffe's snapshots are",
    })
}

/// A file of weights, opened: its layers are known, the numbers still in it. They go straight to the parameters, so that
/// memory never holds them twice.
pub struct Weights {
    path: PathBuf,
    /// Without numbers where `numbers` has them.
    net: NetParameter,
    numbers: Option<Numbers>,
}

/// Numbers that are still in their file. A blob of the message says by a mark which are its own.
enum Numbers {
    Protobuf(Skimmed),
    Hdf5(h5::Stored),
}

impl Numbers {
    fn count(&self, blob: &BlobProto) -> usize {
        match self {
            Self::Protobuf(numbers) => numbers.count(blob),
            Self::Hdf5(numbers) => numbers.count(blob),
        }
    }

    /// Whether the file leaves a blob to the layer that shares it.
    fn is_absent(&self, blob: &BlobProto) -> bool {
        matches!(self, Self::Hdf5(_)) && h5::is_absent(blob)
    }

    fn read(&self, mut blobs: Vec<(&BlobProto, &mut [f32])>) -> Result<()> {
        match self {
            Self::Protobuf(numbers) => numbers
                .read(blobs)
                .map_err(|e| Error::new(ErrorKind::Io, format!("cannot read the weights: {e}"))),
            Self::Hdf5(numbers) => blobs
                .iter_mut()
                .try_for_each(|(blob, to)| numbers.read(blob, to)),
        }
    }
}

/// Where the blobs of a `NetParameter` are, of any generation: `layer.blobs`, `layers.blobs`, `layers.layer.blobs`.
const BLOBS_OF: &[(u32, Part)] = &[
    (LAYER, Part::Message(&[(BLOBS, Part::Blob)])),
    (
        2,
        Part::Message(&[(6, Part::Blob), (1, Part::Message(&[(50, Part::Blob)]))]),
    ),
];

impl Weights {
    /// Reads a file of weights of any generation, its numbers left where they are.
    ///
    /// # Errors
    /// As [`read`].
    pub fn open(path: &Path) -> Result<Self> {
        if detect(path).map_err(|e| Error::io("read", path, &e))? {
            let (net, stored) = h5::Stored::open(path)
                .map_err(|e| e.at(Place::File(path.display().to_string())))?;
            return Ok(Self {
                path: path.to_path_buf(),
                net,
                numbers: Some(Numbers::Hdf5(stored)),
            });
        }
        let numbers = Skimmed::open(path, BLOBS_OF).map_err(|e| Error::io("read", path, &e))?;
        if let Some(numbers) = numbers
            && let Ok(net) = decode(&numbers.message)
        {
            // Numbers stored as bytes are in the message already.
            let apart = (net.layer.iter().flat_map(|l| &l.blobs)).all(|b| b.data.is_empty());
            return Ok(Self {
                path: path.to_path_buf(),
                net,
                numbers: apart.then_some(Numbers::Protobuf(numbers)),
            });
        }
        Ok(Self {
            path: path.to_path_buf(),
            net: read(path)?,
            numbers: None,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file has a blob of this number for a layer of this name, so that nothing else has to fill it.
    pub fn brings(&self, layer: &str, blob: usize) -> bool {
        let there = |blob| !self.numbers.as_ref().is_some_and(|n| n.is_absent(blob));
        let mut named = self.net.layer.iter().filter(|l| l.name() == layer);
        named.any(|l| l.blobs.get(blob).is_some_and(there))
    }

    /// [`load_weights`] from the file.
    ///
    /// # Errors
    /// As [`load_weights`]; `Io` where the numbers cannot be read, and some may then be copied.
    pub fn load(&self, net: &Net, params: &mut Params) -> Result<LoadReport> {
        load(&self.net, self.numbers.as_ref(), net, params).map_err(|e| self.placed(e))
    }

    /// [`copy_weights`] from the file.
    ///
    /// # Errors
    /// As [`Weights::load`].
    pub fn copy(&self, net: &Net, params: &mut Params) -> Result<LoadReport> {
        copy(&self.net, self.numbers.as_ref(), net, params).map_err(|e| self.placed(e))
    }

    fn placed(&self, error: Error) -> Error {
        error.at(Place::File(self.path.display().to_string()))
    }
}

/// Copies weights into the parameters of `net`, layer by layer, by name: each layer of `source` goes to the first
/// layer of that name. Layers that the net does not have are skipped. On an error nothing was copied.
///
/// # Errors
/// `Weights` where a layer has another number of parameters or another shape, or where no layer at all is in the net;
/// `Format` where a stored blob does not hold together.
pub fn load_weights(source: &NetParameter, net: &Net, params: &mut Params) -> Result<LoadReport> {
    load(source, None, net, params)
}

fn load(
    source: &NetParameter,
    numbers: Option<&Numbers>,
    net: &Net,
    params: &mut Params,
) -> Result<LoadReport> {
    let report = copy(source, numbers, net, params)?;
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
    copy(source, None, net, params)
}

fn copy(
    source: &NetParameter,
    numbers: Option<&Numbers>,
    net: &Net,
    params: &mut Params,
) -> Result<LoadReport> {
    let nodes = &net.graph().nodes;
    let mut report = LoadReport::default();
    let mut copies: Vec<(ParamId, &BlobProto)> = Vec::new();
    for layer in &source.layer {
        let Some(at) = nodes.iter().position(|n| *n.name == *layer.name()) else {
            report.ignored.push(layer.name().to_owned());
            continue;
        };
        let node = &nodes[at];
        // A parameter that an earlier layer has too may be left out, in a file that does so.
        let may_lack = |i: usize| {
            let blob = layer.blobs.get(i);
            numbers.is_some_and(|n| matches!(n, Numbers::Hdf5(_)) && blob.is_none_or(h5::is_absent))
        };
        let shared = |i: usize| {
            let id = &node.params[i];
            nodes[..at].iter().any(|n| n.params.contains(id)) || node.params[..i].contains(id)
        };
        let fits = layer.blobs.len() <= node.params.len()
            && (0..node.params.len()).all(|i| {
                if may_lack(i) {
                    shared(i)
                } else {
                    i < layer.blobs.len()
                }
            });
        if !fits {
            return Err(Error::new(
                ErrorKind::Weights,
                format!(
                    "layer '{}' ({}) has {} parameters, the file has {} for it",
                    node.name,
                    node.kind.name,
                    node.params.len(),
                    (0..layer.blobs.len()).filter(|&i| !may_lack(i)).count()
                ),
            )
            .help("rename the layer in the net to train it afresh, or give it the options that it was trained with (bias_term, for instance)"));
        }
        for (i, (&id, blob)) in node.params.iter().zip(&layer.blobs).enumerate() {
            if may_lack(i) {
                continue;
            }
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
            let brings = match numbers {
                Some(numbers) => numbers.count(blob),
                None => blob.data.len().max(blob.double_data.len()),
            };
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
    report.copied = copies.len();
    // Of several for one parameter the last counts.
    let last: HashMap<ParamId, &BlobProto> = copies.into_iter().collect();
    if let Some(numbers) = numbers {
        let mut held: Vec<_> = last
            .iter()
            .map(|(&id, &blob)| (id, blob, std::mem::take(&mut params[id].value.data)))
            .collect();
        let places = held
            .iter_mut()
            .map(|(_, blob, data)| (*blob, &mut data[..]));
        let result = numbers.read(places.collect());
        for (id, _, data) in held {
            params[id].value.data = data;
        }
        result?;
    } else {
        for (&id, blob) in &last {
            let value = &mut params[id].value.data;
            if blob.double_data.is_empty() {
                value.copy_from_slice(&blob.data);
            } else {
                for (to, &from) in value.iter_mut().zip(&blob.double_data) {
                    *to = from as f32;
                }
            }
        }
    }
    report.untouched = nodes
        .iter()
        .filter(|n| n.params.iter().any(|id| !last.contains_key(id)))
        .map(|n| n.name.to_string())
        .collect();
    Ok(report)
}

/// Whether a stored blob has this shape. The four legacy extents count from the end, a bias of 32 being 1, 1, 1, 32.
/// Extents of 1 do not matter: forks store the scales of one layer as 1, C and as 1, C, 1, 1.
fn shape_equals(own: &Shape, blob: &BlobProto) -> Result<bool> {
    let stored = shape_of(blob)?;
    let legacy = [blob.num, blob.channels, blob.height, blob.width];
    if legacy.iter().all(Option::is_none) {
        let [own, stored] = [own, &stored].map(|shape| shape.dims().iter().filter(|&&d| d != 1));
        return Ok(own.eq(stored));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        events::Silent,
        load::{self, LoadOptions},
        net::NetOptions,
    };

    const NET: &str = r#"
        layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 } } }
        layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" inner_product_param {
          num_output: 4 weight_filler { type: "gaussian" } bias_filler { type: "uniform" } } }
        layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param {
          num_output: 2 weight_filler { type: "xavier" } bias_filler { type: "constant" value: 3 } } }
    "#;

    fn net(seed: u64, brought: Option<&Weights>) -> (Net, Params) {
        let file = load::net_from_text("t", NET, LoadOptions::default(), &mut Silent).unwrap();
        let mut params = Params::new();
        let brings = |layer: &str, i: usize| brought.is_some_and(|w| w.brings(layer, i));
        let options = NetOptions {
            seed,
            brought: Some(&brings),
            ..NetOptions::default()
        };
        let net = Net::new(&file.net, &mut params, &options, &mut Silent).unwrap();
        (net, params)
    }

    fn values(net: &Net, params: &Params) -> Vec<Vec<f32>> {
        let ids = net.graph().nodes.iter().flat_map(|n| &n.params);
        ids.map(|&id| params[id].value.data.clone()).collect()
    }

    /// A file of the net with seed 1, changed by `change`.
    fn file(change: impl FnOnce(&mut NetParameter)) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w");
        let (net, params) = net(1, None);
        write(&path, &net, &params).unwrap();
        let mut message = read(&path).unwrap();
        change(&mut message);
        fs::write(&path, message.encode_to_vec()).unwrap();
        (dir, path)
    }

    #[test]
    fn what_a_file_brings_is_not_filled_and_the_rest_is_as_ever() {
        let (_dir, path) = file(|net| net.layer.retain(|l| l.name() != "b"));
        let weights = Weights::open(&path).unwrap();
        assert!(weights.brings("a", 1) && !weights.brings("a", 2) && !weights.brings("b", 0));
        let (_, empty) = net(2, Some(&weights));
        let (filled_net, mut filled) = net(2, None);
        let (brought_net, mut brought) = (net(2, Some(&weights)).0, empty);
        assert_eq!(values(&brought_net, &brought)[0], [0.0; 12]);
        let reports = [
            weights.load(&filled_net, &mut filled).unwrap(),
            weights.load(&brought_net, &mut brought).unwrap(),
        ];
        assert_eq!(reports[0], reports[1]);
        assert_eq!(
            (reports[0].copied, &reports[0].untouched[..]),
            (2, &["b".to_owned()][..])
        );
        assert_eq!(values(&filled_net, &filled), values(&brought_net, &brought));
    }

    #[test]
    fn a_bad_filler_is_told_even_where_the_file_brings_the_weights() {
        let (_dir, path) = file(|_| ());
        let weights = Weights::open(&path).unwrap();
        let text = NET.replace("xavier", "xafier");
        let file = load::net_from_text("t", &text, LoadOptions::default(), &mut Silent).unwrap();
        let options = NetOptions {
            brought: Some(&|layer, i| weights.brings(layer, i)),
            ..NetOptions::default()
        };
        let error = Net::new(&file.net, &mut Params::new(), &options, &mut Silent);
        assert!(error.err().unwrap().to_string().contains("xafier"));
    }

    #[test]
    fn numbers_from_the_file_are_those_of_the_message() {
        let double = |net: &mut NetParameter| {
            let blob = &mut net.layer[1].blobs[0];
            blob.double_data = blob.data.drain(..).map(|x| f64::from(x) / 3.0).collect();
        };
        let old = |net: &mut NetParameter| {
            let blob = &mut net.layer[2].blobs[1];
            blob.shape = None;
            (blob.num, blob.channels, blob.height, blob.width) =
                (Some(1), Some(1), Some(1), Some(2));
        };
        for (_dir, path) in [file(|_| ()), file(double), file(old)] {
            let weights = Weights::open(&path).unwrap();
            assert!(weights.numbers.is_some());
            let [(a, mut from_file), (b, mut from_message)] = [net(5, None), net(6, None)];
            weights.load(&a, &mut from_file).unwrap();
            load_weights(&read(&path).unwrap(), &b, &mut from_message).unwrap();
            assert_eq!(values(&a, &from_file), values(&b, &from_message));
        }
    }

    #[test]
    fn files_that_do_not_fit_copy_nothing() {
        let short = |net: &mut NetParameter| net.layer[2].blobs[0].data.truncate(3);
        let shape = |net: &mut NetParameter| {
            net.layer[1].blobs[0].shape.as_mut().unwrap().dim = vec![3, 4];
        };
        for ((_dir, path), kind, part) in [
            (file(short), ErrorKind::Format, "brings 3"),
            (file(shape), ErrorKind::Weights, "the file [3, 4]"),
        ] {
            let (net, mut params) = net(5, None);
            let before = values(&net, &params);
            let error = Weights::open(&path).unwrap().load(&net, &mut params);
            let error = error.unwrap_err();
            assert_eq!(error.kind(), kind);
            let text = error.to_string();
            assert!(text.contains(part) && text.contains("/w"), "{text}");
            assert_eq!(values(&net, &params), before);
        }
        let (_dir, path) = file(|_| ());
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
        let error = Weights::open(&path).err().unwrap();
        assert!(error.message().contains("cut short"), "{error}");
    }

    #[test]
    fn numbers_of_half_the_size_are_read_and_foreign_fields_passed_by() {
        // 1, -2 and 0.5, as NVIDIA's fork stores them; and the mask of another fork under the number of the bytes' type.
        let halves = [0x00, 0x3c, 0x00, 0xc0, 0x00, 0x38];
        let blob = BlobProto {
            raw_data_type: Some(RawType::Float16.into()),
            raw_data: Some(halves.to_vec()),
            ..BlobProto::default()
        };
        let mut net = NetParameter {
            layer: vec![LayerParameter {
                r#type: Some("ROIPooling".into()),
                blobs: vec![blob],
                ..LayerParameter::default()
            }],
            ..NetParameter::default()
        };
        let read = decode(&net.encode_to_vec()).unwrap();
        assert_eq!(read.layer[0].blobs[0].data, [1.0, -2.0, 0.5]);
        net.layer[0].blobs[0].raw_data = Some(vec![0; 3]);
        assert_eq!(
            decode(&net.encode_to_vec()).unwrap_err().kind(),
            ErrorKind::Format
        );
    }
}
