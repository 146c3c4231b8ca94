//! Captions for pictures: letters on a grid of 5 × 9, drawn as round strokes between neighbouring points, so that no font
//! has to be installed and any size looks smooth.

use image::RgbImage;

use super::palette::{Rgb, blend};

/// Width of a letter with the gap after it, in points of the grid.
pub(super) const ADVANCE: f32 = 6.0;
/// Height of a capital, in points of the grid; letters like g go [`DESCENT`] below it.
pub(super) const HEIGHT: f32 = 7.0;
/// What letters like g need below the line.
pub(super) const DESCENT: f32 = 2.0;

/// Up to nine rows, the leftmost of five points in bit 4.
#[rustfmt::skip]
fn glyph(letter: char) -> &'static [u8] {
    match letter {
        ' ' => &[],
        'A' => &[0x0e, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11],
        'B' => &[0x1e, 0x11, 0x11, 0x1e, 0x11, 0x11, 0x1e],
        'C' => &[0x0e, 0x11, 0x10, 0x10, 0x10, 0x11, 0x0e],
        'D' => &[0x1e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x1e],
        'E' => &[0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x1f],
        'F' => &[0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x10],
        'G' => &[0x0e, 0x11, 0x10, 0x17, 0x11, 0x11, 0x0f],
        'H' => &[0x11, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11],
        'I' => &[0x0e, 0x04, 0x04, 0x04, 0x04, 0x04, 0x0e],
        'J' => &[0x07, 0x02, 0x02, 0x02, 0x02, 0x12, 0x0c],
        'K' => &[0x11, 0x12, 0x14, 0x18, 0x14, 0x12, 0x11],
        'L' => &[0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x1f],
        'M' => &[0x11, 0x1b, 0x15, 0x15, 0x11, 0x11, 0x11],
        'N' => &[0x11, 0x19, 0x19, 0x15, 0x13, 0x13, 0x11],
        'O' => &[0x0e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e],
        'P' => &[0x1e, 0x11, 0x11, 0x1e, 0x10, 0x10, 0x10],
        'Q' => &[0x0e, 0x11, 0x11, 0x11, 0x15, 0x12, 0x0d],
        'R' => &[0x1e, 0x11, 0x11, 0x1e, 0x14, 0x12, 0x11],
        'S' => &[0x0f, 0x10, 0x10, 0x0e, 0x01, 0x01, 0x1e],
        'T' => &[0x1f, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04],
        'U' => &[0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e],
        'V' => &[0x11, 0x11, 0x11, 0x11, 0x0a, 0x0a, 0x04],
        'W' => &[0x11, 0x11, 0x11, 0x15, 0x15, 0x15, 0x0a],
        'X' => &[0x11, 0x11, 0x0a, 0x04, 0x0a, 0x11, 0x11],
        'Y' => &[0x11, 0x11, 0x0a, 0x04, 0x04, 0x04, 0x04],
        'Z' => &[0x1f, 0x01, 0x02, 0x04, 0x08, 0x10, 0x1f],
        '0' => &[0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e],
        '1' => &[0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e],
        '2' => &[0x0e, 0x11, 0x01, 0x02, 0x04, 0x08, 0x1f],
        '3' => &[0x1e, 0x01, 0x01, 0x0e, 0x01, 0x01, 0x1e],
        '4' => &[0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02],
        '5' => &[0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e],
        '6' => &[0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e],
        '7' => &[0x1f, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08],
        '8' => &[0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e],
        '9' => &[0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c],
        '.' => &[0, 0, 0, 0, 0, 0x0c, 0x0c],
        ',' => &[0, 0, 0, 0, 0x0c, 0x04, 0x08],
        ':' => &[0, 0x0c, 0x0c, 0, 0x0c, 0x0c, 0],
        '-' => &[0, 0, 0, 0x1f, 0, 0, 0],
        '_' => &[0, 0, 0, 0, 0, 0, 0x1f],
        '/' => &[0x01, 0x01, 0x02, 0x04, 0x08, 0x10, 0x10],
        '(' => &[0x02, 0x04, 0x08, 0x08, 0x08, 0x04, 0x02],
        ')' => &[0x08, 0x04, 0x02, 0x02, 0x02, 0x04, 0x08],
        '%' => &[0x18, 0x19, 0x02, 0x04, 0x08, 0x13, 0x03],
        'a' => &[0, 0, 0x0e, 0x01, 0x0f, 0x11, 0x0f],
        'b' => &[0x10, 0x10, 0x1e, 0x11, 0x11, 0x11, 0x1e],
        'c' => &[0, 0, 0x0e, 0x11, 0x10, 0x11, 0x0e],
        'd' => &[0x01, 0x01, 0x0f, 0x11, 0x11, 0x11, 0x0f],
        'e' => &[0, 0, 0x0e, 0x11, 0x1f, 0x10, 0x0e],
        'f' => &[0x06, 0x08, 0x1e, 0x08, 0x08, 0x08, 0x08],
        'g' => &[0, 0, 0x0f, 0x11, 0x11, 0x11, 0x0f, 0x01, 0x0e],
        'h' => &[0x10, 0x10, 0x1e, 0x11, 0x11, 0x11, 0x11],
        'i' => &[0x04, 0, 0x0c, 0x04, 0x04, 0x04, 0x0e],
        'j' => &[0x02, 0, 0x06, 0x02, 0x02, 0x02, 0x02, 0x12, 0x0c],
        'k' => &[0x10, 0x10, 0x12, 0x14, 0x18, 0x14, 0x12],
        'l' => &[0x0c, 0x04, 0x04, 0x04, 0x04, 0x04, 0x0e],
        'm' => &[0, 0, 0x1a, 0x15, 0x15, 0x15, 0x15],
        'n' => &[0, 0, 0x1e, 0x11, 0x11, 0x11, 0x11],
        'o' => &[0, 0, 0x0e, 0x11, 0x11, 0x11, 0x0e],
        'p' => &[0, 0, 0x1e, 0x11, 0x11, 0x11, 0x1e, 0x10, 0x10],
        'q' => &[0, 0, 0x0f, 0x11, 0x11, 0x11, 0x0f, 0x01, 0x01],
        'r' => &[0, 0, 0x16, 0x19, 0x10, 0x10, 0x10],
        's' => &[0, 0, 0x0f, 0x10, 0x0e, 0x01, 0x1e],
        't' => &[0x08, 0x08, 0x1e, 0x08, 0x08, 0x08, 0x06],
        'u' => &[0, 0, 0x11, 0x11, 0x11, 0x11, 0x0f],
        'v' => &[0, 0, 0x11, 0x11, 0x0a, 0x0a, 0x04],
        'w' => &[0, 0, 0x11, 0x11, 0x15, 0x15, 0x0a],
        'x' => &[0, 0, 0x11, 0x0a, 0x04, 0x0a, 0x11],
        'y' => &[0, 0, 0x11, 0x11, 0x11, 0x11, 0x0f, 0x01, 0x0e],
        'z' => &[0, 0, 0x1f, 0x02, 0x04, 0x08, 0x1f],
        '[' => &[0x0e, 0x08, 0x08, 0x08, 0x08, 0x08, 0x0e],
        ']' => &[0x0e, 0x02, 0x02, 0x02, 0x02, 0x02, 0x0e],
        '=' => &[0, 0, 0x1f, 0, 0x1f, 0, 0],
        '+' => &[0, 0x04, 0x04, 0x1f, 0x04, 0x04, 0],
        '#' => &[0x0a, 0x0a, 0x1f, 0x0a, 0x1f, 0x0a, 0x0a],
        '<' => &[0x02, 0x04, 0x08, 0x10, 0x08, 0x04, 0x02],
        '>' => &[0x08, 0x04, 0x02, 0x01, 0x02, 0x04, 0x08],
        '*' => &[0, 0x0a, 0x04, 0x1f, 0x04, 0x0a, 0],
        '\'' => &[0x04, 0x04, 0x08, 0, 0, 0, 0],
        '"' => &[0x0a, 0x0a, 0, 0, 0, 0, 0],
        '!' => &[0x04, 0x04, 0x04, 0x04, 0x04, 0, 0x04],
        '?' => &[0x0e, 0x11, 0x01, 0x02, 0x04, 0, 0x04],
        '|' => &[0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04],
        '&' => &[0x0c, 0x12, 0x14, 0x08, 0x15, 0x12, 0x0d],
        ';' => &[0, 0x0c, 0x0c, 0, 0x0c, 0x04, 0x08],
        '@' => &[0x0e, 0x11, 0x17, 0x15, 0x17, 0x10, 0x0e],
        '~' => &[0, 0, 0x08, 0x15, 0x02, 0, 0],
        '^' => &[0x04, 0x0a, 0x11, 0, 0, 0, 0],
        '\\' => &[0x10, 0x10, 0x08, 0x04, 0x02, 0x01, 0x01],
        '×' => &[0, 0, 0x11, 0x0a, 0x04, 0x0a, 0x11],
        '…' => &[0, 0, 0, 0, 0, 0, 0x15],
        _ => &[0x1f, 0x11, 0x11, 0x11, 0x11, 0x11, 0x1f],
    }
}

