//! What the tests of data layers share.

use std::path::Path;

use image::{ExtendedColorType, ImageEncoder as _, codecs::png::PngEncoder};

use crate::{
    layer::LayerDef,
    schema::{LayerParameter, Phase},
    text,
};

/// The definition of a training layer with so many tops.
pub(super) fn def(root: &Path, tops: usize, fields: &str) -> LayerDef {
    let source = text::Source::new("test", fields);
    let mut param = text::parse::<LayerParameter>("LayerParameter", &source)
        .unwrap()
        .message;
    param.top = (0..tops).map(|i| format!("top{i}")).collect();
    LayerDef {
        param,
        phase: Phase::Train,
        backward: true,
        root: root.to_owned(),
        seed: 1,
        index: 0,
    }
}

/// A PNG of these pixels, one byte or three of red, green, blue for each.
pub(super) fn png(width: u32, height: u32, pixels: &[u8]) -> Vec<u8> {
    let kind = match pixels.len() == (width * height) as usize {
        true => ExtendedColorType::L8,
        false => ExtendedColorType::Rgb8,
    };
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(pixels, width, height, kind)
        .unwrap();
    bytes
}
