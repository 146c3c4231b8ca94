//! BatchNorm.

use super::{
    Rule,
    weights::{list, names},
};
use crate::{
    check::{
        finding::Finding,
        subject::{Subject, edit},
        view::View,
    },
    events::Severity,
    schema::Phase,
    text::{ScalarKind, Value},
};

pub(super) const NO_SCALE: Rule = Rule {
    code: "N050",
    severity: Severity::Note,
    title: "BatchNorm without Scale",
    reason: "Caffe's BatchNorm only normalizes: every channel leaves it with mean 0 and deviation 1. The learned factor and shift \
             of the published method are a Scale layer behind it; without one a ReLU that follows always cuts off half.",
    fix: "Put layer { type: \"Scale\" scale_param { bias_term: true } } behind it. Weights that were trained without it go on \
          working: Scale starts as 1 and 0.",
    wrong: r#"
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 5 kernel_size: 16 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "conv" bottom: "label" top: "loss" }
"#,
    right: r#"
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 5 kernel_size: 16 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "conv" bottom: "label" top: "loss" }
"#,
    run: no_scale,
};

pub(super) const LEARNED_STATISTICS: Rule = Rule {
    code: "N051",
    severity: Severity::Error,
    title: "the statistics of a BatchNorm have a rate",
    reason: "The three blobs of BatchNorm are a mean, a variance and a count. The layer keeps them itself; a solver that changed \
             them by gradients would ruin them. Caffe refuses such a net, unless exactly three are given, which it overlooks.",
    fix: "Set lr_mult: 0 for them, or leave the param blocks out. --fix writes the 0.",
    wrong: r#"
layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" param { lr_mult: 1 } }
"#,
    right: r#"
layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" param { lr_mult: 0 } }
"#,
    run: learned_statistics,
};

