//! Training from outside: the solver against closed forms, resuming, snapshots, and what goes wrong.

use std::{fs, path::Path};

use cortado::{
    error::{Error, ErrorKind},
    events::{Event, Observer, Silent},
    load::{self, LoadOptions},
    model_io::{caffemodel, solverstate},
    solver::{Action, BestOptions, Solver, SolverOptions},
    tensor::Tensor,
};
use tempfile::TempDir;

/// Least squares: the mean over four samples of |W x + b - t|² / 2.
const NET: &str = r#"
name: "least_squares"
layer { name: "in" type: "Input" top: "x" top: "t" input_param { shape { dim: 4 dim: 3 } shape { dim: 4 dim: 2 } } }
layer {
  name: "ip" type: "InnerProduct" bottom: "x" top: "y" param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  inner_product_param { num_output: 2 weight_filler { type: "gaussian" std: 0.5 } }
}
layer { name: "drop" type: "Dropout" bottom: "y" top: "y" include { phase: TRAIN stage: "dropout" } }
layer { name: "difference" type: "Eltwise" bottom: "y" bottom: "t" top: "d" eltwise_param { coeff: 1 coeff: -1 } }
layer { name: "loss" type: "Eltwise" bottom: "d" bottom: "d" top: "loss" eltwise_param { operation: PROD } loss_weight: 0.125 }
"#;

const X: [[f32; 3]; 4] = [
    [1.0, 0.5, -1.0],
    [0.0, 2.0, 1.0],
    [-1.0, 1.0, 0.5],
    [0.5, -0.5, 2.0],
];
const T: [[f32; 2]; 4] = [[1.0, 0.0], [0.5, -1.0], [2.0, 1.0], [-1.0, 0.5]];

const SOLVER: &str = r#"
net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 max_iter: 20 random_seed: 3 snapshot_prefix: "s"
"#;

fn folder(net: &str, solver: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("net.prototxt"), net).unwrap();
    fs::write(dir.path().join("solver.prototxt"), solver).unwrap();
    dir
}

fn open(dir: &Path, stages: &[&str], observer: &mut dyn Observer) -> Result<Solver, Error> {
    let file = dir.join("solver.prototxt");
    let param = load::solver(&file, LoadOptions::default(), observer)?;
    let options = SolverOptions {
        root: dir.to_path_buf(),
        stages: stages.iter().map(|&s| s.to_owned()).collect(),
        ..SolverOptions::default()
    };
    let mut solver = Solver::new(param, options, observer)?;
    feed(&mut solver);
    Ok(solver)
}

fn feed(solver: &mut Solver) {
    let x = Tensor::new([4, 3], X.concat()).unwrap();
    let t = Tensor::new([4, 2], T.concat()).unwrap();
    for net in std::iter::once(&mut solver.net).chain(&mut solver.test_nets) {
        net.set_input("x", &x).unwrap();
        net.set_input("t", &t).unwrap();
    }
}

fn made(net: &str, solver: &str) -> (TempDir, Solver) {
    let dir = folder(net, solver);
    let solver = open(dir.path(), &[], &mut Silent).unwrap();
    (dir, solver)
}

fn go() -> Action {
    Action::Continue
}

fn weights(solver: &Solver) -> Vec<Vec<f32>> {
    let ids = solver.net.learnable();
    ids.iter()
        .map(|&id| solver.params[id].value.data.clone())
        .collect()
}

fn bits(weights: &[Vec<f32>]) -> Vec<u32> {
    weights.iter().flatten().map(|v| v.to_bits()).collect()
}

