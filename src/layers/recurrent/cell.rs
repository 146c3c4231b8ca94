//! One step of long short-term memory (Hochreiter and Schmidhuber 1997, with Gers's forget gate), for streams side by side.
//!
//! With i = σ(z₀), f = σ(z₁), o = σ(z₂), g = tanh(z₃): c = κ · f · c⁻ + i · g and h = o · tanh(c), where κ says whether the
//! stream goes on; where it is 0, c⁻ counts as 0 whatever it holds.

use crate::kernels::{
    cut::{self, Units},
    simd::{self, wide},
};

/// Bytes whose moving takes as long as one element of a step.
const BYTES: usize = 128;

/// The four gates of a stream.
fn quarters<T>(z: &[T]) -> [&[T]; 4] {
    let (low, high) = z.split_at(z.len() / 2);
    let (a, b) = low.split_at(low.len() / 2);
    let (c, d) = high.split_at(high.len() / 2);
    [a, b, c, d]
}

fn quarters_mut<T>(z: &mut [T]) -> [&mut [T]; 4] {
    let half = z.len() / 2;
    let (low, high) = z.split_at_mut(half);
    let (a, b) = low.split_at_mut(half / 2);
    let (c, d) = high.split_at_mut(half / 2);
    [a, b, c, d]
}

/// c and h of every stream; `gates` hold z before and i, f, o, g after. Streams are rows: 4d gates, d of all else.
pub(super) fn forward(
    d: usize,
    gates: &mut [f32],
    goes_on: &[f32],
    before: &[f32],
    c: &mut [f32],
    h: &mut [f32],
) {
    let parts = (
        Units(gates, 4 * d),
        Units(goes_on, 1),
        Units(before, d),
        Units(c, d),
        Units(h, d),
    );
    let streams = goes_on.len();
    cut::each(
        parts,
        streams,
        BYTES * d,
        |_, (gates, goes_on, before, c, h)| {
            let states = before.0.chunks_exact(d).zip(c.0.chunks_exact_mut(d));
            let rows = gates.0.chunks_exact_mut(4 * d).zip(goes_on.0);
            for (((gates, &k), (before, c)), h) in rows.zip(states).zip(h.0.chunks_exact_mut(d)) {
                stream(gates, k, before, c, h);
            }
        },
    );
}

/// What flows back through a step into dz and, in place of the state's diff after it, into that before it.
pub(super) struct Back<'a> {
    /// Length of a state.
    pub(super) d: usize,
    /// i, f, o, g.
    pub(super) gates: &'a [f32],
    /// Which streams go on.
    pub(super) goes_on: &'a [f32],
    /// c before the step.
    pub(super) before: &'a [f32],
    /// c after it.
    pub(super) c: &'a [f32],
    /// The diff of h.
    pub(super) dh: &'a [f32],
}

impl Back<'_> {
    /// Writes `dz` and turns `dc` from the diff of c into that of c before the step.
    pub(super) fn run(&self, dc: &mut [f32], dz: &mut [f32]) {
        let d = self.d;
        let streams = self.goes_on.len();
        let parts = (Units(dc, d), Units(dz, 4 * d));
        cut::each(parts, streams, BYTES * d, |first, (dc, dz)| {
            let rows = dc.0.chunks_exact_mut(d).zip(dz.0.chunks_exact_mut(4 * d));
            for (n, (dc, dz)) in (first..).zip(rows) {
                stream_back(
                    &self.gates[n * 4 * d..][..4 * d],
                    self.goes_on[n],
                    &self.before[n * d..][..d],
                    &self.c[n * d..][..d],
                    &self.dh[n * d..][..d],
                    dc,
                    dz,
                );
            }
        });
    }
}

wide! {
    fn stream(gates: &mut [f32], k: f32, before: &[f32], c: &mut [f32], h: &mut [f32]) {
        let [i, f, o, g] = quarters_mut(gates);
        for z in i.iter_mut() { *z = simd::sigmoid(*z); }
        for z in f.iter_mut() { *z = simd::sigmoid(*z); }
        for z in o.iter_mut() { *z = simd::sigmoid(*z); }
        for z in g.iter_mut() { *z = simd::tanh(*z); }
        let kept = f.iter().zip(before);
        for ((c, (&i, &g)), (&f, &before)) in c.iter_mut().zip(i.iter().zip(&*g)).zip(kept) {
            let kept = if k == 0.0 { 0.0 } else { k * f * before };
            *c = kept + i * g;
        }
        for ((h, &c), &o) in h.iter_mut().zip(&*c).zip(&*o) {
            *h = o * simd::tanh(c);
        }
    }

    fn stream_back(
        gates: &[f32],
        k: f32,
        before: &[f32],
        c: &[f32],
        dh: &[f32],
        dc: &mut [f32],
        dz: &mut [f32],
    ) {
        let [i, f, o, g] = quarters(gates);
        let [di, df, do_, dg] = quarters_mut(dz);
        for (((dc, dz), (&o, &dh)), &c) in dc.iter_mut().zip(do_).zip(o.iter().zip(dh)).zip(c) {
            let t = simd::tanh(c);
            *dz = dh * t * o * (1.0 - o);
            *dc += dh * o * (1.0 - t * t);
        }
        for (((dz, dg), &dc), (&i, &g)) in di.iter_mut().zip(dg).zip(&*dc).zip(i.iter().zip(g)) {
            *dz = dc * g * i * (1.0 - i);
            *dg = dc * i * (1.0 - g * g);
        }
        for ((dc, df), (&f, &before)) in dc.iter_mut().zip(df).zip(f.iter().zip(before)) {
            let kept = if k == 0.0 { 0.0 } else { k * before };
            *df = *dc * kept * f * (1.0 - f);
            *dc *= k * f;
        }
    }
}
