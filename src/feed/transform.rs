//! From a sample's pixels to a net's input: `(pixel - mean) * scale` over a crop, perhaps mirrored.
//!
//! Formula and order of the operations are those of Caffe's `data_transformer.cpp`, in `f32`, so results are equal to
//! the bit. Random draws come in its order, too: mirror, row, column. The forks' effects on pixels come before, in
//! `augment`; `rotate`, quarter turns in training, comes after the crop, which has to be square.

use std::path::Path;

use rand::RngExt as _;

use super::{
    augment::{self, Effects, Picture},
    datum::{Color, Pixels, Sample, size},
    resolve,
};
use crate::{
    error::{Error, Place, Result},
    model_io::binaryproto,
    rng::Rng,
    schema::TransformationParameter,
};

/// What a `transform_param` asks for.
#[derive(Clone, Debug)]
pub struct Transformer {
    scale: f32,
    mirror: bool,
    /// Height and width to cut out.
    crop: Option<[usize; 2]>,
    /// Crop at random; else from the middle.
    random_crop: bool,
    /// Turn at random.
    rotate: bool,
    mean: Mean,
    color: Color,
    effects: Effects,
}

/// What is subtracted.
#[derive(Clone, Debug)]
pub(crate) enum Mean {
    Zero,
    /// One for all channels, or one for each.
    Values(Vec<f32>),
    /// One for each pixel of the uncropped image.
    Image {
        dims: [usize; 3],
        data: Vec<f32>,
        file: String,
    },
}

/// The part of a sample that is used, and how it is laid down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) top: usize,
    pub(crate) left: usize,
    /// Quarter turns clockwise, before the mirror.
    pub(crate) turns: u32,
    pub(crate) mirror: bool,
}

impl Transformer {
    /// Reads `param`, and the mean image it names; relative paths start at `root`. A random crop is for training
    /// only, a random mirror for both phases, as in Caffe.
    ///
    /// # Errors
    /// `Param` where options exclude each other; `Io` or `Format` where the mean image cannot be read.
    pub fn new(param: &TransformationParameter, train: bool, root: &Path) -> Result<Self> {
        let color = match (param.force_color(), param.force_gray()) {
            (true, true) => {
                return Err(Error::param(
                    "transform_param.force_gray",
                    "force_color is set as well; an image cannot be both",
                )
                .help("keep one of the two"));
            }
            (true, false) => Color::Color,
            (false, true) => Color::Gray,
            (false, false) => Color::AsStored,
        };
        let mean = match &param.mean_file {
            Some(_) if !param.mean_value.is_empty() => {
                return Err(Error::param(
                    "transform_param.mean_value",
                    "mean_file is set as well; only one mean can be subtracted",
                )
                .help("keep one of the two"));
            }
            Some(file) => read_mean(file, root)?,
            None if param.mean_value.is_empty() => Mean::Zero,
            None => Mean::Values(param.mean_value.clone()),
        };
        let side = |field: &str, told: u32| {
            usize::try_from(told).map_err(|_| Error::param(field, "too large"))
        };
        let square = side("transform_param.crop_size", param.crop_size())?;
        let height = side("transform_param.crop_h", param.crop_h())?;
        let width = side("transform_param.crop_w", param.crop_w())?;
        let crop = match (square, height, width) {
            (0, 0, 0) => None,
            (0, 0, _) | (0, _, 0) => {
                let missing = if height == 0 { "crop_h" } else { "crop_w" };
                return Err(Error::param(
                    &format!("transform_param.{missing}"),
                    "crop_h and crop_w go together; one of them is missing",
                ));
            }
            (0, height, width) => Some([height, width]),
            (side, _, _) => Some([side, side]),
        };
        let rotate = param.rotate() && train;
        if let Some([height, width]) = crop
            && rotate
            && height != width
        {
            return Err(Error::param(
                "transform_param.rotate",
                format!("quarter turns need a square, and the crop is {height}x{width}"),
            ));
        }
        let effects = Effects::new(param, &mean.by_channel())?;
        Ok(Self {
            scale: param.scale(),
            mirror: param.mirror(),
            crop,
            random_crop: train,
            rotate,
            mean,
            color,
            effects,
        })
    }

