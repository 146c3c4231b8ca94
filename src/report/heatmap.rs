//! Heat maps of blobs: a channel's values, blue (0) to red (1), over the picture that they belong to; and sheets of
//! such pictures.

use image::RgbImage;

use super::{
    lettering,
    palette::{self, Palette, Rgb},
};
use crate::error::{Error, Result};

/// How much of the colour covers the picture under it.
const COVER: f32 = 0.62;
/// How much class 0 darkens.
const GROUND_COVER: f32 = 0.35;

/// A picture to lay maps over.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    width: usize,
    height: usize,
    rgb: &'a [u8],
}

impl<'a> Picture<'a> {
    /// Rows of pixels of red, green, blue.
    ///
    /// # Errors
    /// `Shape` where there are not `width * height` pixels, or none.
    pub fn new(width: usize, height: usize, rgb: &'a [u8]) -> Result<Self> {
        let bytes = width.checked_mul(height).and_then(|n| n.checked_mul(3));
        if bytes != Some(rgb.len()) || rgb.is_empty() {
            return Err(Error::shape(format!(
                "{} bytes for a picture of {width}x{height} pixels of three bytes",
                rgb.len()
            )));
        }
        Ok(Self { width, height, rgb })
    }

    fn pixel(&self, x: usize, y: usize) -> Rgb {
        let at = (y * self.width + x) * 3;
        [self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]]
    }

    fn grey(&self, x: usize, y: usize) -> Rgb {
        let [r, g, b] = self.pixel(x, y).map(f32::from);
        [(0.299 * r + 0.587 * g + 0.114 * b).round() as u8; 3]
    }

    /// Paints each pixel, `zoom` times enlarged, from its place in the picture (its centre, 0 to 1) and its position.
    fn paint(&self, zoom: u32, color: impl Fn([f32; 2], [usize; 2]) -> Rgb) -> Result<RgbImage> {
        let side = |n: usize| {
            u32::try_from(n)
                .ok()
                .and_then(|n| n.checked_mul(zoom))
                .filter(|&n| n <= 1 << 14)
                .ok_or_else(|| {
                    Error::shape(format!("{n} pixels enlarged {zoom} times are too many"))
                })
        };
        let (width, height) = (side(self.width)?, side(self.height)?);
        Ok(RgbImage::from_fn(width, height, |x, y| {
            let place = [
                (x as f32 + 0.5) / width as f32,
                (y as f32 + 0.5) / height as f32,
            ];
            image::Rgb(color(place, [(x / zoom) as usize, (y / zoom) as usize]))
        }))
    }

    /// The picture itself, enlarged.
    ///
    /// # Errors
    /// `Shape` where it becomes too large.
    pub fn plain(&self, zoom: u32) -> Result<RgbImage> {
        self.paint(zoom, |_, [x, y]| self.pixel(x, y))
    }

    /// One channel's values over the picture in grey: blue for 0 to red for 1, smoothly between the middles of cells.
    /// The map covers the whole picture, whatever its own size.
    ///
    /// # Errors
    /// `Shape` where there are not `rows * columns` values, or none.
    pub fn heat(
        &self,
        values: &[f32],
        (rows, columns): (usize, usize),
        zoom: u32,
    ) -> Result<RgbImage> {
        self.map(values, (rows, columns), zoom, Palette::Heat)
    }

    /// [`Picture::heat`] in the colours of a palette.
    ///
    /// # Errors
    /// As [`Picture::heat`].
    pub fn map(
        &self,
        values: &[f32],
        (rows, columns): (usize, usize),
        zoom: u32,
        palette: Palette,
    ) -> Result<RgbImage> {
        check_map(values.len(), rows, columns)?;
        self.paint(zoom, |[u, v], [x, y]| {
            let value = bilinear(values, rows, columns, u, v);
            palette::blend(self.grey(x, y), palette.color(value), COVER)
        })
    }

    /// A map of classes over the picture, cell by cell; class 0 only darkens.
    ///
    /// # Errors
    /// `Shape` where there are not `rows * columns` classes, or none.
    pub fn classes(
        &self,
        classes: &[usize],
        (rows, columns): (usize, usize),
        zoom: u32,
    ) -> Result<RgbImage> {
        check_map(classes.len(), rows, columns)?;
        self.paint(zoom, |[u, v], [x, y]| {
            let row = ((v * rows as f32) as usize).min(rows - 1);
            let column = ((u * columns as f32) as usize).min(columns - 1);
            let class = classes[row * columns + column];
            let cover = if class == 0 { GROUND_COVER } else { COVER };
            palette::blend(self.grey(x, y), palette::class(class), cover)
        })
    }
}

