//! `resize_param`: an image to the size that a net takes.
//!
//! WARP ignores proportions. FIT_SMALL_SIZE keeps them: the shorter side fits, the longer one sticks out.
//! FIT_LARGE_SIZE_AND_PAD keeps them: the longer side fits, the rest is filled. Of several `interp_mode` one is drawn for
//! each image. `prob` is accepted without effect, as in the fork that brought it: every image is resized.

use super::{Interpolation, Picture, border::Border, by_channel, resize};
use crate::{
    error::{Error, Result},
    rng::Rng,
    schema::{
        ResizeParameter,
        resize_parameter::{InterpMode, ResizeMode},
    },
};

/// What a `resize_param` asks for.
#[derive(Clone, Debug)]
pub(crate) struct Fit {
    mode: ResizeMode,
    height: usize,
    width: usize,
    border: Border,
    fill: Vec<f32>,
    interpolations: Vec<Interpolation>,
    /// `height_scale`, `width_scale`: the size that boxes are counted in.
    scale: Option<[f32; 2]>,
}

impl Fit {
    pub(super) fn new(param: &ResizeParameter) -> Result<Self> {
        let side = |field: &str, told: u32| match told {
            0 => Err(Error::param(
                &format!("transform_param.resize_param.{field}"),
                "must be at least 1",
            )
            .help(
                "give the size that images are resized to: resize_param { height: ... width: ... }",
            )),
            n => Ok(n as usize),
        };
        let interpolations = param.interp_mode().map(|mode| match mode {
            InterpMode::Linear => Interpolation::Linear,
            InterpMode::Area => Interpolation::Area,
            InterpMode::Nearest => Interpolation::Nearest,
            InterpMode::Cubic => Interpolation::Cubic,
            InterpMode::Lanczos4 => Interpolation::Lanczos4,
        });
        let fit = Self {
            mode: param.resize_mode(),
            height: side("height", param.height())?,
            width: side("width", param.width())?,
            border: Border::new(
                "transform_param.resize_param.pad_mode",
                param.pad_mode().into(),
            )?,
            fill: param.pad_value.clone(),
            interpolations: interpolations.collect(),
            scale: (param.height_scale() > 0 && param.width_scale() > 0)
                .then(|| [param.height_scale() as f32, param.width_scale() as f32]),
        };
        super::count(fit.height, fit.width, 3)?;
        Ok(fit)
    }

    /// The image at its new size.
    ///
    /// # Errors
    /// `Param` where `pad_value` does not fit the channels; `Shape` for a size without pixels or with too many.
    pub(super) fn apply(&self, picture: &Picture, rng: &mut Rng) -> Result<Picture> {
        let how = Interpolation::draw(&self.interpolations, rng);
        let fill = by_channel(
            "transform_param.resize_param.pad_value",
            &self.fill,
            picture.channels,
        )?;
        self.with(picture, how, &fill)
    }

    /// A label map at its new size: no new values but 0 where it is filled with a constant.
    pub(super) fn apply_nearest(&self, map: &Picture) -> Result<Picture> {
        self.with(map, Interpolation::Nearest, &vec![0.0; map.channels])
    }

    fn with(&self, picture: &Picture, how: Interpolation, fill: &[f32]) -> Result<Picture> {
        let [height, width] = self.inner(picture.height, picture.width);
        let inner = resize(picture, height, width, how)?;
        if self.mode != ResizeMode::FitLargeSizeAndPad {
            return Ok(inner);
        }
        let fill: Vec<u8> = fill.iter().map(|&v| super::byte(v)).collect();
        let (top, left) = ((self.height - height) / 2, (self.width - width) / 2);
        let mut pixels = Vec::with_capacity(self.height * self.width * picture.channels);
        let n = picture.channels;
        for y in 0..self.height {
            let row = (self.border).place(y as isize - top as isize, height);
            for x in 0..self.width {
                let column = (self.border).place(x as isize - left as isize, width);
                match (row, column) {
                    (Some(y), Some(x)) => {
                        pixels.extend_from_slice(&inner.row(y)[x * n..(x + 1) * n]);
                    }
                    _ => pixels.extend_from_slice(&fill),
                }
            }
        }
        Ok(Picture {
            channels: n,
            height: self.height,
            width: self.width,
            pixels,
        })
    }

