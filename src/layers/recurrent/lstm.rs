//! LSTM: for each step t of a sequence (i f o g) = W·x_t + b + V·s + W_h·(κ_t h_t⁻); c_t = κ_t · σ(f) · c_t⁻ + σ(i) · tanh(g),
//! h_t = σ(o) · tanh(c_t).   Gradients flow back through all steps (see LSTMUnit for one), not into the batch before.
//!
//! Shapes: bottoms x \[T, N, ..\], κ \[T, N\] (1 where a stream goes on, 0 where it begins; no gradient), if there are three, or
//! five, s \[N, ..\], an input that stays through all steps. Top h \[T, N, D\] with D = `num_output`. W \[4 D, values of x\],
//! b \[4 D\], V \[4 D, values of s\] if there is s, W_h \[4 D, D\]. With `expose_hidden` the last two bottoms are the first h and
//! c, and two more tops the last ones, all \[1, N, D\]; without it each batch begins with the last states of the one before, 0 at
//! first and where the number of streams changes. Hochreiter and Schmidhuber 1997; Donahue et al. 2015. Backward reads the
//! bottoms; gates and cells are kept here. `debug_info` changes nothing.
//! Departures: with `expose_hidden` gradients flow through first and last states, where Caffe passes none; T may change.

use super::{
    cell::{self, Back},
    sequence::Sequence,
};
use crate::{
    error::Result,
    kernels::map,
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType, Reads, Setup, Traits},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("LSTM", |def| Ok(Box::new(Lstm::new(def)?)))
    .arity(Arity::Range(2, 5), Arity::Range(1, 3))
    .no_grad(&[1]);

struct Lstm {
    seq: Sequence,
    backward: bool,
    /// The states before the first step of this batch: h, c.
    first: [Vec<f32>; 2],
    /// Those after its last step.
    last: [Vec<f32>; 2],
    /// i, f, o, g of every step.
    gates: Vec<f32>,
    /// c of every step.
    cells: Vec<f32>,
    /// κ · h⁻ of every step.
    before: Vec<f32>,
}

impl Lstm {
    fn new(def: &LayerDef) -> Result<Self> {
        Ok(Self {
            seq: Sequence::new(def, 4, 2)?,
            backward: def.backward,
            first: [Vec::new(), Vec::new()],
            last: [Vec::new(), Vec::new()],
            gates: Vec::new(),
            cells: Vec::new(),
            before: Vec::new(),
        })
    }
}

