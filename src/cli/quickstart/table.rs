//! Both tests side by side, and what they mean in words. Every word follows from a number.

use std::fmt::Write as _;

use super::{evaluate::Report, faces::CLASSES};

/// Below this IoU a region counts as not found.
const LOST: f64 = 0.1;
/// From this share of exact zeros on, a channel counts as shut.
const SHUT: f64 = 0.95;
/// From this correlation on, two channels say the same.
const SAME: f64 = 0.95;
/// Less than this above the accuracy of always saying 'ground' is no achievement.
const LITTLE: f64 = 0.02;

const LEFT: usize = 36;
const COLUMN: usize = 12;

fn regions() -> std::ops::Range<usize> {
    1..CLASSES.len()
}

fn pairs() -> impl Iterator<Item = (usize, usize)> {
    regions().flat_map(|a| (a + 1..CLASSES.len()).map(move |b| (a, b)))
}

/// The table and the verdicts.
pub(super) fn render(reports: &[Report]) -> String {
    let mut text = String::new();
    let mut line = |name: &str, cells: Vec<String>| {
        let mut row = format!("{name:<LEFT$}");
        for cell in cells {
            let _ = write!(row, "{cell:>COLUMN$}");
        }
        let _ = writeln!(text, "{}", row.trim_end());
    };
    let each = |f: &dyn Fn(&Report) -> String| reports.iter().map(f).collect::<Vec<_>>();

    line("", each(&|r| r.title.to_owned()));
    line(
        "pixel accuracy",
        each(&|r| figure(r.confusion.accuracy(), 3)),
    );
    line(
        "accuracy of always saying 'ground'",
        each(&|r| figure(r.confusion.accuracy_of_always(0), 3)),
    );
    line(
        "mean IoU of the four regions",
        each(&|r| figure(r.confusion.mean_iou(regions()), 2)),
    );
    line("", Vec::new());
    line("recall: share of its cells found", Vec::new());
    for (class, name) in CLASSES.iter().enumerate() {
        let cells = each(&|r| figure(r.confusion.recall(class), 2));
        line(&format!("  {class} {name}"), cells);
    }
    line("IoU: hits / (hits + misses + false alarms)", Vec::new());
    for (class, name) in CLASSES.iter().enumerate() {
        let cells = each(&|r| figure(r.confusion.iou(class), 2));
        line(&format!("  {class} {name}"), cells);
    }
    line("scores (conv_last) that are exactly 0", Vec::new());
    for (class, name) in CLASSES.iter().enumerate() {
        line(
            &format!("  {class} {name}"),
            each(&|r| percent(r.scores.zero_share(class))),
        );
    }
    line("correlation of two regions' heat maps", Vec::new());
    for (a, b) in pairs() {
        line(
            &format!("  {} / {}", CLASSES[a], CLASSES[b]),
            each(&|r| figure(r.maps.correlation(a, b), 2)),
        );
    }

    for report in reports {
        let _ = write!(text, "\n{}: ", report.title);
        let symptoms = symptoms(report);
        if symptoms.is_empty() {
            let _ = writeln!(text, "{}", health(report));
        } else {
            let _ = writeln!(text, "ill.");
            for symptom in symptoms {
                let _ = writeln!(text, "  - {symptom}");
            }
        }
    }
    if let [first, .., last] = reports {
        let _ = writeln!(text, "\n{}", comparison(first, last));
    }
    text
}

fn figure(value: Option<f64>, digits: usize) -> String {
    let Some(value) = value else {
        return "-".to_owned();
    };
    let text = format!("{value:.digits$}");
    // A negative number that rounds to zero is a zero.
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| matches!(c, '0' | '.')) => rest.to_owned(),
        _ => text,
    }
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |v| format!("{:.0} %", v * 100.0))
}

