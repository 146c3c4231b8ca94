//! What can be said of the files without the data: the findings of [`crate::check`].

use super::{Options, finding::Finding};
use crate::{check, error::Result};

/// What the doctor sees for itself, with the data and in training.
const SEEN_LATER: &[&str] = &["N061", "N064"];

/// The static findings about a solver and its nets.
///
/// # Errors
/// Where the solver's file cannot be read.
pub(super) fn check(options: &Options) -> Result<Vec<Finding>> {
    let how = check::Options {
        root: options.root.clone(),
        load: options.load,
        // The data is looked at, and the net run, by the doctor itself.
        probe: false,
        records: 0,
        ..check::Options::default()
    };
    let found = check::solver(&options.solver, &how)?.into_iter();
    let found = found.filter(|finding| !SEEN_LATER.contains(&finding.code));
    Ok(found
        .map(|finding| Finding {
            code: finding.code.to_owned(),
            severity: finding.severity,
            place: finding.spot(),
            message: finding.message,
            help: finding.help.unwrap_or_default(),
            iteration: None,
        })
        .collect())
}
