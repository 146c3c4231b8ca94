//! Image files as a net's input: found by what a person names, decoded, brought to the input's size.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    augment::{Interpolation, Picture, resize},
    datum::{Color, Pixels, Sample, decode_image},
    files::whole,
    transform::Transformer,
};
use crate::{
    error::{Error, ErrorKind, Place, Result},
    rng,
    tensor::Shape,
};

/// Endings of image files, in lower case.
const ENDINGS: &[&str] = &[
    "png", "jpg", "jpeg", "jpe", "bmp", "dib", "gif", "tif", "tiff", "webp", "pbm", "pgm", "ppm",
    "pnm",
];

/// Whether a file's name says that it is an image.
pub fn is_image(path: &Path) -> bool {
    let ending = path.extension().and_then(|e| e.to_str());
    ending.is_some_and(|e| ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(e)))
}

/// The image files that words mean, in their order: a file itself, the images of a folder by name, the files that a list
/// (`.txt`, one a line) names, or a pattern such as `faces/*.png`.
///
/// # Errors
/// `Io` where something is not there or cannot be read; `Param` where a word means no image at all.
pub fn find(words: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for word in words {
        let before = found.len();
        if word.is_dir() {
            let entries = fs::read_dir(word).map_err(|e| Error::io("open the folder", word, &e))?;
            for entry in entries {
                let path = entry
                    .map_err(|e| Error::io("read the folder", word, &e))?
                    .path();
                if path.is_file() && is_image(&path) {
                    found.push(path);
                }
            }
            found[before..].sort();
        } else if word
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("txt"))
        {
            found.extend(listed(word)?);
        } else if word.exists() {
            found.push(word.clone());
        } else {
            found.extend(matching(word)?);
        }
        if found.len() == before {
            return Err(Error::new(
                ErrorKind::Param,
                format!("'{}' means no image", word.display()),
            )
            .help(format!(
                "name files, a folder of {}, a .txt with a file a line, or a pattern in quotes: 'faces/*.png'",
                ENDINGS.join(", ")
            )));
        }
    }
    Ok(found)
}

/// The files that a list names, one a line, with a label behind each as lists for training have it or without: from where
/// the list is, and where they are not there, from where the program runs, as Caffe's tools read their lists.
///
/// # Errors
/// `Io` where the list cannot be read.
pub fn listed(list: &Path) -> Result<Vec<PathBuf>> {
    let text = fs::read(list).map_err(|e| Error::io("read", list, &e))?;
    let from = list.parent().unwrap_or(Path::new(""));
    let text = String::from_utf8_lossy(&text);
    let names = text.lines().filter_map(|line| {
        let line = line.trim();
        match line.rsplit_once(char::is_whitespace) {
            Some((name, label)) if label.parse::<f64>().is_ok() => Some(name.trim_end()),
            _ => Some(line).filter(|l| !l.is_empty()),
        }
    });
    Ok(names
        .map(|name| {
            let (beside, plain) = (from.join(name), Path::new(name));
            match !beside.exists() && plain.exists() {
                true => plain.to_owned(),
                false => beside,
            }
        })
        .collect())
}

fn matching(word: &Path) -> Result<Vec<PathBuf>> {
    let text = word.to_string_lossy();
    if !text.contains(['*', '?', '[']) {
        return match fs::metadata(word) {
            Err(e) => Err(Error::io("open", word, &e)),
            Ok(_) => Ok(Vec::new()),
        };
    }
    let paths = glob::glob(&text).map_err(|e| Error::param("the pattern", e))?;
    Ok(paths
        .filter_map(|path| path.ok().filter(|p| p.is_file()))
        .collect())
}

/// Brings images to the shape of a net's input.
pub struct Pictures {
    size: [usize; 3],
    transform: Transformer,
}

impl Pictures {
    /// For an input of this shape, batch × channels × height × width; `blob` is its name.
    ///
    /// # Errors
    /// `Shape` where the input holds no images.
    pub fn new(blob: &str, shape: &Shape, transform: Transformer) -> Result<Self> {
        match *shape.dims() {
            [_, c, h, w] => Ok(Self {
                size: [c, h, w],
                transform,
            }),
            _ => Err(Error::shape(format!(
                "input '{blob}' has shape {shape}; images need batch x channels x height x width"
            ))),
        }
    }

    /// Channels, height and width of the input.
    pub fn size(&self) -> [usize; 3] {
        self.size
    }

