//! Snapshots as HDF5: what is in them, and weights from there.

use std::{fs, path::Path};

use cortado::{
    events::Silent,
    load::{self, LoadOptions},
    model_io::{
        caffemodel::{self, Weights},
        hdf5::File,
    },
    net::{Net, NetOptions},
    params::Params,
};

/// `b` has its weights in common with `a`; `c/1` and `c/2` are names with a slash.
const NET: &str = r#"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" } inner_product_param {
  num_output: 3 weight_filler { type: "gaussian" } bias_filler { type: "uniform" } } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" } inner_product_param {
  num_output: 3 bias_filler { type: "uniform" } } }
layer { name: "c/1" type: "InnerProduct" bottom: "b" top: "c1" inner_product_param {
  num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "c/2" type: "InnerProduct" bottom: "c1" top: "c2" inner_product_param {
  num_output: 2 weight_filler { type: "xavier" } bias_term: false } }
"#;

fn net(text: &str, seed: u64, brought: Option<&Weights>) -> (Net, Params) {
    let file = load::net_from_text("t", text, LoadOptions::default(), &mut Silent).unwrap();
    let mut params = Params::new();
    let brings = |layer: &str, i: usize| brought.is_some_and(|w| w.brings(layer, i));
    let options = NetOptions {
        seed,
        brought: Some(&brings),
        ..NetOptions::default()
    };
    let net = Net::new(&file.net, &mut params, &options, &mut Silent).unwrap();
    (net, params)
}

fn values(net: &Net, params: &Params) -> Vec<Vec<f32>> {
    let ids = net.learnable();
    ids.iter()
        .map(|&id| params[id].value.data.clone())
        .collect()
}

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/hdf5")
        .join(name)
}

#[test]
fn weights_round_trip_with_shared_ones_and_slashes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.caffemodel.h5");
    let (one, params) = net(NET, 1, None);
    caffemodel::write_hdf5(&path, &one, &params, false).unwrap();

    let file = File::open(&path).unwrap();
    let there = |name: &str| file.find(name).unwrap().is_some();
    assert!(there("data/x") && there("data/a/0") && there("data/b/1") && there("data/c/1/0"));
    assert!(!there("data/b/0") && !there("data/c/2/1") && !there("diff"));

    let weights = Weights::open(&path).unwrap();
    assert!(weights.brings("a", 0) && !weights.brings("b", 0) && weights.brings("b", 1));
    let (two, mut other) = net(NET, 2, Some(&weights));
    let report = weights.load(&two, &mut other).unwrap();
    assert_eq!(report.copied, 6);
    assert!(
        report.untouched.is_empty() && report.ignored.is_empty(),
        "{report:?}"
    );
    assert_eq!(values(&one, &params), values(&two, &other));

    // The whole message has the same numbers.
    let message = caffemodel::read(&path).unwrap();
    let a = message.layer.iter().find(|l| l.name() == "a").unwrap();
    assert_eq!(a.blobs[0].data, values(&one, &params)[0]);

    // A net that does not share them wants the weights of `b`.
    let alone = NET.replace("param { name: \"w\" }", "");
    let (alone, mut other) = net(&alone, 2, None);
    let error = weights.load(&alone, &mut other).unwrap_err().to_string();
    assert!(
        error.contains("'b'") && error.contains("the file has 1"),
        "{error}"
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn weights_of_h5py_in_the_form_of_caffe() {
    let small = r#"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" } inner_product_param { num_output: 4 } }
layer { name: "b" type: "InnerProduct" bottom: "x" top: "b" param { name: "w" } inner_product_param { num_output: 4 } }
"#;
    let (net, mut params) = net(small, 1, None);
    let weights = Weights::open(&fixture("net.caffemodel.h5")).unwrap();
    assert_eq!(weights.load(&net, &mut params).unwrap().copied, 3);
    let numbers = |n: i32, by: i32| (0..n).map(|i| ((i - 3) * by) as f32).collect::<Vec<_>>();
    let wanted = [numbers(12, 1), numbers(4, 1), numbers(4, 2)];
    assert_eq!(values(&net, &params), wanted);
}

#[test]
fn gradients_go_with_the_weights_where_asked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.caffemodel.h5");
    let (net, mut params) = net(NET, 1, None);
    for (i, id) in net.learnable().into_iter().enumerate() {
        params[id].grad = vec![i as f32; params[id].value.data.len()];
    }
    caffemodel::write_hdf5(&path, &net, &params, true).unwrap();
    let file = File::open(&path).unwrap();
    // Of every layer, what it shares included.
    for (name, grad) in [
        ("a/0", 0.0),
        ("a/1", 1.0),
        ("b/0", 0.0),
        ("b/1", 2.0),
        ("c/1/0", 3.0),
        ("c/2/0", 5.0),
    ] {
        let diff = file.dataset(&format!("diff/{name}")).unwrap();
        let diff = diff.unwrap().read().unwrap();
        assert!(diff.iter().all(|&x| x == grad), "{name}: {diff:?}");
    }
}

#[test]
fn files_that_are_no_weights_are_explained() {
    let error = |name: &str| Weights::open(&fixture(name)).err().unwrap().to_string();
    let text = error("net.solverstate.h5");
    assert!(
        text.contains("no group 'data'") && text.contains("-snapshot"),
        "{text}"
    );
    assert!(error("early.h5").contains("give a .caffemodel.h5"));
    let dir = tempfile::tempdir().unwrap();
    let bytes = fs::read(fixture("net.caffemodel.h5")).unwrap();
    let cut = dir.path().join("cut.h5");
    fs::write(&cut, &bytes[..bytes.len() - 8]).unwrap();
    let text = Weights::open(&cut).err().unwrap().to_string();
    assert!(
        text.contains("cut short") && text.contains("cut.h5"),
        "{text}"
    );

    // A file whose weights have another shape copies nothing.
    let (net, mut params) = net(NET, 1, None);
    let before = values(&net, &params);
    let weights = Weights::open(&fixture("net.caffemodel.h5")).unwrap();
    let text = weights.load(&net, &mut params).unwrap_err().to_string();
    assert!(text.contains("the file [4, 3]"), "{text}");
    assert_eq!(values(&net, &params), before);
}
