//! Who was taken for whom: figures of a classifier.
//!
//! All figures are sums over a whole run that are divided once, at the end. A mean of per-batch figures would weigh
//! a batch with three pixels of a class as much as one with three hundred.

/// How often which class was taken for which, over a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: usize,
    /// Row: truth; column: answer.
    counts: Vec<u64>,
}

impl ConfusionMatrix {
    /// An empty matrix for classes `0..classes`.
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            counts: vec![0; classes * classes],
        }
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Counts one pixel. A class that the matrix does not have is not counted: an ignored label, say.
    pub fn add(&mut self, truth: usize, answer: usize) {
        if truth < self.classes && answer < self.classes {
            self.counts[truth * self.classes + answer] += 1;
        }
    }

    /// Adds what another run counted.
    ///
    /// # Panics
    /// Where the number of classes differs.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.classes, other.classes, "matrices of the same classes");
        for (a, b) in self.counts.iter_mut().zip(&other.counts) {
            *a += b;
        }
    }

    /// Pixels of class `truth` that were taken for `answer`; 0 for classes that the matrix does not have.
    pub fn count(&self, truth: usize, answer: usize) -> u64 {
        if truth < self.classes && answer < self.classes {
            self.counts[truth * self.classes + answer]
        } else {
            0
        }
    }

    /// Pixels counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Pixels that are of this class.
    pub fn of_class(&self, class: usize) -> u64 {
        (0..self.classes).map(|a| self.count(class, a)).sum()
    }

    /// Pixels that were taken for this class.
    pub fn answered(&self, class: usize) -> u64 {
        (0..self.classes).map(|t| self.count(t, class)).sum()
    }

    /// Share of pixels that were answered right: Σ tp / all. `None` where nothing was counted.
    pub fn accuracy(&self) -> Option<f64> {
        ratio(
            (0..self.classes).map(|c| self.count(c, c)).sum(),
            self.total(),
        )
    }

    /// The accuracy of an answer that is always `class`. `None` where nothing was counted.
    pub fn accuracy_of_always(&self, class: usize) -> Option<f64> {
        ratio(self.of_class(class), self.total())
    }

    /// Share of a class's pixels that were found: tp / (tp + fn). `None` where the class has no pixel.
    pub fn recall(&self, class: usize) -> Option<f64> {
        ratio(self.count(class, class), self.of_class(class))
    }

    /// Share of the answers `class` that were right: tp / (tp + fp). `None` where that was never the answer.
    pub fn precision(&self, class: usize) -> Option<f64> {
        ratio(self.count(class, class), self.answered(class))
    }

    /// Intersection over union: tp / (tp + fp + fn). `None` where the class neither is there nor was answered.
    pub fn iou(&self, class: usize) -> Option<f64> {
        let hit = self.count(class, class);
        ratio(hit, self.of_class(class) + self.answered(class) - hit)
    }

    /// The mean of the IoU of these classes, those without any left out.
    pub fn mean_iou(&self, classes: impl IntoIterator<Item = usize>) -> Option<f64> {
        let found: Vec<f64> = classes.into_iter().filter_map(|c| self.iou(c)).collect();
        (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
    }
}

/// `None` where there is nothing to divide by.
pub(super) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The position of the largest value, the first of equals; NaN counts as the least. 0 for an empty iterator.
pub fn argmax(values: impl IntoIterator<Item = f32>) -> usize {
    let mut best = (0, f32::NEG_INFINITY);
    for (i, value) in values.into_iter().enumerate() {
        if value > best.1 {
            best = (i, value);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Truth 0 0 0 0 1 1 2, answer 0 0 0 1 1 0 1.
    fn matrix() -> ConfusionMatrix {
        let mut m = ConfusionMatrix::new(4);
        for (truth, answer) in [(0, 0), (0, 0), (0, 0), (0, 1), (1, 1), (1, 0), (2, 1)] {
            m.add(truth, answer);
        }
        m
    }

    #[test]
    fn figures_by_hand() {
        let m = matrix();
        assert_eq!(m.total(), 7);
        assert_eq!(m.accuracy(), Some(4.0 / 7.0));
        assert_eq!(m.accuracy_of_always(0), Some(4.0 / 7.0));
        assert_eq!(m.recall(0), Some(0.75));
        assert_eq!(m.recall(1), Some(0.5));
        assert_eq!(m.recall(2), Some(0.0));
        assert_eq!(m.precision(1), Some(1.0 / 3.0));
        assert_eq!(m.iou(0), Some(3.0 / 5.0));
        assert_eq!(m.iou(1), Some(1.0 / 4.0));
        assert_eq!(m.iou(2), Some(0.0));
        let mean = m.mean_iou(0..4).unwrap();
        assert!((mean - (0.6 + 0.25) / 3.0).abs() < 1e-12, "{mean}");
    }

    #[test]
    fn nothing_to_divide_by_is_none() {
        let m = matrix();
        assert_eq!(
            (m.recall(3), m.precision(2), m.iou(3), m.recall(9)),
            (None, None, None, None)
        );
        assert_eq!(ConfusionMatrix::new(2).accuracy(), None);
        assert_eq!(ConfusionMatrix::new(2).mean_iou(0..2), None);
    }

    #[test]
    fn an_ignored_label_is_not_counted() {
        let mut m = matrix();
        m.add(255, 0);
        assert_eq!(m, matrix());
    }

    #[test]
    fn sums_over_parts_are_the_sum_of_the_whole() {
        let mut m = matrix();
        m.merge(&matrix());
        assert_eq!(m.total(), 14);
        assert_eq!(m.iou(1), matrix().iou(1));
    }

    #[test]
    fn argmax_takes_the_first_of_equals_and_no_nan() {
        assert_eq!(argmax([0.0, 0.0]), 0);
        assert_eq!(argmax([f32::NAN, -1.0, 3.0, 3.0]), 2);
        assert_eq!(argmax([]), 0);
    }
}
