//! Tests of the planner and the executor.

use super::{Keep, Net, NetOptions, law};
use crate::{events::Silent, load, memory, params::Params, tensor::Tensor};

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
    assert!(law::verify(&net.graph, &net.layers, &net.plan).is_ok());
    for i in 1..net.graph.values.len() {
        let was = net.plan.data[i];
        net.plan.data[i] = net.plan.data[i - 1];
        assert!(law::verify(&net.graph, &net.layers, &net.plan).is_err());
        net.plan.data[i] = was;
    }
    let slot = net.plan.data[1].slot;
    net.plan.slots[slot] = 1;
    assert!(law::verify(&net.graph, &net.layers, &net.plan).is_err());
}

/// Parts of a whole: what is said of Concat and Slice holds for batches of one, in nets that only run forward.
mod parts {
    use super::*;
    use crate::net::plan::Action;

    const INPUT: &str = r#"layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 1 dim: 4 dim: 2 dim: 3 } } }"#;

    fn layer(kind: &str, from: &[&str], to: &[&str]) -> String {
        let list = |field: &str, names: &[&str]| -> String {
            let parts = names.iter().map(|name| format!("{field}: '{name}' "));
            parts.collect()
        };
        let (bottoms, tops) = (list("bottom", from), list("top", to));
        let options = match kind {
            "Convolution" => {
                "convolution_param { num_output: 2 kernel_size: 1 weight_filler { type: 'gaussian' } }"
            }
            "Power" => "power_param { scale: -1 }",
            _ => "",
        };
        let name = to.join("_");
        format!(" layer {{ name: '{name}' type: '{kind}' {bottoms} {tops} {options} }}")
    }

    /// Copying steps (Concat, Slice), after the outputs were compared with those of the net that copies always.
    #[track_caller]
    fn copies(layers: &str) -> usize {
        let x: Vec<f32> = (0..24u8).map(|i| f32::from(i * 7 % 24) - 11.5).collect();
        let x = Tensor::new([1, 4, 2, 3], x).unwrap();
        let run = |backward: bool| {
            let force = if backward { "force_backward: true" } else { "" };
            let (mut net, mut params) = net(
                &format!("{force} {INPUT} {layers}"),
                Keep::Outputs,
                backward,
            );
            net.poison();
            net.set_input("data", &x).unwrap();
            net.forward(&mut params).unwrap();
            let outputs: Vec<Vec<f32>> = net
                .output_values()
                .map(|(_, _, view)| view.data.to_vec())
                .collect();
            let steps = net.plan.steps.iter();
            let copies = steps.filter(|s| {
                s.action == Action::Forward
                    && ["Concat", "Slice"].contains(&net.run.node(s.node).kind.name)
            });
            (outputs, copies.count(), net.planned_floats())
        };
        let ((copied, always, _), (outputs, copies, floats)) = (run(true), run(false));
        assert_eq!(copied, outputs);
        assert!(copies <= always && floats <= run(true).2);
        copies
    }

    #[test]
    fn branches_write_side_by_side() {
        let branches = layer("Convolution", &["data"], &["a"])
            + &layer("TanH", &["data"], &["b"])
            + &layer("ReLU", &["b"], &["b"])
            + &layer("Convolution", &["data"], &["c"]);
        let all = branches.clone() + &layer("Concat", &["a", "b", "c"], &["y"]);
        assert_eq!(copies(&all), 0);
        // What comes behind may work in place on the whole, unless a part is read again.
        assert_eq!(copies(&(all.clone() + &layer("ReLU", &["y"], &["y"]))), 0);
        let again = all + &layer("ReLU", &["y"], &["y"]) + &layer("TanH", &["b"], &["z"]);
        assert_eq!(copies(&again), 0);
        let nested = branches
            + &layer("Concat", &["a", "c"], &["ac"])
            + &layer("Concat", &["b", "ac"], &["y"]);
        assert_eq!(copies(&nested), 0);
    }

    #[test]
    fn pieces_are_read_where_they_lie() {
        let cut = layer("Slice", &["data"], &["a", "b"]);
        let each = layer("TanH", &["a"], &["ta"]) + &layer("ReLU", &["b"], &["tb"]);
        assert_eq!(copies(&(cut.clone() + &each)), 0);
        let made = layer("Power", &["data"], &["p"]) + &layer("Slice", &["p"], &["a", "b"]);
        assert_eq!(copies(&(made.clone() + &each)), 0);
        // In place on pieces, one after the other.
        let inside = layer("ReLU", &["a"], &["a"]) + &layer("ReLU", &["b"], &["b"]);
        assert_eq!(copies(&(made.clone() + &inside)), 0);
        // A piece cannot lie in two wholes.
        let turned = layer("Concat", &["b", "a"], &["y"]);
        assert_eq!(copies(&(made + &turned)), 1);
    }

