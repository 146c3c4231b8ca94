//! The filters of a layer as pictures.

use image::RgbImage;

use super::{channels, gallery::PAPER, palette::Palette};
use crate::{
    error::{Error, Result},
    tensor::{Shape, View},
};

/// How a bank of filters is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bank {
    /// Filters; 1 for a matrix, which is one picture.
    pub count: usize,
    /// Planes of each.
    pub planes: usize,
    /// Height of a plane.
    pub rows: usize,
    /// Width of a plane.
    pub columns: usize,
    /// Blue, green and red planes make one picture in colour.
    pub color: bool,
}

impl Bank {
    /// The layout of weights of this shape: `filters x planes x height x width`, or a matrix.
    ///
    /// # Errors
    /// `Shape` where they are neither.
    pub fn new(shape: &Shape) -> Result<Self> {
        let (count, planes, rows, columns) = match *shape.dims() {
            [count, planes, rows, columns] if rows * columns > 1 => (count, planes, rows, columns),
            [rows, columns] | [rows, columns, 1, 1] => (1, 1, rows, columns),
            _ => {
                return Err(Error::shape(format!(
                    "weights of shape {shape} are no filters of height and width and no matrix"
                )));
            }
        };
        if shape.count() == 0 {
            return Err(Error::shape(format!(
                "weights of shape {shape} have no values"
            )));
        }
        Ok(Self {
            count,
            planes,
            rows,
            columns,
            color: planes == 3,
        })
    }

    /// How many values a filter has.
    pub fn size(&self) -> usize {
        self.planes * self.rows * self.columns
    }

    /// Height and width of a filter's picture in cells: its planes stand in a square, a cell apart.
    pub fn extent(&self) -> (usize, usize) {
        let across = self.across();
        let tiles = |n: usize, side: usize| n * (side + 1) - 1;
        match self.color {
            true => (self.rows, self.columns),
            false => (
                tiles(self.planes.div_ceil(across), self.rows),
                tiles(across, self.columns),
            ),
        }
    }

    fn across(&self) -> usize {
        (self.planes as f64).sqrt().ceil().max(1.0) as usize
    }

    /// One filter, each cell `zoom` pixels a side. Blue, green and red become a colour picture, anything else planes in
    /// the palette.
    ///
    /// # Errors
    /// `Shape` where there is no such filter, or it becomes too large.
    pub fn picture(
        &self,
        weights: View<'_>,
        filter: usize,
        range: (f32, f32),
        palette: Palette,
        zoom: u32,
    ) -> Result<RgbImage> {
        let size = self.size();
        let values = filter
            .checked_mul(size)
            .and_then(|start| weights.data.get(start..start.checked_add(size)?))
            .ok_or_else(|| Error::shape(format!("there is no filter {filter}")))?;
        let plane = self.rows * self.columns;
        let (rows, columns) = self.extent();
        if self.color {
            let too_large = || Error::shape("a filter is too large for a picture");
            let side = |n: usize| u32::try_from(n).ok().and_then(|n| n.checked_mul(zoom));
            let (width, height) = (side(columns), side(rows));
            let (Some(width @ ..=0x4000), Some(height @ ..=0x4000)) = (width, height) else {
                return Err(too_large());
            };
            return Ok(RgbImage::from_fn(width, height, |x, y| {
                let at = (y / zoom) as usize * columns + (x / zoom) as usize;
                // Caffe's images are blue, green, red.
                image::Rgb([2, 1, 0].map(|c| {
                    let t = channels::position(values[c * plane + at], range);
                    (t * 255.0).round() as u8
                }))
            }));
        }
        // NaN is what has no filter in it.
        let mut tiles = vec![f32::NAN; rows * columns];
        let across = self.across();
        for (i, values) in values.chunks_exact(plane).enumerate() {
            let corner = (i / across * (self.rows + 1)) * columns + i % across * (self.columns + 1);
            for (y, row) in values.chunks_exact(self.columns).enumerate() {
                let start = corner + y * columns;
                tiles[start..start + self.columns].copy_from_slice(row);
            }
        }
        let image = channels::picture(&tiles, (rows, columns), range, palette, zoom)?;
        Ok(match self.planes {
            1 => image,
            _ => without_gaps(image, palette),
        })
    }
}

/// The gaps between planes in the colour of the paper.
fn without_gaps(mut image: RgbImage, palette: Palette) -> RgbImage {
    let gap = palette.color(f32::NAN);
    for pixel in image.pixels_mut().filter(|p| p.0 == gap) {
        pixel.0 = PAPER;
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    #[test]
    fn shapes() {
        let bank = |dims: &[usize]| Bank::new(&Shape::new(dims)).unwrap();
        let conv1 = bank(&[16, 3, 5, 5]);
        assert!(conv1.color && conv1.count == 16 && conv1.extent() == (5, 5));
        let conv2 = bank(&[8, 5, 3, 3]);
        assert!(!conv2.color && conv2.extent() == (7, 11));
        assert_eq!(bank(&[10, 20]).extent(), (10, 20));
        assert_eq!(bank(&[1, 1, 10, 20]).count, 1);
        assert_eq!(bank(&[10, 20, 1, 1]).extent(), (10, 20));
        assert!(Bank::new(&Shape::new(&[10])).is_err());
        assert!(Bank::new(&Shape::new(&[0, 3, 5, 5])).is_err());
    }

    #[test]
    fn blue_comes_first_in_the_weights() {
        let mut data = vec![0.0; 2 * 3 * 4];
        // The second filter is red in its last cell.
        data[12 + 8 + 3] = 1.0;
        let weights = Tensor::new([2, 3, 2, 2], data).unwrap();
        let bank = Bank::new(&weights.shape).unwrap();
        let picture = |i| bank.picture(weights.view(), i, (0.0, 1.0), Palette::Grey, 2);
        let image = picture(1).unwrap();
        assert_eq!(image.get_pixel(3, 3).0, [255, 0, 0]);
        assert_eq!(image.get_pixel(1, 1).0, [0, 0, 0]);
        assert!(picture(2).is_err());
    }

    #[test]
    fn planes_stand_apart() {
        let weights = Tensor::new([1, 2, 1, 2], vec![0.0, 1.0, 1.0, 0.0]).unwrap();
        let bank = Bank::new(&weights.shape).unwrap();
        let image = bank
            .picture(weights.view(), 0, (0.0, 1.0), Palette::Grey, 1)
            .unwrap();
        let row: Vec<u8> = image.pixels().map(|p| p.0[0]).collect();
        assert_eq!(row, [0, 255, 24, 255, 0]);
    }
}
