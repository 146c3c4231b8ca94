//! How weights start, and which of them may change.

use super::Rule;
use crate::{
    check::{
        finding::Finding,
        kinds,
        probe::{self, Probe},
        subject::Subject,
        view::View,
    },
    events::Severity,
    number::{general, rough},
};

pub(super) const FROZEN: Rule = Rule {
    code: "N040",
    severity: Severity::Note,
    title: "layers frozen by lr_mult: 0",
    reason: "A layer whose weights and bias have lr_mult: 0 keeps what its filler gave it, or what a model brings. That is \
             right when a pretrained model is fine-tuned; left over from such a run, it leaves random weights in the net.",
    fix: "Set lr_mult: 1 where the layer is to learn. Where it is meant, say so: a comment with the word 'frozen' in or above \
          the layer silences this.",
    wrong: r#"
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" param { lr_mult: 0 } param { lr_mult: 0 } inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "b" bottom: "label" top: "loss" }
"#,
    right: r#"
# frozen: comes with the model that this is fine-tuned from
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" param { lr_mult: 0 } param { lr_mult: 0 } inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "b" bottom: "label" top: "loss" }
"#,
    run: frozen,
};

pub(super) const HALF_FROZEN: Rule = Rule {
    code: "N041",
    severity: Severity::Warning,
    title: "weights frozen, and their bias not",
    reason: "The first param block is the weights', the second the bias'. With only one, the bias has lr_mult: 1: a layer that \
             was to be frozen still changes.",
    fix: "Add a second param { lr_mult: 0 } (--fix does).",
    wrong: r#"
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" param { lr_mult: 0 } inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "b" bottom: "label" top: "loss" }
"#,
    right: r#"
# frozen
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" param { lr_mult: 0 } param { lr_mult: 0 } inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "b" bottom: "label" top: "loss" }
"#,
    run: half_frozen,
};

pub(super) const ALL_ZERO: Rule = Rule {
    code: "N042",
    severity: Severity::Warning,
    title: "weights that start at 0",
    reason: "Without a weight_filler weights are constant 0: whatever comes in, 0 comes out, and no gradient flows down through \
             a 0. Behind a ReLU, or with a second such layer, nothing ever changes, and the loss stays where it is.",
    fix: "Add weight_filler { type: \"xavier\" } (or \"msra\" before a ReLU), or start from a model with --weights.",
    wrong: r#"
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" param { lr_mult: 1 } inner_product_param { num_output: 8 } }
layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "b" bottom: "label" top: "loss" }
"#,
    right: r#"
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" param { lr_mult: 1 } inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "b" bottom: "label" top: "loss" }
"#,
    run: all_zero,
};

pub(super) const VANISH: Rule = Rule {
    code: "N043",
    severity: Severity::Warning,
    title: "weights so small that the signal vanishes",
    reason: "One batch was run forward with the weights as they start. Behind this layer the values are hundreds of times \
             smaller than before it. Gradients of all later weights are as many times too small: training stands still for a \
             long time, or ends with the answer that the biases alone can give.",
    fix: "Take weight_filler { type: \"xavier\" }, or a larger std: 1 / sqrt(inputs of an output) keeps the size of the values.",
    wrong: r#"
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" inner_product_param { num_output: 8 weight_filler { type: "gaussian" std: 0.00001 } } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "b" bottom: "label" top: "loss" }
"#,
    right: r#"
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" inner_product_param { num_output: 8 weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "b" bottom: "label" top: "loss" }
"#,
    run: vanish,
};

pub(super) const EXPLODE: Rule = Rule {
    code: "N044",
    severity: Severity::Warning,
    title: "first scores so large that the loss starts saturated",
    reason: "One batch was run forward with the weights as they start. A softmax of scores this far apart is 0 and 1: the loss \
             starts far above ln(classes), where guessing would be, gradients are as large as they can be, and the first \
             steps throw the weights anywhere; 87.3365 and nan in the log come of this.",
    fix: "Scale the input (transform_param { scale: 0.00390625 } for pixels), take \"xavier\" or \"msra\" fillers or a smaller \
          std, or put BatchNorm between.",
    wrong: r#"
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" inner_product_param { num_output: 80 weight_filler { type: "gaussian" std: 10 } } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "b" bottom: "label" top: "loss" }
"#,
    right: r#"
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" inner_product_param { num_output: 80 weight_filler { type: "gaussian" std: 0.03 } } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "b" bottom: "label" top: "loss" }
"#,
    run: explode,
};

