//! Adam: m ← β₁ · m + (1 - β₁) · g;  v ← β₂ · v + (1 - β₂) · g²;
//! w ← w - rate · √(1 - β₂ᵗ) / (1 - β₁ᵗ) · m / (√v + delta), with t the updates so far, this one included.
//!
//! Source: Kingma, Ba, "Adam: A Method for Stochastic Optimization", 2015, in the form that corrects the rate instead
//! of m and v. β₁ is `momentum`, β₂ `momentum2`. Histories: m of all weights, then v.

use super::{Rule, Tick, UpdateRule};
use crate::{error::Result, kernels::simd::wide, schema::SolverParameter};

/// The row of the table.
pub(super) const RULE: Rule = Rule {
    name: "Adam",
    build,
};

struct Adam {
    beta1: f32,
    beta2: f32,
    delta: f32,
}

fn build(param: &SolverParameter) -> Result<Box<dyn UpdateRule>> {
    Ok(Box::new(Adam {
        beta1: param.momentum(),
        beta2: param.momentum2(),
        delta: param.delta(),
    }))
}

impl UpdateRule for Adam {
    fn histories(&self) -> usize {
        2
    }

    fn remembers_gradients(&self) -> bool {
        true
    }

    fn apply(&self, tick: &Tick, w: &mut [f32], g: &mut [f32], h: &mut [&mut [f32]]) {
        let [m, v] = h else { return };
        let t = (tick.iteration + 1) as f64;
        let power = |beta: f32| 1.0 - f64::from(beta).powf(t);
        let correction = power(self.beta2).sqrt() / power(self.beta1);
        let rate = (f64::from(tick.rate) * correction) as f32;
        step(self.beta1, self.beta2, self.delta, rate, w, g, m, v);
    }
}

wide! {
    #[allow(clippy::too_many_arguments, reason = "four numbers and four streams of one loop")]
    fn step(beta1: f32, beta2: f32, delta: f32, rate: f32, w: &mut [f32], g: &mut [f32], m: &mut [f32], v: &mut [f32]) {
        for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
            *m = (1.0 - beta1) * *g + beta1 * *m;
            *v = (1.0 - beta2) * (*g * *g) + beta2 * *v;
            *g = rate * (*m / (v.sqrt() + delta));
            *w -= *g;
        }
    }
}
