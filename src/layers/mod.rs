//! THE CATALOGUE of layers, in Caffe's families: one file a layer, one row in its family's table.

mod activation;
mod common;
mod data;
mod indices;
mod loss;
mod normalization;
mod utility;
mod vision;

use crate::{
    error::{Error, ErrorKind, Result},
    layer::LayerType,
    nearest::nearest,
};

/// All families.
pub const FAMILIES: &[&[&LayerType]] = &[
    data::TYPES,
    vision::TYPES,
    common::TYPES,
    normalization::TYPES,
    activation::TYPES,
    utility::TYPES,
    loss::TYPES,
];

/// Every layer type.
pub fn all() -> impl Iterator<Item = &'static LayerType> {
    FAMILIES.iter().copied().flatten().copied()
}

/// The type of this name.
///
/// # Errors
/// `Graph`, with the nearest known name, where there is none.
pub fn find(name: &str) -> Result<&'static LayerType> {
    all()
        .find(|kind| kind.name == name)
        .ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> Error {
    let error = Error::new(ErrorKind::Graph, format!("unknown layer type '{name}'"));
    match nearest(name, all().map(|kind| kind.name)) {
        Some(near) => error.help(format!("did you mean '{near}'?")),
        None if name == "Python" => error.help(
            "a Python layer is code of its own; cortado runs none. Replace it by layers of the catalogue",
        ),
        None => {
            let mut names: Vec<&str> = all().map(|kind| kind.name).collect();
            names.sort_unstable();
            error.help(format!("the types that exist are {}", names.join(", ")))
        }
    }
}
