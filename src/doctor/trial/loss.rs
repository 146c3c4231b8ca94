//! What the loss of the first iterations says.

use super::{Case, Found, Run, path};
use crate::{
    doctor::{
        finding::Finding,
        table::short,
        wiring::{CLASS_LOSSES, axis},
    },
    events::Severity,
    graph::{Graph, Node},
    number::g,
    solver::Solver,
};

/// −ln of the smallest number that a softmax loss takes: 2⁻¹²⁶.
const CAP: f64 = 87.336_54;
/// A loss at this share of the cap, or above, is made of it.
const CAPPED: f64 = 0.25;
/// The loss has stayed where it was if it moved by less than this share.
const STILL: f64 = 0.005;
/// Fewer iterations say nothing about it.
const LEAST: usize = 10;
/// Times the first loss, or more: it has grown.
const GROWN: f64 = 2.0;

/// The one loss of a net: its layer, and the number of its classes.
fn softmax(graph: &Graph) -> Option<(&Node, usize)> {
    let mut weighted = graph
        .nodes
        .iter()
        .filter(|n| n.loss_weights.iter().any(|&w| w != 0.0));
    let node = weighted.next()?;
    let plain = CLASS_LOSSES.contains(&node.kind.name) && node.kind.name.starts_with("Softmax");
    if !plain || weighted.next().is_some() || node.loss_weights.first() != Some(&1.0) {
        return None;
    }
    let shape = &graph.value(*node.bottoms.first()?).shape;
    let at = shape.axis(axis(&node.def.param)).ok()?;
    Some((node, shape.dims()[at]))
}

pub(super) fn judge(case: &Case<'_>, solver: &Solver, run: &Run, found: &mut Found) {
    let Some((first, last)) = run.ends() else {
        return;
    };
    let count = run.losses.len();
    let softmax = softmax(solver.net.graph());
    if let Some((node, _)) = softmax
        && (CAPPED * CAP..CAP * 1.001).contains(&last)
    {
        found.findings.push(
            Finding::new(
                "D031",
                format!(
                    "the loss '{}' is {}: 87.3365 is -ln of the smallest number that softmax keeps, what a sample counts whose true class has probability 0; that holds for about {:.0} % here",
                    node.name,
                    short(last),
                    (last / CAP * 100.0).min(100.0)
                ),
            )
            .help("the scores have run away: subtract the mean and set scale, or lower base_lr ten times"),
        );
    }
    let grown = last > GROWN * first && last > first + 1e-3;
    if run.diverged.is_none() && grown && count >= 4 {
        found.findings.push(
            Finding::new(
                "D041",
                format!(
                    "the loss rises from {} to {} in {count} iterations: base_lr {} is too high",
                    short(first),
                    short(last),
                    g(case.param.base_lr())
                ),
            )
            .help(format!("set base_lr: {}", g(case.param.base_lr() / 10.0))),
        );
    }
    if let Some((node, classes)) = softmax
        && count >= LEAST
        && classes > 1
        && !case.trained()
    {
        still(node, classes, solver.net.graph(), run, (first, last), found);
    }
}

/// A loss that stays at ln(classes).
fn still(
    node: &Node,
    classes: usize,
    graph: &Graph,
    run: &Run,
    (first, last): (f64, f64),
    found: &mut Found,
) {
    let guess = (classes as f64).ln();
    let at_guess = |loss: f64| (loss - guess).abs() < STILL * guess;
    if !at_guess(first) || !at_guess(last) {
        return;
    }
    let scores = path::bottom(graph, node).unwrap_or_default();
    let mut blobs = run.last.iter().flat_map(|layer| &layer.blobs);
    let deviation = blobs
        .rfind(|blob| blob.name == scores)
        .map_or(0.0, |blob| blob.deviation);
    let same = deviation < 0.05;
    let why = if same {
        format!(
            "; '{scores}' says nearly the same of every sample (deviation {})",
            short(deviation)
        )
    } else {
        String::new()
    };
    let finding = Finding::new(
        "D040",
        format!(
            "after {} iterations the loss is {}, still ln({classes}) = {}, that of guessing{why}",
            run.losses.len(),
            short(last),
            short(guess)
        ),
    );
    found.findings.push(
        finding
            .with_severity(if same { Severity::Warning } else { Severity::Note })
            .help("see what is said of vanishing activations and of the rate; if nothing is, look whether labels belong to their pictures"),
    );
}
