//! Moving pictures without a codec: files of frames, animated GIFs, and AVIs whose frames are JPEGs.

use std::{
    fs,
    io::Cursor,
    ops::Range,
    path::{Path, PathBuf},
};

use image::{AnimationDecoder as _, ImageDecoder as _, codecs::gif::GifDecoder};

use super::{
    datum::{Color, Pixels, Sample},
    files::Folder,
    image as codec,
    recipe::{Out, Part, Parts, Recipe, put_sample},
    resolve,
    source::{Counter, Record},
    transform::Transformer,
};
use crate::{
    error::{Error, Place, Result},
    rng::Rng,
};

/// A file that is read whole is not larger than this, nor are the decoded frames of a GIF together.
const MOST: u64 = 1 << 30;

/// Frames that a printf pattern is tried for.
const MOST_FRAMES: usize = 10_000_000;

/// The frames of a video, in their order; at least one.
#[derive(Debug)]
pub struct Video {
    name: String,
    frames: Frames,
}

#[derive(Debug)]
enum Frames {
    /// Image files, as paths from the net's root.
    Files(Folder, Vec<String>),
    /// JPEGs inside of one file.
    Parts(Vec<u8>, Vec<Range<usize>>),
    /// Decoded ones, red, green, blue together.
    Pixels {
        height: usize,
        width: usize,
        frames: Vec<Vec<u8>>,
    },
}

impl Video {
    /// Opens what a network calls `source`: a folder of images (in the order of their names), a pattern of their names
    /// (`frames/%06d.jpg`, from 0 or 1 on), a text file with one path a line, an animated GIF, or an AVI of JPEGs.
    ///
    /// # Errors
    /// `Io` where nothing is there; `Unsupported` for other kinds of video; `Data` where there is no frame, or a file is
    /// damaged.
    pub fn open(root: &Path, source: &str) -> Result<Self> {
        let path = resolve(root, source);
        let frames = if path.is_dir() {
            Frames::Files(Folder::new(root, ""), in_folder(&path, source)?)
        } else if source.contains('%') && !path.exists() {
            Frames::Files(Folder::new(root, ""), by_pattern(root, source)?)
        } else {
            inside(&path, root)?
        };
        let video = Self {
            name: source.to_owned(),
            frames,
        };
        if video.is_empty() {
            return Err(Error::data("there are no frames in it").at(Place::File(video.name)));
        }
        Ok(video)
    }

    /// Number of frames.
    pub fn len(&self) -> usize {
        match &self.frames {
            Frames::Files(_, paths) => paths.len(),
            Frames::Parts(_, parts) => parts.len(),
            Frames::Pixels { frames, .. } => frames.len(),
        }
    }

    /// Never: a video without frames is not opened.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn frame(&self, index: usize, color: Color, spare: Vec<u8>) -> Result<Sample<'static>> {
        match &self.frames {
            Frames::Files(folder, paths) => folder.sample(&paths[index], color, spare),
            Frames::Parts(bytes, parts) => {
                let decoded = codec::decode(&bytes[parts[index].clone()], color, spare)?;
                Ok(decoded.into_sample(0))
            }
            Frames::Pixels {
                height,
                width,
                frames,
            } => Ok(Sample {
                channels: 3,
                height: *height,
                width: *width,
                pixels: Pixels::Rgb(frames[index].clone()),
                label: 0,
            }),
        }
    }
}

/// The image files of a folder, by name.
fn in_folder(path: &Path, source: &str) -> Result<Vec<String>> {
    let failed = |e: std::io::Error| Error::io("read", path, &e);
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(name) = name.to_str() else {
            continue;
        };
        let ending = name.rsplit_once('.').map(|(_, e)| e.to_ascii_lowercase());
        if matches!(ending.as_deref(), Some("jpg" | "jpeg" | "png" | "bmp")) {
            names.push(format!("{}/{name}", source.trim_end_matches('/')));
        }
    }
    names.sort();
    Ok(names)
}

