//! The doctor from outside: nets and data with one mistake each, made on purpose, and whole ones.

use std::{fs, path::Path, process::Output};

use cortado::{feed::lmdb::LmdbWriter, schema::Datum};
use prost::Message as _;
use tempfile::TempDir;

use crate::cli::{call, err, out};

/// Draws numbers that are the same everywhere.
struct Draw(u32);

impl Draw {
    fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) % n
    }
}

const SIDE: usize = 8;

/// A picture of noise with one quarter bright, and which quarter; as a map of quarters too.
fn picture(draw: &mut Draw) -> (Vec<u8>, usize) {
    let quarter = draw.below(4) as usize;
    let pixels = (0..SIDE * SIDE).map(|i| {
        let (row, column) = (i / SIDE, i % SIDE);
        let own = (row / (SIDE / 2)) * 2 + column / (SIDE / 2);
        let light = if own == quarter { 190 } else { 0 };
        (light + draw.below(60)) as u8
    });
    (pixels.collect(), quarter)
}

fn datum(pixels: Vec<u8>, label: usize) -> Vec<u8> {
    Datum {
        channels: Some(1),
        height: Some(SIDE as i32),
        width: Some(SIDE as i32),
        data: Some(pixels),
        label: Some(label as i32),
        ..Datum::default()
    }
    .encode_to_vec()
}

type Records = Vec<(Vec<u8>, usize)>;

fn records(seed: u32, count: usize) -> Records {
    let mut draw = Draw(seed);
    (0..count).map(|_| picture(&mut draw)).collect()
}

fn database(path: &Path, values: impl IntoIterator<Item = Vec<u8>>) {
    let mut writer = LmdbWriter::create(path).unwrap();
    for (i, value) in values.into_iter().enumerate() {
        writer.put(format!("{i:08}").as_bytes(), &value).unwrap();
    }
    writer.finish().unwrap();
}

fn labelled(path: &Path, records: &Records) {
    database(path, records.iter().map(|(p, l)| datum(p.clone(), *l)));
}

const NET: &str = r#"
name: "quarters"
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN } transform_param { mean_value: 77 scale: 0.0125 } data_param { source: "train" batch_size: 32 backend: LMDB } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST } transform_param { mean_value: 77 scale: 0.0125 } data_param { source: "test" batch_size: 32 backend: LMDB } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "ip" type: "InnerProduct" bottom: "conv1" top: "ip" inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"#;

const SOLVER: &str = r#"
net: "net.prototxt"
test_iter: 2
test_interval: 50
base_lr: 0.05
lr_policy: "fixed"
momentum: 0.9
max_iter: 200
snapshot_prefix: "snap"
random_seed: 1
"#;

fn folder(net: &str, solver: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("net.prototxt"), net).unwrap();
    fs::write(dir.path().join("solver.prototxt"), solver).unwrap();
    labelled(&dir.path().join("train"), &records(1, 128));
    labelled(&dir.path().join("test"), &records(2, 64));
    dir
}

/// Puts another database in place of one.
fn instead(dir: &TempDir, name: &str, records: &Records) {
    fs::remove_dir_all(dir.path().join(name)).unwrap();
    labelled(&dir.path().join(name), records);
}

fn doctor(dir: &TempDir, more: &str) -> Output {
    call(
        dir.path(),
        &format!("doctor --solver=solver.prototxt {more}"),
    )
}

/// Asserts that the verdict is ill, and that one of its lines has the code and all these words.
#[track_caller]
fn ill(output: &Output, code: &str, words: &[&str]) {
    let text = out(output);
    assert_eq!(output.status.code(), Some(1), "{text}\n{}", err(output));
    let verdict = text
        .split("Verdict on")
        .nth(1)
        .unwrap_or_else(|| panic!("{text}"));
    assert!(verdict.contains("ill."), "{text}");
    let line = verdict.lines().find(|line| {
        line.contains(&format!("[{code}]")) && words.iter().all(|word| line.contains(word))
    });
    assert!(
        line.is_some(),
        "no line of {code} with {words:?} in\n{text}"
    );
}

