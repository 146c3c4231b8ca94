//! Weights for the classes of a loss, from how often the labels of the training net name them.

use std::path::{Path, PathBuf};

use crate::{
    error::{Error, ErrorKind, Place, Result},
    events::Silent,
    graph,
    metrics::weights,
    net::{Net, NetOptions},
    params::Params,
    schema::{LayerParameter, NetParameter},
};

/// Most records that are looked at.
const MOST: u64 = 1_000_000;

/// Records that are looked at where the source never ends.
const ENDLESS: u64 = 10_000;

/// Passes where nothing counts records.
const PASSES: u64 = 100;

/// How weights come from frequencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// The median of the frequencies over the class's own. A map's frequency is the share of the class in the images
    /// where it occurs; a single label's is its share in all.
    MedianFrequency,
    /// 1 over the frequency, such that the mean weight of all labels is 1.
    Inverse,
}

/// Every scheme by its word.
pub const SCHEMES: &[(&str, Scheme)] = &[
    ("median-frequency", Scheme::MedianFrequency),
    ("inverse", Scheme::Inverse),
];

/// A loss that takes weights of classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The layer.
    pub layer: String,
    /// The blob of scores.
    pub scores: String,
    /// The blob of labels.
    pub label: String,
    /// How many classes.
    pub classes: usize,
    ignore: Option<i32>,
}

/// How often labels name each class of a loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// The loss.
    pub loss: Loss,
    /// Labels of each class.
    pub labels: Vec<u64>,
    /// Labels of all classes in the items where the class occurs.
    pub around: Vec<u64>,
    /// Records looked at; 0 where nothing counts them.
    pub records: u64,
    /// Whether labels are maps: an item has more than one.
    pub maps: bool,
    /// Whether there are more records than were looked at.
    pub cut: bool,
}

impl Counts {
    /// A weight for each class, and 1 for one that never occurs.
    pub fn weights(&self, scheme: Scheme) -> Vec<f32> {
        match scheme {
            Scheme::Inverse => weights::by_inverse_frequency(&self.labels),
            Scheme::MedianFrequency if self.maps => {
                weights::by_median_frequency(&self.labels, &self.around)
            }
            Scheme::MedianFrequency => {
                let total = self.labels.iter().sum();
                weights::by_median_frequency(&self.labels, &vec![total; self.labels.len()])
            }
        }
    }

    /// Adds the labels of one item.
    fn add(&mut self, labels: &[f32]) -> Result<()> {
        let classes = self.loss.classes;
        let mut here = vec![0u64; classes];
        for &label in labels {
            let whole = label as i32;
            if whole as f32 == label && self.loss.ignore == Some(whole) {
                continue;
            }
            let class = usize::try_from(whole)
                .ok()
                .filter(|_| whole as f32 == label);
            let Some(n) = class.and_then(|class| here.get_mut(class)) else {
                return Err(Error::data(format!(
                    "label {label} names no class: the {classes} classes are 0 to {}",
                    classes.saturating_sub(1)
                ))
                .help("raise num_output of the layer that makes the scores, or set ignore_label")
                .at(Place::Layer {
                    name: self.loss.layer.clone(),
                    kind: "SoftmaxWithLoss".to_owned(),
                    bottoms: vec![self.loss.scores.clone(), self.loss.label.clone()],
                }));
            };
            *n += 1;
        }
        let all: u64 = here.iter().sum();
        for (class, &n) in here.iter().enumerate().filter(|&(_, &n)| n > 0) {
            self.labels[class] += n;
            self.around[class] += all;
        }
        Ok(())
    }
}

/// The losses of a training net that take weights of classes, with their numbers of classes.
///
/// # Errors
/// Of building the net; `Graph` where it has no such loss.
pub fn losses(net: &NetParameter, root: &Path) -> Result<Vec<Loss>> {
    let mut params = Params::new();
    let options = NetOptions {
        root: root.to_path_buf(),
        // Only the shapes count: no filler runs.
        brought: Some(&|_, _| true),
        ..NetOptions::default()
    };
    let built = Net::new(net, &mut params, &options, &mut Silent)?;
    let graph = built.graph();
    let mut losses = Vec::new();
    for node in graph.nodes.iter().filter(|n| n.origin.is_some()) {
        let param = &node.def.param;
        let weighs = matches!(node.kind.name, "SoftmaxWithLoss" | "SoftmaxWithLossOHEM");
        let [scores, label] = &param.bottom[..] else {
            continue;
        };
        if !weighs {
            continue;
        }
        let shape = &graph.value(node.bottoms[0]).shape;
        let axis = param.softmax_param.as_ref().map_or(1, |p| p.axis());
        losses.push(Loss {
            layer: node.name.to_string(),
            scores: scores.clone(),
            label: label.clone(),
            classes: shape.dims()[shape.axis(axis)?],
            ignore: param.loss_param.as_ref().and_then(|p| p.ignore_label),
        });
    }
    if losses.is_empty() {
        let nodes = graph.nodes.iter();
        let others: Vec<&str> = nodes
            .filter(|n| n.loss_weights.iter().any(|&w| w != 0.0))
            .map(|n| n.kind.name)
            .collect();
        let have = match others[..] {
            [] => "this net has no loss".to_owned(),
            _ => format!("the losses of this net are {}", others.join(", ")),
        };
        return Err(Error::new(
            ErrorKind::Graph,
            format!("weights of classes are for SoftmaxWithLoss; {have}"),
        )
        .help("for InfogainLoss write them into the diagonal of its matrix"));
    }
    Ok(losses)
}

