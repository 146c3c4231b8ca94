//! Many small pictures on one sheet, each under its caption, as PNG or as SVG: one layout for both.

mod png;
mod svg;

use image::RgbImage;

use super::{
    lettering,
    palette::{Palette, Rgb},
};
use crate::error::{Error, Result};

/// A sheet of pictures.
#[derive(Clone, Debug, Default)]
pub struct Gallery {
    /// Over everything.
    pub title: String,
    /// Under the title, smaller.
    pub subtitle: String,
    /// In reading order.
    pub panels: Vec<Panel>,
    /// So many in a row; `None` leaves it to the layout.
    pub columns: Option<usize>,
    /// What the colours of values mean.
    pub bar: Option<Bar>,
    /// What the colours of classes mean.
    pub legend: Vec<(Rgb, String)>,
}

/// One picture of a sheet.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Over it.
    pub caption: String,
    /// Under it, fainter; may be empty.
    pub note: String,
    /// The picture, as large as it is shown.
    pub image: RgbImage,
}

impl Panel {
    /// A picture with a caption.
    pub fn new(caption: impl Into<String>, image: RgbImage) -> Self {
        Self {
            caption: caption.into(),
            note: String::new(),
            image,
        }
    }

    /// With a line under it.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

/// A bar of colours with the values at its ends.
#[derive(Clone, Debug)]
pub struct Bar {
    /// The colours.
    pub palette: Palette,
    /// What stands at the left end.
    pub low: String,
    /// What stands at the right end.
    pub high: String,
    /// What the values are.
    pub label: String,
}

impl Gallery {
    /// The sheet as PNG.
    ///
    /// # Errors
    /// `Shape` where it would be too large.
    pub fn png(&self) -> Result<Vec<u8>> {
        super::png(&png::draw(&self.layout()?))
    }

    /// The sheet as one picture.
    ///
    /// # Errors
    /// `Shape` where it would be too large.
    pub fn image(&self) -> Result<RgbImage> {
        Ok(png::draw(&self.layout()?))
    }

    /// The sheet as SVG: text as text, each picture embedded.
    ///
    /// # Errors
    /// `Shape` where it would be too large.
    pub fn svg(&self) -> Result<String> {
        svg::draw(self, &self.layout()?)
    }

    fn layout(&self) -> Result<Layout<'_>> {
        let mut layout = Layout::default();
        let mut y = MARGIN;
        for (text, scale, faint) in [(&self.title, TITLE, false), (&self.subtitle, CAPTION, true)] {
            if !text.is_empty() {
                layout.text(text.clone(), (MARGIN, y), scale, faint);
                y += line(scale) + GAP;
            }
        }
        y += GAP;
        y = self.lay_panels(&mut layout, y)?;
        let fits = layout.width.max(NARROW);
        if let Some(bar) = &self.bar {
            layout.bar(bar, y + GAP);
            y += GAP + line(CAPTION) + GAP;
        }
        if !self.legend.is_empty() {
            y = layout.legend(&self.legend, y + GAP, fits);
        }
        layout.height = y + MARGIN - GAP.min(MARGIN);
        layout.width += MARGIN;
        let pixels = u64::from(layout.width) * u64::from(layout.height);
        if layout.width > LARGEST || layout.height > LARGEST || pixels > 1 << 27 {
            return Err(Error::shape(format!(
                "a sheet of {} pictures would be {}x{} pixels",
                self.panels.len(),
                layout.width,
                layout.height
            ))
            .help("show fewer channels: --channels=0,1,2"));
        }
        Ok(layout)
    }