    #[test]
    fn where_it_cannot_be_the_copy_stays() {
        // A layer would read one part of a slot and write another.
        let both = layer("Convolution", &["data"], &["a"])
            + &layer("Power", &["a"], &["minus"])
            + &layer("Concat", &["a", "minus"], &["y"]);
        assert_eq!(copies(&both), 1);
        // Or would, if the layer behind it ran in place: then that one does not.
        let chain = layer("Convolution", &["data"], &["a"])
            + &layer("Convolution", &["a"], &["b"])
            + &layer("TanH", &["b"], &["t"])
            + &layer("Concat", &["a", "t"], &["y"]);
        assert_eq!(copies(&chain), 0);
        // An input has a slot of its own; no part is there twice.
        let input = layer("TanH", &["data"], &["t"]) + &layer("Concat", &["data", "t"], &["y"]);
        assert_eq!(copies(&input), 1);
        let twice = layer("TanH", &["data"], &["t"]) + &layer("Concat", &["t", "t"], &["y"]);
        assert_eq!(copies(&twice), 1);
        let two = layer("TanH", &["data"], &["t"])
            + &layer("Concat", &["t", "t"], &["y"])
            + &layer("Convolution", &["data"], &["a"])
            + &layer("Concat", &["t", "a"], &["z"]);
        assert_eq!(copies(&two), 1);
    }

    #[test]
    fn the_plan_law_knows_parts() {
        let layers = layer("TanH", &["data"], &["a"])
            + &layer("Power", &["data"], &["b"])
            + &layer("Concat", &["a", "b"], &["c"])
            + &layer("Slice", &["c"], &["y", "z"]);
        let (mut net, _) = net(&format!("{INPUT} {layers}"), Keep::Named, false);
        let check = |net: &Net| law::verify(&net.run, &net.layers, &net.plan).is_ok();
        assert!(check(&net));
        assert!(net.plan.steps.len() == 2, "{:?}", net.plan.steps);
        for name in ["a", "b", "c", "y", "z"] {
            let at = net.run.latest(name).unwrap().index();
            let was = net.plan.data[at];
            net.plan.data[at].offset = was.offset + 1;
            assert!(!check(&net), "{name}");
            net.plan.data[at].offset = 24 - was.offset;
            assert!(!check(&net), "{name}");
            net.plan.data[at] = was;
        }
    }
}

/// Shapes that change within a pass.
mod moving {
    use super::*;
    use crate::net::Level;

