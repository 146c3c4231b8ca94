//! `test`: scores a net over some batches, each output averaged.

use super::{
    args::Args,
    command::{Command, Status},
    figures, glog, metrics,
    nets::{self, Loaded, Wish},
    record::{self, Named, Recording},
    ui::Ui,
};
use std::path::PathBuf;

use crate::number::g;
use crate::{
    error::{Error, ErrorKind, Result},
    events::{Event, Observer as _},
    journal::{
        figures::{Test, detections},
        line::{Head, Output},
    },
    net::Net,
    watch::{Detections, Scores, heads},
};

/// The row of the table.
pub(super) const COMMAND: Command = Command {
    name: "test",
    about: "score a net with its weights on the data it reads",
    flags: &[
        nets::MODEL,
        nets::WEIGHTS,
        nets::ITERATIONS,
        nets::LEVEL,
        nets::STAGE,
        nets::SEED,
        nets::EXACT,
        nets::PRECISION,
        nets::CALIBRATION,
        metrics::NO_METRICS,
        metrics::METRICS_JSON,
        metrics::CLASS_NAMES,
        metrics::AP_VERSION,
        record::LOG_JSON,
    ],
    examples: "  cortado test --model=train_val.prototxt --weights=snap_iter_1000.caffemodel --iterations=100\n  cortado test --model=train_val.prototxt --weights=final.caffemodel --precision=int8 --calibration=final.calibration",
    run,
};

/// More values than this are summed up on a terminal.
const MANY: usize = 16;

/// An output: its blob, its loss weight, the sums of its values over the batches.
struct Score {
    blob: String,
    weight: f32,
    sums: Vec<f32>,
    /// Rows of what was found, not values that have a mean.
    rows: bool,
}

/// What is told beyond Caffe's means.
struct Figures {
    scores: Scores,
    detections: Detections,
}

impl Figures {
    fn add(&mut self, net: &Net) -> Result<()> {
        self.scores.add(net);
        self.detections.add(net)
    }

    /// Tells them and writes them where that is wanted.
    fn tell(
        mut self,
        means: Vec<Output>,
        wanted: &metrics::Wanted,
        recording: &Recording,
        ui: &mut Ui,
    ) -> Result<()> {
        // The log hears of them as events, and the record with it; on a terminal they are a result.
        let say = |event: &Event<'_>, ui: &mut Ui| match ui.is_log() {
            true => ui.on(event),
            false => recording.tell(event),
        };
        let heads = self.scores.take();
        let found = self.detections.take();
        if let Some(words) = self.scores.unused_names(&heads) {
            ui.warn(&words);
        }
        let mut test = Test {
            outputs: means,
            heads: heads.iter().map(Head::from).collect(),
            ..Test::default()
        };
        let mut text = String::new();
        if !heads.is_empty() {
            let (iteration, net) = (0, 0);
            let event = Event::Metrics {
                iteration,
                net,
                heads: &heads,
            };
            say(&event, ui);
            for head in &heads {
                text += &format!("\n{}\n", figures::head(head).join("\n"));
            }
        }
        for found in &found {
            let (mean, classes) = (f64::from(found.mean), found.figures());
            let event = Event::Precision {
                iteration: 0,
                net: 0,
                blob: &found.blob,
                mean,
                classes: &classes,
            };
            say(&event, ui);
            let lines = figures::precision(&found.blob, mean, &classes);
            text += &format!("\n{}\n", lines.join("\n"));
            test.detections
                .push(detections(&found.blob, mean, &classes));
        }
        wanted.write(&test)?;
        if ui.is_log() || text.is_empty() {
            Ok(())
        } else {
            ui.print(&text)
        }
    }
}

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let example = "test --model=train_val.prototxt --weights=final.caffemodel";
    let iterations = args.count("iterations", 50)?;
    let model = args.need("model", "a net's definition", example)?;
    args.need("weights", "the weights to score", example)?;
    let named = Named {
        name: &record::name_of(None, &model),
        file: &model,
        folder: None,
        go_on: false,
    };
    let recording = Recording::start(args, named, ui)?;
    let result = test(args, iterations, example, &recording, ui);
    recording.end(result.as_ref().err(), ui);
    result
}

