//! Lets a layer do the sum and the activation behind it while its result is at hand.

use super::{Level, Pass, Rewrite};
use crate::{graph::NodeId, layer::Tail};

pub(super) const PASS: Pass = Pass {
    level: Level::Exact,
    run: |rewrite| rewrite.each(absorb),
};

fn absorb(rewrite: &mut Rewrite<'_>, id: NodeId) {
    while let Some(next) = rewrite.behind(id) {
        let taken = match rewrite.layer(next).tail() {
            Some(tail @ Tail::Act(_)) => rewrite.layer(id).absorb(tail),
            // The other summand has to be there before this node runs.
            Some(tail @ Tail::Sum) => is_ready(rewrite, id, next) && rewrite.layer(id).absorb(tail),
            _ => false,
        };
        if !taken {
            return;
        }
        rewrite.fuse(id, next);
    }
}

fn is_ready(rewrite: &Rewrite<'_>, id: NodeId, sum: NodeId) -> bool {
    let graph = &rewrite.graph;
    let makers = graph
        .node(sum)
        .bottoms
        .iter()
        .map(|&b| graph.value(b).producer);
    makers.filter(|&maker| maker != id).count() == 1
        && graph
            .node(sum)
            .bottoms
            .iter()
            .all(|&b| graph.value(b).producer <= id)
}
