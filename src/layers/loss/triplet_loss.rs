//! TripletLoss: loss = Σ max(0, margin + |a − p|² − |a − n|²) / 2N, over the N items of an anchor a, one of its kind p and
//! another n.   da = (n − p) · w/N,  dp = (p − a) · w/N,  dn = (a − n) · w/N, 0 for items that cost nothing; w = the loss
//! weight.
//!
//! Shapes: a, p and n agree in the first axis and in the count of the others; loss is a scalar. Backward reads all three.
//! Departures: items may have any shape, where the fork takes N×C alone; an empty batch gives 0, not NaN.
//! Source: Schroff et al., FaceNet (2015), section 3.1, halved as in the fork of happynear.

use rayon::prelude::*;

use crate::{
    error::{Error, Result},
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType, Reads, Role, Traits},
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("TripletLoss", |def| Ok(Box::new(TripletLoss::new(def)?)))
        .arity(Arity::Exact(3), Arity::Exact(1))
        .role(Role::Loss);

/// Up to so many values a second thread costs more than it brings.
const SERIAL: usize = 1 << 15;

struct TripletLoss {
    margin: f64,
    /// Values of an item.
    width: usize,
    /// What each item costs, of the last forward pass.
    costs: Vec<f64>,
}

impl TripletLoss {
    fn new(def: &LayerDef) -> Result<Self> {
        let margin = def.param.triplet_loss_param.unwrap_or_default().margin();
        if !margin.is_finite() {
            return Err(def.invalid(
                "triplet_loss_param.margin",
                format!("is {margin}; it must be a finite number"),
            ));
        }
        Ok(Self {
            margin: margin.into(),
            width: 0,
            costs: Vec::new(),
        })
    }

    /// N, at least 1.
    fn items(&self) -> f64 {
        self.costs.len().max(1) as f64
    }
}

fn square_distance(a: &[f32], b: &[f32]) -> f64 {
    let square = |(&a, &b): (&f32, &f32)| (f64::from(a) - f64::from(b)).powi(2);
    a.iter().zip(b).map(square).sum()
}

impl Layer for TripletLoss {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let a = &bottoms[0];
        let fits = |b: &Shape| {
            b.axes() > 0 && b.dims()[0] == a.dims()[0] && b.count_from(1) == a.count_from(1)
        };
        if a.axes() == 0 || !bottoms.iter().all(fits) {
            return Err(Error::shape(format!(
                "bottoms are {a}, {} and {}: they must have the same number of items, and of values in each",
                bottoms[1], bottoms[2]
            ))
            .help("they are the anchors, items of the same kind, and items of another kind"));
        }
        self.width = a.count_from(1);
        self.costs.clear();
        self.costs.resize(a.dims()[0], 0.0);
        Ok(vec![Shape::new(&[])])
    }

    fn traits(&self) -> Traits {
        Traits {
            backward_reads: Reads::BOTTOMS,
            ..Traits::default()
        }
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let (width, margin) = (self.width, self.margin);
        let [a, p, n] = [0, 1, 2].map(|b| io.bottoms[b].data);
        let cost = |(i, cost): (usize, &mut f64)| {
            let item = i * width..(i + 1) * width;
            let a = &a[item.clone()];
            let apart = square_distance(a, &p[item.clone()]) - square_distance(a, &n[item]);
            // Written so that a NaN passes.
            *cost = match margin + apart {
                c if c < 0.0 => 0.0,
                c => c,
            };
        };
        if a.len() <= SERIAL {
            self.costs.iter_mut().enumerate().for_each(cost);
        } else {
            self.costs.par_iter_mut().enumerate().for_each(cost);
        }
        io.tops[0].data[0] = (self.costs.iter().sum::<f64>() / self.items() / 2.0) as f32;
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let width = self.width.max(1);
        let alpha = (f64::from(io.top_diff().data[0]) / self.items()) as f32;
        // dx = (y − z) · alpha
        let pairs = [(2, 1), (1, 0), (0, 2)].map(|(y, z)| (io.bottom(y).data, io.bottom(z).data));
        let costs = &self.costs;
        for (dx, (y, z)) in io.bottom_diffs.iter_mut().zip(pairs) {
            let Some(dx) = dx else { continue };
            let item = |(i, dx): (usize, &mut [f32])| {
                let alpha = if costs[i] == 0.0 { 0.0 } else { alpha };
                let (y, z) = (&y[i * width..], &z[i * width..]);
                for ((dx, &y), &z) in dx.iter_mut().zip(y).zip(z) {
                    *dx = if alpha == 0.0 { 0.0 } else { alpha * (y - z) };
                }
            };
            if dx.data.len() <= SERIAL {
                dx.data.chunks_mut(width).enumerate().for_each(item);
            } else {
                dx.data.par_chunks_mut(width).enumerate().for_each(item);
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

    const TEXT: &str = "type: 'TripletLoss' triplet_loss_param { margin: 0.5 }";

    #[test]
    fn by_hand() {
        // Distances to p: 1 and 1; to n: 1 and 4. The second item is far enough away.
        let bottoms = [
            tensor(&[2, 2], &[0.0, 0.0, 1.0, 1.0]),
            tensor(&[2, 2], &[1.0, 0.0, 1.0, 2.0]),
            tensor(&[2, 2], &[0.0, 1.0, -1.0, 1.0]),
        ];
        let mut bench = Bench::new(TEXT, &bottoms);
        assert_close(bench.forward(), &[0.5 / 4.0], 1e-6);
        let got = bench.backward(&[2.0], &[0, 1, 2]);
        let dx = |i: usize| got.bottoms[i].as_ref().unwrap().data.clone();
        assert_eq!(dx(0), [-1.0, 1.0, 0.0, 0.0]);
        assert_eq!(dx(1), [1.0, 0.0, 0.0, 0.0]);
        assert_eq!(dx(2), [0.0, -1.0, 0.0, 0.0]);
    }

    #[test]
    fn gradients() {
        let bottoms = [1, 2, 3].map(|seed| noise(&[3, 2, 2], seed));
        check_gradient(TEXT, &bottoms, &[0, 1, 2], &[]);
        check_gradient("type: 'TripletLoss'", &bottoms, &[0, 2], &[]);
    }

    #[test]
    fn threads_change_nothing() {
        let bottoms = [1, 2, 3].map(|seed| noise(&[400, 100], seed));
        check_threads(TEXT, &bottoms, &[0, 1, 2]);
    }

    #[test]
    fn nothing_costs_nothing_and_nan_stays_visible() {
        let empty = [1, 2, 3].map(|seed| noise(&[0, 3], seed));
        let mut bench = Bench::new(TEXT, &empty);
        assert_eq!(bench.forward(), [0.0]);
        bench.backward(&[1.0], &[0, 1, 2]);
        let nan = [f32::NAN, 0.0, 0.0].map(|x| tensor(&[1, 1], &[x]));
        assert!(Bench::new(TEXT, &nan).forward()[0].is_nan());
    }

    #[test]
    fn errors() {
        let a = noise(&[2, 3], 1);
        for other in [&[2, 4][..], &[3, 3], &[]] {
            let error = error_of(TEXT, &[a.clone(), a.clone(), noise(other, 2)]);
            assert!(error.contains("the same number of items"), "{error}");
        }
        let text = "type: 'TripletLoss' triplet_loss_param { margin: nan }";
        let error = error_of(text, &[a.clone(), a.clone(), a]);
        assert!(
            error.contains("triplet_loss_param.margin: is NaN"),
            "{error}"
        );
    }
}
