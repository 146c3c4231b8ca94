//! Pictures of the test set that are in the training set too.

use std::collections::HashMap;

use super::{
    super::{finding::Finding, table::percent},
    survey::Survey,
};
use crate::events::Severity;

/// Compares the pictures of two surveys. Pictures of one colour are left out: they are alike anyway.
pub(super) fn judge(train: &Survey, test: &Survey) -> Option<Finding> {
    if train.records.is_empty() || test.records.is_empty() {
        return None;
    }
    if train.source == test.source {
        return Some(
            Finding::new(
                "D015",
                format!(
                    "TRAIN and TEST read the same pictures, '{}': a test says nothing about new ones",
                    train.source
                ),
            )
            .with_severity(Severity::Note)
            .at(&test.source)
            .help("keep a part of the pictures for the test alone"),
        );
    }
    let known: HashMap<u64, &str> = (train.records.iter().rev())
        .filter(|seen| !seen.flat)
        .map(|seen| (seen.hash, seen.key.as_str()))
        .collect();
    let twins: Vec<(&str, &str)> = (test.records.iter())
        .filter(|seen| !seen.flat)
        .filter_map(|seen| Some((seen.key.as_str(), *known.get(&seen.hash)?)))
        .collect();
    let &(first, other) = twins.first()?;
    let share = twins.len() as f64 / test.records.len() as f64;
    Some(
        Finding::new(
            "D015",
            format!(
                "{} of {} test pictures looked at ({}) are in the training set too, to the last pixel: '{first}' of '{}' is '{other}' of '{}'",
                twins.len(),
                test.records.len(),
                percent(share),
                test.source,
                train.source
            ),
        )
        .at(&test.source)
        .help("take them out of one of the sets: what a test says about them was learned by heart"),
    )
}
