//! What leads nowhere: layers that no loss reaches, blobs that nobody reads, nets without a loss.

use super::Rule;
use crate::{
    check::{finding::Finding, kinds, subject::Subject, view::View},
    events::Severity,
    layer::Role,
    schema::Phase,
};

pub(super) const NO_LOSS: Rule = Rule {
    code: "N015",
    severity: Severity::Warning,
    title: "layers that learn nothing: no loss reaches them",
    reason: "Gradients start at the losses and flow down. Weights whose output leads to no loss get none and stay as their \
             fillers made them, while the loss falls as if all were well.",
    fix: "Let a loss, or a layer that leads to one, read the output; or remove the layers.",
    wrong: r#"
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "b" type: "InnerProduct" bottom: "data" top: "b" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "b" bottom: "label" top: "loss" }
"#,
    right: r#"
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "b" bottom: "label" top: "loss" }
"#,
    run: no_loss,
};

pub(super) const UNREAD: Rule = Rule {
    code: "N016",
    severity: Severity::Warning,
    title: "a blob that nobody reads",
    reason: "What nobody reads is an output of the net: it is computed in every iteration, and the log prints its values. In a \
             net that trains this is most often a misspelt name, or a layer left over from an earlier version.",
    fix: "Let a layer read the blob, remove the layer that makes it, or give the blob to a layer of type Silence.",
    wrong: r#"
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "b" type: "InnerProduct" bottom: "data" top: "b" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "b" bottom: "label" top: "loss" }
"#,
    right: r#"
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "b" type: "InnerProduct" bottom: "pool" top: "b" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "b" bottom: "label" top: "loss" }
"#,
    run: unread,
};

pub(super) const NOTHING_TO_MINIMISE: Rule = Rule {
    code: "N018",
    severity: Severity::Error,
    title: "a net to train without a loss",
    reason: "Training lowers the sum of the losses. In TRAIN the net has no loss layer and no loss_weight, so there is nothing \
             to lower: the solver runs through its iterations and changes no weight.",
    fix: "Add a loss layer, or see whether an include rule keeps it out of TRAIN.",
    wrong: r#"net: "no_loss.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 100 snapshot_prefix: "s""#,
    right: r#"net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 100 snapshot_prefix: "s""#,
    run: nothing_to_minimise,
};

/// Whether a node has weights that a solver would change.
fn learns(view: &View<'_>, node: usize) -> bool {
    let node = &view.nodes[node];
    let rated = |i: usize| node.layer.param.get(i).map_or(1.0, |s| s.lr_mult()) != 0.0;
    let mut params = node.params.iter().enumerate();
    params.any(|(i, p)| !p.statistic && !p.fixed && rated(i))
        || (kinds::weights(node.layer).is_some() && kinds::weight_rate(node.layer) != 0.0)
}

/// Values that nobody reads and that are no loss and no measurement, in a net that trains.
fn dead_ends<'v>(view: &'v View<'_>) -> impl Iterator<Item = usize> + 'v {
    (0..view.values.len()).filter(|&v| {
        let value = &view.values[v];
        let node = &view.nodes[value.producer];
        let answers = node
            .kind
            .is_none_or(|k| matches!(k.role, Role::Metric | Role::Loss));
        value.readers.is_empty() && !answers && !view.is_loss(value.producer)
    })
}

/// Nodes that a value depends on, its maker included, and no loss.
fn wasted(view: &View<'_>, value: usize, under: &[bool]) -> Vec<usize> {
    let mut nodes = vec![view.values[value].producer];
    let mut at = 0;
    while let Some(&node) = nodes.get(at) {
        at += 1;
        for &bottom in view.nodes[node].bottoms.iter().flatten() {
            let maker = view.values[bottom].producer;
            if !under[maker] && !nodes.contains(&maker) {
                nodes.push(maker);
            }
        }
    }
    nodes.retain(|&n| !under[n]);
    nodes.sort_unstable();
    nodes
}

