//! Tables and pictures of nets and runs.

pub mod attribution;
pub mod boxes;
pub mod channels;
pub mod compare;
pub mod curves;
pub mod filters;
pub mod gallery;
pub mod heatmap;
mod lettering;
pub mod log;
pub mod log_compare;
pub mod palette;
pub mod photo;
pub mod plot;
pub mod svg;

use std::io::Cursor;

use image::{ImageFormat, RgbImage};

use crate::error::{Error, Result};

/// A picture as the bytes of a PNG.
///
/// # Errors
/// `Data` where it has no pixels.
pub fn png(image: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    image
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(|e| Error::data(format!("cannot make a PNG: {e}")))?;
    Ok(bytes.into_inner())
}