pub(super) const ALIKE: Rule = Rule {
    code: "N045",
    severity: Severity::Warning,
    title: "every output channel starts with the same weights",
    reason: "A constant filler gives every output the same weights, and \"bilinear\" does where group is 1: each output is then \
             the sum of all channels. All outputs are equal; frozen ones stay equal.",
    fix: "Take a random filler. To enlarge C channels by a Deconvolution with \"bilinear\", set num_output: C and group: C.",
    wrong: r#"
layer { name: "a" type: "Convolution" bottom: "data" top: "a" convolution_param { num_output: 5 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "up" type: "Deconvolution" bottom: "a" top: "up" param { lr_mult: 0 } convolution_param { num_output: 5 bias_term: false kernel_size: 4 stride: 2 pad: 1 weight_filler { type: "bilinear" } } }
layer { name: "silence" type: "Silence" bottom: "up" }
"#,
    right: r#"
layer { name: "a" type: "Convolution" bottom: "data" top: "a" convolution_param { num_output: 5 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "up" type: "Deconvolution" bottom: "a" top: "up" param { lr_mult: 0 } convolution_param { num_output: 5 group: 5 bias_term: false kernel_size: 4 stride: 2 pad: 1 weight_filler { type: "bilinear" } } }
layer { name: "silence" type: "Silence" bottom: "up" }
"#,
    run: alike,
};

/// `'a'`, `'a' and 'b'`, `'a', 'b', 'c' and 4 more`.
pub(super) fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|n| format!("'{n}'")).collect();
    match quoted.len() {
        0 => String::new(),
        1 => quoted[0].clone(),
        n if n > 4 => format!("{} and {} more", quoted[..3].join(", "), n - 3),
        n => format!("{} and {}", quoted[..n - 1].join(", "), quoted[n - 1]),
    }
}

pub(super) fn names<'v>(view: &'v View<'_>, nodes: &[usize]) -> Vec<&'v str> {
    nodes.iter().map(|&n| view.nodes[n].layer.name()).collect()
}

