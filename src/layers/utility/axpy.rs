//! Axpy: y = a · x + b, with one factor a for each channel of each item.
//!
//! da = Σ dy · x over a channel,  dx = a · dy,  db = dy.
//!
//! Shapes: bottoms a \[N, C\] (further axes of 1), x \[N, C, …\], b as x; y as x. Backward reads a and x.
//! Source: Hu et al. 2018, "Squeeze-and-Excitation Networks"; the layer of the authors' Caffe.
//! Departure: there the gradient by x is computed only where one by a is; here each is computed where it is wanted.

use crate::{
    error::{Error, Result},
    kernels::{channelwise, map, reduce},
    layer::{Arity, Backward, Forward, Layer, LayerType, Reads, Traits},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("Axpy", |_| Ok(Box::new(Axpy { dims: (0, 0) })))
    .arity(Arity::Exact(3), Arity::Exact(1));

struct Axpy {
    /// Channels of all items, and values of a channel.
    dims: (usize, usize),
}

impl Layer for Axpy {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let (a, x, b) = (&bottoms[0], &bottoms[1], &bottoms[2]);
        if x != b {
            return Err(Error::shape(format!(
                "the second bottom has shape {x}, the third {b}; they must be equal"
            )));
        }
        let fits = match (a.dims(), x.dims()) {
            ([n, c, ones @ ..], [m, d, ..]) => n == m && c == d && ones.iter().all(|&e| e == 1),
            _ => false,
        };
        if !fits {
            return Err(Error::shape(format!(
                "the first bottom, the factors, has shape {a}; for a second bottom of shape {x} it must hold one value for each channel of each item"
            ))
            .help("give [N, C] or [N, C, 1, 1]"));
        }
        self.dims = (a.count(), x.count_from(2));
        Ok(vec![x.clone()])
    }

    fn traits(&self) -> Traits {
        Traits {
            backward_reads: Reads::BOTTOMS,
            ..Traits::default()
        }
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let [a, x, b] = [0, 1, 2].map(|i| io.bottoms[i].data);
        channelwise::channel_zip_to((x, b), io.tops[0].data, self.dims, |c| {
            let a = a[c];
            move |x, b| a * x + b
        });
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let (a, x, dy) = (io.bottom(0).data, io.bottom(1).data, io.top_diff().data);
        if let Some(da) = &mut io.bottom_diffs[0] {
            da.data.fill(0.0);
            if !x.is_empty() {
                reduce::channel_dot_add(x, dy, self.dims, da.data);
            }
        }
        if let Some(dx) = &mut io.bottom_diffs[1] {
            channelwise::channel_map_to(dy, dx.data, self.dims, |c| {
                let a = a[c];
                move |dy| a * dy
            });
        }
        if let Some(db) = &mut io.bottom_diffs[2] {
            map::copy(dy, db.data);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, check_gradient, check_threads, error_of, noise, tensor};

    #[test]
    fn each_channel_of_each_item_has_its_factor() {
        let bottoms = [
            tensor(&[1, 2], &[2.0, 3.0]),
            tensor(&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0]),
            tensor(&[1, 2, 2], &[10.0, 20.0, 30.0, 40.0]),
        ];
        let mut bench = Bench::new("type: 'Axpy'", &bottoms);
        assert_eq!(bench.forward(), [12., 24., 39., 52.]);
        let got = bench.backward(&[1., 0., 1., 2.], &[0, 1, 2]);
        let d = |i: usize| got.bottoms[i].as_ref().unwrap().data.clone();
        assert_eq!((d(0), d(1)), (vec![1., 11.], vec![2., 0., 3., 6.]));
        assert_eq!(d(2), [1., 0., 1., 2.]);
    }

    #[test]
    fn gradients_threads_and_empty_bottoms() {
        let bottoms = |dims: &[usize]| {
            let a = [dims[0], dims[1], 1, 1];
            [noise(&a, 1), noise(dims, 2), noise(dims, 3)]
        };
        check_gradient("type: 'Axpy'", &bottoms(&[2, 3, 2, 2]), &[0, 1, 2], &[]);
        check_gradient("type: 'Axpy'", &bottoms(&[2, 3]), &[0, 1, 2], &[]);
        check_threads("type: 'Axpy'", &bottoms(&[3, 20, 40, 40]), &[0, 1, 2]);
        for dims in [[0, 3, 2], [2, 3, 0]] {
            let mut bench = Bench::new("type: 'Axpy'", &bottoms(&dims));
            assert!(bench.forward().is_empty());
            let got = bench.backward(&[], &[0, 1, 2]);
            let da = &got.bottoms[0].as_ref().unwrap().data;
            assert!(da.iter().all(|&d| d == 0.0));
        }
    }

    #[test]
    fn errors() {
        for (a, x, b, why) in [
            (
                &[2usize, 3][..],
                &[2usize, 3, 4][..],
                &[2usize, 3, 5][..],
                "must be equal",
            ),
            (
                &[2, 3, 4],
                &[2, 3, 4],
                &[2, 3, 4],
                "one value for each channel",
            ),
            (
                &[1, 3],
                &[2, 3, 4],
                &[2, 3, 4],
                "one value for each channel",
            ),
            (&[2], &[2], &[2], "one value for each channel"),
        ] {
            let error = error_of("type: 'Axpy'", &[noise(a, 1), noise(x, 2), noise(b, 3)]);
            assert!(error.contains(why), "{error}");
        }
    }
}
