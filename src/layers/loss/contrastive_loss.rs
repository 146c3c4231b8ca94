//! ContrastiveLoss: loss = Σᵢ lᵢ / 2N over N pairs, with d = |aᵢ − bᵢ|: l = d² where the pair is alike, else max(0, margin
//! − d)², or max(0, margin − d²) with `legacy_version`.   da = w · (a − b) / N where alike; else −w · (a − b) · (margin −
//! d) / (N · (d + 10⁻⁴)) where d is within the margin, −w · (a − b) / N with `legacy_version`; db = −da. None by the
//! third bottom.
//!
//! Shapes: a and b of N items of equal counts; N values that are 0 where the pair is not alike; loss is a scalar. Backward
//! reads a and b. The 10⁻⁴ is the reference's guard against two equal points.
//! Source: Hadsell et al., Dimensionality reduction by learning an invariant mapping (2006).
//! Departures: a third bottom that holds no whole numbers is an error; an empty batch gives 0, not NaN.

use crate::{
    error::{Error, Result},
    kernels::cut::{self, Units},
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType, Reads, Role, Traits},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("ContrastiveLoss", |def| {
    Ok(Box::new(ContrastiveLoss::new(def)?))
})
.arity(Arity::Exact(3), Arity::Exact(1))
.role(Role::Loss)
.no_grad(&[2]);

struct ContrastiveLoss {
    margin: f32,
    legacy: bool,
    items: usize,
    /// Values of an item.
    size: usize,
    /// By pair, from the last forward pass: whether it is alike, and d².
    pairs: Vec<(bool, f32)>,
}

impl ContrastiveLoss {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.contrastive_loss_param.unwrap_or_default();
        let margin = param.margin();
        if !margin.is_finite() {
            let why = format!("{margin} is no distance");
            return Err(def.invalid("contrastive_loss_param.margin", why));
        }
        Ok(Self {
            margin,
            legacy: param.legacy_version(),
            items: 0,
            size: 0,
            pairs: Vec::new(),
        })
    }

    fn term(&self, (alike, square): (bool, f32)) -> f32 {
        if alike {
            square
        } else if self.legacy {
            larger(self.margin - square, 0.0)
        } else {
            let short = larger(self.margin - square.sqrt(), 0.0);
            short * short
        }
    }

    /// What a − b is multiplied by in the gradient, but for w / N.
    fn slope(&self, (alike, square): (bool, f32)) -> f32 {
        if alike {
            return 1.0;
        }
        let distance = square.sqrt();
        let short = self.margin - if self.legacy { square } else { distance };
        if short <= 0.0 {
            0.0
        } else if self.legacy {
            -1.0
        } else {
            -short / (distance + 1e-4)
        }
    }
}

/// The larger one; NaN stays visible.
fn larger(x: f32, least: f32) -> f32 {
    if x < least { least } else { x }
}

