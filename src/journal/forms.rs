//! Figures as the lines tell them.

use super::line;
use crate::{events::TopInfo, metrics::vitals};

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

    #[test]
    fn numbers_are_short_and_finite() {
        assert_eq!(short(0.1), Some(0.1));
        assert_eq!(short(f32::NAN), None);
        assert_eq!(six(2.0 / 3.0), Some(0.666667));
        assert_eq!(six(f64::INFINITY), None);
        assert_eq!(number(f64::NAN), 0.0);
    }
}
