//! Whole nets: their figures against the published ones, and each as an ONNX model, run by onnxruntime and read back. Nets
//! from the wild are those of the folder that `CORTADO_CORPUS` names.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use cortado::{
    events::Silent,
    load::{self, LoadOptions},
    model_io::{caffemodel, npz},
    net::{Net, NetOptions},
    params::Params,
    tensor::Tensor,
};
use serde_json::Value;

use crate::{
    cli::{call, err, works},
    support::{files, models_agree, python_or_skip},
};

/// A net as lines: a Convolution `outputs kernel stride pad group`, a max Pooling `P kernel stride`, an InnerProduct `F
/// outputs`.
fn plain(side: usize, lines: &str) -> String {
    let mut text = format!(
        "layer {{ name: 'data' type: 'Input' top: 'data' input_param {{ shape {{ dim: 1 dim: 3 dim: {side} dim: {side} }} }} }}\n"
    );
    let mut bottom = "data".to_owned();
    for (i, line) in lines.split(',').enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (kind, param) = match words[..] {
            ["P", kernel, stride] => (
                "Pooling",
                format!("pooling_param {{ kernel_size: {kernel} stride: {stride} }}"),
            ),
            ["F", outputs] => (
                "InnerProduct",
                format!("inner_product_param {{ num_output: {outputs} }}"),
            ),
            [outputs, kernel, stride, pad, group] => (
                "Convolution",
                format!(
                    "convolution_param {{ num_output: {outputs} kernel_size: {kernel} stride: {stride} pad: {pad} group: {group} }}"
                ),
            ),
            _ => panic!("{line}"),
        };
        text += &format!(
            "layer {{ name: 'l{i}' type: '{kind}' bottom: '{bottom}' top: 'l{i}' {param} }}\n"
        );
        bottom = format!("l{i}");
    }
    text
}

