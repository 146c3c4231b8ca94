//! Labels beside scores: the sizes of their maps, and the classes that they name.

use super::Rule;
use crate::{
    check::{finding::Finding, kinds, sizes, subject::Subject, view::View},
    events::Severity,
    tensor::Shape,
};

pub(super) const MAP_SIZES: Rule = Rule {
    code: "N030",
    severity: Severity::Error,
    title: "label and score maps of different size",
    reason: "A loss over a map needs one label for each cell of the scores: scores [N, C, H, W] and labels [N, 1, H, W]. Every \
             stride divides the size, and a window without padding takes a border off: the scores come out smaller than \
             the labels were drawn.",
    fix: "Change the stride or pad that the message names, scale the scores up (Deconvolution, Interp), or make the label \
          maps at the scores' size, by the nearest pixel and never by interpolation.",
    wrong: r#"
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "score" type: "Convolution" bottom: "conv" top: "score" convolution_param { num_output: 5 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "labels" top: "loss" }
"#,
    right: r#"
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 8 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "score" type: "Convolution" bottom: "conv" top: "score" convolution_param { num_output: 5 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "labels" top: "loss" }
"#,
    run: map_sizes,
};

pub(super) const LABEL_RANGE: Rule = Rule {
    code: "N031",
    severity: Severity::Error,
    title: "labels that are no class of the scores",
    reason: "With num_output: 5 the classes are 0 to 4. A label outside of them names no score: Caffe reads whatever lies \
             behind in memory, or crashes; here training stops at the record. Two causes are common: labels that count from \
             1, and 255 for pixels without a truth.",
    fix: "Make num_output one more than the largest label, count labels from 0, or say loss_param { ignore_label: 255 }.",
    wrong: r#"
layer { name: "images" type: "Data" top: "images" top: "class" data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "score" type: "InnerProduct" bottom: "images" top: "score" inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "class" top: "loss" }
"#,
    right: r#"
layer { name: "images" type: "Data" top: "images" top: "class" data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "score" type: "InnerProduct" bottom: "images" top: "score" inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "class" top: "loss" }
"#,
    run: label_range,
};

