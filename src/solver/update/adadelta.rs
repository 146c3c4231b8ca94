//! AdaDelta: h ← momentum · h + (1 - momentum) · g²;  u = g · √((k + delta) / (h + delta));
//! k ← momentum · k + (1 - momentum) · u²;  w ← w - rate · u.
//!
//! Source: Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012. Histories: h of all weights, then k.

use super::{Rule, Tick, UpdateRule};
use crate::{error::Result, kernels::simd::wide, schema::SolverParameter};

/// The row of the table.
pub(super) const RULE: Rule = Rule {
    name: "AdaDelta",
    build,
};

struct AdaDelta {
    momentum: f32,
    delta: f32,
}

fn build(param: &SolverParameter) -> Result<Box<dyn UpdateRule>> {
    Ok(Box::new(AdaDelta {
        momentum: param.momentum(),
        delta: param.delta(),
    }))
}

impl UpdateRule for AdaDelta {
    fn histories(&self) -> usize {
        2
    }

    fn remembers_gradients(&self) -> bool {
        true
    }

    fn apply(&self, tick: &Tick, w: &mut [f32], g: &mut [f32], h: &mut [&mut [f32]]) {
        let [h, k] = h else { return };
        step(self.momentum, self.delta, tick.rate, w, g, h, k);
    }
}

wide! {
    fn step(momentum: f32, delta: f32, rate: f32, w: &mut [f32], g: &mut [f32], h: &mut [f32], k: &mut [f32]) {
        for (((w, g), h), k) in w.iter_mut().zip(g).zip(h).zip(k) {
            *h = (1.0 - momentum) * (*g * *g) + momentum * *h;
            let u = *g * ((*k + delta) / (*h + delta)).sqrt();
            *k = (1.0 - momentum) * (u * u) + momentum * *k;
            *g = rate * u;
            *w -= *g;
        }
    }
}
