//! What keeps a net from being built at all, and what of its text is not read.

use super::Rule;
use crate::{
    check::{
        finding::Finding,
        subject::{Subject, edit},
        view::View,
    },
    error::{Error, Place},
    events::Severity,
    graph, layers,
    text::Warning,
};

pub(super) const BROKEN: Rule = Rule {
    code: "N001",
    severity: Severity::Error,
    title: "the net cannot be built",
    reason: "A layer reads a blob that nobody makes before it, an option has a value that makes no sense, or the shapes of two \
             blobs do not fit. Training stops before its first iteration.",
    fix: "The message says what does not fit and where; blobs are matched by name, letter for letter.",
    wrong: r#"
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 5 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "cnov" bottom: "label" top: "loss" }
"#,
    right: r#"
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 5 kernel_size: 16 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "conv" bottom: "label" top: "loss" }
"#,
    run: broken,
};

pub(super) const UNKNOWN_TYPE: Rule = Rule {
    code: "N002",
    severity: Severity::Error,
    title: "a layer type that does not exist here",
    reason: "The type is spelled differently (types are matched letter for letter: ReLU, not Relu), or it belongs to a fork of \
             Caffe whose layer this program does not have.",
    fix: "Write the type as LAYERS.md has it; --fix does where only one is near.",
    wrong: r#"
layer { name: "relu" type: "Relu" bottom: "data" top: "out" }
"#,
    right: r#"
layer { name: "relu" type: "ReLU" bottom: "data" top: "out" }
"#,
    run: unknown_type,
};

pub(super) const SKIPPED_FIELD: Rule = Rule {
    code: "N003",
    severity: Severity::Warning,
    title: "a field that nobody reads is skipped",
    reason: "The schema has no field of this name at this place: it belongs to a fork, or into another block. The file is read \
             as if it were not there, so what it was to do is not done.",
    fix: "Move the field where it belongs, or remove it. --strict makes it an error in every command.",
    wrong: r#"
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" dilation_of_some_fork: 2 convolution_param { num_output: 5 kernel_size: 3 weight_filler { type: "xavier" } } }
"#,
    right: r#"
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 5 kernel_size: 3 dilation: 2 weight_filler { type: "xavier" } } }
"#,
    run: skipped_field,
};

fn of_error(error: &Error, place: Option<Place>) -> Finding {
    let place = place.or_else(|| {
        let text = |p: &&Place| matches!(p, Place::Text { .. });
        (error.places().iter().find(text))
            .or_else(|| error.places().first())
            .cloned()
    });
    let finding = BROKEN.finds(error.message()).at(place);
    match error.help_text() {
        Some(help) => finding.help(help),
        None => finding,
    }
}

fn broken(subject: &Subject<'_>) -> Vec<Finding> {
    let unreadable = subject.unreadable.iter();
    let mut found: Vec<Finding> = unreadable
        .map(|(error, place)| of_error(error, place.clone()))
        .collect();
    for view in &subject.views {
        let known = view.nodes.iter().all(|node| node.kind.is_some());
        if known && let Err((error, origin)) = graph::check_wiring(&view.net) {
            let field = error.field().map(str::to_owned);
            let spelled = error.message().starts_with("unknown bottom");
            let field = field.or_else(|| spelled.then(|| bottom_field(view, origin, &error)));
            let place = origin.and_then(|at| view.file.place(at, field.as_deref()));
            found.push(of_error(&error, place));
        }
        for (id, node) in view.nodes.iter().enumerate() {
            let Some(error) = &node.problem else { continue };
            // The sizes of score and label maps have a rule of their own, with more to say.
            if super::shapes::sizes_differ(view, id) {
                continue;
            }
            let mut finding = of_error(error, view.place(id, error.field()));
            let shapes: Vec<String> = (0..node.bottoms.len())
                .filter_map(|slot| {
                    let value = view.bottom(id, slot)?;
                    Some(format!("{} {}", value.name, value.shape.as_ref()?))
                })
                .collect();
            finding.message = format!(
                "layer '{}' ({}): {}",
                node.layer.name(),
                node.layer.r#type(),
                finding.message
            );
            if !shapes.is_empty() {
                finding = finding.note(format!("it reads {}", shapes.join(" and ")));
            }
            found.push(finding);
        }
    }
    found
}

/// The bottom that an error of wiring names.
fn bottom_field(view: &View<'_>, origin: Option<usize>, error: &Error) -> String {
    let layer = origin.and_then(|at| view.file.net.layer.get(at));
    let named = |b: &String| error.message().contains(&format!("'{b}'"));
    let slot = layer.and_then(|l| l.bottom.iter().position(named));
    format!("bottom[{}]", slot.unwrap_or(0))
}

fn unknown_type(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    let mut told: Vec<String> = Vec::new();
    for view in &subject.views {
        for (id, node) in view.nodes.iter().enumerate() {
            let Err(error) = layers::of(node.layer) else {
                continue;
            };
            let key = format!("{}{}", view.file.path.display(), error.message());
            if told.contains(&key) {
                continue;
            }
            told.push(key);
            let kind = node.layer.r#type();
            let same = |l: &&crate::schema::LayerParameter| l.r#type() == kind;
            let times = view.file.net.layer.iter().filter(same).count();
            let more = match times {
                0 | 1 => String::new(),
                n => format!(" ({n} layers have it, '{}' first)", node.layer.name()),
            };
            let mut finding = UNKNOWN_TYPE
                .finds(format!("{}{more}", error.message()))
                .at(view.place(id, Some("type")));
            if let Some(help) = error.help_text() {
                finding = finding.help(help);
            }
            let near = error
                .help_text()
                .and_then(|help| help.strip_prefix("did you mean '")?.strip_suffix("'?"));
            if let Some(near) = near {
                let all = view.file.net.layer.iter().enumerate();
                let edits = all
                    .filter(|(_, l)| l.r#type() == kind)
                    .filter_map(|(i, _)| {
                        let (_, block) = view.file.text_of(i)?;
                        let spans = super::super::subject::text_values(block, "type", kind);
                        Some(edit(
                            &view.file.path,
                            *spans.first()?,
                            &format!("\"{near}\""),
                        ))
                    });
                let edits = edits.collect();
                finding = finding.edits(edits);
            }
            found.push(finding);
        }
    }
    found
}

fn skipped_field(subject: &Subject<'_>) -> Vec<Finding> {
    let of = |warning: &Warning| {
        let times = match warning.times {
            0 | 1 => String::new(),
            n => format!(" ({n} times, first here)"),
        };
        let finding = SKIPPED_FIELD
            .finds(format!("{}{times}", warning.message))
            .at(Some(warning.place.clone()));
        match &warning.help {
            Some(help) => finding.help(help.clone()),
            None => finding,
        }
    };
    let solver = subject.solver.iter().flat_map(|s| &s.warnings);
    let nets = subject.views.iter().flat_map(|v| &v.file.warnings);
    solver.chain(nets).map(of).collect()
}
