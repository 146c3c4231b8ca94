//! What a net finds: boxes that are left after non-maximum suppression, as rows of the top.

use rayon::prelude::*;

use super::rect::Rect;
use crate::{error::Result, tensor::Shape};

/// Values of a row: image, label, score, xmin, ymin, xmax, ymax.
const ROW: usize = 7;

/// A box that a net tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) class: usize,
    pub(super) score: f32,
    pub(super) rect: Rect,
}

/// The rows of a pass.
#[derive(Debug)]
pub(super) struct Found {
    /// A box goes where it overlaps a better one by so much, whatever the classes of the two.
    threshold: f64,
    rows: Vec<[f32; ROW]>,
    /// How many rows the top was last said to have.
    told: usize,
}

impl Found {
    pub(super) fn new(threshold: f64) -> Self {
        Self {
            threshold,
            rows: Vec::new(),
            told: 0,
        }
    }

    /// The shape of the top before anything is known.
    pub(super) fn reshape(&mut self) -> Vec<Shape> {
        self.told = 1;
        vec![Shape::new(&[1, 1, 1, ROW])]
    }

    /// Those that stay, best first; of equal ones the earlier comes first.
    fn suppress(&self, mut candidates: Vec<Candidate>) -> Vec<Candidate> {
        candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut kept: Vec<Candidate> = Vec::new();
        for this in candidates {
            let goes = |better: &Candidate| better.rect.iou(this.rect) >= self.threshold;
            if !kept.iter().any(goes) {
                kept.push(this);
            }
        }
        kept
    }

    /// Takes what each image has; the shape of the top where it is another than last told.
    ///
    /// # Errors
    /// `Shape` where there is too much for a blob.
    pub(super) fn gather(
        &mut self,
        images: usize,
        candidates: impl Fn(usize) -> Vec<Candidate> + Sync,
    ) -> Result<Option<Vec<Shape>>> {
        let run = |image| self.suppress(candidates(image));
        let kept: Vec<_> = (0..images).into_par_iter().map(run).collect();
        self.rows.clear();
        for (image, kept) in kept.iter().enumerate() {
            self.rows.extend(kept.iter().map(|found| {
                let [(x0, x1), (y0, y1)] = found.rect.spans();
                let [x0, y0, x1, y1] = [x0, y0, x1, y1].map(|at| at as f32);
                [
                    image as f32,
                    (found.class + 1) as f32,
                    found.score,
                    x0,
                    y0,
                    x1,
                    y1,
                ]
            }));
        }
        if self.rows.is_empty() {
            let nothing = |image| [image as f32, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0];
            self.rows.extend((0..images).map(nothing));
        }
        let rows = self.rows.len();
        if rows == self.told {
            return Ok(None);
        }
        let shape = Shape::checked(&[1, 1, rows, ROW])?;
        self.told = rows;
        Ok(Some(vec![shape]))
    }

    /// Writes the rows.
    pub(super) fn write(&self, top: &mut [f32]) {
        top.copy_from_slice(self.rows.as_flattened());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_stay() {
        let at = |x: f64, score: f32, class: usize| Candidate {
            class,
            score,
            rect: Rect {
                x,
                y: 0.5,
                w: 0.4,
                h: 0.5,
            },
        };
        // Neighbours overlap by 3/5, others by 1/3 and less; of equal ones the first comes first.
        let all = [
            at(0.2, 0.5, 0),
            at(0.3, 0.9, 1),
            at(0.4, 0.5, 0),
            at(0.7, 0.5, 2),
            at(0.5, 0.5, 1),
        ];
        let mut found = Found::new(0.5);
        found.reshape();
        let shapes = found.gather(
            2,
            |image| if image == 1 { all.to_vec() } else { Vec::new() },
        );
        assert_eq!(shapes.unwrap().unwrap()[0].dims(), [1, 1, 3, 7]);
        let mut top = [0.0; 21];
        found.write(&mut top);
        let scores: Vec<_> = top.chunks(7).map(|r| (r[0], r[1], r[2])).collect();
        assert_eq!(scores, [(1.0, 2.0, 0.9), (1.0, 3.0, 0.5), (1.0, 2.0, 0.5)]);
        assert!((top[3] - 0.1).abs() < 1e-6 && (top[6] - 0.75).abs() < 1e-6);
        assert!(found.gather(3, |_| Vec::new()).unwrap().is_none());
        assert_eq!(found.rows[2], [2.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0]);
    }
}
