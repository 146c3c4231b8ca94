//! Average precision: how good a detector's scores are, over all thresholds.
//!
//! Source: Everingham et al., The PASCAL Visual Object Classes Challenge (2010), section 4.2 (11 points); the VOC
//! development kit of 2012 (the integral under the precision made monotonous).

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// How precisions at all recalls become one figure: `ap_version`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// The mean of the best precisions from recall 0, 0.1, … 1 on.
    ElevenPoint,
    /// Σ of what recall grows by, times the best precision from the detection before on.
    MaxIntegral,
    /// Σ of what recall grows by, times the precision there.
    #[default]
    Integral,
}

/// Every version by its word.
pub const VERSIONS: &[(&str, Version)] = &[
    ("11point", Version::ElevenPoint),
    ("MaxIntegral", Version::MaxIntegral),
    ("Integral", Version::Integral),
];

impl Version {
    /// By its word, as `ap_version` has it.
    ///
    /// # Errors
    /// `Param` where there is no such version.
    pub fn of(word: &str) -> Result<Self> {
        let found = VERSIONS.iter().find(|(name, _)| *name == word);
        found.map(|&(_, version)| version).ok_or_else(|| {
            Error::param("ap_version", format!("'{word}' is unknown"))
                .help("it is 11point, MaxIntegral or Integral")
        })
    }
}

/// Values of a row of DetectionEvaluate's top.
pub const ROW: usize = 5;

/// The average precision of one class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Class {
    /// Its number.
    pub class: i32,
    /// Objects of it.
    pub objects: u64,
    /// Its average precision; `None` where nothing of it was found.
    pub average: Option<f32>,
}

/// What is known of one blob of detections, over a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Objects of each class.
    objects: BTreeMap<i32, u64>,
    /// Score of each detection of a class, and whether it is right.
    found: BTreeMap<i32, Vec<(f32, bool)>>,
}

impl Tally {
    /// Adds rows as DetectionEvaluate makes them: (−1, class, objects, −1, −1) or (image, class, score, right, wrong).
    /// A last row that is not whole is not counted.
    pub fn add(&mut self, rows: &[f32]) {
        for row in rows.chunks_exact(ROW) {
            let (image, class) = (row[0] as i64, row[1] as i32);
            if image == -1 {
                *self.objects.entry(class).or_default() += row[2].max(0.0) as u64;
            } else if row[3] != 0.0 || row[4] != 0.0 {
                let found = self.found.entry(class).or_default();
                found.push((row[2], row[3] != 0.0));
            }
        }
    }

    /// Each class that objects were counted of, in order.
    pub fn classes(&self, version: Version) -> Vec<Class> {
        let of = |(&class, &objects): (&i32, &u64)| Class {
            class,
            objects,
            average: self
                .found
                .get(&class)
                .map(|found| average(&mut found.clone(), objects, version)),
        };
        self.objects.iter().map(of).collect()
    }
}

/// The mean over all classes; one that nothing was found of counts as 0.
fn mean(classes: &[Class]) -> f32 {
    let sum = classes.iter().filter_map(|class| class.average);
    sum.fold(0.0, |sum, average| sum + average) / classes.len().max(1) as f32
}

/// What was found of one blob of detections.
#[derive(Clone, Debug, PartialEq)]
pub struct Precision {
    /// The blob.
    pub blob: String,
    /// The mean over the classes.
    pub mean: f32,
    /// Each class that objects were counted of, in order.
    pub classes: Vec<Class>,
}

impl Precision {
    /// Of what was counted.
    pub fn new(blob: &str, tally: &Tally, version: Version) -> Self {
        let classes = tally.classes(version);
        Self {
            blob: blob.to_owned(),
            mean: mean(&classes),
            classes,
        }
    }

    /// Class and average precision; 0 where nothing was found.
    pub fn figures(&self) -> Vec<(i32, f64)> {
        // Eleven elevenths are a little more than 1 in f32.
        let of = |class: &Class| {
            (
                class.class,
                f64::from(class.average.unwrap_or(0.0)).min(1.0),
            )
        };
        self.classes.iter().map(of).collect()
    }
}

