//! Boxes by their centres, and how alike two are.
//!
//! Source: Rezatofighi et al., Generalized Intersection over Union (2019); Zheng et al., Distance-IoU Loss (2020).

use std::f64::consts::PI;

use crate::schema::yolov3_parameter::IouLoss;

/// A box: centre, width, height, in fractions of the image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) w: f64,
    pub(super) h: f64,
}

/// Where a box lies along one axis: from, to.
type Span = (f64, f64);

impl Rect {
    /// A box of these sides around 0.
    pub(super) fn sized(w: f64, h: f64) -> Self {
        Self {
            x: 0.0,
            y: 0.0,
            w,
            h,
        }
    }

    /// Along x and y.
    pub(super) fn spans(self) -> [Span; 2] {
        let span = |at: f64, side: f64| (at - side / 2.0, at + side / 2.0);
        [span(self.x, self.w), span(self.y, self.h)]
    }

    /// Sides of what two boxes have in common; below 0 where they are apart.
    fn common(self, other: Self) -> [f64; 2] {
        let (a, b) = (self.spans(), other.spans());
        [0, 1].map(|k| a[k].1.min(b[k].1) - a[k].0.max(b[k].0))
    }

    /// Sides of the smallest box around both.
    fn hull(self, other: Self) -> [f64; 2] {
        let (a, b) = (self.spans(), other.spans());
        [0, 1].map(|k| a[k].1.max(b[k].1) - a[k].0.min(b[k].0))
    }

    /// Intersection and union.
    fn areas(self, other: Self) -> (f64, f64) {
        let [w, h] = self.common(other);
        let common = if w < 0.0 || h < 0.0 { 0.0 } else { w * h };
        (common, self.w * self.h + other.w * other.h - common)
    }

    /// The square of the distance of the centres.
    fn distance(self, other: Self) -> f64 {
        (self.x - other.x).powi(2) + (self.y - other.y).powi(2)
    }

    /// Intersection over union.
    pub(super) fn iou(self, other: Self) -> f64 {
        let (common, union) = self.areas(other);
        common / union
    }

    /// How alike two boxes are, 1 for equal ones: IoU, less what `kind` takes off for lying apart.
    pub(super) fn likeness(self, other: Self, kind: IouLoss) -> f64 {
        let (common, union) = self.areas(other);
        let iou = common / union;
        let [w, h] = self.hull(other);
        let (hull, diagonal) = (w * h, w * w + h * h);
        match kind {
            IouLoss::Giou if hull != 0.0 => iou - (hull - union) / hull,
            IouLoss::Diou if diagonal != 0.0 => iou - (self.distance(other) / diagonal).powf(0.6),
            IouLoss::Ciou if diagonal != 0.0 => {
                let shape = self.shape(other).powi(2) * 4.0 / (PI * PI);
                let alpha = shape / (1.0 - iou + shape + 1e-6);
                iou - self.distance(other) / diagonal - alpha * shape
            }
            _ => iou,
        }
    }

    /// How much the proportions of the sides differ, as an angle.
    fn shape(self, other: Self) -> f64 {
        (other.w / other.h).atan() - (self.w / self.h).atan()
    }

