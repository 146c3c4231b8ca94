//! `db stats`.

use std::path::PathBuf;

use serde_json::json;

use super::{begin, open, size};
use crate::{
    cli::{args::Args, command::Status, table::Table, ui::Ui},
    database::{self, Stats},
    error::Result,
    number::g,
};

pub(super) fn stats(args: &Args, words: &[PathBuf], ui: &mut Ui) -> Result<Status> {
    let mut database = open(&words[0])?;
    let mut work = begin(ui, &[&database])?;
    let stats = database::stats(&mut database, &mut work)?;
    work.quiet();
    if args.switch("json") {
        ui.json(&as_json(&stats))?;
    } else {
        ui.print(&as_text(&stats))?;
    }
    Ok(Status::Done)
}

fn as_json(stats: &Stats) -> serde_json::Value {
    let text = |map: &std::collections::BTreeMap<i32, u64>| -> serde_json::Map<_, _> {
        let each = map.iter();
        each.map(|(label, &n)| (label.to_string(), n.into()))
            .collect()
    };
    let values = stats.values.as_ref().map(|values| {
        let each = values.iter().enumerate().filter(|&(_, &n)| n > 0);
        each.map(|(value, &n)| (value.to_string(), n.into()))
            .collect::<serde_json::Map<_, _>>()
    });
    let shapes: Vec<_> = stats
        .shapes
        .iter()
        .map(|(shape, n)| json!({"shape": shape, "records": n}))
        .collect();
    let duplicates: Vec<_> = stats
        .first_duplicates
        .iter()
        .map(|d| json!({"first": d.first, "second": d.second, "labels_differ": d.labels_differ}))
        .collect();
    json!({
        "records": stats.records, "bytes": stats.bytes, "annotated": stats.annotated,
        "encodings": stats.encodings, "shapes": shapes,
        "labels": text(&stats.labels), "boxes": text(&stats.boxes), "values": values,
        "mean": stats.mean, "deviation": stats.deviation, "range": stats.range,
        "duplicates": stats.duplicates, "first_duplicates": duplicates,
        "unreadable": stats.unreadable, "first_unreadable": stats.first_unreadable,
    })
}

/// Rows of a histogram that are shown at most.
const MOST: usize = 40;

fn as_text(stats: &Stats) -> String {
    let mut text = format!("{} records, {} bytes\n", stats.records, stats.bytes);
    if stats.annotated > 0 {
        text += &format!("{} of them with annotations\n", stats.annotated);
    }
    let mut part = |title: &str, rows: Vec<(String, u64)>| {
        if rows.is_empty() {
            return;
        }
        let all: u64 = rows.iter().map(|(_, n)| n).sum();
        let mut table = Table::new(1, &[title, "count", "share"]);
        for (name, n) in rows.iter().take(MOST) {
            let share = *n as f64 / all.max(1) as f64 * 100.0;
            table.row(vec![name.clone(), n.to_string(), format!("{share:.1} %")]);
        }
        text += &format!("\n{table}");
        if rows.len() > MOST {
            text += &format!("and {} more\n", rows.len() - MOST);
        }
    };
    let encodings = stats.encodings.iter();
    part(
        "encoding",
        encodings.map(|(e, &n)| ((*e).to_owned(), n)).collect(),
    );
    let shapes = stats.shapes.iter();
    part("size", shapes.map(|(&s, &n)| (size(s), n)).collect());
    let labels = stats.labels.iter();
    part("label", labels.map(|(l, &n)| (l.to_string(), n)).collect());
    let boxes = stats.boxes.iter();
    part(
        "boxes of class",
        boxes.map(|(l, &n)| (l.to_string(), n)).collect(),
    );
    // A picture has all values; a label map has a few.
    let values: Vec<(String, u64)> = (stats.values.iter().flatten().enumerate())
        .filter(|&(_, &n)| n > 0)
        .map(|(value, &n)| (value.to_string(), n))
        .collect();
    if values.len() <= MOST {
        part("value", values);
    }
    if let Some([low, high]) = stats.range {
        let mut table = Table::new(1, &["channel", "mean", "deviation"]);
        for (c, (mean, deviation)) in stats.mean.iter().zip(&stats.deviation).enumerate() {
            table.row(vec![c.to_string(), g(*mean), g(*deviation)]);
        }
        text += &format!("\n{table}values from {} to {}\n", g(low), g(high));
    }
    text += &format!("\n{} duplicates\n", stats.duplicates);
    for double in &stats.first_duplicates {
        let labels = if double.labels_differ {
            ", with another label"
        } else {
            ""
        };
        text += &format!(
            "  '{}' is '{}' again{labels}\n",
            double.second, double.first
        );
    }
    text += &format!("{} records cannot be read\n", stats.unreadable);
    for error in &stats.first_unreadable {
        text += &format!("  {}\n", error.replace('\n', "\n  "));
    }
    text
}
