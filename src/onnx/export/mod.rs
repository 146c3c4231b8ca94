//! From a net to an ONNX model: one row a layer type, its operators in its family's file.

mod activation;
mod detection;
mod emit;
mod normalization;
mod pooling;
mod recurrent;
mod utility;
mod vision;

use super::proto::{GraphProto, ModelProto, OperatorSetIdProto, value};
use crate::{
    error::{Error, ErrorKind, Result},
    graph::{Graph, NodeId, ValueId},
    layer::Role,
    net::Net,
    params::Params,
    schema::Phase,
};
use emit::{Emit, Site};

/// The set of operators that models are written in, and the version of the format that goes with it.
const OPSET: i64 = 17;
const IR: i64 = 8;

/// How to export.
#[derive(Clone, Debug, Default)]
pub struct ExportOptions {
    /// The blobs that the model gives out; empty: the net's outputs. Layers that none of them needs are left out.
    pub outputs: Vec<String>,
    /// The first extent of inputs and outputs may vary.
    pub any_batch: bool,
}

/// A net as a model.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The model.
    pub model: ModelProto,
    /// What its user should know; a sentence each.
    pub notes: Vec<String>,
}

type Export = fn(&mut Site<'_, '_>) -> Result<()>;

/// How each layer type is written, sorted.
const TABLE: &[(&str, Export)] = &[
    ("AbsVal", activation::abs_val),
    ("ArgMax", utility::arg_max),
    ("Axpy", utility::axpy),
    ("BN", normalization::bn),
    ("BNLL", activation::bnll),
    ("BatchNorm", normalization::batch_norm),
    ("BatchReindex", utility::batch_reindex),
    ("Bias", activation::bias),
    ("Clip", activation::clip),
    ("Concat", utility::concat),
    ("ContinuationIndicator", detection::constant),
    ("Convolution", vision::convolution),
    ("ConvolutionDepthwise", vision::depthwise),
    ("Crop", vision::crop),
    ("Deconvolution", vision::deconvolution),
    ("DepthwiseConvolution", vision::depthwise),
    ("Dropout", utility::pass),
    ("DummyData", detection::dummy_data),
    ("ELU", activation::elu),
    ("Eltwise", utility::eltwise),
    ("Embed", utility::embed),
    ("Exp", activation::exp),
    ("Flatten", utility::flatten),
    ("HSwish", activation::h_swish),
    ("Im2col", vision::im2col),
    ("InnerProduct", utility::inner_product),
    ("Interp", vision::interp),
    ("LRN", normalization::lrn),
    ("LSTM", recurrent::lstm),
    ("LSTMUnit", recurrent::lstm_unit),
    ("Log", activation::log),
    ("MVN", normalization::mvn),
    ("Mish", activation::mish),
    ("Normalize", normalization::normalize),
    ("PReLU", activation::prelu),
    ("Parameter", utility::parameter),
    ("Permute", utility::permute),
    ("Pooling", pooling::pooling),
    ("Power", activation::power),
    ("PriorBox", detection::constant),
    ("RNN", recurrent::rnn),
    ("ROIAlign", detection::roi_align),
    ("ROIPooling", detection::roi_pooling),
    ("ReLU", activation::relu),
    ("ReLU6", activation::relu6),
    ("Reduction", utility::reduction),
    ("Reorg", utility::reorg),
    ("Reshape", utility::flatten),
    ("SPP", pooling::spp),
    ("Scale", activation::scale),
    ("ShuffleChannel", utility::shuffle_channel),
    ("Sigmoid", activation::sigmoid),
    ("Silence", utility::nothing),
    ("Slice", utility::slice),
    ("Softmax", utility::softmax),
    ("SpatialDropout", utility::pass),
    ("Split", utility::pass),
    ("Swish", activation::swish),
    ("TanH", activation::tanh),
    ("Threshold", activation::threshold),
    ("Tile", utility::tile),
    ("Upsample", vision::upsample),
];

/// The layer types that are written, sorted.
pub const EXPORTED: [&str; TABLE.len()] = {
    let mut names = [""; TABLE.len()];
    let mut i = 0;
    while i < TABLE.len() {
        names[i] = TABLE[i].0;
        i += 1;
    }
    names
};

