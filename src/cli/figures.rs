//! The figures of a test in lines: the same words in the log, on a terminal and in a file of text.
//!
//! No line has what readers of Caffe's log look for: an iteration with its number, an output of a net, a rate.

use super::table::Table;
use crate::metrics::{Alike, ChannelStats, Head};

/// Up to so many classes there is a line for each.
const LISTED: usize = 40;

/// Up to so many classes the whole matrix is shown.
const SQUARE: usize = 12;

/// With more classes, so many of the commonest mistakes.
const CONFUSED: usize = 10;

/// From this share of exact zeros on a channel is told.
const ZEROS: f64 = 0.9;

/// A share, so that what is not quite 1 does not look so.
fn share(x: Option<f64>) -> String {
    match x {
        None => "-".to_owned(),
        Some(x) if x < 1.0 && x > 0.9995 => format!("{x:.6}"),
        Some(x) => format!("{x:.3}"),
    }
}

/// Everything worth telling of some scores.
pub(crate) fn head(head: &Head) -> Vec<String> {
    let m = &head.confusion;
    let classes = m.classes();
    let mut lines = vec![title(head)];
    let mut text = format!("accuracy {}", share(m.accuracy()));
    if let Some((class, constant)) = m.constant() {
        let constant = share(Some(constant));
        text += &format!(
            "; always saying '{}' would score {constant}",
            head.name(class)
        );
    }
    lines.push(text);
    if head.each.is_empty() {
        let mut text = format!(
            "mean recall {}, mean IoU {}",
            share(m.mean_recall()),
            share(m.mean_iou(0..classes))
        );
        for &(k, hits) in head.top_k.iter().filter(|(k, _)| *k > 1) {
            let hits = (m.total() > 0).then(|| hits as f64 / m.total() as f64);
            text += &format!(", among the best {k}: {}", share(hits));
        }
        lines.push(text);
        if classes <= LISTED {
            lines.extend(rows(&each_class(head)));
        }
        lines.extend(confusion(head));
    } else if head.each.len() <= LISTED {
        lines.extend(rows(&each_channel(head)));
    }
    lines.extend(alike(head));
    lines
}

fn title(head: &Head) -> String {
    let mut text = format!(
        "{} against {} (layer {}): {} labels",
        head.scores,
        head.label,
        head.layer,
        head.confusion.total()
    );
    if head.ignored > 0 {
        text += &format!(", {} ignored", head.ignored);
    }
    match head.each.len() {
        0 => text += &format!(", {} classes", head.confusion.classes()),
        1 => text += ", yes or no",
        n => text += &format!(", {n} channels that say yes or no"),
    }
    text
}

fn rows(table: &Table) -> Vec<String> {
    let text = table.to_string();
    text.lines().map(|line| format!("  {line}")).collect()
}

fn each_class(head: &Head) -> Table {
    let m = &head.confusion;
    let mut table = Table::new(
        1,
        &["class", "labels", "answers", "recall", "precision", "IoU"],
    );
    for class in 0..m.classes() {
        table.row(vec![
            head.name(class),
            m.of_class(class).to_string(),
            m.answered(class).to_string(),
            share(m.recall(class)),
            share(m.precision(class)),
            share(m.iou(class)),
        ]);
    }
    table
}

fn each_channel(head: &Head) -> Table {
    let titles = [
        "channel",
        "yes",
        "no",
        "accuracy",
        "constant",
        "recall",
        "precision",
        "IoU",
    ];
    let mut table = Table::new(1, &titles);
    for (channel, m) in head.each.iter().enumerate() {
        table.row(vec![
            channel.to_string(),
            m.of_class(1).to_string(),
            m.of_class(0).to_string(),
            share(m.accuracy()),
            share(m.constant().map(|(_, accuracy)| accuracy)),
            share(m.recall(1)),
            share(m.precision(1)),
            share(m.iou(1)),
        ]);
    }
    table
}

