//! Folds BatchNorm, Scale and Bias into the weights before them, or into one another.

use super::{Level, Pass, Rewrite};
use crate::{
    error::{Error, ErrorKind, Result},
    graph::{Graph, Node, NodeId},
    layer::{self, Affine, Layer, Prepack, Role, Setup, Tail},
    params::{Param, Params},
    schema::InnerProductParameter,
    tensor::{Shape, Tensor},
};

pub(super) const PASS: Pass = Pass {
    level: Level::Fold,
    run: |rewrite| rewrite.each(fold),
};

fn fold(rewrite: &mut Rewrite<'_>, id: NodeId) {
    while let Some(next) = rewrite.behind(id) {
        let affine = matches!(rewrite.layer(next).tail(), Some(Tail::Affine));
        if !affine || !rewrite.layer(id).absorb(Tail::Affine) {
            return;
        }
        rewrite.fuse(id, next);
    }
}

/// Layers that become one: a layer and those behind it that only scale and shift what it makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Whose weights take the others in.
    pub head: NodeId,
    /// What is taken in, in order.
    pub tail: Vec<NodeId>,
}

/// A layer made anew for the shapes of now.
fn made(graph: &Graph, node: &Node) -> Result<Box<dyn Layer>> {
    let bottoms = node.bottoms.iter();
    let shapes: Vec<Shape> = bottoms.map(|&b| graph.value(b).shape.clone()).collect();
    let mut layer = (node.kind.build)(&node.def)?;
    layer.setup(&mut Setup {
        bottoms: &shapes,
        declared: Vec::new(),
    })?;
    Ok(layer)
}

/// What may be folded in a net in TEST, for good.
///
/// # Errors
/// A layer's, where it cannot be made.
pub fn chains(graph: &Graph) -> Result<Vec<Chain>> {
    let mut chains: Vec<Chain> = Vec::new();
    for i in 0..graph.nodes.len() as u32 {
        let id = NodeId(i);
        if graph.node(id).kind.role != Role::Plain
            || chains.iter().any(|chain| chain.tail.contains(&id))
        {
            continue;
        }
        let mut head = None;
        let mut tail = Vec::new();
        let mut at = id;
        while let Some(next) = reader(graph, at) {
            if !matches!(made(graph, graph.node(next))?.tail(), Some(Tail::Affine)) {
                break;
            }
            let head = match &mut head {
                Some(head) => head,
                none => none.insert(made(graph, graph.node(id))?),
            };
            if !head.absorb(Tail::Affine) {
                break;
            }
            tail.push(next);
            at = next;
        }
        if !tail.is_empty() {
            chains.push(Chain { head: id, tail });
        }
    }
    Ok(chains)
}

/// Who alone reads the only top of a node.
fn reader(graph: &Graph, id: NodeId) -> Option<NodeId> {
    let [top] = graph.node(id).tops[..] else {
        return None;
    };
    match graph.value(top).consumers[..] {
        [(reader, 0)] if graph.node(reader).tops.len() == 1 => Some(reader),
        _ => None,
    }
}

/// What a chain becomes.
#[derive(Clone, Debug, PartialEq)]
pub enum Folded {
    /// The head with these weights and this bias.
    Weights(Tensor, Tensor),
    /// A Scale with a bias: the head scaled and shifted itself.
    Affine(Affine),
}

/// Folds a chain.
///
/// # Errors
/// A layer's, where it cannot be made; `Graph` where a layer of the chain tells no factors.
pub fn folded(graph: &Graph, params: &Params, chain: &Chain) -> Result<Folded> {
    let own = |id: NodeId| -> Vec<Param> {
        let ids = graph.node(id).params.iter();
        ids.map(|&p| params[p].clone()).collect()
    };
    let map = |id: NodeId| {
        made(graph, graph.node(id))?
            .affine(&own(id))
            .ok_or_else(|| {
                let name = &graph.node(id).name;
                Error::new(ErrorKind::Graph, format!("layer '{name}' tells no factors"))
            })
    };
    let mut then: Option<Affine> = None;
    for &id in &chain.tail {
        let next = map(id)?;
        then = Some(match then {
            Some(before) => before.then(&next),
            None => next,
        });
    }
    let then = then.unwrap_or_default();
    let head = graph.node(chain.head);
    if matches!(made(graph, head)?.tail(), Some(Tail::Affine)) {
        return Ok(Folded::Affine(map(chain.head)?.then(&then)));
    }
    let mut weights = own(chain.head);
    let Some(first) = weights.first() else {
        let name = &head.name;
        return Err(Error::new(
            ErrorKind::Graph,
            format!("layer '{name}' has no weights"),
        ));
    };
    let shape = first.value.shape.clone();
    let turned = head.kind.name == "Deconvolution";
    if turned {
        by_columns(&mut weights[0].value, &then);
    }
    let columns = head
        .def
        .param
        .inner_product_param
        .as_ref()
        .is_some_and(InnerProductParameter::transpose);
    // Of a turned one the weights are done; the bias follows here.
    let (data, bias) = if turned {
        let mut bias = then.shift.clone();
        if let Some(own) = weights.get(1) {
            let pairs = own.value.data.iter().zip(&then.scale);
            bias.iter_mut()
                .zip(pairs)
                .for_each(|(to, (b, s))| *to += b * s);
        }
        (std::mem::take(&mut weights[0].value.data), bias)
    } else {
        let mut folded = layer::Folded::default();
        let mut io = Prepack {
            params: &mut weights,
            then: Some(&then),
            last: true,
        };
        folded.fold(&mut io, columns);
        (folded.weights, folded.bias)
    };
    let outputs = Shape::checked(&[bias.len()])?;
    Ok(Folded::Weights(
        Tensor::new(shape, data)?,
        Tensor::new(outputs, bias)?,
    ))
}

/// Factors of the outputs in the weights of a transposed convolution, \[inputs, outputs / groups, taps..\]: inputs of a
/// group go to its outputs.
fn by_columns(weights: &mut Tensor, then: &Affine) {
    let [inputs, each, ..] = *weights.shape.dims() else {
        return;
    };
    let taps = weights.shape.count_from(2).max(1);
    let groups = then.scale.len() / each.max(1);
    let of_group = inputs / groups.max(1);
    for (row, part) in weights.data.chunks_exact_mut(taps).enumerate() {
        let (input, output) = (row / each.max(1), row % each.max(1));
        let group = input / of_group.max(1);
        if let Some(&s) = then.scale.get(group * each + output) {
            part.iter_mut().for_each(|w| *w *= s);
        }
    }
}
