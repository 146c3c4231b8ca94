//! A net as a graph of values in SSA form: what flows where, before anybody decides where it is kept.
//!
//! Writing a blob's name again makes a new version of it: an in-place layer is only a spelling. After the splits every
//! value has at most one consumer, so backward can write diffs instead of summing them.

mod backward;
mod build;
mod filter;
mod instantiate;
mod needed;
mod splits;
mod stand_in;
mod verify;

use std::sync::Arc;

pub use filter::{filter, state_of};
pub use instantiate::{
    Brought, BuildOptions, Built, Locate, build, check_wiring, reshape, reshape_behind,
};
pub use needed::keep_needed;
pub use stand_in::stand_in;
pub use verify::verify;

use crate::{
    error::Place,
    layer::{LayerDef, LayerType},
    params::ParamId,
    schema::Phase,
    tensor::Shape,
};

/// Names a [`Value`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub(crate) u32);

/// Names a [`Node`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

impl ValueId {
    /// The position in [`Graph::values`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl NodeId {
    /// The position in [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One layer in its place.
#[derive(Clone)]
pub struct Node {
    /// The layer's name; need not be unique.
    pub name: Arc<str>,
    /// Its row in the layer table.
    pub kind: &'static LayerType,
    /// What it was built from.
    pub def: LayerDef,
    /// Which layer of the message it comes from; `None` for an inserted split.
    pub origin: Option<usize>,
    /// What it reads.
    pub bottoms: Vec<ValueId>,
    /// What it makes.
    pub tops: Vec<ValueId>,
    /// Its parameters, in Caffe's order.
    pub params: Vec<ParamId>,
    /// The weight of each top in the total loss.
    pub loss_weights: Vec<f32>,
    /// Whether it has a backward step.
    pub needs_backward: bool,
    /// Which bottoms get a gradient.
    pub bottom_backward: Vec<bool>,
    /// Nodes whose work this one does too, in their order. Their further bottoms stand behind its own.
    pub absorbed: Vec<NodeId>,
    /// How many bottoms came with absorbed nodes.
    pub extra: usize,
    /// Nothing is left to do: another node does the work, or there was none. No bottoms, no tops.
    pub gone: bool,
}

/// A blob as one layer left it.
#[derive(Clone, Debug)]
pub struct Value {
    /// The blob's name.
    pub name: Arc<str>,
    /// 0 for the first layer that made a blob of this name, then one more for each that wrote over it.
    pub version: u16,
    /// Its extents.
    pub shape: Shape,
    /// Who makes it.
    pub producer: NodeId,
    /// Who reads it: a node and which of its bottoms. At most one after the splits.
    pub consumers: Vec<(NodeId, usize)>,
    /// Whether a gradient by it is computed.
    pub needs_diff: bool,
    /// Whether backward starts here: nobody reads it, and it counts in the loss or every gradient is wanted.
    pub seeded: bool,
    /// Nobody makes it: it only stood between nodes that are one now.
    pub gone: bool,
}

/// The graph.
#[derive(Clone, Default)]
pub struct Graph {
    /// The net's name.
    pub name: String,
    /// TRAIN or TEST.
    pub phase: Phase,
    /// Layers in the order in which they run.
    pub nodes: Vec<Node>,
    /// All values.
    pub values: Vec<Value>,
}

impl Graph {
    /// A node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// A value.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// The last version of a blob.
    pub fn latest(&self, name: &str) -> Option<ValueId> {
        self.versions(name).last()
    }

    /// The first version of a blob.
    pub fn first(&self, name: &str) -> Option<ValueId> {
        self.versions(name).next()
    }

    fn versions<'a>(&'a self, name: &'a str) -> impl Iterator<Item = ValueId> + 'a {
        self.values
            .iter()
            .enumerate()
            .filter(move |(_, v)| &*v.name == name)
            .map(|(i, _)| ValueId(i as u32))
    }

    /// Values that nobody reads, sorted by name: the outputs of the net, in Caffe's order.
    pub fn outputs(&self) -> Vec<ValueId> {
        let mut outputs: Vec<ValueId> = (0..self.values.len() as u32)
            .map(ValueId)
            .filter(|&v| self.value(v).consumers.is_empty() && !self.value(v).gone)
            .collect();
        outputs.sort_by(|&a, &b| self.value(a).name.cmp(&self.value(b).name));
        outputs
    }

    /// Values with a weight in the total loss.
    pub fn losses(&self) -> impl Iterator<Item = (ValueId, f32)> + '_ {
        self.nodes.iter().flat_map(|n| {
            n.tops
                .iter()
                .zip(&n.loss_weights)
                .filter(|&(_, &w)| w != 0.0)
                .map(|(&v, &w)| (v, w))
        })
    }

    /// Parameters of all layers, each once, in the order in which layers first name them: the order of a solver's
    /// history.
    pub fn learnable(&self) -> Vec<ParamId> {
        let mut ids: Vec<ParamId> = Vec::new();
        for id in self.nodes.iter().flat_map(|n| &n.params) {
            if !ids.contains(id) {
                ids.push(*id);
            }
        }
        ids
    }

    /// The place of a node, for errors.
    pub fn place(&self, id: NodeId) -> Place {
        let node = self.node(id);
        Place::Layer {
            name: node.name.to_string(),
            kind: node.kind.name.to_owned(),
            bottoms: node
                .bottoms
                .iter()
                .map(|&b| format!("{} {}", self.value(b).name, self.value(b).shape))
                .collect(),
        }
    }
}
