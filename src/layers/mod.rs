//! THE CATALOGUE of layers, in Caffe's families: one file a layer, one row in its family's table.

mod activation;
mod common;
pub(crate) mod data;
mod detection;
mod indices;
mod loss;
mod normalization;
mod normalize;
mod python;
mod recurrent;
mod rows;
mod utility;
pub(crate) mod vision;
mod yolo;

use crate::{
    error::{Error, ErrorKind, Result},
    layer::LayerType,
    nearest::nearest,
    schema::LayerParameter,
};

/// All families.
pub const FAMILIES: &[&[&LayerType]] = &[
    data::TYPES,
    vision::TYPES,
    recurrent::TYPES,
    common::TYPES,
    normalization::TYPES,
    activation::TYPES,
    utility::TYPES,
    loss::TYPES,
    detection::TYPES,
    yolo::TYPES,
];

/// Every layer type.
pub fn all() -> impl Iterator<Item = &'static LayerType> {
    FAMILIES.iter().copied().flatten().copied()
}

/// Further names that forks give to a type.
const ALIASES: &[(&str, &str)] = &[("DiceLoss", "DiceCoefLoss"), ("HardSwish", "HSwish")];

/// The type of a layer: the one of its name, or what stands in for the Python layer that it names.
///
/// # Errors
/// As [`find`]; `Unsupported`, with module and class, for a Python layer that nothing stands in for.
pub fn of(param: &LayerParameter) -> Result<&'static LayerType> {
    match param.r#type() {
        "Python" => python::stand_in(param),
        name => find(name),
    }
}

/// The type of this name.
///
/// # Errors
/// `Graph`, with the nearest known name, where there is none.
pub fn find(name: &str) -> Result<&'static LayerType> {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    let name = alias.map_or(name, |&(_, name)| name);
    all()
        .find(|kind| kind.name == name)
        .ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> Error {
    if name.is_empty() {
        return Error::new(ErrorKind::Graph, "the layer has no type").help(
            "weights that come from .npz or HDF5 are no net: give the net's definition (.prototxt)",
        );
    }
    let error = Error::new(ErrorKind::Graph, format!("unknown layer type '{name}'"));
    match nearest(name, all().map(|kind| kind.name)) {
        Some(near) => error.help(format!("did you mean '{near}'?")),
        None => {
            let mut names: Vec<&str> = all().map(|kind| kind.name).collect();
            names.sort_unstable();
            error.help(format!("the types that exist are {}", names.join(", ")))
        }
    }
}
