//! The solver's file.

use super::Rule;
use crate::{
    check::{
        finding::{Edit, Finding},
        kinds, samples,
        subject::{Subject, edit, whole_lines},
        view::{View, batch},
    },
    events::Severity,
    load::SolverFile,
    nearest::nearest,
    number::general,
    schema::{Phase, SolverParameter, loss_parameter::NormalizationMode},
    text::Span,
};

pub(super) const POLICY: Rule = Rule {
    code: "N080",
    severity: Severity::Error,
    title: "an lr_policy without the fields that it needs",
    reason: "Each policy is a formula of some fields: step needs gamma and stepsize, exp gamma, inv gamma and power, multistep \
             gamma and stepvalue, poly power and max_iter, sigmoid gamma and stepsize. Caffe takes a missing one as 0 without \
             a word: the rate drops to 0 at once, or becomes nan, as with poly and no max_iter.",
    fix: "Set the fields of the policy, or lr_policy: \"fixed\".",
    wrong: r#"net: "net.prototxt" base_lr: 0.01 lr_policy: "step" gamma: 0.1 max_iter: 100 snapshot_prefix: "s""#,
    right: r#"net: "net.prototxt" base_lr: 0.01 lr_policy: "step" gamma: 0.1 stepsize: 50 max_iter: 100 snapshot_prefix: "s""#,
    run: policy,
};

pub(super) const NEVER_REACHED: Rule = Rule {
    code: "N081",
    severity: Severity::Warning,
    title: "a step of the rate that is never reached",
    reason: "A stepsize or stepvalue behind max_iter lies outside of the training; stepvalues that do not grow are passed \
             over. The rate stays where it is, and the last, finest part of training is missing.",
    fix: "Put the steps before max_iter, in growing order; the last at two thirds or so.",
    wrong: r#"net: "net.prototxt" base_lr: 0.01 lr_policy: "step" gamma: 0.1 stepsize: 500 max_iter: 100 snapshot_prefix: "s""#,
    right: r#"net: "net.prototxt" base_lr: 0.01 lr_policy: "step" gamma: 0.1 stepsize: 50 max_iter: 100 snapshot_prefix: "s""#,
    run: never_reached,
};

pub(super) const TEST_SIZE: Rule = Rule {
    code: "N082",
    severity: Severity::Warning,
    title: "a test that is not the test set, once",
    reason: "A test runs test_iter batches. Fewer than the database holds leave records out, always the same ones; more count \
             some twice. Scores of two runs with other batch sizes are then scores of other sets.",
    fix: "Set test_iter to the records of the test database, divided by batch_size and rounded up.",
    wrong: r#"net: "net.prototxt" test_iter: 50 test_interval: 10 base_lr: 0.01 lr_policy: "fixed" max_iter: 100 snapshot_prefix: "s""#,
    right: r#"net: "net.prototxt" test_iter: 2 test_interval: 10 base_lr: 0.01 lr_policy: "fixed" max_iter: 100 snapshot_prefix: "s""#,
    run: test_size,
};

pub(super) const MOMENTUM: Rule = Rule {
    code: "N083",
    severity: Severity::Error,
    title: "momentum for a solver that has none",
    reason: "AdaGrad and RMSProp have no momentum, and refuse a file that sets one: Caffe stops with a failed check.",
    fix: "Remove momentum (--fix does), or take type: \"Adam\", which has one.",
    wrong: r#"net: "net.prototxt" type: "RMSProp" momentum: 0.9 base_lr: 0.001 lr_policy: "fixed" max_iter: 100 snapshot_prefix: "s""#,
    right: r#"net: "net.prototxt" type: "RMSProp" base_lr: 0.001 lr_policy: "fixed" max_iter: 100 snapshot_prefix: "s""#,
    run: momentum,
};

pub(super) const NO_MOMENTUM: Rule = Rule {
    code: "N084",
    severity: Severity::Warning,
    title: "a solver that needs momentum, without it",
    reason: "momentum is beta1 of Adam and the memory of AdaDelta and Nesterov. Where the file does not set it, it is 0, not the \
             0.9 or 0.95 of the papers: Adam then follows each batch alone, AdaDelta forgets everything at each step, and \
             Nesterov is plain SGD.",
    fix: "Set momentum: 0.9 (Adam, Nesterov) or momentum: 0.95 (AdaDelta).",
    wrong: r#"net: "net.prototxt" type: "Adam" base_lr: 0.001 lr_policy: "fixed" max_iter: 100 snapshot_prefix: "s""#,
    right: r#"net: "net.prototxt" type: "Adam" momentum: 0.9 base_lr: 0.001 lr_policy: "fixed" max_iter: 100 snapshot_prefix: "s""#,
    run: no_momentum,
};

