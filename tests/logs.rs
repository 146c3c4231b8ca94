//! `parse_log` and `plot`: what a training wrote, as tables and pictures.

use std::{fs, path::Path, process::Command};

use crate::{
    cli::{call, err, fails, out, works},
    support::{fixtures, python_or_skip},
};

fn run(name: &str) -> std::path::PathBuf {
    fixtures().join("reference/runs").join(name)
}

/// The columns of a table by name.
fn column(path: &Path, name: &str) -> Vec<f64> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.split_terminator("\r\n");
    let at = lines.next().unwrap().split(',').position(|c| c == name);
    let at = at.unwrap_or_else(|| panic!("no column {name} in\n{text}"));
    lines
        .map(|line| line.split(',').nth(at).unwrap().parse().unwrap())
        .collect()
}

#[test]
fn tables_and_pictures_of_a_log_of_caffes() {
    let dir = tempfile::tempdir().unwrap();
    let folder = run("seed_sgd");
    fs::copy(folder.join("caffe.log"), dir.path().join("caffe.log")).unwrap();
    let output = call(dir.path(), "parse_log caffe.log . --verbose");
    works(&output);
    assert_eq!(
        out(&output),
        "Wrote ./caffe.log.train\nWrote ./caffe.log.test\n"
    );
    let train = dir.path().join("caffe.log.train");
    let test = dir.path().join("caffe.log.test");

    // The figures that were recorded beside the log.
    let recorded = fs::read_to_string(folder.join("tests.csv")).unwrap();
    let recorded: Vec<Vec<&str>> = recorded.lines().map(|l| l.split(',').collect()).collect();
    for name in ["accuracy", "loss"] {
        let of = |at: usize| -> Vec<f64> {
            let rows = recorded.iter().filter(|row| row[1] == name);
            rows.map(|row| row[at].parse().unwrap()).collect()
        };
        assert_eq!(column(&test, "NumIters"), of(0));
        assert_eq!(column(&test, name), of(2), "{name}");
    }

    let line = "plot caffe.log --output=plot.svg --output=plot.png --figures=loss,accuracy,rate";
    works(&call(dir.path(), line));
    // Without --figures and --output it is the same picture, beside the log.
    works(&call(dir.path(), "plot caffe.log"));
    let read = |name: &str| fs::read(dir.path().join(name)).unwrap();
    assert_eq!(read("plot.svg"), read("caffe.log.svg"));
    // Once more: the same bytes.
    let before = read("plot.png");
    works(&call(dir.path(), line));
    assert_eq!(before, read("plot.png"));

    // Held against the log by a reader that is not ours.
    let Some(python) = python_or_skip(&["PIL"]) else {
        return;
    };
    let script = fixtures().join("../tests/support/logs.py");
    let output = Command::new(python)
        .arg(script)
        .arg(dir.path().join("caffe.log"))
        .args([&train, &test])
        .args(["plot.svg", "plot.png"].map(|name| dir.path().join(name)))
        .output()
        .unwrap();
    works(&output);
    assert!(out(&output).contains("plots"), "{}", out(&output));
}

