//! Transformations of pixels before they become numbers: `resize_param`, `distort_param`, `expand_param`, `noise_param`
//! and `geometry_param` of a `transform_param`, one file an effect.
//!
//! In this order, whatever brings the image: distort, expand, geometry, (the cut-out of AnnotatedData's samplers),
//! resize, noise; then the crop, turn and mirror of [`super::transform`]. A label map or boxes go along with what moves
//! pixels. Everything draws from the record's own random stream, so the numbers do not depend on threads or on what was
//! read before.

#![allow(
    clippy::as_conversions,
    reason = "bytes, colours and coordinates: a float is clamped where it becomes a byte or an index"
)]

mod border;
mod color;
mod distort;
mod equalize;
mod expand;
mod fit;
mod geometry;
mod neighbours;
mod noise;
mod resize;
pub(super) mod turn;

use rand::RngExt as _;

use super::datum::{Pixels, Sample};
use crate::{
    error::{Error, Result},
    rng::Rng,
    schema::TransformationParameter,
    tensor::Shape,
};

pub(crate) use expand::{Expand, Zoom};
pub(crate) use fit::Fit;
pub(crate) use geometry::{Geometry, Warp};
pub(crate) use resize::{Interpolation, resize, scaled};

use distort::Distort;
use noise::Noise;

/// Pixels of 8 bits, the channels of a pixel together; three are red, green, blue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) pixels: Vec<u8>,
}

impl Picture {
    /// The pixels of a sample, and its label.
    ///
    /// # Errors
    /// `Unsupported` where they are not bytes.
    pub(crate) fn from_sample(sample: Sample<'_>) -> Result<(Self, i32)> {
        let [channels, height, width] = sample.dims();
        let pixels = match sample.pixels {
            Pixels::Rgb(pixels) => pixels,
            Pixels::U8(pixels) if channels == 1 => pixels.into_owned(),
            Pixels::U8(planes) => {
                let area = height * width;
                let mut pixels = vec![0; planes.len()];
                for (c, plane) in planes.chunks_exact(area).enumerate() {
                    let c = if channels == 3 { 2 - c } else { c };
                    let places = pixels.iter_mut().skip(c).step_by(channels);
                    places.zip(plane).for_each(|(p, &v)| *p = v);
                }
                pixels
            }
            Pixels::F32(_) => {
                return Err(Error::unsupported(
                    "the sample holds float_data, but transform_param has effects that work on bytes",
                )
                .help("leave resize_param, distort_param, expand_param, noise_param and geometry_param out, or store bytes"));
            }
        };
        let picture = Self {
            channels,
            height,
            width,
            pixels,
        };
        Ok((picture, sample.label))
    }