#[test]
fn least_squares_follow_gradient_descent_with_momentum_and_decay() {
    let (_dir, mut solver) = made(NET, &format!("{SOLVER} weight_decay: 0.01"));
    let start = weights(&solver);
    let mut w: Vec<f64> = start[0].iter().map(|&v| v.into()).collect();
    let mut b = [0.0f64; 2];
    let (mut vw, mut vb) = ([0.0f64; 6], [0.0f64; 2]);
    solver.solve(&mut go, &mut Silent).unwrap();
    for _ in 0..20 {
        let (mut gw, mut gb) = ([0.0f64; 6], [0.0f64; 2]);
        for (x, t) in X.iter().zip(&T) {
            for o in 0..2 {
                let y: f64 = (0..3).map(|i| w[3 * o + i] * f64::from(x[i])).sum::<f64>() + b[o];
                // The loss is an eighth of the sum of squares: its derivative is a quarter of the difference.
                let d = (y - f64::from(t[o])) / 4.0;
                gb[o] += d;
                for i in 0..3 {
                    gw[3 * o + i] += d * f64::from(x[i]);
                }
            }
        }
        for i in 0..6 {
            vw[i] = 0.9 * vw[i] + 0.1 * (gw[i] + 0.01 * w[i]);
            w[i] -= vw[i];
        }
        for o in 0..2 {
            vb[o] = 0.9 * vb[o] + 0.2 * gb[o];
            b[o] -= vb[o];
        }
    }
    let end = weights(&solver);
    for (got, wanted) in end[0].iter().chain(&end[1]).zip(w.iter().chain(&b)) {
        assert!((f64::from(*got) - wanted).abs() < 1e-5, "{got} {wanted}");
    }
}

#[test]
fn iter_size_of_the_same_batch_changes_nothing() {
    let run = |more: &str| {
        let (_dir, mut solver) = made(NET, &format!("{SOLVER} {more}"));
        let outcome = solver.solve(&mut go, &mut Silent).unwrap();
        (bits(&weights(&solver)), outcome.loss.to_bits())
    };
    // Sums of two or four equal numbers, divided again, are exact.
    assert_eq!(run(""), run("iter_size: 2"));
    assert_eq!(run(""), run("iter_size: 4"));
}

#[test]
fn clipping_is_told_and_bounds_the_step() {
    let text = SOLVER.replace("momentum: 0.9", "clip_gradients: 0.01");
    let (_dir, mut solver) = made(&NET.replace("lr_mult: 2", "lr_mult: 1"), &text);
    let before = weights(&solver).concat();
    let mut told = Vec::new();
    solver
        .step(1, &mut go, &mut |event: &Event<'_>| {
            if let Event::Clipped { norm, bound } = event {
                told.push((*norm, *bound));
            }
        })
        .unwrap();
    assert!(
        matches!(told[..], [(norm, 0.01)] if norm > 0.01),
        "{told:?}"
    );
    let after = weights(&solver).concat();
    let step: f32 = before
        .iter()
        .zip(&after)
        .map(|(a, b)| (a - b).powi(2))
        .sum();
    assert!((step.sqrt() - 0.1 * 0.01).abs() < 1e-6, "{}", step.sqrt());
}

#[test]
fn a_loss_that_is_not_finite_is_found_and_nothing_is_saved() {
    let (dir, mut solver) = made(NET, &format!("{SOLVER} snapshot: 2"));
    solver.step(3, &mut go, &mut Silent).unwrap();
    let mut t = T.concat();
    t[5] = f32::NAN;
    let t = Tensor::new([4, 2], t).unwrap();
    solver.net.set_input("t", &t).unwrap();
    let error = solver.solve(&mut go, &mut Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Diverged);
    for part in [
        "iteration 3",
        "'difference'",
        "element 5",
        "base_lr",
        "s_iter_2",
    ] {
        assert!(error.to_string().contains(part), "no {part} in {error}");
    }
    assert_eq!(
        files(dir.path()),
        ["s_iter_2.caffemodel", "s_iter_2.solverstate"]
    );
}

#[test]
fn weights_that_ran_away_are_not_saved() {
    let text = SOLVER.replace("base_lr: 0.1", "base_lr: 1e38");
    let (dir, mut solver) = made(NET, &format!("{text} snapshot: 1"));
    let mut warnings = Vec::new();
    let error = solver
        .solve(&mut go, &mut |event: &Event<'_>| {
            if let Event::Warning(text) = event {
                warnings.push((*text).to_owned());
            }
        })
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Diverged, "{error}");
    for name in files(dir.path()).iter().filter(|n| n.ends_with("model")) {
        let net = caffemodel::read(&dir.path().join(name)).unwrap();
        let blobs = net.layer.iter().flat_map(|l| &l.blobs);
        assert!(blobs.flat_map(|b| &b.data).all(|v| v.is_finite()), "{name}");
    }
}

