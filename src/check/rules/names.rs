//! Names of layers.

use super::Rule;
use crate::{
    check::{
        finding::{Edit, Finding},
        subject::{Subject, edit, text_values},
        view::View,
    },
    events::Severity,
};

pub(super) const TWICE: Rule = Rule {
    code: "N020",
    severity: Severity::Note,
    title: "two layers of one name, without weights",
    reason: "Names need not be unique and nothing breaks: weights are matched by name, and these layers have none. But logs, \
             pictures and tables name layers, and two cannot be told apart; most often a block was copied and its name left.",
    fix: "Give the second a name of its own (--fix does).",
    wrong: r#"
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "b" top: "b" }
layer { name: "c" type: "InnerProduct" bottom: "b" top: "c" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "c" bottom: "label" top: "loss" }
"#,
    right: r#"
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "relu_b" type: "ReLU" bottom: "b" top: "b" }
layer { name: "c" type: "InnerProduct" bottom: "b" top: "c" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "c" bottom: "label" top: "loss" }
"#,
    run: twice,
};

pub(super) const TWICE_WITH_WEIGHTS: Rule = Rule {
    code: "N021",
    severity: Severity::Warning,
    title: "two layers of one name, with weights",
    reason: "Weights are found by the layer's name. When a model or a snapshot is loaded they go to the first layer of the \
             name; the second keeps what its filler gave it. A test net, and a net for use, is then another one than was \
             trained, without a word in the log.",
    fix: "Give each its own name. A model that was trained with the old names does not bring the renamed layer's weights.",
    wrong: r#"
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "a" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "b" bottom: "label" top: "loss" }
"#,
    right: r#"
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "b" bottom: "label" top: "loss" }
"#,
    run: twice_with_weights,
};

/// Layers of a phase whose name another layer before them has: the first, and them.
fn repeated<'v>(view: &'v View<'_>) -> impl Iterator<Item = (usize, usize)> + 'v {
    (0..view.nodes.len()).filter_map(|id| {
        let name = view.nodes[id].layer.name();
        let first = view.nodes.iter().position(|n| n.layer.name() == name)?;
        (first < id && !name.is_empty()).then_some((first, id))
    })
}

/// Whether a layer holds weights of its own; without its bottoms' shapes, whether its type does.
fn holds_weights(view: &View<'_>, node: usize) -> bool {
    let node = &view.nodes[node];
    !node.params.is_empty()
        || !node.layer.param.is_empty()
        || matches!(
            node.layer.r#type(),
            "Convolution"
                | "Deconvolution"
                | "InnerProduct"
                | "BatchNorm"
                | "Scale"
                | "PReLU"
                | "BN"
                | "Embed"
                | "LSTM"
                | "RNN"
        )
}

fn twice(subject: &Subject<'_>) -> Vec<Finding> {
    found(subject, &TWICE, false)
}

fn twice_with_weights(subject: &Subject<'_>) -> Vec<Finding> {
    found(subject, &TWICE_WITH_WEIGHTS, true)
}

fn found(subject: &Subject<'_>, rule: &Rule, weights: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    for view in &subject.views {
        for (first, second) in repeated(view) {
            if (holds_weights(view, first) && holds_weights(view, second)) != weights {
                continue;
            }
            let layer = view.nodes[second].layer;
            let finding = rule
                .finds(if weights {
                    format!(
                        "two layers with weights are called '{}': a loaded model fills the first alone",
                        layer.name()
                    )
                } else {
                    format!("two layers are called '{}'", layer.name())
                })
                .at(view.place(second, Some("name")))
                .also("the first is here", view.place(first, Some("name")));
            let name = free_name(view, layer.name());
            found.push(if weights {
                finding.help(format!("name this one \"{name}\", or as you like"))
            } else {
                finding
                    .help(format!("name this one \"{name}\""))
                    .edits(rename(view, second, &name))
            });
        }
    }
    found
}

/// The name with a number behind it that no layer has.
fn free_name(view: &View<'_>, name: &str) -> String {
    let taken = |wanted: &String| view.file.net.layer.iter().any(|l| l.name() == wanted);
    (2..)
        .map(|n| format!("{name}_{n}"))
        .find(|wanted| !taken(wanted))
        .unwrap_or_default()
}

fn rename(view: &View<'_>, node: usize, name: &str) -> Vec<Edit> {
    let node = &view.nodes[node];
    let Some((_, block)) = view.file.text_of(node.index) else {
        return Vec::new();
    };
    match text_values(block, "name", node.layer.name())[..] {
        [span] => vec![edit(&view.file.path, span, &format!("\"{name}\""))],
        _ => Vec::new(),
    }
}
