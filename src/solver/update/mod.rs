//! From gradients to new weights: clip, normalize, regularize, then the update rule of the solver's `type`.
//!
//! Weights are cut into chunks of one fixed length, and a chunk goes through all stages while it is in the cache.
//! Every element is computed alone and every sum has a fixed shape, so the number of threads changes no bit.

mod sgd;

use rayon::prelude::*;
use smallvec::SmallVec;

use super::regularize::Regularizer;
use crate::{
    error::{Error, ErrorKind, Result},
    kernels::map,
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
pub const RULES: &[Rule] = &[sgd::RULE];

/// Types that Caffe has and this table does not yet.
const TO_COME: &[&str] = &["Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"];

fn rule(param: &SolverParameter) -> Result<(&'static str, Box<dyn UpdateRule>)> {
    let name = param.r#type();
    if let Some(rule) = RULES.iter().find(|r| r.name == name) {
        return Ok((rule.name, (rule.build)(param)?));
    }
    let have: Vec<&str> = RULES.iter().map(|r| r.name).collect();
    let have = have.join(", ");
    if TO_COME.contains(&name) {
        return Err(
            Error::unsupported(format!("solver type '{name}' is not available yet")).help(format!(
                "set type to one of: {have}; {} are to come",
                TO_COME.join(", ")
            )),
        );
    }
    let known = RULES.iter().map(|r| r.name).chain(TO_COME.iter().copied());
    let error = Error::param("type", format!("unknown solver type '{name}'"));
    Err(match nearest(name, known) {
        Some(near) => error.help(format!("did you mean '{near}'?")),
        None => error.help(format!("the types are: {have}")),
    })
}

/// Floats of a chunk: three streams of it fit in a small second-level cache.
const CHUNK: usize = 4096;
/// Chunks that one thread takes at a time.
const GRAIN: usize = 8;

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
}

/// A chunk with what its parameter needs.
struct Job<'a> {
    w: &'a mut [f32],
    g: &'a mut [f32],
    h: SmallVec<[&'a mut [f32]; 2]>,
    tick: Tick,
    decay: f32,
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
        };
        made.see_what_moves(params);
        Ok(made)
    }

    /// A frozen parameter with momentum left from before it was frozen still moves, as in Caffe.
    fn see_what_moves(&mut self, params: &Params) {
        let n = self.ids.len();
        self.moving = (0..n)
            .map(|i| {
                params[self.ids[i]].lr_mult != 0.0
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
        let square = |chunk: &[f32]| chunk.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let mut sum = 0.0;
        for &id in &self.ids {
            let parts: Vec<f64> = params[id].grad.par_chunks(CHUNK).map(square).collect();
            sum += parts.iter().sum::<f64>();
        }
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

    /// Makes the update; what was taken off each weight is left in its gradient.
    pub(super) fn apply(&mut self, params: &mut Params, rate: f32, iteration: u64) {
        let n = self.ids.len();
        let mut held: Vec<Param> = self
            .ids
            .iter()
            .map(|&id| std::mem::take(&mut params[id]))
            .collect();
        // A parameter that no loss reaches has no gradient, yet decay and momentum still act on it.
        let mut zeros: Vec<Vec<f32>> = held
            .iter()
            .zip(&self.moving)
            .map(|(p, &moving)| match moving && p.grad.is_empty() {
                true => vec![0.0; p.value.data.len()],
                false => Vec::new(),
            })
            .collect();
        let mut by_param: Vec<SmallVec<[std::slice::ChunksMut<'_, f32>; 2]>> =
            (0..n).map(|_| SmallVec::new()).collect();
        for (k, history) in self.history.iter_mut().enumerate() {
            by_param[k % n].push(history.data.chunks_mut(CHUNK));
        }
        let mut jobs = Vec::new();
        let params_of = held.iter_mut().zip(&mut zeros).zip(by_param);
        for (((param, zeros), mut histories), &moving) in params_of.zip(&self.moving) {
            if !moving {
                continue;
            }
            let tick = Tick {
                rate: rate * param.lr_mult,
                iteration,
            };
            let decay = self.weight_decay * param.decay_mult;
            let grad = if param.grad.is_empty() {
                zeros
            } else {
                &mut param.grad
            };
            let pairs = param
                .value
                .data
                .chunks_mut(CHUNK)
                .zip(grad.chunks_mut(CHUNK));
            jobs.extend(pairs.map(|(w, g)| Job {
                w,
                g,
                h: histories.iter_mut().filter_map(Iterator::next).collect(),
                tick,
                decay,
            }));
        }
        let normalize = 1.0 / self.iter_size as f32;
        jobs.par_iter_mut().with_min_len(GRAIN).for_each(|job| {
            if self.iter_size > 1 {
                job.g.iter_mut().for_each(|g| *g *= normalize);
            }
            self.regularizer.add(job.decay, job.w, job.g);
            self.rule.apply(&job.tick, job.w, job.g, &mut job.h);
        });
        drop(jobs);
        for (&id, param) in self.ids.iter().zip(held) {
            params[id] = param;
        }
    }
}

#[cfg(test)]
mod tests;
