//! How the layers look in the first and in the last iteration: values that vanish or grow, gradients that do not arrive,
//! channels that are dead, updates of the wrong size.

use super::{Case, Found, Run, path};
use crate::{
    doctor::{
        finding::Finding,
        table::{Table, indices, percent, short},
    },
    events::Severity,
    graph::{Graph, Node},
    metrics::vitals::{BlobVitals, LayerVitals, ParamVitals},
    params::Params,
    solver::Solver,
};

/// A layer whose values are so much smaller than what it reads makes them vanish.
const VANISH: f64 = 0.01;
/// And one that makes them so much larger lets them explode,
const EXPLODE: f64 = 10.0;
/// if scores deviate by more than this from each other when training starts.
const WIDE: f64 = 10.0;
/// A loss that fell to this share shows that something was learned.
const LEARNED: f64 = 0.8;
/// Updates over weights.
const LARGE: f64 = 0.1;
const SMALL: f64 = 1e-6;
/// Share of dead channels, from which on a layer is told.
const DEAD: f64 = 0.5;
/// Values of a channel that must be 0 before it counts as dead.
const ENOUGH: usize = 64;

/// A layer with how it looked.
struct Looked<'a> {
    node: &'a Node,
    first: &'a LayerVitals,
    last: &'a LayerVitals,
}

pub(super) fn judge(case: &Case<'_>, solver: &Solver, run: &Run, found: &mut Found) {
    let graph = solver.net.graph();
    let nodes = graph.nodes.iter().filter(|n| n.origin.is_some());
    let layers: Vec<Looked<'_>> = nodes
        .zip(run.first.iter().zip(&run.last))
        .map(|(node, (first, last))| Looked { node, first, last })
        .collect();
    if layers.is_empty() {
        return;
    }
    found.tables.push(table(graph, run, &layers));
    let vanished = vanish(case, graph, run, &layers, found);
    explode(case, graph, run, &layers, found);
    if run.losses.len() >= 2 && run.diverged.is_none() {
        no_gradient(case, &solver.params, &layers, found);
        dead(case, graph, &layers, found);
        updates(case, run, &solver.params, &layers, &vanished, found);
    }
}

/// Root of the mean square.
fn size(blob: &BlobVitals) -> f64 {
    blob.mean.hypot(blob.deviation)
}

/// A blob of that name, as the last layer that writes it leaves it.
fn blob<'a>(layers: &'a [LayerVitals], name: &str) -> Option<&'a BlobVitals> {
    layers
        .iter()
        .flat_map(|layer| &layer.blobs)
        .rfind(|blob| blob.name == name)
}

/// What a layer makes of the size of what it reads.
fn growth(
    graph: &Graph,
    all: &[LayerVitals],
    node: &Node,
    own: &LayerVitals,
) -> Option<(f64, f64)> {
    let read = size(blob(all, path::bottom(graph, node)?)?);
    let made = size(own.blobs.first()?);
    (read > 0.0 && read.is_finite() && made.is_finite()).then_some((read, made))
}

/// Layers with weights, the last ones before a loss left out where `but_last`.
fn weighted<'a, 'b>(
    graph: &'a Graph,
    layers: &'b [Looked<'a>],
    but_last: bool,
) -> impl Iterator<Item = &'b Looked<'a>> {
    layers.iter().filter(move |l| {
        path::WEIGHTED.contains(&l.node.kind.name) && !(but_last && is_last(graph, l.node))
    })
}

/// Whether no layer with weights comes behind.
fn is_last(graph: &Graph, node: &Node) -> bool {
    let mut todo = path::behind(graph, node);
    let mut steps = 0;
    while let Some(next) = todo.pop() {
        steps += 1;
        if path::WEIGHTED.contains(&next.kind.name) {
            return false;
        }
        if steps < 10_000 {
            todo.extend(path::behind(graph, next));
        }
    }
    true
}

/// Whether the size of a layer's output is made anew right behind.
fn resized(graph: &Graph, node: &Node) -> bool {
    let next = path::behind(graph, node);
    next.iter().any(|n| path::RESIZING.contains(&n.kind.name))
}

