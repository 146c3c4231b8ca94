//! What RNN and LSTM share: streams of steps as bottoms, the states that may be seen, and the products with x.
//!
//! z = W·x + b (+ V·s, where there is an input s that stays through all steps) for all steps at once; what W_h adds from
//! step to step is the layer's own. Parameters stand in Caffe's order: W, b, V if there is s, W_h, then the layer's own.

use crate::{
    error::{Error, Result},
    kernels::{
        gemm::{Bias, Gemm, gemm},
        map, reduce,
    },
    layer::{Backward, Forward, LayerDef, Setup},
    params::Param,
    schema::RecurrentParameter,
    tensor::Shape,
};

pub(super) struct Sequence {
    pub(super) param: RecurrentParameter,
    /// Length of a state, d.
    pub(super) d: usize,
    /// Values of z for a step of a stream.
    pub(super) rows: usize,
    /// How many states a step hands to the next.
    states: usize,
    /// Whether there is an input that stays.
    constant: bool,
    /// Values of x for a step of a stream, of the constant input for a stream.
    inputs: usize,
    constants: usize,
    /// Steps and streams.
    pub(super) steps: usize,
    pub(super) streams: usize,
}

impl Sequence {
    /// For `gates` values of z for each of a state, and so many states; bottoms and tops are counted.
    pub(super) fn new(def: &LayerDef, gates: usize, states: usize) -> Result<Self> {
        let param = def.param.recurrent_param.clone().unwrap_or_default();
        let d = param.num_output() as usize;
        if d == 0 {
            return Err(def.invalid(
                "recurrent_param.num_output",
                "is 0 or missing; it must be at least 1",
            ));
        }
        let seen = if param.expose_hidden() { states } else { 0 };
        let (bottoms, tops) = (def.param.bottom.len(), def.param.top.len());
        if !(2 + seen..=3 + seen).contains(&bottoms) || tops != 1 + seen {
            return Err(Error::param(
                "recurrent_param.expose_hidden",
                format!(
                    "is {}: that makes {} or {} bottoms and {} tops, but there are {bottoms} and {tops}",
                    param.expose_hidden(),
                    2 + seen,
                    3 + seen,
                    1 + seen
                ),
            )
            .help("bottoms are the input, where sequences go on, an input that stays (if any), then the first states"));
        }
        Ok(Self {
            param,
            d,
            rows: gates * d,
            states,
            constant: bottoms > 2 + seen,
            inputs: 0,
            constants: 0,
            steps: 0,
            streams: 0,
        })
    }

    /// The bottom of the first state, where states are seen.
    pub(super) fn first_state(&self) -> Option<usize> {
        self.param
            .expose_hidden()
            .then_some(2 + usize::from(self.constant))
    }

    /// Which parameter W_h is.
    pub(super) fn hidden(&self) -> usize {
        2 + usize::from(self.constant)
    }

    /// Declares W, b, V and W_h.
    pub(super) fn declare(&mut self, cx: &mut Setup<'_>) -> Result<()> {
        self.measure(cx.bottoms)?;
        let weights = self.param.weight_filler.clone();
        let weights = weights.as_ref();
        cx.param(Shape::checked(&[self.rows, self.inputs])?, weights);
        cx.param(Shape::from([self.rows]), self.param.bias_filler.as_ref());
        if self.constant {
            cx.param(Shape::checked(&[self.rows, self.constants])?, weights);
        }
        cx.param(Shape::checked(&[self.rows, self.d])?, weights);
        Ok(())
    }

    fn measure(&mut self, bottoms: &[Shape]) -> Result<()> {
        let [steps, streams, ..] = *bottoms[0].dims() else {
            return Err(Error::shape(format!(
                "the first bottom needs the axes steps and streams, but it is {}",
                bottoms[0]
            )));
        };
        if steps == 0 {
            return Err(Error::shape(format!("{} has no steps", bottoms[0])));
        }
        if bottoms[1].dims() != [steps, streams] {
            return Err(Error::shape(format!(
                "the second bottom says of each step of each stream whether it goes on: it must be {:?}, but it is {}",
                [steps, streams],
                bottoms[1]
            )));
        }
        self.inputs = bottoms[0].count_from(2);
        if self.constant {
            let s = &bottoms[2];
            if s.dims().first() != Some(&streams) {
                return Err(Error::shape(format!(
                    "the input that stays, {s}, must have one row for each of the {streams} streams"
                )));
            }
            self.constants = s.count_from(1);
        }
        (self.steps, self.streams) = (steps, streams);
        Ok(())
    }

