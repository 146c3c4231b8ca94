//! From values to slots: alias classes, the last use of each over the whole schedule, a linear scan over free slots.

use std::collections::HashSet;

use super::plan::{Action, Buf, Draft, Keep, Slot};
use crate::{
    graph::{Graph, Value, ValueId},
    layer::{Layer, Role, Sharing},
};

/// Where everything went.
pub(super) struct Placed {
    pub(super) slots: Vec<usize>,
    pub(super) data: Vec<Slot>,
    pub(super) diff: Vec<Option<Slot>>,
}

/// What stays readable after a pass, by value: see [`Keep`]. An earlier version of a blob is never kept for its data, a
/// later one never for its diff, as in Caffe's shared buffer.
pub(super) struct Kept {
    pub(super) data: Vec<bool>,
    pub(super) diff: Vec<bool>,
}

impl Kept {
    /// For the graph as it was declared. `wanted` are blobs to keep besides.
    pub(super) fn new(graph: &Graph, keep: Keep, wanted: &[String]) -> Self {
        let mut data: Vec<bool> = graph
            .values
            .iter()
            .map(|v| v.consumers.is_empty())
            .collect();
        let mut diff = vec![false; graph.values.len()];
        for (value, _) in graph.losses() {
            data[value.index()] = true;
        }
        for value in wanted.iter().filter_map(|name| graph.latest(name)) {
            data[value.index()] = true;
        }
        if keep != Keep::Outputs {
            let mut seen = HashSet::new();
            for (kept, value) in data.iter_mut().zip(&graph.values).rev() {
                *kept |= seen.insert(&value.name);
            }
        }
        if keep == Keep::All {
            for (kept, value) in diff.iter_mut().zip(&graph.values) {
                *kept = value.needs_diff && value.version == 0;
            }
        }
        Self { data, diff }
    }

    /// What no rewrite may lose: what is kept, and what is set from outside.
    pub(super) fn pinned(&self, graph: &Graph) -> Vec<bool> {
        let sources = graph.values.iter().map(|v| is_source(graph, v));
        let pairs = self.data.iter().zip(&self.diff).zip(sources);
        pairs
            .map(|((&data, &diff), source)| data || diff || source)
            .collect()
    }
}

/// Whether a value comes from outside: an input or a record.
fn is_source(graph: &Graph, value: &Value) -> bool {
    matches!(
        graph.node(value.producer).kind.role,
        Role::Data | Role::Input
    )
}

/// Buffers that are one: a union-find over data (`0..n`) and diffs (`n..2n`) of values.
struct Classes {
    parent: Vec<usize>,
    values: usize,
}

impl Classes {
    fn index(&self, buf: Buf) -> usize {
        match buf {
            Buf::Data(v) => v.index(),
            Buf::Diff(v) => self.values + v.index(),
        }
    }

    fn find(&self, buf: Buf) -> usize {
        let mut i = self.index(buf);
        while self.parent[i] != i {
            i = self.parent[i];
        }
        i
    }

    fn join(&mut self, into: Buf, from: Buf) {
        let (into, from) = (self.find(into), self.find(from));
        self.parent[from] = into;
    }
}

/// A class lives from its first write to its last use; `PINNED` ones to the end of the pass.
const PINNED: usize = usize::MAX;

/// The slot of what has none.
const NOWHERE: Slot = usize::MAX;

/// Decides in-place steps (marked in `drafts`) and places every buffer.
pub(super) fn place(
    graph: &Graph,
    layers: &[Box<dyn Layer>],
    drafts: &mut [Draft],
    kept: &Kept,
) -> Placed {
    let n = graph.values.len();
    let mut classes = Classes {
        parent: (0..2 * n).collect(),
        values: n,
    };
    for (i, node) in graph.nodes.iter().enumerate() {
        if !node.gone && layers[i].traits().sharing == Sharing::Alias {
            for &top in &node.tops {
                classes.join(Buf::Data(node.bottoms[0]), Buf::Data(top));
            }
            if node.tops.len() == 1 {
                classes.join(Buf::Diff(node.tops[0]), Buf::Diff(node.bottoms[0]));
            }
        }
    }
    let mut last = vec![0usize; 2 * n];
    for (at, draft) in drafts.iter().enumerate() {
        for buf in draft.reads().chain(draft.writes()) {
            last[classes.find(buf)] = at;
        }
    }
    for i in 0..n {
        let id = ValueId(i as u32);
        if kept.data[i] || is_source(graph, graph.value(id)) {
            last[classes.find(Buf::Data(id))] = PINNED;
        }
        if kept.diff[i] {
            last[classes.find(Buf::Diff(id))] = PINNED;
        }
    }
    go_in_place(graph, layers, drafts, &mut classes, &mut last);
    assign(graph, drafts, &classes, &last)
}

