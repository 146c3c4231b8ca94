//! Who was taken for whom: figures of a classifier.
//!
//! All figures are sums over a whole run that are divided once, at the end. A mean of per-batch figures would weigh
//! a batch with three pixels of a class as much as one with three hundred.

use std::collections::BTreeMap;

/// More classes than this have no matrix of their square: only the pairs that occur are held.
const DENSE: usize = 512;

/// Most pairs that are held one by one; every figure but [`ConfusionMatrix::count`] and
/// [`ConfusionMatrix::worst`] stays exact beyond.
const PAIRS: usize = 1 << 20;

/// How often which class was taken for which, over a run.
///
/// Memory grows with the classes' square up to 512 of them, beyond with the pairs that occur.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: usize,
    cells: Cells,
    /// By class: how many there are, how often it was answered, how often both.
    truths: Vec<u64>,
    answers: Vec<u64>,
    hits: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Cells {
    /// Row: truth; column: answer.
    All(Vec<u64>),
    /// By truth and answer.
    Some(BTreeMap<(usize, usize), u64>),
}

impl Default for Cells {
    fn default() -> Self {
        Self::All(Vec::new())
    }
}

impl ConfusionMatrix {
    /// An empty matrix for classes `0..classes`.
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            cells: match classes {
                0..=DENSE => Cells::All(vec![0; classes * classes]),
                _ => Cells::Some(BTreeMap::new()),
            },
            truths: vec![0; classes],
            answers: vec![0; classes],
            hits: vec![0; classes],
        }
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Counts one pixel. A class that the matrix does not have is not counted: an ignored label, say.
    pub fn add(&mut self, truth: usize, answer: usize) {
        self.add_many(truth, answer, 1);
    }

    /// Counts `n` pixels: see [`ConfusionMatrix::add`].
    pub fn add_many(&mut self, truth: usize, answer: usize, n: u64) {
        if truth >= self.classes || answer >= self.classes || n == 0 {
            return;
        }
        self.truths[truth] += n;
        self.answers[answer] += n;
        if truth == answer {
            self.hits[truth] += n;
        }
        match &mut self.cells {
            Cells::All(counts) => counts[truth * self.classes + answer] += n,
            Cells::Some(pairs) => {
                if pairs.len() < PAIRS {
                    *pairs.entry((truth, answer)).or_default() += n;
                } else if let Some(count) = pairs.get_mut(&(truth, answer)) {
                    *count += n;
                }
            }
        }
    }

    /// Adds what another run counted.
    ///
    /// # Panics
    /// Where the number of classes differs.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.classes, other.classes, "matrices of the same classes");
        let margins = [
            (&mut self.truths, &other.truths),
            (&mut self.answers, &other.answers),
            (&mut self.hits, &other.hits),
        ];
        for (into, from) in margins {
            for (a, b) in into.iter_mut().zip(from) {
                *a += b;
            }
        }
        match (&mut self.cells, &other.cells) {
            (Cells::All(into), Cells::All(from)) => {
                for (a, b) in into.iter_mut().zip(from) {
                    *a += b;
                }
            }
            (Cells::Some(into), Cells::Some(from)) => {
                for (&pair, &n) in from {
                    if into.len() < PAIRS || into.contains_key(&pair) {
                        *into.entry(pair).or_default() += n;
                    }
                }
            }
            _ => {}
        }
    }

    /// Pixels of class `truth` that were taken for `answer`; 0 for classes that the matrix does not have.
    pub fn count(&self, truth: usize, answer: usize) -> u64 {
        if truth >= self.classes || answer >= self.classes {
            return 0;
        }
        match &self.cells {
            Cells::All(counts) => counts[truth * self.classes + answer],
            Cells::Some(pairs) => pairs.get(&(truth, answer)).copied().unwrap_or(0),
        }
    }

    /// The commonest mistakes, at most `most` of them: truth, answer, how often; the commonest first, of equals the
    /// first by class.
    pub fn worst(&self, most: usize) -> Vec<(usize, usize, u64)> {
        let mut wrong: Vec<(usize, usize, u64)> = match &self.cells {
            Cells::All(counts) => {
                let at = |(i, &n): (usize, &u64)| (i / self.classes, i % self.classes, n);
                counts.iter().enumerate().map(at).collect()
            }
            Cells::Some(pairs) => pairs.iter().map(|(&(t, a), &n)| (t, a, n)).collect(),
        };
        wrong.retain(|&(truth, answer, n)| truth != answer && n > 0);
        // Stable: of equals the first stays first.
        wrong.sort_by_key(|&(.., n)| std::cmp::Reverse(n));
        wrong.truncate(most);
        wrong
    }

    /// Pixels counted.
    pub fn total(&self) -> u64 {
        self.truths.iter().sum()
    }

    /// Pixels that are of this class.
    pub fn of_class(&self, class: usize) -> u64 {
        self.truths.get(class).copied().unwrap_or(0)
    }

    /// Pixels that were taken for this class.
    pub fn answered(&self, class: usize) -> u64 {
        self.answers.get(class).copied().unwrap_or(0)
    }

    /// Share of pixels that were answered right: Σ tp / all. `None` where nothing was counted.
    pub fn accuracy(&self) -> Option<f64> {
        ratio(self.hits.iter().sum(), self.total())
    }

    /// The best that an answer can do which never looks: the commonest class, the first of equals, and its share.
    /// `None` where nothing was counted.
    pub fn constant(&self) -> Option<(usize, f64)> {
        let mut best = (0, 0);
        for (class, &n) in self.truths.iter().enumerate() {
            if n > best.1 {
                best = (class, n);
            }
        }
        Some((best.0, ratio(best.1, self.total())?))
    }

    /// The accuracy of an answer that is always `class`. `None` where nothing was counted.
    pub fn accuracy_of_always(&self, class: usize) -> Option<f64> {
        ratio(self.of_class(class), self.total())
    }

    /// Share of a class's pixels that were found: tp / (tp + fn). `None` where the class has no pixel.
    pub fn recall(&self, class: usize) -> Option<f64> {
        ratio(self.hit(class), self.of_class(class))
    }

    /// Share of the answers `class` that were right: tp / (tp + fp). `None` where that was never the answer.
    pub fn precision(&self, class: usize) -> Option<f64> {
        ratio(self.hit(class), self.answered(class))
    }

    /// Intersection over union: tp / (tp + fp + fn). `None` where the class neither is there nor was answered.
    pub fn iou(&self, class: usize) -> Option<f64> {
        let hit = self.hit(class);
        ratio(hit, self.of_class(class) + self.answered(class) - hit)
    }

    /// The mean of the IoU of these classes, those without any left out.
    pub fn mean_iou(&self, classes: impl IntoIterator<Item = usize>) -> Option<f64> {
        mean(classes.into_iter().filter_map(|c| self.iou(c)))
    }

    /// The mean of the recall of all classes that occur.
    pub fn mean_recall(&self) -> Option<f64> {
        mean((0..self.classes).filter_map(|c| self.recall(c)))
    }

    fn hit(&self, class: usize) -> u64 {
        self.hits.get(class).copied().unwrap_or(0)
    }
}

