//! What runs when, and in which buffers: one schedule of forward and backward, settled before the first pass.

use std::ops::Range;

use smallvec::SmallVec;

use super::liveness::{self, Kept};
use crate::{
    graph::{Graph, NodeId, ValueId},
    layer::{Layer, Role, Sharing},
};

/// Most operands of a step that need no allocation.
pub(super) const INLINE: usize = 16;

/// A list of a step's operands.
pub(super) type Few<T> = SmallVec<[T; INLINE]>;

/// What one buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Buf {
    /// A value.
    Data(ValueId),
    /// The gradient by it.
    Diff(ValueId),
}

/// A buffer of the arena.
pub(super) type Slot = usize;

/// Where in the arena a value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) slot: Slot,
    /// Floats of the slot before it.
    pub(super) offset: usize,
}

impl Place {
    /// The floats of a value of `count` elements.
    pub(super) fn range(self, count: usize) -> Range<usize> {
        self.offset..self.offset + count
    }
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The layer's forward.
    Forward,
    /// A data layer's pull.
    Pull,
    /// Writes the diff that backward starts from.
    Seed(ValueId),
    /// The layer's backward.
    Backward,
}

/// One step. Operands are by bottom and top; `None` where the layer neither gets nor gives one.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) node: NodeId,
    pub(super) action: Action,
    /// Bottom and top (or their diffs) are one place.
    pub(super) in_place: bool,
    /// The layer tells the shapes of its tops when it sees the bottoms.
    pub(super) moving: bool,
    pub(super) bottoms: Few<Option<Place>>,
    pub(super) tops: Few<Option<Place>>,
    pub(super) bottom_diffs: Few<Option<Place>>,
    pub(super) top_diffs: Few<Option<Place>>,
}

/// What stays readable after a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Outputs and inputs of the net: the least memory.
    #[default]
    Outputs,
    /// The data of every blob by its name, too.
    Named,
    /// Data and diffs of every blob by its name.
    All,
}

/// The schedule with its buffers.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// The first step of backward.
    pub(super) backward_from: usize,
    /// Floats of each slot.
    pub(super) slots: Vec<usize>,
    /// The place of each value's data.
    pub(super) data: Vec<Place>,
    /// The place of each value's diff, where it has one.
    pub(super) diff: Vec<Option<Place>>,
    /// What is still in its place after a pass.
    pub(super) kept: Vec<Buf>,
    /// Scratch floats.
    pub(super) workspace: usize,
    /// Forward changes parameters.
    pub(super) writes_params: bool,
}

/// A step before slots are known: what it reads and writes.
pub(super) struct Draft {
    pub(super) node: NodeId,
    pub(super) action: Action,
    pub(super) in_place: bool,
    pub(super) bottoms: Vec<Option<Buf>>,
    pub(super) tops: Vec<Option<Buf>>,
    pub(super) bottom_diffs: Vec<Option<Buf>>,
    pub(super) top_diffs: Vec<Option<Buf>>,
}

impl Draft {
    pub(super) fn reads(&self) -> impl Iterator<Item = Buf> + '_ {
        let (reads, more): (&[_], &[_]) = match self.action {
            Action::Forward => (&self.bottoms, &[]),
            Action::Pull | Action::Seed(_) => (&[], &[]),
            Action::Backward => (&self.bottoms, &self.tops),
        };
        let diffs: &[_] = match self.action {
            Action::Backward => &self.top_diffs,
            _ => &[],
        };
        reads.iter().chain(more).chain(diffs).flatten().copied()
    }

    pub(super) fn writes(&self) -> impl Iterator<Item = Buf> + '_ {
        let writes = match self.action {
            Action::Forward | Action::Pull => &self.tops,
            Action::Seed(_) => &self.top_diffs,
            Action::Backward => &self.bottom_diffs,
        };
        writes.iter().flatten().copied()
    }
}

