//! The commands on nets and their weights, from outside; what they write is read by libraries that are not ours where
//! there is a Python that has them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use cortado::{
    events::Silent,
    load::{self, LoadOptions},
    model_io::{caffemodel, npz, weights},
    net::{Keep, Net, NetOptions},
    params::Params,
    tensor::Tensor,
};
use serde_json::Value;

use crate::{
    cli::{call, err, fails, out, works},
    support::{fixtures, python_or_skip},
};

/// The descriptors of our own schema, for other readers of protobuf.
const SCHEMA: &str = concat!(env!("OUT_DIR"), "/schema.bin");

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/support")
        .join(name)
}

/// What another library finds in a file; `None` without a Python that has it.
fn others(modules: &[&str], args: &[&str]) -> Option<Value> {
    let python = python_or_skip(&[modules, &["numpy"]].concat())?;
    let (kind, rest) = args.split_first().unwrap();
    let output = Command::new(python)
        .arg(script("check.py"))
        .args([SCHEMA, kind])
        .args(rest)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", err(&output));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn json(output: &std::process::Output) -> Value {
    works(output);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", out(output)))
}

const LENET: &str = r#"name: "LeNet"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 64 dim: 1 dim: 28 dim: 28 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param { num_output: 20 kernel_size: 5 weight_filler { type: "xavier" } } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2" convolution_param { num_output: 50 kernel_size: 5 weight_filler { type: "xavier" } } }
layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "ip1" type: "InnerProduct" bottom: "pool2" top: "ip1" inner_product_param { num_output: 500 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "ip1" top: "ip1" }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2" inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "ip2" top: "prob" }
"#;

#[test]
fn lenet_in_figures() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("n.prototxt"), LENET).unwrap();
    let found = json(&call(dir.path(), "summarize n.prototxt --json"));
    assert_eq!(found["parameters"], 431_080);
    let one_item = 288_000 + 1_600_000 + 400_000 + 5_000;
    assert_eq!(found["multiply_adds"], 64 * one_item);
    let layers = found["layers"].as_array().unwrap();
    assert_eq!(layers[3]["kernel"], "5x5");
    assert_eq!(
        layers[4]["receptive_field"],
        serde_json::json!([16.0, 16.0])
    );
    assert_eq!(layers[4]["stride"], serde_json::json!([4.0, 4.0]));
    assert_eq!(layers[5]["receptive_field"], "all");
    let output = call(dir.path(), "summarize --model=n.prototxt");
    works(&output);
    let text = out(&output);
    assert!(text.contains("431080 parameters"), "{text}");
    assert!(
        text.lines()
            .any(|l| l.starts_with("conv2") && l.contains("64x50x8x8")),
        "{text}"
    );
    fails(&call(dir.path(), "summarize no.prototxt"), &["no.prototxt"]);
}

#[test]
fn a_net_without_its_data_is_summarized_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let text = r#"
        layer { name: "d" type: "Data" top: "data" top: "label" transform_param { crop_size: 12 }
                data_param { source: "no_such_lmdb" batch_size: 7 } }
        layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 2 kernel_size: 3 } }
        layer { name: "l" type: "SoftmaxWithLoss" bottom: "c" bottom: "label" top: "l" }"#;
    fs::write(dir.path().join("n.prototxt"), text).unwrap();
    let output = call(dir.path(), "summarize n.prototxt");
    // One label an item does not fit a map of scores: the guess is told, and the loss says what is wrong.
    assert!(err(&output).contains("label"), "{}", err(&output));
    let given = "summarize n.prototxt --shape=data:7x3x12x12,label:7x1x10x10 --json";
    let found = json(&call(dir.path(), given));
    assert_eq!(found["parameters"], 2 * 27 + 2);
}

