//! Makes the layers of a wired graph, their shapes and their parameters.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use super::{
    Graph, NodeId, ValueId, backward, build::wire, filter::filter, splits::insert_splits, verify,
};
use crate::{
    error::{Error, ErrorKind, Place, Result},
    filler,
    layer::{Layer, LayerDef, ParamDecl, Setup},
    memory,
    params::{Param, ParamId, Params},
    rng::{Use, stream},
    schema::{LayerParameter, NetParameter, ParamSpec, param_spec::DimCheckMode},
    tensor::{Shape, Tensor},
};

/// Finds the spot of a layer (by its index in the message), or of a field in it, in the text that it came from.
pub type Locate<'a> = &'a dyn Fn(usize, Option<&str>) -> Option<Place>;

/// Whether a parameter of a layer, by its name and the parameter's number, is set from elsewhere.
pub type Brought<'a> = &'a dyn Fn(&str, usize) -> bool;

/// How to build a graph.
#[derive(Clone, Default)]
pub struct BuildOptions<'a> {
    /// Relative paths of the net start here; empty means the working directory.
    pub root: PathBuf,
    /// Names the random streams.
    pub seed: u64,
    /// Whether gradients are wanted.
    pub backward: bool,
    /// Take parameters from the layers of the same name in this graph, as a test net does from its train net.
    pub share: Option<&'a Graph>,
    /// Which parameters the caller sets: their fillers are checked, but do not run.
    pub brought: Option<Brought<'a>>,
    /// Where the text stands, for errors.
    pub locate: Option<Locate<'a>>,
}

/// A graph with its layers.
pub struct Built {
    /// The graph, verified.
    pub graph: Graph,
    /// The layers, by node.
    pub layers: Vec<Box<dyn Layer>>,
    /// Why layers were left out, in Caffe's words.
    pub skipped: Vec<String>,
    /// The message after the filter, splits not included.
    pub kept: NetParameter,
    /// Which nodes would take part in backward, wanted or not.
    pub learns: Vec<bool>,
}

/// Builds the graph of `net` in its `state`; new parameters go to `params`.
///
/// # Errors
/// With the layer's place, for whatever does not fit.
pub fn build(net: &NetParameter, params: &mut Params, options: &BuildOptions<'_>) -> Result<Built> {
    let (kept, origins, skipped) = filter(net)?;
    // Without a state the net is in TEST, for its rules and for its layers.
    let phase = kept.state.clone().unwrap_or_default().phase();
    let def = |param: &LayerParameter| LayerDef {
        param: param.clone(),
        phase,
        backward: options.backward,
        root: options.root.clone(),
        seed: options.seed,
        index: 0,
    };
    let locate = |origin: Option<usize>, error: Error| match (origin, options.locate) {
        (Some(at), Some(locate)) => match locate(at, error.field()) {
            Some(place) => error.at(place),
            None => error,
        },
        _ => error,
    };
    let mut graph = wire(&kept, &origins, def).map_err(|(error, origin)| locate(origin, error))?;
    insert_splits(&mut graph, |param| def(&param))?;
    let mut layers: Vec<Box<dyn Layer>> = Vec::with_capacity(graph.nodes.len());
    let mut named = HashMap::new();
    for i in 0..graph.nodes.len() {
        let id = NodeId(i as u32);
        let layer = instantiate(&mut graph, id, params, &mut named, options)
            .map_err(|error| locate(graph.node(id).origin, error.at(graph.place(id))))?;
        layers.push(layer);
    }
    let marked = backward::mark(&mut graph, params, net.force_backward());
    let learns = graph.nodes.iter().map(|n| n.needs_backward).collect();
    if options.backward {
        marked.map_err(|(error, id)| locate(graph.node(id).origin, error.at(graph.place(id))))?;
        for node in &graph.nodes {
            for &id in node.params.iter().filter(|_| node.needs_backward) {
                let param = &mut params[id];
                if param.lr_mult != 0.0 || net.force_backward() {
                    // Zeros straight from the system: its pages come when they are first written.
                    if param.grad.len() != param.value.data.len() {
                        param.grad = vec![0.0; param.value.data.len()];
                    }
                }
            }
        }
    } else {
        backward::clear(&mut graph);
    }
    verify(&graph)
        .map_err(|law| Error::new(ErrorKind::Graph, format!("graph law broken: {law}")))?;
    Ok(Built {
        graph,
        layers,
        skipped,
        kept,
        learns,
    })
}

/// Checks how the layers of `net`, in its `state`, hang together, before any of them is made.
///
/// # Errors
/// As [`build`], without those of single layers; with the layer's index in the message.
pub fn check_wiring(net: &NetParameter) -> Result<(), (Error, Option<usize>)> {
    let (kept, origins, _) = filter(net).map_err(|error| (error, None))?;
    let def = |param: &LayerParameter| LayerDef {
        param: param.clone(),
        phase: crate::schema::Phase::Test,
        backward: false,
        root: PathBuf::new(),
        seed: 0,
        index: 0,
    };
    wire(&kept, &origins, def).map(|_| ())
}

