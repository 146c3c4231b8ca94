//! From an ONNX model to a net: one row an operator. A node becomes a layer of its own name, or a few.

mod constants;
mod filters;
mod moves;
mod patterns;
mod pointwise;
mod pools;
mod reader;
mod regions;

use super::proto::ModelProto;
use crate::{
    error::{Error, Result},
    schema::NetParameter,
    tensor::Shape,
};
use reader::{Op, Reader, layer};

/// A model as a net.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The net; its layers carry their weights.
    pub net: NetParameter,
    /// What its user should know; a sentence each.
    pub notes: Vec<String>,
}

type Import = fn(&mut Reader<'_>, &Op<'_>) -> Result<()>;

/// How each operator is read, sorted.
const TABLE: &[(&str, Import)] = &[
    ("Abs", pointwise::plain),
    ("Add", pointwise::arithmetic),
    ("ArgMax", moves::arg_max),
    ("AveragePool", pools::average),
    ("BatchNormalization", filters::batch_normalization),
    ("Cast", moves::cast),
    ("Clip", pointwise::clip),
    ("Concat", moves::concat),
    ("Conv", filters::conv),
    ("ConvTranspose", filters::conv_transpose),
    ("DepthToSpace", moves::depth_to_space),
    ("Div", pointwise::arithmetic),
    ("Dropout", moves::identity),
    ("Elu", pointwise::elu),
    ("Exp", pointwise::plain),
    ("Expand", moves::expand),
    ("Flatten", moves::flatten),
    ("Gather", moves::gather),
    ("Gemm", filters::gemm),
    ("GlobalAveragePool", pools::global),
    ("GlobalMaxPool", pools::global),
    ("Greater", pointwise::greater),
    ("HardSigmoid", pointwise::hard_sigmoid),
    ("HardSwish", pointwise::plain),
    ("Identity", moves::identity),
    ("LRN", filters::lrn),
    ("LeakyRelu", pointwise::leaky_relu),
    ("Log", pointwise::plain),
    ("LpNormalization", patterns::lp_normalization),
    ("MatMul", filters::mat_mul),
    ("Max", pointwise::max),
    ("MaxPool", pools::max),
    ("MaxRoiPool", regions::max_roi_pool),
    ("Mish", pointwise::plain),
    ("Mod", moves::place_in_plane),
    ("Mul", pointwise::arithmetic),
    ("Neg", pointwise::power),
    ("PRelu", pointwise::prelu),
    ("Pow", pointwise::pow),
    ("Reciprocal", pointwise::power),
    ("ReduceL1", pools::reduce),
    ("ReduceL2", pools::reduce),
    ("ReduceMean", pools::reduce),
    ("ReduceSum", pools::reduce),
    ("ReduceSumSquare", pools::reduce),
    ("Relu", pointwise::plain),
    ("Reshape", moves::reshape),
    ("Resize", regions::resize),
    ("RoiAlign", regions::roi_align),
    ("ScatterElements", regions::scatter),
    ("Sigmoid", pointwise::plain),
    ("Slice", moves::slice),
    ("Softmax", moves::softmax),
    ("Softplus", pointwise::plain),
    ("Split", moves::split),
    ("Sqrt", pointwise::power),
    ("Squeeze", moves::squeeze),
    ("Sub", pointwise::arithmetic),
    ("Sum", pointwise::sum),
    ("Tanh", pointwise::plain),
    ("Tile", moves::tile),
    ("TopK", moves::top_k),
    ("Transpose", moves::transpose),
    ("Unsqueeze", moves::squeeze),
    ("Upsample", regions::resize),
];

/// The operators that are read, sorted.
pub const IMPORTED: [&str; TABLE.len()] = {
    let mut names = [""; TABLE.len()];
    let mut i = 0;
    while i < TABLE.len() {
        names[i] = TABLE[i].0;
        i += 1;
    }
    names
};

/// Reads a model as a net with weights. `shapes` are those of inputs that leave theirs open, or that are to be others.
///
/// # Errors
/// `Unsupported`, with the node and the reason, for what no layer does; `Format` where the model does not hold together.
pub fn import(model: &ModelProto, shapes: &[(String, Shape)]) -> Result<Imported> {
    let graph = model
        .graph
        .as_ref()
        .ok_or_else(|| Error::format("the model has no graph"))?;
    let mut reader = Reader::new(model, graph)?;
    reader.inputs(shapes)?;
    for (i, node) in graph.node.iter().enumerate() {
        let wish = match node.name() {
            "" => format!("{}_{i}", node.op_type().to_lowercase()),
            name => name.to_owned(),
        };
        let op = Op { node, name: wish };
        if !matches!(node.domain(), "" | "ai.onnx") {
            return Err(op.refuse(&format!(
                "it is of the operators of '{}', not of the standard",
                node.domain()
            )));
        }
        if reader.done.contains(&i)
            || constants::fold(&mut reader, &op)?
            || patterns::whole(&mut reader, &op)?
        {
            continue;
        }
        let row = TABLE.iter().find(|(name, _)| *name == node.op_type());
        let Some((_, import)) = row else {
            return Err(op
                .refuse("no layer does what it does, or it is not read yet")
                .help(format!("what is read: {}", IMPORTED.join(", "))));
        };
        import(&mut reader, &op)?;
    }
    outputs(&mut reader)?;
    let Reader { layers, notes, .. } = reader;
    Ok(Imported {
        net: NetParameter {
            name: Some(graph.name().to_owned()).filter(|n| !n.is_empty()),
            layer: layers,
            ..NetParameter::default()
        },
        notes,
    })
}

/// Every output is a blob of its own name.
fn outputs(reader: &mut Reader<'_>) -> Result<()> {
    for output in &reader.graph.output {
        let name = output.name();
        if reader.blob(name).is_none() {
            reader.parameter(name)?;
        }
        let Some(blob) = reader.blob(name).map(str::to_owned) else {
            return Err(Error::format(format!(
                "nothing makes output '{name}' of the model"
            )));
        };
        if blob != name {
            reader.one(name, layer("Split"), &blob, name, Vec::new())?;
        }
    }
    Ok(())
}
