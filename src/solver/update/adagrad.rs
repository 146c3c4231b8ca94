//! AdaGrad: h ← h + g²;  w ← w - rate · g / (√h + delta).
//!
//! Source: Duchi, Hazan, Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization", 2011.

use super::{Rule, Tick, UpdateRule, no_momentum};
use crate::{error::Result, kernels::simd::wide, schema::SolverParameter};

/// The row of the table.
pub(super) const RULE: Rule = Rule {
    name: "AdaGrad",
    build,
};

struct AdaGrad {
    delta: f32,
}

fn build(param: &SolverParameter) -> Result<Box<dyn UpdateRule>> {
    no_momentum(param)?;
    Ok(Box::new(AdaGrad {
        delta: param.delta(),
    }))
}

impl UpdateRule for AdaGrad {
    fn histories(&self) -> usize {
        1
    }

    fn remembers_gradients(&self) -> bool {
        true
    }

    fn apply(&self, tick: &Tick, w: &mut [f32], g: &mut [f32], h: &mut [&mut [f32]]) {
        let [h] = h else { return };
        step(self.delta, tick.rate, w, g, h);
    }
}

wide! {
    fn step(delta: f32, rate: f32, w: &mut [f32], g: &mut [f32], h: &mut [f32]) {
        for ((w, g), h) in w.iter_mut().zip(g).zip(h) {
            *h += *g * *g;
            *g = rate * (*g / (h.sqrt() + delta));
            *w -= *g;
        }
    }
}
