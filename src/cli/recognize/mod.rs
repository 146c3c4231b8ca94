//! Nets at work on image files: `classify`, `detect`, `segment`. One file, a folder, a list or a pattern; each image
//! for itself.

mod classify;
mod detect;
mod segment;

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

pub(in crate::cli) use classify::COMMAND as CLASSIFY;
pub(in crate::cli) use detect::COMMAND as DETECT;
pub(in crate::cli) use segment::COMMAND as SEGMENT;

use super::{
    args::{Args, Flag},
    command::Status,
    nets::{self, Loaded, Wish},
    run::feed::mean_values,
    signals::Signals,
    ui::Ui,
};
use crate::{
    error::{Error, ErrorKind, Result},
    feed::{
        datum::Sample,
        pictures::{self, Pictures},
        transform::Transformer,
    },
    model_io::{binaryproto::read_binaryproto, write_file},
    net::{Keep, Net},
    params::Params,
    report::{self, heatmap::Picture},
    schema::{LabelMap, Phase, TransformationParameter},
    solver::Action,
    tensor::{Tensor, View},
    text,
};

const MEAN: Flag = Flag::value(
    "mean",
    "FILE|VALUES",
    "Subtract from images: the mean of each channel of a .binaryproto, or one number a channel (104,117,123)",
);
const SCALE: Flag = Flag::value("scale", "X", "Multiply images by this, after the mean");
const BLOB: Flag = Flag::value(
    "blob",
    "NAME",
    "The output to read (default: the net's only one)",
);
const LABELS: Flag = Flag::value(
    "labels",
    "FILE",
    "Names of the classes: one a line from class 0, or an SSD label map (.prototxt)",
);
const JSON: Flag = Flag::switch("json", "Print JSON instead");
const IMAGES: Flag = Flag::operand(
    "images",
    "IMAGES",
    "Image files, a folder of them, a .txt with one a line, or a pattern in quotes",
)
.many();

/// A net with one input of images.
struct Recognizer {
    net: Net,
    params: Params,
    input: String,
    output: String,
    pictures: Pictures,
}

impl Recognizer {
    fn open(args: &Args, example: &str, ui: &mut Ui) -> Result<Self> {
        let wish = Wish {
            phase: Phase::Test,
            own_state: true,
            backward: false,
            keep: Keep::Outputs,
            wanted: args.list("blob"),
            frozen: true,
        };
        let Loaded { net, params } = nets::load(args, &wish, example, ui)?;
        if !net.learnable().is_empty() {
            args.need("weights", "the net's weights", example)?;
        }
        let input = match net.inputs()[..] {
            [only] => only.to_owned(),
            [] => {
                return Err(Error::new(
                    ErrorKind::Param,
                    "the net has no input: its data layers read for themselves",
                )
                .help("use the deploy form of the net, with an Input layer"));
            }
            ref many => {
                return Err(Error::new(
                    ErrorKind::Param,
                    format!("the net has {} inputs: {}", many.len(), many.join(", ")),
                )
                .help("'cortado run' feeds nets with several inputs"));
            }
        };
        let output = match (args.text("blob"), &net.outputs()[..]) {
            (Some(blob), _) if net.graph().latest(&blob).is_some() => blob,
            (Some(blob), _) => {
                return Err(
                    Error::new(ErrorKind::Param, format!("the net has no blob '{blob}'"))
                        .help(format!("its blobs are {}", net.blob_names().join(", "))),
                );
            }
            (None, [only]) => (*only).to_owned(),
            (None, outputs) => {
                return Err(Error::new(
                    ErrorKind::Param,
                    format!("the net has {} outputs", outputs.len()),
                )
                .help(format!("choose one with --blob: {}", outputs.join(", "))));
            }
        };
        let view = net
            .blob(&input)
            .ok_or_else(|| Error::new(ErrorKind::Graph, "the net's input cannot be read"))?;
        let pictures = Pictures::new(&input, view.shape, transformer(args, view.shape.legacy(1))?)?;
        Ok(Self {
            net,
            params,
            input,
            output,
            pictures,
        })
    }