/// Tells layers that make their output vanish and do not get over it; the names of all that start so.
fn vanish(
    case: &Case<'_>,
    graph: &Graph,
    run: &Run,
    layers: &[Looked<'_>],
    found: &mut Found,
) -> Vec<String> {
    let mut names = Vec::new();
    for Looked { node, first, last } in weighted(graph, layers, true) {
        let (Some((read, made)), Some((read_last, made_last))) = (
            growth(graph, &run.first, node, first),
            growth(graph, &run.last, node, last),
        ) else {
            continue;
        };
        let small = made < VANISH * read;
        // A deconvolution spreads few inputs over many outputs.
        if !small || resized(graph, node) || node.kind.name == "Deconvolution" {
            continue;
        }
        names.push(node.name.to_string());
        let learned = run
            .ends()
            .is_some_and(|(first, last)| last < LEARNED * first);
        if learned && made_last >= VANISH * read_last {
            continue;
        }
        let weights = first.params.first();
        let deviation = weights.map_or(0.0, |w| w.deviation);
        let fan = weights.map_or(1, |w| w.shape.iter().skip(1).product::<usize>());
        let usual = (1.0 / fan.max(1) as f64).sqrt();
        let zero = weights.is_some_and(|w| w.norm == 0.0);
        let what = if zero {
            format!("the weights of '{}' are all 0", node.name)
        } else {
            format!(
                "the weights of '{}' have a deviation of {}",
                node.name,
                short(deviation)
            )
        };
        found.findings.push(
            Finding::new(
                "D034",
                format!(
                    "{what}: it makes values of about {} out of {}, {:.0} times smaller; {} would keep their size",
                    short(made),
                    short(read),
                    (read / made.max(1e-30)).min(1e9),
                    short(usual)
                ),
            )
            .at(node.origin.map(case.place).unwrap_or_default())
            .help(format!(
                "write weight_filler {{ type: \"xavier\" }} in '{}', or std: {} for gaussian",
                node.name,
                short(usual)
            )),
        );
    }
    names
}

/// Scores that start far apart, and the layer that made them so.
fn explode(case: &Case<'_>, graph: &Graph, run: &Run, layers: &[Looked<'_>], found: &mut Found) {
    let losses = layers.iter().filter(|l| {
        l.node.kind.name.starts_with("Softmax") || l.node.kind.name == "SigmoidCrossEntropyLoss"
    });
    let widest = losses
        .filter_map(|l| {
            let scores = path::bottom(graph, l.node)?;
            Some((l.node, scores, blob(&run.first, scores)?.deviation))
        })
        .max_by(|a, b| a.2.total_cmp(&b.2));
    let Some((loss, scores, deviation)) = widest.filter(|(.., d)| *d > WIDE && d.is_finite())
    else {
        return;
    };
    if case.trained() {
        return;
    }
    let grown = weighted(graph, layers, false)
        .filter_map(|l| {
            let (read, made) = growth(graph, &run.first, l.node, l.first)?;
            Some((l.node, read, made))
        })
        .max_by(|a, b| (a.2 / a.1).total_cmp(&(b.2 / b.1)));
    let (why, help, place) = match grown {
        Some((node, read, made)) if made > EXPLODE * read => (
            format!(
                "'{}' makes values of about {} out of {}",
                node.name,
                short(made),
                short(read)
            ),
            format!(
                "write weight_filler {{ type: \"xavier\" }} in '{}'",
                node.name
            ),
            node.origin.map(case.place),
        ),
        _ => {
            let input = layers.iter().find(|l| l.node.bottoms.is_empty());
            let input = input.and_then(|l| l.first.blobs.first());
            let large = input.filter(|blob| size(blob) > WIDE);
            match large {
                Some(blob) => (
                    format!(
                        "what goes in, '{}', has values of about {}",
                        blob.name,
                        short(size(blob))
                    ),
                    "subtract the mean and set scale: 0.00390625 in transform_param".to_owned(),
                    None,
                ),
                None => (
                    "values grow from layer to layer".to_owned(),
                    "write weight_filler { type: \"xavier\" } in all layers with weights"
                        .to_owned(),
                    None,
                ),
            }
        }
    };
    found.findings.push(
        Finding::new(
            "D035",
            format!(
                "the scores '{scores}' of '{}' start with a deviation of {}, about 1 is usual: {why}",
                loss.name,
                short(deviation)
            ),
        )
        .at(place.unwrap_or_default())
        .help(help),
    );
}

