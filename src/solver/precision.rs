//! Tests of detection: the mean average precision of what DetectionEvaluate says over all passes.

use crate::{
    error::{Error, Result},
    events::{Event, Observer},
    metrics::precision::{Class, Precision, ROW, Tally, Version},
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

impl Evaluation {
    /// # Errors
    /// `Param` where one of the words is unknown.
    pub(super) fn of(param: &SolverParameter) -> Result<Self> {
        match param.eval_type() {
            "classification" => Ok(Self::Means),
            "detection" => Ok(Self::Precision(Version::of(param.ap_version())?)),
            other => Err(Error::param("eval_type", format!("'{other}' is unknown"))
                .help("it is classification or detection")),
        }
    }
}

/// Adds the rows of one pass of the output `blob`.
///
/// # Errors
/// `Shape` where it has no such rows.
pub(super) fn add(tally: &mut Tally, blob: &str, view: View<'_>) -> Result<()> {
    if view.shape.dims().last() != Some(&ROW) {
        return Err(Error::shape(format!(
            "the test net's output '{blob}' has shape {}; with eval_type: \"detection\" every output has to be the top of a DetectionEvaluate, [1, 1, rows, {ROW}]",
            view.shape
        ))
        .help("give other outputs to a Silence layer, or leave eval_type out"));
    }
    tally.add(view.data);
    Ok(())
}

/// What a test found of one output. Tells the classes in Caffe's words: those that nothing was found of, and with
/// `each` the others, too.
pub(super) fn found(
    blob: &str,
    tally: &Tally,
    version: Version,
    each: bool,
    observer: &mut dyn Observer,
) -> Precision {
    let found = Precision::new(blob, tally, version);
    for Class { class, average, .. } in &found.classes {
        match average {
            None => observer.on(&Event::Warning(&format!(
                "Missing true_pos for label: {class}"
            ))),
            Some(average) if each => {
                observer.on(&Event::Note(&format!("class{class}: {}", g(*average))));
            }
            Some(_) => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    #[test]
    fn only_rows_of_evaluations() {
        let flat = Tensor::new([4], vec![0.0; 4]).unwrap();
        let error = add(&mut Tally::default(), "eval", flat.view()).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("output 'eval' has shape [4]"), "{error}");
    }

    #[test]
    fn what_is_told_of_the_classes() {
        let mut tally = Tally::default();
        let rows = [
            [-1.0, 1.0, 2.0, -1.0, -1.0],
            [-1.0, 2.0, 3.0, -1.0, -1.0],
            [0.0, 1.0, 0.9, 1.0, 0.0],
        ];
        tally.add(rows.as_flattened());
        let mut told = Vec::new();
        let mut observer = |event: &Event<'_>| told.push(format!("{event:?}"));
        let found = found("eval", &tally, Version::Integral, true, &mut observer);
        assert_eq!(found.mean, 0.25);
        assert_eq!(told.len(), 2);
        assert!(told[0].contains("class1: 0.5"), "{told:?}");
        assert!(told[1].contains("Missing true_pos for label: 2"));
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
