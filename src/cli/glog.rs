//! Events as Caffe's log lines: glog's prefix, Caffe's words, file names and line numbers.
//!
//! Tools that read Caffe's logs look for these words; `parse_log.py` also reads the date of the prefix, month and day
//! without a year, as glog wrote it when Caffe was young. The tags are those of BVLC Caffe 9b89154.

use std::{
    io::{self, Write},
    path::Path,
    process,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::figures;
use crate::number::g;
use crate::{
    events::{Event, Observer, TopInfo},
    journal::date,
    tensor::Shape,
    text,
};

/// The tag of figures that Caffe does not tell.
const FIGURES: &str = "cortado:2";

/// How bad a line is; glog's first letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Info,
    Warning,
    Error,
}

/// Writes log lines.
pub(crate) struct Glog<W: Write = io::Stderr> {
    out: W,
    year: bool,
    /// `display` of the solver: the log names it in every iteration line.
    display: i32,
    /// Name and rate policy of what is solved.
    solving: (String, String),
    /// Nobody reads any more.
    gone: bool,
}

impl Glog {
    pub(crate) fn stderr(year: bool) -> Self {
        Self::new(io::stderr(), year)
    }
}

impl<W: Write> Glog<W> {
    pub(crate) fn new(out: W, year: bool) -> Self {
        Self {
            out,
            year,
            display: 0,
            solving: Default::default(),
            gone: false,
        }
    }

    /// Whether the reader of the log went away.
    pub(crate) fn gone(&self) -> bool {
        self.gone
    }

    /// One record; `tag` is `file:line`.
    pub(crate) fn line(&mut self, level: Level, tag: &str, text: &str) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let letter = match level {
            Level::Info => 'I',
            Level::Warning => 'W',
            Level::Error => 'E',
        };
        let record = format!(
            "{letter}{} {:>5} {tag}] {text}\n",
            stamp(now, self.year),
            process::id()
        );
        if let Err(error) = self.out.write_all(record.as_bytes()) {
            self.gone |= error.kind() == io::ErrorKind::BrokenPipe;
        }
    }

    pub(crate) fn info(&mut self, tag: &str, text: &str) {
        self.line(Level::Info, tag, text);
    }

    fn layer(&mut self, name: &str, bottoms: &[&str], tops: &[TopInfo<'_>], memory: usize) {
        self.info("layer_factory.hpp:77", &format!("Creating layer {name}"));
        self.info("net.cpp:86", &format!("Creating Layer {name}"));
        for bottom in bottoms {
            self.info("net.cpp:408", &format!("{name} <- {bottom}"));
        }
        for top in tops {
            if top.in_place {
                let text = format!("{name} -> {} (in-place)", top.name);
                self.info("net.cpp:369", &text);
            } else {
                self.info("net.cpp:382", &format!("{name} -> {}", top.name));
            }
        }
        self.info("net.cpp:124", &format!("Setting up {name}"));
        for top in tops {
            self.info("net.cpp:131", &format!("Top shape: {}", shape(&top.shape)));
            if top.loss_weight != 0.0 {
                let text = format!("    with loss weight {}", g(top.loss_weight));
                self.info("net.cpp:134", &text);
            }
        }
        self.info(
            "net.cpp:139",
            &format!("Memory required for data: {memory}"),
        );
    }
}

