//! Annotated boxes, as AnnotatedData makes them: rows of image, class, instance, xmin, ymin, xmax, ymax, difficult.

use super::boxes::BBox;
use crate::{
    error::{Error, Result},
    tensor::{Shape, View},
};

/// Values of a row.
pub(super) const ROW: usize = 8;

/// An annotated box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Truth {
    pub(super) image: usize,
    pub(super) class: usize,
    pub(super) bbox: BBox,
    pub(super) difficult: bool,
}

/// Checks that a blob has rows of `width` values along its last axis: \[1, 1, rows, width\].
///
/// # Errors
/// `Shape` where it has not.
pub(super) fn check_rows(shape: &Shape, width: usize, what: &str) -> Result<()> {
    match *shape.dims() {
        [.., n] if n == width => Ok(()),
        _ => Err(Error::shape(format!(
            "{what} have shape {shape}; it must be [1, 1, rows, {width}]"
        ))),
    }
}

/// A whole number from 0 on.
fn index(value: f32) -> Option<usize> {
    let index = value as usize;
    (value >= 0.0 && index as f32 == value && value < 2e9).then_some(index)
}

/// Reads the annotations of a blob; rows of image −1 only fill it up. Boxes of difficult objects come where `difficult`
/// says so.
///
/// # Errors
/// `Data` where an image or class is no index, or a class is the background.
pub(super) fn read(view: View<'_>, background: i64, difficult: bool) -> Result<Vec<Truth>> {
    let mut truths = Vec::new();
    for (i, row) in view.data.chunks_exact(ROW).enumerate() {
        if row[0] == -1.0 {
            continue;
        }
        let wrong = |what: &str, value: f32| {
            Error::data(format!(
                "annotation {i} is of {what} {value}, which is no index"
            ))
        };
        let image = index(row[0]).ok_or_else(|| wrong("image", row[0]))?;
        let class = index(row[1]).ok_or_else(|| wrong("class", row[1]))?;
        if class as i64 == background {
            return Err(Error::data(format!(
                "annotation {i} is of class {class}, which is the background"
            ))
            .help("number the classes of the label map from 1, and leave 0 to the background"));
        }
        let truth = Truth {
            image,
            class,
            bbox: BBox::at(&row[3..7], 0),
            difficult: row[7] != 0.0,
        };
        if difficult || !truth.difficult {
            truths.push(truth);
        }
    }
    Ok(truths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::testing::tensor;

    #[test]
    fn rows_are_read() {
        let row = |image, class, difficult| [image, class, 0.0, 0.1, 0.2, 0.3, 0.4, difficult];
        let read = |rows: &[[f32; 8]], all| {
            let blob = tensor(&[1, 1, rows.len(), 8], rows.as_flattened());
            read(blob.view(), 0, all)
        };
        let rows = [
            row(0.0, 2.0, 0.0),
            row(-1.0, -1.0, -1.0),
            row(3.0, 1.0, 1.0),
        ];
        let all = read(&rows, true).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!((all[1].image, all[1].class, all[1].difficult), (3, 1, true));
        assert_eq!(all[0].bbox.0, [0.1, 0.2, 0.3, 0.4]);
        assert_eq!(read(&rows, false).unwrap(), all[..1]);
        for (row, why) in [
            (row(0.5, 1.0, 0.0), "image 0.5"),
            (row(-2.0, 1.0, 0.0), "image -2"),
            (row(0.0, f32::NAN, 0.0), "class NaN"),
            (row(0.0, 1e20, 0.0), "class 1"),
            (row(0.0, 0.0, 0.0), "the background"),
        ] {
            let error = read(&[row], true).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let error = check_rows(&Shape::new(&[2, 7]), ROW, "annotations").unwrap_err();
        assert!(error.to_string().contains("[1, 1, rows, 8]"), "{error}");
    }
}
