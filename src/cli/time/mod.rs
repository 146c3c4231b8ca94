//! `time`: how long each layer takes, forward and backward, or each whole step of a solver.

mod json;
mod timing;

use std::time::{Duration, Instant};

use super::{
    args::{Args, Flag},
    command::{Command, Status},
    nets::{self, Loaded, Wish},
    run::feed::Feed,
    ui::Ui,
};
use crate::{
    error::{Error, ErrorKind, Result},
    events::{Event, Observer},
    graph::{Node, NodeId},
    kernels::gemm,
    load,
    model_io::npz,
    net::{Keep, Net},
    number::g,
    params::Params,
    rng,
    schema::Phase,
    solver::{Action, Solver, SolverOptions},
    tensor::Tensor,
};
use timing::{Figures, Timing};

/// The row of the table.
pub(super) const COMMAND: Command = Command {
    name: "time",
    about: "measure each layer of a net, forward and backward, or a solver's steps",
    flags: &[
        nets::MODEL,
        Flag::value(
            "solver",
            "FILE",
            "Measure whole steps of this solver instead: forward, backward and update; tests and snapshots are left out",
        ),
        nets::WEIGHTS,
        nets::ITERATIONS,
        Flag::switch(
            "forward_only",
            "Measure a net made for forward alone, in phase TEST unless --phase says otherwise",
        ),
        Flag::value(
            "input",
            "[BLOB=]FILE",
            "What to feed instead of noise: .npz, .npy, .png or .jpg; may be repeated",
        )
        .many(),
        Flag::value(
            "output",
            "FILE",
            "Write the net's outputs after the last pass to this .npz",
        ),
        Flag::value(
            "json",
            "FILE",
            "Write the figures as one JSON object; - for standard output, in place of the table",
        ),
        nets::PHASE,
        nets::LEVEL,
        nets::STAGE,
        nets::SHAPE,
        nets::SEED,
        nets::EXACT,
        nets::PRECISION,
        nets::CALIBRATION,
    ],
    examples: "  cortado time --model=train_val.prototxt --iterations=20\n  cortado time --model=deploy.prototxt --forward_only --threads=1\n  cortado time --solver=solver.prototxt --iterations=20 --json=times.json",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let iterations = args.count("iterations", 50)?;
    ui.log("caffe.cpp:347", "Use CPU.");
    if args.path("solver").is_some() {
        steps(args, iterations, ui)
    } else {
        passes(args, iterations, ui)
    }
}

/// Forward, and backward unless it is not wanted, of `--model`.
fn passes(args: &Args, iterations: usize, ui: &mut Ui) -> Result<Status> {
    let example = "time --model=train_val.prototxt";
    let backward = !args.switch("forward_only");
    let wish = Wish {
        phase: if backward { Phase::Train } else { Phase::Test },
        own_state: false,
        backward,
        keep: Keep::Outputs,
        wanted: Vec::new(),
        frozen: true,
    };
    let Loaded {
        mut net,
        mut params,
    } = nets::load(args, &wish, example, ui)?;
    fill(args, &mut net)?;
    ui.log("caffe.cpp:351", "Performing Forward");
    let mut losses = vec![net.forward(&mut params)?];
    ui.log("caffe.cpp:356", &format!("Initial loss: {}", g(losses[0])));
    if backward {
        ui.log("caffe.cpp:357", "Performing Backward");
        net.backward(&mut params)?;
    }
    begin(iterations, ui);
    let mut timing = Timing::new(net.graph().nodes.len(), backward);
    net.profile(true);
    let bar = ui.bar("time", iterations as u64);
    let start = Instant::now();
    for i in 0..iterations {
        if backward {
            params.clear_grads();
        }
        let begin = Instant::now();
        losses.push(net.forward(&mut params)?);
        let middle = Instant::now();
        if backward {
            net.backward(&mut params)?;
        }
        let end = Instant::now();
        timing.pass(middle - begin, end - middle);
        timing.layers(&net);
        let what = if backward {
            "forward-backward"
        } else {
            "forward"
        };
        let text = format!(
            "Iteration: {} {what} time: {} ms.",
            i + 1,
            g(milliseconds(end - begin))
        );
        ui.log("caffe.cpp:394", &text);
        bar.inc(1);
    }
    bar.finish_and_clear();
    timing.log(&net, milliseconds(start.elapsed()), iterations, ui);
    finish(args, &net, &params, &timing, &losses, ui)
}

