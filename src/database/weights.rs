//! How often classes come, and the weights that make up for it.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::Watch;
use crate::{
    error::{Error, Result},
    feed::{
        database::Database,
        datum::{Color, Pixels},
        record::Stored,
    },
    metrics::weights,
};

/// Pixels of each class, or records where a record has one class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassCounts {
    /// By class: its pixels, and all pixels of the records that it is in. Pixels that are ignored count in neither.
    pub classes: BTreeMap<u32, [u64; 2]>,
    /// Pixels in all.
    pub total: u64,
    /// Records.
    pub records: u64,
    /// Pixels that were ignored.
    pub ignored: u64,
}

impl ClassCounts {
    /// Counts a database: the pixels of its records, or their labels where `by_label`.
    ///
    /// # Errors
    /// `Data`, with the record, where it has more than one channel or a value that is no class.
    pub fn of(
        database: &mut Database,
        by_label: bool,
        ignored: Option<u32>,
        watch: &mut dyn Watch,
    ) -> Result<Self> {
        let chunk = 8 * crate::threads::count().max(1);
        let mut counts = Self::default();
        loop {
            let records = database.take(chunk)?;
            if records.is_empty() {
                return Ok(counts);
            }
            let each: Vec<Result<BTreeMap<u32, u64>>> = records
                .par_iter()
                .map(|(_, value)| classes(value, by_label))
                .collect();
            for (classes, (key, _)) in each.into_iter().zip(&records) {
                counts.add(classes.map_err(|e| e.at(database.place(key)))?, ignored);
            }
            watch.done(counts.records)?;
        }
    }

    fn add(&mut self, mut classes: BTreeMap<u32, u64>, ignored: Option<u32>) {
        self.records += 1;
        let left_out = ignored.and_then(|class| classes.remove(&class));
        self.ignored += left_out.unwrap_or(0);
        let total: u64 = classes.values().sum();
        self.total += total;
        for (class, count) in classes {
            let [pixels, beside] = self.classes.entry(class).or_default();
            *pixels += count;
            *beside += total;
        }
    }

    /// Pixels of each of the classes 0 to below `count`.
    pub fn pixels(&self, count: usize) -> Vec<u64> {
        self.each(count, 0)
    }

    /// Weights by median frequency of classes 0 to below `count`. A frequency is the share of the class among the pixels of
    /// the records that it is in, or, with `shared`, among all: the only one that differs where records have one class
    /// each.
    pub fn weights(&self, count: usize, shared: bool) -> Vec<f32> {
        let around = if shared {
            vec![self.total; count]
        } else {
            self.each(count, 1)
        };
        weights::by_median_frequency(&self.pixels(count), &around)
    }

    fn each(&self, count: usize, which: usize) -> Vec<u64> {
        let of = |class| self.classes.get(&class).map_or(0, |counts| counts[which]);
        (0..).take(count).map(of).collect()
    }
}

/// How often each class is in a record.
fn classes(value: &[u8], by_label: bool) -> Result<BTreeMap<u32, u64>> {
    let record = Stored::read(value)?;
    let no_class = |value: &dyn std::fmt::Display| {
        Error::data(format!(
            "the record has the value {value}, which is no class"
        ))
    };
    if by_label {
        let label = record.label();
        let class = u32::try_from(label).map_err(|_| no_class(&label))?;
        return Ok(BTreeMap::from([(class, 1)]));
    }
    let sample = record.sample(Color::AsStored)?;
    if sample.channels != 1 {
        return Err(Error::data(format!(
            "the record has {} channels; a label map has one",
            sample.channels
        ))
        .help("name the database of labels, or count the labels of images with --by_label"));
    }
    let mut classes = BTreeMap::new();
    match &sample.pixels {
        // Of three channels, and refused above.
        Pixels::Rgb(_) => {}
        Pixels::U8(bytes) => {
            let mut counts = [0u64; 256];
            bytes.iter().for_each(|&b| counts[usize::from(b)] += 1);
            let each = (0u32..).zip(counts);
            classes.extend(each.filter(|&(_, n)| n > 0));
        }
        Pixels::F32(values) => {
            for &value in values {
                let whole = value.fract() == 0.0 && (0.0..65536.0).contains(&value);
                if !whole {
                    return Err(no_class(&value));
                }
                *classes.entry(value as u32).or_default() += 1;
            }
        }
    }
    Ok(classes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_frequency_by_hand() {
        let mut counts = ClassCounts::default();
        // Class 2 is in the second map only.
        counts.add(BTreeMap::from([(0, 8), (1, 2), (255, 5)]), Some(255));
        counts.add(BTreeMap::from([(0, 4), (1, 1), (2, 5)]), Some(255));
        assert_eq!((counts.total, counts.ignored, counts.records), (20, 5, 2));
        assert_eq!(counts.pixels(4), [12, 3, 5, 0]);
        // Frequencies 12/20, 3/20 and 5/10; then 12/20, 3/20 and 5/20.
        let near = |found: Vec<f32>, wanted: [f32; 4]| {
            assert_eq!(found.len(), wanted.len());
            let mut pairs = found.iter().zip(wanted);
            assert!(pairs.all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        };
        near(counts.weights(4, false), [0.5 / 0.6, 0.5 / 0.15, 1.0, 1.0]);
        near(counts.weights(4, true), [0.25 / 0.6, 0.25 / 0.15, 1.0, 1.0]);
    }
}
