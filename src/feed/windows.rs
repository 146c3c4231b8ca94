//! Windows of images, as detectors of the R-CNN kind are trained on: a file of them, and what is drawn of it.

use std::{fs, path::Path, sync::Arc};

use rand::RngExt as _;

use super::{
    augment::{Interpolation, Picture, resize},
    datum::{Color, size},
    files::Folder,
    image,
    recipe::{Out, Part, Parts, Recipe, number},
    resolve,
    source::{Counter, Record},
    transform::{Mean, Transformer},
};
use crate::{
    error::{Error, Place, Result},
    rng::Rng,
};

/// A region of an image.
#[derive(Clone, Copy, Debug)]
struct Region {
    image: usize,
    label: i32,
    /// x1, y1, x2, y2, all inclusive.
    corners: [i32; 4],
}

/// A window file: images, and the regions of objects and of none.
#[derive(Debug)]
pub struct Windows {
    name: String,
    images: Vec<String>,
    foreground: Vec<Region>,
    background: Vec<Region>,
}

/// Words of a file, with the line that each stands on.
struct Words<'a> {
    name: &'a str,
    words: std::iter::Peekable<Box<dyn Iterator<Item = (usize, &'a str)> + 'a>>,
    line: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self, what: &str) -> Result<&'a str> {
        match self.words.next() {
            Some((line, word)) => {
                self.line = line;
                Ok(word)
            }
            None => Err(self.wrong(format!("the window file ends where {what} should be"))),
        }
    }

    fn parse<T: std::str::FromStr>(&mut self, what: &str) -> Result<T> {
        let word = self.next(what)?;
        word.parse()
            .map_err(|_| self.wrong(format!("'{word}' should be {what}")))
    }

    fn wrong(&self, message: String) -> Error {
        Error::data(message)
            .at(Place::File(format!("{}:{}", self.name, self.line)))
            .help("for each image: `# index`, its path, channels, height, width, the number of windows, and for each window: class overlap x1 y1 x2 y2")
    }
}

impl Windows {
    /// Reads the file that a network calls `source`. Regions that overlap an object by `thresholds[0]` or more are
    /// foreground, those below `thresholds[1]` background of class 0, the others are left out.
    ///
    /// # Errors
    /// `Io` where it cannot be read; `Data` with its line where something is missing or out of range.
    pub fn read(root: &Path, source: &str, thresholds: [f32; 2]) -> Result<Self> {
        let path = resolve(root, source);
        let text = fs::read_to_string(&path).map_err(|e| Error::io("read", &path, &e))?;
        Self::parse(source, &text, thresholds)
    }

    /// As many records as wanted: what each is, is drawn.
    pub fn draws(&self) -> Counter {
        Counter::new(&self.name)
    }

    fn parse(name: &str, text: &str, [fg, bg]: [f32; 2]) -> Result<Self> {
        let words: Box<dyn Iterator<Item = _>> = Box::new(
            (1..)
                .zip(text.lines())
                .flat_map(|(n, line)| line.split_whitespace().map(move |word| (n, word))),
        );
        let mut words = Words {
            name,
            words: words.peekable(),
            line: 1,
        };
        let mut windows = Self {
            name: name.to_owned(),
            images: Vec::new(),
            foreground: Vec::new(),
            background: Vec::new(),
        };
        while words.words.peek().is_some() {
            let mark = words.next("#")?;
            if mark != "#" {
                return Err(words.wrong(format!("'{mark}' should be #, which begins an image")));
            }
            let index: usize = words.parse("the index of the image")?;
            let image = windows.images.len();
            if index != image {
                return Err(words.wrong(format!("image {index} comes where {image} should be")));
            }
            let path = words.next("the path of the image")?;
            windows.images.push(path.to_owned());
            for what in [
                "the image's channels",
                "the image's height",
                "the image's width",
            ] {
                words.parse::<u32>(what)?;
            }
            let count: u32 = words.parse("the number of windows")?;
            for _ in 0..count {
                let label: i32 = words.parse("the class of a window")?;
                let overlap: f32 = words.parse("the overlap of a window")?;
                let mut corners = [0; 4];
                for (corner, what) in corners.iter_mut().zip(["x1", "y1", "x2", "y2"]) {
                    *corner = words.parse(what)?;
                }
                let [x1, y1, x2, y2] = corners;
                if x1 < 0 || y1 < 0 || x2 < x1 || y2 < y1 {
                    let window = format!("{x1} {y1} {x2} {y2}");
                    return Err(words.wrong(format!("the window {window} is none")));
                }
                let region = Region {
                    image,
                    label,
                    corners,
                };
                if overlap >= fg {
                    if label <= 0 {
                        let why = format!(
                            "a window of an object has the class {label}; classes start at 1"
                        );
                        return Err(words.wrong(why));
                    }
                    windows.foreground.push(region);
                } else if overlap < bg {
                    windows.background.push(Region { label: 0, ..region });
                }
            }
        }
        for (kind, regions) in [
            ("foreground", &windows.foreground),
            ("background", &windows.background),
        ] {
            if regions.is_empty() {
                return Err(
                    Error::data(format!("the window file has no {kind} windows"))
                        .at(Place::File(name.to_owned()))
                        .help("lower fg_threshold or raise bg_threshold, or make more windows"),
                );
            }
        }
        Ok(windows)
    }
}