/// A parameter that has a name, to be shared.
struct Named {
    id: ParamId,
    /// The layer that named it first.
    owner: Arc<str>,
    /// Whether anybody told its lr_mult, its decay_mult.
    told: [bool; 2],
}

fn instantiate(
    graph: &mut Graph,
    id: NodeId,
    params: &mut Params,
    named: &mut HashMap<String, Named>,
    options: &BuildOptions<'_>,
) -> Result<Box<dyn Layer>> {
    let node = graph.node(id);
    let mut layer = (node.kind.build)(&node.def)?;
    let shapes = bottom_shapes(graph, id);
    let mut setup = Setup {
        bottoms: &shapes,
        declared: Vec::new(),
    };
    layer.setup(&mut setup)?;
    let declared = setup.declared;
    let specs = &node.def.param.param;
    if specs.len() > declared.len() {
        return Err(Error::param(
            "param",
            format!(
                "given {} times, but the layer has {} parameters",
                specs.len(),
                declared.len()
            ),
        ));
    }
    let shared = options.share.and_then(|other| {
        other
            .nodes
            .iter()
            .find(|n| n.name == node.name && !n.params.is_empty())
    });
    let mut ids = Vec::with_capacity(declared.len());
    for (i, decl) in declared.iter().enumerate() {
        let spec = specs.get(i).cloned().unwrap_or_default();
        let param = match shared {
            Some(owner) => bind(owner, i, decl, params)?,
            None => {
                // Weights go to the first layer of a name.
                let brought = options.brought.is_some_and(|brought| {
                    let before = &graph.nodes[..id.index()];
                    brought(&node.name, i) && before.iter().all(|n| n.name != node.name)
                });
                let seed = (!brought).then_some(options.seed);
                own_or_share(&node.name, &spec, i, decl, id, params, named, seed)?
            }
        };
        if ids.contains(&param) {
            return Err(Error::new(
                ErrorKind::Graph,
                "a layer cannot share a parameter with itself",
            ));
        }
        ids.push(param);
    }
    graph.nodes[id.index()].params = ids;
    let tops = layer.reshape(&shapes)?;
    set_tops(graph, id, tops)?;
    Ok(layer)
}

fn bottom_shapes(graph: &Graph, id: NodeId) -> Vec<Shape> {
    graph
        .node(id)
        .bottoms
        .iter()
        .map(|&b| graph.value(b).shape.clone())
        .collect()
}

fn set_tops(graph: &mut Graph, id: NodeId, shapes: Vec<Shape>) -> Result<()> {
    let tops = graph.node(id).tops.clone();
    assert_eq!(
        tops.len(),
        shapes.len(),
        "reshape of {} tells a shape for each top",
        graph.node(id).kind.name
    );
    for (top, shape) in tops.into_iter().zip(shapes) {
        graph.values[top.index()].shape = Shape::checked(shape.dims())?;
    }
    Ok(())
}

/// Infers all shapes anew after those of some values without bottoms changed.
///
/// # Errors
/// With the layer's place, where the new shapes do not fit.
pub fn reshape(
    graph: &mut Graph,
    layers: &mut [Box<dyn Layer>],
    changed: &[(ValueId, Shape)],
) -> Result<()> {
    for (value, shape) in changed {
        graph.values[value.index()].shape = shape.clone();
    }
    for (i, layer) in layers.iter_mut().enumerate() {
        let id = NodeId(i as u32);
        if graph.node(id).bottoms.is_empty() {
            continue;
        }
        let shapes = bottom_shapes(graph, id);
        layer
            .reshape(&shapes)
            .and_then(|tops| set_tops(graph, id, tops))
            .map_err(|error| error.at(graph.place(id)))?;
    }
    Ok(())
}