fn filler_type(layer: &crate::schema::LayerParameter) -> Option<String> {
    let filler = kinds::weights(layer)?.filler?;
    Some(filler.r#type().to_owned())
}

/// Layers with weights that train, or would.
fn trained(view: &View<'_>) -> Vec<usize> {
    let under = view.under_loss();
    (0..view.nodes.len())
        .filter(|&n| under[n] && kinds::weights(view.nodes[n].layer).is_some())
        .collect()
}

fn is_frozen(view: &View<'_>, node: usize) -> bool {
    let layer = view.nodes[node].layer;
    let bias = kinds::weights(layer).is_some_and(|w| w.bias);
    let wanted = if bias { 2 } else { 1 };
    let zero = layer
        .param
        .iter()
        .take(wanted)
        .filter(|s| s.lr_mult() == 0.0);
    zero.count() == wanted
}

/// Whether a comment in the layer's text, or on the lines right above, says that it is frozen.
fn says_so(view: &View<'_>, node: usize) -> bool {
    let (Some((field, block)), Some(document)) = (
        view.file.text_of(view.nodes[node].index),
        view.file.document(),
    ) else {
        return false;
    };
    let source = document.source();
    let (from, to) = (
        source.line(field.name_span.start),
        source.line(block.span.end),
    );
    let mut first = from;
    while first > 1 && source.line_text(first - 1).trim_start().starts_with('#') {
        first -= 1;
    }
    (first..=to).any(|line| {
        let comment = source
            .line_text(line)
            .split_once('#')
            .map(|(_, c)| c.to_lowercase());
        comment.is_some_and(|c| {
            ["froz", "freez", "fixed", "pretrained"]
                .iter()
                .any(|w| c.contains(w))
        })
    })
}

fn frozen(subject: &Subject<'_>) -> Vec<Finding> {
    let Some(view) = subject.training() else {
        return Vec::new();
    };
    if subject.solver.is_some_and(|s| !s.param.weights.is_empty()) {
        return Vec::new();
    }
    let nodes: Vec<usize> = (trained(view).into_iter())
        .filter(|&n| is_frozen(view, n) && !says_so(view, n))
        // Filters that are computed, not learned.
        .filter(|&n| filler_type(view.nodes[n].layer).as_deref() != Some("bilinear"))
        .collect();
    let Some(&first) = nodes.first() else {
        return Vec::new();
    };
    let verb = if nodes.len() == 1 { "is" } else { "are" };
    vec![
        FROZEN
            .finds(format!("{} {verb} frozen by lr_mult: 0", list(&names(view, &nodes))))
            .at(view.place(first, Some("param")))
            .note("frozen layers stay as their fillers made them, unless --weights or a snapshot brings others")
            .help("if it is meant, say so in a comment with the word 'frozen'; else set lr_mult: 1"),
    ]
}

fn half_frozen(subject: &Subject<'_>) -> Vec<Finding> {
    let Some(view) = subject.training() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for node in trained(view) {
        let layer = view.nodes[node].layer;
        let bias = kinds::weights(layer).is_some_and(|w| w.bias);
        let [only] = &layer.param[..] else { continue };
        if !bias || only.lr_mult() != 0.0 || filler_type(layer).as_deref() == Some("bilinear") {
            continue;
        }
        let edits = view
            .file
            .text_of(view.nodes[node].index)
            .and_then(|(_, block)| {
                let (field, value) = block.values("param").next()?;
                // In the V1 form rates are not blocks.
                let span = value.span();
                (span.start > field.name_span.start).then(|| crate::check::Edit {
                    file: view.file.path.clone(),
                    start: span.end,
                    end: span.end,
                    text: " param { lr_mult: 0 }".into(),
                })
            });
        found.push(
            HALF_FROZEN
                .finds(format!(
                    "the weights of '{}' are frozen, its bias is not",
                    layer.name()
                ))
                .at(view.place(node, Some("param")))
                .help("add a second param { lr_mult: 0 }, for the bias")
                .edits(edits.into_iter().collect()),
        );
    }
    found
}

fn all_zero(subject: &Subject<'_>) -> Vec<Finding> {
    let Some(view) = subject.training() else {
        return Vec::new();
    };
    if subject.solver.is_some_and(|s| !s.param.weights.is_empty()) {
        return Vec::new();
    }
    let all = trained(view);
    let zero = |&n: &usize| {
        let layer = view.nodes[n].layer;
        let Some(weights) = kinds::weights(layer) else {
            return false;
        };
        if kinds::weight_rate(layer) == 0.0 {
            return false;
        }
        match weights.filler {
            // Told so, and alone between data and loss, zeros are a fair start.
            Some(f) => f.r#type() == "constant" && f.value() == 0.0 && all.len() > 1,
            None => true,
        }
    };
    let nodes: Vec<usize> = all.iter().copied().filter(zero).collect();
    let Some(&first) = nodes.first() else {
        return Vec::new();
    };
    let (them, start) = if nodes.len() == 1 {
        ("it", "starts")
    } else {
        ("they", "start")
    };
    let missing = kinds::weights(view.nodes[first].layer).is_some_and(|w| w.filler.is_none());
    let field = kinds::weights(view.nodes[first].layer).map(|w| w.field);
    let why = if missing {
        format!("{them} have no weight_filler")
    } else {
        "the filler says so".to_owned()
    };
    let why = why.replace("it have", "it has");
    vec![
        ALL_ZERO
            .finds(format!("{} {start} with all weights 0: {why}", list(&names(view, &nodes))))
            .at(view.place(first, field))
            .help("add weight_filler { type: \"xavier\" }; nothing is wrong where --weights brings a model"),
    ]
}

fn alike(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for view in &subject.views {
        for (id, node) in view.nodes.iter().enumerate() {
            let Some(weights) = kinds::weights(node.layer) else {
                continue;
            };
            let Some(filler) = weights.filler else {
                continue;
            };
            let split = weights.outputs > 1 && weights.group == 1;
            let channels = view
                .bottom(id, 0)
                .and_then(|v| v.shape.as_ref())
                .map_or(2, |s| s.legacy(1));
            let (what, help) = match filler.r#type() {
                "bilinear" if split && channels > 1 => (
                    format!("the sum of all {channels} channels, enlarged"),
                    format!(
                        "set group: {} beside num_output: {}",
                        weights.outputs, weights.outputs
                    ),
                ),
                "constant"
                    if weights.outputs > 1
                        && filler.value() != 0.0
                        && weights.group != weights.outputs =>
                {
                    (
                        format!("weights of {}", general(filler.value().into(), 4)),
                        "take a random filler: weight_filler { type: \"xavier\" }".to_owned(),
                    )
                }
                _ => continue,
            };
            let frozen = kinds::weight_rate(node.layer) == 0.0;
            let finding = ALIKE
                .finds(format!(
                    "the {} channels of '{}' start alike: each is {what}",
                    weights.outputs,
                    node.layer.name()
                ))
                .at(view.place(id, Some(weights.field)))
                .help(help);
            found.push(match frozen {
                true => finding.note("with lr_mult: 0 they stay alike for good"),
                false => finding,
            });
        }
    }
    found
}

