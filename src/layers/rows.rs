//! A top of rows whose number is known once forward sees the bottoms: \[1, 1, rows, N\]. For layers whose traits say that
//! shapes move.

use crate::{error::Result, tensor::Shape};

/// The rows of a pass.
#[derive(Debug)]
pub(super) struct Rows<const N: usize> {
    pub(super) all: Vec<[f32; N]>,
    /// How many rows the top was last said to have.
    told: usize,
}

impl<const N: usize> Rows<N> {
    pub(super) fn new() -> Self {
        Self {
            all: Vec::new(),
            told: 0,
        }
    }

    /// The shape of a top of so many rows: what `reshape` says before anything is known.
    ///
    /// # Errors
    /// `Shape` where it is too much for a blob.
    pub(super) fn plan(&mut self, rows: usize) -> Result<Vec<Shape>> {
        let shape = Shape::checked(&[1, 1, rows, N])?;
        self.told = rows;
        Ok(vec![shape])
    }

    /// The shape of the top where there are now more or fewer rows than last told.
    ///
    /// # Errors
    /// As [`Rows::plan`].
    pub(super) fn tell(&mut self) -> Result<Option<Vec<Shape>>> {
        match self.all.len() {
            rows if rows == self.told => Ok(None),
            rows => self.plan(rows).map(Some),
        }
    }

    /// Writes the rows.
    pub(super) fn write(&self, top: &mut [f32]) {
        top.copy_from_slice(self.all.as_flattened());
    }
}

/// Rows of boxes found: image, label, score, xmin, ymin, xmax, ymax.
pub(super) type Found = Rows<7>;

impl Found {
    /// Where nothing is found, a row (image, −1, …, −1) for each image.
    pub(super) fn or_nothing(&mut self, images: usize) {
        if self.all.is_empty() {
            let nothing = |image| [image as f32, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0];
            self.all.extend((0..images).map(nothing));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_told_once() {
        let mut rows = Found::new();
        assert_eq!(rows.plan(1).unwrap()[0].dims(), [1, 1, 1, 7]);
        rows.or_nothing(2);
        assert_eq!(rows.tell().unwrap().unwrap()[0].dims(), [1, 1, 2, 7]);
        assert!(rows.tell().unwrap().is_none());
        let mut top = [0.0; 14];
        rows.write(&mut top);
        assert_eq!((top[0], top[7], top[13]), (0.0, 1.0, -1.0));
        rows.or_nothing(5);
        assert_eq!(rows.all.len(), 2);
        assert!(rows.plan(usize::MAX).is_err());
    }
}
