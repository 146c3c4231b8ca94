//! What the channels of a blob have in common, summed over a run.

use super::confusion::ratio;

/// Sums over the values of channels, from which come shares of zeros, shares of equal values and correlations.
#[derive(Clone, Debug, Default)]
pub struct ChannelStats {
    channels: usize,
    pixels: u64,
    zeros: Vec<u64>,
    means: Vec<f64>,
    /// Σ (a - mean a)(b - mean b), row by row; only b ≥ a.
    products: Vec<f64>,
    /// Pixels where a and b are the same number; only b > a.
    equal: Vec<u64>,
    /// Of the pixel at hand: its values, and they less the means before and after.
    values: Vec<f32>,
    before: Vec<f64>,
    after: Vec<f64>,
}

/// Two channels that say nearly the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alike {
    /// The one.
    pub a: usize,
    /// The other, behind it.
    pub b: usize,
    /// Pearson's correlation; `None` where one of them never changes.
    pub correlation: Option<f64>,
    /// The share of pixels where they are the same number.
    pub equal: f64,
}

impl ChannelStats {
    /// For so many channels.
    pub fn new(channels: usize) -> Self {
        Self {
            channels,
            pixels: 0,
            zeros: vec![0; channels],
            means: vec![0.0; channels],
            products: vec![0.0; channels * channels],
            equal: vec![0; channels * channels],
            values: vec![0.0; channels],
            before: vec![0.0; channels],
            after: vec![0.0; channels],
        }
    }

    /// Counts the pixels of one sample, channel after channel. A last part that is no whole pixel is not counted.
    pub fn add(&mut self, scores: &[f32]) {
        let plane = scores.len().checked_div(self.channels).unwrap_or(0);
        for pixel in 0..plane {
            self.add_pixel(scores[pixel..].iter().step_by(plane).copied());
        }
    }

    /// Counts one pixel: its value in each channel. One that has too few is not counted.
    pub fn add_pixel(&mut self, values: impl Iterator<Item = f32>) {
        let mut filled = 0;
        for (slot, value) in self.values.iter_mut().zip(values) {
            *slot = value;
            filled += 1;
        }
        if filled < self.channels {
            return;
        }
        self.pixels += 1;
        // Welford's update: sums of raw products would lose the small deviations of large scores.
        let part = 1.0 / self.pixels as f64;
        for (c, &value) in self.values.iter().enumerate() {
            self.zeros[c] += u64::from(value == 0.0);
            self.before[c] = f64::from(value) - self.means[c];
            self.means[c] += self.before[c] * part;
            self.after[c] = f64::from(value) - self.means[c];
        }
        for c in 0..self.channels {
            let row = c * self.channels + c..(c + 1) * self.channels;
            let (before, value) = (self.before[c], self.values[c]);
            for (product, &after) in self.products[row.clone()].iter_mut().zip(&self.after[c..]) {
                *product += before * after;
            }
            for (equal, &other) in self.equal[row].iter_mut().zip(&self.values[c..]) {
                *equal += u64::from(value == other);
            }
        }
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Share of a channel's pixels that are exactly zero. `None` where nothing was counted.
    pub fn zero_share(&self, channel: usize) -> Option<f64> {
        ratio(*self.zeros.get(channel)?, self.pixels)
    }

    /// Pearson's correlation of two channels, -1 to 1. `None` where one of them never changes.
    pub fn correlation(&self, a: usize, b: usize) -> Option<f64> {
        if a >= self.channels || b >= self.channels {
            return None;
        }
        let at = |i: usize, j: usize| self.products[i.min(j) * self.channels + i.max(j)];
        let scale = (at(a, a) * at(b, b)).sqrt();
        (scale > 0.0 && scale.is_finite()).then(|| (at(a, b) / scale).clamp(-1.0, 1.0))
    }

    /// Share of pixels where two channels are the same number. `None` where nothing was counted.
    pub fn equal_share(&self, a: usize, b: usize) -> Option<f64> {
        if a >= self.channels || b >= self.channels {
            return None;
        }
        let at = a.min(b) * self.channels + a.max(b);
        ratio(self.equal[at], self.pixels)
    }

    /// The pairs of channels whose correlation, or share of equal pixels, is `least` or more.
    pub fn alike(&self, least: f64) -> Vec<Alike> {
        let pairs = (0..self.channels).flat_map(|a| (a + 1..self.channels).map(move |b| (a, b)));
        let of = |(a, b)| {
            Some(Alike {
                a,
                b,
                correlation: self.correlation(a, b),
                equal: self.equal_share(a, b)?,
            })
        };
        let alike =
            |pair: &Alike| pair.equal >= least || pair.correlation.is_some_and(|r| r >= least);
        pairs.filter_map(of).filter(alike).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_that_go_together_against_each_other_and_nowhere() {
        let mut stats = ChannelStats::new(4);
        // Two samples of two pixels; large offsets must not hide the correlation.
        stats.add(&[1e4, 1e4 + 1.0, 0.0, 2.0, 5.0, 4.0, 0.0, 0.0]);
        stats.add(&[1e4 + 2.0, 1e4 + 3.0, 4.0, 6.0, 3.0, 2.0, 0.0, 0.0]);
        let close = |a: Option<f64>, b: f64| (a.unwrap() - b).abs() < 1e-9;
        assert!(close(stats.correlation(0, 1), 1.0));
        assert!(close(stats.correlation(1, 2), -1.0));
        assert_eq!(stats.correlation(0, 3), None);
        assert_eq!(stats.correlation(0, 9), None);
        assert_eq!(stats.zero_share(1), Some(0.25));
        assert_eq!(stats.zero_share(3), Some(1.0));
        assert_eq!(stats.correlation(2, 1), stats.correlation(1, 2));
        assert_eq!(ChannelStats::new(1).zero_share(0), None);
        assert_eq!(ChannelStats::new(2).alike(0.99), []);
    }

    #[test]
    fn dead_channels_are_alike_though_nothing_correlates() {
        let mut stats = ChannelStats::new(3);
        stats.add(&[1.0, 2.0, 0.0, 0.0, 0.0, 0.0]);
        let alike = stats.alike(0.99);
        assert_eq!(alike.len(), 1);
        assert_eq!((alike[0].a, alike[0].b), (1, 2));
        assert_eq!((alike[0].correlation, alike[0].equal), (None, 1.0));
        assert_eq!(stats.equal_share(2, 1), Some(1.0));
        assert_eq!(stats.equal_share(0, 1), Some(0.0));
        // A pixel that is not whole.
        stats.add_pixel([1.0, 2.0].into_iter());
        assert_eq!(stats.zero_share(1), Some(1.0));
        stats.add_pixel([0.0, 5.0, 6.0].into_iter());
        assert_eq!(stats.zero_share(1), Some(2.0 / 3.0));
    }
}