/// How many pixels wide a text is where a point of the grid is `scale` pixels.
pub(super) fn width(text: &str, scale: f32) -> u32 {
    (text.chars().count() as f32 * ADVANCE * scale)
        .ceil()
        .min(1e9) as u32
}

/// The longest beginning of a text that is not wider than `room` pixels, with an ellipsis where something is left out.
pub(super) fn fit(text: &str, scale: f32, room: u32) -> String {
    if width(text, scale) <= room {
        return text.to_owned();
    }
    let letters = (room as f32 / (ADVANCE * scale)).floor() as usize;
    let mut short: String = text.chars().take(letters.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// What a text is written with.
pub(super) struct Pen {
    /// Pixels between points of the grid.
    pub(super) scale: f32,
    /// Half the thickness of a stroke, in pixels.
    pub(super) half: f32,
    /// The colour.
    pub(super) color: Rgb,
    /// The text runs upwards; its upper left corner is then at the lower left.
    pub(super) upwards: bool,
}

/// Writes a text with its upper left corner at `(x, y)`; what lies outside the picture is cut off. A letter that is
/// not known is a box.
pub(super) fn write(image: &mut RgbImage, text: &str, (x, y): (u32, u32), scale: f32, color: Rgb) {
    let pen = Pen {
        scale,
        half: scale * 0.5,
        color,
        upwards: false,
    };
    write_with(image, text, [x as f32, y as f32], &pen);
}

/// [`write`] with any pen, from any place.
pub(super) fn write_with(image: &mut RgbImage, text: &str, [x, y]: [f32; 2], pen: &Pen) {
    let room = image.width().max(image.height()) as f32;
    for (i, letter) in text.chars().enumerate() {
        let along = i as f32 * ADVANCE * pen.scale;
        if along > room {
            break;
        }
        for (a, b) in strokes(glyph(letter)) {
            let place = |p: [u8; 2]| {
                let right = along + (f32::from(p[0]) + 0.5) * pen.scale;
                let down = (f32::from(p[1]) + 0.5) * pen.scale;
                match pen.upwards {
                    true => [x + down, y - right],
                    false => [x + right, y + down],
                }
            };
            stroke(image, place(a), place(b), pen.half, pen.color);
        }
    }
}

/// Lines between points of a letter that are neighbours; a diagonal only where no way round leads there, and a line
/// of length 0 for a point that stands alone.
fn strokes(rows: &[u8]) -> Vec<([u8; 2], [u8; 2])> {
    let lit = |x: i32, y: i32| {
        (0..5).contains(&x)
            && usize::try_from(y)
                .ok()
                .and_then(|y| rows.get(y))
                .is_some_and(|row| row >> (4 - x) & 1 == 1)
    };
    let mut lines = Vec::new();
    for y in 0..rows.len() as i32 {
        for x in (0..5).filter(|&x| lit(x, y)) {
            let point = |x: i32, y: i32| [x as u8, y as u8];
            let mut alone = true;
            for (dx, dy) in [
                (1, 0),
                (0, 1),
                (1, 1),
                (-1, 1),
                (-1, 0),
                (0, -1),
                (-1, -1),
                (1, -1),
            ] {
                let round = dx != 0 && dy != 0 && (lit(x + dx, y) || lit(x, y + dy));
                if !lit(x + dx, y + dy) || round {
                    continue;
                }
                alone = false;
                // Each line once: from its upper or left end.
                if dy > 0 || (dy == 0 && dx > 0) {
                    lines.push((point(x, y), point(x + dx, y + dy)));
                }
            }
            if alone {
                lines.push((point(x, y), point(x, y)));
            }
        }
    }
    lines
}

/// A line with round ends, smooth at its edges, `2 * half` pixels thick.
pub(super) fn stroke(image: &mut RgbImage, a: [f32; 2], b: [f32; 2], half: f32, color: Rgb) {
    let along = [b[0] - a[0], b[1] - a[1]];
    let length = along[0] * along[0] + along[1] * along[1];
    let span = |axis: usize, size: u32| {
        let low = (a[axis].min(b[axis]) - half - 1.0).max(0.0) as u32;
        let high = (a[axis].max(b[axis]) + half + 1.0).max(0.0) as u32;
        low..high.saturating_add(1).min(size)
    };
    let (width, height) = image.dimensions();
    for py in span(1, height) {
        for px in span(0, width) {
            let to = [px as f32 + 0.5 - a[0], py as f32 + 0.5 - a[1]];
            let t = if length > 0.0 {
                ((to[0] * along[0] + to[1] * along[1]) / length).clamp(0.0, 1.0)
            } else {
                0.0
            };
            let apart = (to[0] - t * along[0]).hypot(to[1] - t * along[1]);
            let cover = (half + 0.5 - apart).clamp(0.0, 1.0);
            if cover > 0.0
                && let Some(pixel) = image.get_pixel_mut_checked(px, py)
            {
                // Lines that meet must not be brighter or darker where they do.
                let mixed = blend(pixel.0, color, cover);
                let nearer = |old: u8, new: u8, ink: u8| {
                    if old.abs_diff(ink) < new.abs_diff(ink) {
                        old
                    } else {
                        new
                    }
                };
                pixel.0 = std::array::from_fn(|i| nearer(pixel.0[i], mixed[i], color[i]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_l_is_a_column_and_a_foot() {
        let mut image = RgbImage::new(12, 14);
        write(&mut image, "L", (0, 0), 2.0, [255; 3]);
        let lit = |x, y| image.get_pixel(x, y).0[0] > 200;
        assert!((1..13).all(|y| lit(0, y) && lit(1, y)));
        assert!((1..9).all(|x| lit(x, 12)));
        assert!((4..12).all(|x| !lit(x, 4)));
    }

    #[test]
    fn letters_differ() {
        let known = " !\"#%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_abcdefghijklmnopqrstuvwxyz|~";
        let mut seen = std::collections::HashMap::new();
        for letter in known.chars() {
            assert!(glyph(letter).len() <= 9);
            let before = seen.insert(glyph(letter), letter);
            assert_eq!(before, None, "{letter}");
        }
        assert_eq!(glyph('\u{1f600}'), glyph('\u{e9}'));
    }

    #[test]
    fn what_does_not_fit_is_cut_off() {
        let mut image = RgbImage::new(4, 4);
        write(&mut image, "wide", (2, 2), 3.0, [255; 3]);
        assert_eq!(width("wide", 3.0), 72);
        assert_eq!(fit("conv1_1", 1.0, 30), "conv…");
        assert_eq!(fit("conv1", 1.0, 30), "conv1");
    }
}
