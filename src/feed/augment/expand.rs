//! `expand_param`: the image somewhere in a larger one, which the mean fills; small objects come of it.
//!
//! For pairs of image and label map the fork that has them zooms in instead: a part of them becomes the whole.

use super::{Interpolation, Picture, between, by_channel, byte, happens, probability, resize};
use crate::{
    error::{Error, Result},
    rng::Rng,
    schema::ExpansionParameter,
};

/// What an `expand_param` asks for.
#[derive(Clone, Debug)]
pub(crate) struct Expand {
    probability: f32,
    most: f32,
    mean: Vec<f32>,
}

/// Where an image stands in a larger one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Zoom {
    /// Its first row and column, as fractions of the larger one.
    pub(crate) start: [f32; 2],
    /// Its height and width, likewise.
    pub(crate) size: [f32; 2],
}

impl Expand {
    pub(super) fn new(param: &ExpansionParameter, mean: &[f32]) -> Result<Self> {
        let most = param.max_expand_ratio();
        if !(1.0..=16.0).contains(&most) {
            return Err(Error::param(
                "transform_param.expand_param.max_expand_ratio",
                format!("{most} is out of range; it goes from 1 to 16"),
            ));
        }
        Ok(Self {
            probability: probability("transform_param.expand_param.prob", param.prob())?,
            most,
            mean: mean.to_vec(),
        })
    }

    /// The ratio, where the image is changed at all.
    fn draw(&self, rng: &mut Rng) -> Option<f32> {
        let changed = happens(self.probability, rng) && self.most > 1.01;
        changed.then(|| between(1.0, self.most, rng))
    }

    /// The larger image, and where in it the old one is.
    pub(super) fn apply(
        &self,
        picture: &Picture,
        rng: &mut Rng,
    ) -> Result<Option<(Picture, Zoom)>> {
        let Some(ratio) = self.draw(rng) else {
            return Ok(None);
        };
        let n = picture.channels;
        let larger = |side: usize| (side as f32 * ratio) as usize;
        let (height, width) = (
            larger(picture.height).max(picture.height),
            larger(picture.width).max(picture.width),
        );
        let count = super::count(height, width, n)?;
        let mut offset = |slack: usize| (between(0.0, slack as f32, rng) as usize).min(slack);
        let top = offset(height - picture.height);
        let left = offset(width - picture.width);
        let fill: Vec<u8> = by_channel("transform_param.mean_value", &self.mean, n)?
            .iter()
            .map(|&v| byte(v))
            .collect();
        let mut pixels: Vec<u8> = fill.iter().copied().cycle().take(count).collect();
        for y in 0..picture.height {
            let start = ((top + y) * width + left) * n;
            pixels[start..start + picture.width * n].copy_from_slice(picture.row(y));
        }
        let part = |a: usize, b: usize| a as f32 / b as f32;
        let zoom = Zoom {
            start: [part(top, height), part(left, width)],
            size: [part(picture.height, height), part(picture.width, width)],
        };
        let picture = Picture {
            channels: n,
            height,
            width,
            pixels,
        };
        Ok(Some((picture, zoom)))
    }

    /// A part of image and label map, at the size of the whole.
    pub(super) fn zoom_in(
        &self,
        picture: Picture,
        map: Picture,
        rng: &mut Rng,
    ) -> Result<(Picture, Picture)> {
        let Some(ratio) = self.draw(rng) else {
            return Ok((picture, map));
        };
        let part = |side: usize| ((side as f32 / ratio) as usize).clamp(1, side);
        let (height, width) = (part(picture.height), part(picture.width));
        let mut offset = |slack: usize| (between(0.0, slack as f32, rng) as usize).min(slack);
        let left = offset(picture.width - width);
        let top = offset(picture.height - height);
        let whole =
            |of: &Picture, how| resize(&of.cut(top, left, height, width), of.height, of.width, how);
        Ok((
            whole(&picture, Interpolation::Linear)?,
            whole(&map, Interpolation::Nearest)?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Use, stream};

    #[test]
    fn the_image_stands_in_the_mean() {
        let expand = Expand::new(
            &ExpansionParameter {
                prob: Some(1.0),
                max_expand_ratio: Some(4.0),
            },
            &[104.0, 117.0, 123.0],
        )
        .unwrap();
        let picture = Picture {
            channels: 3,
            height: 2,
            width: 3,
            pixels: (0..18).collect(),
        };
        let mut ratios = 0.0;
        for when in 0..200 {
            let mut rng = stream(1, Use::Transform, 0, when);
            let (larger, zoom) = expand.apply(&picture, &mut rng).unwrap().unwrap();
            let [top, left] = zoom.start;
            let top = (top * larger.height as f32).round() as usize;
            let left = (left * larger.width as f32).round() as usize;
            assert_eq!(larger.cut(top, left, 2, 3), picture);
            // Means come blue, green, red; pixels red, green, blue.
            let rest = larger.pixels.as_chunks::<3>().0;
            let filled = rest.iter().filter(|p| **p == [123, 117, 104]).count();
            assert_eq!(filled, larger.height * larger.width - 6);
            ratios += 1.0 / zoom.size[0];
        }
        assert!((2.0..2.6).contains(&(ratios / 200.0)), "{ratios}");
    }

    #[test]
    fn errors() {
        let with = |prob, ratio| {
            let param = ExpansionParameter {
                prob: Some(prob),
                max_expand_ratio: Some(ratio),
            };
            let error = Expand::new(&param, &[]).unwrap_err();
            error.field().unwrap().to_owned()
        };
        assert!(with(1.0, 0.5).ends_with("max_expand_ratio"));
        assert!(with(1.0, f32::NAN).ends_with("max_expand_ratio"));
        assert!(with(2.0, 2.0).ends_with("prob"));
    }
}
