//! `test`: scores a net over some batches, each output averaged.

use super::{
    args::Args,
    command::{Command, Status},
    glog,
    nets::{self, Loaded, Wish},
    record::{self, Named, Recording},
    ui::Ui,
};
use crate::number::g;
use crate::{
    error::{Error, ErrorKind, Result},
    events::Event,
    net::Keep,
    schema::Phase,
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
        record::LOG_JSON,
    ],
    examples: "  cortado test --model=train_val.prototxt --weights=snap_iter_1000.caffemodel --iterations=100\n  cortado test --model=train_val.prototxt --weights=final.caffemodel --precision=int8 --calibration=final.calibration",
    run,
};

/// More values than this are summed up on a terminal.
const MANY: usize = 16;

/// An output value: its blob, its loss weight, its sum over the batches.
struct Score {
    blob: String,
    weight: f32,
    sum: f32,
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
    ui.log("caffe.cpp:275", "Use CPU.");
    let wish = Wish {
        phase: Phase::Test,
        own_state: false,
        backward: false,
        keep: Keep::Outputs,
        wanted: Vec::new(),
        frozen: true,
    };
    let Loaded {
        mut net,
        mut params,
    } = nets::load(args, &wish, example, ui)?;
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
        let mut at = 0;
        for (blob, weight, view) in net.output_values() {
            for &value in view.data {
                if i == 0 {
                    scores.push(Score {
                        blob: blob.to_owned(),
                        weight,
                        sum: 0.0,
                    });
                }
                let score = scores
                    .get_mut(at)
                    .filter(|s| s.blob == blob)
                    .ok_or_else(|| resized(blob))?;
                // In f32 and in this order, as Caffe does: the same digits come out.
                score.sum += value;
                at += 1;
                ui.log(
                    "caffe.cpp:304",
                    &format!("Batch {i}, {blob} = {}", g(value)),
                );
            }
        }
        if at != scores.len() {
            return Err(resized("an output"));
        }
        bar.inc(1);
        bar.set_message(format!("loss {}", g(loss / (i + 1) as f32)));
        if ui.gone() {
            return Ok(Status::Done);
        }
    }
    bar.finish_and_clear();
    write_down(&scores, iterations, recording);
    report(&scores, loss, iterations, ui)?;
    Ok(Status::Done)
}

/// The means, for the record.
fn write_down(scores: &[Score], iterations: usize, recording: &Recording) {
    recording.tell(&Event::Testing {
        iteration: 0,
        net: 0,
    });
    for (index, score) in scores.iter().enumerate() {
        recording.tell(&Event::TestOutput {
            net: 0,
            index,
            blob: &score.blob,
            value: score.sum / iterations as f32,
            loss_weight: score.weight,
        });
    }
}

fn resized(blob: &str) -> Error {
    Error::new(
        ErrorKind::Data,
        format!("{blob} changed its size between two batches, so there is no mean of it"),
    )
    .help("use a batch size that divides the number of records, or test on images of one size")
}

fn report(scores: &[Score], loss: f32, iterations: usize, ui: &mut Ui) -> Result<()> {
    let n = iterations as f32;
    ui.log("caffe.cpp:309", &format!("Loss: {}", g(loss / n)));
    let mut text = format!("mean over {iterations} batches\nloss {}\n", g(loss / n));
    for group in scores.chunk_by(|a, b| a.blob == b.blob) {
        for score in group {
            let line = glog::output(&score.blob, score.sum / n, score.weight);
            ui.log("caffe.cpp:321", &line);
            if group.len() <= MANY {
                text += &format!("{line}\n");
            }
        }
        if group.len() > MANY {
            let mean = group.iter().map(|s| f64::from(s.sum / n)).sum::<f64>() / group.len() as f64;
            text += &format!(
                "{}: {} values, mean {}\n",
                group[0].blob,
                group.len(),
                g(mean)
            );
        }
    }
    if ui.is_log() { Ok(()) } else { ui.print(&text) }
}
