//! A model being read: its constants, the blobs made so far with their shapes, and the layers.

use std::collections::{HashMap, HashSet};

use super::super::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, Stored, ValueInfoProto,
};
use crate::{
    error::{Error, ErrorKind, Place, Result},
    layer::{LayerDef, Setup},
    layers,
    schema::{BlobProto, BlobShape, InputParameter, LayerParameter, ParameterParameter, Phase},
    tensor::{Shape, Tensor},
};

/// What has been read.
pub(super) struct Reader<'m> {
    pub(super) graph: &'m GraphProto,
    /// The version of the standard operators.
    pub(super) opset: i64,
    pub(super) constants: HashMap<String, Stored>,
    pub(super) layers: Vec<LayerParameter>,
    pub(super) notes: Vec<String>,
    /// By name in the model: the blob that holds the value.
    blobs: HashMap<String, String>,
    /// By blob.
    shapes: HashMap<String, Shape>,
    names: HashSet<String>,
    taken: HashSet<String>,
    /// Factors that undo how a mean of Caffe's counts: by blob, with the layer that applies them.
    pub(super) means: HashMap<String, (usize, Vec<f32>)>,
    /// Blobs of places within a plane, with its size.
    pub(super) masks: HashMap<String, usize>,
    /// Nodes that are part of a layer already, by their place in the graph.
    pub(super) done: HashSet<usize>,
}

/// A node with its attributes.
pub(super) struct Op<'m> {
    pub(super) node: &'m NodeProto,
    /// The name of the layer that does its work.
    pub(super) name: String,
}

/// A layer of this type.
pub(super) fn layer(kind: &str) -> LayerParameter {
    LayerParameter {
        r#type: Some(kind.to_owned()),
        ..LayerParameter::default()
    }
}

/// Extents as a message has them.
pub(super) fn blob_shape(dims: impl IntoIterator<Item = i64>) -> BlobShape {
    BlobShape {
        dim: dims.into_iter().collect(),
    }
}

impl<'m> Reader<'m> {
    pub(super) fn new(model: &'m ModelProto, graph: &'m GraphProto) -> Result<Self> {
        let mut opset = 0;
        for set in &model.opset_import {
            if matches!(set.domain(), "" | "ai.onnx") {
                opset = set.version();
            }
        }
        let mut constants = HashMap::new();
        for tensor in &graph.initializer {
            constants.insert(tensor.name().to_owned(), Stored::read(tensor)?);
        }
        Ok(Self {
            graph,
            opset,
            constants,
            layers: Vec::new(),
            notes: Vec::new(),
            blobs: HashMap::new(),
            shapes: HashMap::new(),
            names: HashSet::new(),
            taken: HashSet::new(),
            means: HashMap::new(),
            masks: HashMap::new(),
            done: HashSet::new(),
        })
    }

    /// Makes the inputs, in the shapes that the model gives them or, where `told` has one, in that.
    pub(super) fn inputs(&mut self, told: &[(String, Shape)]) -> Result<()> {
        for (name, shape) in told {
            if shape.count() == 0 {
                let why = format!("'{name}' would hold no values");
                return Err(Error::param("--shape", why));
            }
            if !self.graph.input.iter().any(|i| i.name() == name) {
                let names: Vec<&str> = self.graph.input.iter().map(ValueInfoProto::name).collect();
                return Err(Error::new(
                    ErrorKind::Graph,
                    format!("the model has no input '{name}'"),
                )
                .help(format!("its inputs are {}", names.join(", "))));
            }
        }
        for input in &self.graph.input {
            let name = input.name();
            // Older models list their weights as inputs too.
            if self.constants.contains_key(name) {
                continue;
            }
            let shape = match told.iter().find(|(told, _)| told == name) {
                Some((_, shape)) => shape.clone(),
                None => self.shape_of_input(input)?,
            };
            let dims = shape.dims().iter().map(|&d| d as i64);
            let param = LayerParameter {
                input_param: Some(InputParameter {
                    shape: vec![blob_shape(dims)],
                }),
                ..layer("Input")
            };
            let name = name.to_owned();
            self.add(&name, param, &[], std::slice::from_ref(&name), Vec::new())?;
        }
        Ok(())
    }

