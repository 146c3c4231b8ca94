//! Tests of the planner and the executor.

use super::{Keep, Net, NetOptions, plan};
use crate::{events::Silent, load, params::Params, tensor::Tensor};

fn net(text: &str, keep: Keep, backward: bool) -> (Net, Params) {
    let file =
        load::net_from_text("test", text, load::LoadOptions::default(), &mut Silent).unwrap();
    let mut params = Params::new();
    let options = NetOptions {
        keep,
        backward,
        ..NetOptions::default()
    };
    let net = Net::new(&file.net, &mut params, &options, &mut Silent).unwrap();
    (net, params)
}

const INPUT: &str =
    r#"layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }"#;

fn data() -> Tensor {
    Tensor::new([2, 3], vec![-2.0, -1.0, 0.5, 1.0, 2.0, 3.0]).unwrap()
}

/// A chain of activations, spelled in place or with a blob each.
fn chain(in_place: bool) -> String {
    let name = |i: usize| {
        if in_place {
            "h".to_owned()
        } else {
            format!("h{i}")
        }
    };
    let mut text = format!(
        "force_backward: true {INPUT} layer {{ name: \"t\" type: \"TanH\" bottom: \"data\" top: \"{}\" }}",
        name(0)
    );
    for i in 1..6 {
        text += &format!(
            " layer {{ name: \"r{i}\" type: \"ReLU\" bottom: \"{}\" top: \"{}\" relu_param {{ negative_slope: 0.5 }} }}",
            name(i - 1),
            name(i)
        );
    }
    text
}

#[test]
fn a_chain_needs_two_slots_in_test_however_it_is_spelled() {
    for in_place in [true, false] {
        let (net, _) = net(&chain(in_place), Keep::Outputs, false);
        assert_eq!(net.plan.slots.len(), 2, "in place: {in_place}");
    }
}

#[test]
fn spelling_does_not_change_a_bit() {
    let run = |in_place: bool| {
        let (mut net, mut params) = net(&chain(in_place), Keep::All, true);
        net.poison();
        net.set_input("data", &data()).unwrap();
        net.forward(&mut params).unwrap();
        let top = if in_place { "h" } else { "h5" };
        let y = net.blob(top).unwrap().data.to_vec();
        net.set_diff(top, &data()).unwrap();
        net.backward(&mut params).unwrap();
        (y, net.diff("data").unwrap().data.to_vec())
    };
    assert_eq!(run(true), run(false));
}

/// `h` is read by `t` and then written over by `r`: `t` has to see what was there before.
#[test]
fn writing_over_a_blob_that_another_reads() {
    let text = format!(
        r#"{INPUT}
        layer {{ name: "a" type: "ReLU" bottom: "data" top: "h" relu_param {{ negative_slope: 1 }} }}
        layer {{ name: "r" type: "ReLU" bottom: "h" top: "h" }}
        layer {{ name: "t" type: "TanH" bottom: "h" top: "t" }}
        layer {{ name: "u" type: "TanH" bottom: "h" top: "u" }}"#
    );
    let (mut net, mut params) = net(&text, Keep::Named, false);
    net.set_input("data", &data()).unwrap();
    net.forward(&mut params).unwrap();
    assert_eq!(net.blob("h").unwrap().data, [0.0, 0.0, 0.5, 1.0, 2.0, 3.0]);
    assert_eq!(net.blob("t").unwrap().data[5], 3f32.tanh());
    assert_eq!(net.blob("t").unwrap().data, net.blob("u").unwrap().data);
}

#[test]
fn gradients_of_all_readers_add_up() {
    let text = format!(
        r#"force_backward: true {INPUT}
        layer {{ name: "a" type: "ReLU" bottom: "data" top: "a" relu_param {{ negative_slope: 2 }} }}
        layer {{ name: "b" type: "ReLU" bottom: "data" top: "b" relu_param {{ negative_slope: 3 }} }}"#
    );
    let (mut net, mut params) = net(&text, Keep::All, true);
    net.set_input("data", &data()).unwrap();
    net.forward(&mut params).unwrap();
    let ones = Tensor::new([2, 3], vec![1.0; 6]).unwrap();
    net.set_diff("a", &ones).unwrap();
    net.set_diff("b", &ones).unwrap();
    net.backward(&mut params).unwrap();
    assert_eq!(
        net.diff("data").unwrap().data,
        [5.0, 5.0, 2.0, 2.0, 2.0, 2.0]
    );
    assert_eq!(net.graph().nodes[1].name.as_ref(), "data_data_0_split");
}

#[test]
fn a_shape_that_does_not_fit_leaves_the_net_as_it_was() {
    let (mut net, mut params) = net(&chain(true), Keep::Named, false);
    assert!(net.set_input("nothing", &data()).is_err());
    net.set_input("data", &Tensor::zeros([4, 3])).unwrap();
    net.forward(&mut params).unwrap();
    assert_eq!(net.blob("h").unwrap().shape.dims(), [4, 3]);
    net.set_input("data", &data()).unwrap();
    net.forward(&mut params).unwrap();
    assert_eq!(net.blob("h").unwrap().data[5], 3f32.tanh());
}

#[test]
fn the_plan_law_finds_a_slot_given_twice() {
    let (mut net, _) = net(&chain(false), Keep::All, true);
    assert!(plan::verify(&net.graph, &net.layers, &net.plan).is_ok());
    for i in 1..net.graph.values.len() {
        let was = net.plan.data[i];
        net.plan.data[i] = net.plan.data[i - 1];
        assert!(plan::verify(&net.graph, &net.layers, &net.plan).is_err());
        net.plan.data[i] = was;
    }
    let slot = net.plan.data[1];
    net.plan.slots[slot] = 1;
    assert!(plan::verify(&net.graph, &net.layers, &net.plan).is_err());
}
