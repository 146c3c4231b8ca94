//! MarginInnerProduct: y = x · Wᵀ with rows of W of length 1, but for the label's class, whose angle θ to x counts m times:
//! (λ · |x| cos θ + |x| ψ(θ)) / (1 + λ), ψ = (−1)ᵏ cos mθ − 2k in the k-th of m parts of [0, π], m by `type`.   The gradient
//! is the fork's: dx = dy · W, where the label's class has (λ·w + u) / (1 + λ) for w, u = (a·w + b·x) / √(a² + b²),
//! a = ψ', b = (ψ − ψ' cos θ) / |x|, ψ' by cos θ;  dW += dyᵀ · x. None by the labels.
//!
//! Shapes: x is M×K, where axes before `axis` make up M and the others K; labels M; y has the axes before `axis`, then
//! `num_output`; the optional second top is [1] with λ. Backward reads x. Forward itself brings the rows of W to length 1.
//! Options: `type` SINGLE (m = 1), DOUBLE, TRIPLE, QUADRUPLE. λ = max(base · (1 + gamma · i)^−power, lambda_min) where i
//! counts forward passes of this net on from `iteration`; a run that goes on from a snapshot starts there again.
//! Departures: a label that is no class or no whole number is an error; rows of x or W that are 0 give 0, not NaN. The
//! gradient is no derivative, but for SINGLE that of x: it leaves out that W is made to length 1, and u has the length that
//! the fork gives it.
//! Source: Liu et al., SphereFace (2017), section 3.2.

use super::labels::Labels;
use crate::{
    error::{Error, Result},
    kernels::{
        gemm::{Gemm, gemm},
        map, reduce,
    },
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType, Reads, Setup, Traits},
    schema::{MarginInnerProductParameter, margin_inner_product_parameter::MarginType},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("MarginInnerProduct", |def| {
    Ok(Box::new(MarginInnerProduct::new(def)?))
})
.arity(Arity::Exact(2), Arity::Range(1, 2))
.no_grad(&[1]);

struct MarginInnerProduct {
    param: MarginInnerProductParameter,
    tops: usize,
    m: usize,
    n: usize,
    k: usize,
    /// How often forward has run, on from `iteration`.
    passes: f64,
    /// Of the last forward pass.
    labels: Labels,
    angles: Vec<Angle>,
    lambda: f64,
}

/// A row of x and the weights of its label's class.
#[derive(Clone, Copy)]
struct Angle {
    /// |x|
    length: f64,
    cos: f64,
}

/// 1, 0 or −1.
fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

/// ψ and its derivative at cos θ = `c`.
fn psi(kind: MarginType, c: f64) -> (f64, f64) {
    match kind {
        MarginType::Single => (c, 1.0),
        MarginType::Double => {
            let s = sign(c);
            (2.0 * s * c * c - 1.0, 4.0 * s * c)
        }
        MarginType::Triple => {
            let s = sign(c.abs() - 0.5);
            let fall = sign(c) * (1.0 + s) - 2.0;
            let cos = (4.0 * c * c - 3.0) * c;
            (s * cos + fall, s * (12.0 * c * c - 3.0))
        }
        MarginType::Quadruple => {
            let s = sign(c) * sign(2.0 * c * c - 1.0);
            let fall = 2.0 * sign(c) + s - 3.0;
            let cos = 8.0 * c * c * (c * c - 1.0) + 1.0;
            (s * cos + fall, s * (32.0 * c * c - 16.0) * c)
        }
    }
}

impl MarginInnerProduct {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def
            .param
            .margin_inner_product_param
            .clone()
            .unwrap_or_default();
        let invalid = |field: &str, why: &str| {
            Err(def.invalid(&format!("margin_inner_product_param.{field}"), why))
        };
        if param.num_output() == 0 {
            return invalid("num_output", "is 0 or missing; it is the number of classes");
        }
        if param.iteration() < 0 {
            return invalid("iteration", "is below 0; it counts passes that have been");
        }
        for (field, value) in [
            ("base", param.base()),
            ("gamma", param.gamma()),
            ("lambda_min", param.lambda_min()),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return invalid(field, &format!("is {value}; it must be a number from 0 on"));
            }
        }
        if !param.power().is_finite() {
            return invalid(
                "power",
                &format!("is {}; it must be a finite number", param.power()),
            );
        }
        Ok(Self {
            tops: def.param.top.len().max(1),
            m: 0,
            n: param.num_output() as usize,
            k: 0,
            passes: param.iteration().into(),
            labels: Labels::default(),
            angles: Vec::new(),
            lambda: 0.0,
            param,
        })
    }

    fn axis(&self, x: &Shape) -> Result<usize> {
        x.axis(self.param.axis())
            .map_err(|error| Error::param("margin_inner_product_param.axis", error.message()))
    }

    /// The share of the margin in the label's score: 1 / (1 + λ).
    fn share(&self) -> f64 {
        1.0 / (1.0 + self.lambda)
    }
}