/// The files `%d`, `%04d` and so on stand for, until one is missing.
fn by_pattern(root: &Path, source: &str) -> Result<Vec<String>> {
    let wrong = || {
        Error::param(
            "video_data_param.video_file",
            "the pattern needs one number and nothing else: %d, or %06d",
        )
    };
    let (before, rest) = source.split_once('%').ok_or_else(wrong)?;
    let (width, after) = rest.split_once('d').ok_or_else(wrong)?;
    let digits = match width {
        "" => 0,
        _ => (width.strip_prefix('0').unwrap_or(width))
            .parse::<usize>()
            .ok()
            .filter(|n| (1..=20).contains(n))
            .ok_or_else(wrong)?,
    };
    if after.contains('%') {
        return Err(wrong());
    }
    let name = |n: usize| format!("{before}{n:0digits$}{after}");
    let exists = |n: usize| resolve(root, &name(n)).is_file();
    let first = usize::from(!exists(0));
    let names: Vec<String> = (first..MOST_FRAMES)
        .take_while(|&n| exists(n))
        .map(name)
        .collect();
    if names.is_empty() {
        return Err(Error::new(
            crate::error::ErrorKind::Io,
            format!(
                "there is neither '{}' nor '{}'",
                resolve(root, &name(0)).display(),
                resolve(root, &name(1)).display()
            ),
        ));
    }
    Ok(names)
}

