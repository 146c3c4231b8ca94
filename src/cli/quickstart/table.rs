//! Both tests side by side.

use std::fmt::Write as _;

use super::{evaluate::Report, faces::CLASSES};

const LEFT: usize = 36;
const COLUMN: usize = 12;

fn regions() -> std::ops::Range<usize> {
    1..CLASSES.len()
}

fn pairs() -> impl Iterator<Item = (usize, usize)> {
    regions().flat_map(|a| (a + 1..CLASSES.len()).map(move |b| (a, b)))
}

/// The table.
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

/// What the repairs changed, where it is known of each network whether the doctor found something.
pub(super) fn change(reports: &[Report], ill: &[bool]) -> String {
    match (reports, ill) {
        ([first, .., last], [was, .., is]) => comparison(first, last, (*was, !*is)),
        _ => String::new(),
    }
}

fn comparison(first: &Report, last: &Report, (ill, cured): (bool, bool)) -> String {
    let mean = |r: &Report| r.confusion.mean_iou(regions()).unwrap_or(0.0);
    let (before, after) = (mean(first), mean(last));
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
    fn the_words_follow_the_figures() {
        let (ill, well) = (report("a", 0, ALIKE), report("b", 12, APART));
        assert!(comparison(&ill, &well, (true, true)).contains("from 0.00 to 0.80"));
        assert!(comparison(&well, &ill, (false, false)).contains("did not help"));
        let half = report("c", 1, APART);
        assert!(comparison(&ill, &half, (true, false)).contains("do not cure"));
        let text = render(&[ill, well]);
        assert!(
            text.lines()
                .any(|l| l.starts_with("  3 nose") && l.contains("0.00        0.80")),
            "{text}"
        );
        assert_eq!(change(&[], &[]), "");
    }
}