    /// [`new`](Self::new) for images that are decoded as the layer says, not as `force_color` or `force_gray` do.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn with_color(
        param: &TransformationParameter,
        train: bool,
        root: &Path,
        color: Color,
    ) -> Result<Self> {
        let mut transformer = Self::new(param, train, root)?;
        transformer.color = color;
        Ok(transformer)
    }

    /// What is subtracted.
    pub(crate) fn mean(&self) -> &Mean {
        &self.mean
    }

    /// What comes before the crop.
    pub(crate) fn effects(&self) -> &Effects {
        &self.effects
    }

    /// The sample after the effects that work on pixels; draws from `rng` only where there are such.
    ///
    /// # Errors
    /// `Unsupported` for samples of floats, `Shape` for sizes without pixels or with too many.
    pub fn prepare<'a>(&self, sample: Sample<'a>, rng: &mut Rng) -> Result<Sample<'a>> {
        if self.effects.is_empty() {
            return Ok(sample);
        }
        let (picture, label) = Picture::from_sample(sample)?;
        Ok(self.effects.image(picture, rng)?.into_sample(label))
    }

    /// How encoded images are to be decoded for this.
    pub fn color(&self) -> Color {
        self.color
    }

    /// Channels, height and width that a sample of `dims` comes out with.
    ///
    /// # Errors
    /// `Data` where it is smaller than the crop or does not fit the mean.
    pub fn output_dims(&self, dims: [usize; 3]) -> Result<[usize; 3]> {
        let [channels, height, width] = dims;
        match &self.mean {
            Mean::Values(values) if values.len() != 1 && values.len() != channels => {
                return Err(Error::data(format!(
                    "transform_param has {} mean_value for samples of {channels} channels",
                    values.len()
                ))
                .help("give one mean_value, or one for each channel"));
            }
            Mean::Image {
                dims: mean, file, ..
            } if *mean != dims => {
                return Err(Error::data(format!(
                    "the mean image '{file}' is {}, but the sample is {}",
                    size(*mean),
                    size(dims)
                ))
                .help("make the mean from this database, or give mean_value instead"));
            }
            _ => {}
        }
        match self.crop {
            None if self.rotate && height != width => Err(Error::data(format!(
                "transform_param.rotate turns squares only, and the sample is {}",
                size(dims)
            ))
            .help("cut a square with crop_size, or make one with resize_param")),
            None => Ok(dims),
            Some([high, wide]) if high <= height && wide <= width => Ok([channels, high, wide]),
            Some([high, wide]) => {
                let crop = match high == wide {
                    true => format!("crop_size {high}"),
                    false => format!("crop_h {high} or crop_w {wide}"),
                };
                Err(Error::data(format!(
                    "transform_param.{crop} is larger than the sample, {}",
                    size(dims)
                ))
                .help("lower crop_size, or make the database of larger images"))
            }
        }
    }

    /// Writes the transformed sample to `out`, which holds [`output_dims`](Self::output_dims) values.
    ///
    /// # Errors
    /// As [`output_dims`](Self::output_dims); `Shape` where `out` is of another size.
    pub fn apply(&self, sample: &Sample<'_>, out: &mut [f32], rng: &mut Rng) -> Result<()> {
        let window = self.draw(sample.dims(), rng)?;
        self.write(sample, &window, out)
    }

    /// Draws the window of a sample of `dims`.
    ///
    /// # Errors
    /// As [`output_dims`](Self::output_dims).
    pub(crate) fn draw(&self, dims: [usize; 3], rng: &mut Rng) -> Result<Window> {
        let [_, height, width] = self.output_dims(dims)?;
        let mirror = self.mirror && rng.random_range(0..2u32) == 1;
        let mut offset = |slack: usize| match self.crop {
            None => 0,
            Some(_) if self.random_crop => rng.random_range(0..=slack),
            Some(_) => slack / 2,
        };
        let (top, left) = (offset(dims[1] - height), offset(dims[2] - width));
        let turns = match self.rotate {
            true => rng.random_range(0..4u32),
            false => 0,
        };
        Ok(Window {
            height,
            width,
            top,
            left,
            turns,
            mirror,
        })
    }

    /// Writes what the window shows.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub(crate) fn write(
        &self,
        sample: &Sample<'_>,
        window: &Window,
        out: &mut [f32],
    ) -> Result<()> {
        let [channels, height, width] = self.output_dims(sample.dims())?;
        if out.len() != channels * height * width {
            return Err(Error::shape(format!(
                "room for {} values, but the sample comes out as {}",
                out.len(),
                size([channels, height, width])
            )));
        }
        let straight = Window {
            mirror: window.mirror && window.turns == 0,
            ..*window
        };
        match &sample.pixels {
            Pixels::U8(pixels) => self.rows(pixels, f32::from, sample.dims(), &straight, out),
            Pixels::Rgb(pixels) => self.rgb_rows(pixels, sample.dims(), &straight, out),
            Pixels::F32(pixels) => self.rows(pixels, |v| v, sample.dims(), &straight, out),
        }
        window.turn(out);
        Ok(())
    }

    /// [`rows`](Self::rows) of red, green and blue together, to the planes of blue, green and red.
    fn rgb_rows(
        &self,
        pixels: &[u8],
        [_, height, width]: [usize; 3],
        window: &Window,
        out: &mut [f32],
    ) {
        let scale = self.scale;
        let (pixels, _) = pixels.as_chunks::<3>();
        let mut planes = out.chunks_exact_mut(window.height * window.width);
        let mut next = || planes.next().unwrap_or_default();
        let rows = (next().chunks_exact_mut(window.width))
            .zip(next().chunks_exact_mut(window.width))
            .zip(next().chunks_exact_mut(window.width));
        // A byte has one of 256 values: they are worked out once for each channel.
        let table = |mean: f32| -> [f32; 256] {
            let mut byte = 0.0;
            std::array::from_fn(|_| {
                let value = (byte - mean) * scale;
                byte += 1.0;
                value
            })
        };
        let tables = match &self.mean {
            Mean::Values(values) => {
                let mean = |c: usize| values[if values.len() == 1 { 0 } else { c }];
                [0, 1, 2].map(|c| table(mean(c)))
            }
            Mean::Zero | Mean::Image { .. } => [table(0.0); 3],
        };
        for (row, ((b, g), r)) in rows.enumerate() {
            let start = (window.top + row) * width + window.left;
            let row = &pixels[start..start + window.width];
            if let Mean::Image { data, .. } = &self.mean {
                let mean = |c: usize| &data[c * height * width + start..][..window.width];
                for (c, out) in [&mut *b, &mut *g, &mut *r].into_iter().enumerate() {
                    let from = row.iter().zip(mean(c));
                    fill(
                        out,
                        from.map(|(p, m)| (f32::from(p[2 - c]) - m) * scale),
                        window.mirror,
                    );
                }
                continue;
            }
            let [blue, green, red] = &tables;
            for (((b, g), r), p) in b.iter_mut().zip(&mut *g).zip(&mut *r).zip(row) {
                *b = blue[usize::from(p[2])];
                *g = green[usize::from(p[1])];
                *r = red[usize::from(p[0])];
            }
            if window.mirror {
                for row in [b, g, r] {
                    row.reverse();
                }
            }
        }
    }

    /// All sizes have been checked.
    fn rows<T: Copy>(
        &self,
        pixels: &[T],
        float: impl Fn(T) -> f32 + Copy,
        [_, height, width]: [usize; 3],
        window: &Window,
        out: &mut [f32],
    ) {
        let scale = self.scale;
        let planes = out.chunks_exact_mut(window.height * window.width);
        for (channel, plane) in planes.enumerate() {
            for (row, out) in plane.chunks_exact_mut(window.width).enumerate() {
                let start = (channel * height + window.top + row) * width + window.left;
                let row = start..start + window.width;
                let from = pixels[row.clone()].iter().map(|&p| float(p));
                match &self.mean {
                    Mean::Zero => fill(out, from.map(|p| p * scale), window.mirror),
                    Mean::Values(values) => {
                        let mean = values[if values.len() == 1 { 0 } else { channel }];
                        fill(out, from.map(|p| (p - mean) * scale), window.mirror);
                    }
                    Mean::Image { data, .. } => {
                        let from = from.zip(&data[row]);
                        fill(out, from.map(|(p, m)| (p - m) * scale), window.mirror);
                    }
                }
            }
        }
    }
}