/// What is in one file.
fn inside(path: &PathBuf, root: &Path) -> Result<Frames> {
    let failed = |e: std::io::Error| Error::io("open", path, &e);
    let size = fs::metadata(path).map_err(failed)?.len();
    let there = || Place::File(path.display().to_string());
    if size > MOST {
        return Err(Error::unsupported(format!(
            "a file of frames of more than {} MiB is not read",
            MOST >> 20
        ))
        .help("write the frames as files: frames/%06d.jpg")
        .at(there()));
    }
    let bytes = fs::read(path).map_err(failed)?;
    if bytes.starts_with(b"GIF8") {
        return gif(&bytes).map_err(|e| e.at(there()));
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"AVI ") {
        return avi(bytes).map_err(|e| e.at(there()));
    }
    let codec = || {
        Error::unsupported("video codecs are not read")
            .help("write the frames as files (ffmpeg -i video.mp4 frames/%06d.jpg) and set video_file: \"frames/%06d.jpg\"")
            .at(there())
    };
    let text = String::from_utf8(bytes).map_err(|_| codec())?;
    if text.contains('\0') {
        return Err(codec());
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(Frames::Files(
        Folder::new(root, ""),
        lines.map(str::to_owned).collect(),
    ))
}

fn gif(bytes: &[u8]) -> Result<Frames> {
    let unreadable = |e| Error::data(format!("the GIF cannot be read: {e}"));
    let mut decoder = GifDecoder::new(Cursor::new(bytes)).map_err(unreadable)?;
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(2 * MOST);
    decoder.set_limits(limits).map_err(unreadable)?;
    let (width, height) = decoder.dimensions();
    let each = u64::from(width) * u64::from(height) * 3;
    let too_large = || Error::data("the frames of the GIF are empty or too large");
    if each == 0 || each > MOST / 4 {
        return Err(too_large());
    }
    let side = |n: u32| usize::try_from(n).map_err(|_| too_large());
    let (height, width) = (side(height)?, side(width)?);
    let mut frames = Vec::new();
    let mut total = 0u64;
    for frame in decoder.into_frames() {
        total += each;
        if total > MOST {
            return Err(too_large().help("write the frames as files: frames/%06d.png"));
        }
        // Frames come composed, with transparency, which is black on black in the end.
        let pixels = frame.map_err(unreadable)?.into_buffer().into_raw();
        let (pixels, _) = pixels.as_chunks::<4>();
        frames.push(pixels.iter().flat_map(|p| [p[0], p[1], p[2]]).collect());
    }
    Ok(Frames::Pixels {
        height,
        width,
        frames,
    })
}

/// The video chunks of an AVI, which have to be JPEGs.
fn avi(bytes: Vec<u8>) -> Result<Frames> {
    let damaged = || Error::data("the AVI is cut short or damaged");
    let mut frames = Vec::new();
    // Where chunks follow each other, and where those end.
    let mut open = vec![(12, bytes.len())];
    while let Some((mut at, end)) = open.pop() {
        while at + 8 <= end {
            let head = bytes.get(at..at + 8).ok_or_else(damaged)?;
            let (name, size) = head.split_at(4);
            let size = u32::from_le_bytes(size.try_into().map_err(|_| damaged())?);
            let size = usize::try_from(size).map_err(|_| damaged())?;
            let start = at + 8;
            let stop = start.checked_add(size).filter(|&n| n <= end);
            let stop = stop.ok_or_else(damaged)?;
            if name == b"LIST" && size >= 4 {
                // The rest of this level comes after what is inside.
                open.push((stop + size % 2, end));
                open.push((start + 4, stop));
                break;
            }
            if matches!(name, [_, _, b'd', b'c' | b'b']) && size > 0 {
                if bytes.get(start..start + 3) != Some(b"\xff\xd8\xff") {
                    return Err(Error::unsupported("the AVI's frames are no JPEGs")
                        .help("write the frames as files (ffmpeg -i video.avi frames/%06d.jpg)"));
                }
                frames.push(start..stop);
            }
            at = stop + size % 2;
        }
    }
    Ok(Frames::Parts(bytes, frames))
}

/// Every so many frames of a video, as records.
pub struct Watched {
    video: Video,
    /// Frames left out before each that is taken.
    skip: usize,
    transformer: Transformer,
}

impl Watched {
    /// Leaves out `skip` frames before each.
    ///
    /// # Errors
    /// `Param` where none is left.
    pub fn new(video: Video, skip: usize, transformer: Transformer) -> Result<Self> {
        if skip >= video.len() {
            return Err(Error::param(
                "video_data_param.skip_frames",
                format!("{skip} frames to skip, and the video has {}", video.len()),
            ));
        }
        Ok(Self {
            video,
            skip,
            transformer,
        })
    }

    /// The frames that are taken, again and again.
    pub fn source(&self) -> Counter {
        Counter::new(&self.video.name)
    }

    fn index(&self, record: &Record<'_>) -> usize {
        let taken = self.video.len() / (self.skip + 1);
        let taken = u64::try_from(taken.max(1)).unwrap_or(u64::MAX);
        let number = usize::try_from(record.number % taken).unwrap_or(0);
        number * (self.skip + 1) + self.skip
    }
}

impl Recipe for Watched {
    type Loaded<'a> = Sample<'static>;

    fn load<'a>(
        &self,
        record: &Record<'a>,
        spare: Vec<u8>,
        rng: &mut Rng,
    ) -> Result<Self::Loaded<'a>> {
        let color = self.transformer.color();
        let sample = self.video.frame(self.index(record), color, spare)?;
        self.transformer.prepare(sample, rng)
    }

    fn parts(&self, sample: &Sample<'static>) -> Result<Parts> {
        let dims = self.transformer.output_dims(sample.dims())?;
        Ok([Part::Planes(dims), Part::Number].into_iter().collect())
    }

    fn put(&self, sample: Sample<'static>, out: &mut Out<'_>, rng: &mut Rng) -> Result<Vec<u8>> {
        put_sample(&self.transformer, sample, out, rng)
    }

    fn place(&self, source: &str, record: &Record<'_>) -> Place {
        Place::Record {
            source: source.to_owned(),
            key: format!("frame {}", self.index(record)),
        }
    }
}

#[cfg(test)]
mod tests;
