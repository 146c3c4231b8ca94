//! `db info`, `db ls` and `db show`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{kind, line, open, size};
use crate::{
    cli::{args::Args, command::Status, databases::work::writable, table::Table, ui::Ui},
    database::png,
    error::{Error, ErrorKind, Result},
    feed::{
        database::Database,
        datum::{Color, Pixels, Sample},
        record::Stored,
    },
    model_io::write_file,
    number::g,
    schema::AnnotationGroup,
};

/// Bytes of a file, or of those in a folder.
fn bytes_of(path: &Path) -> u64 {
    let length = |path: &Path| fs::metadata(path).map_or(0, |m| m.len());
    match fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| length(&entry.path())).sum(),
        Err(_) => length(path),
    }
}

fn kind_of(record: &Stored<'_>) -> &'static str {
    match record.annotations() {
        Some(_) => "AnnotatedDatum",
        None => "Datum",
    }
}

/// Channels, height and width: as they are stated, or of the image in the record.
fn dims(record: &Stored<'_>) -> Result<[usize; 3]> {
    let stated = record.stated().map(|n| usize::try_from(n).unwrap_or(0));
    if record.encoded() || stated.contains(&0) {
        return Ok(record.sample(Color::AsStored)?.dims());
    }
    Ok(stated)
}

pub(super) fn info(args: &Args, words: &[PathBuf], ui: &mut Ui) -> Result<Status> {
    let mut database = open(&words[0])?;
    let records = database.records()?;
    let integers = database.integer_keys();
    let bytes = bytes_of(&words[0]);
    let Some((key, value)) = database.take(1)?.pop() else {
        return Err(Error::data("the database has no records"));
    };
    let placed = |e: Error| e.at(database.place(&key));
    let record = Stored::read(&value).map_err(placed)?;
    let dims = dims(&record).map_err(placed)?;
    let keys = if integers { "integers" } else { "text" };
    let first = database.text(&key);
    if args.switch("json") {
        let value = json!({
            "database": database.name(), "kind": kind(database.kind()), "records": records,
            "keys": keys, "bytes": bytes,
            "first": {
                "key": first, "type": kind_of(&record), "encoding": record.encoding(),
                "shape": dims, "label": record.label(),
            },
        });
        ui.json(&value)?;
        return Ok(Status::Done);
    }
    let mut table = Table::new(2, &["database", database.name()]);
    let mut row = |name: &str, value: String| table.row(vec![name.to_owned(), value]);
    row("kind", kind(database.kind()).to_owned());
    row("records", records.to_string());
    row("keys", keys.to_owned());
    row("bytes", bytes.to_string());
    row("first key", first);
    row("its type", kind_of(&record).to_owned());
    row("its encoding", record.encoding().to_owned());
    row("its size", size(dims));
    row("its label", record.label().to_string());
    ui.print(&table.to_string())?;
    Ok(Status::Done)
}

pub(super) fn ls(args: &Args, words: &[PathBuf], _: &mut Ui) -> Result<Status> {
    /// Rows of a table at a time.
    const ROWS: usize = 1000;
    let mut database = open(&words[0])?;
    let limit = args.number::<usize>("limit")?.unwrap_or(usize::MAX);
    let json = args.switch("json");
    let mut left = limit;
    let mut separator = "[\n";
    while left > 0 {
        let records = database.take(left.min(ROWS))?;
        if records.is_empty() {
            break;
        }
        left -= records.len();
        let mut table = Table::new(1, &["key", "label", "size", "encoding", "bytes"]);
        let mut text = String::new();
        for (key, value) in &records {
            // What cannot be read has its row, too: 'db stats' says why.
            let record = Stored::read(value).ok();
            let dims = record.as_ref().and_then(|record| dims(record).ok());
            let label = record.as_ref().map(Stored::label);
            let encoding = record.as_ref().map(Stored::encoding);
            let key = database.text(key);
            if json {
                let value = json!({
                    "key": key, "label": label, "shape": dims,
                    "encoding": encoding, "bytes": value.len(),
                });
                text += &format!("{separator}{value}");
                separator = ",\n";
            } else {
                table.row(vec![
                    key,
                    label.map_or_else(|| "-".to_owned(), |label| label.to_string()),
                    dims.map_or_else(|| "unreadable".to_owned(), size),
                    encoding.unwrap_or("-").to_owned(),
                    value.len().to_string(),
                ]);
            }
        }
        if !json {
            text = table.to_string();
        }
        line(&text)?;
    }
    if json {
        line(if separator == "[\n" { "[]\n" } else { "\n]\n" })?;
    }
    Ok(Status::Done)
}

pub(super) fn show(args: &Args, words: &[PathBuf], ui: &mut Ui) -> Result<Status> {
    let mut database = open(&words[0])?;
    let wanted = words[1].to_string_lossy();
    let (key, value) = find(&mut database, &wanted)?;
    let placed = |e: Error| e.at(database.place(&key));
    let record = Stored::read(&value).map_err(placed)?;
    let sample = record.sample(Color::AsStored).map_err(placed)?;
    let text = database.text(&key);
    if let Some(path) = args.path("out") {
        writable(&path)?;
        let picture = png(sample).map_err(placed)?;
        write_file(&path, &picture)?;
        ui.log(
            "cortado:1",
            &format!("Record written to {}", path.display()),
        );
        ui.tell(&format!(
            "'{text}', label {}, in {}",
            record.label(),
            path.display()
        ));
        return Ok(Status::Done);
    }
    let [low, high, mean] = range(&sample);
    if args.switch("json") {
        let value = json!({
            "key": text, "type": kind_of(&record), "label": record.label(),
            "encoding": record.encoding(), "shape": sample.dims(), "bytes": value.len(),
            "min": low, "max": high, "mean": mean,
            "boxes": record.annotations().map(boxes),
        });
        ui.json(&value)?;
        return Ok(Status::Done);
    }
    let mut table = Table::new(2, &["key", &text]);
    let mut row = |name: &str, value: String| table.row(vec![name.to_owned(), value]);
    row("type", kind_of(&record).to_owned());
    row("label", record.label().to_string());
    row("encoding", record.encoding().to_owned());
    row("size", size(sample.dims()));
    row(
        "values",
        format!("{} to {}, mean {}", g(low), g(high), g(mean)),
    );
    let mut out = table.to_string();
    for [class, xmin, ymin, xmax, ymax] in record.annotations().map(boxes).unwrap_or_default() {
        out += &format!(
            "box of class {class}: {} {} to {} {}\n",
            g(xmin),
            g(ymin),
            g(xmax),
            g(ymax)
        );
    }
    out += &cells(&sample);
    ui.print(&out)?;
    Ok(Status::Done)
}

/// The record of a key, or of a number where no key reads so.
fn find(database: &mut Database, wanted: &str) -> Result<(Vec<u8>, Vec<u8>)> {
    if let Some(found) = database.find(wanted)? {
        return Ok(found);
    }
    database.rewind()?;
    if let Ok(number) = wanted.parse::<u64>() {
        for _ in 0..number {
            if database.next()?.is_none() {
                break;
            }
        }
        if let Some((key, value)) = database.next()? {
            return Ok((key.to_vec(), value.to_vec()));
        }
        database.rewind()?;
    }
    let first: Vec<String> = database
        .take(3)?
        .iter()
        .map(|(key, _)| format!("'{}'", database.text(key)))
        .collect();
    Err(Error::new(
        ErrorKind::Param,
        format!("'{}' has no record '{wanted}'", database.name()),
    )
    .help(format!(
        "its first keys are {}; 'db ls' tells all",
        first.join(", ")
    )))
}

/// Class and corners of each box, in fractions of the image.
fn boxes(groups: &[AnnotationGroup]) -> Vec<[f32; 5]> {
    let each = groups.iter().flat_map(|group| {
        let class = group.group_label() as f32;
        group.annotation.iter().filter_map(move |annotation| {
            let b = annotation.bbox?;
            Some([class, b.xmin(), b.ymin(), b.xmax(), b.ymax()])
        })
    });
    each.collect()
}

/// Least, largest and mean value.
fn range(sample: &Sample<'_>) -> [f32; 3] {
    let values = sample.floats();
    let sum: f64 = values.iter().map(|&v| f64::from(v)).sum();
    [
        values.iter().copied().fold(f32::INFINITY, f32::min),
        values.iter().copied().fold(f32::NEG_INFINITY, f32::max),
        (sum / values.len().max(1) as f64) as f32,
    ]
}

/// The values of a small map of one channel, row by row.
fn cells(sample: &Sample<'_>) -> String {
    if sample.channels != 1 || sample.width > 32 || sample.height > 64 {
        return String::new();
    }
    let values: Vec<String> = match &sample.pixels {
        Pixels::U8(bytes) => bytes.iter().map(u8::to_string).collect(),
        _ => sample.floats().into_iter().map(g).collect(),
    };
    let width = values.iter().map(String::len).max().unwrap_or(0);
    let mut text = String::new();
    for row in values.chunks(sample.width.max(1)) {
        let row: Vec<String> = row.iter().map(|v| format!("{v:>width$}")).collect();
        text += &format!("{}\n", row.join(" "));
    }
    text
}
