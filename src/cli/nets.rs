//! A net from the flags of a command: read, in its state, with its weights.

use std::path::PathBuf;

use super::{
    args::{Args, Flag},
    ui::Ui,
};
use crate::{
    error::Result,
    events::{Event, Observer as _},
    graph,
    load::{self, LoadOptions},
    model_io::caffemodel::Weights,
    net::{Keep, Level, Net, NetOptions},
    params::Params,
    schema::{NetState, Phase},
};

pub(crate) const MODEL: Flag = Flag::value("model", "FILE", "The net's definition (.prototxt)");
pub(crate) const WEIGHTS: Flag = Flag::value(
    "weights",
    "FILES",
    "Weights (.caffemodel); more than one are separated by commas",
);
pub(crate) const PHASE: Flag = Flag::value("phase", "PHASE", "TRAIN or TEST");
pub(crate) const LEVEL: Flag = Flag::value("level", "N", "The net's level, for its include rules");
pub(crate) const STAGE: Flag = Flag::value(
    "stage",
    "NAMES",
    "The net's stages, for its include rules, separated by commas",
);
pub(crate) const ITERATIONS: Flag =
    Flag::value("iterations", "N", "How many batches to run (default 50)");
pub(crate) const SEED: Flag = Flag::value(
    "seed",
    "N",
    "Names the random numbers of fillers and Dropout (default 0)",
);
pub(crate) const EXACT: Flag = Flag::switch(
    "exact",
    "Do not fold BatchNorm and Scale into the weights before them: slower, and rounded as Caffe rounds",
);

/// How a command wants its net.
pub(crate) struct Wish {
    /// Where neither `--phase` nor, if `own_state`, the net says which.
    pub(crate) phase: Phase,
    /// Whether a `state` in the net counts.
    pub(crate) own_state: bool,
    pub(crate) backward: bool,
    pub(crate) keep: Keep,
    /// Blobs that stay readable besides.
    pub(crate) wanted: Vec<String>,
    /// Nobody looks at the weights again, or changes them.
    pub(crate) frozen: bool,
}

/// A net with its parameters.
pub(crate) struct Loaded {
    pub(crate) net: Net,
    pub(crate) params: Params,
}

/// Builds the net of `--model` and gives it `--weights`.
pub(crate) fn load(args: &Args, wish: &Wish, example: &str, ui: &mut Ui) -> Result<Loaded> {
    let path = args.need("model", "a net's definition", example)?;
    let mut file = load::net(&path, options(args), ui)?;
    let wanted = phase(args)?;
    let over = NetState {
        phase: wanted
            .or((!wish.own_state).then_some(wish.phase))
            .map(|p| p as i32),
        level: args.number("level")?,
        stage: args.list("stage"),
    };
    file.net.state = Some(graph::state_of(&file.net, wish.phase, Some(&over)));
    let weights = args.paths("weights");
    let weights: Vec<Weights> = weights
        .iter()
        .map(|p| Weights::open(p))
        .collect::<Result<_>>()?;
    let brought = |layer: &str, i: usize| weights.iter().any(|w| w.brings(layer, i));
    let mut params = Params::new();
    let mut net = Net::new(
        &file.net,
        &mut params,
        &NetOptions {
            root: PathBuf::new(),
            seed: args.number("seed")?.unwrap_or(0),
            backward: wish.backward,
            keep: wish.keep,
            wanted: &wish.wanted,
            optimize: if args.switch("exact") {
                Level::Exact
            } else {
                Level::Fold
            },
            share: None,
            brought: Some(&brought),
            locate: Some(&|index, field| file.place(index, field)),
        },
        ui,
    )?;
    for weights in &weights {
        let report = weights.load(&net, &mut params)?;
        ui.on(&Event::Weights {
            file: weights.path(),
            copied: report.copied,
            ignored: &report.ignored,
            untouched: &report.untouched,
        });
    }
    if wish.frozen {
        net.freeze(&mut params)?;
    }
    Ok(Loaded { net, params })
}

/// How files are read.
pub(crate) fn options(args: &Args) -> LoadOptions {
    LoadOptions {
        strict: args.switch("strict"),
    }
}

/// `--phase`.
pub(crate) fn phase(args: &Args) -> Result<Option<Phase>> {
    args.word("phase", &[("TRAIN", Phase::Train), ("TEST", Phase::Test)])
}
