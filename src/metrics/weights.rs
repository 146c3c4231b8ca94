//! Weights of classes from how often they come.
//!
//! Source of the median: Eigen and Fergus, Predicting Depth, Surface Normals and Semantic Labels with a Common
//! Multi-Scale Convolutional Architecture (2015), section 4.3; SegNet uses it.

/// The median of the frequencies over each class's own, and 1 for a class that never occurs. A frequency is the labels
/// of a class over `around`, the labels that it is a share of: those of the images where it occurs, or all.
pub fn by_median_frequency(labels: &[u64], around: &[u64]) -> Vec<f32> {
    let each = labels.iter().zip(around);
    let frequencies: Vec<f64> = each.map(|(&n, &of)| n as f64 / of.max(1) as f64).collect();
    let occur = frequencies.iter().copied().filter(|&f| f > 0.0);
    let median = median(occur.collect());
    let weight = |f: f64| if f > 0.0 { (median / f) as f32 } else { 1.0 };
    frequencies.into_iter().map(weight).collect()
}

/// 1 over the frequency, such that the mean weight of all labels is 1, and 1 for a class that never occurs.
pub fn by_inverse_frequency(labels: &[u64]) -> Vec<f32> {
    let total: u64 = labels.iter().sum();
    let present = labels.iter().filter(|&&n| n > 0).count();
    let each = total as f64 / present.max(1) as f64;
    let weight = |&n: &u64| if n > 0 { (each / n as f64) as f32 } else { 1.0 };
    labels.iter().map(weight).collect()
}

/// The middle value; the mean of the two in the middle where they are even in number; 1 of none.
fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    match of.len() {
        0 => 1.0,
        n if n % 2 == 1 => of[n / 2],
        n => (of[n / 2 - 1] + of[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Frequencies 0.6, 0.15 and 0.5.
        let weights = by_median_frequency(&[12, 3, 5, 0], &[20, 20, 10, 0]);
        assert_eq!(weights, [0.5 / 0.6, 0.5 / 0.15, 1.0, 1.0].map(|w| w as f32));
        assert_eq!(by_inverse_frequency(&[1, 3, 0]), [2.0, 2.0 / 3.0, 1.0]);
        assert_eq!(by_median_frequency(&[0], &[0]), [1.0]);
    }

    #[test]
    fn the_median() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        assert_eq!(median(vec![]), 1.0);
    }
}
