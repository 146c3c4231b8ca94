//! Why a net does not learn: its files, its data, and a few iterations for real, with a verdict in words.
//!
//! [`examine`] is `cortado doctor`. What it can find are the rows of [`RULES`], besides those of [`crate::check`].

mod data;
mod diagnosis;
mod files;
mod finding;
mod rules;
mod table;
mod trial;
mod wiring;

use std::path::PathBuf;

pub use diagnosis::Diagnosis;
pub use finding::Finding;
pub use rules::{RULES, Rule, rule};
pub use table::Table;

use crate::{
    error::{Error, ErrorKind, Place, Result},
    events::{Event, Observer, Silent},
    graph,
    load::{self, LoadOptions},
    schema::Phase,
    solver::{SolverOptions, net_files},
};

/// What to look at, and how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// The solver's file.
    pub solver: PathBuf,
    /// Where relative paths of nets, databases and weights start; empty means the working directory. `solver` itself is
    /// not meant.
    pub root: PathBuf,
    /// Weights to judge; without them, what some iterations make of the fillers'.
    pub weights: Option<PathBuf>,
    /// Iterations to train; `None` for as many as take some seconds, 0 for the data alone.
    pub iterations: Option<u64>,
    /// Records of each database to look at, spread over it.
    pub records: u64,
    /// Where to write pictures.
    pub out: Option<PathBuf>,
    /// The seed of all random numbers; goes before the solver's.
    pub seed: Option<u64>,
    /// How files are read.
    pub load: LoadOptions,
}

impl Options {
    /// Records that are looked at unless told.
    pub const RECORDS: u64 = 1000;

    /// For this solver, all else as usual.
    pub fn new(solver: impl Into<PathBuf>) -> Self {
        Self {
            solver: solver.into(),
            root: PathBuf::new(),
            weights: None,
            iterations: None,
            records: Self::RECORDS,
            out: None,
            seed: None,
            load: LoadOptions::default(),
        }
    }
}

/// Looks at everything that a solver names. Tells `observer` what it does, and at the end each [`Event::Finding`] and the
/// [`Event::Verdict`].
///
/// # Errors
/// Where the solver or a net does not read, `out` cannot be written, or weights do not fit: what is wrong with the net
/// or its data is no error but a finding.
pub fn examine(options: &Options, observer: &mut dyn Observer) -> Result<Diagnosis> {
    let mut diagnosis = Diagnosis::new(options);
    if let Some(out) = &options.out {
        std::fs::create_dir_all(out).map_err(|e| Error::io("create", out, &e))?;
    }
    let param = load::solver(&options.solver, options.load, &mut Silent)?;
    let nets = SolverOptions {
        root: options.root.clone(),
        load: options.load,
        ..SolverOptions::default()
    };
    let (train, tests) = net_files(&param, &nets, &mut Silent)?;
    observer.on(&Event::Note("reading the files"));
    diagnosis.take_static(files::check(options)?);

    // With the graph classes are known for sure; without it what the message says has to do.
    let made = trial::start(&param, options);
    let made = match made {
        Err(error) if matches!(error.kind(), ErrorKind::Weights) => return Err(error),
        other => other,
    };
    let graphs = made.as_ref().ok().map(|solver| {
        let tests = solver.test_nets.iter().map(|net| net.graph());
        std::iter::once(solver.net.graph())
            .chain(tests)
            .collect::<Vec<_>>()
    });
    let mut feeds = Vec::new();
    for (i, file) in std::iter::once(&train).chain(&tests).enumerate() {
        let (kept, ..) = graph::filter(&file.net)?;
        let phase = if i == 0 { Phase::Train } else { Phase::Test };
        let graph = graphs.as_ref().and_then(|graphs| graphs.get(i).copied());
        feeds.push(wiring::feeds(&kept, phase, graph));
    }
    let look = data::Look {
        root: &options.root,
        records: options.records.max(1),
        out: options.out.as_deref(),
    };
    let seen = data::examine(&look, &feeds, observer);
    let balances = diagnosis.take_data(seen);

    match made {
        Err(error) => diagnosis.take_failure(&error),
        Ok(solver) => {
            let place = |index: usize| match train.place(index, None) {
                Some(Place::Text {
                    file, line, column, ..
                }) => format!("{file}:{line}:{column}"),
                _ => String::new(),
            };
            let case = trial::Case {
                options,
                param: &param,
                feeds: feeds.first().map_or(&[], Vec::as_slice),
                balances: &balances,
                place: &place,
            };
            match trial::examine(&case, solver, observer) {
                Ok(found) => diagnosis.take_trial(found),
                Err(error) => diagnosis.take_failure(&error),
            }
        }
    }
    diagnosis.conclude();
    for finding in &diagnosis.findings {
        finding.tell(observer);
    }
    observer.on(&Event::Verdict {
        ill: diagnosis.ill,
        lines: &diagnosis.lines,
        todo: &diagnosis.todo,
    });
    Ok(diagnosis)
}
