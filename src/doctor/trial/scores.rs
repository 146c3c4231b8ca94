//! What the scores say: how often they are right, against always saying the same; and which channels are alike.

use super::{Case, Found, Run, path};
use crate::{
    doctor::{
        finding::Finding,
        table::{Table, indices, percent, short},
        wiring::{CLASS_LOSSES, CLASS_METRICS, axis, ignored},
    },
    error::Result,
    events::Severity,
    graph::{Graph, Node},
    metrics::{ChannelStats, ConfusionMatrix, argmax},
    net::Net,
    params::Params,
    solver::Solver,
};

/// More channels are not held against each other.
const MOST_CHANNELS: usize = 32;
/// More classes make no matrix.
const MOST_CLASSES: usize = 1 << 11;
/// Channels that are equal in so many pixels say the same.
const EQUAL: f64 = 0.99;
/// Or that go together so much.
const TOGETHER: f64 = 0.99;
/// A channel that is 0 in so many pixels was cut off.
const CUT: f64 = 0.9;
/// So much of the way from the constant answer to the perfect one is hardly any.
const LITTLE: f64 = 0.2;

/// Scores and labels of one loss, summed over some passes.
struct Head {
    /// The layer that reads them.
    layer: String,
    scores: String,
    label: String,
    axis: i32,
    ignore: Vec<i64>,
    confusion: ConfusionMatrix,
    channels: Option<ChannelStats>,
    /// Pixels in which two channels are equal to the bit, row by row.
    equal: Vec<u64>,
    pixels: u64,
}

impl Head {
    /// Every blob of scores with labels; losses before measurements, each blob once.
    fn all(graph: &Graph) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        for kinds in [CLASS_LOSSES, CLASS_METRICS] {
            for node in graph.nodes.iter().filter(|n| kinds.contains(&n.kind.name)) {
                let [scores, label, ..] = node.bottoms[..] else {
                    continue;
                };
                let [scores, label] = [scores, label].map(|id| path::source(graph, id));
                let value = graph.value(scores);
                let name = value.name.to_string();
                let axis = axis(&node.def.param);
                let classes = value.shape.axis(axis).ok().map(|at| value.shape.dims()[at]);
                let Some(classes) = classes.filter(|&n| n > 1 && n <= MOST_CLASSES) else {
                    continue;
                };
                if found.iter().any(|head| head.scores == name) {
                    continue;
                }
                let pairs = classes <= MOST_CHANNELS;
                found.push(Self {
                    layer: node.name.to_string(),
                    scores: name,
                    label: graph.value(label).name.to_string(),
                    axis,
                    ignore: ignored(&node.def.param),
                    confusion: ConfusionMatrix::new(classes),
                    channels: pairs.then(|| ChannelStats::new(classes)),
                    equal: vec![0; if pairs { classes * classes } else { 0 }],
                    pixels: 0,
                });
            }
        }
        found
    }

    fn classes(&self) -> usize {
        self.confusion.classes()
    }

    /// Adds what the net holds after a pass.
    fn add(&mut self, net: &Net) {
        let (Some(scores), Some(labels)) = (net.blob(&self.scores), net.blob(&self.label)) else {
            return;
        };
        let Ok(axis) = scores.shape.axis(self.axis) else {
            return;
        };
        let classes = self.classes();
        let (outer, inner) = (
            scores.shape.count_range(0, axis),
            scores.shape.count_from(axis + 1),
        );
        if labels.data.len() != outer * inner || scores.data.len() != outer * classes * inner {
            return;
        }
        let items = scores.data.chunks_exact((classes * inner).max(1));
        for (item, labels) in items.zip(labels.data.chunks_exact(inner.max(1))) {
            if let Some(channels) = &mut self.channels {
                channels.add(item);
            }
            for (pixel, &label) in labels.iter().enumerate() {
                let at = |c: usize| item[c * inner + pixel];
                for a in 0..if self.equal.is_empty() { 0 } else { classes } {
                    for b in a + 1..classes {
                        self.equal[a * classes + b] += u64::from(at(a) == at(b));
                    }
                }
                self.pixels += 1;
                let truth = label as i64;
                if !self.ignore.contains(&truth)
                    && let Ok(truth) = usize::try_from(truth)
                {
                    self.confusion.add(truth, argmax((0..classes).map(at)));
                }
            }
        }
    }

    fn equal_share(&self, a: usize, b: usize) -> f64 {
        let (a, b) = (a.min(b), a.max(b));
        let count = self.equal.get(a * self.classes() + b).copied();
        count.unwrap_or(0) as f64 / self.pixels.max(1) as f64
    }

    /// Channels that go together by `alike`, in groups of two or more.
    fn groups(&self, alike: impl Fn(usize, usize) -> bool) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for c in 0..self.classes() {
            match groups
                .iter_mut()
                .find(|group| group.iter().all(|&g| alike(g, c)))
            {
                Some(group) => group.push(c),
                None => groups.push(vec![c]),
            }
        }
        groups.retain(|group| group.len() > 1);
        groups
    }

    /// The commonest class of the labels, and the accuracy of always saying it.
    fn constant(&self) -> Option<(usize, f64)> {
        let class = (0..self.classes())
            .rev()
            .max_by_key(|&c| self.confusion.of_class(c))?;
        Some((class, self.confusion.accuracy_of_always(class)?))
    }
}

