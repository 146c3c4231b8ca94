//! A sheet as SVG.

use std::fmt::Write as _;

use super::{FAINT, Gallery, INK, Item, Layout, PAPER};
use crate::{
    error::Result,
    report::{
        lettering,
        svg::{escape, hex, png_url},
    },
};

pub(super) fn draw(gallery: &Gallery, layout: &Layout<'_>) -> Result<String> {
    let (width, height) = (layout.width, layout.height);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"title desc\">\n\
         <title id=\"title\">{}</title>\n<desc id=\"desc\">{}</desc>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"{}\"/>\n",
        escape(&gallery.title),
        escape(&describe(gallery)),
        hex(PAPER)
    );
    for item in &layout.items {
        match item {
            Item::Text {
                text,
                at,
                scale,
                faint,
            } => words(&mut svg, text, *at, *scale, *faint),
            Item::Image { panel, at } => {
                let title = match panel.note.as_str() {
                    "" => panel.caption.clone(),
                    note => format!("{}: {note}", panel.caption),
                };
                let _ = writeln!(
                    svg,
                    "<g role=\"img\"><title>{}</title><image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" href=\"{}\"/></g>",
                    escape(&title),
                    at.0,
                    at.1,
                    panel.image.width(),
                    panel.image.height(),
                    png_url(&panel.image)?
                );
            }
            Item::Bar { palette, at, size } => {
                svg += "<linearGradient id=\"bar\">";
                for i in 0..=24 {
                    let t = i as f32 / 24.0;
                    let color = hex(palette.color(t));
                    let _ = write!(svg, "<stop offset=\"{t}\" stop-color=\"{color}\"/>");
                }
                let _ = writeln!(
                    svg,
                    "</linearGradient>\n<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"url(#bar)\"/>",
                    at.0, at.1, size.0, size.1
                );
            }
            Item::Swatch { color, at, side } => {
                let _ = writeln!(
                    svg,
                    "<rect x=\"{}\" y=\"{}\" width=\"{side}\" height=\"{side}\" fill=\"{}\" stroke=\"{}\"/>",
                    at.0,
                    at.1,
                    hex(*color),
                    hex(FAINT)
                );
            }
        }
    }
    svg += "</svg>\n";
    Ok(svg)
}

/// The text is as wide as the layout has it, whatever font is there.
fn words(svg: &mut String, text: &str, (x, y): (u32, u32), scale: f32, faint: bool) {
    if text.is_empty() {
        return;
    }
    let width = text.chars().count() as f32 * lettering::ADVANCE * scale;
    let _ = writeln!(
        svg,
        "<text x=\"{x}\" y=\"{}\" font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" \
         font-size=\"{}\" textLength=\"{width}\" lengthAdjust=\"spacingAndGlyphs\" fill=\"{}\" xml:space=\"preserve\">{}</text>",
        y as f32 + lettering::HEIGHT * scale,
        scale * 9.6,
        hex(if faint { FAINT } else { INK }),
        escape(text)
    );
}

fn describe(gallery: &Gallery) -> String {
    let mut text = format!("{} pictures", gallery.panels.len());
    if let Some(bar) = &gallery.bar {
        let _ = write!(text, "; colours from {} to {}", bar.low, bar.high);
        if !bar.label.is_empty() {
            let _ = write!(text, " ({})", bar.label);
        }
    }
    if !gallery.subtitle.is_empty() {
        let _ = write!(text, "; {}", gallery.subtitle);
    }
    text
}
