//! DiceCoefLoss: loss = 1 − Σₙ rₙ / N, rₙ = (2 Σ u · p · y + s) / (Σ u · p² + Σ u · y² + s) over the values of item n.
//! dp = −2u · (y − rₙ · p) · w / (N · Dₙ), Dₙ the denominator, w = the loss weight. None by y.
//!
//! y is the second bottom where it has as many values as p; else it holds labels, and y is 1 at the class of the label.
//! `generalization` tells the class weights u and the smoothing s: NONE u = 1, s = 1/N; MULTICLASS the same, but u = 0 for
//! the class `ignore_label`; MULTICLASS_WEIGHTED u = (1 + Σ y)^k of each item and class, s = 0, with k = −2 for `weight_mode:
//! INVERSE_VOLUME`, −1 for EQUALIZE_CLASSES and −3 for EXTRA_SMALL_VOLUMES; MULTICLASS_WEIGHTED_BATCH takes the mean of 1 +
//! Σ y over the items before the power, MULTICLASS_WEIGHTED_ALL that over all batches so far. `weights` names a .binaryproto
//! of classes × classes whose diagonal, made to sum to 1, is a factor of u.
//! Shapes: p items × classes × positions; y the same, or labels items × 1 × positions; loss a scalar. Backward reads both.
//! Also named DiceLoss. Source: Milletari et al., V-Net (2016); Sudre et al., Generalised Dice overlap (2017).
//! Departures: dp is the derivative of the loss, where the fork's is N times that (set `loss_weight: N` for its steps); an
//! item in which nothing counts has r = 1; pixels of an ignored label that is no class have no class; `contour_shape` is not
//! built.

use super::labels::Labels;
use crate::{
    error::{Error, Result},
    feed,
    kernels::cut::{self, Units},
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType, Reads, Role, Setup, Traits},
    schema::{
        DiceCoefLossParameter,
        dice_coef_loss_parameter::{ContourShape, GeneralizationMode as Mode, WeightMode},
    },
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("DiceCoefLoss", |def| Ok(Box::new(DiceCoefLoss::new(def)?)))
        .arity(Arity::Exact(2), Arity::Exact(1))
        .role(Role::Loss)
        .no_grad(&[1]);

const WEIGHTS: &str = "dice_coef_loss_param.weights";

struct DiceCoefLoss {
    def: LayerDef,
    param: DiceCoefLossParameter,
    /// Items, classes, positions.
    dims: (usize, usize, usize),
    /// Where the second bottom holds labels.
    labels: Option<Labels>,
    /// Factors of the classes, from the file.
    factors: Option<Vec<f32>>,
    /// Σ py, Σ p² and Σ y² of each item and class, then Σ y.
    sums: Vec<[f64; 4]>,
    /// u of each item and class.
    weights: Vec<f64>,
    /// r and D of each item.
    items: Vec<(f64, f64)>,
    /// For MULTICLASS_WEIGHTED_ALL: batches so far, and the mean of each class.
    seen: (f64, Vec<f64>),
}

