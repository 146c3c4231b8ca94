//! Found things drawn on their picture.

use image::RgbImage;

use super::{lettering, palette::Rgb};

/// Draws the outline of a box with a caption at its upper left corner. `corners` are xmin, ymin, xmax and ymax in
/// pixels; what lies outside the picture is cut off.
pub fn draw(picture: &mut RgbImage, corners: [f32; 4], caption: &str, color: Rgb) {
    let (width, height) = picture.dimensions();
    if width == 0 || height == 0 || corners.iter().any(|c| c.is_nan()) {
        return;
    }
    let within = |v: f32, n: u32| v.round().clamp(0.0, (n - 1) as f32) as u32;
    let [left, top, right, bottom] = corners;
    let (left, right) = (within(left, width), within(right, width));
    let (top, bottom) = (within(top, height), within(bottom, height));
    let thick = 1 + width.max(height) / 400;
    let mut fill = |xs: std::ops::RangeInclusive<u32>, ys: std::ops::RangeInclusive<u32>| {
        for y in ys.clone().take_while(|&y| y < height) {
            for x in xs.clone().take_while(|&x| x < width) {
                picture.put_pixel(x, y, image::Rgb(color));
            }
        }
    };
    fill(left..=right, top..=(top + thick - 1).min(bottom));
    fill(
        left..=right,
        bottom.saturating_sub(thick - 1).max(top)..=bottom,
    );
    fill(left..=(left + thick - 1).min(right), top..=bottom);
    fill(
        right.saturating_sub(thick - 1).max(left)..=right,
        top..=bottom,
    );
    if caption.is_empty() {
        return;
    }
    let scale = (1 + width.max(height) / 600) as f32;
    let line = ((lettering::HEIGHT + 2.0) * scale) as u32;
    // Above the box where there is room, else inside it.
    let above = top.checked_sub(line).unwrap_or(top);
    let long = lettering::width(caption, scale) + 2 * scale as u32;
    fill(left..=left + long, above..=above + line);
    let bright = color.iter().map(|&c| u32::from(c)).sum::<u32>() > 380;
    let ink = if bright { [0; 3] } else { [255; 3] };
    let at = (left + scale as u32, above + scale as u32);
    lettering::write(picture, caption, at, scale, ink);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_and_nothing_inside() {
        let mut picture = RgbImage::new(20, 20);
        draw(&mut picture, [4.0, 5.0, 12.0, 15.0], "", [9, 8, 7]);
        let at = |x, y| picture.get_pixel(x, y).0;
        for (x, y) in [(4, 5), (12, 5), (4, 15), (12, 15), (8, 5), (4, 10)] {
            assert_eq!(at(x, y), [9, 8, 7], "{x} {y}");
        }
        assert_eq!(at(8, 10), [0; 3]);
        assert_eq!(at(3, 5), [0; 3]);
    }

    #[test]
    fn what_lies_outside_is_cut_off() {
        let mut picture = RgbImage::new(6, 6);
        draw(
            &mut picture,
            [-50.0, -1.0, 1e9, 3.0],
            "face 0.99",
            [255, 0, 0],
        );
        draw(&mut picture, [f32::NAN, 0.0, 1.0, 1.0], "x", [1; 3]);
        draw(&mut picture, [5.0, 5.0, 2.0, 2.0], "x", [0, 0, 255]);
        assert_eq!(picture.dimensions(), (6, 6));
        assert!(picture.pixels().any(|p| p.0 == [255, 0, 0]));
        draw(&mut RgbImage::new(0, 0), [0.0; 4], "x", [1; 3]);
    }
}