#[test]
fn drawings() {
    let dir = tempfile::tempdir().unwrap();
    let text = LENET.replace(
        "layer { name: \"prob\"",
        "layer { name: \"join <&>\" type: \"Eltwise\" bottom: \"ip2\" bottom: \"ip2b\" top: \"sum\" }\nlayer { name: \"prob\"",
    );
    let text = text.replace(
        "layer { name: \"join",
        "layer { name: \"ip2b\" type: \"InnerProduct\" bottom: \"ip1\" top: \"ip2b\" inner_product_param { num_output: 10 } }\nlayer { name: \"join",
    );
    fs::write(dir.path().join("n.prototxt"), text).unwrap();
    for words in ["", "--rankdir=LR"] {
        works(&call(dir.path(), &format!("draw n.prototxt n.svg {words}")));
        let svg = fs::read_to_string(dir.path().join("n.svg")).unwrap();
        assert!(
            svg.contains(">64×20×24×24<") && svg.contains("join &lt;&amp;&gt;"),
            "{svg}"
        );
        let path = dir.path().join("n.svg");
        if let Some(found) = others(&["xml"], &["xml", path.to_str().unwrap()]) {
            assert_eq!(found["tag"], "svg");
            let texts = found["texts"].as_array().unwrap();
            assert!(
                texts.contains(&Value::from("relu1")) && texts.contains(&Value::from("join <&>"))
            );
        }
    }
    works(&call(dir.path(), "draw --model=n.prototxt net.dot"));
    assert!(dir.path().join("net.dot").exists());
    works(&call(dir.path(), "draw n.prototxt n.dot --rankdir LR"));
    let dot = fs::read_to_string(dir.path().join("n.dot")).unwrap();
    assert!(
        dot.starts_with("digraph \"LeNet\" {\n  rankdir=LR;"),
        "{dot}"
    );
    assert!(dot.contains("label=\"pool2\\n64×50×4×4\""), "{dot}");
    fails(
        &call(dir.path(), "draw n.prototxt n.png"),
        &[".svg", "dot -Tpng"],
    );
}

/// The net of a text with every parameter filled with numbers around 0, statistics with positive ones.
fn filled(text: &str) -> (Net, Params) {
    let file = load::net_from_text("t", text, LoadOptions::default(), &mut Silent).unwrap();
    let mut params = Params::new();
    let options = NetOptions {
        keep: Keep::All,
        ..NetOptions::default()
    };
    let net = Net::new(&file.net, &mut params, &options, &mut Silent).unwrap();
    let mut state = 9u32;
    for id in net.learnable() {
        let param = &mut params[id];
        for x in &mut param.value.data {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
            *x = if param.lr_mult == 0.0 {
                value.abs() + 0.1
            } else {
                value
            };
        }
    }
    (net, params)
}

const NORMAL: &str = r#"name: "normal"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 4 dim: 9 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv" convolution_param { num_output: 6 kernel_size: 3 group: 2 bias_term: false } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "up" type: "Deconvolution" bottom: "conv" top: "up" convolution_param { num_output: 4 kernel_size: 2 stride: 2 group: 2 } }
layer { name: "up_bn" type: "BatchNorm" bottom: "up" top: "up_bn" }
layer { name: "up_scale" type: "Scale" bottom: "up_bn" top: "up_scale" }
layer { name: "own_bn" type: "BatchNorm" bottom: "x" top: "own" }
layer { name: "own_scale" type: "Scale" bottom: "own" top: "own" scale_param { bias_term: true } }
layer { name: "ip" type: "InnerProduct" bottom: "own" top: "ip" inner_product_param { num_output: 5 transpose: true } }
layer { name: "ip_scale" type: "Scale" bottom: "ip" top: "ip" }
"#;