/// The layer types of nets that are deployed which ONNX cannot say, and why. What brings data and what measures, losses
/// included, is refused as such.
pub const REFUSED: &[(&str, &str)] = &[
    (
        "DetectionOutput",
        "ONNX has the suppression of overlapping boxes, but nothing that makes its rows of detections",
    ),
    (
        "Filter",
        "how many items it lets through depends on the data, and the shapes here are fixed",
    ),
    (
        "PSROIPooling",
        "there is no operator that pools each bin of a region from channels of its own",
    ),
    (
        "Proposal",
        "there is no operator that makes regions of scores and offsets",
    ),
    (
        "YoloDetectionOutput",
        "there is no operator that makes rows of detections",
    ),
    (
        "Yolov3DetectionOutput",
        "there is no operator that makes rows of detections",
    ),
];

/// Writes a net in TEST as a model.
///
/// # Errors
/// `Unsupported`, with the layer and the reason, for what ONNX cannot say; `Graph` where the net is in TRAIN or lacks a
/// blob that is asked for.
pub fn export(net: &Net, params: &Params, options: &ExportOptions) -> Result<Exported> {
    let graph = net.graph();
    if graph.phase != Phase::Test {
        return Err(Error::new(
            ErrorKind::Graph,
            "a net in phase TRAIN does not become an ONNX model",
        ));
    }
    let outputs = outputs(graph, &options.outputs)?;
    let needed = needed(graph, &outputs);
    let roots = roots(graph);
    let mut emit = Emit::new(graph, params);
    // Names: inputs and outputs bear those of their blobs, and so does what is nobody's earlier version.
    let latest = |value: ValueId| graph.latest(&graph.value(value).name) == Some(value);
    for (i, node) in graph.nodes.iter().enumerate() {
        if needed[i] && node.kind.role == Role::Input {
            for &top in &node.tops {
                emit.call(top, &graph.value(top).name);
            }
        }
    }
    for &output in &outputs {
        emit.call(roots[output.index()], &graph.value(output).name);
    }
    for value in (0..graph.values.len() as u32).map(ValueId) {
        let root = roots[value.index()];
        if latest(value) && graph.value(root).name == graph.value(value).name {
            emit.call(root, &graph.value(value).name);
        }
    }
    for (i, node) in graph.nodes.iter().enumerate() {
        let id = NodeId(i as u32);
        if !needed[i] || node.kind.role == Role::Input {
            continue;
        }
        let mut site = Site::new(&mut emit, id);
        row(&site)?(&mut site).map_err(|e| e.at(graph.place(id)))?;
    }
    finish(emit, net, &outputs, &needed, options)
}

/// Where two models compute differently, in words; inputs and outputs may have other shapes.
pub fn difference(a: &ModelProto, b: &ModelProto) -> Option<String> {
    let (a, b) = (a.graph.as_ref()?, b.graph.as_ref()?);
    let constants = a.initializer.iter().zip(&b.initializer);
    for (one, other) in constants {
        if one != other {
            return Some(format!("constant '{}' differs", one.name()));
        }
    }
    for (one, other) in a.node.iter().zip(&b.node) {
        if one != other {
            return Some(format!("node '{}' differs", one.name()));
        }
    }
    let same = a.node.len() == b.node.len() && a.initializer.len() == b.initializer.len();
    (!same).then(|| "it has more nodes, or fewer".to_owned())
}

/// The row of a layer.
fn row(site: &Site<'_, '_>) -> Result<Export> {
    let kind = site.node.kind;
    if let Some((_, export)) = TABLE.iter().find(|(name, _)| *name == kind.name) {
        let values = site.node.bottoms.iter().chain(&site.node.tops);
        if values
            .into_iter()
            .any(|&v| site.emit.graph.value(v).shape.count() == 0)
        {
            return Err(site.refuse("a blob of it holds no values"));
        }
        return Ok(*export);
    }
    let deploy = "make a net for inference first: cortado deploy --model=train_val.prototxt";
    if let Some((_, why)) = REFUSED.iter().find(|(name, _)| *name == kind.name) {
        let before: Vec<&str> = site
            .node
            .bottoms
            .iter()
            .map(|&b| &*site.emit.graph.value(b).name)
            .collect();
        return Err(site.refuse(why).help(format!(
            "end the model before it, with --outputs={}, and do its work in your program",
            before.join(",")
        )));
    }
    Err(match kind.role {
        Role::Data => site
            .refuse("a model is fed; it does not read records")
            .help(deploy),
        Role::Loss | Role::Metric => site
            .refuse("it compares with labels, which a model does not get")
            .help(deploy),
        Role::Plain | Role::Input => site.refuse("it is not a layer of nets that are deployed"),
    })
}

