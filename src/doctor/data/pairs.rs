//! Whether two databases that are read side by side go in step: as many records, the same keys in the same order.

use std::path::Path;

use super::{
    super::{finding::Finding, wiring::Feed},
    survey::open,
};
use crate::{error::Result, events::Severity, feed::source::Source, schema::DataParameter};

/// Keys in memory at a time.
const CHUNK: u64 = 256;
/// Keys that are compared.
const MOST: u64 = 1 << 20;

/// A pair of layers of one net that read different databases: pictures, and their labels.
pub(super) fn pairs(feeds: &[Feed]) -> Vec<(&Feed, &Feed)> {
    let data = |feed: &&Feed| feed.param.r#type() == "Data" && feed.param.top.len() == 1;
    let mut found = Vec::new();
    for images in feeds.iter().filter(data).filter(|f| f.images.is_some()) {
        for labels in feeds.iter().filter(data).filter(|f| f.labels.is_some()) {
            let source = |feed: &Feed| feed.param.data_param.clone().unwrap_or_default();
            if source(images).source() != source(labels).source() {
                found.push((images, labels));
            }
        }
    }
    found
}

/// Holds the keys of two layers' databases against each other.
///
/// # Errors
/// Where one cannot be opened or read.
pub(super) fn judge(root: &Path, (images, labels): (&Feed, &Feed)) -> Result<Option<Finding>> {
    let param =
        |feed: &Feed| -> DataParameter { feed.param.data_param.clone().unwrap_or_default() };
    let (a, b) = (param(images), param(labels));
    let (mut one, count_a) = open(root, &a)?;
    let (mut two, count_b) = open(root, &b)?;
    let (name_a, name_b) = (a.source(), b.source());
    let compared = compare(&mut *one, &mut *two, [count_a, count_b])?;
    let counts = match (count_a, count_b) {
        (Some(a), Some(b)) if a != b => Some((a, b)),
        _ => None,
    };
    let message = match (compared, counts) {
        // Other names for all of them say nothing about their order.
        (Compared::Differ { agree: 0, .. }, None) => return Ok(None),
        (Compared::Same, None) => return Ok(None),
        (Compared::Same, Some((a, b))) => format!(
            "'{name_a}' has {a} records and its labels '{name_b}' {b}: from the second pass on every sample has the label of another"
        ),
        (Compared::Differ { agree, keys, .. }, counts) => {
            let counts = match counts {
                Some((a, b)) => format!(" ({a} records and {b})"),
                None => String::new(),
            };
            format!(
                "'{name_a}' and its labels '{name_b}'{counts} are out of step from record {agree} (from 0) on: key '{}' beside key '{}'; every sample behind has the label of another",
                keys[0], keys[1]
            )
        }
    };
    // Databases may be walked through in part; then the second pass is far away.
    let severity = Severity::Error;
    Ok(Some(
        Finding::new("D013", message)
            .at(name_b)
            .with_severity(severity)
            .help(format!(
                "write '{name_a}' and '{name_b}' again from one list, with the same keys of fixed width"
            )),
    ))
}

enum Compared {
    Same,
    Differ {
        /// Records before the first that differs.
        agree: u64,
        keys: [String; 2],
    },
}

fn compare(
    one: &mut dyn Source,
    two: &mut dyn Source,
    counts: [Option<u64>; 2],
) -> Result<Compared> {
    let end = counts.iter().flatten().copied().min().unwrap_or(1 << 14);
    let mut at = 0;
    let mut first: Option<Vec<u8>> = None;
    while at < end.min(MOST) {
        let now = (end - at).min(CHUNK);
        let (a, b) = (keys(one, now)?, keys(two, now)?);
        for (i, (a, b)) in (0..).zip(a.iter().zip(&b)) {
            // Where nobody says how many there are, the first key tells the end of a pass.
            if at + i > 0 && counts[0].is_none() && first.as_ref() == Some(a) {
                return Ok(Compared::Same);
            }
            if !same(a, b) {
                return Ok(Compared::Differ {
                    agree: at + i,
                    keys: [a, b].map(|key| key.escape_ascii().to_string()),
                });
            }
            if first.is_none() {
                first = Some(a.clone());
            }
        }
        at += now;
    }
    Ok(Compared::Same)
}

fn keys(source: &mut dyn Source, count: u64) -> Result<Vec<Vec<u8>>> {
    let mut keys = Vec::new();
    source.read(usize::try_from(count).unwrap_or(1), &mut |records| {
        keys.extend(records.iter().map(|record| record.key.to_vec()));
        Ok(())
    })?;
    Ok(keys)
}

/// Whether two keys name the same sample: the running number that both begin with, else all before the last dot.
fn same(a: &[u8], b: &[u8]) -> bool {
    let number = |key: &[u8]| -> Option<Vec<u8>> {
        let digits = key.iter().take_while(|b| b.is_ascii_digit()).count();
        (digits >= 5).then(|| key[..digits].to_vec())
    };
    let stem = |key: &[u8]| -> Vec<u8> {
        let end = key.iter().rposition(|&b| b == b'.');
        key[..end.unwrap_or(key.len())].to_vec()
    };
    a == b
        || match (number(a), number(b)) {
            (Some(a), Some(b)) => a == b,
            _ => stem(a) == stem(b),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_sample() {
        for (a, b, alike) in [
            ("00000012_cat.jpg", "00000012_cat.png", true),
            ("00000012", "00000013", false),
            ("a/cat.jpg", "a/cat.png", true),
            ("a/cat.jpg", "b/cat.png", false),
            ("7", "7", true),
        ] {
            assert_eq!(same(a.as_bytes(), b.as_bytes()), alike, "{a} {b}");
        }
    }
}