#[test]
fn a_folded_net_gives_the_same() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("n.prototxt"), NORMAL).unwrap();
    let (mut net, mut params) = filled(NORMAL);
    caffemodel::write(&dir.path().join("n.caffemodel"), &net, &params).unwrap();
    let output = call(
        dir.path(),
        "fold --model=n.prototxt --weights=n.caffemodel --output=f.prototxt",
    );
    works(&output);
    assert!(
        out(&output).contains("folded 6 layers into 4"),
        "{}",
        out(&output)
    );
    let file = load::net(
        &dir.path().join("f.prototxt"),
        LoadOptions::default(),
        &mut Silent,
    );
    let file = file.unwrap();
    let kinds: Vec<&str> = file.net.layer.iter().map(|l| l.r#type()).collect();
    assert_eq!(
        kinds,
        [
            "Input",
            "Convolution",
            "ReLU",
            "Deconvolution",
            "Scale",
            "InnerProduct"
        ]
    );
    let mut folded_params = Params::new();
    let options = NetOptions {
        keep: Keep::All,
        ..NetOptions::default()
    };
    let mut folded = Net::new(&file.net, &mut folded_params, &options, &mut Silent).unwrap();
    let model = caffemodel::read(&dir.path().join("f.caffemodel")).unwrap();
    caffemodel::load_weights(&model, &folded, &mut folded_params).unwrap();
    let x: Vec<f32> = (0..2 * 4 * 72)
        .map(|i| (i % 37) as f32 / 37.0 - 0.5)
        .collect();
    let x = Tensor::new([2, 4, 9, 8], x).unwrap();
    net.set_input("x", &x).unwrap();
    folded.set_input("x", &x).unwrap();
    net.forward(&mut params).unwrap();
    folded.forward(&mut folded_params).unwrap();
    for name in ["up_scale", "ip"] {
        let (want, got) = (net.blob(name).unwrap(), folded.blob(name).unwrap());
        assert_eq!(want.shape, got.shape);
        let largest = want.data.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        for (a, b) in want.data.iter().zip(got.data) {
            assert!((a - b).abs() <= 1e-5 * largest, "{name}: {b}, not {a}");
        }
    }
    if let Some(found) = others(
        &["google.protobuf"],
        &[
            "text",
            dir.path().join("f.prototxt").to_str().unwrap(),
            "NetParameter",
        ],
    ) {
        assert_eq!(found["layers"][3]["top"], serde_json::json!(["up_scale"]));
    }
    fs::write(dir.path().join("l.prototxt"), LENET).unwrap();
    let (lenet, lenet_params) = filled(LENET);
    caffemodel::write(&dir.path().join("l.caffemodel"), &lenet, &lenet_params).unwrap();
    let words = "fold --model=l.prototxt --weights=l.caffemodel --output=lf.prototxt";
    fails(&call(dir.path(), words), &["nothing in this net"]);
    assert!(!dir.path().join("lf.prototxt").exists());
}

