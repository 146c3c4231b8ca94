//! Filter: each top holds those items of its bottom whose entry of the last bottom, the selector, is not 0, in order.
//! dx = dy for items that passed, 0 for the others.
//!
//! Shapes: bottoms of N items each and a selector of N values, with further axes of 1 only; tops of M items, M being how
//! many the selector lets through: it is known when forward sees the selector, and what is behind is reshaped then. M may
//! be 0. Before the first pass the tops have all N. Backward reads nothing. No gradient by the selector.
//! Departures: where nothing passed, dx is 0, where Caffe divides by 0; NaN selects, as in Caffe.

use crate::{
    error::{Error, Result},
    kernels::{
        cut::{self, Units},
        map,
    },
    layer::{Arity, Backward, Forward, LAST, Layer, LayerDef, LayerType, Traits},
    tensor::{Shape, View},
};

pub(super) const TYPE: LayerType = LayerType::new("Filter", |def| Ok(Box::new(Filter::new(def)?)))
    .arity(Arity::AtLeast(2), Arity::AtLeast(1))
    .no_grad(&[LAST]);

struct Filter {
    /// The items that pass.
    passed: Vec<usize>,
    /// How many items the tops were last said to have.
    told: usize,
}

impl Filter {
    fn new(def: &LayerDef) -> Result<Self> {
        let (bottoms, tops) = (def.param.bottom.len(), def.param.top.len());
        if tops + 1 != bottoms {
            return Err(Error::shape(format!(
                "{tops} tops from {bottoms} bottoms: each bottom but the last, the selector, makes one top"
            )));
        }
        Ok(Self {
            passed: Vec::new(),
            told: 0,
        })
    }
}

/// `bottom` with `items` items.
fn with_items(bottom: &Shape, items: usize) -> Shape {
    let mut dims = bottom.dims().to_vec();
    dims[0] = items;
    Shape::new(&dims)
}

impl Layer for Filter {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let (selector, filtered) = bottoms
            .split_last()
            .ok_or_else(|| Error::shape("no bottoms"))?;
        let items = match selector.dims() {
            [items, rest @ ..] if rest.iter().all(|&d| d == 1) => *items,
            _ => {
                return Err(Error::shape(format!(
                    "the last bottom, the selector, has shape {selector}; it must hold one value for each item: [N] or [N, 1, 1, 1]"
                )));
            }
        };
        if let Some(other) = filtered.iter().find(|b| b.dims().first() != Some(&items)) {
            return Err(Error::shape(format!(
                "the selector has {items} values, but a bottom of shape {other} has not {items} items"
            )));
        }
        self.told = items;
        Ok(filtered.to_vec())
    }

    fn traits(&self) -> Traits {
        Traits {
            moving: true,
            ..Traits::default()
        }
    }

    fn incoming_shapes(&mut self, bottoms: &[View<'_>]) -> Result<Option<Vec<Shape>>> {
        let Some((selector, filtered)) = bottoms.split_last() else {
            return Ok(None);
        };
        self.passed.clear();
        let items = selector.data.iter().enumerate();
        let passed = items.filter(|&(_, &s)| s != 0.0).map(|(i, _)| i);
        self.passed.extend(passed);
        let passed = self.passed.len();
        if passed == self.told {
            return Ok(None);
        }
        self.told = passed;
        let tops = filtered.iter().map(|b| with_items(b.shape, passed));
        Ok(Some(tops.collect()))
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        for (x, y) in io.bottoms.iter().zip(io.tops.iter_mut()) {
            let size = x.shape.count_from(1);
            if size > 0 {
                let parts = (Units(&mut *y.data, size), Units(&self.passed[..], 1));
                cut::each(parts, self.passed.len(), 8 * size, |_, (y, passed)| {
                    for (y, &i) in y.0.chunks_exact_mut(size).zip(passed.0) {
                        y.copy_from_slice(&x.data[i * size..][..size]);
                    }
                });
            }
        }
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        for (t, dy) in io.top_diffs.iter().enumerate() {
            let Some(dx) = &mut io.bottom_diffs[t] else {
                continue;
            };
            map::fill(dx.data, 0.0);
            let size = dx.shape.count_from(1);
            if let (Some(dy), true) = (dy, size > 0) {
                for (dy, &i) in dy.data.chunks_exact(size).zip(&self.passed) {
                    dx.data[i * size..][..size].copy_from_slice(dy);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, error_of, noise, tensor};

    #[test]
    fn items_whose_selector_is_not_0_pass() {
        let x = tensor(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let labels = tensor(&[3], &[7.0, 8.0, 9.0]);
        let select = tensor(&[3, 1], &[1.0, 0.0, -2.0]);
        let text = "type: 'Filter' top: 'y' top: 'kept'";
        let mut bench = Bench::new(text, &[x, labels, select]);
        assert_eq!(bench.forward(), [1.0, 2.0, 5.0, 6.0]);
        assert_eq!(bench.tops[0].shape.dims(), [2, 2]);
        assert_eq!(bench.tops[1].data, [7.0, 9.0]);
        let dy = [
            Some(tensor(&[2, 2], &[1.0, 2.0, 3.0, 4.0])),
            Some(tensor(&[2], &[5.0, 6.0])),
        ];
        let got = bench.try_backward(&dy, &[0, 1]).unwrap();
        let dx = |i: usize| got.bottoms[i].as_ref().unwrap().data.clone();
        assert_eq!(dx(0), [1.0, 2.0, 0.0, 0.0, 3.0, 4.0]);
        assert_eq!(dx(1), [5.0, 0.0, 6.0]);
    }

    #[test]
    fn nothing_may_pass_and_then_all() {
        let x = noise(&[2, 3], 1);
        let mut bench = Bench::new("type: 'Filter'", &[x.clone(), tensor(&[2], &[0.0; 2])]);
        assert!(bench.forward().is_empty());
        assert_eq!(bench.tops[0].shape.dims(), [0, 3]);
        let dx = bench.backward(&[], &[0]).bottoms[0].take().unwrap();
        assert_eq!(dx.data, [0.0; 6]);
        bench.bottoms[1].data.fill(1.0);
        assert_eq!(bench.forward(), x.data);
    }

    #[test]
    fn errors() {
        let text = "type: 'Filter'";
        for (text, bottoms, why) in [
            (
                text,
                vec![noise(&[2, 3], 1), noise(&[3], 1)],
                "has not 3 items",
            ),
            (
                text,
                vec![noise(&[2, 3], 1), noise(&[2, 3], 1)],
                "one value for each item",
            ),
            (
                text,
                vec![noise(&[2], 1), noise(&[], 1)],
                "one value for each item",
            ),
            (text, vec![noise(&[], 1), noise(&[1], 1)], "has not 1 items"),
            (
                "type: 'Filter' top: 'a' top: 'b'",
                vec![noise(&[2], 1), noise(&[2], 1)],
                "2 tops from 2 bottoms",
            ),
        ] {
            let error = error_of(text, &bottoms);
            assert!(error.contains(why), "{error}");
        }
    }
}