    /// The tops: h of every step, then the last states.
    pub(super) fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let made = (self.inputs, self.constants);
        self.measure(bottoms)?;
        if made != (self.inputs, self.constants) {
            return Err(Error::shape(format!(
                "the inputs of a step have {:?} values, but the weights are made for {made:?}",
                (self.inputs, self.constants)
            )));
        }
        let state = Shape::checked(&[1, self.streams, self.d])?;
        for (i, bottom) in bottoms
            .iter()
            .enumerate()
            .skip(self.first_state().unwrap_or(bottoms.len()))
        {
            if *bottom != state {
                return Err(Error::shape(format!(
                    "bottom {i}, a first state, must be {state}, but it is {bottom}"
                )));
            }
        }
        Shape::checked(&[self.steps, self.streams, self.rows])?;
        let mut tops = vec![Shape::checked(&[self.steps, self.streams, self.d])?];
        if self.first_state().is_some() {
            tops.resize(1 + self.states, state);
        }
        Ok(tops)
    }

    /// Values of a state of all streams.
    pub(super) fn state(&self) -> usize {
        self.streams * self.d
    }

    /// Values of z of all streams at one step.
    pub(super) fn step(&self) -> usize {
        self.streams * self.rows
    }

    /// Floats of workspace of [`Self::project`] and [`Self::backward`].
    pub(super) fn workspace(&self) -> usize {
        if self.constant { self.step() } else { 0 }
    }

    /// z of all steps, without what W_h adds.
    pub(super) fn project(&self, io: &mut Forward<'_, '_>, z: &mut [f32]) {
        let [w, b, rest @ ..] = &*io.params else {
            unreachable!("they were declared")
        };
        let product = Gemm::new(self.steps * self.streams, self.rows, self.inputs)
            .trans_b()
            .bias(Bias::PerCol(&b.value.data));
        gemm(&product, io.bottoms[0].data, &w.value.data, z);
        if let (true, [v, ..]) = (self.constant, rest) {
            let added = &mut io.workspace[..self.step()];
            let product = Gemm::new(self.streams, self.rows, self.constants).trans_b();
            gemm(&product, io.bottoms[2].data, &v.value.data, added);
            for z in z.chunks_exact_mut(self.step().max(1)) {
                map::add(added, z);
            }
        }
    }

    /// z_t += W_h · h, with h = the state before, where its stream goes on.
    pub(super) fn advance(
        &self,
        params: &[Param],
        goes_on: &[f32],
        before: &[f32],
        h: &mut [f32],
        z: &mut [f32],
    ) {
        let rows = h.chunks_exact_mut(self.d).zip(before.chunks_exact(self.d));
        for ((h, before), &k) in rows.zip(goes_on) {
            keep(k, before, h);
        }
        let w = &params[self.hidden()].value.data;
        let product = Gemm::new(self.streams, self.rows, self.d).trans_b();
        gemm(&product.beta(1.0), h, w, z);
    }

    /// The diff of the state before a step from that step's dz: the transpose of [`Self::advance`].
    pub(super) fn retreat(&self, params: &[Param], goes_on: &[f32], dz: &[f32], dh: &mut [f32]) {
        let w = &params[self.hidden()].value.data;
        gemm(&Gemm::new(self.streams, self.d, self.rows), dz, w, dh);
        for (dh, &k) in dh.chunks_exact_mut(self.d).zip(goes_on) {
            match k {
                0.0 => dh.fill(0.0),
                k => dh.iter_mut().for_each(|dh| *dh *= k),
            }
        }
    }

    /// From dz of all steps: the gradients of W, b, V and W_h, and the diffs of x and the constant input. `before` holds
    /// the states that [`Self::advance`] made.
    pub(super) fn backward(
        &self,
        io: &mut Backward<'_, '_>,
        dz: &[f32],
        before: &[f32],
        workspace: &mut [f32],
    ) {
        let (all, rows) = (self.steps * self.streams, self.rows);
        let hidden = self.hidden();
        let add = |param: &mut Param, dz: &[f32], x: &[f32], m: usize, k: usize| {
            if param.wants_grad() {
                let product = Gemm::new(rows, k, m).trans_a().beta(1.0);
                gemm(&product, dz, x, &mut param.grad);
            }
        };
        let x = io.bottom(0).data;
        add(&mut io.params[0], dz, x, all, self.inputs);
        if io.params[1].wants_grad() {
            reduce::channel_sum_add(dz, (rows, 1), &mut io.params[1].grad);
        }
        add(&mut io.params[hidden], dz, before, all, self.d);
        if let Some(dx) = &mut io.bottom_diffs[0] {
            let w = &io.params[0].value.data;
            gemm(&Gemm::new(all, self.inputs, rows), dz, w, dx.data);
        }
        if self.constant {
            let sum = &mut workspace[..self.step()];
            sum.fill(0.0);
            for dz in dz.chunks_exact(self.step().max(1)) {
                map::add(dz, sum);
            }
            let s = io.bottom(2).data;
            add(&mut io.params[2], sum, s, self.streams, self.constants);
            if let Some(ds) = &mut io.bottom_diffs[2] {
                let v = &io.params[2].value.data;
                gemm(
                    &Gemm::new(self.streams, self.constants, rows),
                    sum,
                    v,
                    ds.data,
                );
            }
        }
    }

    /// Multiply-adds of one pass, times two.
    pub(super) fn flops(&self) -> u64 {
        let each = (self.steps * self.streams) as u64 * self.rows as u64;
        let constant = self.streams as u64 * self.rows as u64 * self.constants as u64;
        2 * (each * (self.inputs + self.d) as u64 + constant)
    }
}

/// A state where its stream goes on: all of it for 1, nothing for 0, whatever it holds.
fn keep(k: f32, before: &[f32], h: &mut [f32]) {
    if k == 0.0 {
        h.fill(0.0);
    } else {
        h.iter_mut()
            .zip(before)
            .for_each(|(h, before)| *h = k * before);
    }
}
