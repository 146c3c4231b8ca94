//! `db diff` and `db pair`.

use std::path::PathBuf;

use serde_json::json;

use super::{begin, open, size};
use crate::{
    cli::{args::Args, command::Status, ui::Ui},
    database::{self, Difference},
    error::Result,
};

pub(super) fn diff(args: &Args, words: &[PathBuf], ui: &mut Ui) -> Result<Status> {
    let (mut first, mut second) = (open(&words[0])?, open(&words[1])?);
    let most = args.number("limit")?.unwrap_or(20);
    let mut work = begin(ui, &[&first])?;
    let found = database::diff(&mut first, &mut second, most, &mut work)?;
    work.quiet();
    let (a, b) = (first.name(), second.name());
    if args.switch("json") {
        let each = found
            .first
            .iter()
            .map(|(key, difference)| match difference {
                Difference::OnlyFirst => json!({"key": key, "only": a}),
                Difference::OnlySecond => json!({"key": key, "only": b}),
                Difference::Value(words) => json!({"key": key, "differs": words}),
            });
        let value = json!({
            "records": found.records, "only_first": found.only_first,
            "only_second": found.only_second, "differ": found.values,
            "same_content_in_other_bytes": found.same_content,
            "first": each.collect::<Vec<_>>(), "equal": found.none(),
        });
        ui.json(&value)?;
    } else {
        let mut text = String::new();
        for (key, difference) in &found.first {
            text += &match difference {
                Difference::OnlyFirst => format!("'{key}' only in {a}\n"),
                Difference::OnlySecond => format!("'{key}' only in {b}\n"),
                Difference::Value(words) => format!("'{key}' differs: {words}\n"),
            };
        }
        let told = u64::try_from(found.first.len()).unwrap_or(0);
        let more = found.only_first + found.only_second + found.values - told;
        if more > 0 {
            text += &format!("and {more} more (--limit)\n");
        }
        let [n, m] = found.records;
        text += &format!("{n} records in {a}, {m} in {b}: ");
        text += &if found.none() {
            "they hold the same".to_owned()
        } else {
            format!(
                "{} only in the first, {} only in the second, {} differ",
                found.only_first, found.only_second, found.values
            )
        };
        if found.same_content > 0 {
            text += &format!("; {} the same in other bytes", found.same_content);
        }
        ui.print(&format!("{text}\n"))?;
    }
    Ok(if found.none() {
        Status::Done
    } else {
        Status::Failed
    })
}

pub(super) fn pair(args: &Args, words: &[PathBuf], ui: &mut Ui) -> Result<Status> {
    let (mut first, mut second) = (open(&words[0])?, open(&words[1])?);
    let mut work = begin(ui, &[&first])?;
    let found = database::pair(&mut first, &mut second, &mut work)?;
    work.quiet();
    let (a, b) = (first.name(), second.name());
    let [n, m] = found.records;
    if args.switch("json") {
        let apart = found
            .first_apart
            .as_ref()
            .map(|(number, a, b)| json!({"record": number, "keys": [a, b]}));
        let value = json!({
            "records": found.records, "shapes": found.dims, "equal_keys": found.equal,
            "alike_keys": found.alike, "first_apart": apart, "pair": found.holds(),
        });
        ui.json(&value)?;
    } else {
        let [p, q] = found.dims.map(size);
        let mut text =
            format!("{a}: {n} records, the first {p}\n{b}: {m} records, the first {q}\n");
        if let Some((number, a, b)) = found.first_apart.as_ref().filter(|_| !found.numbered) {
            text += &format!("record {number} is '{a}' in one and '{b}' in the other\n");
        }
        if n != m {
            text += "one has more records than the other: each pass after the first pairs others\n";
        }
        text += &match (found.holds(), found.alike) {
            (true, 0) => "a pair: the same keys in the same order\n".to_owned(),
            (true, _) => {
                "a pair: the same keys but for their endings, in the same order\n".to_owned()
            }
            (false, _) => format!(
                "no pair: {} of {} places hold the same key\n",
                found.equal + found.alike,
                n.max(m)
            ),
        };
        ui.print(&text)?;
    }
    Ok(if found.holds() {
        Status::Done
    } else {
        Status::Failed
    })
}
