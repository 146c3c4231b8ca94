//! What a log tells of a training as curves: loss, accuracy and rate of one log, or of several laid over each other.

use std::collections::BTreeMap;

use super::{
    log::{Log, Train},
    plot::{Plot, Series},
};

/// Curves of one plot at most: more cannot be told apart.
const MOST: usize = 24;

/// What a plot shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Figure {
    /// The smoothed loss of the training, and what counts in the loss of each test net.
    Loss,
    /// Single outputs of the test nets that do not count in the loss: accuracies and other scores.
    Accuracy,
    /// The rate.
    Rate,
    /// Every value of the output blob of this name, in training and in tests.
    Output(String),
}

impl Figure {
    /// The figure of a word: `loss`, `accuracy`, `rate` (or `lr`), or an output's name.
    pub fn of(word: &str) -> Self {
        match word {
            "loss" => Self::Loss,
            "accuracy" => Self::Accuracy,
            "rate" | "lr" => Self::Rate,
            name => Self::Output(name.to_owned()),
        }
    }
}

/// What runs to the right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Across {
    /// Iterations.
    #[default]
    Iterations,
    /// Seconds since solving began.
    Seconds,
}

/// How values run upwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upwards {
    /// By factors where positive values differ by more than a hundred, else by steps.
    #[default]
    Fitting,
    /// By steps.
    Linear,
    /// By factors.
    Logarithmic,
}

/// A curve of one log before it is drawn.
struct Curve {
    log: usize,
    name: String,
    points: Vec<(f64, f64)>,
}

/// The plot of a figure; `None` where no log tells of it. The second number is how many curves were left out because
/// there are too many. Logs come with the names that tell them apart.
pub fn plot(
    logs: &[(&str, &Log)],
    figure: &Figure,
    across: Across,
    upwards: Upwards,
) -> Option<(Plot, usize)> {
    let mut curves: Vec<Curve> = logs
        .iter()
        .enumerate()
        .flat_map(|(i, (_, log))| curves(i, log, figure, across))
        .filter(|curve| !curve.points.is_empty())
        .collect();
    if curves.is_empty() {
        return None;
    }
    let left_out = curves.len().saturating_sub(MOST);
    curves.truncate(MOST);
    let mut kinds: Vec<&str> = curves.iter().map(|c| c.name.as_str()).collect();
    kinds.dedup();
    kinds.sort_unstable();
    kinds.dedup();
    // Several logs with at most two kinds of curve: a colour for each log, dashes for what tests say.
    let by_log = logs.len() > 1 && kinds.len() <= 2;
    let series: Vec<Series> = curves
        .iter()
        .enumerate()
        .map(|(i, curve)| {
            let name = match logs.len() {
                1 => curve.name.clone(),
                _ => format!("{}: {}", logs[curve.log].0, curve.name),
            };
            let dashed = match by_log {
                true => kinds.len() == 2 && curve.name.starts_with("test"),
                false => i % 16 >= 8,
            };
            Series {
                name,
                points: curve.points.clone(),
                hue: Some(if by_log { curve.log } else { i }),
                dashed,
            }
        })
        .collect();
    let (title, y_label) = match figure {
        Figure::Loss => ("Loss", "loss"),
        Figure::Accuracy if kinds.iter().all(|kind| kind.contains("acc")) => {
            ("Accuracy", "accuracy")
        }
        Figure::Accuracy => ("Scores", "score"),
        Figure::Rate => ("Learning rate", "rate"),
        Figure::Output(name) => (name.as_str(), name.as_str()),
    };
    let plot = Plot {
        title: title.to_owned(),
        x_label: match across {
            Across::Iterations => "iteration".to_owned(),
            Across::Seconds => "seconds".to_owned(),
        },
        y_label: y_label.to_owned(),
        log_y: match upwards {
            Upwards::Linear => false,
            Upwards::Logarithmic => true,
            Upwards::Fitting => *figure != Figure::Accuracy && spread(&series),
        },
        series,
        ..Plot::default()
    };
    Some((plot, left_out))
}

/// Whether all values are above 0 and differ by a factor of more than a hundred.
pub(super) fn spread(series: &[Series]) -> bool {
    let values = || {
        let points = series.iter().flat_map(|s| &s.points).map(|p| p.1);
        points.filter(|y| y.is_finite())
    };
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(f64::NEG_INFINITY, f64::max);
    low > 0.0 && high / low > 100.0
}

