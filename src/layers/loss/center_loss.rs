//! CenterLoss: loss = Σ |x − c[label]|² / 2N over N rows x (`distance_type: "L1"`: Σ |x − c[label]|₁ / N), c the centre of
//! each class.   dx = (x − c[label]) · w/N (L1: its signs), w = the loss weight. The gradient of the centres is a rule of
//! their own, without the loss weight: c[k] += Σ (c[k] − x) / (1 + n) over the n rows of class k (L1: the signs), so that
//! `lr_mult` times the rate is how far centres go towards the means.
//!
//! Shapes: x is N×K, where axes before `axis` make up N and the others K; labels N; c is `num_output`×K; loss a scalar.
//! None by the labels. Differences and labels are kept by the layer: backward reads no data.
//! Departures: a label that is no class or no whole number is an error; with L1, dx holds signs even where the centres are
//! frozen; an empty batch gives 0, not NaN. `distance_type` is of the fork of happynear.
//! Source: Wen et al., A Discriminative Feature Learning Approach for Deep Face Recognition (2016), equations 2 to 4.

use super::labels::Labels;
use crate::{
    error::{Error, Result},
    kernels::{map, reduce},
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType, Role, Setup},
    schema::CenterLossParameter,
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("CenterLoss", |def| Ok(Box::new(CenterLoss::new(def)?)))
        .arity(Arity::Exact(2), Arity::Exact(1))
        .role(Role::Loss)
        .no_grad(&[1]);

struct CenterLoss {
    param: CenterLossParameter,
    /// Distances are of the sort L1.
    absolute: bool,
    classes: usize,
    width: usize,
    labels: Labels,
    /// x − c[label], of the last forward pass.
    apart: Vec<f32>,
}

impl CenterLoss {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.center_loss_param.clone().unwrap_or_default();
        let absolute = match param.distance_type() {
            "L1" => true,
            "L2" => false,
            other => {
                return Err(def.invalid(
                    "center_loss_param.distance_type",
                    format!("is \"{other}\"; it must be \"L1\" or \"L2\""),
                ));
            }
        };
        let classes = param.num_output() as usize;
        if classes == 0 {
            return Err(def.invalid(
                "center_loss_param.num_output",
                "is 0 or missing; it is the number of classes",
            ));
        }
        Ok(Self {
            param,
            absolute,
            classes,
            width: 0,
            labels: Labels::default(),
            apart: Vec::new(),
        })
    }

    fn axis(&self, x: &Shape) -> Result<usize> {
        x.axis(self.param.axis())
            .map_err(|error| Error::param("center_loss_param.axis", error.message()))
    }

    /// N, at least 1.
    fn rows(&self) -> f32 {
        self.labels.outer.max(1) as f32
    }

    /// What a difference adds to gradients.
    fn push(absolute: bool, d: f32) -> f32 {
        match absolute {
            true if d == 0.0 => 0.0,
            true => d.signum(),
            false => d,
        }
    }
}

impl Layer for CenterLoss {
    fn setup(&mut self, cx: &mut Setup<'_>) -> Result<()> {
        let x = &cx.bottoms[0];
        self.width = x.count_from(self.axis(x)?);
        let shape = Shape::checked(&[self.classes, self.width])?;
        cx.param(shape, self.param.center_filler.as_ref());
        Ok(())
    }

    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let (x, labels) = (&bottoms[0], &bottoms[1]);
        let axis = self.axis(x)?;
        let (rows, width) = (x.count_range(0, axis), x.count_from(axis));
        if width != self.width {
            return Err(Error::shape(format!(
                "{width} values a row from axis {axis} of bottom {x} on, but the centres are made for {}",
                self.width
            )));
        }
        if labels.count() != rows {
            return Err(Error::shape(format!(
                "bottom {x} has {rows} rows before axis {axis}, but the labels are {labels}"
            ))
            .help("give one label, a whole number, for each row"));
        }
        let scores = Shape::checked(&[rows, self.classes])?;
        self.labels = Labels::new(&scores, labels, 1, "center_loss_param.axis")?;
        self.apart.resize(x.count(), 0.0);
        Ok(vec![Shape::new(&[])])
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        self.labels.read(io.bottoms[1].data, None)?;
        let (width, centers) = (self.width.max(1), &io.params[0].value.data);
        let rows = self
            .apart
            .chunks_mut(width)
            .zip(io.bottoms[0].data.chunks(width));
        for ((apart, x), &class) in rows.zip(&self.labels.named) {
            let center = &centers[class as usize * width..];
            for ((d, &x), &c) in apart.iter_mut().zip(x).zip(center) {
                *d = x - c;
            }
        }
        let sum = if self.absolute {
            reduce::asum(&self.apart)
        } else {
            reduce::sumsq(&self.apart) / 2.0
        };
        io.tops[0].data[0] = sum / self.rows();
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let (width, absolute) = (self.width.max(1), self.absolute);
        if io.params[0].wants_grad() {
            let mut rows = vec![0u32; self.classes];
            for &class in &self.labels.named {
                rows[class as usize] += 1;
            }
            let grad = &mut io.params[0].grad;
            for (apart, &class) in self.apart.chunks(width).zip(&self.labels.named) {
                let class = class as usize;
                let share = 1.0 / (1.0 + rows[class] as f32);
                let dc = grad[class * width..].iter_mut();
                for (dc, &d) in dc.zip(apart) {
                    *dc -= share * Self::push(absolute, d);
                }
            }
        }
        let alpha = io.top_diff().data[0] / self.rows();
        if let Some(dx) = &mut io.bottom_diffs[0] {
            map::map(&self.apart, dx.data, |d| alpha * Self::push(absolute, d));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        layer::testing::{
            Bench, assert_close, check_gradient, check_threads, error_of, fields, noise, tensor,
        },
        tensor::Tensor,
    };

