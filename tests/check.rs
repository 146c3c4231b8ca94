//! `check` and `explain` from outside: the nets that people broke, nets from the wild, edits.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Output,
};

use cortado::{
    check::{self, Options},
    events::Severity,
    feed::lmdb::LmdbWriter,
    model_io::binaryproto::write_binaryproto,
    schema::Datum,
    tensor::Tensor,
};
use prost::Message as _;

use crate::{
    cli::{call, err, fails, out, works},
    support::{files, fixtures, folders},
};

/// The mistakes of `fixtures/broken`, by the codes that name them, the file that is checked, and what the message says.
const BROKEN: &[(&str, &[&str], &str)] = &[
    (
        "01_relu_before_loss",
        &["N010", "N014", "N020", "N043"],
        "shuts channels off",
    ),
    ("02_softmax_twice", &["N013"], "the softmax is taken twice"),
    (
        "03_labels_from_one",
        &["N031"],
        "label 5 in '../train_from_one_lmdb' is no class",
    ),
    (
        "04_label_map_size",
        &["N030"],
        "the scores 'score' are 44x44, their labels 'labels' 48x48",
    ),
    ("05_flipped_apart", &["N062"], "mirror: each draws its own"),
    (
        "06_mean_only_in_train",
        &["N060"],
        "mean 120 in TRAIN and no mean in TEST",
    ),
    (
        "07_no_weight_filler",
        &["N042"],
        "'conv1' starts with all weights 0",
    ),
    (
        "08_lmdb_called_leveldb",
        &["N091"],
        "is an LMDB, not a LevelDB",
    ),
    ("09_step_without_stepsize", &["N080"], "needs stepsize"),
    ("10_rate_of_a_sum", &["N085"], "base_lr 1e-10 is too small"),
];

/// Records of images, or of label maps with pixels 0 to 4, whose labels go from `first` on through five classes.
fn database(path: &Path, records: usize, channels: usize, side: usize, first: usize) {
    let mut writer = LmdbWriter::create(path).unwrap();
    for i in 0..records {
        let pixel = |p: usize| match channels {
            1 => (p / 3 + i) % 5,
            _ => (p * 7919 + i * 104_729) / 7 % 256,
        };
        let datum = Datum {
            channels: Some(channels as i32),
            height: Some(side as i32),
            width: Some(side as i32),
            data: Some(
                (0..channels * side * side)
                    .map(|p| pixel(p) as u8)
                    .collect(),
            ),
            label: Some((first + i % 5) as i32),
            ..Datum::default()
        };
        writer
            .put(format!("{i:05}").as_bytes(), &datum.encode_to_vec())
            .unwrap();
    }
    writer.finish().unwrap();
}

/// A folder with the databases that the broken nets name, and copies of the nets.
fn ground() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (part, records) in [("train", 20), ("test", 10)] {
        let at = |name: &str| dir.path().join(format!("{part}{name}"));
        database(&at("_lmdb"), records, 3, 48, 0);
        database(&at("_label_lmdb"), records, 1, 12, 0);
        database(&at("_map_lmdb"), records, 1, 48, 0);
        database(&at("_from_one_lmdb"), records, 3, 48, 1);
    }
    let mean = Tensor::new([1, 3, 48, 48], vec![127.0; 3 * 48 * 48]).unwrap();
    write_binaryproto(&dir.path().join("mean.binaryproto"), mean.view()).unwrap();
    for folder in folders(&fixtures().join("broken")) {
        let copy = dir.path().join(folder.file_name().unwrap());
        fs::create_dir(&copy).unwrap();
        for file in files(&folder, ".prototxt") {
            fs::copy(&file, copy.join(file.file_name().unwrap())).unwrap();
        }
    }
    dir
}

/// The solver of a folder's broken or repaired form where it has one, else the net.
fn entry(folder: &Path, form: &str) -> String {
    let solver = format!("{form}_solver.prototxt");
    match folder.join(&solver).exists() {
        true => solver,
        false => format!("{form}.prototxt"),
    }
}

