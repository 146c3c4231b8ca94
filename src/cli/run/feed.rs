//! What `run` feeds to a net's inputs: arrays, images, or a database batch by batch.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
};

use prost::Message as _;

use super::super::args::{Args, Flag};
use crate::{
    error::{Error, ErrorKind, Place, Result},
    feed::{
        datum::{self, Color, Pixels, Sample},
        lmdb::LmdbSource,
        source::Source,
        transform::Transformer,
    },
    model_io::npz,
    net::Net,
    rng,
    schema::{Datum, TransformationParameter},
    tensor::{Shape, Tensor},
};

pub(crate) const INPUT: Flag = Flag::value(
    "input",
    "[BLOB=]FILE",
    "What to feed: .npz, .npy, .png, .jpg or an LMDB; may be repeated, images of one blob make a batch",
)
.many();
pub(crate) const LMDB: Flag = Flag::value(
    "lmdb",
    "[BLOB=]DIR",
    "Feed the records of a database, batch by batch",
);
pub(crate) const RESIZE: Flag =
    Flag::switch("resize", "Resize images to what the net's input says");
pub(crate) const MEAN: Flag = Flag::value(
    "mean",
    "FILE|VALUES",
    "Subtract from images: a .binaryproto, or one number a channel (104,117,123)",
);
pub(crate) const SCALE: Flag = Flag::value("scale", "X", "Multiply images by this, after the mean");

/// The inputs of a net, and where their next values come from.
pub(crate) struct Feed {
    /// Set once: the same for every batch.
    fixed: Vec<(String, Tensor)>,
    /// Diffs at outputs, set once.
    diffs: Vec<(String, Tensor)>,
    records: Option<Records>,
    started: bool,
}

/// A database that feeds one input.
struct Records {
    blob: String,
    shape: Shape,
    source: LmdbSource,
    pictures: Pictures,
}

/// How pixels become numbers.
struct Pictures {
    transform: Transformer,
    resize: bool,
}

impl Feed {
    /// Reads `--input` and `--lmdb`.
    pub(crate) fn open(args: &Args, net: &Net) -> Result<Self> {
        let pictures = Pictures {
            transform: transformer(args)?,
            resize: args.switch("resize"),
        };
        let mut fixed: BTreeMap<String, Tensor> = BTreeMap::new();
        let mut diffs = Vec::new();
        let mut images: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        let mut databases: Vec<(String, PathBuf)> = Vec::new();
        for text in args.all("input") {
            let (blob, path) = named(&text);
            let blob = blob.map(str::to_owned);
            match kind(&path) {
                Kind::Npz => {
                    let arrays = npz::read_npz(&path)?;
                    take_arrays(arrays, blob, &path, net, &mut fixed, &mut diffs)?;
                }
                Kind::Npy => {
                    let file = File::open(&path).map_err(|e| Error::io("open", &path, &e))?;
                    let array = npz::read_npy(&mut BufReader::new(file))
                        .map_err(|e| e.at(Place::File(path.display().to_string())))?;
                    fixed.insert(known(blob, net)?, array);
                }
                Kind::Image => images.entry(known(blob, net)?).or_default().push(path),
                Kind::Lmdb => databases.push((known(blob, net)?, path)),
            }
        }
        if let Some(text) = args.text("lmdb") {
            let (blob, path) = named(&text);
            databases.push((known(blob.map(str::to_owned), net)?, path));
        }
        for (blob, paths) in images {
            let batch = pictures.batch(&paths, &blob, &shape(net, &blob)?)?;
            fixed.insert(blob, batch);
        }
        let mut databases = databases.into_iter();
        let records = match databases.next() {
            None => None,
            Some((blob, path)) => Some(Records {
                shape: shape(net, &blob)?,
                source: LmdbSource::open(Path::new(""), &path.to_string_lossy())?,
                blob,
                pictures,
            }),
        };
        if databases.next().is_some() {
            return Err(Error::unsupported("only one database can be fed")
                .help("use Data layers in the net for more"));
        }
        let fed = |name: &&str| {
            fixed.contains_key(*name) || records.as_ref().is_some_and(|r| r.blob == *name)
        };
        if let Some(name) = net.inputs().into_iter().find(|name| !fed(name)) {
            return Err(Error::new(
                ErrorKind::Param,
                format!(
                    "nothing is given for the net's input '{name}' {}",
                    shape(net, name)?
                ),
            )
            .help(format!(
                "give it with --input={name}=FILE, an .npz, .npy, .png or .jpg"
            )));
        }
        Ok(Self {
            fixed: fixed.into_iter().collect(),
            diffs,
            records,
            started: false,
        })
    }

