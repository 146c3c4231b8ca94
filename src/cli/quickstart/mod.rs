//! `quickstart`: draws faces, trains the facial-region network as a user wrote it and repaired, and shows both.

mod canvas;
mod command;
mod evaluate;
pub mod faces;
mod folder;
mod pictures;
mod record;
mod table;

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

pub(in crate::cli) use command::COMMAND;

use crate::{
    doctor::Diagnosis,
    error::{Error, Result},
    events::{Event, Observer},
    load::{self, LoadOptions},
    tensor::Tensor,
};
use evaluate::Report;
use faces::Face;
use folder::{VARIANTS, Variant};

/// Pixels a side of a face; the deploy nets are written for it.
const SIZE: usize = 48;

/// What quickstart is asked to do.
#[derive(Clone, Debug)]
pub struct QuickstartArgs {
    /// The folder to write.
    pub dir: PathBuf,
    /// Names the faces and the weights that training starts from.
    pub seed: u64,
    /// Faces to train on.
    pub train: usize,
    /// Faces to test on.
    pub test: usize,
    /// Iterations of each network, if not those of its solver file.
    pub iterations: Option<u64>,
    /// Write into a folder of somebody else's.
    pub force: bool,
}

impl Default for QuickstartArgs {
    fn default() -> Self {
        Self {
            dir: "cortado-quickstart".into(),
            seed: 1,
            train: 400,
            test: 100,
            iterations: None,
            force: false,
        }
    }
}

/// Does it all; tells `observer` of the progress and writes the result to `out`.
///
/// # Errors
/// `Io` where the folder is somebody else's or cannot be written, `Param` where the arguments make no sense.
pub fn run(args: &QuickstartArgs, observer: &mut dyn Observer, out: &mut dyn Write) -> Result<()> {
    check(args)?;
    let start = Instant::now();
    let dir = &args.dir;
    folder::claim(dir, args.force)?;
    observer.on(&Event::Note(&format!(
        "drawing {} faces of {SIZE}x{SIZE} pixels into {}",
        args.train + args.test,
        dir.display()
    )));
    let mut train = faces::draw(args.seed, 0, args.train + args.test, SIZE);
    let test = train.split_off(args.train);
    folder::write_databases(dir, "train", &train)?;
    folder::write_databases(dir, "test", &test)?;
    let mean = folder::write_mean(&dir.join("mean.binaryproto"), &train)?;
    drop(train);

    let (mut reports, mut verdicts) = (Vec::new(), Vec::new());
    let mut iterations = 0;
    for variant in &VARIANTS {
        let (report, done, verdict) = train_and_test(variant, args, &mean, &test, observer)?;
        reports.push(report);
        verdicts.push(verdict);
        iterations = done;
    }
    let shown = Shown {
        pictures: pictures::write(dir, &test, &reports)?,
        page: record::page(dir, &VARIANTS)?,
    };
    let text = summary(
        args,
        iterations,
        &reports,
        &verdicts,
        &shown,
        start.elapsed(),
    );
    out.write_all(text.as_bytes())
        .map_err(|e| Error::io("write", Path::new("the result"), &e))
}

fn check(args: &QuickstartArgs) -> Result<()> {
    for (name, count) in [("train", args.train), ("test", args.test)] {
        if !(1..=1_000_000).contains(&count) {
            return Err(
                Error::param(name, format!("{count} faces")).help("1 to 1000000 are possible")
            );
        }
    }
    if i64::try_from(args.seed).is_err() {
        return Err(
            Error::param("seed", args.seed).help("a solver file holds numbers up to 2^63 - 1")
        );
    }
    if args
        .iterations
        .is_some_and(|n| !(1..=1_000_000).contains(&n))
    {
        return Err(Error::param("iterations", "must be 1 to 1000000"));
    }
    Ok(())
}

fn train_and_test(
    variant: &Variant,
    args: &QuickstartArgs,
    mean: &Tensor,
    test: &[Face],
    observer: &mut dyn Observer,
) -> Result<(Report, u64, Diagnosis)> {
    observer.on(&Event::Note(&format!(
        "training the network {}",
        variant.title
    )));
    let text = folder::solver(args.seed, args.test, args.iterations);
    let root = folder::write_network(&args.dir, variant, &text, observer)?;
    let param = load::solver(
        &root.join("solver.prototxt"),
        LoadOptions::default(),
        observer,
    )?;
    let prefix = param.snapshot_prefix().to_owned();
    let mut record = record::Record::start(variant, &root)?;
    let outcome = record.train(param, &root, observer)?;
    let weights = format!("{prefix}_iter_{}.caffemodel", outcome.iteration);
    let verdict = record.judge(&root, Path::new(&weights), observer)?;
    record.end(observer);
    let weights = root.join(weights);
    let report = evaluate::evaluate(variant, &root, &weights, mean, test, pictures::SHOWN)?;
    Ok((report, outcome.iteration, verdict))
}

/// What there is to look at.
struct Shown {
    pictures: Vec<PathBuf>,
    page: PathBuf,
}

fn summary(
    args: &QuickstartArgs,
    iterations: u64,
    reports: &[Report],
    verdicts: &[Diagnosis],
    shown: &Shown,
    time: Duration,
) -> String {
    let mut text = format!(
        "\nTwo networks that find eyes, nose and mouth, trained on {} drawn faces and tested on {} others:\n\n",
        args.train, args.test
    );
    text += &table::render(reports);
    for (variant, verdict) in VARIANTS.iter().zip(verdicts) {
        let words = verdict.verdict();
        // The verdict names the file; here the network's own title says more.
        let words = words.split_once(": ").map_or(&*words, |(_, rest)| rest);
        text += &format!("\nThe doctor on the network {}: {words}", variant.title);
    }
    let ill: Vec<bool> = verdicts.iter().map(|v| v.ill).collect();
    text += &format!("\n{}\n", table::change(reports, &ill));
    text += &format!(
        "\nBoth trainings beside each other, with curves, heat maps and the nets: {}\n",
        shown.page.display()
    );
    text += "\nHeat maps, blue (0) to red (1), of the five softmax channels; from left to right after face, truth and\nanswer: ";
    text += &faces::CLASSES.join(", ");
    text += "\n";
    for picture in &shown.pictures {
        text += &format!("  {}\n", picture.display());
    }
    let dir = args.dir.display();
    text += &format!(
        "\nAll in {:.0} s. What next:\n  \
         cd {dir}/repaired && cortado train -solver solver.prototxt\n  \
         cd {dir}/repaired && cortado test -model train_val.prototxt -weights snap_iter_{iterations}.caffemodel -iterations {}\n  \
         cd {dir}/as_written && cortado doctor -solver solver.prototxt\n  \
         diff {dir}/as_written/train_val.prototxt {dir}/repaired/train_val.prototxt\n",
        time.as_secs_f64(),
        args.test.div_ceil(folder::BATCH),
    );
    text
}
