//! How a net runs: one step after the other, buffers moved out of the arena while a layer writes them.
//!
//! The borrow checker is served by ownership: the vectors that a step writes are taken out of the arena, everything
//! else is borrowed, and they go back afterwards, whatever happened.

use std::{fmt, mem, time::Instant};

use super::{
    Net,
    plan::{Action, Few, Place, Step},
};
use crate::{
    error::{Error, Result},
    graph::{self, Node, ValueId},
    layer::{Backward, Forward, InPlace, InPlaceBackward, Layer},
    params::{Param, Params},
    rng::{Use, stream},
    tensor::{Shape, View, ViewMut},
};

/// A value that is not a finite number; `Display` tells where it is.
#[derive(Clone, Debug)]
pub struct NonFinite {
    /// The layer's name.
    pub layer: String,
    /// Its type.
    pub kind: &'static str,
    /// In which of its blobs.
    pub place: NonFinitePlace,
    /// Which element, in C order.
    pub element: usize,
    /// NaN or an infinity.
    pub value: f32,
}

/// Which blob of a layer holds a [`NonFinite`].
#[derive(Clone, Debug)]
pub enum NonFinitePlace {
    /// A parameter, by its number.
    Param(usize),
    /// A top.
    Top {
        /// Its name.
        blob: String,
        /// Its extents.
        shape: Shape,
    },
}

impl fmt::Display for NonFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            layer,
            kind,
            element,
            value,
            ..
        } = self;
        match &self.place {
            NonFinitePlace::Param(p) => write!(
                f,
                "parameter {p} of layer '{layer}' ({kind}) holds {value} at element {element}: the last update made it so"
            ),
            NonFinitePlace::Top { blob, .. } => write!(
                f,
                "top '{blob}' of layer '{layer}' ({kind}) holds {value} at element {element}"
            ),
        }
    }
}

impl Net {
    /// Runs all layers and returns the total loss: every loss top, times its weight.
    ///
    /// # Errors
    /// Of the first layer that fails, with its place.
    pub fn forward(&mut self, params: &mut Params) -> Result<f32> {
        self.pull()?;
        self.compute(params)
    }

    /// [`Net::forward`] on the records that are already there: data layers are not asked again.
    ///
    /// # Errors
    /// Of the first layer that fails, with its place.
    pub fn forward_again(&mut self, params: &mut Params) -> Result<f32> {
        self.compute(params)
    }

    fn compute(&mut self, params: &mut Params) -> Result<f32> {
        self.prepack(params)?;
        for i in 0..self.plan.backward_from {
            if self.plan.steps[i].action == Action::Forward {
                self.step(i, params)?;
            }
        }
        self.passes += 1;
        if self.plan.writes_params {
            params.touch();
        }
        let mut loss = 0.0;
        for &(value, weight) in &self.losses {
            loss += self.data_of(value).data.iter().sum::<f32>() * weight;
        }
        Ok(loss)
    }

    /// Gets every data layer's next batch; batches of another shape reshape the net.
    fn pull(&mut self) -> Result<()> {
        let mut changed: Vec<(ValueId, Shape)> = Vec::new();
        for i in 0..self.plan.backward_from {
            let step = &self.plan.steps[i];
            if step.action != Action::Pull {
                continue;
            }
            let start = self.times.is_some().then(Instant::now);
            let mut tops = take_slots(&mut self.arena.slots, step.tops.iter().flatten());
            let node = step.node;
            let result = self.layers[node.index()].pull(&mut tops);
            put_back(&mut self.arena.slots, step.tops.iter().flatten(), tops);
            let shapes = result.map_err(|error| error.at(self.graph.place(node)))?;
            if let Some(shapes) = shapes {
                changed.extend(self.graph.node(node).tops.iter().copied().zip(shapes));
            }
            if let (Some(times), Some(start)) = (&mut self.times, start) {
                times[i] = start.elapsed();
            }
            self.note_forward(i);
        }
        if !changed.is_empty() {
            self.reshape(&changed)?;
        }
        Ok(())
    }

    /// Runs backward after [`Net::forward`]: diffs are written, gradients of parameters accumulated.
    ///
    /// # Errors
    /// Of the first layer that fails, with its place.
    pub fn backward(&mut self, params: &mut Params) -> Result<()> {
        for i in self.plan.backward_from..self.plan.steps.len() {
            self.step(i, params)?;
        }
        self.note_params(params);
        Ok(())
    }