    fn text(options: &str) -> String {
        let options = fields(&["num_output: 3"], options);
        format!(
            "type: 'CenterLoss' center_loss_param {{ center_filler {{ type: 'gaussian' }} {options} }}"
        )
    }

    fn bottoms() -> [Tensor; 2] {
        [
            tensor(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 5.0]),
            tensor(&[3], &[0.0, 2.0, 0.0]),
        ]
    }

    const CENTERS: [f32; 6] = [1.0, 1.0, 9.0, 9.0, 3.0, 2.0];

    #[test]
    fn by_hand() {
        let mut bench = Bench::new(&text(""), &bottoms()).param(0, &CENTERS);
        assert_close(bench.forward(), &[(1.0 + 4.0 + 32.0) / 6.0], 1e-6);
        let got = bench.backward(&[3.0], &[0]);
        let dx = &got.bottoms[0].as_ref().unwrap().data;
        assert_close(dx, &[0.0, 1.0, 0.0, 2.0, 4.0, 4.0], 1e-6);
        // Class 0 has two rows: ((1, 1) − (1, 2) + (1, 1) − (5, 5)) / 3; class 2 has one.
        let want = [-4.0 / 3.0, -5.0 / 3.0, 0.0, 0.0, 0.0, -1.0];
        assert_close(&got.params[0], &want, 1e-6);
    }

    #[test]
    fn absolute_distances() {
        let mut bench = Bench::new(&text("distance_type: 'L1'"), &bottoms()).param(0, &CENTERS);
        assert_close(bench.forward(), &[(1.0 + 2.0 + 8.0) / 3.0], 1e-6);
        let got = bench.backward(&[3.0], &[0]);
        let dx = &got.bottoms[0].as_ref().unwrap().data;
        assert_eq!(*dx, [0.0, 1.0, 0.0, 1.0, 1.0, 1.0]);
        let want = [-1.0 / 3.0, -2.0 / 3.0, 0.0, 0.0, 0.0, -0.5];
        assert_close(&got.params[0], &want, 1e-6);
    }

    #[test]
    fn gradients() {
        let labels = tensor(&[4], &[0.0, 2.0, 0.0, 1.0]);
        let inputs = [noise(&[4, 2, 2], 1), labels.clone()];
        check_gradient(&text(""), &inputs, &[0], &[]);
        check_gradient(&text("distance_type: 'L1'"), &inputs, &[0], &[]);
        let inputs = [noise(&[2, 2, 3], 1), labels];
        check_gradient(&text("axis: -1"), &inputs, &[0], &[]);
    }

    #[test]
    fn frozen_centers() {
        let mut bench = Bench::new(&text(""), &bottoms());
        bench.params[0].grad.clear();
        bench.forward();
        assert!(bench.backward(&[1.0], &[0]).params[0].is_empty());
    }

    #[test]
    fn threads_and_batches() {
        let labels: Vec<f32> = (0..900).map(|i| (i % 3) as f32).collect();
        let inputs = [noise(&[900, 100], 1), tensor(&[900], &labels)];
        check_threads(&text(""), &inputs, &[0]);
        let mut bench = Bench::new(&text(""), &[noise(&[0, 2], 1), noise(&[0], 1)]);
        assert_eq!(bench.forward(), [0.0]);
        bench.backward(&[1.0], &[0]);
        let error = bench.set_bottom(0, noise(&[0, 3], 1)).unwrap_err();
        assert!(error.to_string().contains("made for 2"), "{error}");
    }

    #[test]
    fn errors() {
        let [x, labels] = bottoms();
        for (options, why) in [
            (
                "distance_type: 'L3'",
                "center_loss_param.distance_type: is \"L3\"",
            ),
            ("axis: 2", "center_loss_param.axis: axis 2 is outside"),
            ("num_output: 0", "center_loss_param.num_output: is 0"),
            ("num_output: 2", "label 2 of image 1 names no class"),
            ("num_output: 4294967295", "would hold more than"),
            ("axis: 0", "1 rows before axis 0"),
        ] {
            let error = error_of(&text(options), &[x.clone(), labels.clone()]);
            assert!(error.contains(why), "{error}");
        }
        let error = error_of(&text(""), &[x, tensor(&[2], &[0.0, 1.0])]);
        assert!(error.contains("has 3 rows"), "{error}");
    }
}
