//! The figures as one JSON object, for programs.

use super::timing::{Figures, Summary, speed, summary};
use crate::{net::Net, threads};

/// The most memory that this process has held so far, in bytes; `None` where the system does not tell.
pub(super) fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// Losses that are listed, the first of all passes on.
const LOSSES: usize = 10;

pub(super) fn object(
    net: &Net,
    figures: &Figures<'_>,
    losses: &[f32],
    memory: Option<u64>,
) -> String {
    let timing = figures.timing;
    let work = figures.work();
    let whole = timing.total();
    let mut fields = vec![
        ("version", string(env!("CARGO_PKG_VERSION"))),
        ("net", string(net.name())),
        ("threads", threads::count().to_string()),
        ("iterations", whole.len().to_string()),
        ("peak_gflops", number(figures.peak / 1e9)),
        ("forward_ms", spread(&timing.forward)),
        ("backward_ms", spread(&timing.backward)),
        ("update_ms", spread(&timing.update)),
        ("total_ms", spread(&whole)),
        ("gflop", number((work.forward + work.backward) as f64 / 1e9)),
    ];
    rate(&mut fields, figures, work.forward + work.backward, &whole);
    let losses: Vec<String> = losses
        .iter()
        .take(LOSSES)
        .map(|&loss| number(f64::from(loss)))
        .collect();
    fields.push(("losses", format!("[{}]", losses.join(", "))));
    fields.push((
        "peak_rss_bytes",
        memory.map_or("null".to_owned(), |b| b.to_string()),
    ));
    fields.push(("planned_bytes", (4 * net.planned_floats()).to_string()));
    let layers: Vec<String> = (0..net.graph().nodes.len())
        .map(|i| format!("\n    {}", layer(net, figures, i)))
        .collect();
    fields.push(("layers", format!("[{}\n  ]", layers.join(","))));
    let fields: Vec<String> = fields
        .into_iter()
        .map(|(key, value)| format!("\n  {}: {value}", string(key)))
        .collect();
    format!("{{{}\n}}\n", fields.join(","))
}

fn layer(net: &Net, figures: &Figures<'_>, index: usize) -> String {
    let node = &net.graph().nodes[index];
    let cost = figures.costs[index];
    let [forward, backward] = &figures.timing.layers[index];
    let mut fields = vec![
        ("name", string(&node.name)),
        ("type", string(node.kind.name)),
    ];
    for (pass, times, flops) in [
        ("forward", forward, cost.forward),
        ("backward", backward, cost.backward),
    ] {
        if times.is_empty() {
            continue;
        }
        let mut inner = vec![("ms", spread(times)), ("gflop", number(flops as f64 / 1e9))];
        rate(&mut inner, figures, flops, times);
        fields.push((pass, line(inner)));
    }
    line(fields)
}

/// Speed at the median time, where there is one.
fn rate(
    fields: &mut Vec<(&'static str, String)>,
    figures: &Figures<'_>,
    flops: u64,
    times: &[f64],
) {
    if let Some(speed) = speed(flops, summary(times).median) {
        fields.push(("gflops", number(speed / 1e9)));
        fields.push(("share_of_peak", number(speed / figures.peak)));
    }
}

fn line(fields: Vec<(&str, String)>) -> String {
    let fields: Vec<String> = fields
        .into_iter()
        .map(|(key, value)| format!("{}: {value}", string(key)))
        .collect();
    format!("{{{}}}", fields.join(", "))
}

fn spread(times: &[f64]) -> String {
    if times.is_empty() {
        return "null".to_owned();
    }
    let Summary { min, median, max } = summary(times);
    line(vec![
        ("min", number(min)),
        ("median", number(median)),
        ("max", number(max)),
    ])
}

/// JSON has no numbers that are not finite.
fn number(x: f64) -> String {
    if x.is_finite() {
        x.to_string()
    } else {
        "null".to_owned()
    }
}

fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_numbers() {
        assert_eq!(string("a\"b\\c\n"), r#""a\"b\\c\n""#);
        assert_eq!(number(0.5), "0.5");
        assert_eq!(number(f64::NAN), "null");
        assert_eq!(number(f64::INFINITY), "null");
    }

    #[test]
    fn spreads() {
        assert_eq!(spread(&[]), "null");
        assert_eq!(
            spread(&[2.0, 1.0]),
            r#"{"min": 1, "median": 1.5, "max": 2}"#
        );
    }
}
