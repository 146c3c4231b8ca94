//! The data: labels, order, pairs, twins, mean, and pictures of some samples.

mod labels;
mod mean;
mod order;
mod pairs;
mod sheet;
mod survey;
#[cfg(test)]
mod tests;
mod twins;

use std::path::{Path, PathBuf};

pub(super) use labels::Balance;
use survey::Survey;

use super::{finding::Finding, table::Table, wiring::Feed};
use crate::{
    error::Error,
    events::{Event, Observer},
    schema::Phase,
};

/// How to look.
#[derive(Clone, Debug)]
pub(super) struct Look<'a> {
    /// Relative paths start here.
    pub(super) root: &'a Path,
    /// Records of each source.
    pub(super) records: u64,
    /// Where pictures go.
    pub(super) out: Option<&'a Path>,
}

/// What the data says.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) findings: Vec<Finding>,
    pub(super) tables: Vec<Table>,
    /// What was looked at, a line each.
    pub(super) looked: Vec<String>,
    /// Of the labels that losses of the training net read.
    pub(super) balances: Vec<Balance>,
    pub(super) pictures: Vec<PathBuf>,
}

struct Taken<'a> {
    feed: &'a Feed,
    survey: Survey,
}

/// Looks at the data of the nets, the training net's first. The layers of each net stand together.
pub(super) fn examine(look: &Look<'_>, nets: &[Vec<Feed>], observer: &mut dyn Observer) -> Found {
    let mut found = Found::default();
    let mut taken: Vec<Taken<'_>> = Vec::new();
    let mut others: Vec<String> = Vec::new();
    for feed in nets.iter().flatten() {
        // A layer of both phases, and test nets that test on the same.
        let alike = |t: &&Taken<'_>| {
            t.feed.param.r#type() == feed.param.r#type()
                && source(t.feed) == source(feed)
                && (t.feed.images, t.feed.labels) == (feed.images, feed.labels)
                && t.feed.param.transform_param == feed.param.transform_param
                && t.feed
                    .uses
                    .iter()
                    .map(|u| (u.classes, &u.ignore))
                    .eq(feed.uses.iter().map(|u| (u.classes, &u.ignore)))
        };
        if taken.iter().any(|t| alike(&t)) {
            continue;
        }
        observer.on(&Event::Note(&format!(
            "looking at the data of {}",
            feed.name()
        )));
        match survey::survey(look.root, feed, look.records) {
            Ok(Some(survey)) => taken.push(Taken { feed, survey }),
            Ok(None) => others.push(format!("{} ({})", feed.name(), feed.param.r#type())),
            Err(error) => found.findings.push(unreadable(feed, &error)),
        }
    }
    for Taken { feed, survey } in &taken {
        found.findings.extend(broken(survey));
        found.findings.extend(labels::judge(feed, survey));
        found.findings.extend(order::judge(feed, survey));
        found.findings.extend(mean::judge(look.root, feed, survey));
        found.tables.extend(labels::table(feed, survey));
        if feed.phase == Phase::Train
            && !feed.uses.is_empty()
            && let Some(balance) = labels::balance(feed, survey)
        {
            found.balances.push(balance);
        }
        found.looked.push(format!(
            "{}: {} of '{}'",
            feed.name(),
            survey.extent(),
            survey.source
        ));
    }
    let pictures = |phase: Phase| {
        let all = taken.iter();
        all.filter(move |t| t.feed.phase == phase && t.feed.images.is_some())
    };
    for test in pictures(Phase::Test) {
        let twins =
            pictures(Phase::Train).find_map(|train| twins::judge(&train.survey, &test.survey));
        found.findings.extend(twins);
    }
    for feeds in nets {
        step(look, feeds, &mut found);
    }
    if !others.is_empty() {
        found
            .looked
            .push(format!("not looked at: the data of {}", others.join(", ")));
    }
    draw(look, nets, &mut found);
    found
}

/// Databases of one net that are read side by side.
fn step(look: &Look<'_>, feeds: &[Feed], found: &mut Found) {
    for pair in pairs::pairs(feeds) {
        // What does not open was told before.
        if let Ok(judged) = pairs::judge(look.root, pair) {
            if judged.is_none() {
                found.looked.push(format!(
                    "'{}' and '{}' go in step",
                    source(pair.0),
                    source(pair.1)
                ));
            }
            found.findings.extend(judged);
        }
    }
}

fn draw(look: &Look<'_>, nets: &[Vec<Feed>], found: &mut Found) {
    let (Some(dir), Some(feeds)) = (look.out, nets.first()) else {
        return;
    };
    let images = feeds
        .iter()
        .find(|f| f.images.is_some() && f.param.r#type() == "Data");
    let Some(images) = images else { return };
    let labels = feeds
        .iter()
        .find(|f| f.labels.is_some() && !f.uses.is_empty());
    match sheet::write(dir, look.root, images, labels) {
        Ok(path) => found.pictures.extend(path),
        Err(error) => found
            .looked
            .push(format!("no picture of samples: {}", error.message())),
    }
}

/// The database, list or file that a layer reads, as named.
pub(super) fn source(feed: &Feed) -> &str {
    let layer = &feed.param;
    let data = layer.data_param.as_ref().map(|p| p.source());
    let images = layer.image_data_param.as_ref().map(|p| p.source());
    let hdf5 = layer.hdf5_data_param.as_ref().map(|p| p.source());
    data.or(images).or(hdf5).unwrap_or_default()
}

fn unreadable(feed: &Feed, error: &Error) -> Finding {
    Finding::new(
        "D019",
        format!("{} cannot read its data: {}", feed.name(), error.message()),
    )
    .at(source(feed))
    .help(error.help_text().unwrap_or_default())
}

/// Records that do not decode, or hold values that are not finite.
fn broken(survey: &Survey) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some((key, error)) = survey.unreadable.first() {
        let more = match survey.unreadable.len() {
            1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        found.push(
            Finding::new(
                "D019",
                format!(
                    "record '{key}' of '{}'{more} cannot be read: {}",
                    survey.source,
                    error.message()
                ),
            )
            .at(&survey.source)
            .help(error.help_text().unwrap_or("write this record again")),
        );
    }
    if let Some(key) = &survey.not_finite {
        found.push(
            Finding::new(
                "D019",
                format!(
                    "record '{key}' of '{}' holds a value that is no finite number",
                    survey.source
                ),
            )
            .at(&survey.source)
            .help(
                "find where the division by 0 or the log of 0 came from, and write the data again",
            ),
        );
    }
    found
}
