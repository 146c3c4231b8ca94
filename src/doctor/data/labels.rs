//! Labels: how often each class occurs, what always saying the commonest scores, and values that are no class.

use std::fmt::Write as _;

use super::{
    super::{
        finding::Finding,
        table::{Table, list, percent},
        wiring::Feed,
    },
    survey::{Met, Survey},
};

/// Rows of a table of classes.
const MOST_ROWS: usize = 40;

/// How the labels of a data layer are spread.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Balance {
    /// The database, as named.
    pub(in super::super) source: String,
    /// One label a pixel.
    pub(in super::super) maps: bool,
    /// The commonest class, and its share of the labels that count.
    pub(in super::super) commonest: (i64, f64),
    /// Share of each class.
    pub(in super::super) shares: Vec<(i64, f64)>,
}

impl Balance {
    /// "class 0 is 93.8 % of all pixels in 'train_label_lmdb', classes 1 to 4 have 1.2 % to 2.1 % each".
    pub(in super::super) fn words(&self) -> String {
        let (class, share) = self.commonest;
        let mut text = format!(
            "class {class} makes up {} of the {} in '{}'",
            percent(share),
            self.unit(),
            self.source
        );
        let rest: Vec<&(i64, f64)> = self.shares.iter().filter(|(c, _)| *c != class).collect();
        let low = rest.iter().map(|(_, s)| *s).fold(f64::INFINITY, f64::min);
        let high = rest.iter().map(|(_, s)| *s).fold(0.0, f64::max);
        let classes: Vec<i64> = rest.iter().map(|(c, _)| *c).collect();
        match rest.as_slice() {
            [] => {}
            [(other, share)] => {
                let _ = write!(text, ", class {other} {}", percent(*share));
            }
            _ => {
                let _ = write!(
                    text,
                    ", classes {} only {} to {} each",
                    list(&classes),
                    percent(low),
                    percent(high)
                );
            }
        }
        text
    }

    /// What is counted.
    pub(in super::super) fn unit(&self) -> &'static str {
        if self.maps { "pixels" } else { "labels" }
    }
}

/// The share of each label that is not ignored. `None` where there is none.
pub(super) fn balance(feed: &Feed, survey: &Survey) -> Option<Balance> {
    let ignored: Vec<i64> = feed.ignored().collect();
    let counted = || {
        let values = survey.labels.values.iter();
        values.filter(|(label, _)| !ignored.contains(label))
    };
    let total: u64 = counted().map(|(_, met)| met.pixels).sum();
    let share = |met: &Met| met.pixels as f64 / total.max(1) as f64;
    let shares: Vec<(i64, f64)> = counted().map(|(&label, met)| (label, share(met))).collect();
    // Of equals the first.
    let commonest = shares
        .iter()
        .copied()
        .reduce(|best, next| if next.1 > best.1 { next } else { best })?;
    Some(Balance {
        source: survey.source.clone(),
        maps: survey.labels.maps,
        commonest,
        shares,
    })
}

/// The histogram as a table.
pub(super) fn table(feed: &Feed, survey: &Survey) -> Option<Table> {
    let values = &survey.labels.values;
    if values.is_empty() {
        return None;
    }
    let maps = survey.labels.maps;
    let total: u64 = values.values().map(|met| met.pixels).sum();
    let mut columns = vec!["class".to_owned(), "records".to_owned()];
    if maps {
        columns.push("pixels".to_owned());
    }
    columns.push("share".to_owned());
    let ignored: Vec<i64> = feed.ignored().collect();
    let rows = values.iter().take(MOST_ROWS).map(|(label, met)| {
        let mut row = vec![label.to_string(), met.records.to_string()];
        if ignored.contains(label) {
            row[0].push_str(" (ignored)");
        }
        if maps {
            row.push(met.pixels.to_string());
        }
        row.push(percent(met.pixels as f64 / total.max(1) as f64));
        row
    });
    let mut notes = Vec::new();
    if values.len() > MOST_ROWS {
        notes.push(format!("and {} further labels", values.len() - MOST_ROWS));
    }
    if !feed.uses.is_empty()
        && let Some(balance) = balance(feed, survey)
    {
        let (class, share) = balance.commonest;
        notes.push(format!(
            "always saying {class} scores an accuracy of {share:.3}"
        ));
    }
    Some(Table {
        title: format!(
            "Labels of {} in {}: {}",
            feed.name(),
            survey.source,
            survey.extent()
        ),
        columns,
        rows: rows.collect(),
        notes,
    })
}

