//! What the library has to tell while it works. It never prints: an [`Observer`] gets [`Event`]s and renders them.

use std::path::Path;

use crate::{
    metrics::{Head, Worst, vitals::LayerVitals},
    schema::{NetParameter, SolverParameter},
    tensor::Shape,
};

/// Receives events. Closures `FnMut(&Event)` are observers.
pub trait Observer {
    /// Called as things happen, on the thread that works.
    fn on(&mut self, event: &Event<'_>);
}

impl<F: FnMut(&Event<'_>)> Observer for F {
    fn on(&mut self, event: &Event<'_>) {
        self(event);
    }
}

/// An observer that looks away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn on(&mut self, _: &Event<'_>) {}
}

/// One thing that happened. Names and figures follow Caffe's log.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Something is odd, and the work goes on.
    Warning(&'a str),
    /// Something worth knowing.
    Note(&'a str),
    /// A layer was left out by an `include` or `exclude` rule; `why` in Caffe's words.
    LayerSkipped {
        /// Why.
        why: &'a str,
    },
    /// A net is built from this message.
    NetInit {
        /// The message, layers of other phases left out.
        net: &'a NetParameter,
    },
    /// A layer stands.
    Layer {
        /// Its name.
        name: &'a str,
        /// Its type.
        kind: &'static str,
        /// Names of its bottoms.
        bottoms: &'a [&'a str],
        /// Its tops.
        tops: &'a [TopInfo<'a>],
        /// Parameters (by shape) that it owns or shares.
        params: &'a [Shape],
        /// Bytes of all tops so far, as Caffe counts them.
        memory: usize,
        /// Floating-point operations of one forward pass; 0 where they are not worth telling.
        flops: u64,
    },
    /// Whether a layer takes part in backward; told from the last layer to the first.
    LayerBackward {
        /// Its name.
        name: &'a str,
        /// Whether it does.
        needed: bool,
    },
    /// A top that nobody reads.
    NetOutput {
        /// The blob's name.
        blob: &'a str,
    },
    /// The net is ready.
    NetReady {
        /// Floats in all buffers of the plan: data, diffs, workspace.
        planned_floats: usize,
        /// Floats that one buffer a blob would have taken.
        naive_floats: usize,
    },
    /// Layers of a net that only runs forward became one.
    Fused {
        /// Which, in words.
        summary: &'a str,
    },
    /// A solver starts from this message.
    SolverInit {
        /// The message.
        solver: &'a SolverParameter,
    },
    /// The seed of all random numbers of a solver.
    Seed {
        /// The seed.
        seed: u64,
    },
    /// The train net comes from this file; empty for an inline net.
    TrainNet {
        /// The file as named.
        file: &'a str,
    },
    /// A test net is next.
    TestNet {
        /// Its index.
        index: usize,
        /// The file as named; empty for an inline net.
        file: &'a str,
    },
    /// Both nets stand.
    SolverReady {
        /// The net's name.
        net: &'a str,
        /// The rate policy.
        lr_policy: &'a str,
        /// Where training ends.
        max_iter: u64,
    },
    /// Weights were read.
    Weights {
        /// The file.
        file: &'a Path,
        /// Blobs copied, by layer.
        copied: usize,
        /// Layers of the file that this net does not have.
        ignored: &'a [String],
        /// Layers with parameters that the file does not have.
        untouched: &'a [String],
    },
    /// Training goes on from a state file.
    Resume {
        /// The file.
        file: &'a Path,
        /// From this iteration.
        iteration: u64,
    },
    /// A displayed iteration.
    Iteration {
        /// Its number.
        iteration: u64,
        /// The smoothed loss.
        loss: f32,
        /// Iterations since the last display.
        since: u64,
        /// Seconds since the last display.
        seconds: f64,
    },
    /// One value of an output blob of the train net.
    TrainOutput {
        /// Its running number.
        index: usize,
        /// The blob's name.
        blob: &'a str,
        /// The value.
        value: f32,
        /// Its loss weight, 0 for none.
        loss_weight: f32,
    },
    /// The rate of a displayed iteration.
    Rate {
        /// The iteration.
        iteration: u64,
        /// The rate.
        rate: f32,
    },
    /// Gradients were scaled down.
    Clipped {
        /// Their L2 norm.
        norm: f32,
        /// The bound.
        bound: f32,
    },
    /// Every iteration, also those not displayed: for progress bars.
    Step {
        /// Iterations done.
        iteration: u64,
        /// Where training ends.
        max_iter: u64,
        /// The smoothed loss.
        loss: f32,
        /// The rate.
        rate: f32,
    },
    /// A test begins.
    Testing {
        /// The iteration.
        iteration: u64,
        /// Index of the test net.
        net: usize,
    },
    /// One pass of a test, for progress bars.
    TestStep {
        /// Passes done.
        done: u64,
        /// Passes in all.
        of: u64,
    },
    /// The total loss of a test, where `test_compute_loss` asks for it.
    TestLoss {
        /// The mean.
        loss: f32,
    },
    /// One mean output value of a test.
    TestOutput {
        /// Index of the test net.
        net: usize,
        /// Its running number.
        index: usize,
        /// The blob's name.
        blob: &'a str,
        /// The mean over the passes.
        value: f32,
        /// Its loss weight, 0 for none.
        loss_weight: f32,
    },
    /// A model file is about to be written.
    SnapshotModel {
        /// Where.
        file: &'a Path,
    },
    /// A state file is about to be written.
    SnapshotState {
        /// Where.
        file: &'a Path,
    },
    /// Training begins.
    TrainStart,
    /// The loss after the last iteration.
    FinalLoss {
        /// Iterations done.
        iteration: u64,
        /// The loss.
        loss: f32,
    },
    /// Training ended, `early` by a signal or hook.
    TrainDone {
        /// Before `max_iter`.
        early: bool,
    },
    /// How the scores of a test met their labels.
    Metrics {
        /// The iteration of the test.
        iteration: u64,
        /// Index of the test net.
        net: usize,
        /// One for each blob of scores that has labels.
        heads: &'a [Head],
    },
    /// The average precisions of a detector, after a test.
    Precision {
        /// The iteration of the test.
        iteration: u64,
        /// Index of the test net.
        net: usize,
        /// The blob of detections.
        blob: &'a str,
        /// The mean over the classes.
        mean: f64,
        /// Each class with its average precision.
        classes: &'a [(i32, f64)],
    },
    /// How layers look.
    Vitals {
        /// The iteration whose gradients and update are meant.
        iteration: u64,
        /// In the order in which they run.
        layers: &'a [LayerVitals],
    },
    /// A picture of a blob on a sample that stays the same over the run.
    Picture {
        /// The iteration.
        iteration: u64,
        /// What it shows.
        role: Role,
        /// Whose values they are.
        blob: &'a str,
        /// Which of the samples that are looked at.
        sample: usize,
        /// The sample's key in its database, or its running number.
        key: &'a str,
        /// The channel, where it shows one.
        channel: Option<usize>,
        /// What to write under it.
        caption: &'a str,
        /// The smallest and the largest value; `None` where it shows no values.
        range: Option<[f32; 2]>,
        /// The picture.
        png: &'a [u8],
    },
    /// The samples that a test did worst on, the worst first.
    Worst {
        /// The iteration of the test.
        iteration: u64,
        /// Index of the test net.
        net: usize,
        /// The samples.
        samples: &'a [Worst],
    },
    /// Something that is wrong, or may be.
    Finding {
        /// How bad it is.
        severity: Severity,
        /// The code that `explain` takes; empty where there is none.
        code: &'a str,
        /// What it is.
        message: &'a str,
        /// Where it is: `net.prototxt:31:3`; empty where it has no place.
        place: &'a str,
        /// The way out.
        help: &'a str,
        /// The iteration where it showed, in a run.
        iteration: Option<u64>,
    },
    /// What is wrong in the end, in order of weight.
    Verdict {
        /// Whether anything is.
        ill: bool,
        /// What was found.
        lines: &'a [String],
        /// What to type or to change.
        todo: &'a [String],
    },
    /// A line of `debug_info`.
    Debug {
        /// The line, in Caffe's words.
        line: &'a str,
    },
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Most likely not what was meant.
    Warning,
    /// It cannot learn, or cannot run, like this.
    Error,
}

impl Severity {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What an [`Event::Picture`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A channel of a blob.
    Map,
    /// What the net is given.
    Input,
    /// What the labels say.
    Truth,
    /// What the net says.
    Answer,
}

impl Role {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::Input => "input",
            Self::Truth => "truth",
            Self::Answer => "answer",
        }
    }
}

/// A top of a layer, for [`Event::Layer`].
#[derive(Clone, Debug)]
pub struct TopInfo<'a> {
    /// The blob's name.
    pub name: &'a str,
    /// Written over its bottom in the prototxt.
    pub in_place: bool,
    /// Its shape.
    pub shape: Shape,
    /// Its loss weight, 0 for none.
    pub loss_weight: f32,
}