fn confusion(head: &Head) -> Vec<String> {
    let m = &head.confusion;
    let classes = m.classes();
    let wrong = m.worst(CONFUSED);
    if wrong.is_empty() {
        return Vec::new();
    }
    if classes <= SQUARE {
        let titles: Vec<String> = (0..classes).map(|class| head.name(class)).collect();
        let titles: Vec<&str> = std::iter::once("taken for:")
            .chain(titles.iter().map(|t| &**t))
            .collect();
        let mut table = Table::new(1, &titles);
        for truth in 0..classes {
            let mut row = vec![head.name(truth)];
            row.extend((0..classes).map(|answer| m.count(truth, answer).to_string()));
            table.row(row);
        }
        return rows(&table);
    }
    let mut lines = vec!["the commonest mistakes:".to_owned()];
    let mut table = Table::new(2, &["is", "taken for", "times", "of"]);
    for (truth, answer, n) in wrong {
        table.row(vec![
            head.name(truth),
            head.name(answer),
            n.to_string(),
            m.of_class(truth).to_string(),
        ]);
    }
    lines.extend(rows(&table));
    lines
}

/// Channels that say the same, and those that are nearly always 0.
fn alike(head: &Head) -> Vec<String> {
    let pairs = head.alike();
    let Some(channels) = &head.channels else {
        return Vec::new();
    };
    // The channels of binary heads are no classes: they go by their numbers.
    let called = |c: usize| match head.each.is_empty() && c < head.names.len() {
        true => format!("{c} ({})", head.name(c)),
        false => c.to_string(),
    };
    let list = |of: &[usize]| of.iter().map(|&c| called(c)).collect::<Vec<_>>().join(", ");
    let mut lines: Vec<String> = groups(channels, &pairs)
        .into_iter()
        .map(|group| {
            let inside = |p: &&Alike| group.contains(&p.a) && group.contains(&p.b);
            let inside: Vec<&Alike> = pairs.iter().filter(inside).collect();
            let equal = inside.iter().map(|p| p.equal).fold(1.0, f64::min);
            let least = |x: Option<f64>| x.unwrap_or(1.0);
            let r = inside
                .iter()
                .map(|p| least(p.correlation))
                .fold(1.0, f64::min);
            let how = if equal >= crate::metrics::ALIKE {
                format!("equal in {:.1} % of all places", 100.0 * equal)
            } else {
                format!("correlation {r:.3} or more")
            };
            format!(
                "channels {} of {} are alike: {how}",
                list(&group),
                head.scores
            )
        })
        .collect();
    let zero = |c: usize| channels.zero_share(c).filter(|&share| share >= ZEROS);
    let zeros: Vec<String> = (0..channels.channels())
        .filter_map(|c| Some(format!("{} in {:.1} %", called(c), 100.0 * zero(c)?)))
        .collect();
    if !zeros.is_empty() {
        lines.push(format!(
            "channels of {} that are exactly 0: {}",
            head.scores,
            zeros.join(", ")
        ));
    }
    lines
}

/// Channels that are alike by twos, gathered: each with the first that it is alike to.
fn groups(channels: &ChannelStats, pairs: &[Alike]) -> Vec<Vec<usize>> {
    let mut first: Vec<usize> = (0..channels.channels()).collect();
    for pair in pairs {
        let (from, to) = (first[pair.b], first[pair.a]);
        let (from, to) = (from.max(to), from.min(to));
        first
            .iter_mut()
            .filter(|f| **f == from)
            .for_each(|f| *f = to);
    }
    let group =
        |of: usize| -> Vec<usize> { (0..first.len()).filter(|&c| first[c] == of).collect() };
    let groups = (0..first.len()).map(group);
    groups.filter(|group| group.len() > 1).collect()
}

