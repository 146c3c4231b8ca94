//! A net of one phase as rules see it: who makes and who reads each blob, shapes as far as they can be told. Unlike a
//! [`crate::graph`] it also stands for nets that are broken, and for nets whose data is not at hand.

use std::{collections::HashMap, path::Path};

use crate::{
    error::{Error, ErrorKind, Place, Result},
    graph,
    layer::{Layer, LayerDef, LayerType, ParamDecl, Role, Setup},
    layers,
    load::NetFile,
    schema::{LayerParameter, NetParameter, NetState, Phase},
    tensor::Shape,
};

/// A layer that lives in the phase.
pub(crate) struct Node<'a> {
    /// Its index in the file's message.
    pub(crate) index: usize,
    pub(crate) layer: &'a LayerParameter,
    /// `None` for a type that is not in the catalogue.
    pub(crate) kind: Option<&'static LayerType>,
    /// Indices of values; `None` for a blob that nobody makes.
    pub(crate) bottoms: Vec<Option<usize>>,
    pub(crate) tops: Vec<usize>,
    /// What the layer asks for, where its bottoms are known.
    pub(crate) params: Vec<ParamDecl>,
    /// What the layer itself says is wrong, all of its bottoms being certain.
    pub(crate) problem: Option<Error>,
    /// Why the data that it brings cannot be had.
    pub(crate) absent: Option<Error>,
    pub(crate) flops: u64,
}

/// A blob as one layer left it.
pub(crate) struct Value {
    pub(crate) name: String,
    pub(crate) producer: usize,
    pub(crate) top: usize,
    /// Node and which of its bottoms.
    pub(crate) readers: Vec<(usize, usize)>,
    pub(crate) shape: Option<Shape>,
    /// Whether the shape follows from what is there, not from a guess of what data may look like.
    pub(crate) certain: bool,
}

/// The net in one phase.
pub(crate) struct View<'a> {
    pub(crate) file: &'a NetFile,
    pub(crate) phase: Phase,
    /// In its state.
    pub(crate) net: NetParameter,
    pub(crate) nodes: Vec<Node<'a>>,
    pub(crate) values: Vec<Value>,
}

/// What stands for data that cannot be had.
#[derive(Clone, Copy)]
pub(crate) struct Sources<'a> {
    /// Paths start here.
    pub(crate) root: &'a Path,
    /// Shapes that the user told.
    pub(crate) shapes: &'a [(String, Shape)],
}

impl<'a> View<'a> {
    /// The view of a file in a phase.
    ///
    /// # Errors
    /// Where rules of inclusion contradict each other.
    pub(crate) fn new(
        file: &'a NetFile,
        phase: Phase,
        over: Option<&NetState>,
        sources: Sources<'_>,
    ) -> Result<Self> {
        let mut net = file.net.clone();
        let wanted = NetState {
            phase: Some(phase as i32),
            ..over.cloned().unwrap_or_default()
        };
        net.state = Some(graph::state_of(&net, phase, Some(&wanted)));
        let (_, origins, _) = graph::filter(&net)?;
        let mut view = Self {
            file,
            phase,
            net,
            nodes: Vec::new(),
            values: Vec::new(),
        };
        let mut latest: HashMap<&str, usize> = HashMap::new();
        for index in origins {
            let Some(layer) = file.net.layer.get(index) else {
                continue;
            };
            let id = view.nodes.len();
            let bottoms: Vec<Option<usize>> = (layer.bottom.iter())
                .map(|name| latest.get(name.as_str()).copied())
                .collect();
            for (slot, value) in bottoms.iter().enumerate() {
                if let Some(value) = value.and_then(|v| view.values.get_mut(v)) {
                    value.readers.push((id, slot));
                }
            }
            let mut tops = Vec::new();
            for (top, name) in layer.top.iter().enumerate() {
                tops.push(view.values.len());
                latest.insert(name, view.values.len());
                view.values.push(Value {
                    name: name.clone(),
                    producer: id,
                    top,
                    readers: Vec::new(),
                    shape: None,
                    certain: false,
                });
            }
            view.nodes.push(Node {
                index,
                layer,
                kind: layers::of(layer).ok(),
                bottoms,
                tops,
                params: Vec::new(),
                problem: None,
                absent: None,
                flops: 0,
            });
            view.infer(id, sources);
        }
        Ok(view)
    }

