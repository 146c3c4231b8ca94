//! `fold`: BatchNorm, Scale and Bias into the weights before them, for good.

use std::path::PathBuf;

use rand::RngExt as _;
use serde_json::json;

use super::super::{
    args::{Args, Flag},
    command::{Command, Status},
    nets::{self, Loaded, Wish},
    signals,
    ui::Ui,
};
use crate::{
    error::{Error, ErrorKind, Result},
    events::Silent,
    graph::{self, NodeId},
    model_io::{
        caffemodel,
        weights::{self, Layer},
        write_file,
    },
    net::{Level, Net, NetOptions},
    number::g,
    optimize::{self, Chain, Folded},
    params::Params,
    rng,
    schema::{LayerParameter, NetParameter, NetState, Phase, ScaleParameter},
    tensor::{Shape, Tensor},
    text::print,
};

/// The row of the table.
pub(in crate::cli) const COMMAND: Command = Command {
    name: "fold",
    about: "fold BatchNorm and Scale into the weights before them: a new net with new weights",
    flags: &[
        nets::MODEL,
        nets::WEIGHTS,
        Flag::value("output", "FILE", "The new net (.prototxt)"),
        Flag::value(
            "output_weights",
            "FILE",
            "Its weights: .caffemodel, .caffemodel.h5 or .npz (default: beside the net, .caffemodel)",
        ),
        nets::SHAPE,
        nets::LEVEL,
        nets::STAGE,
        super::JSON,
    ],
    examples: "  cortado fold --model=deploy.prototxt --weights=net.caffemodel --output=folded.prototxt",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    signals::tidy()?;
    let example = "fold --model=deploy.prototxt --weights=net.caffemodel --output=folded.prototxt";
    let output = args.need("output", "a place for the new net", example)?;
    args.need("weights", "weights", example)?;
    let wish = Wish::test(false);
    let file = super::read(args, example, ui)?;
    let Loaded { net, mut params } = nets::load(args, &wish, example, ui)?;
    let chains = optimize::chains(net.graph())?;
    if chains.is_empty() {
        return Err(Error::new(ErrorKind::Graph, "nothing in this net can be folded").help(
            "a BatchNorm, Scale or Bias is folded that alone reads what a layer with weights makes, by channel",
        ));
    }
    let mut message = file.net;
    graph::stand_in(&mut message, &nets::shapes(args)?)?;
    let folded = rewritten(&message, &net, &params, &chains)?;
    let apart = apart(&folded, &message, &net, &mut params)?;
    let weights_path = args
        .path("output_weights")
        .unwrap_or_else(|| output.with_extension("caffemodel"));
    let own = |path: &PathBuf| std::fs::canonicalize(path).ok();
    let there = own(&weights_path).is_some();
    if there
        && args
            .paths("weights")
            .iter()
            .any(|w| own(w) == own(&weights_path))
    {
        return Err(Error::new(
            ErrorKind::Io,
            format!(
                "'{}' would be written over, and it is what the weights are read from",
                weights_path.display()
            ),
        )
        .help("name another file with --output_weights"));
    }
    let mut bare = folded.clone();
    bare.layer.iter_mut().for_each(|l| l.blobs.clear());
    let text = print("NetParameter", &bare);
    weights::Model::from_message(folded)?.write(&weights_path)?;
    write_file(&output, text.as_bytes())?;
    let gone: usize = chains.iter().map(|c| c.tail.len()).sum();
    let agree = match apart {
        Some(apart) => format!(
            "; outputs on noise differ by {} of the largest at most",
            g(apart)
        ),
        None => String::new(),
    };
    let json = json!({
        "output": output, "output_weights": weights_path, "folded": gone, "into": chains.len(),
        "relative": apart,
    });
    let text = format!(
        "folded {gone} layers into {}: {} and {}{agree}",
        chains.len(),
        output.display(),
        weights_path.display()
    );
    super::told(args, ui, &json, &text)
}

