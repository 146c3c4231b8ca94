//! What a net finds: boxes that are left after non-maximum suppression, as rows of the top.

use rayon::prelude::*;

use super::{super::rows, rect::Rect};
use crate::{error::Result, tensor::Shape};

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
    rows: rows::Found,
}

impl Found {
    pub(super) fn new(threshold: f64) -> Self {
        Self {
            threshold,
            rows: rows::Found::new(),
        }
    }

    /// The shape of the top before anything is known.
    ///
    /// # Errors
    /// As [`rows::Rows::plan`].
    pub(super) fn reshape(&mut self) -> Result<Vec<Shape>> {
        self.rows.plan(1)
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

    /// What stays of the candidates of each image.
    pub(super) fn keep(
        &self,
        images: usize,
        candidates: impl Fn(usize) -> Vec<Candidate> + Sync,
    ) -> Vec<Vec<Candidate>> {
        let run = |image| self.suppress(candidates(image));
        (0..images).into_par_iter().map(run).collect()
    }

    /// Takes what each image has; the shape of the top where it is another than last told.
    ///
    /// # Errors
    /// `Shape` where there is too much for a blob.
    pub(super) fn tell(&mut self, kept: &[Vec<Candidate>]) -> Result<Option<Vec<Shape>>> {
        self.rows.all.clear();
        for (image, kept) in kept.iter().enumerate() {
            self.rows.all.extend(kept.iter().map(|found| {
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
        self.rows.or_nothing(kept.len());
        self.rows.tell()
    }

    /// Writes the rows.
    pub(super) fn write(&self, top: &mut [f32]) {
        self.rows.write(top);
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
        found.reshape().unwrap();
        let kept = found.keep(
            2,
            |image| if image == 1 { all.to_vec() } else { Vec::new() },
        );
        let shapes = found.tell(&kept);
        assert_eq!(shapes.unwrap().unwrap()[0].dims(), [1, 1, 3, 7]);
        let mut top = [0.0; 21];
        found.write(&mut top);
        let scores: Vec<_> = top.chunks(7).map(|r| (r[0], r[1], r[2])).collect();
        assert_eq!(scores, [(1.0, 2.0, 0.9), (1.0, 3.0, 0.5), (1.0, 2.0, 0.5)]);
        assert!((top[3] - 0.1).abs() < 1e-6 && (top[6] - 0.75).abs() < 1e-6);
        let nothing = found.keep(3, |_| Vec::new());
        assert!(found.tell(&nothing).unwrap().is_none());
        assert_eq!(found.rows.all[2], [2.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0]);
    }
}