    /// Places the panels from `top` on; returns where they end.
    fn lay_panels<'a>(&'a self, layout: &mut Layout<'a>, top: u32) -> Result<u32> {
        let Some(first) = self.panels.first() else {
            return Ok(top);
        };
        let most = |size: fn(&Panel) -> u32| {
            let sizes = self.panels.iter().map(size);
            sizes.fold(size(first), u32::max)
        };
        let picture = most(|p| p.image.width());
        let height = most(|p| p.image.height());
        // Captions may be wider than a small picture, but do not tear the sheet apart.
        let room = picture.max(ROOM);
        let words =
            most(|p| lettering::width(&p.caption, CAPTION).max(lettering::width(&p.note, NOTE)));
        let cell = picture.max(words.min(room));
        let note = if self.panels.iter().any(|p| !p.note.is_empty()) {
            line(NOTE) + SMALL
        } else {
            0
        };
        let whole = line(CAPTION) + SMALL + height + note;
        let columns = match self.columns {
            Some(columns) => columns.clamp(1, self.panels.len()),
            None => columns(self.panels.len(), cell + GUTTER, whole + GUTTER),
        };
        let mut y = top;
        for row in self.panels.chunks(columns) {
            for (i, panel) in (0u32..).zip(row) {
                let x = i
                    .checked_mul(cell + GUTTER)
                    .and_then(|x| x.checked_add(MARGIN))
                    .filter(|&x| x < LARGEST * 2)
                    .ok_or_else(|| Error::shape("a row of pictures is too wide"))?;
                let caption = lettering::fit(&panel.caption, CAPTION, room);
                layout.text(caption, (x, y), CAPTION, false);
                let below = y + line(CAPTION) + SMALL;
                layout.image(panel, (x, below));
                if !panel.note.is_empty() {
                    let place = (x, below + panel.image.height() + SMALL + 1);
                    let text = lettering::fit(&panel.note, NOTE, room);
                    layout.text(text, place, NOTE, true);
                }
                layout.width = layout.width.max(x + cell);
            }
            y = y.saturating_add(whole + GUTTER);
        }
        Ok(y)
    }
}

const MARGIN: u32 = 18;
const GAP: u32 = 10;
const SMALL: u32 = 5;
const GUTTER: u32 = 16;
const TITLE: f32 = 2.25;
const CAPTION: f32 = 1.75;
const NOTE: f32 = 1.375;
/// How wide captions over small pictures may become.
const ROOM: u32 = 168;
/// What a sheet is at most.
const LARGEST: u32 = 1 << 14;
/// The width that rows are filled to.
const WIDE: u32 = 1480;
/// No legend is narrower.
const NARROW: u32 = 480;
const BAR: u32 = 220;

/// The paper.
pub(super) const PAPER: Rgb = [24, 26, 30];
/// What is written.
const INK: Rgb = [236, 237, 240];
/// What is written fainter.
const FAINT: Rgb = [166, 172, 182];

fn line(scale: f32) -> u32 {
    ((lettering::HEIGHT + lettering::DESCENT) * scale).ceil() as u32
}

/// How many cells stand in a row: as many as fill the width, more where the sheet would else become much higher than
/// wide, and no row much shorter than the others.
fn columns(count: usize, width: u32, height: u32) -> usize {
    let wide = (WIDE / width.max(1)).max(1) as usize;
    let ratio = f64::from(height) / f64::from(width.max(1));
    let square = (count as f64 * ratio / 1.2).sqrt().ceil() as usize;
    let most = wide.max(square).clamp(1, count.max(1));
    count.div_ceil(count.div_ceil(most)).max(1)
}

/// What is where on a sheet.
#[derive(Default)]
struct Layout<'a> {
    width: u32,
    height: u32,
    items: Vec<Item<'a>>,
}

enum Item<'a> {
    Text {
        text: String,
        at: (u32, u32),
        scale: f32,
        faint: bool,
    },
    Image {
        panel: &'a Panel,
        at: (u32, u32),
    },
    Bar {
        palette: Palette,
        at: (u32, u32),
        size: (u32, u32),
    },
    Swatch {
        color: Rgb,
        at: (u32, u32),
        side: u32,
    },
}

impl<'a> Layout<'a> {
    fn text(&mut self, text: String, at: (u32, u32), scale: f32, faint: bool) {
        self.width = self
            .width
            .max(at.0.saturating_add(lettering::width(&text, scale)));
        self.items.push(Item::Text {
            text,
            at,
            scale,
            faint,
        });
    }

    fn image(&mut self, panel: &'a Panel, at: (u32, u32)) {
        self.items.push(Item::Image { panel, at });
    }