/// How a drawn window becomes an input.
pub struct Crops {
    windows: Arc<Windows>,
    folder: Folder,
    /// The files, where they are kept in memory.
    cache: Option<Vec<Vec<u8>>>,
    batch: u64,
    /// Background windows at the start of each batch.
    background: u64,
    crop: usize,
    context: usize,
    square: bool,
    mirror: bool,
    scale: f32,
    transformer: Transformer,
}

/// The options of [`Crops`].
#[derive(Clone, Copy, Debug)]
pub struct CropOptions {
    /// Windows of a batch.
    pub batch: u64,
    /// Of these, of objects.
    pub foreground: u64,
    /// Side of the crop.
    pub crop: usize,
    /// Pixels around the window, at the size of the crop.
    pub context: usize,
    /// Keep proportions.
    pub square: bool,
    /// Keep the files in memory.
    pub cache: bool,
    /// Mirror half of the windows.
    pub mirror: bool,
    /// Factor after the mean is subtracted.
    pub scale: f32,
}

impl Crops {
    /// The mean comes from `transformer`.
    ///
    /// # Errors
    /// `Io` where the files are to be kept and one cannot be read; `Data` where the mean image is smaller than the crop.
    pub fn new(
        windows: Arc<Windows>,
        folder: Folder,
        options: CropOptions,
        transformer: Transformer,
    ) -> Result<Self> {
        if let Mean::Image { dims, file, .. } = transformer.mean() {
            let offset = dims[2].saturating_sub(options.crop) / 2;
            if dims[0] != 3 || dims[2] < options.crop || dims[1] < offset + options.crop {
                return Err(Error::data(format!(
                    "the mean image '{file}' is {}, and the crop is 3x{crop}x{crop}",
                    size(*dims),
                    crop = options.crop
                )));
            }
        }
        let cache = match options.cache {
            true => {
                let files = windows.images.iter().map(|path| {
                    folder
                        .read(path, Vec::new())
                        .map_err(|e| e.at(Place::File(windows.name.clone())))
                });
                Some(files.collect::<Result<Vec<_>>>()?)
            }
            false => None,
        };
        Ok(Self {
            folder,
            cache,
            batch: options.batch.max(1),
            background: options.batch.saturating_sub(options.foreground),
            crop: options.crop,
            context: options.context,
            square: options.square,
            mirror: options.mirror,
            scale: options.scale,
            windows,
            transformer,
        })
    }

