//! Whether samples come sorted by class: how often neighbours differ, against what shuffled samples would give.

use std::collections::BTreeMap;

use super::{
    super::{finding::Finding, table::short, wiring::Feed},
    survey::{Seen, Survey},
};
use crate::schema::Phase;

/// Fewer records say nothing.
const LEAST: usize = 20;
/// Sorted where so much of the expected changes of class is left, or less.
const RUNS: f64 = 0.5;
/// And where a batch sees so much of the classes that a shuffled one would, or less.
const CLASSES: f64 = 0.75;

/// Warns of a training set in the order of its classes.
pub(super) fn judge(feed: &Feed, survey: &Survey) -> Option<Finding> {
    if feed.phase != Phase::Train || survey.shuffled {
        return None;
    }
    // Pieces without gaps in between.
    let mut pieces: Vec<Vec<i64>> = Vec::new();
    for Seen { label, starts, .. } in &survey.records {
        let label = (*label)?;
        match pieces.last_mut() {
            Some(piece) if !starts => piece.push(label),
            _ => pieces.push(vec![label]),
        }
    }
    let order = Order::of(&pieces, survey.batch)?;
    if order.changes >= RUNS * order.changes_shuffled
        || order.classes >= CLASSES * order.classes_shuffled
    {
        return None;
    }
    let source = &survey.source;
    Some(
        Finding::new(
            "D014",
            format!(
                "'{source}' is sorted by class: {} samples of one class follow each other on average, shuffled it would be {}; a batch of {} sees {} of {} classes, shuffled {}",
                short(order.run()),
                short(order.run_shuffled()),
                survey.batch,
                short(order.classes),
                order.different,
                short(order.classes_shuffled),
            ),
        )
        .at(source)
        .help("shuffle when the database is written (convert_imageset -shuffle), with running numbers as keys"),
    )
}

#[derive(Debug, PartialEq)]
struct Order {
    records: f64,
    /// Neighbours of different classes.
    changes: f64,
    changes_shuffled: f64,
    /// In a batch, on average.
    classes: f64,
    classes_shuffled: f64,
    /// In all.
    different: usize,
}

impl Order {
    /// `None` for too few records, or one class.
    fn of(pieces: &[Vec<i64>], batch: usize) -> Option<Self> {
        let count: usize = pieces.iter().map(Vec::len).sum();
        let mut classes: BTreeMap<i64, usize> = BTreeMap::new();
        for &label in pieces.iter().flatten() {
            *classes.entry(label).or_default() += 1;
        }
        if count < LEAST || classes.len() < 2 || batch < 2 {
            return None;
        }
        // A class of each record is no class: labels to regress, or identities.
        if classes.len() * 2 > count {
            return None;
        }
        let shares: Vec<f64> = classes.values().map(|&n| n as f64 / count as f64).collect();
        let pairs: usize = pieces.iter().map(|p| p.len().saturating_sub(1)).sum();
        let changes = pieces.iter().flat_map(|p| p.windows(2));
        let changes = changes.filter(|pair| pair[0] != pair[1]).count();
        let differ = 1.0 - shares.iter().map(|p| p * p).sum::<f64>();
        // Batches that lie within a piece; a shorter piece is one.
        let (mut batches, mut seen) = (0usize, 0usize);
        let mut size = 0usize;
        for piece in pieces {
            let of = batch.min(piece.len()).max(1);
            for part in piece.chunks_exact(of) {
                let mut labels = part.to_vec();
                labels.sort_unstable();
                labels.dedup();
                seen += labels.len();
                batches += 1;
                size = size.max(of);
            }
        }
        let missing = |p: &f64| (1.0 - p).powf(size as f64);
        Some(Self {
            records: count as f64,
            changes: changes as f64,
            changes_shuffled: pairs as f64 * differ,
            classes: seen as f64 / batches.max(1) as f64,
            classes_shuffled: shares.iter().map(|p| 1.0 - missing(p)).sum(),
            different: classes.len(),
        })
    }

    fn run(&self) -> f64 {
        self.records / (self.changes + 1.0)
    }

    fn run_shuffled(&self) -> f64 {
        self.records / (self.changes_shuffled + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_against_shuffled() {
        let sorted: Vec<i64> = (0..100).map(|n| n / 25).collect();
        let order = Order::of(std::slice::from_ref(&sorted), 10).unwrap();
        assert_eq!((order.changes, order.different), (3.0, 4));
        assert_eq!(order.run(), 25.0);
        // Batches 3 and 8 hold two classes each.
        assert_eq!(order.classes, 1.2);
        assert!((order.classes_shuffled - 4.0 * (1.0 - 0.75f64.powi(10))).abs() < 1e-9);
        let mixed: Vec<i64> = (0..100).map(|n| (n * 7) % 4).collect();
        let order = Order::of(&[mixed], 10).unwrap();
        assert!(order.changes > order.changes_shuffled);
        assert_eq!(order.classes, 4.0);
    }

    #[test]
    fn what_cannot_be_told() {
        assert_eq!(Order::of(&[vec![0; 100]], 10), None);
        assert_eq!(Order::of(&[(0..10).collect()], 10), None);
        assert_eq!(Order::of(&[(0..100).collect()], 10), None);
    }
}