impl Window {
    /// Turns what was written straight, and mirrors it then.
    fn turn<T: Copy>(&self, out: &mut [T]) {
        if self.turns > 0 {
            augment::turn::turn(out, self.width, self.turns);
            if self.mirror {
                out.chunks_exact_mut(self.width).for_each(<[T]>::reverse);
            }
        }
    }

    /// The values of a map of `height` x `width` cells under the window, as they are; `cell` pixels of the image are one
    /// cell of the map.
    pub(crate) fn of_map(&self, map: &[u8], width: usize, cell: usize) -> Vec<u8> {
        let (high, wide) = (self.height / cell, self.width / cell);
        let mut out = Vec::with_capacity(high * wide);
        for y in 0..high {
            let start = (self.top / cell + y) * width + self.left / cell;
            let at = out.len();
            out.extend_from_slice(&map[start..start + wide]);
            if self.mirror && self.turns == 0 {
                out[at..].reverse();
            }
        }
        let cells = Self {
            height: high,
            width: wide,
            ..*self
        };
        cells.turn(&mut out);
        out
    }
}

impl Mean {
    /// One value for all channels, or one each, as a colour to fill with.
    fn by_channel(&self) -> Vec<f32> {
        match self {
            Self::Zero => Vec::new(),
            Self::Values(values) => values.clone(),
            Self::Image { dims, data, .. } => {
                let area = dims[1] * dims[2];
                let mut cells = 0.0;
                (0..area).for_each(|_| cells += 1.0);
                data.chunks_exact(area)
                    .map(|plane| plane.iter().sum::<f32>() / cells)
                    .collect()
            }
        }
    }
}

