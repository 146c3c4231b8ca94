//! The way from the data to a map of scores: its sizes, and which stride or pad would change the last one to another.

use std::path::Path;

use super::{
    kinds,
    view::{View, make},
};
use crate::{schema::LayerParameter, tensor::Shape};

/// Nodes from the data to the scores of `node`, each reading the one before with its first bottom.
pub(crate) fn path(view: &View<'_>, node: usize) -> Vec<usize> {
    let mut path = Vec::new();
    let mut at = node;
    while let Some(value) = view.bottom(at, 0) {
        at = value.producer;
        path.push(at);
    }
    path.reverse();
    path
}

/// The last weights on the way whose outputs are the classes of `node`.
pub(crate) fn scorer(view: &View<'_>, node: usize) -> Option<usize> {
    let path = path(view, node);
    let keeps = |kind: &str| {
        matches!(
            kind,
            "ReLU"
                | "Dropout"
                | "Sigmoid"
                | "TanH"
                | "Softmax"
                | "Crop"
                | "Interp"
                | "Upsample"
                | "Pooling"
                | "BatchNorm"
                | "Scale"
                | "PReLU"
        )
    };
    for &at in path.iter().rev() {
        let layer = view.nodes.get(at)?.layer;
        if kinds::weights(layer).is_some() {
            return Some(at);
        }
        if !keeps(layer.r#type()) {
            return None;
        }
    }
    None
}

fn area(shape: &Shape) -> [usize; 2] {
    [shape.legacy(2), shape.legacy(3)]
}

/// `images 48x48, pool1 24x24, pool2 12x12`: where the size changes, and the last.
pub(crate) fn words(view: &View<'_>, path: &[usize]) -> String {
    let mut parts = Vec::new();
    let mut before = None;
    for &node in path {
        let top = view.nodes.get(node).and_then(|n| n.tops.first());
        let Some(shape) = top.and_then(|&v| view.values.get(v)?.shape.as_ref()) else {
            continue;
        };
        let now = area(shape);
        if before != Some(now) {
            parts.push(format!(
                "{} {}x{}",
                view.nodes[node].layer.name(),
                now[0],
                now[1]
            ));
        }
        before = Some(now);
    }
    parts.join(", ")
}

/// Single changes of a stride or a pad on the way after which the scores of `node` are of the wanted size, in words.
pub(crate) fn fits(
    view: &View<'_>,
    node: usize,
    path: &[usize],
    root: &Path,
    want: [usize; 2],
) -> Vec<String> {
    let mut found = Vec::new();
    for (at, &changed) in path.iter().enumerate() {
        for (words, layer) in changes(view.nodes[changed].layer) {
            if sized(view, path, at, layer, root) == Some(want) {
                found.push(format!(
                    "set {words} in '{}'",
                    view.nodes[changed].layer.name()
                ));
            }
        }
    }
    let _ = node;
    found
}

/// The size of the last node's top if the node at `at` of the way were this layer.
fn sized(
    view: &View<'_>,
    path: &[usize],
    at: usize,
    layer: LayerParameter,
    root: &Path,
) -> Option<[usize; 2]> {
    let mut changed = Some(layer);
    let mut shape: Option<Shape> = None;
    for &node in path.get(at..)? {
        let this = view.nodes.get(node)?;
        let mut bottoms = Vec::new();
        for slot in 0..this.bottoms.len() {
            bottoms.push(match (&shape, slot) {
                (Some(shape), 0) => shape.clone(),
                _ => view.bottom(node, slot)?.shape.clone()?,
            });
        }
        let layer = changed.take().unwrap_or_else(|| this.layer.clone());
        shape = make(this.kind?, &view.def(layer, root), &bottoms)
            .ok()?
            .tops
            .into_iter()
            .next();
        shape.as_ref()?;
    }
    shape.map(|shape| area(&shape))
}

/// Other strides and pads of a convolution or a pooling, each in words.
fn changes(layer: &LayerParameter) -> Vec<(String, LayerParameter)> {
    let mut changes = Vec::new();
    let mut add = |words: String, change: &dyn Fn(&mut LayerParameter)| {
        let mut other = layer.clone();
        change(&mut other);
        changes.push((words, other));
    };
    match layer.r#type() {
        "Convolution" => {
            let Some(param) = layer.convolution_param.as_ref() else {
                return changes;
            };
            let plain =
                param.pad_h.is_none() && param.stride_h.is_none() && param.kernel_size.len() == 1;
            if !plain || param.pad.len() > 1 || param.stride.len() > 1 {
                return changes;
            }
            let kernel = param.kernel_size[0].min(32);
            let (pad, stride) = (
                param.pad.first().copied().unwrap_or(0),
                param.stride.first().copied().unwrap_or(1),
            );
            for other in (0..=kernel / 2).filter(|&p| p != pad).rev() {
                add(format!("pad: {other}"), &|l| {
                    l.convolution_param.get_or_insert_default().pad = vec![other];
                });
            }
            for other in [1, 2, 4].into_iter().filter(|&s| s != stride) {
                add(format!("stride: {other}"), &|l| {
                    l.convolution_param.get_or_insert_default().stride = vec![other];
                });
            }
        }
        "Pooling" => {
            let Some(param) = layer.pooling_param else {
                return changes;
            };
            if param.global_pooling() || param.pad_h.is_some() || param.stride_h.is_some() {
                return changes;
            }
            let kernel = param.kernel_size().min(32);
            for other in (0..=kernel / 2).filter(|&p| p != param.pad() && p < kernel) {
                add(format!("pad: {other}"), &|l| {
                    l.pooling_param.get_or_insert_default().pad = Some(other);
                });
            }
            for other in [1, 2, 4].into_iter().filter(|&s| s != param.stride()) {
                add(format!("stride: {other}"), &|l| {
                    l.pooling_param.get_or_insert_default().stride = Some(other);
                });
            }
            for kernel in [2, 3].into_iter().filter(|&k| k != param.kernel_size()) {
                add(format!("kernel_size: {kernel}"), &|l| {
                    l.pooling_param.get_or_insert_default().kernel_size = Some(kernel);
                });
            }
        }
        _ => {}
    }
    changes
}