pub(super) const RATE: Rule = Rule {
    code: "N085",
    severity: Severity::Warning,
    title: "a rate out of line with the loss's normalization",
    reason: "With normalize: false, or normalization: NONE or BATCH_SIZE, the loss of a map is the sum over its cells: gradients \
             are as many times larger, and FCN trains with a rate of 1e-10. By default the loss is the mean over the cells, and \
             the same rate does nothing. A file copied from one kind to the other diverges, or stands still.",
    fix: "For a mean over cells take a base_lr of 0.001 to 0.1; for a sum, divide that by the number of cells.",
    wrong: r#"net: "map.prototxt" base_lr: 1e-10 lr_policy: "fixed" momentum: 0.9 max_iter: 100 snapshot_prefix: "s""#,
    right: r#"net: "map.prototxt" base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 max_iter: 100 snapshot_prefix: "s""#,
    run: rate,
};

pub(super) const IDLE_FIELDS: Rule = Rule {
    code: "N086",
    severity: Severity::Note,
    title: "fields of the solver that this policy or type does not read",
    reason: "gamma, power, stepsize and stepvalue belong to some policies, rms_decay and momentum2 to some types. Elsewhere they \
             are read and ignored: what they were to do does not happen.",
    fix: "Remove the field, or take the lr_policy or type that reads it.",
    wrong: r#"net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" stepsize: 50 gamma: 0.1 max_iter: 100 snapshot_prefix: "s""#,
    right: r#"net: "net.prototxt" base_lr: 0.01 lr_policy: "step" stepsize: 50 gamma: 0.1 max_iter: 100 snapshot_prefix: "s""#,
    run: idle_fields,
};

pub(super) const NO_START: Rule = Rule {
    code: "N087",
    severity: Severity::Error,
    title: "a solver that cannot start, or does nothing",
    reason: "A solver needs a net, a rate, an end, and for its tests how long and how often. What is missing is 0, and with \
             max_iter: 0 or base_lr: 0 nothing is learned.",
    fix: "Set the field that the message names.",
    wrong: r#"net: "net.prototxt" test_iter: 2 base_lr: 0.01 lr_policy: "fixed" max_iter: 100 snapshot_prefix: "s""#,
    right: r#"net: "net.prototxt" test_iter: 2 test_interval: 10 base_lr: 0.01 lr_policy: "fixed" max_iter: 100 snapshot_prefix: "s""#,
    run: no_start,
};

/// Policies, the fields that each needs, and those that it reads besides.
const POLICIES: &[(&str, &[&str])] = &[
    ("fixed", &[]),
    ("step", &["gamma", "stepsize"]),
    ("exp", &["gamma"]),
    ("inv", &["gamma", "power"]),
    ("multistep", &["gamma", "stepvalue"]),
    ("poly", &["power"]),
    ("sigmoid", &["gamma", "stepsize"]),
    ("plateau", &["gamma", "plateau_winsize"]),
    ("multifixed", &["stagelr", "stageiter"]),
];

/// Whether a field of the rate's formulas is set.
fn is_set(param: &SolverParameter, field: &str) -> bool {
    match field {
        "gamma" => param.gamma.is_some(),
        "power" => param.power.is_some(),
        "stepsize" => param.stepsize.is_some(),
        "stepvalue" => !param.stepvalue.is_empty(),
        "plateau_winsize" => !param.plateau_winsize.is_empty(),
        "stagelr" => !param.stagelr.is_empty(),
        "stageiter" => !param.stageiter.is_empty(),
        _ => false,
    }
}

