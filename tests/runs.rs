//! Whole training runs that Caffe recorded: the same start and data must give the same losses and weights.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use cortado::{
    events::{Event, Observer, Silent},
    load::{self, LoadOptions},
    model_io::{caffemodel, solverstate},
    schema::NetParameter,
    solver::{Action, Solver, SolverOptions},
};

const RUNS: &[&str] = &[
    "seed_sgd",
    "seed_without_last_relu",
    "seed_iter_size_clip",
    "sgd_l1_frozen",
    "bn_lrn",
    "nesterov_multistep",
    "adagrad_inv",
    "rmsprop_poly",
    "adadelta_fixed",
    "adam_sigmoid",
];

/// Losses and test outputs, relative.
const FIGURES: f64 = 1e-4;
/// Weights and history: norm of the difference over norm.
const WEIGHTS: f64 = 1e-3;

#[derive(Default)]
struct Log {
    losses: Vec<(u64, f64)>,
    tests: Vec<(u64, String, f64)>,
    at: u64,
}

impl Observer for Log {
    fn on(&mut self, event: &Event<'_>) {
        match event {
            Event::Iteration {
                iteration, loss, ..
            }
            | Event::FinalLoss { iteration, loss } => {
                self.losses.push((*iteration, f64::from(*loss)));
            }
            Event::Testing { iteration, .. } => self.at = *iteration,
            Event::TestOutput { blob, value, .. } => {
                self.tests
                    .push((self.at, (*blob).to_owned(), f64::from(*value)));
            }
            _ => {}
        }
    }
}

/// A copy of the run's folder that can be written in.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            // The bytes, not the permissions.
            fs::write(&target, fs::read(&path).unwrap()).unwrap();
        }
    }
}

fn open(root: &Path, max_iter: Option<i32>) -> Solver {
    let file = root.join("solver.prototxt");
    let mut param = load::solver(&file, LoadOptions::default(), &mut Silent).unwrap();
    param.max_iter = max_iter.or(param.max_iter);
    let options = SolverOptions {
        root: root.to_path_buf(),
        ..SolverOptions::default()
    };
    Solver::new(param, options, &mut Silent).unwrap_or_else(|e| panic!("{e}"))
}

fn go() -> Action {
    Action::Continue
}

fn csv(path: PathBuf) -> Vec<Vec<String>> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .skip(1)
        .map(|line| line.split(',').map(str::to_owned).collect())
        .collect()
}

fn near(what: &str, got: f64, wanted: f64) {
    assert!(
        (got - wanted).abs() <= FIGURES * wanted.abs() + 1e-6,
        "{what}: {got}, Caffe has {wanted}"
    );
}

fn far<'a>(pairs: impl Iterator<Item = (&'a [f32], &'a [f32])>) -> f64 {
    let (mut off, mut norm) = (0.0, 0.0);
    for (ours, theirs) in pairs {
        assert_eq!(ours.len(), theirs.len());
        for (&a, &b) in ours.iter().zip(theirs) {
            off += (f64::from(a) - f64::from(b)).powi(2);
            norm += f64::from(b).powi(2);
        }
    }
    (off / norm).sqrt()
}

fn weights(net: &NetParameter) -> impl Iterator<Item = &[f32]> {
    net.layer
        .iter()
        .flat_map(|l| &l.blobs)
        .map(|b| b.data.as_slice())
}

/// The layers' own messages. What Caffe spells out for a BatchNorm, that no solver touches its statistics, goes without
/// saying here.
fn bare(mut net: NetParameter) -> NetParameter {
    for layer in &mut net.layer {
        layer.blobs.clear();
        if layer.r#type() == "BatchNorm" {
            layer.param.clear();
        }
    }
    net
}

