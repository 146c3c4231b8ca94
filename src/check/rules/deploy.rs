//! The net for use beside the net that was trained.

use super::Rule;
use crate::{
    check::{finding::Finding, kinds, subject::Subject, view::View},
    events::Severity,
    load::NetFile,
    schema::LayerParameter,
};

pub(super) const DEPLOY_DIFFERS: Rule = Rule {
    code: "N066",
    severity: Severity::Warning,
    title: "the deploy net is not the net that was trained",
    reason: "Weights are found by the names of layers. A layer that is called otherwise in deploy.prototxt keeps what its filler \
             gave it; one with other options, or a ReLU more or less, computes something else with the same weights. All of it \
             without a word: the net is good in training and bad in use.",
    fix: "Copy the layers between data and loss as they are, and change only the data layers to Input and the loss to Softmax.",
    wrong: r#"
layer { name: "images" type: "Data" top: "images" top: "class" transform_param { mean_value: 120 } data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "fc_new" type: "InnerProduct" bottom: "images" top: "fc" inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "fc2" type: "InnerProduct" bottom: "fc" top: "fc2" inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc2" bottom: "class" top: "loss" }
"#,
    right: r#"
layer { name: "images" type: "Data" top: "images" top: "class" transform_param { mean_value: 120 } data_param { source: "images_lmdb" backend: LMDB batch_size: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "images" top: "fc" inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "fc2" type: "InnerProduct" bottom: "fc" top: "fc2" inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc2" bottom: "class" top: "loss" }
"#,
    run: deploy_differs,
};

/// Layers that take part in an answer, not in bringing data, in the loss, or in training alone.
fn answers(layer: &&LayerParameter) -> bool {
    !layer.bottom.is_empty()
        && !matches!(
            layer.r#type(),
            "Softmax"
                | "Sigmoid"
                | "Dropout"
                | "Accuracy"
                | "Silence"
                | "ArgMax"
                | "Flatten"
                | "Reshape"
                | "Split"
        )
        && crate::layers::of(layer).is_ok_and(|k| k.role == crate::layer::Role::Plain)
}

/// What a layer computes, its fillers and rates aside.
fn options(layer: &LayerParameter) -> LayerParameter {
    let mut plain = LayerParameter {
        r#type: layer.r#type.clone(),
        convolution_param: layer.convolution_param.clone(),
        inner_product_param: layer.inner_product_param.clone(),
        pooling_param: layer.pooling_param,
        lrn_param: layer.lrn_param,
        relu_param: layer.relu_param,
        eltwise_param: layer.eltwise_param.clone(),
        concat_param: layer.concat_param,
        ..LayerParameter::default()
    };
    if let Some(p) = &mut plain.convolution_param {
        (p.weight_filler, p.bias_filler, p.engine) = (None, None, None);
        // 1 and nothing are one, where it is the default.
        p.group = Some(p.group());
        p.bias_term = Some(p.bias_term());
        for list in [&mut p.stride, &mut p.dilation] {
            list.retain(|&n| n != 1);
        }
        p.pad.retain(|&n| n != 0);
    }
    if let Some(p) = &mut plain.inner_product_param {
        (p.weight_filler, p.bias_filler) = (None, None);
        p.bias_term = Some(p.bias_term());
        p.axis = Some(p.axis());
    }
    if let Some(p) = &mut plain.pooling_param {
        p.engine = None;
        p.stride = Some(p.stride());
        p.pad = Some(p.pad());
        p.pool = Some(p.pool() as i32);
    }
    if let Some(p) = &mut plain.relu_param {
        p.engine = None;
        if p.negative_slope() == 0.0 {
            plain.relu_param = None;
        }
    }
    plain
}

fn deploy_differs(subject: &Subject<'_>) -> Vec<Finding> {
    let (Some(deploy), Some(view)) = (subject.deploy, subject.training()) else {
        return Vec::new();
    };
    let trained: Vec<&LayerParameter> =
        view.nodes.iter().map(|n| n.layer).filter(answers).collect();
    let used: Vec<(usize, &LayerParameter)> = deploy
        .net
        .layer
        .iter()
        .enumerate()
        .filter(|(_, l)| answers(l))
        .collect();
    let weighted = |l: &LayerParameter| kinds::weights(l).is_some();
    let shared = used
        .iter()
        .filter(|(_, l)| weighted(l) && trained.iter().any(|t| t.name() == l.name()));
    // Nets that share hardly a name are two nets.
    if 2 * shared.count() < used.iter().filter(|(_, l)| weighted(l)).count().max(1) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for &(index, layer) in &used {
        let twin = trained
            .iter()
            .find(|t| t.name() == layer.name() && t.r#type() == layer.r#type());
        let place = deploy.place(index, None);
        match twin {
            None if weighted(layer) => {
                let near = crate::nearest::nearest(layer.name(), trained.iter().map(|t| t.name()));
                let help = match near {
                    Some(near) => format!("did you mean '{near}'?"),
                    None => "give it the name that it was trained under".to_owned(),
                };
                found.push(
                    DEPLOY_DIFFERS
                        .finds(format!("'{}' has no layer of its name in training: it keeps what its filler gives it", layer.name()))
                        .at(place)
                        .help(help),
                );
            }
            Some(twin) if options(twin) != options(layer) => {
                let spot = node_of(view, twin).and_then(|n| view.place(n, None));
                found.push(
                    DEPLOY_DIFFERS
                        .finds(format!(
                            "'{}' has other options here than in training",
                            layer.name()
                        ))
                        .at(place)
                        .also("in training", spot)
                        .help("copy the options from the net that was trained"),
                );
            }
            _ => {}
        }
    }
    found.extend(activations(view, deploy, &trained, &used));
    found
}

fn node_of(view: &View<'_>, layer: &LayerParameter) -> Option<usize> {
    view.nodes.iter().position(|n| std::ptr::eq(n.layer, layer))
}

/// Activations directly behind a layer with weights that the other net does not have.
fn activations(
    view: &View<'_>,
    deploy: &NetFile,
    trained: &[&LayerParameter],
    used: &[(usize, &LayerParameter)],
) -> Vec<Finding> {
    let is_activation =
        |l: &LayerParameter| matches!(l.r#type(), "ReLU" | "PReLU" | "TanH" | "ELU" | "ReLU6");
    let after = |layers: &[&LayerParameter], name: &str| -> Option<usize> {
        let at = layers.iter().position(|l| l.name() == name)?;
        let top = layers.get(at)?.top.first()?;
        let next = layers.iter().enumerate().skip(at + 1);
        let mut readers = next.filter(|(_, l)| l.bottom.contains(top));
        readers
            .next()
            .filter(|(_, l)| is_activation(l))
            .map(|(i, _)| i)
    };
    let here: Vec<&LayerParameter> = used.iter().map(|&(_, l)| l).collect();
    let mut found = Vec::new();
    for layer in trained.iter().filter(|l| kinds::weights(l).is_some()) {
        if !here.iter().any(|l| l.name() == layer.name()) {
            continue;
        }
        match (after(trained, layer.name()), after(&here, layer.name())) {
            (None, Some(at)) => found.push(
                DEPLOY_DIFFERS
                    .finds(format!(
                        "the {} '{}' behind '{}' is not there in training",
                        here[at].r#type(),
                        here[at].name(),
                        layer.name()
                    ))
                    .at(deploy.place(used[at].0, None))
                    .help("remove it, or train with it"),
            ),
            (Some(at), None) => found.push(
                DEPLOY_DIFFERS
                    .finds(format!(
                        "in training a {} '{}' stands behind '{}', and none here",
                        trained[at].r#type(),
                        trained[at].name(),
                        layer.name()
                    ))
                    .at(used
                        .iter()
                        .find(|(_, l)| l.name() == layer.name())
                        .and_then(|&(i, _)| deploy.place(i, None)))
                    .also(
                        "in training",
                        node_of(view, trained[at]).and_then(|n| view.place(n, None)),
                    )
                    .help("copy it into the deploy net"),
            ),
            _ => {}
        }
    }
    found
}
