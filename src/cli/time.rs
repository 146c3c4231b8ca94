//! `time`: how long each layer takes, forward and backward.

use crate::number::g;
use std::time::Instant;

use super::{
    args::{Args, Flag},
    command::{Command, Status},
    nets::{self, Loaded, Wish},
    table::Table,
    ui::Ui,
};
use crate::{
    error::Result,
    graph::{Node, NodeId},
    net::{Keep, Net, Pass},
    params::Params,
    rng,
    schema::Phase,
    tensor::Tensor,
};

/// The row of the table.
pub(super) const COMMAND: Command = Command {
    name: "time",
    about: "measure each layer of a net, forward and backward",
    flags: &[
        nets::MODEL,
        nets::WEIGHTS,
        nets::ITERATIONS,
        nets::PHASE,
        nets::LEVEL,
        nets::STAGE,
        nets::SEED,
        nets::EXACT,
        Flag::switch(
            "forward_only",
            "Measure a net that never runs backward, as run and test make it",
        ),
    ],
    examples: "  cortado time --model=train_val.prototxt --iterations=20\n  cortado time --model=deploy.prototxt --phase=TEST --threads=1",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let example = "time --model=train_val.prototxt";
    let iterations = args.count("iterations", 50)?;
    ui.log("caffe.cpp:347", "Use CPU.");
    let wish = Wish {
        phase: Phase::Train,
        own_state: false,
        backward: !args.switch("forward_only"),
        keep: Keep::Outputs,
        wanted: Vec::new(),
        frozen: true,
    };
    let Loaded {
        mut net,
        mut params,
    } = nets::load(args, &wish, example, ui)?;
    noise(&mut net)?;
    ui.log("caffe.cpp:351", "Performing Forward");
    let loss = net.forward(&mut params)?;
    ui.log("caffe.cpp:356", &format!("Initial loss: {}", g(loss)));
    ui.log("caffe.cpp:357", "Performing Backward");
    net.backward(&mut params)?;
    ui.log("caffe.cpp:365", "*** Benchmark begins ***");
    ui.log(
        "caffe.cpp:366",
        &format!("Testing for {iterations} iterations."),
    );
    let mut timing = Timing::new(net.graph().nodes.len());
    net.profile(true);
    let bar = ui.bar("time", iterations as u64);
    let start = Instant::now();
    for i in 0..iterations {
        params.clear_grads();
        let begin = Instant::now();
        net.forward(&mut params)?;
        let middle = Instant::now();
        net.backward(&mut params)?;
        let end = Instant::now();
        timing.forward.push(milliseconds(middle - begin));
        timing.backward.push(milliseconds(end - middle));
        timing.steps(&net);
        let text = format!(
            "Iteration: {} forward-backward time: {} ms.",
            i + 1,
            g(milliseconds(end - begin))
        );
        ui.log("caffe.cpp:394", &text);
        bar.inc(1);
    }
    bar.finish_and_clear();
    timing.log(&net, milliseconds(start.elapsed()), iterations, ui);
    let flops: Vec<Cost> = net
        .graph()
        .nodes
        .iter()
        .enumerate()
        .map(|(i, node)| cost(&net, &params, i, node))
        .collect();
    ui.print(&timing.report(&net, &flops))?;
    Ok(Status::Done)
}

/// Fills inputs with numbers around 0, so that nothing is timed on zeros only.
fn noise(net: &mut Net) -> Result<()> {
    use rand::RngExt as _;
    let names: Vec<String> = net.inputs().into_iter().map(str::to_owned).collect();
    for (i, name) in names.iter().enumerate() {
        let Some(view) = net.blob(name) else { continue };
        let mut tensor = Tensor::zeros(view.shape.clone());
        let mut rng = rng::stream(0, rng::Use::Other, i as u64, 0);
        for x in &mut tensor.data {
            *x = rng.random_range(-1.0..1.0);
        }
        net.set_input(name, &tensor)?;
    }
    Ok(())
}