    /// The image of a file, with as many channels as the input has.
    ///
    /// # Errors
    /// `Io`, `Data` or `Unsupported`, with the file.
    pub fn read(&self, path: &Path) -> Result<Sample<'static>> {
        let bytes = whole(path, Vec::new(), |e| Error::io("open", path, &e))?;
        decode_image(&bytes, self.color()).map_err(|e| e.at(place(path)))
    }

    /// How an encoded image has to be decoded to have the input's channels.
    pub fn color(&self) -> Color {
        match self.size[0] {
            1 => Color::Gray,
            3 => Color::Color,
            _ => Color::AsStored,
        }
    }

    /// Puts an image behind `data`: resized by OpenCV's linear rule, less the mean, scaled. Nothing is drawn: no crop,
    /// no mirror.
    ///
    /// # Errors
    /// `Data` where it has other channels than the input.
    pub fn put(&self, sample: &Sample<'_>, data: &mut Vec<f32>) -> Result<()> {
        let [channels, height, width] = self.size;
        if sample.channels != channels {
            return Err(Error::data(format!(
                "the image has {} channels, the net's input {channels}",
                sample.channels
            )));
        }
        let resized;
        let sample = if sample.dims() == self.size {
            sample
        } else {
            let (picture, label) = Picture::from_sample(sample.clone())?;
            resized = resize(&picture, height, width, Interpolation::Linear)?.into_sample(label);
            &resized
        };
        let start = data.len();
        data.resize(start + channels * height * width, 0.0);
        let mut rng = rng::stream(0, rng::Use::Other, 0, 0);
        self.transform.apply(sample, &mut data[start..], &mut rng)
    }
}

/// Red, green and blue of each pixel, rows from the top; grey thrice. For showing.
pub fn rgb(sample: &Sample<'_>) -> Vec<u8> {
    if let Pixels::Rgb(bytes) = &sample.pixels {
        return bytes.clone();
    }
    let (values, plane) = (sample.floats(), sample.height * sample.width);
    let order = if sample.channels >= 3 {
        [2, 1, 0]
    } else {
        [0; 3]
    };
    let at = |c: usize, i: usize| super::augment::byte(values[c * plane + i]);
    (0..plane).flat_map(|i| order.map(|c| at(c, i))).collect()
}

/// A file's place, for errors about what is in it.
pub fn place(path: &Path) -> Place {
    Place::File(path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::TransformationParameter;

    fn save(path: &Path, width: u32, height: u32, pixel: [u8; 3]) {
        image::RgbImage::from_pixel(width, height, image::Rgb(pixel))
            .save(path)
            .unwrap();
    }

    fn names(found: &[PathBuf]) -> Vec<String> {
        let name = |p: &PathBuf| p.file_name().unwrap().to_string_lossy().into_owned();
        found.iter().map(name).collect()
    }

    #[test]
    fn words_mean_files_folders_lists_and_patterns() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.png", "a.png", "c.bmp"] {
            save(&dir.path().join(name), 2, 2, [1, 2, 3]);
        }
        fs::write(dir.path().join("notes"), "no image").unwrap();
        fs::write(dir.path().join("list.txt"), "c.bmp 3\n\nb.png\n").unwrap();
        let found = |word: &str| find(&[dir.path().join(word)]);
        assert_eq!(names(&found("").unwrap()), ["a.png", "b.png", "c.bmp"]);
        assert_eq!(names(&found("b.png").unwrap()), ["b.png"]);
        assert_eq!(names(&found("list.txt").unwrap()), ["c.bmp", "b.png"]);
        assert_eq!(names(&found("*.png").unwrap()), ["a.png", "b.png"]);
        assert!(
            found("*.jpg")
                .unwrap_err()
                .to_string()
                .contains("means no image")
        );
        assert_eq!(found("none.png").unwrap_err().kind(), ErrorKind::Io);
    }

    #[test]
    fn an_image_is_resized_and_its_mean_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.png");
        save(&path, 8, 6, [30, 20, 10]);
        let param = TransformationParameter {
            mean_value: vec![1.0, 2.0, 3.0],
            scale: Some(0.5),
            ..Default::default()
        };
        let transform = Transformer::new(&param, false, Path::new("")).unwrap();
        let shape = Shape::from([1, 3, 2, 3]);
        let pictures = Pictures::new("data", &shape, transform).unwrap();
        let sample = pictures.read(&path).unwrap();
        assert_eq!(sample.dims(), [3, 6, 8]);
        let mut data = Vec::new();
        pictures.put(&sample, &mut data).unwrap();
        let wanted = [[4.5f32; 6], [9.0; 6], [13.5; 6]].concat();
        assert_eq!(data, wanted);
        assert_eq!(rgb(&sample)[..3], [30, 20, 10]);
    }
}