    const INPUTS: &str = r#"
        layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 } } }
        layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 4 } } }
        layer { name: "select" type: "Input" top: "select" input_param { shape { dim: 4 } } }
        layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" inner_product_param { num_output: 5 } }
        layer { name: "t" type: "TanH" bottom: "a" top: "a" }"#;
    const FILTER: &str = r#"layer { name: "f" type: "Filter" bottom: "a" bottom: "label" bottom: "select" top: "f" top: "l" }"#;

    fn rest(data: &str, label: &str) -> String {
        format!(
            r#"
            layer {{ name: "b" type: "InnerProduct" bottom: "{data}" top: "b" inner_product_param {{ num_output: 3 }} }}
            layer {{ name: "r" type: "ReLU" bottom: "b" top: "b" }}
            layer {{ name: "u" type: "TanH" bottom: "{data}" top: "u" }}
            layer {{ name: "c" type: "Concat" bottom: "b" bottom: "u" top: "c" }}
            layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "c" bottom: "{label}" top: "loss" propagate_down: true propagate_down: false }}"#
        )
    }

    fn values(n: usize, seed: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 7 + seed * 5) % 11) as f32 / 5.0 - 1.0)
            .collect()
    }

    /// Outputs, then gradients of the parameters.
    fn run(net: &mut Net, params: &mut Params, inputs: &[(&str, &Tensor)]) -> Vec<Vec<f32>> {
        for (i, id) in net.learnable().into_iter().enumerate() {
            let param = &mut params[id];
            param.value.data = values(param.value.data.len(), i);
        }
        params.touch();
        params.clear_grads();
        net.poison();
        net.set_inputs(inputs).unwrap();
        net.forward(params).unwrap();
        let outputs = net.output_values().filter(|(name, ..)| *name == "loss");
        let mut seen: Vec<Vec<f32>> = outputs.map(|(.., view)| view.data.to_vec()).collect();
        net.backward(params).unwrap();
        seen.extend(net.learnable().iter().map(|&id| params[id].grad.clone()));
        seen
    }

    /// A filter in the middle gives what feeding only the items that pass would, whatever passes from one time to the next.
    #[test]
    fn what_is_behind_a_filter_sees_only_what_passes() {
        for (backward, keep) in [
            (true, Keep::All),
            (true, Keep::Outputs),
            (false, Keep::Outputs),
        ] {
            let make = |text: &str| {
                let file =
                    load::net_from_text("test", text, load::LoadOptions::default(), &mut Silent);
                let mut params = Params::new();
                let options = NetOptions {
                    keep,
                    backward,
                    optimize: Level::Exact,
                    ..NetOptions::default()
                };
                let net = Net::new(&file.unwrap().net, &mut params, &options, &mut Silent);
                (net.unwrap(), params)
            };
            let (mut filtered, mut params) = make(&format!("{INPUTS} {FILTER} {}", rest("f", "l")));
            let (mut plain, mut other) = make(&format!("{INPUTS} {}", rest("a", "label")));
            for select in [
                &[1.0, 0.0, -1.0, 0.0][..],
                &[1.0; 4],
                &[0.0; 4],
                &[0.0; 4],
                &[0.0, 1.0, 0.0, 0.0],
                &[0.0, 1.0],
                &[1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0],
                &[1.0, 1.0, 0.0, 0.0],
            ] {
                let n = select.len();
                let (data, label) = (values(3 * n, 1), (0..n).map(|i| (i % 3) as f32));
                let label: Vec<f32> = label.collect();
                let kept: Vec<usize> = (0..n).filter(|&i| select[i] != 0.0).collect();
                let pick = |from: &[f32], width: usize| -> Vec<f32> {
                    let items = kept.iter().map(|i| &from[i * width..][..width]);
                    items.flatten().copied().collect()
                };
                let tensor = |n: usize, width: usize, data: Vec<f32>| match width {
                    1 => Tensor::new([n], data).unwrap(),
                    _ => Tensor::new([n, width], data).unwrap(),
                };
                let want = run(
                    &mut plain,
                    &mut other,
                    &[
                        ("data", &tensor(kept.len(), 3, pick(&data, 3))),
                        ("label", &tensor(kept.len(), 1, pick(&label, 1))),
                    ],
                );
                let got = run(
                    &mut filtered,
                    &mut params,
                    &[
                        ("data", &tensor(n, 3, data.clone())),
                        ("label", &tensor(n, 1, label.clone())),
                        ("select", &tensor(n, 1, select.to_vec())),
                    ],
                );
                assert_eq!(got.len(), want.len());
                for (got, want) in got.iter().flatten().zip(want.iter().flatten()) {
                    assert!((got - want).abs() < 1e-6, "{select:?}: {got}, not {want}");
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_behind_is_an_error_and_no_more() {
        let text = format!(
            r#"{INPUTS} {FILTER} layer {{ name: "s" type: "Silence" bottom: "l" }}
            layer {{ name: "fixed" type: "Reshape" bottom: "f" top: "y" reshape_param {{ shape {{ dim: 2 dim: 10 }} }} }}"#
        );
        let (mut net, mut params) = net(&text, Keep::Outputs, false);
        for (select, fits) in [
            ([1.0; 4], true),
            ([1.0, 0.0, 0.0, 0.0], false),
            ([1.0; 4], true),
        ] {
            let select = Tensor::new([4], select.to_vec()).unwrap();
            net.set_input("select", &select).unwrap();
            let result = net.forward(&mut params);
            assert_eq!(result.is_ok(), fits);
            if let Err(error) = result {
                assert!(error.to_string().contains("'fixed'"), "{error}");
            }
            assert_eq!(net.output_values().next().unwrap().2.data.len(), 20);
        }
    }
}

/// Sizes that no machine has are refused before anything is allocated, with the layer that asks for them.
#[test]
fn absurd_sizes_are_refused() {
    let refused = |text: &str| {
        let options = load::LoadOptions::default();
        let file = load::net_from_text("test", text, options, &mut Silent).unwrap();
        let mut params = Params::new();
        // Nothing is filled, so that no memory is touched on the way.
        let options = NetOptions {
            brought: Some(&|_, _| true),
            ..NetOptions::default()
        };
        let made = Net::new(&file.net, &mut params, &options, &mut Silent);
        made.err().unwrap().to_string()
    };
    let shape = "shape { dim: 1000000 dim: 2000 }".repeat(200);
    let tops: String = (0..200).map(|i| format!("top: 'x{i}' ")).collect();
    let blobs = format!("layer {{ name: 'huge' type: 'Input' {tops} input_param {{ {shape} }} }}");
    let error = refused(&blobs);
    assert!(
        error.contains("of layer 'huge'") && error.contains("GB"),
        "{error}"
    );
    // The sum of many: the weights before the one that is too much are there by then, so the machine is a small one here.
    let mut weights = INPUT.replace("dim: 3", "dim: 40000");
    for i in 0..200 {
        weights += &format!(
            "layer {{ name: 'ip{i}' type: 'InnerProduct' bottom: 'data' top: 'y{i}' \
             inner_product_param {{ num_output: 50 }} }}"
        );
    }
    memory::tests::LIMIT.set(Some(64_000_000));
    let error = refused(&weights);
    memory::tests::LIMIT.set(None);
    assert!(error.contains("'ip7'") && error.contains("GB"), "{error}");
    // One that no blob may be.
    let weights = INPUT.replace("dim: 3", "dim: 40000")
        + "layer { name: 'ip' type: 'InnerProduct' bottom: 'data' top: 'y' \
           inner_product_param { num_output: 500000000 } }";
    let error = refused(&weights);
    assert!(
        error.contains("'ip'") && error.contains("would hold more than"),
        "{error}"
    );
}
