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
    let mut help = found.help.clone().unwrap_or_default();
    if let Some(edit) = found.edits.first() {
        help += &format!(" ('cortado check {} --fix' does it)", edit.file.display());
    }
    Finding {
        place: found.spot(),
        code: found.code.to_owned(),
        severity: found.severity,
        message: found.message,
        help,
        iteration: None,
    }
}
