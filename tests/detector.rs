//! Detection as a whole: a trained detector of faces, nets that people publish, tests by mean average precision.

use std::{env, fs, path::PathBuf};

use cortado::{
    events::Silent,
    load::{self, LoadOptions},
    model_io::npz,
    net::{Keep, Net, NetOptions},
    params::Params,
};

use crate::{
    cli::{call, err, works},
    support::files,
};

#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn folder(name: &str) -> Option<PathBuf> {
    let found = env::var_os(name).map(PathBuf::from).filter(|p| p.is_dir());
    if found.is_none() {
        eprintln!("skipped: {name} names no folder");
    }
    found
}

/// The res10 SSD face detector finds what another implementation found with it. `CORTADO_RES10` names the folder of
/// `deploy.prototxt.txt` and the weights.
#[test]
fn the_face_is_found() {
    let (Some(shared), Some(model)) = (folder("CORTADO_SHARED"), folder("CORTADO_RES10")) else {
        return;
    };
    let record = shared.join("reference/res10_ssd_astronaut.npz");
    let dir = tempfile::tempdir().unwrap();
    let place = |from: &str, to: &str| {
        fs::copy(model.join(from), dir.path().join(to)).unwrap();
    };
    place("deploy.prototxt.txt", "deploy.prototxt");
    place(
        "res10_300x300_ssd_iter_140000.caffemodel",
        "res10.caffemodel",
    );
    fs::copy(&record, dir.path().join("astronaut.npz")).unwrap();
    let output = call(
        dir.path(),
        "run --model=deploy.prototxt --weights=res10.caffemodel --input=data=astronaut.npz --blobs=detection_out --output=found.npz",
    );
    works(&output);
    assert!(!err(&output).contains("warning"), "{}", err(&output));
    let found = npz::read_npz(&dir.path().join("found.npz")).unwrap();
    let found = &found["detection_out"];
    assert_eq!(found.shape.dims()[3], 7);
    let found: Vec<&[f32]> = found.data.chunks_exact(7).collect();
    let want = npz::read_npz(&record).unwrap();
    // The record is filled up with rows of zeros.
    let want = &want["out/detection_out"].data;
    let want: Vec<&[f32]> = want.chunks_exact(7).filter(|row| row[2] > 0.0).collect();
    assert_eq!(found.len(), want.len());
    for (row, found) in want.iter().zip(&found) {
        let near = row.iter().zip(*found).all(|(a, b)| (a - b).abs() <= 1e-4);
        assert!(near, "{found:?}, recorded as {row:?}");
    }
    assert!(found[0][2] > 0.9999 && found[1][2] < 0.5, "one face");
}

/// Nets of MobileNet-SSD, as they are published, build.
#[test]
fn published_deploy_nets_build() {
    let Some(corpus) = folder("CORTADO_CORPUS") else {
        return;
    };
    let mut built = 0;
    for path in files(&corpus.join("chuanqi305+MobileNet-SSD"), "deploy.prototxt") {
        let file = load::net(&path, LoadOptions::default(), &mut Silent).unwrap();
        let options = NetOptions {
            keep: Keep::Named,
            ..NetOptions::default()
        };
        let net = Net::new(&file.net, &mut Params::new(), &options, &mut Silent)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let priors = net.blob("mbox_priorbox").unwrap().shape;
        assert_eq!(priors.dims(), [1, 2, 4 * 1917]);
        assert_eq!(net.outputs(), ["detection_out"]);
        built += 1;
    }
    assert!(built >= 2, "only {built} nets found");
}

/// A part of a blob of rows: so many equal values.
fn part(name: &str, count: usize, value: f32) -> String {
    format!(
        "layer {{ name: '{name}' type: 'DummyData' top: '{name}' include {{ phase: TEST }} dummy_data_param {{ shape {{ dim: 1 dim: 1 dim: 1 dim: {count} }} data_filler {{ value: {value} }} }} }}\n"
    )
}

