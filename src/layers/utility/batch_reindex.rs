//! BatchReindex: item i of y is item k\[i\] of x.   dx_j = Σ dy_i over the i with k\[i\] = j.
//!
//! Shapes: x of N items and k of M indices into them; y of M items. Backward reads k. No gradient by k.
//! Departure: an index that is no whole number is an error, where Caffe rounds towards 0.

use crate::{
    error::{Error, Result},
    kernels::{
        cut::{self, Units},
        map,
    },
    layer::{Arity, Backward, Forward, Layer, LayerType, Traits},
    layers::indices,
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("BatchReindex", |_| {
    Ok(Box::new(BatchReindex {
        items: 0,
        size: 0,
        taken: Vec::new(),
    }))
})
.arity(Arity::Exact(2), Arity::Exact(1))
.no_grad(&[1]);

struct BatchReindex {
    /// Items of x.
    items: usize,
    /// Values of an item.
    size: usize,
    /// k of the last forward.
    taken: Vec<usize>,
}

impl Layer for BatchReindex {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let (x, k) = (&bottoms[0], &bottoms[1]);
        let [count] = k.dims() else {
            return Err(Error::shape(format!(
                "the second bottom has shape {k}; it must be a row of indices"
            )));
        };
        let [items, item @ ..] = x.dims() else {
            return Err(Error::shape(
                "the first bottom is a scalar; it needs a batch axis",
            ));
        };
        self.items = *items;
        self.size = item.iter().product();
        let mut dims = x.dims().to_vec();
        dims[0] = *count;
        Ok(vec![Shape::checked(&dims)?])
    }

    fn traits(&self) -> Traits {
        Traits::default()
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        indices::read(
            io.bottoms[1].data,
            self.items,
            "items of the first bottom",
            &mut self.taken,
        )?;
        let (x, y, size) = (io.bottoms[0].data, &mut *io.tops[0].data, self.size);
        if size > 0 {
            let parts = (Units(y, size), Units(&self.taken[..], 1));
            cut::each(parts, self.taken.len(), 8 * size, |_, (y, taken)| {
                for (y, &k) in y.0.chunks_exact_mut(size).zip(taken.0) {
                    y.copy_from_slice(&x[k * size..][..size]);
                }
            });
        }
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let (dy, size) = (io.top_diff().data, self.size);
        if let Some(dx) = &mut io.bottom_diffs[0] {
            map::fill(dx.data, 0.0);
            if size > 0 {
                for (dy, &k) in dy.chunks_exact(size).zip(&self.taken) {
                    map::add(dy, &mut dx.data[k * size..][..size]);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, check_gradient, check_threads, error_of, noise, tensor};

    const TEXT: &str = "type: 'BatchReindex'";

    #[test]
    fn items_are_picked_and_their_diffs_summed() {
        let x = tensor(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let k = tensor(&[4], &[2.0, 0.0, 2.0, 2.0]);
        let mut bench = Bench::new(TEXT, &[x, k]);
        assert_eq!(bench.forward(), [5., 6., 1., 2., 5., 6., 5., 6.]);
        let dx = bench.backward(&[1., 2., 3., 4., 5., 6., 7., 8.], &[0]);
        let dx = &dx.bottoms[0].as_ref().unwrap().data;
        assert_eq!(*dx, [3., 4., 0., 0., 13., 16.]);
    }

    #[test]
    fn gradients_threads_and_empty_bottoms() {
        let k = tensor(&[3], &[1.0, 0.0, 1.0]);
        check_gradient(TEXT, &[noise(&[2, 3], 1), k], &[0], &[]);
        let k: Vec<f32> = (0..40).map(|i| (i * 7 % 30) as f32).collect();
        let x = noise(&[30, 50, 60], 1);
        check_threads(TEXT, &[x, tensor(&[40], &k)], &[0]);
        let mut bench = Bench::new(TEXT, &[noise(&[2, 3], 1), noise(&[0], 1)]);
        assert!(bench.forward().is_empty());
        let dx = bench.backward(&[], &[0]).bottoms[0].take().unwrap();
        assert_eq!(dx.data, [0.0; 6]);
    }

    #[test]
    fn errors() {
        for (x, k, why) in [
            (
                noise(&[2, 3], 1),
                tensor(&[1], &[2.0]),
                "outside 0 to 1, the items",
            ),
            (noise(&[2, 3], 1), tensor(&[1], &[-1.0]), "outside"),
            (
                noise(&[2, 3], 1),
                tensor(&[1], &[0.5]),
                "not a whole number",
            ),
            (noise(&[0, 3], 1), tensor(&[1], &[0.0]), "there are none"),
            (
                noise(&[2, 3], 1),
                tensor(&[1, 1], &[0.0]),
                "a row of indices",
            ),
            (noise(&[], 1), tensor(&[1], &[0.0]), "is a scalar"),
        ] {
            let error = error_of(TEXT, &[x, k]);
            assert!(error.contains(why), "{error}");
        }
    }
}