/// Names of everything that can be plotted of these logs.
pub fn names(logs: &[&Log]) -> Vec<String> {
    let mut names: Vec<String> = ["loss", "accuracy", "rate"].map(str::to_owned).to_vec();
    for log in logs {
        for name in &log.names {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    names
}

/// The curves of a log, points in the order of the axis.
fn curves(index: usize, log: &Log, figure: &Figure, across: Across) -> Vec<Curve> {
    let mut found = Found::new(log, across);
    let of_train = |value: fn(&Train) -> Option<f64>, name: &str, found: &mut Found<'_>| {
        for train in &log.train {
            if let Some(value) = value(train) {
                found.put(name.to_owned(), train.iteration, train.seconds, value);
            }
        }
    };
    match figure {
        Figure::Rate => of_train(|t| t.rate, "rate", &mut found),
        Figure::Loss => of_train(|t| t.loss, "training loss", &mut found),
        Figure::Output(wanted) => {
            for train in &log.train {
                for (name, value) in outputs(log, &train.outputs, |n| log.name(n) == wanted) {
                    let name = format!("training {name}");
                    found.put(name, train.iteration, train.seconds, value);
                }
            }
        }
        Figure::Accuracy => {}
    }
    for test in &log.tests {
        let several = log.tests.iter().any(|t| t.net > 0);
        let net = if several {
            format!(" #{}", test.net)
        } else {
            String::new()
        };
        let single = |n: u32| test.outputs.iter().filter(|o| o.0 == n).count() == 1;
        let is_loss = |n: u32| {
            let weighted = log.weighted.get(n as usize);
            weighted.is_some_and(|&w| w) || log.name(n).to_lowercase().contains("loss")
        };
        let wanted = |n: u32| match figure {
            Figure::Loss => is_loss(n) && single(n),
            Figure::Accuracy => !is_loss(n) && single(n),
            Figure::Rate => false,
            Figure::Output(name) => log.name(n) == name,
        };
        for (name, value) in outputs(log, &test.outputs, wanted) {
            found.put(
                format!("test{net} {name}"),
                test.iteration,
                test.seconds,
                value,
            );
        }
        if let (Figure::Loss, Some(loss)) = (figure, test.loss) {
            let name = format!("test{net} total loss");
            found.put(name, test.iteration, test.seconds, loss);
        }
    }
    found.curves(index)
}

/// Values of the outputs that are wanted; a blob of several has them numbered.
fn outputs(log: &Log, outputs: &[(u32, f64)], wanted: impl Fn(u32) -> bool) -> Vec<(String, f64)> {
    super::log_compare::named(log, outputs)
        .zip(outputs)
        .filter(|(_, output)| wanted(output.0))
        .map(|(named, _)| named)
        .collect()
}

/// Curves by name, in the order in which they first come.
struct Found<'a> {
    log: &'a Log,
    across: Across,
    names: Vec<String>,
    points: BTreeMap<String, Vec<(u64, f64, f64)>>,
}

impl<'a> Found<'a> {
    fn new(log: &'a Log, across: Across) -> Self {
        Self {
            log,
            across,
            names: Vec::new(),
            points: BTreeMap::new(),
        }
    }

    fn put(&mut self, name: String, iteration: u64, seconds: Option<f64>, value: f64) {
        let x = match self.across {
            Across::Iterations => iteration as f64,
            Across::Seconds => match seconds {
                Some(seconds) => seconds - self.log.solving.unwrap_or(0.0),
                None => return,
            },
        };
        if !self.points.contains_key(&name) {
            self.names.push(name.clone());
        }
        self.points
            .entry(name)
            .or_default()
            .push((iteration, x, value));
    }

