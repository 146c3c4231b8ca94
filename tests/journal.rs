//! The records that a run leaves.

use std::{fs, path::Path, process::Command};

use cortado::journal::{self, Line};

use crate::{
    cli::{call, err, fails, works},
    support::segments,
};

const FIELDS: &str = "max_iter: 40 display: 10 test_interval: 20";

fn lines(path: &Path) -> Vec<Line> {
    let record = journal::read(path).unwrap();
    assert_eq!((record.skipped, record.cut), (0, false));
    record.lines
}

/// Kinds of lines with how often each is there.
fn count(lines: &[Line], kind: &str) -> usize {
    let of = |line: &&Line| serde_json::to_value(line).unwrap()["kind"] == kind;
    lines.iter().filter(of).count()
}

#[test]
fn a_run_leaves_its_record_and_learns_the_same() {
    let dir = tempfile::tempdir().unwrap();
    segments::write(dir.path(), FIELDS);
    let train = "train --solver=solver.prototxt";
    works(&call(dir.path(), train));
    let weights = || fs::read(dir.path().join("snap_iter_40.caffemodel")).unwrap();
    let plain = weights();
    works(&call(
        dir.path(),
        &format!("{train} --run=run --maps=score --log-json=log.jsonl --tensorboard=board"),
    ));
    assert_eq!(plain, weights(), "looking on changed the weights");

    let text = fs::read(dir.path().join("run/run.jsonl")).unwrap();
    assert_eq!(text, fs::read(dir.path().join("log.jsonl")).unwrap());
    let all = lines(&dir.path().join("run/run.jsonl"));
    assert!(
        matches!(&all[0], Line::Run { name, seed: Some(1), max_iter: 40, .. } if name == "run")
    );
    assert!(matches!(
        all.last(),
        Some(Line::End {
            iteration: 40,
            error: None,
            ..
        })
    ));
    assert_eq!((count(&all, "net"), count(&all, "test")), (2, 3));
    // One for each display, and the loss after the last iteration.
    assert_eq!(count(&all, "train"), 5);
    assert_eq!((count(&all, "step"), count(&all, "vitals")), (40, 2));
    assert_eq!((count(&all, "snapshot"), count(&all, "worst")), (1, 3));
    let files = all.iter().filter_map(|line| match line {
        Line::Picture { file, key, .. } => {
            assert!(key.starts_with("rec"), "{key}");
            file.clone()
        }
        Line::Worst { samples, .. } => samples[0].picture.clone(),
        _ => None,
    });
    let files: Vec<String> = files.collect();
    // Inputs and truths once, answers and two channels at each test; the batch has two samples.
    assert_eq!(files.len(), 2 * (2 + 3 * 3) + 3, "{files:?}");
    for file in files {
        assert!(dir.path().join("run").join(file).is_file());
    }
    let report = fs::read_to_string(dir.path().join("run/report.html")).unwrap();
    assert!(report.contains("\"kind\":\"end\"") && report.contains("iVBOR"));
    let board: Vec<_> = fs::read_dir(dir.path().join("board")).unwrap().collect();
    assert_eq!(board.len(), 1);

    fails(
        &call(dir.path(), &format!("{train} --run=run")),
        &["another run", "--snapshot"],
    );
    fs::write(dir.path().join("more.prototxt"), {
        let solver = fs::read_to_string(dir.path().join("solver.prototxt")).unwrap();
        solver.replace("max_iter: 40", "max_iter: 50")
    })
    .unwrap();
    works(&call(
        dir.path(),
        "train --solver=more.prototxt --snapshot=snap_iter_40.solverstate --run=run",
    ));
    let more = lines(&dir.path().join("run/run.jsonl"));
    assert_eq!((&more[..all.len()], count(&more, "run")), (&all[..], 2));
    assert!(matches!(more.last(), Some(Line::End { iteration: 50, .. })));
}

#[test]
fn a_run_that_fails_says_so_in_its_record() {
    let dir = tempfile::tempdir().unwrap();
    segments::write(dir.path(), "max_iter: 9 test_interval: 9");
    let solver = dir.path().join("solver.prototxt");
    let text = fs::read_to_string(&solver).unwrap();
    fs::write(&solver, text.replace("base_lr: 0.01", "base_lr: 3e38")).unwrap();
    let output = call(dir.path(), "train --solver=solver.prototxt --run=run");
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let all = lines(&dir.path().join("run/run.jsonl"));
    let Some(Line::End { error, .. }) = all.last() else {
        panic!("{all:?}")
    };
    assert!(error.as_ref().unwrap().contains("the loss is"), "{error:?}");
    assert!(dir.path().join("run/report.html").is_file());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_does_not_end_a_run() {
    let dir = tempfile::tempdir().unwrap();
    segments::write(dir.path(), FIELDS);
    let output = call(
        dir.path(),
        "train --solver=solver.prototxt --log-json=/dev/full",
    );
    works(&output);
    let text = err(&output);
    assert_eq!(
        text.matches("the record of the run is not whole").count(),
        1,
        "{text}"
    );
}

#[test]
fn a_test_leaves_lines_too() {
    let dir = tempfile::tempdir().unwrap();
    segments::write(dir.path(), FIELDS);
    works(&call(dir.path(), "train --solver=solver.prototxt"));
    works(&call(
        dir.path(),
        "test --model=net.prototxt --weights=snap_iter_40.caffemodel --iterations=3 --log-json=test.jsonl",
    ));
    let all = lines(&dir.path().join("test.jsonl"));
    let found = all.iter().find_map(|line| match line {
        Line::Test { outputs, .. } => Some(outputs),
        _ => None,
    });
    assert_eq!(found.unwrap()[0].blob, "loss");
    assert!(matches!(all.last(), Some(Line::End { error: None, .. })));
}

const READ: &str = r#"
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "images": 0, "histograms": 0})
events.Reload()
tags = events.Tags()
assert {"train/loss", "train/rate", "train/outputs/loss", "test/loss"} <= set(tags["scalars"]), tags
assert [e.step for e in events.Scalars("test/loss")] == [0, 20, 40]
assert "norms/score[0]/gradient" in tags["scalars"], tags
assert "weights/score[0]" in tags["histograms"] and "blobs/data" in tags["histograms"], tags
histogram = events.Histograms("weights/score[0]")[0].histogram_value
assert sum(histogram.bucket) == histogram.num == 6, histogram
assert "score/sample 0/1" in tags["images"] and "worst/0" in tags["images"], tags
image = events.Images("data/sample 0/input")[0]
assert (image.width, image.height) == (128, 128), image.width
print("read")
"#;

/// TensorBoard itself reads what was written, where the environment names a Python that has it.
#[test]
fn tensorboard_reads_the_event_files() {
    let Some(python) = std::env::var_os("CORTADO_TENSORBOARD_PYTHON") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    segments::write(dir.path(), FIELDS);
    works(&call(
        dir.path(),
        "train --solver=solver.prototxt --tensorboard=board",
    ));
    let output = Command::new(python)
        .args(["-c", READ])
        .arg(dir.path().join("board"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", err(&output));
}
