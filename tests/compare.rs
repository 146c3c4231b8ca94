//! `compare` on two of a kind: logs, dumps, weights.

use std::{fs, path::Path};

use cortado::{
    model_io::npz,
    tensor::{Shape, Tensor},
};

use crate::{
    cli::{call, fails, out, works},
    support::fixtures,
};

fn log(run: &str) -> String {
    let path = fixtures()
        .join("reference/runs")
        .join(run)
        .join("caffe.log");
    path.display().to_string()
}

fn json(dir: &Path, words: &str) -> serde_json::Value {
    let output = call(dir, &format!("compare {words} --json"));
    serde_json::from_str(&out(&output)).unwrap()
}

#[test]
fn two_logs() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (log("seed_sgd"), log("seed_without_last_relu"));
    let same = call(dir.path(), &format!("compare {a} {a}"));
    works(&same);
    assert!(out(&same).contains("the logs agree"));

    let output = call(dir.path(), &format!("compare {a} {b} --plot=losses.svg"));
    assert_eq!(output.status.code(), Some(1));
    let text = out(&output);
    for word in [
        "test #0 accuracy",
        "the first apart: loss at iteration 0, 1.60871 against 1.60145",
    ] {
        assert!(text.contains(word), "{word} in\n{text}");
    }
    let svg = fs::read_to_string(dir.path().join("losses.svg")).unwrap();
    for word in [
        "seed_sgd/caffe.log",
        "apart from 0 on",
        "prefers-color-scheme",
        "<desc",
    ] {
        assert!(svg.contains(word), "{word}");
    }
    // Wide enough a tolerance takes everything.
    works(&call(dir.path(), &format!("compare {a} {b} --rtol=100")));

    // One iteration of one value is changed: it is named.
    let text = fs::read_to_string(&a).unwrap();
    let changed: String = text
        .lines()
        .map(|line| match line.contains("Iteration 7 (") {
            true => format!("{}9\n", line.trim_end()),
            false => format!("{line}\n"),
        })
        .collect();
    fs::write(dir.path().join("c.log"), changed).unwrap();
    let found = json(dir.path(), &format!("{a} c.log --rtol=1e-9 --atol=0"));
    assert_eq!(found["first"]["figure"], "loss");
    assert_eq!(found["first"]["at"]["iteration"], 7);
}

#[test]
fn a_log_and_the_record_of_a_run() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("a.log"),
        "Iteration 0, loss = 0.5\nIteration 10, loss = 0.25\nnoise\n",
    )
    .unwrap();
    fs::write(
        dir.path().join("run.jsonl"),
        "{\"kind\":\"train\",\"t\":1,\"iteration\":10,\"loss\":0.25,\"rate\":0.1,\"outputs\":[]}\n",
    )
    .unwrap();
    let found = json(dir.path(), "a.log run.jsonl");
    assert_eq!(found["figures"][0]["common"], 1);
    assert_eq!(found["figures"][0]["ok"], true);
    assert_eq!(found["first"], serde_json::Value::Null);
    fs::write(dir.path().join("empty.log"), "nothing\n").unwrap();
    fs::write(dir.path().join("other.log"), "Iteration 3, loss = 1\n").unwrap();
    fails(
        &call(dir.path(), "compare a.log empty.log"),
        &["no iteration"],
    );
    fails(
        &call(dir.path(), "compare a.log other.log"),
        &["no iteration in common"],
    );
    fails(&call(dir.path(), "compare a.log"), &["needs two files"]);
    fails(
        &call(dir.path(), "compare a.log b.npz"),
        &["not of one kind"],
    );
}

fn write(dir: &Path, name: &str, arrays: &[(&str, &[usize], &[f32])]) {
    let tensors: Vec<(String, Tensor)> = arrays
        .iter()
        .map(|(key, dims, data)| {
            let tensor = Tensor::new(Shape::new(dims), data.to_vec()).unwrap();
            ((*key).to_owned(), tensor)
        })
        .collect();
    let views = tensors.iter().map(|(key, t)| (key, t.view()));
    npz::write_npz(&dir.join(name), views, false).unwrap();
}

#[test]
fn two_dumps_in_the_order_of_the_net() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "a.npz",
        &[
            ("z", &[1, 2, 1, 2], &[1.0, 2.0, 3.0, 4.0]),
            ("a", &[1], &[1.0]),
            ("only", &[1], &[0.0]),
        ],
    );
    write(
        dir.path(),
        "b.npz",
        &[
            ("out/z", &[1, 2, 1, 2], &[1.0, 2.0, 3.0, 5.0]),
            ("out/a", &[1], &[2.0]),
        ],
    );
    let net = r#"
layer { name: "z" type: "Input" top: "z" input_param { shape { dim: 1 dim: 2 dim: 1 dim: 2 } } }
layer { name: "a" type: "Reduction" bottom: "z" top: "a" }
"#;
    fs::write(dir.path().join("net.prototxt"), net).unwrap();
    let plain = call(dir.path(), "compare a.npz b.npz");
    assert_eq!(plain.status.code(), Some(1));
    let text = out(&plain);
    assert!(
        text.contains("order of the alphabet") && text.contains(": a at"),
        "{text}"
    );
    assert!(text.contains("only in the first"), "{text}");
    let ordered = out(&call(
        dir.path(),
        "compare a.npz b.npz --model=net.prototxt",
    ));
    let wanted = "in the order of the net: z at [0, 1, 0, 1] (channel 1): 4 against 5";
    assert!(ordered.contains(wanted), "{ordered}");
    let found = json(dir.path(), "a.npz b.npz --model=net.prototxt");
    assert_eq!(
        found["arrays"][0]["first"]["at"],
        serde_json::json!([0, 1, 0, 1])
    );
    works(&call(dir.path(), "compare b.npz b.npz"));
}

#[test]
fn two_files_of_weights() {
    let runs = fixtures().join("reference/runs");
    let file = |name: &str| runs.join("seed_sgd").join(name).display().to_string();
    let (init, last) = (file("init.caffemodel"), file("final.caffemodel"));
    let dir = tempfile::tempdir().unwrap();
    works(&call(dir.path(), &format!("compare {last} {last}")));
    let output = call(dir.path(), &format!("compare {init} {last}"));
    assert_eq!(output.status.code(), Some(1));
    let text = out(&output);
    assert!(
        text.contains("the first apart, in the order of the file: conv1/0 at ["),
        "{text}"
    );

    // NumPy's arrays by the same names; one is gone, one has another shape.
    write(
        dir.path(),
        "w.npz",
        &[
            ("conv1/1", &[1, 1, 1, 8], &[0.0; 8]),
            ("conv2/1", &[3], &[0.0; 3]),
        ],
    );
    let text = out(&call(
        dir.path(),
        &format!("compare {last} w.npz --atol=1000"),
    ));
    assert!(
        text.contains("[12] against [3]") && text.contains("only in the first"),
        "{text}"
    );
    assert!(text.contains("1 of 6 agree"), "{text}");
    let record = call(
        &fixtures().join("reference/layers/InnerProduct/00"),
        "compare -model net.prototxt -weights weights.caffemodel -reference blobs.npz -json",
    );
    works(&record);
    let record: serde_json::Value = serde_json::from_str(&out(&record)).unwrap();
    assert_eq!(record["kind"], "net");
}
