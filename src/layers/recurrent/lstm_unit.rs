//! LSTMUnit: one step of LSTM: c = κ · σ(f) · c⁻ + σ(i) · tanh(g),  h = σ(o) · tanh(c).
//!
//! With dC = dc + dh · σ(o) (1 - tanh²(c)): dc⁻ = dC · κ · σ(f), di = dC · tanh(g) · σ'(i), df = dC · κ · c⁻ · σ'(f),
//! do = dh · tanh(c) · σ'(o), dg = dC · σ(i) · tanh'(g); where κ is 0, c⁻ counts as 0.
//!
//! Shapes: bottoms c⁻ \[1, N, D\], the gates i, f, o, g one after the other \[1, N, 4 D\], κ \[1, N\] (1 where a stream goes on,
//! 0 where it begins; no gradient); tops c and h \[1, N, D\]. Backward reads c⁻, κ and c; the gates are kept here. For a κ
//! between 0 and 1 Caffe's df has σ' of κ · σ(f); here it is the derivative.

use super::cell::{self, Back};
use crate::{
    error::{Error, Result},
    layer::{Arity, Backward, Forward, Layer, LayerType, Reads, Traits},
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("LSTMUnit", |_| Ok(Box::new(LstmUnit::default())))
        .arity(Arity::Exact(3), Arity::Exact(2))
        .no_grad(&[2]);

#[derive(Default)]
struct LstmUnit {
    d: usize,
    streams: usize,
    gates: Vec<f32>,
}

impl Layer for LstmUnit {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let [1, streams, d] = *bottoms[0].dims() else {
            return Err(Error::shape(format!(
                "the first bottom must be one step, [1, streams, values], but it is {}",
                bottoms[0]
            )));
        };
        let gates = Shape::checked(&[1, streams, d.saturating_mul(4)])?;
        if bottoms[1] != gates || bottoms[2].dims() != [1, streams] {
            return Err(Error::shape(format!(
                "beside a state of {} the gates must be {gates} and the third bottom {:?}, but they are {} and {}",
                bottoms[0],
                [1, streams],
                bottoms[1],
                bottoms[2]
            )));
        }
        (self.d, self.streams) = (d, streams);
        self.gates.resize(gates.count(), 0.0);
        Ok(vec![bottoms[0].clone(); 2])
    }

    fn traits(&self) -> Traits {
        Traits {
            backward_reads: Reads {
                bottoms: true,
                tops: true,
            },
            // Diffs that may not be wanted, or not be there: of h, of c, of the gates.
            workspace: 6 * self.streams * self.d,
            ..Traits::default()
        }
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        if self.gates.is_empty() {
            return Ok(());
        }
        let (c, h) = io.tops.split_at_mut(1);
        self.gates.copy_from_slice(io.bottoms[1].data);
        let (before, goes_on) = (io.bottoms[0].data, io.bottoms[2].data);
        cell::forward(
            self.d,
            &mut self.gates,
            goes_on,
            before,
            c[0].data,
            h[0].data,
        );
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        if self.gates.is_empty() {
            return Ok(());
        }
        let workspace = std::mem::take(&mut io.workspace);
        let (dh, rest) = workspace.split_at_mut(self.streams * self.d);
        let (dc, dz) = rest.split_at_mut(self.streams * self.d);
        for (to, from) in [(&mut *dc, 0), (&mut *dh, 1)] {
            match io.top_diffs[from] {
                Some(diff) => to.copy_from_slice(diff.data),
                None => to.fill(0.0),
            }
        }
        Back {
            d: self.d,
            gates: &self.gates,
            goes_on: io.bottom(2).data,
            before: io.bottom(0).data,
            c: io.top(0).data,
            dh,
        }
        .run(dc, dz);
        for (to, from) in [(0, dc), (1, dz)] {
            if let Some(diff) = &mut io.bottom_diffs[to] {
                diff.data.copy_from_slice(from);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, assert_close, check_threads, error_of, noise, tensor};

    const UNIT: &str = "type: 'LSTMUnit'";

    #[test]
    fn gates_open_and_close() {
        // Gates far from 0 are open or closed: keep c in the first stream, take g in the second, forget in the third.
        const FAR: f32 = 50.0;
        let gates = [
            [-FAR, FAR, FAR, FAR],
            [FAR, -FAR, FAR, FAR],
            [-FAR, FAR, FAR, FAR],
        ];
        let before = tensor(&[1, 3, 1], &[0.5, 0.5, f32::NAN]);
        let goes_on = tensor(&[1, 3], &[1., 1., 0.]);
        let mut bench = Bench::new(
            UNIT,
            &[before, tensor(&[1, 3, 4], &gates.concat()), goes_on],
        );
        assert_close(bench.forward(), &[0.5, 1.0, 0.0], 1e-6);
        let h = [0.5f32.tanh(), 1f32.tanh(), 0.0];
        assert_close(&bench.tops[1].data, &h, 1e-6);
    }

    #[test]
    fn gradients_and_threads() {
        let goes_on = tensor(&[1, 4], &[1., 0., 1., 0.5]);
        let bottoms = [noise(&[1, 4, 3], 1), noise(&[1, 4, 12], 2), goes_on];
        Bench::new(UNIT, &bottoms).check_gradient_to(&[0, 1], &[], 1e-2, 1e-3);
        let goes_on = tensor(&[1, 40], &[1.0; 40]);
        let bottoms = [noise(&[1, 40, 300], 1), noise(&[1, 40, 1200], 2), goes_on];
        check_threads(UNIT, &bottoms, &[0, 1]);
    }

    #[test]
    fn one_diff_may_be_all() {
        let bottoms = [
            noise(&[1, 2, 3], 1),
            noise(&[1, 2, 12], 2),
            tensor(&[1, 2], &[1.; 2]),
        ];
        let mut bench = Bench::new(UNIT, &bottoms);
        bench.forward();
        let dh = Some(noise(&[1, 2, 3], 3));
        let zero = Some(tensor(&[1, 2, 3], &[0.0; 6]));
        let a = bench.try_backward(&[None, dh.clone()], &[0, 1]).unwrap();
        let b = bench.try_backward(&[zero, dh], &[0, 1]).unwrap();
        assert_eq!(a.bottoms, b.bottoms);
    }

    #[test]
    fn errors() {
        let go = tensor(&[1, 2], &[1.; 2]);
        let error = error_of(
            UNIT,
            &[noise(&[2, 2, 3], 1), noise(&[1, 2, 12], 2), go.clone()],
        );
        assert!(error.contains("one step"), "{error}");
        let error = error_of(UNIT, &[noise(&[1, 2, 3], 1), noise(&[1, 2, 9], 2), go]);
        assert!(error.contains("the gates must be [1, 2, 12]"), "{error}");
    }
}
