//! Two logs of trainings held against each other, iteration by iteration.

use std::collections::BTreeMap;

use super::{
    compare::Tolerance,
    curves::spread,
    log::Log,
    plot::{Mark, Plot, Series},
};

/// A value of one iteration in both logs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spot {
    /// The iteration.
    pub iteration: u64,
    /// In the first log.
    pub a: f64,
    /// In the second.
    pub b: f64,
}

/// One figure of two logs, over the iterations that both have.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// `loss`, `lr`, `train loss`, `test #0 accuracy`.
    pub name: String,
    /// Iterations that both logs have.
    pub common: usize,
    /// Iterations that only one has: the first, the second.
    pub alone: [usize; 2],
    /// The first iteration at which they are further apart than the tolerance.
    pub first: Option<Spot>,
    /// The iteration at which they are furthest apart.
    pub worst: Option<Spot>,
    /// The largest absolute difference.
    pub max_abs: f64,
    /// The largest difference relative to the second log.
    pub max_rel: f64,
    /// The last iteration that both have.
    pub last: Option<Spot>,
}

/// The figures of a log by name, in the order in which a log tells them; each by iteration. Where an iteration comes
/// more than once, as after a resume, the last counts.
pub fn figures(log: &Log) -> Vec<(String, BTreeMap<u64, f64>)> {
    let mut found: Vec<(String, BTreeMap<u64, f64>)> = Vec::new();
    let mut index: BTreeMap<String, usize> = BTreeMap::new();
    let mut put = |name: String, iteration: u64, value: f64| {
        let at = *index.entry(name).or_insert_with_key(|name| {
            found.push((name.clone(), BTreeMap::new()));
            found.len() - 1
        });
        found[at].1.insert(iteration, value);
    };
    for train in &log.train {
        if let Some(loss) = train.loss {
            put("loss".to_owned(), train.iteration, loss);
        }
        if let Some(rate) = train.rate {
            put("lr".to_owned(), train.iteration, rate);
        }
        for (name, value) in named(log, &train.outputs) {
            put(format!("train {name}"), train.iteration, value);
        }
    }
    for test in &log.tests {
        if let Some(loss) = test.loss {
            put(
                format!("test #{} total loss", test.net),
                test.iteration,
                loss,
            );
        }
        for (name, value) in named(log, &test.outputs) {
            put(format!("test #{} {name}", test.net), test.iteration, value);
        }
    }
    found
}

/// Outputs by name; a blob of several values has them numbered.
pub(super) fn named<'a>(
    log: &'a Log,
    outputs: &'a [(u32, f64)],
) -> impl Iterator<Item = (String, f64)> + 'a {
    outputs.iter().enumerate().map(|(i, &(name, value))| {
        let same = |o: &&(u32, f64)| o.0 == name;
        let text = log.name(name);
        let several = outputs.iter().filter(same).count() > 1;
        let number = outputs[..i].iter().filter(same).count();
        match several {
            true => (format!("{text}[{number}]"), value),
            false => (text.to_owned(), value),
        }
    })
}

/// Compares all figures that one of the logs has.
pub fn compare_logs(a: &Log, b: &Log, tolerance: Tolerance) -> Vec<Figure> {
    let (ours, theirs) = (figures(a), figures(b));
    let empty = BTreeMap::new();
    let of = |all: &'_ [(String, BTreeMap<u64, f64>)], name: &str| {
        all.iter().position(|(n, _)| n == name)
    };
    let mut rows = Vec::new();
    for (name, values) in &ours {
        let other = of(&theirs, name).map_or(&empty, |i| &theirs[i].1);
        rows.push(figure(name, values, other, tolerance));
    }
    for (name, values) in &theirs {
        if of(&ours, name).is_none() {
            rows.push(figure(name, &empty, values, tolerance));
        }
    }
    rows
}