/// Runs some passes of a test, or of the training net where there is no test, and judges the scores.
pub(super) fn examine(
    case: &Case<'_>,
    solver: &mut Solver,
    run: Option<&Run>,
    found: &mut Found,
) -> Result<()> {
    let asked = case.param.test_iter.first().copied().unwrap_or(1);
    let asked = u64::try_from(asked).unwrap_or(1).max(1);
    let (net, phase) = match solver.test_nets.first_mut() {
        Some(net) => (net, "TEST"),
        None => (&mut solver.net, "TRAIN"),
    };
    let mut heads = Head::all(net.graph());
    if heads.is_empty() {
        return Ok(());
    }
    let passes = super::affordable(super::flops(net), 1, 64).min(asked);
    for _ in 0..passes {
        net.forward(&mut solver.params)?;
        for head in &mut heads {
            head.add(net);
        }
    }
    let graph = net.graph();
    for head in &heads {
        let first = found.findings.len();
        alike(case, head, graph, &solver.params, found);
        let shut = found.findings.len() > first;
        constant(case, head, run, shut, found);
        found.tables.push(table(case, head, phase, run));
        let count = if passes == 1 { "batch" } else { "batches" };
        found.looked.push(format!(
            "the scores '{}' on {passes} {phase} {count}",
            head.scores
        ));
    }
    Ok(())
}

/// Channels that say the same.
fn alike(case: &Case<'_>, head: &Head, graph: &Graph, params: &Params, found: &mut Found) {
    let Some(stats) = &head.channels else { return };
    let Some(value) = graph.latest(&head.scores) else {
        return;
    };
    let (between, weights) = path::above(graph, value);
    let name = |node: &Node| format!("'{}' ({})", node.name, node.kind.name);
    for group in head.groups(|a, b| head.equal_share(a, b) >= EQUAL) {
        let pairs = group
            .windows(2)
            .map(|pair| head.equal_share(pair[0], pair[1]));
        let share = pairs.fold(1.0, f64::min);
        let zero = |&c: &usize| stats.zero_share(c).unwrap_or(0.0) >= CUT;
        let cutter = between.iter().find(|n| n.kind.name.contains("ReLU"));
        let what = format!(
            "{} channels {} are equal in {} of the pixels",
            head.scores,
            indices(&group),
            percent(share)
        );
        let zeros = group.iter().all(zero);
        let (why, help, place) = match (cutter, weights) {
            (Some(cut), last) if zeros => (
                format!("because {} cuts their scores to 0", name(cut)),
                format!(
                    "delete the layer {} between {} and '{}', and train again from the start",
                    name(cut),
                    last.map_or_else(
                        || "the last weights".to_owned(),
                        |n| format!("'{}'", n.name)
                    ),
                    head.layer
                ),
                cut.origin.map(case.place),
            ),
            (_, Some(last)) if same_weights(last, &group, params) => (
                format!(
                    "because the weights of {} are the same for each of them",
                    name(last)
                ),
                format!(
                    "give '{}' a weight_filler {{ type: \"xavier\" }}",
                    last.name
                ),
                last.origin.map(case.place),
            ),
            _ if zeros => (
                "because they are 0".to_owned(),
                "see the findings about the layers before".to_owned(),
                None,
            ),
            _ => ("whatever the picture shows".to_owned(), String::new(), None),
        };
        found.findings.push(
            Finding::new("D032", format!("{what}, {why}"))
                .at(place.unwrap_or_default())
                .help(help),
        );
    }
    // At first all scores follow the few features that there are; only trained ones have to differ.
    if !case.trained() {
        return;
    }
    let together = |a: usize, b: usize| {
        head.equal_share(a, b) < EQUAL && stats.correlation(a, b).is_some_and(|r| r > TOGETHER)
    };
    for group in head.groups(together) {
        let least = group.iter().enumerate().flat_map(|(i, &a)| {
            let rest = group[i + 1..].iter();
            rest.filter_map(move |&b| stats.correlation(a, b))
        });
        found.findings.push(
            Finding::new(
                "D032",
                format!(
                    "{} channels {} go up and down together: correlation {} and more",
                    head.scores,
                    indices(&group),
                    short(least.fold(1.0, f64::min))
                ),
            )
            .with_severity(Severity::Warning)
            .help("look at the class balance and at recall of each class; train longer or weight the classes (--class-weights median-frequency)"),
        );
    }
}

