//! What is subtracted and scaled, against what is in the data; and pictures of one colour.

use std::path::Path;

use super::{
    super::{
        finding::Finding,
        table::{percent, short},
        wiring::Feed,
    },
    survey::{Channel, Survey},
};
use crate::{events::Severity, model_io::binaryproto};

/// Off by so many deviations of the data, or more, a mean is another data set's.
const FAR: f64 = 0.5;
/// And by so many values at least, where pixels are 0 to 255.
const LEAST: f64 = 4.0;
/// Values that are larger than this on average are unscaled pixels.
const LARGE: f64 = 16.0;

/// Judges `transform_param` by the pixels that it is applied to.
pub(super) fn judge(root: &Path, feed: &Feed, survey: &Survey) -> Vec<Finding> {
    let mut found = Vec::new();
    if feed.images.is_none() || survey.channels.is_empty() || survey.records.len() < 2 {
        return found;
    }
    found.extend(blank(survey));
    let transform = feed.param.transform_param.clone().unwrap_or_default();
    let channels = &survey.channels;
    let means: Vec<f64> = match &transform.mean_file {
        Some(file) => match of_file(root, file, feed, survey) {
            Ok(means) => means,
            Err(finding) => {
                found.push(*finding);
                return found;
            }
        },
        None => transform.mean_value.iter().map(|&v| f64::from(v)).collect(),
    };
    if means.is_empty() {
        found.extend(unscaled(feed, survey, f64::from(transform.scale())));
        return found;
    }
    let mean_of = |c: usize| means.get(c).or(means.first()).copied().unwrap_or(0.0);
    let wide = channels.iter().any(|c| c.high > 2.0);
    let off = |c: usize, channel: &Channel| (mean_of(c) - channel.mean()).abs();
    let far = channels.iter().enumerate().find(|(c, channel)| {
        off(*c, channel) > FAR * channel.deviation() && (!wide || off(*c, channel) > LEAST)
    });
    if far.is_none() {
        return found;
    }
    let name = match &transform.mean_file {
        Some(file) => format!("mean_file '{file}'"),
        None => "mean_value".to_owned(),
    };
    let told: Vec<String> = (0..channels.len()).map(|c| short(mean_of(c))).collect();
    let own: Vec<String> = channels.iter().map(|c| short(c.mean())).collect();
    let reversed = channels.len() == 3 && {
        let sum = |order: [usize; 3]| -> f64 {
            let pairs = channels.iter().zip(order);
            pairs
                .map(|(channel, c)| (mean_of(c) - channel.mean()).abs())
                .sum()
        };
        sum([2, 1, 0]) < 0.25 * sum([0, 1, 2])
    };
    let hint = if reversed {
        "; turned round they fit: a database of Caffe holds blue, green, red"
    } else if !wide {
        "; the pixels go from 0 to 1"
    } else {
        ""
    };
    found.push(
        Finding::new(
            "D016",
            format!(
                "{} of {} has the means {} by channel, but the pixels of '{}' have {} (deviation {}){hint}",
                name,
                feed.name(),
                told.join(", "),
                survey.source,
                own.join(", "),
                channels.iter().map(|c| short(c.deviation())).collect::<Vec<_>>().join(", "),
            ),
        )
        .at(&survey.source)
        .help(format!(
            "compute it again: compute_image_mean {} mean.binaryproto; or write {}",
            survey.source,
            own.iter().map(|v| format!("mean_value: {v}")).collect::<Vec<_>>().join(" ")
        )),
    );
    found
}

/// The means of a mean file, by channel.
fn of_file(
    root: &Path,
    file: &str,
    feed: &Feed,
    survey: &Survey,
) -> Result<Vec<f64>, Box<Finding>> {
    let wrong = |text: String| {
        let finding = Finding::new("D016", text)
            .at(file)
            .with_severity(Severity::Error);
        Box::new(finding.help(format!(
            "make it again: compute_image_mean {} {file}",
            survey.source
        )))
    };
    let mean = binaryproto::read_binaryproto(&root.join(file)).map_err(|e| {
        wrong(format!(
            "the mean file of {} cannot be read: {e}",
            feed.name()
        ))
    })?;
    let dims: Vec<usize> = mean.shape.dims().to_vec();
    let mut dims = dims.as_slice();
    while dims.len() > 3 && dims[0] == 1 {
        dims = &dims[1..];
    }
    let odd = survey
        .sizes
        .iter()
        .find(|(size, _)| size.as_slice() != dims);
    if let Some((size, (count, key))) = odd {
        return Err(wrong(format!(
            "'{file}' is a mean of {dims:?}, but {count} pictures of '{}' are {size:?} (channels, height, width), the first '{key}'",
            survey.source
        )));
    }
    let plane = (mean.data.len() / dims.first().copied().unwrap_or(1).max(1)).max(1);
    let sums = mean.data.chunks(plane);
    Ok(sums
        .map(|values| values.iter().map(|&v| f64::from(v)).sum::<f64>() / plane as f64)
        .collect())
}

/// Pixels of 0 to 255 that go in as they are.
fn unscaled(feed: &Feed, survey: &Survey, scale: f64) -> Option<Finding> {
    let size = |c: &Channel| (c.mean().abs() + c.deviation()) * scale.abs();
    let largest = survey.channels.iter().map(size).fold(0.0, f64::max);
    let one_sided = survey
        .channels
        .iter()
        .all(|c| c.mean() > c.deviation() * 0.5);
    if largest < LARGE || !one_sided {
        return None;
    }
    let means: Vec<String> = survey.channels.iter().map(|c| short(c.mean())).collect();
    let values: Vec<String> = means.iter().map(|m| format!("mean_value: {m}")).collect();
    Some(
        Finding::new(
            "D017",
            format!(
                "{} subtracts no mean: its pixels have the means {} by channel and go up to {}",
                feed.name(),
                means.join(", "),
                short(f64::from(survey.channels[0].high) * scale),
            ),
        )
        .at(&survey.source)
        .help(format!(
            "write into its transform_param, in TRAIN and TEST: {}{}",
            values.join(" "),
            if scale == 1.0 {
                " (and scale: 0.00390625 for xavier or msra fillers)"
            } else {
                ""
            }
        )),
    )
}

/// Pictures of one colour.
fn blank(survey: &Survey) -> Option<Finding> {
    let flat: Vec<&str> = (survey.records.iter())
        .filter(|seen| seen.flat)
        .map(|seen| seen.key.as_str())
        .collect();
    let first = flat.first()?;
    let share = flat.len() as f64 / survey.records.len() as f64;
    let severity = if share > 0.01 {
        Severity::Warning
    } else {
        Severity::Note
    };
    Some(
        Finding::new(
            "D018",
            format!(
                "{} of {} pictures looked at in '{}' ({}) have one value everywhere, the first '{first}'",
                flat.len(),
                survey.records.len(),
                survey.source,
                percent(share),
            ),
        )
        .at(&survey.source)
        .with_severity(severity)
        .help("look at these records, and write the database without them"),
    )
}
