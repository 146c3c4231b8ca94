//! One small batch run forward with the weights as they start: how large values are before and behind each layer with
//! weights, and what the scores look like.

use std::rc::Rc;

use super::{kinds, subject::Subject, view::View};
use crate::{
    events::Silent,
    layer::Role,
    net::{Keep, Net, NetOptions},
    params::Params,
    schema::{BlobShape, InputParameter, LayerParameter, NetParameter},
    tensor::{Shape, Tensor},
};

/// Images of the batch.
const BATCH: usize = 4;
/// More weights than this take too long to fill, more operations too long to run.
const WEIGHTS: usize = 64_000_000;
const FLOPS: u64 = 20_000_000_000;

/// What was measured.
pub(crate) struct Probe {
    pub(crate) rows: Vec<Row>,
    pub(crate) heads: Vec<Head>,
    /// Whether the data itself was run, not noise in its place.
    pub(crate) real: bool,
}

/// A layer with weights: root mean squares before and behind it, layers in place included.
pub(crate) struct Row {
    pub(crate) node: usize,
    pub(crate) before: f64,
    pub(crate) after: f64,
    /// Inputs that an output sums.
    pub(crate) fan_in: usize,
}

/// A softmax loss.
pub(crate) struct Head {
    pub(crate) node: usize,
    pub(crate) classes: usize,
    /// Root mean square of the scores, the mean of each position aside.
    pub(crate) size: f64,
    /// The loss for classes drawn at random.
    pub(crate) loss: f64,
}

/// The probe of the net to train; `None` where it is not wanted, too large, or cannot run.
pub(crate) fn of(subject: &Subject<'_>) -> Option<Rc<Probe>> {
    if !subject.options.probe {
        return None;
    }
    (subject.probe)
        .get_or_init(|| run(subject, subject.training()?).map(Rc::new))
        .clone()
}

fn run(subject: &Subject<'_>, view: &View<'_>) -> Option<Probe> {
    let losses: Vec<usize> = (0..view.nodes.len()).filter(|&n| view.is_loss(n)).collect();
    let needed = needed(view, &losses);
    let batch = (needed
        .iter()
        .filter(|&&n| view.nodes[n].layer.bottom.is_empty()))
    .filter_map(|&n| Some(shape_of(view, n)?.legacy(0)))
    .max()
    .unwrap_or(1);
    let weights = needed.iter().flat_map(|&n| &view.nodes[n].params);
    let weights = weights.fold(0usize, |sum, p| sum.saturating_add(p.shape.count()));
    let flops = needed
        .iter()
        .fold(0u64, |sum, &n| sum.saturating_add(view.nodes[n].flops));
    let flops = flops / batch.max(1) as u64 * BATCH.min(batch) as u64;
    if weights > WEIGHTS || flops > FLOPS {
        return None;
    }
    let mut net = NetParameter {
        state: view.net.state.clone(),
        ..NetParameter::default()
    };
    let (mut inputs, mut real) = (Vec::new(), true);
    for &n in &needed {
        let node = &view.nodes[n];
        if !node.layer.bottom.is_empty() {
            net.layer.push(node.layer.clone());
            continue;
        }
        let kind = node.layer.r#type();
        let told = |top: &String| subject.options.shapes.iter().any(|(name, _)| name == top);
        let there = node.absent.is_none() && !node.layer.top.iter().any(told);
        if kind == "DummyData" || node.kind?.role == Role::Plain {
            net.layer.push(node.layer.clone());
        } else if kinds::brings_records(kind) && there {
            net.layer.push(smaller(node.layer));
        } else {
            real = false;
            let (layer, mut noise) = stand_in(view, n)?;
            net.layer.push(layer);
            inputs.append(&mut noise);
        }
    }
    let mut params = Params::new();
    let options = NetOptions {
        root: subject.root.clone(),
        seed: 1,
        keep: Keep::All,
        ..NetOptions::default()
    };
    let mut built = Net::new(&net, &mut params, &options, &mut Silent).ok()?;
    let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
    if !inputs.is_empty() {
        built.set_inputs(&inputs).ok()?;
    }
    built.forward(&mut params).ok()?;
    let rows = needed
        .iter()
        .filter_map(|&n| row(view, &built, n))
        .collect();
    let heads = losses
        .iter()
        .filter_map(|&n| head(view, &built, n))
        .collect();
    Some(Probe { rows, heads, real })
}

/// Nodes that the scores of losses come from, in their order.
fn needed(view: &View<'_>, losses: &[usize]) -> Vec<usize> {
    let mut wanted = vec![false; view.nodes.len()];
    for &loss in losses {
        if let Some(value) = view.bottom(loss, 0) {
            wanted[value.producer] = true;
        }
    }
    for n in (0..view.nodes.len()).rev().filter(|n| !losses.contains(n)) {
        if wanted[n] {
            for &bottom in view.nodes[n].bottoms.iter().flatten() {
                wanted[view.values[bottom].producer] = true;
            }
        }
    }
    let plain = |&n: &usize| wanted[n] && !losses.contains(&n);
    (0..view.nodes.len()).filter(plain).collect()
}

