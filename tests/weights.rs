//! Files of weights and old nets that other libraries wrote, through the program and back to other libraries; and what is
//! left of a file when the program is told to end.

use std::{fs, path::Path, process::Command};

use cortado::{model_io::npz, tensor::Tensor};

use crate::{
    cli::{call, err, fails, out, program, works},
    support::python_or_skip,
};

/// Runs a script of `tests/support` with the descriptors of the schema; `None` without a Python for it.
fn script(name: &str, args: &[&str]) -> Option<String> {
    let python = python_or_skip(&["h5py", "numpy", "google.protobuf"])?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support");
    let output = Command::new(python)
        .arg(folder.join(name))
        .arg(concat!(env!("OUT_DIR"), "/schema.bin"))
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", err(&output));
    Some(out(&output))
}

/// What numpy, h5py and protobuf write is read as the same, and what is made of it is read by them as the same.
#[test]
fn weights_of_other_makers() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    if script("make_weights.py", &[&path("")]).is_none() {
        return;
    }
    let here = |words: &str| call(dir.path(), words);
    let forms = ["a.npz", "b.caffemodel.h5", "c.caffemodel"];
    let found = |kind: &str, name: &str| {
        let words = match kind {
            "binary" => vec![kind, name, "NetParameter"],
            _ => vec![kind, name],
        };
        let said = script("check.py", &words).unwrap();
        let found: serde_json::Value = serde_json::from_str(&said).unwrap();
        // By name: the shape and the sum.
        match kind {
            "binary" => {
                let mut all = serde_json::Map::new();
                for layer in found["layers"].as_array().unwrap() {
                    for (i, blob) in layer["blobs"].as_array().unwrap().iter().enumerate() {
                        let name = format!("{}/{i}", layer["name"].as_str().unwrap());
                        all.insert(name, blob.clone());
                    }
                }
                all.into()
            }
            _ => found,
        }
    };
    let want = found("npz", &path("a.npz"));
    assert_eq!(want.as_object().unwrap().len(), 3);
    for from in forms {
        for (kind, to) in [
            ("npz", "to.npz"),
            ("h5", "to.caffemodel.h5"),
            ("binary", "to.caffemodel"),
        ] {
            works(&here(&format!("weights convert {from} {to}")));
            assert_eq!(found(kind, &path(to)), want, "{from} to {to}");
            works(&here(&format!("weights diff {to} a.npz")));
        }
    }
    // A net of the first version of layers: its blobs have four extents.
    let output = here("upgrade_net_proto_binary old.caffemodel new.caffemodel --json");
    works(&output);
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["upgraded"], true);
    let said = script(
        "check.py",
        &["binary", &path("new.caffemodel"), "NetParameter"],
    )
    .unwrap();
    let new: serde_json::Value = serde_json::from_str(&said).unwrap();
    let layers = new["layers"].as_array().unwrap();
    let kinds: Vec<&str> = layers.iter().map(|l| l["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Input", "Convolution", "InnerProduct"]);
    let close = |a: &serde_json::Value, b: &serde_json::Value| {
        (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-4
    };
    assert!(close(&layers[2]["blobs"][0]["sum"], &want["ip/0"]["sum"]));
    assert!(
        close(&layers[1]["blobs"][1]["sum"], &want["conv/1/1"]["sum"]),
        "{said}"
    );
    let again = here("upgrade_net_proto_binary new.caffemodel newer.caffemodel --json");
    works(&again);
    let said: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(said["upgraded"], false);
    let bytes = |name: &str| fs::read(dir.path().join(name)).unwrap();
    assert_eq!(bytes("new.caffemodel"), bytes("newer.caffemodel"));
}

#[test]
fn calls_that_cannot_be() {
    let dir = tempfile::tempdir().unwrap();
    let here = |words: &str| call(dir.path(), words);
    let one = Tensor::new([2], vec![1.0, 2.0]).unwrap();
    npz::write_npz(&dir.path().join("a.npz"), [("ip/0", one.view())], false).unwrap();
    fs::write(dir.path().join("empty"), "").unwrap();
    fs::write(dir.path().join("n.prototxt"), "name: 'x'").unwrap();
    fails(
        &here("weights convert a.npz b.txt"),
        &["b.txt", ".caffemodel.h5 or .npz"],
    );
    fails(
        &here("weights convert a.npz no/b.caffemodel"),
        &["no/b.caffemodel", "make the folder first"],
    );
    fails(
        &here("weights diff a.npz"),
        &["one file was given", "two files"],
    );
    works(&here("weights convert a.npz bare.caffemodel"));
    fails(
        &here("summarize bare.caffemodel"),
        &["has no type", "'ip'", ".prototxt"],
    );
    fails(&here("summarize empty"), &["holds no layers", "empty"]);
    fails(&here("draw n.prototxt"), &["holds no layers", "n.prototxt"]);
    fails(
        &here("import-onnx empty"),
        &["no ONNX model", "the file is empty"],
    );
    assert_eq!(
        here("upgrade_net_proto_binary n.prototxt x").status.code(),
        Some(2)
    );
    for gone in ["b.txt", "no", "n.svg", "x", "empty.prototxt"] {
        assert!(!dir.path().join(gone).exists(), "{gone}");
    }
    // Names that were not told are not those of files that are there.
    fs::write(dir.path().join("e.prototxt"), "mine").unwrap();
    let text = "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 1 dim: 2 } } }
        layer { name: 'r' type: 'ReLU' bottom: 'x' top: 'y' }";
    fs::write(dir.path().join("r.prototxt"), text).unwrap();
    works(&here("export-onnx --model=r.prototxt --output=e.onnx"));
    fails(
        &here("import-onnx e.onnx"),
        &["'e.prototxt' is there already", "--model"],
    );
    assert_eq!(
        fs::read_to_string(dir.path().join("e.prototxt")).unwrap(),
        "mine"
    );
}

/// A file under way goes with the program, and what was there before stays.
#[cfg(unix)]
#[test]
fn a_signal_leaves_nothing_half_written() {
    let dir = tempfile::tempdir().unwrap();
    let big = Tensor::zeros(cortado::tensor::Shape::from([24 << 20]));
    npz::write_npz(&dir.path().join("a.npz"), [("ip/0", big.view())], false).unwrap();
    fs::write(dir.path().join("b.caffemodel"), "before").unwrap();
    let parts = || {
        let names = fs::read_dir(dir.path()).unwrap();
        let names = names.map(|e| e.unwrap().file_name().into_string().unwrap());
        names.filter(|n| n.ends_with(".part")).count()
    };
    for (signal, code) in [("INT", 2), ("TERM", 15)] {
        let mut met = false;
        for _ in 0..5 {
            let mut child = program()
                .current_dir(dir.path())
                .args(["weights", "convert", "a.npz", "b.caffemodel"])
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap();
            while parts() == 0 && child.try_wait().unwrap().is_none() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            let id = child.id().to_string();
            let sent = Command::new("kill")
                .args([&format!("-{signal}"), &id])
                .status();
            let ended = child.wait().unwrap();
            assert_eq!(parts(), 0, "{signal}");
            use std::os::unix::process::ExitStatusExt as _;
            if sent.is_ok_and(|s| s.success()) && ended.signal() == Some(code) {
                met = true;
                break;
            }
            // It was done before it heard.
            fs::write(dir.path().join("b.caffemodel"), "before").unwrap();
        }
        assert!(met, "{signal} never met a file under way");
        let kept = fs::read(dir.path().join("b.caffemodel")).unwrap();
        assert_eq!(kept, b"before");
    }
}
