//! Recurrent layers, step by step: ONNX's own LSTM knows no streams that begin anew within a sequence.

use super::{super::proto::int, emit::Site};
use crate::error::Result;

/// A sequence under way.
struct Walk {
    steps: usize,
    streams: usize,
    d: usize,
    /// By step: what the weights of x make, with the bias and the input that stays.
    inputs: Vec<String>,
    /// By step: κ, one value a stream.
    goes_on: Vec<String>,
    /// Which parameter weighs the state before.
    hidden: usize,
    /// The bottom that holds the first state, if one does.
    first: Option<usize>,
}

impl Walk {
    fn new(s: &mut Site<'_, '_>, states: usize) -> Result<Self> {
        let p = s.param().recurrent_param.clone().unwrap_or_default();
        let d = p.num_output() as usize;
        let dims = s.bottom(0).dims();
        let (steps, streams) = (dims[0], dims[1]);
        let width: usize = dims[2..].iter().product();
        let seen = if p.expose_hidden() { states } else { 0 };
        let bottoms = s.node.bottoms.len();
        let stays = bottoms == 3 + seen;
        if seen == 0 {
            let name = &s.node.name;
            s.emit.notes.push(format!(
                "layer '{name}' begins each run with a state of 0; in Caffe it goes on from the batch before where cont is 1 in the first step"
            ));
        }
        // All steps at once.
        let x = s.x(0);
        let flat = [steps * streams, width];
        let x = s.reshaped(&x, dims, &flat);
        let (w, b) = (s.blob(0), s.blob(1));
        let z = s.op("Gemm", &[&x, &w, &b], vec![int("transB", 1)]);
        let mut inputs = pieces(s, &z, steps, streams);
        if stays {
            let held = s.bottom(2).dims();
            let held_width: usize = held[1..].iter().product();
            let x = s.x(2);
            let x = s.reshaped(&x, held, &[streams, held_width]);
            let v = s.blob(2);
            let part = s.op("Gemm", &[&x, &v], vec![int("transB", 1)]);
            for z in &mut inputs {
                *z = s.op("Add", &[z, &part], Vec::new());
            }
        }
        let k = s.x(1);
        let k = s.reshaped(&k, s.bottom(1).dims(), &[steps * streams, 1]);
        let goes_on = pieces(s, &k, steps, streams);
        Ok(Self {
            steps,
            streams,
            d,
            inputs,
            goes_on,
            hidden: 2 + usize::from(stays),
            first: (seen > 0).then(|| bottoms - seen),
        })
    }

    /// A state before the first step.
    fn first(&self, s: &mut Site<'_, '_>, which: usize) -> String {
        let flat = [self.streams, self.d];
        match self.first {
            Some(at) => {
                let x = s.x(at + which);
                s.reshaped(&x, &[1, self.streams, self.d], &flat)
            }
            None => s.floats("state", &flat, &vec![0.0; self.streams * self.d]),
        }
    }

    /// What a step makes of its input and the state before, h⁻.
    fn advance(&self, s: &mut Site<'_, '_>, t: usize, before: &str) -> String {
        let kept = s.op("Mul", &[before, &self.goes_on[t]], Vec::new());
        let w = s.blob(self.hidden);
        s.op(
            "Gemm",
            &[&kept, &w, &self.inputs[t]],
            vec![int("transB", 1)],
        )
    }

    /// The top of all steps.
    fn end(&self, s: &mut Site<'_, '_>, all: &[String]) {
        let flat = [self.steps * self.streams, self.d];
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let y = s.op("Concat", &all, vec![int("axis", 0)]);
        s.end_reshaped(&y, &flat, 0);
    }
}

/// Rows cut into steps.
fn pieces(s: &mut Site<'_, '_>, z: &str, steps: usize, streams: usize) -> Vec<String> {
    if steps == 1 {
        return vec![z.to_owned()];
    }
    let sizes = s.extents("steps", &vec![streams; steps]);
    s.ops("Split", &[z, &sizes], steps, vec![int("axis", 0)])
}

/// c and h of a step of LSTM from its gates, the c before and κ.
fn cell(s: &mut Site<'_, '_>, z: &str, d: usize, before: &str, k: &str) -> (String, String) {
    let sizes = s.extents("gates", &[d; 4]);
    let gates = s.ops("Split", &[z, &sizes], 4, vec![int("axis", 1)]);
    let [i, f, o] = [0, 1, 2].map(|g| s.op("Sigmoid", &[&gates[g]], Vec::new()));
    let g = s.op("Tanh", &[&gates[3]], Vec::new());
    let kept = s.op("Mul", &[before, k], Vec::new());
    let kept = s.op("Mul", &[&kept, &f], Vec::new());
    let new = s.op("Mul", &[&i, &g], Vec::new());
    let c = s.op("Add", &[&kept, &new], Vec::new());
    let bent = s.op("Tanh", &[&c], Vec::new());
    let h = s.op("Mul", &[&o, &bent], Vec::new());
    (c, h)
}

pub(super) fn lstm(s: &mut Site<'_, '_>) -> Result<()> {
    let walk = Walk::new(s, 2)?;
    let (mut h, mut c) = (walk.first(s, 0), walk.first(s, 1));
    let mut all = Vec::new();
    for t in 0..walk.steps {
        let z = walk.advance(s, t, &h);
        (c, h) = cell(s, &z, walk.d, &c, &walk.goes_on[t]);
        all.push(h.clone());
    }
    walk.end(s, &all);
    if s.node.tops.len() > 1 {
        let flat = [walk.streams, walk.d];
        s.end_reshaped(&h, &flat, 1);
        s.end_reshaped(&c, &flat, 2);
    }
    Ok(())
}

pub(super) fn rnn(s: &mut Site<'_, '_>) -> Result<()> {
    let walk = Walk::new(s, 1)?;
    let mut h = walk.first(s, 0);
    let mut all = Vec::new();
    let (w, b) = (s.blob(walk.hidden + 1), s.blob(walk.hidden + 2));
    for t in 0..walk.steps {
        let z = walk.advance(s, t, &h);
        h = s.op("Tanh", &[&z], Vec::new());
        let y = s.op("Gemm", &[&h, &w, &b], vec![int("transB", 1)]);
        all.push(s.op("Tanh", &[&y], Vec::new()));
    }
    walk.end(s, &all);
    if s.node.tops.len() > 1 {
        s.end_reshaped(&h, &[walk.streams, walk.d], 1);
    }
    Ok(())
}

pub(super) fn lstm_unit(s: &mut Site<'_, '_>) -> Result<()> {
    let dims = s.bottom(0).dims();
    let (streams, d) = (dims[1], dims[2]);
    let (before, z, k) = (s.x(0), s.x(1), s.x(2));
    let before = s.reshaped(&before, dims, &[streams, d]);
    let z = s.reshaped(&z, &[1, streams, 4 * d], &[streams, 4 * d]);
    let k = s.reshaped(&k, &[1, streams], &[streams, 1]);
    let (c, h) = cell(s, &z, d, &before, &k);
    s.end_reshaped(&c, &[streams, d], 0);
    s.end_reshaped(&h, &[streams, d], 1);
    Ok(())
}
