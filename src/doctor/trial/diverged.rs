//! The first value that is not finite: layer, channel, and the record that was being looked at.

use super::Case;
use crate::{
    doctor::{data::source, finding::Finding},
    feed::{
        list::{Form, List},
        open_database,
    },
    net::NonFinitePlace,
    number::g,
    schema::data_parameter::Db,
    solver::Solver,
};

/// Where the run ended, in words.
pub(super) fn finding(case: &Case<'_>, solver: &mut Solver, iteration: u64) -> Finding {
    let found = solver.net.first_non_finite(&mut solver.params);
    let mut message = format!("in iteration {iteration} the loss is no finite number");
    if let Some(found) = found {
        let what = format!("'{}' ({})", found.layer, found.kind);
        let text = match &found.place {
            NonFinitePlace::Param(p) => format!(
                ": the update before made a value of parameter {p} of {what} {}",
                found.value
            ),
            NonFinitePlace::Top { blob, shape } => {
                let dims = shape.dims();
                let each = shape.count() / dims.first().copied().unwrap_or(1).max(1);
                let sample = found.element.checked_div(each).unwrap_or(0);
                let channel = match dims.len() {
                    0 | 1 => String::new(),
                    _ => {
                        let inner = shape.count_from(2).max(1);
                        format!(", channel {}", found.element / inner % dims[1].max(1))
                    }
                };
                let batch = dims.first().copied().unwrap_or(0);
                let key = record(case, solver, batch, sample)
                    .map_or_else(String::new, |key| format!(", {key}"));
                format!(
                    ": the first is {} in '{blob}', made by {what}{channel}{key}",
                    found.value
                )
            }
        };
        message.push_str(&text);
    }
    let rate = case.param.base_lr();
    Finding::new("D030", message)
        .in_iteration(iteration)
        .help(format!(
            "lower base_lr ({}) to {} or less, see the rate test; or set clip_gradients: 10",
            g(rate),
            g(rate / 10.0)
        ))
}

/// The record that sample `sample` of the last batch came from, as "record 'key' of 'database'".
fn record(case: &Case<'_>, solver: &Solver, batch: usize, sample: usize) -> Option<String> {
    let cursors = solver.net.cursors();
    let pictures = case.feeds.iter().filter(|feed| feed.images.is_some());
    for feed in pictures {
        let Some((_, _, delivered)) = (cursors.iter()).find(|(node, ..)| {
            let node = &solver.net.graph().nodes[*node];
            *node.name == *feed.param.name() && node.kind.name == feed.param.r#type()
        }) else {
            continue;
        };
        let number = delivered
            .checked_sub(u64::try_from(batch).ok()?)?
            .checked_add(u64::try_from(sample).ok()?)?;
        let key = key(case, feed, number)?;
        return Some(format!("record '{key}' of '{}'", source(feed)));
    }
    None
}

fn key(case: &Case<'_>, feed: &crate::doctor::wiring::Feed, number: u64) -> Option<String> {
    let root = &case.options.root;
    if let Some(param) = &feed.param.data_param {
        let backend = param.backend.and_then(|b| Db::try_from(b).ok());
        let mut records = open_database(root, param.source(), backend).ok()?;
        records.seek(number).ok()?;
        let mut key = None;
        let read = records.read(1, &mut |records| {
            key = records.first().map(|r| r.key.escape_ascii().to_string());
            Ok(())
        });
        return read.ok().and(key);
    }
    if let Some(param) = &feed.param.image_data_param
        && !param.shuffle()
        && param.rand_skip() == 0
    {
        let list = List::read(root, param.source(), Form::Label).ok()?;
        let at = usize::try_from(number).ok()? % list.len();
        let entry = list.entries().get(at)?;
        return Some(list.path(entry).to_owned());
    }
    None
}
