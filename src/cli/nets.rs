//! A net from the flags of a command: read, in its state, with its weights.

use std::{fs, path::PathBuf};

use super::{
    args::{Args, Flag},
    ui::Ui,
};
use crate::{
    error::{Error, ErrorKind, Place, Result},
    events::{Event, Observer as _},
    graph,
    load::{self, LoadOptions},
    model_io::caffemodel::Weights,
    net::{Calibration, Keep, Level, Net, NetOptions, Precision},
    params::Params,
    schema::{NetParameter, NetState, Phase, dialect},
    tensor::Shape,
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
pub(crate) const PRECISION: Flag = Flag::value(
    "precision",
    "f32|bf16|int8",
    "What convolutions and inner products are computed in, forward only (default f32); bf16 halves the weights' memory, int8 quarters it",
);
pub(crate) const CALIBRATION: Flag = Flag::value(
    "calibration",
    "FILE",
    "The ranges for --precision=int8, as 'calibrate' writes them",
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

impl Wish {
    /// A net in TEST whatever its file says, of which the outputs alone are read.
    pub(crate) fn test(frozen: bool) -> Self {
        Self {
            phase: Phase::Test,
            own_state: false,
            backward: false,
            keep: Keep::Outputs,
            wanted: Vec::new(),
            frozen,
        }
    }
}

/// A net with its parameters.
pub(crate) struct Loaded {
    pub(crate) net: Net,
    pub(crate) params: Params,
}

/// Tells blobs that stay readable, from the net's message in its state.
type Also = fn(&NetParameter) -> Vec<String>;

/// Builds the net of `--model` in `--precision` and gives it `--weights`.
pub(crate) fn load(args: &Args, wish: &Wish, example: &str, ui: &mut Ui) -> Result<Loaded> {
    load_keeping(args, wish, None, example, ui)
}

/// [`load`]; the blobs that `also` tells stay readable, too.
pub(crate) fn load_keeping(
    args: &Args,
    wish: &Wish,
    also: Option<Also>,
    example: &str,
    ui: &mut Ui,
) -> Result<Loaded> {
    let table;
    let precision = match precision(args)? {
        Wanted::F32 => Precision::F32,
        other if wish.backward => {
            return Err(Error::new(
                ErrorKind::Param,
                format!(
                    "--precision={} is for nets that only run forward",
                    other.name()
                ),
            )
            .help("leave backward out (time has --forward_only), or compute in f32"));
        }
        Wanted::Bf16 => Precision::Bf16,
        Wanted::Int8(path) => {
            let text = fs::read_to_string(&path).map_err(|e| Error::io("read", &path, &e))?;
            table = Calibration::from_text(&text)
                .map_err(|e| e.at(Place::File(path.display().to_string())))?;
            Precision::Int8(&table)
        }
    };
    build(args, wish, also, precision, example, ui, &|_| Ok(None))
}

/// `--precision` with `--calibration`.
enum Wanted {
    F32,
    Bf16,
    Int8(PathBuf),
}

impl Wanted {
    fn name(&self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8(_) => "int8",
        }
    }
}

fn precision(args: &Args) -> Result<Wanted> {
    let words = [("f32", 32), ("bf16", 16), ("int8", 8)];
    let bits = args.word("precision", &words)?.unwrap_or(32);
    match (bits, args.path("calibration")) {
        (8, Some(path)) => Ok(Wanted::Int8(path)),
        (8, None) => Err(Error::new(
            ErrorKind::Param,
            "--precision=int8 needs to know what each layer reads",
        )
        .help("make a table with 'cortado calibrate' and give it with --calibration=FILE")),
        (_, Some(_)) => Err(Error::new(
            ErrorKind::Param,
            "--calibration is for --precision=int8 alone",
        )
        .help("add --precision=int8, or leave --calibration out")),
        (16, None) => Ok(Wanted::Bf16),
        _ => Ok(Wanted::F32),
    }
}

/// [`load`] in a precision of the caller's choice.
pub(crate) fn load_as(
    args: &Args,
    wish: &Wish,
    precision: Precision<'_>,
    example: &str,
    ui: &mut Ui,
) -> Result<Loaded> {
    build(args, wish, None, precision, example, ui, &|_| Ok(None))
}

/// Changes a net before it is built; where it takes layers out, it returns for each that stays its index before.
pub(crate) type Change<'a> = &'a dyn Fn(&mut NetParameter) -> Result<Option<Vec<usize>>>;

/// [`load`] in `f32` of the net with a change. Where that takes layers out, nothing is said of the weights that the rest
/// has no use for.
pub(crate) fn load_changed(
    args: &Args,
    wish: &Wish,
    example: &str,
    ui: &mut Ui,
    change: Change<'_>,
) -> Result<Loaded> {
    build(args, wish, None, Precision::F32, example, ui, change)
}

fn build(
    args: &Args,
    wish: &Wish,
    also: Option<Also>,
    precision: Precision<'_>,
    example: &str,
    ui: &mut Ui,
    change: Change<'_>,
) -> Result<Loaded> {
    let path = args.need("model", "a net's definition", example)?;
    let mut file = load::net(&path, options(args)?, ui)?;
    graph::stand_in(&mut file.net, &shapes(args)?)?;
    let kept = change(&mut file.net)?;
    let before = |index: usize| match &kept {
        Some(kept) => kept.get(index).copied().unwrap_or(index),
        None => index,
    };
    let wanted = phase(args)?;
    let over = NetState {
        phase: wanted
            .or((!wish.own_state).then_some(wish.phase))
            .map(|p| p as i32),
        level: args.number("level")?,
        stage: args.list("stage"),
    };
    file.net.state = Some(graph::state_of(&file.net, wish.phase, Some(&over)));
    let mut blobs = wish.wanted.clone();
    blobs.extend(also.map_or_else(Vec::new, |also| also(&file.net)));
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
            wanted: &blobs,
            optimize: if args.switch("exact") {
                Level::Exact
            } else {
                Level::Fold
            },
            precision,
            share: None,
            brought: Some(&brought),
            locate: Some(&|index, field| file.place(before(index), field)),
        },
        ui,
    )?;
    for weights in &weights {
        let report = weights.load(&net, &mut params)?;
        ui.on(&Event::Weights {
            file: weights.path(),
            copied: report.copied,
            ignored: if kept.is_some() { &[] } else { &report.ignored },
            untouched: &report.untouched,
        });
    }
    if wish.frozen {
        net.freeze(&mut params)?;
    }
    Ok(Loaded { net, params })
}

