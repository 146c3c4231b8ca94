//! From gradients to new weights: clip, normalize, regularize, then the update rule of the solver's `type`.
//!
//! Weights are cut into chunks of one fixed length, and a chunk goes through all stages while it is in the cache.
//! Every element is computed alone and every sum has a fixed shape, so the number of threads changes no bit.

mod adadelta;
mod adagrad;
mod adam;
mod nesterov;
mod rmsprop;
mod sgd;

use smallvec::SmallVec;

use super::regularize::Regularizer;
use crate::{
    error::{Error, ErrorKind, Result},
    kernels::{
        cut::{self, Cut, Units},
        map, reduce,
    },
    model_io::caffemodel::legacy_equals,
    nearest::nearest,
    params::{Param, ParamId, Params},
    schema::SolverParameter,
    tensor::{Shape, Tensor},
};

/// What a rule is told about the update.
#[derive(Clone, Copy, Debug)]
pub struct Tick {
    /// The rate of this parameter: the schedule's, times its `lr_mult`.
    pub rate: f32,
    /// Updates made before this one.
    pub iteration: u64,
}

/// An update rule: what to do with a gradient that is clipped, normalized and regularized.
pub trait UpdateRule: Send + Sync {
    /// How many values it remembers for each weight. In files, the first of all weights come before the second.
    fn histories(&self) -> usize;

    /// Whether histories change with every gradient, also where the rate is 0.
    fn remembers_gradients(&self) -> bool {
        false
    }

    /// Updates one stretch of one parameter: takes the update off `w` and leaves it in `g`. All slices, those of the
    /// histories `h` too, are of one length.
    fn apply(&self, tick: &Tick, w: &mut [f32], g: &mut [f32], h: &mut [&mut [f32]]);
}

/// One row of the table.
pub struct Rule {
    /// The `type` of the solver file.
    pub name: &'static str,
    /// Makes the rule.
    pub build: fn(&SolverParameter) -> Result<Box<dyn UpdateRule>>,
}

/// All rules.
pub const RULES: &[Rule] = &[
    sgd::RULE,
    nesterov::RULE,
    adagrad::RULE,
    rmsprop::RULE,
    adadelta::RULE,
    adam::RULE,
];

fn rule(param: &SolverParameter) -> Result<(&'static str, Box<dyn UpdateRule>)> {
    let name = param.r#type();
    if let Some(rule) = RULES.iter().find(|r| r.name == name) {
        return Ok((rule.name, (rule.build)(param)?));
    }
    let have: Vec<&str> = RULES.iter().map(|r| r.name).collect();
    let error = Error::param("type", format!("unknown solver type '{name}'"));
    Err(match nearest(name, have.iter().copied()) {
        Some(near) => error.help(format!("did you mean '{near}'?")),
        None => error.help(format!("the types are: {}", have.join(", "))),
    })
}

/// For rules without momentum: refuses it, as Caffe does.
fn no_momentum(param: &SolverParameter) -> Result<()> {
    match param.momentum() {
        0.0 => Ok(()),
        momentum => Err(Error::param(
            "momentum",
            format!("is {momentum}, and solver type {} has none", param.r#type()),
        )
        .help("leave momentum out, or choose another type: SGD, Nesterov and Adam use it")),
    }
}

/// Floats of a chunk: all streams of it fit in a first-level cache.
const CHUNK: usize = 2048;

/// Everything that turns gradients into weights, with the histories.
pub(super) struct Updater {
    /// The name of the rule.
    pub(super) name: &'static str,
    rule: Box<dyn UpdateRule>,
    regularizer: Regularizer,
    weight_decay: f32,
    clip: f32,
    iter_size: u32,
    ids: Vec<ParamId>,
    /// As in state files: the first history of every parameter, then the second.
    history: Vec<Tensor>,
    /// Whether a parameter can change at all.
    moving: Vec<bool>,
    /// Whether updates stay in the gradients, for `snapshot_diff`; else gradients are cleared.
    keep_updates: bool,
}

/// The histories of a stretch of a parameter.
struct Histories<'a>(SmallVec<[&'a mut [f32]; 2]>);

impl Cut for Histories<'_> {
    fn cut(self, units: usize) -> (Self, Self) {
        let halves = self.0.into_iter().map(|h| h.split_at_mut(units));
        let (head, tail) = halves.unzip();
        (Self(head), Self(tail))
    }
}

impl Updater {
    /// For these parameters, with histories of zeros.
    ///
    /// # Errors
    /// `Param` or `Unsupported` for what the message has wrong.
    pub(super) fn new(param: &SolverParameter, ids: Vec<ParamId>, params: &Params) -> Result<Self> {
        let (name, rule) = rule(param)?;
        let history = (0..rule.histories())
            .flat_map(|_| &ids)
            .map(|&id| Tensor::zeros(params[id].value.shape.clone()))
            .collect();
        let mut made = Self {
            name,
            rule,
            regularizer: Regularizer::new(param)?,
            weight_decay: param.weight_decay(),
            clip: param.clip_gradients(),
            iter_size: u32::try_from(param.iter_size())
                .ok()
                .filter(|&n| n > 0)
                .ok_or_else(|| {
                    Error::param(
                        "iter_size",
                        format!("is {}, must be at least 1", param.iter_size()),
                    )
                })?,
            ids,
            history,
            moving: Vec::new(),
            keep_updates: param.snapshot_diff(),
        };
        made.see_what_moves(params);
        Ok(made)
    }