impl<W: Write> Observer for Glog<W> {
    fn on(&mut self, event: &Event<'_>) {
        match *event {
            Event::Warning(text) => self.line(Level::Warning, "cortado:1", text),
            Event::Note(text)
                if text.starts_with("MultiStep Status") || text.starts_with("Plateau Status") =>
            {
                self.info("sgd_solver.cpp:50", text);
            }
            Event::Note(text) => self.info("cortado:1", text),
            Event::LayerSkipped { why } => self.info(skipped_tag(why), why),
            Event::NetInit { net } => {
                let text = text::print("NetParameter", net);
                let text = format!("Initializing net from parameters: \n{}", text.trim_end());
                self.info("net.cpp:53", &text);
            }
            Event::Layer {
                name,
                bottoms,
                tops,
                memory,
                ..
            } => self.layer(name, bottoms, tops, memory),
            Event::LayerBackward { name, needed: true } => self.info(
                "net.cpp:200",
                &format!("{name} needs backward computation."),
            ),
            Event::LayerBackward { name, .. } => self.info(
                "net.cpp:202",
                &format!("{name} does not need backward computation."),
            ),
            Event::NetOutput { blob } => self.info(
                "net.cpp:244",
                &format!("This network produces output {blob}"),
            ),
            Event::NetReady { .. } => self.info("net.cpp:257", "Network initialization done."),
            Event::Fused { summary } => {
                self.info("cortado:1", &format!("Rewritten for TEST: {summary}"));
            }
            Event::SolverInit { solver } => {
                self.display = solver.display();
                let text = text::print("SolverParameter", solver);
                let text = format!("Initializing solver from parameters: \n{}", text.trim_end());
                self.info("solver.cpp:45", &text);
            }
            Event::TrainNet { file: "" } => {
                self.info(
                    "solver.cpp:97",
                    "Creating training net specified in net_param.",
                );
            }
            Event::TrainNet { file } => self.info(
                "solver.cpp:102",
                &format!("Creating training net from net file: {file}"),
            ),
            Event::TestNet { index, file } => {
                let by = match file {
                    "" => "net_param".to_owned(),
                    file => format!("net file: {file}"),
                };
                let text = format!("Creating test net (#{index}) specified by {by}");
                self.info("solver.cpp:190", &text);
            }
            Event::SolverReady { net, lr_policy, .. } => {
                self.solving = (net.to_owned(), lr_policy.to_owned());
                self.info("solver.cpp:57", "Solver scaffolding done.");
            }
            Event::Weights {
                file,
                ignored,
                untouched,
                ..
            } => {
                let text = format!("Finetuning from {}", file.display());
                self.info("solver.cpp:72", &text);
                for layer in ignored {
                    self.info("net.cpp:746", &format!("Ignoring source layer {layer}"));
                }
                if !untouched.is_empty() {
                    let text = format!(
                        "{} has no weights for {}: they start from their fillers",
                        file.display(),
                        untouched.join(", ")
                    );
                    self.line(Level::Warning, "cortado:1", &text);
                }
            }
            Event::Resume { file, .. } => {
                let text = format!("Resuming from {}", file.display());
                self.info("caffe.cpp:235", &text);
                self.info("sgd_solver.cpp:336", "SGDSolver: restoring history");
            }
            Event::TrainStart => {
                let (name, policy) = self.solving.clone();
                self.info("caffe.cpp:239", "Starting Optimization");
                self.info("solver.cpp:289", &format!("Solving {name}"));
                let text = format!("Learning Rate Policy: {policy}");
                self.info("solver.cpp:290", &text);
            }
            Event::Iteration {
                iteration,
                loss,
                since,
                seconds,
            } => {
                let rate = since as f64 / if seconds > 0.0 { seconds } else { 1.0 };
                let text = format!(
                    "Iteration {iteration} ({} iter/s, {}s/{} iters), loss = {}",
                    g(rate),
                    g(seconds),
                    self.display,
                    g(loss)
                );
                self.info("solver.cpp:239", &text);
            }
            Event::TrainOutput {
                index,
                blob,
                value,
                loss_weight,
            } => {
                let text = format!("    Train net output #{index}: ");
                let text = text + &output(blob, value, loss_weight);
                self.info("solver.cpp:258", &text);
            }
            Event::Rate { iteration, rate } => self.info(
                "sgd_solver.cpp:112",
                &format!("Iteration {iteration}, lr = {}", g(rate)),
            ),
            Event::Clipped { norm, bound } => {
                let text = format!(
                    "Gradient clipping: scaling down gradients (L2 norm {} > {}) by scale factor {}",
                    g(norm),
                    g(bound),
                    g(bound / norm)
                );
                self.info("sgd_solver.cpp:99", &text);
            }
            Event::Step { .. }
            | Event::Seed { .. }
            | Event::TestStep { .. }
            | Event::Vitals { .. }
            | Event::Picture { .. }
            | Event::Worst { .. }
            | Event::Finding { .. }
            | Event::Verdict { .. } => {}
            Event::Metrics { heads, .. } => {
                for line in heads.iter().flat_map(figures::head) {
                    self.info(FIGURES, &line);
                }
            }
            Event::Precision {
                blob,
                mean,
                classes,
                ..
            } => {
                for line in figures::precision(blob, mean, classes) {
                    self.info(FIGURES, &line);
                }
            }
            Event::Testing { iteration, net } => self.info(
                "solver.cpp:347",
                &format!("Iteration {iteration}, Testing net (#{net})"),
            ),
            Event::TestLoss { loss } => {
                self.info("solver.cpp:401", &format!("Test loss: {}", g(loss)));
            }
            Event::TestOutput {
                index,
                blob,
                value,
                loss_weight,
                ..
            } => {
                let text = format!("    Test net output #{index}: ");
                let text = text + &output(blob, value, loss_weight);
                self.info("solver.cpp:414", &text);
            }
            Event::SnapshotModel { file } => {
                let (place, form) = match is_hdf5(file) {
                    true => ("solver.cpp:474", "HDF5"),
                    false => ("solver.cpp:464", "binary proto"),
                };
                let text = format!("Snapshotting to {form} file {}", file.display());
                self.info(place, &text);
            }
            Event::SnapshotState { file } => {
                let (place, form) = match is_hdf5(file) {
                    true => ("sgd_solver.cpp:296", "HDF5"),
                    false => ("sgd_solver.cpp:284", "binary proto"),
                };
                let text = format!(
                    "Snapshotting solver state to {form} file {}",
                    file.display()
                );
                self.info(place, &text);
            }
            Event::FinalLoss { iteration, loss } => self.info(
                "solver.cpp:327",
                &format!("Iteration {iteration}, loss = {}", g(loss)),
            ),
            Event::TrainDone { early } => {
                if early {
                    self.info("solver.cpp:311", "Optimization stopped early.");
                } else {
                    self.info("solver.cpp:332", "Optimization Done.");
                }
                self.info("caffe.cpp:250", "Optimization Done.");
            }
            Event::Debug { line } => {
                let (level, tag) = debug_tag(line);
                self.line(level, tag, line);
            }
        }
    }
}

