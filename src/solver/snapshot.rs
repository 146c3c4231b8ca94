//! What a run leaves on disk, and how it goes on from there.
//!
//! A snapshot is the weights, then the state; each is written beside its name and renamed, so that whatever happens
//! the pair before it stays whole. Beside what Caffe keeps, the state holds the seed, the passes and the position of
//! every data layer: a resumed run is bit for bit the one that was never stopped.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{Nets, Solver, SolverOptions, best::Best, sources::under};
use crate::{
    error::{Error, ErrorKind, Place, Result},
    events::{Event, Observer, Silent},
    model_io::{
        caffemodel::{self, Weights},
        solverstate,
    },
    net::Net,
    schema::{Cursor, Resume, SolverParameter, solver_parameter::SnapshotFormat},
};

/// How far a net has run: forward passes, and records of each data layer.
#[derive(Clone, Debug, Default)]
pub(super) struct Position {
    passes: u64,
    cursors: Vec<(usize, String, u64)>,
}

impl Position {
    pub(super) fn of(net: &Net) -> Self {
        Self {
            passes: net.passes(),
            cursors: net.cursors(),
        }
    }

    /// Back to it, in the net that it is of.
    pub(super) fn restore(&self, net: &mut Net) -> Result<()> {
        net.set_passes(self.passes);
        for (layer, _, records) in &self.cursors {
            net.seek(*layer, *records)?;
        }
        Ok(())
    }
}

/// Refuses early what would fail at the first snapshot, hours later.
pub(super) fn check(param: &SolverParameter, options: &SolverOptions) -> Result<()> {
    let prefix = param.snapshot_prefix();
    if prefix.is_empty() {
        return if param.snapshot() > 0 {
            Err(
                Error::param("snapshot_prefix", "is missing, while snapshot is set")
                    .help("set it to where snapshots go: snapshot_prefix: \"snapshots/run\""),
            )
        } else {
            Ok(())
        };
    }
    if param.snapshot() <= 0 && !param.snapshot_after_train() {
        return Ok(());
    }
    let path = under(&options.root, &format!("{prefix}_iter_0"));
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match tempfile::tempfile_in(directory) {
        Ok(_) => Ok(()),
        Err(e) => Err(Error::param(
            "snapshot_prefix",
            format!("cannot write in '{}': {e}", directory.display()),
        )
        .help("make the directory, or point snapshot_prefix at one that can be written")),
    }
}

impl Solver {
    /// Saves weights and state now, as `<snapshot_prefix>_iter_<n>.caffemodel` and `.solverstate`, with `.h5` behind them
    /// where `snapshot_format` is HDF5, and returns the two paths. Files that were there stay whole where it fails.
    ///
    /// # Errors
    /// `Io` where a file cannot be written; `Diverged` where a weight is not a finite number; `Param` without a
    /// `snapshot_prefix`.
    pub fn snapshot(&mut self, observer: &mut dyn Observer) -> Result<(PathBuf, PathBuf)> {
        self.snapshot_as(&format!("iter_{}", self.iteration), observer)
    }

    /// [`Solver::snapshot`] as `<snapshot_prefix>_<name>`.
    pub(super) fn snapshot_as(
        &mut self,
        name: &str,
        observer: &mut dyn Observer,
    ) -> Result<(PathBuf, PathBuf)> {
        let prefix = self.param.snapshot_prefix();
        if prefix.is_empty() {
            return Err(Error::param("snapshot_prefix", "is missing")
                .help("say where snapshots go: snapshot_prefix: \"snapshots/run\""));
        }
        self.check_weights()?;
        let name = format!("{prefix}_{name}");
        let hdf5 = self.param.snapshot_format() == SnapshotFormat::Hdf5;
        let ending = if hdf5 { ".h5" } else { "" };
        let learned_net = format!("{name}.caffemodel{ending}");
        let model = under(&self.options.root, &learned_net);
        let state = under(&self.options.root, &format!("{name}.solverstate{ending}"));

        observer.on(&Event::SnapshotModel { file: &model });
        let diff = self.param.snapshot_diff();
        if hdf5 {
            caffemodel::write_hdf5(&model, &self.net, &self.params, diff)?;
        } else {
            caffemodel::write_with(&model, &self.net, &self.params, diff)?;
        }
        observer.on(&Event::SnapshotState { file: &state });
        let (iteration, standing) = (self.iteration, self.schedule.standing);
        let (history, resume) = (self.updater.history(), self.resume());
        if hdf5 {
            solverstate::write_hdf5(&state, iteration, &learned_net, standing, history, &resume)?;
        } else {
            solverstate::write(&state, iteration, &learned_net, standing, history, resume)?;
        }
        self.last_snapshot = Some(state.clone());
        Ok((model, state))
    }

