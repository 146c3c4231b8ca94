//! The boxes that an image really has: N × (most · 5), each a class, x, y, width and height in fractions of the image.

use super::{grid::Grid, rect::Rect};
use crate::{
    error::{Error, Result},
    tensor::Shape,
};

/// Values of a box.
const ROW: usize = 5;

/// A box of the image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Truth {
    pub(super) class: usize,
    pub(super) rect: Rect,
    /// Where its centre lies.
    pub(super) column: usize,
    pub(super) row: usize,
}

/// The boxes of an image: they end where a width is 0.
#[derive(Clone, Debug, Default)]
pub(super) struct Truths {
    pub(super) all: Vec<Truth>,
    /// How many may excuse a wrong box: these end where an x is 0, too.
    seen: usize,
}

impl Truths {
    pub(super) fn seen(&self) -> &[Truth] {
        &self.all[..self.seen]
    }

    /// How alike the box that is most like `rect` is to it; 0 where none is.
    pub(super) fn best(&self, rect: Rect, like: impl Fn(Rect, Rect) -> f64) -> f64 {
        self.seen().iter().fold(0.0, |best, truth| {
            let this = like(rect, truth.rect);
            if this > best { this } else { best }
        })
    }

    /// Those of image `image` with these labels.
    ///
    /// # Errors
    /// `Data` for the first one that lies outside of the image, is not above 0 in size or names no class.
    fn new(labels: &[f32], image: usize, grid: &Grid) -> Result<Self> {
        let (rows, _) = labels.as_chunks::<ROW>();
        let mut all = Vec::new();
        for (i, &[class, x, y, w, h]) in rows.iter().take_while(|row| row[3] != 0.0).enumerate() {
            let bad = |why: String| Err(Error::data(format!("box {i} of image {image} {why}")));
            let named = class as usize;
            if named as f32 != class || named >= grid.classes {
                return bad(format!(
                    "has the label {class}: the {} classes are 0 to {}",
                    grid.classes,
                    grid.classes.saturating_sub(1)
                ));
            }
            let within = |at: f32| (0.0..=1.0).contains(&at);
            let large = |side: f32| side > 0.0 && side.is_finite();
            if !(within(x) && within(y) && large(w) && large(h)) {
                return bad(format!(
                    "is centred at x {x}, y {y}, {w} wide and {h} high: in fractions of the image, a centre lies from 0 to 1 and sides are above 0"
                ));
            }
            let cell =
                |at: f32, cells: usize| ((at * cells as f32) as usize).min(cells.saturating_sub(1));
            let [x64, y64, w, h] = [x, y, w, h].map(f64::from);
            all.push(Truth {
                class: named,
                rect: Rect {
                    x: x64,
                    y: y64,
                    w,
                    h,
                },
                column: cell(x, grid.width),
                row: cell(y, grid.height),
            });
        }
        let seen = all.iter().take_while(|truth| truth.rect.x != 0.0).count();
        Ok(Self { all, seen })
    }

    /// Those of every image.
    ///
    /// # Errors
    /// `Data` for the first box that makes no sense.
    pub(super) fn read(labels: &[f32], images: usize, grid: &Grid) -> Result<Vec<Self>> {
        let item = labels.len() / images.max(1);
        (0..images)
            .map(|image| Self::new(&labels[image * item..][..item], image, grid))
            .collect()
    }
}

/// Checks the shape of the labels beside that of the bottom.
///
/// # Errors
/// `Shape` where they are not five values a box for each image.
pub(super) fn check(x: &Shape, labels: &Shape) -> Result<()> {
    if labels.axes() > 0
        && labels.dims()[0] == x.dims()[0]
        && labels.count_from(1).is_multiple_of(ROW)
    {
        return Ok(());
    }
    Err(Error::shape(format!(
        "labels {labels} for bottom {x}: each image needs five values a box"
    ))
    .help(
        "these are class, x and y of the centre, width and height; behind the last box all are 0",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid {
        anchors: 1,
        lead: 5,
        classes: 2,
        width: 4,
        height: 2,
    };

    #[test]
    fn boxes_and_their_cells() {
        let labels = [
            1.0, 0.6, 0.4, 0.1, 0.1, 0.0, 1.0, 1.0, 0.5, 0.5, 0.0, 0.0, 0.2, 0.3, 0.3, 0.0, 0.5,
            0.5, 0.0, 0.0,
        ];
        let truths = Truths::read(&labels, 1, &GRID).unwrap().remove(0);
        let cells: Vec<_> = truths
            .all
            .iter()
            .map(|t| (t.class, t.column, t.row))
            .collect();
        assert_eq!(cells, [(1, 2, 0), (0, 3, 1), (0, 0, 0)]);
        assert_eq!(truths.seen().len(), 2);
        let like = truths.best(truths.all[1].rect, Rect::iou);
        assert!((like - 1.0).abs() < 1e-12);
        assert!(Truths::read(&[], 0, &GRID).unwrap().is_empty());
    }

    #[test]
    fn boxes_that_make_no_sense() {
        for (row, why) in [
            (
                [2.0, 0.5, 0.5, 0.1, 0.1],
                "box 0 of image 0 has the label 2: the 2 classes are 0 to 1",
            ),
            ([-1.0, 0.5, 0.5, 0.1, 0.1], "has the label -1"),
            ([0.5, 0.5, 0.5, 0.1, 0.1], "has the label 0.5"),
            ([0.0, 1.5, 0.5, 0.1, 0.1], "is centred at x 1.5"),
            ([0.0, 0.5, -0.5, 0.1, 0.1], "y -0.5"),
            ([0.0, 0.5, 0.5, -0.1, 0.1], "-0.1 wide"),
            ([0.0, 0.5, 0.5, 0.1, 0.0], "0 high"),
            ([0.0, 0.5, f32::NAN, 0.1, 0.1], "y NaN"),
            ([0.0, 0.5, 0.5, f32::NAN, 0.1], "NaN wide"),
            ([0.0, 0.5, 0.5, f32::INFINITY, 0.1], "inf wide"),
        ] {
            let error = Truths::read(&row, 1, &GRID).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