    /// What the net says about an image.
    fn answer(&mut self, sample: &Sample<'_>) -> Result<View<'_>> {
        let mut data = Vec::new();
        self.pictures.put(sample, &mut data)?;
        let [c, h, w] = self.pictures.size();
        let batch = Tensor::new([1, c, h, w], data)?;
        self.net.set_input(&self.input, &batch)?;
        self.net.forward(&mut self.params)?;
        self.net
            .blob(&self.output)
            .ok_or_else(|| Error::data(format!("blob '{}' cannot be read", self.output)))
    }

    /// Goes through these images; `each` gets the file, its image and what the net says. One image that does not do stops
    /// nothing, but the command fails in the end.
    fn each(
        &mut self,
        files: &[PathBuf],
        ui: &mut Ui,
        mut each: impl FnMut(&mut Ui, &Path, &Sample<'_>, View<'_>) -> Result<()>,
    ) -> Result<Status> {
        let signals = Signals::ending()?;
        let bar = ui.bar("images", files.len() as u64);
        let mut failed = 0;
        for (before, file) in files.iter().enumerate() {
            if !matches!(signals.take(), Action::Continue) {
                return Err(Error::new(
                    ErrorKind::Io,
                    format!("interrupted after {before} of {} images", files.len()),
                ));
            }
            let result = self.pictures.read(file).and_then(|sample| {
                let view = self
                    .answer(&sample)
                    .map_err(|e| e.at(pictures::place(file)))?;
                each(ui, file, &sample, view)
            });
            match result {
                Ok(()) => {}
                Err(error) if files.len() == 1 || super::ui::closed(&error) => return Err(error),
                Err(error) => {
                    failed += 1;
                    ui.warn(&error.to_string());
                }
            }
            bar.inc(1);
            let done = before + 1;
            if done.is_multiple_of(EVERY) || (done == files.len() && done > 1) {
                ui.log("cortado:1", &format!("Processed {done} files."));
            }
        }
        bar.finish_and_clear();
        if failed > 0 {
            ui.warn(&format!("{failed} of {} images failed", files.len()));
            return Ok(Status::Failed);
        }
        Ok(Status::Done)
    }
}

/// After how many images the log says so.
const EVERY: usize = 100;

/// The image files that the line names.
fn files(args: &Args) -> Result<Vec<PathBuf>> {
    let words = args.all_paths("images");
    if words.is_empty() {
        return Err(Error::new(ErrorKind::Param, "no image is named")
            .help("name files, a folder, a .txt with one a line, or a pattern in quotes"));
    }
    pictures::find(&words)
}

/// That one of Caffe's example programs, which take words without flags, did not get all of them.
fn too_few(tool: &str, needed: &str, got: usize) -> Error {
    Error::new(
        ErrorKind::Param,
        format!("{tool} takes these words in their order, and got {got} of them: {needed}"),
    )
    .help(format!("'{tool} --help' tells what else there is"))
}

/// `--mean` and `--scale`, for an input of so many channels. Of a mean image the mean of each channel is taken, as images
/// may have any size.
fn transformer(args: &Args, channels: usize) -> Result<Transformer> {
    let mut param = TransformationParameter {
        scale: args.number("scale")?,
        ..Default::default()
    };
    if let Some(mean) = args.text("mean") {
        param.mean_value = match mean_values(&mean) {
            Some(values) => values,
            None => {
                let mean = read_binaryproto(Path::new(&mean))?;
                let own = mean.shape.legacy(1);
                let plane = mean.data.len().checked_div(own).unwrap_or(0).max(1);
                let average = |values: &[f32]| {
                    (values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64) as f32
                };
                mean.data.chunks(plane).map(average).collect()
            }
        };
    }
    match param.mean_value.len() {
        n if n <= 1 || n == channels => Transformer::new(&param, false, Path::new("")),
        n => Err(Error::param(
            "--mean",
            format!("has {n} channels, and the net's input {channels}"),
        )
        .help("give the mean of the images that the net was trained on, or one number")),
    }
}

/// Names of classes; a class without one is its number.
#[derive(Default)]
struct Names(Vec<(i64, String)>);

impl Names {
    /// Of `--labels`.
    fn read(args: &Args) -> Result<Self> {
        args.path("labels")
            .map_or_else(|| Ok(Self::default()), |p| Self::open(&p))
    }

