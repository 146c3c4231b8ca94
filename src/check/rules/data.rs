//! What brings data: its transformations, and whether sources go together.

use super::Rule;
use crate::{
    check::{
        finding::Finding,
        kinds, samples,
        subject::{Subject, files_of},
        view::View,
    },
    events::Severity,
    number::general,
    schema::{LayerParameter, Phase, TransformationParameter},
};

pub(super) const PHASES_DIFFER: Rule = Rule {
    code: "N060",
    severity: Severity::Warning,
    title: "mean or scale differs between TRAIN and TEST",
    reason: "Weights fit the values that they were trained on. A test whose images keep their mean, or have another scale, shows \
             the net something it never saw: it looks well in training and bad in every test.",
    fix: "Write the same mean_file or mean_value and the same scale in both phases, and do the same to images in use.",
    wrong: r#"
layer { name: "images" type: "Data" top: "images" top: "class" include { phase: TRAIN } transform_param { scale: 0.00390625 } data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "images" type: "Data" top: "images" top: "class" include { phase: TEST } data_param { source: "test_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "score" type: "InnerProduct" bottom: "images" top: "score" inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "class" top: "loss" }
"#,
    right: r#"
layer { name: "images" type: "Data" top: "images" top: "class" include { phase: TRAIN } transform_param { scale: 0.00390625 } data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "images" type: "Data" top: "images" top: "class" include { phase: TEST } transform_param { scale: 0.00390625 } data_param { source: "test_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "score" type: "InnerProduct" bottom: "images" top: "score" inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "class" top: "loss" }
"#,
    run: phases_differ,
};

pub(super) const RAW: Rule = Rule {
    code: "N061",
    severity: Severity::Note,
    title: "images without mean and scale",
    reason: "Pixels go from 0 to 255, all of one sign. Their common part makes the first weights' gradients large and alike: \
             training needs a smaller rate, and is slower to start.",
    fix: "Subtract the mean (mean_file or mean_value in transform_param), or scale: 0.00390625; or begin the net with \
          BatchNorm.",
    wrong: r#"
layer { name: "images" type: "Data" top: "images" top: "class" data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "conv" type: "Convolution" bottom: "images" top: "conv" convolution_param { num_output: 4 kernel_size: 16 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "conv" bottom: "class" top: "loss" }
"#,
    right: r#"
layer { name: "images" type: "Data" top: "images" top: "class" transform_param { mean_value: 120 } data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "conv" type: "Convolution" bottom: "images" top: "conv" convolution_param { num_output: 4 kernel_size: 16 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "conv" bottom: "class" top: "loss" }
"#,
    run: raw,
};

pub(super) const DRAWN_APART: Rule = Rule {
    code: "N062",
    severity: Severity::Error,
    title: "images and label maps are cropped, flipped or shuffled apart",
    reason: "Two data layers draw their own random numbers. With mirror half of the images are flipped, and another half of the \
             label maps; a random crop takes another corner of each; a shuffled list has another order. The labels then belong \
             to other pixels, and the net learns that anything may be anywhere.",
    fix: "Leave crop_size, mirror and shuffle out of both, and do them when the databases are made; or use DenseImageData or \
          ImageSegData, which transform an image and its label map together.",
    wrong: r#"
layer { name: "images" type: "Data" top: "images" transform_param { mirror: true mean_value: 120 } data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "truth" type: "Data" top: "truth" transform_param { mirror: true } data_param { source: "maps_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "score" type: "Convolution" bottom: "images" top: "score" convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "truth" top: "loss" }
"#,
    right: r#"
layer { name: "images" type: "Data" top: "images" transform_param { mean_value: 120 } data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "truth" type: "Data" top: "truth" data_param { source: "maps_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "score" type: "Convolution" bottom: "images" top: "score" convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "truth" top: "loss" }
"#,
    run: drawn_apart,
};

pub(super) const SCALED_LABELS: Rule = Rule {
    code: "N063",
    severity: Severity::Error,
    title: "label maps with a mean or a scale",
    reason: "transform_param changes values: class 3 with scale: 0.00390625 is 0.0117. Caffe cuts that to 0, so every pixel is of \
             class 0 and the loss falls to nothing; here training stops at the first label that is no whole number.",
    fix: "Leave scale, mean_file and mean_value out of the layer that brings labels.",
    wrong: r#"
layer { name: "images" type: "Data" top: "images" transform_param { mean_value: 120 } data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "truth" type: "Data" top: "truth" transform_param { scale: 0.00390625 } data_param { source: "maps_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "score" type: "Convolution" bottom: "images" top: "score" convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "truth" top: "loss" }
"#,
    right: r#"
layer { name: "images" type: "Data" top: "images" transform_param { mean_value: 120 } data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "truth" type: "Data" top: "truth" data_param { source: "maps_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "score" type: "Convolution" bottom: "images" top: "score" convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "truth" top: "loss" }
"#,
    run: scaled_labels,
};

pub(super) const UNEQUAL_COUNTS: Rule = Rule {
    code: "N064",
    severity: Severity::Error,
    title: "images and label maps are not as many",
    reason: "Each data layer walks through its own database, and starts again at its end. After the first pass over the smaller \
             one the pairs are shifted: image 1 comes with the label of image 2, and so on. Nothing in Caffe notices.",
    fix: "Write both databases from one list, with the same keys.",
    wrong: r#"
layer { name: "images" type: "Data" top: "images" transform_param { mean_value: 120 } data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "truth" type: "Data" top: "truth" data_param { source: "fewer_maps_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "score" type: "Convolution" bottom: "images" top: "score" convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "truth" top: "loss" }
"#,
    right: r#"
layer { name: "images" type: "Data" top: "images" transform_param { mean_value: 120 } data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "truth" type: "Data" top: "truth" data_param { source: "maps_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "score" type: "Convolution" bottom: "images" top: "score" convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "truth" top: "loss" }
"#,
    run: unequal_counts,
};

pub(super) const TEST_ON_TRAIN: Rule = Rule {
    code: "N065",
    severity: Severity::Warning,
    title: "the test reads the training data",
    reason: "A score on the records that were trained on tells how well they were learned by heart, not how the net does on \
             others.",
    fix: "Name another database in TEST; if it is meant, for a check that the net can learn at all, go on.",
    wrong: r#"
layer { name: "images" type: "Data" top: "images" top: "class" include { phase: TRAIN } transform_param { mean_value: 120 } data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "images" type: "Data" top: "images" top: "class" include { phase: TEST } transform_param { mean_value: 120 } data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "score" type: "InnerProduct" bottom: "images" top: "score" inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "class" top: "loss" }
"#,
    right: r#"
layer { name: "images" type: "Data" top: "images" top: "class" include { phase: TRAIN } transform_param { mean_value: 120 } data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "images" type: "Data" top: "images" top: "class" include { phase: TEST } transform_param { mean_value: 120 } data_param { source: "test_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "score" type: "InnerProduct" bottom: "images" top: "score" inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "class" top: "loss" }
"#,
    run: test_on_train,
};

fn transform(layer: &LayerParameter) -> TransformationParameter {
    layer.transform_param.clone().unwrap_or_default()
}

/// Whether a layer brings other values than are stored.
pub(super) fn alters_values(layer: &LayerParameter) -> bool {
    let t = transform(layer);
    t.scale() != 1.0 || t.mean_file.is_some() || !t.mean_value.is_empty()
}

fn mean(t: &TransformationParameter) -> String {
    match (&t.mean_file, &t.mean_value[..]) {
        (Some(file), _) => format!("the mean of '{file}'"),
        (None, []) => "no mean".to_owned(),
        (None, values) => {
            let values: Vec<String> = values.iter().map(|&v| general(v.into(), 6)).collect();
            format!("mean {}", values.join(", "))
        }
    }
}

/// Nodes that bring records, by their first top.
fn sources<'v>(view: &'v View<'_>) -> impl Iterator<Item = usize> + 'v {
    (0..view.nodes.len()).filter(|&n| {
        let layer = view.nodes[n].layer;
        kinds::brings_records(layer.r#type()) && !layer.top.is_empty()
    })
}

fn phases_differ(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let of = |phase| subject.views.iter().filter(move |v| v.phase == phase);
    for train in of(Phase::Train) {
        for (test, a) in of(Phase::Test).flat_map(|t| sources(train).map(move |a| (t, a))) {
            let ours = train.nodes[a].layer;
            let Some(b) =
                sources(test).find(|&b| test.nodes[b].layer.top.first() == ours.top.first())
            else {
                continue;
            };
            let (ta, tb) = (transform(ours), transform(test.nodes[b].layer));
            let top = ours.top.first().map_or("", String::as_str);
            let message = if mean(&ta) != mean(&tb) {
                format!(
                    "'{top}' has {} in TRAIN and {} in TEST",
                    mean(&ta),
                    mean(&tb)
                )
            } else if ta.scale() != tb.scale() {
                let [a, b] = [ta.scale(), tb.scale()].map(|s| general(s.into(), 6));
                format!("'{top}' is scaled by {a} in TRAIN and by {b} in TEST")
            } else {
                continue;
            };
            found.push(
                PHASES_DIFFER
                    .finds(message)
                    .at(test.place(b, Some("transform_param")))
                    .also("in TRAIN", train.place(a, Some("transform_param")))
                    .help("write the same mean and scale in both"),
            );
        }
    }
    found
}

fn raw(subject: &Subject<'_>) -> Vec<Finding> {
    let Some(view) = subject.training() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for node in sources(view) {
        let layer = view.nodes[node].layer;
        if alters_values(layer) || !matches!(layer.r#type(), "Data" | "ImageData") {
            continue;
        }
        let Some(top) = view.nodes[node]
            .tops
            .first()
            .and_then(|&v| view.values.get(v))
        else {
            continue;
        };
        let mut readers = top.readers.iter().map(|&(r, _)| view.nodes[r].layer);
        let convolved = readers.any(|l| l.r#type() == "Convolution");
        // A record of one channel may be anything; three are an image.
        let image = top
            .shape
            .as_ref()
            .is_some_and(|s| s.axes() == 4 && s.legacy(2) > 1);
        if convolved && image {
            found.push(
                RAW.finds(format!("'{}' are pixels from 0 to 255 as they are: no mean, no scale", top.name))
                    .at(view.place(node, None))
                    .help("add transform_param { mean_value: 127.5 scale: 0.0078125 }, or the data's own mean"),
            );
        }
    }
    found
}

/// A map of labels that a data layer brings as its records' pixels, with the layer that brings the images beside it.
fn pairs(view: &View<'_>) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for (id, node) in view.nodes.iter().enumerate() {
        if !kinds::counts_classes(node.layer.r#type()) {
            continue;
        }
        let Some(label) = view.bottom(id, 1).filter(|l| l.top == 0) else {
            continue;
        };
        let labels = label.producer;
        if !kinds::brings_records(view.nodes[labels].layer.r#type()) {
            continue;
        }
        let start = crate::check::sizes::path(view, id).first().copied();
        let Some(images) =
            start.filter(|&s| s != labels && kinds::brings_records(view.nodes[s].layer.r#type()))
        else {
            continue;
        };
        if !pairs.contains(&(images, labels)) {
            pairs.push((images, labels));
        }
    }
    pairs
}

/// What a layer draws by itself, in words.
fn draws(layer: &LayerParameter, phase: Phase) -> Vec<&'static str> {
    let t = transform(layer);
    let crop = t.crop_size() > 0 || t.crop_h() > 0;
    let images = layer.image_data_param.as_ref();
    [
        (t.mirror(), "mirror"),
        (crop && phase == Phase::Train, "crop_size"),
        (t.rotate(), "rotate"),
        (images.is_some_and(|p| p.shuffle()), "shuffle"),
    ]
    .into_iter()
    .filter_map(|(drawn, word)| drawn.then_some(word))
    .collect()
}

fn drawn_apart(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for view in &subject.views {
        for (images, labels) in pairs(view) {
            let [a, b] = [images, labels].map(|n| draws(view.nodes[n].layer, view.phase));
            let mut words = a.clone();
            words.extend(b.iter().copied().filter(|w| !a.contains(w)));
            if words.is_empty() {
                continue;
            }
            let who = match (a.is_empty(), b.is_empty()) {
                (false, false) => "each draws its own",
                (false, true) => "only the images are changed",
                _ => "only the labels are changed",
            };
            let names = [images, labels].map(|n| view.nodes[n].layer.name());
            let changed = if b.is_empty() { images } else { labels };
            let other = if changed == images { labels } else { images };
            let place = |n: usize| view.place(n, Some("transform_param"));
            found.push(
                DRAWN_APART
                    .finds(format!(
                        "'{}' and its labels '{}' do not stay together under {}: {who}",
                        names[0],
                        names[1],
                        words.join(" and ")
                    ))
                    .at(place(changed))
                    .also(format!("'{}' is here", view.nodes[other].layer.name()), place(other))
                    .help("leave it out of both layers, or bring both by one DenseImageData layer, which changes them together"),
            );
        }
    }
    found
}

fn scaled_labels(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for view in &subject.views {
        for (id, node) in view.nodes.iter().enumerate() {
            if !kinds::counts_classes(node.layer.r#type()) {
                continue;
            }
            let Some(label) = view.bottom(id, 1).filter(|l| l.top == 0) else {
                continue;
            };
            let layer = view.nodes[label.producer].layer;
            if !kinds::brings_records(layer.r#type()) || !alters_values(layer) {
                continue;
            }
            let t = transform(layer);
            let what = match t.scale() {
                1.0 => format!("have {} subtracted", mean(&t)),
                scale => format!("are multiplied by {}", general(scale.into(), 6)),
            };
            found.push(
                SCALED_LABELS
                    .finds(format!(
                        "the labels '{}' {what}: they name classes no more",
                        label.name
                    ))
                    .at(view.place(label.producer, Some("transform_param")))
                    .also(
                        "they are read as classes here",
                        view.place(id, Some("bottom[1]")),
                    )
                    .help("leave mean and scale out of the layer that brings labels"),
            );
        }
    }
    found
}

fn unequal_counts(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for view in &subject.views {
        for (images, labels) in pairs(view) {
            let count = |n: usize| samples::count(view.nodes[n].layer, &subject.root);
            let (Some(a), Some(b)) = (count(images), count(labels)) else {
                continue;
            };
            if a != b {
                found.push(
                    UNEQUAL_COUNTS
                        .finds(format!(
                            "{a} images in '{}', {b} label maps in '{}'",
                            source(view, images),
                            source(view, labels)
                        ))
                        .at(view.place(labels, Some("data_param.source")))
                        .also(
                            "the images are here",
                            view.place(images, Some("data_param.source")),
                        )
                        .note(format!(
                            "from record {} on they are out of step",
                            a.min(b) + 1
                        ))
                        .help("write both databases from one list"),
                );
            }
        }
    }
    found
}

/// The file that a node reads records from.
fn source(view: &View<'_>, node: usize) -> String {
    let files = files_of(view.nodes[node].layer).into_iter();
    let mut sources = files.filter(|(field, _)| field.ends_with(".source"));
    sources.next().map(|(_, path)| path).unwrap_or_default()
}

fn test_on_train(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let of = |phase| subject.views.iter().filter(move |v| v.phase == phase);
    let tests = of(Phase::Test).map(|v| sources(v).map(|n| source(v, n)).collect::<Vec<_>>());
    let mut tests: Vec<Vec<String>> = tests.collect();
    tests.dedup();
    if tests.len() > 1 {
        // One of several tests may well tell how the training data is learned.
        return found;
    }
    for train in of(Phase::Train).filter(|v| v.has_loss()) {
        for test in of(Phase::Test) {
            for b in sources(test) {
                let file = source(test, b);
                let twin = sources(train).find(|&a| {
                    let (a, b) = (train.nodes[a].layer, test.nodes[b].layer);
                    !std::ptr::eq(a, b) && a.r#type() == b.r#type()
                } && source(train, a) == file && !file.is_empty());
                if let Some(a) = twin {
                    let field = files_of(test.nodes[b].layer)
                        .first()
                        .map(|(field, _)| *field);
                    found.push(
                        TEST_ON_TRAIN
                            .finds(format!(
                                "the test reads '{file}', which the net is trained on"
                            ))
                            .at(test.place(b, field))
                            .also("TRAIN reads it here", train.place(a, field))
                            .help("name the database of the test set"),
                    );
                }
            }
        }
    }
    found
}
