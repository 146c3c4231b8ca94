//! Curves: axes with round numbers and a legend, as SVG and as pixels.

mod raster;
mod scale;
mod shape;
mod svg;
mod ticks;

use std::{fmt::Write as _, slice};

use image::RgbImage;

use super::palette::Rgb;
use scale::{Scale, extent};
use shape::{Anchor, Ink, Shape, Stroke, Text};

/// A picture of curves.
#[derive(Clone, Debug, Default)]
pub struct Plot {
    /// Over everything.
    pub title: String,
    /// What runs to the right.
    pub x_label: String,
    /// What runs upwards.
    pub y_label: String,
    /// The curves.
    pub series: Vec<Series>,
    /// Upwards by factors; values of 0 and less are then left out.
    pub log_y: bool,
    /// The first curve is broad and pale, so that it is seen under others that run over it.
    pub overlay: bool,
    /// Upright lines with a word.
    pub marks: Vec<Mark>,
}

/// One curve.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// In the legend.
    pub name: String,
    /// In their order. What is not finite leaves a gap.
    pub points: Vec<(f64, f64)>,
    /// Which colour it has, where that is not its place among the curves.
    pub hue: Option<usize>,
    /// In dashes.
    pub dashed: bool,
}

/// An upright line.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Where.
    pub x: f64,
    /// What stands beside it.
    pub label: String,
}

const WIDTH: f64 = 960.0;
/// A plot that stands alone, and one of several.
const HEIGHT: f64 = 540.0;
const LOWER: f64 = 400.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 28.0;
const BOTTOM: f64 = 62.0;
/// Curves of so few points show each.
const FEW: usize = 60;

/// Colours that differ for every common kind of colour blindness (after Okabe and Ito), for light and for dark paper.
const COLORS: [(Rgb, Rgb); 8] = [
    ([0x00, 0x72, 0xb2], [0x5a, 0xb4, 0xef]),
    ([0xd5, 0x5e, 0x00], [0xff, 0x91, 0x47]),
    ([0x00, 0x85, 0x5f], [0x2f, 0xcf, 0x9f]),
    ([0xb0, 0x47, 0x8a], [0xea, 0x9f, 0xca]),
    ([0x8a, 0x6d, 0x00], [0xf0, 0xc9, 0x45]),
    ([0x4b, 0x4d, 0xed], [0xa3, 0xa5, 0xff]),
    ([0xa0, 0x20, 0x20], [0xff, 0x80, 0x80]),
    ([0x4d, 0x55, 0x60], [0xc3, 0xca, 0xd4]),
];

/// Plots under each other.
struct Sheet<'a> {
    plots: &'a [Plot],
}

impl Sheet<'_> {
    /// Of each plot.
    fn height(&self) -> f64 {
        if self.plots.len() > 1 { LOWER } else { HEIGHT }
    }
}

/// Plots under each other as one SVG, 960 units wide, with its own style; well-formed whatever the texts hold.
pub fn to_svg(plots: &[Plot]) -> String {
    svg::sheet(&Sheet { plots })
}

/// Plots under each other as one picture, 1920 pixels wide. Letters that are not ASCII are boxes.
pub fn to_picture(plots: &[Plot]) -> RgbImage {
    raster::sheet(&Sheet { plots })
}

impl Plot {
    /// The plot alone as SVG, 960 × 540 units.
    pub fn to_svg(&self) -> String {
        to_svg(slice::from_ref(self))
    }

    /// What it is made of, at this height.
    fn shapes(&self, height: f64) -> Vec<Shape> {
        let rows = self.legend_rows();
        let top = 56.0 + 24.0 * rows.len() as f64;
        let bottom = height - BOTTOM;
        let finite =
            |&(x, y): &(f64, f64)| x.is_finite() && y.is_finite() && (!self.log_y || y > 0.0);
        let points = || {
            let all = self.series.iter().flat_map(|s| &s.points);
            all.filter(|p| finite(p))
        };
        let x = Scale::new(extent(points().map(|p| p.0)), (LEFT, WIDTH - RIGHT), false);
        let y = Scale::new(extent(points().map(|p| p.1)), (bottom, top), self.log_y).aired(0.04);

        let mut title = Text::new((LEFT, 32.0), &self.title, Ink::Text, Anchor::Start);
        title.title = true;
        let mut shapes = vec![Shape::Text(title)];
        self.axes(&mut shapes, &x, &y, (top, bottom));
        for mark in &self.marks {
            let Some(at) = x.place(mark.x) else {
                continue;
            };
            let (anchor, beside) = match at > WIDTH * 0.7 {
                true => (Anchor::End, at - 6.0),
                false => (Anchor::Start, at + 6.0),
            };
            let mut word = Text::new((beside, top + 16.0), &mark.label, Ink::Text, anchor);
            word.halo = true;
            shapes.push(thin(vec![(at, top), (at, bottom)], Ink::Mark));
            shapes.push(Shape::Text(word));
        }
        for (i, series) in self.series.iter().enumerate() {
            shapes.push(self.curve(i, series, &x, &y));
        }
        for (row, entries) in rows.iter().enumerate() {
            let y = 60.0 + 24.0 * row as f64;
            for &(i, at) in entries {
                let series = &self.series[i];
                shapes.push(Shape::Line {
                    points: vec![(at, y - 4.5), (at + 22.0, y - 4.5)],
                    ink: ink(i, series),
                    stroke: self.stroke(i, series),
                });
                let name = Text::new((at + 30.0, y), &series.name, Ink::Text, Anchor::Start);
                shapes.push(Shape::Text(name));
            }
        }
        shapes
    }

