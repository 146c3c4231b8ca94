//! Nets whose answers are known by hand.

use super::*;
use crate::{
    events::Silent,
    load::{self, LoadOptions},
    net::{Keep, NetOptions},
};

/// A 1x1 convolution with weights 2 and -3 over two channels, and 1 and 0; then ReLU in place where wanted.
fn net(relu: bool, bias: f32) -> (Net, Params) {
    let relu = match relu {
        true => r#"layer { name: "relu" type: "ReLU" bottom: "y" top: "y" }"#,
        false => "",
    };
    let text = format!(
        r#"
force_backward: true
state {{ phase: TEST }}
layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 2 dim: 2 dim: 4 dim: 4 }} }} }}
layer {{ name: "conv" type: "Convolution" bottom: "x" top: "y"
  convolution_param {{ num_output: 2 kernel_size: 1 bias_filler {{ value: {bias} }} }} }}
{relu}"#
    );
    let file = load::net_from_text("test", &text, LoadOptions::default(), &mut Silent).unwrap();
    let mut params = Params::new();
    let options = NetOptions {
        backward: true,
        keep: Keep::All,
        ..NetOptions::default()
    };
    let made = Net::new(&file.net, &mut params, &options, &mut Silent).unwrap();
    let weights = made.learnable()[0];
    params[weights].value.data = vec![2.0, -3.0, 1.0, 0.0];
    (made, params)
}

fn unit(channel: usize, at: Option<(usize, usize)>) -> Unit {
    Unit {
        blob: "y".into(),
        channel,
        at,
    }
}

fn sample() -> Vec<f32> {
    (0..32u8).map(|i| f32::from(i) / 8.0).collect()
}

#[test]
fn gradient_is_the_largest_weight_where_the_unit_looks() {
    let (mut net, mut params) = net(false, 0.0);
    let mut probe = Probe::new(&mut net, &mut params, "x").unwrap();
    let options = GradientOptions::default();
    let mut ask = |unit: Unit| gradient(&mut probe, &sample(), &unit, &options, &mut |_, _| {});
    let map = ask(unit(0, Some((1, 2)))).unwrap();
    let mut wanted = vec![0.0; 16];
    wanted[6] = 3.0;
    assert_eq!(map.values, wanted);
    // 2 * 6/8 - 3 * 22/8
    assert_eq!(map.output, -6.75);
    assert_eq!(ask(unit(1, None)).unwrap().values, [1.0; 16]);
    assert!(ask(unit(2, None)).is_err());
    assert!(ask(unit(0, Some((4, 0)))).is_err());
}

#[test]
fn noise_does_not_change_the_gradient_of_a_linear_net() {
    let (mut net, mut params) = net(false, 0.0);
    let mut probe = Probe::new(&mut net, &mut params, "x").unwrap();
    let options = GradientOptions {
        smooth: 3,
        ..GradientOptions::default()
    };
    let mut steps = Vec::new();
    let map = gradient(
        &mut probe,
        &sample(),
        &unit(0, None),
        &options,
        &mut |done, of| {
            steps.push((done, of));
        },
    );
    assert_eq!(map.unwrap().values, [3.0; 16]);
    assert_eq!(steps, [(2, 3), (3, 3)]);
}

#[test]
fn occlusion_shows_how_much_was_lost() {
    let (mut net, mut params) = net(false, 0.0);
    let mut probe = Probe::new(&mut net, &mut params, "x").unwrap();
    let mut x = vec![0.0; 32];
    x[5] = 1.0;
    let options = OcclusionOptions {
        patch: 1,
        stride: 1,
        fill: Some(0.0),
    };
    let map = occlusion(&mut probe, &x, &unit(0, None), &options, &mut |_, _| {}).unwrap();
    let mut wanted = vec![0.0; 16];
    wanted[5] = 2.0;
    assert_eq!((map.values, map.output), (wanted, 2.0));
    // Patches of two by two: whichever covers the pixel takes it all.
    let options = OcclusionOptions {
        patch: 2,
        stride: 2,
        fill: Some(0.0),
    };
    let map = occlusion(&mut probe, &x, &unit(0, None), &options, &mut |_, _| {}).unwrap();
    assert_eq!(map.values[0..6], [2.0, 2.0, 0.0, 0.0, 2.0, 2.0]);
    assert_eq!(map.values[8..], [0.0; 8]);
}

#[test]
fn climbing_raises_the_unit_the_same_way_every_time() {
    let run = |seed| {
        let (mut net, mut params) = net(false, 0.0);
        let mut probe = Probe::new(&mut net, &mut params, "x").unwrap();
        let options = MaximizeOptions {
            steps: 20,
            seed,
            amplitude: 1.0,
            ..MaximizeOptions::default()
        };
        let units = [unit(0, None), unit(1, None), unit(0, Some((0, 0)))];
        maximize(&mut probe, &units, None, &options, &mut |_, _| {}).unwrap()
    };
    let found = run(1);
    assert_eq!(found.len(), 3);
    for maximum in &found {
        assert!(maximum.after > maximum.before.max(0.5), "{maximum:?}");
        assert!(!maximum.dead);
    }
    // Channel 0 wants the first plane up and the second down.
    let (first, second) = found[0].input.split_at(16);
    assert!(first.iter().all(|&v| v > 0.0) && second.iter().all(|&v| v < 0.0));
    assert_eq!(found, run(1));
    assert_ne!(found, run(2));
}

#[test]
fn a_unit_that_never_changes_is_dead() {
    let (mut net, mut params) = net(true, -1e6);
    let mut probe = Probe::new(&mut net, &mut params, "x").unwrap();
    let options = MaximizeOptions {
        steps: 8,
        amplitude: 1.0,
        ..MaximizeOptions::default()
    };
    let found = maximize(&mut probe, &[unit(0, None)], None, &options, &mut |_, _| {}).unwrap();
    assert!(found[0].dead && found[0].after == 0.0);
}

#[test]
fn what_cannot_be_asked() {
    let (mut net, mut params) = net(false, 0.0);
    assert!(Probe::new(&mut net, &mut params, "y").is_err());
    let mut probe = Probe::new(&mut net, &mut params, "x").unwrap();
    let mut other = unit(0, None);
    other.blob = "z".into();
    let options = GradientOptions::default();
    assert!(gradient(&mut probe, &sample(), &other, &options, &mut |_, _| {}).is_err());
    assert!(
        gradient(
            &mut probe,
            &[0.0; 3],
            &unit(0, None),
            &options,
            &mut |_, _| {}
        )
        .is_err()
    );
}