impl DiceCoefLoss {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.dice_coef_loss_param.clone().unwrap_or_default();
        if param.contour_shape() != ContourShape::No {
            let error = Error::unsupported("dice_coef_loss_param.contour_shape is not built");
            return Err(error.help("leave it out: the loss then weighs contours as other pixels"));
        }
        Ok(Self {
            def: def.clone(),
            param,
            dims: (0, 0, 0),
            labels: None,
            factors: None,
            sums: Vec::new(),
            weights: Vec::new(),
            items: Vec::new(),
            seen: (0.0, Vec::new()),
        })
    }

    /// The label that does not count.
    fn ignored(&self) -> Option<i32> {
        let ignores = self.param.generalization() != Mode::None;
        self.param.ignore_label.filter(|_| ignores)
    }

    fn weighted(&self) -> bool {
        !matches!(self.param.generalization(), Mode::None | Mode::Multiclass)
    }

    /// Calls `f` with each value's p and y, of a plane (item and class), in order.
    fn plane<'a>(
        &'a self,
        plane: usize,
        p: &'a [f32],
        y: &'a [f32],
    ) -> impl Iterator<Item = (f32, f32)> + 'a {
        let (_, classes, inner) = self.dims;
        let values = plane * inner..(plane + 1) * inner;
        let (item, class) = (plane / classes, plane % classes);
        let labels = self
            .labels
            .as_ref()
            .map(|l| &l.named[item * inner..][..inner]);
        p[values.clone()].iter().enumerate().map(move |(i, &p)| {
            let y = match labels {
                None => y[values.start + i],
                Some(labels) if labels[i] == class as u32 => 1.0,
                Some(_) => 0.0,
            };
            (p, y)
        })
    }

    /// Sets u.
    fn weigh(&mut self) {
        let (items, classes, _) = self.dims;
        let mode = self.param.generalization();
        self.weights.fill(1.0);
        if self.weighted() {
            let mut counts: Vec<f64> = self.sums.iter().map(|sums| 1.0 + sums[3]).collect();
            if mode != Mode::MulticlassWeighted {
                let mut means = vec![0.0; classes];
                for item in counts.chunks_exact(classes.max(1)) {
                    let parts = means.iter_mut().zip(item);
                    parts.for_each(|(mean, n)| *mean += n / items as f64);
                }
                if mode == Mode::MulticlassWeightedAll {
                    let (batches, seen) = &mut self.seen;
                    seen.resize(classes, 0.0);
                    for (seen, mean) in seen.iter_mut().zip(&mut means) {
                        *seen = (*seen * *batches + *mean) / (*batches + 1.0);
                        *mean = *seen;
                    }
                    *batches += 1.0;
                }
                let all = counts.chunks_exact_mut(classes.max(1));
                all.for_each(|item| item.copy_from_slice(&means));
            }
            let power = match self.param.weight_mode() {
                WeightMode::InverseVolume => -2,
                WeightMode::EqualizeClasses => -1,
                WeightMode::ExtraSmallVolumes => -3,
            };
            for (u, n) in self.weights.iter_mut().zip(counts) {
                *u = n.powi(power);
            }
        }
        let ignored = self.ignored().and_then(|l| usize::try_from(l).ok());
        for (plane, u) in self.weights.iter_mut().enumerate() {
            let class = plane % classes;
            if Some(class) == ignored && classes > 1 {
                *u = 0.0;
            } else if let Some(factors) = &self.factors {
                *u *= f64::from(factors[class]);
            }
        }
    }
}

