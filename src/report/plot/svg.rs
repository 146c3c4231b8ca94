//! A plot as SVG, light or dark by what the reader prefers.

use std::fmt::Write as _;

use super::{
    COLORS, Sheet, WIDTH,
    shape::{Anchor, Ink, Shape, Stroke, Text},
};
use crate::report::svg::{escape, hex};

/// The sheet, with its own style; well-formed whatever the texts hold.
pub(super) fn sheet(sheet: &Sheet<'_>) -> String {
    let mut svg = head(sheet);
    let height = sheet.height();
    for (i, plot) in sheet.plots.iter().enumerate() {
        let _ = writeln!(svg, "<g transform=\"translate(0 {})\">", i as f64 * height);
        for shape in plot.shapes(height) {
            draw(&mut svg, &shape);
        }
        svg += "</g>\n";
    }
    svg + "</svg>\n"
}

fn head(sheet: &Sheet<'_>) -> String {
    let mut style = String::from(
        "text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}\
         .title{font-size:18px;font-weight:600}.paper{fill:#fff}.ink{fill:#1b1e23}.faint{fill:#596069}\
         .grid{stroke:#e2e5ea;fill:none}.axis{stroke:#8b929c;fill:none}\
         .mark{stroke:#596069;stroke-dasharray:5 4;fill:none}\
         .halo{paint-order:stroke;stroke:#fff;stroke-width:4px}\
         .line{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}\
         .dashed{stroke-dasharray:7 5}\
         .broad{stroke-width:6;stroke-opacity:.4}.dot{stroke:none}",
    );
    let mut dark = String::from(
        ".paper{fill:#17191d}.ink{fill:#eceef1}.faint{fill:#a9b0ba}.grid{stroke:#2c3037}\
         .axis{stroke:#6d747e}.mark{stroke:#a9b0ba}.halo{stroke:#17191d}",
    );
    for (i, &(light, night)) in COLORS.iter().enumerate() {
        for (style, color) in [(&mut style, light), (&mut dark, night)] {
            let color = hex(color);
            let _ = write!(
                style,
                ".line.c{i}{{stroke:{color}}}.dot.c{i}{{fill:{color}}}"
            );
        }
    }
    let all = |text: fn(&super::Plot) -> String| {
        let texts: Vec<String> = sheet.plots.iter().map(text).collect();
        escape(&texts.join(" "))
    };
    let height = sheet.height() * sheet.plots.len() as f64;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"title desc\">\n\
         <title id=\"title\">{}</title>\n<desc id=\"desc\">{}</desc>\n\
         <style>{style}@media (prefers-color-scheme:dark){{{dark}}}</style>\n\
         <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n",
        all(|plot| plot.title.clone()),
        all(super::Plot::describe),
    )
}

fn draw(svg: &mut String, shape: &Shape) {
    match shape {
        Shape::Line {
            points,
            ink,
            stroke,
        } => {
            let broad = match stroke {
                Stroke::Thin | Stroke::Curve => "",
                Stroke::Dashed => " dashed",
                Stroke::Broad => " broad",
            };
            let _ = write!(svg, "<path class=\"{}{broad}\" d=\"", class("line", *ink));
            for (n, (x, y)) in points.iter().enumerate() {
                let step = if n == 0 { 'M' } else { 'L' };
                let _ = write!(svg, "{step}{x:.1} {y:.1}");
            }
            svg.push_str("\"/>\n");
        }
        Shape::Dot {
            at: (x, y),
            radius,
            ink,
        } => {
            let class = class("dot", *ink);
            let _ = writeln!(
                svg,
                "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"/>"
            );
        }
        Shape::Text(text) => words(svg, text),
        Shape::Curve { name, parts } => {
            let _ = writeln!(svg, "<g><title>{}</title>", escape(name));
            for part in parts {
                draw(svg, part);
            }
            svg.push_str("</g>\n");
        }
    }
}

fn class(kind: &str, ink: Ink) -> String {
    match ink {
        Ink::Text => "ink".to_owned(),
        Ink::Faint => "faint".to_owned(),
        Ink::Grid => "grid".to_owned(),
        Ink::Axis => "axis".to_owned(),
        Ink::Mark => "mark".to_owned(),
        Ink::Curve(i) => format!("{kind} c{}", i % COLORS.len()),
    }
}

fn words(svg: &mut String, text: &Text) {
    let mut class = class("", text.ink);
    for (is, word) in [(text.title, " title"), (text.halo, " halo")] {
        if is {
            class += word;
        }
    }
    let (x, y) = text.at;
    let place = match text.turned {
        true => format!("transform=\"translate({x:.1} {y:.1}) rotate(-90)\""),
        false => format!("x=\"{x:.1}\" y=\"{y:.1}\""),
    };
    let anchor = match text.anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" {place} text-anchor=\"{anchor}\">{}</text>",
        escape(&text.text)
    );
}
