//! `view`: what a net makes of an input, what its filters hold, and what its units look for, as pictures.

mod asked;
mod blob;
mod classes;
mod filters;
mod look;
mod source;
mod units;

use std::path::{Path, PathBuf};

use super::{
    args::{Args, Flag},
    command::{Command, Status},
    nets,
    run::feed,
    table::Table,
    ui::Ui,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model_io::write_file,
    number::g,
    report::{channels::Figures, gallery::Gallery},
};

/// The row of the table.
pub(super) const COMMAND: Command = Command {
    name: "view",
    about: "show blobs, filters, class maps, and what a unit looks for, as PNG or SVG",
    flags: &[
        nets::MODEL,
        nets::WEIGHTS,
        Flag::value("blob", "NAME", "Show this blob, one picture a channel"),
        Flag::value(
            "filters",
            "LAYER",
            "Show the filters of this layer of --weights, in colour where they read three channels",
        ),
        Flag::value(
            "maximize",
            "BLOB[:CHANNEL]",
            "Show what drives a channel most, found by climbing from noise; all channels where none is named",
        ),
        Flag::value(
            "occlusion",
            "BLOB[:CHANNEL[:Y:X]]",
            "Show how far an output falls where a patch of the input is covered",
        ),
        Flag::value(
            "gradient",
            "BLOB[:CHANNEL[:Y:X]]",
            "Show by which pixels of the input an output changes most",
        ),
        Flag::value("output", "FILE", "The picture to write: .png or .svg"),
        feed::INPUT,
        feed::LMDB,
        feed::RESIZE,
        feed::MEAN,
        feed::SCALE,
        Flag::value("batch", "N", "Which batch to show, from 0 (default 0)"),
        Flag::value(
            "sample",
            "N",
            "Which sample of the batch, from 0 (default 0)",
        ),
        Flag::value("channels", "LIST", "Only these: 0,3,5 or 0-7"),
        Flag::value(
            "names",
            "LIST",
            "What the channels are called, separated by commas",
        ),
        Flag::value(
            "range",
            "shared|own",
            "One scale of colours for all channels, or its own for each (default shared)",
        ),
        Flag::value(
            "palette",
            "heat|grey|viridis|fire",
            "The colours of values (default heat, blue to red; of filters grey)",
        ),
        Flag::value("over", "BLOB", "Lay the pictures over this input"),
        Flag::switch(
            "classes",
            "Show which channel is highest, each class in a colour",
        ),
        Flag::value(
            "truth",
            "BLOB|FILE",
            "Beside it the truth: a blob of labels, an .npy, or a grey .png whose pixels are classes",
        ),
        Flag::value(
            "patch",
            "N",
            "Side of the patch that covers, in pixels (default an eighth of the input)",
        ),
        Flag::value(
            "stride",
            "N",
            "From one patch to the next (default half a patch)",
        ),
        Flag::value(
            "smooth",
            "N",
            "Mean gradient of so many noisy copies of the input (SmoothGrad; default 0: none)",
        ),
        Flag::value("steps", "N", "Steps of --maximize (default 128)"),
        Flag::value(
            "amplitude",
            "X",
            "Half the range of the input's values, for --maximize (default 128 times --scale)",
        ),
        Flag::switch("json", "Print the figures of each channel as JSON"),
        nets::PHASE,
        nets::LEVEL,
        nets::STAGE,
        nets::SHAPE,
        nets::SEED,
    ],
    examples: "  cortado view --model=deploy.prototxt --weights=net.caffemodel --blob=conv_last --input=data=face.png --over=data --output=maps.png\n  \
               cortado view --model=train_val.prototxt --weights=net.caffemodel --blob=conv_last --classes --truth=label --over=data --sample=3 --output=classes.svg\n  \
               cortado view --weights=net.caffemodel --filters=conv1 --output=conv1.png\n  \
               cortado view --model=deploy.prototxt --weights=net.caffemodel --maximize=conv_last --output=wants.png\n  \
               cortado view --model=deploy.prototxt --weights=net.caffemodel --occlusion=prob:1 --input=face.png --output=where.png\n  \
               cortado view --model=deploy.prototxt --weights=net.caffemodel --gradient=prob:1:6:6 --smooth=25 --input=face.png --output=why.png",
    run,
};