    /// Back to a sample.
    pub(crate) fn into_sample(self, label: i32) -> Sample<'static> {
        let pixels = match self.channels {
            1 => Pixels::U8(self.pixels.into()),
            3 => Pixels::Rgb(self.pixels),
            n => {
                let plane = |c: usize| self.pixels.iter().skip(c).step_by(n).copied();
                Pixels::U8((0..n).flat_map(plane).collect::<Vec<_>>().into())
            }
        };
        Sample {
            channels: self.channels,
            height: self.height,
            width: self.width,
            pixels,
            label,
        }
    }

    pub(crate) fn row(&self, y: usize) -> &[u8] {
        let stride = self.width * self.channels;
        &self.pixels[y * stride..(y + 1) * stride]
    }

    /// The part of these rows and columns.
    pub(crate) fn cut(&self, top: usize, left: usize, height: usize, width: usize) -> Self {
        let n = self.channels;
        let mut pixels = Vec::with_capacity(height * width * n);
        for y in top..top + height {
            pixels.extend_from_slice(&self.row(y)[left * n..(left + width) * n]);
        }
        Self {
            channels: n,
            height,
            width,
            pixels,
        }
    }

    /// At another size, by the nearest pixel.
    pub(crate) fn nearest(&self, [height, width]: [usize; 2]) -> Result<Self> {
        resize(self, height, width, Interpolation::Nearest)
    }

    /// Bytes of these values, one for each channel, in the order of the pixels.
    pub(crate) fn bytes_of(&self, values: &[f32]) -> Result<Vec<u8>> {
        let values = by_channel("transform_param.mean_value", values, self.channels)?;
        Ok(values.into_iter().map(byte).collect())
    }

    /// Filled up at the right and the bottom, to a size that is not smaller.
    pub(crate) fn filled(&self, height: usize, width: usize, with: &[u8]) -> Self {
        let n = self.channels;
        let mut pixels: Vec<u8> = with
            .iter()
            .copied()
            .cycle()
            .take(height * width * n)
            .collect();
        for y in 0..self.height {
            let start = y * width * n;
            pixels[start..start + self.width * n].copy_from_slice(self.row(y));
        }
        Self {
            channels: n,
            height,
            width,
            pixels,
        }
    }

    /// Changes each byte by a table of its own channel, in the order of the pixels.
    pub(crate) fn map(&mut self, table: impl Fn(usize) -> [u8; 256]) {
        let tables: Vec<_> = (0..self.channels).map(table).collect();
        for pixel in self.pixels.chunks_exact_mut(self.channels) {
            for (value, table) in pixel.iter_mut().zip(&tables) {
                *value = table[usize::from(*value)];
            }
        }
    }
}

/// No picture is made that is larger than this, in bytes; an encoded one is not read, either.
const MOST: usize = 512 << 20;

/// Bytes of a picture of this size.
///
/// # Errors
/// `Shape` where it is too large.
pub(crate) fn count(height: usize, width: usize, channels: usize) -> Result<usize> {
    let count = Shape::checked(&[height, width, channels])?.count();
    if count > MOST {
        return Err(Error::shape(format!(
            "an image of {channels}x{height}x{width} would take more than {} MiB",
            MOST >> 20
        )));
    }
    Ok(count)
}

/// The nearest byte, ties to even, as OpenCV's `saturate_cast` has it.
pub(crate) fn byte(value: f32) -> u8 {
    value.round_ties_even().clamp(0.0, 255.0) as u8
}

/// A table of 256 bytes.
fn table(f: impl Fn(f32) -> f32) -> [u8; 256] {
    std::array::from_fn(|i| byte(f(i as f32)))
}

/// One value for each channel of a pixel, in the order of the pixels, from the values of a prototxt, which are one for
/// all or blue, green, red.
fn by_channel(field: &str, values: &[f32], channels: usize) -> Result<Vec<f32>> {
    match values {
        [] => Ok(vec![0.0; channels]),
        [one] => Ok(vec![*one; channels]),
        each if each.len() == channels => {
            let mut each = each.to_vec();
            if channels == 3 {
                each.reverse();
            }
            Ok(each)
        }
        each => Err(Error::param(
            field,
            format!(
                "{} values for images of {channels} channels; give one, or one for each",
                each.len()
            ),
        )),
    }
}

/// True with this probability.
fn happens(probability: f32, rng: &mut Rng) -> bool {
    // One draw, whatever the probability, keeps later draws the same.
    rng.random_range(0.0..1.0f32) < probability
}

/// A value of `[low, high]`, which may be one point.
fn between(low: f32, high: f32, rng: &mut Rng) -> f32 {
    low + (high - low) * rng.random_range(0.0..1.0f32)
}

/// Fails unless `value` is a probability.
fn probability(field: &str, value: f32) -> Result<f32> {
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err(Error::param(
            field,
            format!("{value} is no probability; it goes from 0 to 1"),
        ))
    }
}

/// The effects that a `transform_param` asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effects {
    distort: Option<Distort>,
    expand: Option<Expand>,
    geometry: Option<Geometry>,
    fit: Option<Fit>,
    noise: Option<Noise>,
}