    /// A snapshot that training does not depend on.
    pub(super) fn try_snapshot(&mut self, observer: &mut dyn Observer) {
        if let Err(error) = self.snapshot(observer) {
            self.unsaved = Some(self.iteration);
            observer.on(&Event::Warning(&format!(
                "the snapshot at iteration {} failed, training goes on: {error}",
                self.iteration
            )));
        }
    }

    fn check_weights(&self) -> Result<()> {
        for node in &self.net.graph().nodes {
            for (i, &id) in node.params.iter().enumerate() {
                let data = &self.params[id].value.data;
                if let Some(bad) = not_finite(data) {
                    return Err(Error::new(
                        ErrorKind::Diverged,
                        format!(
                            "after iteration {} parameter {i} of layer '{}' holds {bad}; nothing is saved",
                            self.iteration, node.name
                        ),
                    )
                    .help("lower base_lr, or set clip_gradients"));
                }
            }
        }
        Ok(())
    }

    fn resume(&self) -> Resume {
        let tests: Vec<Position> = match &self.before_test {
            // The test under way will be made anew.
            Some(before) => before.clone(),
            None => self.test_nets.iter().map(Position::of).collect(),
        };
        let train = Position::of(&self.net);
        let named = (tests.iter().enumerate()).map(|(i, p)| (format!("test{i}"), p));
        let cursors = std::iter::once(("train".to_owned(), &train))
            .chain(named)
            .flat_map(|(net, position)| {
                position
                    .cursors
                    .iter()
                    .map(move |(layer, name, records)| Cursor {
                        net: Some(net.clone()),
                        layer: u32::try_from(*layer).ok(),
                        name: Some(name.clone()),
                        records: Some(*records),
                    })
            })
            .collect();
        let mut resume = Resume {
            seed: Some(self.seed),
            train_passes: Some(train.passes),
            losses: self.losses.iter().copied().collect(),
            cursors,
            solver_type: Some(self.updater.name.to_owned()),
            test_passes: tests.iter().map(|p| p.passes).collect(),
            rate_factor: self.schedule.factor,
            ..Resume::default()
        };
        if let Some(best) = self.best {
            best.tell(&mut resume);
        }
        resume
    }

    /// Goes on from a state file: iteration, weights (the file it names: as named, else beside the state), history
    /// and, where the state is one of ours, everything else. A state that Caffe wrote does not say where the data
    /// stood; the data then starts from the beginning, as in Caffe.
    ///
    /// # Errors
    /// `Format` and `Io` of the files; `Weights` where the state is of another net or solver type. Iteration and
    /// history are then what they were.
    pub fn restore(&mut self, path: &Path, observer: &mut dyn Observer) -> Result<()> {
        let state = solverstate::read(path)?;
        let named = |error: Error| error.at(Place::File(path.display().to_string()));
        let wrote = state.resume.as_ref().and_then(|r| r.solver_type.as_deref());
        if let Some(other) = wrote.filter(|&t| t != self.updater.name) {
            return Err(named(
                Error::new(
                    ErrorKind::Weights,
                    format!(
                        "the state was written by solver type {other}, this solver is {}",
                        self.updater.name
                    ),
                )
                .help("set the same type, or start from the weights alone (-weights)"),
            ));
        }
        self.updater.check_history(&state.history).map_err(named)?;
        observer.on(&Event::Resume {
            file: path,
            iteration: state.iteration,
        });
        let model = match &state.learned_net {
            None => None,
            Some(name) => Some(Weights::open(&find_model(&self.options.root, name, path)?)?),
        };
        if let Some(seed) = state.resume.as_ref().and_then(|r| r.seed) {
            self.reseed(seed, model.as_ref(), observer)?;
        }
        if let Some(model) = model {
            model.load(&self.net, &mut self.params)?;
        }
        self.updater.set_history(state.history, &self.params);
        self.iteration = state.iteration;
        self.schedule.standing = state.standing;
        self.last_snapshot = Some(path.to_path_buf());
        match state.resume {
            Some(resume) => self.go_on(&resume, observer)?,
            None => {
                observer.on(&Event::Note(
                    "the state was not written by cortado and does not say where the data stood: it starts from the beginning, as in Caffe",
                ));
                // Random streams are numbered by passes: do not repeat those of the first iterations.
                let passes = self.iteration * u64::from(self.updater.iter_size());
                self.losses.clear();
                let resume = Resume {
                    train_passes: Some(passes),
                    ..Resume::default()
                };
                self.go_on(&resume, &mut Silent)?;
            }
        }
        if self.iteration >= self.every.max_iter {
            observer.on(&Event::Note(&format!(
                "the state is at iteration {}, and max_iter is {}: there is nothing left to train",
                self.iteration, self.every.max_iter
            )));
        }
        Ok(())
    }

