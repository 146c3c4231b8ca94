//! Which blobs of a net are scores, and which are their labels: told by the layers that hold them against each other.

use crate::{
    graph,
    net::Net,
    schema::{LayerParameter, NetParameter},
    tensor::Shape,
};

/// Scores with their labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The blob of scores.
    pub scores: String,
    /// The blob of labels.
    pub label: String,
    /// The first layer that compares them; a loss goes before a measurement.
    pub layer: String,
    /// Labels that do not count.
    pub ignore: Vec<i32>,
    /// What the net's own layers take for k best, besides 1; sorted.
    pub top_k: Vec<usize>,
    form: Form,
    loss: bool,
}

/// How labels belong to scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Classes lie along this axis.
    Axis(i32),
    /// Every value of an item is a class.
    Items,
    /// Each score has a label of its own, 0 or 1.
    Each,
    /// As [`Form::Each`] where there are as many labels as scores, else as [`Form::Axis`].
    Told(i32),
}

/// Where the classes are, for shapes at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Scores outer × classes × inner, labels outer × inner.
    Classes {
        outer: usize,
        classes: usize,
        inner: usize,
    },
    /// Scores and labels items × channels × plane.
    Each {
        items: usize,
        channels: usize,
        plane: usize,
    },
}

impl Pair {
    /// `None` where the shapes do not fit, or there is nothing to choose from.
    pub(super) fn layout(&self, scores: &Shape, labels: &Shape) -> Option<Layout> {
        let dims = scores.dims();
        let along = |axis: i32| {
            let axis = scores.axis(axis).ok()?;
            Some((
                scores.count_range(0, axis),
                dims[axis],
                scores.count_from(axis + 1),
            ))
        };
        let equal = scores.count() == labels.count();
        let found = match self.form {
            Form::Axis(axis) => along(axis),
            Form::Told(axis) if !equal => along(axis),
            Form::Items => {
                let &items = dims.first()?;
                Some((items, dims[1..].iter().product(), 1))
            }
            Form::Each | Form::Told(_) => {
                let &items = dims.first()?;
                return (equal && scores.count() > 0).then(|| Layout::Each {
                    items,
                    channels: dims.get(1).copied().unwrap_or(1),
                    plane: dims.iter().skip(2).product(),
                });
            }
        };
        let (outer, classes, inner) = found?;
        let fits = classes > 1 && outer * inner > 0 && outer * inner == labels.count();
        fits.then_some(Layout::Classes {
            outer,
            classes,
            inner,
        })
    }
}

/// What a layer says of its first two bottoms.
struct Says {
    form: Form,
    loss: bool,
    ignore: Vec<i32>,
    top_k: Option<usize>,
}

fn says(layer: &LayerParameter) -> Option<Says> {
    let softmax = || layer.softmax_param.as_ref().map_or(1, |p| p.axis());
    let of_loss = || layer.loss_param.as_ref().and_then(|p| p.ignore_label);
    let loss = |form, ignore: Option<i32>| Says {
        form,
        loss: true,
        ignore: ignore.into_iter().collect(),
        top_k: None,
    };
    Some(match layer.r#type() {
        "SoftmaxWithLoss" | "SoftmaxWithLossOHEM" => loss(Form::Axis(softmax()), of_loss()),
        "InfogainLoss" => {
            let axis = layer.infogain_loss_param.as_ref().map_or(1, |p| p.axis());
            loss(Form::Axis(axis), of_loss())
        }
        "FocalLoss" => {
            let axis = layer.focal_loss_param.as_ref().map_or(1, |p| p.axis());
            loss(Form::Told(axis), of_loss())
        }
        "MultinomialLogisticLoss" | "HingeLoss" => loss(Form::Items, None),
        "SigmoidCrossEntropyLoss" => loss(Form::Each, of_loss()),
        "Accuracy" => {
            let param = layer.accuracy_param.unwrap_or_default();
            Says {
                form: Form::Axis(param.axis()),
                loss: false,
                ignore: param.ignore_label.into_iter().collect(),
                top_k: Some(param.top_k() as usize),
            }
        }
        "SegAccuracy" => Says {
            form: Form::Axis(1),
            loss: false,
            ignore: layer
                .seg_accuracy_param
                .as_ref()
                .map_or_else(Vec::new, |p| p.ignore_label.clone()),
            top_k: None,
        },
        _ => return None,
    })
}

