//! What can be said of the files without the data: the findings of [`crate::check`].

use super::{Options, finding::Finding};
use crate::{check, error::Result};

/// The static findings about a solver and its nets.
///
/// # Errors
/// Where the solver's file cannot be read.
pub(super) fn check(options: &Options) -> Result<Vec<Finding>> {
    let how = check::Options {
        root: options.root.clone(),
        load: options.load,
        records: usize::try_from(options.records).unwrap_or(usize::MAX),
        ..check::Options::default()
    };
    let found = check::solver(&options.solver, &how)?;
    Ok(found.into_iter().map(taken).collect())
}

fn taken(found: check::Finding) -> Finding {
    Finding {
        place: found.spot(),
        code: found.code.to_owned(),
        severity: found.severity,
        message: found.message,
        help: found.help.unwrap_or_default(),
        iteration: None,
    }
}
