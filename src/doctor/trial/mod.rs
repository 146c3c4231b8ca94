//! A few iterations for real: how the layers look, whether anything is learned, what the scores say, and at which rates
//! the net learns at all.

mod diverged;
mod layers;
mod loss;
mod path;
mod rates;
mod scores;

use super::{
    Options,
    data::Balance,
    finding::Finding,
    table::{Table, short},
    wiring::Feed,
};
use crate::{
    error::{Error, ErrorKind, Result},
    events::{Event, Observer, Silent},
    graph::NodeId,
    metrics::vitals::LayerVitals,
    net::{Keep, Net},
    schema::SolverParameter,
    solver::{Action, Solver, SolverOptions},
    watch,
};

/// Floating-point operations of the iterations that are run unless told: some seconds.
const BUDGET: u64 = 300_000_000_000;
/// Iterations below which nothing can be said, and more than which are not needed.
const FEW: u64 = 12;
const MANY: u64 = 60;
/// How many budgets may be spent to get to the few.
const STRETCH: u64 = 10;

/// What the trial found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) findings: Vec<Finding>,
    pub(super) tables: Vec<Table>,
    /// What was looked at, a line each.
    pub(super) looked: Vec<String>,
    /// The loss of each iteration.
    pub(super) losses: Vec<f32>,
    /// Rates of the range test, each with its loss.
    pub(super) rates: Vec<(f32, f32)>,
}

/// What is known when the trial begins.
pub(super) struct Case<'a> {
    pub(super) options: &'a Options,
    pub(super) param: &'a SolverParameter,
    /// The data layers of the training net.
    pub(super) feeds: &'a [Feed],
    pub(super) balances: &'a [Balance],
    /// Where layer `index` of the training net's file is, as `file:line:column`.
    pub(super) place: &'a dyn Fn(usize) -> String,
}

impl Case<'_> {
    /// Whether weights were given that are trained already.
    fn trained(&self) -> bool {
        self.options.weights.is_some() || !self.param.weights.is_empty()
    }
}

/// The message of a solver that only trains: no tests, displays or snapshots on the way.
fn quiet(param: &SolverParameter, options: &Options) -> SolverParameter {
    let mut param = param.clone();
    param.display = Some(0);
    param.snapshot = Some(0);
    param.snapshot_after_train = Some(false);
    param.test_initialization = Some(false);
    param.test_interval = param.test_interval.map(|_| i32::MAX);
    param.average_loss = Some(1);
    param.debug_info = Some(false);
    if let Some(weights) = &options.weights {
        param.weights = vec![weights.display().to_string()];
    }
    param
}

/// The solver, made from a [`quiet`] message.
fn make(param: SolverParameter, options: &Options) -> Result<Solver> {
    let seed = options.seed.or(u64::try_from(param.random_seed()).ok());
    let made = SolverOptions {
        root: options.root.clone(),
        seed: Some(seed.unwrap_or(1)),
        keep: Keep::Named,
        load: options.load,
        ..SolverOptions::default()
    };
    Solver::new(param, made, &mut Silent)
}

/// The solver as it is before its first iteration.
///
/// # Errors
/// Why it cannot be made.
pub(super) fn start(param: &SolverParameter, options: &Options) -> Result<Solver> {
    make(quiet(param, options), options)
}

/// Floating-point operations of one forward pass.
fn flops(net: &Net) -> u64 {
    let nodes = 0..net.graph().nodes.len() as u32;
    nodes.map(|i| net.flops(NodeId(i))).sum()
}

/// As many units of `cost` operations as are worth their time: `few` if need be, at most `many`.
fn affordable(cost: u64, few: u64, many: u64) -> u64 {
    let units = |operations: u64| operations / cost.max(1);
    units(BUDGET)
        .max(few.min(units(BUDGET.saturating_mul(STRETCH))))
        .clamp(3.min(few), many)
}

