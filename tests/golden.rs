//! Every recorded case of a layer, held against what Caffe computed, and against itself under other circumstances. A
//! new folder in `fixtures/reference/layers` is a new test; no Rust is written for it.

use cortado::{
    load::NetFile,
    net::{Keep, Net},
    params::Params,
    report::compare::{Tolerance, compare},
    schema::{LayerParameter, ReLuParameter},
    tensor::Tensor,
    threads,
};

use crate::support::{Case, cases};

/// Cases whose sums run in another order than the reference's, so that the general tolerance is too strict.
const LOOSER: &[(&str, f32, &str)] = &[];

fn tolerance(case: &Case) -> Tolerance {
    let looser = LOOSER.iter().find(|(name, ..)| case.name == *name);
    looser.map_or_else(Tolerance::default, |&(_, factor, _)| Tolerance {
        rtol: factor * Tolerance::default().rtol,
        atol: factor * Tolerance::default().atol,
    })
}

/// Forward and backward agree with the reference; no buffer is read before it is written, however it is planned.
#[test]
fn agrees_with_the_reference() {
    let mut failures = Vec::new();
    let mut arrays = 0;
    let all = cases();
    assert!(all.len() >= 600, "only {} cases found", all.len());
    for case in &all {
        let (mut net, mut params) = case.net(Keep::All);
        net.poison();
        let rows = compare(&mut net, &mut params, &case.record, tolerance(case))
            .unwrap_or_else(|e| panic!("{}: {e}", case.name));
        arrays += rows.len();
        for row in rows.iter().filter(|r| !r.ok) {
            failures.push(format!("{}: {row:?}", case.name));
        }
    }
    assert!(arrays > 2 * all.len(), "only {arrays} arrays compared");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What a net gives after one forward and backward: outputs, then parameter gradients, as bits.
fn run(net: &mut Net, params: &mut Params, case: &Case) -> Vec<(String, Vec<u32>)> {
    let bits = |data: &[f32]| data.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    params.clear_grads();
    case.fill(net, params);
    net.set_inputs(&case.inputs()).unwrap();
    net.forward(params).unwrap();
    let mut seen: Vec<(String, Vec<u32>)> = net
        .output_values()
        .map(|(name, _, view)| (name.to_owned(), bits(view.data)))
        .collect();
    for (key, tensor) in &case.record {
        if let Some(name) = key.strip_prefix("grad_out/")
            && net.starts_backward(name)
        {
            net.set_diff(name, tensor).unwrap();
        }
    }
    net.backward(params).unwrap();
    for id in net.learnable() {
        seen.push((format!("{id:?}"), bits(&params[id].grad)));
    }
    for name in net.blob_names() {
        if let Some(diff) = net.diff(name) {
            seen.push((format!("diff {name}"), bits(diff.data)));
        }
    }
    seen
}

/// The same bits for any number of threads.
#[test]
fn threads_do_not_show() {
    for case in cases() {
        let with = |n| {
            threads::with_threads(n, || {
                let (mut net, mut params) = case.net(Keep::All);
                run(&mut net, &mut params, &case)
            })
            .unwrap()
        };
        let one = with(1);
        for n in [2, 3] {
            assert!(one == with(n), "{} differs with {n} threads", case.name);
        }
    }
}

/// A larger batch in between leaves no trace.
#[test]
fn larger_batch_and_back() {
    let mut reshaped = 0;
    for case in cases() {
        let (mut net, mut params) = case.net(Keep::All);
        let before = run(&mut net, &mut params, &case);
        let doubled: Vec<(&str, Tensor)> = case
            .inputs()
            .into_iter()
            .filter(|(_, t)| t.shape.axes() > 0)
            .map(|(name, t)| {
                let mut dims = t.shape.dims().to_vec();
                dims[0] *= 2;
                let data = [t.data.as_slice(), &t.data].concat();
                (
                    name,
                    Tensor::new(cortado::tensor::Shape::new(&dims), data).unwrap(),
                )
            })
            .collect();
        let larger: Vec<(&str, &Tensor)> = doubled.iter().map(|(n, t)| (*n, t)).collect();
        if net.set_inputs(&larger).is_ok() {
            reshaped += usize::from(net.forward(&mut params).is_ok());
        }
        net.poison();
        let after = run(&mut net, &mut params, &case);
        assert!(before == after, "{} remembers another batch", case.name);
    }
    assert!(reshaped > 100, "only {reshaped} cases took a larger batch");
}

/// A layer that can run in place gives the same there: `data -> h`, then the layer over `h`.
#[test]
fn in_place_equals_separate() {
    let mut tried = Vec::new();
    for case in cases() {
        let layers = &case.file.net.layer;
        let layer = layers.last().unwrap();
        let [input, _] = layers.as_slice() else {
            continue;
        };
        if layer.bottom.len() != 1 || layer.top.len() != 1 {
            continue;
        }
        let (top, bottom) = (layer.top[0].clone(), input.top[0].clone());
        let mut net = case.file.net.clone();
        // A ReLU of slope 1 is the identity; behind it the blob is nobody else's.
        let identity = |from: &str, to: &str| LayerParameter {
            name: Some(format!("identity_{to}")),
            r#type: Some("ReLU".into()),
            bottom: vec![from.into()],
            top: vec![to.into()],
            relu_param: Some(ReLuParameter {
                negative_slope: Some(1.0),
                ..Default::default()
            }),
            ..Default::default()
        };
        let spelled = |last: LayerParameter| {
            let mut net = net.clone();
            net.layer = vec![input.clone(), identity(&bottom, "h"), last];
            NetFile::from_message(net).unwrap()
        };
        let mut apart = layer.clone();
        apart.bottom = vec!["h".into()];
        let mut inside = apart.clone();
        inside.top = vec!["h".into()];
        let (a, b) = (spelled(apart), spelled(inside));
        net.layer.clear();
        let values = |file: &NetFile, top: &str| {
            let (mut net, mut params) = case.net_of(file, Keep::All);
            net.poison();
            net.set_inputs(&case.inputs()).unwrap();
            net.forward(&mut params).unwrap();
            let y = net.blob(top).unwrap().data.to_vec();
            if let Some(grad) = case.record.get(&format!("grad_out/{}", layer.top[0]))
                && net.starts_backward(top)
            {
                net.set_diff(top, grad).unwrap();
            }
            net.backward(&mut params).unwrap();
            let dx = net.diff(&bottom).map(|d| d.data.to_vec());
            let shape = net.blob(top).unwrap().shape.clone();
            (y, dx, shape)
        };
        let separate = values(&a, &top);
        if separate.2 != case.record[&format!("in/{bottom}")].shape {
            continue;
        }
        assert!(
            separate == values(&b, "h"),
            "{} differs in place",
            case.name
        );
        tried.push(layer.r#type().to_owned());
    }
    tried.dedup();
    for kind in [
        "ReLU",
        "TanH",
        "BatchNorm",
        "Scale",
        "Softmax",
        "Dropout",
        "AbsVal",
        "BNLL",
        "Clip",
        "ELU",
        "Exp",
        "HSwish",
        "Log",
        "Mish",
        "MVN",
        "PReLU",
        "ReLU6",
        "Sigmoid",
        "SpatialDropout",
        "Swish",
    ] {
        assert!(
            tried.iter().any(|t| t == kind),
            "{kind} was not tried: {tried:?}"
        );
    }
}