    /// Sets the inputs for the next pass.
    pub(crate) fn next(&mut self, net: &mut Net) -> Result<()> {
        if !self.started {
            self.started = true;
            let fixed: Vec<(&str, &Tensor)> =
                self.fixed.iter().map(|(blob, t)| (&**blob, t)).collect();
            net.set_inputs(&fixed)?;
            for (blob, tensor) in &self.diffs {
                net.set_diff(blob, tensor)?;
            }
        }
        if let Some(records) = &mut self.records {
            let batch = records.batch()?;
            net.set_input(&records.blob, &batch)?;
        }
        Ok(())
    }
}

enum Kind {
    Npz,
    Npy,
    Image,
    Lmdb,
}

/// By the ending; whatever has none that is known is taken for a database if it is a folder.
fn kind(path: &Path) -> Kind {
    let ending = path
        .extension()
        .map(|e| e.to_string_lossy().to_ascii_lowercase());
    match ending.as_deref() {
        Some("npy") => Kind::Npy,
        Some("png" | "jpg" | "jpeg") => Kind::Image,
        Some("mdb" | "lmdb") => Kind::Lmdb,
        Some("npz") => Kind::Npz,
        _ if path.is_dir() => Kind::Lmdb,
        _ => Kind::Npz,
    }
}

/// `blob=file` or `file`.
fn named(text: &str) -> (Option<&str>, PathBuf) {
    match text.split_once('=') {
        Some((blob, path)) if !blob.is_empty() && !Path::new(text).exists() => {
            (Some(blob), path.into())
        }
        _ => (None, text.into()),
    }
}

/// The blob that is meant: the one named, or the net's only input.
fn known(blob: Option<String>, net: &Net) -> Result<String> {
    let inputs = net.inputs();
    match (blob, &inputs[..]) {
        (Some(blob), inputs) if inputs.contains(&&*blob) => Ok(blob),
        (None, [only]) => Ok((*only).to_owned()),
        (_, []) => Err(Error::new(
            ErrorKind::Param,
            "the net has no inputs: its data layers read for themselves",
        )
        .help("leave --input out, or use the deploy form of the net")),
        (blob, inputs) => Err(Error::new(
            ErrorKind::Param,
            match blob {
                Some(blob) => format!("the net has no input '{blob}'"),
                None => "the net has more than one input".to_owned(),
            },
        )
        .help(format!(
            "write --input=BLOB=FILE; its inputs are {}",
            inputs.join(", ")
        ))),
    }
}

fn shape(net: &Net, blob: &str) -> Result<Shape> {
    let view = net
        .blob(blob)
        .ok_or_else(|| Error::new(ErrorKind::Graph, format!("the net has no input '{blob}'")))?;
    Ok(view.shape.clone())
}

/// Puts the arrays of an archive where they belong: `<blob>` or `in/<blob>` to inputs, `grad_out/<blob>` to diffs.
fn take_arrays(
    mut arrays: BTreeMap<String, Tensor>,
    blob: Option<String>,
    path: &Path,
    net: &Net,
    fixed: &mut BTreeMap<String, Tensor>,
    diffs: &mut Vec<(String, Tensor)>,
) -> Result<()> {
    let place = || Place::File(path.display().to_string());
    if let Some(blob) = blob {
        let blob = known(Some(blob), net)?;
        let array = arrays
            .remove(&blob)
            .or_else(|| arrays.remove(&format!("in/{blob}")))
            .or_else(|| {
                (arrays.len() == 1)
                    .then(|| arrays.pop_first())
                    .flatten()
                    .map(|(_, a)| a)
            });
        let keys: Vec<&str> = arrays.keys().map(String::as_str).collect();
        let array = array.ok_or_else(|| {
            Error::data(format!("the archive has no array '{blob}'"))
                .help(format!("its arrays are {}", keys.join(", ")))
                .at(place())
        })?;
        fixed.insert(blob, array);
        return Ok(());
    }
    let inputs = net.inputs();
    let mut keys = Vec::new();
    let mut taken = false;
    for (key, array) in arrays {
        let name = key.strip_prefix("in/").unwrap_or(&key);
        if inputs.contains(&name) {
            taken = true;
            fixed.insert(name.to_owned(), array);
        } else if let Some(name) = key.strip_prefix("grad_out/") {
            diffs.push((name.to_owned(), array));
        } else {
            keys.push(key);
        }
    }
    if taken {
        Ok(())
    } else {
        Err(
            Error::data("the archive has no array for an input of the net")
                .help(format!(
                    "the inputs are {}; the arrays are {}",
                    inputs.join(", "),
                    keys.join(", ")
                ))
                .at(place()),
        )
    }
}

/// What `--mean` says in numbers, one a channel; `None` where it names a file.
pub(crate) fn mean_values(text: &str) -> Option<Vec<f32>> {
    text.split(',').map(|v| v.trim().parse().ok()).collect()
}

