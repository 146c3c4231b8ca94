//! `extract_features` on a database, a net and weights that others made, held against what NumPy computes.

use std::{fs, path::Path, process::Output};

use crate::{
    cli::{call, err, fails, program, works},
    support::{python_or_skip, script, segments},
};

/// Extracts with these words, of which targets may have blanks.
fn extract(dir: &Path, words: &[&str]) -> Output {
    program()
        .current_dir(dir)
        .arg("extract_features")
        .args(words)
        .output()
        .unwrap()
}

#[test]
fn features_are_numpys() {
    let modules = ["cv2", "numpy", "lmdb", "plyvel", "google.protobuf"];
    let Some(python) = python_or_skip(&modules) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    script(&python, "features.py", "make", here);
    let blobs = "conv,fc,label";
    for (kind, rest) in [
        ("lmdb", &["CPU"][..]),
        ("leveldb", &["GPU", "DEVICE_ID=0"]),
        ("npz", &[]),
    ] {
        let targets: Vec<String> = blobs
            .split(',')
            .map(|blob| format!("{kind} of {blob}"))
            .collect();
        let targets = targets.join(",");
        let line = [
            "net.caffemodel",
            "net.prototxt",
            blobs,
            &targets,
            "260",
            kind,
        ];
        let output = extract(here, &[&line[..], rest].concat());
        works(&output);
        let log = err(&output);
        for words in [
            "Extracting Features",
            "Extracted features of 1000 query images for feature blob conv",
            "Extracted features of 1040 query images for feature blob label",
            "Successfully extracted the features!",
        ] {
            assert!(log.contains(words), "{kind}: '{words}' is not in\n{log}");
        }
        script(&python, "features.py", kind, here);
    }
}

#[test]
fn what_cannot_be_extracted_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    segments::write(here, "max_iter: 1 test_interval: 1");
    works(&call(here, "train --solver=solver.prototxt"));
    fs::create_dir(here.join("there")).unwrap();
    fs::write(here.join("there/file"), "mine").unwrap();
    fs::write(here.join("text.prototxt"), "no net").unwrap();
    let before = fs::read_dir(here).unwrap().count();
    let model = "snap_iter_1.caffemodel";
    for (line, words) in [
        ("", &["needs the net's weights", "for example"][..]),
        ("WEIGHTS net.prototxt score", &["where they go"]),
        (
            "WEIGHTS net.prototxt score f",
            &["number of batches", "for example"],
        ),
        ("WEIGHTS net.prototxt score f 0 lmdb", &["0 batches"]),
        ("WEIGHTS net.prototxt score f many lmdb", &["'many'"]),
        (
            "WEIGHTS net.prototxt score f 2 sqlite",
            &["'sqlite'", "lmdb, leveldb, npz"],
        ),
        (
            "WEIGHTS net.prototxt score,data f 2 lmdb",
            &["2 blobs and 1 targets"],
        ),
        (
            "WEIGHTS net.prototxt score,data f,f 2 lmdb",
            &["'f' is given to two"],
        ),
        (
            "WEIGHTS net.prototxt scor f 2 lmdb",
            &["Unknown feature blob name scor", "score"],
        ),
        (
            "WEIGHTS net.prototxt score there 2 lmdb",
            &["there", "not empty"],
        ),
        (
            "WEIGHTS net.prototxt score there 2 leveldb",
            &["there", "not empty"],
        ),
        (
            "WEIGHTS net.prototxt score there 2 npz",
            &["there", "it is a folder"],
        ),
        (
            "WEIGHTS net.prototxt score no/f.npz 2 npz",
            &["no/f.npz", "no such folder"],
        ),
        ("WEIGHTS net.prototxt score no/f 2 lmdb", &["no/f"]),
        // The first of two is not kept where the second fails.
        (
            "WEIGHTS net.prototxt score,data f,there 2 lmdb",
            &["not empty"],
        ),
        (
            "nothing.caffemodel net.prototxt score f 2 lmdb",
            &["nothing.caffemodel"],
        ),
        (
            "WEIGHTS nothing.prototxt score f 2 lmdb",
            &["nothing.prototxt"],
        ),
        ("WEIGHTS text.prototxt score f 2 lmdb", &["text.prototxt:1"]),
        (
            "solver.prototxt net.prototxt score f 2 lmdb",
            &["solver.prototxt"],
        ),
        ("there net.prototxt score f 2 lmdb", &["there"]),
    ] {
        let line = line.replace("WEIGHTS", model);
        fails(&call(here, &format!("extract_features {line}")), words);
        assert_eq!(fs::read_dir(here).unwrap().count(), before, "{line}");
    }
    assert_eq!(fs::read_to_string(here.join("there/file")).unwrap(), "mine");
}