/// Whether the weights of these outputs are equal to the bit.
fn same_weights(node: &Node, group: &[usize], params: &Params) -> bool {
    let Some(&id) = node.params.first() else {
        return false;
    };
    let value = &params[id].value;
    let outputs = value.shape.dims().first().copied().unwrap_or(0);
    let Some(each) = value.data.len().checked_div(outputs) else {
        return false;
    };
    let row = |c: usize| value.data.get(c * each..(c + 1) * each);
    let first = group.first().and_then(|&c| row(c));
    node.kind.name != "Deconvolution" && first.is_some() && group.iter().all(|&c| row(c) == first)
}

/// Whether the net is better than always the same answer.
fn constant(case: &Case<'_>, head: &Head, run: Option<&Run>, shut: bool, found: &mut Found) {
    let (Some((class, constant)), Some(accuracy)) = (head.constant(), head.confusion.accuracy())
    else {
        return;
    };
    let gain = (accuracy - constant) / (1.0 - constant).max(1e-9);
    if gain >= LITTLE || constant >= 1.0 {
        return;
    }
    // After a few iterations a healthy net may not know more either.
    if run.is_some() && !shut {
        return;
    }
    let missed: Vec<usize> = (0..head.classes())
        .filter(|&c| head.confusion.recall(c).is_some_and(|r| r < 0.01))
        .collect();
    let lost = match missed.len() {
        0 => String::new(),
        1 => format!("; it never finds class {}", indices(&missed)),
        _ => format!("; it never finds classes {}", indices(&missed)),
    };
    let than = if accuracy < constant {
        "worse than"
    } else {
        "no better than"
    };
    let than = if gain > 0.0 {
        "hardly better than"
    } else {
        than
    };
    let than = if accuracy == constant {
        "no better than"
    } else {
        than
    };
    found.findings.push(
        Finding::new(
            "D033",
            format!(
                "'{}' has an accuracy of {accuracy:.3}, {than} always saying {class}, which scores {constant:.3}{lost}",
                head.scores
            ),
        )
        .help("do not trust accuracy here: read recall and IoU of each class, as 'cortado test' prints them"),
    );
    if let Some(balance) = case.balances.iter().find(|b| b.commonest.1 >= 0.7) {
        found.findings.push(
            Finding::new("D012", balance.words())
                .with_severity(Severity::Warning)
                .at(&balance.source)
                .help("let rare classes count more: train with --class-weights median-frequency"),
        );
    }
}

fn table(case: &Case<'_>, head: &Head, phase: &str, run: Option<&Run>) -> Table {
    let figure = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.2}"));
    let confusion = &head.confusion;
    let rows = (0..head.classes().min(MOST_CHANNELS)).map(|c| {
        let zeros = head.channels.as_ref().and_then(|s| s.zero_share(c));
        vec![
            c.to_string(),
            confusion.of_class(c).to_string(),
            figure(confusion.recall(c)),
            figure(confusion.iou(c)),
            zeros.map_or_else(|| "-".to_owned(), percent),
        ]
    });
    let when = match run {
        _ if case.trained() => "with the weights given".to_owned(),
        Some(run) => format!("after {} iterations", run.losses.len()),
        None => "as it starts".to_owned(),
    };
    let mut notes = Vec::new();
    if let (Some((class, constant)), Some(accuracy)) = (head.constant(), confusion.accuracy()) {
        notes.push(format!(
            "accuracy {accuracy:.3}; always saying {class} scores {constant:.3}"
        ));
        if run.is_some() && accuracy <= constant {
            notes.push(
                "so early that is usual; give --weights to judge a net that is trained".to_owned(),
            );
        }
    }
    Table {
        title: format!("Scores '{}' in {phase}, {when}", head.scores),
        columns: ["class", "labels", "recall", "IoU", "scores that are 0"]
            .map(str::to_owned)
            .to_vec(),
        rows: rows.collect(),
        notes,
    }
}
