//! The times of many iterations, in total and layer by layer, and their table.

use std::time::Duration;

use super::{Cost, milliseconds};
use crate::{
    cli::{table::Table, ui::Ui},
    net::{Net, Pass},
    number::g,
};

/// Milliseconds of every iteration: as a whole, and of every layer.
pub(super) struct Timing {
    pub(super) forward: Vec<f64>,
    pub(super) backward: Vec<f64>,
    /// What a step takes besides its passes: clearing gradients, the update. Empty where no steps were measured.
    pub(super) update: Vec<f64>,
    /// Forward and backward of each layer; empty where it has none.
    pub(super) layers: Vec<[Vec<f64>; 2]>,
    /// Whether there is a backward pass.
    pub(super) backwards: bool,
}

/// The spread of some times.
pub(super) struct Summary {
    pub(super) min: f64,
    pub(super) median: f64,
    pub(super) max: f64,
}

pub(super) fn summary(times: &[f64]) -> Summary {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |i: usize| sorted.get(i).copied().unwrap_or(0.0);
    let n = sorted.len();
    Summary {
        min: at(0),
        median: (at(n.saturating_sub(1) / 2) + at(n / 2)) / 2.0,
        max: at(n.saturating_sub(1)),
    }
}

fn mean(times: &[f64]) -> f64 {
    // Folded, because the sum of nothing is -0.
    times.iter().fold(0.0, |sum, t| sum + t) / times.len().max(1) as f64
}

impl Timing {
    pub(super) fn new(layers: usize, backwards: bool) -> Self {
        Self {
            forward: Vec::new(),
            backward: Vec::new(),
            update: Vec::new(),
            layers: vec![Default::default(); layers],
            backwards,
        }
    }

    /// Adds one forward and one backward.
    pub(super) fn pass(&mut self, forward: Duration, backward: Duration) {
        self.forward.push(milliseconds(forward));
        if self.backwards {
            self.backward.push(milliseconds(backward));
        }
    }

    /// Adds the layers of the last pass.
    pub(super) fn layers(&mut self, net: &Net) {
        let mut sums = vec![[None::<f64>; 2]; self.layers.len()];
        for step in net.times() {
            let pass = usize::from(step.pass == Pass::Backward);
            if let Some(sum) = sums.get_mut(step.node.index()) {
                *sum[pass].get_or_insert(0.0) += milliseconds(step.time);
            }
        }
        for (layer, sums) in self.layers.iter_mut().zip(sums) {
            for (times, sum) in layer.iter_mut().zip(sums) {
                times.extend(sum);
            }
        }
    }

    /// Adds a solver's step of so many passes; the layers of the last of them are there already.
    pub(super) fn step(&mut self, took: Duration, passes: u32) {
        let sum = |pass: usize| {
            let last = |layer: &[Vec<f64>; 2]| layer[pass].last().copied();
            self.layers.iter().filter_map(last).sum::<f64>() * f64::from(passes)
        };
        let (forward, backward) = (sum(0), sum(1));
        self.forward.push(forward);
        self.backward.push(backward);
        self.update
            .push((milliseconds(took) - forward - backward).max(0.0));
    }

    /// The sums of what was measured, iteration by iteration.
    pub(super) fn total(&self) -> Vec<f64> {
        let at = |times: &[f64], i: usize| times.get(i).copied().unwrap_or(0.0);
        self.forward
            .iter()
            .enumerate()
            .map(|(i, forward)| forward + at(&self.backward, i) + at(&self.update, i))
            .collect()
    }

    pub(super) fn log(&self, net: &Net, total: f64, iterations: usize, ui: &mut Ui) {
        ui.log("caffe.cpp:397", "Average time per layer: ");
        for (node, [forward, backward]) in net.graph().nodes.iter().zip(&self.layers) {
            let name = &node.name;
            let text = format!("{name:>10}\tforward: {} ms.", g(mean(forward)));
            ui.log("caffe.cpp:400", &text);
            if self.backwards {
                let text = format!("{name:>10}\tbackward: {} ms.", g(mean(backward)));
                ui.log("caffe.cpp:403", &text);
            }
        }
        let per = |ms: f64| g(ms / iterations as f64);
        let text = format!("Average Forward pass: {} ms.", g(mean(&self.forward)));
        ui.log("caffe.cpp:408", &text);
        if self.backwards {
            let text = format!("Average Backward pass: {} ms.", g(mean(&self.backward)));
            ui.log("caffe.cpp:410", &text);
            let text = format!("Average Forward-Backward: {} ms.", per(total));
            if self.update.is_empty() {
                ui.log("caffe.cpp:412", &text);
            } else {
                let text = format!("Average step: {} ms.", per(total));
                ui.log("caffe.cpp:412", &text);
            }
        }
        ui.log("caffe.cpp:414", &format!("Total Time: {} ms.", g(total)));
        ui.log("caffe.cpp:415", "*** Benchmark ends ***");
    }
}