/// Snapshots in a folder, sorted.
fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| !n.ends_with(".prototxt"))
        .collect();
    names.sort();
    names
}

/// Every figure of a run, bit for bit.
#[derive(Default, PartialEq, Debug)]
struct Figures(Vec<(String, u64, u32)>);

impl Observer for Figures {
    fn on(&mut self, event: &Event<'_>) {
        self.0.push(match event {
            Event::Step {
                iteration, loss, ..
            } => ("loss".into(), *iteration, loss.to_bits()),
            Event::Rate { iteration, rate } => ("rate".into(), *iteration, rate.to_bits()),
            Event::TestOutput {
                blob, net, value, ..
            } => (format!("test{net} {blob}"), 0, value.to_bits()),
            Event::FinalLoss { iteration, loss } => ("final".into(), *iteration, loss.to_bits()),
            _ => return,
        });
    }
}

#[test]
fn a_resumed_run_is_the_uninterrupted_one_bit_for_bit() {
    resumed_equals_unbroken("", "");
}

#[test]
fn a_resumed_run_is_the_uninterrupted_one_bit_for_bit_by_hdf5() {
    resumed_equals_unbroken("snapshot_format: HDF5", ".h5");
}

/// With a field more in the solver file, and an ending more at its snapshots.
fn resumed_equals_unbroken(more: &str, ending: &str) {
    // No seed: the resumed run takes over the one that the clock chose.
    let text = r#"
      net: "net.prototxt" base_lr: 0.1 lr_policy: "multistep" gamma: 0.5 stepvalue: 5 stepvalue: 12 momentum: 0.9
      weight_decay: 0.01 max_iter: 20 snapshot: 7 snapshot_prefix: "s" display: 1 average_loss: 5
      test_iter: 2 test_iter: 1 test_interval: 7 test_state {} test_state { stage: "other" }
    "#;
    let text = &format!("{text} {more}");
    let whole = folder(NET, text);
    let mut solver = open(whole.path(), &["dropout"], &mut Silent).unwrap();
    let mut figures = Figures::default();
    solver.solve(&mut go, &mut figures).unwrap();

    let resumed = folder(NET, text);
    // The second run has only what the first left at iteration 7, in another folder.
    for name in ["s_iter_7.caffemodel", "s_iter_7.solverstate"] {
        let name = format!("{name}{ending}");
        fs::copy(whole.path().join(&name), resumed.path().join(&name)).unwrap();
    }
    let mut second = open(resumed.path(), &["dropout"], &mut Silent).unwrap();
    let state = resumed.path().join(format!("s_iter_7.solverstate{ending}"));
    second.restore(&state, &mut Silent).unwrap();
    assert_eq!(second.iteration(), 7);
    assert_eq!(second.seed(), solver.seed());
    // Another seed made other nets, whose inputs are to be set.
    feed(&mut second);
    let mut rest = Figures::default();
    second.solve(&mut go, &mut rest).unwrap();

    let at = figures.0.len() - rest.0.len();
    assert!(rest.0.len() > 13 && at > 0);
    assert_eq!(figures.0[at..], rest.0[..]);
    assert_eq!(bits(&weights(&solver)), bits(&weights(&second)));
    for name in ["s_iter_14", "s_iter_20"] {
        for kind in ["caffemodel", "solverstate"] {
            let name = format!("{name}.{kind}{ending}");
            let read = |dir: &TempDir| fs::read(dir.path().join(&name)).unwrap();
            assert_eq!(read(&whole), read(&resumed), "{name}");
        }
    }
}

#[test]
fn a_stopped_run_saves_and_goes_on() {
    let (dir, mut solver) = made(NET, SOLVER);
    let mut asked = 0;
    let mut stop = || {
        asked += 1;
        match asked {
            2 => Action::Snapshot,
            5 => Action::Stop,
            _ => Action::Continue,
        }
    };
    let mut early = None;
    let outcome = solver
        .solve(&mut stop, &mut |event: &Event<'_>| {
            if let Event::TrainDone { early: e } = event {
                early = Some(*e);
            }
        })
        .unwrap();
    assert!(outcome.stopped && outcome.iteration == 5 && early == Some(true));
    let names = files(dir.path());
    assert_eq!(names[0], "s_iter_2.caffemodel");
    assert_eq!(names[3], "s_iter_5.solverstate");

    let (_other, mut whole) = made(NET, SOLVER);
    whole.solve(&mut go, &mut Silent).unwrap();
    let mut again = open(dir.path(), &[], &mut Silent).unwrap();
    again
        .restore(&dir.path().join("s_iter_5.solverstate"), &mut Silent)
        .unwrap();
    again.solve(&mut go, &mut Silent).unwrap();
    assert_eq!(bits(&weights(&whole)), bits(&weights(&again)));
}