/// The average precision of one class.
fn average(found: &mut [(f32, bool)], objects: u64, version: Version) -> f32 {
    /// Recalls that differ by less are one.
    const EPS: f32 = 1e-6;
    if objects == 0 {
        return 0.0;
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut right = 0u64;
    // Precision and recall, detection by detection.
    let curve: Vec<(f32, f32)> = (1u64..)
        .zip(&*found)
        .map(|(n, &(_, hit))| {
            right += u64::from(hit);
            (right as f32 / n as f32, right as f32 / objects as f32)
        })
        .collect();
    match version {
        Version::ElevenPoint => {
            let best = |j: u8| {
                let least = f64::from(j) / 10.0;
                let there = curve
                    .iter()
                    .filter(|(_, recall)| f64::from(*recall) >= least);
                there.fold(0.0f32, |best, (precision, _)| best.max(*precision))
            };
            (0..=10).rev().map(|j| best(j) / 11.0).sum()
        }
        Version::MaxIntegral => {
            let mut sum = 0.0;
            let (mut best, mut recall) = (0.0f32, curve.last().map_or(0.0, |last| last.1));
            for &(precision, here) in curve.iter().rev() {
                best = best.max(precision);
                if recall - here > EPS {
                    sum += best * (recall - here);
                }
                recall = here;
            }
            sum + recall * best
        }
        Version::Integral => {
            let (mut sum, mut before) = (0.0, 0.0);
            for &(precision, recall) in &curve {
                if recall - before > EPS {
                    sum += precision * (recall - before);
                }
                before = recall;
            }
            sum
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four objects; right, wrong, right, right, wrong: precision 1, 1/2, 2/3, 3/4, 3/5 at recall 1/4, 1/4, 1/2, 3/4, 3/4.
    const FOUND: [(f32, bool); 5] = [
        (0.5, false),
        (0.9, true),
        (0.8, false),
        (0.6, true),
        (0.7, true),
    ];

    #[test]
    fn three_versions() {
        for (version, want) in [
            // From recall 0, 0.1, 0.2 on 1; from 0.3 to 0.7 on 3/4; then nothing.
            (Version::ElevenPoint, (3.0 + 5.0 * 0.75) / 11.0),
            (Version::MaxIntegral, 0.25 + 0.5 * 0.75),
            (Version::Integral, 0.25 + 0.25 * 2.0 / 3.0 + 0.25 * 0.75),
        ] {
            let got = average(&mut FOUND.clone(), 4, version);
            assert!((got - want).abs() < 1e-6, "{version:?}: {got}, not {want}");
            assert_eq!(average(&mut FOUND.clone(), 0, version), 0.0);
            assert_eq!(average(&mut [], 3, version), 0.0);
            let all = average(&mut [(0.1, true)], 1, version);
            assert!((all - 1.0).abs() < 1e-6, "{version:?}: {all}");
        }
    }

    #[test]
    fn rows_of_several_passes() {
        let mut tally = Tally::default();
        tally.add(
            [
                [-1.0, 1.0, 1.0, -1.0, -1.0],
                [-1.0, 2.0, 0.0, -1.0, -1.0],
                [0.0, 1.0, 0.9, 1.0, 0.0],
                [0.0, 1.0, 0.8, 0.0, 0.0],
            ]
            .as_flattened(),
        );
        tally.add([[-1.0, 1.0, 1.0, -1.0, -1.0], [-1.0, 2.0, 3.0, -1.0, -1.0]].as_flattened());
        assert_eq!(tally.objects, BTreeMap::from([(1, 2), (2, 3)]));
        assert_eq!(tally.found[&1], [(0.9, true)]);
        // 1/2 for class 1, nothing for class 2.
        let classes = tally.classes(Version::Integral);
        let of = |class, objects, average| Class {
            class,
            objects,
            average,
        };
        assert_eq!(classes, [of(1, 2, Some(0.5)), of(2, 3, None)]);
        let all = Precision::new("eval", &tally, Version::Integral);
        assert_eq!((all.mean, all.figures()), (0.25, vec![(1, 0.5), (2, 0.0)]));
        assert_eq!(mean(&[]), 0.0);
    }

    #[test]
    fn words() {
        assert_eq!(Version::of("11point").unwrap(), Version::ElevenPoint);
        assert_eq!(
            Version::of("12point").unwrap_err().field(),
            Some("ap_version")
        );
    }
}