    fn shape_of_input(&mut self, input: &ValueInfoProto) -> Result<Shape> {
        let name = input.name();
        let tensor = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        let Some(shape) = tensor.and_then(|t| t.shape.as_ref()) else {
            return Err(
                Error::unsupported(format!("input '{name}' of the model has no shape"))
                    .help(format!("give it one: --shape={name}:1x3x224x224")),
            );
        };
        let mut dims = Vec::new();
        let mut open = false;
        for (i, dim) in shape.dim.iter().enumerate() {
            match dim.dim_value.and_then(|d| usize::try_from(d).ok()) {
                Some(d) if d > 0 => dims.push(d),
                // A batch of any size becomes one item, as in Caffe's nets for inference.
                _ if i == 0 => {
                    open = true;
                    dims.push(1);
                }
                _ => {
                    return Err(Error::unsupported(format!(
                        "axis {i} of input '{name}' may have any extent"
                    ))
                    .help(format!("say which: --shape={name}:1x3x224x224")));
                }
            }
        }
        if open {
            self.notes.push(format!(
                "input '{name}' takes any batch; the net is made for one item"
            ));
        }
        Shape::checked(&dims)
    }

    /// The blob that holds a value.
    pub(super) fn blob(&self, value: &str) -> Option<&str> {
        self.blobs.get(value).map(String::as_str)
    }

    /// The shape of a blob.
    pub(super) fn shape(&self, blob: &str) -> Shape {
        self.shapes.get(blob).cloned().unwrap_or_default()
    }

    /// Lets a value be a blob that there is.
    pub(super) fn alias(&mut self, value: &str, blob: &str) {
        self.blobs.insert(value.to_owned(), blob.to_owned());
    }

    /// How many nodes read a value, or give it out.
    pub(super) fn readers(&self, value: &str) -> usize {
        let nodes = self.graph.node.iter().flat_map(|n| &n.input);
        let outputs = self.graph.output.iter().filter(|o| o.name() == value);
        nodes.filter(|i| *i == value).count() + outputs.count()
    }

