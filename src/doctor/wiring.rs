//! Which layers bring what to which loss, read off a net's message: also of a net that cannot be built.

use crate::{
    graph::Graph,
    schema::{LayerParameter, NetParameter, Phase},
};

/// Layers that hold scores (bottom 0) against labels that name classes (bottom 1).
pub(super) const CLASS_LOSSES: &[&str] = &[
    "SoftmaxWithLoss",
    "SoftmaxWithLossOHEM",
    "MultinomialLogisticLoss",
    "InfogainLoss",
    "HingeLoss",
    "FocalLoss",
];
pub(super) const CLASS_METRICS: &[&str] = &["Accuracy", "SegAccuracy"];

/// Layers whose top says the same as their bottom, in another shape.
const SAME: &[&str] = &["Reshape", "Flatten", "Split"];

/// A loss or a measurement that reads labels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Use {
    /// The layer's name.
    pub(super) layer: String,
    /// The blob of scores.
    pub(super) scores: String,
    /// How many classes the scores have, where that is known.
    pub(super) classes: Option<usize>,
    /// Labels that are left out.
    pub(super) ignore: Vec<i64>,
    /// A loss, not a measurement.
    pub(super) loss: bool,
}

/// A data layer, and what its tops are.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    /// TRAIN or TEST.
    pub(super) phase: Phase,
    /// The layer.
    pub(super) param: LayerParameter,
    /// Which top is pictures, or other input.
    pub(super) images: Option<usize>,
    /// Which top is labels.
    pub(super) labels: Option<usize>,
    /// Who reads the labels as classes; losses first.
    pub(super) uses: Vec<Use>,
}

impl Feed {
    /// The layer's name with its phase, for messages.
    pub(super) fn name(&self) -> String {
        format!("layer '{}' ({})", self.param.name(), phase(self.phase))
    }

    /// Number of classes of the first loss that knows.
    pub(super) fn classes(&self) -> Option<usize> {
        self.uses.iter().find_map(|u| u.classes)
    }

    /// Labels that some reader leaves out.
    pub(super) fn ignored(&self) -> impl Iterator<Item = i64> + '_ {
        self.uses.iter().flat_map(|u| u.ignore.iter().copied())
    }
}

/// `TRAIN` or `TEST`.
pub(super) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Train => "TRAIN",
        Phase::Test => "TEST",
    }
}

/// The layer that makes `blob` as layer `before` finds it.
fn producer(net: &NetParameter, blob: &str, before: usize) -> Option<usize> {
    let layers = net.layer.get(..before)?;
    layers.iter().rposition(|l| l.top.iter().any(|t| t == blob))
}

