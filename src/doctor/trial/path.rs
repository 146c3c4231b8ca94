//! The way through a net: what stands between blobs and the weights that made them.

use crate::{
    graph::{Graph, Node, ValueId},
    params::Params,
};

/// Layers whose product with their weights makes their top.
pub(super) const WEIGHTED: &[&str] = &[
    "Convolution",
    "ConvolutionDepthwise",
    "Deconvolution",
    "DepthwiseConvolution",
    "InnerProduct",
];
/// Layers that make their bottom anew, whatever its size.
pub(super) const RESIZING: &[&str] = &["BatchNorm", "BN", "MVN", "Normalize"];

/// From a value upwards: the layers down to the last ones with weights, the nearest to the value first; and those with
/// weights, if there is just one way to them.
pub(super) fn above(graph: &Graph, value: ValueId) -> (Vec<&Node>, Option<&Node>) {
    let mut between = Vec::new();
    let mut at = value;
    loop {
        let node = graph.node(graph.value(at).producer);
        if WEIGHTED.contains(&node.kind.name) {
            return (between, Some(node));
        }
        let Some(&bottom) = node.bottoms.first() else {
            return (between, None);
        };
        if node.origin.is_some() {
            between.push(node);
        }
        at = bottom;
    }
}

/// The value that a reader of `value` reads: splits, which are inserted for several readers, are passed over.
pub(super) fn source(graph: &Graph, value: ValueId) -> ValueId {
    let mut at = value;
    loop {
        let node = graph.node(graph.value(at).producer);
        match node.bottoms.first() {
            Some(&bottom) if node.origin.is_none() => at = bottom,
            _ => return at,
        }
    }
}

/// The name of the blob that a node reads first.
pub(super) fn bottom<'a>(graph: &'a Graph, node: &Node) -> Option<&'a str> {
    let &id = node.bottoms.first()?;
    Some(&graph.value(source(graph, id)).name)
}

/// The layer, not inserted, that a node reads first.
pub(super) fn before<'a>(graph: &'a Graph, node: &Node) -> Option<&'a Node> {
    let &id = node.bottoms.first()?;
    Some(graph.node(graph.value(source(graph, id)).producer))
}

/// The layers that read a node's tops, inserted ones passed over.
pub(super) fn behind<'a>(graph: &'a Graph, node: &Node) -> Vec<&'a Node> {
    let mut found = Vec::new();
    let mut todo: Vec<ValueId> = node.tops.clone();
    while let Some(value) = todo.pop() {
        for &(reader, _) in &graph.value(value).consumers {
            let reader = graph.node(reader);
            match reader.origin {
                Some(_) => found.push(reader),
                None => todo.extend(&reader.tops),
            }
        }
    }
    found
}

/// Whether a layer's weights are meant to be learned.
pub(super) fn learns(node: &Node, params: &Params) -> bool {
    node.params.first().is_some_and(|&id| {
        let param = &params[id];
        param.wants_grad() && param.lr_mult != 0.0
    })
}