fn check_map(values: usize, rows: usize, columns: usize) -> Result<()> {
    if values == 0 || rows.checked_mul(columns) != Some(values) {
        return Err(Error::shape(format!(
            "{values} values for a map of {rows}x{columns}"
        )));
    }
    Ok(())
}

/// The value at a place (0 to 1 across and down), between the middles of the four nearest cells.
fn bilinear(values: &[f32], rows: usize, columns: usize, u: f32, v: f32) -> f32 {
    let along = |t: f32, n: usize| {
        let at = (t * n as f32 - 0.5).clamp(0.0, (n - 1) as f32);
        let low = at as usize;
        (low, (low + 1).min(n - 1), at.fract())
    };
    let (top, bottom, down) = along(v, rows);
    let (left, right, across) = along(u, columns);
    let row = |r: usize| {
        let (a, b) = (values[r * columns + left], values[r * columns + right]);
        a + (b - a) * across
    };
    row(top) + (row(bottom) - row(top)) * down
}

/// Pictures in rows under captions, with a scale of the colours at the bottom.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    /// Over everything.
    pub title: String,
    /// Over each column.
    pub columns: Vec<String>,
    /// A caption at the left, and the pictures.
    pub rows: Vec<(String, Vec<RgbImage>)>,
}

impl Sheet {
    /// The sheet as one picture.
    pub fn render(&self) -> RgbImage {
        self.draw(true)
    }

    /// The sheet as one picture, without the scale of colours.
    pub fn render_plain(&self) -> RgbImage {
        self.draw(false)
    }

    fn draw(&self, scale: bool) -> RgbImage {
        const GAP: u32 = 6;
        const SCALE: f32 = 2.0;
        const TALL: u32 = (lettering::HEIGHT * SCALE) as u32;
        const LINE: u32 = TALL + 2 * GAP;
        const INK: Rgb = [235; 3];
        const PAPER: image::Rgb<u8> = image::Rgb([24, 26, 30]);

        let pictures = || self.rows.iter().flat_map(|(_, pictures)| pictures);
        let cell_width = pictures().map(RgbImage::width).max().unwrap_or(0);
        let columns = self.rows.iter().map(|(_, p)| p.len()).max().unwrap_or(0);
        let columns = u32::try_from(columns.max(self.columns.len())).unwrap_or(0);
        let captions = self.rows.iter().map(|(c, _)| lettering::width(c, SCALE));
        let margin = GAP + captions.max().filter(|&w| w > 0).map_or(0, |w| w + GAP);
        let heights: Vec<u32> = self
            .rows
            .iter()
            .map(|(_, p)| p.iter().map(RgbImage::height).max().unwrap_or(0) + GAP)
            .collect();
        let width = (margin + columns * (cell_width + GAP))
            .max(GAP * 2 + lettering::width(&self.title, SCALE));
        let lines = if scale { 3 } else { 2 };
        let height = lines * LINE + heights.iter().sum::<u32>() + GAP;
        let mut sheet = RgbImage::from_pixel(width, height, PAPER);

        lettering::write(&mut sheet, &self.title, (GAP, GAP), SCALE, INK);
        for (i, caption) in (0u32..).zip(&self.columns) {
            let slack = cell_width.saturating_sub(lettering::width(caption, SCALE)) / 2;
            let x = margin + i * (cell_width + GAP) + slack;
            lettering::write(&mut sheet, caption, (x, LINE + GAP), SCALE, INK);
        }
        let mut y = 2 * LINE;
        for ((caption, pictures), height) in self.rows.iter().zip(&heights) {
            let middle = y + height.saturating_sub(GAP + TALL) / 2;
            lettering::write(&mut sheet, caption, (GAP, middle), SCALE, INK);
            for (i, picture) in (0u32..).zip(pictures) {
                let x = margin + i * (cell_width + GAP);
                image::imageops::replace(&mut sheet, picture, x.into(), y.into());
            }
            y += height;
        }
        if scale {
            legend(&mut sheet, (margin, y + GAP), SCALE, INK);
        }
        sheet
    }
}

