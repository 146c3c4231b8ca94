//! Inserts Split layers so that every value has one consumer, under Caffe's names: they show in logs and saved models.

use std::sync::Arc;

use super::{Graph, Node, NodeId, Value, ValueId};
use crate::{error::Result, layer::LayerDef, layers, schema::LayerParameter, tensor::Shape};

/// A loss weight that the prototxt gives to a top that is also read counts as one more reader, as in Caffe.
pub(super) fn insert_splits(
    graph: &mut Graph,
    def: impl Fn(LayerParameter) -> LayerDef,
) -> Result<()> {
    let old = std::mem::take(&mut graph.nodes);
    let mut moved = vec![NodeId(0); old.len()];
    // Readers still carry old node numbers while nodes move; bottoms are rewired by old number first.
    let mut nodes: Vec<Option<Node>> = old.into_iter().map(Some).collect();
    let mut out: Vec<Node> = Vec::with_capacity(nodes.len());
    for i in 0..nodes.len() {
        let Some(mut node) = nodes[i].take() else {
            continue;
        };
        let id = NodeId(out.len() as u32);
        moved[i] = id;
        let mut splits = Vec::new();
        for j in 0..node.tops.len() {
            let top = node.tops[j];
            graph.values[top.index()].producer = id;
            let weight = if node.def.param.loss_weight.is_empty() {
                0.0
            } else {
                node.loss_weights[j]
            };
            let readers = graph.value(top).consumers.clone();
            if readers.len() + usize::from(weight != 0.0 && !readers.is_empty()) < 2 {
                continue;
            }
            let blob = graph.value(top).name.clone();
            let name = format!("{blob}_{}_{j}_split", node.name);
            let mut split = split_node(&name, top, &blob, &def)?;
            let weighs = weight != 0.0;
            for k in 0..readers.len() + usize::from(weighs) {
                let value = ValueId(graph.values.len() as u32);
                graph.values.push(Value {
                    name: format!("{name}_{k}").into(),
                    version: 0,
                    shape: Shape::default(),
                    producer: NodeId(0),
                    consumers: Vec::new(),
                    needs_diff: false,
                    seeded: false,
                    gone: false,
                });
                split.def.param.top.push(format!("{name}_{k}"));
                split.tops.push(value);
                split.loss_weights.push(0.0);
                match k.checked_sub(usize::from(weighs)) {
                    None => {
                        split.loss_weights[0] = weight;
                        node.loss_weights[j] = 0.0;
                    }
                    Some(r) => {
                        let (reader, slot) = readers[r];
                        graph.values[value.index()].consumers = vec![(reader, slot)];
                        if let Some(reader) = nodes[reader.index()].as_mut() {
                            reader.bottoms[slot] = value;
                        }
                    }
                }
            }
            splits.push(split);
        }
        out.push(node);
        for split in splits {
            let id = NodeId(out.len() as u32);
            for &top in &split.tops {
                graph.values[top.index()].producer = id;
            }
            out.push(split);
        }
    }
    for value in &mut graph.values {
        for (reader, _) in &mut value.consumers {
            *reader = moved[reader.index()];
        }
    }
    for (i, node) in out.iter_mut().enumerate() {
        node.def.index = i as u64;
        if node.origin.is_none() && node.kind.name == "Split" && !node.bottoms.is_empty() {
            graph.values[node.bottoms[0].index()].consumers = vec![(NodeId(i as u32), 0)];
        }
    }
    graph.nodes = out;
    Ok(())
}

fn split_node(
    name: &str,
    bottom: ValueId,
    blob: &Arc<str>,
    def: impl Fn(LayerParameter) -> LayerDef,
) -> Result<Node> {
    let param = LayerParameter {
        name: Some(name.to_owned()),
        r#type: Some("Split".to_owned()),
        bottom: vec![blob.to_string()],
        ..Default::default()
    };
    Ok(Node {
        name: name.into(),
        kind: layers::find("Split")?,
        def: def(param),
        origin: None,
        bottoms: vec![bottom],
        tops: Vec::new(),
        params: Vec::new(),
        loss_weights: Vec::new(),
        needs_backward: false,
        bottom_backward: vec![false],
        absorbed: Vec::new(),
        extra: 0,
        gone: false,
    })
}