    /// Where an iteration comes more than once, as after a resume, the last counts; over seconds everything does.
    fn curves(mut self, log: usize) -> Vec<Curve> {
        let mut curves = Vec::new();
        for name in std::mem::take(&mut self.names) {
            let points = self.points.remove(&name).unwrap_or_default();
            let points = match self.across {
                Across::Seconds => points.iter().map(|p| (p.1, p.2)).collect(),
                Across::Iterations => {
                    let last: BTreeMap<u64, f64> = points.iter().map(|p| (p.0, p.2)).collect();
                    last.iter().map(|(&i, &y)| (i as f64, y)).collect()
                }
            };
            curves.push(Curve { log, name, points });
        }
        curves
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(text: &str) -> Log {
        Log::read(text.as_bytes()).unwrap()
    }

    fn training(rate: f64) -> Log {
        log(&format!(
            "I0101 00:00:05.000000 1 solver.cpp:1] Solving net\n\
             I0101 00:00:06.000000 1 solver.cpp:1] Iteration 0, Testing net (#0)\n\
             I0101 00:00:07.000000 1 solver.cpp:1]     Test net output #0: accuracy = 0.25\n\
             I0101 00:00:07.000000 1 solver.cpp:1]     Test net output #1: prob = 1\n\
             I0101 00:00:07.000000 1 solver.cpp:1]     Test net output #2: prob = 2\n\
             I0101 00:00:07.000000 1 solver.cpp:1]     Test net output #3: cost = 2 (* 1 = 2 loss)\n\
             I0101 00:00:08.000000 1 solver.cpp:1] Iteration 0, loss = 3\n\
             I0101 00:00:08.000000 1 solver.cpp:1]     Train net output #0: cost = 2.5 (* 1 = 2.5 loss)\n\
             I0101 00:00:08.000000 1 solver.cpp:1] Iteration 0, lr = {rate}\n\
             I0101 00:00:09.000000 1 solver.cpp:1] Iteration 10, loss = 0.01\n\
             I0101 00:00:10.000000 1 solver.cpp:1] Iteration 10, loss = 0.02\n"
        ))
    }

    fn names_of(plot: &Plot) -> Vec<&str> {
        plot.series.iter().map(|s| s.name.as_str()).collect()
    }

    #[test]
    fn the_figures_of_one_log() {
        let log = training(0.1);
        let logs = [("a", &log)];
        let plot =
            |figure: Figure, across| plot(&logs, &figure, across, Upwards::Fitting).unwrap().0;
        let loss = plot(Figure::Loss, Across::Iterations);
        assert_eq!(names_of(&loss), ["training loss", "test cost"]);
        assert_eq!(loss.series[0].points, [(0.0, 3.0), (10.0, 0.02)]);
        assert!(loss.log_y);
        let loss = plot(Figure::Loss, Across::Seconds);
        assert_eq!(
            loss.series[0].points,
            [(3.0, 3.0), (4.0, 0.02)],
            "a record's time is that of its first line"
        );
        let accuracy = plot(Figure::Accuracy, Across::Iterations);
        assert_eq!(names_of(&accuracy), ["test accuracy"]);
        assert_eq!(accuracy.title, "Accuracy");
        let prob = plot(Figure::of("prob"), Across::Iterations);
        assert_eq!(names_of(&prob), ["test prob[0]", "test prob[1]"]);
        assert_eq!(
            plot(Figure::of("lr"), Across::Iterations).series[0].points,
            [(0.0, 0.1)]
        );
    }

    #[test]
    fn several_logs_have_a_colour_each() {
        let (a, b) = (training(0.1), training(0.2));
        let logs = [("a.log", &a), ("b.log", &b)];
        let (plot, left_out) =
            plot(&logs, &Figure::Loss, Across::Iterations, Upwards::Linear).unwrap();
        assert_eq!((plot.series.len(), left_out, plot.log_y), (4, 0, false));
        let styles: Vec<_> = plot.series.iter().map(|s| (s.hue, s.dashed)).collect();
        assert_eq!(
            styles,
            [
                (Some(0), false),
                (Some(0), true),
                (Some(1), false),
                (Some(1), true)
            ]
        );
        assert_eq!(plot.series[3].name, "b.log: test cost");
    }

    #[test]
    fn what_is_not_told_is_no_plot() {
        let log = training(0.1);
        let logs = [("a", &log)];
        let none = plot(
            &logs,
            &Figure::of("iou"),
            Across::Iterations,
            Upwards::Fitting,
        );
        assert!(none.is_none());
        assert_eq!(names(&[&log]), ["loss", "accuracy", "rate", "prob", "cost"]);
    }

    #[test]
    fn too_many_curves_are_cut() {
        let mut text = String::from("Iteration 0, Testing net (#0)\n");
        for i in 0..40 {
            text += &format!("    Test net output #{i}: prob = {i}\n");
        }
        let log = log(&text);
        let figure = Figure::of("prob");
        let logs = [("a", &log)];
        let (plot, left_out) = plot(&logs, &figure, Across::Iterations, Upwards::Fitting).unwrap();
        assert_eq!((plot.series.len(), left_out), (MOST, 40 - MOST));
    }
}