    /// The size of the image itself, without what is filled.
    fn inner(&self, height: usize, width: usize) -> [usize; 2] {
        let aspect = width as f32 / height as f32;
        let wanted = self.width as f32 / self.height as f32;
        let high = (self.width as f32 / aspect).floor() as usize;
        let wide = (aspect * self.height as f32).floor() as usize;
        match self.mode {
            ResizeMode::Warp => [self.height, self.width],
            ResizeMode::FitSmallSize if aspect < wanted => [high, self.width],
            ResizeMode::FitSmallSize => [self.height, wide],
            ResizeMode::FitLargeSizeAndPad if aspect > wanted => {
                [high.min(self.height), self.width]
            }
            ResizeMode::FitLargeSizeAndPad => [self.height, wide.min(self.width)],
        }
    }

    /// Where a fraction `[y, x]` of an image of this size stands in the resized one.
    pub(crate) fn moved(&self, height: usize, width: usize, [y, x]: [f32; 2]) -> [f32; 2] {
        if self.mode != ResizeMode::FitLargeSizeAndPad {
            return [y, x];
        }
        let [high, wide] = self.inner(height, width);
        let along = |at: f32, inner: usize, outer: usize| {
            let pad = (outer - inner) / 2;
            (pad as f32 + at * inner as f32) / outer as f32
        };
        [along(y, high, self.height), along(x, wide, self.width)]
    }

    /// The factors from fractions of a crop of `[height, width]` pixels to fractions of `height_scale`, `width_scale`.
    pub(crate) fn scaled(&self, [height, width]: [usize; 2]) -> Option<[f32; 2]> {
        let [high, wide] = self.scale?;
        (self.mode == ResizeMode::FitSmallSize).then(|| [height as f32 / high, width as f32 / wide])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Use, stream};

    fn fit(mode: ResizeMode, height: u32, width: u32, pad_mode: i32) -> Fit {
        Fit::new(&ResizeParameter {
            resize_mode: Some(mode.into()),
            height: Some(height),
            width: Some(width),
            pad_mode: Some(pad_mode),
            pad_value: vec![7.0],
            ..Default::default()
        })
        .unwrap()
    }

    fn run(fit: &Fit, height: usize, width: usize, pixels: &[u8]) -> Picture {
        let picture = Picture {
            channels: 1,
            height,
            width,
            pixels: pixels.to_vec(),
        };
        fit.apply(&picture, &mut stream(1, Use::Other, 0, 0))
            .unwrap()
    }

    #[test]
    fn padding_keeps_proportions_and_centres() {
        for (mode, edge) in [(1, [7, 7, 7, 7]), (2, [3, 4, 3, 4]), (3, [1, 2, 3, 4])] {
            let out = run(
                &fit(ResizeMode::FitLargeSizeAndPad, 4, 2, mode),
                2,
                2,
                &[1, 2, 3, 4],
            );
            assert_eq!((out.height, out.width), (4, 2));
            assert_eq!(out.pixels[2..6], [1, 2, 3, 4]);
            assert_eq!(out.pixels[..2], edge[..2]);
        }
        let pad = fit(ResizeMode::FitLargeSizeAndPad, 4, 2, 1);
        assert_eq!(pad.moved(2, 2, [0.0, 0.5]), [0.25, 0.5]);
        assert_eq!(pad.moved(2, 2, [1.0, 1.0]), [0.75, 1.0]);
    }

    #[test]
    fn the_short_side_fits() {
        let out = run(&fit(ResizeMode::FitSmallSize, 2, 2, 1), 1, 3, &[1, 2, 3]);
        assert_eq!((out.height, out.width), (2, 6));
    }

    #[test]
    fn errors() {
        let error = Fit::new(&ResizeParameter::default()).unwrap_err();
        assert_eq!(error.field(), Some("transform_param.resize_param.height"));
        // A line of pixels fits no square: nothing would be left of it.
        let line = Picture {
            channels: 1,
            height: 1,
            width: 100,
            pixels: vec![0; 100],
        };
        let thin = fit(ResizeMode::FitLargeSizeAndPad, 10, 10, 1);
        assert!(thin.apply(&line, &mut stream(1, Use::Other, 0, 0)).is_err());
    }
}
