//! `import-onnx`: a net with its weights from a model of another framework.

use serde_json::json;

use super::super::{
    args::{Args, Flag},
    command::{Command, Status},
    nets, signals,
    ui::Ui,
};
use crate::{
    error::{Error, ErrorKind, Place, Result},
    model_io::{weights, write_file},
    onnx,
    text::print,
};

/// The row of the table.
pub(in crate::cli) const COMMAND: Command = Command {
    name: "import-onnx",
    about: "make a net and its weights of an ONNX model",
    flags: &[
        Flag::operand("onnx", "FILE", "The model (.onnx)"),
        Flag::value(
            "model",
            "FILE",
            "The net (default: beside the model, .prototxt)",
        ),
        Flag::value(
            "weights",
            "FILE",
            "Its weights: .caffemodel, .caffemodel.h5 or .npz (default: beside the model, .caffemodel)",
        ),
        nets::SHAPE,
        super::JSON,
    ],
    examples: "  cortado import-onnx net.onnx\n  cortado import-onnx net.onnx --model=deploy.prototxt --weights=net.caffemodel --shape=input:1x3x224x224",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    signals::tidy()?;
    let path = args.operand("onnx", "a model", "import-onnx net.onnx")?;
    let model = onnx::read(&path)?;
    let imported = onnx::import(&model, &nets::shapes(args)?)
        .map_err(|e| e.at(Place::File(path.display().to_string())))?;
    for note in &imported.notes {
        ui.warn(note);
    }
    // Names that were not told may be those of the net that the model was made of.
    let or = |flag: &str, ending: &str| match args.path(flag) {
        Some(own) => Ok(own),
        None => match path.with_extension(ending) {
            there if there.exists() => Err(Error::new(
                ErrorKind::Io,
                format!("'{}' is there already", there.display()),
            )
            .help(format!(
                "say where to write with --{flag}, or say that name to write over it"
            ))),
            free => Ok(free),
        },
    };
    let (net_path, weights_path) = (or("model", "prototxt")?, or("weights", "caffemodel")?);
    let stored = weights::Model::from_message(imported.net.clone())?;
    let mut net = imported.net;
    net.layer.iter_mut().for_each(|l| l.blobs.clear());
    let text = print("NetParameter", &net);
    let (layers, values) = (net.layer.len(), stored.count());
    stored.write(&weights_path)?;
    write_file(&net_path, text.as_bytes())?;
    let json = json!({
        "model": net_path, "weights": weights_path, "layers": layers, "values": values,
        "notes": imported.notes,
    });
    let text = format!(
        "wrote {layers} layers to {} and {values} values to {}",
        net_path.display(),
        weights_path.display()
    );
    super::told(args, ui, &json, &text)
}