    /// How to move x, y, w and h to become more like `truth`: the gradient of IoU or of the likeness of `kind`, as Darknet
    /// has it. That is not quite the derivative: w and h count twice, boxes that lie apart along both axes count as if they
    /// had something in common, and with DIOU and CIOU the hull pushes centres the other way.
    pub(super) fn pull(self, truth: Self, kind: IouLoss) -> [f64; 4] {
        let (common, hull) = (self.common(truth), self.hull(truth));
        let (spans, wanted) = (self.spans(), truth.spans());
        let (sides, centers) = ([self.w, self.h], [truth.x - self.x, truth.y - self.y]);
        let inside = common[0] * common[1];
        let union = self.w * self.h + truth.w * truth.h - inside;
        let apart = common[0] <= 0.0 || common[1] <= 0.0;
        let area = hull[0] * hull[1];
        let diagonal = hull[0].powi(2) + hull[1].powi(2);
        let distance = self.distance(truth);
        let [mut moves, mut grows] = [[0.0; 2]; 2];
        for k in [0, 1] {
            let across = 1 - k;
            let (low, high) = (wanted[k].0 - spans[k].0, spans[k].1 - wanted[k].1);
            // Of both ends: its sign, and how far it sticks out of the truth.
            let [from, to] = [(-1.0, low), (1.0, high)].map(|(sign, out)| {
                let d_inside = if out < 0.0 {
                    sign * common[across]
                } else {
                    0.0
                };
                let d_union = sign * sides[across] - d_inside;
                let d_area = if out > 0.0 { sign * hull[across] } else { 0.0 };
                let iou = if union > 0.0 {
                    (union * d_inside - inside * d_union) / (union * union)
                } else {
                    0.0
                };
                let hull = (area * d_union - union * d_area) / (area * area);
                match kind {
                    IouLoss::Giou if apart => hull,
                    IouLoss::Giou if area > 0.0 => iou + hull,
                    _ => iou,
                }
            });
            (moves[k], grows[k]) = (from + to, to - from);
            if matches!(kind, IouLoss::Diou | IouLoss::Ciou) {
                let step = |out: f64| if out > 0.0 { 1.0 } else { 0.0 };
                let hull_moves = step(high) - step(low);
                let hull_grows = (step(high) + step(low)) / 2.0;
                let square = diagonal * diagonal;
                let push = 2.0 * hull[k] * distance;
                let moved = (2.0 * centers[k] * diagonal - push * hull_moves) / square;
                let mut grown = push * hull_grows / square;
                if kind == IouLoss::Ciou {
                    let shape = self.shape(truth);
                    let off = shape * shape * 4.0 / (PI * PI);
                    let alpha = off / (1.0 - inside / union + off + 1e-6);
                    let sign = if k == 0 { 8.0 } else { -8.0 };
                    grown += alpha * sign / (PI * PI) * shape * sides[across];
                }
                if apart {
                    (moves[k], grows[k]) = (moved, grown);
                } else if diagonal > 0.0 {
                    moves[k] += moved;
                    grows[k] += grown;
                }
            }
        }
        [moves[0], moves[1], grows[0], grows[1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Rect = Rect {
        x: 0.4,
        y: 0.5,
        w: 0.4,
        h: 0.2,
    };
    const B: Rect = Rect {
        x: 0.5,
        y: 0.55,
        w: 0.3,
        h: 0.4,
    };

    #[test]
    fn likeness_of_boxes() {
        // In common 0.25 × 0.2, of 0.08 + 0.12; the hull is 0.45 × 0.4.
        let near = |got: f64, want: f64| assert!((got - want).abs() < 1e-12, "{got}, not {want}");
        let iou = 0.05 / 0.15;
        near(A.iou(B), iou);
        near(A.likeness(B, IouLoss::Mse), iou);
        near(A.likeness(B, IouLoss::Giou), iou - 0.03 / 0.18);
        let off = (0.0125 / 0.3625f64).powf(0.6);
        near(A.likeness(B, IouLoss::Diou), iou - off);
        assert!(A.likeness(B, IouLoss::Ciou) < iou - 0.0125 / 0.3625);
        for kind in [IouLoss::Iou, IouLoss::Giou, IouLoss::Diou, IouLoss::Ciou] {
            near(A.likeness(A, kind), 1.0);
        }
        let far = Rect { x: 0.9, ..A };
        near(A.iou(far), 0.0);
        assert!(A.likeness(far, IouLoss::Giou) < 0.0);
    }

    /// Where boxes overlap, IOU and GIOU pull along the derivative; w and h twice as strongly.
    #[test]
    fn pulls_are_derivatives() {
        for kind in [IouLoss::Iou, IouLoss::Giou] {
            for (a, b) in [(A, B), (B, A)] {
                let at = |k: usize, d: f64| {
                    let mut moved = a;
                    *[&mut moved.x, &mut moved.y, &mut moved.w, &mut moved.h][k] += d;
                    moved.likeness(b, kind)
                };
                for (k, got) in a.pull(b, kind).into_iter().enumerate() {
                    let want = (at(k, 1e-6) - at(k, -1e-6)) / 2e-6;
                    let want = if k < 2 { want } else { 2.0 * want };
                    assert!((got - want).abs() < 1e-4, "{kind:?} {k}: {got}, not {want}");
                }
            }
        }
    }

    #[test]
    fn far_boxes_are_pulled_together() {
        let far = Rect {
            x: 0.95,
            y: 0.5,
            w: 0.1,
            h: 0.2,
        };
        for kind in [IouLoss::Giou, IouLoss::Diou, IouLoss::Ciou] {
            let pull = A.pull(far, kind);
            assert!(pull[0] > 0.0, "{kind:?}: {pull:?}");
        }
        assert_eq!(A.pull(A, IouLoss::Diou)[..2], [0.0, 0.0]);
    }
}