/// Layers that are to learn and get no gradient.
fn no_gradient(case: &Case<'_>, params: &Params, layers: &[Looked<'_>], found: &mut Found) {
    let none = |l: &&Looked<'_>| {
        let weights = l.last.params.first();
        path::learns(l.node, params) && weights.is_some_and(|w| w.gradient == Some(0.0))
    };
    let without: Vec<&Looked<'_>> = layers.iter().filter(none).collect();
    let Some(nearest) = without.last() else {
        return;
    };
    let names: Vec<String> = without
        .iter()
        .map(|l| format!("'{}'", l.node.name))
        .collect();
    // From the last layer without one on, the first that lets nothing through.
    let mut why = "the loss does not depend on it".to_owned();
    let mut help = "see which layer behind it passes no gradient".to_owned();
    let mut place = None;
    let from = layers
        .iter()
        .position(|l| std::ptr::eq(l.node, nearest.node));
    for l in layers.iter().skip(from.map_or(0, |at| at + 1)) {
        let weights = l.last.params.first();
        if l.node.kind.name.contains("ReLU") && l.last.blobs.first().is_some_and(|b| b.zeros == 1.0)
        {
            why = format!(
                "'{}' ({}) is 0 everywhere and lets none through",
                l.node.name, l.node.kind.name
            );
            help = "lower base_lr, and start with smaller weights or biases of 0".to_owned();
            place = l.node.origin;
            break;
        }
        if path::WEIGHTED.contains(&l.node.kind.name) && weights.is_some_and(|w| w.norm == 0.0) {
            why = format!("the weights of '{}' are all 0", l.node.name);
            help = format!(
                "give '{}' a weight_filler {{ type: \"xavier\" }}",
                l.node.name
            );
            place = l.node.origin;
            break;
        }
    }
    let are = if names.len() == 1 { "gets" } else { "get" };
    found.findings.push(
        Finding::new(
            "D036",
            format!("{} {are} a gradient of exactly 0: {why}", names.join(", ")),
        )
        .at(place
            .or(nearest.node.origin)
            .map(case.place)
            .unwrap_or_default())
        .help(help),
    );
}

/// Activations most of whose channels are 0 for every sample.
fn dead(case: &Case<'_>, graph: &Graph, layers: &[Looked<'_>], found: &mut Found) {
    for l in layers.iter().filter(|l| l.node.kind.name == "ReLU") {
        let Some((blob, &top)) = l.last.blobs.first().zip(l.node.tops.first()) else {
            continue;
        };
        let each = graph
            .value(top)
            .shape
            .count()
            .checked_div(blob.channels)
            .unwrap_or(0);
        let share = blob.dead.len() as f64 / blob.channels.max(1) as f64;
        if blob.channels < 4 || share <= DEAD || each < ENOUGH || is_last(graph, l.node) {
            continue;
        }
        let made = path::before(graph, l.node);
        let by = made.map_or_else(String::new, |n| format!(", which reads '{}',", n.name));
        found.findings.push(
            Finding::new(
                "D037",
                format!(
                    "{} of {} channels of '{}' (ReLU){by} are 0 for every sample of the batch: {}{}",
                    blob.dead.len(),
                    blob.channels,
                    l.node.name,
                    indices(&blob.dead),
                    if share == 1.0 { "; nothing passes" } else { "" },
                ),
            )
            .at(l.node.origin.map(case.place).unwrap_or_default())
            .help(format!(
                "lower base_lr, start with smaller weights, or use relu_param {{ negative_slope: 0.1 }} in '{}'",
                l.node.name
            )),
        );
    }
}