    /// The name of the node that makes a value, if it has one.
    pub(super) fn node_of(&self, value: &str) -> Option<&'m str> {
        let mut nodes = self.graph.node.iter();
        let node = nodes.find(|n| n.output.iter().any(|o| o == value))?;
        Some(node.name()).filter(|n| !n.is_empty())
    }

    /// The last layer, if it makes this value alone, and for one reader.
    pub(super) fn last_for(&self, value: &str) -> Option<&LayerParameter> {
        let last = self.layers.last()?;
        let only = matches!(&last.top[..], [top] if top == value);
        let named = self.blobs.values().filter(|blob| *blob == value).count();
        (only && named == 1 && self.readers(value) == 1).then_some(last)
    }

    /// Makes a constant a blob: a layer of its name brings it.
    pub(super) fn parameter(&mut self, name: &str) -> Result<()> {
        let Some(known) = self.constants.get(name) else {
            return Ok(());
        };
        let tensor = Tensor::new(Shape::checked(&known.dims)?, known.floats())?;
        let dims = tensor.shape.dims().iter().map(|&d| d as i64);
        let param = LayerParameter {
            parameter_param: Some(ParameterParameter {
                shape: Some(blob_shape(dims)),
            }),
            ..layer("Parameter")
        };
        self.add(name, param, &[], &[name.to_owned()], vec![tensor])
    }

    /// A name for a layer that no other has.
    pub(super) fn name(&mut self, wish: &str) -> String {
        let mut name = wish.to_owned();
        let mut count = 1;
        while !self.names.insert(name.clone()) {
            count += 1;
            name = format!("{wish}_{count}");
        }
        name
    }

    /// A name for a blob that no value of the model has.
    pub(super) fn free(&mut self, wish: &str) -> String {
        let mut name = wish.to_owned();
        let mut count = 1;
        loop {
            let nodes = self.graph.node.iter().flat_map(|n| &n.output);
            let named = nodes.into_iter().any(|o| *o == name);
            let known = self.shapes.contains_key(&name) || self.constants.contains_key(&name);
            if !named && !known && self.taken.insert(name.clone()) {
                return name;
            }
            count += 1;
            name = format!("{wish}_{count}");
        }
    }

    /// Adds a layer with its weights: builds it for the shapes of its bottoms, checks the weights against what it
    /// declares, and learns the shapes of its tops. Tops are values of the model of the same names.
    pub(super) fn add(
        &mut self,
        name: &str,
        mut param: LayerParameter,
        bottoms: &[String],
        tops: &[String],
        blobs: Vec<Tensor>,
    ) -> Result<()> {
        let name = self.name(name);
        param.name = Some(name);
        param.bottom = bottoms.to_vec();
        param.top = tops.to_vec();
        let place = Place::Layer {
            name: param.name().to_owned(),
            kind: param.r#type().to_owned(),
            bottoms: bottoms
                .iter()
                .map(|b| format!("{b} {}", self.shape(b)))
                .collect(),
        };
        let shapes: Vec<Shape> = bottoms.iter().map(|b| self.shape(b)).collect();
        let made = made(&param, &shapes, &blobs).map_err(|e| e.at(place))?;
        for (top, shape) in tops.iter().zip(made) {
            self.shapes.insert(top.clone(), shape);
            self.blobs.insert(top.clone(), top.clone());
        }
        param.blobs = blobs.into_iter().map(stored).collect();
        self.layers.push(param);
        Ok(())
    }

    /// Adds a layer of one bottom and one top.
    pub(super) fn one(
        &mut self,
        name: &str,
        param: LayerParameter,
        bottom: &str,
        top: &str,
        blobs: Vec<Tensor>,
    ) -> Result<()> {
        self.add(name, param, &[bottom.to_owned()], &[top.to_owned()], blobs)
    }

    /// Adds a layer on the way to something; returns its top.
    pub(super) fn step(
        &mut self,
        op: &Op<'_>,
        what: &str,
        param: LayerParameter,
        bottoms: &[String],
        blobs: Vec<Tensor>,
    ) -> Result<String> {
        let name = format!("{}/{what}", op.name);
        let top = self.free(&name);
        self.add(&name, param, bottoms, std::slice::from_ref(&top), blobs)?;
        Ok(top)
    }

    /// Adds layers of one bottom and one top, each on the one before; the last has the operator's name.
    pub(super) fn steps(
        &mut self,
        op: &Op<'_>,
        mut steps: Vec<(&str, LayerParameter)>,
        mut x: String,
        y: &str,
    ) -> Result<()> {
        let Some((_, last)) = steps.pop() else {
            self.alias(y, &x);
            return Ok(());
        };
        for (what, param) in steps {
            x = self.step(op, what, param, &[x], Vec::new())?;
        }
        self.one(&op.name, last, &x, y, Vec::new())
    }

    /// Takes the last layer back.
    pub(super) fn take_back(&mut self) {
        if let Some(layer) = self.layers.pop() {
            self.names.remove(layer.name());
            for top in &layer.top {
                self.shapes.remove(top);
                self.blobs.remove(top);
            }
        }
    }
}

/// The shapes of a layer's tops, once its weights are found to fit.
fn made(param: &LayerParameter, shapes: &[Shape], blobs: &[Tensor]) -> Result<Vec<Shape>> {
    let kind = layers::of(param)?;
    let def = LayerDef {
        param: param.clone(),
        phase: Phase::Test,
        backward: false,
        root: std::path::PathBuf::new(),
        seed: 0,
        index: 0,
    };
    let mut layer = (kind.build)(&def)?;
    let mut setup = Setup {
        bottoms: shapes,
        declared: Vec::new(),
    };
    layer.setup(&mut setup)?;
    let declared: Vec<&Shape> = setup.declared.iter().map(|d| &d.shape).collect();
    let brought: Vec<&Shape> = blobs.iter().map(|b| &b.shape).collect();
    if declared != brought {
        return Err(Error::new(
            ErrorKind::Weights,
            format!("the weights have shapes {brought:?}, but the layer takes {declared:?}"),
        ));
    }
    layer.reshape(shapes)
}

