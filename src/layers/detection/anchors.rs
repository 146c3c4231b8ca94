//! Anchors: the boxes that a region proposal network tells its boxes from, and how.
//!
//! Source: Ren et al., Faster R-CNN (2015), section 3.1, with the authors' rounding. Boxes are x1, y1, x2, y2 in whole
//! pixels, both ends belonging to them: a box is x2 − x1 + 1 wide.

/// For each ratio (height over width) and each scale a box around a cell of `base` × `base` pixels.
pub(super) fn anchors(base: f32, ratios: &[f32], scales: &[f32]) -> Vec<[f32; 4]> {
    let center = (base - 1.0) / 2.0;
    let mut all = Vec::new();
    for ratio in ratios {
        let width = (base * base / ratio).sqrt().round_ties_even();
        let height = (width * ratio).round_ties_even();
        all.extend(scales.iter().map(|scale| {
            let (x, y) = ((width * scale - 1.0) / 2.0, (height * scale - 1.0) / 2.0);
            [center - x, center - y, center + x, center + y]
        }));
    }
    all
}

/// The box that offsets tell, seen from an anchor.
pub(super) fn decode([x1, y1, x2, y2]: [f32; 4], [dx, dy, dw, dh]: [f32; 4]) -> [f32; 4] {
    let (width, height) = (x2 - x1 + 1.0, y2 - y1 + 1.0);
    let (x, y) = (x1 + 0.5 * width, y1 + 0.5 * height);
    let (x, y) = (dx * width + x, dy * height + y);
    let (w, h) = (0.5 * dw.exp() * width, 0.5 * dh.exp() * height);
    [x - w, y - h, x + w, y + h]
}

/// Of boxes, best first, at most `most` that overlap no better one by more than `threshold`: their indices.
pub(super) fn suppress(boxes: &[[f32; 4]], threshold: f32, most: usize) -> Vec<usize> {
    let area = |[x1, y1, x2, y2]: [f32; 4]| (x2 - x1 + 1.0) * (y2 - y1 + 1.0);
    let mut kept: Vec<usize> = Vec::new();
    for (i, &a) in boxes.iter().enumerate() {
        if kept.len() == most {
            break;
        }
        let over = |&k: &usize| {
            let b = boxes[k];
            let width = (a[2].min(b[2]) - a[0].max(b[0]) + 1.0).max(0.0);
            let height = (a[3].min(b[3]) - a[1].max(b[1]) + 1.0).max(0.0);
            let common = width * height;
            common / (area(a) + area(b) - common) > threshold
        };
        if !kept.iter().any(over) {
            kept.push(i);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_anchors_of_faster_rcnn() {
        let got = anchors(16.0, &[0.5, 1.0, 2.0], &[8.0, 16.0, 32.0]);
        let want = [
            [-84.0, -40.0, 99.0, 55.0],
            [-176.0, -88.0, 191.0, 103.0],
            [-360.0, -184.0, 375.0, 199.0],
            [-56.0, -56.0, 71.0, 71.0],
            [-120.0, -120.0, 135.0, 135.0],
            [-248.0, -248.0, 263.0, 263.0],
            [-36.0, -80.0, 51.0, 95.0],
            [-80.0, -168.0, 95.0, 183.0],
            [-168.0, -344.0, 183.0, 359.0],
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn offsets() {
        let anchor = [0.0, 0.0, 9.0, 19.0];
        let ln2 = 2.0f32.ln();
        assert_eq!(decode(anchor, [0.0; 4]), [0.0, 0.0, 10.0, 20.0]);
        let got = decode(anchor, [0.5, -0.5, ln2, -ln2]);
        let want = [0.0, -5.0, 20.0, 5.0];
        assert!(
            got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-4),
            "{got:?}"
        );
    }

    #[test]
    fn the_best_stay() {
        // 10 × 10; the second shares 5 of its 10 columns with the first, 1/3 of both.
        let boxes = [
            [0.0, 0.0, 9.0, 9.0],
            [5.0, 0.0, 14.0, 9.0],
            [0.0, 0.0, 9.0, 9.0],
        ];
        assert_eq!(suppress(&boxes, 0.34, 9), [0, 1]);
        assert_eq!(suppress(&boxes, 0.33, 9), [0]);
        assert_eq!(suppress(&boxes, 1.0, 9), [0, 1, 2]);
        assert_eq!(suppress(&boxes, 1.0, 2), [0, 1]);
    }
}
