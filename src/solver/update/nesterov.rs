//! Nesterov's accelerated gradient: v' = momentum · v + rate · g;  w ← w - ((1 + momentum) · v' - momentum · v).
//!
//! The step is the one that looks ahead along the momentum, written for weights that are kept where the look-ahead is
//! (Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013).

use super::{Rule, Tick, UpdateRule};
use crate::{error::Result, kernels::simd::wide, schema::SolverParameter};

/// The row of the table.
pub(super) const RULE: Rule = Rule {
    name: "Nesterov",
    build,
};

struct Nesterov {
    momentum: f32,
}

fn build(param: &SolverParameter) -> Result<Box<dyn UpdateRule>> {
    Ok(Box::new(Nesterov {
        momentum: param.momentum(),
    }))
}

impl UpdateRule for Nesterov {
    fn histories(&self) -> usize {
        1
    }

    fn apply(&self, tick: &Tick, w: &mut [f32], g: &mut [f32], h: &mut [&mut [f32]]) {
        let [v] = h else { return };
        step(self.momentum, tick.rate, w, g, v);
    }
}

wide! {
    fn step(momentum: f32, rate: f32, w: &mut [f32], g: &mut [f32], v: &mut [f32]) {
        for ((w, g), v) in w.iter_mut().zip(g).zip(v) {
            let before = *v;
            *v = momentum * before + rate * *g;
            *g = (1.0 + momentum) * *v - momentum * before;
            *w -= *g;
        }
    }
}