/// A step runs in place where its layer can and its input dies there.
fn go_in_place(
    graph: &Graph,
    layers: &[Box<dyn Layer>],
    drafts: &mut [Draft],
    classes: &mut Classes,
    last: &mut [usize],
) {
    for (at, draft) in drafts.iter_mut().enumerate() {
        let node = graph.node(draft.node);
        if layers[draft.node.index()].traits().sharing != Sharing::InPlace
            || node.bottoms.len() != 1
            || node.tops.len() != 1
        {
            continue;
        }
        let (from, to) = match draft.action {
            Action::Forward => (draft.bottoms[0], draft.tops[0]),
            Action::Backward => (draft.top_diffs[0], draft.bottom_diffs[0]),
            Action::Pull | Action::Seed(_) => continue,
        };
        let (Some(from), Some(to)) = (from, to) else {
            continue;
        };
        let (a, b) = (classes.find(from), classes.find(to));
        if last[a] == at {
            last[a] = last[b];
            classes.join(from, to);
            draft.in_place = true;
        }
    }
}

fn assign(graph: &Graph, drafts: &[Draft], classes: &Classes, last: &[usize]) -> Placed {
    let n = graph.values.len();
    let mut need = vec![0usize; 2 * n];
    for (i, value) in graph.values.iter().enumerate() {
        let id = ValueId(i as u32);
        for buf in [Buf::Data(id), Buf::Diff(id)] {
            let class = classes.find(buf);
            need[class] = need[class].max(value.shape.count());
        }
    }
    let mut slots: Vec<usize> = Vec::new();
    let mut free: Vec<Slot> = Vec::new();
    let mut of: Vec<Option<Slot>> = vec![None; 2 * n];
    // Tops of input and data layers live through every pass and swap whole vectors: a slot of their own.
    for node in &graph.nodes {
        if matches!(node.kind.role, Role::Data | Role::Input) {
            for &top in &node.tops {
                let class = classes.find(Buf::Data(top));
                of[class] = Some(slots.len());
                slots.push(need[class]);
            }
        }
    }
    for (at, draft) in drafts.iter().enumerate() {
        let mut dying: Vec<usize> = Vec::new();
        for buf in draft.writes() {
            let class = classes.find(buf);
            if of[class].is_none() {
                of[class] = Some(take(&mut slots, &mut free, need[class]));
            }
        }
        for buf in draft.reads().chain(draft.writes()) {
            let class = classes.find(buf);
            if last[class] == at && !dying.contains(&class) {
                dying.push(class);
                free.extend(of[class]);
            }
        }
    }
    let data = (0..n)
        .map(|i| {
            if graph.values[i].gone {
                return NOWHERE;
            }
            let class = classes.find(Buf::Data(ValueId(i as u32)));
            *of[class].get_or_insert_with(|| {
                slots.push(need[class]);
                slots.len() - 1
            })
        })
        .collect();
    let diff = (0..n)
        .map(|i| {
            let value = &graph.values[i];
            value
                .needs_diff
                .then(|| of[classes.find(Buf::Diff(ValueId(i as u32)))])
                .flatten()
        })
        .collect();
    Placed { slots, data, diff }
}

/// The smallest free slot that is large enough, else the largest free one, grown, else a new one.
fn take(slots: &mut Vec<usize>, free: &mut Vec<Slot>, need: usize) -> Slot {
    let fits = (0..free.len())
        .filter(|&i| slots[free[i]] >= need)
        .min_by_key(|&i| slots[free[i]]);
    let pick = fits.or_else(|| (0..free.len()).max_by_key(|&i| slots[free[i]]));
    match pick {
        Some(i) => {
            let slot = free.swap_remove(i);
            slots[slot] = slots[slot].max(need);
            slot
        }
        None => {
            slots.push(need);
            slots.len() - 1
        }
    }
}
