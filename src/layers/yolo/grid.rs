//! How a blob tells boxes: N × (anchors · (lead + classes)) × H × W, `lead` values of a box and then its classes.

use super::rect::Rect;
use crate::{
    error::{Error, Result},
    layer::LayerDef,
    tensor::Shape,
};

/// The layout of an image.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Grid {
    pub(super) anchors: usize,
    /// Values before the classes: four of the box and how sure it is, or more.
    pub(super) lead: usize,
    pub(super) classes: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Grid {
    /// This grid, as large as bottom `x`. `fields` are those that tell anchors and classes.
    ///
    /// # Errors
    /// `Shape` where the channels are not so many.
    pub(super) fn sized(self, x: &Shape, fields: &str) -> Result<Self> {
        let &[_, channels, height, width] = x.dims() else {
            return Err(Error::shape(format!(
                "bottom {x} must be items × channels × height × width"
            )));
        };
        let need = (self.lead as u128 + self.classes as u128) * self.anchors as u128;
        if channels as u128 != need {
            return Err(Error::shape(format!(
                "bottom {x} has {channels} channels, but {} anchors of {} values and {} classes need {need}",
                self.anchors, self.lead, self.classes
            ))
            .help(format!("the numbers are those of {fields}")));
        }
        Ok(Self {
            width,
            height,
            ..self
        })
    }

    /// [`Grid::sized`] for the layers of YOLOv2, whose grids are square.
    pub(super) fn square(self, x: &Shape, fields: &str) -> Result<Self> {
        let grid = self.sized(x, fields)?;
        if grid.width == grid.height {
            return Ok(grid);
        }
        Err(Error::shape(format!("bottom {x} must be as high as wide"))
            .help("feed square images, or use the layers of YOLOv3"))
    }

    /// Cells of an image.
    pub(super) fn cells(&self) -> usize {
        self.width * self.height
    }

    /// Values of an image.
    pub(super) fn item(&self) -> usize {
        self.anchors * (self.lead + self.classes) * self.cells()
    }

    /// Where in an image value `channel` of an anchor is.
    pub(super) fn at(&self, anchor: usize, channel: usize, cell: usize) -> usize {
        (anchor * (self.lead + self.classes) + channel) * self.cells() + cell
    }

    /// The box that a cell tells: of `values`, x and y lie within the cell and are brought there by a sigmoid, w and h are
    /// logarithms in units of `anchor`, a fraction of the image.
    pub(super) fn rect(&self, cell: usize, values: [f32; 4], anchor: [f64; 2]) -> Rect {
        let [x, y, w, h] = values;
        let (column, row) = (cell % self.width, cell / self.width);
        Rect {
            x: (column as f64 + sigmoid(x)) / self.width as f64,
            y: (row as f64 + sigmoid(y)) / self.height as f64,
            w: f64::from(w).exp() * anchor[0],
            h: f64::from(h).exp() * anchor[1],
        }
    }
}

/// 1 / (1 + e⁻ˣ)
pub(super) fn sigmoid(x: f32) -> f64 {
    1.0 / (1.0 + (-f64::from(x)).exp())
}

/// Widths and heights of anchors, from `field` of the message `owner`.
///
/// # Errors
/// `Param` where there are not two for each of `count` anchors (if told), or not all are above 0.
pub(super) fn anchors(
    def: &LayerDef,
    owner: &str,
    biases: &[f32],
    count: Option<usize>,
) -> Result<Vec<[f64; 2]>> {
    let field = format!("{owner}.biases");
    let (pairs, rest) = biases.as_chunks::<2>();
    let fits = count.map_or(!pairs.is_empty(), |count| pairs.len() == count);
    if !fits || !rest.is_empty() {
        let need = match count {
            Some(count) => format!("each of the {count} anchors needs a width and a height"),
            None => "each anchor needs a width and a height".to_owned(),
        };
        return Err(def.invalid(&field, format!("has {} values, but {need}", biases.len())));
    }
    if let Some(bad) = biases.iter().find(|b| !(**b > 0.0 && b.is_finite())) {
        return Err(def.invalid(
            &field,
            format!("{bad} is no side of an anchor: it must be above 0"),
        ));
    }
    Ok(pairs.iter().map(|pair| pair.map(f64::from)).collect())
}

/// A number of `field` of the message `owner` that must be from `least` on; not below, not NaN.
///
/// # Errors
/// `Param` where it is not.
pub(super) fn from(
    def: &LayerDef,
    owner: &str,
    field: &str,
    value: f32,
    least: f32,
) -> Result<f64> {
    if value >= least {
        return Ok(value.into());
    }
    let why = match least {
        f32::NEG_INFINITY => format!("is {value}; it must be a number"),
        _ => format!("is {value}; it must be a number from {least} on"),
    };
    Err(def.invalid(&format!("{owner}.{field}"), why))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid {
        anchors: 2,
        lead: 5,
        classes: 3,
        width: 0,
        height: 0,
    };

    #[test]
    fn layout() {
        let grid = GRID.sized(&[2, 16, 3, 4].into(), "").unwrap();
        assert_eq!((grid.cells(), grid.item()), (12, 192));
        assert_eq!(grid.at(1, 2, 7), 10 * 12 + 7);
        let rect = grid.rect(7, [0.0, 0.0, 2f32.ln(), 0.0], [0.25, 0.5]);
        assert_eq!((rect.x, rect.y, rect.h), (3.5 / 4.0, 1.5 / 3.0, 0.5));
        assert!((rect.w - 0.5).abs() < 1e-6);
    }

    #[test]
    fn bottoms_that_do_not_fit() {
        let error = GRID
            .sized(&[2, 15, 3, 4].into(), "a and b")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("15 channels, but 2 anchors of 5 values and 3 classes need 16"),
            "{error}"
        );
        assert!(error.contains("those of a and b"), "{error}");
        assert!(GRID.sized(&[2, 16].into(), "").is_err());
        let error = GRID
            .square(&[2, 16, 3, 4].into(), "")
            .unwrap_err()
            .to_string();
        assert!(error.contains("as high as wide"), "{error}");
        let huge = Grid {
            anchors: u32::MAX as usize,
            classes: u32::MAX as usize,
            ..GRID
        };
        assert!(huge.sized(&[2, 16, 3, 4].into(), "").is_err());
    }
}
