//! Figures of tests and weights of classes, from outside: what 'train' and 'test' tell besides Caffe's lines.

use std::{fs, path::Path};

use cortado::{
    events::Silent,
    feed::lmdb::LmdbWriter,
    load::{self, LoadOptions},
    model_io::caffemodel::Weights,
    net::{Keep, Net, NetOptions},
    params::Params,
    schema::Datum,
};
use prost::Message as _;
use serde_json::Value;

use crate::cli::{call, err, fails, works};

/// A database of records of one pixel with so many channels.
fn database(dir: &Path, name: &str, records: &[(&[u8], i32)]) {
    let mut writer = LmdbWriter::create(&dir.join(name)).unwrap();
    for (i, (values, label)) in records.iter().enumerate() {
        let datum = Datum {
            channels: Some(values.len() as i32),
            height: Some(1),
            width: Some(1),
            data: Some(values.to_vec()),
            label: Some(*label),
            ..Datum::default()
        };
        writer
            .put(format!("{i:06}").as_bytes(), &datum.encode_to_vec())
            .unwrap();
    }
    writer.finish().unwrap();
}

fn write(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join(name), text).unwrap();
}

fn json(dir: &Path, name: &str) -> Value {
    serde_json::from_slice(&fs::read(dir.join(name)).unwrap()).unwrap()
}

/// The log without its prefixes, and without what Caffe does not tell where `caffes`.
fn told(log: &str, caffes: bool) -> Vec<String> {
    let line = |line: &str| {
        let (prefix, text) = line.split_once("] ")?;
        let tag = prefix.split_whitespace().last()?;
        // The clock and the flag itself differ.
        let plain = !text.contains("iter/s") && !text.contains("metrics");
        (plain && !(caffes && tag == "cortado:2")).then(|| format!("{tag}] {text}"))
    };
    log.lines().filter_map(line).collect()
}

const NET: &str = r#"
name: "few"
layer { name: "data" type: "Data" top: "data" top: "label" data_param { source: "db" batch_size: 4 backend: LMDB } transform_param { scale: 0.01 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 7 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" include { phase: TEST } }
layer { name: "top3" type: "Accuracy" bottom: "prob" bottom: "label" top: "top3" accuracy_param { top_k: 3 } include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" loss_param { ignore_label: 5 } include { phase: TRAIN } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" loss_param { ignore_label: 5 } include { phase: TEST } }
"#;

const SOLVER: &str = r#"net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 6 display: 2
test_iter: 3 test_interval: 3 snapshot_prefix: "snap" random_seed: 1
"#;

/// Ten records, so that three batches of four come round; label 5 is never there where Accuracy would have to see it.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let records: Vec<([u8; 3], i32)> = (0..10u8)
        .map(|i| ([i * 25, 200 - i * 17, i % 3 * 90], i32::from(i % 4)))
        .collect();
    let records: Vec<(&[u8], i32)> = records.iter().map(|(v, l)| (&v[..], *l)).collect();
    database(dir.path(), "db", &records);
    write(dir.path(), "net.prototxt", NET);
    write(dir.path(), "solver.prototxt", SOLVER);
    dir
}

#[test]
fn figures_follow_caffes_lines_and_change_none_of_them() {
    let dir = folder();
    let run = |words: &str| {
        let output = call(dir.path(), words);
        works(&output);
        err(&output)
    };
    let train = "train --solver=solver.prototxt";
    let with = run(&format!("{train} --metrics-json=all.json"));
    let without = run(&format!("{train} --no-metrics"));
    assert_eq!(told(&with, true), told(&without, true));
    assert!(!without.contains("cortado:2"), "{without}");
    let test = "test --model=net.prototxt --weights=snap_iter_6.caffemodel --iterations=3";
    let scored = run(&format!(
        "{test} --metrics-json=one.json --class-names=ground,b,c,d,e,f,g"
    ));
    assert_eq!(
        told(&scored, true),
        told(&run(&format!("{test} --no-metrics")), true)
    );

    // What readers of Caffe's log look for.
    let ours: Vec<String> = [&with, &scored]
        .iter()
        .flat_map(|log| log.lines().filter(|line| line.contains("cortado:2]")))
        .map(str::to_owned)
        .collect();
    assert!(ours.len() > 30, "{ours:?}");
    for line in &ours {
        for word in ["Iteration", "net output", "lr = ", "loss = ", "Testing"] {
            assert!(!line.contains(word), "{line}");
        }
    }
    assert!(
        scored.contains("; always saying 'ground' would score 0."),
        "{scored}"
    );
    assert!(
        with.contains("ip against label (layer loss): 12 labels, 7 classes"),
        "{with}"
    );
    // Behind the lines of their test.
    let lines = told(&with, false);
    let at = |start: &str| lines.iter().position(|l| l.contains(start)).unwrap();
    assert!(at("Test net output #") < at("ip against label"));
    assert!(at("ip against label") < at("Iteration 3, Testing"));

    let all = json(dir.path(), "all.json");
    let iterations: Vec<u64> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|test| test["iteration"].as_u64().unwrap())
        .collect();
    assert_eq!(iterations, [0, 3, 6]);
    assert_eq!(all[2]["outputs"][0]["blob"], "loss");
    assert_eq!(all[0]["heads"].as_array().unwrap().len(), 1);
    let one = json(dir.path(), "one.json");
    assert_eq!(one["heads"][0]["names"][0], "ground");
    // The test net went on from the tenth record: other figures, of as many labels.
    assert_eq!(one["heads"][0]["labels"], all[2]["heads"][0]["labels"]);
}

