//! Each pass on nets small enough to be read: what goes, and that the outputs stay.

use crate::{
    events::{Event, Silent},
    load,
    net::{Keep, Level, Net, NetOptions},
    params::Params,
    tensor::Tensor,
};

const INPUT: &str = r#"layer { name: "data" type: "Input" top: "data"
    input_param { shape { dim: 2 dim: 3 dim: 4 dim: 5 } } }"#;

/// Values in \[-1, 1), and one in eight of exactly 0.
fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_add(7).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if state >> 61 == 0 {
                0.0
            } else {
                (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
            }
        })
        .collect()
}

/// A net under test with everything that has a value filled.
struct Trial {
    net: Net,
    params: Params,
    said: String,
}

impl Trial {
    fn new(layers: &str, level: Level, keep: Keep, wanted: &[String]) -> Self {
        let text = format!("{INPUT} {layers}");
        let options = load::LoadOptions::default();
        let file = load::net_from_text("test", &text, options, &mut Silent).unwrap();
        let mut params = Params::new();
        let mut said = String::new();
        let options = NetOptions {
            optimize: level,
            keep,
            wanted,
            ..NetOptions::default()
        };
        let mut observer = |event: &Event<'_>| {
            if let Event::Fused { summary } = event {
                said = (*summary).to_owned();
            }
        };
        let net = Net::new(&file.net, &mut params, &options, &mut observer).unwrap();
        let mut trial = Self { net, params, said };
        trial.fill(1);
        trial
    }

    /// Statistics (`lr_mult` 0) are positive, as variances are.
    fn fill(&mut self, seed: u64) {
        for id in self.net.learnable() {
            let param = &mut self.params[id];
            let values = noise(param.value.data.len(), seed + id.index() as u64);
            for (to, x) in param.value.data.iter_mut().zip(values) {
                *to = if param.lr_mult == 0.0 {
                    x.abs() + 0.1
                } else {
                    x
                };
            }
        }
    }

    fn run(&mut self) -> Vec<f32> {
        let shape = self.net.blob("data").unwrap().shape.clone();
        let x = Tensor::new(shape.clone(), noise(shape.count(), 99)).unwrap();
        self.net.poison();
        self.net.set_input("data", &x).unwrap();
        self.net.forward(&mut self.params).unwrap();
        let values = self.net.output_values();
        values.flat_map(|(_, _, view)| view.data.to_vec()).collect()
    }
}

fn trial(layers: &str, level: Level) -> Trial {
    Trial::new(layers, level, Keep::Outputs, &[])
}

/// Outputs do not change, at most by rounding where something is folded; no level needs more memory. Tells what was
/// said.
#[track_caller]
fn check(layers: &str) -> [String; 2] {
    let mut plain = trial(layers, Level::Off);
    let want = plain.run();
    assert_eq!(plain.said, "");
    [(Level::Exact, 0.0), (Level::Fold, 1e-5)].map(|(level, tol)| {
        let mut trial = trial(layers, level);
        let got = trial.run();
        assert_eq!(got.len(), want.len());
        for (got, want) in got.iter().zip(&want) {
            let apart = (got - want).abs();
            assert!(
                apart <= tol * want.abs().max(1.0),
                "{level:?}: {got}, not {want}"
            );
        }
        assert!(trial.net.planned_floats() <= plain.net.planned_floats());
        trial.said
    })
}

const CONV: &str = r#"layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
    convolution_param { num_output: 6 kernel_size: 3 pad: 1 group: 3 } }"#;

fn layer(kind: &str, bottoms: &[&str], top: &str, options: &str) -> String {
    let bottoms: String = bottoms.iter().map(|b| format!("bottom: '{b}' ")).collect();
    format!(" layer {{ name: 'the {top} {kind}' type: '{kind}' {bottoms} top: '{top}' {options} }}")
}

#[test]
fn activations_are_done_by_the_layer_before() {
    let relu = |from: &str| layer("ReLU", &[from], "y", "relu_param { negative_slope: 0.25 }");
    let ip = layer(
        "InnerProduct",
        &["data"],
        "h",
        "inner_product_param { num_output: 4 }",
    );
    let scale = layer("Scale", &["data"], "h", "scale_param { bias_term: true }");
    let bn = layer("BatchNorm", &["data"], "h", "");
    let power = layer("Power", &["data"], "p", "power_param { scale: 2 }");
    let tanh = layer("TanH", &["data"], "h", "");
    for before in [CONV.replace("\"conv\"", "\"h\""), ip, scale, bn] {
        let said = check(&(before + &relu("h")));
        assert_eq!(said[0], "inside the layers before them run 1 ReLU");
    }
    for operation in ["SUM", "PROD", "MAX"] {
        let options = format!("eltwise_param {{ operation: {operation} }}");
        let sum = power.clone() + &layer("Eltwise", &["data", "p"], "h", &options);
        assert_eq!(
            check(&(sum + &relu("h")))[0],
            "inside the layers before them run 1 ReLU"
        );
    }
    // Who does not know how is left alone.
    assert_eq!(check(&(tanh + &relu("h"))), ["", ""]);
}

