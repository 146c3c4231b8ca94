//! The tables hold together; what models say is tested against recorded runs in `tests/onnx.rs`.

use super::*;
use crate::{
    events::Silent,
    layer::Role,
    layers, load,
    net::{Net, NetOptions},
    params::Params,
};

/// Layers of nets that are trained or only looked at, which have no place in a net that is deployed.
const TRAINING: &[&str] = &[
    "BoxAnnotatorOHEM",
    "HDF5Output",
    "MarginInnerProduct",
    "Silence",
];

#[test]
fn every_layer_is_written_or_refused() {
    assert!(EXPORTED.is_sorted() && IMPORTED.is_sorted());
    for kind in layers::all() {
        let written = EXPORTED.contains(&kind.name);
        let refused = REFUSED.iter().any(|(name, _)| *name == kind.name);
        let other = matches!(
            kind.role,
            Role::Data | Role::Input | Role::Loss | Role::Metric
        );
        assert!(
            u8::from(written) + u8::from(refused) == 1
                || (!written && !refused && (other || TRAINING.contains(&kind.name))),
            "{}",
            kind.name
        );
    }
    for name in EXPORTED {
        assert!(layers::find(name).is_ok(), "{name}");
    }
}

fn net(layers: &str) -> (Net, Params) {
    let text = format!(
        "layer {{ name: 'data' type: 'Input' top: 'data' top: 'label'
           input_param {{ shape {{ dim: 2 dim: 3 dim: 4 dim: 5 }} shape {{ dim: 2 }} }} }} {layers}"
    );
    let file = load::net_from_text("t", &text, load::LoadOptions::default(), &mut Silent).unwrap();
    let mut params = Params::new();
    let net = Net::new(&file.net, &mut params, &NetOptions::default(), &mut Silent).unwrap();
    (net, params)
}

fn exported(layers: &str, outputs: &[&str]) -> crate::Result<Exported> {
    let (net, params) = net(layers);
    let options = ExportOptions {
        outputs: outputs.iter().map(|&o| o.to_owned()).collect(),
        ..ExportOptions::default()
    };
    export(&net, &params, &options)
}

const SMALL: &str = "
    layer { name: 'conv' type: 'Convolution' bottom: 'data' top: 'conv'
            convolution_param { num_output: 2 kernel_size: 3 } }
    layer { name: 'relu' type: 'ReLU' bottom: 'conv' top: 'conv' }
    layer { name: 'drop' type: 'Dropout' bottom: 'conv' top: 'conv' }
    layer { name: 'ip' type: 'InnerProduct' bottom: 'conv' top: 'ip' inner_product_param { num_output: 4 } }
    layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' }";

#[test]
fn blobs_keep_their_names_and_what_does_nothing_goes() {
    let model = exported(SMALL, &["conv", "ip"]).unwrap().model;
    let graph = model.graph.unwrap();
    let ops: Vec<&str> = graph.node.iter().map(|n| n.op_type()).collect();
    assert_eq!(ops, ["Conv", "Relu", "Flatten", "Gemm"]);
    assert_eq!(graph.node[0].name(), "conv");
    assert_eq!(graph.node[0].output, ["conv@conv"]);
    assert_eq!(graph.node[1].output, ["conv"]);
    let names: Vec<&str> = graph.output.iter().map(|o| o.name()).collect();
    assert_eq!(names, ["conv", "ip"]);
    let inputs: Vec<&str> = graph.input.iter().map(|o| o.name()).collect();
    assert_eq!(inputs, ["data", "label"]);
}

#[test]
fn what_cannot_be_said_is_named() {
    let error = exported(SMALL, &[]).unwrap_err();
    assert!(
        error.message().contains("'loss' (SoftmaxWithLoss)"),
        "{error}"
    );
    assert!(error.help_text().unwrap().contains("deploy"), "{error}");
    let error = exported(SMALL, &["cnv"]).unwrap_err();
    assert_eq!(error.help_text(), Some("did you mean 'conv'?"));
}

#[test]
fn a_node_that_no_layer_does_is_named() {
    let mut model = exported(SMALL, &["ip"]).unwrap().model;
    let back = import(&model, &[]).unwrap();
    let kinds: Vec<&str> = back.net.layer.iter().map(|l| l.r#type()).collect();
    assert_eq!(
        kinds,
        ["Input", "Input", "Convolution", "ReLU", "InnerProduct"]
    );
    let node = &mut model.graph.as_mut().unwrap().node[1];
    node.op_type = Some("Erf".into());
    let error = import(&model, &[]).unwrap_err();
    assert!(error.message().contains("'relu' (Erf)"), "{error}");
    model.graph.as_mut().unwrap().node[1].op_type = Some("Relu".into());
    model.graph.as_mut().unwrap().initializer.clear();
    let error = import(&model, &[]).unwrap_err();
    assert!(error.message().contains("'conv' (Conv)"), "{error}");
}