/// Against scores and labels that the library hands out, counted here.
#[test]
fn figures_are_what_counting_by_hand_gives() {
    let dir = folder();
    works(&call(dir.path(), "train --solver=solver.prototxt"));
    works(&call(
        dir.path(),
        "test --model=net.prototxt --weights=snap_iter_6.caffemodel --iterations=3 --metrics-json=one.json",
    ));
    let one = json(dir.path(), "one.json");
    let head = &one["heads"][0];

    let path = dir.path().join("net.prototxt");
    let file = load::net(&path, LoadOptions::default(), &mut Silent).unwrap();
    let mut params = Params::new();
    let options = NetOptions {
        root: dir.path().to_owned(),
        keep: Keep::Named,
        ..NetOptions::default()
    };
    let mut net = Net::new(&file.net, &mut params, &options, &mut Silent).unwrap();
    let weights = Weights::open(&dir.path().join("snap_iter_6.caffemodel")).unwrap();
    weights.load(&net, &mut params).unwrap();
    let mut counts = [[0u64; 7]; 7];
    let mut ranks = Vec::new();
    for _ in 0..3 {
        net.forward(&mut params).unwrap();
        let (scores, labels) = (net.blob("ip").unwrap(), net.blob("label").unwrap());
        for (row, &label) in scores.data.chunks_exact(7).zip(labels.data) {
            let mut order: Vec<usize> = (0..7).collect();
            order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
            let truth = label as usize;
            counts[truth][order[0]] += 1;
            ranks.push(order.iter().position(|&c| c == truth).unwrap());
        }
    }
    let number = |value: &Value| value.as_f64().unwrap();
    let close = |value: &Value, want: f64| {
        assert!((number(value) - want).abs() < 1e-9, "{value} is not {want}");
    };
    for (row, counts) in head["confusion"].as_array().unwrap().iter().zip(&counts) {
        assert_eq!(row, &serde_json::json!(counts));
    }
    let right: u64 = (0..7).map(|c| counts[c][c]).sum();
    close(&head["accuracy"], right as f64 / 12.0);
    let row = |c: usize| counts[c].iter().sum::<u64>();
    let column = |c: usize| counts.iter().map(|row| row[c]).sum::<u64>();
    let (mut ious, mut recalls) = (Vec::new(), Vec::new());
    for c in 0..7 {
        let hit = counts[c][c] as f64;
        match row(c) {
            0 => assert!(head["recall"][c].is_null()),
            n => {
                close(&head["recall"][c], hit / n as f64);
                recalls.push(hit / n as f64);
            }
        }
        match column(c) {
            0 => assert!(head["precision"][c].is_null()),
            n => close(&head["precision"][c], hit / n as f64),
        }
        let union = row(c) as f64 + column(c) as f64 - hit;
        if union > 0.0 {
            close(&head["iou"][c], hit / union);
            ious.push(hit / union);
        }
    }
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    close(&head["mean_iou"], mean(&ious));
    close(&head["mean_recall"], mean(&recalls));
    let commonest = (0..7).max_by_key(|&c| (row(c), 7 - c)).unwrap();
    assert_eq!(head["constant"]["class"], commonest);
    close(&head["constant"]["accuracy"], row(commonest) as f64 / 12.0);
    for (at, k) in [(0, 1), (1, 3), (2, 5)] {
        assert_eq!(head["top_k"][at][0], k);
        let among = ranks.iter().filter(|&&rank| rank < k).count();
        close(&head["top_k"][at][1], among as f64 / 12.0);
    }
}