#[test]
fn normalisation_is_folded_into_weights() {
    let tail = |from: &str| {
        layer("BatchNorm", &[from], "n", "")
            + &layer("Scale", &["n"], "s", "scale_param { bias_term: true }")
            + &layer("Bias", &["s"], "b", "")
            + &layer("ReLU", &["b"], "y", "")
    };
    let all = "inside the layers before them run 1 BatchNorm, 1 Bias, 1 ReLU, 1 Scale";
    let some = "inside the layers before them run 1 ReLU";
    for options in ["", "bias_term: false"] {
        let conv = CONV.replace("group: 3", options) + &tail("conv");
        assert_eq!(check(&conv)[1], all);
        for transpose in ["", "transpose: true"] {
            let options = format!("inner_product_param {{ num_output: 4 {options} {transpose} }}");
            let ip = layer("InnerProduct", &["data"], "ip", &options) + &tail("ip");
            assert_eq!(check(&ip)[1], all);
        }
    }
    // Bias does not take an activation over.
    assert_eq!(check(&(CONV.to_owned() + &tail("conv")))[0], "");
    // No weights before: the affine maps become one.
    assert_eq!(
        check(&tail("data"))[1],
        "inside the layers before them run 1 Bias, 1 ReLU, 1 Scale"
    );
    let scales = layer("Scale", &["data"], "s", "") + &layer("BatchNorm", &["s"], "y", "");
    assert_eq!(
        check(&scales)[1],
        "inside the layers before them run 1 BatchNorm"
    );
    // Other axes, statistics of the batch, and rows that are not outputs stay as they are.
    for other in [
        layer("Scale", &["conv"], "y", "scale_param { axis: 2 }"),
        layer("Scale", &["conv"], "y", "scale_param { num_axes: 2 }"),
        layer(
            "BatchNorm",
            &["conv"],
            "y",
            "batch_norm_param { use_global_stats: false }",
        ),
    ] {
        assert_eq!(check(&(CONV.to_owned() + &other)), ["", ""]);
    }
    let rows = "inner_product_param { num_output: 4 axis: 2 }";
    let rows = layer("InnerProduct", &["data"], "ip", rows) + &layer("BatchNorm", &["ip"], "y", "");
    assert_eq!(check(&rows), ["", ""]);
    assert_eq!(
        some,
        check(&(layer("Scale", &["data"], "b", "") + &layer("ReLU", &["b"], "y", "")))[0]
    );
}

/// A block of a residual net: two branches from a split, or the block's input itself.
fn residual(shortcut: bool, order: [&str; 2]) -> String {
    let conv = |from: &str, to: &str| {
        layer(
            "Convolution",
            &[from],
            to,
            "convolution_param { num_output: 6 kernel_size: 1 }",
        ) + &layer("BatchNorm", &[to], to, "")
            + &layer("Scale", &[to], to, "scale_param { bias_term: true }")
    };
    let mut text = conv("data", "x") + &layer("ReLU", &["x"], "x", "");
    text += &match shortcut {
        true => conv("x", "side"),
        false => layer("Power", &["x"], "side", ""),
    };
    text += &conv("x", "a");
    text += &layer("ReLU", &["a"], "a", "");
    text += &conv("a", "b");
    text + &layer("Eltwise", &order, "sum", "") + &layer("ReLU", &["sum"], "y", "")
}

#[test]
fn a_residual_is_added_by_the_convolution() {
    for order in [["side", "b"], ["b", "side"]] {
        let said = check(&residual(true, order));
        let want = "inside the layers before them run 4 BatchNorm, 1 Eltwise, 3 ReLU, 4 Scale";
        assert_eq!(said[1], want);
        let said = check(&residual(false, order));
        let want = "inside the layers before them run 3 BatchNorm, 1 Eltwise, 3 ReLU, 3 Scale; \
                    nothing to do for 1 Power";
        assert_eq!(said[1], want);
    }
    // The other summand comes after the convolution, which cannot wait for it.
    let late = CONV.replace("num_output: 6", "num_output: 3")
        + &layer("TanH", &["data"], "t", "")
        + &layer("Eltwise", &["conv", "t"], "y", "");
    assert_eq!(check(&late), ["", ""]);
    for options in ["coeff: 1 coeff: 2", "operation: PROD"] {
        let options = format!("eltwise_param {{ {options} }}");
        let other = layer("TanH", &["data"], "t", "")
            + &CONV.replace("num_output: 6", "num_output: 3")
            + &layer("Eltwise", &["conv", "t"], "y", &options);
        assert_eq!(check(&other), ["", ""]);
    }
}

