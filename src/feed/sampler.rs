//! Boxes in fractions of an image, and the cut-outs that SSD's `batch_sampler` draws among them.

use rand::RngExt as _;

use crate::{
    error::{Error, Result},
    rng::Rng,
    schema::{BatchSampler, EmitConstraint, SampleConstraint, emit_constraint::EmitType},
};

/// A box in fractions of width and height.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Frame {
    pub(crate) xmin: f32,
    pub(crate) ymin: f32,
    pub(crate) xmax: f32,
    pub(crate) ymax: f32,
}

impl Frame {
    /// 0 for a box that is inside out.
    pub(crate) fn area(self) -> f32 {
        if self.xmax < self.xmin || self.ymax < self.ymin {
            return 0.0;
        }
        (self.xmax - self.xmin) * (self.ymax - self.ymin)
    }

    fn common(self, other: Self) -> f32 {
        let common = Self {
            xmin: self.xmin.max(other.xmin),
            ymin: self.ymin.max(other.ymin),
            xmax: self.xmax.min(other.xmax),
            ymax: self.ymax.min(other.ymax),
        };
        common.area()
    }

    /// Intersection over union.
    fn overlap(self, other: Self) -> f32 {
        let common = self.common(other);
        if common > 0.0 {
            common / (self.area() + other.area() - common)
        } else {
            0.0
        }
    }

    /// The share of this box that the other covers.
    fn covered(self, other: Self) -> f32 {
        let common = self.common(other);
        if common > 0.0 {
            common / self.area()
        } else {
            0.0
        }
    }

    /// The part inside of the image.
    pub(crate) fn clipped(self) -> Self {
        Self {
            xmin: self.xmin.clamp(0.0, 1.0),
            ymin: self.ymin.clamp(0.0, 1.0),
            xmax: self.xmax.clamp(0.0, 1.0),
            ymax: self.ymax.clamp(0.0, 1.0),
        }
    }

    /// As seen from inside `window`, clipped to it; `None` where nothing of it is.
    pub(crate) fn seen_from(self, window: Self) -> Option<Self> {
        let (width, height) = (window.xmax - window.xmin, window.ymax - window.ymin);
        let inside = Self {
            xmin: (self.xmin - window.xmin) / width,
            ymin: (self.ymin - window.ymin) / height,
            xmax: (self.xmax - window.xmin) / width,
            ymax: (self.ymax - window.ymin) / height,
        };
        let apart = self.xmin >= window.xmax
            || self.xmax <= window.xmin
            || self.ymin >= window.ymax
            || self.ymax <= window.ymin;
        let inside = inside.clipped();
        (!apart && inside.area() > 0.0).then_some(inside)
    }

    /// Whether a box counts in `window`: by its centre, or by how much of it is inside.
    pub(crate) fn meets(self, window: Self, constraint: &EmitConstraint) -> bool {
        match constraint.emit_type() {
            EmitType::Center => {
                let x = (self.xmin + self.xmax) / 2.0;
                let y = (self.ymin + self.ymax) / 2.0;
                (window.xmin..=window.xmax).contains(&x) && (window.ymin..=window.ymax).contains(&y)
            }
            EmitType::MinOverlap => self.covered(window) > constraint.emit_overlap(),
        }
    }
}

/// The samplers of an AnnotatedData layer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samplers(Vec<BatchSampler>);

/// Draws of one sampler for one image.
const MOST_TRIALS: u32 = 1 << 16;