    /// The region's part of the image, and its place in the crop: rows and columns above and to the left of it.
    #[allow(
        clippy::as_conversions,
        reason = "corners fit 32 bits, and are cut to the image before they index"
    )]
    fn warp(&self, picture: &Picture, region: &Region, mirror: bool) -> Result<Warped> {
        let crop = self.crop as f64;
        let [x1, y1, x2, y2] = region.corners.map(f64::from);
        let [right, bottom] = [picture.width as f64 - 1.0, picture.height as f64 - 1.0];
        if x2 > right || y2 > bottom {
            let [x1, y1, x2, y2] = region.corners;
            return Err(Error::data(format!(
                "the window {x1} {y1} {x2} {y2} reaches out of the image, {}x{}",
                picture.height, picture.width
            )));
        }
        let mut part = [x1, y1, x2, y2];
        let (mut high, mut wide) = (self.crop, self.crop);
        let (mut above, mut before) = (0, 0);
        if self.context > 0 || self.square {
            let grow = crop / (crop - 2.0 * self.context as f64);
            let (mut tall, mut broad) = ((y2 - y1 + 1.0) / 2.0, (x2 - x1 + 1.0) / 2.0);
            let (x, y) = (x1 + broad, y1 + tall);
            if self.square {
                tall = tall.max(broad);
                broad = tall;
            }
            let wanted = [
                (x - broad * grow).round(),
                (y - tall * grow).round(),
                (x + broad * grow).round(),
                (y + tall * grow).round(),
            ];
            part = [
                wanted[0].max(0.0),
                wanted[1].max(0.0),
                wanted[2].min(right),
                wanted[3].min(bottom),
            ];
            // What the whole wanted region would be scaled by.
            let along = |low: usize| crop / (wanted[low + 2] - wanted[low] + 1.0);
            let (sx, sy) = (along(0), along(1));
            let side = |low: usize, scale: f64| {
                ((part[low + 2] - part[low] + 1.0) * scale).round().max(1.0) as usize
            };
            above = ((part[1] - wanted[1]) * sy).round() as usize;
            before = match mirror {
                true => ((wanted[2] - part[2]) * sx).round() as usize,
                false => ((part[0] - wanted[0]) * sx).round() as usize,
            };
            above = above.min(self.crop - 1);
            before = before.min(self.crop - 1);
            high = side(1, sy).min(self.crop - above);
            wide = side(0, sx).min(self.crop - before);
        }
        let [x1, y1, x2, y2] = part.map(|v| v as usize);
        let cut = picture.cut(y1, x1, y2 - y1 + 1, x2 - x1 + 1);
        Ok(Warped {
            picture: resize(&cut, high, wide, Interpolation::Linear)?,
            above,
            before,
            mirror,
            label: region.label,
        })
    }
}

/// A window at its size in the crop.
pub struct Warped {
    picture: Picture,
    above: usize,
    before: usize,
    mirror: bool,
    label: i32,
}

impl Recipe for Crops {
    type Loaded<'a> = Warped;

    fn load<'a>(
        &self,
        record: &Record<'a>,
        spare: Vec<u8>,
        rng: &mut Rng,
    ) -> Result<Self::Loaded<'a>> {
        let regions = match record.number % self.batch < self.background {
            true => &self.windows.background,
            false => &self.windows.foreground,
        };
        let region = &regions[rng.random_range(0..regions.len())];
        let mirror = self.mirror && rng.random_range(0..2u32) == 1;
        let path = &self.windows.images[region.image];
        let sample = match &self.cache {
            Some(files) => image::decode(&files[region.image], Color::Color, spare)
                .map(|decoded| decoded.into_sample(0)),
            None => self.folder.sample(path, Color::Color, spare),
        };
        let named = |e: Error| match e.message().contains(path.as_str()) {
            true => e,
            false => e.at(Place::File(path.clone())),
        };
        let (picture, _) = Picture::from_sample(sample.map_err(named)?)?;
        self.warp(&picture, region, mirror).map_err(named)
    }

    fn parts(&self, _: &Warped) -> Result<Parts> {
        let data = Part::Planes([3, self.crop, self.crop]);
        Ok([data, Part::Number].into_iter().collect())
    }

    fn put(&self, warped: Warped, out: &mut Out<'_>, _: &mut Rng) -> Result<Vec<u8>> {
        let Warped {
            picture,
            above,
            before,
            mirror,
            label,
        } = warped;
        let [data, labels] = &mut *out.values else {
            return Ok(picture.pixels);
        };
        labels.fill(number(label));
        data.fill(0.0);
        let crop = self.crop;
        for y in 0..picture.height {
            let row = picture.row(y).as_chunks::<3>().0;
            for (x, pixel) in row.iter().enumerate() {
                let x = if mirror { picture.width - 1 - x } else { x };
                for (c, value) in [pixel[2], pixel[1], pixel[0]].into_iter().enumerate() {
                    let (y, x) = (y + above, x + before);
                    let mean = match self.transformer.mean() {
                        Mean::Zero => 0.0,
                        Mean::Values(values) => values[if values.len() == 1 { 0 } else { c }],
                        Mean::Image { dims, data, .. } => {
                            let offset = (dims[2] - crop) / 2;
                            data[(c * dims[1] + y + offset) * dims[2] + x + offset]
                        }
                    };
                    data[(c * crop + y) * crop + x] = (f32::from(value) - mean) * self.scale;
                }
            }
        }
        Ok(picture.pixels)
    }

    fn place(&self, source: &str, _: &Record<'_>) -> Place {
        Place::File(source.to_owned())
    }
}

#[cfg(test)]
mod tests;
