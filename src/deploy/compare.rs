//! Whether a net that is deployed belongs to one that is trained: layer by layer, option by option, shape by shape.

use std::collections::BTreeMap;

use crate::{
    error::Result,
    graph::{self, BuildOptions, Built},
    layer::Role,
    layers,
    params::Params,
    schema::{LayerParameter, NetParameter, NetState, Phase, TransformationParameter},
    text::print,
};

/// A difference of two nets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The layer's name; empty for what concerns the net.
    pub layer: String,
    /// What differs: `convolution_param.num_output`.
    pub what: String,
    /// In the net that follows from the one that is trained; empty where it is not there.
    pub expected: String,
    /// In the net that is deployed; empty where it is not there.
    pub found: String,
}

/// Types whose absence changes nothing that a net computes.
const IDLE: &[&str] = &["Dropout", "SpatialDropout", "Split", "Silence"];

/// Fields that matter in training alone.
const TRAINING: &[&str] = &[
    "param",
    "weight_filler",
    "bias_filler",
    "filler",
    "include",
    "exclude",
    "propagate_down",
    "loss_weight",
    "phase",
    "engine",
    "moving_average_fraction",
    "dropout_ratio",
];

/// Compares the net that follows from the one that is trained with one that is there.
///
/// # Errors
/// A layer's error where one of the nets cannot be built.
pub fn compare(expected: &NetParameter, found: &NetParameter) -> Result<Vec<Difference>> {
    let mut rows = Vec::new();
    let found_net = filtered(found)?;
    let is_input = |l: &LayerParameter| layers::of(l).is_ok_and(|k| k.role == Role::Input);
    let theirs: Vec<&LayerParameter> = found_net.layer.iter().filter(|l| !is_input(l)).collect();
    let mut met = vec![false; theirs.len()];
    for layer in expected.layer.iter().filter(|l| !is_input(l)) {
        let same_name = |l: &LayerParameter| l.name() == layer.name();
        // An answer may have any name: what it reads tells it.
        let same_work =
            |l: &LayerParameter| l.r#type() == layer.r#type() && l.bottom == layer.bottom;
        // Of several of one name each is met once, in their order.
        let free = |fits: &dyn Fn(&LayerParameter) -> bool| {
            (0..theirs.len()).find(|&i| !met[i] && fits(theirs[i]))
        };
        let at = free(&same_name).or_else(|| free(&same_work));
        let Some(at) = at else {
            if !IDLE.contains(&layer.r#type()) {
                rows.push(row(layer.name(), "layer", layer.r#type(), ""));
            }
            continue;
        };
        met[at] = true;
        let renamed = !same_name(theirs[at]);
        options(layer, theirs[at], renamed, &mut rows);
    }
    for (layer, _) in theirs.iter().zip(&met).filter(|(_, met)| !**met) {
        if !IDLE.contains(&layer.r#type()) {
            rows.push(row(layer.name(), "layer", "", layer.r#type()));
        }
    }
    shapes(expected, found, &mut rows)?;
    Ok(rows)
}

fn row(layer: &str, what: &str, expected: &str, found: &str) -> Difference {
    Difference {
        layer: layer.to_owned(),
        what: what.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}

fn filtered(net: &NetParameter) -> Result<NetParameter> {
    let mut net = net.clone();
    let over = NetState {
        phase: Some(Phase::Test.into()),
        ..NetState::default()
    };
    net.state = Some(graph::state_of(&net, Phase::Test, Some(&over)));
    Ok(graph::filter(&net)?.0)
}

/// What a layer's message says, by path.
fn said(layer: &LayerParameter) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut path: Vec<String> = Vec::new();
    for line in print("LayerParameter", layer).lines() {
        let line = line.trim();
        if let Some(name) = line.strip_suffix(" {") {
            path.push(name.to_owned());
        } else if line == "}" {
            path.pop();
        } else if let Some((name, value)) = line.split_once(": ") {
            let ignored = path.iter().map(String::as_str).chain([name]);
            if ignored.into_iter().any(|part| TRAINING.contains(&part)) {
                continue;
            }
            let key = [&path[..], &[name.to_owned()]].concat().join(".");
            // Several of one name stand side by side.
            all.entry(key)
                .and_modify(|old: &mut String| *old = format!("{old} {value}"))
                .or_insert_with(|| value.to_owned());
        }
    }
    all
}

fn options(a: &LayerParameter, b: &LayerParameter, renamed: bool, rows: &mut Vec<Difference>) {
    let (ours, theirs) = (said(a), said(b));
    for key in ours
        .keys()
        .chain(theirs.keys().filter(|k| !ours.contains_key(*k)))
    {
        if renamed && matches!(key.as_str(), "name" | "top") {
            continue;
        }
        let value = |all: &BTreeMap<String, String>| all.get(key).cloned().unwrap_or_default();
        let (expected, found) = (value(&ours), value(&theirs));
        if expected != found {
            rows.push(row(a.name(), key, &expected, &found));
        }
    }
}

/// Shapes of inputs but for their batch, and of parameters.
fn shapes(expected: &NetParameter, found: &NetParameter, rows: &mut Vec<Difference>) -> Result<()> {
    let build = |net: &NetParameter| -> Result<(Built, Params)> {
        let mut net = net.clone();
        let over = NetState {
            phase: Some(Phase::Test.into()),
            ..NetState::default()
        };
        net.state = Some(graph::state_of(&net, Phase::Test, Some(&over)));
        let mut params = Params::new();
        // Nobody runs it: no filler need.
        let options = BuildOptions {
            brought: Some(&|_, _| true),
            ..BuildOptions::default()
        };
        let built = graph::build(&net, &mut params, &options)?;
        Ok((built, params))
    };
    let ((a, a_params), (b, b_params)) = (build(expected)?, build(found)?);
    let inputs = |built: &Built| -> BTreeMap<String, Vec<usize>> {
        let nodes = built
            .graph
            .nodes
            .iter()
            .filter(|n| n.kind.role == Role::Input);
        nodes
            .flat_map(|n| &n.tops)
            .map(|&t| built.graph.value(t))
            .map(|v| {
                (
                    v.name.to_string(),
                    v.shape.dims().get(1..).unwrap_or_default().to_vec(),
                )
            })
            .collect()
    };
    let (ours, theirs) = (inputs(&a), inputs(&b));
    for name in ours
        .keys()
        .chain(theirs.keys().filter(|k| !ours.contains_key(*k)))
    {
        let tell = |all: &BTreeMap<String, Vec<usize>>| {
            all.get(name)
                .map_or_else(String::new, |dims| format!("{dims:?}"))
        };
        if ours.get(name) != theirs.get(name) {
            rows.push(row(name, "input, one item", &tell(&ours), &tell(&theirs)));
        }
    }
    for node in a.graph.nodes.iter().filter(|n| !n.params.is_empty()) {
        let Some(other) = b.graph.nodes.iter().find(|n| n.name == node.name) else {
            continue;
        };
        for i in 0..node.params.len().max(other.params.len()) {
            let shape = |params: &Params, ids: &[crate::params::ParamId]| {
                let id = ids.get(i);
                id.map_or_else(String::new, |&id| params[id].value.shape.to_string())
            };
            let (expected, found) = (
                shape(&a_params, &node.params),
                shape(&b_params, &other.params),
            );
            if expected != found {
                rows.push(row(
                    &node.name,
                    &format!("shape of parameter {i}"),
                    &expected,
                    &found,
                ));
            }
        }
    }
    Ok(())
}

/// What the data layers of a net in TEST do to their data before the net sees them, in words: what whoever feeds the net
/// that is deployed has to do.
///
/// # Errors
/// `Graph` where rules of inclusion contradict each other.
pub fn preparation(net: &NetParameter) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for layer in &filtered(net)?.layer {
        if !layers::of(layer).is_ok_and(|k| k.role == Role::Data) {
            continue;
        }
        let Some(top) = layer.top.first() else {
            continue;
        };
        let transform = layer.transform_param.clone().unwrap_or_default();
        let steps = steps(layer, &transform);
        if !steps.is_empty() {
            all.push(format!("'{top}' is fed {}", steps.join(", then ")));
        }
    }
    Ok(all)
}

fn steps(layer: &LayerParameter, t: &TransformationParameter) -> Vec<String> {
    let mut steps = Vec::new();
    let mut push = |text: String| steps.push(text);
    if let Some(resize) = &t.resize_param
        && resize.height() > 0
    {
        push(format!("resized to {}x{}", resize.height(), resize.width()));
    }
    if let Some(p) = &layer.image_data_param
        && p.new_height() > 0
    {
        push(format!("resized to {}x{}", p.new_height(), p.new_width()));
    }
    if t.force_gray() {
        push("as gray".to_owned());
    } else if t.force_color() {
        push("in colour".to_owned());
    }
    if t.crop_size() > 0 {
        push(format!("cut to its middle {0}x{0}", t.crop_size()));
    }
    if let Some(file) = &t.mean_file {
        push(format!("less the mean of {file}"));
    }
    if !t.mean_value.is_empty() {
        let values: Vec<String> = t.mean_value.iter().map(f32::to_string).collect();
        push(format!("less {}", values.join(", ")));
    }
    if t.scale() != 1.0 {
        push(format!("times {}", t.scale()));
    }
    steps
}