/// Times, the work behind them, and what the processor could do.
pub(super) struct Figures<'a> {
    pub(super) timing: &'a Timing,
    /// By layer.
    pub(super) costs: Vec<Cost>,
    /// The processor's peak, in operations a second.
    pub(super) peak: f64,
}

impl Figures<'_> {
    /// Operations of a whole forward and backward pass.
    pub(super) fn work(&self) -> Cost {
        let sum = |pick: fn(&Cost) -> u64| self.costs.iter().map(pick).sum::<u64>();
        Cost {
            forward: sum(|c| c.forward),
            backward: sum(|c| c.backward),
        }
    }

    pub(super) fn table(&self, net: &Net) -> String {
        let timing = self.timing;
        let whole = timing.total();
        let total = summary(&whole).median;
        let mut table = Table::new(
            3,
            &[
                "layer", "type", "pass", "min ms", "median", "max", "GFLOP/s", "share", "of peak",
            ],
        );
        for (i, node) in net.graph().nodes.iter().enumerate() {
            let cost = self.costs.get(i).copied().unwrap_or_default();
            for (pass, (name, flops)) in [("forward", cost.forward), ("backward", cost.backward)]
                .into_iter()
                .enumerate()
            {
                let times = &timing.layers[i][pass];
                if !times.is_empty() {
                    let cells = [
                        node.name.to_string(),
                        node.kind.name.to_owned(),
                        name.to_owned(),
                    ];
                    table.row(row(cells, times, flops, total, self.peak));
                }
            }
        }
        let Cost { forward, backward } = self.work();
        let all = if timing.update.is_empty() {
            "both"
        } else {
            "step"
        };
        for (name, times, flops, shown) in [
            ("forward", &timing.forward, forward, true),
            ("backward", &timing.backward, backward, timing.backwards),
            ("update", &timing.update, 0, !timing.update.is_empty()),
            (all, &whole, forward + backward, timing.backwards),
        ] {
            if shown {
                let cells = ["total".to_owned(), String::new(), name.to_owned()];
                table.row(row(cells, times, flops, total, self.peak));
            }
        }
        table.to_string()
    }
}

/// Operations a second, where there are operations and a time that the clock could see.
pub(super) fn speed(flops: u64, milliseconds: f64) -> Option<f64> {
    (flops > 0 && milliseconds > 0.0).then(|| flops as f64 / milliseconds * 1e3)
}

fn row(names: [String; 3], times: &[f64], flops: u64, total: f64, peak: f64) -> Vec<String> {
    let Summary { min, median, max } = summary(times);
    let speed = speed(flops, median);
    let share = if total > 0.0 {
        100.0 * median / total
    } else {
        0.0
    };
    let ms = |x: f64| format!("{x:.3}");
    let told = |x: Option<String>| x.unwrap_or_default();
    let mut cells = names.to_vec();
    cells.extend([
        ms(min),
        ms(median),
        ms(max),
        told(speed.map(|s| format!("{:.2}", s / 1e9))),
        format!("{share:.1} %"),
        told(speed.map(|s| format!("{:.0} %", 100.0 * s / peak))),
    ]);
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_few() {
        let of = |times: &[f64]| summary(times).median;
        assert_eq!(of(&[]), 0.0);
        assert_eq!(of(&[3.0]), 3.0);
        assert_eq!(of(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn speed_and_share() {
        let names = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let cells = row(names, &[2.0, 1.0, 3.0], 4_000_000, 8.0, 8e9);
        assert_eq!(
            cells,
            [
                "a", "b", "c", "1.000", "2.000", "3.000", "2.00", "25.0 %", "25 %"
            ]
        );
    }

    #[test]
    fn an_update_is_what_a_step_takes_besides_its_passes() {
        let mut timing = Timing::new(2, true);
        timing.layers[0] = [vec![9.0, 1.0], vec![]];
        timing.layers[1] = [vec![9.0, 2.0], vec![9.0, 4.0]];
        timing.step(Duration::from_millis(20), 2);
        assert_eq!(timing.forward, [6.0]);
        assert_eq!(timing.backward, [8.0]);
        assert_eq!(timing.update, [6.0]);
        assert_eq!(timing.total(), [20.0]);
    }
}
