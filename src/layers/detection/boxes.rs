//! Boxes, and the codes in which nets tell them: as offsets from a prior box.
//!
//! Source: Liu et al., SSD: Single Shot MultiBox Detector (2016), section 2.2; Girshick et al., R-CNN (2014), appendix C.

use crate::{
    error::{Error, Result},
    schema::prior_box_parameter::CodeType,
};

/// A box: xmin, ymin, xmax, ymax, usually in fractions of the image.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct BBox(pub(super) [f32; 4]);

impl BBox {
    /// The four values at `index` of a list.
    pub(super) fn at(list: &[f32], index: usize) -> Self {
        let four = &list[4 * index..][..4];
        Self(std::array::from_fn(|i| four[i]))
    }

    pub(super) fn width(self) -> f32 {
        self.0[2] - self.0[0]
    }

    pub(super) fn height(self) -> f32 {
        self.0[3] - self.0[1]
    }

    fn center(self) -> (f32, f32) {
        let Self([x0, y0, x1, y1]) = self;
        ((x0 + x1) / 2.0, (y0 + y1) / 2.0)
    }

    /// Its area; 0 for one that is turned inside out. `extra` is what a side is longer than its ends are apart: 1 for
    /// boxes in whole pixels, 0 for fractions.
    pub(super) fn area(self, extra: f32) -> f32 {
        let Self([x0, y0, x1, y1]) = self;
        if x1 < x0 || y1 < y0 {
            0.0
        } else {
            (x1 - x0 + extra) * (y1 - y0 + extra)
        }
    }

    /// Intersection over union, 0 where there is no intersection. `extra` as in [`BBox::area`].
    pub(super) fn overlap(self, other: Self, extra: f32) -> f32 {
        let (Self(a), Self(b)) = (self, other);
        if b[0] > a[2] || b[2] < a[0] || b[1] > a[3] || b[3] < a[1] {
            return 0.0;
        }
        let width = a[2].min(b[2]) - a[0].max(b[0]) + extra;
        let height = a[3].min(b[3]) - a[1].max(b[1]) + extra;
        if width > 0.0 && height > 0.0 {
            let common = width * height;
            common / (self.area(extra) + other.area(extra) - common)
        } else {
            0.0
        }
    }

    /// Cut off at 0 and at the image's width and height.
    pub(super) fn clip(self, width: f32, height: f32) -> Self {
        let most = [width, height, width, height];
        Self(std::array::from_fn(|i| self.0[i].min(most[i]).max(0.0)))
    }

    /// With x times `width` and y times `height`.
    pub(super) fn scale(self, width: f32, height: f32) -> Self {
        let Self([x0, y0, x1, y1]) = self;
        Self([x0 * width, y0 * height, x1 * width, y1 * height])
    }

    /// Whether a corner lies outside of the image.
    pub(super) fn crosses(self) -> bool {
        self.0.iter().any(|c| !(0.0..=1.0).contains(c))
    }
}

/// How offsets are told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coder {
    pub(super) code: CodeType,
    /// Offsets are told as they are, not in units of the variances.
    pub(super) in_target: bool,
}

impl Coder {
    /// The factors of offsets.
    fn units(self, variance: [f32; 4]) -> [f32; 4] {
        if self.in_target { [1.0; 4] } else { variance }
    }

    /// The box that offsets tell, seen from its prior.
    pub(super) fn decode(self, prior: BBox, variance: [f32; 4], offsets: [f32; 4]) -> BBox {
        let units = self.units(variance);
        let d: [f32; 4] = std::array::from_fn(|i| units[i] * offsets[i]);
        let (width, height) = (prior.width(), prior.height());
        let p = prior.0;
        match self.code {
            CodeType::Corner => BBox(std::array::from_fn(|i| p[i] + d[i])),
            CodeType::CornerSize => {
                let sides = [width, height, width, height];
                BBox(std::array::from_fn(|i| p[i] + d[i] * sides[i]))
            }
            CodeType::CenterSize => {
                let (x, y) = prior.center();
                let (x, y) = (d[0] * width + x, d[1] * height + y);
                let (w, h) = (d[2].exp() * width / 2.0, d[3].exp() * height / 2.0);
                BBox([x - w, y - h, x + w, y + h])
            }
        }
    }

    /// The offsets that tell a box, seen from a prior: the inverse of [`Coder::decode`].
    pub(super) fn encode(self, prior: BBox, variance: [f32; 4], bbox: BBox) -> [f32; 4] {
        let units = self.units(variance);
        let (width, height) = (prior.width(), prior.height());
        let (p, b) = (prior.0, bbox.0);
        let d: [f32; 4] = match self.code {
            CodeType::Corner => std::array::from_fn(|i| b[i] - p[i]),
            CodeType::CornerSize => {
                let sides = [width, height, width, height];
                std::array::from_fn(|i| (b[i] - p[i]) / sides[i])
            }
            CodeType::CenterSize => {
                let ((x, y), (px, py)) = (bbox.center(), prior.center());
                let (w, h) = (bbox.width() / width, bbox.height() / height);
                [(x - px) / width, (y - py) / height, w.ln(), h.ln()]
            }
        };
        std::array::from_fn(|i| d[i] / units[i])
    }
}

/// Prior boxes with their variances, as PriorBox makes them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Priors<'a> {
    boxes: &'a [f32],
    variances: &'a [f32],
}

