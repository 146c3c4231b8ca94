//! Tests of detection: the mean average precision of what DetectionEvaluate says over all passes.
//!
//! Source: Everingham et al., The PASCAL Visual Object Classes Challenge (2010), section 4.2 (11 points); the VOC
//! development kit of 2012 (the integral under the precision made monotonous).

use std::collections::BTreeMap;

use crate::{
    error::{Error, Result},
    events::{Event, Observer},
    number::g,
    schema::SolverParameter,
    tensor::View,
};

/// What a test makes of a net's outputs: `eval_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evaluation {
    /// The mean of each.
    Means,
    /// Mean average precision of each.
    Precision(Version),
}

/// How precisions at all recalls become one figure: `ap_version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// The mean of the best precisions from recall 0, 0.1, … 1 on.
    ElevenPoint,
    /// Σ of what recall grows by, times the best precision from the detection before on.
    MaxIntegral,
    /// Σ of what recall grows by, times the precision there.
    Integral,
}

impl Evaluation {
    /// # Errors
    /// `Param` where one of the words is unknown.
    pub(super) fn of(param: &SolverParameter) -> Result<Self> {
        match param.eval_type() {
            "classification" => Ok(Self::Means),
            "detection" => Ok(Self::Precision(match param.ap_version() {
                "11point" => Version::ElevenPoint,
                "MaxIntegral" => Version::MaxIntegral,
                "Integral" => Version::Integral,
                other => {
                    return Err(Error::param("ap_version", format!("'{other}' is unknown"))
                        .help("it is 11point, MaxIntegral or Integral"));
                }
            })),
            other => Err(Error::param("eval_type", format!("'{other}' is unknown"))
                .help("it is classification or detection")),
        }
    }
}

/// Values of a row of DetectionEvaluate's top.
const ROW: usize = 5;

/// What is known of one output.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Objects of each class.
    objects: BTreeMap<i64, u64>,
    /// Score of each detection of a class, and whether it is right.
    found: BTreeMap<i64, Vec<(f32, bool)>>,
}

impl Tally {
    /// Adds the rows of one pass of the output `blob`.
    ///
    /// # Errors
    /// `Shape` where it has no such rows.
    pub(super) fn add(&mut self, blob: &str, view: View<'_>) -> Result<()> {
        if view.shape.dims().last() != Some(&ROW) {
            return Err(Error::shape(format!(
                "the test net's output '{blob}' has shape {}; with eval_type: \"detection\" every output has to be the top of a DetectionEvaluate, [1, 1, rows, {ROW}]",
                view.shape
            ))
            .help("give other outputs to a Silence layer, or leave eval_type out"));
        }
        for row in view.data.chunks_exact(ROW) {
            let (image, class) = (row[0] as i64, row[1] as i64);
            if image == -1 {
                *self.objects.entry(class).or_default() += row[2].max(0.0) as u64;
            } else if row[3] != 0.0 || row[4] != 0.0 {
                let found = self.found.entry(class).or_default();
                found.push((row[2], row[3] != 0.0));
            }
        }
        Ok(())
    }

    /// The mean over all classes; with `each`, those are told, too.
    pub(super) fn mean(mut self, version: Version, each: bool, observer: &mut dyn Observer) -> f32 {
        let mut sum = 0.0;
        for (class, &objects) in &self.objects {
            let Some(found) = self.found.get_mut(class) else {
                let text = format!("Missing true_pos for label: {class}");
                observer.on(&Event::Warning(&text));
                continue;
            };
            let precision = average(found, objects, version);
            if each {
                observer.on(&Event::Note(&format!("class{class}: {}", g(precision))));
            }
            sum += precision;
        }
        sum / self.objects.len().max(1) as f32
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
    use crate::{events::Silent, tensor::Tensor};

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
        let rows = |rows: &[[f32; 5]]| {
            Tensor::new([1, 1, rows.len(), 5], rows.as_flattened().to_vec()).unwrap()
        };
        let first = rows(&[
            [-1.0, 1.0, 1.0, -1.0, -1.0],
            [-1.0, 2.0, 0.0, -1.0, -1.0],
            [0.0, 1.0, 0.9, 1.0, 0.0],
            [0.0, 1.0, 0.8, 0.0, 0.0],
        ]);
        let second = rows(&[[-1.0, 1.0, 1.0, -1.0, -1.0], [-1.0, 2.0, 3.0, -1.0, -1.0]]);
        let mut tally = Tally::default();
        tally.add("eval", first.view()).unwrap();
        tally.add("eval", second.view()).unwrap();
        assert_eq!(tally.objects, BTreeMap::from([(1, 2), (2, 3)]));
        assert_eq!(tally.found[&1], [(0.9, true)]);
        // 1/2 for class 1, nothing for class 2.
        let mean = tally.clone().mean(Version::Integral, true, &mut Silent);
        assert_eq!(mean, 0.25);
        let flat = Tensor::new([4], vec![0.0; 4]).unwrap();
        let error = tally.add("eval", flat.view()).unwrap_err().to_string();
        assert!(error.contains("output 'eval' has shape [4]"), "{error}");
    }

    #[test]
    fn words() {
        let param = |eval: &str, version: &str| SolverParameter {
            eval_type: Some(eval.to_owned()),
            ap_version: Some(version.to_owned()),
            ..SolverParameter::default()
        };
        let of = |eval, version| Evaluation::of(&param(eval, version));
        assert_eq!(of("classification", "").unwrap(), Evaluation::Means);
        let precision = of("detection", "11point").unwrap();
        assert_eq!(precision, Evaluation::Precision(Version::ElevenPoint));
        for (eval, version, field) in [
            ("detection", "12point", "ap_version"),
            ("x", "", "eval_type"),
        ] {
            let error = of(eval, version).unwrap_err();
            assert_eq!(error.field(), Some(field));
        }
    }
}
