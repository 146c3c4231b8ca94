//! A plot as pixels, two for each of its units, on light paper.

use image::RgbImage;

use super::{
    COLORS, Sheet, WIDTH,
    shape::{Anchor, Ink, Place, Shape, Stroke, Text},
};
use crate::report::{
    lettering::{self, Pen},
    palette::{Rgb, blend},
};

/// Pixels for each unit.
const SCALE: f64 = 2.0;
const PAPER: Rgb = [255; 3];

/// The sheet as a picture.
pub(super) fn sheet(sheet: &Sheet<'_>) -> RgbImage {
    let height = sheet.height();
    let all = height * sheet.plots.len() as f64;
    let size = |units: f64| (units * SCALE) as u32;
    let mut image = RgbImage::from_pixel(size(WIDTH), size(all), image::Rgb(PAPER));
    for (i, plot) in sheet.plots.iter().enumerate() {
        let mut canvas = Canvas {
            image: &mut image,
            down: i as f64 * height,
        };
        for shape in plot.shapes(height) {
            canvas.draw(&shape);
        }
    }
    image
}

fn color(ink: Ink) -> Rgb {
    match ink {
        Ink::Text => [0x1b, 0x1e, 0x23],
        Ink::Faint | Ink::Mark => [0x59, 0x60, 0x69],
        Ink::Grid => [0xe2, 0xe5, 0xea],
        Ink::Axis => [0x8b, 0x92, 0x9c],
        Ink::Curve(i) => COLORS[i % COLORS.len()].0,
    }
}

struct Canvas<'a> {
    image: &'a mut RgbImage,
    /// Where the plot begins, in units.
    down: f64,
}

impl Canvas<'_> {
    fn pixel(&self, (x, y): Place) -> [f32; 2] {
        [(x * SCALE) as f32, ((y + self.down) * SCALE) as f32]
    }

    fn draw(&mut self, shape: &Shape) {
        match shape {
            Shape::Line {
                points,
                ink,
                stroke,
            } => self.line(points, *ink, *stroke),
            Shape::Dot { at, radius, ink } => {
                let at = self.pixel(*at);
                let half = (radius * SCALE) as f32;
                lettering::stroke(self.image, at, at, half, color(*ink));
            }
            Shape::Text(text) => self.words(text),
            Shape::Curve { parts, .. } => {
                for part in parts {
                    self.draw(part);
                }
            }
        }
    }

    fn line(&mut self, points: &[Place], ink: Ink, stroke: Stroke) {
        let (width, dashes) = match stroke {
            Stroke::Thin => (1.0, (ink == Ink::Mark).then_some([5.0, 4.0])),
            Stroke::Curve => (1.8, None),
            Stroke::Dashed => (1.8, Some([7.0, 5.0])),
            Stroke::Broad => (6.0, None),
        };
        let half = (width * SCALE / 2.0) as f32;
        let color = match stroke {
            Stroke::Broad => blend(PAPER, color(ink), 0.4),
            _ => color(ink),
        };
        let segments: Vec<[Place; 2]> = match dashes {
            Some(dashes) => dashed(points, dashes),
            None => points.windows(2).map(|pair| [pair[0], pair[1]]).collect(),
        };
        for [a, b] in segments {
            let mut ends = [self.pixel(a), self.pixel(b)];
            if stroke == Stroke::Thin {
                // Thin lines are as thin as they can be where they cover whole pixels.
                ends = ends.map(|end| end.map(f32::round));
            }
            lettering::stroke(self.image, ends[0], ends[1], half, color);
        }
    }

    fn words(&mut self, text: &Text) {
        // A capital is about 0.68 of a font's size high.
        let size = if text.title { 18.0 } else { 13.0 };
        let scale = (size * SCALE * 0.68 / f64::from(lettering::HEIGHT)) as f32;
        let room = match text.turned {
            true => self.image.height(),
            false => self.image.width(),
        };
        let words = lettering::fit(&text.text, scale, room);
        let back = match text.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => 0.5,
            Anchor::End => 1.0,
        } * lettering::width(&words, scale) as f32;
        let [x, y] = self.pixel(text.at);
        let up = lettering::HEIGHT * scale;
        let corner = match text.turned {
            true => [x - up, y + back],
            false => [x - back, y - up],
        };
        let mut pen = Pen {
            scale,
            half: scale * 0.5,
            color: color(text.ink),
            upwards: text.turned,
        };
        if text.halo {
            let ink = pen.color;
            (pen.half, pen.color) = (pen.half + (2.0 * SCALE) as f32, PAPER);
            lettering::write_with(self.image, &words, corner, &pen);
            (pen.half, pen.color) = (scale * 0.5, ink);
        }
        lettering::write_with(self.image, &words, corner, &pen);
    }
}

/// A line cut into dashes of `[ink, gap]` units.
fn dashed(points: &[Place], pattern: [f64; 2]) -> Vec<[Place; 2]> {
    let mut dashes = Vec::new();
    // Which part of the pattern it is, and what is left of that.
    let (mut part, mut left) = (0, pattern[0]);
    for pair in points.windows(2) {
        let [a, b] = [pair[0], pair[1]];
        let length = (b.0 - a.0).hypot(b.1 - a.1);
        let place = |t: f64| (a.0 + (b.0 - a.0) * t, a.1 + (b.1 - a.1) * t);
        let mut gone = 0.0;
        while gone < length {
            let end = (gone + left).min(length);
            if part == 0 {
                dashes.push([place(gone / length), place(end / length)]);
            }
            left -= end - gone;
            gone = end;
            if left <= 1e-9 {
                part = 1 - part;
                left = pattern[part];
            }
        }
    }
    dashes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_run_on_round_a_corner() {
        let line = [(0.0, 0.0), (4.0, 0.0), (4.0, 6.0)];
        let dashes = dashed(&line, [3.0, 2.0]);
        assert_eq!(dashes, [[(0.0, 0.0), (3.0, 0.0)], [(4.0, 1.0), (4.0, 4.0)]]);
        assert!(dashed(&[(1.0, 1.0)], [3.0, 2.0]).is_empty());
        assert!(dashed(&[(1.0, 1.0); 2], [3.0, 2.0]).is_empty());
    }
}
