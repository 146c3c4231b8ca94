//! Commands on nets and their weights: what is in them, drawn and told; other forms of them.

use std::path::PathBuf;

use serde_json::Value;

use super::{
    args::{Args, Flag},
    command::Status,
    nets,
    ui::Ui,
};
use crate::{
    deploy,
    error::{Error, ErrorKind, Place, Result},
    events::Silent,
    graph,
    layer::Role,
    layers, load,
    net::{Level, Net, NetOptions},
    params::Params,
    schema::{NetParameter, NetState, Phase},
    tensor::Shape,
};

pub(super) mod deploy_command;
pub(super) mod draw;
pub(super) mod export_onnx;
pub(super) mod fold;
pub(super) mod import_onnx;
pub(super) mod summarize;
pub(super) mod weights;

/// Of commands that say in a sentence what they did.
const JSON: Flag = Flag::switch("json", "Print one JSON object instead of a sentence");

/// The net of `--model`, or of a word of the name `net` where a command takes one, with its text.
fn read(args: &Args, example: &str, ui: &mut Ui) -> Result<load::NetFile> {
    // With --model a word is something else.
    let path: PathBuf = match (args.path("model"), args.path("net")) {
        (None, Some(path)) => path,
        _ => args.need("model", "a net's definition", example)?,
    };
    load::net(&path, nets::options(args)?, ui)
}

/// What a command wrote, as its JSON or in a sentence.
fn told(args: &Args, ui: &mut Ui, json: &Value, text: &str) -> Result<Status> {
    if args.switch("json") {
        ui.json(json)?;
    } else {
        ui.print(&format!("{text}\n"))?;
    }
    Ok(Status::Done)
}

/// The net of [`read`] in a phase, as it is written and without weights. Where its data are not at hand, inputs of the
/// size that its options tell stand in for them.
fn stand_in(args: &Args, phase: Phase, example: &str, ui: &mut Ui) -> Result<(Net, Params)> {
    let mut file = read(args, example, ui)?;
    graph::stand_in(&mut file.net, &nets::shapes(args)?)?;
    let over = NetState {
        phase: Some(phase.into()),
        level: args.number("level")?,
        stage: args.list("stage"),
    };
    file.net.state = Some(graph::state_of(&file.net, phase, Some(&over)));
    if file.net.layer.is_empty() {
        return Err(Error::new(ErrorKind::Graph, "the file holds no layers")
            .help("is it a solver's definition, or was it cut short?")
            .at(Place::File(file.path.display().to_string())));
    }
    let build = |net: &NetParameter| {
        let mut params = Params::new();
        let options = NetOptions {
            backward: phase == Phase::Train,
            optimize: Level::Off,
            // Nobody runs it: no filler need.
            brought: Some(&|_, _| true),
            locate: Some(&|index, field| file.place(index, field)),
            ..NetOptions::default()
        };
        Net::new(net, &mut params, &options, &mut Silent).map(|net| (net, params))
    };
    match build(&file.net) {
        Err(error) if matches!(error.kind(), ErrorKind::Data | ErrorKind::Io) => {
            let mut net = file.net.clone();
            let shapes = guesses(&net);
            if shapes.is_empty() || graph::stand_in(&mut net, &shapes).is_err() {
                return Err(error.help("give the shapes of what the data layers bring: --shape=data:1x3x227x227,label:1"));
            }
            let built = build(&net)?;
            let told: Vec<String> = shapes.iter().map(|(n, s)| format!("{n} {s}")).collect();
            ui.warn(&format!(
                "the data of this net are not at hand; shapes are those of its options: {}",
                told.join(", ")
            ));
            Ok(built)
        }
        other => other,
    }
}

/// The shapes of data that are not at hand, by their blobs.
fn guesses(net: &NetParameter) -> Vec<(String, Shape)> {
    let mut all: Vec<(String, Shape)> = Vec::new();
    let Ok((kept, ..)) = graph::filter(net) else {
        return all;
    };
    for layer in &kept.layer {
        if layers::of(layer).is_ok_and(|k| k.role == Role::Data) {
            let batch = deploy::batch(layer).unwrap_or(1);
            let shapes = deploy::guess(layer, batch as usize);
            all.extend(layer.top.iter().cloned().zip(shapes.unwrap_or_default()));
        }
    }
    all
}