#[test]
fn what_does_nothing_goes() {
    let text = layer("Dropout", &["data"], "d", "")
        + &layer("TanH", &["d"], "t", "")
        + &layer("Concat", &["t"], "c", "")
        + &layer("Power", &["c"], "p", "power_param { power: 1 }")
        + &layer("Slice", &["p"], "y", "");
    let said = "nothing to do for 1 Concat, 1 Dropout, 1 Power, 1 Slice";
    assert_eq!(check(&text), [said, said]);
    // Input and output, both asked for.
    assert_eq!(check(&layer("Dropout", &["data"], "y", "")), ["", ""]);
    // An activation is seen through a Dropout.
    let through = CONV.to_owned()
        + &layer("Dropout", &["conv"], "conv", "")
        + &layer("ReLU", &["conv"], "y", "");
    assert_eq!(
        check(&through)[0],
        "inside the layers before them run 1 ReLU; nothing to do for 1 Dropout"
    );
}

#[test]
fn blobs_that_are_asked_for_stay() {
    let text = CONV.to_owned()
        + &layer("TanH", &["conv"], "t", "")
        + &layer("Scale", &["t"], "s", "")
        + &layer("ReLU", &["s"], "y", "");
    let mut plain = Trial::new(&text, Level::Off, Keep::Named, &[]);
    plain.run();
    let mut named = Trial::new(&text, Level::Fold, Keep::Named, &[]);
    named.run();
    assert_eq!(named.said, "");
    let wanted = ["s".to_owned()];
    let mut one = Trial::new(&text, Level::Fold, Keep::Outputs, &wanted);
    one.run();
    assert_eq!(one.said, "");
    for (trial, blobs) in [(&named, &["conv", "t", "s", "y"][..]), (&one, &["s", "y"])] {
        for blob in blobs {
            let (got, want) = (trial.net.blob(blob).unwrap(), plain.net.blob(blob).unwrap());
            assert_eq!(got.data, want.data, "{blob}");
        }
    }
    let mut none = trial(&text, Level::Fold);
    none.run();
    assert!(none.net.blob("s").is_none() && none.net.blob("conv").is_none());
    // Written in place, the blob's last version is the one that stays.
    let inside = CONV.to_owned() + &layer("ReLU", &["conv"], "conv", "");
    let mut inside = Trial::new(&inside, Level::Fold, Keep::Named, &[]);
    let y = inside.run();
    assert_eq!(inside.said, "inside the layers before them run 1 ReLU");
    assert_eq!(inside.net.blob("conv").unwrap().data, y);
}

#[test]
fn folded_weights_follow_the_parameters_and_the_shapes() {
    let text = residual(true, ["side", "b"]);
    let (mut plain, mut folded) = (trial(&text, Level::Off), trial(&text, Level::Fold));
    let close = |plain: &mut Trial, folded: &mut Trial| {
        for (want, got) in plain.run().iter().zip(folded.run()) {
            assert!(
                (got - want).abs() <= 1e-5 * want.abs().max(1.0),
                "{got}, not {want}"
            );
        }
    };
    close(&mut plain, &mut folded);
    for trial in [&mut plain, &mut folded] {
        trial.fill(5);
    }
    close(&mut plain, &mut folded);
    for trial in [&mut plain, &mut folded] {
        let wider = Tensor::zeros([3, 3, 2, 7]);
        trial.net.set_input("data", &wider).unwrap();
    }
    close(&mut plain, &mut folded);
    // Frozen, the store has given its values away; shapes may still change.
    folded.net.freeze(&mut folded.params).unwrap();
    let left: usize = folded
        .net
        .graph()
        .nodes
        .iter()
        .flat_map(|n| &n.params)
        .map(|&id| folded.params[id].value.data.len())
        .sum();
    let had: usize = plain
        .net
        .graph()
        .nodes
        .iter()
        .flat_map(|n| &n.params)
        .map(|&id| plain.params[id].value.data.len())
        .sum();
    // What is left are statistics, factors and shifts: 3 + 2 parameters for each of four convolutions of 6 channels.
    assert_eq!(
        (left, had),
        (4 * (4 * 6 + 1), 4 * (4 * 6 + 1) + 6 * 4 + 3 * 36 + 18)
    );
    close(&mut plain, &mut folded);
    for trial in [&mut plain, &mut folded] {
        trial
            .net
            .set_input("data", &Tensor::zeros([1, 3, 2, 7]))
            .unwrap();
    }
    close(&mut plain, &mut folded);
}

/// A net that runs backward, and one in TRAIN, are left as they are.
#[test]
fn only_what_runs_forward_in_test_is_rewritten() {
    let relu = CONV.to_owned() + &layer("ReLU", &["conv"], "y", "");
    for (text, backward) in [
        (format!("{INPUT} {relu}"), false),
        (format!("force_backward: true {INPUT} {relu}"), true),
        (format!("state {{ phase: TRAIN }} {INPUT} {relu}"), false),
    ] {
        let options = load::LoadOptions::default();
        let file = load::net_from_text("test", &text, options, &mut Silent).unwrap();
        let mut said = 0;
        let options = NetOptions {
            backward,
            ..NetOptions::default()
        };
        let mut observer = |event: &Event<'_>| {
            said += usize::from(matches!(event, Event::Fused { .. }));
        };
        Net::new(&file.net, &mut Params::new(), &options, &mut observer).unwrap();
        assert_eq!(said, usize::from(text.starts_with("layer")), "{text}");
    }
}
