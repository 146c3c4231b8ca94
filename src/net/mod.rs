//! A net that runs: graph, layers, plan and arena together, and access to its blobs by name.

mod arena;
mod calibration;
mod classes;
mod debug;
mod exec;
mod law;
mod liveness;
mod plan;
mod prepack;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, time::Duration};

pub use arena::Arena;
pub use calibration::{Calibration, Precision};
pub use exec::{NonFinite, NonFinitePlace};
pub use plan::Keep;

pub use crate::optimize::Level;

use crate::{
    error::{Error, ErrorKind, Result},
    events::{Event, Observer, TopInfo},
    graph::{self, Brought, BuildOptions, Built, Graph, Locate, NodeId, ValueId},
    layer::{Layer, Role},
    memory,
    optimize::optimize,
    params::{ParamId, Params},
    schema::{NetParameter, Phase},
    tensor::{Shape, Tensor, View},
};
use liveness::Kept;
use plan::{Place, Plan};
use prepack::Ready;

/// How to make a net.
#[derive(Clone, Default)]
pub struct NetOptions<'a> {
    /// Relative paths of the net start here; empty means the working directory.
    pub root: PathBuf,
    /// Names the random streams: same seed, same numbers.
    pub seed: u64,
    /// Whether [`Net::backward`] is wanted.
    pub backward: bool,
    /// Which blobs stay readable after a pass.
    pub keep: Keep,
    /// Blobs that stay readable besides, by name.
    pub wanted: &'a [String],
    /// How far the net may be rewritten where it is in TEST and nothing in it runs backward. Blobs that stay readable
    /// are never lost to it.
    pub optimize: Level,
    /// What products are computed in; only nets that do not run backward may have less than `f32`.
    pub precision: Precision<'a>,
    /// Take the parameters of the layers of the same name from this net, as a test net does from its train net.
    pub share: Option<&'a Net>,
    /// Which parameters the caller sets, from a file of weights: their fillers do not run.
    pub brought: Option<Brought<'a>>,
    /// Where the text stands, for errors.
    pub locate: Option<Locate<'a>>,
}

/// Which way a step goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Forward, data layers included.
    Forward,
    /// Backward.
    Backward,
}

/// The time of one step of the last pass.
#[derive(Clone, Copy, Debug)]
pub struct StepTime {
    /// Whose step.
    pub node: NodeId,
    /// Which.
    pub pass: Pass,
    /// How long it took.
    pub time: Duration,
}

/// A net. Parameters are lent to it: see [`Params`].
pub struct Net {
    /// As it was declared.
    graph: Graph,
    /// As it runs: the same numbers, some nodes and values gone.
    run: Graph,
    layers: Vec<Box<dyn Layer>>,
    plan: Plan,
    arena: Arena,
    kept: Kept,
    ready: Ready,
    seed: u64,
    passes: u64,
    losses: Vec<(ValueId, f32)>,
    /// Diffs that the caller set for outputs, by value.
    fed_diffs: Vec<Option<Vec<f32>>>,
    /// One entry a step, while profiling.
    times: Option<Vec<Duration>>,
    /// Lines of `debug_info`, while asked for.
    debug: Option<Vec<String>>,
    /// What reducible layers read, while asked for.
    seen: Option<Calibration>,
}

impl Net {
    /// Makes the net of a message (in its `state`: phase, level, stages); its new parameters go to `params`, filled.
    ///
    /// # Errors
    /// With the layer and, through `options.locate`, the line, for whatever does not fit.
    pub fn new(
        net: &NetParameter,
        params: &mut Params,
        options: &NetOptions<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        let Built {
            graph,
            layers,
            skipped,
            kept,
            learns,
        } = graph::build(
            net,
            params,
            &BuildOptions {
                root: options.root.clone(),
                seed: options.seed,
                backward: options.backward,
                share: options.share.map(|n| &n.graph),
                brought: options.brought,
                locate: options.locate,
            },
        )?;
        for why in &skipped {
            observer.on(&Event::LayerSkipped { why });
        }
        observer.on(&Event::NetInit { net: &kept });
        let kept = Kept::new(&graph, options.keep, options.wanted);
        let backward = graph.nodes.iter().any(|n| n.needs_backward);
        let (mut run, mut layers) = (graph.clone(), layers);
        let level = match graph.phase {
            Phase::Test if !backward && !net.debug_info() => options.optimize,
            _ => Level::Off,
        };
        let pinned = kept.pinned(&graph);
        let fused = optimize(&mut run, &mut layers, &pinned, level)?;
        prepack::reduce(&run, &mut layers, options)?;
        let losses = graph.losses().collect();
        let mut made = Self {
            plan: Plan::default(),
            arena: Arena::default(),
            fed_diffs: vec![None; graph.values.len()],
            graph,
            run,
            layers,
            kept,
            ready: Ready::new(backward),
            seed: options.seed,
            passes: 0,
            losses,
            times: None,
            debug: net.debug_info().then(Vec::new),
            seen: None,
        };
        made.replan()?;
        made.announce(params, &learns, observer);
        if !fused.is_empty() {
            observer.on(&Event::Fused { summary: &fused });
        }
        Ok(made)
    }