impl Layer for MarginInnerProduct {
    fn setup(&mut self, cx: &mut Setup<'_>) -> Result<()> {
        let x = &cx.bottoms[0];
        self.k = x.count_from(self.axis(x)?);
        let shape = Shape::checked(&[self.n, self.k])?;
        cx.param(shape, self.param.weight_filler.as_ref());
        Ok(())
    }

    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let (x, labels) = (&bottoms[0], &bottoms[1]);
        let axis = self.axis(x)?;
        if x.count_from(axis) != self.k {
            return Err(Error::shape(format!(
                "{} values a row from axis {axis} of bottom {x} on, but the weights are made for {}",
                x.count_from(axis),
                self.k
            )));
        }
        self.m = x.count_range(0, axis);
        if labels.count() != self.m {
            return Err(Error::shape(format!(
                "bottom {x} has {} rows before axis {axis}, but the labels are {labels}",
                self.m
            ))
            .help("give one label, a whole number, for each row"));
        }
        let mut y = x.dims()[..axis].to_vec();
        y.push(self.n);
        let y = Shape::checked(&y)?;
        let scores = Shape::new(&[self.m, self.n]);
        self.labels = Labels::new(&scores, labels, 1, "margin_inner_product_param.axis")?;
        let mut tops = vec![y, Shape::new(&[1])];
        tops.truncate(self.tops);
        Ok(tops)
    }

    fn traits(&self) -> Traits {
        Traits {
            backward_reads: Reads::BOTTOMS,
            writes_params: true,
            ..Traits::default()
        }
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        self.labels.read(io.bottoms[1].data, None)?;
        let param = &self.param;
        self.passes += 1.0;
        let fall = (1.0 + f64::from(param.gamma()) * self.passes).powf(-f64::from(param.power()));
        // A base of 0 stays 0 however large the power.
        let lambda = match param.base() {
            0.0 => 0.0,
            base => f64::from(base) * fall,
        };
        self.lambda = lambda.max(param.lambda_min().into());

        let k = self.k.max(1);
        let weight = &mut io.params[0].value.data;
        for row in weight.chunks_mut(k) {
            let length = reduce::sumsq_f64(row).sqrt();
            if length != 0.0 {
                map::scal((1.0 / length) as f32, row);
            }
        }
        let (x, y) = (io.bottoms[0].data, &mut *io.tops[0].data);
        gemm(&Gemm::new(self.m, self.n, self.k).trans_b(), x, weight, y);
        if let Some(top) = io.tops.get_mut(1) {
            top.data[0] = self.lambda as f32;
        }
        let (share, kind) = (self.share(), self.param.r#type());
        self.angles.clear();
        for ((row, y), &class) in x
            .chunks(k)
            .zip(io.tops[0].data.chunks_mut(self.n))
            .zip(&self.labels.named)
        {
            let length = reduce::sumsq_f64(row).sqrt();
            let z = &mut y[class as usize];
            let plain = f64::from(*z);
            let cos = if length == 0.0 { 0.0 } else { plain / length };
            self.angles.push(Angle { length, cos });
            if kind != MarginType::Single {
                *z = (plain + share * (length * psi(kind, cos).0 - plain)) as f32;
            }
        }
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let (m, n, k) = (self.m, self.n, self.k);
        let x = io.bottom(0).data;
        let Some(dy) = io.top_diffs[0].map(|dy| dy.data) else {
            if let Some(dx) = &mut io.bottom_diffs[0] {
                dx.data.fill(0.0);
            }
            return Ok(());
        };
        if io.params[0].wants_grad() {
            let dw = &mut io.params[0].grad;
            gemm(&Gemm::new(n, k, m).trans_a().beta(1.0), dy, x, dw);
        }
        let Some(dx) = &mut io.bottom_diffs[0] else {
            return Ok(());
        };
        let weight = &io.params[0].value.data;
        gemm(&Gemm::new(m, k, n), dy, weight, dx.data);
        let (share, kind) = (self.share(), self.param.r#type());
        if kind == MarginType::Single || k == 0 {
            return Ok(());
        }
        for (i, (dx, angle)) in dx.data.chunks_mut(k).zip(&self.angles).enumerate() {
            let class = self.labels.named[i] as usize;
            let (value, a) = psi(kind, angle.cos);
            let b = if angle.length == 0.0 {
                0.0
            } else {
                (value - a * angle.cos) / angle.length
            };
            let length = a.hypot(b);
            let (a, b) = if length == 0.0 {
                (0.0, 0.0)
            } else {
                (a / length, b / length)
            };
            // In place of w: (λ·w + a·w + b·x) / (1 + λ) = w + share · ((a − 1)·w + b·x).
            let scale = f64::from(dy[i * n + class]) * share;
            map::axpy((scale * (a - 1.0)) as f32, &weight[class * k..][..k], dx);
            map::axpy((scale * b) as f32, &x[i * k..][..k], dx);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layer::testing::{
            Bench, assert_close, check_gradient, check_threads, error_of, fields, noise, tensor,
        },
        tensor::Tensor,
    };

    fn text(options: &str) -> String {
        let options = fields(&["num_output: 2"], options);
        format!(
            "type: 'MarginInnerProduct' margin_inner_product_param {{ weight_filler {{ type: 'gaussian' }} {options} }}"
        )
    }

    /// ψ joins its parts, falls from 1 at θ = 0 to 1 − 2m at π, and `psi` gives its derivative.
    #[test]
    fn margins() {
        let kinds = [
            MarginType::Single,
            MarginType::Double,
            MarginType::Triple,
            MarginType::Quadruple,
        ];
        for (m, kind) in (1..).zip(kinds) {
            for i in 0..=60 {
                let theta = std::f64::consts::PI * f64::from(i) / 60.0;
                let part = f64::from(i * m / 60).min(f64::from(m) - 1.0);
                let want = (-1f64).powf(part) * (f64::from(m) * theta).cos() - 2.0 * part;
                let (got, slope) = psi(kind, theta.cos());
                assert!(
                    (got - want).abs() < 1e-6,
                    "{kind:?} at {theta}: {got}, not {want}"
                );
                let c = 0.999 * theta.cos() + 1e-4;
                let near = (psi(kind, c + 1e-6).0 - psi(kind, c - 1e-6).0) / 2e-6;
                let slope_at = psi(kind, c).1;
                assert!(
                    (slope_at - near).abs() < 1e-2,
                    "{kind:?} at {theta}: {slope_at}, not {near}"
                );
                assert!(slope >= -1e-9);
            }
        }
    }

    #[test]
    fn by_hand() {
        // |x| = 5, the rows of W come to (1, 0) and (0, 1): cos θ = 0.6 and 0.8.
        let bottoms = [tensor(&[1, 2], &[3.0, 4.0]), tensor(&[1], &[1.0])];
        let options = text("type: DOUBLE base: 3");
        let mut bench = Bench::new(&options, &bottoms).param(0, &[2.0, 0.0, 0.0, 0.5]);
        // cos 2θ = 0.28
        assert_close(
            bench.forward(),
            &[3.0, (3.0 * 4.0 + 5.0 * 0.28) / 4.0],
            1e-6,
        );
        assert_close(&bench.params[0].value.data, &[1.0, 0.0, 0.0, 1.0], 1e-6);
        let got = bench.backward(&[1.0, 2.0], &[0]);
        // a = 4 · 0.8, b = −(2 · 0.64 + 1) / 5, brought to length 1 together.
        let (a, b) = (3.2, -0.456);
        let length = f32::hypot(a, b);
        let (a, b) = (a / length, b / length);
        let want = [1.0 + 0.5 * b * 3.0, 0.5 * (3.0 + a + b * 4.0)];
        let dx = &got.bottoms[0].as_ref().unwrap().data;
        assert_close(dx, &want, 1e-6);
        assert_close(&got.params[0], &[3.0, 4.0, 6.0, 8.0], 1e-6);
    }

    #[test]
    fn lambda_falls_with_the_passes() {
        let bottoms = [noise(&[1, 2], 1), tensor(&[1], &[1.0])];
        let options =
            text("type: TRIPLE base: 1000 gamma: 0.12 power: 1 lambda_min: 5 iteration: 99");
        let options = format!("top: 'y' top: 'lambda' {options}");
        let mut bench = Bench::new(&options, &bottoms);
        bench.forward();
        assert_close(&bench.tops[1].data, &[1000.0 / 13.0], 1e-6);
        bench.forward();
        assert_close(&bench.tops[1].data, &[1000.0 / 13.12], 1e-6);
        let options = options.replace("iteration: 99", "iteration: 99999");
        let mut bench = Bench::new(&options, &bottoms);
        bench.forward();
        assert_eq!(bench.tops[1].data, [5.0]);
    }

    #[test]
    fn gradients_of_one_angle_are_derivatives() {
        let bottoms = [noise(&[2, 2, 3], 1), tensor(&[4], &[0.0, 1.0, 1.0, 0.0])];
        check_gradient(&text("axis: 2"), &bottoms, &[0], &[]);
    }

    /// u points where the label's score grows: along its derivative, scaled by what has been made 1.
    #[test]
    fn gradients_of_more_angles_point_along_the_derivative() {
        for (m, kind) in [(2, "DOUBLE"), (3, "TRIPLE"), (4, "QUADRUPLE")] {
            let x = noise(&[1, 3], m);
            let options = text(&format!("type: {kind} base: 0"));
            let score =
                |x: &Tensor| Bench::new(&options, &[x.clone(), tensor(&[1], &[0.0])]).forward()[0];
            let mut bench = Bench::new(&options, &[x.clone(), tensor(&[1], &[0.0])]);
            bench.forward();
            let dx = bench.backward(&[1.0, 0.0], &[0]).bottoms[0]
                .clone()
                .unwrap()
                .data;
            let want: Vec<f32> = (0..3)
                .map(|i| {
                    let mut moved = [x.clone(), x.clone()];
                    moved[0].data[i] += 1e-2;
                    moved[1].data[i] -= 1e-2;
                    (score(&moved[0]) - score(&moved[1])) / 2e-2
                })
                .collect();
            let length = |v: &[f32]| v.iter().map(|v| v * v).sum::<f32>().sqrt();
            let (a, b) = (length(&dx), length(&want));
            for (d, w) in dx.iter().zip(&want) {
                assert!((d / a - w / b).abs() < 1e-2, "{kind}: {dx:?} and {want:?}");
            }
        }
    }

    #[test]
    fn threads_and_zeros() {
        let labels: Vec<f32> = (0..50).map(|i| (i % 2) as f32).collect();
        let inputs = [noise(&[50, 300], 1), tensor(&[50], &labels)];
        check_threads(&text("type: QUADRUPLE"), &inputs, &[0]);
        let zeros = [tensor(&[1, 2], &[0.0; 2]), tensor(&[1], &[0.0])];
        let mut bench = Bench::new(&text("type: DOUBLE"), &zeros).param(0, &[0.0, 0.0, 1.0, 0.0]);
        assert_eq!(bench.forward(), [0.0, 0.0]);
        let dx = bench.backward(&[1.0, 1.0], &[0]).bottoms[0]
            .clone()
            .unwrap()
            .data;
        assert!(dx.iter().all(|d| d.is_finite()), "{dx:?}");
        let mut bench = Bench::new(&text(""), &[noise(&[0, 2], 1), noise(&[0], 1)]);
        assert!(bench.forward().is_empty());
        bench.backward(&[], &[0]);
    }

    #[test]
    fn errors() {
        let bottoms = [noise(&[2, 3], 1), tensor(&[2], &[0.0, 2.0])];
        for (options, why) in [
            ("num_output: 0", "num_output: is 0 or missing"),
            ("num_output: 4294967295", "would hold more than"),
            ("iteration: -1", "iteration: is below 0"),
            ("base: -1", "base: is -1"),
            ("gamma: nan", "gamma: is NaN"),
            ("lambda_min: inf", "lambda_min: is inf"),
            ("power: nan", "power: is NaN"),
            (
                "axis: 2",
                "margin_inner_product_param.axis: axis 2 is outside",
            ),
            ("axis: 0", "has 1 rows before axis 0"),
            ("", "label 2 of image 1 names no class"),
        ] {
            let error = error_of(&text(options), &bottoms);
            assert!(error.contains(why), "{error}");
        }
        let mut bench = Bench::new(&text(""), &bottoms);
        let error = bench.set_bottom(0, noise(&[2, 4], 1)).unwrap_err();
        assert!(error.to_string().contains("made for 3"), "{error}");
    }
}