/// Whether a layer of another phase or stage reads the blob.
fn read_elsewhere(view: &View<'_>, value: usize) -> bool {
    let value = &view.values[value];
    let all = &view.file.net.layer;
    let readers = all
        .iter()
        .filter(|l| l.bottom.contains(&value.name))
        .count();
    let own = view.nodes[value.producer]
        .layer
        .bottom
        .contains(&value.name);
    readers > usize::from(own)
}

fn no_loss(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for view in (subject.views.iter()).filter(|v| v.phase == Phase::Train && v.has_loss()) {
        let under = view.under_loss();
        for value in dead_ends(view) {
            let nodes = wasted(view, value, &under);
            let learners: Vec<usize> = nodes.into_iter().filter(|&n| learns(view, n)).collect();
            let Some(&first) = learners.first().filter(|_| !read_elsewhere(view, value)) else {
                continue;
            };
            let names: Vec<String> = (learners.iter())
                .map(|&n| format!("'{}'", view.nodes[n].layer.name()))
                .collect();
            let (names, verb, them) = match names.len() {
                1 => (names[0].clone(), "learns", "it"),
                n if n > 4 => (
                    format!("{} and {} more", names[..3].join(", "), n - 3),
                    "learn",
                    "them",
                ),
                n => (
                    format!("{} and {}", names[..n - 1].join(", "), names[n - 1]),
                    "learn",
                    "them",
                ),
            };
            let end = &view.values[value];
            let maker = view.place(end.producer, Some(&format!("top[{}]", end.top)));
            found.push(
                NO_LOSS
                    .finds(format!("{names} {verb} nothing: no loss reaches {them}"))
                    .at(view.place(first, None))
                    .also(format!("nobody reads '{}'", end.name), maker)
                    .help(format!(
                        "let a loss read '{}' or what comes of it, or remove the layers",
                        end.name
                    )),
            );
        }
    }
    found
}

fn unread(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for view in (subject.views.iter()).filter(|v| v.has_loss()) {
        let under = view.under_loss();
        for v in dead_ends(view) {
            let value = &view.values[v];
            let node = &view.nodes[value.producer];
            if wasted(view, v, &under).iter().any(|&n| learns(view, n))
                && view.phase == Phase::Train
            {
                continue;
            }
            let kind = node.layer.r#type();
            let brought = node.layer.bottom.is_empty();
            let one_of_many = value.top > 0 && node.tops.len() > 1 && !brought;
            // In TEST it is shown.
            if view.phase == Phase::Test || read_elsewhere(view, v) || one_of_many {
                continue;
            }
            let finding = UNREAD
                .finds(format!("nobody reads '{}', which '{}' ({kind}) makes", value.name, node.layer.name()))
                .at(view.place(value.producer, Some(&format!("top[{}]", value.top))))
                .help("remove the layer, or let another read what it makes; Silence takes what is to be ignored");
            found.push(match kind {
                _ if brought => finding.at_most(Severity::Note),
                "Softmax" | "Sigmoid" | "ArgMax" => finding.at_most(Severity::Note),
                _ => finding,
            });
        }
    }
    found
}

fn nothing_to_minimise(subject: &Subject<'_>) -> Vec<Finding> {
    let Some(solver) = subject.solver else {
        return Vec::new();
    };
    let train = subject.views.iter().find(|v| v.phase == Phase::Train);
    let Some(view) = train.filter(|v| !v.has_loss() && !v.nodes.is_empty()) else {
        return Vec::new();
    };
    let elsewhere = (view.file.net.layer.iter().enumerate())
        .find(|(_, l)| crate::layers::of(l).is_ok_and(|kind| kind.role == Role::Loss));
    let place = ["net", "train_net", "net_param", "train_net_param"];
    let place = place.iter().find_map(|field| solver.place(field));
    let finding = NOTHING_TO_MINIMISE
        .finds("the net has no loss in TRAIN: there is nothing to minimise")
        .at(place);
    vec![match elsewhere {
        Some((at, layer)) => finding
            .also("this one is not there in TRAIN", view.file.place(at, None))
            .help(format!(
                "let '{}' be there in TRAIN, see its include and exclude rules",
                layer.name()
            )),
        None => finding.help("add a loss layer, such as SoftmaxWithLoss for classes"),
    }]
}
