//! The database that a `data_param` names.

use std::path::Path;

use crate::{
    error::Result,
    feed::{open_database, source::Source},
    layer::LayerDef,
    schema::{DataParameter, data_parameter::Db},
};

/// Checks what can be said before anything is opened.
pub(super) fn check(def: &LayerDef, param: &DataParameter) -> Result<()> {
    if param.source().is_empty() {
        return Err(def.invalid("data_param.source", "names no database"));
    }
    Ok(())
}

/// Opens it; relative paths start at `root`.
pub(super) fn open(root: &Path, param: &DataParameter) -> Result<Box<dyn Source>> {
    let backend = param.backend.and_then(|b| Db::try_from(b).ok());
    open_database(root, param.source(), backend)
}
