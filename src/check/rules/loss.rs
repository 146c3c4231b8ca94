//! What stands between the last weights and a loss, and how answers are scored.

use super::Rule;
use crate::{
    check::{
        finding::{Edit, Finding},
        kinds,
        subject::{Subject, bypass, rename_bottom},
        view::View,
    },
    events::Severity,
};

pub(super) const RELU: Rule = Rule {
    code: "N010",
    severity: Severity::Error,
    title: "a ReLU between the last weights and the loss",
    reason: "A softmax or sigmoid loss wants scores of either sign. A ReLU turns every score below 0 into 0 and lets no gradient \
             through where it did. A channel that has gone below 0 everywhere is 0 everywhere, learns nothing more and never \
             comes back; all channels that were shut off like this look alike, and the loss stays where guessing leaves it.",
    fix: "Remove the layer. --fix does it, and in place of a blob of its own its readers read the scores themselves.",
    wrong: r#"
layer { name: "score" type: "InnerProduct" bottom: "data" top: "score" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "score" top: "score" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"#,
    right: r#"
layer { name: "score" type: "InnerProduct" bottom: "data" top: "score" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"#,
    run: relu,
};

pub(super) const SQUASHED: Rule = Rule {
    code: "N011",
    severity: Severity::Warning,
    title: "scores squeezed into a narrow range before the loss",
    reason: "Sigmoid and TanH keep scores between 0 and 1, or -1 and 1. A softmax over five such scores can give the right class \
             no more than 0.40 with Sigmoid and 0.65 with TanH, however sure the net is, so the loss cannot fall far. \
             SigmoidCrossEntropyLoss applies the sigmoid itself: one before it is one too many.",
    fix: "Remove the layer (--fix does). Where probabilities are wanted for use, put Sigmoid or Softmax into the deploy net.",
    wrong: r#"
layer { name: "score" type: "InnerProduct" bottom: "data" top: "score" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "squash" type: "Sigmoid" bottom: "score" top: "squashed" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "squashed" bottom: "label" top: "loss" }
"#,
    right: r#"
layer { name: "score" type: "InnerProduct" bottom: "data" top: "score" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"#,
    run: squashed,
};

pub(super) const DROPOUT: Rule = Rule {
    code: "N012",
    severity: Severity::Warning,
    title: "Dropout between the last weights and the loss",
    reason: "Dropout sets scores to 0 at random, those of the true class too, and doubles the others. Whatever the weights are, \
             half of the answers in training are noise: the loss cannot fall to where it should, and tests, which drop nothing, \
             see other scores than training did.",
    fix: "Put Dropout before the last weights, or remove it (--fix does).",
    wrong: r#"
layer { name: "score" type: "InnerProduct" bottom: "data" top: "score" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "drop" type: "Dropout" bottom: "score" top: "score" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"#,
    right: r#"
layer { name: "drop" type: "Dropout" bottom: "data" top: "dropped" }
layer { name: "score" type: "InnerProduct" bottom: "dropped" top: "score" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"#,
    run: dropout,
};

pub(super) const SOFTMAX_TWICE: Rule = Rule {
    code: "N013",
    severity: Severity::Error,
    title: "Softmax before SoftmaxWithLoss",
    reason: "SoftmaxWithLoss applies the softmax itself. Of probabilities, which lie between 0 and 1, it makes an almost even \
             distribution: with 10 classes a perfect answer still scores 0.23, the loss cannot fall below 1.46, and gradients \
             are small from the start.",
    fix: "Let the loss read the scores (--fix does), and keep Softmax for the deploy net.",
    wrong: r#"
layer { name: "score" type: "InnerProduct" bottom: "data" top: "score" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "prob" bottom: "label" top: "loss" }
"#,
    right: r#"
layer { name: "score" type: "InnerProduct" bottom: "data" top: "score" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"#,
    run: softmax_twice,
};

pub(super) const SCALAR_ACCURACY: Rule = Rule {
    code: "N014",
    severity: Severity::Note,
    title: "one accuracy for a whole map of classes",
    reason: "Over a map, accuracy counts every pixel alike. Where nine pixels of ten are background, a net that answers \
             'background' everywhere scores 0.9, and the number does not tell it from one that finds the small classes.",
    fix: "Give Accuracy a second top: it then tells the accuracy of each class besides. 'cortado test' prints recall and IoU of \
          each class, and the score of always giving the commonest answer.",
    wrong: r#"
layer { name: "score" type: "Convolution" bottom: "data" top: "score" convolution_param { num_output: 5 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "labels" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "labels" top: "loss" }
"#,
    right: r#"
layer { name: "score" type: "Convolution" bottom: "data" top: "score" convolution_param { num_output: 5 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "labels" top: "accuracy" top: "accuracy_of_class" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "labels" top: "loss" }
"#,
    run: scalar_accuracy,
};

pub(super) const IGNORED_APART: Rule = Rule {
    code: "N017",
    severity: Severity::Warning,
    title: "loss and accuracy ignore different labels",
    reason: "The label that a loss ignores marks places without a truth, such as the borders of objects. An Accuracy that does \
             not ignore it counts each of them as a miss, or stops at a label that is no class.",
    fix: "Say the same ignore_label in loss_param and in accuracy_param.",
    wrong: r#"
layer { name: "score" type: "Convolution" bottom: "data" top: "score" convolution_param { num_output: 5 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "labels" top: "accuracy" top: "accuracy_of_class" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "labels" top: "loss" loss_param { ignore_label: 255 } }
"#,
    right: r#"
layer { name: "score" type: "Convolution" bottom: "data" top: "score" convolution_param { num_output: 5 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "labels" top: "accuracy" top: "accuracy_of_class" include { phase: TEST } accuracy_param { ignore_label: 255 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "labels" top: "loss" loss_param { ignore_label: 255 } }
"#,
    run: ignored_apart,
};

/// The first node below `node`'s scores whose type is one of `kinds`, with what only rearranges or drops between.
fn below(view: &View<'_>, node: usize, wanted: &[&str]) -> Option<usize> {
    let mut at = node;
    loop {
        let value = (*view.nodes.get(at)?.bottoms.first()?)?;
        at = view.values.get(value)?.producer;
        let kind = view.nodes.get(at)?.layer.r#type();
        if wanted.contains(&kind) {
            return Some(at);
        }
        if !view.rearranges(at) && kind != "Dropout" {
            return None;
        }
    }
}

/// Nodes that take the softmax or sigmoid of raw scores: losses, and outputs of nets for use.
fn wants_scores<'v>(view: &'v View<'_>) -> impl Iterator<Item = usize> + 'v {
    (0..view.nodes.len()).filter(|&id| {
        let node = &view.nodes[id];
        let output = || {
            let mut tops = node.tops.iter().filter_map(|&v| view.values.get(v));
            tops.all(|value| value.readers.is_empty())
        };
        match node.layer.r#type() {
            kind if kinds::takes_scores(kind) => true,
            "Softmax" => output(),
            _ => false,
        }
    })
}

fn name<'v>(view: &'v View<'_>, node: usize) -> &'v str {
    view.nodes[node].layer.name()
}

/// The last weights below a node, for words.
fn weights_below(view: &View<'_>, node: usize) -> String {
    let mut at = node;
    for _ in 0..view.nodes.len() {
        let Some(value) = view.bottom(at, 0) else {
            break;
        };
        at = value.producer;
        if kinds::weights(view.nodes[at].layer).is_some() {
            return format!("'{}'", name(view, at));
        }
    }
    "the last weights".to_owned()
}

fn relu(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for view in &subject.views {
        for id in wants_scores(view) {
            let Some(at) = below(view, id, &["ReLU", "ReLU6"]) else {
                continue;
            };
            let relu = view.nodes[at].layer;
            let slope = relu.relu_param.as_ref().map_or(0.0, |p| p.negative_slope());
            if slope != 0.0 {
                continue;
            }
            let (kind, last) = (view.nodes[id].layer.r#type(), weights_below(view, at));
            let what = if view.is_loss(id) { "loss" } else { "softmax" };
            found.push(
                RELU.finds(format!(
                    "the {} '{}' between {last} and the {what} '{}' ({kind}) shuts channels off",
                    relu.r#type(),
                    relu.name(),
                    name(view, id),
                ))
                .at(view.place(at, None))
                .note("it turns every score below 0 into 0 and lets no gradient through where it did: a channel that has gone below 0 everywhere stays 0 for good, and all such channels look alike")
                .help(format!(
                    "remove the layer: {kind} needs scores of either sign"
                ))
                .edits(bypass(view, at, true).unwrap_or_default()),
            );
        }
    }
    found
}

fn squashed(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for view in &subject.views {
        for id in wants_scores(view).filter(|&id| view.is_loss(id)) {
            let Some(at) = below(view, id, &["Sigmoid", "TanH"]) else {
                continue;
            };
            let (layer, kind) = (view.nodes[at].layer, view.nodes[id].layer.r#type());
            let range = match layer.r#type() {
                "TanH" => "-1 and 1",
                _ => "0 and 1",
            };
            let finding = SQUASHED
                .finds(format!(
                    "the {} '{}' keeps the scores of the loss '{}' ({kind}) between {range}",
                    layer.r#type(),
                    layer.name(),
                    name(view, id)
                ))
                .at(view.place(at, None));
            let twice = layer.r#type() == "Sigmoid" && kind == "SigmoidCrossEntropyLoss";
            found.push(
                if twice {
                    finding
                        .note("the loss applies the sigmoid itself: it is taken twice, and no answer can come near 0")
                        .help("let the loss read the scores as they are before it")
                } else {
                    finding.help(format!(
                        "remove the layer, or move it before {}",
                        weights_below(view, at)
                    ))
                }
                .edits(around(view, at, id)),
            );
        }
    }
    found
}

/// Takes a node out of the way of a loss: altogether where nobody else reads it, else only for the loss.
fn around(view: &View<'_>, node: usize, loss: usize) -> Vec<Edit> {
    let this = &view.nodes[node];
    let [top] = this.tops[..] else {
        return Vec::new();
    };
    // Layers that other phases have count too: their readers would be left with nothing.
    let all = &view.file.net.layer;
    let readers = (all.iter().enumerate())
        .filter(|(i, l)| *i != this.index && l.bottom.contains(&view.values[top].name));
    let only_loss = readers.clone().all(|(i, _)| i == view.nodes[loss].index);
    let in_place = this.layer.bottom == this.layer.top;
    let edits = if only_loss || in_place {
        bypass(view, node, true)
    } else {
        match (this.layer.bottom.first(), this.layer.top.first()) {
            (Some(bottom), Some(top)) => {
                rename_bottom(view.file, view.nodes[loss].index, top, bottom)
            }
            _ => None,
        }
    };
    edits.unwrap_or_default()
}

fn dropout(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for view in &subject.views {
        for id in wants_scores(view).filter(|&id| view.is_loss(id)) {
            let Some(at) = below(view, id, &["Dropout"]) else {
                continue;
            };
            let layer = view.nodes[at].layer;
            let ratio = layer.dropout_param.unwrap_or_default().dropout_ratio();
            found.push(
                DROPOUT
                    .finds(format!(
                        "the Dropout '{}' sets {:.0} % of the scores of the loss '{}' to 0 at random",
                        layer.name(),
                        100.0 * ratio,
                        name(view, id)
                    ))
                    .at(view.place(at, None))
                    .help(format!(
                        "put it before {}, or remove it",
                        weights_below(view, at)
                    ))
                    .edits(bypass(view, at, true).unwrap_or_default()),
            );
        }
    }
    found
}

fn softmax_twice(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for view in &subject.views {
        for id in 0..view.nodes.len() {
            let kind = view.nodes[id].layer.r#type();
            if !matches!(kind, "SoftmaxWithLoss" | "SoftmaxWithLossOHEM") {
                continue;
            }
            let Some(at) = below(view, id, &["Softmax"]) else {
                continue;
            };
            found.push(
                SOFTMAX_TWICE
                    .finds(format!(
                        "the loss '{}' ({kind}) reads the probabilities of the Softmax '{}': the softmax is taken twice",
                        name(view, id),
                        name(view, at)
                    ))
                    .at(view.place(id, Some("bottom")))
                    .also("the first softmax is here", view.place(at, None))
                    .note("of probabilities the second makes an almost even distribution: the loss cannot fall far, and gradients are small from the start")
                    .help(format!(
                        "let the loss read '{}', the scores before the Softmax",
                        view.bottom(at, 0).map_or("", |v| &v.name)
                    ))
                    .edits(around(view, at, id)),
            );
        }
    }
    found
}

/// Accuracy layers whose scores are a map: by their shape, or, where it cannot be told, since their labels are pixels.
fn scalar_accuracy(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for view in &subject.views {
        for (id, node) in view.nodes.iter().enumerate() {
            if node.layer.r#type() != "Accuracy" || node.layer.top.len() != 1 {
                continue;
            }
            let cells: Option<usize> = view
                .certain(id, 0)
                .map(|s| s.dims().iter().skip(2).product());
            let pixels = || {
                let label = view.bottom(id, 1)?;
                let maker = &view.nodes[label.producer];
                Some(maker.layer.r#type() == "Data" && label.top == 0)
            };
            let map = match cells {
                Some(cells) => cells > 1,
                None => pixels() == Some(true),
            };
            if !map {
                continue;
            }
            let of = match view.certain(id, 0).map(|s| s.dims()) {
                Some([_, _, h, w]) => format!(" of {h}x{w} cells"),
                _ => String::new(),
            };
            found.push(
                SCALAR_ACCURACY
                    .finds(format!(
                        "'{}' sums up a whole map{of} in one number, which hides how rare classes fare",
                        node.layer.name()
                    ))
                    .at(view.place(id, None))
                    .help(format!(
                        "give it a second top, for the accuracy of each class: top: \"{}_of_class\"; and see recall and IoU in 'cortado test'",
                        node.layer.top[0]
                    )),
            );
        }
    }
    found
}

fn ignored_apart(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for view in &subject.views {
        for (id, node) in view.nodes.iter().enumerate() {
            if node.layer.r#type() != "Accuracy" {
                continue;
            }
            let own = node.layer.accuracy_param.and_then(|p| p.ignore_label);
            let labels = node.bottoms.get(1).copied().flatten();
            let loss = (0..view.nodes.len()).find(|&other| {
                let other = &view.nodes[other];
                labels.is_some()
                    && other.bottoms.get(1).copied().flatten() == labels
                    && kinds::counts_classes(other.layer.r#type())
                    && other.layer.r#type() != "Accuracy"
            });
            let Some(loss) = loss else { continue };
            let param = view.nodes[loss]
                .layer
                .loss_param
                .clone()
                .unwrap_or_default();
            let Some(ignored) = param.ignore_label.filter(|_| own != param.ignore_label) else {
                continue;
            };
            let counts = match own {
                Some(other) => format!("ignores {other} instead"),
                None => "counts it".to_owned(),
            };
            found.push(
                IGNORED_APART
                    .finds(format!(
                        "the loss '{}' ignores label {ignored}, and '{}' {counts}",
                        name(view, loss),
                        node.layer.name()
                    ))
                    .at(view.place(id, Some("accuracy_param")))
                    .also(
                        "the loss says",
                        view.place(loss, Some("loss_param.ignore_label")),
                    )
                    .help(format!("add accuracy_param {{ ignore_label: {ignored} }}")),
            );
        }
    }
    found
}
