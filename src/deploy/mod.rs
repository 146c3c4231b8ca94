//! From the net that is trained to the net that is deployed, and whether two such nets belong together.
//!
//! Data layers become inputs, losses the layers that make of their scores what one wants to know, and what only measures
//! or labels goes. Rules of inclusion are those of TEST.

mod compare;
mod inputs;
mod losses;
mod text;

use std::{collections::HashSet, path::PathBuf};

pub use compare::{Difference, compare, preparation};
pub use inputs::{batch, guess};
pub use text::render;

use crate::{
    error::{Error, ErrorKind, Result},
    graph,
    layer::{LayerType, Role},
    layers::{self, data},
    schema::{BlobShape, InputParameter, LayerParameter, NetParameter, NetState, Phase},
    tensor::Shape,
};

/// How to make a net that is deployed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Items of a batch.
    pub batch: usize,
    /// Shapes of inputs by name, instead of those that the data have.
    pub shapes: Vec<(String, Shape)>,
    /// Scores of losses that count less than the largest are outputs too.
    pub all_losses: bool,
    /// Relative paths of the net start here; empty means the working directory.
    pub root: PathBuf,
    /// Level and stages, for the rules of inclusion.
    pub state: NetState,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch: 1,
            shapes: Vec::new(),
            all_losses: false,
            root: PathBuf::new(),
            state: NetState::default(),
        }
    }
}

/// A layer of a net that is deployed.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Its message.
    pub layer: LayerParameter,
    /// Which layer of the net that is trained it is, where it is one of them, rules of inclusion aside.
    pub origin: Option<usize>,
}

/// A net that is deployed.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// Its name.
    pub name: Option<String>,
    /// Its layers.
    pub pieces: Vec<Piece>,
    /// What its user should know; a sentence each.
    pub notes: Vec<String>,
}

impl Deployed {
    /// The net as a message.
    pub fn net(&self) -> NetParameter {
        NetParameter {
            name: self.name.clone(),
            layer: self.pieces.iter().map(|p| p.layer.clone()).collect(),
            ..NetParameter::default()
        }
    }
}

/// What becomes of a layer.
enum Fate {
    Keep,
    /// Its tops are inputs.
    Input,
    Drop,
    /// Others stand in its place, and these blobs are outputs.
    Replace(Vec<LayerParameter>, Vec<String>),
}

/// Makes the net that is deployed from the one that is trained.
///
/// # Errors
/// `Graph` where rules of inclusion contradict each other or nothing is left; `Data` where the size of an input cannot be
/// told.
pub fn deploy(net: &NetParameter, options: &Options) -> Result<Deployed> {
    let mut net = net.clone();
    let over = NetState {
        phase: Some(Phase::Test.into()),
        ..options.state.clone()
    };
    net.state = Some(graph::state_of(&net, Phase::Test, Some(&over)));
    let (mut kept, mut origins, _) = graph::filter(&net)?;
    borrow_data(&net, &mut kept, &mut origins);
    borrow_losses(&net, &mut kept, &mut origins);
    let mut notes = Vec::new();
    let fates = fates(&kept.layer, options, &mut notes)?;
    let needed = needed(&kept.layer, &fates);
    let mut pieces = Vec::new();
    for (i, (layer, fate)) in kept.layer.iter().zip(fates).enumerate() {
        match fate {
            Fate::Drop => {}
            Fate::Keep if needed[i].is_empty() => {}
            Fate::Keep => pieces.push(Piece {
                layer: for_inference(layer, options, &kept.layer, &mut notes),
                origin: origins.get(i).copied(),
            }),
            Fate::Input if needed[i].is_empty() => {}
            Fate::Input => {
                let shapes = inputs::shapes(layer, options, &mut notes)?;
                let tops = layer.top.iter().zip(shapes);
                let (top, shape): (Vec<String>, Vec<Shape>) = tops
                    .filter(|(top, _)| needed[i].contains(top))
                    .map(|(top, shape)| (top.clone(), shape))
                    .unzip();
                let as_message = |s: Shape| BlobShape {
                    dim: s.dims().iter().map(|&d| d as i64).collect(),
                };
                pieces.push(Piece {
                    layer: LayerParameter {
                        name: layer.name.clone(),
                        r#type: Some("Input".to_owned()),
                        top,
                        input_param: Some(InputParameter {
                            shape: shape.into_iter().map(as_message).collect(),
                        }),
                        ..LayerParameter::default()
                    },
                    origin: None,
                });
            }
            Fate::Replace(layers, _) => pieces.extend(layers.into_iter().map(|layer| Piece {
                layer,
                origin: None,
            })),
        }
    }
    if pieces.iter().all(|p| p.layer.r#type() == "Input") {
        return Err(Error::new(
            ErrorKind::Graph,
            "nothing of the net is left to be deployed",
        )
        .help("are its layers excluded in phase TEST, or at this level and these stages?"));
    }
    Ok(Deployed {
        name: net.name.clone(),
        pieces,
        notes,
    })
}