fn names(classes: impl IntoIterator<Item = usize>) -> String {
    let names: Vec<&str> = classes.into_iter().map(|c| CLASSES[c]).collect();
    match names.as_slice() {
        [] => "none".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// What is wrong with a network, a sentence each; empty for a healthy one.
fn symptoms(report: &Report) -> Vec<String> {
    let matrix = &report.confusion;
    let mut found = Vec::new();
    let lost: Vec<usize> = regions()
        .filter(|&c| matrix.iou(c).unwrap_or(0.0) < LOST)
        .collect();
    if let (Some(accuracy), Some(ground)) = (matrix.accuracy(), matrix.accuracy_of_always(0))
        && accuracy < ground + LITTLE
    {
        found.push(format!(
            "Its accuracy of {accuracy:.3} sounds high, but always saying 'ground' scores {ground:.3}."
        ));
    }
    if !lost.is_empty() {
        found.push(format!(
            "It hardly finds {}: IoU below {LOST}.",
            names(lost.iter().copied())
        ));
    }
    let shut: Vec<usize> = regions()
        .filter(|&c| report.scores.zero_share(c).is_some_and(|s| s >= SHUT))
        .collect();
    if !shut.is_empty() {
        let shares = shut.iter().filter_map(|&c| report.scores.zero_share(c));
        let (low, high) = shares.fold((1.0f64, 0.0f64), |(low, high), s| (low.min(s), high.max(s)));
        let [low, high] = [low, high].map(|share| format!("{:.0}", share * 100.0));
        let range = if low == high {
            low
        } else {
            format!("{low} to {high}")
        };
        found.push(format!(
            "The last ReLU has shut {}: 0 in {range} % of cells, and no gradient flows through a 0.",
            names(shut),
        ));
    }
    let same: Vec<(usize, usize)> = pairs()
        .filter(|&(a, b)| report.maps.correlation(a, b).is_some_and(|r| r >= SAME))
        .collect();
    if !same.is_empty() {
        let alike: Vec<usize> = regions()
            .filter(|&c| same.iter().any(|&(a, b)| a == c || b == c))
            .collect();
        let least = same
            .iter()
            .filter_map(|&(a, b)| report.maps.correlation(a, b))
            .fold(1.0, f64::min);
        found.push(format!(
            "The heat maps of {} show nearly the same picture: correlation at least {least:.2}.",
            names(alike)
        ));
    }
    found
}

/// A healthy network in one sentence.
fn health(report: &Report) -> String {
    let ious: Vec<f64> = regions().filter_map(|c| report.confusion.iou(c)).collect();
    let low = ious.iter().copied().fold(f64::INFINITY, f64::min);
    let high = ious.iter().copied().fold(0.0, f64::max);
    format!(
        "well. Accuracy {}, where always saying 'ground' scores {}; it finds every region, IoU {low:.2} to {high:.2}.",
        figure(report.confusion.accuracy(), 3),
        figure(report.confusion.accuracy_of_always(0), 3),
    )
}

fn comparison(first: &Report, last: &Report) -> String {
    let mean = |r: &Report| r.confusion.mean_iou(regions()).unwrap_or(0.0);
    let (before, after) = (mean(first), mean(last));
    let (ill, cured) = (!symptoms(first).is_empty(), symptoms(last).is_empty());
    let change = format!("the regions' mean IoU goes from {before:.2} to {after:.2}");
    match (ill, cured, after > before) {
        (true, true, true) => {
            format!("Without the last ReLU and with larger first weights {change}.")
        }
        (_, false, true) => format!(
            "The repairs help, {change}, but do not cure in so few iterations; train longer."
        ),
        (false, true, true) => format!("Both runs are healthy here; {change}."),
        (_, _, false) => format!(
            "The repairs did not help in this run: {change}. Train longer, or with another --seed."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{ChannelStats, ConfusionMatrix};

    /// 1000 cells, 940 of them ground, 15 of each region, of which `hits` are found. Scores: one plane a class.
    fn report(title: &'static str, hits: usize, scores: [[f32; 4]; 5]) -> Report {
        let mut confusion = ConfusionMatrix::new(5);
        for _ in 0..940 {
            confusion.add(0, 0);
        }
        for class in 1..5 {
            for i in 0..15 {
                confusion.add(class, if i < hits { class } else { 0 });
            }
        }
        let mut stats = ChannelStats::new(5);
        stats.add(scores.as_flattened());
        Report {
            title,
            confusion,
            maps: stats.clone(),
            scores: stats,
            answers: Vec::new(),
        }
    }

    const ALIKE: [[f32; 4]; 5] = [
        [1.0, 2.0, 3.0, 4.0],
        [0.0; 4],
        [0.1, 0.2, 0.3, 0.4],
        [0.2, 0.4, 0.6, 0.8],
        [0.4, 0.1, 0.3, 0.2],
    ];
    const APART: [[f32; 4]; 5] = [
        [1.0, 2.0, 3.0, 4.0],
        [4.0, -1.0, -1.0, -1.0],
        [-1.0, 4.0, -1.0, -1.0],
        [-1.0, -1.0, 4.0, -1.0],
        [-1.0, -1.0, -1.0, 4.0],
    ];

    #[test]
    fn an_ill_net_is_told_by_its_figures() {
        let text = symptoms(&report("a", 1, ALIKE)).join("\n");
        assert!(text.contains("accuracy of 0.944"), "{text}");
        assert!(
            text.contains("always saying 'ground' scores 0.940"),
            "{text}"
        );
        assert!(
            text.contains("hardly finds left eye, right eye, nose and mouth"),
            "{text}"
        );
        assert!(text.contains("has shut left eye: 0 in 100 %"), "{text}");
        assert!(
            text.contains("heat maps of right eye and nose show"),
            "{text}"
        );
    }

    #[test]
    fn a_healthy_net_has_no_symptom_and_the_words_follow_the_figures() {
        let (ill, well) = (report("a", 0, ALIKE), report("b", 12, APART));
        assert_eq!(symptoms(&well), Vec::<String>::new());
        assert!(comparison(&ill, &well).contains("from 0.00 to 0.80"));
        assert!(comparison(&well, &ill).contains("did not help"));
        let half = report("c", 1, APART);
        assert!(comparison(&ill, &half).contains("do not cure"));
        let text = render(&[ill, well]);
        assert!(text.contains("a: ill."), "{text}");
        assert!(text.contains("IoU 0.80 to 0.80"), "{text}");
        assert!(
            text.lines()
                .any(|l| l.starts_with("  3 nose") && l.contains("0.00        0.80")),
            "{text}"
        );
    }
}