/// Whole steps of `--solver`.
fn steps(args: &Args, iterations: usize, ui: &mut Ui) -> Result<Status> {
    for flag in ["model", "phase", "precision"] {
        if args.text(flag).is_some() {
            return Err(Error::new(
                ErrorKind::Param,
                format!("both --solver and --{flag} were given"),
            )
            .help("give a solver to measure its steps, or a net to measure its passes"));
        }
    }
    if args.switch("forward_only") {
        return Err(Error::new(
            ErrorKind::Param,
            "a solver's step is forward, backward and update, and --forward_only was given",
        )
        .help("give the net with --model to measure forward alone"));
    }
    let file = args.need(
        "solver",
        "a solver's definition",
        "time --solver=solver.prototxt",
    )?;
    let load = nets::options(args)?;
    let mut param = load::solver(&file, load, ui)?;
    param.test_iter.clear();
    param.test_net.clear();
    param.test_net_param.clear();
    param.test_state.clear();
    param.test_interval = None;
    param.snapshot = None;
    param.display = None;
    param.average_loss = Some(1);
    if let Some(weights) = args.text("weights") {
        param.weights = vec![weights];
    }
    let passes = param.iter_size().max(1) as u32;
    let options = SolverOptions {
        seed: args.number("seed")?,
        load,
        level: args.number("level")?.unwrap_or(0),
        stages: args.list("stage"),
        ..SolverOptions::default()
    };
    let mut solver = Solver::new(param, options, ui)?;
    fill(args, &mut solver.net)?;
    let step = |solver: &mut Solver| solver.step(1, &mut || Action::Continue, &mut Quiet);
    let mut losses = vec![step(&mut solver)?];
    ui.log("caffe.cpp:356", &format!("Initial loss: {}", g(losses[0])));
    begin(iterations, ui);
    let mut timing = Timing::new(solver.net.graph().nodes.len(), true);
    solver.net.profile(true);
    let bar = ui.bar("time", iterations as u64);
    let start = Instant::now();
    for i in 0..iterations {
        let begin = Instant::now();
        losses.push(step(&mut solver)?);
        let took = begin.elapsed();
        timing.layers(&solver.net);
        timing.step(took, passes);
        let text = format!(
            "Iteration: {} step time: {} ms.",
            i + 1,
            g(milliseconds(took))
        );
        ui.log("caffe.cpp:394", &text);
        bar.inc(1);
    }
    bar.finish_and_clear();
    timing.log(&solver.net, milliseconds(start.elapsed()), iterations, ui);
    finish(args, &solver.net, &solver.params, &timing, &losses, ui)
}

fn begin(iterations: usize, ui: &mut Ui) {
    ui.log("caffe.cpp:365", "*** Benchmark begins ***");
    ui.log(
        "caffe.cpp:366",
        &format!("Testing for {iterations} iterations."),
    );
}

/// The table, the JSON object and the outputs.
fn finish(
    args: &Args,
    net: &Net,
    params: &Params,
    timing: &Timing,
    losses: &[f32],
    ui: &mut Ui,
) -> Result<Status> {
    // Before the peak is measured, and before anything is written.
    let memory = json::peak_memory();
    if let Some(path) = args.path("output") {
        let outputs = net.output_values().map(|(name, _, view)| (name, view));
        npz::write_npz(&path, outputs, false)?;
    }
    let figures = Figures {
        timing,
        costs: net
            .graph()
            .nodes
            .iter()
            .enumerate()
            .map(|(i, node)| cost(net, params, i, node))
            .collect(),
        peak: gemm::peak(),
    };
    let Some(target) = args.path("json") else {
        ui.print(&figures.table(net))?;
        return Ok(Status::Done);
    };
    let text = json::object(net, &figures, losses, memory);
    if target.as_os_str() == "-" {
        ui.print(&text)?;
    } else {
        std::fs::write(&target, text).map_err(|e| Error::io("write", &target, &e))?;
        ui.print(&figures.table(net))?;
    }
    Ok(Status::Done)
}

/// Sets the net's inputs: to what `--input` names, else to noise.
fn fill(args: &Args, net: &mut Net) -> Result<()> {
    if args.all("input").is_empty() {
        noise(net)
    } else {
        Feed::open(args, net)?.next(net)
    }
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

fn milliseconds(time: Duration) -> f64 {
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

/// Says nothing of the steps that are measured.
struct Quiet;

impl Observer for Quiet {
    fn on(&mut self, _: &Event<'_>) {}
}
