//! `db labels` and `db class-weights`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{backend, begin, made, open};
use crate::{
    cli::{
        args::Args,
        command::Status,
        databases::{convert_imageset, work::Work},
        nets,
        table::Table,
        ui::Ui,
    },
    database::{Cells, ClassCounts, LabelOptions, Like, Sampling, write_labels},
    error::{Error, ErrorKind, Result},
    feed::{
        files::Folder,
        list::{Form, List},
    },
    graph, load,
    number::g,
    schema::{NetState, Phase, data_parameter::Db},
};

/// The label that stands for none, as nets call it.
const IGNORED: i64 = 255;

fn ignored(args: &Args) -> Result<Option<u32>> {
    let label = args.number::<i64>("ignore_label")?.unwrap_or(IGNORED);
    Ok(u32::try_from(label).ok())
}

pub(super) fn labels(args: &Args, words: &[PathBuf], ui: &mut Ui) -> Result<Status> {
    let [from, target] = words else {
        return Ok(Status::Failed);
    };
    let (list, folder) = maps(args, from)?;
    let size = convert_imageset::resize(args, ui)?;
    let cells = match (args.path("like"), size) {
        (Some(net), None) => like(args, &net, ui)?,
        (None, Some(size)) => Cells::Size(size),
        (None, None) => Cells::Own,
        (Some(_), Some(_)) => {
            return Err(Error::new(
                ErrorKind::Param,
                "--like and a size: the net's map has a size of its own",
            )
            .help("leave one of them out"));
        }
    };
    let samplings = [("middle", Sampling::Middle), ("most", Sampling::Most)];
    let options = LabelOptions {
        folder,
        cells,
        sampling: args.word("sampling", &samplings)?.unwrap_or_default(),
        changed: changed(args)?,
        // Without one, a label that no list of classes holds stands for it.
        ignored: ignored(args)?
            .and_then(|n| u8::try_from(n).ok())
            .unwrap_or(255),
        classes: args.number("classes")?,
        backend: backend(args)?.unwrap_or(Db::Lmdb),
    };
    let mut keys = args.path("keys").map(|path| open(&path)).transpose()?;
    let count = u64::try_from(list.len()).unwrap_or(0);
    let mut work = Work::begin(ui, "maps", count, "cortado:1", 1000)?;
    let count = write_labels(&list, keys.as_mut(), &options, target, &mut work)?;
    work.quiet();
    if let Cells::Like(like) = &options.cells
        && let Some(grid) = like.any()
    {
        let [rows, columns] = grid.lines;
        let text = format!(
            "{}x{} cells, one every {}x{} pixels, the first at row {}, column {}",
            rows.count,
            columns.count,
            g(rows.scale),
            g(columns.scale),
            g(rows.offset),
            g(columns.offset)
        );
        ui.log("cortado:1", &text);
        ui.tell(&text);
    }
    made(args, ui, &[(target, count)], "label maps in")?;
    Ok(Status::Done)
}

/// The label maps of a list, or of a folder in the order of their names.
fn maps(args: &Args, from: &Path) -> Result<(List, Folder)> {
    let name = from.to_string_lossy();
    if !from.is_dir() {
        let list = List::read(Path::new(""), &name, Form::Path)?;
        let root = args.text("root").unwrap_or_default();
        return Ok((list, Folder::new(Path::new(""), &root)));
    }
    let entries = fs::read_dir(from).map_err(|e| Error::io("read", from, &e))?;
    let mut files: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.to_lowercase().ends_with(".png"))
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(Error::data(format!("the folder '{name}' has no PNGs"))
            .help("name a folder of label maps, or a list of them"));
    }
    let folder = Folder::new(Path::new(""), &format!("{}/", name.trim_end_matches('/')));
    Ok((List::of_paths(&name, &files), folder))
}

fn like(args: &Args, path: &Path, ui: &mut Ui) -> Result<Cells> {
    let blob = args.text("blob").ok_or_else(|| {
        Error::new(
            ErrorKind::Param,
            "--like names a net, and nothing says which blob of it",
        )
        .help("name the blob that is compared with the labels: --blob=conv_last")
    })?;
    let file = load::net(path, nets::options(args)?, ui)?;
    let mut net = file.net;
    let over = NetState {
        phase: nets::phase(args)?.map(|phase| phase as i32),
        level: args.number("level")?,
        stage: args.list("stage"),
    };
    net.state = Some(graph::state_of(&net, Phase::Test, Some(&over)));
    Ok(Cells::Like(Box::new(Like::new(
        &net,
        &blob,
        Path::new(""),
    )?)))
}

/// `--map`.
fn changed(args: &Args) -> Result<BTreeMap<u8, u8>> {
    let pair = |text: String| {
        let (from, to) = text.split_once(':')?;
        Some((from.trim().parse().ok()?, to.trim().parse().ok()?))
    };
    let mut changed = BTreeMap::new();
    for text in args.list("map") {
        let (from, to) = pair(text.clone()).ok_or_else(|| {
            Error::param("--map", format!("'{text}' is no change of a label"))
                .help("write them as 255:0,7:1, each from 0 to 255")
        })?;
        changed.insert(from, to);
    }
    Ok(changed)
}

pub(super) fn class_weights(args: &Args, words: &[PathBuf], ui: &mut Ui) -> Result<Status> {
    let mut database = open(&words[0])?;
    let by_label = args.switch("by_label");
    let ignored = ignored(args)?;
    let mut work = begin(ui, &[&database])?;
    let counts = ClassCounts::of(&mut database, by_label, ignored, &mut work)?;
    work.quiet();
    let largest = counts.classes.keys().next_back().copied().unwrap_or(0);
    let found = usize::try_from(largest).map_or(0, |n| n + 1);
    let classes = args.count("classes", found)?;
    if classes < found {
        return Err(Error::data(format!(
            "there are {classes} classes, from 0 on, and the database has the label {largest}"
        ))
        .help("give more --classes, or name the label that stands for none with --ignore_label"));
    }
    if classes > 1 << 16 {
        return Err(Error::param("--classes", "more than 65536 are too many"));
    }
    let weights = counts.weights(classes, by_label);
    let pixels = counts.pixels(classes);
    for (class, _) in pixels.iter().enumerate().filter(|(_, n)| **n == 0) {
        ui.warn(&format!("class {class} does not come; its weight is 1"));
    }
    let words: Vec<String> = weights
        .iter()
        .map(|w| format!("class_weighting: {}", g(*w)))
        .collect();
    let ignore = ignored.map_or(String::new(), |n| format!("ignore_label: {n} "));
    let param = format!(
        "loss_param {{ {ignore}weight_by_label_freqs: true {} }}",
        words.join(" ")
    );
    if args.switch("json") {
        let value = json!({
            "records": counts.records, "total": counts.total, "ignored": counts.ignored,
            "counts": pixels, "weights": weights, "loss_param": param,
        });
        ui.json(&value)?;
        return Ok(Status::Done);
    }
    let what = if by_label { "records" } else { "pixels" };
    let mut table = Table::new(1, &["class", what, "share", "weight"]);
    for (class, (&n, weight)) in pixels.iter().zip(&weights).enumerate() {
        let share = n as f64 / counts.total.max(1) as f64 * 100.0;
        table.row(vec![
            class.to_string(),
            n.to_string(),
            format!("{share:.2} %"),
            g(*weight),
        ]);
    }
    ui.print(&format!("{table}\n{param}\n"))?;
    Ok(Status::Done)
}
