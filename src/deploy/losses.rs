//! What stands in the place of a loss: what makes of scores the answer that one wants.

use std::collections::HashSet;

use crate::{
    layer::{LAST, Role},
    layers,
    schema::{
        BlobShape, DetectionOutputParameter, FlattenParameter, LayerParameter,
        NonMaximumSuppressionParameter, ReshapeParameter, SoftmaxParameter,
    },
};

/// The weight of a layer in the loss; `None` where it is no part of it.
pub(super) fn weight(layer: &LayerParameter) -> Option<f32> {
    let role = layers::of(layer).ok()?.role;
    match (role, layer.loss_weight.first()) {
        (Role::Loss, weight) => Some(weight.copied().unwrap_or(1.0)),
        (Role::Plain, Some(&weight)) if weight != 0.0 => Some(weight),
        _ => None,
    }
}

/// The layers that stand in the place of a loss, and the blobs that become outputs. `given` are the blobs of the data;
/// `several` says that other losses are replaced too.
pub(super) fn replace(
    layer: &LayerParameter,
    given: &HashSet<&str>,
    several: bool,
    names: &mut HashSet<String>,
) -> (Vec<LayerParameter>, Vec<String>) {
    let Some(scores) = layer.bottom.first() else {
        return (Vec::new(), Vec::new());
    };
    let axis = layer.softmax_param.as_ref().and_then(|p| p.axis);
    match layer.r#type() {
        "SoftmaxWithLoss" | "SoftmaxWithLossOHEM" | "FocalLoss" | "InfogainLoss" => {
            let axis = axis
                .or(layer.infogain_loss_param.as_ref().and_then(|p| p.axis))
                .or(layer.focal_loss_param.as_ref().and_then(|p| p.axis));
            let mut made = answer("Softmax", scores, several, names);
            made.softmax_param = axis.filter(|&a| a != 1).map(|axis| SoftmaxParameter {
                axis: Some(axis),
                ..SoftmaxParameter::default()
            });
            let top = made.top.clone();
            (vec![made], top)
        }
        "SigmoidCrossEntropyLoss" => {
            let made = answer("Sigmoid", scores, several, names);
            let top = made.top.clone();
            (vec![made], top)
        }
        "MultiBoxLoss" => boxes(layer, names),
        _ => {
            let kind = layers::of(layer);
            let predicted = |(i, name): (usize, &String)| {
                let last = i + 1 == layer.bottom.len();
                let no_grad = kind
                    .as_ref()
                    .is_ok_and(|k| k.no_grad.contains(&i) || (last && k.no_grad.contains(&LAST)));
                (!no_grad && !given.contains(name.as_str())).then(|| name.clone())
            };
            let outputs: Vec<String> = layer
                .bottom
                .iter()
                .enumerate()
                .filter_map(predicted)
                .collect();
            (Vec::new(), outputs)
        }
    }
}

/// A name that nothing has.
fn free(wish: String, names: &mut HashSet<String>) -> String {
    let mut name = wish.clone();
    let mut count = 1;
    while !names.insert(name.clone()) {
        count += 1;
        name = format!("{wish}{count}");
    }
    name
}

/// The layer of answers, "prob" as Caffe's own nets call it.
fn answer(kind: &str, scores: &str, several: bool, names: &mut HashSet<String>) -> LayerParameter {
    let wish = match several {
        true => format!("prob_{scores}"),
        false => "prob".to_owned(),
    };
    let name = free(wish, names);
    LayerParameter {
        name: Some(name.clone()),
        r#type: Some(kind.to_owned()),
        bottom: vec![scores.to_owned()],
        top: vec![name],
        ..LayerParameter::default()
    }
}

/// SSD's answer: probabilities of each box's classes, then the boxes themselves, with the settings of its authors.
fn boxes(
    layer: &LayerParameter,
    names: &mut HashSet<String>,
) -> (Vec<LayerParameter>, Vec<String>) {
    let loss = layer.multibox_loss_param.unwrap_or_default();
    let [location, confidence, priors, ..] = &layer.bottom[..] else {
        return (Vec::new(), layer.bottom.clone());
    };
    let mut made = Vec::new();
    let mut add = |what: &str, kind: &str, bottom: Vec<String>| {
        let name = free(what.to_owned(), names);
        made.push(LayerParameter {
            name: Some(name.clone()),
            r#type: Some(kind.to_owned()),
            bottom,
            top: vec![name.clone()],
            ..LayerParameter::default()
        });
        name
    };
    let classes = loss.num_classes();
    let rows = add(
        &format!("{confidence}_reshape"),
        "Reshape",
        vec![confidence.clone()],
    );
    let prob = add(&format!("{confidence}_softmax"), "Softmax", vec![rows]);
    let flat = add(&format!("{confidence}_flatten"), "Flatten", vec![prob]);
    let found = add(
        "detection_out",
        "DetectionOutput",
        vec![location.clone(), flat, priors.clone()],
    );
    made[0].reshape_param = Some(ReshapeParameter {
        shape: Some(BlobShape {
            dim: vec![0, -1, classes.into()],
        }),
        ..ReshapeParameter::default()
    });
    made[1].softmax_param = Some(SoftmaxParameter {
        axis: Some(2),
        ..SoftmaxParameter::default()
    });
    made[2].flatten_param = Some(FlattenParameter {
        axis: Some(1),
        ..FlattenParameter::default()
    });
    made[3].detection_output_param = Some(DetectionOutputParameter {
        num_classes: Some(classes),
        share_location: loss.share_location,
        background_label_id: loss
            .background_label_id
            .and_then(|id| i32::try_from(id).ok()),
        code_type: loss.code_type,
        nms_param: Some(NonMaximumSuppressionParameter {
            nms_threshold: Some(0.45),
            top_k: Some(400),
            ..NonMaximumSuppressionParameter::default()
        }),
        keep_top_k: Some(200),
        confidence_threshold: Some(0.01),
        ..DetectionOutputParameter::default()
    });
    (made, vec![found])
}