#[test]
fn files_of_weights() {
    let dir = tempfile::tempdir().unwrap();
    let (net, params) = filled(LENET);
    caffemodel::write(&dir.path().join("a.caffemodel"), &net, &params).unwrap();
    let here = |words: &str| call(dir.path(), words);
    let listed = json(&here("weights list a.caffemodel --json"));
    assert_eq!(listed["values"], 431_080);
    works(&here("weights list a.caffemodel"));
    let shapes = json(&here("weights shapes a.caffemodel --layers=conv* --json"));
    assert_eq!(shapes["parameters"].as_array().unwrap().len(), 4);
    assert_eq!(
        shapes["parameters"][2]["shape"],
        serde_json::json!([50, 20, 5, 5])
    );
    let norms = json(&here("weights norms a.caffemodel --json"));
    let own = weights::Figures::of(&params[net.learnable()[0]].value.data);
    assert!((norms["parameters"][0]["l2"].as_f64().unwrap() - own.l2).abs() < 1e-9);
    let bins = json(&here("weights histograms a.caffemodel --bins=10 --json"));
    let counts = bins["parameters"][0]["counts"].as_array().unwrap();
    assert_eq!(counts.iter().map(|c| c.as_u64().unwrap()).sum::<u64>(), 500);
    works(&here("weights histograms a.caffemodel"));
    // Each form and back is the same file.
    works(&here("weights convert a.caffemodel b.npz"));
    works(&here("weights convert b.npz c.caffemodel.h5"));
    works(&here("weights convert c.caffemodel.h5 d.caffemodel"));
    let same = here("weights diff a.caffemodel d.caffemodel");
    works(&same);
    assert!(
        out(&same).contains("8 of 8 parameters are equal"),
        "{}",
        out(&same)
    );
    let sum: f64 = params[net.learnable()[0]]
        .value
        .data
        .iter()
        .map(|&x| f64::from(x))
        .sum();
    let close = |found: &Value| (found.as_f64().unwrap() - sum).abs() < 1e-3;
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    if let Some(found) = others(&["numpy"], &["npz", &path("b.npz")]) {
        assert_eq!(found["conv1/0"]["shape"], serde_json::json!([20, 1, 5, 5]));
        assert!(close(&found["conv1/0"]["sum"]));
    }
    if let Some(found) = others(&["h5py"], &["h5", &path("c.caffemodel.h5")]) {
        assert!(close(&found["conv1/0"]["sum"]));
        assert_eq!(found.as_object().unwrap().len(), 8);
    }
    if let Some(found) = others(
        &["google.protobuf"],
        &["binary", &path("d.caffemodel"), "NetParameter"],
    ) {
        let conv = found["layers"]
            .as_array()
            .unwrap()
            .iter()
            .find(|l| l["name"] == "conv1")
            .unwrap();
        assert!(close(&conv["blobs"][0]["sum"]));
    }
    // Other names, fewer layers.
    works(&here(
        "weights rename a.caffemodel r.caffemodel --rename=conv*:c/*,ip2:out",
    ));
    works(&here(
        "weights strip r.caffemodel s.caffemodel --layers=out",
    ));
    let left = json(&here("weights list s.caffemodel --json"));
    let names: Vec<&str> = left["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["c/1", "c/2", "ip1"]);
    let differ = here("weights diff a.caffemodel r.caffemodel");
    assert_eq!(differ.status.code(), Some(1));
    fails(&here("weights lits a.caffemodel"), &["did you mean 'list'"]);
    fails(&here("weights list"), &["one file"]);
    fails(
        &here("weights rename a.caffemodel z.npz --rename=nix:x"),
        &["'nix'"],
    );
    assert!(!dir.path().join("z.npz").exists());
    fails(
        &here("weights list --layers=conw1 a.caffemodel"),
        &["did you mean 'conv1'"],
    );
}

#[test]
fn the_example_net_is_deployed() {
    let dir = tempfile::tempdir().unwrap();
    let folder = fixtures().join("facial_keypoints");
    let (train, deploy) = (
        folder.join("train_val.prototxt"),
        folder.join("deploy.prototxt"),
    );
    let here = |words: &str| {
        call(
            dir.path(),
            &format!("deploy --model={} {words}", train.display()),
        )
    };
    fails(
        &here("--output=d.prototxt"),
        &["--shape=images:1x3x227x227"],
    );
    works(&here("--shape=images:1x3x48x48 --output=d.prototxt"));
    let text = fs::read_to_string(dir.path().join("d.prototxt")).unwrap();
    assert!(
        text.contains("layer { name: \"pool1\" type: \"Pooling\""),
        "{text}"
    );
    assert!(
        !text.contains("lmdb") && text.contains("\"Softmax\""),
        "{text}"
    );
    if let Some(found) = others(
        &["google.protobuf"],
        &[
            "text",
            dir.path().join("d.prototxt").to_str().unwrap(),
            "NetParameter",
        ],
    ) {
        let kinds: Vec<&str> = found["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|l| l["type"].as_str().unwrap())
            .collect();
        assert_eq!(kinds.first(), Some(&"Input"));
        assert_eq!(kinds.last(), Some(&"Softmax"));
    }
    // It is the net that its authors deploy.
    let words = format!("--shape=images:1x3x48x48 --check={}", deploy.display());
    let output = here(&words);
    works(&output);
    assert!(
        out(&output).contains("less the mean of ../mean.binaryproto"),
        "{}",
        out(&output)
    );
    let other = fs::read_to_string(&deploy)
        .unwrap()
        .replace("num_output: 64", "num_output: 32");
    fs::write(dir.path().join("other.prototxt"), other).unwrap();
    let output = here("--shape=images:1x3x48x48 --check=other.prototxt --json");
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["differences"][0]["layer"], "conv2");
    assert_eq!(
        found["differences"][0]["what"],
        "convolution_param.num_output"
    );
}

#[test]
fn models_of_and_for_other_runtimes() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("n.prototxt"), NORMAL).unwrap();
    let (net, params) = filled(NORMAL);
    caffemodel::write(&dir.path().join("n.caffemodel"), &net, &params).unwrap();
    let here = |words: &str| call(dir.path(), words);
    works(&here(
        "export-onnx --model=n.prototxt --weights=n.caffemodel --any_batch",
    ));
    works(&here(
        "import-onnx n.onnx --model=back.prototxt --weights=back.npz",
    ));
    // Both nets on one input.
    let x: Vec<f32> = (0..2 * 4 * 72)
        .map(|i| (i % 31) as f32 / 31.0 - 0.5)
        .collect();
    let x = Tensor::new([2, 4, 9, 8], x).unwrap();
    npz::write_npz(&dir.path().join("x.npz"), [("x", x.view())], false).unwrap();
    works(&here("weights convert back.npz back.caffemodel"));
    works(&here(
        "run --model=n.prototxt --weights=n.caffemodel --input=x.npz --output=a.npz",
    ));
    works(&here(
        "run --model=back.prototxt --weights=back.caffemodel --input=x.npz --output=b.npz",
    ));
    let read = |name: &str| npz::read_npz(&dir.path().join(name)).unwrap();
    let (a, b) = (read("a.npz"), read("b.npz"));
    for (name, want) in &a {
        let got = &b[name];
        assert_eq!(want.shape, got.shape, "{name}");
        assert!(
            want.data
                .iter()
                .zip(&got.data)
                .all(|(a, b)| (a - b).abs() <= 1e-4 + 1e-4 * b.abs())
        );
    }
    fs::write(
        dir.path().join("l.prototxt"),
        LENET
            .replace(
                "layer { name: \"conv1\"",
                "layer { name: \"label\" type: \"Input\" top: \"label\" input_param { shape { dim: 64 } } }\nlayer { name: \"conv1\"",
            )
            .replace(
                "Softmax\" bottom: \"ip2\"",
                "Accuracy\" bottom: \"ip2\" bottom: \"label\"",
            ),
    )
    .unwrap();
    fails(
        &here("export-onnx --model=l.prototxt"),
        &["'prob' (Accuracy)", "deploy"],
    );
    works(&here(
        "export-onnx --model=l.prototxt --outputs=ip2 --output=l.onnx",
    ));
    fails(
        &here("import-onnx n.prototxt"),
        &["no ONNX model", "n.prototxt"],
    );
}