impl Layer for Lstm {
    fn setup(&mut self, cx: &mut Setup<'_>) -> Result<()> {
        self.seq.declare(cx)
    }

    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let tops = self.seq.reshape(bottoms)?;
        let state = self.seq.state();
        for kept in self.first.iter_mut().chain(&mut self.last) {
            if kept.len() != state {
                kept.clear();
                kept.resize(state, 0.0);
            }
        }
        self.gates.resize(self.seq.steps * self.seq.step(), 0.0);
        self.cells.resize(self.seq.steps * state, 0.0);
        self.before.resize(self.seq.steps * state, 0.0);
        Ok(tops)
    }

    fn traits(&self) -> Traits {
        let steps = self.seq.steps * self.seq.step();
        Traits {
            backward_reads: Reads::BOTTOMS,
            workspace: if self.backward {
                // dz of every step, the diffs of h and c.
                self.seq.workspace() + steps + 2 * self.seq.state()
            } else {
                self.seq.workspace()
            },
            ..Traits::default()
        }
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let Self {
            seq,
            first,
            last,
            gates,
            cells,
            before,
            ..
        } = self;
        let (state, step) = (seq.state(), seq.step());
        if state == 0 {
            return Ok(());
        }
        for (i, (first, last)) in first.iter_mut().zip(&*last).enumerate() {
            match seq.first_state() {
                Some(at) => first.copy_from_slice(io.bottoms[at + i].data),
                None => first.copy_from_slice(last),
            }
        }
        seq.project(io, gates);
        let goes_on = io.bottoms[1].data;
        let (y, exposed) = io.tops.split_at_mut(1);
        let y = &mut *y[0].data;
        for t in 0..seq.steps {
            let (done, rest) = y.split_at_mut(t * state);
            let (h, kept) = (&mut rest[..state], &mut before[t * state..][..state]);
            let h_before = done.rchunks(state).next().unwrap_or(&first[0]);
            let k = &goes_on[t * seq.streams..][..seq.streams];
            let z = &mut gates[t * step..][..step];
            seq.advance(io.params, k, h_before, kept, z);
            let (done, rest) = cells.split_at_mut(t * state);
            let c_before = done.rchunks(state).next().unwrap_or(&first[1]);
            cell::forward(seq.d, z, k, c_before, &mut rest[..state], h);
        }
        for (last, all) in last.iter_mut().zip([&*y, cells]) {
            last.copy_from_slice(&all[all.len() - state..]);
        }
        for (top, last) in exposed.iter_mut().zip(&*last) {
            top.data.copy_from_slice(last);
        }
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let seq = &self.seq;
        let (state, step) = (seq.state(), seq.step());
        let workspace = std::mem::take(&mut io.workspace);
        let (dz, rest) = workspace.split_at_mut(seq.steps * step);
        let (dh, rest) = rest.split_at_mut(state);
        let (dc, rest) = rest.split_at_mut(state);
        for (i, diff) in [&mut *dh, &mut *dc].into_iter().enumerate() {
            match io.top_diffs.get(1 + i).copied().flatten() {
                Some(last) => diff.copy_from_slice(last.data),
                None => diff.fill(0.0),
            }
        }
        let goes_on = io.bottom(1).data;
        for t in (0..seq.steps).rev() {
            if let Some(dy) = io.top_diffs[0] {
                map::add(&dy.data[t * state..][..state], dh);
            }
            let k = &goes_on[t * seq.streams..][..seq.streams];
            let dz = &mut dz[t * step..][..step];
            if state > 0 {
                Back {
                    d: seq.d,
                    gates: &self.gates[t * step..][..step],
                    goes_on: k,
                    before: match t {
                        0 => &self.first[1],
                        t => &self.cells[(t - 1) * state..][..state],
                    },
                    c: &self.cells[t * state..][..state],
                    dh,
                }
                .run(dc, dz);
                seq.retreat(io.params, k, dz, dh);
            }
        }
        if let Some(at) = seq.first_state() {
            for (i, from) in [dh, dc].into_iter().enumerate() {
                if let Some(diff) = &mut io.bottom_diffs[at + i] {
                    diff.data.copy_from_slice(from);
                }
            }
        }
        seq.backward(io, dz, &self.before, rest);
        Ok(())
    }

    fn flops(&self) -> u64 {
        self.seq.flops()
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        layer::testing::{
            Bench, assert_close, check_gradient, check_threads, error_of, noise, tensor,
        },
        tensor::Tensor,
    };

    fn layer(options: &str) -> String {
        format!(
            "type: 'LSTM' recurrent_param {{ {options} weight_filler {{ type: 'uniform' min: -1 }}
             bias_filler {{ type: 'uniform' min: -1 }} }}"
        )
    }

    /// Streams that begin and go on.
    fn goes_on(steps: usize, streams: usize) -> Tensor {
        let data: Vec<f32> = (0..steps * streams)
            .map(|i| f32::from(u8::from(i >= streams && i % 5 != 0)))
            .collect();
        tensor(&[steps, streams], &data)
    }

    #[test]
    fn two_steps_by_hand() {
        // W = 0, b = 0, W_h = 0: i = f = o = 1/2, g = 0, so c halves and stays.
        let bottoms = [
            noise(&[2, 1, 1], 1),
            tensor(&[2, 1], &[1., 1.]),
            tensor(&[1, 1, 1], &[9.0]),
            tensor(&[1, 1, 1], &[4.0]),
        ];
        let text = "type: 'LSTM' recurrent_param { num_output: 1 expose_hidden: true }
            top: 'h' top: 'hT' top: 'cT'";
        let mut bench = Bench::new(text, &bottoms);
        let shapes: Vec<_> = bench
            .params
            .iter()
            .map(|p| p.value.shape.to_string())
            .collect();
        assert_eq!(shapes, ["[4, 1]", "[4]", "[4, 1]"]);
        let h = [0.5 * 2f32.tanh(), 0.5 * 1f32.tanh()];
        assert_close(bench.forward(), &h, 1e-6);
        assert_close(&bench.tops[1].data, &h[1..], 1e-6);
        assert_close(&bench.tops[2].data, &[1.0], 1e-6);
    }

    #[test]
    fn a_batch_goes_on_where_the_last_one_ended() {
        let x = noise(&[4, 2, 3], 1);
        let go = tensor(&[4, 2], &[1.0; 8]);
        let text = layer("num_output: 3");
        let mut whole = Bench::new(&text, &[x.clone(), go]);
        whole.forward();
        let piece = |from: usize| tensor(&[2, 2, 3], &x.data[from * 6..][..12]);
        let go = tensor(&[2, 2], &[1.0; 4]);
        let mut half = Bench::new(&text, &[piece(0), go]);
        assert_close(half.forward(), &whole.tops[0].data[..12], 1e-6);
        half.set_bottom(0, piece(2)).unwrap();
        assert_close(half.forward(), &whole.tops[0].data[12..], 1e-6);
        // Where a sequence begins, nothing of that is left.
        half.set_bottom(1, tensor(&[2, 2], &[0., 0., 1., 1.]))
            .unwrap();
        half.set_bottom(0, piece(0)).unwrap();
        assert_close(half.forward(), &whole.tops[0].data[..12], 1e-6);
    }

    #[test]
    fn gradients_and_threads() {
        let bottoms = [noise(&[3, 2, 2], 1), goes_on(3, 2)];
        check_gradient(&layer("num_output: 2"), &bottoms, &[0], &[0, 1, 2]);
        let state = |seed| noise(&[1, 2, 2], seed);
        let bottoms = [
            noise(&[3, 2, 2, 1], 1),
            tensor(&[3, 2], &[1., 1., 1., 0., 1., 1.]),
            noise(&[2, 3], 2),
            state(3),
            state(4),
        ];
        let text = layer("num_output: 2 expose_hidden: true") + "top: 'h' top: 'hT' top: 'cT'";
        check_gradient(&text, &bottoms, &[0, 2, 3, 4], &[0, 1, 2, 3]);
        let text = layer("num_output: 70");
        check_threads(&text, &[noise(&[5, 33, 40], 1), goes_on(5, 33)], &[0]);
    }

    #[test]
    fn streams_and_steps_may_change() {
        let text = layer("num_output: 2");
        let mut bench = Bench::new(&text, &[noise(&[3, 2, 2], 1), goes_on(3, 2)]);
        bench.forward();
        for (steps, streams) in [(3, 4), (1, 4), (2, 0), (3, 2)] {
            bench.bottoms[1] = goes_on(steps, streams);
            bench.set_bottom(0, noise(&[steps, streams, 2], 1)).unwrap();
            assert_eq!(bench.forward().len(), steps * streams * 2);
            let dy = noise(&[steps * streams * 2], 2).data;
            assert!(bench.backward(&dy, &[0]).bottoms[0].is_some());
        }
        bench.bottoms[1] = goes_on(0, 2);
        assert!(bench.set_bottom(0, noise(&[0, 2, 2], 1)).is_err());
    }

    #[test]
    fn errors() {
        let x = || noise(&[3, 2, 2], 1);
        let says = |text: &str, bottoms: &[Tensor], part: &str| {
            let error = error_of(text, bottoms);
            assert!(error.contains(part), "{error}");
        };
        let go = || goes_on(3, 2);
        says(&layer(""), &[x(), go()], "recurrent_param.num_output: is 0");
        let exposed = layer("num_output: 2 expose_hidden: true");
        says(&exposed, &[x(), go()], "4 or 5 bottoms and 3 tops");
        let text = exposed + "top: 'h' top: 'hT' top: 'cT'";
        let states = [noise(&[1, 2, 2], 1), noise(&[1, 2, 3], 1)];
        let [h, c] = states;
        says(
            &text,
            &[x(), go(), h, c],
            "bottom 3, a first state, must be [1, 2, 2]",
        );
        let text = layer("num_output: 2");
        says(&text, &[noise(&[3], 1), go()], "steps and streams");
        says(&text, &[x(), goes_on(2, 2)], "must be [3, 2]");
        says(
            &text,
            &[x(), go(), noise(&[3, 2], 1)],
            "each of the 2 streams",
        );
        says(
            &layer("num_output: 4000000000"),
            &[x(), go()],
            "would hold more",
        );
        let mut bench = Bench::new(&text, &[x(), go()]);
        let error = bench.set_bottom(0, noise(&[3, 2, 5], 1)).unwrap_err();
        assert!(error.message().contains("made for (2, 0)"), "{error}");
    }
}
