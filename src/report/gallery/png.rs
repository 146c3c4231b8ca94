//! A sheet as pixels.

use image::RgbImage;

use super::{FAINT, INK, Item, Layout, PAPER};
use crate::report::lettering;

pub(super) fn draw(layout: &Layout<'_>) -> RgbImage {
    let mut sheet =
        RgbImage::from_pixel(layout.width.max(1), layout.height.max(1), image::Rgb(PAPER));
    for item in &layout.items {
        match item {
            Item::Text {
                text,
                at,
                scale,
                faint,
            } => lettering::write(
                &mut sheet,
                text,
                *at,
                *scale,
                if *faint { FAINT } else { INK },
            ),
            Item::Image { panel, at } => {
                image::imageops::replace(&mut sheet, &panel.image, at.0.into(), at.1.into());
            }
            Item::Bar { palette, at, size } => {
                let last = size.0.saturating_sub(1).max(1) as f32;
                fill(&mut sheet, *at, *size, |x| palette.color(x as f32 / last));
            }
            Item::Swatch { color, at, side } => {
                // A rim, so that black is seen on dark paper.
                fill(&mut sheet, *at, (*side, *side), |_| FAINT);
                let inner = side.saturating_sub(2);
                fill(&mut sheet, (at.0 + 1, at.1 + 1), (inner, inner), |_| *color);
            }
        }
    }
    sheet
}

fn fill(sheet: &mut RgbImage, at: (u32, u32), size: (u32, u32), color: impl Fn(u32) -> [u8; 3]) {
    for y in 0..size.1 {
        for x in 0..size.0 {
            if let Some(pixel) = sheet.get_pixel_mut_checked(at.0 + x, at.1 + y) {
                pixel.0 = color(x);
            }
        }
    }
}