fn figure(
    name: &str,
    a: &BTreeMap<u64, f64>,
    b: &BTreeMap<u64, f64>,
    tolerance: Tolerance,
) -> Figure {
    let mut row = Figure {
        name: name.to_owned(),
        common: 0,
        alone: [0, b.len()],
        first: None,
        worst: None,
        max_abs: 0.0,
        max_rel: 0.0,
        last: None,
    };
    for (&iteration, &a) in a {
        let Some(&b) = b.get(&iteration) else {
            row.alone[0] += 1;
            continue;
        };
        row.common += 1;
        row.alone[1] -= 1;
        let spot = Spot { iteration, a, b };
        row.last = Some(spot);
        if a == b || (a.is_nan() && b.is_nan()) {
            continue;
        }
        let apart = match (a - b).abs() {
            d if d.is_nan() => f64::INFINITY,
            d => d,
        };
        let bound = f64::from(tolerance.atol) + f64::from(tolerance.rtol) * b.abs();
        if apart > bound || bound.is_nan() {
            row.first.get_or_insert(spot);
        }
        if apart > row.max_abs || row.worst.is_none() {
            row.max_abs = apart;
            row.worst = Some(spot);
        }
        if b != 0.0 {
            row.max_rel = row.max_rel.max(apart / b.abs());
        }
    }
    row
}

/// The losses of logs over the iterations, with the iteration at which they part.
pub fn loss_plot(logs: &[(&str, &Log)], parted: Option<u64>) -> Plot {
    let series: Vec<Series> = logs
        .iter()
        .map(|(name, log)| Series {
            name: (*name).to_owned(),
            points: log
                .train
                .iter()
                .filter_map(|t| Some((t.iteration as f64, t.loss?)))
                .collect(),
            ..Series::default()
        })
        .collect();
    Plot {
        title: "Training loss".to_owned(),
        x_label: "iteration".to_owned(),
        y_label: "loss".to_owned(),
        log_y: spread(&series),
        overlay: series.len() == 2,
        series,
        marks: parted
            .map(|iteration| Mark {
                x: iteration as f64,
                label: format!("apart from {iteration} on"),
            })
            .into_iter()
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::log::{Test, Train};

    fn log(losses: &[(u64, f64)], accuracy: f64) -> Log {
        Log {
            names: vec!["accuracy".into()],
            train: losses
                .iter()
                .map(|&(iteration, loss)| Train {
                    iteration,
                    loss: Some(loss),
                    ..Train::default()
                })
                .collect(),
            tests: vec![Test {
                outputs: vec![(0, accuracy), (0, 0.5)],
                ..Test::default()
            }],
            ..Log::default()
        }
    }

    #[test]
    fn the_first_iteration_apart_is_named() {
        let a = log(&[(0, 1.0), (10, 0.8), (20, 0.6), (30, f64::NAN)], 0.9);
        let b = log(&[(0, 1.0), (20, 0.5), (30, f64::NAN), (40, 0.1)], 0.9);
        let rows = compare_logs(&a, &b, Tolerance::default());
        let loss = &rows[0];
        assert_eq!(
            (loss.name.as_str(), loss.common, loss.alone),
            ("loss", 3, [1, 1])
        );
        assert_eq!(
            loss.first,
            Some(Spot {
                iteration: 20,
                a: 0.6,
                b: 0.5
            })
        );
        assert!((loss.max_abs - 0.1).abs() < 1e-9 && (loss.max_rel - 0.2).abs() < 1e-9);
        assert_eq!(loss.last.unwrap().iteration, 30);
        assert_eq!(rows[1].name, "test #0 accuracy[0]");
        assert!(rows[1].first.is_none() && rows[1].common == 1);
    }

    #[test]
    fn what_only_one_log_has_is_told() {
        let a = log(&[(0, 1.0)], 0.9);
        let b = Log {
            tests: Vec::new(),
            ..log(&[(5, f64::NAN)], 0.0)
        };
        let rows = compare_logs(&a, &b, Tolerance::default());
        assert_eq!((rows[0].common, rows[0].alone), (0, [1, 1]));
        assert_eq!((rows[2].common, rows[2].alone), (0, [1, 0]));
        // NaN against a number is as far apart as can be.
        let c = log(&[(0, f64::NAN)], 0.9);
        let row = &compare_logs(&a, &c, Tolerance::default())[0];
        assert!(row.max_abs.is_infinite() && row.first.is_some());
    }

    #[test]
    fn both_losses_are_plotted() {
        let (a, b) = (log(&[(0, 1.0), (9, 1e-3)], 0.0), log(&[(0, 1.0)], 0.0));
        let plot = loss_plot(&[("a", &a), ("b", &b)], Some(9));
        assert!(plot.log_y && plot.overlay);
        let svg = plot.to_svg();
        assert!(svg.contains("apart from 9 on"), "{svg}");
    }
}