fn milliseconds(time: std::time::Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Floating-point operations of a layer.
#[derive(Clone, Copy, Default)]
struct Cost {
    forward: u64,
    backward: u64,
}

/// Backward costs one forward for the gradient by the input and one for that by the parameters.
fn cost(net: &Net, params: &Params, index: usize, node: &Node) -> Cost {
    let forward = net.flops(NodeId(index as u32));
    let by_params = node.params.iter().any(|&p| params[p].wants_grad());
    let by_bottoms = node.bottom_backward.contains(&true);
    Cost {
        forward,
        backward: forward * (u64::from(by_params) + u64::from(by_bottoms)),
    }
}

/// Milliseconds of every iteration: as a whole, and of every layer.
struct Timing {
    forward: Vec<f64>,
    backward: Vec<f64>,
    layers: Vec<[Vec<f64>; 2]>,
}

struct Summary {
    min: f64,
    median: f64,
    max: f64,
}

fn summary(times: &[f64]) -> Summary {
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
    fn new(layers: usize) -> Self {
        Self {
            forward: Vec::new(),
            backward: Vec::new(),
            layers: vec![Default::default(); layers],
        }
    }

    fn steps(&mut self, net: &Net) {
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

    fn log(&self, net: &Net, total: f64, iterations: usize, ui: &mut Ui) {
        ui.log("caffe.cpp:397", "Average time per layer: ");
        for (node, [forward, backward]) in net.graph().nodes.iter().zip(&self.layers) {
            let name = &node.name;
            let text = format!("{name:>10}\tforward: {} ms.", g(mean(forward)));
            ui.log("caffe.cpp:400", &text);
            let text = format!("{name:>10}\tbackward: {} ms.", g(mean(backward)));
            ui.log("caffe.cpp:403", &text);
        }
        let per = |ms: f64| g(ms / iterations as f64);
        for (tag, text) in [
            (
                "caffe.cpp:408",
                format!("Average Forward pass: {} ms.", g(mean(&self.forward))),
            ),
            (
                "caffe.cpp:410",
                format!("Average Backward pass: {} ms.", g(mean(&self.backward))),
            ),
            (
                "caffe.cpp:412",
                format!("Average Forward-Backward: {} ms.", per(total)),
            ),
            ("caffe.cpp:414", format!("Total Time: {} ms.", g(total))),
            ("caffe.cpp:415", "*** Benchmark ends ***".to_owned()),
        ] {
            ui.log(tag, &text);
        }
    }

    fn report(&self, net: &Net, costs: &[Cost]) -> String {
        let both: Vec<f64> = self
            .forward
            .iter()
            .zip(&self.backward)
            .map(|(a, b)| a + b)
            .collect();
        let total = summary(&both).median;
        let mut table = Table::new(
            3,
            &[
                "layer", "type", "pass", "min ms", "median", "max", "GFLOP/s", "share",
            ],
        );
        for (i, node) in net.graph().nodes.iter().enumerate() {
            let cost = costs.get(i).copied().unwrap_or_default();
            for (pass, (name, flops)) in [("forward", cost.forward), ("backward", cost.backward)]
                .into_iter()
                .enumerate()
            {
                if !self.layers[i][pass].is_empty() {
                    let cells = [
                        node.name.to_string(),
                        node.kind.name.to_owned(),
                        name.to_owned(),
                    ];
                    table.row(row(cells, &self.layers[i][pass], flops, total));
                }
            }
        }
        let sum = |pick: fn(&Cost) -> u64| costs.iter().map(pick).sum::<u64>();
        let (forward, backward) = (sum(|c| c.forward), sum(|c| c.backward));
        for (name, times, flops) in [
            ("forward", &self.forward, forward),
            ("backward", &self.backward, backward),
            ("both", &both, forward + backward),
        ] {
            let cells = ["total".to_owned(), String::new(), name.to_owned()];
            table.row(row(cells, times, flops, total));
        }
        table.to_string()
    }
}

fn row(names: [String; 3], times: &[f64], flops: u64, total: f64) -> Vec<String> {
    let Summary { min, median, max } = summary(times);
    let speed = match flops {
        0 => String::new(),
        // A time of 0 is one that the clock could not see.
        _ if median <= 0.0 => String::new(),
        flops => format!("{:.2}", flops as f64 / median / 1e6),
    };
    let share = if total > 0.0 {
        100.0 * median / total
    } else {
        0.0
    };
    let ms = |x: f64| format!("{x:.3}");
    let mut cells = names.to_vec();
    cells.extend([ms(min), ms(median), ms(max), speed, format!("{share:.1} %")]);
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
        let cells = row(names, &[2.0, 1.0, 3.0], 4_000_000, 8.0);
        assert_eq!(
            cells,
            ["a", "b", "c", "1.000", "2.000", "3.000", "2.00", "25.0 %"]
        );
    }
}
