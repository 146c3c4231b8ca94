//! SmoothL1Loss: loss = Σ v · f(u · (a − b)) / N, with f(d) = (σd)² / 2 where |d| < 1/σ² and |d| − 1/2σ² elsewhere, N =
//! the extent of the first axis, u the inside weights and v the outside weights, each 1 where it is not given.
//! da = w · v · u · f'(u · (a − b)) / N,  db = −da, w = the loss weight, f'(d) = σ²d or the sign of d.
//!
//! Shapes: a and b agree in the first axis and in the count of the others; a third bottom u and a fourth v are as a. Loss
//! is a scalar. Backward reads all. Option: `sigma`.
//! Source: Girshick, Fast R-CNN (2015), equation 3. SSD's form has no v and no σ.
//! Departures: with three bottoms SSD's CPU code leaves u out of the gradient, here it is there, as on its GPU; an empty
//! batch gives 0, not NaN.

use crate::{
    error::{Error, Result},
    kernels::{map, reduce},
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType, Reads, Role, Traits},
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("SmoothL1Loss", |def| Ok(Box::new(SmoothL1Loss::new(def)?)))
        .arity(Arity::Range(2, 4), Arity::Exact(1))
        .role(Role::Loss)
        .no_grad(&[2, 3]);

struct SmoothL1Loss {
    /// σ².
    sigma2: f32,
    /// N, at least 1.
    items: f32,
    /// u · (a − b), then the terms of the sum or the gradient; only with weights.
    errors: Vec<f32>,
}

impl SmoothL1Loss {
    fn new(def: &LayerDef) -> Result<Self> {
        let sigma = def.param.smooth_l1_loss_param.unwrap_or_default().sigma();
        let sigma2 = sigma * sigma;
        if !(sigma > 0.0 && sigma2.is_normal()) {
            return Err(def.invalid(
                "smooth_l1_loss_param.sigma",
                format!("{sigma} is no factor that can be squared; it must be above 0"),
            ));
        }
        Ok(Self {
            sigma2,
            items: 1.0,
            errors: Vec::new(),
        })
    }

    /// f.
    fn value(&self) -> impl Fn(f32) -> f32 + Copy + use<> {
        let sigma2 = self.sigma2;
        move |d: f32| {
            let size = d.abs();
            if size < 1.0 / sigma2 {
                0.5 * d * d * sigma2
            } else {
                size - 0.5 / sigma2
            }
        }
    }

    /// f'.
    fn slope(&self) -> impl Fn(f32) -> f32 + Copy + use<> {
        let sigma2 = self.sigma2;
        move |d: f32| {
            if d.abs() < 1.0 / sigma2 {
                d * sigma2
            } else if d.is_nan() {
                d
            } else {
                1.0f32.copysign(d)
            }
        }
    }
}