/// Class 1 is once in the first batch, and found; thrice in the second, and missed. The layer's mean over the batches is
/// 1/2, the recall over the run 1/4.
#[test]
fn the_run_is_summed_and_not_averaged_by_batches() {
    let dir = folder();
    let yes: &[u8] = &[0, 9];
    let no: &[u8] = &[9, 0];
    let records = [
        (yes, 1),
        (no, 0),
        (no, 0),
        (no, 0),
        (no, 1),
        (no, 1),
        (no, 1),
        (no, 0),
    ];
    database(dir.path(), "scores", &records);
    works(&call(dir.path(), "train --solver=solver.prototxt"));
    write(
        dir.path(),
        "scores.prototxt",
        "layer { name: 'd' type: 'Data' top: 's' top: 'y' data_param { source: 'scores' batch_size: 4 backend: LMDB } }
         layer { name: 'a' type: 'Accuracy' bottom: 's' bottom: 'y' top: 'a' top: 'each' }",
    );
    let output = call(
        dir.path(),
        "test --model=scores.prototxt --weights=snap_iter_6.caffemodel --iterations=2 --metrics-json=one.json",
    );
    works(&output);
    assert!(err(&output).contains("] each = 0.5\n"), "{}", err(&output));
    let one = json(dir.path(), "one.json");
    let head = &one["heads"][0];
    assert_eq!(head["recall"][1], 0.25);
    assert_eq!(head["confusion"], serde_json::json!([[4, 0], [3, 1]]));
    assert_eq!(
        (&head["scores"], &head["layer"]),
        (&"s".into(), &"a".into())
    );
}

#[test]
fn flags_that_do_not_fit() {
    let dir = folder();
    works(&call(dir.path(), "train --solver=solver.prototxt"));
    let test = "test --model=net.prototxt --weights=snap_iter_6.caffemodel --iterations=1";
    for (words, expected) in [
        (
            "--no-metrics --metrics-json=x",
            &["--metrics-json", "leave one of the two out"][..],
        ),
        ("--metrics-json=none/such/x", &["none/such/x"]),
        (
            "--class-names=none.txt",
            &["none.txt", "separated by commas"],
        ),
        ("--ap-version=7point", &["7point", "MaxIntegral"]),
    ] {
        fails(&call(dir.path(), &format!("{test} {words}")), expected);
    }
    let output = call(dir.path(), &format!("{test} --class-names=a,b"));
    works(&output);
    assert!(err(&output).contains("2 class names were given, but 'ip' has 7 classes"));
    fails(
        &call(
            dir.path(),
            "train --solver=solver.prototxt --metrics-json=none/such/x",
        ),
        &["none/such/x"],
    );
}

