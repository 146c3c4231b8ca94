//! ArgMax: where the `top_k` largest values are, the largest first; among equal ones the later comes first, as in Caffe.
//! No gradient.
//!
//! Shapes: without `axis`, over each item of x \[N, …\] as a whole: y \[N, 1, k\] holds indices, with `out_max_val` \[N, 2, k\]
//! indices and then values; further axes of x follow as 1. With `axis`, y is as x with k along the axis, and holds
//! indices along it, or with `out_max_val` the values.
//! Departure: NaN comes after all numbers; Caffe leaves its place open.

use std::cmp::Ordering;

use crate::{
    error::{Error, Result},
    kernels::cut::{self, Units},
    layer::{Forward, Layer, LayerDef, LayerType},
    schema::ArgMaxParameter,
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("ArgMax", |def| Ok(Box::new(ArgMax::new(def)?))).no_grad(&[0]);

struct ArgMax {
    param: ArgMaxParameter,
    k: usize,
    /// Values among which the largest are found.
    extent: usize,
    /// Values between two of them.
    inner: usize,
}

impl ArgMax {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.argmax_param.unwrap_or_default();
        if param.top_k() == 0 {
            return Err(def.invalid("argmax_param.top_k", "is 0; it must be at least 1"));
        }
        Ok(Self {
            k: param.top_k() as usize,
            param,
            extent: 0,
            inner: 0,
        })
    }
}

/// The larger first, NaN last; among equals the later index first.
fn order(a: &(f32, usize), b: &(f32, usize)) -> Ordering {
    let by_value = b.0.partial_cmp(&a.0);
    by_value
        .unwrap_or_else(|| a.0.is_nan().cmp(&b.0.is_nan()))
        .then(b.1.cmp(&a.1))
}

/// The largest of `extent` values that are `inner` apart, or its index, for each position: maps of labels have many.
fn largest(x: &[f32], y: &mut [f32], (extent, inner): (usize, usize), values: bool) {
    let units = y.len();
    cut::each(Units(y, 1), units, 4 * extent, |first, Units(mut y, _)| {
        let mut at = first;
        while !y.is_empty() {
            let (row, i) = (at / inner, at % inner);
            let (own, rest) = y.split_at_mut((inner - i).min(y.len()));
            let x = &x[row * extent * inner + i..];
            let mut best = x[..own.len()].to_vec();
            own.fill(0.0);
            for j in 1..extent {
                let found = best.iter_mut().zip(&mut *own);
                for ((best, index), &x) in found.zip(&x[j * inner..]) {
                    let takes = x >= *best || best.is_nan();
                    *best = if takes { x } else { *best };
                    *index = if takes { j as f32 } else { *index };
                }
            }
            if values {
                own.copy_from_slice(&best);
            }
            at += own.len();
            y = rest;
        }
    });
}