    /// Plans buffers for the current shapes.
    fn replan(&mut self) -> Result<()> {
        self.plan = plan::plan(&self.run, &self.layers, &self.kept);
        law::verify(&self.run, &self.layers, &self.plan)
            .map_err(|law| Error::new(ErrorKind::Graph, format!("plan law broken: {law}")))?;
        self.check_memory()?;
        self.arena.fit(&self.plan.slots, self.plan.workspace);
        if self.times.is_some() {
            self.times = Some(vec![Duration::ZERO; self.plan.steps.len()]);
        }
        Ok(())
    }

    /// Refuses what is planned where no machine has so much.
    fn check_memory(&self) -> Result<()> {
        let slots = self.plan.slots.iter();
        let floats = slots.fold(self.plan.workspace, |sum, n| sum.saturating_add(*n));
        memory::check(floats, || self.largest())
    }

    /// The blobs, in words, with the one that takes most.
    fn largest(&self) -> String {
        let largest = self.graph.values.iter().max_by_key(|v| v.shape.count());
        largest.map_or_else(String::new, |value| {
            format!(
                "the net's blobs, of which the largest is '{}' of layer '{}' with shape {},",
                value.name,
                self.graph.node(value.producer).name,
                value.shape
            )
        })
    }

    fn announce(&self, params: &Params, learns: &[bool], observer: &mut dyn Observer) {
        let mut memory = 0;
        for (index, node) in self.graph.nodes.iter().enumerate() {
            let bottoms: Vec<&str> = self.names(&node.bottoms).collect();
            let tops: Vec<TopInfo<'_>> = node
                .tops
                .iter()
                .zip(&node.loss_weights)
                .map(|(&t, &loss_weight)| {
                    let value = self.graph.value(t);
                    memory += value.shape.count() * size_of::<f32>();
                    TopInfo {
                        name: &value.name,
                        in_place: value.version > 0,
                        shape: value.shape.clone(),
                        loss_weight,
                    }
                })
                .collect();
            let shapes: Vec<Shape> = node
                .params
                .iter()
                .map(|&p| params[p].value.shape.clone())
                .collect();
            observer.on(&Event::Layer {
                name: &node.name,
                kind: node.kind.name,
                bottoms: &bottoms,
                tops: &tops,
                params: &shapes,
                memory,
                flops: self.layers[index].flops(),
            });
        }
        for (node, &needed) in self.graph.nodes.iter().zip(learns).rev() {
            observer.on(&Event::LayerBackward {
                name: &node.name,
                needed,
            });
        }
        for output in self.graph.outputs() {
            observer.on(&Event::NetOutput {
                blob: &self.graph.value(output).name,
            });
        }
        let values = &self.graph.values;
        observer.on(&Event::NetReady {
            planned_floats: self.plan.slots.iter().sum::<usize>() + self.plan.workspace,
            naive_floats: values
                .iter()
                .map(|v| v.shape.count() * (1 + usize::from(v.needs_diff)))
                .sum(),
        });
    }

