//! `export-onnx`: a net with its weights as a model that other runtimes run.

use serde_json::json;

use super::super::{
    args::{Args, Flag},
    command::{Command, Status},
    nets::{self, Loaded, Wish},
    signals,
    ui::Ui,
};
use crate::{
    error::{Error, Result},
    net::Net,
    onnx::{self, ExportOptions, Exported},
    params::Params,
    tensor::{Shape, Tensor},
};

/// The row of the table.
pub(in crate::cli) const COMMAND: Command = Command {
    name: "export-onnx",
    about: "write a net with its weights as an ONNX model",
    flags: &[
        nets::MODEL,
        nets::WEIGHTS,
        Flag::value(
            "output",
            "FILE",
            "The model (default: beside the net, .onnx)",
        ),
        Flag::value(
            "outputs",
            "BLOBS",
            "What the model gives out, separated by commas (default: the net's outputs); layers that none of it needs are left out",
        ),
        Flag::switch(
            "any_batch",
            "Let the first extent of inputs and outputs vary",
        ),
        nets::SHAPE,
        nets::LEVEL,
        nets::STAGE,
        super::JSON,
    ],
    examples: "  cortado export-onnx --model=deploy.prototxt --weights=net.caffemodel --output=net.onnx\n  cortado export-onnx --model=deploy.prototxt --weights=ssd.caffemodel --outputs=mbox_loc,mbox_conf_flatten",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    signals::tidy()?;
    let example = "export-onnx --model=deploy.prototxt --weights=net.caffemodel";
    let wish = Wish::test(false);
    let Loaded { mut net, params } = nets::load(args, &wish, example, ui)?;
    if args.paths("weights").is_empty() && !params.is_empty() {
        ui.warn("no --weights were given: the model gets what the fillers of the net make");
    }
    let options = ExportOptions {
        outputs: args.list("outputs"),
        any_batch: args.switch("any_batch"),
    };
    let exported = onnx::export(&net, &params, &options)?;
    if options.any_batch {
        for_any_batch(&mut net, &params, &options, &exported)?;
    }
    for note in &exported.notes {
        ui.warn(note);
    }
    let path = match args.path("output") {
        Some(path) => path,
        None => args.need("model", "a net", example)?.with_extension("onnx"),
    };
    onnx::write(&path, &exported.model)?;
    let nodes = exported.model.graph.as_ref().map_or(0, |g| g.node.len());
    let json = json!({ "output": path, "nodes": nodes, "notes": exported.notes });
    let text = format!("wrote {nodes} nodes to {}", path.display());
    super::told(args, ui, &json, &text)
}

/// Refuses a model that holds for its own batch alone: one for another batch would have other constants.
fn for_any_batch(
    net: &mut Net,
    params: &Params,
    options: &ExportOptions,
    exported: &Exported,
) -> Result<()> {
    let names: Vec<String> = net.inputs().into_iter().map(str::to_owned).collect();
    let mut larger: Vec<(&str, Tensor)> = Vec::new();
    for name in &names {
        let Some(view) = net.blob(name) else { continue };
        let mut dims = view.shape.dims().to_vec();
        if let Some(first) = dims.first_mut() {
            *first += 1;
        }
        larger.push((name, Tensor::zeros(Shape::checked(&dims)?)));
    }
    let inputs: Vec<(&str, &Tensor)> = larger.iter().map(|(n, t)| (*n, t)).collect();
    net.set_inputs(&inputs)?;
    let other = onnx::export(net, params, options)?;
    match onnx::difference(&exported.model, &other.model) {
        None => Ok(()),
        Some(what) => Err(Error::unsupported(format!(
            "with another batch the model would be another: {what}"
        ))
        .help("leave --any_batch out, and export a model for each batch")),
    }
}
