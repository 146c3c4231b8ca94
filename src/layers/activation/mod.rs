//! Layers that work element by element.

use crate::{kernels::simd, layer::LayerType};

mod abs_val;
mod bias;
mod bnll;
mod broadcast;
mod clip;
mod elu;
mod exp;
mod h_swish;
mod log;
mod logarithm;
mod mish;
mod power;
mod prelu;
mod relu;
mod relu6;
mod scale;
mod sigmoid;
mod swish;
mod tanh;
mod threshold;
mod unary;

/// The rows of this family, sorted by type.
pub(super) const TYPES: &[&LayerType] = &[
    &abs_val::TYPE,
    &bnll::TYPE,
    &bias::TYPE,
    &clip::TYPE,
    &elu::TYPE,
    &exp::TYPE,
    &h_swish::TYPE,
    &log::TYPE,
    &mish::TYPE,
    &prelu::TYPE,
    &power::TYPE,
    &relu::TYPE,
    &relu6::TYPE,
    &scale::TYPE,
    &sigmoid::TYPE,
    &swish::TYPE,
    &tanh::TYPE,
    &threshold::TYPE,
];

/// ln(1 + e^x), small results to their last digits.
#[inline(always)]
fn softplus(x: f32) -> f32 {
    let e = simd::exp(-x.abs());
    let u = 1.0 + e;
    // What rounding 1 + e lost is made good by the ratio: Kahan's ln(1 + e).
    let rest = if u == 1.0 {
        e
    } else {
        simd::ln(u) * (e / (u - 1.0))
    };
    rest + if x > 0.0 { x } else { 0.0 }
}