    fn names<'a>(&'a self, ids: &'a [ValueId]) -> impl Iterator<Item = &'a str> + 'a {
        ids.iter().map(|&v| &*self.graph.value(v).name)
    }

    /// The net's name.
    pub fn name(&self) -> &str {
        &self.graph.name
    }

    /// The graph: layers, blobs, shapes, who needs gradients.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Floating-point operations of one forward pass of a layer; 0 where they are not worth telling.
    pub fn flops(&self, node: NodeId) -> u64 {
        self.layers[node.index()].flops()
    }

    /// Whether a forward pass writes parameters, such as the running statistics of a BatchNorm.
    pub fn writes_params(&self) -> bool {
        self.plan.writes_params
    }

    /// Parameters, each once, in the order of a solver's history.
    pub fn learnable(&self) -> Vec<ParamId> {
        self.graph.learnable()
    }

    /// Names of the blobs that the caller sets, in the order of the net.
    pub fn inputs(&self) -> Vec<&str> {
        self.graph
            .nodes
            .iter()
            .filter(|n| n.kind.role == Role::Input)
            .flat_map(|n| self.names(&n.tops))
            .collect()
    }

    /// Names of the blobs that nobody reads, sorted.
    pub fn outputs(&self) -> Vec<&str> {
        self.graph
            .outputs()
            .into_iter()
            .map(|v| &*self.graph.value(v).name)
            .collect()
    }

    /// Outputs with their loss weights (0 for none), sorted by name, for reports. Empty before the first pass.
    pub fn output_values(&self) -> impl Iterator<Item = (&str, f32, View<'_>)> + '_ {
        self.graph.outputs().into_iter().map(|v| {
            (
                &*self.graph.value(v).name,
                self.loss_weight(v),
                self.data_of(v),
            )
        })
    }

    /// The weight of a value in the total loss, 0 for none.
    fn loss_weight(&self, id: ValueId) -> f32 {
        self.losses
            .iter()
            .find(|(loss, _)| *loss == id)
            .map_or(0.0, |&(_, weight)| weight)
    }

    fn data_of(&self, id: ValueId) -> View<'_> {
        self.view_at(id, self.plan.data[id.index()])
    }

    fn view_at(&self, id: ValueId, place: Place) -> View<'_> {
        let shape = &self.graph.value(id).shape;
        View {
            shape,
            data: &self.arena.slots[place.slot][place.range(shape.count())],
        }
    }

    /// The data of a blob: what its last layer left. `None` where there is no such blob or [`Keep`] let it go.
    pub fn blob(&self, name: &str) -> Option<View<'_>> {
        let id = self.graph.latest(name)?;
        self.kept.data[id.index()]
            .then(|| self.data_of(id))
            .or_else(|| {
                let kind = self.graph.node(self.graph.value(id).producer).kind;
                matches!(kind.role, Role::Input | Role::Data).then(|| self.data_of(id))
            })
    }

    /// The gradient by a blob as its first layer made it. `None` where there is none or [`Keep`] let it go.
    pub fn diff(&self, name: &str) -> Option<View<'_>> {
        let id = self.graph.first(name)?;
        if !self.kept.diff[id.index()] {
            return None;
        }
        Some(self.view_at(id, self.plan.diff[id.index()]?))
    }

    /// The names of all blobs, each once, in the order of the net.
    pub fn blob_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for value in &self.graph.values {
            if value.version == 0 {
                names.push(&value.name);
            }
        }
        names
    }

    /// Sets one input blob: [`Net::set_inputs`].
    ///
    /// # Errors
    /// As [`Net::set_inputs`].
    pub fn set_input(&mut self, name: &str, tensor: &Tensor) -> Result<()> {
        self.set_inputs(&[(name, tensor)])
    }

    /// Sets input blobs. Other shapes than before reshape the whole net, once; where they do not fit, the net stays as
    /// it was.
    ///
    /// # Errors
    /// `Graph` where the net has no such input; a layer's error where a new shape does not fit.
    pub fn set_inputs(&mut self, inputs: &[(&str, &Tensor)]) -> Result<()> {
        let mut ids = Vec::with_capacity(inputs.len());
        let mut changed = Vec::new();
        let mut before = Vec::new();
        for &(name, tensor) in inputs {
            let id = self.input(name)?;
            ids.push(id);
            let shape = &self.graph.value(id).shape;
            if *shape != tensor.shape {
                before.push((id, shape.clone()));
                changed.push((id, tensor.shape.clone()));
            }
        }
        if !changed.is_empty()
            && let Err(error) = self.reshape(&changed)
        {
            self.reshape(&before)?;
            return Err(error);
        }
        for (id, (_, tensor)) in ids.into_iter().zip(inputs) {
            let place = self.plan.data[id.index()];
            self.arena.slots[place.slot][place.range(tensor.data.len())]
                .copy_from_slice(&tensor.data);
        }
        Ok(())
    }

    fn input(&self, name: &str) -> Result<ValueId> {
        let mut inputs = self
            .graph
            .nodes
            .iter()
            .filter(|n| n.kind.role == Role::Input)
            .flat_map(|n| n.tops.iter().copied());
        inputs
            .find(|&v| &*self.graph.value(v).name == name)
            .ok_or_else(|| {
                Error::new(ErrorKind::Graph, format!("the net has no input '{name}'"))
                    .help(format!("its inputs are: {}", self.inputs().join(", ")))
            })
    }

    /// Fills every buffer that a pass has to write with NaN: what a layer forgets to write, or reads undeclared, shows.
    pub fn poison(&mut self) {
        let inputs: Vec<usize> = self
            .graph
            .nodes
            .iter()
            .filter(|n| n.kind.role == Role::Input)
            .flat_map(|n| n.tops.iter().map(|t| self.plan.data[t.index()].slot))
            .collect();
        for (slot, data) in self.arena.slots.iter_mut().enumerate() {
            if !inputs.contains(&slot) {
                data.fill(f32::NAN);
            }
        }
        self.arena.workspace.fill(f32::NAN);
    }

    /// Sets the diff that backward starts from at an output; without it an output starts from its loss weight.
    ///
    /// # Errors
    /// `Graph` where backward does not start at this blob; `Shape` where the shape differs.
    pub fn set_diff(&mut self, name: &str, tensor: &Tensor) -> Result<()> {
        let id = self
            .graph
            .latest(name)
            .filter(|&v| self.graph.value(v).seeded)
            .ok_or_else(|| {
                Error::new(ErrorKind::Graph, format!("backward does not start at '{name}'"))
                    .help("it starts at outputs that count in the loss, or with force_backward at every output")
            })?;
        let shape = &self.graph.value(id).shape;
        if shape.count() != tensor.data.len() {
            return Err(Error::shape(format!(
                "the diff of '{name}' has shape {}, the blob {shape}",
                tensor.shape
            )));
        }
        self.fed_diffs[id.index()] = Some(tensor.data.clone());
        Ok(())
    }

    /// Whether backward starts at this blob, so that [`Net::set_diff`] may set its diff.
    pub fn starts_backward(&self, name: &str) -> bool {
        self.graph
            .latest(name)
            .is_some_and(|v| self.graph.value(v).seeded)
    }

    fn reshape(&mut self, changed: &[(ValueId, Shape)]) -> Result<()> {
        graph::reshape(&mut self.graph, &mut self.layers, changed)?;
        self.settle_shapes();
        self.ready.reshaped();
        self.replan()
    }

    /// Tells the graph that runs of the shapes of the one that was declared.
    fn settle_shapes(&mut self) {
        for (run, value) in self.run.values.iter_mut().zip(&self.graph.values) {
            run.shape.clone_from(&value.shape);
        }
    }

    /// Forward passes so far: they number the random streams.
    pub fn passes(&self) -> u64 {
        self.passes
    }

    /// Goes on as if so many forward passes had been made.
    pub fn set_passes(&mut self, passes: u64) {
        self.passes = passes;
    }

    /// Where each data layer stands: node index, layer name, records delivered.
    pub fn cursors(&self) -> Vec<(usize, String, u64)> {
        self.layers
            .iter()
            .enumerate()
            .filter_map(|(i, layer)| {
                layer
                    .position()
                    .map(|records| (i, self.graph.nodes[i].name.to_string(), records))
            })
            .collect()
    }

    /// Records of a pass over the longest of the sources that data layers read; `None` where nothing is read, or one of
    /// them never ends.
    ///
    /// # Errors
    /// Where a source cannot be read.
    pub fn records(&mut self) -> Result<Option<u64>> {
        let mut most = None;
        for layer in self.layers.iter_mut().filter(|l| l.position().is_some()) {
            match layer.records()? {
                Some(records) => most = most.max(Some(records)),
                None => return Ok(None),
            }
        }
        Ok(most)
    }

    /// Lets the data layer at a node index go on as if so many records had been delivered.
    ///
    /// # Errors
    /// `Data` where there is no such data layer, or its source cannot be had.
    pub fn seek(&mut self, node: usize, records: u64) -> Result<()> {
        match self.layers.get_mut(node) {
            Some(layer) if layer.position().is_some() => layer.seek(records),
            _ => Err(Error::data(format!(
                "layer {node} of the net reads no records"
            ))),
        }
    }

    /// Starts or stops the clock of every step.
    pub fn profile(&mut self, on: bool) {
        self.times = on.then(|| vec![Duration::ZERO; self.plan.steps.len()]);
    }

    /// The times of the last passes, in the order of the schedule; empty unless [`Net::profile`] is on.
    pub fn times(&self) -> Vec<StepTime> {
        let Some(times) = &self.times else {
            return Vec::new();
        };
        self.plan
            .steps
            .iter()
            .zip(times)
            .enumerate()
            .map(|(i, (step, &time))| StepTime {
                node: step.node,
                pass: if i < self.plan.backward_from {
                    Pass::Forward
                } else {
                    Pass::Backward
                },
                time,
            })
            .collect()
    }

    /// Turns the lines of `debug_info` on or off; the net's message may have turned them on.
    pub fn set_debug(&mut self, on: bool) {
        self.debug = on.then(Vec::new);
    }

    /// The lines of `debug_info` since the last call.
    pub fn take_debug(&mut self) -> Vec<String> {
        self.debug.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Floats in all buffers: data, diffs and workspace.
    pub fn planned_floats(&self) -> usize {
        self.plan.slots.iter().sum::<usize>() + self.plan.workspace
    }
}
