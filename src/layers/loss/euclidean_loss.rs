//! EuclideanLoss: loss = Σ (a − b)² / 2N, N = the extent of the first axis.   da = w · (a − b) / N,  db = −da, w = the
//! loss weight.
//!
//! Shapes: a and b agree in the first axis and in the count of the others; loss is a scalar. Backward reads both.
//! Departure: an empty batch gives 0, not NaN.

use crate::{
    error::{Error, Result},
    kernels::{map, reduce},
    layer::{Arity, Backward, Forward, Layer, LayerType, Reads, Role, Traits},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("EuclideanLoss", |_| {
    Ok(Box::new(EuclideanLoss { items: 1.0 }))
})
.arity(Arity::Exact(2), Arity::Exact(1))
.role(Role::Loss);

struct EuclideanLoss {
    /// N, at least 1.
    items: f32,
}

impl Layer for EuclideanLoss {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let (a, b) = (&bottoms[0], &bottoms[1]);
        let fits = a.axes() > 0
            && b.axes() > 0
            && a.dims()[0] == b.dims()[0]
            && a.count_from(1) == b.count_from(1);
        if !fits {
            return Err(Error::shape(format!(
                "bottoms are {a} and {b}: they must have the same number of items, and of values in each"
            )));
        }
        self.items = a.dims()[0].max(1) as f32;
        Ok(vec![Shape::new(&[])])
    }

    fn traits(&self) -> Traits {
        Traits {
            backward_reads: Reads::BOTTOMS,
            ..Traits::default()
        }
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let sum = reduce::total(io.bottoms[0].data, io.bottoms[1].data, |a, b| {
            (a - b) * (a - b)
        });
        io.tops[0].data[0] = sum / self.items / 2.0;
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let (a, b) = (io.bottom(0).data, io.bottom(1).data);
        let alpha = io.top_diff().data[0] / self.items;
        for (dx, alpha) in io.bottom_diffs.iter_mut().zip([alpha, -alpha]) {
            if let Some(dx) = dx {
                map::zip2(a, b, dx.data, move |a, b| alpha * (a - b));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{
        Bench, assert_close, check_gradient, check_threads, error_of, noise, tensor,
    };

    const TEXT: &str = "type: 'EuclideanLoss'";

    #[test]
    fn by_hand() {
        let a = tensor(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let b = tensor(&[2, 2], &[0.0, 4.0, 3.0, 1.0]);
        let mut bench = Bench::new(TEXT, &[a, b]);
        assert_close(bench.forward(), &[(1.0 + 4.0 + 9.0) / 4.0], 1e-6);
        let got = bench.backward(&[2.0], &[0, 1]);
        assert_eq!(got.bottoms[0].as_ref().unwrap().data, [1.0, -2.0, 0.0, 3.0]);
        assert_eq!(
            got.bottoms[1].as_ref().unwrap().data,
            [-1.0, 2.0, 0.0, -3.0]
        );
    }

    #[test]
    fn gradients() {
        check_gradient(
            TEXT,
            &[noise(&[2, 3, 2], 1), noise(&[2, 6], 2)],
            &[0, 1],
            &[],
        );
    }

    #[test]
    fn threads_change_nothing() {
        check_threads(TEXT, &[noise(&[100_000], 1), noise(&[100_000], 2)], &[0, 1]);
    }

    #[test]
    fn an_empty_batch_costs_nothing() {
        let mut bench = Bench::new(TEXT, &[noise(&[0, 3], 1), noise(&[0, 3], 2)]);
        assert_eq!(bench.forward(), [0.0]);
        bench.backward(&[1.0], &[0, 1]);
    }

    #[test]
    fn shapes_must_agree() {
        for (a, b) in [(&[2, 3][..], &[2, 4][..]), (&[2, 3], &[3, 3]), (&[], &[])] {
            let error = error_of(TEXT, &[noise(a, 1), noise(b, 2)]);
            assert!(error.contains("the same number of items"), "{error}");
        }
    }
}
