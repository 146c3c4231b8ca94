//! Stochastic gradient descent with momentum: v ← momentum · v + rate · g;  w ← w - v.

use super::{Rule, Tick, UpdateRule};
use crate::{error::Result, kernels::simd::wide, schema::SolverParameter};

/// The row of the table.
pub(super) const RULE: Rule = Rule { name: "SGD", build };

struct Sgd {
    momentum: f32,
}

fn build(param: &SolverParameter) -> Result<Box<dyn UpdateRule>> {
    Ok(Box::new(Sgd {
        momentum: param.momentum(),
    }))
}

impl UpdateRule for Sgd {
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
            *v = momentum * *v + rate * *g;
            *g = *v;
            *w -= *v;
        }
    }
}
