//! From a file of an image to the `Datum` that Caffe's tools store of it.

use std::io::Cursor;

use image::{ExtendedColorType, ImageEncoder as _, ImageFormat, codecs};

use crate::{
    error::{Error, Place, Result},
    feed::{
        Interpolation, Picture,
        datum::{Color, Pixels, Sample, decode_image},
        files::Folder,
        resize, scaled,
    },
    schema::Datum,
};

/// What size an image gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Size {
    /// Its own.
    #[default]
    Own,
    /// This height and width.
    Fixed([usize; 2]),
    /// The shorter side at least `min`, the longer at most `max`, each where it is not 0; proportions stay.
    Within {
        /// Of the shorter side.
        min: usize,
        /// Of the longer side; it counts before `min`.
        max: usize,
    },
}

/// How pixels are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Byte by byte.
    #[default]
    Raw,
    /// As the file of an image, of the kind that the listed file's name ends with.
    AsListed,
    /// As the file of an image of this kind: `png`, `jpg`, `jpeg` or `bmp`.
    As(String),
}

/// How images become records.
#[derive(Clone, Debug)]
pub struct Images {
    /// Where they are.
    pub folder: Folder,
    /// One channel instead of three.
    pub gray: bool,
    /// Their size.
    pub size: Size,
    /// How they are stored.
    pub encoding: Encoding,
    /// Whether an encoded record states its size, as SSD's tools do and Caffe's do not.
    pub state_size: bool,
}

/// An image as it will be stored.
pub struct Stored {
    /// The record, without a label.
    pub datum: Datum,
    /// Height and width of the file.
    pub original: [usize; 2],
    /// Channels, height and width as stored.
    pub dims: [usize; 3],
}

/// OpenCV's own quality of a JPEG.
const QUALITY: u8 = 95;

impl Images {
    /// Reads and encodes a listed file.
    ///
    /// # Errors
    /// `Io`, `Data` or `Unsupported` where the file cannot be read; `Param` for a kind of file that is not written.
    pub fn load(&self, listed: &str) -> Result<Stored> {
        let file = self.folder.read(listed, Vec::new())?;
        let color = if self.gray { Color::Gray } else { Color::Color };
        let sample = decode_image(&file, color)
            .map_err(|e| e.at(Place::File(self.folder.path(listed).display().to_string())))?;
        let original = [sample.height, sample.width];
        let ending = ending(listed);
        let kind = match &self.encoding {
            Encoding::Raw => None,
            Encoding::AsListed if ending.is_empty() => {
                return Err(Error::param(
                    "--encoded",
                    format!(
                        "the name '{listed}' has no ending that says what kind of file to store"
                    ),
                )
                .help("say it with --encode_type=png or --encode_type=jpg"));
            }
            Encoding::AsListed => Some(ending.clone()),
            Encoding::As(kind) => Some(kind.to_ascii_lowercase()),
        };
        let same = kind
            .as_ref()
            .is_some_and(|kind| *kind == ending || (kind == "jpg" && ending == "jpeg"));
        let sample = self.sized(sample)?;
        let dims = sample.dims();
        let mut datum = match kind {
            None => {
                return Ok(Stored {
                    datum: raw(sample)?,
                    original,
                    dims,
                });
            }
            // What is stored as it was listed keeps its bytes.
            Some(_) if same && self.size == Size::Own => Datum {
                data: Some(file),
                encoded: Some(true),
                ..Datum::default()
            },
            Some(kind) => Datum {
                data: Some(encode(sample, &kind)?),
                encoded: Some(true),
                ..Datum::default()
            },
        };
        if self.state_size {
            [datum.channels, datum.height, datum.width] = stated(dims)?.map(Some);
        }
        Ok(Stored {
            datum,
            original,
            dims,
        })
    }

