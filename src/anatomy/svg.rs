//! A drawing as SVG: boxes, arrows of smooth lines, shapes beside them.

use std::fmt::Write as _;

use super::{
    drawing::{Direction, Drawing, Figure},
    layout::{Layout, Spot, layout},
};
use crate::report::svg::escape;

/// The size of letters and lines of text.
const LETTER: f64 = 6.4;
const NAME: f64 = 12.0;
const LINE: f64 = 15.0;
const PAD: f64 = 9.0;
const MARGIN: f64 = 20.0;
/// The width of a letter beside an arrow.
const SMALL: f64 = 5.0;

/// The drawing as SVG.
pub fn svg(drawing: &Drawing) -> String {
    let right = drawing.direction == Direction::Right;
    let mut sizes: Vec<(f64, f64)> = drawing.figures.iter().map(extent).collect();
    // Outputs are small boxes without a border.
    for (_, blob, _) in &drawing.outputs {
        sizes.push((width(blob) + 2.0 * PAD, LINE + PAD));
    }
    // Where the drawing goes to the right, arrows carry their text between the boxes.
    let room = match right {
        true => ties(drawing).iter().fold(30.0, |most: f64, (.., text)| {
            most.max(text.chars().count() as f64 * SMALL - 20.0)
        }),
        false => 0.0,
    };
    if right {
        sizes
            .iter_mut()
            .for_each(|(w, h)| (*w, *h) = (*h, *w + room));
    }
    let pairs: Vec<(usize, usize)> = ties(drawing).iter().map(|t| (t.0, t.1)).collect();
    let made = layout(&sizes, &pairs);
    let at = |x: f64, y: f64| match right {
        true => (y + MARGIN, x + MARGIN),
        false => (x + MARGIN, y + MARGIN),
    };
    let (wide, high) = match right {
        true => (made.size.1, made.size.0),
        false => made.size,
    };
    // Text beside the outermost arrows.
    let (wide, high) = (wide + 2.0 * MARGIN + 60.0, high + 2.0 * MARGIN);
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide:.0}\" height=\"{high:.0}\" viewBox=\"0 0 {wide:.0} {high:.0}\" font-family=\"Helvetica, Arial, sans-serif\">"
    );
    let _ = writeln!(out, "<title>{}</title>", escape(&drawing.name));
    out += "<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0 L8 4 L0 8 z\" fill=\"#666\"/></marker></defs>\n";
    out += "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n";
    let room = right.then_some(room);
    arrows(&mut out, drawing, &made, &at, room);
    for (figure, spot) in drawing.figures.iter().zip(&made.boxes) {
        boxed(&mut out, figure, spot, &at, room);
    }
    for ((_, blob, _), spot) in drawing
        .outputs
        .iter()
        .zip(&made.boxes[drawing.figures.len()..])
    {
        let (x, y) = at(spot.x, spot.y + spot.height / 2.0);
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"{NAME}\" font-weight=\"600\" fill=\"#333\">{}</text>",
            y + 4.0,
            escape(blob)
        );
    }
    out += "</svg>\n";
    out
}

/// About how wide a text is.
fn width(text: &str) -> f64 {
    text.chars().count() as f64 * LETTER
}

fn extent(figure: &Figure) -> (f64, f64) {
    let widest = figure.lines.iter().fold(40.0f64, |w, l| {
        w.max(width(&l.name) * 1.05).max(width(&l.about) * 0.92)
    });
    let lines = 2.0 * figure.lines.len() as f64;
    (widest + 2.0 * PAD, lines * LINE + PAD)
}