fn concat(name: &str, parts: &[(usize, f32)]) -> String {
    let mut text = String::new();
    let mut bottoms = String::new();
    for (i, &(count, value)) in parts.iter().enumerate() {
        text += &part(&format!("{name}{i}"), count, value);
        bottoms += &format!("bottom: '{name}{i}' ");
    }
    text + &format!(
        "layer {{ name: '{name}' type: 'Concat' {bottoms} top: '{name}' include {{ phase: TEST }} concat_param {{ axis: 3 }} }}\n"
    )
}

/// The log has the line that SSD's fork prints.
#[test]
fn tests_of_detection_give_the_mean_average_precision() {
    let dir = tempfile::tempdir().unwrap();
    // Image 0, class 1, the whole image; of two classes.
    let net = [
        "layer { name: 'x' type: 'DummyData' top: 'x' top: 't' include { phase: TRAIN } dummy_data_param { shape { dim: 1 dim: 2 } } }\n",
        "layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'y' include { phase: TRAIN } inner_product_param { num_output: 2 } }\n",
        "layer { name: 'loss' type: 'EuclideanLoss' bottom: 'y' bottom: 't' top: 'loss' include { phase: TRAIN } }\n",
        &concat("found", &[(1, 0.0), (2, 1.0), (2, 0.0), (2, 1.0)]),
        &concat("label", &[(1, 0.0), (1, 1.0), (3, 0.0), (2, 1.0), (1, 0.0)]),
        "layer { name: 'eval' type: 'DetectionEvaluate' bottom: 'found' bottom: 'label' top: 'detection_eval' include { phase: TEST } detection_evaluate_param { num_classes: 3 } }\n",
    ]
    .concat();
    fs::write(dir.path().join("net.prototxt"), net).unwrap();
    let solver = |more: &str| {
        let text = format!(
            "net: 'net.prototxt' base_lr: 0.1 lr_policy: 'fixed' max_iter: 1 display: 1 test_iter: 2 test_interval: 1 snapshot_prefix: 'snap' random_seed: 1 eval_type: 'detection' {more}"
        );
        fs::write(dir.path().join("solver.prototxt"), text).unwrap();
        call(
            dir.path(),
            "train --solver=solver.prototxt --log --metrics-json=all.json",
        )
    };
    for version in ["11point", "MaxIntegral", "Integral"] {
        let output = solver(&format!(
            "ap_version: '{version}' show_per_class_result: true"
        ));
        works(&output);
        let log = err(&output);
        assert!(
            log.contains("    Test net output #0: detection_eval = 0.5\n"),
            "{log}"
        );
        assert!(log.contains("class1: 1\n"), "{log}");
        assert!(log.contains("Missing true_pos for label: 2\n"), "{log}");
        let ours = "cortado:2] detection_eval: mean average precision 0.500 over 2 classes\n";
        assert_eq!(log.matches(ours).count(), 2, "{log}");
        let read = |name: &str| -> serde_json::Value {
            serde_json::from_slice(&fs::read(dir.path().join(name)).unwrap()).unwrap()
        };
        let right = |test: &serde_json::Value| {
            let found = &test["detections"][0];
            let near = |value: &serde_json::Value, want: f64| {
                assert!((value.as_f64().unwrap() - want).abs() < 1e-6, "{test}");
            };
            near(&found["mean"], 0.5);
            near(&found["average_precision"][0][1], 1.0);
            near(&found["average_precision"][1][1], 0.0);
        };
        let all = read("all.json");
        assert_eq!(all.as_array().unwrap().len(), 2);
        all.as_array().unwrap().iter().for_each(right);
        // The same from the command that only tests.
        let output = call(
            dir.path(),
            &format!(
                "test --model=net.prototxt --weights=snap_iter_1.caffemodel --iterations=2 --ap-version={version} --metrics-json=one.json"
            ),
        );
        works(&output);
        assert_eq!(err(&output).matches(ours).count(), 1, "{}", err(&output));
        right(&read("one.json"));
    }
    let output = solver("ap_version: '7point'");
    assert!(!output.status.success());
    assert!(err(&output).contains("11point, MaxIntegral or Integral"));
}