/// The net in TEST with chains as one layer each, and all weights in it.
fn rewritten(
    message: &NetParameter,
    net: &Net,
    params: &Params,
    chains: &[Chain],
) -> Result<NetParameter> {
    let graph = net.graph();
    let mut new = NetParameter {
        name: message.name.clone(),
        ..NetParameter::default()
    };
    for (i, node) in graph.nodes.iter().enumerate() {
        let id = NodeId(i as u32);
        let Some(origin) = node.origin else {
            continue;
        };
        if chains.iter().any(|c| c.tail.contains(&id)) {
            continue;
        }
        let Some(mut param) = message.layer.get(origin).cloned() else {
            continue;
        };
        param.include.clear();
        param.exclude.clear();
        param.blobs.clear();
        let mut blobs: Vec<Tensor> = Vec::new();
        match chains.iter().find(|c| c.head == id) {
            Some(chain) => {
                let last = chain.tail.last().map_or(node, |&l| graph.node(l));
                param.top = last.def.param.top.clone();
                // Each weighs for itself now.
                param.param.clear();
                match optimize::folded(graph, params, chain)? {
                    Folded::Weights(weights, bias) => {
                        with_bias(&mut param);
                        blobs.extend([weights, bias]);
                    }
                    Folded::Affine(map) => {
                        param = scale(param);
                        let shape = Shape::checked(&[map.scale.len()])?;
                        blobs.push(Tensor::new(shape.clone(), map.scale)?);
                        blobs.push(Tensor::new(shape, map.shift)?);
                    }
                }
            }
            None => blobs.extend(node.params.iter().map(|&p| params[p].value.clone())),
        }
        let layer = Layer {
            param,
            blobs: blobs.into_iter().map(Some).collect(),
        };
        let model = weights::Model {
            name: String::new(),
            layers: vec![layer],
        };
        new.layer.extend(model.into_message()?.layer);
    }
    Ok(new)
}

/// A layer of weights that has a bias.
fn with_bias(param: &mut LayerParameter) {
    if let Some(p) = &mut param.convolution_param {
        p.bias_term = None;
        p.bias_filler = None;
    }
    if let Some(p) = &mut param.inner_product_param {
        p.bias_term = None;
        p.bias_filler = None;
    }
}

/// The layer Scale that does the work of one that scaled and shifted.
fn scale(param: LayerParameter) -> LayerParameter {
    LayerParameter {
        name: param.name,
        r#type: Some("Scale".to_owned()),
        bottom: param.bottom,
        top: param.top,
        scale_param: Some(ScaleParameter {
            bias_term: Some(true),
            ..ScaleParameter::default()
        }),
        ..LayerParameter::default()
    }
}

/// How far the outputs of the folded net and the one that was are apart on noise, relative to the largest value; `None`
/// where a net reads data of its own.
fn apart(
    folded: &NetParameter,
    message: &NetParameter,
    net: &Net,
    params: &mut Params,
) -> Result<Option<f64>> {
    let inputs: Vec<String> = net.inputs().into_iter().map(str::to_owned).collect();
    if inputs.is_empty() || !net.cursors().is_empty() {
        return Ok(None);
    }
    let state = |message: &NetParameter| NetParameter {
        state: Some(NetState {
            phase: Some(Phase::Test.into()),
            ..message.state.clone().unwrap_or_default()
        }),
        ..message.clone()
    };
    // The net as it is written, with the same weights.
    let plain = NetOptions {
        optimize: Level::Off,
        share: Some(net),
        ..NetOptions::default()
    };
    let mut net = Net::new(&state(message), params, &plain, &mut Silent)?;
    let mut new_params = Params::new();
    let options = NetOptions::default();
    let mut new = Net::new(&state(folded), &mut new_params, &options, &mut Silent)?;
    caffemodel::load_weights(folded, &new, &mut new_params)?;
    for (i, name) in inputs.iter().enumerate() {
        let Some(view) = net.blob(name) else { continue };
        let mut tensor = Tensor::zeros(view.shape.clone());
        let mut rng = rng::stream(0, rng::Use::Other, i as u64, 0);
        tensor
            .data
            .iter_mut()
            .for_each(|x| *x = rng.random_range(-1.0..1.0));
        net.set_input(name, &tensor)?;
        new.set_input(name, &tensor)?;
    }
    net.forward(params)?;
    new.forward(&mut new_params)?;
    let mut most = 0.0f64;
    for (name, _, want) in net.output_values() {
        let Some(got) = new.blob(name) else {
            return Err(Error::new(
                ErrorKind::Graph,
                format!("output '{name}' is gone from the folded net"),
            ));
        };
        let largest = want.data.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        let difference = want.data.iter().zip(got.data);
        let difference = difference.fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
        most = most.max(f64::from(difference) / f64::from(largest).max(1e-30));
    }
    Ok(Some(most))
}
