//! Eltwise: SUM: y = Σ cᵢ · xᵢ, cᵢ = `coeff` or 1.   dxᵢ = cᵢ · dy.
//! PROD: y = Π xᵢ.   dxᵢ = dy · Π of the others; without `stable_prod_grad` dy · y / xᵢ.
//! MAX: y = max xᵢ.   dxᵢ = dy where xᵢ was taken, else 0. Of equal bottoms the second wins over the first, and
//! after that the earlier one, as in Caffe.
//!
//! Shapes: all equal. Backward reads the bottoms for PROD (and y without `stable_prod_grad`); which bottom MAX took is
//! kept by the layer.

use crate::{
    error::{Error, Result},
    kernels::{
        cut::{self, Units},
        finish,
        gemm::Act,
        map,
        simd::wide,
    },
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType, Reads, Tail, Taken, Traits},
    schema::eltwise_parameter::EltwiseOp,
    tensor::{Shape, View},
};

pub(super) const TYPE: LayerType =
    LayerType::new("Eltwise", |def| Ok(Box::new(Eltwise::new(def)?)))
        .arity(Arity::AtLeast(2), Arity::Exact(1));

/// Elements that are worked on at a time, bottom after bottom, so that they stay in the cache.
const CHUNK: usize = 1 << 11;

struct Eltwise {
    op: EltwiseOp,
    coeff: Vec<f32>,
    stable: bool,
    /// For MAX, the bottom that each element of y came from.
    taken: Vec<u32>,
    /// What was absorbed.
    tail: Taken,
}

impl Eltwise {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.eltwise_param.clone().unwrap_or_default();
        let (op, coeff) = (param.operation(), &param.coeff);
        let bottoms = def.param.bottom.len();
        if !coeff.is_empty() && op == EltwiseOp::Prod {
            return Err(def.invalid(
                "eltwise_param.coeff",
                "only operation: SUM has coefficients",
            ));
        }
        if !coeff.is_empty() && coeff.len() != bottoms {
            return Err(def.invalid(
                "eltwise_param.coeff",
                format!(
                    "given {} times for {bottoms} bottoms; give none, or one for each bottom",
                    coeff.len()
                ),
            ));
        }
        Ok(Self {
            op,
            coeff: if coeff.is_empty() {
                vec![1.0; bottoms]
            } else {
                param.coeff
            },
            stable: param.stable_prod_grad.unwrap_or(true),
            taken: Vec::new(),
            tail: Taken::default(),
        })
    }

    /// Calls `f` with pieces of `y` and where they start, in parallel.
    fn pieces(y: &mut [f32], f: impl Fn(usize, &mut [f32]) + Sync) {
        let units = y.len();
        cut::each(Units(y, 1), units, 12, |first, y| {
            for (i, y) in y.0.chunks_mut(CHUNK).enumerate() {
                f(first + i * CHUNK, y);
            }
        });
    }

    fn max(&mut self, bottoms: &[View<'_>], y: &mut [f32]) {
        let (units, parts) = (y.len(), (Units(y, 1), Units(&mut self.taken[..], 1)));
        cut::each(parts, units, 16, |first, (y, taken)| {
            let pieces = y.0.chunks_mut(CHUNK).zip(taken.0.chunks_mut(CHUNK));
            for (i, (y, taken)) in pieces.enumerate() {
                let at = |b: usize| &bottoms[b].data[first + i * CHUNK..][..y.len()];
                larger_of_two(at(0), at(1), y, taken);
                for (b, x) in bottoms.iter().enumerate().skip(2) {
                    let x = &x.data[first + i * CHUNK..][..y.len()];
                    larger(x, b as u32, y, taken);
                }
            }
        });
    }
}

wide! {
    /// Of equal ones, or where one is NaN, the second.
    fn larger_of_two(a: &[f32], b: &[f32], y: &mut [f32], taken: &mut [u32]) {
        let to = y.iter_mut().zip(taken);
        for ((y, taken), (&a, &b)) in to.zip(a.iter().zip(b)) {
            let first = a > b;
            *y = if first { a } else { b };
            *taken = u32::from(!first);
        }
    }

    fn larger(x: &[f32], bottom: u32, y: &mut [f32], taken: &mut [u32]) {
        for ((y, taken), &x) in y.iter_mut().zip(taken).zip(x) {
            let better = x > *y;
            *y = if better { x } else { *y };
            *taken = if better { bottom } else { *taken };
        }
    }
}