fn outputs(graph: &Graph, wanted: &[String]) -> Result<Vec<ValueId>> {
    if wanted.is_empty() {
        return Ok(graph.outputs());
    }
    let find = |name: &String| {
        graph.latest(name).ok_or_else(|| {
            let names: Vec<String> = graph.values.iter().map(|v| v.name.to_string()).collect();
            let error = Error::new(ErrorKind::Graph, format!("the net has no blob '{name}'"));
            match crate::nearest::nearest(name, names.iter().map(String::as_str)) {
                Some(near) => error.help(format!("did you mean '{near}'?")),
                None => error,
            }
        })
    };
    wanted.iter().map(find).collect()
}

/// By node: whether an output depends on it.
fn needed(graph: &Graph, outputs: &[ValueId]) -> Vec<bool> {
    let mut needed = vec![false; graph.nodes.len()];
    for output in outputs {
        needed[graph.value(*output).producer.index()] = true;
    }
    for i in (0..graph.nodes.len()).rev() {
        if needed[i] {
            for bottom in &graph.nodes[i].bottoms {
                needed[graph.value(*bottom).producer.index()] = true;
            }
        }
    }
    needed
}

/// By value: the value that it is another name of, as what Split and Dropout make.
fn roots(graph: &Graph) -> Vec<ValueId> {
    let mut roots: Vec<ValueId> = (0..graph.values.len() as u32).map(ValueId).collect();
    for node in &graph.nodes {
        if utility::is_pass(node)
            && let [bottom] = node.bottoms[..]
        {
            for top in &node.tops {
                roots[top.index()] = roots[bottom.index()];
            }
        }
    }
    roots
}

fn finish(
    mut emit: Emit<'_>,
    net: &Net,
    outputs: &[ValueId],
    needed: &[bool],
    options: &ExportOptions,
) -> Result<Exported> {
    let graph = net.graph();
    let batch = options.any_batch.then_some("batch");
    let mut inputs = Vec::new();
    for (i, node) in graph.nodes.iter().enumerate() {
        if needed[i] && node.kind.role == Role::Input {
            for &top in &node.tops {
                let name = emit.name(top);
                inputs.push(value(&name, &graph.value(top).shape, batch));
            }
        }
    }
    let mut results = Vec::new();
    for &output in outputs {
        let of = graph.value(output);
        let (mut name, is_input) = (
            emit.name(output),
            graph.node(graph.value(output).producer).kind.role == Role::Input,
        );
        // An output that is another value too, or an input, is written out once more.
        if name != *of.name || is_input {
            let own = match is_input {
                true => emit.unique(&format!("{}_out", of.name)),
                false => emit.unique(&of.name),
            };
            let node = format!("{}/Identity", of.name);
            emit.push("Identity", &node, &[&name], vec![own.clone()], Vec::new());
            name = own;
        }
        results.push(value(&name, &of.shape, batch));
    }
    if results.is_empty() {
        return Err(Error::new(ErrorKind::Graph, "the net has no outputs"));
    }
    let name = match net.name() {
        "" => "net",
        name => name,
    };
    let graph = GraphProto {
        name: Some(name.to_owned()),
        input: inputs,
        output: results,
        ..emit.out
    };
    Ok(Exported {
        model: ModelProto {
            ir_version: Some(IR),
            producer_name: Some("cortado".to_owned()),
            producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            opset_import: vec![OperatorSetIdProto {
                domain: Some(String::new()),
                version: Some(OPSET),
            }],
            graph: Some(graph),
            ..ModelProto::default()
        },
        notes: emit.notes,
    })
}
