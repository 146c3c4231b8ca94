//! From values to places on the paper.

use super::ticks::{decades, round};

/// From values to places.
pub(super) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Scale {
    pub(super) fn new(range: Option<(f64, f64)>, (from, to): (f64, f64), log: bool) -> Self {
        let (mut low, mut high) = range.unwrap_or(if log { (0.1, 1.0) } else { (0.0, 1.0) });
        if log {
            (low, high) = (low.log10(), high.log10());
        }
        if high - low <= f64::EPSILON * high.abs().max(low.abs()) {
            let pad = if low == 0.0 || log {
                0.5
            } else {
                low.abs() * 0.1
            };
            (low, high) = (low - pad, high + pad);
        }
        Self {
            low,
            high,
            from,
            to,
            log,
        }
    }

    /// With some air at both ends.
    pub(super) fn aired(mut self, share: f64) -> Self {
        let air = (self.high - self.low) * share;
        (self.low, self.high) = (self.low - air, self.high + air);
        self
    }

    /// Where a value is; `None` where it is nowhere.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        let value = if self.log {
            (value > 0.0).then(|| value.log10())?
        } else {
            value
        };
        let at = (value - self.low) / (self.high - self.low);
        at.is_finite()
            .then_some(self.from + at * (self.to - self.from))
    }

    pub(super) fn ticks(&self, about: usize) -> Vec<f64> {
        match self.log {
            true => decades(self.low, self.high),
            false => round(self.low, self.high, about),
        }
    }
}

/// The lowest and the highest of some values.
pub(super) fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, v| match range {
        None => Some((v, v)),
        Some((low, high)) => Some((low.min(v), high.max(v))),
    })
}
