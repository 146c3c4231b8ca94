//! `draw`: a net as a drawing.

use std::path::Path;

use super::super::{
    args::{Args, Flag},
    command::{Command, Status},
    nets, signals,
    ui::Ui,
};
use crate::{
    anatomy::{Direction, Drawing, dot, svg},
    error::{Error, Result},
    model_io::write_file,
    schema::Phase,
};

/// The row of the table.
pub(in crate::cli) const COMMAND: Command = Command {
    name: "draw",
    about: "draw a net, with the shapes of its blobs, as SVG or for Graphviz",
    flags: &[
        Flag::operand("net", "NET", "The net's definition, as --model"),
        Flag::operand(
            "output",
            "FILE",
            "The drawing: .svg or .dot (default: SVG beside the net)",
        ),
        nets::MODEL,
        Flag::value(
            "rankdir",
            "TB|LR",
            "From top to bottom (the default) or from left to right",
        ),
        nets::PHASE,
        nets::LEVEL,
        nets::STAGE,
        nets::SHAPE,
    ],
    examples: "  cortado draw deploy.prototxt net.svg\n  cortado draw train_val.prototxt net.dot --rankdir=LR --phase=TRAIN",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    signals::tidy()?;
    let example = "draw deploy.prototxt net.svg";
    let words = [
        ("TB", Direction::Down),
        ("BT", Direction::Down),
        ("LR", Direction::Right),
    ];
    let direction = args.word("rankdir", &words)?.unwrap_or_default();
    let phase = nets::phase(args)?.unwrap_or(Phase::Test);
    let path = match (args.path("model"), args.path("net"), args.path("output")) {
        (Some(_), Some(path), None) | (_, _, Some(path)) => path,
        (Some(net), None, None) | (None, Some(net), None) => net.with_extension("svg"),
        (None, None, None) => args.need("model", "a net's definition", example)?,
    };
    let (net, _) = super::stand_in(args, phase, example, ui)?;
    let drawing = Drawing::new(net.graph(), direction);
    let text = match ending(&path).as_str() {
        "svg" => svg(&drawing),
        "dot" | "gv" => dot(&drawing),
        _ => {
            return Err(Error::param(
                "FILE",
                format!("'{}' ends neither with .svg nor with .dot", path.display()),
            )
            .help("Graphviz makes other pictures of a .dot: dot -Tpng net.dot -o net.png"));
        }
    };
    write_file(&path, text.as_bytes())?;
    ui.print(&format!("drew {} to {}\n", net.name(), path.display()))?;
    Ok(Status::Done)
}

fn ending(path: &Path) -> String {
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    ending.unwrap_or_default()
}