#[test]
fn tests_of_several_nets() {
    let text =
        format!(r#"{SOLVER} test_iter: 2 test_iter: 3 test_interval: 10 test_compute_loss: true"#);
    let (_dir, mut solver) = made(NET, &text);
    let (mut tests, mut losses, mut passes) = (Vec::new(), 0, 0);
    solver
        .solve(&mut go, &mut |event: &Event<'_>| match event {
            Event::Testing { iteration, net } => tests.push((*iteration, *net)),
            Event::TestLoss { .. } => losses += 1,
            Event::TestStep { .. } => passes += 1,
            _ => {}
        })
        .unwrap();
    let wanted = [(0, 0), (0, 1), (10, 0), (10, 1), (20, 0), (20, 1)];
    assert_eq!(tests, wanted);
    assert_eq!((losses, passes), (6, 3 * 5));
    // Without dropout the test net sees the train net's weights: the squared differences of both are the same.
    let means = solver.test(1, &mut Silent).unwrap();
    solver.net.forward(&mut solver.params).unwrap();
    let train = solver.net.blob("loss").unwrap();
    assert_eq!(means.len(), 8);
    for ((name, mean), value) in means.iter().zip(train.data) {
        assert_eq!((name.as_str(), mean.to_bits()), ("loss", value.to_bits()));
    }
    assert!(solver.test(2, &mut Silent).is_err());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_loses_nothing() {
    full_disk("", "");
    full_disk("snapshot_format: HDF5", ".h5");
}

#[cfg(target_os = "linux")]
fn full_disk(more: &str, ending: &str) {
    let (dir, mut solver) = made(NET, &format!("{SOLVER} snapshot: 5 {more}"));
    // Whatever is written to this device finds the disk full.
    let full = |name: &str| {
        let name = format!("{name}{ending}");
        std::os::unix::fs::symlink("/dev/full", dir.path().join(name)).unwrap();
    };
    let there = |name: &str| dir.path().join(format!("{name}{ending}"));
    full("s_iter_10.caffemodel");
    let mut warnings = Vec::new();
    solver
        .step(12, &mut go, &mut |event: &Event<'_>| {
            if let Event::Warning(text) = event {
                warnings.push((*text).to_owned());
            }
        })
        .unwrap();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("s_iter_10.caffemodel"), "{warnings:?}");
    let state = solverstate::read(&there("s_iter_5.solverstate")).unwrap();
    assert_eq!(state.iteration, 5);
    caffemodel::read(&there("s_iter_5.caffemodel")).unwrap();
    assert!(!files(dir.path()).iter().any(|n| n.ends_with(".part")));

    full("s_iter_13.solverstate");
    let mut stop = || Action::Stop;
    let error = solver.solve(&mut stop, &mut Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.message().contains("s_iter_13.solverstate"), "{error}");
}

#[test]
fn saved_models_are_as_caffe_writes_them() {
    let (dir, mut solver) = made(NET, &format!("{SOLVER} snapshot_diff: true"));
    solver.step(1, &mut go, &mut Silent).unwrap();
    let (model, state) = solver.snapshot(&mut Silent).unwrap();
    assert_eq!(model, dir.path().join("s_iter_1.caffemodel"));
    let net = caffemodel::read(&model).unwrap();
    let layers: Vec<(&str, usize)> = net
        .layer
        .iter()
        .map(|l| (l.name(), l.blobs.len()))
        .collect();
    assert_eq!(
        layers,
        [
            ("in", 0),
            ("ip", 2),
            ("difference", 0),
            ("d_difference_0_split", 0),
            ("loss", 0)
        ]
    );
    assert_eq!(
        net.layer[4].bottom,
        ["d_difference_0_split_0", "d_difference_0_split_1"]
    );
    assert!(net.layer.iter().all(|l| l.phase.is_some()));
    let blob = &net.layer[1].blobs[0];
    assert_eq!(blob.shape.as_ref().unwrap().dim, [2, 3]);
    assert_eq!(blob.data, weights(&solver)[0]);
    // The first update is the history, and `diff` holds it.
    let state = solverstate::read(&state).unwrap();
    assert_eq!(blob.diff, state.history[0].data);
    assert_eq!(state.learned_net.as_deref(), Some("s_iter_1.caffemodel"));
}

