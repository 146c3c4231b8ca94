//! Pairs of an image and a map of labels, transformed together.

use std::sync::Arc;

use super::{
    augment::{Interpolation, Picture, count},
    datum::{Color, Pixels, Sample, size},
    files::{Folder, resized},
    list::List,
    recipe::{Out, Part, Parts, Recipe},
    source::Record,
    transform::{Transformer, Window},
};
use crate::{
    error::{Error, Place, Result},
    rng::Rng,
};

/// Where the labels of an image come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// The second path of the line.
    Map,
    /// One number of the line, for all pixels.
    Number,
    /// One value for all pixels of all images.
    All(u8),
}

/// Records are lines of a list; the tops are images, their label maps, and where asked for, the sizes that images had.
pub struct Pairs {
    /// The list that the records come from.
    pub list: Arc<List>,
    /// Where its files are.
    pub folder: Folder,
    /// Where labels come from.
    pub labels: Labels,
    /// Height and width before everything else.
    pub size: Option<[usize; 2]>,
    /// Pixels along the side of what one label stands for, at least 1.
    pub divide: usize,
    /// Instead of a label, so many planes of which its own is 1; 0 for labels.
    pub one_hot: usize,
    /// Smaller images are filled up at the right and the bottom to this height and width, with the mean and this label.
    pub fill: Option<Fill>,
    /// A third top: height and width of each image.
    pub dims: bool,
    /// What is done to the pixels.
    pub transformer: Transformer,
}

/// What a small image is filled up with.
#[derive(Clone, Debug)]
pub struct Fill {
    /// The least height and width.
    pub size: [usize; 2],
    /// Blue, green, red, or one for all.
    pub mean: Vec<f32>,
    /// The label.
    pub label: u8,
}

/// An image and its labels, before the crop.
pub struct LoadedPair {
    image: Sample<'static>,
    map: Picture,
    /// Height and width of the image before it was filled up.
    real: [usize; 2],
}

impl Pairs {
    fn map(&self, path: &str) -> Result<Picture> {
        let sample = self.folder.sample(path, Color::Labels, Vec::new())?;
        let Pixels::U8(pixels) = &sample.pixels else {
            return Err(Error::data(format!(
                "the label map '{path}' has colours; it needs one number a pixel"
            )));
        };
        Ok(Picture {
            channels: 1,
            height: sample.height,
            width: sample.width,
            pixels: pixels.to_vec(),
        })
    }

    fn fill(&self, pair: (Picture, Picture)) -> Result<(Picture, Picture)> {
        let Some(fill) = &self.fill else {
            return Ok(pair);
        };
        let (image, map) = pair;
        let [height, width] = [
            fill.size[0].max(image.height),
            fill.size[1].max(image.width),
        ];
        count(height, width, image.channels)?;
        let mean = image.bytes_of(&fill.mean)?;
        Ok((
            image.filled(height, width, &mean),
            map.filled(height, width, &[fill.label]),
        ))
    }
}

impl Recipe for Pairs {
    type Loaded<'a> = LoadedPair;

    fn load<'a>(
        &self,
        record: &Record<'a>,
        spare: Vec<u8>,
        rng: &mut Rng,
    ) -> Result<Self::Loaded<'a>> {
        let entry = self.list.entry(record)?;
        let (path, second) = (self.list.path(entry), self.list.second(entry));
        let image = self.folder.sample(path, self.transformer.color(), spare)?;
        let image = resized(image, self.size, Interpolation::Linear)?;
        let cells = [image.height / self.divide, image.width / self.divide];
        let flat = |label: u8| Picture {
            channels: 1,
            height: cells[0],
            width: cells[1],
            pixels: vec![label; cells[0] * cells[1]],
        };
        let map = match self.labels {
            Labels::All(label) => flat(label),
            Labels::Number => flat(second.trim().parse().map_err(|_| {
                Error::data(format!("'{second}' is no label; it goes from 0 to 255"))
            })?),
            Labels::Map => {
                let map = self.map(second)?;
                match self.size {
                    Some(_) if cells[0] > 0 && cells[1] > 0 => map.nearest(cells)?,
                    _ => map,
                }
            }
        };
        if [map.height, map.width] != cells {
            return Err(Error::data(format!(
                "the image '{path}' is {}x{}, and its label map '{second}' is {}x{}{}",
                image.height,
                image.width,
                map.height,
                map.width,
                match self.divide {
                    1 => String::new(),
                    n => format!(
                        "; label_divide_factor {n} makes that {}x{}",
                        cells[0], cells[1]
                    ),
                }
            ))
            .help("make both the same size, or set new_height and new_width"));
        }
        let real = [image.height, image.width];
        let effects = self.transformer.effects();
        if effects.is_empty() && self.fill.is_none() {
            return Ok(LoadedPair { image, map, real });
        }
        let (image, label) = Picture::from_sample(image)?;
        let pair = effects.pair(image, map, rng)?;
        let real = [pair.0.height, pair.0.width];
        let (image, map) = self.fill(pair)?;
        Ok(LoadedPair {
            image: image.into_sample(label),
            map,
            real,
        })
    }

    fn parts(&self, loaded: &LoadedPair) -> Result<Parts> {
        let dims @ [_, height, width] = self.transformer.output_dims(loaded.image.dims())?;
        let [high, wide] = [height / self.divide, width / self.divide];
        if high == 0 || wide == 0 {
            return Err(Error::data(format!(
                "an image of {} has no labels: label_divide_factor is {}",
                size(dims),
                self.divide
            )));
        }
        let labels = Part::Planes([self.one_hot.max(1), high, wide]);
        let mut parts: Parts = [Part::Planes(dims), labels].into_iter().collect();
        if self.dims {
            parts.push(Part::Planes([1, 1, 2]));
        }
        Ok(parts)
    }

    #[allow(clippy::as_conversions, reason = "sides of an image")]
    fn put(&self, loaded: LoadedPair, out: &mut Out<'_>, rng: &mut Rng) -> Result<Vec<u8>> {
        let LoadedPair { image, map, real } = loaded;
        let mut window = self.transformer.draw(image.dims(), rng)?;
        // A label is of one cell: crops start where cells do.
        window.top -= window.top % self.divide;
        window.left -= window.left % self.divide;
        let mut values = out.values.iter_mut();
        let (Some(data), Some(labels)) = (values.next(), values.next()) else {
            return Ok(image.spare());
        };
        self.transformer.write(&image, &window, data)?;
        let seen = self.of_map(&window, &map);
        if self.one_hot == 0 {
            for (label, seen) in labels.iter_mut().zip(seen) {
                *label = f32::from(seen);
            }
        } else {
            let planes = labels.chunks_exact_mut(seen.len());
            for (class, plane) in planes.enumerate() {
                for (label, &seen) in plane.iter_mut().zip(&seen) {
                    *label = f32::from(u8::from(usize::from(seen) == class));
                }
            }
        }
        if let Some(dims) = values.next() {
            let sides = [real[0].min(window.height), real[1].min(window.width)];
            dims.copy_from_slice(&sides.map(|n| n as f32));
        }
        Ok(image.spare())
    }

    fn place(&self, _: &str, record: &Record<'_>) -> Place {
        self.list.place(record)
    }
}

impl Pairs {
    fn of_map(&self, window: &Window, map: &Picture) -> Vec<u8> {
        window.of_map(&map.pixels, map.width, self.divide)
    }
}