    /// Where the last pass first met a value that is not a finite number: runs forward again on the same records.
    pub fn first_non_finite(&mut self, params: &mut Params) -> Option<NonFinite> {
        let bad = |data: &[f32]| data.iter().position(|x| !x.is_finite());
        for node in &self.graph.nodes {
            for (p, &id) in node.params.iter().enumerate() {
                let data = &params[id].value.data;
                if let Some(element) = bad(data) {
                    return Some(NonFinite {
                        layer: node.name.to_string(),
                        kind: node.kind.name,
                        place: NonFinitePlace::Param(p),
                        element,
                        value: data[element],
                    });
                }
            }
        }
        self.passes -= u64::from(self.passes > 0);
        for i in 0..self.plan.backward_from {
            if self.plan.steps[i].action == Action::Forward {
                self.step(i, params).ok()?;
            }
            let node = self.run.node(self.plan.steps[i].node);
            for &top in &node.tops {
                let view = self.data_of(top);
                if let Some(element) = bad(view.data) {
                    return Some(NonFinite {
                        layer: node.name.to_string(),
                        kind: node.kind.name,
                        place: NonFinitePlace::Top {
                            blob: self.graph.value(top).name.to_string(),
                            shape: view.shape.clone(),
                        },
                        element,
                        value: view.data[element],
                    });
                }
            }
        }
        None
    }

    fn step(&mut self, i: usize, params: &mut Params) -> Result<()> {
        let start = self.times.is_some().then(Instant::now);
        if self.plan.steps[i].moving {
            self.ask_shapes(i, params)?;
        }
        let step = &self.plan.steps[i];
        let node = self.run.node(step.node);
        if let Action::Seed(value) = step.action {
            self.seed_diff(i, value);
        } else {
            if let Some(seen) = &mut self.seen
                && step.action == Action::Forward
                && self.layers[step.node.index()].reducible()
            {
                // Bottoms of absorbed layers come last and meet no weights.
                let own = node.bottoms.len() - node.extra;
                for (&id, place) in node.bottoms[..own].iter().zip(&step.bottoms) {
                    if let Some(place) = *place {
                        let bottom = view(&self.run.values, &self.arena.slots, id, place);
                        seen.see(&node.name, bottom.data);
                    }
                }
            }
            let mut held: Few<Param> = node.params.iter().map(|&id| params.lend(id)).collect();
            let mut run = Run {
                step,
                node,
                values: &self.run.values,
                slots: &mut self.arena.slots,
                workspace: &mut self.arena.workspace,
                params: &mut held,
                seed: self.seed,
                pass: self.passes,
            };
            let layer = &mut *self.layers[step.node.index()];
            let result = match (step.action, step.in_place) {
                (Action::Forward, false) => run.forward(layer),
                (Action::Forward, true) => run.forward_in_place(layer),
                (Action::Backward, false) => run.backward(layer),
                (Action::Backward, true) => run.backward_in_place(layer),
                (Action::Pull | Action::Seed(_), _) => Ok(()),
            };
            for (&id, param) in node.params.iter().zip(held) {
                params.take_back(id, param);
            }
            result.map_err(|error: Error| error.at(self.graph.place(step.node)))?;
        }
        if let (Some(times), Some(start)) = (&mut self.times, start) {
            times[i] = start.elapsed();
        }
        if self.debug.is_some() {
            if i < self.plan.backward_from {
                self.note_forward(i);
                self.note_forward_params(i, params);
            } else {
                self.note_backward(i, params);
            }
        }
        Ok(())
    }

    /// Lets a layer that knows the shapes of its tops only now tell them, and reshapes what is behind it. Every buffer
    /// stays in its place, so what earlier steps left is still there.
    fn ask_shapes(&mut self, i: usize, params: &mut Params) -> Result<()> {
        let step = &self.plan.steps[i];
        let id = step.node;
        let bottoms: Few<View<'_>> = (self.run.node(id).bottoms.iter())
            .zip(&step.bottoms)
            .filter_map(|(&b, &place)| Some(view(&self.run.values, &self.arena.slots, b, place?)))
            .collect();
        let asked = self.layers[id.index()].incoming_shapes(&bottoms);
        drop(bottoms);
        let Some(shapes) = asked.map_err(|error| error.at(self.graph.place(id)))? else {
            return Ok(());
        };
        match graph::reshape_behind(&mut self.graph, &mut self.layers, id, shapes) {
            Ok(behind) => {
                self.settle_shapes();
                self.plan.grow(&self.run, &self.layers);
                if let Err(error) = self.check_memory() {
                    self.reshape(&[])?;
                    return Err(error);
                }
                self.arena.fit(&self.plan.slots, self.plan.workspace);
                self.prepack_again(&behind, params)
            }
            Err(error) => {
                // Some shapes have changed, some not: back to those that were planned.
                self.reshape(&[])?;
                Err(error)
            }
        }
    }

    fn seed_diff(&mut self, i: usize, value: ValueId) {
        let Some(place) = self.plan.steps[i].top_diffs[0] else {
            return;
        };
        let count = self.graph.value(value).shape.count();
        let weight = self.loss_weight(value);
        let diff = &mut self.arena.slots[place.slot][place.range(count)];
        match &self.fed_diffs[value.index()] {
            Some(fed) if fed.len() == count => diff.copy_from_slice(fed),
            _ => diff.fill(weight),
        }
    }
}

fn take_slots<'a>(slots: &mut [Vec<f32>], which: impl Iterator<Item = &'a Place>) -> Few<Vec<f32>> {
    which
        .map(|place| mem::take(&mut slots[place.slot]))
        .collect()
}