/// Updates against weights.
fn updates(
    case: &Case<'_>,
    run: &Run,
    params: &Params,
    layers: &[Looked<'_>],
    vanished: &[String],
    found: &mut Found,
) {
    let told = |l: &Looked<'_>| -> Option<(String, f64, f64)> {
        let weights: &ParamVitals = l.last.params.first()?;
        let known = path::WEIGHTED.contains(&l.node.kind.name) && path::learns(l.node, params);
        let gradient = weights.gradient.filter(|&g| g > 0.0)?;
        known.then_some(())?;
        Some((l.node.name.to_string(), weights.ratio()?, gradient))
    };
    let of: Vec<(String, f64, f64)> = layers.iter().filter_map(told).collect();
    let names = |of: &[&(String, f64, f64)]| {
        let names: Vec<String> = of.iter().map(|(name, ..)| format!("'{name}'")).collect();
        names.join(", ")
    };
    let large: Vec<_> = of
        .iter()
        .filter(|(name, ratio, _)| *ratio > LARGE && !vanished.contains(name))
        .collect();
    let rate = crate::number::g(case.param.base_lr());
    if let Some(most) = large.iter().map(|(_, ratio, _)| *ratio).reduce(f64::max) {
        found.findings.push(
            Finding::new(
                "D038",
                format!(
                    "one update changes the weights of {} by up to {} of their size; about a thousandth is usual",
                    names(&large),
                    percent(most)
                ),
            )
            .help(format!("lower base_lr ({rate}), or the lr_mult of these layers")),
        );
    }
    // Who has learned already has little left to learn.
    let learned = run
        .ends()
        .is_none_or(|(first, last)| last < LEARNED * first);
    if case.trained() || learned {
        return;
    }
    let small: Vec<_> = of.iter().filter(|(_, ratio, _)| *ratio < SMALL).collect();
    if let Some(least) = small.iter().map(|(_, ratio, _)| *ratio).reduce(f64::min) {
        let all = small.len() == of.len();
        found.findings.push(
            Finding::new(
                "D039",
                format!(
                    "one update changes the weights of {} by {} of their size or less: they stand still",
                    names(&small),
                    short(least.max(1e-12))
                ),
            )
            .with_severity(if all { Severity::Warning } else { Severity::Note })
            .help(if all {
                format!("raise base_lr ({rate})")
            } else {
                "start these layers with larger weights (xavier), or raise their lr_mult".to_owned()
            }),
        );
    }
}

fn table(graph: &Graph, run: &Run, layers: &[Looked<'_>]) -> Table {
    let cell = |value: Option<f64>| value.map_or_else(String::new, short);
    let rows = layers.iter().filter_map(|l| {
        let blob = l.last.blobs.first()?;
        let weights = l.last.params.first();
        let &top = l.node.tops.first()?;
        let shown =
            weights.is_some() || l.node.bottoms.is_empty() || l.node.kind.name.contains("ReLU");
        if !shown {
            return None;
        }
        // A blob that a later layer writes over is that layer's.
        let own = graph.latest(&graph.value(top).name) == Some(top);
        let of = |text: String| if own { text } else { String::new() };
        Some(vec![
            l.node.name.to_string(),
            l.node.kind.name.to_owned(),
            of(short(blob.mean)),
            of(short(blob.deviation)),
            of(percent(blob.zeros)),
            of(match blob.channels {
                0 => "-".to_owned(),
                n => format!("{} of {n}", blob.dead.len()),
            }),
            cell(weights.map(|w| w.norm)),
            cell(weights.and_then(|w| w.gradient)),
            cell(weights.and_then(ParamVitals::ratio)),
        ])
    });
    Table {
        title: format!("Layers in iteration {}", run.losses.len().max(1)),
        columns: [
            "layer",
            "type",
            "mean",
            "deviation",
            "zeros",
            "dead",
            "weights",
            "gradient",
            "update/weight",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: rows.collect(),
        notes: Vec::new(),
    }
}