/// The scale of colours: `0`, a bar, `1`.
fn legend(sheet: &mut RgbImage, (x, y): (u32, u32), scale: f32, ink: Rgb) {
    const BAR: u32 = 180;
    lettering::write(sheet, "0", (x, y), scale, ink);
    let start = x + lettering::width("0 ", scale);
    for i in 0..BAR {
        for j in 0..(lettering::HEIGHT * scale) as u32 {
            if let Some(pixel) = sheet.get_pixel_mut_checked(start + i, y + j) {
                pixel.0 = palette::heat(i as f32 / (BAR - 1) as f32);
            }
        }
    }
    let end = start + BAR + (lettering::ADVANCE * scale) as u32;
    lettering::write(sheet, "1  softmax probability", (end, y), scale, ink);
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREY: [u8; 4 * 4 * 3] = [100; 48];

    #[test]
    fn heat_is_blue_where_the_map_is_low_and_red_where_it_is_high() {
        let picture = Picture::new(4, 4, &GREY).unwrap();
        let image = picture.heat(&[0.0, 1.0, 0.0, 1.0], (2, 2), 3).unwrap();
        assert_eq!(image.dimensions(), (12, 12));
        let [r, _, b] = image.get_pixel(0, 5).0;
        assert!(b > r);
        let [r, _, b] = image.get_pixel(11, 5).0;
        assert!(r > b);
    }

    #[test]
    fn values_are_exact_in_the_middle_of_a_cell() {
        let map = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        assert_eq!(bilinear(&map, 2, 3, 0.5, 0.25), 1.0);
        assert_eq!(bilinear(&map, 2, 3, 1.0, 1.0), 5.0);
        assert_eq!(bilinear(&map, 2, 3, 0.5, 0.5), 2.5);
    }

    #[test]
    fn classes_keep_to_their_cells() {
        let picture = Picture::new(4, 4, &GREY).unwrap();
        let image = picture.classes(&[0, 0, 0, 1], (2, 2), 1).unwrap();
        assert_ne!(image.get_pixel(2, 2), image.get_pixel(1, 1));
        assert_eq!(image.get_pixel(0, 0), image.get_pixel(2, 1));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert!(Picture::new(4, 5, &GREY).is_err());
        assert!(Picture::new(0, 0, &[]).is_err());
        let picture = Picture::new(4, 4, &GREY).unwrap();
        assert!(picture.heat(&[0.0; 3], (2, 2), 1).is_err());
        assert!(picture.classes(&[], (0, 0), 1).is_err());
        assert!(picture.plain(u32::MAX).is_err());
    }

    #[test]
    fn a_sheet_holds_its_pictures_in_order() {
        let red = RgbImage::from_pixel(8, 8, image::Rgb([255, 0, 0]));
        let green = RgbImage::from_pixel(8, 8, image::Rgb([0, 255, 0]));
        let sheet = Sheet {
            title: String::new(),
            columns: Vec::new(),
            rows: vec![(String::new(), vec![red, green])],
        }
        .render();
        let find = |color| sheet.enumerate_pixels().find(|(_, _, p)| p.0 == color);
        let (red, green) = (find([255, 0, 0]).unwrap(), find([0, 255, 0]).unwrap());
        assert_eq!(red.1, green.1);
        assert_eq!(green.0 - red.0, 8 + 6);
        assert!(Sheet::default().render().width() > 0);
    }
}