#[track_caller]
fn well(output: &Output) {
    let text = out(output);
    assert!(
        text.contains("well. Nothing found."),
        "{text}\n{}",
        err(output)
    );
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(!text.contains("Worth knowing"), "{text}");
}

#[test]
fn a_whole_net_draws_no_finding_and_the_numbers_follow_no_threads() {
    let dir = folder(NET, SOLVER);
    let json = |threads: usize| {
        well(&doctor(
            &dir,
            &format!("--threads={threads} --out=pictures --json=d{threads}.json"),
        ));
        fs::read_to_string(dir.path().join(format!("d{threads}.json"))).unwrap()
    };
    let one = json(1);
    assert_eq!(one, json(3));
    let value: serde_json::Value = serde_json::from_str(&one).unwrap();
    assert_eq!(value["ill"], false);
    assert_eq!(value["losses"].as_array().unwrap().len(), 60);
    assert!(!value["rates"].as_array().unwrap().is_empty());
    assert!(dir.path().join("pictures/samples.png").is_file());
}

#[test]
fn trained_weights_are_judged_and_nothing_is_left_behind() {
    let dir = folder(NET, SOLVER);
    let trained = call(dir.path(), "train --solver=solver.prototxt");
    assert_eq!(trained.status.code(), Some(0), "{}", err(&trained));
    let names = || {
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    let before = names();
    well(&doctor(&dir, "--weights=snap_iter_200.caffemodel"));
    assert_eq!(names(), before);
}

#[test]
fn labels_out_of_range() {
    let dir = folder(NET, SOLVER);
    let shifted: Records = records(1, 128)
        .into_iter()
        .map(|(p, l)| (p, l + 1))
        .collect();
    let first = shifted.iter().position(|(_, l)| *l == 4).unwrap();
    instead(&dir, "train", &shifted);
    let output = doctor(&dir, "");
    ill(
        &output,
        "D010",
        &["'train'", "takes 0 to 3", &format!("record '{first:08}'")],
    );
    assert!(out(&output).contains("count from 1"));
    // Once is enough.
    assert!(!out(&output).contains("[D001]"), "{}", out(&output));
}

#[test]
fn sorted_by_class() {
    let dir = folder(NET, SOLVER);
    let mut sorted = records(1, 128);
    sorted.sort_by_key(|(_, label)| *label);
    instead(&dir, "train", &sorted);
    ill(
        &doctor(&dir, "--iterations=0"),
        "D014",
        &["'train' is sorted by class", "a batch of 32"],
    );
}

#[test]
fn the_test_set_within_the_training_set() {
    let dir = folder(NET, SOLVER);
    let mut test = records(2, 64);
    test[..10].clone_from_slice(&records(1, 128)[20..30]);
    instead(&dir, "test", &test);
    ill(
        &doctor(&dir, "--iterations=0"),
        "D015",
        &["10 of 64", "'00000000' of 'test' is '00000020' of 'train'"],
    );
}

#[test]
fn the_mean_of_something_else() {
    let dir = folder(&NET.replace("mean_value: 77", "mean_value: 190"), SOLVER);
    ill(&doctor(&dir, "--iterations=0"), "D016", &["190", "'train'"]);
}

#[test]
fn a_dead_start() {
    let filler = "num_output: 8 kernel_size: 3 weight_filler { type: \"gaussian\" std: 0.0001 }";
    let net = NET.replace(
        "num_output: 8 kernel_size: 3 weight_filler { type: \"xavier\" }",
        filler,
    );
    let dir = folder(&net, &SOLVER.replace("0.05", "0.0001"));
    let output = doctor(&dir, "--iterations=12");
    ill(&output, "D034", &["'conv1'", "deviation of"]);
    ill(
        &output,
        "D040",
        &["ln(4)", "nearly the same of every sample"],
    );
}

#[test]
fn a_rate_that_is_far_too_high() {
    let dir = folder(NET, &SOLVER.replace("0.05", "1e13"));
    let output = doctor(&dir, "");
    ill(
        &output,
        "D030",
        &[
            "iteration",
            "(InnerProduct), channel",
            "record '000000",
            "of 'train'",
        ],
    );
    ill(&output, "D041", &["base_lr 1e+13"]);
    // Not somewhat lower: a rate at which this net learns.
    let text = out(&output);
    let rate = text
        .split("set base_lr: ")
        .nth(1)
        .and_then(|t| t.split_whitespace().next());
    let rate: f64 = rate.unwrap_or_else(|| panic!("{text}")).parse().unwrap();
    assert!((0.001..10.0).contains(&rate), "{text}");
}

#[test]
fn a_rate_that_is_far_too_low() {
    let dir = folder(NET, &SOLVER.replace("0.05", "0.00005"));
    ill(&doctor(&dir, ""), "D042", &["base_lr 5e-05"]);
}

/// Pictures and maps of labels in two databases; few pixels are of a class but 0.
const MAPS: &str = r#"
name: "spots"
layer { name: "images" type: "Data" top: "data" transform_param { mean_value: 77 scale: 0.0125 } data_param { source: "train" batch_size: 32 backend: LMDB } }
layer { name: "labels" type: "Data" top: "label" data_param { source: "maps" batch_size: 32 backend: LMDB } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param { num_output: 8 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "scores" type: "Convolution" bottom: "conv1" top: "scores" convolution_param { num_output: 5 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "relu2" type: "ReLU" bottom: "scores" top: "scores" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "label" top: "loss" }
"#;

fn maps(count: usize, leave_out: Option<usize>) -> (TempDir, usize) {
    let solver = SOLVER
        .replace("test_iter: 2\ntest_interval: 50\n", "")
        .replace("0.05", "0.2");
    let dir = folder(MAPS, &solver);
    fs::remove_dir_all(dir.path().join("test")).unwrap();
    let maps = records(1, count).into_iter().map(|(_, quarter)| {
        // One pixel in the middle of the bright quarter.
        let at = (quarter / 2 * 4 + 2) * SIDE + quarter % 2 * 4 + 2;
        let pixels = (0..SIDE * SIDE).map(|i| if i == at { quarter as u8 + 1 } else { 0 });
        datum(pixels.collect(), 0)
    });
    let mut writer = LmdbWriter::create(&dir.path().join("maps")).unwrap();
    for (i, value) in maps.enumerate().filter(|(i, _)| Some(*i) != leave_out) {
        writer.put(format!("{i:08}").as_bytes(), &value).unwrap();
    }
    writer.finish().unwrap();
    (dir, count)
}

#[test]
fn databases_out_of_step() {
    let (dir, _) = maps(128, Some(17));
    ill(
        &doctor(&dir, "--iterations=0"),
        "D013",
        &[
            "128 records and 127",
            "record 17",
            "key '00000017' beside key '00000018'",
        ],
    );
}

#[test]
fn scores_alike_by_the_last_relu() {
    let (dir, _) = maps(128, None);
    let output = doctor(&dir, "");
    ill(
        &output,
        "D032",
        &[
            "scores channels",
            "equal in",
            "because 'relu2' (ReLU) cuts their scores to 0",
        ],
    );
    ill(
        &output,
        "D033",
        &["always saying 0", "never finds classes 1 to 4"],
    );
    ill(
        &output,
        "D012",
        &["class 0 makes up 98.4 % of the pixels in 'maps'"],
    );
    assert!(
        out(&output).contains("remove the layer: SoftmaxWithLoss needs"),
        "{}",
        out(&output)
    );
}

#[test]
fn a_solver_that_is_not_there_and_a_net_that_cannot_be_built() {
    let dir = folder(
        &NET.replace(
            "bottom: \"conv1\" top: \"ip\"",
            "bottom: \"conv9\" top: \"ip\"",
        ),
        SOLVER,
    );
    let output = call(dir.path(), "doctor --solver=none.prototxt");
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("none.prototxt"), "{}", err(&output));
    let output = doctor(&dir, "");
    let text = out(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("conv9"), "{text}\n{}", err(&output));
}
