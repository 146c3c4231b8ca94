//! Who needs a gradient. The rules are Caffe's: a layer takes part in backward when a parameter of its own or something
//! below it learns, and a loss lies above it.

use super::{Graph, NodeId};
use crate::{
    error::{Error, ErrorKind, Result},
    layer::Role,
    params::Params,
};

/// Sets `needs_backward`, `bottom_backward`, `needs_diff` and `seeded` throughout. `force` asks for the gradient of
/// every bottom that can have one, losses or not.
pub(super) fn mark(graph: &mut Graph, params: &Params, force: bool) -> Result<(), (Error, NodeId)> {
    forward_sweep(graph, params);
    loss_sweep(graph);
    if force {
        for node in &mut graph.nodes {
            if matches!(node.kind.role, Role::Plain | Role::Loss) {
                let bottoms = node.bottoms.len();
                for (i, wanted) in node.bottom_backward.iter_mut().enumerate() {
                    *wanted |= node.kind.has_grad(i, bottoms);
                }
                node.needs_backward |=
                    !node.params.is_empty() || node.bottom_backward.contains(&true);
            }
        }
    }
    for (i, node) in graph.nodes.iter().enumerate() {
        for (bottom, &wanted) in node.bottom_backward.iter().enumerate() {
            let possible = node.kind.has_grad(bottom, node.bottoms.len());
            if node.needs_backward && wanted && !possible {
                return Err((
                    Error::new(
                        ErrorKind::Graph,
                        format!(
                            "{} has no gradient by its bottom {bottom}, but layers below that bottom learn",
                            node.kind.name
                        ),
                    )
                    .help("cut the path with `propagate_down: false` for that bottom"),
                    NodeId(i as u32),
                ));
            }
        }
    }
    diff_sweep(graph, force);
    Ok(())
}

/// Takes every mark back: nothing has a backward step.
pub(super) fn clear(graph: &mut Graph) {
    for node in &mut graph.nodes {
        node.needs_backward = false;
        node.bottom_backward.fill(false);
    }
    for value in &mut graph.values {
        value.needs_diff = false;
        value.seeded = false;
    }
}

/// From the inputs up: what could learn.
fn forward_sweep(graph: &mut Graph, params: &Params) {
    for i in 0..graph.nodes.len() {
        let below: Vec<bool> = graph.nodes[i]
            .bottoms
            .iter()
            .enumerate()
            .map(|(b, &v)| {
                let node = &graph.nodes[i];
                let told = node.def.param.propagate_down.get(b).copied();
                !node.kind.stops.contains(&b)
                    && told.unwrap_or_else(|| graph.node(graph.value(v).producer).needs_backward)
            })
            .collect();
        let node = &mut graph.nodes[i];
        node.needs_backward =
            below.iter().any(|&b| b) || node.params.iter().any(|&p| params[p].lr_mult != 0.0);
        node.bottom_backward = below;
        if node.kind.role == Role::Metric {
            node.needs_backward = false;
            node.bottom_backward.fill(false);
        }
    }
}

/// From the losses down: what a loss depends on.
fn loss_sweep(graph: &mut Graph) {
    let mut under_loss = vec![false; graph.values.len()];
    let mut skip = vec![false; graph.values.len()];
    for i in (0..graph.nodes.len()).rev() {
        let node = &mut graph.nodes[i];
        let mut contributes = false;
        let mut skip_down = true;
        for (&top, &weight) in node.tops.iter().zip(&node.loss_weights) {
            contributes |= weight != 0.0 || under_loss[top.index()];
            skip_down &= skip[top.index()];
        }
        if !contributes || skip_down {
            node.needs_backward = false;
        }
        if skip_down {
            node.bottom_backward.fill(false);
        }
        for (&bottom, wanted) in node.bottoms.iter().zip(&mut node.bottom_backward) {
            if contributes {
                under_loss[bottom.index()] = true;
            } else {
                *wanted = false;
            }
            if !*wanted {
                skip[bottom.index()] = true;
            }
        }
    }
}

/// From the top down: which values get a diff, dropping backward steps that nothing flows into.
fn diff_sweep(graph: &mut Graph, force: bool) {
    for i in (0..graph.nodes.len()).rev() {
        let mut any = false;
        for (t, top) in graph.nodes[i].tops.clone().into_iter().enumerate() {
            let node = &graph.nodes[i];
            let consumed = graph.value(top).consumers.first().copied();
            let from_above = consumed.is_some_and(|(reader, slot)| {
                let reader = graph.node(reader);
                reader.needs_backward && reader.bottom_backward[slot]
            });
            let seeded =
                consumed.is_none() && node.needs_backward && (node.loss_weights[t] != 0.0 || force);
            let value = &mut graph.values[top.index()];
            value.seeded = seeded;
            value.needs_diff = from_above || seeded;
            any |= value.needs_diff;
        }
        let node = &mut graph.nodes[i];
        if !any {
            node.needs_backward = false;
            node.bottom_backward.fill(false);
        }
    }
}