/// Reads the labels of each loss through the layers that bring them, one pass over the records (at most a million), and
/// counts. The order of records and what crops draw are the same in every call. `progress` hears of records done, and
/// of how many.
///
/// # Errors
/// `Graph` where labels come from an input; else of building and running those layers, or of a label that is no class.
pub fn count(
    net: &NetParameter,
    root: &Path,
    losses: Vec<Loss>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<Counts>> {
    let (kept, ..) = graph::filter(net)?;
    losses
        .into_iter()
        .map(|loss| count_one(&kept, root.to_path_buf(), loss, progress))
        .collect()
}

fn count_one(
    net: &NetParameter,
    root: PathBuf,
    loss: Loss,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Counts> {
    let sub = NetParameter {
        layer: makers(net, &loss.label),
        ..net.clone()
    };
    let mut params = Params::new();
    let wanted = [loss.label.clone()];
    let options = NetOptions {
        root,
        wanted: &wanted,
        ..NetOptions::default()
    };
    let mut net = Net::new(&sub, &mut params, &options, &mut Silent)?;
    if !net.inputs().is_empty() {
        return Err(Error::new(
            ErrorKind::Graph,
            format!(
                "the labels '{}' come from an input: there is nothing to count",
                loss.label
            ),
        )
        .help("give the weights in a file, one a line"));
    }
    let counted = !net.cursors().is_empty();
    let all = if counted { net.records()? } else { None };
    let of = all.unwrap_or(ENDLESS).min(MOST);
    let mut counts = Counts {
        labels: vec![0; loss.classes],
        around: vec![0; loss.classes],
        loss,
        records: 0,
        maps: false,
        cut: all.is_some_and(|all| all > of),
    };
    let done = |net: &Net| net.cursors().iter().map(|(.., n)| *n).max().unwrap_or(0);
    for pass in 0.. {
        let before = done(&net);
        if if counted {
            before >= of
        } else {
            pass >= PASSES
        } {
            break;
        }
        net.forward(&mut params)?;
        let after = done(&net);
        let Some(labels) = net.blob(&counts.loss.label) else {
            break;
        };
        let items = labels.shape.dims().first().copied().unwrap_or(1);
        let Some(each) = labels.data.len().checked_div(items).filter(|&n| n > 0) else {
            break;
        };
        counts.maps |= each > 1;
        // The end of the last batch is the begin of the next pass over the records.
        let one_each = counted && after - before == items as u64;
        let whole = usize::try_from(of - before.min(of)).unwrap_or(usize::MAX);
        let taken = if one_each { items.min(whole) } else { items };
        for item in labels.data.chunks_exact(each).take(taken) {
            counts.add(item)?;
        }
        if counted {
            counts.records = after.min(of);
            progress(counts.records, of);
            if after == before {
                break;
            }
        } else {
            progress(pass + 1, PASSES);
        }
    }
    Ok(counts)
}

/// The layers that a blob comes from, in the order of the net.
fn makers(net: &NetParameter, blob: &str) -> Vec<LayerParameter> {
    let mut needed = vec![blob.to_owned()];
    let mut layers = Vec::new();
    for layer in net.layer.iter().rev() {
        if layer.top.iter().any(|top| needed.contains(top)) {
            needed.extend(layer.bottom.iter().cloned());
            layers.push(layer.clone());
        }
    }
    layers.reverse();
    layers
}

/// Weights that somebody wrote down, for every loss.
///
/// # Errors
/// `Param` where their number is not that of the classes, or one is below 0 or no number.
pub fn given(losses: &[Loss], weights: &[f32]) -> Result<Vec<(String, Vec<f32>)>> {
    const FLAG: &str = "--class-weights";
    if let Some(bad) = weights.iter().find(|w| !(w.is_finite() && **w >= 0.0)) {
        return Err(Error::param(FLAG, format!("{bad} is no weight"))
            .help("weights are numbers from 0 on; 1 changes nothing, 2 counts a label twice"));
    }
    if let Some(other) = losses.iter().find(|loss| loss.classes != weights.len()) {
        return Err(Error::param(
            FLAG,
            format!(
                "{} weights, but loss '{}' has {} classes (channels of '{}', its num_output)",
                weights.len(),
                other.layer,
                other.classes,
                other.scores
            ),
        )
        .help("give one weight for each class, from class 0 on; losses of different classes take theirs in loss_param { weight_by_label_freqs: true class_weighting: ... }"));
    }
    let of = |loss: &Loss| (loss.layer.clone(), weights.to_vec());
    Ok(losses.iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        load::{self, LoadOptions},
        schema::Phase,
    };

    fn loss(classes: usize) -> Loss {
        Loss {
            layer: "loss".into(),
            scores: "ip".into(),
            label: "label".into(),
            classes,
            ignore: Some(9),
        }
    }

    fn counts(classes: usize, maps: bool, items: &[&[f32]]) -> Counts {
        let mut counts = Counts {
            loss: loss(classes),
            labels: vec![0; classes],
            around: vec![0; classes],
            records: 0,
            maps,
            cut: false,
        };
        for item in items {
            counts.add(item).unwrap();
        }
        counts
    }

    #[test]
    fn weights_by_hand() {
        // Class 0 five times, 1 twice, 2 once, 3 never.
        let items: [&[f32]; 2] = [&[0.0, 0.0, 0.0, 1.0], &[0.0, 0.0, 1.0, 2.0, 9.0]];
        let maps = counts(4, true, &items);
        assert_eq!(
            (&*maps.labels, &*maps.around),
            (&[5, 2, 1, 0][..], &[8, 8, 4, 0][..])
        );
        // Frequencies 5/8, 2/8, 1/4, median 1/4.
        assert_eq!(maps.weights(Scheme::MedianFrequency), [0.4, 1.0, 1.0, 1.0]);
        let third = 8.0 / 3.0;
        assert_eq!(
            maps.weights(Scheme::Inverse),
            [third / 5.0, third / 2.0, third, 1.0].map(|w: f64| w as f32)
        );
        // Single labels: shares of all.
        let singles = counts(2, false, &[&[0.0], &[0.0], &[0.0], &[1.0]]);
        assert_eq!(
            singles.weights(Scheme::MedianFrequency),
            [(0.5f64 / 0.75) as f32, 2.0]
        );
        let none = counts(2, false, &[]);
        assert_eq!(none.weights(Scheme::Inverse), [1.0, 1.0]);
        assert_eq!(none.weights(Scheme::MedianFrequency), [1.0, 1.0]);
    }

    #[test]
    fn labels_that_are_no_class() {
        for bad in [3.0, -1.0, 0.5, f32::NAN] {
            let error = counts(3, false, &[]).add(&[bad]).unwrap_err().to_string();
            assert!(
                error.contains("names no class: the 3 classes are 0 to 2"),
                "{error}"
            );
            assert!(error.contains("'loss'"), "{error}");
        }
    }

    fn net(text: &str) -> NetParameter {
        let mut net = load::net_from_text("net", text, LoadOptions::default(), &mut Silent)
            .unwrap()
            .net;
        net.state = Some(graph::state_of(&net, Phase::Train, None));
        net
    }

    const NET: &str = "
        layer { name: 'd' type: 'DummyData' top: 'x' top: 'y' dummy_data_param {
          shape { dim: 4 dim: 2 } shape { dim: 4 } data_filler { value: 1 } data_filler { value: 1 } } }
        layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'ip' inner_product_param { num_output: 3 } }";

    #[test]
    fn the_labels_of_a_net() {
        let text = format!(
            "{NET} layer {{ name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'y' top: 'l' }}"
        );
        let net = net(&text);
        let losses = losses(&net, Path::new("")).unwrap();
        assert_eq!((losses[0].classes, &*losses[0].layer), (3, "loss"));
        let mut last = (0, 0);
        let counts = count(&net, Path::new(""), losses.clone(), &mut |done, of| {
            last = (done, of)
        })
        .unwrap();
        assert_eq!(counts[0].labels, [0, 4 * PASSES, 0]);
        assert_eq!(last, (PASSES, PASSES));
        let weights = given(&losses, &[1.0, 2.0, 3.0]).unwrap();
        assert_eq!(weights, [("loss".to_owned(), vec![1.0, 2.0, 3.0])]);
        for (weights, why) in [
            (
                &[1.0, 2.0][..],
                "2 weights, but loss 'loss' has 3 classes (channels of 'ip'",
            ),
            (&[1.0, -2.0, 1.0], "-2 is no weight"),
        ] {
            let error = given(&losses, weights).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn nets_without_such_a_loss_or_with_fed_labels() {
        let text = format!(
            "{NET} layer {{ name: 'l' type: 'HingeLoss' bottom: 'ip' bottom: 'y' top: 'l' }}"
        );
        let error = losses(&net(&text), Path::new("")).unwrap_err().to_string();
        assert!(
            error.contains("the losses of this net are HingeLoss"),
            "{error}"
        );
        let fed = net("
            layer { name: 'i' type: 'Input' top: 'ip' top: 'y' input_param { shape { dim: 4 dim: 3 } shape { dim: 4 } } }
            layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'y' top: 'l' }");
        let losses = losses(&fed, Path::new("")).unwrap();
        let error = count(&fed, Path::new(""), losses, &mut |_, _| {}).unwrap_err();
        assert!(
            error.to_string().contains("'y' come from an input"),
            "{error}"
        );
    }
}
