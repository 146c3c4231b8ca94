//! What the channels of a blob have in common, summed over a run.

use super::confusion::ratio;

/// Sums over the values of channels, from which come shares of zeros and correlations.
#[derive(Clone, Debug)]
pub struct ChannelStats {
    channels: usize,
    pixels: u64,
    zeros: Vec<u64>,
    means: Vec<f64>,
    /// Σ (a - mean a)(b - mean b), row by row.
    products: Vec<f64>,
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
        }
    }

    /// Counts the pixels of one sample, channel after channel. A last part that is no whole pixel is not counted.
    pub fn add(&mut self, scores: &[f32]) {
        let plane = scores.len().checked_div(self.channels).unwrap_or(0);
        let mut before = vec![0.0f64; self.channels];
        let mut after = vec![0.0f64; self.channels];
        for pixel in 0..plane {
            self.pixels += 1;
            // Welford's update: sums of raw products would lose the small deviations of large scores.
            for c in 0..self.channels {
                let value = scores[c * plane + pixel];
                self.zeros[c] += u64::from(value == 0.0);
                before[c] = f64::from(value) - self.means[c];
                self.means[c] += before[c] / self.pixels as f64;
                after[c] = f64::from(value) - self.means[c];
            }
            for (row, &a) in self.products.chunks_exact_mut(self.channels).zip(&before) {
                for (product, &b) in row.iter_mut().zip(&after) {
                    *product += a * b;
                }
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
        let at = |i: usize, j: usize| self.products[i * self.channels + j];
        let scale = (at(a, a) * at(b, b)).sqrt();
        (scale > 0.0 && scale.is_finite()).then(|| (at(a, b) / scale).clamp(-1.0, 1.0))
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
        assert_eq!(ChannelStats::new(1).zero_share(0), None);
    }
}