impl<'a> Priors<'a> {
    /// From a blob of the boxes and behind them the variances.
    ///
    /// # Errors
    /// `Data` where offsets in this code have no meaning from a prior: one without width or height.
    pub(super) fn new(data: &'a [f32], coder: Coder) -> Result<Self> {
        let (boxes, variances) = data.split_at(data.len() / 2);
        let priors = Self { boxes, variances };
        if coder.code != CodeType::Corner {
            let flat = |b: BBox| !(b.width() > 0.0 && b.height() > 0.0);
            if let Some(i) = (0..priors.len()).find(|&i| flat(priors.bbox(i))) {
                return Err(Error::data(format!(
                    "prior box {i} is {:?} (xmin, ymin, xmax, ymax): it needs a width and a height above 0",
                    priors.bbox(i).0
                )));
            }
        }
        Ok(priors)
    }

    /// Checks that offsets can be told in units of the variances.
    ///
    /// # Errors
    /// `Data` where a variance is not above 0.
    pub(super) fn check_variances(self) -> Result<()> {
        match self.variances.iter().position(|&v| v <= 0.0 || v.is_nan()) {
            None => Ok(()),
            Some(i) => Err(Error::data(format!(
                "prior box {} has the variance {}, which must be above 0",
                i / 4,
                self.variances[i]
            ))),
        }
    }

    pub(super) fn len(self) -> usize {
        self.boxes.len() / 4
    }

    pub(super) fn bbox(self, index: usize) -> BBox {
        BBox::at(self.boxes, index)
    }

    pub(super) fn variance(self, index: usize) -> [f32; 4] {
        BBox::at(self.variances, index).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_of_boxes() {
        let a = BBox([0.0, 0.0, 0.2, 0.2]);
        assert!((a.overlap(BBox([0.1, 0.1, 0.3, 0.3]), 0.0) - 1.0 / 7.0).abs() < 1e-6);
        assert_eq!(a.overlap(a, 0.0), 1.0);
        assert_eq!(a.overlap(BBox([0.2, 0.0, 0.4, 0.2]), 0.0), 0.0);
        assert_eq!(a.overlap(BBox([0.5, 0.5, 0.4, 0.4]), 0.0), 0.0);
        // In pixels, ends belong to the box: 2 × 2 and 2 × 2 with one pixel in common.
        let (a, b) = (BBox([0.0, 0.0, 1.0, 1.0]), BBox([1.0, 1.0, 2.0, 2.0]));
        assert!((a.overlap(b, 1.0) - 1.0 / 7.0).abs() < 1e-6);
        assert_eq!(a.overlap(BBox([2.0, 0.0, 3.0, 1.0]), 1.0), 0.0);
        assert_eq!(BBox([0.3, 0.0, 0.2, 1.0]).area(0.0), 0.0);
        assert!(a.overlap(BBox([f32::NAN; 4]), 0.0).is_nan());
    }

    #[test]
    fn clipping_and_crossing() {
        let b = BBox([-0.5, 0.25, 1.5, 0.75]);
        assert!(b.crosses() && !b.clip(1.0, 1.0).crosses());
        assert_eq!(b.clip(1.0, 1.0).0, [0.0, 0.25, 1.0, 0.75]);
        assert_eq!(
            b.scale(10.0, 100.0).clip(10.0, 50.0).0,
            [0.0, 25.0, 10.0, 50.0]
        );
    }

    #[test]
    fn codes_of_a_box() {
        let (prior, variance) = (BBox([0.1, 0.1, 0.3, 0.3]), [0.1, 0.1, 0.2, 0.2]);
        let bbox = BBox([0.0, 0.2, 0.4, 0.5]);
        let near = |got: [f32; 4], want: [f32; 4]| {
            assert!(
                got.iter().zip(&want).all(|(g, w)| (g - w).abs() < 1e-5),
                "{got:?}, not {want:?}"
            );
        };
        for (code, want) in [
            (CodeType::Corner, [-1.0, 1.0, 0.5, 1.0]),
            (CodeType::CornerSize, [-5.0, 5.0, 2.5, 5.0]),
            (
                CodeType::CenterSize,
                [0.0, 7.5, 5.0 * 2.0f32.ln(), 5.0 * 1.5f32.ln()],
            ),
        ] {
            for in_target in [false, true] {
                let coder = Coder { code, in_target };
                let got = coder.encode(prior, variance, bbox);
                let units = if in_target { variance } else { [1.0; 4] };
                near(got, std::array::from_fn(|i| want[i] * units[i]));
                near(coder.decode(prior, variance, got).0, bbox.0);
            }
        }
    }

    #[test]
    fn priors_are_checked() {
        let data = [0.0, 0.0, 1.0, 0.0, 0.1, 0.1, 0.0, 0.2];
        let coder = |code| Coder {
            code,
            in_target: false,
        };
        let error = Priors::new(&data, coder(CodeType::CenterSize)).unwrap_err();
        assert!(error.to_string().contains("prior box 0 is"), "{error}");
        let priors = Priors::new(&data, coder(CodeType::Corner)).unwrap();
        assert_eq!(priors.len(), 1);
        let error = priors.check_variances().unwrap_err().to_string();
        assert!(error.contains("prior box 0 has the variance 0"), "{error}");
    }
}