/// What can be shown.
const MODES: [&str; 5] = ["blob", "filters", "maximize", "occlusion", "gradient"];

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let asked: Vec<&str> = MODES
        .into_iter()
        .filter(|mode| args.text(mode).is_some())
        .collect();
    let [mode] = asked[..] else {
        let what = match asked[..] {
            [] => "view needs to know what to show".to_owned(),
            _ => format!(
                "one thing at a time: --{} were given",
                asked.join(" and --")
            ),
        };
        return Err(Error::new(ErrorKind::Param, what).help(
            "name it with --blob=NAME, --filters=LAYER, --maximize=BLOB, --occlusion=BLOB:CHANNEL or --gradient=BLOB:CHANNEL",
        ));
    };
    if let Some(word @ ("shared" | "own")) = args.text("scale").as_deref() {
        return Err(Error::param("--scale", format!("'{word}' is not a number"))
            .help(format!("the scale of the colours is --range={word}; --scale multiplies the input, as in run")));
    }
    let target = Target::new(args)?;
    let shown = match mode {
        "filters" => filters::show(args)?,
        "blob" => blob::show(args, ui)?,
        mode => units::show(args, mode, ui)?,
    };
    target.write(&shown.gallery, ui)?;
    if args.switch("json") {
        ui.print(&format!("{}\n", shown.json(&target)))?;
    } else {
        ui.print(&shown.table().to_string())?;
    }
    Ok(Status::Done)
}

/// A sheet, and the figures of what is on it.
struct Shown {
    gallery: Gallery,
    /// What is shown, by name.
    what: String,
    rows: Vec<Row>,
}

/// The figures of one picture.
struct Row {
    name: String,
    index: usize,
    figures: Figures,
    /// Further figures by name: `output`, `before`.
    more: Vec<(&'static str, f64)>,
}

impl Shown {
    fn json(&self, target: &Target) -> String {
        let rows: Vec<serde_json::Value> = self
            .rows
            .iter()
            .map(|row| {
                let mut value = serde_json::json!({
                    "channel": row.index,
                    "name": row.name,
                    "low": row.figures.low,
                    "high": row.figures.high,
                    "mean": row.figures.mean,
                    "zeros": row.figures.zeros,
                    "not_finite": row.figures.not_finite,
                });
                for &(name, number) in &row.more {
                    value[name] = number.into();
                }
                value
            })
            .collect();
        let file = target.path.as_ref().map(|p| p.display().to_string());
        serde_json::json!({ "shown": self.what, "file": file, "channels": rows }).to_string()
    }

    fn table(&self) -> Table {
        let more: Vec<&str> = self
            .rows
            .first()
            .map(|row| row.more.iter().map(|m| m.0).collect())
            .unwrap_or_default();
        let mut head = vec![self.what.as_str(), "low", "mean", "high", "zeros"];
        head.extend(more);
        let mut table = Table::new(1, &head);
        for row in &self.rows {
            let f = &row.figures;
            let mut cells = vec![
                row.name.clone(),
                g(f.low),
                g(f.mean),
                g(f.high),
                format!("{:.1}%", 100.0 * f.zeros),
            ];
            cells.extend(row.more.iter().map(|m| g(m.1)));
            table.row(cells);
        }
        table
    }
}

/// Where the picture goes.
struct Target {
    path: Option<PathBuf>,
    svg: bool,
}

impl Target {
    fn new(args: &Args) -> Result<Self> {
        let path = args.path("output");
        let ending = path
            .as_deref()
            .and_then(Path::extension)
            .map(|e| e.to_string_lossy().to_ascii_lowercase());
        let svg = match (&path, ending.as_deref()) {
            (None, _) if args.switch("json") => false,
            (None, _) => {
                return Err(Error::new(ErrorKind::Param, "view needs a file to write")
                    .help("name it with --output=FILE.png or --output=FILE.svg; --json alone prints figures only"));
            }
            (_, Some("png")) => false,
            (_, Some("svg")) => true,
            (Some(path), _) => {
                return Err(Error::param(
                    "--output",
                    format!("'{}' ends neither in .png nor in .svg", path.display()),
                ));
            }
        };
        Ok(Self { path, svg })
    }

    fn write(&self, gallery: &Gallery, ui: &mut Ui) -> Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let bytes = match self.svg {
            true => gallery.svg()?.into_bytes(),
            false => gallery.png()?,
        };
        write_file(path, &bytes)?;
        ui.log(
            "cortado:1",
            &format!("Picture written to {}", path.display()),
        );
        ui.tell(&format!("picture in {}", path.display()));
        Ok(())
    }
}
