//! From events to lines.

use std::{
    collections::VecDeque,
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    Line,
    clock::utc,
    figures,
    forms::{self, short},
    line,
};
use crate::{
    error::Result,
    events::{Event, Observer},
    metrics::Worst,
    model_io::crc32c,
    schema::{LayerParameter, Phase},
};

/// A picture that a line names.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// The name of its file, without a folder.
    pub name: &'a str,
    /// The picture.
    pub png: &'a [u8],
}

/// Where lines go.
pub trait Sink: Send {
    /// Writes a line, and the pictures that it names, in their order.
    ///
    /// # Errors
    /// Where it cannot be written.
    fn write(&mut self, line: &Line, pictures: &[Picture<'_>]) -> Result<()>;

    /// Whether it puts pictures where the lines say that they are.
    fn keeps_pictures(&self) -> bool {
        false
    }

    /// Whether it has any use for pictures.
    fn takes_pictures(&self) -> bool {
        self.keeps_pictures()
    }
}

/// Outputs of one line at most; a net may end in a map.
const OUTPUTS: usize = 64;
/// Steps that are told at once before they are thinned out.
const BURST: f64 = 200.0;
/// Steps a second after that.
const STEPS: f64 = 4.0;

/// Writes down what happens. It is an observer.
pub struct Journal {
    sinks: Vec<Output>,
    clock: Box<dyn FnMut() -> Duration + Send>,
    /// What is told first, and what came before it was known.
    first: Option<(Line, Vec<Line>)>,
    net: Option<BuiltNet>,
    /// Phase and index of the net that is built next.
    next: (Phase, usize),
    train: Option<Line>,
    test: Option<Line>,
    model: Option<PathBuf>,
    /// The last step, where it was left out, and steps that may still be told at once.
    step: Option<Line>,
    left: f64,
    filled: Duration,
    iteration: u64,
    early: bool,
    ended: bool,
    troubles: Vec<String>,
}

struct Output {
    sink: Box<dyn Sink>,
    /// It failed, and that was told.
    failed: bool,
}

/// A net while its layers are told.
struct BuiltNet {
    name: String,
    phase: Phase,
    index: usize,
    /// Layers of the message that were not told yet.
    declared: VecDeque<LayerParameter>,
    nodes: Vec<line::Node>,
}

impl Journal {
    /// A journal of what `name` calls the run and `solver` its file, beginning now.
    pub fn new(name: &str, solver: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let start = Instant::now();
        let first = Line::Run {
            version: 1,
            program: format!("cortado {}", env!("CARGO_PKG_VERSION")),
            name: name.to_owned(),
            solver: solver.to_owned(),
            started: utc(now.unwrap_or_default()),
            max_iter: 0,
            seed: None,
            display: 0,
            test_interval: 0,
        };
        Self {
            sinks: Vec::new(),
            clock: Box::new(move || start.elapsed()),
            first: Some((first, Vec::new())),
            net: None,
            next: (Phase::Test, 0),
            train: None,
            test: None,
            model: None,
            step: None,
            left: BURST,
            filled: Duration::ZERO,
            iteration: 0,
            early: false,
            ended: false,
            troubles: Vec::new(),
        }
    }

    /// Writes to this, too.
    #[must_use]
    pub fn to(mut self, sink: impl Sink + 'static) -> Self {
        self.sinks.push(Output {
            sink: Box::new(sink),
            failed: false,
        });
        self
    }

    /// Takes the time since the run began from `clock`.
    #[must_use]
    pub fn timed_by(mut self, clock: impl FnMut() -> Duration + Send + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// What could not be written since the last call, in words; each sink complains once.
    pub fn take_troubles(&mut self) -> Vec<String> {
        std::mem::take(&mut self.troubles)
    }

    /// The last line: how the run ended. Later calls do nothing.
    pub fn finish(&mut self, error: Option<&str>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.begin();
        self.flush();
        if let Some(step) = self.step.take() {
            self.put(&step, &[]);
        }
        let line = Line::End {
            t: self.now(),
            iteration: self.iteration,
            early: self.early,
            error: error.map(str::to_owned),
        };
        self.put(&line, &[]);
    }

    fn now(&mut self) -> f64 {
        millis((self.clock)())
    }

    /// Hands a line to every sink.
    fn put(&mut self, line: &Line, pictures: &[Picture<'_>]) {
        for output in &mut self.sinks {
            if let Err(error) = output.sink.write(line, pictures) {
                if !output.failed {
                    let text = format!("the record of the run is not whole: {error}");
                    self.troubles.push(text);
                }
                output.failed = true;
            }
        }
    }

    /// A line after everything that comes before it.
    fn tell(&mut self, line: Line) {
        self.tell_with(&line, &[]);
    }

    fn tell_with(&mut self, line: &Line, pictures: &[Picture<'_>]) {
        self.begin();
        self.flush();
        self.put(line, pictures);
    }

    /// Tells the first line, and what waited for it.
    fn begin(&mut self) {
        if let Some((first, waiting)) = self.first.take() {
            self.put(&first, &[]);
            for line in &waiting {
                self.put(line, &[]);
            }
        }
    }

    /// Tells lines that were being collected, as far as there is anything in them.
    fn flush(&mut self) {
        for line in [self.train.take(), self.test.take()].into_iter().flatten() {
            match &line {
                Line::Test { outputs, .. } if outputs.is_empty() => self.test = Some(line),
                _ => self.put(&line, &[]),
            }
        }
    }

    fn log(&mut self, level: &str, text: String) {
        let line = Line::Log {
            t: self.now(),
            level: level.to_owned(),
            text,
        };
        match &mut self.first {
            Some((_, waiting)) => waiting.push(line),
            // Does not end what is being collected.
            None => self.put(&line, &[]),
        }
    }

    /// A step, unless there were too many of late.
    fn step(&mut self, iteration: u64, loss: f32, rate: f32) {
        self.begin();
        self.flush();
        let now = (self.clock)();
        let passed = now.saturating_sub(self.filled).as_secs_f64();
        self.filled = now;
        self.left = (self.left + passed * STEPS).min(BURST);
        let line = Line::Step {
            t: millis(now),
            iteration,
            loss: short(loss),
            rate: short(rate),
        };
        if self.left >= 1.0 {
            self.left -= 1.0;
            self.step = None;
            self.put(&line, &[]);
        } else {
            self.step = Some(line);
        }
    }

    fn layer(&mut self, event: &Event<'_>) {
        let (
            Some(net),
            Event::Layer {
                name,
                kind,
                tops,
                params,
                flops,
                ..
            },
        ) = (&mut self.net, event)
        else {
            return;
        };
        // Layers that the file does not have were inserted.
        let declared = |l: &LayerParameter| l.name() == *name && l.r#type() == *kind;
        if !net.declared.front().is_some_and(declared) {
            return;
        }
        let Some(layer) = net.declared.pop_front() else {
            return;
        };
        net.nodes.push(line::Node {
            name: (*name).to_owned(),
            kind: (*kind).to_owned(),
            bottoms: layer.bottom,
            tops: tops.iter().map(forms::top).collect(),
            params: params.iter().map(|shape| shape.dims().to_vec()).collect(),
            flops: (*flops > 0).then_some(*flops),
        });
    }

    fn picture(&mut self, event: &Event<'_>) {
        let &Event::Picture {
            iteration,
            role,
            blob,
            sample,
            key,
            channel,
            caption,
            range,
            png,
        } = event
        else {
            return;
        };
        let last = channel.map_or_else(|| role.name().to_owned(), |c| c.to_string());
        let name = format!("{iteration}_{}_{sample}_{last}.png", file_name(blob));
        let line = Line::Picture {
            t: self.now(),
            iteration,
            role: role.name().to_owned(),
            blob: blob.to_owned(),
            sample,
            key: key.to_owned(),
            channel,
            caption: caption.to_owned(),
            file: self.place(&name),
            png: None,
            low: range.and_then(|[low, _]| short(low)),
            high: range.and_then(|[_, high]| short(high)),
        };
        let picture = Picture { name: &name, png };
        self.tell_with(&line, &[picture]);
    }

    fn worst(&mut self, iteration: u64, net: usize, worst: &[Worst]) {
        let t = self.now();
        let name = |i: usize| format!("worst_{iteration}_{net}_{i}.png");
        let names: Vec<String> = (0..worst.len()).map(name).collect();
        let samples = worst.iter().zip(&names).map(|(sample, name)| line::Sample {
            key: sample.key.clone(),
            loss: short(sample.loss),
            truth: sample.truth.clone(),
            answer: sample.answer.clone(),
            picture: sample.png.as_ref().and_then(|_| self.place(name)),
            png: None,
        });
        let line = Line::Worst {
            t,
            iteration,
            net,
            samples: samples.collect(),
        };
        let pictures: Vec<Picture<'_>> = worst
            .iter()
            .zip(&names)
            .filter_map(|(sample, name)| {
                let png = sample.png.as_ref()?;
                Some(Picture { name, png })
            })
            .collect();
        self.tell_with(&line, &pictures);
    }

    /// Where a picture of this name will be, from the run's folder.
    fn place(&self, name: &str) -> Option<String> {
        let kept = self.sinks.iter().any(|o| o.sink.keeps_pictures());
        kept.then(|| format!("{}/{name}", super::PICTURES))
    }
}

/// Seconds with three digits behind the point.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e3).round() / 1e3
}

/// A blob's name as a part of a file's name; what is lost by that, a checksum stands for.
fn file_name(blob: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let mut name: String = blob
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    if name != blob || name.len() > 60 {
        name.truncate(60);
        name += &format!("-{:08x}", crc32c::masked(&[blob.as_bytes()]));
    }
    name
}

fn output(blob: &str, value: f32, weight: f32) -> line::Output {
    line::Output {
        blob: blob.to_owned(),
        value: short(value),
        weight: short(weight).unwrap_or(0.0),
    }
}

impl Observer for Journal {
    fn on(&mut self, event: &Event<'_>) {
        match *event {
            Event::Warning(text) => self.log("warning", text.to_owned()),
            Event::Note(text) => self.log("info", text.to_owned()),
            Event::Fused { summary } => self.log("info", format!("rewritten for TEST: {summary}")),
            Event::Clipped { .. }
            | Event::Debug { .. }
            | Event::LayerSkipped { .. }
            | Event::LayerBackward { .. }
            | Event::NetOutput { .. }
            | Event::SolverReady { .. }
            | Event::TestStep { .. }
            | Event::TestLoss { .. } => {}
            Event::SolverInit { solver } => {
                if let Some((
                    Line::Run {
                        max_iter,
                        display,
                        test_interval,
                        ..
                    },
                    _,
                )) = &mut self.first
                {
                    *max_iter = u64::try_from(solver.max_iter()).unwrap_or(0);
                    *display = u64::try_from(solver.display()).unwrap_or(0);
                    *test_interval = u64::try_from(solver.test_interval()).unwrap_or(0);
                }
            }
            Event::Seed { seed: told } => {
                if let Some((Line::Run { seed, .. }, _)) = &mut self.first {
                    *seed = Some(told);
                }
                self.begin();
            }
            Event::TrainNet { .. } => self.next = (Phase::Train, 0),
            Event::TestNet { index, .. } => self.next = (Phase::Test, index),
            Event::NetInit { net } => {
                let (phase, index) = self.next;
                self.net = Some(BuiltNet {
                    name: net.name().to_owned(),
                    phase,
                    index,
                    declared: net.layer.iter().cloned().collect(),
                    nodes: Vec::new(),
                });
            }
            Event::Layer { .. } => self.layer(event),
            Event::NetReady { .. } => {
                if let Some(net) = self.net.take() {
                    self.tell(Line::Net {
                        phase: net.phase.as_str_name().to_owned(),
                        index: net.index,
                        name: net.name,
                        nodes: net.nodes,
                    });
                }
            }
            Event::Weights {
                file,
                copied,
                untouched,
                ..
            } => {
                let text = format!("weights from {}: {copied} blobs", file.display());
                self.log("info", text);
                if !untouched.is_empty() {
                    let text = format!(
                        "{} has no weights for {}: they start from their fillers",
                        file.display(),
                        untouched.join(", ")
                    );
                    self.log("warning", text);
                }
            }
            Event::Resume { file, iteration } => {
                self.iteration = iteration;
                let text = format!("goes on from {}, iteration {iteration}", file.display());
                self.log("info", text);
            }
            Event::TrainStart => {}
            Event::Iteration {
                iteration, loss, ..
            } => {
                let line = Line::Train {
                    t: self.now(),
                    iteration,
                    loss: short(loss),
                    rate: None,
                    outputs: Vec::new(),
                };
                self.begin();
                self.flush();
                self.train = Some(line);
            }
            Event::TrainOutput {
                blob,
                value,
                loss_weight,
                ..
            } => {
                if let Some(Line::Train { outputs, .. }) = &mut self.train
                    && outputs.len() < OUTPUTS
                {
                    outputs.push(output(blob, value, loss_weight));
                }
            }
            Event::Rate { rate, .. } => {
                if let Some(Line::Train { rate: told, .. }) = &mut self.train {
                    *told = short(rate);
                }
                self.flush();
            }
            Event::FinalLoss { iteration, loss } => {
                let line = Line::Train {
                    t: self.now(),
                    iteration,
                    loss: short(loss),
                    rate: None,
                    outputs: Vec::new(),
                };
                self.tell(line);
            }
            Event::Step {
                iteration,
                loss,
                rate,
                ..
            } => {
                self.iteration = iteration;
                self.step(iteration, loss, rate);
            }
            Event::Testing { iteration, net } => {
                let line = Line::Test {
                    t: self.now(),
                    iteration,
                    net,
                    outputs: Vec::new(),
                };
                self.begin();
                self.flush();
                self.test = Some(line);
            }
            Event::TestOutput {
                blob,
                value,
                loss_weight,
                ..
            } => {
                let now = self.now();
                if let Some(Line::Test { t, outputs, .. }) = &mut self.test
                    && outputs.len() < OUTPUTS
                {
                    *t = now;
                    outputs.push(output(blob, value, loss_weight));
                }
            }
            Event::SnapshotModel { file } => self.model = Some(file.to_owned()),
            // The state is written when the model stands.
            Event::SnapshotState { .. } => {
                if let Some(model) = self.model.take() {
                    let line = Line::Snapshot {
                        t: self.now(),
                        iteration: self.iteration,
                        file: model.display().to_string(),
                    };
                    self.tell(line);
                }
            }
            Event::TrainDone { early } => {
                self.early = early;
                self.flush();
            }
            Event::Metrics {
                iteration,
                net,
                heads,
            } => {
                let line = Line::Metrics {
                    t: self.now(),
                    iteration,
                    net,
                    heads: heads.iter().map(line::Head::from).collect(),
                    detections: Vec::new(),
                };
                self.tell(line);
            }
            Event::Precision {
                iteration,
                net,
                blob,
                mean,
                classes,
            } => {
                let line = Line::Metrics {
                    t: self.now(),
                    iteration,
                    net,
                    heads: Vec::new(),
                    detections: vec![figures::detections(blob, mean, classes)],
                };
                self.tell(line);
            }
            Event::Vitals { iteration, layers } => {
                let line = Line::Vitals {
                    t: self.now(),
                    iteration,
                    layers: layers.iter().map(forms::layer).collect(),
                };
                self.tell(line);
            }
            Event::Picture { .. } => {
                if self.sinks.iter().any(|o| o.sink.takes_pictures()) {
                    self.picture(event);
                }
            }
            Event::Worst {
                iteration,
                net,
                samples,
            } => self.worst(iteration, net, samples),
            Event::Finding {
                severity,
                code,
                message,
                place,
                help,
                iteration,
            } => {
                let line = Line::Finding {
                    t: self.now(),
                    severity: severity.name().to_owned(),
                    code: code.to_owned(),
                    message: message.to_owned(),
                    place: (!place.is_empty()).then(|| place.to_owned()),
                    help: help.to_owned(),
                    iteration,
                };
                self.tell(line);
            }
            Event::Verdict { ill, lines, todo } => {
                let line = Line::Verdict {
                    t: self.now(),
                    ill,
                    lines: lines.to_vec(),
                    todo: todo.to_vec(),
                };
                self.tell(line);
            }
        }
    }
}

#[cfg(test)]
mod tests;