pub(super) const CLASSES_UNSEEN: Rule = Rule {
    code: "N032",
    severity: Severity::Note,
    title: "more classes than labels name",
    reason: "No record of the database has the last classes. Their scores only learn to be low, which costs nothing but time; \
             most often num_output was left from another net, or part of the data is missing.",
    fix: "Make num_output one more than the largest label, or see whether the database is whole.",
    wrong: r#"
layer { name: "images" type: "Data" top: "images" top: "class" data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "score" type: "InnerProduct" bottom: "images" top: "score" inner_product_param { num_output: 1000 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "class" top: "loss" }
"#,
    right: r#"
layer { name: "images" type: "Data" top: "images" top: "class" data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "score" type: "InnerProduct" bottom: "images" top: "score" inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "class" top: "loss" }
"#,
    run: classes_unseen,
};

pub(super) const COLOURED_LABELS: Rule = Rule {
    code: "N033",
    severity: Severity::Error,
    title: "label maps with colours",
    reason: "A label map has one channel: the number of the class of each pixel. An image of three channels was stored instead, \
             most often because a picture with a palette was decoded to its colours.",
    fix: "Store the indices of the palette, not its colours; or use DenseImageData or ImageSegData, which read them so.",
    wrong: r#"
layer { name: "score" type: "Convolution" bottom: "data" top: "score" convolution_param { num_output: 5 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "data" top: "loss" }
"#,
    right: r#"
layer { name: "score" type: "Convolution" bottom: "data" top: "score" convolution_param { num_output: 5 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "labels" top: "loss" }
"#,
    run: coloured_labels,
};

/// The shapes of scores and labels of a node that counts classes, where they are certain and do not fit.
fn misfit<'v>(view: &'v View<'_>, node: usize) -> Option<(&'v Shape, &'v Shape)> {
    if !kinds::counts_classes(view.nodes.get(node)?.layer.r#type()) {
        return None;
    }
    let (scores, labels) = (view.certain(node, 0)?, view.certain(node, 1)?);
    let cells = scores.count() / scores.legacy(1).max(1);
    (cells != labels.count()).then_some((scores, labels))
}

/// Height and width of the cells of scores, and of the labels.
fn areas(scores: &Shape, labels: &Shape) -> Option<([usize; 2], [usize; 2])> {
    let of_labels = match labels.dims() {
        [_, 1, h, w] | [_, h, w] => [*h, *w],
        _ => return None,
    };
    Some(([scores.legacy(2), scores.legacy(3)], of_labels))
}

/// Whether [`MAP_SIZES`] or [`COLOURED_LABELS`] has something to say of a node.
pub(super) fn sizes_differ(view: &View<'_>, node: usize) -> bool {
    misfit(view, node).is_some_and(|(scores, labels)| {
        coloured(scores, labels) || areas(scores, labels).is_some_and(|(a, b)| a != b)
    })
}

fn coloured(scores: &Shape, labels: &Shape) -> bool {
    labels.axes() == 4 && labels.legacy(1) == 3 && scores.legacy(2) == labels.legacy(2)
}

fn map_sizes(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for view in &subject.views {
        let mut told: Vec<(Option<usize>, Option<usize>)> = Vec::new();
        // Losses first: an Accuracy of the same blobs has nothing to add.
        let mut nodes: Vec<usize> = (0..view.nodes.len()).collect();
        nodes.sort_by_key(|&n| !view.is_loss(n));
        for id in nodes {
            let Some((scores, labels)) = misfit(view, id) else {
                continue;
            };
            let Some((have, want)) = areas(scores, labels).filter(|(a, b)| a != b) else {
                continue;
            };
            let pair = (view.nodes[id].bottoms[0], view.nodes[id].bottoms[1]);
            if told.contains(&pair) {
                continue;
            }
            told.push(pair);
            let names = [0, 1].map(|slot| view.bottom(id, slot).map_or("", |v| &v.name));
            let [[sh, sw], [lh, lw]] = [have, want];
            let path = sizes::path(view, id);
            let finding = MAP_SIZES
                .finds(format!(
                    "the scores '{}' are {sh}x{sw}, their labels '{}' {lh}x{lw}",
                    names[0], names[1]
                ))
                .at(view.place(id, None))
                .note(format!(
                    "the sizes on the way: {}",
                    sizes::words(view, &path)
                ));
            found.push(finding.help(ways_out(view, id, &path, subject, have, want)));
        }
    }
    found
}

fn ways_out(
    view: &View<'_>,
    node: usize,
    path: &[usize],
    subject: &Subject<'_>,
    have: [usize; 2],
    want: [usize; 2],
) -> String {
    let mut ways = sizes::fits(view, node, path, &subject.root, want);
    ways.truncate(3);
    let [[sh, sw], [lh, lw]] = [have, want];
    if sh > 0 && sw > 0 && lh % sh == 0 && lw % sw == 0 && lh / sh == lw / sw && lh > sh {
        let factor = lh / sh;
        ways.push(format!(
            "make the label maps {factor} times smaller, by the nearest pixel, or the scores {factor} times larger (Deconvolution or Interp)"
        ));
    }
    match ways.is_empty() {
        true => format!(
            "make label maps of {sh}x{sw}, or scale the scores to {lh}x{lw} with Interp or Crop"
        ),
        false => ways.join("; or "),
    }
}

fn coloured_labels(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for view in &subject.views {
        for (id, node) in view.nodes.iter().enumerate() {
            let Some((scores, labels)) = misfit(view, id) else {
                continue;
            };
            if coloured(scores, labels) {
                let name = view.bottom(id, 1).map_or("", |v| &v.name);
                found.push(
                    COLOURED_LABELS
                        .finds(format!("the labels '{name}' of '{}' have 3 channels, {labels}: a label map has one", node.layer.name()))
                        .at(view.place(id, Some("bottom[1]")))
                        .help("store the number of the class of each pixel: the indices of a palette, not its colours"),
                );
            }
        }
    }
    found
}

/// A node that counts classes, with how many there are, and the data layer's top that brings its labels.
struct Head {
    view: usize,
    node: usize,
    classes: usize,
    /// The layer whose num_output that is.
    scorer: Option<usize>,
    source: (usize, usize),
    ignore: Option<i32>,
}

fn heads(subject: &Subject<'_>) -> Vec<Head> {
    let mut heads: Vec<Head> = Vec::new();
    for (v, view) in subject.views.iter().enumerate() {
        for (id, node) in view.nodes.iter().enumerate() {
            let kind = node.layer.r#type();
            if !kinds::counts_classes(kind) {
                continue;
            }
            let scorer = sizes::scorer(view, id);
            let told = scorer.and_then(|s| kinds::weights(view.nodes[s].layer));
            let told = told.map(|w| w.outputs as usize).filter(|&n| n > 0);
            let shaped = view.certain(id, 0).map(|s| s.legacy(1));
            let (Some(classes), Some(label)) = (shaped.or(told), view.bottom(id, 1)) else {
                continue;
            };
            let source = (label.producer, label.top);
            let ignore = match kind {
                "Accuracy" => node.layer.accuracy_param.and_then(|p| p.ignore_label),
                _ => node.layer.loss_param.as_ref().and_then(|p| p.ignore_label),
            };
            let same = |h: &Head| {
                h.view == v && h.source == source && h.classes == classes && h.ignore == ignore
            };
            if !heads.iter().any(same) {
                heads.push(Head {
                    view: v,
                    node: id,
                    classes,
                    scorer: scorer.filter(|_| told == Some(classes)),
                    source,
                    ignore,
                });
            }
        }
    }
    heads
}

fn label_range(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for head in heads(subject) {
        let view = &subject.views[head.view];
        let layer = view.nodes[head.source.0].layer;
        // Labels that are scaled have a rule of their own.
        if super::data::alters_values(layer) && head.source.1 == 0 {
            continue;
        }
        let Some(seen) = subject.seen(head.view, head.source.0, head.source.1) else {
            continue;
        };
        let ignored = |v: &i64| head.ignore.map(i64::from) == Some(*v);
        let class = |v: &i64| (0..head.classes as i64).contains(v);
        let mut outside = seen.values.iter().filter(|(v, _)| !class(v) && !ignored(v));
        let Some((first, (_, key))) = outside.next() else {
            continue;
        };
        let rest: Vec<i64> = outside.map(|(v, _)| *v).collect();
        let (values, wrong) = match rest.last() {
            Some(last) => (format!("labels {first} to {last}"), "are no classes"),
            None => (format!("label {first}"), "is no class"),
        };
        let scores = view.bottom(head.node, 0).map_or("", |v| &v.name);
        let place = match head.scorer {
            Some(scorer) => view.place(scorer, Some(num_output(view.nodes[scorer].layer.r#type()))),
            None => view.place(head.node, None),
        };
        let lowest = seen.values.keys().next().copied().unwrap_or(0);
        let highest = seen.values.keys().rfind(|v| !ignored(v)).copied();
        let (highest, largest) = (highest.unwrap_or(0), head.classes as i64 - 1);
        let kind = view.nodes[head.node].layer.r#type();
        let ignore = match kind {
            "Accuracy" => "accuracy_param",
            _ => "loss_param",
        };
        let help = if rest.is_empty() && (*first == 255 || *first == -1) {
            format!("if {first} marks what has no truth, say {ignore} {{ ignore_label: {first} }}")
        } else if lowest == 1 && highest == largest + 1 {
            format!(
                "the labels count from 1: count from 0, or set num_output: {}",
                highest + 1
            )
        } else if highest > largest && lowest >= 0 {
            format!("set num_output: {}", highest + 1)
        } else {
            "labels are whole numbers from 0: mend the database".to_owned()
        };
        found.push(
            LABEL_RANGE
                .finds(format!(
                    "{values} in '{}' {wrong}: '{scores}' has {} (0 to {largest})",
                    source_name(layer),
                    head.classes
                ))
                .at(place)
                .also("the labels come from here", view.place(head.source.0, None))
                .note(format!(
                    "the first is in record '{key}'; {} records were looked at",
                    seen.records
                ))
                .help(help),
        );
    }
    found
}

fn num_output(kind: &str) -> &'static str {
    match kind {
        "InnerProduct" => "inner_product_param.num_output",
        _ => "convolution_param.num_output",
    }
}

fn source_name(layer: &crate::schema::LayerParameter) -> String {
    let files = crate::check::subject::files_of(layer);
    files
        .into_iter()
        .next()
        .map_or_else(|| layer.name().to_owned(), |(_, path)| path)
}

fn classes_unseen(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for head in heads(subject) {
        let view = &subject.views[head.view];
        // A test set may well miss a class.
        if view.phase == crate::schema::Phase::Test {
            continue;
        }
        let Some(seen) = subject.seen(head.view, head.source.0, head.source.1) else {
            continue;
        };
        let ignored = |v: &i64| head.ignore.map(i64::from) == Some(*v);
        let highest = seen.values.keys().rfind(|v| !ignored(v));
        let Some(&highest) = highest.filter(|_| seen.complete && seen.broken.is_none()) else {
            continue;
        };
        if highest < 0 || highest + 1 >= head.classes as i64 {
            continue;
        }
        let place = match head.scorer {
            Some(scorer) => view.place(scorer, Some(num_output(view.nodes[scorer].layer.r#type()))),
            None => view.place(head.node, None),
        };
        found.push(
            CLASSES_UNSEEN
                .finds(format!(
                    "{} classes, and no label above {highest} in the {} records of '{}'",
                    head.classes,
                    seen.records,
                    source_name(view.nodes[head.source.0].layer)
                ))
                .at(place)
                .help(format!(
                    "set num_output: {}, or see whether data is missing",
                    highest + 1
                )),
        );
    }
    found
}