fn mean(of: impl Iterator<Item = f64>) -> Option<f64> {
    let (n, sum) = of.fold((0u64, 0.0), |(n, sum), x| (n + 1, sum + x));
    (n > 0).then(|| sum / n as f64)
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
    fn the_constant_answer_and_the_worst_pairs() {
        let m = matrix();
        assert_eq!(m.constant(), Some((0, 4.0 / 7.0)));
        assert_eq!(m.worst(2), [(0, 1, 1), (1, 0, 1)]);
        assert_eq!(m.worst(9).len(), 3);
        let recall = m.mean_recall().unwrap();
        assert!((recall - (0.75 + 0.5) / 3.0).abs() < 1e-12, "{recall}");
        assert_eq!(ConfusionMatrix::new(2).constant(), None);
        let mut tie = ConfusionMatrix::new(3);
        tie.add(2, 0);
        tie.add(1, 0);
        assert_eq!(tie.constant(), Some((1, 0.5)));
    }

    /// The same figures, held as pairs.
    #[test]
    fn many_classes_take_no_square() {
        let mut many = ConfusionMatrix::new(50_000);
        let mut few = ConfusionMatrix::new(50);
        for i in 0..2000usize {
            let (truth, answer) = (i * i % 50, i * 7 % 50);
            few.add(truth, answer);
            many.add(truth * 1000, answer * 1000);
        }
        let mut twice = many.clone();
        twice.merge(&many);
        assert_eq!(twice.total(), 4000);
        for class in 0..50 {
            assert_eq!(many.recall(class * 1000), few.recall(class));
            assert_eq!(many.precision(class * 1000), few.precision(class));
            assert_eq!(many.iou(class * 1000), few.iou(class));
            assert_eq!(twice.count(class * 1000, 0), 2 * few.count(class, 0));
        }
        assert_eq!(many.accuracy(), few.accuracy());
        assert_eq!(many.mean_recall(), few.mean_recall());
        let scaled =
            |m: Vec<(usize, usize, u64)>| m.into_iter().map(|(t, a, n)| (t * 1000, a * 1000, n));
        assert!(scaled(few.worst(5)).eq(many.worst(5)));
    }

    #[test]
    fn argmax_takes_the_first_of_equals_and_no_nan() {
        assert_eq!(argmax([0.0, 0.0]), 0);
        assert_eq!(argmax([f32::NAN, -1.0, 3.0, 3.0]), 2);
        assert_eq!(argmax([]), 0);
    }
}