/// The average precisions of a detector.
pub(crate) fn precision(blob: &str, mean: f64, classes: &[(i32, f64)]) -> Vec<String> {
    let mut lines = vec![format!(
        "{blob}: mean average precision {} over {} classes",
        share(Some(mean)),
        classes.len()
    )];
    if (2..=LISTED).contains(&classes.len()) {
        let mut table = Table::new(1, &["class", "average precision"]);
        for &(class, average) in classes {
            table.row(vec![class.to_string(), share(Some(average))]);
        }
        lines.extend(rows(&table));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ConfusionMatrix;

    fn named(names: &[&str]) -> Head {
        Head {
            scores: "conv_last".into(),
            label: "labels".into(),
            layer: "loss".into(),
            names: names.iter().map(|&n| n.to_owned()).collect(),
            confusion: ConfusionMatrix::new(names.len()),
            top_k: vec![(1, 0)],
            channels: Some(ChannelStats::new(names.len())),
            ..Head::default()
        }
    }

    #[test]
    fn a_map_whose_regions_are_dead() {
        let mut it = named(&["ground", "left eye", "mouth"]);
        it.confusion.add_many(0, 0, 937);
        it.confusion.add_many(1, 0, 57);
        it.confusion.add_many(2, 2, 6);
        it.ignored = 3;
        let stats = it.channels.as_mut().unwrap();
        stats.add_pixel([1.0, 0.0, 0.0].into_iter());
        stats.add_pixel([2.0, 0.0, 0.0].into_iter());
        let want = "\
conv_last against labels (layer loss): 1000 labels, 3 ignored, 3 classes
accuracy 0.943; always saying 'ground' would score 0.937
mean recall 0.667, mean IoU 0.648
  class     labels  answers  recall  precision    IoU
  ground       937      994   1.000      0.943  0.943
  left eye      57        0   0.000          -  0.000
  mouth          6        6   1.000      1.000  1.000
  taken for:  ground  left eye  mouth
  ground         937         0      0
  left eye        57         0      0
  mouth            0         0      6
channels 1 (left eye), 2 (mouth) of conv_last are alike: equal in 100.0 % of all places
channels of conv_last that are exactly 0: 1 (left eye) in 100.0 %, 2 (mouth) in 100.0 %";
        assert_eq!(head(&it).join("\n"), want);
    }

    #[test]
    fn many_classes_are_told_by_their_worst() {
        let mut it = Head {
            scores: "fc8".into(),
            label: "label".into(),
            layer: "loss".into(),
            confusion: ConfusionMatrix::new(1000),
            top_k: vec![(1, 1), (5, 2)],
            ..Head::default()
        };
        it.confusion.add(7, 7);
        it.confusion.add(7, 900);
        let want = "\
fc8 against label (layer loss): 2 labels, 1000 classes
accuracy 0.500; always saying '7' would score 1.000
mean recall 0.500, mean IoU 0.250, among the best 5: 1.000
the commonest mistakes:
  is  taken for  times  of
  7   900            1   2";
        assert_eq!(head(&it).join("\n"), want);
    }

    #[test]
    fn yes_and_no() {
        let mut it = named(&["no", "yes"]);
        it.each = vec![ConfusionMatrix::new(2); 2];
        for (channel, truth, answer) in [(0, 1, 1), (0, 0, 0), (1, 0, 0), (1, 1, 0)] {
            it.each[channel].add(truth, answer);
            it.confusion.add(truth, answer);
        }
        let want = "\
conv_last against labels (layer loss): 4 labels, 2 channels that say yes or no
accuracy 0.750; always saying 'no' would score 0.500
  channel  yes  no  accuracy  constant  recall  precision    IoU
  0          1   1     1.000     0.500   1.000      1.000  1.000
  1          1   1     0.500     0.500   0.000          -  0.000";
        assert_eq!(head(&it).join("\n"), want);
    }

    #[test]
    fn groups_and_shares() {
        let pair = |a, b| Alike {
            a,
            b,
            correlation: Some(1.0),
            equal: 0.0,
        };
        let groups = groups(&ChannelStats::new(6), &[pair(0, 4), pair(1, 2), pair(2, 5)]);
        assert_eq!(groups, [vec![0, 4], vec![1, 2, 5]]);
        assert_eq!(share(Some(0.99997)), "0.999970");
        assert_eq!(share(Some(1.0)), "1.000");
        assert_eq!(
            precision("eval", 0.5, &[(1, 0.25), (2, 0.75)]).join("\n"),
            "eval: mean average precision 0.500 over 2 classes\n  class  average precision\n  1                  0.250\n  2                  0.750"
        );
    }
}
