//! From a list of layers to a wired graph: who reads what, before any layer is made.

use std::{collections::HashMap, sync::Arc};

use super::{Graph, Node, NodeId, Value, ValueId};
use crate::{
    error::{Error, ErrorKind, Place, Result},
    layer::{LayerDef, Role},
    layers,
    nearest::nearest,
    schema::{LayerParameter, NetParameter, Phase},
    tensor::Shape,
};

/// Wires the (filtered) layers of `net`. `origins[i]` is where layer `i` stood before the filter.
///
/// # Errors
/// `Graph` for an unknown type, an unknown bottom, a blob with two makers, or a wrong number of bottoms, tops, loss
/// weights or propagate_down flags.
pub(super) fn wire(
    net: &NetParameter,
    origins: &[usize],
    def: impl Fn(&LayerParameter) -> LayerDef,
) -> Result<Graph, (Error, Option<usize>)> {
    let mut graph = Graph {
        name: net.name().to_owned(),
        phase: net
            .state
            .as_ref()
            .map_or(Phase::Test, |state| state.phase()),
        ..Default::default()
    };
    let mut latest: HashMap<String, ValueId> = HashMap::new();
    for (i, param) in net.layer.iter().enumerate() {
        let origin = origins.get(i).copied();
        let node = node(&graph, &mut latest, net, i, def(param), origin)
            .map_err(|e| (e.at(place(param)), origin))?;
        let id = NodeId(graph.nodes.len() as u32);
        add(&mut graph, &mut latest, node, id, param);
    }
    Ok(graph)
}

fn place(param: &LayerParameter) -> Place {
    Place::Layer {
        name: param.name().to_owned(),
        kind: param.r#type().to_owned(),
        bottoms: param.bottom.clone(),
    }
}

/// Checks one layer and finds its bottoms; tops are left to [`add`].
fn node(
    graph: &Graph,
    latest: &mut HashMap<String, ValueId>,
    net: &NetParameter,
    index: usize,
    def: LayerDef,
    origin: Option<usize>,
) -> Result<Node> {
    let param = &def.param;
    let kind = layers::of(param)?;
    let bottoms = param
        .bottom
        .iter()
        .map(|name| {
            latest
                .get(name)
                .copied()
                .ok_or_else(|| unknown_bottom(name, latest, &net.layer[index..]))
        })
        .collect::<Result<Vec<_>>>()?;
    let (n, m) = (bottoms.len(), param.top.len());
    if !kind.bottoms.allows(n, n) {
        return Err(Error::new(
            ErrorKind::Graph,
            format!(
                "{} takes {} bottoms, not {n}",
                kind.name,
                kind.bottoms.words()
            ),
        ));
    }
    let made = if kind.role == Role::Loss {
        m.max(kind.tops.least())
    } else {
        m
    };
    if !kind.tops.allows(made, n) {
        return Err(Error::new(
            ErrorKind::Graph,
            format!("{} makes {} tops, not {m}", kind.name, kind.tops.words()),
        ));
    }
    for (j, name) in param.top.iter().enumerate() {
        let over = param.bottom.get(j).is_some_and(|b| b == name);
        if !over && let Some(&first) = latest.get(name) {
            let maker = &graph.node(graph.value(first).producer).name;
            return Err(Error::new(
                ErrorKind::Graph,
                format!("top blob '{name}' is produced by multiple sources: layer '{maker}' made it before"),
            )
            .help("give the top another name, or write it in place: bottom and top of the same name"));
        }
        if param.top[..j].contains(name) {
            return Err(Error::new(
                ErrorKind::Graph,
                format!("top blob '{name}' is named twice"),
            ));
        }
    }
    if ![0, made].contains(&param.loss_weight.len()) {
        return Err(Error::param(
            "loss_weight",
            format!(
                "given {} times for {made} tops; give none, or one for each top",
                param.loss_weight.len()
            ),
        ));
    }
    if ![0, n].contains(&param.propagate_down.len()) {
        return Err(Error::param(
            "propagate_down",
            format!(
                "given {} times for {n} bottoms; give none, or one for each bottom",
                param.propagate_down.len()
            ),
        ));
    }
    let mut loss_weights = param.loss_weight.clone();
    if loss_weights.is_empty() {
        loss_weights = vec![0.0; made];
        if kind.role == Role::Loss {
            loss_weights[0] = 1.0;
        }
    }
    Ok(Node {
        name: param.name().into(),
        kind,
        origin,
        bottom_backward: vec![false; n],
        bottoms,
        tops: Vec::new(),
        params: Vec::new(),
        loss_weights,
        needs_backward: false,
        absorbed: Vec::new(),
        extra: 0,
        gone: false,
        def,
    })
}

fn add(
    graph: &mut Graph,
    latest: &mut HashMap<String, ValueId>,
    mut node: Node,
    id: NodeId,
    param: &LayerParameter,
) {
    for (slot, &bottom) in node.bottoms.iter().enumerate() {
        graph.values[bottom.index()].consumers.push((id, slot));
    }
    for j in 0..node.loss_weights.len() {
        let name: Arc<str> = match param.top.get(j) {
            Some(name) => name.as_str().into(),
            None => "(automatic)".into(),
        };
        let value = ValueId(graph.values.len() as u32);
        let version = match latest.get(&*name) {
            Some(&before) if j < param.top.len() => graph.value(before).version + 1,
            _ => 0,
        };
        if j < param.top.len() {
            latest.insert(name.to_string(), value);
        }
        graph.values.push(Value {
            name,
            version,
            shape: Shape::default(),
            producer: id,
            consumers: Vec::new(),
            needs_diff: false,
            seeded: false,
            gone: false,
        });
        node.tops.push(value);
    }
    graph.nodes.push(node);
}

fn unknown_bottom(
    name: &str,
    latest: &HashMap<String, ValueId>,
    from_here: &[LayerParameter],
) -> Error {
    let error = Error::new(ErrorKind::Graph, format!("unknown bottom blob '{name}'"));
    if let Some(later) = from_here.iter().find(|l| l.top.iter().any(|t| t == name)) {
        return error.help(format!(
            "layer '{}' makes it, but further down: move that layer before this one",
            later.name()
        ));
    }
    match nearest(name, latest.keys().map(String::as_str)) {
        Some(near) => error.help(format!("did you mean '{near}'?")),
        None => error.help(
            "no layer before this one makes it in this phase; is its maker excluded by an include or exclude rule?",
        ),
    }
}