    /// A frozen parameter with momentum left from before it was frozen still moves, as in Caffe; and where histories
    /// keep gradients, decay is one.
    fn see_what_moves(&mut self, params: &Params) {
        let n = self.ids.len();
        self.moving = (0..n)
            .map(|i| {
                let param = &params[self.ids[i]];
                let decays = self.weight_decay * param.decay_mult != 0.0;
                param.lr_mult != 0.0
                    || (decays && self.rule.remembers_gradients())
                    || (i..self.history.len())
                        .step_by(n)
                        .any(|k| self.history[k].data.iter().any(|&v| v != 0.0))
            })
            .collect();
    }

    /// Forward and backward passes whose gradients make one update.
    pub(super) fn iter_size(&self) -> u32 {
        self.iter_size
    }

    /// The histories, in the order of state files.
    pub(super) fn history(&self) -> &[Tensor] {
        &self.history
    }

    /// Whether stored histories fit these parameters.
    ///
    /// # Errors
    /// `Weights` where they do not, naming the first that differs.
    pub(super) fn check_history(&self, stored: &[Tensor]) -> Result<()> {
        if stored.len() != self.history.len() {
            return Err(Error::new(
                ErrorKind::Weights,
                format!(
                    "the state holds {} history blobs; this net with solver type {} has {}",
                    stored.len(),
                    self.name,
                    self.history.len()
                ),
            )
            .help("resume with the net and the solver type that wrote the state; to start from weights of another net, give the .caffemodel as weights"));
        }
        let same = |own: &Shape, stored: &Shape| {
            own == stored || (stored.axes() == 4 && legacy_equals(own, stored))
        };
        match (0..stored.len()).find(|&i| !same(&self.history[i].shape, &stored[i].shape)) {
            None => Ok(()),
            Some(i) => Err(Error::new(
                ErrorKind::Weights,
                format!(
                    "history blob {i} of the state has shape {}, the net's parameter {}",
                    stored[i].shape, self.history[i].shape
                ),
            )
            .help("resume with the net that wrote the state")),
        }
    }

    /// Takes over stored histories, checked before.
    pub(super) fn set_history(&mut self, stored: Vec<Tensor>, params: &Params) {
        for (own, stored) in self.history.iter_mut().zip(stored) {
            own.data = stored.data;
        }
        self.see_what_moves(params);
    }

    /// Scales all gradients down where their L2 norm passes `clip_gradients`; then tells norm and bound.
    pub(super) fn clip(&self, params: &mut Params) -> Option<(f32, f32)> {
        if self.clip < 0.0 {
            return None;
        }
        let squares = self
            .ids
            .iter()
            .map(|&id| reduce::sumsq_f64(&params[id].grad));
        let sum: f64 = squares.sum();
        let norm = sum.sqrt() as f32;
        if norm > self.clip {
            let scale = self.clip / norm;
            for &id in &self.ids {
                map::scal(scale, &mut params[id].grad);
            }
            return Some((norm, self.clip));
        }
        None
    }

    /// Whether [`Updater::apply`] leaves the gradients at zero, so that nobody has to clear them before the next pass.
    pub(super) fn clears(&self) -> bool {
        !self.keep_updates
    }

    /// Makes the update. What was taken off each weight is left in its gradient where `snapshot_diff` asks for it; else
    /// the gradients are zero then.
    pub(super) fn apply(&mut self, params: &mut Params, rate: f32, iteration: u64) {
        for i in 0..self.ids.len() {
            let param = &mut params[self.ids[i]];
            if self.moving[i] {
                self.apply_to(i, param, rate, iteration);
            } else if !self.keep_updates {
                map::fill(&mut param.grad, 0.0);
            }
        }
    }

    /// One parameter: each chunk goes through all stages while it is in the cache.
    fn apply_to(&mut self, i: usize, param: &mut Param, rate: f32, iteration: u64) {
        let tick = Tick {
            rate: rate * param.lr_mult,
            iteration,
        };
        let decay = self.weight_decay * param.decay_mult;
        let normalize = 1.0 / self.iter_size as f32;
        let (rule, regularizer, clear) = (&*self.rule, self.regularizer, !self.keep_updates);
        let several = self.iter_size > 1;
        let stages = |w: &mut [f32], g: &mut [f32], h: &mut [&mut [f32]]| {
            if several {
                map::scal(normalize, g);
            }
            regularizer.add(decay, w, g);
            rule.apply(&tick, w, g, h);
        };
        let own = self.history.iter_mut().skip(i).step_by(self.ids.len());
        let histories = Histories(own.map(|h| &mut h.data[..]).collect());
        let (w, g) = (&mut param.value.data[..], &mut param.grad[..]);
        let (count, streams) = (w.len(), 2 + 2 + 2 * histories.0.len());
        let parts = (Units(w, 1), Units(g, 1), histories);
        cut::each(parts, count, 4 * streams, |_, (w, g, mut histories)| {
            let mut gradients = g.0.chunks_mut(CHUNK);
            let mut zeros = [0.0; CHUNK];
            for (at, w) in w.0.chunks_mut(CHUNK).enumerate() {
                let at = at * CHUNK;
                let stretch = |h: &'_ mut &mut [f32]| at..(at + CHUNK).min(h.len());
                let mut h: SmallVec<[&mut [f32]; 2]> = SmallVec::new();
                for history in &mut histories.0 {
                    let range = stretch(history);
                    h.push(&mut history[range]);
                }
                match gradients.next() {
                    Some(g) => {
                        stages(w, g, &mut h);
                        if clear {
                            g.fill(0.0);
                        }
                    }
                    // A parameter that no loss reaches has no gradient, yet decay and momentum still act on it.
                    None => {
                        let g = &mut zeros[..w.len()];
                        g.fill(0.0);
                        stages(w, g, &mut h);
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests;
