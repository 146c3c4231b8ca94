//! `compare`: a net against a recorded run, or two of a kind against each other: logs, dumps of blobs, files of weights.

mod logs;
mod net;
mod sets;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{
    args::{Args, Flag},
    command::{Command, Status},
    nets,
    ui::Ui,
};
use crate::{
    error::{Error, ErrorKind, Result},
    number::g,
    report::compare::{Row, Tolerance, coordinates},
    tensor::Shape,
};

const EXAMPLE: &str =
    "compare --model=net.prototxt --weights=weights.caffemodel --reference=blobs.npz";

/// The row of the table.
pub(super) const COMMAND: Command = Command {
    name: "compare",
    about: "line up two logs, two dumps of blobs or two files of weights, or hold a net against a recorded run",
    flags: &[
        Flag::operand(
            "files",
            "FILES",
            "Two logs (Caffe's, ours, or run.jsonl), two dumps of blobs (.npz), or two files of weights (.caffemodel, .h5, .npz)",
        )
        .many(),
        nets::MODEL,
        nets::WEIGHTS,
        Flag::value(
            "reference",
            "FILE",
            "The record (.npz): in/<blob>, out/<blob>, grad_out/<blob>, grad_in/<blob>, grad_param/<layer>/<i>, param_after/<layer>/<i>",
        ),
        Flag::value(
            "rtol",
            "X",
            "Tolerance relative to the reference (default 1e-4)",
        ),
        Flag::value("atol", "X", "Absolute tolerance (default 1e-5)"),
        Flag::value("plot", "FILE", "Plot the losses of two logs to this .svg"),
        Flag::switch("json", "Print the result as JSON"),
        nets::PHASE,
        nets::LEVEL,
        nets::STAGE,
        nets::SHAPE,
        nets::SEED,
    ],
    examples: "  cortado compare --model=net.prototxt --weights=weights.caffemodel --reference=blobs.npz\n  \
               cortado compare caffe.log cortado.log --plot=losses.svg\n  \
               cortado compare caffe.npz cortado.npz --model=net.prototxt\n  \
               cortado compare before.caffemodel after.caffemodel.h5",
    run,
};

/// What two files are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Log,
    Arrays,
    Weights,
}

/// By the ending; whatever has none that is known is taken for a log.
fn kind(path: &Path) -> Kind {
    let ending = path
        .extension()
        .map(|e| e.to_string_lossy().to_ascii_lowercase());
    match ending.as_deref() {
        Some("npz") => Kind::Arrays,
        Some("caffemodel" | "h5" | "hdf5" | "binaryproto") => Kind::Weights,
        _ => Kind::Log,
    }
}

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let files: Vec<PathBuf> = args.all_paths("files");
    match (&files[..], args.path("reference")) {
        ([], Some(reference)) => net::run(args, &reference, ui),
        ([], None) => {
            args.need("reference", "two files, or a recorded run", EXAMPLE)?;
            Ok(Status::Failed)
        }
        ([a, b], None) => match (kind(a), kind(b)) {
            (Kind::Log, Kind::Log) => logs::run(args, a, b, ui),
            (Kind::Arrays, Kind::Arrays) => sets::dumps(args, a, b, ui),
            (Kind::Log, _) | (_, Kind::Log) => Err(Error::new(
                ErrorKind::Param,
                format!(
                    "'{}' and '{}' are not of one kind",
                    a.display(),
                    b.display()
                ),
            )
            .help("give two logs, two .npz, or two files of weights")),
            _ => sets::weights(args, a, b, ui),
        },
        (_, Some(_)) => Err(Error::new(
            ErrorKind::Param,
            "--reference is for a net, which --model names: no other files are compared then",
        )
        .help("give two files, or --model with --reference")),
        (files, None) => Err(Error::new(
            ErrorKind::Param,
            format!("compare needs two files, and {} was given", files.len()),
        )
        .help("name two: cortado compare a.log b.log")),
    }
}

/// `--rtol` and `--atol`.
fn tolerance(args: &Args) -> Result<Tolerance> {
    let usual = Tolerance::default();
    let tolerance = Tolerance {
        rtol: args.number("rtol")?.unwrap_or(usual.rtol),
        atol: args.number("atol")?.unwrap_or(usual.atol),
    };
    for (flag, value) in [("--rtol", tolerance.rtol), ("--atol", tolerance.atol)] {
        if !value.is_finite() || value < 0.0 {
            return Err(Error::param(flag, format!("{value} is no tolerance")));
        }
    }
    Ok(tolerance)
}

/// Where two values are apart, in words.
fn spot(at: &[usize], blob: bool, a: f32, b: f32) -> String {
    let place = match at {
        [] => String::new(),
        [_, channel, ..] if blob => format!(" at {at:?} (channel {channel})"),
        _ => format!(" at {at:?}"),
    };
    format!("{place}: {} against {}", g(a), g(b))
}

fn row_json(row: &Row, shape: Option<&Shape>) -> Value {
    let place = |spot: Option<(usize, f32, f32)>| {
        spot.map(|(at, a, b)| {
            let at = shape.map(|shape| coordinates(shape, at));
            json!({ "at": at, "a": a, "b": b })
        })
    };
    json!({
        "name": row.key,
        "values": row.count,
        "ok": row.ok,
        "max_abs": row.max_abs,
        "max_rel": row.max_rel,
        "first": place(row.first),
        "worst": place(row.worst),
        "trouble": row.trouble,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_endings() {
        for (name, wanted) in [
            ("a.npz", Kind::Arrays),
            ("a.caffemodel", Kind::Weights),
            ("a.caffemodel.h5", Kind::Weights),
            ("caffe.host.user.log.INFO.20150405-205349.19823", Kind::Log),
            ("run.jsonl", Kind::Log),
            ("log", Kind::Log),
        ] {
            assert_eq!(kind(Path::new(name)), wanted, "{name}");
        }
    }
}
