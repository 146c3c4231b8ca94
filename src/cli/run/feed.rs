//! What `run` feeds to a net's inputs: arrays, images, or a database batch by batch.

use std::{
    collections::BTreeMap,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use super::super::args::{Args, Flag};
use crate::{
    error::{Error, ErrorKind, Place, Result},
    feed::{
        database::Database,
        datum::{self, Sample},
        pictures::{self, Pictures, is_image},
        transform::Transformer,
    },
    model_io::npz,
    net::Net,
    schema::TransformationParameter,
    tensor::{Shape, Tensor},
};

pub(crate) const INPUT: Flag = Flag::value(
    "input",
    "[BLOB=]FILE",
    "What to feed: .npz, .npy, an image or a database; may be repeated, images of one blob make a batch",
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
    database: Database,
    images: Images,
}

/// How the pixels of an input's images become numbers.
struct Images {
    pictures: Pictures,
    resize: bool,
}

impl Feed {
    /// Reads `--input` and `--lmdb`.
    pub(crate) fn open(args: &Args, net: &Net) -> Result<Self> {
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
                Kind::Database => databases.push((known(blob, net)?, path)),
            }
        }
        if let Some(text) = args.text("lmdb") {
            let (blob, path) = named(&text);
            databases.push((known(blob.map(str::to_owned), net)?, path));
        }
        for (blob, paths) in images {
            let batch = Images::of(args, net, &blob)?.batch(&paths)?;
            fixed.insert(blob, batch);
        }
        let mut databases = databases.into_iter();
        let records = match databases.next() {
            None => None,
            Some((blob, path)) => Some(Records {
                shape: shape(net, &blob)?,
                database: Database::open(&path)?,
                images: Images::of(args, net, &blob)?,
                blob,
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
    Database,
}

/// By the ending; whatever has none that is known is taken for a database if it is a folder.
fn kind(path: &Path) -> Kind {
    let ending = path
        .extension()
        .map(|e| e.to_string_lossy().to_ascii_lowercase());
    match ending.as_deref() {
        Some("npy") => Kind::Npy,
        _ if is_image(path) => Kind::Image,
        Some("mdb" | "lmdb") => Kind::Database,
        Some("npz") => Kind::Npz,
        _ if path.is_dir() => Kind::Database,
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

impl Images {
    fn of(args: &Args, net: &Net, blob: &str) -> Result<Self> {
        let pictures = Pictures::new(blob, &shape(net, blob)?, transformer(args)?);
        Ok(Self {
            pictures: pictures.map_err(|e| e.help("feed it with an .npz or .npy"))?,
            resize: args.switch("resize"),
        })
    }

    /// Images as one batch of the input's channels, height and width.
    fn batch(&self, paths: &[PathBuf]) -> Result<Tensor> {
        let mut data = Vec::new();
        for path in paths {
            let sample = self.pictures.read(path)?;
            self.add(&sample, &mut data)
                .map_err(|e| e.at(pictures::place(path)))?;
        }
        let [c, h, w] = self.pictures.size();
        Tensor::new([paths.len(), c, h, w], data)
    }

    /// Adds a sample to a batch, resized if that is wanted.
    fn add(&self, sample: &Sample<'_>, data: &mut Vec<f32>) -> Result<()> {
        let (dims, size) = (sample.dims(), self.pictures.size());
        if dims != size && !self.resize {
            let text = |[c, h, w]: [usize; 3]| format!("{c} channels of {h}x{w}");
            return Err(Error::data(format!(
                "the image is {}, the net's input {} (height x width)",
                text(dims),
                text(size)
            ))
            .help("resize it with --resize, or change the input's shape in the prototxt"));
        }
        self.pictures.put(sample, data)
    }
}

impl Records {
    /// The next records, as many as the input's first axis says; behind the last comes the first.
    fn batch(&mut self) -> Result<Tensor> {
        let count = self.shape.legacy(0);
        let color = self.images.pictures.color();
        let mut data = Vec::new();
        let mut taken = 0;
        let mut empty = false;
        while taken < count {
            let Some((key, value)) = self.database.next()? else {
                if empty {
                    return Err(Error::data("the database has no records")
                        .at(Place::File(self.database.name().to_owned())));
                }
                empty = true;
                self.database.rewind()?;
                continue;
            };
            let added =
                datum::decode(value, color).and_then(|sample| self.images.add(&sample, &mut data));
            if let Err(e) = added {
                let key = key.to_vec();
                return Err(e.at(self.database.place(&key)));
            }
            (taken, empty) = (taken + 1, false);
        }
        Tensor::new(self.shape.clone(), data)
    }
}