fn policy(subject: &Subject<'_>) -> Vec<Finding> {
    let Some(solver) = subject.solver else {
        return Vec::new();
    };
    let param = &solver.param;
    let name = param.lr_policy();
    let place = solver.place("lr_policy").or_else(|| whole(solver));
    let names = || POLICIES.iter().map(|&(name, _)| name);
    let Some((_, needs)) = POLICIES.iter().find(|(known, _)| *known == name) else {
        let finding = match name {
            "" => POLICY.finds("lr_policy is missing"),
            other => POLICY.finds(format!("there is no lr_policy \"{other}\"")),
        };
        let help = match nearest(name, names()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("take one of {}", names().collect::<Vec<_>>().join(", ")),
        };
        return vec![finding.at(place).help(help)];
    };
    let missing: Vec<&str> = needs
        .iter()
        .copied()
        .filter(|f| !is_set(param, f))
        .collect();
    if missing.is_empty() {
        return Vec::new();
    }
    vec![
        POLICY
            .finds(format!(
                "lr_policy \"{name}\" needs {}, which is not set",
                missing.join(" and ")
            ))
            .at(place)
            .help(match missing[..] {
                ["stepsize"] => format!(
                    "set stepsize, to {} for instance",
                    (param.max_iter() / 3).max(1)
                ),
                _ => format!(
                    "set {}, or take lr_policy: \"fixed\"",
                    missing.join(" and ")
                ),
            }),
    ]
}

/// The start of the file, for what it does not say.
fn whole(solver: &SolverFile) -> Option<crate::error::Place> {
    let first = solver.document().root.fields.first()?;
    Some(solver.document().place_of(first.name_span))
}

fn never_reached(subject: &Subject<'_>) -> Vec<Finding> {
    let Some(solver) = subject.solver else {
        return Vec::new();
    };
    let param = &solver.param;
    let max = param.max_iter();
    let mut found = Vec::new();
    let step = param.lr_policy() == "step" && max > 0;
    if let Some(size) = param.stepsize.filter(|&s| step && s > max) {
        found.push(
            NEVER_REACHED
                .finds(format!(
                    "the first step comes after {size} iterations, and training ends at {max}"
                ))
                .at(solver.place("stepsize"))
                .help(format!("set stepsize: {} for two steps", (max / 3).max(1))),
        );
    }
    if param.lr_policy() == "multistep" {
        // One at the very end is a habit that does no harm.
        let late = param.stepvalue.iter().position(|&s| max > 0 && s > max);
        if let Some(at) = late {
            found.push(
                NEVER_REACHED
                    .finds(format!(
                        "the step at {} is never reached: training ends at {max}",
                        param.stepvalue[at]
                    ))
                    .at(solver.place(&format!("stepvalue[{at}]")))
                    .help("put it before max_iter, or remove it"),
            );
        }
        if let Some(at) = param.stepvalue.windows(2).position(|w| w[1] <= w[0]) {
            found.push(
                NEVER_REACHED
                    .finds(format!(
                        "the step at {} comes after that at {}",
                        param.stepvalue[at + 1],
                        param.stepvalue[at]
                    ))
                    .at(solver.place(&format!("stepvalue[{}]", at + 1)))
                    .help("write the steps in growing order"),
            );
        }
    }
    found
}