pub(super) const BATCH_OF_ONE: Rule = Rule {
    code: "N052",
    severity: Severity::Warning,
    title: "BatchNorm over a batch of one",
    reason: "In training BatchNorm takes mean and variance from the batch. Those of one image say little about others: tests, \
             which use the averages, see other values than training did. Where a channel has only one value its deviation \
             from the mean is 0, whatever the input: everything behind it is constant.",
    fix: "Raise batch_size; or freeze the statistics of a pretrained model with use_global_stats: true. iter_size does not \
          help: each of its batches is normalized alone.",
    wrong: r#"
layer { name: "one" type: "Input" top: "one" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }
layer { name: "one_label" type: "Input" top: "one_label" input_param { shape { dim: 1 } } }
layer { name: "bn" type: "BatchNorm" bottom: "one" top: "bn" }
layer { name: "score" type: "InnerProduct" bottom: "bn" top: "score" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "one_label" top: "loss" }
"#,
    right: r#"
layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" }
layer { name: "score" type: "InnerProduct" bottom: "bn" top: "score" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"#,
    run: batch_of_one,
};

pub(super) const GLOBAL_STATS: Rule = Rule {
    code: "N053",
    severity: Severity::Warning,
    title: "use_global_stats against the phase",
    reason: "Without the field BatchNorm uses the batch's statistics in TRAIN and the stored averages in TEST. Set to false it \
             normalizes by the batch in TEST too: what a net says about an image then depends on the images beside it. Set to \
             true it never gathers averages in TRAIN: without a pretrained model they stay 0.",
    fix: "Leave the field out; set it to true in TRAIN only to fine-tune with the statistics of a pretrained model.",
    wrong: r#"
layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" batch_norm_param { use_global_stats: false } }
layer { name: "scale" type: "Scale" bottom: "bn" top: "bn" scale_param { bias_term: true } }
layer { name: "score" type: "InnerProduct" bottom: "bn" top: "score" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"#,
    right: r#"
layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" }
layer { name: "scale" type: "Scale" bottom: "bn" top: "bn" scale_param { bias_term: true } }
layer { name: "score" type: "InnerProduct" bottom: "bn" top: "score" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"#,
    run: global_stats,
};

fn no_scale(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for view in &subject.views {
        let bare: Vec<usize> = (0..view.nodes.len())
            .filter(|&n| is_bare(view, n))
            .collect();
        let Some(&first) = bare.first() else { continue };
        let verb = if bare.len() == 1 { "has" } else { "have" };
        let top = view.nodes[first]
            .layer
            .top
            .first()
            .map_or("", String::as_str);
        found.push(
            NO_SCALE
                .finds(format!("{} {verb} no Scale behind: channels without a learned factor and shift", list(&names(view, &bare))))
                .at(view.place(first, None))
                .help(format!(
                    "add layer {{ name: \"{}_scale\" type: \"Scale\" bottom: \"{top}\" top: \"{top}\" scale_param {{ bias_term: true }} }}",
                    view.nodes[first].layer.name()
                )),
        );
    }
    found
}

/// Whether a node is a BatchNorm whose readers have nothing that could take a factor's place.
fn is_bare(view: &View<'_>, node: usize) -> bool {
    let node = &view.nodes[node];
    let ("BatchNorm", [top]) = (node.layer.r#type(), &node.tops[..]) else {
        return false;
    };
    let scales = |kind: &str| {
        matches!(
            kind,
            "Scale" | "Bias" | "Convolution" | "InnerProduct" | "DepthwiseConvolution"
        )
    };
    let mut readers = view.values[*top].readers.iter();
    !readers.any(|&(r, _)| scales(view.nodes[r].layer.r#type()))
}

fn learned_statistics(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for view in &subject.views {
        for node in &view.nodes {
            if node.layer.r#type() != "BatchNorm" {
                continue;
            }
            // The text: three params are dropped when the net is read.
            let Some((_, block)) = view.file.text_of(node.index) else {
                continue;
            };
            let rated: Vec<_> = (block.values("param"))
                .filter_map(|(_, value)| match value {
                    Value::Block(spec) => spec.values("lr_mult").next(),
                    _ => None,
                })
                .filter_map(|(_, value)| match value {
                    Value::Scalar(scalar) => match &scalar.kind {
                        ScalarKind::Number(n) if n.parse::<f32>() != Ok(0.0) => Some(scalar.span),
                        _ => None,
                    },
                    _ => None,
                })
                .collect();
            let (Some(&first), Some(document)) = (rated.first(), view.file.document()) else {
                continue;
            };
            let finding = LEARNED_STATISTICS
                .finds(format!(
                    "the statistics of '{}' have a rate: no solver may change them",
                    node.layer.name()
                ))
                .at(Some(document.place_of(first)))
                .help("set lr_mult: 0, or leave the param blocks out")
                .edits(
                    rated
                        .iter()
                        .map(|&span| edit(&view.file.path, span, "0"))
                        .collect(),
                );
            let overlooked = node.layer.param.is_empty();
            found.push(match overlooked {
                true => finding.at_most(Severity::Warning),
                false => finding,
            });
        }
    }
    found
}

fn batch_of_one(subject: &Subject<'_>) -> Vec<Finding> {
    let Some(view) = subject.training() else {
        return Vec::new();
    };
    let mut found: Vec<Finding> = Vec::new();
    for (id, node) in view.nodes.iter().enumerate() {
        let param = node.layer.batch_norm_param.unwrap_or_default();
        if node.layer.r#type() != "BatchNorm" || param.use_global_stats() {
            continue;
        }
        let Some(shape) = view.certain(id, 0).filter(|s| s.legacy(0) == 1) else {
            continue;
        };
        let values: usize = shape.dims().iter().skip(2).product();
        if let Some(first) = found.first_mut().filter(|_| values > 1) {
            let more = "other BatchNorm layers have batches of one too";
            if !first.notes.iter().any(|n| n == more) {
                first.notes.push(more.into());
            }
            continue;
        }
        let message = match values {
            1 => format!(
                "'{}' normalizes one value a channel: its output is 0, whatever comes in",
                node.layer.name()
            ),
            _ => format!(
                "'{}' takes its statistics from one image, {shape}",
                node.layer.name()
            ),
        };
        found.push(
            BATCH_OF_ONE
                .finds(message)
                .at(view.place(id, None))
                .help("raise batch_size, or use the statistics of a pretrained model: batch_norm_param { use_global_stats: true }"),
        );
    }
    found
}

/// The form of a verb that goes with so many layers.
fn verb<'w>(nodes: &[usize], one: &'w str, more: &'w str) -> &'w str {
    if nodes.len() == 1 { one } else { more }
}

fn global_stats(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for view in &subject.views {
        let told = |set: bool| {
            let nodes = (0..view.nodes.len()).filter(|&n| {
                let layer = view.nodes[n].layer;
                let told = layer.batch_norm_param.and_then(|p| p.use_global_stats);
                layer.r#type() == "BatchNorm" && told == Some(set)
            });
            nodes.collect::<Vec<usize>>()
        };
        let weights = subject.solver.is_some_and(|s| !s.param.weights.is_empty());
        let (nodes, finding) = if view.phase == Phase::Test {
            let nodes = told(false);
            let finding = GLOBAL_STATS
                .finds(format!("in TEST {} {} by the batch: the answer for an image depends on those beside it", list(&names(view, &nodes)), verb(&nodes, "normalizes", "normalize")))
                .help("leave use_global_stats out: TEST then uses the averages that training gathered");
            (nodes, finding)
        } else if view.has_loss() && !weights {
            let nodes = told(true);
            let finding = GLOBAL_STATS
                .finds(format!("in TRAIN {} {} stored averages, and none are gathered: they stay 0 unless a model brings them", list(&names(view, &nodes)), verb(&nodes, "uses", "use")))
                .help("leave use_global_stats out, or start from a pretrained model with --weights")
                .at_most(Severity::Note);
            (nodes, finding)
        } else {
            continue;
        };
        if let Some(&first) = nodes.first() {
            found.push(finding.at(view.place(first, Some("batch_norm_param.use_global_stats"))));
        }
    }
    found
}
