//! What exporters write with: the nodes, constants and names of an ONNX graph under way.

use std::collections::{HashMap, HashSet};

use super::super::proto::{AttributeProto, GraphProto, NodeProto, floats_tensor, int, ints_tensor};
use crate::{
    error::{Error, Result},
    graph::{Graph, Node, NodeId, ValueId},
    layer::{Forward, Layer, Setup},
    params::{Param, ParamId, Params},
    rng,
    schema::LayerParameter,
    tensor::{Shape, Tensor, View, ViewMut},
};

/// The graph under way.
pub(super) struct Emit<'a> {
    pub(super) graph: &'a Graph,
    pub(super) params: &'a Params,
    pub(super) out: GraphProto,
    /// What a user of the model should know.
    pub(super) notes: Vec<String>,
    /// By value: its name in the model.
    names: Vec<Option<String>>,
    taken: HashSet<String>,
    /// Names of nodes, which stand apart from those of values.
    nodes: HashSet<String>,
    /// By parameter and shape: the constant that holds it.
    stored: HashMap<(ParamId, Vec<usize>), String>,
}

impl<'a> Emit<'a> {
    pub(super) fn new(graph: &'a Graph, params: &'a Params) -> Self {
        Self {
            graph,
            params,
            out: GraphProto::default(),
            notes: Vec::new(),
            names: vec![None; graph.values.len()],
            taken: HashSet::new(),
            nodes: HashSet::new(),
            stored: HashMap::new(),
        }
    }

    /// A name like `wish` that nothing else has.
    pub(super) fn unique(&mut self, wish: &str) -> String {
        let mut name = wish.to_owned();
        let mut count = 1;
        while !self.taken.insert(name.clone()) {
            count += 1;
            name = format!("{wish}_{count}");
        }
        name
    }

    /// Gives a value this name, unless it has one.
    pub(super) fn call(&mut self, value: ValueId, name: &str) {
        if self.names[value.index()].is_none() {
            let name = self.unique(name);
            self.names[value.index()] = Some(name);
        }
    }

    /// Gives a value the name of another: they are one.
    pub(super) fn same(&mut self, value: ValueId, other: ValueId) {
        self.names[value.index()] = Some(self.name(other));
    }

    /// The name of a value.
    pub(super) fn name(&mut self, value: ValueId) -> String {
        if let Some(name) = &self.names[value.index()] {
            return name.clone();
        }
        let of = self.graph.value(value);
        let maker = &self.graph.node(of.producer).name;
        let wish = match of.version {
            0 if self.graph.latest(&of.name) == Some(value) => of.name.to_string(),
            _ => format!("{}@{maker}", of.name),
        };
        self.call(value, &wish);
        self.names[value.index()].clone().unwrap_or(wish)
    }

    pub(super) fn push(
        &mut self,
        op: &str,
        wish: &str,
        inputs: &[&str],
        outputs: Vec<String>,
        attributes: Vec<AttributeProto>,
    ) {
        let mut name = wish.to_owned();
        let mut count = 1;
        while !self.nodes.insert(name.clone()) {
            count += 1;
            name = format!("{wish}_{count}");
        }
        self.out.node.push(NodeProto {
            input: inputs.iter().map(|&i| i.to_owned()).collect(),
            output: outputs,
            name: Some(name),
            op_type: Some(op.to_owned()),
            attribute: attributes,
            ..NodeProto::default()
        });
    }
}

/// A layer whose turn it is.
pub(super) struct Site<'e, 'a> {
    pub(super) emit: &'e mut Emit<'a>,
    pub(super) node: &'a Node,
}

impl<'e, 'a> Site<'e, 'a> {
    pub(super) fn new(emit: &'e mut Emit<'a>, id: NodeId) -> Self {
        let node = emit.graph.node(id);
        Self { emit, node }
    }

