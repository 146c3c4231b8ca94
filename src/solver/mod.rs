//! Training: a solver file's nets, the loop over them, and what is saved on the way.
//!
//! [`Solver::solve`] is `caffe train`: iterations of forward, backward and update, with tests, displays and snapshots
//! in Caffe's order. One iteration is in `step`, the update in `update`, files in `snapshot`.

mod best;
mod evaluate;
mod precision;
mod regularize;
mod schedule;
mod snapshot;
mod sources;
mod step;
mod update;
mod watch;

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

pub use best::BestOptions;
pub use update::{RULES, Rule, Tick, UpdateRule};
pub use watch::{Look, Watch};

use crate::{
    error::{Error, Result},
    events::{Event, Observer},
    load::{LoadOptions, NetFile},
    model_io::caffemodel::{LoadReport, Weights},
    net::{Keep, Level, Net, NetOptions},
    params::Params,
    schema::{NetParameter, Phase, SolverParameter},
};
use schedule::Schedule;
use sources::under;
use update::Updater;

/// How to make a solver.
#[derive(Clone, Debug, Default)]
pub struct SolverOptions {
    /// Relative paths of nets, databases, weights and snapshots start here; empty means the working directory.
    pub root: PathBuf,
    /// The seed of all random numbers; goes before the solver file's `random_seed`.
    pub seed: Option<u64>,
    /// Which blobs stay readable after a pass.
    pub keep: Keep,
    /// How to read the net files.
    pub load: LoadOptions,
    /// The level that the training net is built at; 0 leaves it to the files.
    pub level: i32,
    /// Stages that the training net is built in, besides those of the files.
    pub stages: Vec<String>,
    /// The state that [`Solver::restore`] will be given: no filler runs for the weights that come with it.
    pub resume: Option<PathBuf>,
    /// What to keep and when to stop, by the tests.
    pub best: BestOptions,
    /// Weights of the classes for losses of the training net, by layer name: they go before the `class_weighting` of the
    /// file. The test nets stay as they are.
    pub class_weights: Vec<(String, Vec<f32>)>,
    /// Tells the blobs that stay readable in a test net besides those of `keep`, from its message.
    pub wanted: Option<fn(&NetParameter) -> Vec<String>>,
}

/// What the caller wants after an iteration, or a pass of a test.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Action {
    /// Go on.
    #[default]
    Continue,
    /// Save a snapshot and go on.
    Snapshot,
    /// Go on at this rate: from here on the policy's is multiplied by what makes it this one now. The state of the run
    /// keeps it. Ignored where it is not a number, 0 or above, or where the policy's rate is 0.
    Rate(f32),
    /// Stop; [`Solver::solve`] saves a snapshot first, unless `snapshot_after_train` is off.
    Stop,
}

/// How training ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Iterations done, those before a resume included.
    pub iteration: u64,
    /// The last smoothed loss.
    pub loss: f32,
    /// Ended by [`Action::Stop`].
    pub stopped: bool,
}

/// A solver with its nets and weights.
pub struct Solver {
    /// The net that is trained.
    pub net: Net,
    /// The nets that are tested; they share the parameters of the layers that `net` has too.
    pub test_nets: Vec<Net>,
    /// All parameters.
    pub params: Params,
    param: SolverParameter,
    options: SolverOptions,
    seed: u64,
    iteration: u64,
    schedule: Schedule,
    updater: Updater,
    /// The last `average_loss` losses, oldest first.
    losses: VecDeque<f32>,
    /// Where the test nets stood before the test under way.
    before_test: Option<Vec<snapshot::Position>>,
    best: Option<best::Best>,
    last_snapshot: Option<PathBuf>,
    /// The iteration whose snapshot failed last.
    unsaved: Option<u64>,
    /// Whether the last update left every gradient at zero.
    grads_are_zero: bool,
    /// Numbers of the solver's message, checked.
    every: Every,
    watchers: Vec<Box<dyn Watch>>,
}

/// Intervals and counts; 0 means never.
#[derive(Clone, Copy, Debug)]
struct Every {
    max_iter: u64,
    display: u64,
    test: u64,
    snapshot: u64,
    average_loss: usize,
}