fn test(
    args: &Args,
    iterations: usize,
    example: &str,
    recording: &Recording,
    ui: &mut Ui,
) -> Result<Status> {
    let wanted = metrics::Wanted::of(args)?;
    let version = metrics::version(args)?;
    ui.log("caffe.cpp:275", "Use CPU.");
    let wish = Wish::test(true);
    let also = wanted.on.then_some(heads::wanted as fn(&_) -> _);
    let Loaded {
        mut net,
        mut params,
    } = nets::load_keeping(args, &wish, also, example, ui)?;
    let map = heads::label_map(heads::layers(&net)).map(PathBuf::from);
    let mut figures = Figures {
        scores: Scores::new(metrics::class_names(args, map)?),
        detections: Detections::new(version),
    };
    if !net.inputs().is_empty() {
        ui.warn(&format!(
            "the net has inputs that nothing feeds here ({}): they stay zero; 'run' feeds them",
            net.inputs().join(", ")
        ));
    }
    ui.log(
        "caffe.cpp:281",
        &format!("Running for {iterations} iterations."),
    );
    let mut scores: Vec<Score> = Vec::new();
    let mut loss = 0.0f32;
    let bar = ui.bar("test", iterations as u64);
    for i in 0..iterations {
        loss += net.forward(&mut params)?;
        add(&mut scores, &net, i, ui)?;
        if wanted.on {
            figures.add(&net)?;
        }
        bar.inc(1);
        bar.set_message(format!("loss {}", g(loss / (i + 1) as f32)));
        if ui.gone() {
            return Ok(Status::Done);
        }
    }
    bar.finish_and_clear();
    write_down(&scores, iterations, recording);
    let means = report(&scores, loss, iterations, ui)?;
    if wanted.on {
        figures.tell(means, &wanted, recording, ui)?;
    }
    Ok(Status::Done)
}

/// The means, for the record.
fn write_down(scores: &[Score], iterations: usize, recording: &Recording) {
    recording.tell(&Event::Testing {
        iteration: 0,
        net: 0,
    });
    let mut index = 0;
    for score in scores.iter().filter(|score| !score.rows) {
        for sum in &score.sums {
            recording.tell(&Event::TestOutput {
                net: 0,
                index,
                blob: &score.blob,
                value: sum / iterations as f32,
                loss_weight: score.weight,
            });
            index += 1;
        }
    }
}

/// Adds and tells the outputs of batch `i`.
fn add(scores: &mut Vec<Score>, net: &Net, i: usize, ui: &mut Ui) -> Result<()> {
    for (at, (blob, weight, view)) in net.output_values().enumerate() {
        if i == 0 {
            scores.push(Score {
                blob: blob.to_owned(),
                weight,
                sums: vec![0.0; view.data.len()],
                rows: has_rows(net, blob),
            });
        }
        let Some(score) = scores.get_mut(at) else {
            return Err(resized("an output"));
        };
        if score.sums.len() != view.data.len() {
            if !score.rows {
                return Err(resized(blob));
            }
            // There is no mean of them, and none is missed.
            score.sums.clear();
        }
        for (sum, &value) in score.sums.iter_mut().zip(view.data) {
            // In f32 and in this order, as Caffe does: the same digits come out.
            *sum += value;
        }
        for &value in view.data {
            let text = format!("Batch {i}, {blob} = {}", g(value));
            ui.log("caffe.cpp:304", &text);
        }
    }
    Ok(())
}

/// Whether a blob is the top of a DetectionEvaluate.
fn has_rows(net: &Net, blob: &str) -> bool {
    let graph = net.graph();
    let value = graph.latest(blob).map(|id| graph.value(id));
    value.is_some_and(|value| graph.node(value.producer).kind.name == "DetectionEvaluate")
}

fn resized(blob: &str) -> Error {
    Error::new(
        ErrorKind::Data,
        format!("{blob} changed its size between two batches, so there is no mean of it"),
    )
    .help("use a batch size that divides the number of records, or test on images of one size")
}

/// Tells the means, and returns them.
fn report(scores: &[Score], loss: f32, iterations: usize, ui: &mut Ui) -> Result<Vec<Output>> {
    let n = iterations as f32;
    ui.log("caffe.cpp:309", &format!("Loss: {}", g(loss / n)));
    let mut text = format!("mean over {iterations} batches\nloss {}\n", g(loss / n));
    let mut means = Vec::new();
    for score in scores {
        for &sum in &score.sums {
            let line = glog::output(&score.blob, sum / n, score.weight);
            ui.log("caffe.cpp:321", &line);
            if score.rows {
                continue;
            }
            if score.sums.len() <= MANY {
                text += &format!("{line}\n");
            }
            means.push(Output {
                blob: score.blob.clone(),
                value: Some(f64::from(sum / n)).filter(|x| x.is_finite()),
                weight: score.weight.into(),
            });
        }
        if score.sums.len() > MANY && !score.rows {
            let sums = score.sums.iter().map(|&sum| f64::from(sum / n));
            let mean = sums.sum::<f64>() / score.sums.len() as f64;
            text += &format!(
                "{}: {} values, mean {}\n",
                score.blob,
                score.sums.len(),
                g(mean)
            );
        }
    }
    if !ui.is_log() {
        ui.print(&text)?;
    }
    Ok(means)
}