fn test_size(subject: &Subject<'_>) -> Vec<Finding> {
    let Some(solver) = subject.solver else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let tests = subject.views.iter().filter(|v| v.phase == Phase::Test);
    for (at, (view, &iterations)) in tests.zip(&solver.param.test_iter).enumerate() {
        let source = view
            .nodes
            .iter()
            .map(|n| n.layer)
            .find(|l| kinds::brings_records(l.r#type()));
        let Some((layer, records)) =
            source.and_then(|l| Some((l, samples::count(l, &subject.root)?)))
        else {
            continue;
        };
        let size = batch(layer);
        let Ok(iterations) = u64::try_from(iterations) else {
            continue;
        };
        if size == 0 || iterations == 0 {
            continue;
        }
        let (read, right) = (iterations.saturating_mul(size), records.div_ceil(size));
        if iterations == right || records == 0 {
            continue;
        }
        let what = if read < records {
            format!("{} are never tested", records - read)
        } else {
            format!("some count {} times", read.div_ceil(records))
        };
        found.push(
            TEST_SIZE
                .finds(format!(
                    "a test reads {iterations} x {size} = {read} of {records} records: {what}"
                ))
                .at(solver.place(&format!("test_iter[{at}]")))
                .also(
                    "its batches come from here",
                    view.nodes
                        .iter()
                        .position(|n| std::ptr::eq(n.layer, layer))
                        .and_then(|n| view.place(n, None)),
                )
                .help(format!("set test_iter: {right}")),
        );
    }
    found
}

/// Takes a field out of the solver's file.
fn without(solver: &SolverFile, field: &str) -> Vec<Edit> {
    let document = solver.document();
    let Some((name, value)) = document.root.values(field).next() else {
        return Vec::new();
    };
    let span = Span {
        start: name.name_span.start,
        end: value.span().end,
    };
    let text = document.source().text();
    let mut wide = whole_lines(text, span);
    let rest = text.get(span.end..).unwrap_or_default();
    if wide == span && rest.starts_with(' ') {
        wide.end += 1;
    }
    vec![edit(&solver.path, wide, "")]
}

fn momentum(subject: &Subject<'_>) -> Vec<Finding> {
    let Some(solver) = subject.solver else {
        return Vec::new();
    };
    let (kind, momentum) = (solver.param.r#type(), solver.param.momentum());
    if momentum == 0.0 || !matches!(kind, "AdaGrad" | "RMSProp") {
        return Vec::new();
    }
    vec![
        MOMENTUM
            .finds(format!(
                "{kind} has no momentum, and the file sets {}",
                general(momentum.into(), 6)
            ))
            .at(solver.place("momentum"))
            .also("the type is told here", solver.place("type"))
            .help("remove momentum, or take type: \"Adam\"")
            .edits(without(solver, "momentum")),
    ]
}

fn no_momentum(subject: &Subject<'_>) -> Vec<Finding> {
    let Some(solver) = subject.solver else {
        return Vec::new();
    };
    let kind = solver.param.r#type();
    let (what, usual) = match kind {
        "Adam" => ("beta1, the memory of the gradient,", "0.9"),
        "Nesterov" => ("its momentum", "0.9"),
        "AdaDelta" => ("its memory", "0.95"),
        _ => return Vec::new(),
    };
    if solver.param.momentum.is_some() {
        return Vec::new();
    }
    vec![
        NO_MOMENTUM
            .finds(format!("{kind} without momentum: {what} is 0"))
            .at(solver
                .place("type")
                .or_else(|| solver.place("solver_type"))
                .or_else(|| whole(solver)))
            .help(format!("set momentum: {usual}")),
    ]
}

/// Cells that the loss of a node sums over instead of taking their mean; `None` where it takes the mean, or where it cannot
/// be told how many there are.
fn summed(view: &View<'_>, node: usize) -> Option<f64> {
    let this = &view.nodes[node];
    let param = this.layer.loss_param.clone().unwrap_or_default();
    let by_default = match this.layer.r#type() {
        "SoftmaxWithLoss" => NormalizationMode::Valid,
        "SigmoidCrossEntropyLoss" => NormalizationMode::BatchSize,
        _ => return None,
    };
    let mode = match (param.normalization, param.normalize) {
        (Some(_), _) => param.normalization(),
        (None, Some(true)) => NormalizationMode::Valid,
        (None, Some(false)) => NormalizationMode::BatchSize,
        (None, None) => by_default,
    };
    let shape = view.bottom(node, 0)?.shape.as_ref()?;
    let items = shape.legacy(0) as f64;
    let softmax = this.layer.r#type() == "SoftmaxWithLoss";
    let inner: usize = shape
        .dims()
        .iter()
        .skip(if softmax { 2 } else { 1 })
        .product();
    match mode {
        NormalizationMode::BatchSize => Some(inner as f64),
        NormalizationMode::None => Some(items * inner as f64),
        _ => Some(1.0),
    }
}

fn rate(subject: &Subject<'_>) -> Vec<Finding> {
    let (Some(solver), Some(view)) = (subject.solver, subject.training()) else {
        return Vec::new();
    };
    let param = &solver.param;
    let base = f64::from(param.base_lr());
    // Adaptive types take the size of gradients out.
    if !matches!(param.r#type(), "SGD" | "Nesterov") || base <= 0.0 {
        return Vec::new();
    }
    let certain = |n: usize| view.certain(n, 0).is_some();
    let losses: Vec<(usize, f64)> = (0..view.nodes.len())
        .filter(|&n| view.is_loss(n) && certain(n))
        .filter_map(|n| Some((n, summed(view, n)?)))
        .collect();
    let weight = |n: usize| {
        f64::from(
            view.nodes[n]
                .layer
                .loss_weight
                .first()
                .copied()
                .unwrap_or(1.0),
        )
    };
    let mut found = Vec::new();
    for &(node, cells) in &losses {
        let name = view.nodes[node].layer.name();
        let effective = base * cells * weight(node);
        let (written, all) = (general(base, 4), losses.len() == 1);
        let finding = if cells > 1.0 && effective > 10.0 {
            RATE.finds(format!(
                "base_lr {written} is too large for '{name}', which sums over {cells} cells: it acts like {}",
                general(effective, 2)
            ))
            .help(format!(
                "set base_lr: {} or so, or let the loss be a mean: loss_param {{ normalization: VALID }}",
                general(0.01 / cells, 1)
            ))
        } else if cells == 1.0 && effective < 1e-6 && all {
            RATE.finds(format!("base_lr {written} is too small for '{name}', which is a mean over its cells: weights hardly move"))
                .help("set base_lr: 0.01 or so; rates like 1e-10 belong to losses that are sums, with normalize: false")
        } else {
            continue;
        };
        found.push(
            finding
                .at(solver.place("base_lr"))
                .also("the loss", view.place(node, None)),
        );
    }
    found
}

fn idle_fields(subject: &Subject<'_>) -> Vec<Finding> {
    let Some(solver) = subject.solver else {
        return Vec::new();
    };
    let param = &solver.param;
    let Some((policy, reads)) = POLICIES
        .iter()
        .find(|(known, _)| *known == param.lr_policy())
    else {
        return Vec::new();
    };
    let mut idle: Vec<(&str, String)> = Vec::new();
    for field in ["gamma", "power", "stepsize", "stepvalue"] {
        if is_set(param, field) && !reads.contains(&field) {
            idle.push((field, format!("lr_policy \"{policy}\"")));
        }
    }
    let kind = param.r#type();
    for (field, set, readers) in [
        ("rms_decay", param.rms_decay.is_some(), "RMSProp"),
        ("momentum2", param.momentum2.is_some(), "Adam"),
    ] {
        if set && kind != readers {
            idle.push((field, format!("type \"{kind}\"")));
        }
    }
    let Some((first, reader)) = idle.first() else {
        return Vec::new();
    };
    let same: Vec<&str> = idle
        .iter()
        .filter(|(_, r)| r == reader)
        .map(|(f, _)| *f)
        .collect();
    let verb = if same.len() == 1 { "is" } else { "are" };
    vec![
        IDLE_FIELDS
            .finds(format!(
                "{} {verb} not read under {reader}",
                same.join(" and ")
            ))
            .at(solver.place(first))
            .help("remove what is not read, or take the policy or type that reads it"),
    ]
}

fn no_start(subject: &Subject<'_>) -> Vec<Finding> {
    let Some(solver) = subject.solver else {
        return Vec::new();
    };
    let param = &solver.param;
    let mut found = Vec::new();
    let mut missing = |field: &str, message: String, help: String| {
        let place = solver.place(field).or_else(|| whole(solver));
        found.push(NO_START.finds(message).at(place).help(help));
    };
    let nets = [
        param.net.is_some(),
        param.train_net.is_some(),
        param.net_param.is_some(),
        param.train_net_param.is_some(),
    ];
    match nets.iter().filter(|&&n| n).count() {
        0 => missing(
            "net",
            "the solver names no net to train".into(),
            "set net: \"train_val.prototxt\"".into(),
        ),
        1 => {}
        n => missing(
            "train_net",
            format!("the solver names {n} nets to train"),
            "keep one of net, train_net, net_param, train_net_param".into(),
        ),
    }
    let own = param.test_net.len() + param.test_net_param.len();
    if (!param.test_iter.is_empty() || own > 0) && param.test_interval() <= 0 {
        missing(
            "test_iter",
            "there are tests, but test_interval does not say how often".into(),
            "set test_interval: 500, or as often as is wanted".into(),
        );
    }
    if own > param.test_iter.len() {
        missing(
            "test_net",
            format!(
                "{own} nets to test, and test_iter is given {} times",
                param.test_iter.len()
            ),
            "give test_iter once for each".into(),
        );
    }
    // With tests it is a way to score a model: one test, and the end.
    if param.max_iter() <= 0 && param.test_iter.is_empty() {
        missing(
            "max_iter",
            "max_iter is 0: training ends before it begins".into(),
            "set max_iter".into(),
        );
    }
    if param.base_lr() == 0.0 && param.lr_policy() != "multifixed" {
        missing(
            "base_lr",
            "base_lr is 0: no weight changes".into(),
            "set base_lr".into(),
        );
    }
    found
}
