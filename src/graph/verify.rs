//! The laws of a graph, checked after it is built and after every rewrite.

use super::{Graph, NodeId};

/// Checks: one producer, at most one consumer, producers before consumers, arity, diffs only from what has a backward.
///
/// # Errors
/// The first law that is broken, in words; it means a fault of this library.
pub fn verify(graph: &Graph) -> Result<(), String> {
    let mut made = vec![0u32; graph.values.len()];
    for (i, node) in graph.nodes.iter().enumerate() {
        let id = NodeId(i as u32);
        for (slot, &bottom) in node.bottoms.iter().enumerate() {
            if made[bottom.index()] != 1 {
                return Err(format!("'{}' reads a value before it is made", node.name));
            }
            if graph.value(bottom).consumers != [(id, slot)] {
                return Err(format!(
                    "'{}' reads '{}', whose consumer is another",
                    node.name,
                    graph.value(bottom).name
                ));
            }
        }
        for &top in &node.tops {
            made[top.index()] += 1;
            if graph.value(top).producer != id {
                return Err(format!("'{}' makes a value of another node", node.name));
            }
        }
        let (n, m) = (node.bottoms.len(), node.tops.len());
        if node.gone {
            if n + m > 0 {
                return Err(format!("'{}' is gone but wired", node.name));
            }
            continue;
        }
        let Some(n) = n.checked_sub(node.extra) else {
            return Err(format!("'{}' has fewer bottoms than came to it", node.name));
        };
        if !node.kind.bottoms.allows(n, n) || !node.kind.tops.allows(m, n) {
            return Err(format!("'{}' has {n} bottoms and {m} tops", node.name));
        }
        if node.needs_backward && !node.tops.iter().any(|&t| graph.value(t).needs_diff) {
            return Err(format!(
                "'{}' has a backward step but no top diff",
                node.name
            ));
        }
        for (slot, &bottom) in node.bottoms.iter().enumerate() {
            if graph.value(bottom).needs_diff
                && !(node.needs_backward && node.bottom_backward[slot])
            {
                return Err(format!(
                    "nothing writes the diff of '{}'",
                    graph.value(bottom).name
                ));
            }
        }
    }
    if let Some(i) = (0..made.len()).find(|&i| made[i] != u32::from(!graph.values[i].gone)) {
        return Err(format!(
            "'{}' has {} producers",
            graph.values[i].name, made[i]
        ));
    }
    if let Some(v) = graph
        .values
        .iter()
        .find(|v| v.gone && !v.consumers.is_empty())
    {
        return Err(format!("'{}' is gone but read", v.name));
    }
    if let Some(v) = graph.values.iter().find(|v| v.consumers.len() > 1) {
        return Err(format!("'{}' has {} consumers", v.name, v.consumers.len()));
    }
    Ok(())
}