/// Infers shapes anew behind node `from`, whose tops have these shapes now: of nodes that read something whose shape
/// changes, and of those behind them. Which those were, in order.
///
/// # Errors
/// With the layer's place, where the new shapes do not fit, or where a layer would want its buffers planned anew.
pub fn reshape_behind(
    graph: &mut Graph,
    layers: &mut [Box<dyn Layer>],
    from: NodeId,
    tops: Vec<Shape>,
) -> Result<Vec<NodeId>> {
    let mut changed = vec![false; graph.values.len()];
    let mut reshaped = Vec::new();
    let mut told = Some(tops);
    for (i, layer) in layers.iter_mut().enumerate().skip(from.index()) {
        let id = NodeId(i as u32);
        let node = graph.node(id);
        let result = match told.take() {
            Some(tops) => Ok(tops),
            None if node.bottoms.iter().any(|&b| changed[b.index()]) => {
                reshaped.push(id);
                let before = layer.traits();
                let shapes = layer.reshape(&bottom_shapes(graph, id));
                shapes.and_then(|tops| {
                    if before.same_plan(&layer.traits()) {
                        Ok(tops)
                    } else {
                        Err(Error::unsupported(
                            "the shapes of this layer's bottoms change while the net runs, and it would need other buffers",
                        ))
                    }
                })
            }
            None => continue,
        };
        let tops = result.map_err(|error| error.at(graph.place(id)))?;
        for (&top, shape) in graph.node(id).tops.iter().zip(&tops) {
            changed[top.index()] = graph.value(top).shape != *shape;
        }
        set_tops(graph, id, tops).map_err(|error| error.at(graph.place(id)))?;
    }
    Ok(reshaped)
}

fn shape_clash(what: &str, owner: &str, theirs: &Shape, ours: &Shape) -> Error {
    Error::shape(format!(
        "cannot share parameter {what} with layer '{owner}': its shape there is {theirs}, here {ours}"
    ))
}

/// The parameter of the train net's layer of this name.
fn bind(owner: &super::Node, i: usize, decl: &ParamDecl, params: &Params) -> Result<ParamId> {
    let id = *owner.params.get(i).ok_or_else(|| {
        Error::shape(format!(
            "the train net's layer of this name has {} parameters",
            owner.params.len()
        ))
    })?;
    if params[id].value.shape != decl.shape {
        return Err(shape_clash(
            &i.to_string(),
            &owner.name,
            &params[id].value.shape,
            &decl.shape,
        ));
    }
    Ok(id)
}

#[allow(clippy::too_many_arguments, reason = "one call, each is needed")]
fn own_or_share(
    layer: &Arc<str>,
    spec: &ParamSpec,
    i: usize,
    decl: &ParamDecl,
    node: NodeId,
    params: &mut Params,
    named: &mut HashMap<String, Named>,
    fill: Option<u64>,
) -> Result<ParamId> {
    let name = spec.name();
    if let Some(Named { id, owner, told }) = named.get_mut(name).filter(|_| !name.is_empty()) {
        let param = &mut params[*id];
        let fits = match spec.share_mode() {
            DimCheckMode::Strict => param.value.shape == decl.shape,
            DimCheckMode::Permissive => param.value.shape.count() == decl.shape.count(),
        };
        if !fits {
            return Err(
                shape_clash(&format!("'{name}'"), owner, &param.value.shape, &decl.shape)
                    .help("share_mode: PERMISSIVE lets shapes of the same count share"),
            );
        }
        let [told_lr, told_decay] = told;
        for (field, ours, theirs, told) in [
            ("lr_mult", spec.lr_mult, &mut param.lr_mult, told_lr),
            (
                "decay_mult",
                spec.decay_mult,
                &mut param.decay_mult,
                told_decay,
            ),
        ] {
            match ours {
                Some(ours) if !*told => {
                    *theirs = ours;
                    *told = true;
                }
                Some(ours) if ours != *theirs => {
                    return Err(Error::new(
                        ErrorKind::Param,
                        format!(
                            "shared parameter '{name}' has {field} {theirs} in layer '{owner}' and {ours} here"
                        ),
                    ));
                }
                _ => {}
            }
        }
        return Ok(*id);
    }
    if decl.statistic && spec.lr_mult.is_some_and(|m| m != 0.0) {
        return Err(Error::param(
            "param.lr_mult",
            "must be 0 here: the layer keeps these statistics itself, no solver may touch them",
        ));
    }
    let mut value = Tensor {
        shape: Shape::checked(decl.shape.dims())?,
        data: Vec::new(),
    };
    memory::check(params.count().saturating_add(value.shape.count()), || {
        format!(
            "a parameter of shape {}, with those before it,",
            value.shape
        )
    })?;
    // Without room the filler fills nothing, but says what is wrong with it.
    if fill.is_some() {
        value = Tensor::zeros(value.shape);
    }
    filler::fill(
        &decl.filler,
        &mut value,
        &mut stream(fill.unwrap_or(0), Use::Filler, u64::from(node.0), i as u64),
    )?;
    if fill.is_none() {
        value = Tensor::zeros(value.shape);
    }
    let id = params.push(Param {
        value,
        grad: Vec::new(),
        lr_mult: if decl.statistic || decl.fixed {
            0.0
        } else {
            spec.lr_mult()
        },
        decay_mult: spec.decay_mult(),
    });
    if !name.is_empty() {
        let told = [spec.lr_mult.is_some(), spec.decay_mult.is_some()];
        let owner = layer.clone();
        named.insert(name.to_owned(), Named { id, owner, told });
    }
    Ok(id)
}