    fn stroke(&self, i: usize, series: &Series) -> Stroke {
        match (self.overlay && i == 0, series.dashed) {
            (true, _) => Stroke::Broad,
            (false, true) => Stroke::Dashed,
            (false, false) => Stroke::Curve,
        }
    }

    /// Which entry of the legend stands where, in rows.
    fn legend_rows(&self) -> Vec<Vec<(usize, f64)>> {
        let mut rows: Vec<Vec<(usize, f64)>> = vec![Vec::new()];
        let mut at = LEFT;
        for (i, series) in self.series.iter().enumerate() {
            // Letters of a proportional font are about 0.55 of its size wide.
            let wide = 30.0 + 7.8 * series.name.chars().count() as f64 + 26.0;
            if at + wide > WIDTH - RIGHT && at > LEFT {
                rows.push(Vec::new());
                at = LEFT;
            }
            if let Some(row) = rows.last_mut() {
                row.push((i, at));
            }
            at += wide;
        }
        rows
    }

    /// The curves in words, for who cannot see them.
    fn describe(&self) -> String {
        let mut text = format!("{} against {}.", self.y_label, self.x_label);
        for series in &self.series {
            let _ = write!(text, " {}: ", series.name);
            let first = series.points.iter().find(|p| p.1.is_finite());
            let last = series.points.iter().rfind(|p| p.1.is_finite());
            match (first, last) {
                (Some(first), Some(last)) => {
                    let _ = write!(
                        text,
                        "{} points, from {} at {} to {} at {}.",
                        series.points.len(),
                        number(first.1),
                        number(first.0),
                        number(last.1),
                        number(last.0)
                    );
                }
                _ => text += "no points.",
            }
        }
        for mark in &self.marks {
            let _ = write!(text, " At {}: {}.", number(mark.x), mark.label);
        }
        text
    }

    fn axes(&self, shapes: &mut Vec<Shape>, x: &Scale, y: &Scale, (top, bottom): (f64, f64)) {
        let right = WIDTH - RIGHT;
        let within = |at: &f64, low: f64, high: f64| (low - 1.0..=high + 1.0).contains(at);
        for tick in y.ticks(6) {
            if let Some(at) = y.place(tick).filter(|at| within(at, top, bottom)) {
                shapes.push(thin(vec![(LEFT, at), (right, at)], Ink::Grid));
                let place = (LEFT - 10.0, at + 4.5);
                let tick = Text::new(place, number(tick), Ink::Faint, Anchor::End);
                shapes.push(Shape::Text(tick));
            }
        }
        for tick in x.ticks(8) {
            if let Some(at) = x.place(tick).filter(|at| within(at, LEFT, right)) {
                shapes.push(thin(vec![(at, bottom), (at, bottom + 5.0)], Ink::Axis));
                let place = (at, bottom + 21.0);
                let tick = Text::new(place, number(tick), Ink::Faint, Anchor::Middle);
                shapes.push(Shape::Text(tick));
            }
        }
        let frame = vec![(LEFT, top), (LEFT, bottom), (right, bottom)];
        shapes.push(thin(frame, Ink::Axis));
        let across = ((LEFT + right) / 2.0, bottom + BOTTOM - 16.0);
        shapes.push(Shape::Text(Text::new(
            across,
            &self.x_label,
            Ink::Text,
            Anchor::Middle,
        )));
        let up = (20.0, (top + bottom) / 2.0);
        let mut label = Text::new(up, &self.y_label, Ink::Text, Anchor::Middle);
        label.turned = true;
        shapes.push(Shape::Text(label));
    }

    fn curve(&self, i: usize, series: &Series, x: &Scale, y: &Scale) -> Shape {
        let placed = series
            .points
            .iter()
            .map(|&(a, b)| Some((x.place(a)?, y.place(b)?)));
        let few = series.points.len() <= FEW;
        let (ink, stroke) = (ink(i, series), self.stroke(i, series));
        let mut parts = Vec::new();
        for run in runs(placed) {
            if let [at] = run[..] {
                parts.push(Shape::Dot {
                    at,
                    radius: 3.0,
                    ink,
                });
                continue;
            }
            parts.push(Shape::Line {
                points: thinned(&run),
                ink,
                stroke,
            });
            if few && stroke != Stroke::Broad {
                parts.extend(run.iter().map(|&at| Shape::Dot {
                    at,
                    radius: 2.4,
                    ink,
                }));
            }
        }
        Shape::Curve {
            name: series.name.clone(),
            parts,
        }
    }
}

fn ink(i: usize, series: &Series) -> Ink {
    Ink::Curve(series.hue.unwrap_or(i))
}