/// `name = value`, and what it adds to the loss.
pub(crate) fn output(blob: &str, value: f32, loss_weight: f32) -> String {
    let mut text = format!("{blob} = {}", g(value));
    if loss_weight != 0.0 {
        text += &format!(" (* {} = {} loss)", g(loss_weight), g(loss_weight * value));
    }
    text
}

/// A shape in Caffe's notation: `8 3 48 48 (55296)`.
fn is_hdf5(file: &Path) -> bool {
    file.extension().is_some_and(|e| e == "h5")
}

fn shape(shape: &Shape) -> String {
    let mut text = String::new();
    for dim in shape.dims() {
        text += &format!("{dim} ");
    }
    text + &format!("({})", shape.count())
}

fn skipped_tag(why: &str) -> &'static str {
    const TAGS: &[(&str, &str)] = &[
        ("NetState phase", "net.cpp:296"),
        ("above the min_level", "net.cpp:306"),
        ("above the max_level", "net.cpp:316"),
        ("did not contain stage", "net.cpp:332"),
    ];
    TAGS.iter()
        .find(|(words, _)| why.contains(words))
        .map_or("net.cpp:347", |&(_, tag)| tag)
}

fn debug_tag(line: &str) -> (Level, &'static str) {
    let param = line.contains(", param");
    if line.contains("All net params") {
        (Level::Error, "net.cpp:721")
    } else if line.contains("[Forward]") {
        (
            Level::Info,
            if param { "net.cpp:605" } else { "net.cpp:593" },
        )
    } else if line.contains("[Backward]") {
        (
            Level::Info,
            if param { "net.cpp:632" } else { "net.cpp:621" },
        )
    } else {
        (Level::Info, "net.cpp:649")
    }
}