/// Whether layers of this type bring what the net is fed: read, given, or drawn.
fn gives_data(kind: &LayerType) -> bool {
    matches!(kind.role, Role::Data | Role::Input) || kind.name == "DummyData"
}

/// A net whose only data layer is for TRAIN gets its inputs from that.
fn borrow_data(net: &NetParameter, kept: &mut NetParameter, origins: &mut Vec<usize>) {
    let mut made: HashSet<&str> = HashSet::new();
    let mut missing: Vec<&String> = Vec::new();
    for layer in &kept.layer {
        missing.extend(layer.bottom.iter().filter(|b| !made.contains(b.as_str())));
        made.extend(layer.top.iter().map(String::as_str));
    }
    let missing: Vec<String> = missing.into_iter().cloned().collect();
    let mut taken = Vec::new();
    for (i, layer) in net.layer.iter().enumerate() {
        let is_data = layers::of(layer).is_ok_and(gives_data);
        let gives = layer.top.iter().any(|t| missing.contains(t));
        if is_data && gives && !origins.contains(&i) {
            taken.push((i, layer.clone()));
        }
    }
    for (at, (i, layer)) in taken.into_iter().enumerate() {
        kept.layer.insert(at, layer);
        origins.insert(at, i);
    }
}

/// A net whose losses are for TRAIN alone gets what stands in their place, unless it gives out detections.
fn borrow_losses(net: &NetParameter, kept: &mut NetParameter, origins: &mut Vec<usize>) {
    let answers =
        |l: &LayerParameter| losses::weight(l).is_some() || l.r#type().ends_with("DetectionOutput");
    if kept.layer.iter().any(answers) {
        return;
    }
    for (i, layer) in net.layer.iter().enumerate() {
        let scores = layer.bottom.first();
        let made = scores.is_some_and(|s| kept.layer.iter().any(|l| l.top.contains(s)));
        if made && losses::weight(layer).is_some() && !origins.contains(&i) {
            kept.layer.push(layer.clone());
            origins.push(i);
        }
    }
}

fn fates(all: &[LayerParameter], options: &Options, notes: &mut Vec<String>) -> Result<Vec<Fate>> {
    // Blobs that come from the data as they are: inputs and labels.
    let mut given: HashSet<&str> = HashSet::new();
    // Blobs that are made of what is dropped.
    let mut lost: HashSet<&str> = HashSet::new();
    let mut fates = Vec::with_capacity(all.len());
    let heaviest = all
        .iter()
        .filter_map(losses::weight)
        .fold(0.0f32, |most, w| most.max(w.abs()));
    let mut several = 0;
    for layer in all {
        let weight = losses::weight(layer);
        several += usize::from(weight.is_some_and(|w| options.all_losses || w.abs() == heaviest));
    }
    // Beside what is fed, constants stay what they are; a net of nothing else is fed in their place.
    let fed = all
        .iter()
        .any(|layer| layers::of(layer).is_ok_and(|k| matches!(k.role, Role::Data | Role::Input)));
    let mut names: HashSet<String> = all.iter().map(|l| l.name().to_owned()).collect();
    names.extend(all.iter().flat_map(|l| l.top.clone()));
    for (i, layer) in all.iter().enumerate() {
        let kind = layers::of(layer)?;
        let read_later = || {
            let later = all[i + 1..].iter().flat_map(|l| &l.bottom);
            later.into_iter().any(|b| layer.top.contains(b))
        };
        let fate = match kind.role {
            _ if fed && data::is_constant(layer) => {
                given.extend(layer.top.iter().map(String::as_str));
                Fate::Keep
            }
            _ if gives_data(kind) => {
                given.extend(layer.top.iter().map(String::as_str));
                Fate::Input
            }
            Role::Metric if !read_later() => Fate::Drop,
            _ if matches!(
                layer.r#type(),
                "Silence" | "HDF5Output" | "BoxAnnotatorOHEM"
            ) =>
            {
                lost.extend(layer.top.iter().map(String::as_str));
                Fate::Drop
            }
            _ if layer.r#type() == "MarginInnerProduct" => {
                lost.extend(layer.top.iter().map(String::as_str));
                Fate::Replace(Vec::new(), layer.bottom.iter().take(1).cloned().collect())
            }
            _ if layer.bottom.iter().any(|b| lost.contains(b.as_str())) => {
                lost.extend(layer.top.iter().map(String::as_str));
                Fate::Drop
            }
            _ => match losses::weight(layer) {
                Some(weight) if weight.abs() < heaviest && !options.all_losses => {
                    notes.push(format!(
                        "loss '{}' counts {weight} and was left out, with the layers for it alone",
                        layer.name()
                    ));
                    Fate::Drop
                }
                Some(_) => {
                    if layer.r#type() == "FocalLoss" {
                        notes.push(format!(
                            "in the place of '{}' stands a Softmax; where it has a label for each score, make it a Sigmoid",
                            layer.name()
                        ));
                    }
                    let (made, outputs) = losses::replace(layer, &given, several > 1, &mut names);
                    Fate::Replace(made, outputs)
                }
                None => Fate::Keep,
            },
        };
        fates.push(fate);
    }
    Ok(fates)
}