    /// The shapes of a node's tops.
    fn infer(&mut self, id: usize, sources: Sources<'_>) {
        let node = &self.nodes[id];
        let Some(kind) = node.kind else { return };
        let def = self.def(node.layer.clone(), sources.root);
        let told: Option<Vec<Shape>> = (node.layer.top.iter())
            .map(|top| {
                let mut told = sources.shapes.iter();
                told.find(|(name, _)| name == top).map(|(_, s)| s.clone())
            })
            .collect();
        let outside = node.layer.bottom.is_empty();
        if let Some(told) = told.filter(|told| outside && !told.is_empty()) {
            return self.set(id, told, true);
        }
        let known = |v: &Option<usize>| {
            let value = &self.values[(*v)?];
            value.shape.clone().map(|shape| (shape, value.certain))
        };
        let Some(bottoms) = node.bottoms.iter().map(known).collect::<Option<Vec<_>>>() else {
            return;
        };
        let certain = bottoms.iter().all(|(_, certain)| *certain);
        let bottoms: Vec<Shape> = bottoms.into_iter().map(|(shape, _)| shape).collect();
        let (n, m) = (bottoms.len(), node.layer.top.len());
        // Wrong numbers are told by the wiring.
        let made = if kind.role == Role::Loss {
            m.max(kind.tops.least())
        } else {
            m
        };
        if !kind.bottoms.allows(n, n) || !kind.tops.allows(made, n) {
            return;
        }
        match make(kind, &def, &bottoms) {
            Ok(made) => {
                self.nodes[id].params = made.params;
                self.nodes[id].flops = made.flops;
                self.set(id, made.tops, certain);
            }
            Err(error) if kind.role == Role::Data => {
                let guess = guess(node.layer);
                let missing = matches!(error.kind(), ErrorKind::Io) || is_other_kind(&error);
                if missing {
                    self.nodes[id].absent = Some(error);
                } else {
                    self.nodes[id].problem = Some(error);
                }
                self.set(id, guess, false);
            }
            Err(error) if certain => self.nodes[id].problem = Some(error),
            Err(_) => {}
        }
    }

    fn set(&mut self, id: usize, shapes: Vec<Shape>, certain: bool) {
        let tops = self.nodes[id].tops.clone();
        for (top, shape) in tops.into_iter().zip(shapes) {
            self.values[top].shape = Some(shape);
            self.values[top].certain = certain;
        }
    }

    /// A layer's definition in this phase.
    pub(crate) fn def(&self, param: LayerParameter, root: &Path) -> LayerDef {
        LayerDef {
            param,
            phase: self.phase,
            backward: self.phase == Phase::Train,
            root: root.to_path_buf(),
            seed: 0,
            index: 0,
        }
    }

    /// The spot of a node, or of a field in it; a layer's name and type where there is no text.
    pub(crate) fn place(&self, node: usize, field: Option<&str>) -> Option<Place> {
        let node = self.nodes.get(node)?;
        Some(self.file.place(node.index, field).unwrap_or(Place::Layer {
            name: node.layer.name().to_owned(),
            kind: node.layer.r#type().to_owned(),
            bottoms: Vec::new(),
        }))
    }

    /// The value that a node reads in a slot.
    pub(crate) fn bottom(&self, node: usize, slot: usize) -> Option<&Value> {
        let value = *self.nodes.get(node)?.bottoms.get(slot)?;
        self.values.get(value?)
    }

    /// The shape of a bottom, where it is certain.
    pub(crate) fn certain(&self, node: usize, slot: usize) -> Option<&Shape> {
        let value = self.bottom(node, slot)?;
        value.shape.as_ref().filter(|_| value.certain)
    }

    /// Whether a node adds to the loss.
    pub(crate) fn is_loss(&self, node: usize) -> bool {
        let Some(node) = self.nodes.get(node) else {
            return false;
        };
        if !node.layer.loss_weight.is_empty() {
            return node.layer.loss_weight.iter().any(|&w| w != 0.0);
        }
        match node.kind {
            Some(kind) => kind.role == Role::Loss,
            None => node.layer.r#type().contains("Loss"),
        }
    }

    /// Whether anything adds to the loss.
    pub(crate) fn has_loss(&self) -> bool {
        (0..self.nodes.len()).any(|node| self.is_loss(node))
    }

    /// For each node, whether a loss depends on it through something that has a gradient.
    pub(crate) fn under_loss(&self) -> Vec<bool> {
        let mut under = vec![false; self.nodes.len()];
        for id in (0..self.nodes.len()).rev() {
            under[id] |= self.is_loss(id);
            let node = &self.nodes[id];
            let metric = node.kind.is_some_and(|k| k.role == Role::Metric);
            if !under[id] || metric {
                continue;
            }
            for (slot, value) in node.bottoms.iter().enumerate() {
                let passes = node
                    .kind
                    .is_none_or(|k| k.has_grad(slot, node.bottoms.len()))
                    && node.layer.propagate_down.get(slot) != Some(&false);
                if let Some(value) = value.filter(|_| passes) {
                    under[self.values[value].producer] = true;
                }
            }
        }
        under
    }

