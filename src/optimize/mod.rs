//! Makes the graph of a net that only runs forward smaller: neighbours become one, what does nothing goes.
//!
//! Passes introduce neighbours to each other; whether and how they become one is the layers' own business, see
//! [`crate::layer::Tail`]. Nodes and values keep their numbers: what is not needed any more is marked as gone.

mod absorb;
mod fold;
mod identity;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use fold::{Chain, Folded, chains, folded};

use crate::{
    error::{Error, ErrorKind, Result},
    graph::{self, Graph, NodeId, ValueId},
    layer::Layer,
};

/// How far a net that only runs forward may be rewritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Every layer runs as it is written.
    Off,
    /// Only where results stay the same: activations and sums are done by the layer before them.
    Exact,
    /// BatchNorm, Scale and Bias are folded into the weights before them, too: results differ by rounding.
    #[default]
    Fold,
}

/// One rewrite of the whole graph.
struct Pass {
    /// The least level that allows it.
    level: Level,
    run: fn(&mut Rewrite<'_>),
}

/// All passes, in the order in which they run: what is folded must be so before an activation closes a layer.
const PASSES: &[Pass] = &[identity::PASS, fold::PASS, absorb::PASS];

/// Rewrites `graph` as far as `level` allows and tells its layers what they absorb; values that are `pinned` stay.
/// Returns what was done, in words; empty for nothing.
///
/// # Errors
/// Where a pass breaks a law of graphs; it means a fault of this library.
pub fn optimize(
    graph: &mut Graph,
    layers: &mut [Box<dyn Layer>],
    pinned: &[bool],
    level: Level,
) -> Result<String> {
    let mut rewrite = Rewrite {
        graph,
        layers,
        pinned,
        dropped: Vec::new(),
    };
    for pass in PASSES {
        let allowed = level == Level::Fold || (level == Level::Exact && pass.level == Level::Exact);
        if allowed {
            (pass.run)(&mut rewrite);
            graph::verify(rewrite.graph).map_err(|law| {
                Error::new(
                    ErrorKind::Graph,
                    format!("graph law broken by a rewrite: {law}"),
                )
            })?;
        }
    }
    Ok(rewrite.summary())
}

/// A graph under way.
struct Rewrite<'a> {
    graph: &'a mut Graph,
    layers: &'a mut [Box<dyn Layer>],
    pinned: &'a [bool],
    /// Nodes that did nothing.
    dropped: Vec<NodeId>,
}

impl Rewrite<'_> {
    /// All nodes that are still there, first to last, as they are when their turn comes.
    fn each(&mut self, mut f: impl FnMut(&mut Self, NodeId)) {
        for i in 0..self.graph.nodes.len() as u32 {
            if !self.graph.node(NodeId(i)).gone {
                f(self, NodeId(i));
            }
        }
    }

    fn layer(&mut self, id: NodeId) -> &mut dyn Layer {
        &mut *self.layers[id.index()]
    }

    /// Who reads the only top of a node, if the two may become one: the top is nobody else's business.
    fn behind(&self, id: NodeId) -> Option<NodeId> {
        let [top] = self.graph.node(id).tops[..] else {
            return None;
        };
        match self.graph.value(top).consumers[..] {
            [(reader, _)] if !self.pinned[top.index()] => {
                (self.graph.node(reader).tops.len() == 1).then_some(reader)
            }
            _ => None,
        }
    }

    /// Lets `into` do what `node` does, the only reader of its only top.
    fn fuse(&mut self, into: NodeId, node: NodeId) {
        let (between, top) = (self.graph.node(into).tops[0], self.graph.node(node).tops[0]);
        let gone = &mut self.graph.nodes[node.index()];
        gone.gone = true;
        gone.tops.clear();
        let (bottoms, weights) = (
            std::mem::take(&mut gone.bottoms),
            std::mem::take(&mut gone.loss_weights),
        );
        let absorbed = std::mem::take(&mut gone.absorbed);
        self.remove(between);
        self.graph.values[top.index()].producer = into;
        let keeper = &mut self.graph.nodes[into.index()];
        keeper.tops[0] = top;
        keeper.loss_weights = weights;
        keeper.absorbed.push(node);
        keeper.absorbed.extend(absorbed);
        for bottom in bottoms.into_iter().filter(|&b| b != between) {
            let keeper = &mut self.graph.nodes[into.index()];
            self.graph.values[bottom.index()].consumers = vec![(into, keeper.bottoms.len())];
            keeper.bottoms.push(bottom);
            keeper.bottom_backward.push(false);
            keeper.extra += 1;
        }
    }

    fn remove(&mut self, value: ValueId) {
        let value = &mut self.graph.values[value.index()];
        value.gone = true;
        value.consumers.clear();
    }

    /// "3 ReLU, 2 BatchNorm run inside the layers before them; 1 Dropout dropped".
    fn summary(&self) -> String {
        let count = |ids: &mut dyn Iterator<Item = NodeId>| {
            let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
            for id in ids {
                *kinds.entry(self.graph.node(id).kind.name).or_default() += 1;
            }
            let words: Vec<String> = kinds.iter().map(|(k, n)| format!("{n} {k}")).collect();
            words.join(", ")
        };
        let absorbed = count(&mut self.graph.nodes.iter().flat_map(|n| n.absorbed.clone()));
        let dropped = count(&mut self.dropped.iter().copied());
        let mut parts = Vec::new();
        if !absorbed.is_empty() {
            parts.push(format!("inside the layers before them run {absorbed}"));
        }
        if !dropped.is_empty() {
            parts.push(format!("nothing to do for {dropped}"));
        }
        parts.join("; ")
    }
}