#[test]
fn our_own_log_and_record() {
    let dir = tempfile::tempdir().unwrap();
    let net = "name: 'line' layer { name: 'data' type: 'DummyData' top: 'data' top: 'label'\n\
         dummy_data_param { shape { dim: 4 dim: 2 } shape { dim: 4 }\n\
         data_filler { type: 'gaussian' } data_filler { value: 1 } } }\n\
         layer { name: 'ip' type: 'InnerProduct' bottom: 'data' top: 'ip' inner_product_param { num_output: 2\n\
         weight_filler { type: 'xavier' } } }\n\
         layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' }\n\
         layer { name: 'acc' type: 'Accuracy' bottom: 'ip' bottom: 'label' top: 'acc' include { phase: TEST } }\n";
    fs::write(dir.path().join("net.prototxt"), net).unwrap();
    let solver = "net: 'net.prototxt' base_lr: 0.1 lr_policy: 'step' stepsize: 10 gamma: 0.1 display: 5 max_iter: 20\n\
         test_iter: 2 test_interval: 10 snapshot_prefix: 'line' snapshot_after_train: false random_seed: 1\n";
    fs::write(dir.path().join("solver.prototxt"), solver).unwrap();
    let trained = call(dir.path(), "train --solver=solver.prototxt --run=record");
    works(&trained);
    fs::write(dir.path().join("our.log"), err(&trained)).unwrap();

    works(&call(dir.path(), "parse_log our.log ."));
    let train = dir.path().join("our.log.train");
    assert_eq!(column(&train, "NumIters"), [0.0, 5.0, 10.0, 15.0]);
    // Each row has the rate of the display before, as the log tells it.
    assert_eq!(column(&train, "LearningRate"), [0.1, 0.1, 0.1, 0.01]);
    assert!(
        column(&train, "Seconds")
            .windows(2)
            .all(|s| 0.0 <= s[0] && s[0] <= s[1])
    );
    let test = dir.path().join("our.log.test");
    assert_eq!(column(&test, "NumIters"), [0.0, 10.0, 20.0]);

    // The record of the run tells the same, and each iteration's own rate.
    works(&call(dir.path(), "parse_log record/run.jsonl ."));
    let record = dir.path().join("run.jsonl.train");
    assert_eq!(column(&record, "NumIters"), [0.0, 5.0, 10.0, 15.0]);
    let rates = column(&record, "LearningRate");
    assert!(
        (rates[1] - 0.1).abs() < 1e-6 && (rates[3] - 0.01).abs() < 1e-6,
        "{rates:?}"
    );

    let output = call(dir.path(), "parse_log our.log --json");
    let json: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(json["train"][1]["NumIters"], 5);
    assert_eq!(
        json["test"][2]["acc"].as_f64(),
        Some(column(&test, "acc")[2])
    );

    // Both laid over each other, one given by its folder.
    let line = "plot our.log record --figures=loss,acc --output=both.svg --xaxis=seconds";
    works(&call(dir.path(), line));
    let svg = fs::read_to_string(dir.path().join("both.svg")).unwrap();
    for word in [
        "our.log: training loss",
        "record: test loss",
        "record: test acc",
        ">seconds<",
    ] {
        assert!(svg.contains(word), "{word} in\n{svg}");
    }
}

#[test]
fn what_is_no_log_is_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("empty.log"), "").unwrap();
    fs::write(
        dir.path().join("binary.log"),
        [0u8, 255, 10, 13, 200].repeat(1000),
    )
    .unwrap();
    fs::write(dir.path().join("short.log"), "Iteration 0, loss = 1\n").unwrap();
    let says = |line: &str, words: &[&str]| fails(&call(dir.path(), line), words);
    for command in ["parse_log", "plot"] {
        says(command, &["a training's log"]);
        says(&format!("{command} none.log"), &["none.log"]);
        says(&format!("{command} empty.log"), &["tells of no iteration"]);
        says(&format!("{command} binary.log"), &["tells of no iteration"]);
    }
    says(
        "parse_log short.log none",
        &["no folder 'none'", "mkdir none"],
    );
    says(
        "parse_log short.log --delimiter=ab",
        &["--delimiter", "tab"],
    );
    says("plot short.log --output=a.pdf", &["a.pdf", ".svg or .png"]);
    says(
        "plot short.log --figures=iou",
        &["'iou'", "there is: loss, accuracy, rate"],
    );
    says("plot short.log --yscale=cubic", &["cubic"]);
    says("plot short.log --output=none/a.svg", &["none/a.svg"]);
    // A log without outputs has no rows; a picture of the one loss is there.
    let output = call(dir.path(), "parse_log short.log --verbose");
    works(&output);
    assert!(out(&output).contains("Not writing short.log.train; no lines to write"));
    works(&call(dir.path(), "plot short.log"));
    let mut left: Vec<String> = fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    left.sort();
    assert_eq!(
        left,
        ["binary.log", "empty.log", "short.log", "short.log.svg"]
    );
}