fn stored(tensor: Tensor) -> BlobProto {
    BlobProto {
        shape: Some(blob_shape(tensor.shape.dims().iter().map(|&d| d as i64))),
        data: tensor.data,
        ..BlobProto::default()
    }
}

impl<'m> Op<'m> {
    /// What the node does.
    pub(super) fn kind(&self) -> &'m str {
        self.node.op_type()
    }

    /// The name of an input; `None` where it is left out.
    pub(super) fn input(&self, i: usize) -> Option<&'m str> {
        let name = self.node.input.get(i).map(String::as_str);
        name.filter(|n| !n.is_empty())
    }

    /// The name of an output; `None` where it is left out.
    pub(super) fn output(&self, i: usize) -> Option<&'m str> {
        let name = self.node.output.get(i).map(String::as_str);
        name.filter(|n| !n.is_empty())
    }

    /// The first output.
    pub(super) fn y(&self) -> Result<String> {
        let name = self.output(0).map(str::to_owned);
        name.ok_or_else(|| self.refuse("it has no output"))
    }

    fn attribute(&self, name: &str) -> Option<&'m AttributeProto> {
        self.node.attribute.iter().find(|a| a.name() == name)
    }

    /// Whether an attribute is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    /// An attribute of one integer.
    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, AttributeProto::i)
    }

    /// An attribute of one number.
    pub(super) fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).map_or(default, AttributeProto::f)
    }

    /// An attribute of text.
    pub(super) fn text(&self, name: &str, default: &str) -> String {
        self.attribute(name).map_or_else(
            || default.to_owned(),
            |a| String::from_utf8_lossy(a.s()).into_owned(),
        )
    }

    /// An attribute of integers; empty where it is not there.
    pub(super) fn ints(&self, name: &str) -> &'m [i64] {
        self.attribute(name).map_or(&[], |a| &a.ints)
    }

    /// An attribute of integers that are extents.
    pub(super) fn extents(&self, name: &str) -> Result<Vec<usize>> {
        let all = self.ints(name).iter().map(|&i| usize::try_from(i));
        all.collect::<Result<_, _>>()
            .map_err(|_| self.refuse(&format!("'{name}' is {:?}", self.ints(name))))
    }

    /// An attribute of a tensor.
    pub(super) fn tensor(&self, name: &str) -> Result<Option<Stored>> {
        let tensor = self.attribute(name).and_then(|a| a.t.as_ref());
        tensor.map(Stored::read).transpose()
    }

    /// Refuses attributes that are none of these.
    pub(super) fn knows(&self, names: &[&str]) -> Result<()> {
        match self
            .node
            .attribute
            .iter()
            .find(|a| !names.contains(&a.name()))
        {
            Some(other) => Err(self.refuse(&format!("attribute '{}' is not known", other.name()))),
            None => Ok(()),
        }
    }

    /// The blob of an input; a constant becomes one.
    pub(super) fn x(&self, reader: &mut Reader<'_>, i: usize) -> Result<String> {
        let name = self
            .input(i)
            .ok_or_else(|| self.refuse(&format!("input {i} is missing")))?;
        if reader.blob(name).is_none() {
            reader.parameter(name)?;
        }
        match reader.blob(name) {
            Some(blob) => Ok(blob.to_owned()),
            None => Err(self.refuse(&format!("nothing makes its input '{name}'"))),
        }
    }

    /// An input that is a constant.
    pub(super) fn constant<'r>(&self, reader: &'r Reader<'_>, i: usize) -> Option<&'r Stored> {
        reader.constants.get(self.input(i)?)
    }

    /// An input that has to be a constant.
    pub(super) fn needs<'r>(
        &self,
        reader: &'r Reader<'_>,
        i: usize,
        what: &str,
    ) -> Result<&'r Stored> {
        self.constant(reader, i)
            .ok_or_else(|| self.refuse(&format!("{what} are computed, not stored")))
    }

    /// The error that no layer does this.
    pub(super) fn refuse(&self, why: &str) -> Error {
        Error::unsupported(format!(
            "node '{}' ({}) cannot become a layer: {why}",
            self.name,
            self.node.op_type()
        ))
    }
}