/// Trains for some iterations and judges.
pub(super) fn examine(
    case: &Case<'_>,
    mut solver: Solver,
    observer: &mut dyn Observer,
) -> Result<Found> {
    let mut found = Found::default();
    let passes = u64::try_from(case.param.iter_size()).unwrap_or(1).max(1);
    let cost = flops(&solver.net).saturating_mul(3 * passes);
    let wanted = match case.options.iterations {
        Some(n) => n,
        None => affordable(cost, FEW, MANY),
    };
    let end = u64::try_from(case.param.max_iter()).unwrap_or(0);
    let iterations = if end > 0 { wanted.min(end) } else { wanted };
    if iterations == 0 {
        return Ok(found);
    }
    if case.trained() {
        observer.on(&Event::Note("looking at what the weights answer"));
        scores::examine(case, &mut solver, None, &mut found)?;
    }
    observer.on(&Event::Note(&format!(
        "training for {iterations} iterations"
    )));
    let run = train(&mut solver, iterations, observer)?;
    found.losses.clone_from(&run.losses);
    found.looked.push(run.words());
    if let Some(iteration) = run.diverged {
        found
            .findings
            .push(diverged::finding(case, &mut solver, iteration));
    }
    loss::judge(case, &solver, &run, &mut found);
    layers::judge(case, &solver, &run, &mut found);
    if !case.trained() && run.diverged.is_none() {
        scores::examine(case, &mut solver, Some(&run), &mut found)?;
    }
    drop(solver);
    rates::examine(case, cost, &mut found, observer)?;
    Ok(found)
}

/// Iterations that were run.
struct Run {
    /// The loss of each.
    losses: Vec<f32>,
    /// The layers in the first, and in the last.
    first: Vec<LayerVitals>,
    last: Vec<LayerVitals>,
    /// Where the loss was no finite number.
    diverged: Option<u64>,
}

impl Run {
    fn words(&self) -> String {
        let ends = match self.losses.as_slice() {
            [first, .., last] => format!(
                ", the loss from {} to {}",
                short(f64::from(*first)),
                short(f64::from(*last))
            ),
            [only] => format!(", the loss {}", short(f64::from(*only))),
            [] => String::new(),
        };
        format!("{} iterations of training{ends}", self.losses.len())
    }

    /// Of the first and the last few losses.
    fn ends(&self) -> Option<(f64, f64)> {
        let part = (self.losses.len() / 4).max(1);
        let mean = |losses: &[f32]| {
            losses.iter().map(|&l| f64::from(l)).sum::<f64>() / losses.len().max(1) as f64
        };
        let (first, last) = (self.losses.first()?, self.losses.last()?);
        if self.losses.len() < 4 {
            return Some((f64::from(*first), f64::from(*last)));
        }
        Some((
            f64::from(*first),
            mean(&self.losses[self.losses.len() - part..]),
        ))
    }
}

fn train(solver: &mut Solver, iterations: u64, observer: &mut dyn Observer) -> Result<Run> {
    let mut run = Run {
        losses: Vec::new(),
        first: Vec::new(),
        last: Vec::new(),
        diverged: None,
    };
    // The first iteration and the last, and some between, should the run end early.
    solver.watch(Box::new(watch::Vitals::new((iterations - 1).clamp(1, 8))));
    let mut listen = |event: &Event<'_>| match event {
        Event::Vitals { layers, .. } => {
            if run.first.is_empty() {
                run.first = layers.to_vec();
            }
            run.last = layers.to_vec();
        }
        Event::Step { loss, .. } => {
            run.losses.push(*loss);
            observer.on(event);
        }
        _ => {}
    };
    let ended = solver.step(iterations, &mut || Action::Continue, &mut listen);
    match ended {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::Diverged => {
            run.diverged = Some(solver.iteration())
        }
        Err(error) => return Err(error),
    }
    Ok(run)
}

/// An error of a pass as a finding.
pub(super) fn failed(error: &Error) -> Finding {
    let mut text = error.message().to_owned();
    for place in error.places() {
        if let crate::error::Place::Layer { name, kind, .. } = place {
            text = format!("layer '{name}' ({kind}): {text}");
        }
    }
    let spot = error.places().iter().find_map(|place| match place {
        crate::error::Place::Text {
            file, line, column, ..
        } => Some(format!("{file}:{line}:{column}")),
        crate::error::Place::File(file) => Some(file.clone()),
        _ => None,
    });
    Finding::new("D001", text)
        .at(spot.unwrap_or_default())
        .help(error.help_text().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iterations_fit_the_net() {
        assert_eq!(affordable(1, FEW, MANY), MANY);
        assert_eq!(affordable(BUDGET / 20, FEW, MANY), 20);
        assert_eq!(affordable(BUDGET / 2, FEW, MANY), FEW);
        assert_eq!(affordable(BUDGET, FEW, MANY), 10);
        assert_eq!(affordable(u64::MAX, FEW, MANY), 3);
    }
}