/// The pairs of a net's layers, each once, in the order of the net. Blobs that a later layer writes over are left out:
/// after a pass they hold something else. So are scores that are only the softmax of other scores with the same labels.
pub fn pairs<'a>(layers: impl Iterator<Item = &'a LayerParameter>) -> Vec<Pair> {
    let layers: Vec<&LayerParameter> = layers.collect();
    let mut found: Vec<Pair> = Vec::new();
    for (i, layer) in layers.iter().enumerate() {
        let (Some(says), [scores, label, ..]) = (says(layer), &layer.bottom[..]) else {
            continue;
        };
        let written = |blob: &String| layers[i + 1..].iter().any(|l| l.top.contains(blob));
        if written(scores) || written(label) {
            continue;
        }
        let new = Pair {
            scores: scores.clone(),
            label: label.clone(),
            layer: layer.name().to_owned(),
            ignore: says.ignore,
            top_k: says.top_k.into_iter().filter(|&k| k > 1).collect(),
            form: says.form,
            loss: says.loss,
        };
        match found.iter_mut().find(|p| p.same(&new)) {
            Some(pair) => pair.join(new),
            None => found.push(new),
        }
    }
    for i in (0..found.len()).rev() {
        let softmax = |l: &&&LayerParameter| {
            l.r#type() == "Softmax" && l.top.first() == Some(&found[i].scores)
        };
        let of = layers.iter().find(softmax).and_then(|l| l.bottom.first());
        let raw = |p: &Pair| Some(&p.scores) == of && p.label == found[i].label;
        if let Some(at) = found.iter().position(raw).filter(|&at| at != i) {
            let pair = found.remove(i);
            found[if at < i { at } else { at - 1 }].join(pair);
        }
    }
    found
}

impl Pair {
    fn same(&self, other: &Self) -> bool {
        self.scores == other.scores && self.label == other.label
    }

    /// Takes in what another layer says of the same scores.
    fn join(&mut self, other: Self) {
        if other.loss && !self.loss {
            self.layer = other.layer;
            self.form = other.form;
            self.loss = true;
        }
        self.ignore.extend(other.ignore);
        self.ignore.sort_unstable();
        self.ignore.dedup();
        self.top_k.extend(other.top_k);
        self.top_k.sort_unstable();
        self.top_k.dedup();
    }
}

/// The layers of a net that stands, as its message has them.
pub fn layers(net: &Net) -> impl Iterator<Item = &LayerParameter> {
    let nodes = net.graph().nodes.iter().filter(|n| n.origin.is_some());
    nodes.map(|n| &n.def.param)
}

/// The pairs of a net that stands.
pub fn of_net(net: &Net) -> Vec<Pair> {
    pairs(layers(net))
}

/// The blobs that have to stay readable in the net of this message, in its state: scores and labels, detections and
/// annotations. For [`crate::solver::SolverOptions::wanted`].
pub fn wanted(net: &NetParameter) -> Vec<String> {
    // What is wrong with the rules of layers is said where the net is built.
    let Ok((kept, ..)) = graph::filter(net) else {
        return Vec::new();
    };
    let mut blobs: Vec<String> = pairs(kept.layer.iter())
        .into_iter()
        .flat_map(|pair| [pair.scores, pair.label])
        .collect();
    blobs.extend(super::detections::wanted(kept.layer.iter()));
    blobs
}

/// The label map (a prototxt of `LabelMap`) that layers name, where they do.
pub fn label_map<'a>(mut layers: impl Iterator<Item = &'a LayerParameter>) -> Option<&'a str> {
    layers.find_map(map_of)
}

