//! Figures as the lines tell them.

use super::line;
use crate::{
    events::TopInfo,
    metrics::{self, vitals},
};

/// More classes than this have no confusion matrix in a line: it grows with their square.
const CONFUSED: usize = 100;
/// Channels that go together at least so much are told.
const ALIKE: f64 = 0.99;
/// At most so many pairs.
const PAIRS: usize = 64;

/// A number with the digits that an `f32` has; `None` where it is not finite.
pub(super) fn short(x: f32) -> Option<f64> {
    if x.is_finite() {
        x.to_string().parse().ok()
    } else {
        None
    }
}

/// Six digits of a number; `None` where it is not finite.
pub(super) fn six(x: f64) -> Option<f64> {
    if x.is_finite() {
        format!("{x:.5e}").parse().ok()
    } else {
        None
    }
}

/// [`six`] where there has to be a number.
fn number(x: f64) -> f64 {
    six(x).unwrap_or(0.0)
}

pub(super) fn top(info: &TopInfo<'_>) -> line::Top {
    line::Top {
        name: info.name.to_owned(),
        shape: info.shape.dims().to_vec(),
        in_place: info.in_place,
    }
}

pub(super) fn head(head: &metrics::Head) -> line::Head {
    let matrix = &head.confusion;
    let classes = matrix.classes();
    let all = || 0..classes;
    let each = |of: &dyn Fn(usize) -> Option<f64>| all().map(|c| of(c).and_then(six)).collect();
    let occurring: Vec<usize> = all().filter(|&c| matrix.of_class(c) > 0).collect();
    let recalls: Vec<f64> = occurring.iter().filter_map(|&c| matrix.recall(c)).collect();
    let commonest = all().max_by_key(|&c| (matrix.of_class(c), std::cmp::Reverse(c)));
    let total = matrix.total();
    line::Head {
        scores: head.scores.clone(),
        label: head.label.clone(),
        layer: head.layer.clone(),
        classes,
        names: head.names.clone(),
        confusion: if classes <= CONFUSED {
            all()
                .map(|truth| all().map(|answer| matrix.count(truth, answer)).collect())
                .collect()
        } else {
            Vec::new()
        },
        ignored: head.ignored,
        accuracy: matrix.accuracy().and_then(six),
        constant: commonest.and_then(|class| {
            let accuracy = six(matrix.accuracy_of_always(class)?)?;
            Some(line::Constant { class, accuracy })
        }),
        recall: each(&|c| matrix.recall(c)),
        precision: each(&|c| matrix.precision(c)),
        iou: each(&|c| matrix.iou(c)),
        mean_iou: matrix.mean_iou(occurring).and_then(six),
        mean_recall: (!recalls.is_empty())
            .then(|| recalls.iter().sum::<f64>() / recalls.len() as f64)
            .and_then(six),
        top_k: if total > 0 {
            let share = |&(k, hits): &(usize, u64)| (k, number(hits as f64 / total as f64));
            head.top_k.iter().map(share).collect()
        } else {
            Vec::new()
        },
        alike: head.channels.as_ref().map(alike).unwrap_or_default(),
        zeros: head.channels.as_ref().map_or_else(Vec::new, |stats| {
            (0..stats.channels())
                .map(|c| stats.zero_share(c).and_then(six))
                .collect()
        }),
    }
}

/// Pairs of channels that say the same.
fn alike(stats: &metrics::ChannelStats) -> Vec<line::Alike> {
    let pairs = (0..stats.channels()).flat_map(|a| (a + 1..stats.channels()).map(move |b| (a, b)));
    pairs
        .filter_map(|(a, b)| {
            let correlation = six(stats.correlation(a, b)?)?;
            (correlation >= ALIKE).then_some(line::Alike { a, b, correlation })
        })
        .take(PAIRS)
        .collect()
}

pub(super) fn layer(layer: &vitals::LayerVitals) -> line::Layer {
    line::Layer {
        name: layer.name.clone(),
        kind: layer.kind.clone(),
        forward_ms: layer.forward_ms.and_then(six),
        backward_ms: layer.backward_ms.and_then(six),
        blobs: layer.blobs.iter().map(blob).collect(),
        params: layer.params.iter().map(param).collect(),
    }
}

fn blob(blob: &vitals::BlobVitals) -> line::Blob {
    line::Blob {
        name: blob.name.clone(),
        mean: six(blob.mean),
        deviation: six(blob.deviation),
        low: short(blob.low),
        high: short(blob.high),
        zeros: number(blob.zeros),
        dead: blob.dead.clone(),
        channels: blob.channels,
        not_finite: blob.not_finite,
        histogram: bins(&blob.histogram),
    }
}

fn param(param: &vitals::ParamVitals) -> line::Param {
    line::Param {
        name: param.name.clone(),
        shape: param.shape.clone(),
        norm: six(param.norm),
        gradient: param.gradient.and_then(six),
        update: param.update.and_then(six),
        mean: six(param.mean),
        deviation: six(param.deviation),
        not_finite: param.not_finite,
        histogram: bins(&param.histogram),
    }
}

fn bins(histogram: &vitals::Histogram) -> line::Bins {
    line::Bins {
        low: short(histogram.low).unwrap_or(0.0),
        high: short(histogram.high).unwrap_or(0.0),
        counts: histogram.counts.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{ChannelStats, ConfusionMatrix};

    #[test]
    fn numbers_are_short_and_finite() {
        assert_eq!(short(0.1), Some(0.1));
        assert_eq!(short(f32::NAN), None);
        assert_eq!(six(2.0 / 3.0), Some(0.666667));
        assert_eq!(six(f64::INFINITY), None);
        assert_eq!(number(f64::NAN), 0.0);
    }

    #[test]
    fn a_head_by_hand() {
        let mut confusion = ConfusionMatrix::new(3);
        for (truth, answer) in [(0, 0), (0, 0), (0, 0), (1, 0)] {
            confusion.add(truth, answer);
        }
        let mut channels = ChannelStats::new(3);
        channels.add(&[1.0, 2.0, 2.0, 4.0, 0.0, 0.0]);
        let told = head(&metrics::Head {
            scores: "s".into(),
            label: "l".into(),
            layer: "loss".into(),
            names: Vec::new(),
            confusion,
            ignored: 2,
            top_k: vec![(1, 3)],
            channels: Some(channels),
        });
        assert_eq!(told.confusion, [[3, 0, 0], [1, 0, 0], [0, 0, 0]]);
        assert_eq!(told.accuracy, Some(0.75));
        let constant = told.constant.unwrap();
        assert_eq!((constant.class, constant.accuracy), (0, 0.75));
        assert_eq!(told.recall, [Some(1.0), Some(0.0), None]);
        assert_eq!(told.mean_recall, Some(0.5));
        assert_eq!(told.mean_iou, Some(0.375));
        assert_eq!(told.top_k, [(1, 0.75)]);
        assert_eq!(told.zeros, [Some(0.0), Some(0.0), Some(1.0)]);
        assert_eq!(told.alike.len(), 1);
        assert_eq!((told.alike[0].a, told.alike[0].b), (0, 1));
    }
}