fn thin(points: Vec<(f64, f64)>, ink: Ink) -> Shape {
    Shape::Line {
        points,
        ink,
        stroke: Stroke::Thin,
    }
}

fn number(value: f64) -> String {
    crate::number::general(value + 0.0, 6)
}

/// Points without a gap between them.
fn runs(points: impl Iterator<Item = Option<(f64, f64)>>) -> Vec<Vec<(f64, f64)>> {
    let mut runs = vec![Vec::new()];
    for point in points {
        match (point, runs.last_mut()) {
            (Some(point), Some(run)) => run.push(point),
            (None, Some(run)) if !run.is_empty() => runs.push(Vec::new()),
            _ => {}
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

/// The same line with at most the first, lowest, highest and last point for each half unit of width.
fn thinned(run: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let column = |x: f64| (x * 2.0).floor();
    let mut kept = Vec::new();
    for group in run.chunk_by(|a, b| column(a.0) == column(b.0)) {
        if group.len() <= 4 {
            kept.extend_from_slice(group);
            continue;
        }
        let mut indices = [0; 4];
        for (i, point) in group.iter().enumerate() {
            if point.1 < group[indices[1]].1 {
                indices[1] = i;
            }
            if point.1 > group[indices[2]].1 {
                indices[2] = i;
            }
        }
        indices[3] = group.len() - 1;
        indices.sort_unstable();
        kept.extend(indices.iter().map(|&i| group[i]));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(f64, f64)>) -> Plot {
        Plot {
            title: "loss <of> a & b".into(),
            x_label: "iteration".into(),
            y_label: "loss".into(),
            series: vec![Series {
                name: "a \"quoted\"".into(),
                points,
                ..Series::default()
            }],
            ..Plot::default()
        }
    }

    #[test]
    fn curves_run_from_corner_to_corner() {
        let svg = plot(vec![(0.0, 0.0), (100.0, 1.0)]).to_svg();
        assert!(svg.contains("loss &lt;of&gt; a &amp; b"), "{svg}");
        assert!(svg.contains("d=\"M84.0 463.3L932.0 94.7\""), "{svg}");
        assert!(svg.contains("2 points, from 0 at 0 to 1 at 100."));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert!(svg.contains(">20</text>") && svg.contains(">0.4</text>"));
    }

    #[test]
    fn gaps_dots_and_nothing_at_all() {
        let nan = f64::NAN;
        let svg = plot(vec![(0.0, 1.0), (1.0, nan), (2.0, 1.0), (3.0, 2.0)]).to_svg();
        assert_eq!(svg.matches("<path class=\"line c0\" d=\"M").count(), 2);
        assert_eq!(svg.matches("<circle").count(), 3);
        for points in [
            Vec::new(),
            vec![(0.0, nan)],
            vec![(1.0, 5.0)],
            vec![(f64::INFINITY, f64::NEG_INFINITY)],
            vec![(0.0, f64::MAX), (1.0, f64::MIN)],
        ] {
            let svg = plot(points).to_svg();
            assert!(!svg.contains("NaN") && svg.ends_with("</svg>\n"));
        }
    }

    #[test]
    fn pixels_show_what_the_svg_says() {
        let mut dashed = plot(vec![(0.0, 0.0), (100.0, 1.0)]);
        let whole = to_picture(slice::from_ref(&dashed));
        assert_eq!(whole.dimensions(), (1920, 1080));
        // The middle of the curve, at twice (84 + 932) / 2 and (463.3 + 94.7) / 2.
        let curve = COLORS[0].0;
        assert_eq!(whole.get_pixel(1016, 558).0, curve);
        assert_eq!(whole.get_pixel(1016, 300).0, [255; 3]);
        let count = |image: &RgbImage| image.pixels().filter(|p| p.0 == curve).count();
        dashed.series[0].dashed = true;
        let part = count(&to_picture(&[dashed.clone()])) as f64 / count(&whole) as f64;
        assert!((0.5..0.75).contains(&part), "{part}");
        // Two under each other are lower, and each has its curve.
        let two = to_picture(&[dashed.clone(), dashed]);
        assert_eq!(two.dimensions(), (1920, 1600));
        for half in [0, 800] {
            let part = image::imageops::crop_imm(&two, 0, half, 1920, 800).to_image();
            assert!(count(&part) > 1000);
        }
    }

    #[test]
    fn by_factors() {
        let mut plot = plot(vec![(0.0, 1e-3), (1.0, 0.0), (2.0, 1.0)]);
        plot.log_y = true;
        let svg = plot.to_svg();
        for tick in [">0.001<", ">0.01<", ">0.1<", ">1<"] {
            assert!(svg.contains(tick), "{tick} {svg}");
        }
    }

    #[test]
    fn long_curves_keep_their_extremes() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|i| (f64::from(i), 0.0)).collect();
        points[54_321].1 = 7.0;
        let thin = thinned(
            &points
                .iter()
                .map(|&(x, y)| (x / 200.0, y))
                .collect::<Vec<_>>(),
        );
        assert!(thin.len() < 4100, "{}", thin.len());
        assert!(thin.iter().any(|p| p.1 == 7.0));
    }
}