impl Layer for ContrastiveLoss {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let (a, b, alike) = (&bottoms[0], &bottoms[1], &bottoms[2]);
        let fits = a.axes() > 0
            && b.axes() > 0
            && a.dims()[0] == b.dims()[0]
            && a.count_from(1) == b.count_from(1)
            && alike.count() == a.dims()[0];
        if !fits {
            return Err(Error::shape(format!(
                "bottoms are {a}, {b} and {alike}: the first two must have the same number of items, and of values in each, and the third one value for each item"
            )));
        }
        (self.items, self.size) = (a.dims()[0], a.count_from(1));
        self.pairs.resize(self.items, (false, 0.0));
        Ok(vec![Shape::new(&[])])
    }

    fn traits(&self) -> Traits {
        Traits {
            backward_reads: Reads::BOTTOMS,
            ..Traits::default()
        }
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let (a, b, alike) = (io.bottoms[0].data, io.bottoms[1].data, io.bottoms[2].data);
        if let Some(i) = alike.iter().position(|s| s.fract() != 0.0) {
            return Err(Error::data(format!(
                "pair {i} is marked with {}, which is not a whole number",
                alike[i]
            ))
            .help("mark pairs that are alike with 1 and others with 0"));
        }
        let size = self.size;
        let parts = Units(&mut self.pairs[..], 1);
        cut::each(parts, self.items, 8 * size, |first, pairs| {
            for (i, pair) in (first..).zip(pairs.0) {
                let item = i * size..(i + 1) * size;
                let ends = a[item.clone()].iter().zip(&b[item]);
                *pair = (alike[i] != 0.0, ends.map(|(a, b)| (a - b) * (a - b)).sum());
            }
        });
        let sum: f64 = self.pairs.iter().map(|&p| f64::from(self.term(p))).sum();
        io.tops[0].data[0] = (sum / self.items.max(1) as f64 / 2.0) as f32;
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let (a, b) = (io.bottom(0).data, io.bottom(1).data);
        let alpha = io.top_diff().data[0] / self.items.max(1) as f32;
        let size = self.size;
        if size == 0 {
            return Ok(());
        }
        for (dx, alpha) in io.bottom_diffs.iter_mut().zip([alpha, -alpha]) {
            let Some(dx) = dx else {
                continue;
            };
            let parts = (
                (Units(&mut *dx.data, size), Units(&self.pairs[..], 1)),
                Units(a, size),
                Units(b, size),
            );
            let parts = (parts.0.0, parts.0.1, parts.1, parts.2);
            cut::each(parts, self.items, 12 * size, |_, (dx, pairs, a, b)| {
                let items = dx.0.chunks_exact_mut(size).zip(pairs.0);
                for ((dx, &pair), (a, b)) in
                    items.zip(a.0.chunks_exact(size).zip(b.0.chunks_exact(size)))
                {
                    let scale = alpha * self.slope(pair);
                    for (dx, (a, b)) in dx.iter_mut().zip(a.iter().zip(b)) {
                        *dx = scale * (a - b);
                    }
                }
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{
        Bench, assert_close, check_gradient, check_threads, error_of, noise, tensor,
    };

    fn text(options: &str) -> String {
        format!("type: 'ContrastiveLoss' contrastive_loss_param {{ {options} }}")
    }

    #[test]
    fn by_hand() {
        // Distances 5, 1 and 5; the first alike, the second within the margin, the third beyond.
        let a = tensor(&[3, 2], &[3.0, 4.0, 1.0, 0.0, 3.0, 4.0]);
        let b = tensor(&[3, 2], &[0.0; 6]);
        let alike = tensor(&[3], &[1.0, 0.0, 0.0]);
        for (options, loss, second) in [
            ("margin: 3", 25.0 + 4.0, -2.0 / 1.0001),
            ("margin: 3 legacy_version: true", 25.0 + 2.0, -1.0),
        ] {
            let inputs = [a.clone(), b.clone(), alike.clone()];
            let mut bench = Bench::new(&text(options), &inputs);
            assert_close(bench.forward(), &[loss / 6.0], 1e-6);
            let got = bench.backward(&[3.0], &[0, 1]);
            let want = [3.0, 4.0, second, 0.0, 0.0, 0.0];
            assert_close(&got.bottoms[0].as_ref().unwrap().data, &want, 1e-6);
            let want = want.map(|x| -x);
            assert_close(&got.bottoms[1].as_ref().unwrap().data, &want, 1e-6);
        }
    }

    #[test]
    fn gradients() {
        let alike = tensor(&[4, 1], &[1.0, 0.0, 0.0, 1.0]);
        for options in ["margin: 2.5", "margin: 4 legacy_version: true"] {
            let inputs = [noise(&[4, 3, 1, 1], 1), noise(&[4, 3], 2), alike.clone()];
            check_gradient(&text(options), &inputs, &[0, 1], &[]);
        }
    }

    #[test]
    fn threads_change_nothing() {
        let alike: Vec<f32> = (0..500).map(|i| (i % 2) as f32).collect();
        let inputs = [
            noise(&[500, 200], 1),
            noise(&[500, 200], 2),
            tensor(&[500], &alike),
        ];
        check_threads(&text("margin: 20"), &inputs, &[0, 1]);
    }

    #[test]
    fn an_empty_batch_costs_nothing() {
        let inputs = [noise(&[0, 3], 1), noise(&[0, 3], 2), noise(&[0], 3)];
        let mut bench = Bench::new(&text(""), &inputs);
        assert_eq!(bench.forward(), [0.0]);
        bench.backward(&[1.0], &[0, 1]);
    }

    #[test]
    fn errors() {
        let inputs = |n, alike| {
            [
                noise(&[2, 3], 1),
                noise(&[n, 3], 2),
                tensor(&[2], &[0.0, alike]),
            ]
        };
        for (options, n, alike, why) in [
            ("", 3, 1.0, "the same number of items"),
            ("", 2, 0.5, "pair 1 is marked with 0.5"),
            ("", 2, f32::NAN, "pair 1 is marked with NaN"),
            (
                "margin: nan",
                2,
                1.0,
                "contrastive_loss_param.margin: NaN is no distance",
            ),
        ] {
            let error = error_of(&text(options), &inputs(n, alike));
            assert!(error.contains(why), "{error}");
        }
        let scalars = [noise(&[], 1), noise(&[], 2), noise(&[], 3)];
        assert!(error_of(&text(""), &scalars).contains("the same number of items"));
    }
}
