//! `train`: a solver file's training, from the start, from weights, or from a snapshot.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    args::{Args, Flag},
    command::{Command, Status},
    metrics, nets,
    onlookers::{self, Onlookers, Wishes},
    record,
    signals::{EFFECTS, Signals},
    ui::Ui,
    weights,
};
use crate::{
    error::{Error, ErrorKind, Result},
    events::{Event, Observer, Silent},
    load::{self, LoadOptions},
    metrics::precision::Version,
    schema::{SolverParameter, solver_parameter::SolverMode},
    solver::{self, Action, BestOptions, Solver, SolverOptions},
    watch::{Detections, Scores, heads},
};

/// The row of the table.
pub(super) const COMMAND: Command = Command {
    name: "train",
    about: "train a net as a solver file says, or go on from weights or a snapshot",
    flags: &[
        Flag::value("solver", "FILE", "The solver's definition (.prototxt)"),
        Flag::value(
            "snapshot",
            "FILE",
            "Go on from this state (.solverstate); not together with --weights",
        ),
        Flag::value(
            "weights",
            "FILES",
            "Start from these weights (.caffemodel), separated by commas",
        ),
        Flag::value(
            "level",
            "N",
            "The training net's level, for its include rules",
        ),
        Flag::value(
            "stage",
            "NAMES",
            "The training net's stages, for its include rules, separated by commas",
        ),
        Flag::value(
            "sigint_effect",
            "EFFECT",
            "What Ctrl-C does: stop (with a snapshot; the default), snapshot or none",
        ),
        Flag::value(
            "sighup_effect",
            "EFFECT",
            "What a hang-up does: snapshot (the default), stop or none",
        ),
        Flag::value(
            "seed",
            "N",
            "The seed of all random numbers; goes before the solver's random_seed",
        ),
        Flag::switch(
            "keep-best",
            "Save the weights of the best test so far as <snapshot_prefix>_best",
        ),
        Flag::value(
            "patience",
            "N",
            "Stop after N tests in a row that were not better",
        ),
        Flag::value(
            "metric",
            "BLOB",
            "The test output that 'better' means; without it the first that is no loss",
        ),
        weights::FLAG,
        metrics::NO_METRICS,
        metrics::METRICS_JSON,
        metrics::CLASS_NAMES,
        record::RUN,
        onlookers::DASHBOARD,
        onlookers::MAPS,
        record::TENSORBOARD,
        record::LOG_JSON,
    ],
    examples: "  cortado train --solver=solver.prototxt\n  cortado train --solver=solver.prototxt --weights=pretrained.caffemodel\n  cortado train --solver=solver.prototxt --snapshot=snap_iter_1000.solverstate\n  cortado train --solver=solver.prototxt --dashboard\n  cortado train --solver=solver.prototxt --run=runs/first --tensorboard=logs",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let file = args.need(
        "solver",
        "a solver's definition",
        "train --solver=solver.prototxt",
    )?;
    let snapshot = args.path("snapshot");
    if snapshot.is_some() && args.text("weights").is_some() {
        return Err(
            Error::new(ErrorKind::Param, "both --snapshot and --weights were given")
                .help("give a snapshot to resume training, or weights to finetune, but not both"),
        );
    }
    let sigint = args.word("sigint_effect", EFFECTS)?.unwrap_or(Action::Stop);
    let sighup = args
        .word("sighup_effect", EFFECTS)?
        .unwrap_or(Action::Snapshot);
    let load = nets::options(args)?;
    let mut param = load::solver(&file, load, ui)?;
    if snapshot.is_some() {
        param.weights.clear();
    } else if let Some(weights) = args.text("weights") {
        param.weights = vec![weights];
    }
    let gpu = param.solver_mode.is_some() && param.solver_mode() == SolverMode::Gpu;
    if gpu && args.text("gpu").is_none() {
        ui.warn("solver_mode: GPU: this program computes on the CPU; the results are the same");
    }
    let mut onlookers = Onlookers::start(args, &param, &file, snapshot.is_some(), ui)?;
    let result = train(args, param, load, &mut onlookers, (sigint, sighup), ui);
    onlookers.end(result.as_ref().err(), ui);
    result
}