impl Layer for DiceCoefLoss {
    fn setup(&mut self, cx: &mut Setup<'_>) -> Result<()> {
        let classes = cx.bottoms[0].dims().get(1).copied().unwrap_or(0);
        if let Some(name) = self
            .param
            .weights
            .as_deref()
            .filter(|name| !name.is_empty())
        {
            let matrix = feed::read_blob(&self.def.root, name)?;
            if Some(matrix.shape.count()) != classes.checked_mul(classes) || classes == 0 {
                return Err(Error::param(
                    WEIGHTS,
                    format!(
                        "holds a blob of shape {}, but with {classes} classes it must be {classes} × {classes}",
                        matrix.shape
                    ),
                ));
            }
            let diagonal = matrix.data.iter().step_by(classes + 1);
            let mut factors: Vec<f32> = diagonal.map(|f| f.max(1e-9)).collect();
            let sum: f32 = factors.iter().sum();
            factors.iter_mut().for_each(|f| *f /= sum);
            self.factors = Some(factors);
        }
        Ok(())
    }

    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let (p, y) = (&bottoms[0], &bottoms[1]);
        let [items, classes, positions @ ..] = p.dims() else {
            return Err(Error::shape(format!(
                "the predictions have shape {p}; they must be items × classes × positions"
            )));
        };
        self.dims = (*items, *classes, positions.iter().product());
        if let Some(factors) = &self.factors
            && factors.len() != *classes
        {
            let why = format!("are of {} classes, but there are {classes}", factors.len());
            return Err(Error::param(WEIGHTS, why));
        }
        self.labels = match p.count() == y.count() {
            true => None,
            false => Some(Labels::new(p, y, 1, "axis")?),
        };
        let planes = items * classes;
        self.sums.resize(planes, [0.0; 4]);
        self.weights.resize(planes, 1.0);
        self.items.resize(*items, (1.0, 0.0));
        Ok(vec![Shape::new(&[])])
    }

    fn traits(&self) -> Traits {
        Traits {
            backward_reads: Reads::BOTTOMS,
            ..Traits::default()
        }
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let (p, y) = (io.bottoms[0].data, io.bottoms[1].data);
        let ignored = self.ignored();
        if let Some(labels) = &mut self.labels {
            labels.read(y, ignored)?;
        }
        let (items, classes, inner) = self.dims;
        let mut sums = std::mem::take(&mut self.sums);
        let parts = Units(&mut sums[..], 1);
        cut::each(parts, items * classes, 16 * inner, |first, sums| {
            for (plane, sums) in (first..).zip(sums.0) {
                *sums = [0.0; 4];
                for (p, y) in self.plane(plane, p, y) {
                    let (p, y) = (f64::from(p), f64::from(y));
                    for (sum, x) in sums.iter_mut().zip([p * y, p * p, y * y, y]) {
                        *sum += x;
                    }
                }
            }
        });
        self.sums = sums;
        self.weigh();
        let smooth = if self.weighted() {
            0.0
        } else {
            1.0 / items.max(1) as f64
        };
        let mut total = 0.0;
        for (n, item) in self.items.iter_mut().enumerate() {
            let planes = n * classes..(n + 1) * classes;
            let (mut above, mut below) = (smooth, smooth);
            for (u, sums) in self.weights[planes.clone()].iter().zip(&self.sums[planes]) {
                above += 2.0 * u * sums[0];
                below += u * (sums[1] + sums[2]);
            }
            *item = match below == 0.0 {
                true => (1.0, 0.0),
                false => (above / below, below),
            };
            total += item.0;
        }
        let mean = if items == 0 {
            1.0
        } else {
            total / items as f64
        };
        io.tops[0].data[0] = (1.0 - mean) as f32;
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let (p, y) = (io.bottom(0).data, io.bottom(1).data);
        let (items, classes, inner) = self.dims;
        let scale = -2.0 * f64::from(io.top_diff().data[0]) / items.max(1) as f64;
        let Some(dx) = &mut io.bottom_diffs[0] else {
            return Ok(());
        };
        if inner == 0 {
            return Ok(());
        }
        let parts = Units(&mut *dx.data, inner);
        cut::each(parts, items * classes, 16 * inner, |first, parts| {
            for (plane, dx) in (first..).zip(parts.0.chunks_exact_mut(inner)) {
                let (r, below) = self.items[plane / classes];
                let factor = match below == 0.0 {
                    true => 0.0,
                    false => (scale * self.weights[plane] / below) as f32,
                };
                for (dx, (p, y)) in dx.iter_mut().zip(self.plane(plane, p, y)) {
                    *dx = factor * (y - r as f32 * p);
                }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        layer::testing::{
            Bench, assert_close, check_gradient, check_threads, error_of, noise, tensor,
        },
        model_io::binaryproto::write_binaryproto,
        tensor::Tensor,
    };

    fn text(options: &str) -> String {
        format!("type: 'DiceCoefLoss' dice_coef_loss_param {{ {options} }}")
    }

    /// Two classes at two positions.
    fn scores() -> Tensor {
        tensor(&[1, 2, 1, 2], &[1.0, 0.0, 0.0, 2.0])
    }

    #[test]
    fn by_hand() {
        let labels = || tensor(&[1, 1, 1, 2], &[0.0, 0.0]);
        let loss = |options: &str| Bench::new(&text(options), &[scores(), labels()]).forward()[0];
        // Σ py = 1 and 0, Σ p² = 1 and 4, Σ y² = 2 and 0.
        assert_close(&[loss("")], &[1.0 - 3.0 / 8.0], 1e-6);
        assert_close(
            &[loss("generalization: MULTICLASS ignore_label: 1")],
            &[1.0 - 3.0 / 4.0],
            1e-6,
        );
        // Weights 1/9 and 1, or 1/3 and 1.
        let weighted = "generalization: MULTICLASS_WEIGHTED";
        assert_close(
            &[loss(weighted)],
            &[1.0 - (2.0 / 9.0) / (3.0 / 9.0 + 4.0)],
            1e-6,
        );
        let equal = format!("{weighted} weight_mode: EQUALIZE_CLASSES");
        assert_close(&[loss(&equal)], &[1.0 - (2.0 / 3.0) / 5.0], 1e-6);
        let ignored = format!("{weighted} ignore_label: 1");
        assert_close(&[loss(&ignored)], &[1.0 - 2.0 / 3.0], 1e-6);
    }

    #[test]
    fn masks_are_taken_as_they_are() {
        let mask = tensor(&[1, 2, 1, 2], &[1.0, 1.0, 0.0, 0.0]);
        let mut bench = Bench::new(&text(""), &[scores(), mask]);
        assert_close(bench.forward(), &[1.0 - 3.0 / 8.0], 1e-6);
        let got = bench.backward(&[8.0], &[0]);
        let want = [1.0 - 0.375, 1.0, 0.0, -0.75].map(|x: f32| -2.0 * x);
        assert_close(&got.bottoms[0].as_ref().unwrap().data, &want, 1e-6);
        let inputs = [noise(&[3, 1, 4], 1), noise(&[3, 1, 4], 2)];
        check_gradient("type: 'DiceLoss'", &inputs, &[0], &[]);
    }

    #[test]
    fn the_mean_over_all_batches() {
        let all = text("generalization: MULTICLASS_WEIGHTED_ALL weight_mode: EQUALIZE_CLASSES");
        let batch = text("generalization: MULTICLASS_WEIGHTED_BATCH weight_mode: EQUALIZE_CLASSES");
        let labels = |l| tensor(&[1, 1, 1, 2], &[0.0, l]);
        let mut bench = Bench::new(&all, &[scores(), labels(0.0)]);
        let first = bench.forward()[0];
        assert_eq!(
            first,
            Bench::new(&batch, &[scores(), labels(0.0)]).forward()[0]
        );
        bench.bottoms[1] = labels(1.0);
        // 1 + Σ y is 3 and 1, then 2 and 2: means 2.5 and 1.5.
        let (a, b) = (1.0 / 2.5, 1.0 / 1.5);
        let want = 1.0 - 2.0 * (a + 2.0 * b) / (2.0 * a + 5.0 * b);
        assert_close(bench.forward(), &[want], 1e-6);
    }

    #[test]
    fn nothing_that_counts_costs_nothing() {
        let options = text("generalization: MULTICLASS_WEIGHTED ignore_label: 255");
        let inputs = [tensor(&[1, 2, 2], &[0.0; 4]), tensor(&[1, 2], &[255.0; 2])];
        let mut bench = Bench::new(&options, &inputs);
        assert_eq!(bench.forward(), [0.0]);
        let got = bench.backward(&[1.0], &[0]);
        assert_eq!(got.bottoms[0].as_ref().unwrap().data, [0.0; 4]);
    }

    #[test]
    fn gradients() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.binaryproto");
        let matrix = tensor(
            &[1, 1, 3, 3],
            &[1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.5],
        );
        write_binaryproto(&path, matrix.view()).unwrap();
        let labels = tensor(&[2, 1, 2, 2], &[0.0, 2.0, 1.0, 1.0, 2.0, 2.0, 0.0, 2.0]);
        let inputs = [noise(&[2, 3, 2, 2], 1), labels];
        let file = format!("weights: '{}'", path.display());
        for options in [
            "",
            "generalization: MULTICLASS ignore_label: 1",
            "generalization: MULTICLASS_WEIGHTED",
            "generalization: MULTICLASS_WEIGHTED_BATCH weight_mode: EXTRA_SMALL_VOLUMES",
            &file,
        ] {
            check_gradient(&text(options), &inputs, &[0], &[]);
        }
        let error = error_of(&text(&file), &[noise(&[2, 4], 1), noise(&[2], 1)]);
        assert!(error.contains("it must be 4 × 4"), "{error}");
    }

    #[test]
    fn threads_change_nothing() {
        let labels: Vec<f32> = (0..40_000).map(|i| (i % 3) as f32).collect();
        let inputs = [noise(&[4, 3, 10_000], 1), tensor(&[4, 10_000], &labels)];
        let options = text("generalization: MULTICLASS_WEIGHTED");
        check_threads(&options, &inputs, &[0]);
    }

    #[test]
    fn errors() {
        for (options, p, y, why) in [
            (
                "contour_shape: SIMPLE",
                scores(),
                noise(&[1, 2], 1),
                "contour_shape is not built",
            ),
            (
                "",
                noise(&[3], 1),
                noise(&[1], 1),
                "items × classes × positions",
            ),
            ("", scores(), noise(&[1, 3], 1), "need 2 labels"),
            (
                "",
                scores(),
                tensor(&[1, 2], &[0.0, 2.0]),
                "label 2 of image 0",
            ),
        ] {
            let error = error_of(&text(options), &[p, y]);
            assert!(error.contains(why), "{error}");
        }
        let mut bench = Bench::new(&text(""), &[noise(&[0, 2, 3], 1), noise(&[0, 3], 1)]);
        assert_eq!(bench.forward(), [0.0]);
        bench.backward(&[1.0], &[0]);
    }
}