/// The schedule of a graph, buffers still by name.
pub(super) fn draft(graph: &Graph, layers: &[Box<dyn Layer>]) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for (i, node) in graph.nodes.iter().enumerate() {
        let id = NodeId(i as u32);
        let action = match node.kind.role {
            _ if node.gone => continue,
            Role::Input => continue,
            Role::Data => Action::Pull,
            _ if layers[i].traits().sharing == Sharing::Alias => continue,
            _ => Action::Forward,
        };
        drafts.push(Draft {
            node: id,
            action,
            in_place: false,
            bottoms: node.bottoms.iter().map(|&b| Some(Buf::Data(b))).collect(),
            tops: node.tops.iter().map(|&t| Some(Buf::Data(t))).collect(),
            bottom_diffs: Vec::new(),
            top_diffs: Vec::new(),
        });
    }
    for (i, value) in graph.values.iter().enumerate() {
        if value.seeded {
            let id = ValueId(i as u32);
            drafts.push(Draft {
                node: value.producer,
                action: Action::Seed(id),
                in_place: false,
                bottoms: Vec::new(),
                tops: Vec::new(),
                bottom_diffs: Vec::new(),
                top_diffs: vec![Some(Buf::Diff(id))],
            });
        }
    }
    for (i, node) in graph.nodes.iter().enumerate().rev() {
        let traits = layers[i].traits();
        if !node.needs_backward || (traits.sharing == Sharing::Alias && node.tops.len() == 1) {
            continue;
        }
        let data = |wanted: bool, ids: &[ValueId]| {
            ids.iter()
                .map(|&v| wanted.then_some(Buf::Data(v)))
                .collect()
        };
        let diff = |ids: &[ValueId], wanted: &dyn Fn(usize) -> bool| {
            ids.iter()
                .enumerate()
                .map(|(i, &v)| (graph.value(v).needs_diff && wanted(i)).then_some(Buf::Diff(v)))
                .collect()
        };
        drafts.push(Draft {
            node: NodeId(i as u32),
            action: Action::Backward,
            in_place: false,
            bottoms: data(traits.backward_reads.bottoms, &node.bottoms),
            tops: data(traits.backward_reads.tops, &node.tops),
            bottom_diffs: diff(&node.bottoms, &|b| node.bottom_backward[b]),
            top_diffs: diff(&node.tops, &|_| true),
        });
    }
    drafts
}

/// The largest workspace that a layer asks for.
fn workspace(graph: &Graph, layers: &[Box<dyn Layer>]) -> usize {
    let left = layers.iter().zip(&graph.nodes).filter(|(_, n)| !n.gone);
    left.map(|(layer, _)| layer.traits().workspace)
        .max()
        .unwrap_or(0)
}

impl Plan {
    /// Makes room for the shapes of now, every buffer in its place: for shapes that change within a pass.
    pub(super) fn grow(&mut self, graph: &Graph, layers: &[Box<dyn Layer>]) {
        for ((value, data), diff) in graph.values.iter().zip(&self.data).zip(&self.diff) {
            for place in [Some(*data).filter(|_| !value.gone), *diff]
                .into_iter()
                .flatten()
            {
                let slot = &mut self.slots[place.slot];
                *slot = (*slot).max(place.range(value.shape.count()).end);
            }
        }
        self.workspace = self.workspace.max(workspace(graph, layers));
    }
}

/// Plans a graph.
pub(super) fn plan(graph: &Graph, layers: &[Box<dyn Layer>], kept: &Kept) -> Plan {
    let mut drafts = draft(graph, layers);
    let placed = liveness::place(graph, layers, &mut drafts, kept);
    let place = |buf: &Option<Buf>| {
        buf.map(|buf| match buf {
            Buf::Data(v) => placed.data[v.index()],
            Buf::Diff(v) => placed.diff[v.index()].expect("a planned diff has a place"),
        })
    };
    let steps: Vec<Step> = drafts
        .iter()
        .map(|d| Step {
            node: d.node,
            action: d.action,
            in_place: d.in_place,
            moving: d.action == Action::Forward && layers[d.node.index()].traits().moving,
            bottoms: d.bottoms.iter().map(place).collect(),
            tops: d.tops.iter().map(place).collect(),
            bottom_diffs: d.bottom_diffs.iter().map(place).collect(),
            top_diffs: d.top_diffs.iter().map(place).collect(),
        })
        .collect();
    let backward_from = steps
        .iter()
        .position(|s| matches!(s.action, Action::Seed(_) | Action::Backward))
        .unwrap_or(steps.len());
    Plan {
        steps,
        backward_from,
        slots: placed.slots,
        data: placed.data,
        diff: placed.diff,
        kept: (0..graph.values.len())
            .map(|i| (i, ValueId(i as u32)))
            .flat_map(|(i, id)| {
                let data = kept.data[i].then_some(Buf::Data(id));
                data.into_iter()
                    .chain(kept.diff[i].then_some(Buf::Diff(id)))
            })
            .collect(),
        workspace: workspace(graph, layers),
        writes_params: layers.iter().any(|l| l.traits().writes_params),
    }
}
