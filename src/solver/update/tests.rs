use super::*;
use crate::threads;

fn store(weights: &[&[f32]]) -> (Params, Vec<ParamId>) {
    let mut params = Params::new();
    let ids = weights
        .iter()
        .map(|w| {
            params.push(Param {
                value: Tensor::new([w.len()], w.to_vec()).unwrap(),
                grad: vec![0.0; w.len()],
                lr_mult: 1.0,
                decay_mult: 1.0,
            })
        })
        .collect();
    (params, ids)
}

fn close(a: f32, b: f64) {
    assert!(
        (f64::from(a) - b).abs() <= 1e-5 * b.abs().max(1.0),
        "{a} {b}"
    );
}

/// Least squares over one weight: the loss (w - 3)² / 2 has the gradient w - 3. The closed form of the iteration with
/// rate r, momentum m and decay d is that of a linear recurrence, followed here in double precision.
#[test]
fn momentum_and_decay_follow_the_recurrence() {
    let (r, m, d) = (0.1f64, 0.9f64, 0.05f64);
    let param = SolverParameter {
        momentum: Some(0.9),
        weight_decay: Some(0.05),
        snapshot_diff: Some(true),
        ..Default::default()
    };
    let (mut params, ids) = store(&[&[1.0]]);
    let mut updater = Updater::new(&param, ids.clone(), &params).unwrap();
    let (mut w, mut v) = (1.0f64, 0.0f64);
    for i in 0..50 {
        params[ids[0]].grad[0] = params[ids[0]].value.data[0] - 3.0;
        updater.apply(&mut params, 0.1, i);
        v = m * v + r * ((w - 3.0) + d * w);
        w -= v;
        close(params[ids[0]].value.data[0], w);
        close(updater.history()[0].data[0], v);
        // The update itself is left where `snapshot_diff` looks for it.
        close(params[ids[0]].grad[0], v);
    }
}

#[test]
fn without_momentum_the_error_shrinks_by_one_minus_the_rate() {
    let (mut params, ids) = store(&[&[1.0]]);
    let mut updater = Updater::new(&SolverParameter::default(), ids.clone(), &params).unwrap();
    for i in 0..20 {
        params[ids[0]].grad[0] = params[ids[0]].value.data[0] - 3.0;
        updater.apply(&mut params, 0.25, i);
    }
    close(params[ids[0]].value.data[0], 3.0 - 2.0 * 0.75f64.powi(20));
}

#[test]
fn multipliers_l1_and_iter_size() {
    let param = SolverParameter {
        weight_decay: Some(0.5),
        regularization_type: Some("L1".into()),
        iter_size: Some(4),
        ..Default::default()
    };
    let (mut params, ids) = store(&[&[2.0, -2.0]]);
    params[ids[0]].lr_mult = 2.0;
    params[ids[0]].decay_mult = 0.5;
    params[ids[0]].grad = vec![4.0, 4.0];
    let mut updater = Updater::new(&param, ids.clone(), &params).unwrap();
    updater.apply(&mut params, 0.1, 0);
    // g = 4 / 4 ± 0.25, times 0.2
    close(params[ids[0]].value.data[0], 2.0 - 0.25);
    close(params[ids[0]].value.data[1], -2.0 - 0.15);
}

#[test]
fn clipping_bounds_the_norm_over_all_parameters() {
    let param = SolverParameter {
        clip_gradients: Some(1.0),
        ..Default::default()
    };
    let (mut params, ids) = store(&[&[0.0], &[0.0]]);
    let updater = Updater::new(&param, ids.clone(), &params).unwrap();
    params[ids[0]].grad[0] = 3.0;
    params[ids[1]].grad[0] = -4.0;
    assert_eq!(updater.clip(&mut params), Some((5.0, 1.0)));
    close(params[ids[0]].grad[0], 0.6);
    close(params[ids[1]].grad[0], -0.8);
    assert_eq!(updater.clip(&mut params), None);
}

#[test]
fn frozen_parameters_stay_and_their_history_is_zero() {
    let param = SolverParameter {
        weight_decay: Some(0.5),
        momentum: Some(0.5),
        ..Default::default()
    };
    let (mut params, ids) = store(&[&[1.0], &[1.0]]);
    params[ids[0]].lr_mult = 0.0;
    params[ids[0]].grad.clear();
    let mut updater = Updater::new(&param, ids.clone(), &params).unwrap();
    updater.apply(&mut params, 1.0, 0);
    assert_eq!(params[ids[0]].value.data, [1.0]);
    assert_eq!(updater.history()[0].data, [0.0]);
    assert_eq!(params[ids[1]].value.data, [0.5]);
    // Momentum from before it was frozen runs out.
    let history = vec![Tensor::new([1], vec![0.5]).unwrap(), Tensor::zeros([1])];
    updater.set_history(history, &params);
    updater.apply(&mut params, 1.0, 0);
    assert_eq!(params[ids[0]].value.data, [0.75]);
}

#[test]
fn decay_acts_where_no_loss_reaches() {
    let param = SolverParameter {
        weight_decay: Some(0.5),
        ..Default::default()
    };
    let (mut params, ids) = store(&[&[1.0]]);
    params[ids[0]].grad.clear();
    let mut updater = Updater::new(&param, ids.clone(), &params).unwrap();
    updater.apply(&mut params, 0.5, 0);
    assert_eq!(params[ids[0]].value.data, [0.75]);
    assert!(params[ids[0]].grad.is_empty());
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let run = |threads| {
        let param = SolverParameter {
            momentum: Some(0.9),
            weight_decay: Some(0.01),
            clip_gradients: Some(3.0),
            ..Default::default()
        };
        let weights: Vec<f32> = (0..50_000).map(|i| (i as f32 * 0.37).sin()).collect();
        let (mut params, ids) = store(&[&weights, &weights[..77]]);
        let mut updater = Updater::new(&param, ids.clone(), &params).unwrap();
        threads::with_threads(threads, || {
            for i in 0..3 {
                for &id in &ids {
                    let param = &mut params[id];
                    for (g, w) in param.grad.iter_mut().zip(&param.value.data) {
                        *g = w.cos();
                    }
                }
                updater.clip(&mut params);
                updater.apply(&mut params, 0.1, i);
            }
        })
        .unwrap();
        ids.iter()
            .flat_map(|&id| params[id].value.data.clone())
            .map(f32::to_bits)
            .collect::<Vec<_>>()
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(5));
}

