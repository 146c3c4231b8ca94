use std::{
    fs,
    path::{Path, PathBuf},
};

use prost::Message as _;

use super::*;
use crate::{
    check::{self, Options},
    feed::lmdb::LmdbWriter,
    schema::Datum,
};

/// What the examples stand on: blobs that they read without making them.
const HEAD: &str = r#"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 16 dim: 16 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }
layer { name: "labels" type: "Input" top: "labels" input_param { shape { dim: 2 dim: 1 dim: 16 dim: 16 } } }
"#;

const NET: &str = r#"
layer { name: "images" type: "Data" top: "images" top: "class" transform_param { mean_value: 120 } data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } include { phase: TRAIN } }
layer { name: "images" type: "Data" top: "images" top: "class" transform_param { mean_value: 120 } data_param { source: "test_lmdb" backend: LMDB batch_size: 2 } include { phase: TEST } }
layer { name: "fc" type: "InnerProduct" bottom: "images" top: "fc" inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
"#;
const LOSS: &str =
    r#"layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "class" top: "loss" }"#;
const MAP: &str = r#"
layer { name: "images" type: "Data" top: "images" transform_param { mean_value: 120 } data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "truth" type: "Data" top: "truth" data_param { source: "maps_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "score" type: "Convolution" bottom: "images" top: "score" convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "truth" top: "loss" }
"#;
const DEPLOY: &str = r#"
layer { name: "images" type: "Input" top: "images" input_param { shape { dim: 1 dim: 3 dim: 16 dim: 16 } } }
layer { name: "fc" type: "InnerProduct" bottom: "images" top: "fc" inner_product_param { num_output: 4 } }
layer { name: "fc2" type: "InnerProduct" bottom: "fc" top: "fc2" inner_product_param { num_output: 4 } }
layer { name: "prob" type: "Softmax" bottom: "fc2" top: "prob" }
"#;

/// A database of images or of maps of 16 x 16 whose labels or pixels go round 0 to 3.
fn database(path: &Path, count: usize, map: bool) {
    let mut writer = LmdbWriter::create(path).unwrap();
    let channels = if map { 1 } else { 3 };
    for i in 0..count {
        let pixel = |p: usize| {
            if map {
                (p + i) % 4
            } else {
                (37 * p + 11 * i) % 256
            }
        };
        let datum = Datum {
            channels: Some(channels),
            height: Some(16),
            width: Some(16),
            data: Some(
                (0..channels as usize * 256)
                    .map(|p| pixel(p) as u8)
                    .collect(),
            ),
            label: Some((i % 4) as i32),
            ..Datum::default()
        };
        writer
            .put(format!("{i:04}").as_bytes(), &datum.encode_to_vec())
            .unwrap();
    }
    writer.finish().unwrap();
}

/// The folder that the examples stand in, with a subfolder for the file itself.
struct Ground(tempfile::TempDir);

impl Ground {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        database(&at("images_lmdb"), 8, false);
        database(&at("test_lmdb"), 4, false);
        database(&at("maps_lmdb"), 8, true);
        database(&at("fewer_maps_lmdb"), 7, true);
        fs::create_dir(at("nets")).unwrap();
        database(&at("nets/below_lmdb"), 2, false);
        fs::write(at("nets/deploy.prototxt"), DEPLOY).unwrap();
        fs::write(at("net.prototxt"), format!("{NET}{LOSS}")).unwrap();
        fs::write(at("no_loss.prototxt"), NET).unwrap();
        fs::write(at("map.prototxt"), MAP).unwrap();
        Self(dir)
    }

    /// What is found in a text, by code.
    fn check(&self, text: &str) -> Vec<Finding> {
        let solver = text.contains("base_lr");
        let file = self.0.path().join("nets/example.prototxt");
        let makes = |blob: &str| text.contains(&format!("top: \"{blob}\" "));
        let head: String = (HEAD.trim().lines().zip(["data", "label", "labels"]))
            .filter(|(_, blob)| {
                !solver && !makes(blob) && text.contains(&format!("bottom: \"{blob}\""))
            })
            .map(|(line, _)| format!("{line}\n"))
            .collect();
        fs::write(&file, format!("{head}{}\n", text.trim())).unwrap();
        check::file(&file, &self.options()).unwrap_or_else(|e| panic!("{e}\n{text}"))
    }

    fn options(&self) -> Options {
        Options {
            root: self.0.path().to_path_buf(),
            ..Options::default()
        }
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("nets/example.prototxt")
    }
}

fn shown(found: &[Finding]) -> String {
    found.iter().map(|f| format!("{f}\n")).collect()
}

#[test]
fn codes_are_unique_and_sorted_and_rows_are_complete() {
    for pair in RULES.windows(2) {
        assert!(
            pair[0].code < pair[1].code,
            "{} is out of order",
            pair[1].code
        );
    }
    for rule in RULES {
        assert!(
            rule.code.len() == 4 && rule.code.starts_with('N'),
            "{}",
            rule.code
        );
        for text in [rule.title, rule.reason, rule.fix, rule.wrong, rule.right] {
            assert!(!text.trim().is_empty(), "{}", rule.code);
        }
        assert!(
            !rule.title.ends_with('.') && rule.reason.ends_with('.') && rule.fix.ends_with('.'),
            "{}",
            rule.code
        );
        assert!(find(&rule.code.to_lowercase()).is_some());
    }
    assert!(find("N999").is_none());
}

/// Every page's wrong example is found by its rule, and its right one is not, nor by any other rule in earnest.
#[test]
fn examples_are_what_their_pages_say() {
    let ground = Ground::new();
    let mut wrong = Vec::new();
    for rule in RULES {
        let found = ground.check(rule.wrong);
        if !found.iter().any(|f| f.code == rule.code) {
            wrong.push(format!(
                "{} is not found in its wrong example, but:\n{}",
                rule.code,
                shown(&found)
            ));
        }
        let found = ground.check(rule.right);
        if found
            .iter()
            .any(|f| f.code == rule.code || f.severity == Severity::Error)
        {
            wrong.push(format!("{}'s right example:\n{}", rule.code, shown(&found)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Edits of a wrong example leave nothing for their rule, and a second round changes nothing.
#[test]
fn edits_mend_what_they_promise() {
    let ground = Ground::new();
    let mut mended = Vec::new();
    for rule in RULES {
        let found = ground.check(rule.wrong);
        if found
            .iter()
            .all(|f| f.code != rule.code || f.edits.is_empty())
        {
            continue;
        }
        mended.push(rule.code);
        let paths = [ground.file()];
        let (changed, left) = check::mend(&paths, &ground.options()).unwrap();
        assert!(
            left.iter().all(|f| f.code != rule.code),
            "{}: {}",
            rule.code,
            shown(&left)
        );
        assert!(
            left.iter().all(|f| f.severity != Severity::Error),
            "{}: {}",
            rule.code,
            shown(&left)
        );
        check::write(&changed).unwrap();
        let (again, _) = check::mend(&paths, &ground.options()).unwrap();
        assert!(again.is_empty(), "{}", rule.code);
    }
    assert_eq!(
        mended,
        [
            "N002", "N010", "N011", "N012", "N013", "N020", "N041", "N051", "N083", "N091"
        ]
    );
}
