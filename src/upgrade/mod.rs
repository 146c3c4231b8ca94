//! Old files to the current schema: each rule turns a message into another, as Caffe's own reader does on the fly.
//!
//! Three generations: V0 (`layers { layer { type: "conv" ... } }`), V1 (`layers { type: CONVOLUTION ... }`) and the
//! current one (`layer { type: "Convolution" ... }`), which itself has shed a few fields over time.

mod fields;
mod v0;
mod v1;

use std::path::Path;

use crate::{
    error::{Error, ErrorKind, Result},
    schema::{NetParameter, SolverParameter},
};

/// A net in current form.
#[derive(Clone, Debug)]
pub struct Upgraded {
    /// The net: `layers`, `input`, `input_shape` and `input_dim` are empty.
    pub net: NetParameter,
    /// For each layer of `net` its index in the file, for errors to point at; `None` for a layer that the upgrade added.
    pub origins: Vec<Option<usize>>,
    /// What was changed in a way that one may want to know, and what was lost; a sentence each.
    pub notes: Vec<String>,
}

/// Brings a net into current form, whatever its generation; a current net passes unchanged. For nets from text and for
/// stored weights alike.
///
/// # Errors
/// `Schema` where the net mixes generations, or names an old type or shape that does not exist.
pub fn net(mut net: NetParameter) -> Result<Upgraded> {
    let mut notes = Vec::new();
    let mut origins: Vec<Option<usize>>;
    if net.layers.is_empty() {
        origins = (0..net.layer.len()).map(Some).collect();
        fields::ignored_transforms(&net, &mut notes);
    } else {
        if !net.layer.is_empty() {
            return Err(Error::new(
                ErrorKind::Schema,
                "the net has both 'layer' and 'layers' blocks",
            )
            .help("write all as layer { type: \"Convolution\" ... }; 'layers' is the old form"));
        }
        origins = (0..net.layers.len()).map(Some).collect();
        if net.layers.iter().any(|layer| layer.layer.is_some()) {
            notes.push("the net is of Caffe's first generation (V0) and was upgraded".into());
            origins = v0::net(&mut net, &mut notes)?;
        } else {
            notes.push("the net is of Caffe's second generation (V1) and was upgraded".into());
        }
        fields::data_transforms(&mut net);
        v1::net(&mut net)?;
    }
    if fields::inputs(&mut net, &mut notes)? {
        origins.insert(0, None);
    }
    fields::batch_norms(&mut net);
    Ok(Upgraded {
        net,
        origins,
        notes,
    })
}

/// Brings a solver into current form; `file` is the path that it was read from. `solver_type` becomes `type`, and
/// `snapshot_prefix` is always set: by default the file's path without its extension; where it is a directory, the
/// file's name in it.
///
/// # Errors
/// `Schema` where both `type` and `solver_type` are set.
pub fn solver(mut solver: SolverParameter, file: &Path) -> Result<SolverParameter> {
    fields::solver_type(&mut solver)?;
    let directory = Path::new(solver.snapshot_prefix()).is_dir();
    fields::snapshot_prefix(&mut solver, file, directory);
    Ok(solver)
}