    fn open(path: &Path) -> Result<Self> {
        if path
            .extension()
            .is_some_and(|e| e == "prototxt" || e == "pbtxt")
        {
            let parsed: text::Parsed<LabelMap> =
                text::read_file("LabelMap", path, text::Options { strict: false })?;
            let names = parsed.message.item.into_iter().map(|item| {
                let name = item.display_name.clone().or(item.name.clone());
                (i64::from(item.label()), name.unwrap_or_default())
            });
            return Ok(Self(names.collect()));
        }
        let text = fs::read(path).map_err(|e| Error::io("read", path, &e))?;
        let text = String::from_utf8_lossy(&text);
        Ok(Self((0..).zip(text.lines().map(str::to_owned)).collect()))
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn of(&self, class: i64) -> String {
        let known = self.0.iter().find(|(label, _)| *label == class);
        known.map_or_else(|| class.to_string(), |(_, name)| name.clone())
    }
}

/// Where the pictures about an image go.
struct Out {
    folder: PathBuf,
    /// The last image, and how the names of its pictures begin.
    last: Option<(PathBuf, String)>,
    /// Beginnings in use, in lower case: some file systems take both for one.
    taken: HashSet<String>,
}

impl Out {
    /// Makes the folder of `--out`.
    fn of(args: &Args) -> Result<Option<Self>> {
        let Some(folder) = args.path("out") else {
            return Ok(None);
        };
        fs::create_dir_all(&folder).map_err(|e| Error::io("create", &folder, &e))?;
        Ok(Some(Self {
            folder,
            last: None,
            taken: HashSet::new(),
        }))
    }

    /// `<image>_<what>.png`; where an earlier image had that name, in another folder or of another kind, a number tells
    /// the later one from it.
    fn path(&mut self, image: &Path, what: &str) -> PathBuf {
        let stem = match &self.last {
            Some((last, stem)) if last == image => stem.clone(),
            _ => self.name(image),
        };
        self.folder.join(format!("{stem}_{what}.png"))
    }

    fn name(&mut self, image: &Path) -> String {
        let own = image.file_stem().unwrap_or_default().to_string_lossy();
        let mut stem = own.clone().into_owned();
        let mut number = 1;
        while !self.taken.insert(stem.to_lowercase()) {
            number += 1;
            stem = format!("{own}_{number}");
        }
        self.last = Some((image.to_owned(), stem.clone()));
        stem
    }
}

/// A picture for showing.
fn show<'a>(sample: &Sample<'_>, rgb: &'a [u8]) -> Result<Picture<'a>> {
    Picture::new(sample.width, sample.height, rgb)
}

/// Writes a picture as PNG.
fn save(path: &Path, picture: &image::RgbImage) -> Result<()> {
    let bytes = report::png(picture)?;
    write_file(path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_one_name_do_not_meet() {
        let mut out = Out {
            folder: "out".into(),
            last: None,
            taken: HashSet::new(),
        };
        let mut path = |image: &str, what: &str| {
            let path = out.path(Path::new(image), what);
            path.to_string_lossy().replace('\\', "/")
        };
        assert_eq!(path("a/x.png", "labels"), "out/x_labels.png");
        assert_eq!(path("a/x.png", "overlay"), "out/x_overlay.png");
        assert_eq!(path("b/X.jpg", "labels"), "out/X_2_labels.png");
        assert_eq!(path("b/X.jpg", "overlay"), "out/X_2_overlay.png");
        assert_eq!(path("c/x_2.png", "labels"), "out/x_2_2_labels.png");
    }
}