#[test]
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn caffe_s_runs_are_repeated() {
    let Some(runs) = env::var_os("CORTADO_SHARED").map(|s| PathBuf::from(s).join("reference/runs"))
    else {
        eprintln!("skipped: CORTADO_SHARED names no folder of recorded runs");
        return;
    };
    for run in RUNS {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("first");
        copy(&runs.join(run), &dir);
        let mut solver = open(&dir, None);
        solver
            .load_weights(&dir.join("init.caffemodel"), &mut Silent)
            .unwrap();
        let mut log = Log::default();
        let end = solver
            .solve(&mut go, &mut log)
            .unwrap_or_else(|e| panic!("{run}: {e}"))
            .iteration;

        for row in csv(dir.join("losses.csv")) {
            let (at, wanted): (u64, f64) = (row[0].parse().unwrap(), row[1].parse().unwrap());
            let (_, got) = log.losses.iter().find(|(i, _)| *i == at).unwrap();
            near(&format!("{run}, loss at {at}"), *got, wanted);
        }
        let tests = csv(dir.join("tests.csv"));
        assert_eq!(tests.len(), log.tests.len());
        for (row, (at, blob, got)) in tests.iter().zip(&log.tests) {
            assert_eq!((&row[0], &row[1]), (&at.to_string(), blob));
            near(
                &format!("{run}, {blob} at {at}"),
                *got,
                row[2].parse().unwrap(),
            );
        }

        let ours = caffemodel::read(&dir.join(format!("snap_iter_{end}.caffemodel"))).unwrap();
        let theirs = caffemodel::read(&dir.join("final.caffemodel")).unwrap();
        let off = far(weights(&ours).zip(weights(&theirs)));
        assert!(off <= WEIGHTS, "{run}: weights are off by {off}");
        let state = solverstate::read(&dir.join(format!("snap_iter_{end}.solverstate"))).unwrap();
        let caffe = solverstate::read(&dir.join("final.solverstate")).unwrap();
        assert_eq!(state.history.len(), caffe.history.len());
        let pairs = state.history.iter().zip(&caffe.history);
        let off = far(pairs.map(|(a, b)| (&a.data[..], &b.data[..])));
        // A history is a sum of small differences, in which rounding weighs more.
        assert!(off <= 10.0 * WEIGHTS, "{run}: history is off by {off}");
        for (a, b) in bare(ours).layer.iter().zip(&bare(theirs).layer) {
            assert_eq!(a, b, "{run}");
        }

        from_the_middle(
            &temp.path().join("middle"),
            &runs.join(run),
            &dir,
            end,
            &log,
        );
        from_caffe(&temp.path().join("caffe"), &runs.join(run), end);
    }
}

/// Stopped half-way, with the data in the middle of an epoch, and resumed: the same run.
fn from_the_middle(dir: &Path, run: &Path, whole: &Path, end: u64, log: &Log) {
    copy(run, dir);
    let mut solver = open(dir, None);
    solver
        .load_weights(&dir.join("init.caffemodel"), &mut Silent)
        .unwrap();
    let half = end / 2 - 3;
    solver.step(half, &mut go, &mut Silent).unwrap();
    let (_, state) = solver.snapshot(&mut Silent).unwrap();
    drop(solver);
    let mut solver = open(dir, None);
    solver.restore(&state, &mut Silent).unwrap();
    let mut rest = Log::default();
    solver.solve(&mut go, &mut rest).unwrap();
    let from = log.losses.iter().position(|(i, _)| *i == half).unwrap();
    assert_eq!(log.losses[from..], rest.losses[..], "{}", run.display());
    let tests = log.tests.len() - rest.tests.len();
    assert_eq!(log.tests[tests..], rest.tests[..], "{}", run.display());
    for ending in ["caffemodel", "solverstate"] {
        let read = |dir: &Path| {
            let bytes = fs::read(dir.join(format!("snap_iter_{end}.{ending}"))).unwrap();
            match ending {
                "caffemodel" => bytes,
                // All but the seed, which the clock chose twice.
                _ => {
                    let mut state = solverstate::decode(&bytes).unwrap();
                    state.resume.as_mut().unwrap().seed = None;
                    format!("{state:?}").into_bytes()
                }
            }
        };
        assert!(read(whole) == read(dir), "{}: {ending}", run.display());
    }
}

/// Goes on from what Caffe left.
fn from_caffe(dir: &Path, run: &Path, end: u64) {
    copy(run, dir);
    let state = dir.join("final.solverstate");
    let named = solverstate::read(&state).unwrap().learned_net.unwrap();
    fs::copy(dir.join("final.caffemodel"), dir.join(named)).unwrap();
    let mut solver = open(dir, Some(end as i32 + 5));
    let mut notes = Vec::new();
    solver
        .restore(&state, &mut |event: &Event<'_>| {
            if let Event::Note(text) = event {
                notes.push((*text).to_owned());
            }
        })
        .unwrap();
    assert!(notes.iter().any(|n| n.contains("from the beginning")));
    assert_eq!(solver.iteration(), end);
    let mut log = Log::default();
    solver.solve(&mut go, &mut log).unwrap();
    let last = |log: &Log| log.losses.last().unwrap().0;
    assert_eq!(last(&log), end + 5);
    assert!(log.losses.iter().all(|(_, loss)| loss.is_finite()));
}