/// The data layers of a net whose layers of other phases are left out.
pub(super) fn feeds(net: &NetParameter, phase: Phase, graph: Option<&Graph>) -> Vec<Feed> {
    let uses = uses(net, graph);
    let data = net.layer.iter().enumerate();
    data.filter(|(_, layer)| layer.bottom.is_empty() && layer.r#type().contains("Data"))
        .map(|(index, layer)| {
            let read: Vec<(usize, Use)> = uses
                .iter()
                .filter(|(made, ..)| *made == index)
                .map(|(_, top, what)| (*top, what.clone()))
                .collect();
            let pairs = matches!(layer.r#type(), "Data" | "ImageData" | "DenseImageData");
            let second = (pairs && layer.top.len() > 1).then_some(1);
            let labels = read.first().map(|(top, _)| *top).or(second);
            let mut uses: Vec<Use> = read.into_iter().map(|(_, what)| what).collect();
            uses.sort_by_key(|u| !u.loss);
            Feed {
                phase,
                param: layer.clone(),
                images: (0..layer.top.len()).find(|&top| Some(top) != labels),
                labels,
                uses,
            }
        })
        .collect()
}

/// Everybody who reads labels as classes: the data layer and its top that the labels come from, and how they are read.
fn uses(net: &NetParameter, graph: Option<&Graph>) -> Vec<(usize, usize, Use)> {
    let mut found = Vec::new();
    for (at, layer) in net.layer.iter().enumerate() {
        let kind = layer.r#type();
        let loss = CLASS_LOSSES.contains(&kind);
        let (true, [scores, labels, ..]) = (
            loss || CLASS_METRICS.contains(&kind),
            layer.bottom.as_slice(),
        ) else {
            continue;
        };
        let (mut blob, mut before) = (labels.as_str(), at);
        let made = loop {
            let Some(made) = producer(net, blob, before) else {
                break None;
            };
            match net.layer[made].bottom.first() {
                Some(below) if SAME.contains(&net.layer[made].r#type()) => {
                    (blob, before) = (below, made);
                }
                _ => break Some(made),
            }
        };
        let Some(made) = made else { continue };
        let Some(top) = net.layer[made].top.iter().position(|t| t == blob) else {
            continue;
        };
        let what = Use {
            layer: layer.name().to_owned(),
            scores: scores.clone(),
            classes: classes(net, layer, at, graph),
            ignore: ignored(layer),
            loss,
        };
        found.push((made, top, what));
    }
    found
}

/// Labels that a layer leaves out.
pub(super) fn ignored(layer: &LayerParameter) -> Vec<i64> {
    let loss = layer.loss_param.as_ref().and_then(|p| p.ignore_label);
    let accuracy = layer.accuracy_param.as_ref().and_then(|p| p.ignore_label);
    let told = loss.into_iter().chain(accuracy).map(i64::from);
    let many = layer.seg_accuracy_param.iter();
    told.chain(many.flat_map(|p| p.ignore_label.iter().map(|&l| i64::from(l))))
        .collect()
}

/// The axis of a layer's classes.
pub(super) fn axis(layer: &LayerParameter) -> i32 {
    let softmax = layer.softmax_param.as_ref().and_then(|p| p.axis);
    let accuracy = layer.accuracy_param.as_ref().and_then(|p| p.axis);
    let infogain = layer.infogain_loss_param.as_ref().and_then(|p| p.axis);
    softmax.or(accuracy).or(infogain).unwrap_or(1)
}

/// Extent of the scores along the classes' axis: from the graph, else from the last layer that says how many outputs it
/// has.
fn classes(
    net: &NetParameter,
    layer: &LayerParameter,
    at: usize,
    graph: Option<&Graph>,
) -> Option<usize> {
    let scores = layer.bottom.first()?;
    if let Some(graph) = graph
        && let Some(value) = graph.latest(scores)
    {
        let shape = &graph.value(value).shape;
        let axis = shape.axis(axis(layer)).ok()?;
        return shape.dims().get(axis).copied();
    }
    if axis(layer) != 1 {
        return None;
    }
    let (mut blob, mut before) = (scores.as_str(), at);
    while let Some(made) = producer(net, blob, before) {
        let layer = &net.layer[made];
        let convolution = layer.convolution_param.as_ref().and_then(|p| p.num_output);
        let product = layer
            .inner_product_param
            .as_ref()
            .and_then(|p| p.num_output);
        if let Some(outputs) = convolution.or(product) {
            return usize::try_from(outputs).ok();
        }
        // Others may change the number of channels.
        const KEEP: &[&str] = &[
            "ReLU",
            "Dropout",
            "Softmax",
            "Scale",
            "BatchNorm",
            "Pooling",
            "Crop",
            "Interp",
            "Sigmoid",
            "TanH",
            "PReLU",
            "ELU",
            "LRN",
            "Eltwise",
            "Split",
            "Power",
            "Bias",
        ];
        if !KEEP.contains(&layer.r#type()) {
            return None;
        }
        (blob, before) = (layer.bottom.first()?, made);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        events::Silent,
        load::{self, LoadOptions},
    };

    fn net(text: &str) -> NetParameter {
        load::net_from_text("net", text, LoadOptions::default(), &mut Silent)
            .unwrap()
            .net
    }

    #[test]
    fn who_reads_which_labels() {
        let net = net("
            layer { name: 'd' type: 'Data' top: 'x' }
            layer { name: 'l' type: 'Data' top: 'maps' }
            layer { name: 'both' type: 'Data' top: 'p' top: 'q' }
            layer { name: 'conv' type: 'Convolution' bottom: 'x' top: 's' convolution_param { num_output: 5 kernel_size: 1 } }
            layer { name: 'relu' type: 'ReLU' bottom: 's' top: 's' }
            layer { name: 'flat' type: 'Flatten' bottom: 'maps' top: 'flat' }
            layer { name: 'acc' type: 'Accuracy' bottom: 's' bottom: 'flat' top: 'a' accuracy_param { ignore_label: 9 } }
            layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 's' bottom: 'flat' top: 'loss' loss_param { ignore_label: 255 } }");
        let feeds = feeds(&net, Phase::Train, None);
        assert_eq!(feeds.len(), 3);
        assert_eq!((feeds[0].images, feeds[0].labels), (Some(0), None));
        assert_eq!((feeds[1].images, feeds[1].labels), (None, Some(0)));
        assert_eq!((feeds[2].images, feeds[2].labels), (Some(0), Some(1)));
        assert!(feeds[0].uses.is_empty() && feeds[2].uses.is_empty());
        assert_eq!(feeds[1].uses[0].layer, "loss");
        assert_eq!(feeds[1].classes(), Some(5));
        assert_eq!(feeds[1].ignored().collect::<Vec<_>>(), [255, 9]);
        assert_eq!(feeds[1].name(), "layer 'l' (TRAIN)");
    }

    #[test]
    fn classes_that_nobody_states_are_unknown() {
        let net = net("
            layer { name: 'd' type: 'Data' top: 'x' top: 'y' }
            layer { name: 'slice' type: 'Slice' bottom: 'x' top: 'a' top: 'b' }
            layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'a' bottom: 'y' top: 'loss' }");
        assert_eq!(feeds(&net, Phase::Train, None)[0].classes(), None);
    }
}