fn map_of(layer: &LayerParameter) -> Option<&str> {
    let data = layer.annotated_data_param.as_ref();
    let output = layer.detection_output_param.as_ref();
    let saved = output.and_then(|p| p.save_output_param.as_ref());
    let files = [
        data.map(|p| p.label_map_file()),
        saved.map(|p| p.label_map_file()),
    ];
    files.into_iter().flatten().find(|file| !file.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        events::Silent,
        load::{self, LoadOptions},
    };

    fn net(layers: &str) -> NetParameter {
        load::net_from_text("net", layers, LoadOptions::default(), &mut Silent)
            .unwrap()
            .net
    }

    fn found(layers: &str) -> Vec<(String, String, String)> {
        let found = pairs(net(layers).layer.iter());
        found
            .into_iter()
            .map(|p| (p.scores, p.label, p.layer))
            .collect()
    }

    fn names(scores: &str, label: &str, layer: &str) -> (String, String, String) {
        (scores.into(), label.into(), layer.into())
    }

    #[test]
    fn each_pair_once_and_the_loss_names_it() {
        let text = "
            layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'ip' }
            layer { name: 'top1' type: 'Accuracy' bottom: 'ip' bottom: 'label' top: 'a' accuracy_param { ignore_label: 7 } }
            layer { name: 'top5' type: 'Accuracy' bottom: 'ip' bottom: 'label' top: 'b' accuracy_param { top_k: 5 } }
            layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'l' loss_param { ignore_label: 255 } }
            layer { name: 'other' type: 'SigmoidCrossEntropyLoss' bottom: 'ip' bottom: 'tags' top: 'm' }";
        let pairs = pairs(net(text).layer.iter());
        assert_eq!(pairs.len(), 2);
        assert_eq!(pairs[0].layer, "loss");
        assert_eq!(
            (&*pairs[0].ignore, &*pairs[0].top_k),
            (&[7, 255][..], &[5][..])
        );
        assert_eq!((&*pairs[1].label, pairs[1].form), ("tags", Form::Each));
    }

    #[test]
    fn a_softmax_of_scores_is_no_further_pair() {
        let text = |first: &str| {
            format!(
                "layer {{ name: 'prob' type: 'Softmax' bottom: 'ip' top: 'prob' }} {first}
                 layer {{ name: 'acc' type: 'Accuracy' bottom: 'prob' bottom: 'label' top: 'a' accuracy_param {{ top_k: 3 }} }}
                 layer {{ name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'l' }}"
            )
        };
        let before =
            "layer { name: 'seg' type: 'SegAccuracy' bottom: 'ip' bottom: 'label' top: 's' }";
        for first in ["", before] {
            let pairs = pairs(net(&text(first)).layer.iter());
            assert_eq!(pairs.len(), 1, "{pairs:?}");
            assert_eq!((&*pairs[0].scores, &*pairs[0].layer), ("ip", "loss"));
            assert_eq!(pairs[0].top_k, [3]);
        }
    }

    #[test]
    fn scores_that_are_written_over_are_left_out() {
        let text = "
            layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'l' }
            layer { name: 'relu' type: 'ReLU' bottom: 'ip' top: 'ip' }
            layer { name: 'acc' type: 'Accuracy' bottom: 'ip' bottom: 'label' top: 'a' }";
        assert_eq!(found(text), [names("ip", "label", "acc")]);
        assert_eq!(
            found("layer { name: 'e' type: 'EuclideanLoss' bottom: 'a' bottom: 'b' }"),
            []
        );
    }

    #[test]
    fn only_layers_of_the_state_count() {
        let mut net = net("
            layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' include { phase: TRAIN } }
            layer { name: 'acc' type: 'Accuracy' bottom: 'ip' bottom: 'y' include { phase: TEST } }");
        net.state = Some(graph::state_of(&net, crate::schema::Phase::Test, None));
        assert_eq!(wanted(&net), ["ip", "y"]);
    }

    #[test]
    fn layouts() {
        let pair = |form| Pair {
            scores: String::new(),
            label: String::new(),
            layer: String::new(),
            ignore: Vec::new(),
            top_k: Vec::new(),
            form,
            loss: true,
        };
        let of = |form, scores: &[usize], labels: &[usize]| {
            pair(form).layout(&Shape::new(scores), &Shape::new(labels))
        };
        let classes = |outer, classes, inner| {
            Some(Layout::Classes {
                outer,
                classes,
                inner,
            })
        };
        assert_eq!(
            of(Form::Axis(1), &[2, 5, 3, 4], &[2, 1, 3, 4]),
            classes(2, 5, 12)
        );
        assert_eq!(
            of(Form::Axis(1), &[2, 5, 3, 4], &[2, 3, 4]),
            classes(2, 5, 12)
        );
        assert_eq!(of(Form::Axis(-1), &[2, 3, 5], &[2, 3]), classes(6, 5, 1));
        assert_eq!(of(Form::Items, &[2, 5, 1, 1], &[2]), classes(2, 5, 1));
        assert_eq!(of(Form::Axis(1), &[2, 5], &[3]), None);
        assert_eq!(of(Form::Axis(1), &[2, 1], &[2]), None);
        assert_eq!(of(Form::Axis(7), &[2, 5], &[2]), None);
        assert_eq!(of(Form::Axis(1), &[0, 5], &[0]), None);
        let each = |items, channels, plane| {
            Some(Layout::Each {
                items,
                channels,
                plane,
            })
        };
        assert_eq!(of(Form::Each, &[2, 5, 3, 4], &[2, 60]), each(2, 5, 12));
        assert_eq!(of(Form::Each, &[4], &[4]), each(4, 1, 1));
        assert_eq!(of(Form::Each, &[2, 5], &[2]), None);
        assert_eq!(of(Form::Told(1), &[2, 5], &[2]), classes(2, 5, 1));
        assert_eq!(of(Form::Told(1), &[2, 5], &[2, 5]), each(2, 5, 1));
    }
}