impl Layer for ArgMax {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let x = &bottoms[0];
        let dims = if let Some(axis) = self.param.axis {
            let axis = x
                .axis(axis)
                .map_err(|error| Error::param("argmax_param.axis", error.message()))?;
            (self.extent, self.inner) = (x.dims()[axis], x.count_from(axis + 1));
            let mut dims = x.dims().to_vec();
            dims[axis] = self.k;
            dims
        } else {
            let [items, item @ ..] = x.dims() else {
                return Err(Error::shape(
                    "the bottom is a scalar; it needs a batch axis",
                ));
            };
            (self.extent, self.inner) = (item.iter().product(), 1);
            let mut dims = vec![1; x.axes().max(3)];
            (dims[0], dims[1], dims[2]) =
                (*items, 1 + usize::from(self.param.out_max_val()), self.k);
            dims
        };
        if self.k > self.extent {
            return Err(Error::param(
                "argmax_param.top_k",
                format!(
                    "{} of only {} values, in a bottom of shape {x}",
                    self.k, self.extent
                ),
            ));
        }
        Ok(vec![Shape::checked(&dims)?])
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let (x, y) = (io.bottoms[0].data, &mut *io.tops[0].data);
        let (k, extent, inner) = (self.k, self.extent, self.inner);
        let (values, both) = (self.param.out_max_val(), self.param.axis.is_none());
        if k == 1 && !both && inner > 1 {
            largest(x, y, (extent, inner), values);
            return Ok(());
        }
        // One row of y holds what is found in one `extent × inner` of x.
        let width = k * inner * (1 + usize::from(values && both));
        let rows = y.len().checked_div(width).unwrap_or(0);
        let parts = (Units(y, width), Units(x, extent * inner));
        cut::each(parts, rows, 16 * extent * inner, |_, (y, x)| {
            let mut found: Vec<(f32, usize)> = Vec::with_capacity(extent);
            let rows = y.0.chunks_exact_mut(width.max(1));
            for (y, x) in rows.zip(x.0.chunks_exact((extent * inner).max(1))) {
                for i in 0..inner {
                    found.clear();
                    found.extend((0..extent).map(|j| (x[j * inner + i], j)));
                    if k < extent {
                        found.select_nth_unstable_by(k - 1, order);
                    }
                    let best = &mut found[..k];
                    best.sort_unstable_by(order);
                    for (j, &(value, index)) in best.iter().enumerate() {
                        match (values, both) {
                            (true, true) => (y[j], y[k + j]) = (index as f32, value),
                            (true, false) => y[j * inner + i] = value,
                            (false, _) => y[j * inner + i] = index as f32,
                        }
                    }
                }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        layer::testing::{Bench, error_of, noise, tensor},
        threads::with_threads,
    };

    const X: [f32; 8] = [1.0, 5.0, 5.0, 2.0, 9.0, 4.0, f32::NAN, 0.0];

    #[test]
    fn over_items() {
        let x = tensor(&[2, 4], &X);
        let mut bench = Bench::new("type: 'ArgMax'", std::slice::from_ref(&x));
        assert_eq!(bench.forward(), [2.0, 0.0]);
        assert_eq!(bench.tops[0].shape.dims(), [2, 1, 1]);
        let text = "type: 'ArgMax' argmax_param { top_k: 3 out_max_val: true }";
        let mut bench = Bench::new(text, &[x]);
        let want = [2., 1., 3., 5., 5., 2., 0., 1., 3., 9., 4., 0.];
        assert_eq!(bench.forward(), want);
        assert_eq!(bench.tops[0].shape.dims(), [2, 2, 3]);
    }

    #[test]
    fn along_an_axis() {
        let x = tensor(&[4, 2], &X);
        let text = "type: 'ArgMax' argmax_param { axis: 0 top_k: 2 }";
        let mut bench = Bench::new(text, std::slice::from_ref(&x));
        assert_eq!(bench.forward(), [2., 0., 1., 2.]);
        assert_eq!(bench.tops[0].shape.dims(), [2, 2]);
        let text = "type: 'ArgMax' argmax_param { axis: -2 out_max_val: true }";
        assert_eq!(Bench::new(text, &[x]).forward(), [9., 5.]);
    }

    #[test]
    fn the_largest_alone_is_the_first_of_two() {
        let mut x = noise(&[3, 7, 50], 1);
        x.data.iter_mut().for_each(|x| *x = (*x * 4.0).round());
        x.data.iter_mut().step_by(5).for_each(|x| *x = f32::NAN);
        for value in [true, false] {
            let run = |k: usize| {
                let text = format!(
                    "type: 'ArgMax' argmax_param {{ axis: 1 top_k: {k} out_max_val: {value} }}"
                );
                Bench::new(&text, &[x.clone()]).forward().to_vec()
            };
            let (one, two) = (run(1), run(2));
            let first = two.chunks(100).flat_map(|item| &item[..50]);
            assert!(
                one.iter()
                    .zip(first)
                    .all(|(a, b)| a.to_bits() == b.to_bits())
            );
        }
    }

    #[test]
    fn threads_and_empty_bottoms() {
        for options in ["axis: 1", "axis: 1 top_k: 3", "top_k: 5 out_max_val: true"] {
            let text = format!("type: 'ArgMax' argmax_param {{ {options} }}");
            let run = || {
                Bench::new(&text, &[noise(&[8, 9, 30, 20], 1)])
                    .forward()
                    .to_vec()
            };
            assert!(with_threads(1, run).unwrap() == with_threads(3, run).unwrap());
            let mut bench = Bench::new(&text, &[noise(&[0, 5], 1)]);
            assert!(bench.forward().is_empty());
        }
        let text = "type: 'ArgMax' argmax_param { axis: 0 }";
        assert!(Bench::new(text, &[noise(&[5, 0], 1)]).forward().is_empty());
    }

    #[test]
    fn errors() {
        for (options, dims, why) in [
            ("top_k: 0", &[2usize, 3][..], "argmax_param.top_k: is 0"),
            ("top_k: 4", &[2, 3], "argmax_param.top_k: 4 of only 3"),
            ("top_k: 4294967295 axis: 0", &[2, 3], "of only 2"),
            ("axis: 2", &[2, 3], "argmax_param.axis: axis 2"),
            ("", &[], "is a scalar"),
            ("", &[2, 0], "1 of only 0"),
        ] {
            let text = format!("type: 'ArgMax' argmax_param {{ {options} }}");
            let error = error_of(&text, &[noise(dims, 1)]);
            assert!(error.contains(why), "{error}");
        }
    }
}