/// One step with everything it touches.
struct Run<'a> {
    step: &'a Step,
    node: &'a Node,
    values: &'a [crate::graph::Value],
    slots: &'a mut [Vec<f32>],
    workspace: &'a mut [f32],
    params: &'a mut [Param],
    seed: u64,
    pass: u64,
}

impl Run<'_> {
    fn forward(&mut self, layer: &mut dyn Layer) -> Result<()> {
        let mut held = take_slots(self.slots, self.step.tops.iter().flatten());
        let result = {
            let bottoms: Few<View<'_>> = self
                .node
                .bottoms
                .iter()
                .zip(&self.step.bottoms)
                .filter_map(|(&id, &place)| Some(view(self.values, self.slots, id, place?)))
                .collect();
            let mut tops: Few<ViewMut<'_>> = self
                .node
                .tops
                .iter()
                .zip(self.step.tops.iter().flatten())
                .zip(&mut held)
                .map(|((&id, place), data)| view_mut(self.values, id, place, data))
                .collect();
            layer.forward(&mut Forward {
                bottoms: &bottoms,
                tops: &mut tops,
                params: self.params,
                workspace: self.workspace,
                rng: &mut stream(self.seed, Use::Forward, self.node.def.index, self.pass),
            })
        };
        put_back(self.slots, self.step.tops.iter().flatten(), held);
        result
    }

    fn forward_in_place(&mut self, layer: &mut dyn Layer) -> Result<()> {
        let mut held = take_slots(self.slots, self.step.tops.iter().flatten());
        let place = self.step.tops[0].unwrap_or_default();
        let result = layer.forward_in_place(&mut InPlace {
            data: view_mut(self.values, self.node.tops[0], &place, &mut held[0]),
            params: self.params,
            workspace: self.workspace,
            rng: &mut stream(self.seed, Use::Forward, self.node.def.index, self.pass),
        });
        put_back(self.slots, self.step.tops.iter().flatten(), held);
        result
    }

    fn backward(&mut self, layer: &mut dyn Layer) -> Result<()> {
        let mut held = take_slots(self.slots, self.step.bottom_diffs.iter().flatten());
        let result = {
            let views = |ids: &[ValueId], places: &[Option<Place>]| -> Few<Option<View<'_>>> {
                ids.iter()
                    .zip(places)
                    .map(|(&id, &place)| {
                        place.map(|place| view(self.values, self.slots, id, place))
                    })
                    .collect()
            };
            let bottoms = views(&self.node.bottoms, &self.step.bottoms);
            let tops = views(&self.node.tops, &self.step.tops);
            let top_diffs = views(&self.node.tops, &self.step.top_diffs);
            let mut written = held.iter_mut();
            let mut bottom_diffs: Few<Option<ViewMut<'_>>> = self
                .node
                .bottoms
                .iter()
                .zip(&self.step.bottom_diffs)
                .map(|(&id, place)| {
                    let place = place.as_ref()?;
                    written
                        .next()
                        .map(|data| view_mut(self.values, id, place, data))
                })
                .collect();
            layer.backward(&mut Backward {
                bottoms: &bottoms,
                tops: &tops,
                top_diffs: &top_diffs,
                bottom_diffs: &mut bottom_diffs,
                params: self.params,
                workspace: self.workspace,
            })
        };
        put_back(self.slots, self.step.bottom_diffs.iter().flatten(), held);
        result
    }

    fn backward_in_place(&mut self, layer: &mut dyn Layer) -> Result<()> {
        let mut held = take_slots(self.slots, self.step.bottom_diffs.iter().flatten());
        let read = |ids: &[ValueId], places: &[Option<Place>]| {
            places[0].map(|place| view(self.values, self.slots, ids[0], place))
        };
        let place = self.step.bottom_diffs[0].unwrap_or_default();
        let result = layer.backward_in_place(&mut InPlaceBackward {
            bottom: read(&self.node.bottoms, &self.step.bottoms),
            top: read(&self.node.tops, &self.step.tops),
            diff: view_mut(self.values, self.node.bottoms[0], &place, &mut held[0]),
            params: self.params,
            workspace: self.workspace,
        });
        put_back(self.slots, self.step.bottom_diffs.iter().flatten(), held);
        result
    }
}

fn put_back<'a>(
    slots: &mut [Vec<f32>],
    which: impl Iterator<Item = &'a Place>,
    held: Few<Vec<f32>>,
) {
    for (place, data) in which.zip(held) {
        slots[place.slot] = data;
    }
}

fn view<'a>(
    values: &'a [crate::graph::Value],
    slots: &'a [Vec<f32>],
    id: ValueId,
    place: Place,
) -> View<'a> {
    let shape = &values[id.index()].shape;
    View {
        shape,
        data: &slots[place.slot][place.range(shape.count())],
    }
}

fn view_mut<'a>(
    values: &'a [crate::graph::Value],
    id: ValueId,
    place: &Place,
    data: &'a mut [f32],
) -> ViewMut<'a> {
    let shape = &values[id.index()].shape;
    ViewMut {
        shape,
        data: &mut data[place.range(shape.count())],
    }
}