fn shape_of<'v>(view: &'v View<'_>, node: usize) -> Option<&'v Shape> {
    let top = *view.nodes.get(node)?.tops.first()?;
    view.values.get(top)?.shape.as_ref()
}

/// The data layer with a small batch.
fn smaller(layer: &LayerParameter) -> LayerParameter {
    let mut layer = layer.clone();
    let most = BATCH as u32;
    if let Some(p) = &mut layer.data_param {
        p.batch_size = p.batch_size.map(|b| b.min(most));
        p.prefetch = Some(1);
    }
    if let Some(p) = &mut layer.image_data_param {
        p.batch_size = p.batch_size.map(|b| b.min(most));
    }
    if let Some(p) = &mut layer.dense_image_data_param {
        p.batch_size = p.batch_size.map(|b| b.min(most));
    }
    layer
}

/// An Input layer in the place of one whose data is not there, and noise for it, as large as pixels would be.
fn stand_in(view: &View<'_>, node: usize) -> Option<(LayerParameter, Vec<(String, Tensor)>)> {
    let this = &view.nodes[node];
    let transform = this.layer.transform_param.clone().unwrap_or_default();
    let pixels = kinds::brings_records(this.layer.r#type());
    let (low, high) = match pixels {
        true if transform.mean_value.is_empty() && transform.mean_file.is_none() => (0.0, 255.0),
        true => (-128.0, 127.0),
        false => (-1.7, 1.7),
    };
    let factor = if pixels { transform.scale() } else { 1.0 };
    let (mut tops, mut shapes, mut noise) = (Vec::new(), Vec::new(), Vec::new());
    for &top in &this.tops {
        let value = view.values.get(top)?;
        let Some(shape) = &value.shape else { continue };
        let mut dims = shape.dims().to_vec();
        if let Some(batch) = dims.first_mut() {
            *batch = (*batch).min(BATCH);
        }
        let shape = Shape::checked(&dims).ok()?;
        let mut state = 1u32;
        let data = (0..shape.count()).map(|_| {
            // A plain generator: what the numbers are does not matter, only how large.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let unit = (state >> 8) as f32 / (1u32 << 24) as f32;
            factor * (low + (high - low) * unit)
        });
        let tensor = Tensor::new(shape.clone(), data.collect()).ok()?;
        shapes.push(BlobShape {
            dim: dims.iter().map(|&d| d as i64).collect(),
        });
        tops.push(value.name.clone());
        noise.push((value.name.clone(), tensor));
    }
    let layer = LayerParameter {
        name: this.layer.name.clone(),
        r#type: Some("Input".into()),
        top: tops,
        input_param: Some(InputParameter { shape: shapes }),
        ..LayerParameter::default()
    };
    Some((layer, noise))
}

fn rms(values: &[f32]) -> f64 {
    let sum: f64 = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    (sum / values.len().max(1) as f64).sqrt()
}

fn row(view: &View<'_>, net: &Net, node: usize) -> Option<Row> {
    let this = &view.nodes[node];
    kinds::weights(this.layer)?;
    let shape = &this.params.first()?.shape;
    let blob = |name: &str| net.blob(name).map(|view| rms(view.data));
    Some(Row {
        node,
        before: blob(this.layer.bottom.first()?)?,
        after: blob(this.layer.top.first()?)?,
        fan_in: shape.count() / shape.legacy(0).max(1),
    })
}

fn head(view: &View<'_>, net: &Net, node: usize) -> Option<Head> {
    let this = &view.nodes[node];
    if !matches!(
        this.layer.r#type(),
        "SoftmaxWithLoss" | "SoftmaxWithLossOHEM"
    ) {
        return None;
    }
    let scores = net.blob(this.layer.bottom.first()?)?;
    let (items, classes) = (scores.shape.legacy(0), scores.shape.legacy(1));
    let inner = scores.shape.dims().iter().skip(2).product::<usize>();
    let (mut squares, mut loss, mut positions) = (0.0, 0.0, 0usize);
    for item in 0..items {
        for at in 0..inner {
            let column = |c: usize| {
                let value = scores.data.get((item * classes + c) * inner + at);
                f64::from(value.copied().unwrap_or(0.0))
            };
            let all: Vec<f64> = (0..classes).map(column).collect();
            let mean = all.iter().sum::<f64>() / classes.max(1) as f64;
            let most = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = all.iter().map(|s| (s - most).exp()).sum();
            squares += all.iter().map(|s| (s - mean) * (s - mean)).sum::<f64>();
            // No probability is taken to be less than the smallest normal float.
            loss += all
                .iter()
                .map(|s| (most - s + sum.ln()).min(87.3365))
                .sum::<f64>()
                / classes.max(1) as f64;
            positions += 1;
        }
    }
    let positions = positions.max(1) as f64;
    Some(Head {
        node,
        classes,
        size: (squares / positions / classes.max(1) as f64).sqrt(),
        loss: loss / positions,
    })
}
