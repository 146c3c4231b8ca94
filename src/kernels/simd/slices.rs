//! The functions of the room over slices, on the calling thread.

use super::{math, wide};

wide! {
    /// y\[i\] = e^x\[i\].
    pub fn exp(x: &[f32], y: &mut [f32]) {
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = math::exp(x));
    }

    /// y\[i\] = ln x\[i\].
    pub fn ln(x: &[f32], y: &mut [f32]) {
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = math::ln(x));
    }

    /// y\[i\] = tanh x\[i\].
    pub fn tanh(x: &[f32], y: &mut [f32]) {
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = math::tanh(x));
    }

    /// y\[i\] = 1 / (1 + e^-x\[i\]).
    pub fn sigmoid(x: &[f32], y: &mut [f32]) {
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = math::sigmoid(x));
    }

    /// y\[i\] = x\[i\]^e.
    pub fn pow(x: &[f32], e: f32, y: &mut [f32]) {
        powers(x, e, y);
    }
}

/// [`pow`], to be inlined into another function for one instruction set.
#[inline(always)]
pub(crate) fn powers(x: &[f32], e: f32, y: &mut [f32]) {
    const RUN: usize = 64;
    let regular = |x: f32| x > 0.0 && x < f32::INFINITY;
    let usual = e.abs() < 1e30;
    for (x, y) in x.chunks(RUN).zip(y.chunks_mut(RUN)) {
        let exponent = f64::from(e);
        y.iter_mut()
            .zip(x)
            .for_each(|(y, &x)| *y = math::positive_pow(x, exponent));
        let odd = x.iter().fold(false, |odd, &x| odd | !regular(x));
        if odd || !usual {
            y.iter_mut().zip(x).for_each(|(y, &x)| *y = math::pow(x, e));
        }
    }
}