#[test]
fn weights_that_do_not_fit_are_explained() {
    let (dir, mut solver) = made(NET, SOLVER);
    let (model, state) = solver.snapshot(&mut Silent).unwrap();
    let with = |net: &str| made(net, SOLVER);
    let load = |net: &str| with(net).1.load_weights(&model, &mut Silent);

    let report = load(NET).unwrap();
    assert_eq!(report.copied, 2);
    assert!(report.ignored.is_empty() && report.untouched.is_empty());

    let error = load(
        &NET.replace("num_output: 2", "num_output: 2 bias_term: false")
            .replace("param { lr_mult: 2 decay_mult: 0 }", ""),
    )
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Weights);
    assert!(error.message().contains("'ip'"), "{error}");

    let other = NET.replace("dim: 4 dim: 3", "dim: 4 dim: 7");
    let dir2 = folder(&other, SOLVER);
    let param = load::solver(
        &dir2.path().join("solver.prototxt"),
        LoadOptions::default(),
        &mut Silent,
    )
    .unwrap();
    let options = SolverOptions {
        root: dir2.path().to_path_buf(),
        ..Default::default()
    };
    let mut other = Solver::new(param, options, &mut Silent).unwrap();
    let error = other.load_weights(&model, &mut Silent).unwrap_err();
    for part in ["'ip'", "parameter 0", "[2, 7]", "[2, 3]", "rename"] {
        assert!(error.to_string().contains(part), "no {part} in {error}");
    }
    let error = other.restore(&state, &mut Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Weights);
    assert!(error.message().contains("history blob 0"), "{error}");

    let error = load(&NET.replace("\"ip\"", "\"fc\"")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Weights);
    let text = error.to_string();
    assert!(text.contains("ip") && text.contains("fc"), "{text}");

    // The wrong one of the two files, in both directions.
    let error = solver.load_weights(&state, &mut Silent).unwrap_err();
    assert!(error.message().contains(".solverstate"), "{error}");
    let error = solver.restore(&model, &mut Silent).unwrap_err();
    assert!(error.message().contains(".caffemodel"), "{error}");
    let cut = dir.path().join("cut.caffemodel");
    let bytes = fs::read(&model).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let error = solver.load_weights(&cut, &mut Silent).unwrap_err();
    assert!(error.message().contains("cut short"), "{error}");

    fs::remove_file(&model).unwrap();
    let error = solver.restore(&state, &mut Silent).unwrap_err();
    assert!(error.message().contains("s_iter_0.caffemodel"), "{error}");
}

#[test]
fn the_solver_file_names_weights_and_stray_fields_are_errors() {
    let (dir, mut solver) = made(NET, SOLVER);
    solver.step(1, &mut go, &mut Silent).unwrap();
    solver.snapshot(&mut Silent).unwrap();
    let text = format!("{SOLVER} weights: \"s_iter_1.caffemodel, s_iter_1.caffemodel\"");
    fs::write(dir.path().join("solver.prototxt"), text).unwrap();
    let mut loads = 0;
    let again = open(dir.path(), &[], &mut |event: &Event<'_>| {
        loads += usize::from(matches!(event, Event::Weights { .. }));
    });
    assert_eq!(loads, 2);
    assert_eq!(bits(&weights(&solver)), bits(&weights(&again.unwrap())));

    for (more, field) in [
        ("lr_policy: \"step\"", "gamma"),
        ("iter_size: 0", "iter_size"),
        ("average_loss: 0", "average_loss"),
        ("test_iter: 1", "test_interval"),
        ("train_net: \"x\"", "train_net"),
        ("snapshot_prefix: \"no/such/place\"", "snapshot_prefix"),
        ("regularization_type: \"L0\"", "regularization_type"),
        ("max_iter: -1", "max_iter"),
    ] {
        // A later field of the same name would be a repetition: take the first away.
        let name = more.split(':').next().unwrap();
        let text: String = SOLVER
            .replace(
                "lr_policy: \"fixed\"",
                if name == "lr_policy" {
                    ""
                } else {
                    "lr_policy: \"fixed\""
                },
            )
            .replace(
                "snapshot_prefix: \"s\"",
                if name == "snapshot_prefix" {
                    ""
                } else {
                    "snapshot_prefix: \"s\""
                },
            )
            .replace(
                "max_iter: 20",
                if name == "max_iter" {
                    ""
                } else {
                    "max_iter: 20"
                },
            );
        let dir = folder(NET, &format!("{text} {more}"));
        let error = open(dir.path(), &[], &mut Silent).err().unwrap();
        assert_eq!(error.field(), Some(field), "{error}");
    }
}