fn boxed(
    out: &mut String,
    figure: &Figure,
    spot: &Spot,
    at: &dyn Fn(f64, f64) -> (f64, f64),
    room: Option<f64>,
) {
    let (mut w, mut h) = (spot.width, spot.height);
    let (x, y) = at(spot.x, spot.y + spot.height / 2.0);
    if let Some(room) = room {
        (w, h) = (spot.height - room, spot.width);
    }
    let (left, top) = (x - w / 2.0, y - h / 2.0);
    let (fill, line) = figure.family.colours();
    let _ = writeln!(
        out,
        "<g><rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" rx=\"5\" fill=\"{fill}\" stroke=\"{line}\"/>"
    );
    for (i, text) in figure.lines.iter().enumerate() {
        let start = top + PAD / 2.0 + 2.0 * LINE * i as f64;
        if i > 0 {
            let _ = writeln!(
                out,
                "<path d=\"M{left:.1} {0:.1} h{w:.1}\" stroke=\"{line}\" stroke-opacity=\"0.35\"/>",
                start + 1.0
            );
        }
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"{NAME}\" font-weight=\"600\" fill=\"#222\">{}</text>",
            start + LINE - 2.0,
            escape(&text.name)
        );
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"10.5\" fill=\"#444\">{}</text>",
            start + 2.0 * LINE - 3.0,
            escape(&text.about)
        );
    }
    out.push_str("</g>\n");
}

/// What is tied to what, outputs included, and the text beside the arrow: the blob's shape, and its name where that is
/// none of a layer that makes it.
fn ties(drawing: &Drawing) -> Vec<(usize, usize, String)> {
    let arrows = drawing.arrows.iter().map(|a| {
        let lines = &drawing.figures[a.from].lines;
        let text = match lines.iter().any(|l| l.name == a.blob) {
            true => a.shape.clone(),
            false => format!("{} {}", a.blob, a.shape),
        };
        (a.from, a.to, text)
    });
    let first = drawing.figures.len();
    let outputs = drawing.outputs.iter().enumerate();
    arrows
        .chain(outputs.map(|(i, (from, _, shape))| (*from, first + i, shape.clone())))
        .collect()
}

fn arrows(
    out: &mut String,
    drawing: &Drawing,
    made: &Layout,
    at: &dyn Fn(f64, f64) -> (f64, f64),
    room: Option<f64>,
) {
    let right = room.is_some();
    // A blob that several read is named once.
    let mut named: Vec<(usize, String)> = Vec::new();
    for ((from, to, text), bends) in ties(drawing).into_iter().zip(&made.bends) {
        let (a, b) = (&made.boxes[from], &made.boxes[to]);
        let gap = room.unwrap_or(0.0) / 2.0;
        let mut points = vec![(a.x, a.y + a.height - gap)];
        points.extend(bends);
        points.push((b.x, b.y + gap));
        let place = |&(x, y): &(f64, f64)| at(x, y);
        let (x, y) = place(&points[0]);
        let mut path = format!("M{x:.1} {y:.1}");
        for pair in points.windows(2) {
            let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
            let middle = (y0 + y1) / 2.0;
            let [c, d, e] = [(x0, middle), (x1, middle), (x1, y1)].map(|p| place(&p));
            let _ = write!(
                path,
                " C{:.1} {:.1} {:.1} {:.1} {:.1} {:.1}",
                c.0, c.1, d.0, d.1, e.0, e.1
            );
        }
        let _ = writeln!(
            out,
            "<path d=\"{path}\" fill=\"none\" stroke=\"#666\" marker-end=\"url(#tip)\"/>"
        );
        let key = (from, text);
        if named.contains(&key) {
            continue;
        }
        // Beside the arrow where it sets out, towards where it goes.
        let (x, y) = at(points[0].0, points[0].1);
        let side = if points[1].0 < points[0].0 - 1.0 {
            -1.0
        } else {
            1.0
        };
        let count = named.iter().filter(|n| n.0 == from).count() as f64;
        let (x, y, anchor) = match (right, side < 0.0) {
            (true, _) => (x + 4.0, y - 5.0 - 11.0 * count, "start"),
            (false, false) => (x + 5.0, y + 13.0 + 11.0 * count, "start"),
            (false, true) => (x - 5.0, y + 13.0 + 11.0 * count, "end"),
        };
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"9.5\" fill=\"#555\">{}</text>",
            escape(&key.1)
        );
        named.push(key);
    }
}