fn summary(dir: &Path, net: &str, options: &str) -> Value {
    let output = call(dir, &format!("summarize {net} --json {options}"));
    works(&output);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Parameters and multiply-adds of one item, and how far the last pooling sees.
#[test]
fn figures_are_those_that_are_published() {
    let alexnet = "96 11 4 0 1, P 3 2, 256 5 1 2 2, P 3 2, 384 3 1 1 1, 384 3 1 1 2, 256 3 1 1 2, P 3 2, F 4096, F 4096, F 1000";
    let vgg = "64 3 1 1 1, 64 3 1 1 1, P 2 2, 128 3 1 1 1, 128 3 1 1 1, P 2 2, 256 3 1 1 1, 256 3 1 1 1, 256 3 1 1 1, P 2 2, \
        512 3 1 1 1, 512 3 1 1 1, 512 3 1 1 1, P 2 2, 512 3 1 1 1, 512 3 1 1 1, 512 3 1 1 1, P 2 2, F 4096, F 4096, F 1000";
    let dir = tempfile::tempdir().unwrap();
    for (side, lines, parameters, multiply_adds, field) in [
        (227, alexnet, 60_965_224u64, 724_406_816u64, 195.0),
        (224, vgg, 138_357_544, 15_470_264_320, 212.0),
    ] {
        fs::write(dir.path().join("n.prototxt"), plain(side, lines)).unwrap();
        let found = summary(dir.path(), "n.prototxt", "");
        assert_eq!(found["parameters"], parameters);
        assert_eq!(found["multiply_adds"], multiply_adds);
        let layers = found["layers"].as_array().unwrap();
        let pooling = layers.iter().rfind(|l| l["type"] == "Pooling").unwrap();
        assert_eq!(
            pooling["receptive_field"],
            serde_json::json!([field, field])
        );
    }
}

/// The file of the corpus whose name ends so.
fn of_corpus(name: &str) -> Option<PathBuf> {
    let folder = env::var_os("CORTADO_CORPUS").map(PathBuf::from)?;
    files(&folder, name).into_iter().next()
}

#[test]
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn figures_of_nets_with_branches() {
    // Caffe's BatchNorm keeps three more numbers, or rows of them, than others count: mean, variance and their weight.
    for (name, batch, parameters, multiply_adds, last, field) in [
        (
            "50b54a9f-deploy.prototxt",
            10u64,
            6_998_552u64,
            1_582_671_872u64,
            "inception_5b/output",
            715.0,
        ),
        (
            "cc50de4c-ResNet-50-deploy.prototxt",
            1,
            25_557_096 + 53_173,
            3_857_973_248,
            "res5c",
            483.0,
        ),
        (
            "f4307300-deploy.prototxt",
            10,
            1_248_424,
            861_339_936,
            "fire9/concat",
            155.0,
        ),
        (
            "f8c906f5-mobilenet_deploy.prototxt",
            1,
            4_231_976 + 21_915,
            568_740_352,
            "conv6/sep",
            315.0,
        ),
    ] {
        let Some(path) = of_corpus(name) else {
            eprintln!("skipped: CORTADO_CORPUS names no folder with {name}");
            continue;
        };
        let found = summary(Path::new("."), path.to_str().unwrap(), "");
        assert_eq!(found["parameters"], parameters, "{name}");
        assert_eq!(found["multiply_adds"], batch * multiply_adds, "{name}");
        let layers = found["layers"].as_array().unwrap();
        let layer = layers.iter().find(|l| l["name"] == last).unwrap();
        assert_eq!(
            layer["receptive_field"],
            serde_json::json!([field, field]),
            "{name}"
        );
    }
}

/// What is made of nets that are trained is what their authors deploy; SqueezeNet's loss is for TRAIN alone.
#[test]
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn deployed_nets_are_those_of_their_authors() {
    for (train, deploy) in [
        ("588b4ea7-train_val.prototxt", "45b2b0e3-deploy.prototxt"),
        ("5fe367f2-train_val.prototxt", "50b54a9f-deploy.prototxt"),
        ("985353be-train_val.prototxt", "b8f99c74-deploy.prototxt"),
        ("e3e42796-train_val.prototxt", "907116ef-deploy.prototxt"),
        ("15f077bc-train_val.prototxt", "f4307300-deploy.prototxt"),
    ] {
        let (Some(train), Some(deploy)) = (of_corpus(train), of_corpus(deploy)) else {
            eprintln!("skipped: CORTADO_CORPUS names no folder with {train}");
            continue;
        };
        let words = format!(
            "deploy --model={} --check={} --batch=10 --json",
            train.display(),
            deploy.display()
        );
        let output = call(Path::new("."), &words);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(found["differences"], serde_json::json!([]), "{words}");
        works(&output);
    }
}

/// Weights that keep values at their size from layer to layer, statistics around those of such values.
fn weights(net: &Net, params: &mut Params) {
    let mut state = 5u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    for node in &net.graph().nodes {
        for (i, &id) in node.params.iter().enumerate() {
            let value = &mut params[id].value;
            let fan: usize = value.shape.dims().iter().skip(1).product();
            let (middle, spread) = match (node.kind.name, i, value.shape.axes()) {
                ("BatchNorm", 0, _) => (0.0, 0.1),
                ("BatchNorm", 2, _) => (1.0, 0.0),
                ("BatchNorm", ..) | ("Scale" | "BN", 0, _) => (1.0, 0.2),
                ("Normalize", ..) => (10.0, 0.0),
                ("PReLU", ..) => (0.2, 0.1),
                (_, 0, 2..) => (0.0, (6.0 / fan as f32).sqrt()),
                _ => (0.0, 0.05),
            };
            value
                .data
                .iter_mut()
                .for_each(|x| *x = middle + spread * next());
        }
    }
}

/// Nets, the shapes that make them small enough for a test, and the blobs that end them where ONNX cannot say the end.
const WHOLE: &[(&str, &str, &str)] = &[
    ("8cf78e62-lenet.prototxt", "", ""),
    ("83cf0d86-cifar10_full.prototxt", "", ""),
    ("f4307300-deploy.prototxt", "data:1x3x67x67", ""),
    ("f8c906f5-mobilenet_deploy.prototxt", "data:1x3x64x64", ""),
    (
        "a6465e8c-mobilenet_v2_deploy.prototxt",
        "data:1x3x64x64",
        "",
    ),
    (
        "2e799a62-shufflenet_1x_g3_deploy.prototxt",
        "data:1x3x224x224",
        "",
    ),
    ("cc50de4c-ResNet-50-deploy.prototxt", "data:1x3x224x224", ""),
    ("50b54a9f-deploy.prototxt", "data:1x3x224x224", ""),
    (
        "7db20a3d-inception_bn_deploy.prototxt",
        "data:1x3x224x224",
        "",
    ),
    ("c47d7b5f-enet_deploy_final.prototxt", "data:1x3x64x64", ""),
    ("21a48666-deploy.prototxt", "data:1x3x40x48", ""),
    ("c5c1657c-det1.prototxt", "", ""),
    (
        "54492d68-pose_deploy_linevec.prototxt",
        "image:1x3x32x32",
        "",
    ),
    (
        "fdc81262-MobileNetSSD_deploy.prototxt",
        "data:1x3x96x96",
        "mbox_loc,mbox_conf_flatten,mbox_priorbox",
    ),
    ("bfd6166a-lrcn_word_to_preds.deploy.prototxt", "", ""),
];

/// A net as a model, the model as a net again; all three make the same of one input.
#[test]
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn nets_go_to_onnx_and_back() {
    let Some(python) = python_or_skip(&["onnxruntime", "onnx", "numpy"]) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let models = dir.path().join("models");
    fs::create_dir(&models).unwrap();
    let mut count = 0;
    for &(name, shape, ends) in WHOLE {
        let Some(path) = of_corpus(name) else {
            eprintln!("skipped: CORTADO_CORPUS names no folder with {name}");
            continue;
        };
        let stem = name.trim_end_matches(".prototxt");
        let mut text = fs::read_to_string(path).unwrap();
        let file = load::net_from_text(name, &text, LoadOptions::default(), &mut Silent).unwrap();
        let mut message = file.net;
        if let Some((blob, dims)) = shape.split_once(':') {
            let dims: Vec<usize> = dims.split('x').map(|d| d.parse().unwrap()).collect();
            let shapes = [(blob.to_owned(), cortado::tensor::Shape::new(&dims))];
            cortado::graph::stand_in(&mut message, &shapes).unwrap();
            text = cortado::text::print("NetParameter", &message);
        }
        fs::write(dir.path().join("n.prototxt"), text).unwrap();
        let mut params = Params::new();
        let net = Net::new(&message, &mut params, &NetOptions::default(), &mut Silent).unwrap();
        weights(&net, &mut params);
        caffemodel::write(&dir.path().join("n.caffemodel"), &net, &params).unwrap();
        let mut inputs = Vec::new();
        for input in net.inputs() {
            let shape = net.blob(input).unwrap().shape.clone();
            // Whole numbers are words.
            let words = stem.contains("lrcn");
            let value = |i: usize| match words {
                true => (i * 7 % 5) as f32,
                false => ((i * 37 + i / 11) % 101) as f32 / 50.0 - 1.0,
            };
            let data = (0..shape.count()).map(value).collect();
            inputs.push((format!("in/{input}"), Tensor::new(shape, data).unwrap()));
        }
        let fed = inputs.iter().map(|(name, t)| (&name[3..], t.view()));
        npz::write_npz(&dir.path().join("x.npz"), fed, false).unwrap();
        let here = |words: &str| {
            let output = call(dir.path(), words);
            assert_eq!(output.status.code(), Some(0), "{name}: {}", err(&output));
        };
        let outputs = match ends {
            "" => String::new(),
            ends => format!("--outputs={ends}"),
        };
        here(&format!(
            "export-onnx --model=n.prototxt --weights=n.caffemodel --output=models/{stem}.onnx {outputs}"
        ));
        here(&format!(
            "import-onnx models/{stem}.onnx --model=b.prototxt --weights=b.caffemodel"
        ));
        let mut results = Vec::new();
        for net in ["n", "b"] {
            here(&format!(
                "run --model={net}.prototxt --weights={net}.caffemodel --input=x.npz --output={net}.npz"
            ));
            results.push(npz::read_npz(&dir.path().join(format!("{net}.npz"))).unwrap());
        }
        let (all, back) = (&results[0], &results[1]);
        let ends: Vec<String> = match ends {
            "" => net
                .graph()
                .outputs()
                .iter()
                .map(|&o| net.graph().value(o).name.to_string())
                .collect(),
            ends => ends.split(',').map(str::to_owned).collect(),
        };
        for end in &ends {
            let (want, got) = (&all[end], &back[end]);
            assert_eq!(want.shape, got.shape, "{name}: {end}");
            let largest = want.data.iter().fold(1.0f32, |m, x| m.max(x.abs()));
            for (a, b) in want.data.iter().zip(&got.data) {
                assert!(
                    (a - b).abs() <= 1e-4 * largest,
                    "{name}: {end}: {b}, not {a}"
                );
            }
        }
        let record = (inputs.iter().map(|(name, t)| (name.clone(), t.view()))).chain(
            ends.iter()
                .map(|end| (format!("out/{end}"), all[end].view())),
        );
        npz::write_npz(&models.join(format!("{stem}.npz")), record, false).unwrap();
        count += 1;
    }
    models_agree(&python, &models, count, "largest");
}