/// glog's date and time, in UTC.
fn stamp(since_epoch: Duration, with_year: bool) -> String {
    let seconds = since_epoch.as_secs();
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let year = if with_year {
        format!("{year:04}")
    } else {
        String::new()
    };
    format!(
        "{year}{month:02}{day:02} {hour:02}:{minute:02}:{second:02}.{:06}",
        since_epoch.subsec_micros()
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::schema::{LayerParameter, NetParameter, SolverParameter};

    /// What the events look like, without the prefixes of the lines.
    fn log(events: &[Event<'_>]) -> String {
        let mut glog = Glog::new(Vec::new(), false);
        for event in events {
            glog.on(event);
        }
        let text = String::from_utf8(glog.out).unwrap();
        text.lines()
            .map(|line| match line.split_once("] ") {
                Some((prefix, rest)) => {
                    let words: Vec<&str> = prefix.split_whitespace().collect();
                    assert!(
                        words[0].len() == 5 && words[0].starts_with(['I', 'W']),
                        "{line}"
                    );
                    assert_eq!(words[1].len(), "04:16:14.852852".len(), "{line}");
                    assert_eq!(words[2], process::id().to_string(), "{line}");
                    format!("{}] {rest}\n", words[3])
                }
                None => format!("{line}\n"),
            })
            .collect()
    }

    #[test]
    fn dates() {
        let at = |seconds| stamp(Duration::new(seconds, 852_852_000), true);
        assert_eq!(at(0), "19700101 00:00:00.852852");
        assert_eq!(at(951_782_399), "20000228 23:59:59.852852");
        assert_eq!(at(951_782_400), "20000229 00:00:00.852852");
        assert_eq!(at(1_795_407_374), "20261123 04:16:14.852852");
        assert_eq!(
            stamp(Duration::from_secs(1_798_761_599), false),
            "1231 23:59:59.000000"
        );
    }

    #[test]
    fn a_net_as_caffe_tells_it() {
        let net = NetParameter {
            name: Some("n".into()),
            layer: vec![LayerParameter {
                name: Some("relu2".into()),
                r#type: Some("ReLU".into()),
                ..Default::default()
            }],
            ..Default::default()
        };
        let top = |name, in_place, dims: &[usize], loss_weight| TopInfo {
            name,
            in_place,
            shape: Shape::new(dims),
            loss_weight,
        };
        let text = log(&[
            Event::LayerSkipped {
                why: "The NetState phase (0) differed from the phase (1) specified by a rule in layer images",
            },
            Event::NetInit { net: &net },
            Event::Layer {
                name: "relu2",
                kind: "ReLU",
                bottoms: &["conv2"],
                tops: &[top("conv2", true, &[8, 12, 24, 24], 0.0)],
                params: &[],
                memory: 1_552_896,
                flops: 0,
            },
            Event::Layer {
                name: "loss",
                kind: "SoftmaxWithLoss",
                bottoms: &["conv_last", "labels"],
                tops: &[top("loss", false, &[], 1.0)],
                params: &[],
                memory: 1_654_276,
                flops: 0,
            },
            Event::LayerBackward {
                name: "loss",
                needed: true,
            },
            Event::LayerBackward {
                name: "images",
                needed: false,
            },
            Event::NetOutput { blob: "loss" },
            Event::NetReady {
                planned_floats: 1,
                naive_floats: 2,
            },
        ]);
        assert_eq!(
            text,
            "\
net.cpp:296] The NetState phase (0) differed from the phase (1) specified by a rule in layer images
net.cpp:53] Initializing net from parameters: 
name: \"n\"
layer {
  name: \"relu2\"
  type: \"ReLU\"
}
layer_factory.hpp:77] Creating layer relu2
net.cpp:86] Creating Layer relu2
net.cpp:408] relu2 <- conv2
net.cpp:369] relu2 -> conv2 (in-place)
net.cpp:124] Setting up relu2
net.cpp:131] Top shape: 8 12 24 24 (55296)
net.cpp:139] Memory required for data: 1552896
layer_factory.hpp:77] Creating layer loss
net.cpp:86] Creating Layer loss
net.cpp:408] loss <- conv_last
net.cpp:408] loss <- labels
net.cpp:382] loss -> loss
net.cpp:124] Setting up loss
net.cpp:131] Top shape: (1)
net.cpp:134]     with loss weight 1
net.cpp:139] Memory required for data: 1654276
net.cpp:200] loss needs backward computation.
net.cpp:202] images does not need backward computation.
net.cpp:244] This network produces output loss
net.cpp:257] Network initialization done.
"
        );
    }

    #[test]
    fn training_as_caffe_tells_it() {
        let solver = SolverParameter {
            display: Some(1),
            net: Some("train_val.prototxt".into()),
            ..Default::default()
        };
        let file = Path::new("snap_iter_1.caffemodel");
        let state = Path::new("snap_iter_1.solverstate");
        let text = log(&[
            Event::SolverInit { solver: &solver },
            Event::TrainNet {
                file: "train_val.prototxt",
            },
            Event::TestNet {
                index: 0,
                file: "train_val.prototxt",
            },
            Event::SolverReady {
                net: "faces",
                lr_policy: "fixed",
                max_iter: 1,
            },
            Event::TrainStart,
            Event::Testing {
                iteration: 0,
                net: 0,
            },
            Event::TestOutput {
                net: 0,
                index: 0,
                blob: "accuracy",
                value: 0.937_211,
                loss_weight: 0.0,
            },
            Event::Iteration {
                iteration: 1,
                loss: 1.581_77,
                since: 1,
                seconds: 0.012,
            },
            Event::TrainOutput {
                index: 0,
                blob: "loss",
                value: 1.581_77,
                loss_weight: 1.0,
            },
            Event::Rate {
                iteration: 1,
                rate: 0.05,
            },
            Event::Clipped {
                norm: 2.0,
                bound: 0.5,
            },
            Event::SnapshotModel { file },
            Event::SnapshotState { file: state },
            Event::FinalLoss {
                iteration: 1,
                loss: 0.309_018,
            },
            Event::TrainDone { early: false },
        ]);
        assert_eq!(
            text,
            "\
solver.cpp:45] Initializing solver from parameters: 
display: 1
net: \"train_val.prototxt\"
solver.cpp:102] Creating training net from net file: train_val.prototxt
solver.cpp:190] Creating test net (#0) specified by net file: train_val.prototxt
solver.cpp:57] Solver scaffolding done.
caffe.cpp:239] Starting Optimization
solver.cpp:289] Solving faces
solver.cpp:290] Learning Rate Policy: fixed
solver.cpp:347] Iteration 0, Testing net (#0)
solver.cpp:414]     Test net output #0: accuracy = 0.937211
solver.cpp:239] Iteration 1 (83.3333 iter/s, 0.012s/1 iters), loss = 1.58177
solver.cpp:258]     Train net output #0: loss = 1.58177 (* 1 = 1.58177 loss)
sgd_solver.cpp:112] Iteration 1, lr = 0.05
sgd_solver.cpp:99] Gradient clipping: scaling down gradients (L2 norm 2 > 0.5) by scale factor 0.25
solver.cpp:464] Snapshotting to binary proto file snap_iter_1.caffemodel
sgd_solver.cpp:284] Snapshotting solver state to binary proto file snap_iter_1.solverstate
solver.cpp:327] Iteration 1, loss = 0.309018
solver.cpp:332] Optimization Done.
caffe.cpp:250] Optimization Done.
"
        );
    }

    #[test]
    fn a_broken_pipe_is_noticed() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut glog = Glog::new(Closed, false);
        assert!(!glog.gone());
        glog.info("caffe.cpp:197", "Use CPU.");
        assert!(glog.gone());
    }
}