/// Writes a row, forwards or backwards.
fn fill(out: &mut [f32], from: impl Iterator<Item = f32>, mirror: bool) {
    out.iter_mut().zip(from).for_each(|(o, v)| *o = v);
    if mirror {
        // The row is still in the nearest cache; this way both loops go several values at a time.
        out.reverse();
    }
}

/// A mean image: `[1, channels, height, width]`, or the last three of these.
fn read_mean(file: &str, root: &Path) -> Result<Mean> {
    let mut mean = binaryproto::read_binaryproto(&resolve(root, file))?;
    let dims = match *mean.shape.dims() {
        [_, c, h, w] | [c, h, w] if mean.shape.count() > 0 => [c, h, w],
        _ => {
            return Err(Error::format(format!(
                "a mean image has channels, height and width; this blob is {}",
                mean.shape
            ))
            .at(Place::File(file.to_owned())));
        }
    };
    // Of several images Caffe reads the first.
    mean.data.truncate(dims.iter().product());
    Ok(Mean::Image {
        dims,
        data: mean.data,
        file: file.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::ErrorKind,
        rng::{Use, stream},
        tensor::Tensor,
    };

    fn transformer(set: impl FnOnce(&mut TransformationParameter), train: bool) -> Transformer {
        let mut param = TransformationParameter::default();
        set(&mut param);
        Transformer::new(&param, train, Path::new("")).unwrap()
    }

    /// One channel of 3x4 pixels, 0 to 11.
    fn sample(channels: usize) -> Sample<'static> {
        let count = u8::try_from(channels * 12).unwrap();
        Sample {
            channels,
            height: 3,
            width: 4,
            pixels: Pixels::U8((0..count).collect()),
            label: 0,
        }
    }

    fn run(t: &Transformer, sample: &Sample<'_>, when: u64) -> Vec<f32> {
        let [c, h, w] = t.output_dims(sample.dims()).unwrap();
        let mut out = vec![f32::NAN; c * h * w];
        t.apply(sample, &mut out, &mut stream(1, Use::Transform, 0, when))
            .unwrap();
        out
    }

    #[test]
    fn mean_then_scale() {
        let t = transformer(
            |p| {
                p.mean_value = vec![1.0, 10.0];
                p.scale = Some(0.5);
            },
            false,
        );
        let out = run(&t, &sample(2), 0);
        assert_eq!(out[..2], [-0.5, 0.0]);
        assert_eq!(out[12..14], [1.0, 1.5]);
        // One value serves every channel; floats go the same way.
        let t = transformer(|p| p.mean_value = vec![1.0], false);
        let mut floats = sample(2);
        floats.pixels = Pixels::F32((0..24u8).map(f32::from).collect());
        assert_eq!(run(&t, &floats, 0), run(&t, &sample(2), 0));
    }

    #[test]
    fn a_decoded_image_comes_out_as_its_planes() {
        let dir = tempfile::tempdir().unwrap();
        let mean = Tensor::new([3, 3, 4], (0u8..36).map(f32::from).collect()).unwrap();
        binaryproto::write_binaryproto(&dir.path().join("m"), mean.view()).unwrap();
        let rgb = Sample {
            pixels: Pixels::Rgb((0..36).map(|i| i * 7).collect()),
            ..sample(3)
        };
        let planes = Sample {
            pixels: Pixels::F32(rgb.floats()),
            ..sample(3)
        };
        let param = TransformationParameter {
            crop_size: Some(2),
            mirror: Some(true),
            scale: Some(0.3),
            ..Default::default()
        };
        for (mean_value, mean_file) in [
            (vec![], None),
            (vec![9.0], None),
            (vec![1.0, 2.0, 3.0], None),
            (vec![], Some("m".to_owned())),
        ] {
            let param = TransformationParameter {
                mean_value,
                mean_file,
                ..param.clone()
            };
            let t = Transformer::new(&param, true, dir.path()).unwrap();
            for when in 0..20 {
                assert_eq!(run(&t, &rgb, when), run(&t, &planes, when));
            }
        }
    }

    #[test]
    fn the_middle_crop() {
        //   0 1  2  3
        //   4 5  6  7     crop 2: (3 - 2) / 2 = 0 rows, (4 - 2) / 2 = 1 column off
        //   8 9 10 11
        let t = transformer(|p| p.crop_size = Some(2), false);
        assert_eq!(run(&t, &sample(1), 0), [1., 2., 5., 6.]);
    }

    #[test]
    fn a_crop_that_is_not_square() {
        let t = transformer(
            |p| {
                p.crop_h = Some(1);
                p.crop_w = Some(3);
            },
            false,
        );
        assert_eq!(t.output_dims([1, 3, 4]).unwrap(), [1, 1, 3]);
        assert_eq!(run(&t, &sample(1), 0), [4., 5., 6.]);
    }

    #[test]
    fn quarter_turns_of_a_square_in_training() {
        let set = |p: &mut TransformationParameter| {
            p.crop_size = Some(2);
            p.rotate = Some(true);
            p.mirror = Some(true);
        };
        let t = transformer(set, true);
        let mut seen = std::collections::BTreeSet::new();
        for when in 0..400 {
            let out = run(&t, &sample(1), when);
            // The four pixels of a crop, whatever they lie like.
            let mut sorted = out.clone();
            sorted.sort_by(f32::total_cmp);
            assert_eq!([1, 2, 3].map(|i| sorted[i] - sorted[0]), [1.0, 4.0, 5.0]);
            let relative: Vec<f32> = out.iter().map(|v| v - sorted[0]).collect();
            seen.insert(format!("{relative:?}"));
        }
        assert_eq!(seen.len(), 8, "{seen:?}");
        let t = transformer(set, false);
        assert_eq!(t.output_dims([1, 3, 4]).unwrap(), [1, 2, 2]);
        let whole = transformer(|p| p.rotate = Some(true), true);
        let error = whole.output_dims([1, 3, 4]).unwrap_err();
        assert!(error.message().contains("turns squares only"), "{error}");
    }

    #[test]
    fn effects_come_before_the_crop() {
        let t = transformer(
            |p| {
                p.crop_size = Some(2);
                p.resize_param = Some(crate::schema::ResizeParameter {
                    height: Some(2),
                    width: Some(2),
                    interp_mode: vec![3],
                    ..Default::default()
                });
            },
            true,
        );
        let mut rng = stream(1, Use::Transform, 0, 0);
        let small = t.prepare(sample(1), &mut rng).unwrap();
        assert_eq!(small.dims(), [1, 2, 2]);
        assert_eq!(run(&t, &small, 0), [0., 2., 4., 6.]);
        let floats = Sample {
            pixels: Pixels::F32(vec![0.0; 12]),
            ..sample(1)
        };
        let error = t.prepare(floats, &mut rng).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn random_crop_in_training_and_random_mirror_always() {
        let mut corners = std::collections::BTreeSet::new();
        let t = transformer(|p| p.crop_size = Some(2), true);
        for when in 0..200 {
            let out = run(&t, &sample(1), when);
            assert_eq!([out[1] - out[0], out[2] - out[0]], [1.0, 4.0]);
            corners.insert(format!("{}", out[0]));
        }
        assert_eq!(corners.len(), 6, "{corners:?}");

        let t = transformer(|p| p.mirror = Some(true), false);
        let mirrored = (0..1000)
            .filter(|&when| {
                let out = run(&t, &sample(1), when);
                assert!(out[..4] == [0., 1., 2., 3.] || out[..4] == [3., 2., 1., 0.]);
                out[0] > 0.0
            })
            .count();
        assert!((400..600).contains(&mirrored), "{mirrored}");
        assert_eq!(run(&t, &sample(1), 5), run(&t, &sample(1), 5));
    }

    #[test]
    fn the_mean_image_is_cropped_along() {
        let dir = tempfile::tempdir().unwrap();
        let mean = Tensor::new([1, 1, 3, 4], (0u8..12).map(f32::from).collect()).unwrap();
        binaryproto::write_binaryproto(&dir.path().join("m"), mean.view()).unwrap();
        let param = TransformationParameter {
            mean_file: Some("m".into()),
            crop_size: Some(2),
            mirror: Some(true),
            ..Default::default()
        };
        let t = Transformer::new(&param, true, dir.path()).unwrap();
        for when in 0..20 {
            assert_eq!(run(&t, &sample(1), when), [0.0; 4]);
        }
        let error = t.output_dims([1, 4, 4]).unwrap_err();
        let text = error.message();
        assert!(
            text.contains("'m' is 1x3x4") && text.contains("1x4x4"),
            "{text}"
        );
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let t = transformer(|p| p.crop_size = Some(5), false);
        let error = t.output_dims([1, 3, 9]).unwrap_err();
        assert!(error.message().contains("crop_size 5") && error.message().contains("1x3x9"));
        let t = transformer(|p| p.mean_value = vec![1.0, 2.0], false);
        let error = t.output_dims([3, 9, 9]).unwrap_err();
        assert!(error.message().contains("2 mean_value"), "{error}");

        let both = |set: fn(&mut TransformationParameter)| {
            let mut param = TransformationParameter::default();
            set(&mut param);
            Transformer::new(&param, true, Path::new("")).unwrap_err()
        };
        let error = both(|p| {
            p.mean_value = vec![1.0];
            p.mean_file = Some("m".into());
        });
        assert_eq!(error.kind(), ErrorKind::Param);
        let error = both(|p| {
            p.force_color = Some(true);
            p.force_gray = Some(true);
        });
        assert_eq!(error.kind(), ErrorKind::Param);
        let error = both(|p| p.crop_h = Some(3));
        assert_eq!(error.field(), Some("transform_param.crop_w"));
        let error = both(|p| {
            p.crop_h = Some(3);
            p.crop_w = Some(4);
            p.rotate = Some(true);
        });
        assert_eq!(error.field(), Some("transform_param.rotate"));
        let error = both(|p| p.untransformed_top = Some(true));
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let error = both(|p| p.mean_file = Some("no/such/mean".into()));
        assert!(error.message().contains("no/such/mean"), "{error}");
    }
}