impl Effects {
    /// Reads the messages; `mean` fills what an expansion adds.
    ///
    /// # Errors
    /// `Param` for values that make no sense.
    pub(crate) fn new(param: &TransformationParameter, mean: &[f32]) -> Result<Self> {
        if param.untransformed_top() {
            return Err(Error::unsupported(
                "transform_param.untransformed_top: the image before its transformation is not given out",
            ));
        }
        let expand = param.expand_param.as_ref();
        Ok(Self {
            distort: param.distort_param.as_ref().map(Distort::new).transpose()?,
            expand: expand.map(|p| Expand::new(p, mean)).transpose()?,
            geometry: param
                .geometry_param
                .as_ref()
                .map(Geometry::new)
                .transpose()?,
            fit: param.resize_param.as_ref().map(Fit::new).transpose()?,
            noise: param.noise_param.as_ref().map(Noise::new).transpose()?,
        })
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.distort.is_none()
            && self.expand.is_none()
            && self.geometry.is_none()
            && self.fit.is_none()
            && self.noise.is_none()
    }

    /// How an image is resized, where it is.
    pub(crate) fn fit(&self) -> Option<&Fit> {
        self.fit.as_ref()
    }

    /// An image alone.
    pub(crate) fn image(&self, picture: Picture, rng: &mut Rng) -> Result<Picture> {
        let (picture, _) = self.before_cut(picture, rng)?;
        self.after_cut(picture, rng)
    }

    /// What comes before a sampler's cut-out, and what it does to places in the image.
    pub(crate) fn before_cut(
        &self,
        mut picture: Picture,
        rng: &mut Rng,
    ) -> Result<(Picture, Moves)> {
        let mut moves = Moves::default();
        if let Some(distort) = &self.distort {
            distort.apply(&mut picture, rng);
        }
        if let Some(expand) = &self.expand
            && let Some((larger, zoom)) = expand.apply(&picture, rng)?
        {
            picture = larger;
            moves.expand = Some(zoom);
        }
        if let Some(geometry) = &self.geometry
            && let Some(warp) = geometry.draw(picture.height, picture.width, rng)
        {
            picture = warp.apply(&picture);
            moves.warp = Some(warp);
        }
        Ok((picture, moves))
    }

    /// What comes after it.
    pub(crate) fn after_cut(&self, mut picture: Picture, rng: &mut Rng) -> Result<Picture> {
        if let Some(fit) = &self.fit {
            picture = fit.apply(&picture, rng)?;
        }
        if let Some(noise) = &self.noise {
            picture = noise.apply(picture, rng)?;
        }
        Ok(picture)
    }

    /// An image and its label map, which moves along and keeps its set of values. `expand_param` is the zoom into the
    /// pair that the fork with this layer makes of it.
    pub(crate) fn pair(
        &self,
        mut picture: Picture,
        mut map: Picture,
        rng: &mut Rng,
    ) -> Result<(Picture, Picture)> {
        if let Some(distort) = &self.distort {
            distort.apply(&mut picture, rng);
        }
        if let Some(geometry) = &self.geometry
            && let Some(warp) = geometry.draw(picture.height, picture.width, rng)
        {
            picture = warp.apply(&picture);
            map = warp.apply_nearest(&map);
        }
        if let Some(expand) = &self.expand {
            (picture, map) = expand.zoom_in(picture, map, rng)?;
        }
        if let Some(fit) = &self.fit {
            picture = fit.apply(&picture, rng)?;
            map = fit.apply_nearest(&map)?;
        }
        if let Some(noise) = &self.noise {
            picture = noise.apply(picture, rng)?;
        }
        Ok((picture, map))
    }
}

/// Where the pixels of an image went, for its boxes.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    pub(crate) expand: Option<Zoom>,
    pub(crate) warp: Option<Warp>,
}

#[cfg(test)]
mod tests;
