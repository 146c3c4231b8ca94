//! Which box is meant to find which object.
//!
//! Source: Liu et al., SSD (2016), section 2.2, "Matching strategy"; Erhan et al., MultiBox (2014).

use super::{boxes::BBox, truth::Truth};

/// No object.
pub(super) const FREE: i32 = -1;
/// Left out: it lies over the image's edge.
pub(super) const IGNORED: i32 = -2;

/// Overlaps up to here are none.
const NONE: f32 = 1e-6;

/// How to match.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// Boxes that are nobody's best also get an object that they overlap by so much.
    pub(super) threshold: Option<f32>,
    pub(super) ignore_crossing: bool,
}

/// For each box its object (an index, [`FREE`] or [`IGNORED`]), and how much it overlaps it, or if free any.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Matches {
    pub(super) object: Vec<i32>,
    pub(super) overlap: Vec<f32>,
}

/// The best box for an object, of those that have none.
#[derive(Clone, Copy, Debug)]
struct Best {
    bbox: usize,
    overlap: f32,
}

/// Matches boxes with the objects that have these indices among `truths`. First each object gets a box, the pair that
/// overlaps most first; then `rule.threshold` is applied. Of equal overlaps the earlier box, then the earlier object.
pub(super) fn find(truths: &[Truth], objects: &[usize], boxes: &[BBox], rule: Rule) -> Matches {
    let mut matches = Matches {
        object: vec![FREE; boxes.len()],
        overlap: vec![0.0; boxes.len()],
    };
    let mut favourite = vec![FREE; boxes.len()];
    for (b, bbox) in boxes.iter().enumerate() {
        if rule.ignore_crossing && bbox.crosses() {
            matches.object[b] = IGNORED;
            continue;
        }
        for &object in objects {
            let overlap = bbox.overlap(truths[object].bbox, 0.0);
            if overlap > NONE && overlap > matches.overlap[b] {
                matches.overlap[b] = overlap;
                favourite[b] = object as i32;
            }
        }
    }
    let best = |matches: &Matches, object: usize| {
        let mut best: Option<Best> = None;
        for (b, bbox) in boxes.iter().enumerate() {
            if matches.object[b] == FREE && matches.overlap[b] > 0.0 {
                let overlap = bbox.overlap(truths[object].bbox, 0.0);
                if overlap > best.map_or(NONE, |best| best.overlap) {
                    best = Some(Best { bbox: b, overlap });
                }
            }
        }
        best
    };
    let mut open: Vec<(usize, Best)> = objects
        .iter()
        .filter_map(|&object| Some((object, best(&matches, object)?)))
        .collect();
    loop {
        let first = open.iter().enumerate().min_by(|(_, (_, a)), (_, (_, b))| {
            (b.overlap.total_cmp(&a.overlap)).then(a.bbox.cmp(&b.bbox))
        });
        let Some((at, _)) = first else { break };
        let (object, taken) = open.remove(at);
        matches.object[taken.bbox] = object as i32;
        matches.overlap[taken.bbox] = taken.overlap;
        open.retain_mut(|(object, held)| {
            if held.bbox != taken.bbox {
                return true;
            }
            match best(&matches, *object) {
                Some(other) => *held = other,
                None => return false,
            }
            true
        });
    }
    if let Some(threshold) = rule.threshold {
        for (b, &object) in favourite.iter().enumerate() {
            if matches.object[b] == FREE && object != FREE && matches.overlap[b] >= threshold {
                matches.object[b] = object;
            }
        }
    }
    matches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth(xmin: f32, xmax: f32) -> Truth {
        Truth {
            image: 0,
            class: 1,
            bbox: BBox([xmin, 0.0, xmax, 1.0]),
            difficult: false,
        }
    }

    fn boxes(list: &[(f32, f32)]) -> Vec<BBox> {
        list.iter().map(|&(a, b)| BBox([a, 0.0, b, 1.0])).collect()
    }

    #[test]
    fn each_object_gets_a_box_and_then_boxes_get_objects() {
        let truths = [truth(0.0, 0.4), truth(0.1, 0.5)];
        // Overlaps with the first: 1, 3/5, 1/4, 0; with the second: 3/5, 1, 3/5, 0.
        let boxes = boxes(&[(0.0, 0.4), (0.1, 0.5), (0.2, 0.6), (0.8, 0.9)]);
        let rule = |threshold| Rule {
            threshold,
            ignore_crossing: false,
        };
        let two = find(&truths, &[0, 1], &boxes, rule(None));
        assert_eq!(two.object, [0, 1, FREE, FREE]);
        assert!((two.overlap[2] - 0.6).abs() < 1e-6 && two.overlap[3] == 0.0);
        let more = find(&truths, &[0, 1], &boxes, rule(Some(0.5)));
        assert_eq!(more.object, [0, 1, 1, FREE]);
        let second = find(&truths, &[1], &boxes, rule(Some(0.5)));
        assert_eq!(second.object, [1, 1, 1, FREE]);
        assert_eq!(
            find(&truths, &[], &boxes, rule(Some(0.5))).object,
            [FREE; 4]
        );
    }

    #[test]
    fn an_object_whose_box_is_taken_gets_the_next() {
        let truths = [truth(0.0, 0.4), truth(0.0, 0.4), truth(0.0, 0.4)];
        let boxes = boxes(&[(0.0, 0.4), (0.1, 0.5)]);
        let rule = Rule {
            threshold: None,
            ignore_crossing: false,
        };
        assert_eq!(find(&truths, &[0, 1, 2], &boxes, rule).object, [0, 1]);
    }

    #[test]
    fn boxes_over_the_edge_may_be_ignored() {
        let truths = [truth(0.0, 0.4)];
        let boxes = boxes(&[(-0.1, 0.4), (0.1, 0.4)]);
        let rule = Rule {
            threshold: Some(0.1),
            ignore_crossing: true,
        };
        let found = find(&truths, &[0], &boxes, rule);
        assert_eq!(found.object, [IGNORED, 0]);
        assert_eq!(found.overlap[0], 0.0);
    }
}
