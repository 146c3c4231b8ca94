//! SmoothL1LossOHEM: loss = Σ f(u · (a − b)) / n, with f(d) = d² / 2 where |d| < 1 and |d| − 1/2 elsewhere, u weights that
//! are 1 where they are not given; it tells the loss of every item too, so that a net can mine the hard ones: see
//! BoxAnnotatorOHEM.   da = w · u · f'(u · (a − b)) / n,  db = −da, w = the loss weight, f'(d) = d or its sign.
//!
//! Shapes: a, b and the optional third bottom u are items × channels × positions; loss is a scalar; the optional second
//! top is items × 1 × positions, the sums of f over the channels, not divided by n and without gradient. Backward reads
//! all. n as `loss_param` says, of items × positions: VALID is FULL here.
//! Source: R-FCN's Caffe. Departure: u is in the gradient, where R-FCN leaves it out; weights of 0 and 1 do not show it.

use super::normalize::Normalize;
use crate::{
    error::{Error, Result},
    kernels::{
        cut::{self, Units},
        map, reduce,
    },
    layer::{Arity, Backward, Forward, Layer, LayerType, Reads, Role, Traits},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("SmoothL1LossOHEM", |def| {
    Ok(Box::new(SmoothL1LossOhem {
        normalize: Normalize::new(def),
        tops: def.param.top.len().max(1),
        dims: (0, 0, 0),
        errors: Vec::new(),
        divisor: 1.0,
    }))
})
.arity(Arity::Range(2, 3), Arity::Range(1, 2))
.role(Role::Loss)
.stops(&[2]);

struct SmoothL1LossOhem {
    normalize: Normalize,
    tops: usize,
    /// Items, channels, positions.
    dims: (usize, usize, usize),
    /// f of the last forward pass, or u · (a − b).
    errors: Vec<f32>,
    divisor: f64,
}

fn value(d: f32) -> f32 {
    let size = d.abs();
    if size < 1.0 { 0.5 * d * d } else { size - 0.5 }
}

fn slope(d: f32) -> f32 {
    // NaN fails the comparison and stays visible.
    if d.abs() >= 1.0 {
        1.0f32.copysign(d)
    } else {
        d
    }
}

impl SmoothL1LossOhem {
    /// u · (a − b).
    fn differences(&mut self, a: &[f32], b: &[f32], u: Option<&[f32]>) {
        map::zip2(a, b, &mut self.errors, |a, b| a - b);
        if let Some(u) = u {
            map::mul(u, &mut self.errors);
        }
    }
}

impl Layer for SmoothL1LossOhem {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let a = &bottoms[0];
        let [items, channels, positions @ ..] = a.dims() else {
            return Err(Error::shape(format!(
                "the first bottom has shape {a}; it must have items and channels: [N, C] or [N, C, H, W]"
            )));
        };
        let other = |b: &&Shape| b.dims().first() != Some(items) || b.count() != a.count();
        if let Some(other) = bottoms[1..].iter().find(other) {
            return Err(Error::shape(format!(
                "bottoms have shapes {a} and {other}: they must have the same number of items, and of values in each"
            )));
        }
        self.dims = (*items, *channels, positions.iter().product());
        self.errors.resize(a.count(), 0.0);
        let mut each = a.dims().to_vec();
        each[1] = 1;
        let mut tops = vec![Shape::new(&[]), Shape::checked(&each)?];
        tops.truncate(self.tops);
        Ok(tops)
    }

    fn traits(&self) -> Traits {
        Traits {
            backward_reads: Reads::BOTTOMS,
            ..Traits::default()
        }
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let (a, b) = (io.bottoms[0].data, io.bottoms[1].data);
        self.differences(a, b, io.bottoms.get(2).map(|u| u.data));
        map::map_in_place(&mut self.errors, value);
        let (items, channels, positions) = self.dims;
        let all = items * positions;
        self.divisor = self.normalize.divisor((items, positions), all);
        let sum = f64::from(reduce::sum(&self.errors));
        io.tops[0].data[0] = (sum / self.divisor) as f32;
        if let Some(top) = io.tops.get_mut(1) {
            map::fill(top.data, 0.0);
            let item = channels * positions;
            if item > 0 {
                let parts = (
                    Units(&mut *top.data, positions),
                    Units(&self.errors[..], item),
                );
                cut::each(parts, items, 4 * item, |_, (y, errors)| {
                    let items =
                        y.0.chunks_exact_mut(positions)
                            .zip(errors.0.chunks_exact(item));
                    for (y, errors) in items {
                        for channel in errors.chunks_exact(positions) {
                            y.iter_mut().zip(channel).for_each(|(y, e)| *y += e);
                        }
                    }
                });
            }
        }
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let (a, b) = (io.bottom(0).data, io.bottom(1).data);
        let u = (io.bottoms.len() > 2).then(|| io.bottom(2).data);
        let weight = io.top_diffs[0].map_or(0.0, |dy| dy.data[0]);
        let scale = (f64::from(weight) / self.divisor) as f32;
        self.differences(a, b, u);
        for (dx, scale) in io.bottom_diffs.iter_mut().zip([scale, -scale]) {
            let Some(dx) = dx else {
                continue;
            };
            match u {
                None => map::map(&self.errors, dx.data, |d| scale * slope(d)),
                Some(u) => map::zip2(&self.errors, u, dx.data, |d, u| scale * u * slope(d)),
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

    const TEXT: &str = "type: 'SmoothL1LossOHEM'";

    #[test]
    fn by_hand() {
        let text = format!(
            "{TEXT} top: 'loss' top: 'each' loss_param {{ normalization: PRE_FIXED pre_fixed_normalizer: 8 }}"
        );
        let a = tensor(&[2, 2, 1, 1], &[3.0, 0.5, -4.0, 9.0]);
        let u = tensor(&[2, 2, 1, 1], &[1.0, 1.0, 0.5, 0.0]);
        let b = tensor(&[2, 2, 1, 1], &[0.0; 4]);
        let mut bench = Bench::new(&text, &[a, b, u]);
        assert_close(bench.forward(), &[(2.5 + 0.125 + 1.5) / 8.0], 1e-6);
        assert_eq!(bench.tops[1].data, [2.625, 1.5]);
        assert_eq!(bench.tops[1].shape.dims(), [2, 1, 1, 1]);
        let got = bench.backward(&[8.0], &[0, 1]);
        assert_eq!(got.bottoms[0].as_ref().unwrap().data, [1.0, 0.5, -0.5, 0.0]);
        assert_eq!(
            got.bottoms[1].as_ref().unwrap().data,
            [-1.0, -0.5, 0.5, 0.0]
        );
    }

    #[test]
    fn gradients() {
        let inputs = [
            noise(&[2, 3, 2], 1),
            noise(&[2, 3, 2], 2),
            noise(&[2, 3, 2], 3),
        ];
        for options in ["", "normalization: BATCH_SIZE", "normalization: NONE"] {
            let text = format!("{TEXT} loss_param {{ {options} }}");
            check_gradient(&text, &inputs, &[0, 1], &[]);
            check_gradient(&text, &inputs[..2], &[0, 1], &[]);
        }
    }

    #[test]
    fn threads_change_nothing() {
        let text = format!("{TEXT} top: 'loss' top: 'each'");
        let inputs = [noise(&[100, 20, 100], 1), noise(&[100, 20, 100], 2)];
        check_threads(&text, &inputs, &[0, 1]);
    }

    #[test]
    fn errors() {
        for (a, b) in [(&[2, 3][..], &[2, 4][..]), (&[2, 3], &[3, 2])] {
            let error = error_of(TEXT, &[noise(a, 1), noise(b, 2)]);
            assert!(error.contains("the same number of items"), "{error}");
        }
        let error = error_of(TEXT, &[noise(&[2], 1), noise(&[2], 2)]);
        assert!(error.contains("items and channels"), "{error}");
        let mut bench = Bench::new(TEXT, &[noise(&[0, 3], 1), noise(&[0, 3], 2)]);
        assert_eq!(bench.forward(), [0.0]);
    }
}