impl Every {
    fn new(param: &SolverParameter) -> Result<Self> {
        let count = |field: &str, n: i32| {
            u64::try_from(n)
                .map_err(|_| Error::param(field, format!("is {n}, must not be below 0")))
        };
        Ok(Self {
            max_iter: count("max_iter", param.max_iter())?,
            display: count("display", param.display())?,
            test: count("test_interval", param.test_interval())?,
            snapshot: count("snapshot", param.snapshot())?,
            average_loss: usize::try_from(param.average_loss())
                .ok()
                .filter(|&n| n > 0)
                .ok_or_else(|| {
                    Error::param(
                        "average_loss",
                        format!("is {}, must be at least 1", param.average_loss()),
                    )
                })?,
        })
    }
}

/// Whether an interval, 0 for never, falls on this iteration.
fn due(interval: u64, iteration: u64) -> bool {
    interval != 0 && iteration.is_multiple_of(interval)
}

impl Solver {
    /// Makes the solver of a message in current form (see [`crate::load::solver`]): its nets, filled, and with the
    /// weights that its `weights` names.
    ///
    /// # Errors
    /// `Param` with the field, for a solver message that makes no sense; else what reading and building nets and
    /// reading weights has to say.
    pub fn new(
        mut param: SolverParameter,
        options: SolverOptions,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        sources::set_state(&mut param, &options);
        observer.on(&Event::SolverInit { solver: &param });
        let every = Every::new(&param)?;
        let schedule = Schedule::new(&param)?;
        precision::Evaluation::of(&param)?;
        if param.base_lr.is_none() {
            observer.on(&Event::Warning(
                "base_lr is not set: the rate is 0, nothing will be learned",
            ));
        }
        snapshot::check(&param, &options)?;
        best::check(&param, &options.best)?;
        let seed = seed(&param, &options, observer);
        observer.on(&Event::Seed { seed });
        let weights = param.weights.iter().flat_map(|list| list.split(','));
        let weights: Vec<Weights> = weights
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(|name| Weights::open(&under(&options.root, name)))
            .collect::<Result<_>>()?;
        let resumed = options.resume.as_deref();
        let resumed = resumed.and_then(|state| snapshot::weights_of(&options.root, state));
        let all: Vec<&Weights> = weights.iter().chain(&resumed).collect();
        let Nets {
            net,
            test_nets,
            params,
        } = Nets::new(&param, &options, seed, &all, observer)?;
        if !net.inputs().is_empty() {
            observer.on(&Event::Warning(&format!(
                "the net has inputs that nothing feeds while it trains ({}): they stay zero",
                net.inputs().join(", ")
            )));
        }
        let updater = Updater::new(&param, net.learnable(), &params)?;
        let mut made = Self {
            net,
            test_nets,
            params,
            seed,
            iteration: 0,
            schedule,
            updater,
            losses: VecDeque::new(),
            before_test: None,
            best: None,
            last_snapshot: None,
            unsaved: None,
            grads_are_zero: false,
            every,
            watchers: Vec::new(),
            param,
            options,
        };
        for weights in &weights {
            made.take_weights(weights, observer)?;
        }
        observer.on(&Event::SolverReady {
            net: made.net.name(),
            lr_policy: made.param.lr_policy(),
            max_iter: made.every.max_iter,
        });
        Ok(made)
    }

    /// The solver's message.
    pub fn param(&self) -> &SolverParameter {
        &self.param
    }

    /// Iterations done.
    pub fn iteration(&self) -> u64 {
        self.iteration
    }

    /// The seed in force.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Lets somebody look on from now on; in the order in which they came.
    pub fn watch(&mut self, watcher: Box<dyn Watch>) {
        self.watchers.push(watcher);
    }

    /// Copies the weights of a file into the nets, by layer name.
    ///
    /// # Errors
    /// As [`Weights::open`] and [`Weights::load`].
    pub fn load_weights(&mut self, path: &Path, observer: &mut dyn Observer) -> Result<LoadReport> {
        self.take_weights(&Weights::open(path)?, observer)
    }

    fn take_weights(
        &mut self,
        weights: &Weights,
        observer: &mut dyn Observer,
    ) -> Result<LoadReport> {
        let report = weights.load(&self.net, &mut self.params)?;
        // Test nets may have layers of their own.
        for net in &self.test_nets {
            weights.copy(net, &mut self.params)?;
        }
        observer.on(&Event::Weights {
            file: weights.path(),
            copied: report.copied,
            ignored: &report.ignored,
            untouched: &report.untouched,
        });
        Ok(report)
    }