    fn bar(&mut self, bar: &Bar, y: u32) {
        let tall = (lettering::HEIGHT * CAPTION).ceil() as u32;
        let mut x = MARGIN;
        self.text(bar.low.clone(), (x, y), CAPTION, false);
        x += lettering::width(&bar.low, CAPTION) + GAP;
        self.items.push(Item::Bar {
            palette: bar.palette,
            at: (x, y),
            size: (BAR, tall),
        });
        x += BAR + GAP;
        self.text(bar.high.clone(), (x, y), CAPTION, false);
        x += lettering::width(&bar.high, CAPTION) + 2 * GAP;
        self.text(bar.label.clone(), (x, y), CAPTION, true);
    }

    fn legend(&mut self, entries: &[(Rgb, String)], mut y: u32, right: u32) -> u32 {
        let side = (lettering::HEIGHT * CAPTION).ceil() as u32;
        let mut x = MARGIN;
        for (color, name) in entries {
            let wide = side + SMALL + lettering::width(name, CAPTION);
            if x > MARGIN && x + wide > right {
                x = MARGIN;
                y = y.saturating_add(line(CAPTION) + GAP);
            }
            self.items.push(Item::Swatch {
                color: *color,
                at: (x, y),
                side,
            });
            self.text(name.clone(), (x + side + SMALL, y), CAPTION, false);
            x += wide + 2 * GAP;
        }
        y.saturating_add(line(CAPTION) + GAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gallery(count: usize) -> Gallery {
        let panel = |i: usize| {
            let color = image::Rgb([i as u8 + 1, 200, 0]);
            Panel::new(format!("channel {i}"), RgbImage::from_pixel(40, 30, color))
                .note("0 to 1.5 & <more>")
        };
        Gallery {
            title: "conv_last <deploy>".into(),
            subtitle: "sample 0".into(),
            panels: (0..count).map(panel).collect(),
            bar: Some(Bar {
                palette: Palette::Heat,
                low: "0".into(),
                high: "1.5".into(),
                label: "all channels".into(),
            }),
            legend: vec![([230, 60, 60], "left eye".into())],
            ..Gallery::default()
        }
    }

    #[test]
    fn rows_are_even_and_the_sheet_is_no_tower() {
        assert_eq!(columns(5, 200, 220), 5);
        assert_eq!(columns(8, 200, 220), 4);
        assert_eq!(columns(1, 200, 220), 1);
        assert_eq!(columns(64, 100, 120), 13);
        assert!(columns(512, 100, 120) > 20);
    }

    #[test]
    fn every_panel_is_whole_on_the_png() {
        for count in [1, 5, 9] {
            let gallery = gallery(count);
            let image = gallery.image().unwrap();
            for i in 0..count {
                let color = [i as u8 + 1, 200, 0];
                let pixels = image.pixels().filter(|p| p.0 == color).count();
                assert_eq!(pixels, 40 * 30, "{i} of {count}");
            }
            let decoded = image::load_from_memory(&gallery.png().unwrap()).unwrap();
            assert_eq!(decoded.to_rgb8(), image);
        }
    }

    #[test]
    fn the_svg_says_everything_in_words_and_escapes_them() {
        let svg = gallery(3).svg().unwrap();
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
        for word in [
            ">conv_last &lt;deploy&gt;<",
            ">channel 2<",
            "0 to 1.5 &amp; &lt;more&gt;",
            ">left eye<",
            "data:image/png;base64,",
        ] {
            assert!(svg.contains(word), "{word}");
        }
        assert_eq!(svg.matches("<image ").count(), 3);
        for tag in ["g", "text", "title", "linearGradient", "desc"] {
            let open =
                svg.matches(&format!("<{tag} ")).count() + svg.matches(&format!("<{tag}>")).count();
            assert_eq!(open, svg.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn what_is_too_large_is_an_error() {
        let mut gallery = gallery(1);
        gallery.panels[0].image = RgbImage::new(1 << 14, 4);
        let error = gallery.png().unwrap_err();
        assert!(error.to_string().contains("--channels"), "{error}");
        assert!(Gallery::default().png().is_ok());
    }
}
