//! Image files that a list names.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    augment::{Interpolation, Picture, resize},
    datum::{Color, Sample},
    image,
    list::List,
    recipe::{Out, Part, Parts, Recipe, put_sample},
    resolve,
    source::Record,
    transform::Transformer,
};
use crate::{
    error::{Error, Place, Result},
    rng::Rng,
};

/// No image file is larger than this, in bytes.
const MOST: u64 = 512 << 20;

/// Where listed files are: `root_folder` is put before each path as it is, and what comes of it starts at the net's root.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
    prefix: String,
}

impl Folder {
    /// With `prefix` before each path.
    pub fn new(root: &Path, prefix: &str) -> Self {
        Self {
            root: root.to_owned(),
            prefix: prefix.to_owned(),
        }
    }

    /// Where a listed file is.
    pub(crate) fn path(&self, listed: &str) -> PathBuf {
        resolve(&self.root, &format!("{}{listed}", self.prefix))
    }

    /// The bytes of a listed file, in `spare`'s memory.
    ///
    /// # Errors
    /// `Io` with the path that was tried; `Data` for a file that is too large.
    pub(crate) fn read(&self, listed: &str, spare: Vec<u8>) -> Result<Vec<u8>> {
        let path = self.path(listed);
        let failed = |e: std::io::Error| {
            let error = Error::io("open", &path, &e);
            let joined = Path::new(&self.prefix).join(listed);
            if self.prefix.is_empty() || self.prefix.ends_with('/') {
                error
            } else if resolve(&self.root, &joined.to_string_lossy()).exists() {
                error.help(format!(
                    "root_folder is put before each path as it is; write root_folder: \"{}/\"",
                    self.prefix
                ))
            } else {
                error
            }
        };
        whole(&path, spare, failed)
    }

    /// The image in a listed file.
    ///
    /// # Errors
    /// As [`read`](Self::read) and [`image::decode`], with the path.
    pub(crate) fn sample(
        &self,
        listed: &str,
        color: Color,
        spare: Vec<u8>,
    ) -> Result<Sample<'static>> {
        let bytes = self.read(listed, Vec::new())?;
        let decoded = image::decode(&bytes, color, spare)
            .map_err(|e| e.at(Place::File(self.path(listed).display().to_string())))?;
        Ok(decoded.into_sample(0))
    }
}

/// All bytes of an image file, in `spare`'s memory; `failed` says what an error of the system means.
///
/// # Errors
/// `Data` for a file that is too large.
pub(super) fn whole(
    path: &Path,
    spare: Vec<u8>,
    failed: impl Fn(std::io::Error) -> Error,
) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(&failed)?;
    let mut bytes = spare;
    bytes.clear();
    file.take(MOST + 1)
        .read_to_end(&mut bytes)
        .map_err(&failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|n| n > MOST) {
        return Err(Error::data(format!(
            "'{}' is larger than {} MiB",
            path.display(),
            MOST >> 20
        )));
    }
    Ok(bytes)
}

/// A sample at another size, by OpenCV's linear rule.
///
/// # Errors
/// As [`resize`].
pub(crate) fn resized(
    sample: Sample<'static>,
    size: Option<[usize; 2]>,
    how: Interpolation,
) -> Result<Sample<'static>> {
    match size {
        Some([height, width]) if [height, width] != [sample.height, sample.width] => {
            let (picture, label) = Picture::from_sample(sample)?;
            Ok(resize(&picture, height, width, how)?.into_sample(label))
        }
        _ => Ok(sample),
    }
}

/// Records are lines of a list; the tops are the images and their labels.
pub struct Listed {
    /// The list that the records come from.
    pub list: Arc<List>,
    /// Where its files are.
    pub folder: Folder,
    /// Height and width before everything else, if another than the file's.
    pub size: Option<[usize; 2]>,
    /// What is done to the pixels.
    pub transformer: Transformer,
}

impl Recipe for Listed {
    type Loaded<'a> = Sample<'static>;

    fn load<'a>(
        &self,
        record: &Record<'a>,
        spare: Vec<u8>,
        rng: &mut Rng,
    ) -> Result<Self::Loaded<'a>> {
        let entry = self.list.entry(record)?;
        let sample = self
            .folder
            .sample(self.list.path(entry), self.transformer.color(), spare)?;
        let mut sample = resized(sample, self.size, Interpolation::Linear)?;
        sample.label = entry.label;
        self.transformer.prepare(sample, rng)
    }

    fn parts(&self, sample: &Sample<'static>) -> Result<Parts> {
        let dims = self.transformer.output_dims(sample.dims())?;
        Ok([Part::Planes(dims), Part::Number].into_iter().collect())
    }

    fn put(&self, sample: Sample<'static>, out: &mut Out<'_>, rng: &mut Rng) -> Result<Vec<u8>> {
        put_sample(&self.transformer, sample, out, rng)
    }

    fn place(&self, _: &str, record: &Record<'_>) -> Place {
        self.list.place(record)
    }
}