pub(crate) const SHAPE: Flag = Flag::value(
    "shape",
    "BLOBS",
    "Instead of reading data, take blobs of these shapes: data:1x3x227x227,label:1",
);

/// `--shape`: names and extents.
pub(crate) fn shapes(args: &Args) -> Result<Vec<(String, Shape)>> {
    let wrong = |text: &str| {
        Error::param("--shape", format!("'{text}' is no blob with its shape"))
            .help("write them as data:1x3x227x227,label:1")
    };
    let parse = |text: String| {
        let (name, dims) = text.rsplit_once(':').ok_or_else(|| wrong(&text))?;
        let dims: Option<Vec<usize>> = dims.split('x').map(|d| d.parse().ok()).collect();
        let shape = Shape::checked(&dims.ok_or_else(|| wrong(&text))?)?;
        Ok((name.to_owned(), shape))
    };
    args.list("shape").into_iter().map(parse).collect()
}

/// How files are read.
///
/// # Errors
/// `Param` for a dialect that there is not.
pub(crate) fn options(args: &Args) -> Result<LoadOptions> {
    let names: Vec<_> = dialect::DIALECTS.iter().map(|d| (d.name, *d)).collect();
    Ok(LoadOptions {
        strict: args.switch("strict"),
        dialect: args.word("dialect", &names)?,
    })
}

/// `--phase`.
pub(crate) fn phase(args: &Args) -> Result<Option<Phase>> {
    args.word("phase", &[("TRAIN", Phase::Train), ("TEST", Phase::Test)])
}