fn codes(output: &Output) -> Vec<String> {
    let text = out(output);
    let mut codes: Vec<String> = (text.lines())
        .filter_map(|line| Some(line.split_once('[')?.1.split_once("]:")?.0.to_owned()))
        .filter(|code| check::find(code).is_some())
        .collect();
    codes.sort();
    codes.dedup();
    codes
}

#[test]
fn ten_mistakes_are_named_and_their_repairs_are_clean() {
    let ground = ground();
    let mut wrong = Vec::new();
    for (name, expected, words) in BROKEN {
        let folder = ground.path().join(name);
        let broken = call(&folder, &format!("check {}", entry(&folder, "broken")));
        if codes(&broken) != *expected || !out(&broken).contains(words) {
            wrong.push(format!(
                "{name}, broken: {expected:?}, '{words}'\n{}{}",
                out(&broken),
                err(&broken)
            ));
        }
        let repaired = call(&folder, &format!("check {}", entry(&folder, "repaired")));
        if !out(&repaired).ends_with(": no findings\n") {
            wrong.push(format!(
                "{name}, repaired:\n{}{}",
                out(&repaired),
                err(&repaired)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let folders = folders(&fixtures().join("broken"));
    let readme = fs::read_to_string(fixtures().join("broken/README.md")).unwrap();
    assert_eq!(folders.len(), BROKEN.len());
    for (name, expected, _) in BROKEN {
        assert!(
            readme.contains(&format!("| {name} | ")) && readme.contains(&expected.join(", ")),
            "{name}"
        );
    }
}

#[test]
fn the_first_of_them_is_the_net_that_quickstart_trains() {
    let read = |path: &str| fs::read_to_string(fixtures().join(path)).unwrap();
    assert_eq!(
        read("broken/01_relu_before_loss/broken.prototxt"),
        read("facial_keypoints/train_val.prototxt")
    );
}

/// The net as its author wrote it: the ReLU's line, in words, and --fix, which leaves everything else.
#[test]
fn the_users_net_is_told_and_mended() {
    let ground = ground();
    let folder = ground.path().join("01_relu_before_loss");
    let net = folder.join("broken.prototxt");
    let text = fs::read_to_string(&net).unwrap();
    let commented = format!("# by hand\r\n{text}# the end\n");
    fs::write(&net, &commented).unwrap();
    let told = call(&folder, "check broken.prototxt");
    assert_eq!(told.status.code(), Some(1), "{}", err(&told));
    let told = out(&told);
    for words in [
        "error[N010]: the ReLU 'relu2' between 'conv_last' and the loss 'loss' (SoftmaxWithLoss) shuts channels off",
        "--> broken.prototxt:14:",
        "^^^^^^^",
        "all such channels look alike",
        "help: remove the layer",
        "1 error, 1 warning, 2 notes",
        "explain N010",
    ] {
        assert!(told.contains(words), "'{words}' is not in\n{told}");
    }
    let diff = call(&folder, "check broken.prototxt --diff");
    works(&diff);
    let removed: Vec<String> = (out(&diff).lines())
        .filter(|l| l.starts_with('-') && !l.starts_with("---"))
        .map(str::to_owned)
        .collect();
    assert_eq!(removed.len(), 1, "{}", out(&diff));
    assert_eq!(
        fs::read_to_string(&net).unwrap(),
        commented,
        "a diff changes nothing"
    );

    let fixed = call(&folder, "check broken.prototxt --fix");
    works(&fixed);
    assert!(
        out(&fixed).contains("fixed broken.prototxt (N010"),
        "{}",
        out(&fixed)
    );
    let after = fs::read_to_string(&net).unwrap();
    let wanted = commented.replacen(&format!("{}\n", &removed[0][1..]), "", 1);
    assert_eq!(after, wanted);
    let again = call(&folder, "check broken.prototxt --fix");
    works(&again);
    assert!(!out(&again).contains("fixed "), "{}", out(&again));
    assert_eq!(fs::read_to_string(&net).unwrap(), after);
    assert_eq!(codes(&again), ["N014", "N043"], "{}", out(&again));
}

#[test]
fn json_and_exit_codes() {
    let ground = ground();
    let folder = ground.path().join("02_softmax_twice");
    let json = call(&folder, "check broken.prototxt --json");
    assert_eq!(json.status.code(), Some(1));
    let value: serde_json::Value = serde_json::from_str(&out(&json)).unwrap();
    assert_eq!(
        (&value["errors"], &value["warnings"]),
        (&1.into(), &0.into())
    );
    let finding = &value["findings"][0];
    assert_eq!(
        (&finding["code"], &finding["severity"]),
        (&"N013".into(), &"error".into())
    );
    assert_eq!(finding["file"], "broken.prototxt");
    assert!(
        finding["line"].as_u64() > Some(1) && finding["edits"][0]["start"].as_u64() > Some(1),
        "{finding}"
    );

    let folder = ground.path().join("06_mean_only_in_train");
    works(&call(&folder, "check broken.prototxt"));
    let denied = call(&folder, "check --deny-warnings --model broken.prototxt");
    assert_eq!(denied.status.code(), Some(1));
    works(&call(&folder, "check repaired.prototxt --deny_warnings"));
    fails(
        &call(&folder, "check"),
        &["check needs a file", "check solver.prototxt"],
    );
    fails(&call(&folder, "check none.prototxt"), &["none.prototxt"]);
}

/// A blob of its own is bypassed, in the loss and wherever else it is read.
#[test]
fn a_layer_that_goes_is_bypassed() {
    let dir = tempfile::tempdir().unwrap();
    let text = r#"# a net
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 8 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }
layer {
  name: "fc" # the scores
  type: "InnerProduct" bottom: "data" top: "fc"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } }
}
layer {
  name: "out" type: "ReLU"
  bottom: "fc" top: "out"
}
layer { name: "acc" type: "Accuracy" bottom: 'out' bottom: "label" top: "acc" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "out" bottom: "label" top: "loss" }
"#;
    fs::write(dir.path().join("net.prototxt"), text).unwrap();
    let fixed = call(dir.path(), "check net.prototxt --fix");
    works(&fixed);
    assert!(
        out(&fixed).contains("net.prototxt: no findings"),
        "{}",
        out(&fixed)
    );
    let start = text.find("layer {\n  name: \"out\"").unwrap();
    let end = text.find("layer { name: \"acc\"").unwrap();
    let wanted = format!("{}{}", &text[..start], &text[end..])
        .replace("bottom: 'out'", "bottom: \"fc\"")
        .replace("bottom: \"out\"", "bottom: \"fc\"");
    assert_eq!(
        fs::read_to_string(dir.path().join("net.prototxt")).unwrap(),
        wanted
    );
}

/// From another folder the data is found all the same, and a person is told where to start.
#[test]
fn a_run_checked_from_elsewhere() {
    let ground = ground();
    let told = call(
        ground.path(),
        "check 09_step_without_stepsize/repaired_solver.prototxt",
    );
    works(&told);
    assert_eq!(codes(&told), ["N092"], "{}", out(&told));
    assert!(
        out(&told).contains("start training there: cd "),
        "{}",
        out(&told)
    );
}

#[test]
fn pages() {
    let page = call(Path::new("."), "explain n010");
    works(&page);
    for words in [
        "N010 (error): a ReLU between",
        "What to do",
        "Wrong",
        "Right",
        "SoftmaxWithLoss",
    ] {
        assert!(out(&page).contains(words), "{words}");
    }
    let all = call(Path::new("."), "explain");
    works(&all);
    for rule in check::RULES {
        assert!(out(&all).contains(rule.code));
    }
    fails(
        &call(Path::new("."), "explain N999"),
        &["no code 'N999'", "lists all codes"],
    );
}

/// Errors in nets from the wild that are true: file, code, reason.
const TRUE_ERRORS: &[(&str, &str, &str)] = &[
    (
        "BVLC+caffe/c0fb0776-linreg.prototxt",
        "N002",
        "its loss is Python code",
    ),
    (
        "ZheC+Realtime_Multi-Person_Pose_Estimation/d685a786-pose_train_test.prototxt",
        "N002",
        "CPMData is not in the catalogue",
    ),
    (
        "s9xie+hed/4782d00d-train_val.prototxt",
        "N002",
        "ImageLabelmapData is not in the catalogue",
    ),
    (
        "yahoo+CaffeOnSpark/448591d5-lrcn_cos.prototxt",
        "N002",
        "CoSData is not in the catalogue",
    ),
    (
        "yahoo+CaffeOnSpark/5ddc2af6-lenet_cos_train_test.prototxt",
        "N002",
        "CoSData is not in the catalogue",
    ),
    (
        "yahoo+CaffeOnSpark/d4e08694-bvlc_reference_solver.prototxt",
        "N087",
        "test_iter without test_interval, which Caffe refuses too",
    ),
    (
        "yahoo+CaffeOnSpark/f8127f70-lrcn_solver.prototxt",
        "N087",
        "test_iter without test_interval, which Caffe refuses too",
    ),
    (
        "yjxiong+temporal-segment-networks/515eb1fd-tsn_bn_inception_rgb_train_val.prototxt",
        "N001",
        "VideoData of that fork is another layer than SSD's",
    ),
    (
        "yjxiong+temporal-segment-networks/71a3e40b-tsn_bn_inception_rgb_train_val.prototxt",
        "N001",
        "VideoData of that fork is another layer than SSD's",
    ),
    (
        "yjxiong+temporal-segment-networks/8ac58439-tsn_bn_inception_flow_train_val.prototxt",
        "N001",
        "VideoData of that fork is another layer than SSD's",
    ),
    (
        "yjxiong+temporal-segment-networks/e6138cdc-tsn_bn_inception_flow_train_val.prototxt",
        "N001",
        "VideoData of that fork is another layer than SSD's",
    ),
];

/// In nets that people published, no error is found that is none.
#[test]
#[allow(clippy::print_stderr, reason = "to be read by whoever runs it")]
fn no_false_error_in_nets_from_the_wild() {
    let Some(folder) = env::var_os("CORTADO_CORPUS").map(PathBuf::from) else {
        eprintln!("skipped: CORTADO_CORPUS names no folder of prototxts");
        return;
    };
    let mut paths = files(&folder, ".prototxt");
    paths.extend(files(&folder, ".pt"));
    let options = Options {
        probe: false,
        ..Options::default()
    };
    let (mut false_errors, mut checked) = (Vec::new(), 0);
    let mut seen = Vec::new();
    for path in &paths {
        let name = path
            .strip_prefix(&folder)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        // What is no net and no solver has its own list, in tests/prototxt.rs.
        let Ok(found) = check::file(path, &options) else {
            continue;
        };
        checked += 1;
        for finding in found {
            if env::var_os("CORTADO_SHOW").is_some() {
                eprintln!("{name}: {finding}\n");
            }
            // Solvers were collected apart from their nets, under other names: that those are not there is true.
            let alone = finding.code == "N090" && finding.message.starts_with("the net '");
            if finding.severity != Severity::Error || alone {
                continue;
            }
            match TRUE_ERRORS
                .iter()
                .find(|(n, code, _)| *n == name && *code == finding.code)
            {
                Some(known) => seen.push(*known),
                None => false_errors.push(format!("{name}: {finding}")),
            }
        }
    }
    for known in TRUE_ERRORS {
        assert!(seen.contains(known), "{known:?} is no longer found");
    }
    assert!(false_errors.is_empty(), "{}", false_errors.join("\n\n"));
    assert!(checked > 180, "{checked} files checked");
}
