//! From values to slots: alias classes, the last use of each over the whole schedule, a linear scan over free slots.

use std::collections::HashSet;

use super::{
    classes::Classes,
    plan::{Action, Buf, Draft, Keep, Place, Slot},
};
use crate::{
    graph::{Graph, Value, ValueId},
    layer::{Layer, Role, Sharing},
};

/// Where everything went.
pub(super) struct Placed {
    pub(super) slots: Vec<usize>,
    pub(super) data: Vec<Place>,
    pub(super) diff: Vec<Option<Place>>,
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

/// A class lives from its first write to its last use; `PINNED` ones to the end of the pass.
const PINNED: usize = usize::MAX;

/// The place of what has none.
const NOWHERE: Place = Place {
    slot: usize::MAX,
    offset: 0,
};

/// Decides which steps run in place (marked in `drafts`) or not at all (taken out), and places every buffer.
pub(super) fn place(
    graph: &Graph,
    layers: &[Box<dyn Layer>],
    drafts: &mut Vec<Draft>,
    kept: &Kept,
) -> Placed {
    let n = graph.values.len();
    let mut classes = Classes::new(graph);
    for (i, node) in graph.nodes.iter().enumerate() {
        if !node.gone && layers[i].traits().sharing == Sharing::Alias {
            for &top in &node.tops {
                classes.join(Buf::Data(node.bottoms[0]), 0, Buf::Data(top));
            }
            if node.tops.len() == 1 {
                classes.join(Buf::Diff(node.tops[0]), 0, Buf::Diff(node.bottoms[0]));
            }
        }
    }
    // Parts lie where the shapes of now put them; behind a layer whose tops change within a pass they would move.
    let settled = layers.iter().all(|l| !l.traits().moving);
    if settled && drafts.iter().all(|d| d.action != Action::Backward) {
        share_parts(graph, layers, drafts, &mut classes);
    }
    let mut last = vec![0usize; 2 * n];
    for (at, draft) in drafts.iter().enumerate() {
        for buf in draft.reads().chain(draft.writes()) {
            last[classes.class(buf)] = at;
        }
    }
    for i in 0..n {
        let id = ValueId(i as u32);
        if kept.data[i] || is_source(graph, graph.value(id)) {
            last[classes.class(Buf::Data(id))] = PINNED;
        }
        if kept.diff[i] {
            last[classes.class(Buf::Diff(id))] = PINNED;
        }
    }
    go_in_place(graph, layers, drafts, &mut classes, &mut last);
    assign(graph, drafts, &classes, &last)
}

/// Takes out the steps of Concat and Slice where the parts can lie within the whole.
fn share_parts(
    graph: &Graph,
    layers: &[Box<dyn Layer>],
    drafts: &mut Vec<Draft>,
    classes: &mut Classes,
) {
    let mut sources = vec![false; 2 * graph.values.len()];
    for (i, value) in graph.values.iter().enumerate() {
        sources[classes.class(Buf::Data(ValueId(i as u32)))] |= is_source(graph, value);
    }
    for (i, node) in graph.nodes.iter().enumerate().filter(|(_, n)| !n.gone) {
        let (whole, parts, gather) = match layers[i].traits().sharing {
            Sharing::Gather => (node.tops[0], &node.bottoms, true),
            Sharing::Scatter => (node.bottoms[0], &node.tops, false),
            _ => continue,
        };
        let mut joined = classes.clone();
        let mut at = 0;
        let fits = parts.iter().all(|&part| {
            let (buf, count) = (Buf::Data(part), graph.value(part).shape.count());
            let class = joined.class(buf);
            // What is made in its part of a whole is made nowhere else, and is all that is made there.
            let alone = !gather || (joined.size(class) == count && !sources[class]);
            at += count;
            count == 0 || (alone && joined.join(Buf::Data(whole), at - count, buf))
        });
        let here = |d: &Draft| d.node.index() == i && d.action == Action::Forward;
        let others = drafts.iter().filter(|d| !here(d));
        if fits && others.into_iter().all(|d| can_run(d, &joined)) {
            *classes = joined;
            drafts.retain(|d| !here(d));
        }
    }
}

/// Whether a step, which moves what it writes out of the arena, still finds there what it reads.
fn can_run(draft: &Draft, classes: &Classes) -> bool {
    let written: Vec<usize> = draft.writes().map(|buf| classes.class(buf)).collect();
    let twice = (1..written.len()).any(|i| written[..i].contains(&written[i]));
    let read = draft
        .reads()
        .any(|buf| written.contains(&classes.class(buf)));
    draft.in_place || !(twice || read)
}

/// A step runs in place where its layer can and its input dies there.
fn go_in_place(
    graph: &Graph,
    layers: &[Box<dyn Layer>],
    drafts: &mut [Draft],
    classes: &mut Classes,
    last: &mut [usize],
) {
    for at in 0..drafts.len() {
        let draft = &drafts[at];
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
        let (a, b) = (classes.class(from), classes.class(to));
        if last[a] != at {
            continue;
        }
        let mut joined = classes.clone();
        drafts[at].in_place = true;
        // Only in a class with parts may another step now read and write at once.
        let parts = classes.has_parts(a) || classes.has_parts(b);
        if joined.join(from, 0, to) && (!parts || drafts.iter().all(|d| can_run(d, &joined))) {
            *classes = joined;
            last[classes.class(to)] = last[b];
        } else {
            drafts[at].in_place = false;
        }
    }
}

fn assign(graph: &Graph, drafts: &[Draft], classes: &Classes, last: &[usize]) -> Placed {
    let n = graph.values.len();
    let mut slots: Vec<usize> = Vec::new();
    let mut free: Vec<Slot> = Vec::new();
    let mut of: Vec<Option<Slot>> = vec![None; 2 * n];
    // Tops of input and data layers live through every pass and swap whole vectors: a slot of their own.
    for node in &graph.nodes {
        if matches!(node.kind.role, Role::Data | Role::Input) {
            for &top in &node.tops {
                let class = classes.class(Buf::Data(top));
                of[class] = Some(slots.len());
                slots.push(classes.size(class));
            }
        }
    }
    for (at, draft) in drafts.iter().enumerate() {
        let mut dying: Vec<usize> = Vec::new();
        for buf in draft.writes() {
            let class = classes.class(buf);
            if of[class].is_none() {
                of[class] = Some(take(&mut slots, &mut free, classes.size(class)));
            }
        }
        for buf in draft.reads().chain(draft.writes()) {
            let class = classes.class(buf);
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
            let buf = Buf::Data(ValueId(i as u32));
            let class = classes.class(buf);
            let slot = *of[class].get_or_insert_with(|| {
                slots.push(classes.size(class));
                slots.len() - 1
            });
            Place {
                slot,
                offset: classes.start(buf),
            }
        })
        .collect();
    let diff = (0..n)
        .map(|i| {
            let buf = Buf::Diff(ValueId(i as u32));
            let slot = of[classes.class(buf)].filter(|_| graph.values[i].needs_diff)?;
            let offset = classes.start(buf);
            Some(Place { slot, offset })
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