    fn sized(&self, sample: Sample<'static>) -> Result<Sample<'static>> {
        let own = [sample.height, sample.width];
        match self.size {
            Size::Fixed(size) if size != own => {
                let (picture, label) = Picture::from_sample(sample)?;
                let [height, width] = size;
                Ok(resize(&picture, height, width, Interpolation::Linear)?.into_sample(label))
            }
            Size::Within { min, max } if factor(own, min, max) != 1.0 => {
                let (picture, label) = Picture::from_sample(sample)?;
                Ok(scaled(&picture, factor(own, min, max))?.into_sample(label))
            }
            _ => Ok(sample),
        }
    }
}

/// By how much sides are multiplied to be between `min` and `max`, in single precision, as SSD's tools count.
fn factor([height, width]: [usize; 2], min: usize, max: usize) -> f32 {
    let (short, long) = (height.min(width), height.max(width));
    let mut scale = 1.0f32;
    if min > 0 && short < min {
        scale = min as f32 / short as f32;
    }
    if max > 0 && (scale * long as f32) as usize > max {
        scale = max as f32 / long as f32;
    }
    scale
}

/// What follows the last dot of a path, in small letters; nothing where there is none.
fn ending(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    ending.to_ascii_lowercase()
}

/// Extents as a message states them.
pub(super) fn stated(dims: [usize; 3]) -> Result<[i32; 3]> {
    let [c, h, w] = dims.map(i32::try_from);
    match (c, h, w) {
        (Ok(c), Ok(h), Ok(w)) => Ok([c, h, w]),
        _ => Err(Error::data("the image is too large to be stored")),
    }
}

/// The bytes of a sample, channel by channel: blue, green, red.
pub(super) fn planes(sample: Sample<'_>) -> Result<Vec<u8>> {
    match sample.pixels {
        Pixels::U8(bytes) => Ok(bytes.into_owned()),
        Pixels::Rgb(bytes) => {
            let (pixels, _) = bytes.as_chunks::<3>();
            let plane = |c: usize| pixels.iter().map(move |p| p[c]);
            Ok(plane(2).chain(plane(1)).chain(plane(0)).collect())
        }
        Pixels::F32(_) => Err(Error::unsupported(
            "the record holds float_data, which has no bytes",
        )),
    }
}

/// A sample stored byte by byte.
pub(super) fn raw(sample: Sample<'_>) -> Result<Datum> {
    let [channels, height, width] = stated(sample.dims())?.map(Some);
    Ok(Datum {
        channels,
        height,
        width,
        data: Some(planes(sample)?),
        encoded: Some(false),
        ..Datum::default()
    })
}

/// The file of an image of 1 or 3 channels.
fn encode(sample: Sample<'_>, kind: &str) -> Result<Vec<u8>> {
    let (picture, _) = Picture::from_sample(sample)?;
    let format = match kind {
        "png" => ImageFormat::Png,
        "jpg" | "jpeg" | "jpe" => ImageFormat::Jpeg,
        "bmp" | "dib" => ImageFormat::Bmp,
        other => {
            return Err(Error::param(
                "--encode_type",
                format!("'{other}' is no kind of file that is written here"),
            )
            .help("take png, jpg or bmp"));
        }
    };
    write_image(&picture, format)
}

/// Pixels of 1 or 3 channels as a file.
pub(super) fn write_image(picture: &Picture, format: ImageFormat) -> Result<Vec<u8>> {
    let side = |n: usize| {
        u32::try_from(n).map_err(|_| Error::data("the image is too large to be encoded"))
    };
    let (width, height) = (side(picture.width)?, side(picture.height)?);
    let kind = match picture.channels {
        1 => ExtendedColorType::L8,
        3 => ExtendedColorType::Rgb8,
        n => {
            return Err(Error::unsupported(format!(
                "an image of {n} channels; files have 1 or 3"
            )));
        }
    };
    let mut out = Cursor::new(Vec::new());
    let pixels = &picture.pixels;
    let done = match format {
        ImageFormat::Jpeg => codecs::jpeg::JpegEncoder::new_with_quality(&mut out, QUALITY)
            .write_image(pixels, width, height, kind),
        ImageFormat::Bmp => {
            codecs::bmp::BmpEncoder::new(&mut out).write_image(pixels, width, height, kind)
        }
        _ => codecs::png::PngEncoder::new(&mut out).write_image(pixels, width, height, kind),
    };
    done.map_err(|e| Error::data(format!("the image cannot be encoded: {e}")))?;
    Ok(out.into_inner())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn images() -> Images {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/feed/images");
        Images {
            folder: Folder::new(&folder, ""),
            gray: false,
            size: Size::Own,
            encoding: Encoding::Raw,
            state_size: false,
        }
    }

    #[test]
    fn raw_pixels_are_blue_first() {
        let stored = images().load("rgb8.png").unwrap();
        let [c, h, w] = stored.dims;
        assert_eq!(c, 3);
        let file = std::fs::read(images().folder.path("rgb8.png")).unwrap();
        let picture = image::load_from_memory(&file).unwrap().to_rgb8();
        let data = stored.datum.data.unwrap();
        assert_eq!(data.len(), 3 * h * w);
        assert_eq!(data[0], picture.get_pixel(0, 0).0[2]);
        assert_eq!(data[2 * h * w + 1], picture.get_pixel(1, 0).0[0]);
        assert_eq!(stored.datum.encoded, Some(false));
    }

    #[test]
    fn a_file_keeps_its_bytes_unless_something_changes() {
        let file = std::fs::read(images().folder.path("baseline.jpg")).unwrap();
        let stored = |encoding, size| {
            let images = Images {
                encoding,
                size,
                ..images()
            };
            images.load("baseline.jpg").map(|s| s.datum.data.unwrap())
        };
        assert_eq!(stored(Encoding::AsListed, Size::Own).unwrap(), file);
        assert_eq!(stored(Encoding::As("JPG".into()), Size::Own).unwrap(), file);
        let png = stored(Encoding::As("png".into()), Size::Fixed([4, 6])).unwrap();
        let png = image::load_from_memory(&png).unwrap();
        assert_eq!((png.height(), png.width()), (4, 6));
        let error = stored(Encoding::As("webp".into()), Size::Own).unwrap_err();
        assert!(error.message().contains("webp"), "{error}");
    }

    #[test]
    fn gray_is_one_channel_and_sizes_may_be_stated() {
        let images = Images {
            gray: true,
            state_size: true,
            encoding: Encoding::As("bmp".into()),
            ..images()
        };
        let stored = images.load("rgb8.png").unwrap();
        assert_eq!(stored.datum.channels, Some(1));
        assert_eq!(stored.dims[0], 1);
    }

    #[test]
    fn sides_within_bounds() {
        assert_eq!(factor([100, 200], 0, 0), 1.0);
        assert_eq!(factor([100, 200], 150, 0), 1.5);
        assert_eq!(factor([100, 200], 150, 200), 1.0);
        assert_eq!(factor([300, 600], 150, 200), 1.0 / 3.0);
    }
}
