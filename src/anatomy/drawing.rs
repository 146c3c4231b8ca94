//! What is drawn of a net: a box for each layer, those that work in place in the box of the layer before, and an arrow for
//! each blob that one reads of another.

use super::summary::kernel;
use crate::{
    graph::{Graph, NodeId, ValueId},
    layer::Role,
    tensor::Shape,
};

/// Which way a drawing goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// From top to bottom.
    #[default]
    Down,
    /// From left to right.
    Right,
}

/// What a box holds, which its colour tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Data,
    Filter,
    Pool,
    Activation,
    Normal,
    Join,
    Loss,
    Other,
}

/// A layer in a box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its name.
    pub(super) name: String,
    /// Its type, with its windows and outputs in short.
    pub(super) about: String,
}

/// A box.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    pub(super) family: Family,
    pub(super) lines: Vec<Line>,
}

/// An arrow from a box to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrow {
    pub(super) from: usize,
    pub(super) to: usize,
    /// The blob.
    pub(super) blob: String,
    /// Its shape.
    pub(super) shape: String,
}

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Drawing {
    pub(super) name: String,
    pub(super) figures: Vec<Figure>,
    pub(super) arrows: Vec<Arrow>,
    /// Blobs that nobody reads, by the box that makes them.
    pub(super) outputs: Vec<(usize, String, String)>,
    pub(super) direction: Direction,
}

impl Drawing {
    /// What is drawn of a graph.
    pub fn new(graph: &Graph, direction: Direction) -> Self {
        let mut drawing = Self {
            name: graph.name.clone(),
            figures: Vec::new(),
            arrows: Vec::new(),
            outputs: Vec::new(),
            direction,
        };
        // The box of each node, and of each value the one that it comes from: splits are seen through.
        let mut of_node: Vec<Option<usize>> = vec![None; graph.nodes.len()];
        let mut source: Vec<Option<(usize, ValueId)>> = vec![None; graph.values.len()];
        for (i, node) in graph.nodes.iter().enumerate() {
            if node.origin.is_none() {
                if let Some(&bottom) = node.bottoms.first() {
                    for top in &node.tops {
                        source[top.index()] = source[bottom.index()];
                    }
                }
                continue;
            }
            let line = Line {
                name: node.name.to_string(),
                about: about(graph, NodeId(i as u32)),
            };
            let host = in_place(graph, NodeId(i as u32)).and_then(|n| of_node[n.index()]);
            let at = match host {
                Some(host) => {
                    drawing.figures[host].lines.push(line);
                    host
                }
                None => {
                    drawing.figures.push(Figure {
                        family: family(graph, NodeId(i as u32)),
                        lines: vec![line],
                    });
                    let at = drawing.figures.len() - 1;
                    for &bottom in &node.bottoms {
                        if let Some((from, value)) = source[bottom.index()] {
                            let value = graph.value(value);
                            let arrow = Arrow {
                                from,
                                to: at,
                                blob: value.name.to_string(),
                                shape: extents(&value.shape),
                            };
                            if !drawing.arrows.contains(&arrow) {
                                drawing.arrows.push(arrow);
                            }
                        }
                    }
                    at
                }
            };
            of_node[i] = Some(at);
            for &top in &node.tops {
                source[top.index()] = Some((at, top));
            }
        }
        for output in graph.outputs() {
            let value = graph.value(output);
            if let Some((at, _)) = source[output.index()] {
                let (name, shape) = (value.name.to_string(), extents(&value.shape));
                drawing.outputs.push((at, name, shape));
            }
        }
        drawing
    }
}

/// Extents in short.
pub(super) fn extents(shape: &Shape) -> String {
    let dims: Vec<String> = shape.dims().iter().map(usize::to_string).collect();
    match dims.is_empty() {
        true => "scalar".to_owned(),
        false => dims.join("×"),
    }
}

/// The node in whose box a node is drawn: that before it, if it works on its only top in place.
fn in_place(graph: &Graph, id: NodeId) -> Option<NodeId> {
    let node = graph.node(id);
    let ([bottom], [top]) = (&node.bottoms[..], &node.tops[..]) else {
        return None;
    };
    if graph.value(*top).version == 0 {
        return None;
    }
    // A blob that others read before it is written over comes through a split.
    let maker = graph.value(*bottom).producer;
    (graph.node(maker).origin.is_some() && graph.node(maker).tops.len() == 1).then_some(maker)
}

fn about(graph: &Graph, id: NodeId) -> String {
    let node = graph.node(id);
    let mut text = node.kind.name.to_owned();
    let windows = kernel(graph, node);
    if !windows.is_empty() {
        text += &format!(" {windows}");
    }
    let param = &node.def.param;
    let outputs = match node.kind.name {
        "InnerProduct" => param
            .inner_product_param
            .as_ref()
            .and_then(|p| p.num_output),
        _ => param.convolution_param.as_ref().and_then(|p| p.num_output),
    };
    if let Some(outputs) = outputs {
        text += &format!(" → {outputs}");
    }
    text
}

fn family(graph: &Graph, id: NodeId) -> Family {
    let kind = graph.node(id).kind;
    match (kind.role, kind.name) {
        (Role::Data | Role::Input, _) => Family::Data,
        (Role::Loss | Role::Metric, _) | (_, "Softmax" | "DetectionOutput") => Family::Loss,
        (
            _,
            "Convolution"
            | "ConvolutionDepthwise"
            | "DepthwiseConvolution"
            | "Deconvolution"
            | "InnerProduct"
            | "Embed"
            | "LSTM"
            | "RNN",
        ) => Family::Filter,
        (
            _,
            "Pooling" | "SPP" | "ROIPooling" | "ROIAlign" | "PSROIPooling" | "Interp" | "Upsample",
        ) => Family::Pool,
        (_, "BatchNorm" | "BN" | "Scale" | "Bias" | "LRN" | "MVN" | "Normalize" | "Dropout") => {
            Family::Normal
        }
        (_, "Concat" | "Eltwise" | "Slice" | "Axpy" | "Crop") => Family::Join,
        (
            _,
            "ReLU" | "PReLU" | "ReLU6" | "ELU" | "Sigmoid" | "TanH" | "Swish" | "HSwish" | "Mish"
            | "Clip" | "Power" | "Exp" | "Log" | "AbsVal" | "BNLL" | "Threshold",
        ) => Family::Activation,
        _ => Family::Other,
    }
}

impl Family {
    /// The colour of a box, and of its border.
    pub(super) fn colours(self) -> (&'static str, &'static str) {
        match self {
            Self::Data => ("#dfe7ef", "#5b7083"),
            Self::Filter => ("#d6e4f7", "#3a6ea5"),
            Self::Pool => ("#d9efe1", "#3c8a5c"),
            Self::Activation => ("#fbeccb", "#a5781d"),
            Self::Normal => ("#e9e0f3", "#75559c"),
            Self::Join => ("#f5dfd3", "#a85c33"),
            Self::Loss => ("#f7d9dc", "#a83a47"),
            Self::Other => ("#ececec", "#6f6f6f"),
        }
    }
}