fn train(
    args: &Args,
    param: SolverParameter,
    load: LoadOptions,
    onlookers: &mut Onlookers,
    (sigint, sighup): (Action, Action),
    ui: &mut Ui,
) -> Result<Status> {
    let snapshot = args.path("snapshot");
    ui.log("caffe.cpp:197", "Use CPU.");
    let figures = metrics::Wanted::of(args)?;
    let mut options = SolverOptions {
        seed: args.number("seed")?,
        load,
        level: args.number("level")?.unwrap_or(0),
        stages: args.list("stage"),
        resume: snapshot.clone(),
        best: BestOptions {
            keep: args.switch("keep-best"),
            patience: args.number("patience")?.unwrap_or(0),
            metric: args.text("metric"),
        },
        wanted: figures.on.then_some(heads::wanted),
        ..SolverOptions::default()
    };
    options.class_weights = weights::of(args, &param, &options, ui)?;
    let list = figures.list()?;
    let watchers = if figures.on {
        watchers(args, &param, &options)?
    } else {
        Vec::new()
    };
    onlookers.want(&mut options);
    let mut solver = Solver::new(param, options, &mut onlookers.hearing(ui))?;
    for watcher in watchers {
        solver.watch(watcher);
    }
    if let Some(state) = &snapshot {
        solver.restore(state, ui)?;
    }
    if ui.gone() {
        // Nothing is trained yet, so nothing is lost.
        return Ok(Status::Done);
    }
    onlookers.look_on(&mut solver, ui)?;
    let signals = Signals::listen(sigint, sighup)?;
    let wishes = onlookers.wishes();
    let mut watch = Watch {
        ui,
        gone: Arc::default(),
        wishes: &wishes,
        figures: figures.on,
        list,
    };
    let gone = watch.gone.clone();
    let mut control = || match signals.take() {
        Action::Continue if gone.swap(false, Ordering::Relaxed) => Action::Stop,
        Action::Continue => wishes.next(),
        action => action,
    };
    let ended = solver.solve(&mut control, &mut watch);
    if let Some(list) = &mut watch.list {
        list.end(watch.ui);
    }
    ended?;
    Ok(Status::Done)
}

/// Who finds the figures of tests.
fn watchers(
    args: &Args,
    param: &SolverParameter,
    options: &SolverOptions,
) -> Result<Vec<Box<dyn solver::Watch>>> {
    // What is wrong with the net, the solver says.
    let net = solver::train_net(param, options, &mut Silent).ok();
    let map = net
        .as_ref()
        .and_then(|net| heads::label_map(net.layer.iter()));
    let map = map.map(PathBuf::from);
    let names = metrics::class_names(args, map)?;
    let version = Version::of(param.ap_version()).unwrap_or_default();
    let detections = if param.eval_type() == "detection" {
        Detections::beside_a_solver(version)
    } else {
        Detections::new(version)
    };
    Ok(vec![Box::new(Scores::new(names)), Box::new(detections)])
}

/// The log's reader went away: training stops like at Ctrl-C, with a snapshot, instead of going on unseen.
struct Watch<'a> {
    ui: &'a mut Ui,
    gone: Arc<AtomicBool>,
    wishes: &'a Wishes,
    /// Whether figures beyond Caffe's are told.
    figures: bool,
    list: Option<metrics::List>,
}

impl Observer for Watch<'_> {
    fn on(&mut self, event: &Event<'_>) {
        self.wishes.tell(self.ui);
        if !self.figures && matches!(event, Event::Metrics { .. } | Event::Precision { .. }) {
            return;
        }
        let before = self.ui.gone();
        self.ui.on(event);
        if self.ui.gone() && !before {
            self.gone.store(true, Ordering::Relaxed);
        }
        if let Some(list) = &mut self.list {
            list.on(event, self.ui);
        }
    }
}