/// By layer: those of its tops that an output depends on; where the layer is an output itself, all of them.
fn needed(all: &[LayerParameter], fates: &[Fate]) -> Vec<Vec<String>> {
    let mut wanted: HashSet<String> = HashSet::new();
    // Without a loss what is measured is what is wanted.
    if !fates.iter().any(|f| matches!(f, Fate::Replace(..))) {
        for (layer, fate) in all.iter().zip(fates) {
            let measures = layers::of(layer).is_ok_and(|k| k.role == Role::Metric);
            if measures && matches!(fate, Fate::Drop) {
                wanted.extend(layer.bottom.first().cloned());
            }
        }
    }
    let mut needed = vec![Vec::new(); all.len()];
    for i in (0..all.len()).rev() {
        let layer = &all[i];
        match &fates[i] {
            Fate::Replace(made, outputs) => {
                wanted.extend(made.iter().flat_map(|l| l.bottom.clone()));
                wanted.extend(outputs.iter().cloned());
            }
            Fate::Drop => {}
            fate => {
                // What nobody reads, not even who is dropped, was an output already.
                let read = |top: &String| all[i + 1..].iter().any(|l| l.bottom.contains(top));
                let own = |top: &&String| {
                    wanted.contains(*top) || (matches!(fate, Fate::Keep) && !read(top))
                };
                let tops: Vec<String> = layer.top.iter().filter(own).cloned().collect();
                if !tops.is_empty() {
                    wanted.extend(layer.bottom.iter().cloned());
                }
                needed[i] = tops;
            }
        }
    }
    needed
}

/// A layer as it runs when deployed: without rules of inclusion, constants with as many items as are fed.
fn for_inference(
    layer: &LayerParameter,
    options: &Options,
    all: &[LayerParameter],
    notes: &mut Vec<String>,
) -> LayerParameter {
    let mut layer = layer.clone();
    if let Some(batch) = all.iter().find_map(inputs::batch)
        && let Some(dummy) = &mut layer.dummy_data_param
    {
        let firsts = dummy.shape.iter_mut().filter_map(|s| s.dim.first_mut());
        for first in firsts.filter(|d| **d == i64::from(batch)) {
            *first = options.batch as i64;
        }
        for num in dummy.num.iter_mut().filter(|n| **n == batch) {
            *num = options.batch as u32;
        }
    }
    layer.include.clear();
    layer.exclude.clear();
    layer.phase = None;
    layer.loss_weight.clear();
    if let Some(param) = &mut layer.batch_norm_param
        && param.use_global_stats == Some(false)
    {
        param.use_global_stats = None;
        notes.push(format!(
            "BatchNorm '{}' took the statistics of its batch; deployed it takes the stored ones",
            layer.name.as_deref().unwrap_or_default()
        ));
    }
    layer
}

#[cfg(test)]
mod tests;