fn input(probe: &Probe) -> &'static str {
    match probe.real {
        true => "a batch of the data",
        false => "noise in the data's place",
    }
}

fn vanish(subject: &Subject<'_>) -> Vec<Finding> {
    let (Some(view), Some(probe)) = (subject.training(), probe::of(subject)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for row in &probe.rows {
        // Zeros have a rule of their own.
        if row.before == 0.0
            || row.after == 0.0
            || row.after >= 0.1
            || row.after > 0.005 * row.before
        {
            continue;
        }
        let layer = view.nodes[row.node].layer;
        let Some(weights) = kinds::weights(layer) else {
            continue;
        };
        let filler = weights.filler.map_or("constant", |f| f.r#type());
        let std = 1.0 / (row.before.max(1e-6) * (row.fan_in.max(1) as f64).sqrt());
        found.push(
            VANISH
                .finds(format!(
                    "'{}' makes values {} times smaller: {} come in, {} go out",
                    layer.name(),
                    rough(row.before / row.after),
                    rough(row.before),
                    rough(row.after)
                ))
                .at(view.place(row.node, Some(weights.field)))
                .note(format!(
                    "root mean squares of one pass over {}; each output sums {} inputs with weights of {filler}{}",
                    input(&probe),
                    row.fan_in,
                    match filler {
                        "gaussian" => format!(" std {}", general(weights.filler.map_or(0.0, |f| f.std()).into(), 4)),
                        _ => String::new(),
                    }
                ))
                .help(format!(
                    "take weight_filler {{ type: \"xavier\" }}; with \"gaussian\", std: {} would bring the outputs to about 1",
                    general(std, 1)
                )),
        );
    }
    found
}

fn explode(subject: &Subject<'_>) -> Vec<Finding> {
    let (Some(view), Some(probe)) = (subject.training(), probe::of(subject)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for head in &probe.heads {
        let guess = (head.classes.max(2) as f64).ln();
        if head.loss.is_finite() && head.loss < 10.0 * guess.max(2.0) {
            continue;
        }
        let worst = (probe.rows.iter())
            .filter(|row| row.node < head.node && row.before > 0.0)
            .max_by(|a, b| (a.after / a.before).total_cmp(&(b.after / b.before)));
        let loss = match head.loss.is_finite() {
            true => format!("about {}", rough(head.loss)),
            false => "no finite number".to_owned(),
        };
        let mut finding = EXPLODE
            .finds(format!(
                "the loss '{}' starts at {loss}, where guessing has {}: scores are {} in size",
                view.nodes[head.node].layer.name(),
                rough(guess),
                rough(head.size)
            ))
            .at(view.place(head.node, None));
        if let Some(row) = worst {
            let layer = view.nodes[row.node].layer;
            let field = kinds::weights(layer).map(|w| w.field);
            finding = finding.also(
                format!(
                    "'{}' enlarges most: {} to {}",
                    layer.name(),
                    rough(row.before),
                    rough(row.after)
                ),
                view.place(row.node, field),
            );
        }
        found.push(finding.note(format!("from one pass over {}", input(&probe))).help(
            "scale the input, for pixels transform_param { scale: 0.00390625 }; or take smaller fillers; or put BatchNorm between",
        ));
    }
    found
}
