//! Takes out what does nothing: Dropout in TEST, Power with its defaults, Concat of one bottom.

use super::{Level, Pass, Rewrite};
use crate::{graph::NodeId, layer::Tail};

pub(super) const PASS: Pass = Pass {
    level: Level::Exact,
    run: |rewrite| {
        rewrite.each(|rewrite, id| {
            if matches!(rewrite.layer(id).tail(), Some(Tail::Identity)) {
                drop_node(rewrite, id);
            }
        });
    },
};

/// Bottom and top become one value: whichever name may go, goes.
fn drop_node(rewrite: &mut Rewrite<'_>, id: NodeId) {
    let node = rewrite.graph.node(id);
    let ([bottom], [top]) = (&node.bottoms[..], &node.tops[..]) else {
        return;
    };
    let (bottom, top) = (*bottom, *top);
    let (maker, reader) = (
        rewrite.graph.value(bottom).producer,
        rewrite.graph.value(top).consumers.first().copied(),
    );
    if !rewrite.pinned[bottom.index()] {
        let weight = node.loss_weights.first().copied().unwrap_or(0.0);
        let maker_node = &mut rewrite.graph.nodes[maker.index()];
        for (made, loss) in maker_node.tops.iter_mut().zip(&mut maker_node.loss_weights) {
            if *made == bottom {
                (*made, *loss) = (top, weight);
            }
        }
        rewrite.graph.values[top.index()].producer = maker;
        rewrite.remove(bottom);
    } else if let Some((reader, slot)) = reader.filter(|_| !rewrite.pinned[top.index()]) {
        rewrite.graph.nodes[reader.index()].bottoms[slot] = bottom;
        rewrite.graph.values[bottom.index()].consumers = vec![(reader, slot)];
        rewrite.remove(top);
    } else {
        return;
    }
    let node = &mut rewrite.graph.nodes[id.index()];
    node.gone = true;
    node.bottoms.clear();
    node.tops.clear();
    node.loss_weights.clear();
    rewrite.dropped.push(id);
}