/// Labels that are no class of a loss, or all one.
pub(super) fn judge(feed: &Feed, survey: &Survey) -> Vec<Finding> {
    let mut found = Vec::new();
    let source = survey.source.as_str();
    let Some(first) = feed.uses.first() else {
        return found;
    };
    if let Some((key, value)) = &survey.labels.fraction {
        found.push(
            Finding::new(
                "D010",
                format!(
                    "record '{key}' of '{source}' has the label {value}, which is no whole number; '{}' takes classes",
                    first.layer
                ),
            )
            .at(source)
            .help("write whole numbers, 0 for the first class"),
        );
    }
    for what in &feed.uses {
        let Some(classes) = what.classes else {
            continue;
        };
        let end = i64::try_from(classes).unwrap_or(i64::MAX);
        let wrong: Vec<(i64, &Met)> = (survey.labels.values.iter())
            .map(|(&label, met)| (label, met))
            .filter(|(label, _)| !(0..end).contains(label) && !what.ignore.contains(label))
            .collect();
        if !wrong.is_empty() {
            found.push(out_of_range(survey, &what.layer, &what.scores, end, &wrong));
            break;
        }
    }
    if let [(only, met)] = survey.labels.values.iter().collect::<Vec<_>>()[..]
        && survey.looked >= 10
        && feed.classes() != Some(1)
        && found.is_empty()
    {
        let what = if survey.labels.maps {
            format!("each of the {} pixels", met.pixels)
        } else {
            format!("each of {}", survey.extent())
        };
        found.push(
            Finding::new(
                "D011",
                format!("'{source}' has the label {only} for {what}: there is nothing to learn"),
            )
            .at(source)
            .help(
                "see how the labels came into the database; 'cortado doctor --out DIR' draws some",
            ),
        );
    }
    found
}

fn out_of_range(
    survey: &Survey,
    layer: &str,
    scores: &str,
    classes: i64,
    wrong: &[(i64, &Met)],
) -> Finding {
    let labels: Vec<i64> = wrong.iter().map(|(label, _)| *label).collect();
    let (first, met) = wrong[0];
    let pixel = met.at.map_or_else(String::new, |[x, y]| {
        format!(", column {x}, row {y} (from 0)")
    });
    let pixels: u64 = wrong.iter().map(|(_, met)| met.pixels).sum();
    let how_many = match survey.labels.maps {
        true => format!("{pixels} pixels"),
        false => format!("{pixels} records"),
    };
    let several = if labels.len() == 1 { "" } else { "s" };
    let message = format!(
        "'{}' holds the label{several} {} in {how_many}, but '{layer}' takes 0 to {} ('{scores}' has {classes} channels); the first {first} is in record '{}'{pixel}",
        survey.source,
        list(&labels),
        classes - 1,
        met.key,
    );
    let values = &survey.labels.values;
    let (low, high) = (
        values.keys().next().copied().unwrap_or(0),
        values.keys().last().copied().unwrap_or(0),
    );
    let help = if labels == [255] {
        format!(
            "if 255 means 'of no class', set loss_param {{ ignore_label: 255 }} in '{layer}' and accuracy_param {{ ignore_label: 255 }} in Accuracy"
        )
    } else if low == 1 && high == classes {
        format!(
            "the labels count from 1: take 1 off each, or set num_output: {} in the layer that makes '{scores}'",
            classes + 1
        )
    } else if low < 0 {
        format!(
            "write classes from 0 on; if {low} means 'of no class', set loss_param {{ ignore_label: {low} }} in '{layer}'"
        )
    } else if high < 256 && values.len() as i64 <= classes {
        format!(
            "the labels look like grey values of a picture ({}): write class numbers, 0 to {}",
            list(&values.keys().copied().collect::<Vec<_>>()),
            classes - 1
        )
    } else {
        format!(
            "set num_output: {} in the layer that makes '{scores}', or mend the labels",
            high.saturating_add(1)
        )
    };
    Finding::new("D010", message).at(&survey.source).help(help)
}