impl Samplers {
    /// Checks their options.
    ///
    /// # Errors
    /// `Param` for ranges that are none.
    pub(crate) fn new(samplers: &[BatchSampler]) -> Result<Self> {
        for sampler in samplers {
            let shape = sampler.sampler.unwrap_or_default();
            let wrong = |field: &str, why: String| {
                let field = format!("annotated_data_param.batch_sampler.{field}");
                Err(Error::param(&field, why))
            };
            let (low, high) = (shape.min_scale(), shape.max_scale());
            if !(0.0 < low && low <= high && high <= 1.0) {
                return wrong(
                    "sampler.min_scale",
                    format!(
                        "scales from {low} to {high}; 0 < min_scale <= max_scale <= 1 is needed"
                    ),
                );
            }
            let (low, high) = (shape.min_aspect_ratio(), shape.max_aspect_ratio());
            if !(0.0 < low && low <= high && high.is_finite()) {
                return wrong(
                    "sampler.min_aspect_ratio",
                    format!(
                        "ratios from {low} to {high}; 0 < min_aspect_ratio <= max_aspect_ratio is needed"
                    ),
                );
            }
            if sampler.max_trials() > MOST_TRIALS {
                let most = format!("more than {MOST_TRIALS} draws for one image are too many");
                return wrong("max_trials", most);
            }
        }
        Ok(Self(samplers.to_vec()))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One of all cut-outs that the samplers find among these boxes, if there is any.
    pub(crate) fn draw(&self, boxes: &[Frame], rng: &mut Rng) -> Option<Frame> {
        let mut found = Vec::new();
        for sampler in self.0.iter().filter(|s| s.use_original_image()) {
            let before = found.len();
            let most = sampler
                .max_sample
                .map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
            let constraint = sampler.sample_constraint.unwrap_or_default();
            for _ in 0..sampler.max_trials() {
                if found.len() - before >= most {
                    break;
                }
                let frame = cut_out(sampler, rng);
                if is_met(frame, boxes, &constraint) {
                    found.push(frame);
                }
            }
        }
        match found.len() {
            0 => None,
            n => Some(found[rng.random_range(0..n)]),
        }
    }
}

/// A random box in the image.
fn cut_out(sampler: &BatchSampler, rng: &mut Rng) -> Frame {
    let shape = sampler.sampler.unwrap_or_default();
    let mut between = |low: f32, high: f32| low + (high - low) * rng.random_range(0.0..1.0f32);
    let scale = between(shape.min_scale(), shape.max_scale());
    let aspect = between(shape.min_aspect_ratio(), shape.max_aspect_ratio());
    // Neither side longer than the image's.
    let aspect = aspect.max(scale * scale).min(1.0 / (scale * scale)).sqrt();
    let (width, height) = ((scale * aspect).min(1.0), (scale / aspect).min(1.0));
    let (xmin, ymin) = (between(0.0, 1.0 - width), between(0.0, 1.0 - height));
    Frame {
        xmin,
        ymin,
        xmax: xmin + width,
        ymax: ymin + height,
    }
}

/// Whether one of the boxes meets everything that is asked for; without anything it is met.
fn is_met(frame: Frame, boxes: &[Frame], c: &SampleConstraint) -> bool {
    let within = |value: f32, low: Option<f32>, high: Option<f32>| {
        low.is_none_or(|low| value >= low) && high.is_none_or(|high| value <= high)
    };
    if *c == SampleConstraint::default() {
        return true;
    }
    boxes.iter().any(|&object| {
        within(
            frame.overlap(object),
            c.min_jaccard_overlap,
            c.max_jaccard_overlap,
        ) && within(
            frame.covered(object),
            c.min_sample_coverage,
            c.max_sample_coverage,
        ) && within(
            object.covered(frame),
            c.min_object_coverage,
            c.max_object_coverage,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        rng::{Use, stream},
        schema::Sampler,
    };

    fn frame(xmin: f32, ymin: f32, xmax: f32, ymax: f32) -> Frame {
        Frame {
            xmin,
            ymin,
            xmax,
            ymax,
        }
    }

    #[test]
    fn overlaps() {
        let (a, b) = (frame(0.0, 0.0, 0.5, 0.5), frame(0.25, 0.0, 0.75, 0.5));
        assert!((a.overlap(b) - 1.0 / 3.0).abs() < 1e-6);
        assert!((a.covered(b) - 0.5).abs() < 1e-6);
        assert_eq!(a.overlap(frame(0.6, 0.6, 0.7, 0.7)), 0.0);
        assert_eq!(
            b.seen_from(frame(0.5, 0.0, 1.0, 1.0)),
            Some(frame(0.0, 0.0, 0.5, 0.5))
        );
        assert_eq!(a.seen_from(frame(0.5, 0.5, 1.0, 1.0)), None);
    }

    #[test]
    fn boxes_that_count() {
        let window = frame(0.0, 0.0, 0.5, 1.0);
        let half_out = frame(0.3, 0.0, 0.6, 0.1);
        assert!(half_out.meets(window, &EmitConstraint::default()));
        let strict = EmitConstraint {
            emit_type: Some(EmitType::MinOverlap.into()),
            emit_overlap: Some(0.7),
        };
        assert!(!half_out.meets(window, &strict));
        assert!(frame(0.1, 0.0, 0.5, 0.1).meets(window, &strict));
    }

    #[test]
    fn cut_outs_meet_their_constraint() {
        let sampler = BatchSampler {
            sampler: Some(Sampler {
                min_scale: Some(0.3),
                max_scale: Some(1.0),
                min_aspect_ratio: Some(0.5),
                max_aspect_ratio: Some(2.0),
            }),
            sample_constraint: Some(SampleConstraint {
                min_jaccard_overlap: Some(0.5),
                ..Default::default()
            }),
            max_sample: Some(1),
            max_trials: Some(50),
            ..Default::default()
        };
        let samplers = Samplers::new(&[sampler]).unwrap();
        let object = frame(0.2, 0.2, 0.7, 0.8);
        let mut found = 0;
        for when in 0..300 {
            let mut rng = stream(1, Use::Transform, 0, when);
            let Some(cut) = samplers.draw(&[object], &mut rng) else {
                continue;
            };
            found += 1;
            assert!(cut.overlap(object) >= 0.5);
            assert_eq!(cut, cut.clipped().max(cut));
        }
        assert!(found > 250, "{found}");
        // Nothing to meet it with.
        assert_eq!(samplers.draw(&[], &mut stream(1, Use::Other, 0, 0)), None);
    }

    impl Frame {
        /// For the comparison: a box whose sides may exceed the image by rounding only.
        fn max(self, other: Self) -> Self {
            let near = |a: f32, b: f32| if (a - b).abs() < 1e-6 { b } else { a };
            frame(
                near(self.xmin, other.xmin),
                near(self.ymin, other.ymin),
                near(self.xmax, other.xmax),
                near(self.ymax, other.ymax),
            )
        }
    }

    #[test]
    fn errors() {
        let fails = |sampler: Sampler, field: &str| {
            let sampler = BatchSampler {
                sampler: Some(sampler),
                ..Default::default()
            };
            let error = Samplers::new(&[sampler]).unwrap_err();
            assert!(error.field().unwrap().ends_with(field), "{error}");
        };
        fails(
            Sampler {
                min_scale: Some(0.0),
                ..Default::default()
            },
            "min_scale",
        );
        fails(
            Sampler {
                max_scale: Some(1.5),
                ..Default::default()
            },
            "min_scale",
        );
        fails(
            Sampler {
                max_aspect_ratio: Some(0.5),
                ..Default::default()
            },
            "min_aspect_ratio",
        );
        let sampler = BatchSampler {
            max_trials: Some(u32::MAX),
            ..Default::default()
        };
        assert!(Samplers::new(&[sampler]).is_err());
    }
}