#[test]
fn types_and_histories_that_do_not_fit_are_named() {
    let (params, ids) = store(&[&[1.0, 2.0]]);
    let with = |name: &str| SolverParameter {
        r#type: Some(name.into()),
        ..Default::default()
    };
    let error = |name| {
        Updater::new(&with(name), ids.clone(), &params)
            .err()
            .unwrap()
    };
    assert!(error("adam").to_string().contains("'Adam'"));
    assert!(error("SGDD").to_string().contains("'SGD'"));

    let updater = Updater::new(&with("SGD"), ids.clone(), &params).unwrap();
    assert!(
        updater
            .check_history(&[Tensor::zeros([1, 1, 1, 2])])
            .is_ok()
    );
    assert!(updater.check_history(&[]).is_err());
    let error = updater.check_history(&[Tensor::zeros([2, 1])]).unwrap_err();
    assert!(error.message().contains("[2, 1]"), "{error}");
}

/// Follows each rule in double precision, by the formulas of the papers, on the loss (w - 3)² / 2.
#[test]
fn every_rule_is_its_formula() {
    type Follow = fn(g: f64, t: i32, h: &mut [f64; 2]) -> f64;
    // 0.1 is the rate, 0.9 the momentum, 0.8 rms_decay, 0.99 momentum2, 1e-3 delta.
    let rules: [(&str, Option<f32>, Follow); 5] = [
        ("Nesterov", Some(0.9), |g, _, h| {
            let before = h[0];
            h[0] = 0.9 * before + 0.1 * g;
            // The step of the look-ahead point: what momentum does next, less what it had done already.
            0.1 * g + 0.9 * h[0]
        }),
        ("AdaGrad", None, |g, _, h| {
            h[0] += g * g;
            0.1 * g / (h[0].sqrt() + 1e-3)
        }),
        ("RMSProp", None, |g, _, h| {
            h[0] = 0.8 * h[0] + 0.2 * g * g;
            0.1 * g / (h[0].sqrt() + 1e-3)
        }),
        ("AdaDelta", Some(0.9), |g, _, h| {
            h[0] = 0.9 * h[0] + 0.1 * g * g;
            let u = g * (h[1] + 1e-3).sqrt() / (h[0] + 1e-3).sqrt();
            h[1] = 0.9 * h[1] + 0.1 * u * u;
            0.1 * u
        }),
        ("Adam", Some(0.9), |g, t, h| {
            h[0] = 0.9 * h[0] + 0.1 * g;
            h[1] = 0.99 * h[1] + 0.01 * g * g;
            let rate = 0.1 * (1.0 - 0.99f64.powi(t)).sqrt() / (1.0 - 0.9f64.powi(t));
            rate * h[0] / (h[1].sqrt() + 1e-3)
        }),
    ];
    for (name, momentum, follow) in rules {
        let param = SolverParameter {
            r#type: Some(name.into()),
            momentum,
            momentum2: Some(0.99),
            rms_decay: Some(0.8),
            delta: Some(1e-3),
            ..Default::default()
        };
        let (mut params, ids) = store(&[&[1.0], &[-2.0]]);
        let mut updater = Updater::new(&param, ids.clone(), &params).unwrap();
        let mut w = [1.0f64, -2.0];
        let mut h = [[0.0; 2]; 2];
        for i in 0..30 {
            for &id in &ids {
                params[id].grad[0] = params[id].value.data[0] - 3.0;
            }
            updater.apply(&mut params, 0.1, i);
            for (k, &id) in ids.iter().enumerate() {
                w[k] -= follow(w[k] - 3.0, i as i32 + 1, &mut h[k]);
                close(params[id].value.data[0], w[k]);
            }
        }
        // In files, the first history of all parameters comes before the second.
        for (at, history) in updater.history().iter().enumerate() {
            close(history.data[0], h[at % 2][at / 2]);
        }
    }
}

#[test]
fn rules_without_momentum_refuse_it() {
    let (params, ids) = store(&[&[1.0]]);
    for name in ["AdaGrad", "RMSProp"] {
        let param = SolverParameter {
            r#type: Some(name.into()),
            momentum: Some(0.9),
            ..Default::default()
        };
        let error = Updater::new(&param, ids.clone(), &params).err().unwrap();
        assert_eq!(error.field(), Some("momentum"), "{error}");
        assert!(error.help_text().is_some());
    }
}

/// Caffe lets decay into the history of a frozen parameter, though its weights stay.
#[test]
fn decay_reaches_the_history_of_a_frozen_parameter() {
    let param = SolverParameter {
        r#type: Some("AdaGrad".into()),
        weight_decay: Some(0.5),
        ..Default::default()
    };
    let (mut params, ids) = store(&[&[4.0]]);
    params[ids[0]].lr_mult = 0.0;
    params[ids[0]].grad.clear();
    let mut updater = Updater::new(&param, ids.clone(), &params).unwrap();
    updater.apply(&mut params, 1.0, 0);
    close(updater.history()[0].data[0], 4.0);
    assert_eq!(params[ids[0]].value.data, [4.0]);
}
