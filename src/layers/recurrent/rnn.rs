//! RNN: for each step t of a sequence h_t = tanh(W·x_t + b + V·s + W_h·(κ_t h_t⁻)), y_t = tanh(W_o·h_t + b_o).   Gradients flow
//! back through all steps, not into the batch before: dz_t = (dh_t) (1 - h_t²), dh_t⁻ = κ_t · W_hᵀ·dz_t.
//!
//! Shapes: bottoms x \[T, N, ..\], κ \[T, N\] (1 where a stream goes on, 0 where it begins; no gradient), if there are three, or
//! four, s \[N, ..\], an input that stays through all steps. Top y \[T, N, D\] with D = `num_output`. W \[D, values of x\], b \[D\],
//! V \[D, values of s\] if there is s, W_h \[D, D\], W_o \[D, D\], b_o \[D\]. With `expose_hidden` the last bottom is the first h, and
//! the second top the last one, \[1, N, D\]; without it each batch begins with the last h of the one before, 0 at first and where
//! the number of streams changes. Elman 1990; Donahue et al. 2015. Backward reads the bottoms and y; h is kept here.
//! `debug_info` changes nothing.
//! Departures: with `expose_hidden` gradients flow through first and last h, where Caffe passes none; T may change.

use super::sequence::Sequence;
use crate::{
    error::Result,
    kernels::{
        gemm::{Bias, Gemm, gemm},
        map, reduce, simd,
    },
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType, Reads, Setup, Traits},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("RNN", |def| Ok(Box::new(Rnn::new(def)?)))
    .arity(Arity::Range(2, 4), Arity::Range(1, 2))
    .no_grad(&[1]);

struct Rnn {
    seq: Sequence,
    backward: bool,
    /// h after the last step.
    last: Vec<f32>,
    /// h of every step.
    h: Vec<f32>,
    /// κ · h⁻ of every step.
    before: Vec<f32>,
}

impl Rnn {
    fn new(def: &LayerDef) -> Result<Self> {
        Ok(Self {
            seq: Sequence::new(def, 1, 1)?,
            backward: def.backward,
            last: Vec::new(),
            h: Vec::new(),
            before: Vec::new(),
        })
    }
}

