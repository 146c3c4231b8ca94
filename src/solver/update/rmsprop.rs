//! RMSProp: h ← rms_decay · h + (1 - rms_decay) · g²;  w ← w - rate · g / (√h + delta).
//!
//! Source: Tieleman, Hinton, "Lecture 6.5: rmsprop", 2012.

use super::{Rule, Tick, UpdateRule, no_momentum};
use crate::{
    error::{Error, Result},
    kernels::simd::wide,
    schema::SolverParameter,
};

/// The row of the table.
pub(super) const RULE: Rule = Rule {
    name: "RMSProp",
    build,
};

struct RmsProp {
    decay: f32,
    delta: f32,
}

fn build(param: &SolverParameter) -> Result<Box<dyn UpdateRule>> {
    no_momentum(param)?;
    let decay = param.rms_decay();
    if !(0.0..1.0).contains(&decay) {
        return Err(Error::param(
            "rms_decay",
            format!("is {decay}, must be from 0 to below 1"),
        ));
    }
    Ok(Box::new(RmsProp {
        decay,
        delta: param.delta(),
    }))
}

impl UpdateRule for RmsProp {
    fn histories(&self) -> usize {
        1
    }

    fn remembers_gradients(&self) -> bool {
        true
    }

    fn apply(&self, tick: &Tick, w: &mut [f32], g: &mut [f32], h: &mut [&mut [f32]]) {
        let [h] = h else { return };
        step(self.decay, self.delta, tick.rate, w, g, h);
    }
}

wide! {
    fn step(decay: f32, delta: f32, rate: f32, w: &mut [f32], g: &mut [f32], h: &mut [f32]) {
        for ((w, g), h) in w.iter_mut().zip(g).zip(h) {
            *h = (1.0 - decay) * (*g * *g) + decay * *h;
            *g = rate * (*g / (h.sqrt() + delta));
            *w -= *g;
        }
    }
}
