//! Which blobs of a net are scores, and which are their labels.

use crate::{graph::Graph, layer::Role, schema::NetParameter};

/// Scores and the labels that they are held against, class by class along axis 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) scores: String,
    pub(super) label: String,
    /// A label that is not counted.
    pub(super) ignore: Option<i32>,
}

/// The pairs of a net, each blob of scores once, those of losses first.
pub(super) fn pairs(net: &NetParameter) -> Vec<Pair> {
    let mut found: Vec<Pair> = Vec::new();
    for kind in ["SoftmaxWithLoss", "Accuracy"] {
        for layer in net.layer.iter().filter(|l| l.r#type() == kind) {
            let [scores, label, ..] = &layer.bottom[..] else {
                continue;
            };
            let axis = match kind {
                "Accuracy" => layer.accuracy_param.as_ref().map_or(1, |p| p.axis()),
                _ => layer.softmax_param.as_ref().map_or(1, |p| p.axis()),
            };
            let ignore = match kind {
                "Accuracy" => layer.accuracy_param.as_ref().and_then(|p| p.ignore_label),
                _ => layer.loss_param.as_ref().and_then(|p| p.ignore_label),
            };
            if axis == 1 && !found.iter().any(|p| p.scores == *scores) {
                found.push(Pair {
                    scores: scores.clone(),
                    label: label.clone(),
                    ignore,
                });
            }
        }
    }
    found
}

/// The blob that a net is shown: the first that data brings with rows and columns and is no label.
pub(super) fn shown(graph: &Graph, labels: &[&str]) -> Option<String> {
    let values = graph
        .nodes
        .iter()
        .filter(|node| matches!(node.kind.role, Role::Data | Role::Input))
        .flat_map(|node| node.tops.iter().map(|&top| graph.value(top)))
        .filter(|value| value.shape.axes() == 4 && !labels.contains(&&*value.name));
    let mut best: Option<(bool, String)> = None;
    for value in values {
        let picture = [1, 3].contains(&value.shape.dims()[1]);
        if best.as_ref().is_none_or(|(known, _)| picture && !known) {
            best = Some((picture, value.name.to_string()));
        }
    }
    best.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        events::Silent,
        load::{self, LoadOptions},
    };

    #[test]
    fn losses_go_before_accuracies_and_each_blob_stands_once() {
        let text = "layer { name: 'a' type: 'Accuracy' bottom: 's' bottom: 'l' top: 'a' }
             layer { name: 'b' type: 'Accuracy' bottom: 'x' bottom: 'l' top: 'b' }
             layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 's' bottom: 'l' loss_param { ignore_label: 255 } }";
        let net = load::net_from_text("n", text, LoadOptions::default(), &mut Silent).unwrap();
        let found = pairs(&net.net);
        let names: Vec<&str> = found.iter().map(|p| p.scores.as_str()).collect();
        assert_eq!(names, ["s", "x"]);
        assert_eq!(found[0].ignore, Some(255));
    }
}