    /// Whether what this node makes of its first bottom is that bottom, rearranged or cut: names of classes and signs of
    /// scores stay.
    pub(crate) fn rearranges(&self, node: usize) -> bool {
        matches!(
            self.nodes[node].layer.r#type(),
            "Flatten" | "Reshape" | "Permute" | "Crop" | "Split"
        )
    }

    /// Whether nobody brings what some layer of this phase reads, though a layer of another phase would: the file is not
    /// meant for this one.
    pub(crate) fn is_foreign(&self) -> bool {
        let mut all = self.file.net.layer.iter();
        let elsewhere = |name: &String| all.any(|l| l.top.contains(name));
        let missing = (self.nodes.iter())
            .flat_map(|n| n.layer.bottom.iter().zip(&n.bottoms))
            .find(|(_, value)| value.is_none());
        missing.is_some_and(|(name, _)| {
            let mut elsewhere = elsewhere;
            elsewhere(name)
        })
    }
}

/// What a layer turned out to be.
pub(crate) struct Made {
    pub(crate) tops: Vec<Shape>,
    pub(crate) params: Vec<ParamDecl>,
    pub(crate) flops: u64,
}

/// Makes a layer for bottoms of these shapes, and looks at it.
///
/// # Errors
/// The layer's own.
pub(crate) fn make(kind: &LayerType, def: &LayerDef, bottoms: &[Shape]) -> Result<Made> {
    let mut layer: Box<dyn Layer> = (kind.build)(def)?;
    let mut setup = Setup {
        bottoms,
        declared: Vec::new(),
    };
    layer.setup(&mut setup)?;
    let params = setup.declared;
    let given = def.param.param.len();
    if given > params.len() {
        return Err(Error::param(
            "param",
            format!(
                "given {given} times, but the layer has {} parameters",
                params.len()
            ),
        ));
    }
    let tops = layer.reshape(bottoms)?;
    for shape in &tops {
        Shape::checked(shape.dims())?;
    }
    Ok(Made {
        tops,
        params,
        flops: layer.flops(),
    })
}

/// Whether an error of opening data says that something else is there.
pub(crate) fn is_other_kind(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Format)
}

/// What data may look like: three channels, the size that the layer cuts or scales to, else a middling one.
fn guess(layer: &LayerParameter) -> Vec<Shape> {
    let transform = layer.transform_param.clone().unwrap_or_default();
    let images = layer.image_data_param.clone().unwrap_or_default();
    let dense = layer.dense_image_data_param.clone().unwrap_or_default();
    let resize = transform.resize_param.clone().unwrap_or_default();
    let sizes = [
        (transform.crop_size(), transform.crop_size()),
        (transform.crop_h(), transform.crop_w()),
        (dense.crop_height(), dense.crop_width()),
        (dense.new_height(), dense.new_width()),
        (images.new_height(), images.new_width()),
        (resize.height(), resize.width()),
    ];
    let size = sizes
        .into_iter()
        .find(|&(h, w)| h > 0 && w > 0 && h.max(w) <= 4096);
    let (h, w) = size.map_or((128, 128), |(h, w)| (h as usize, w as usize));
    let batch = batch(layer).clamp(1, 1 << 12) as usize;
    let channels = match transform.mean_value.len() {
        0 | 3 => 3,
        n => n.min(64),
    };
    let kind = layer.r#type();
    let images = matches!(
        kind,
        "Data" | "ImageData" | "DenseImageData" | "ImageSegData"
    );
    match images && channels * h * w * batch <= 1 << 30 {
        true => vec![Shape::new(&[batch, channels, h, w])],
        false => Vec::new(),
    }
}

/// Records of a batch that a layer brings; 0 where it does not say.
pub(crate) fn batch(layer: &LayerParameter) -> u64 {
    let data = layer.data_param.as_ref().map(|p| p.batch_size());
    let image = layer.image_data_param.as_ref().map(|p| p.batch_size());
    let dense = layer
        .dense_image_data_param
        .as_ref()
        .map(|p| p.batch_size());
    let hdf5 = layer.hdf5_data_param.as_ref().map(|p| p.batch_size());
    let window = layer.window_data_param.as_ref().map(|p| p.batch_size());
    let told = [data, image, dense, hdf5, window]
        .into_iter()
        .flatten()
        .next();
    told.unwrap_or(0).into()
}