impl Layer for Rnn {
    fn setup(&mut self, cx: &mut Setup<'_>) -> Result<()> {
        self.seq.declare(cx)?;
        let (d, param) = (self.seq.d, &self.seq.param);
        cx.param(Shape::checked(&[d, d])?, param.weight_filler.as_ref());
        cx.param(Shape::from([d]), param.bias_filler.as_ref());
        Ok(())
    }

    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let tops = self.seq.reshape(bottoms)?;
        let state = self.seq.state();
        if self.last.len() != state {
            self.last.clear();
            self.last.resize(state, 0.0);
        }
        self.h.resize(self.seq.steps * state, 0.0);
        self.before.resize(self.seq.steps * state, 0.0);
        Ok(tops)
    }

    fn traits(&self) -> Traits {
        let steps = self.seq.steps * self.seq.state();
        Traits {
            backward_reads: Reads {
                bottoms: true,
                tops: true,
            },
            workspace: if self.backward {
                // Diffs of what tanh is taken of, for y and for h of every step; of one h.
                self.seq.workspace() + 2 * steps + self.seq.state()
            } else {
                self.seq.workspace()
            },
            ..Traits::default()
        }
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let Self {
            seq,
            last,
            h,
            before,
            ..
        } = self;
        let (state, d) = (seq.state(), seq.d);
        if state == 0 {
            return Ok(());
        }
        if let Some(at) = seq.first_state() {
            last.copy_from_slice(io.bottoms[at].data);
        }
        seq.project(io, h);
        let goes_on = io.bottoms[1].data;
        for t in 0..seq.steps {
            let (done, rest) = h.split_at_mut(t * state);
            let h_before = done.rchunks(state).next().unwrap_or(last);
            let k = &goes_on[t * seq.streams..][..seq.streams];
            let (z, kept) = (&mut rest[..state], &mut before[t * state..][..state]);
            seq.advance(io.params, k, h_before, kept, z);
            map::map_in_place(z, simd::tanh);
        }
        last.copy_from_slice(&h[h.len() - state..]);
        let [.., w, b] = &*io.params else {
            unreachable!("they were declared")
        };
        let (y, exposed) = io.tops.split_at_mut(1);
        let product = Gemm::new(seq.steps * seq.streams, d, d).trans_b();
        let product = product.bias(Bias::PerCol(&b.value.data));
        gemm(&product, h, &w.value.data, y[0].data);
        map::map_in_place(y[0].data, simd::tanh);
        if let [top] = exposed {
            top.data.copy_from_slice(last);
        }
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let (seq, h) = (&self.seq, &self.h);
        let (state, d) = (seq.state(), seq.d);
        let workspace = std::mem::take(&mut io.workspace);
        let (dz, rest) = workspace.split_at_mut(seq.steps * state);
        let (du, rest) = rest.split_at_mut(seq.steps * state);
        let (dh, rest) = rest.split_at_mut(state);
        match io.top_diffs[0] {
            Some(dy) => {
                let out = seq.hidden() + 1;
                let rows = seq.steps * seq.streams;
                map::zip2(dy.data, io.top(0).data, du, |dy, y| dy * (1.0 - y * y));
                if io.params[out].wants_grad() {
                    let product = Gemm::new(d, d, rows).trans_a().beta(1.0);
                    gemm(&product, du, h, &mut io.params[out].grad);
                }
                if io.params[out + 1].wants_grad() {
                    reduce::channel_sum_add(du, (d, 1), &mut io.params[out + 1].grad);
                }
                gemm(&Gemm::new(rows, d, d), du, &io.params[out].value.data, dz);
            }
            None => dz.fill(0.0),
        }
        match io.top_diffs.get(1).copied().flatten() {
            Some(last) => dh.copy_from_slice(last.data),
            None => dh.fill(0.0),
        }
        let goes_on = io.bottom(1).data;
        for t in (0..seq.steps).rev() {
            let dz = &mut dz[t * state..][..state];
            map::zip2_into(dz, dh, &h[t * state..][..state], |dz, dh, h| {
                (dz + dh) * (1.0 - h * h)
            });
            let k = &goes_on[t * seq.streams..][..seq.streams];
            seq.retreat(io.params, k, dz, dh);
        }
        if let Some(diff) = seq
            .first_state()
            .and_then(|at| io.bottom_diffs[at].as_mut())
        {
            diff.data.copy_from_slice(dh);
        }
        seq.backward(io, dz, &self.before, rest);
        Ok(())
    }

    fn flops(&self) -> u64 {
        let (seq, d) = (&self.seq, self.seq.d as u64);
        seq.flops() + 2 * (seq.steps * seq.streams) as u64 * d * d
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{
        Bench, assert_close, check_gradient, check_threads, error_of, noise, tensor,
    };

    fn layer(options: &str) -> String {
        format!(
            "type: 'RNN' recurrent_param {{ {options} weight_filler {{ type: 'uniform' min: -1 }}
             bias_filler {{ type: 'uniform' min: -1 }} }}"
        )
    }

    #[test]
    fn two_steps_by_hand() {
        // h = tanh(x + 2 h⁻), y = tanh(3 h + 1), the second stream beginning anew.
        let x = tensor(&[2, 2, 1], &[0.5, 0.5, 0.25, 0.25]);
        let go = tensor(&[2, 2], &[0., 0., 1., 0.]);
        let mut bench = Bench::new("type: 'RNN' recurrent_param { num_output: 1 }", &[x, go])
            .param(0, &[1.0])
            .param(2, &[2.0])
            .param(3, &[3.0])
            .param(4, &[1.0]);
        let first = 0.5f32.tanh();
        let h = [first, first, (0.25 + 2.0 * first).tanh(), 0.25f32.tanh()];
        assert_close(bench.forward(), &h.map(|h| (3.0 * h + 1.0).tanh()), 1e-6);
    }

    #[test]
    fn a_batch_goes_on_where_the_last_one_ended() {
        let x = noise(&[4, 2, 3], 1);
        let text = layer("num_output: 3");
        let mut whole = Bench::new(&text, &[x.clone(), tensor(&[4, 2], &[1.0; 8])]);
        whole.forward();
        let piece = |from: usize| tensor(&[2, 2, 3], &x.data[from * 6..][..12]);
        let mut half = Bench::new(&text, &[piece(0), tensor(&[2, 2], &[1.0; 4])]);
        assert_close(half.forward(), &whole.tops[0].data[..12], 1e-6);
        half.set_bottom(0, piece(2)).unwrap();
        assert_close(half.forward(), &whole.tops[0].data[12..], 1e-6);
    }

    #[test]
    fn gradients_and_threads() {
        let go = || tensor(&[3, 2], &[0., 0., 1., 0., 1., 1.]);
        let bottoms = [noise(&[3, 2, 2], 1), go()];
        check_gradient(&layer("num_output: 2"), &bottoms, &[0], &[0, 1, 2, 3, 4]);
        let bottoms = [
            noise(&[3, 2, 2], 1),
            tensor(&[3, 2], &[1.0; 6]),
            noise(&[2, 3], 2),
            noise(&[1, 2, 2], 3),
        ];
        let text = layer("num_output: 2 expose_hidden: true") + "top: 'y' top: 'hT'";
        check_gradient(&text, &bottoms, &[0, 2, 3], &[0, 1, 2, 3, 4, 5]);
        let bottoms = [noise(&[5, 33, 40], 1), tensor(&[5, 33], &[1.0; 165])];
        check_threads(&layer("num_output: 90"), &bottoms, &[0]);
    }

    #[test]
    fn errors() {
        let bottoms = [noise(&[3, 2, 2], 1), tensor(&[3, 2], &[1.0; 6])];
        let error = error_of(&layer(""), &bottoms);
        assert!(error.contains("recurrent_param.num_output"), "{error}");
        let error = error_of(&layer("num_output: 2 expose_hidden: true"), &bottoms);
        assert!(error.contains("3 or 4 bottoms and 2 tops"), "{error}");
    }
}