    /// Streams are fixed when layers are made, so another seed takes other nets; the parameters stay.
    fn reseed(
        &mut self,
        seed: u64,
        model: Option<&Weights>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        if seed == self.seed {
            return Ok(());
        }
        observer.on(&Event::Note(&format!(
            "the run goes on with the seed that it began with, {seed}"
        )));
        let made = Nets::new(
            &self.param,
            &self.options,
            seed,
            &Vec::from_iter(model),
            &mut Silent,
        )?;
        self.net = made.net;
        self.test_nets = made.test_nets;
        self.seed = seed;
        // A net file changed meanwhile would have changed the parameters.
        let same = made.params.len() == self.params.len();
        if !same {
            self.params = made.params;
        }
        Ok(())
    }

    /// Puts nets and losses where `resume` says; what it does not mention starts from the beginning.
    fn go_on(&mut self, resume: &Resume, observer: &mut dyn Observer) -> Result<()> {
        self.best = Best::of(resume);
        self.schedule.factor = resume.rate_factor;
        self.losses = resume.losses.iter().copied().collect();
        while self.losses.len() > self.every.average_loss {
            self.losses.pop_front();
        }
        put(
            &mut self.net,
            "train",
            resume.train_passes(),
            resume,
            observer,
        )?;
        for (i, net) in self.test_nets.iter_mut().enumerate() {
            let passes = resume.test_passes.get(i).copied().unwrap_or(0);
            put(net, &format!("test{i}"), passes, resume, observer)?;
        }
        Ok(())
    }
}

/// The weights that a state names: as named, else beside it.
fn find_model(root: &Path, name: &str, state: &Path) -> Result<PathBuf> {
    let as_named = under(root, name);
    let beside = Path::new(name)
        .file_name()
        .map(|file| state.with_file_name(file));
    if as_named.exists() {
        return Ok(as_named);
    }
    match beside {
        Some(beside) if beside.exists() => Ok(beside),
        _ => Err(Error::new(
            ErrorKind::Io,
            format!(
                "the weights '{name}' that belong to '{}' are not there",
                state.display()
            ),
        )
        .help("put the .caffemodel beside the .solverstate")),
    }
}

/// The weights that come with a state; `None` where there are none, or something is wrong with them, which
/// [`Solver::restore`] tells.
pub(super) fn weights_of(root: &Path, state: &Path) -> Option<Weights> {
    let name = solverstate::learned_net(state)?;
    Weights::open(&find_model(root, &name, state).ok()?).ok()
}

/// A value that is not a finite number. Whole chunks are looked at, because a loop that may end early goes one by one.
fn not_finite(data: &[f32]) -> Option<f32> {
    let chunk = data.par_chunks(1 << 16).find_first(|chunk| {
        let bad = |sum: u32, x: &f32| sum | u32::from(!x.is_finite());
        chunk.iter().fold(0, bad) != 0
    });
    chunk?.iter().copied().find(|x| !x.is_finite())
}

fn put(
    net: &mut Net,
    who: &str,
    passes: u64,
    resume: &Resume,
    observer: &mut dyn Observer,
) -> Result<()> {
    net.set_passes(passes);
    for (layer, name, at) in net.cursors() {
        let ours = |c: &&Cursor| c.net() == who && c.name() == name;
        let exact = resume
            .cursors
            .iter()
            .find(|c| ours(c) && c.layer.is_some_and(|l| l as usize == layer));
        let records = match exact.or_else(|| resume.cursors.iter().find(ours)) {
            Some(cursor) => cursor.records(),
            None => {
                observer.on(&Event::Warning(&format!(
                    "the state does not say where the data of layer '{name}' ({who}) stood: it starts from the beginning"
                )));
                0
            }
        };
        if records != at {
            net.seek(layer, records)?;
        }
    }
    Ok(())
}