/// `--mean` and `--scale`, as a net's `transform_param` would say it.
fn transformer(args: &Args) -> Result<Transformer> {
    let mut param = TransformationParameter {
        scale: args.number("scale")?,
        ..Default::default()
    };
    if let Some(mean) = args.text("mean") {
        match mean_values(&mean) {
            Some(values) => param.mean_value = values,
            None => param.mean_file = Some(mean),
        }
    }
    Transformer::new(&param, false, Path::new(""))
}

impl Pictures {
    /// Images as one batch of the input's channels, height and width.
    fn batch(&self, paths: &[PathBuf], blob: &str, shape: &Shape) -> Result<Tensor> {
        let size = size(blob, shape)?;
        let mut data = Vec::new();
        for path in paths {
            let bytes = fs::read(path).map_err(|e| Error::io("read", path, &e))?;
            // As a record that holds the file: decoded by the same code as a database's.
            let record = Datum {
                data: Some(bytes),
                encoded: Some(true),
                ..Default::default()
            };
            let sample = datum::decode(&record.encode_to_vec(), color(size))
                .and_then(|sample| self.add(sample.to_owned(), size, &mut data));
            sample.map_err(|e| e.at(Place::File(path.display().to_string())))?;
        }
        let [c, h, w] = size;
        Tensor::new([paths.len(), c, h, w], data)
    }

    /// Adds a sample to a batch, resized if that is wanted.
    fn add(&self, sample: Sample<'_>, size: [usize; 3], data: &mut Vec<f32>) -> Result<()> {
        let sample = if self.resize && sample.dims() != size {
            resize(&sample, size)?
        } else {
            sample
        };
        let dims = self.transform.output_dims(sample.dims())?;
        if dims != size {
            let text = |[c, h, w]: [usize; 3]| format!("{c} channels of {h}x{w}");
            return Err(Error::data(format!(
                "the image is {}, the net's input {} (height x width)",
                text(dims),
                text(size)
            ))
            .help("resize it with --resize, or change the input's shape in the prototxt"));
        }
        let start = data.len();
        data.resize(start + dims.iter().product::<usize>(), 0.0);
        // Nothing is drawn: no crop, no mirror.
        let mut rng = rng::stream(0, rng::Use::Other, 0, 0);
        self.transform.apply(&sample, &mut data[start..], &mut rng)
    }
}

fn color(size: [usize; 3]) -> Color {
    match size[0] {
        1 => Color::Gray,
        3 => Color::Color,
        _ => Color::AsStored,
    }
}

fn size(blob: &str, shape: &Shape) -> Result<[usize; 3]> {
    match *shape.dims() {
        [_, c, h, w] => Ok([c, h, w]),
        _ => Err(Error::shape(format!(
            "input '{blob}' has shape {shape}; images need batch x channels x height x width"
        ))
        .help("feed it with an .npz or .npy")),
    }
}

/// Bilinear, each channel for itself.
fn resize(sample: &Sample<'_>, [_, height, width]: [usize; 3]) -> Result<Sample<'static>> {
    let too_large = |_| Error::data("the image is too large to resize");
    let side = |n: usize| u32::try_from(n).map_err(too_large);
    let (from, to) = (
        (side(sample.width)?, side(sample.height)?),
        (side(width)?, side(height)?),
    );
    let plane = sample.height * sample.width;
    let values = sample.floats();
    let mut pixels = Vec::with_capacity(sample.channels * height * width);
    for channel in values.chunks_exact(plane.max(1)) {
        let image =
            image::ImageBuffer::<image::Luma<f32>, _>::from_raw(from.0, from.1, channel.to_vec())
                .ok_or_else(|| Error::data("the image has fewer pixels than its size says"))?;
        let resized =
            image::imageops::resize(&image, to.0, to.1, image::imageops::FilterType::Triangle);
        pixels.extend_from_slice(resized.as_raw());
    }
    Ok(Sample {
        channels: sample.channels,
        height,
        width,
        pixels: Pixels::F32(pixels),
        label: sample.label,
    })
}

impl Records {
    /// The next records, as many as the input's first axis says.
    fn batch(&mut self) -> Result<Tensor> {
        let size = size(&self.blob, &self.shape)?;
        let count = self.shape.legacy(0);
        let name = self.source.name().to_owned();
        let pictures = &self.pictures;
        let mut data = Vec::new();
        self.source.read(count, &mut |records| {
            for record in records {
                datum::decode(record.value, pictures.transform.color())
                    .and_then(|sample| pictures.add(sample, size, &mut data))
                    .map_err(|e| {
                        e.at(Place::Record {
                            source: name.clone(),
                            key: record.key.escape_ascii().to_string(),
                        })
                    })?;
            }
            Ok(())
        })?;
        Tensor::new(self.shape.clone(), data)
    }
}