    /// The mean of the last losses.
    fn smoothed_loss(&self) -> f32 {
        if self.losses.is_empty() {
            return 0.0;
        }
        let sum: f64 = self.losses.iter().map(|&l| f64::from(l)).sum();
        (sum / self.losses.len() as f64) as f32
    }

    fn note_loss(&mut self, loss: f32) {
        while self.losses.len() >= self.every.average_loss {
            self.losses.pop_front();
        }
        self.losses.push_back(loss);
    }
}

fn seed(param: &SolverParameter, options: &SolverOptions, observer: &mut dyn Observer) -> u64 {
    let told = options
        .seed
        .or_else(|| u64::try_from(param.random_seed()).ok());
    told.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let seed = now.map_or(0, |d| d.as_secs() ^ u64::from(d.subsec_nanos()) << 10);
        // A number that `random_seed` can hold, and short enough to type.
        let seed = seed % 1_000_000_000;
        observer.on(&Event::Note(&format!(
            "random_seed is not set; this run has {seed} (set random_seed: {seed} to repeat it)"
        )));
        seed
    })
}

/// The net that a solver of this message would train, in current form and in its state; nothing is built.
///
/// # Errors
/// As [`Solver::new`] for what the message says of nets, and of reading the file.
pub fn train_net(
    param: &SolverParameter,
    options: &SolverOptions,
    observer: &mut dyn Observer,
) -> Result<NetParameter> {
    let mut param = param.clone();
    sources::set_state(&mut param, options);
    let state = param.train_state.as_ref();
    let file = sources::train(&param)?.load(options, Phase::Train, state, observer)?;
    Ok(file.net)
}

/// The nets that a solver names, in the states that they are built in: the one to train, then those to test.
///
/// # Errors
/// `Param` where the solver names none, or too few or many; else of the first file that does not read.
pub fn net_files(
    param: &SolverParameter,
    options: &SolverOptions,
    observer: &mut dyn Observer,
) -> Result<(NetFile, Vec<NetFile>)> {
    let mut param = param.clone();
    sources::set_state(&mut param, options);
    let (train, tests) = (sources::train(&param)?, sources::test(&param)?);
    let net = train.load(options, Phase::Train, param.train_state.as_ref(), observer)?;
    let tests = tests.iter().enumerate().map(|(index, source)| {
        source.load(options, Phase::Test, param.test_state.get(index), observer)
    });
    Ok((net, tests.collect::<Result<_>>()?))
}

/// The nets of a solver with their parameters.
struct Nets {
    net: Net,
    test_nets: Vec<Net>,
    params: Params,
}

impl Nets {
    fn new(
        param: &SolverParameter,
        options: &SolverOptions,
        seed: u64,
        weights: &[&Weights],
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        let brought = |layer: &str, i: usize| weights.iter().any(|w| w.brings(layer, i));
        let (train, tests) = (sources::train(param)?, sources::test(param)?);
        let mut params = Params::new();
        observer.on(&Event::TrainNet { file: train.file() });
        let mut file = train.load(options, Phase::Train, param.train_state.as_ref(), observer)?;
        sources::weigh(&mut file.net, &options.class_weights);
        let common = NetOptions {
            root: options.root.clone(),
            seed,
            keep: options.keep,
            // A line for every layer has to be there.
            optimize: if param.debug_info() {
                Level::Off
            } else {
                Level::default()
            },
            brought: Some(&brought),
            ..NetOptions::default()
        };
        let net = Net::new(
            &file.net,
            &mut params,
            &NetOptions {
                backward: true,
                locate: Some(&|layer, field| file.place(layer, field)),
                ..common.clone()
            },
            observer,
        )?;
        let mut test_nets = Vec::with_capacity(tests.len());
        for (index, source) in tests.iter().enumerate() {
            observer.on(&Event::TestNet {
                index,
                file: source.file(),
            });
            let over = param.test_state.get(index);
            let file = source.load(options, Phase::Test, over, observer)?;
            let wanted = options
                .wanted
                .map_or_else(Vec::new, |wanted| wanted(&file.net));
            let mut test_net = Net::new(
                &file.net,
                &mut params,
                &NetOptions {
                    share: Some(&net),
                    wanted: &wanted,
                    locate: Some(&|layer, field| file.place(layer, field)),
                    ..common.clone()
                },
                observer,
            )?;
            if param.debug_info() {
                test_net.set_debug(true);
            }
            test_nets.push(test_net);
        }
        Ok(Self {
            net,
            test_nets,
            params,
        })
    }
}