const RARE: &str = r#"
layer { name: "data" type: "Data" top: "data" top: "label" data_param { source: "rare" batch_size: 100 backend: LMDB } transform_param { scale: 0.1 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"#;

/// Ninety of class 0 with values 0 to 9, ten of class 1 with 7 to 9: where they overlap, class 0 is the commoner.
fn rare() -> tempfile::TempDir {
    let dir = folder();
    let values: Vec<[u8; 1]> = (0..100u8)
        .map(|i| [if i < 90 { i % 10 } else { 7 + i % 3 }])
        .collect();
    let records: Vec<(&[u8], i32)> = values
        .iter()
        .enumerate()
        .map(|(i, value)| (&value[..], i32::from(i >= 90)))
        .collect();
    database(dir.path(), "rare", &records);
    write(dir.path(), "net.prototxt", RARE);
    write(
        dir.path(),
        "solver.prototxt",
        "net: 'net.prototxt' base_lr: 1 lr_policy: 'fixed' momentum: 0.9 max_iter: 150 display: 0
         test_iter: 1 test_interval: 150 test_initialization: false snapshot_prefix: 'snap' snapshot: 100 random_seed: 1",
    );
    dir
}

#[test]
fn weights_of_classes_find_the_rare_one() {
    let dir = rare();
    let recall = |flag: &str| {
        let output = call(
            dir.path(),
            &format!("train --solver=solver.prototxt --metrics-json=m.json {flag}"),
        );
        works(&output);
        let figures = json(dir.path(), "m.json");
        (
            figures[0]["heads"][0]["recall"][1].as_f64().unwrap(),
            figures,
            err(&output),
        )
    };
    let (plain, ..) = recall("");
    assert_eq!(plain, 0.0);
    let (weighed, figures, log) = recall("--class-weights=inverse");
    assert!(weighed > 0.99, "{weighed}");
    for words in [
        "labels of 'loss' by class in 100 records: 90 10",
        "class weights of 'loss': 0.555556 5",
        "class_weighting: 5",
    ] {
        assert!(log.contains(words), "'{words}' is not in\n{log}");
    }
    // The loss of a test is not weighed; the same command gives the same.
    assert_eq!(recall("--class-weights=inverse").1, figures);
    // From a snapshot on, the same end.
    let resumed = recall("--class-weights=inverse --snapshot=snap_iter_100.solverstate");
    assert_eq!(resumed.1, figures);
    let (median, _, log) = recall("--class-weights=median-frequency");
    assert!(
        log.contains("class weights of 'loss': 0.555556 5\n"),
        "{log}"
    );
    assert_eq!(median, weighed);
    // Weights that somebody wrote.
    write(dir.path(), "weights", "0.5555555555\n5\n");
    assert!(recall("--class-weights=weights").0 > 0.99);
    // And those of the net itself.
    let fields = "loss_param { weight_by_label_freqs: true class_weighting: [0.5555555555, 5] } }";
    let net = RARE.trim_end().strip_suffix('}').unwrap().to_owned() + fields;
    write(dir.path(), "net.prototxt", &net);
    assert_eq!(recall("").0, weighed);
    let (.., log) = recall("--class-weights=inverse");
    assert!(
        log.contains("go before the class_weighting of 'loss'"),
        "{log}"
    );
}

#[test]
fn weights_that_do_not_fit() {
    let dir = rare();
    let train = |flag: &str| {
        call(
            dir.path(),
            &format!("train --solver=solver.prototxt --class-weights={flag}"),
        )
    };
    write(dir.path(), "three", "1\n2\n3\n");
    fails(
        &train("three"),
        &[
            "3 weights, but loss 'loss' has 2 classes",
            "num_output",
            "one weight for each class",
        ],
    );
    fails(
        &train("balanced"),
        &["balanced", "median-frequency or inverse"],
    );
    write(dir.path(), "below", "1 -2");
    fails(&train("below"), &["-2 is no weight"]);
    let net = RARE.replace("SoftmaxWithLoss", "HingeLoss");
    write(dir.path(), "net.prototxt", &net);
    fails(&train("inverse"), &["the losses of this net are HingeLoss"]);
    let net = RARE.replace("num_output: 2", "num_output: 1");
    write(dir.path(), "net.prototxt", &net);
    fails(&train("inverse"), &["label 1 names no class", "'loss'"]);
}