impl Layer for SmoothL1Loss {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let a = &bottoms[0];
        let like_a = |b: &Shape| {
            a.axes() > 0
                && b.axes() > 0
                && a.dims()[0] == b.dims()[0]
                && a.count_from(1) == b.count_from(1)
        };
        if let Some(i) = (1..bottoms.len()).find(|&i| !like_a(&bottoms[i])) {
            return Err(Error::shape(format!(
                "bottom {i} has shape {} and bottom 0 {a}: they must have the same number of items, and of values in each",
                bottoms[i]
            )));
        }
        self.items = a.dims()[0].max(1) as f32;
        let weighted = bottoms.len() > 2;
        self.errors
            .resize(if weighted { a.count() } else { 0 }, 0.0);
        Ok(vec![Shape::new(&[])])
    }

    fn traits(&self) -> Traits {
        Traits {
            backward_reads: Reads::BOTTOMS,
            ..Traits::default()
        }
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let f = self.value();
        let (a, b) = (io.bottoms[0].data, io.bottoms[1].data);
        let inside = io.bottoms.get(2).map(|u| u.data);
        let outside = io.bottoms.get(3).map(|v| v.data);
        let sum = match inside {
            None => reduce::total(a, b, move |a, b| f(a - b)),
            Some(u) => {
                let errors = &mut self.errors;
                map::zip2(a, b, errors, |a, b| a - b);
                map::mul(u, errors);
                let v = outside.unwrap_or(errors);
                if outside.is_some() {
                    reduce::total(errors, v, move |d, v| v * f(d))
                } else {
                    reduce::total(errors, v, move |d, _| f(d))
                }
            }
        };
        io.tops[0].data[0] = sum / self.items;
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let df = self.slope();
        let (a, b) = (io.bottom(0).data, io.bottom(1).data);
        let scale = io.top_diff().data[0] / self.items;
        let view = |i: usize| io.bottoms.get(i).copied().flatten().map(|v| v.data);
        let (inside, outside) = (view(2), view(3));
        if let Some(u) = inside {
            let errors = &mut self.errors;
            map::zip2(a, b, errors, |a, b| a - b);
            map::zip_into(errors, u, move |d, u| u * df(u * d));
            if let Some(v) = outside {
                map::mul(v, errors);
            }
        }
        for (dx, scale) in io.bottom_diffs.iter_mut().zip([scale, -scale]) {
            if let Some(dx) = dx {
                match inside {
                    None => map::zip2(a, b, dx.data, move |a, b| scale * df(a - b)),
                    Some(_) => map::map(&self.errors, dx.data, move |d| scale * d),
                }
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

    const TEXT: &str = "type: 'SmoothL1Loss'";

    #[test]
    fn by_hand() {
        let a = tensor(&[2, 2], &[0.5, 3.0, 1.0, -2.0]);
        let b = tensor(&[2, 2], &[0.0, 1.0, 1.0, 2.0]);
        let mut bench = Bench::new(TEXT, &[a.clone(), b.clone()]);
        assert_close(bench.forward(), &[(0.125 + 1.5 + 0.0 + 3.5) / 2.0], 1e-6);
        let got = bench.backward(&[2.0], &[0, 1]);
        assert_eq!(got.bottoms[0].as_ref().unwrap().data, [0.5, 1.0, 0.0, -1.0]);
        assert_eq!(
            got.bottoms[1].as_ref().unwrap().data,
            [-0.5, -1.0, -0.0, 1.0]
        );
        // Differences 1 and 4 after the inside weights 2, 0.5, 0, 1; σ² = 4, so quadratic below a quarter only.
        let u = tensor(&[2, 2], &[2.0, 0.5, 0.0, 1.0]);
        let v = tensor(&[2, 2], &[1.0, 2.0, 1.0, 0.0]);
        let text = "type: 'SmoothL1Loss' smooth_l1_loss_param { sigma: 2 }";
        let mut bench = Bench::new(text, &[a, b, u, v]);
        assert_close(bench.forward(), &[(0.875 + 2.0 * 0.875) / 2.0], 1e-6);
        let got = bench.backward(&[2.0], &[0]);
        assert_eq!(got.bottoms[0].as_ref().unwrap().data, [2.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn gradients() {
        let sigma = "type: 'SmoothL1Loss' smooth_l1_loss_param { sigma: 1.7 }";
        let inputs = [1, 2, 3, 4].map(|seed| noise(&[2, 3, 2], seed));
        for n in 2..=4 {
            check_gradient(TEXT, &inputs[..n], &[0, 1], &[]);
            check_gradient(sigma, &inputs[..n], &[0, 1], &[]);
        }
        let large = [1, 2, 3, 4].map(|seed| noise(&[100_000], seed));
        check_threads(sigma, &large, &[0, 1]);
    }

    #[test]
    fn an_empty_batch_costs_nothing() {
        let mut bench = Bench::new(TEXT, &[noise(&[0, 3], 1), noise(&[0, 3], 2)]);
        assert_eq!(bench.forward(), [0.0]);
        bench.backward(&[1.0], &[0, 1]);
    }

    #[test]
    fn errors() {
        let error = error_of(TEXT, &[noise(&[2, 3], 1), noise(&[2, 4], 2)]);
        assert!(error.contains("bottom 1 has shape [2, 4]"), "{error}");
        let bottoms = [noise(&[2], 1), noise(&[2], 2), noise(&[3], 3)];
        let error = error_of(TEXT, &bottoms);
        assert!(error.contains("bottom 2 has shape [3]"), "{error}");
        for sigma in ["0", "-1", "nan", "inf", "1e-30"] {
            let text = format!("type: 'SmoothL1Loss' smooth_l1_loss_param {{ sigma: {sigma} }}");
            let error = error_of(&text, &bottoms[..2]);
            assert!(error.contains("smooth_l1_loss_param.sigma"), "{error}");
        }
    }
}
