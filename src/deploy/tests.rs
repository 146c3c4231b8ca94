//! What becomes of small nets.

use super::*;
use crate::{
    events::Silent,
    load::{self, LoadOptions, NetFile},
};

const TRAIN: &str = "\
# A small net
# of two lines.
name: \"small\"  # its name

# images for training
layer {
  name: \"data\" type: \"Data\" top: \"data\" top: \"label\"
  include { phase: TRAIN }
  transform_param { crop_size: 8 mirror: true mean_value: 104 }
  data_param { source: \"no/such/lmdb\" batch_size: 64 }
}
layer {
  name: \"data\" type: \"Data\" top: \"data\" top: \"label\"
  include { phase: TEST }
  transform_param { crop_size: 6 mean_value: 104 scale: 0.5 force_gray: true }
  data_param { source: \"no/such/lmdb\" batch_size: 10 }
}
# the only filters
layer {
  name: \"conv\"
  type: \"Convolution\"
  include { phase: TEST }
  bottom: \"data\"   # grey
  top: \"conv\"
  convolution_param { num_output: 2 kernel_size: 3 }
}  # end of conv
layer { name: \"relu\" type: \"ReLU\" bottom: \"conv\" top: \"conv\" }
layer { name: \"ip\" type: \"InnerProduct\" bottom: \"conv\" top: \"ip\" inner_product_param { num_output: 4 } }
layer { name: \"side\" type: \"InnerProduct\" bottom: \"conv\" top: \"side\" inner_product_param { num_output: 4 } }
layer { name: \"acc\" type: \"Accuracy\" bottom: \"ip\" bottom: \"label\" top: \"acc\" include { phase: TEST } }
layer { name: \"side_loss\" type: \"SoftmaxWithLoss\" bottom: \"side\" bottom: \"label\" top: \"side_loss\" loss_weight: 0.3 }
layer { name: \"loss\" type: \"SoftmaxWithLoss\" bottom: \"ip\" bottom: \"label\" top: \"loss\" }
";

fn read(text: &str) -> NetFile {
    load::net_from_text("t", text, LoadOptions::default(), &mut Silent).unwrap()
}

fn kinds(deployed: &Deployed) -> Vec<&str> {
    deployed.pieces.iter().map(|p| p.layer.r#type()).collect()
}

#[test]
fn data_labels_measures_and_losses() {
    let file = read(TRAIN);
    let deployed = deploy(&file.net, &Options::default()).unwrap();
    assert_eq!(
        kinds(&deployed),
        ["Input", "Convolution", "ReLU", "InnerProduct", "Softmax"]
    );
    let input = &deployed.pieces[0].layer;
    assert_eq!(input.top, ["data"]);
    assert_eq!(
        input.input_param.as_ref().unwrap().shape[0].dim,
        [1, 1, 6, 6]
    );
    let prob = &deployed.pieces[4].layer;
    assert_eq!((prob.name(), prob.bottom[0].as_str()), ("prob", "ip"));
    assert_eq!(deployed.notes.len(), 2, "{:?}", deployed.notes);
    let all = Options {
        all_losses: true,
        batch: 5,
        shapes: vec![("data".into(), Shape::from([7, 1, 9, 9]))],
        ..Options::default()
    };
    let deployed = deploy(&file.net, &all).unwrap();
    let names: Vec<&str> = deployed.pieces.iter().map(|p| p.layer.name()).collect();
    assert_eq!(
        names,
        ["data", "conv", "relu", "ip", "side", "prob_side", "prob_ip"]
    );
    let shape = &deployed.pieces[0].layer.input_param.as_ref().unwrap().shape;
    assert_eq!(shape[0].dim, [7, 1, 9, 9]);
}

#[test]
fn what_is_kept_stands_as_it_was_written() {
    let file = read(TRAIN);
    let deployed = deploy(&file.net, &Options::default()).unwrap();
    let text = render(&deployed, &file);
    assert_eq!(
        text,
        "\
# A small net
# of two lines.
name: \"small\"
layer {
  name: \"data\"
  type: \"Input\"
  top: \"data\"
  input_param {
    shape {
      dim: 1
      dim: 1
      dim: 6
      dim: 6
    }
  }
}
# the only filters
layer {
  name: \"conv\"
  type: \"Convolution\"
  bottom: \"data\"   # grey
  top: \"conv\"
  convolution_param { num_output: 2 kernel_size: 3 }
}  # end of conv
layer { name: \"relu\" type: \"ReLU\" bottom: \"conv\" top: \"conv\" }
layer { name: \"ip\" type: \"InnerProduct\" bottom: \"conv\" top: \"ip\" inner_product_param { num_output: 4 } }
layer {
  name: \"prob\"
  type: \"Softmax\"
  bottom: \"ip\"
  top: \"prob\"
}
"
    );
}

#[test]
fn nets_that_belong_together_and_nets_that_do_not() {
    let file = read(TRAIN);
    let expected = deploy(&file.net, &Options::default()).unwrap().net();
    assert_eq!(compare(&expected, &expected).unwrap(), []);
    let text = render(&deploy(&file.net, &Options::default()).unwrap(), &file)
        .replace("num_output: 2 ", "num_output: 3 ")
        .replace("name: \"prob\"", "name: \"answer\"")
        .replace("name: \"ip\"", "name: \"ip2\"");
    let rows = compare(&expected, &read(&text).net).unwrap();
    let told: Vec<String> = rows
        .iter()
        .map(|r| format!("{} {}: {} / {}", r.layer, r.what, r.expected, r.found))
        .collect();
    assert_eq!(
        told,
        [
            "conv convolution_param.num_output: 2 / 3",
            "conv shape of parameter 0: [2, 1, 3, 3] / [3, 1, 3, 3]",
            "conv shape of parameter 1: [2] / [3]",
        ]
    );
    assert_eq!(
        preparation(&file.net).unwrap(),
        ["'data' is fed as gray, then cut to its middle 6x6, then less 104, then times 0.5"]
    );
}

#[test]
fn other_losses() {
    let deployed = |losses: &str| {
        let text = format!(
            "layer {{ name: 'd' type: 'DummyData' top: 'x' top: 'y'
               dummy_data_param {{ shape {{ dim: 8 dim: 3 }} shape {{ dim: 8 dim: 2 }} }} }}
             layer {{ name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'ip'
               inner_product_param {{ num_output: 2 }} }} {losses}"
        );
        let deployed = deploy(&read(&text).net, &Options::default()).unwrap();
        (
            kinds(&deployed).join(" "),
            deployed.pieces[0].layer.top.join(" "),
        )
    };
    let (kinds, _) = deployed(
        "layer { name: 'l' type: 'SigmoidCrossEntropyLoss' bottom: 'ip' bottom: 'y' top: 'l' }",
    );
    assert_eq!(kinds, "Input InnerProduct Sigmoid");
    let (kinds, tops) =
        deployed("layer { name: 'l' type: 'EuclideanLoss' bottom: 'y' bottom: 'ip' top: 'l' }");
    assert_eq!((kinds.as_str(), tops.as_str()), ("Input InnerProduct", "x"));
    // A net without a loss is deployed as it is.
    assert_eq!(deployed("").0, "Input InnerProduct");
}

#[test]
fn constants_beside_what_is_fed_stay() {
    let text = "
        layer { name: 'd' type: 'Data' top: 'x' transform_param { crop_size: 4 }
                data_param { source: 'no/such/lmdb' batch_size: 16 } }
        layer { name: 'c' type: 'DummyData' top: 'by' top: 'drawn'
                dummy_data_param { shape { dim: 16 } data_filler { type: 'constant' value: 2 } } }
        layer { name: 'r' type: 'DummyData' top: 'noise'
                dummy_data_param { shape { dim: 16 } data_filler { type: 'gaussian' } } }
        layer { name: 's' type: 'Scale' bottom: 'x' bottom: 'by' top: 's' scale_param { axis: 0 } }
        layer { name: 't' type: 'Scale' bottom: 's' bottom: 'noise' top: 't' scale_param { axis: 0 } }";
    let deployed = deploy(&read(text).net, &Options::default()).unwrap();
    assert_eq!(
        kinds(&deployed),
        ["Input", "DummyData", "Input", "Scale", "Scale"]
    );
    // As many items as are fed.
    let dummy = deployed.pieces[1].layer.dummy_data_param.as_ref().unwrap();
    assert_eq!(dummy.shape[0].dim, [1]);
    assert!(render(&deployed, &read(text)).contains("DummyData"));
}

#[test]
fn losses_for_training_alone_are_answered_too() {
    let text = "
        layer { name: 'd' type: 'Input' top: 'x' top: 'label' input_param { shape { dim: 1 dim: 4 } shape { dim: 1 } } }
        layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'ip' inner_product_param { num_output: 2 } }
        LOSS
        layer { name: 'acc' type: 'Accuracy' bottom: 'ip' bottom: 'label' top: 'acc' include { phase: TEST } }";
    let loss = "layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'l' include { phase: TRAIN } }";
    let of = |text: &str| deploy(&read(text).net, &Options::default()).unwrap();
    assert_eq!(
        kinds(&of(&text.replace("LOSS", loss))),
        ["Input", "InnerProduct", "Softmax"]
    );
    // A net that is tested only gives out what it is measured by.
    let bare = of(&text.replace("LOSS", ""));
    assert_eq!(kinds(&bare), ["Input", "InnerProduct"]);
    assert_eq!(bare.pieces[0].layer.top, ["x"]);
}