/// As [`open`], with wishes about the best weights.
fn judged(dir: &Path, best: BestOptions) -> Result<Solver, Error> {
    let file = dir.join("solver.prototxt");
    let param = load::solver(&file, LoadOptions::default(), &mut Silent)?;
    let options = SolverOptions {
        root: dir.to_path_buf(),
        best,
        ..SolverOptions::default()
    };
    let mut solver = Solver::new(param, options, &mut Silent)?;
    feed(&mut solver);
    Ok(solver)
}

#[test]
fn patience_ends_what_gets_no_better() {
    let tested = format!("{SOLVER} test_iter: 1 test_interval: 2");
    let dir = folder(NET, &tested.replace("base_lr: 0.1", "base_lr: 0"));
    let options = BestOptions {
        patience: 2,
        ..BestOptions::default()
    };
    let mut solver = judged(dir.path(), options).unwrap();
    let end = solver.solve(&mut go, &mut Silent).unwrap();
    // Tests at 0, 2 and 4 are alike: two that were not better.
    assert_eq!((end.iteration, end.stopped), (4, true));
    // What was seen is kept: going on, patience is over at once.
    let options = BestOptions {
        patience: 2,
        ..BestOptions::default()
    };
    let mut solver = judged(dir.path(), options).unwrap();
    let state = dir.path().join("s_iter_4.solverstate");
    solver.restore(&state, &mut Silent).unwrap();
    let end = solver.solve(&mut go, &mut Silent).unwrap();
    assert_eq!((end.iteration, end.stopped), (4, true));
}

#[test]
fn the_best_weights_are_kept() {
    let options = BestOptions {
        keep: true,
        metric: Some("loss".into()),
        ..BestOptions::default()
    };
    let tested = format!("{SOLVER} test_iter: 1 test_interval: 4");
    // Without momentum the loss falls all the way, so that the last test is the best.
    let dir = folder(NET, &tested.replace("momentum: 0.9", "momentum: 0"));
    let mut solver = judged(dir.path(), options.clone()).unwrap();
    solver.solve(&mut go, &mut Silent).unwrap();
    let model = |name: &str| fs::read(dir.path().join(format!("s_{name}.caffemodel"))).unwrap();
    assert!(model("best") == model("iter_20"));
    // A rate that makes it grow: the first test stays the best.
    let dir = folder(NET, &tested.replace("base_lr: 0.1", "base_lr: -0.1"));
    let mut solver = judged(dir.path(), options.clone()).unwrap();
    let first = weights(&solver);
    solver.solve(&mut go, &mut Silent).unwrap();
    let mut again = judged(dir.path(), options.clone()).unwrap();
    let state = dir.path().join("s_best.solverstate");
    again.restore(&state, &mut Silent).unwrap();
    assert_eq!(again.iteration(), 0);
    assert_eq!(bits(&weights(&again)), bits(&first));

    let wrong = BestOptions {
        metric: Some("accuracy".into()),
        ..options.clone()
    };
    let error = judged(dir.path(), wrong)
        .unwrap()
        .solve(&mut go, &mut Silent);
    assert!(error.unwrap_err().to_string().contains("'accuracy'"));
    let untested = folder(NET, SOLVER);
    let error = judged(untested.path(), options).err().unwrap();
    assert_eq!(error.field(), Some("test_interval"), "{error}");
}