impl Layer for Eltwise {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        for (i, x) in bottoms.iter().enumerate() {
            if *x != bottoms[0] {
                return Err(Error::shape(format!(
                    "bottom {i} is {x}, bottom 0 {}: they must be equal",
                    bottoms[0]
                )));
            }
        }
        if self.op == EltwiseOp::Max {
            self.taken.resize(bottoms[0].count(), 0);
        }
        Ok(vec![bottoms[0].clone()])
    }

    fn traits(&self) -> Traits {
        let prod = self.op == EltwiseOp::Prod;
        Traits {
            backward_reads: Reads {
                bottoms: prod,
                tops: prod && !self.stable,
            },
            ..Traits::default()
        }
    }

    fn tail(&self) -> Option<Tail> {
        (self.op == EltwiseOp::Sum && self.coeff == [1.0, 1.0]).then_some(Tail::Sum)
    }

    fn absorb(&mut self, tail: Tail) -> bool {
        matches!(tail, Tail::Act(_)) && self.tail.take(tail)
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let (bottoms, y) = (io.bottoms, &mut *io.tops[0].data);
        let part = |b: usize, start: usize, y: &[f32]| &bottoms[b].data[start..][..y.len()];
        let act = self.tail.act;
        match self.op {
            EltwiseOp::Sum if bottoms.len() == 2 => {
                let (a, b) = (self.coeff[0], self.coeff[1]);
                let (x, z) = (bottoms[0].data, bottoms[1].data);
                match act {
                    Act::None => map::zip2(x, z, y, move |p, q| a * p + b * q),
                    Act::Relu(slope) => {
                        let relu = finish::relu(slope);
                        map::zip2(x, z, y, move |p, q| relu(a * p + b * q));
                    }
                }
            }
            EltwiseOp::Prod if bottoms.len() == 2 => {
                map::zip2(bottoms[0].data, bottoms[1].data, y, |p, q| p * q);
                finish::activate(y, act);
            }
            EltwiseOp::Sum => Self::pieces(y, |start, y| {
                for (y, &x) in y.iter_mut().zip(&bottoms[0].data[start..]) {
                    *y = self.coeff[0] * x;
                }
                for (b, &c) in self.coeff.iter().enumerate().skip(1) {
                    let x = part(b, start, y);
                    for (y, &x) in y.iter_mut().zip(x) {
                        *y += c * x;
                    }
                }
                finish::activate(y, act);
            }),
            EltwiseOp::Prod => Self::pieces(y, |start, y| {
                y.copy_from_slice(part(0, start, y));
                for b in 1..bottoms.len() {
                    let x = part(b, start, y);
                    for (y, &x) in y.iter_mut().zip(x) {
                        *y *= x;
                    }
                }
                finish::activate(y, act);
            }),
            EltwiseOp::Max => {
                self.max(bottoms, y);
                finish::activate(y, act);
            }
        }
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let dy = io.top_diff().data;
        let bottoms = io.bottoms;
        for (i, dx) in io.bottom_diffs.iter_mut().enumerate() {
            let Some(dx) = dx else { continue };
            let dx = &mut *dx.data;
            match self.op {
                EltwiseOp::Sum => {
                    let c = self.coeff[i];
                    map::map(dy, dx, move |dy| c * dy);
                }
                EltwiseOp::Prod if self.stable => Self::pieces(dx, |start, dx| {
                    let others = bottoms
                        .iter()
                        .flatten()
                        .enumerate()
                        .filter(|&(j, _)| j != i);
                    for (n, (_, x)) in others.enumerate() {
                        let x = &x.data[start..][..dx.len()];
                        if n == 0 {
                            dx.copy_from_slice(x);
                        } else {
                            dx.iter_mut().zip(x).for_each(|(dx, &x)| *dx *= x);
                        }
                    }
                    dx.iter_mut()
                        .zip(&dy[start..])
                        .for_each(|(dx, &dy)| *dx *= dy);
                }),
                EltwiseOp::Prod => {
                    let (Some(x), Some(y)) = (bottoms[i], io.tops[0]) else {
                        unreachable!("declared in traits");
                    };
                    map::zip2(y.data, x.data, dx, |y, x| y / x);
                    map::mul(dy, dx);
                }
                EltwiseOp::Max => {
                    let i = i as u32;
                    Self::pieces(dx, |start, dx| {
                        let from = dy[start..].iter().zip(&self.taken[start..]);
                        for (dx, (&dy, &taken)) in dx.iter_mut().zip(from) {
                            *dx = if taken == i { dy } else { 0.0 };
                        }
                    });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        layer::testing::{
            Bench, assert_close, check_gradient, check_threads, error_of, noise, tensor,
        },
        tensor::Tensor,
    };

    fn three() -> Vec<Tensor> {
        vec![
            tensor(&[4], &[1.0, -2.0, 3.0, 0.5]),
            tensor(&[4], &[2.0, 4.0, -1.0, 0.0]),
            tensor(&[4], &[0.0, 5.0, 2.0, 3.0]),
        ]
    }

    fn text(options: &str) -> String {
        format!("type: 'Eltwise' eltwise_param {{ {options} }}")
    }

    #[test]
    fn by_hand() {
        let forward = |options: &str| Bench::new(&text(options), &three()).forward().to_vec();
        assert_eq!(forward(""), [3.0, 7.0, 4.0, 3.5]);
        assert_eq!(
            forward("coeff: 1 coeff: -1 coeff: 2"),
            [-1.0, 4.0, 8.0, 6.5]
        );
        assert_eq!(forward("operation: PROD"), [0.0, -40.0, -6.0, 0.0]);
        assert_eq!(forward("operation: MAX"), [2.0, 5.0, 3.0, 3.0]);
    }

    #[test]
    fn max_gives_the_gradient_to_the_one_taken() {
        let equal = tensor(&[1], &[1.0]);
        let mut bench = Bench::new(
            &text("operation: MAX"),
            &[equal.clone(), equal.clone(), equal],
        );
        bench.forward();
        let got = bench.backward(&[3.0], &[0, 1, 2]);
        let given: Vec<f32> = got.bottoms.iter().flatten().map(|d| d.data[0]).collect();
        assert_eq!(given, [0.0, 3.0, 0.0]);
    }

    #[test]
    fn a_product_with_zeros_has_a_gradient() {
        let mut bench = Bench::new(&text("operation: PROD"), &three());
        bench.forward();
        let got = bench.backward(&[1.0; 4], &[2]);
        assert_eq!(
            got.bottoms[2].as_ref().unwrap().data,
            [2.0, -8.0, -3.0, 0.0]
        );
        let mut quick = Bench::new(&text("operation: PROD stable_prod_grad: false"), &three());
        quick.forward();
        let got = quick.backward(&[1.0; 4], &[0]);
        assert_close(
            &got.bottoms[0].as_ref().unwrap().data[..3],
            &[0.0, 20.0, -2.0],
            1e-6,
        );
    }

    #[test]
    fn gradients() {
        for options in [
            "",
            "coeff: 0.5 coeff: -2 coeff: 1",
            "operation: PROD",
            "operation: MAX",
        ] {
            check_gradient(&text(options), &three(), &[0, 1, 2], &[]);
        }
        let quick = "operation: PROD stable_prod_grad: false";
        let inputs = [tensor(&[2], &[1.0, -2.0]), tensor(&[2], &[0.5, 1.5])];
        check_gradient(&text(quick), &inputs, &[0, 1], &[]);
    }

    #[test]
    fn threads_change_nothing() {
        let inputs = [1, 2, 3].map(|seed| noise(&[40_000], seed));
        for options in [
            "coeff: 0.1 coeff: 0.2 coeff: 0.3",
            "operation: PROD",
            "operation: MAX",
        ] {
            check_threads(&text(options), &inputs, &[0, 2]);
        }
    }

    #[test]
    fn nothing_may_come() {
        let empty = || noise(&[0, 3], 1);
        for options in ["", "operation: PROD", "operation: MAX"] {
            assert!(
                Bench::new(&text(options), &[empty(), empty()])
                    .forward()
                    .is_empty()
            );
        }
    }

    #[test]
    fn errors() {
        let two = [noise(&[2, 3], 1), noise(&[2, 3], 2)];
        let error = error_of(&text("coeff: 1"), &two);
        assert!(error.contains("given 1 times for 2 bottoms"), "{error}");
        let error = error_of(&text("operation: PROD coeff: 1 coeff: 1"), &two);
        assert!(error.contains("only operation: SUM"), "{error}");
        let error = error_of(&text(""), &[noise(&[2, 3], 1), noise(&[2, 4], 2)]);
        assert!(
            error.contains("bottom 1 is [2, 4], bottom 0 [2, 3]"),
            "{error}"
        );
    }
}