/// A model as other exporters write them becomes a net that computes what onnxruntime does.
#[test]
fn a_model_of_another_maker() {
    let Some(python) = python_or_skip(&["onnxruntime", "onnx", "numpy"]) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let made = Command::new(python)
        .arg(script("make_onnx.py"))
        .arg(dir.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", err(&made));
    let here = |words: &str| call(dir.path(), words);
    for (model, kinds) in [
        ("other", &["Convolution", "HSwish", "Softmax"][..]),
        ("forms", &["Swish", "Mish", "Normalize", "Upsample"]),
    ] {
        works(&here(&format!("import-onnx {model}.onnx")));
        let text = fs::read_to_string(dir.path().join(format!("{model}.prototxt"))).unwrap();
        for kind in kinds {
            assert!(
                text.contains(&format!("type: \"{kind}\"")),
                "{kind}: {text}"
            );
        }
        let mut record = npz::read_npz(&dir.path().join(format!("{model}.npz"))).unwrap();
        let x = record.remove("x").unwrap();
        npz::write_npz(&dir.path().join("x.npz"), [("x", x.view())], false).unwrap();
        works(&here(&format!(
            "run --model={model}.prototxt --weights={model}.caffemodel --input=x.npz --output=y.npz"
        )));
        let got = npz::read_npz(&dir.path().join("y.npz")).unwrap();
        assert!(!record.is_empty());
        for (name, want) in &record {
            let got = &got[name];
            assert_eq!(want.shape, got.shape, "{name}");
            for (a, b) in want.data.iter().zip(&got.data) {
                assert!((a - b).abs() <= 1e-4, "{model}: {name}: {b}, not {a}");
            }
        }
    }
}

#[test]
fn caffes_upgrade_tools() {
    let dir = tempfile::tempdir().unwrap();
    let old = "name: 'old' input: 'data' input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
        layers { name: 'conv' type: CONVOLUTION bottom: 'data' top: 'conv' blobs_lr: 1 blobs_lr: 2
                 convolution_param { num_output: 2 kernel_size: 3 } }";
    fs::write(dir.path().join("old.prototxt"), old).unwrap();
    fs::write(
        dir.path().join("s.prototxt"),
        "net: 'n' solver_type: ADAM base_lr: 1",
    )
    .unwrap();
    let here = |words: &str| call(dir.path(), words);
    let output = here("upgrade_net_proto_text old.prototxt new.prototxt");
    works(&output);
    assert!(err(&output).contains("Wrote upgraded NetParameter text proto to new.prototxt"));
    let text = fs::read_to_string(dir.path().join("new.prototxt")).unwrap();
    assert!(
        text.contains("type: \"Convolution\"") && text.contains("lr_mult: 2"),
        "{text}"
    );
    let path = dir.path().join("new.prototxt");
    if let Some(found) = others(
        &["google.protobuf"],
        &["text", path.to_str().unwrap(), "NetParameter"],
    ) {
        assert_eq!(found["layers"][0]["type"], "Input");
        assert_eq!(found["layers"][1]["type"], "Convolution");
    }
    let again = here("upgrade_net_proto_text new.prototxt newer.prototxt");
    works(&again);
    assert!(err(&again).contains("File already in latest proto format: new.prototxt"));
    assert_eq!(
        fs::read_to_string(dir.path().join("newer.prototxt")).unwrap(),
        text
    );
    works(&here("upgrade_solver_proto_text s.prototxt t.prototxt"));
    let solver = fs::read_to_string(dir.path().join("t.prototxt")).unwrap();
    assert!(
        solver.contains("type: \"Adam\"") && !solver.contains("snapshot_prefix"),
        "{solver}"
    );
    let code = |words: &str| here(words).status.code();
    assert_eq!(code("upgrade_net_proto_text no.prototxt x"), Some(2));
    assert_eq!(code("upgrade_net_proto_text s.prototxt"), Some(1));
    assert_eq!(code("upgrade_net_proto_binary old.prototxt x"), Some(2));
    assert!(!dir.path().join("x").exists());
    // A binary net keeps its weights.
    let (net, params) = filled(LENET);
    caffemodel::write(&dir.path().join("w.caffemodel"), &net, &params).unwrap();
    works(&here("upgrade_net_proto_binary w.caffemodel v.caffemodel"));
    works(&here("weights diff w.caffemodel v.caffemodel"));
}

#[test]
fn what_there_is_to_compute_with() {
    let found = json(&call(Path::new("."), "device_query --threads=1 --json"));
    assert_eq!(found["threads"], 1);
    assert!(found["cores"].as_u64().unwrap() >= 1);
    assert!(found["peak_gflops"].as_f64().unwrap() > 0.0);
    let output = call(Path::new("."), "device_query");
    works(&output);
    assert!(
        out(&output).contains("instruction sets"),
        "{}",
        out(&output)
    );
}