    /// The layer's message.
    pub(super) fn param(&self) -> &'a LayerParameter {
        &self.node.def.param
    }

    /// The shape of a bottom.
    pub(super) fn bottom(&self, i: usize) -> &'a Shape {
        &self.emit.graph.value(self.node.bottoms[i]).shape
    }

    /// The shape of a top.
    pub(super) fn top(&self, i: usize) -> &'a Shape {
        &self.emit.graph.value(self.node.tops[i]).shape
    }

    /// The name of a bottom.
    pub(super) fn x(&mut self, i: usize) -> String {
        self.emit.name(self.node.bottoms[i])
    }

    /// The values of a parameter.
    pub(super) fn values(&self, i: usize) -> &'a [f32] {
        let id = self.node.params.get(i);
        id.map_or(&[], |&id| &self.emit.params[id].value.data)
    }

    /// How many parameters there are.
    pub(super) fn blobs(&self) -> usize {
        self.node.params.len()
    }

    /// The constant of a parameter, in its own shape.
    pub(super) fn blob(&mut self, i: usize) -> String {
        let dims = match self.node.params.get(i) {
            Some(&id) => self.emit.params[id].value.shape.dims().to_vec(),
            None => Vec::new(),
        };
        self.blob_as(i, &dims)
    }

    /// The constant of a parameter, in another shape.
    pub(super) fn blob_as(&mut self, i: usize, dims: &[usize]) -> String {
        let Some(&id) = self.node.params.get(i) else {
            return String::new();
        };
        if let Some(name) = self.emit.stored.get(&(id, dims.to_vec())) {
            return name.clone();
        }
        let name = self.emit.unique(&format!("{}/{i}", self.node.name));
        let data = &self.emit.params[id].value.data;
        let tensor = floats_tensor(&name, dims, data);
        self.emit.out.initializer.push(tensor);
        self.emit.stored.insert((id, dims.to_vec()), name.clone());
        name
    }

    fn constant_name(&mut self, what: &str) -> String {
        let wish = format!("{}/{what}", self.node.name);
        self.emit.unique(&wish)
    }

    /// A constant.
    pub(super) fn floats(&mut self, what: &str, dims: &[usize], data: &[f32]) -> String {
        let name = self.constant_name(what);
        let tensor = floats_tensor(&name, dims, data);
        self.emit.out.initializer.push(tensor);
        name
    }

    /// One number.
    pub(super) fn scalar(&mut self, what: &str, x: f32) -> String {
        self.floats(what, &[], &[x])
    }

    /// A list of integers.
    pub(super) fn list(&mut self, what: &str, data: &[i64]) -> String {
        let name = self.constant_name(what);
        self.emit
            .out
            .initializer
            .push(ints_tensor(&name, data, true));
        name
    }

    /// Extents as a list of integers.
    pub(super) fn extents(&mut self, what: &str, dims: &[usize]) -> String {
        let dims: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
        self.list(what, &dims)
    }

    /// One integer.
    pub(super) fn integer(&mut self, what: &str, i: i64) -> String {
        let name = self.constant_name(what);
        self.emit
            .out
            .initializer
            .push(ints_tensor(&name, &[i], false));
        name
    }

    /// A step on the way: an operator with one result, whose name is returned.
    pub(super) fn op(
        &mut self,
        op: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        self.ops(op, inputs, 1, attributes)
            .pop()
            .unwrap_or_default()
    }

    /// A step on the way with several results.
    pub(super) fn ops(
        &mut self,
        op: &str,
        inputs: &[&str],
        results: usize,
        attributes: Vec<AttributeProto>,
    ) -> Vec<String> {
        let wish = format!("{}/{op}", self.node.name);
        let results: Vec<String> = match results {
            1 => vec![self.emit.unique(&wish)],
            n => (0..n)
                .map(|i| self.emit.unique(&format!("{wish}.{i}")))
                .collect(),
        };
        self.emit
            .push(op, &wish, inputs, results.clone(), attributes);
        results
    }

    /// The last step: an operator whose result is a top. It bears the layer's name.
    pub(super) fn last(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) {
        self.end(op, inputs, 0, attributes);
    }

    /// [`Self::last`] for any top.
    pub(super) fn end(
        &mut self,
        op: &str,
        inputs: &[&str],
        top: usize,
        attributes: Vec<AttributeProto>,
    ) {
        let result = self.emit.name(self.node.tops[top]);
        let name = &self.node.name;
        self.emit.push(op, name, inputs, vec![result], attributes);
    }

    /// An operator whose results are all the tops.
    pub(super) fn end_all(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) {
        let node = self.node;
        let results = node.tops.iter().map(|&t| self.emit.name(t)).collect();
        self.emit.push(op, &node.name, inputs, results, attributes);
    }

    /// The top is the bottom.
    pub(super) fn pass(&mut self, bottom: usize, top: usize) {
        let (from, to) = (self.node.bottoms[bottom], self.node.tops[top]);
        self.emit.same(to, from);
    }

    /// `x` in another shape. An equal first extent is written as a copy, so that another batch runs through.
    pub(super) fn reshaped(&mut self, x: &str, from: &[usize], to: &[usize]) -> String {
        if from == to {
            return x.to_owned();
        }
        let shape = self.extents_like("shape", from, to);
        self.op("Reshape", &[x, &shape], Vec::new())
    }

    /// The last step: `x` in the shape of a top.
    pub(super) fn end_reshaped(&mut self, x: &str, from: &[usize], top: usize) {
        let to = self.top(top).dims();
        let shape = self.extents_like("shape", from, to);
        self.end("Reshape", &[x, &shape], top, Vec::new());
    }

    fn extents_like(&mut self, what: &str, from: &[usize], to: &[usize]) -> String {
        let mut dims: Vec<i64> = to.iter().map(|&d| d as i64).collect();
        if let (Some(first), Some(same)) = (dims.first_mut(), from.first())
            && *first == *same as i64
        {
            *first = 0;
        }
        self.list(what, &dims)
    }

    /// `x` as numbers of another kind.
    pub(super) fn cast(&mut self, x: &str, to: i64) -> String {
        self.op("Cast", &[x], vec![int("to", to)])
    }

    /// Cut along an axis from a place on, so many.
    pub(super) fn cut(
        &mut self,
        x: &str,
        axes: &[usize],
        starts: &[usize],
        ends: &[usize],
    ) -> String {
        let starts = self.extents("starts", starts);
        let ends = self.extents("ends", ends);
        let axes = self.extents("axes", axes);
        self.op("Slice", &[x, &starts, &ends, &axes], Vec::new())
    }

    /// The layer itself, made anew for the shapes of now.
    pub(super) fn layer(&self) -> Result<Box<dyn Layer>> {
        let node = self.node;
        let shapes: Vec<Shape> = (0..node.bottoms.len())
            .map(|i| self.bottom(i).clone())
            .collect();
        let mut layer = (node.kind.build)(&node.def)?;
        layer.setup(&mut Setup {
            bottoms: &shapes,
            declared: Vec::new(),
        })?;
        layer.reshape(&shapes)?;
        Ok(layer)
    }

    /// The layer's parameters.
    pub(super) fn own_params(&self) -> Vec<Param> {
        let ids = self.node.params.iter();
        ids.map(|&id| self.emit.params[id].clone()).collect()
    }

    /// What the layer makes of bottoms that hold this value all over.
    pub(super) fn computed(&mut self, value: f32) -> Result<Vec<Tensor>> {
        let mut layer = self.layer()?;
        let node = self.node;
        let filled = (0..node.bottoms.len()).map(|i| {
            let mut tensor = Tensor::zeros(self.bottom(i).clone());
            tensor.data.fill(value);
            tensor
        });
        let filled: Vec<Tensor> = filled.collect();
        let bottoms: Vec<View<'_>> = filled.iter().map(Tensor::view).collect();
        let mut tops: Vec<Tensor> = (0..node.tops.len())
            .map(|i| Tensor::zeros(self.top(i).clone()))
            .collect();
        let mut views: Vec<ViewMut<'_>> = tops
            .iter_mut()
            .map(|t| ViewMut {
                shape: &t.shape,
                data: &mut t.data,
            })
            .collect();
        let mut params = self.own_params();
        let mut workspace = vec![0.0; layer.traits().workspace];
        layer.forward(&mut Forward {
            bottoms: &bottoms,
            tops: &mut views,
            params: &mut params,
            workspace: &mut workspace,
            rng: &mut rng::stream(0, rng::Use::Other, 0, 0),
        })?;
        Ok(tops)
    }

    /// The error that ONNX cannot say what the layer does.
    pub(super) fn refuse(&self, why: &str) -> Error {
        Error::unsupported(format!(
            "layer '{}' ({}) cannot be said in ONNX: {why}",
            self.node.name, self.node.kind.name
        ))
    }
}
