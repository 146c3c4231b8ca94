//! Tile: y is x, `tiles` times along `axis`.   dx = the sum of dy over the tiles.
//!
//! Shapes: y as x, but `tiles` times the extent along `axis`. Backward reads nothing.

use crate::{
    error::{Error, Result},
    kernels::cut::{self, Units},
    layer::{Backward, Forward, Layer, LayerDef, LayerType},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("Tile", |def| Ok(Box::new(Tile::new(def)?)));

struct Tile {
    axis: i32,
    tiles: usize,
    /// Values from the axis on: what is repeated as one run.
    run: usize,
}

impl Tile {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.tile_param.unwrap_or_default();
        let tiles = usize::try_from(param.tiles()).unwrap_or(0);
        if tiles == 0 {
            return Err(def.invalid(
                "tile_param.tiles",
                format!("is {} or missing; it must be at least 1", param.tiles()),
            ));
        }
        Ok(Self {
            axis: param.axis(),
            tiles,
            run: 0,
        })
    }
}

impl Layer for Tile {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let x = &bottoms[0];
        let axis = x
            .axis(self.axis)
            .map_err(|error| Error::param("tile_param.axis", error.message()))?;
        let mut dims = x.dims().to_vec();
        dims[axis] = dims[axis].saturating_mul(self.tiles);
        self.run = x.count_from(axis);
        Ok(vec![Shape::checked(&dims)?])
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let (x, y) = (io.bottoms[0].data, &mut *io.tops[0].data);
        let (run, tiles) = (self.run, self.tiles);
        if x.is_empty() {
            return Ok(());
        }
        let runs = y.len() / run;
        cut::each(Units(y, run), runs, 8 * run, |first, y| {
            for (r, y) in (first..).zip(y.0.chunks_exact_mut(run)) {
                y.copy_from_slice(&x[r / tiles * run..][..run]);
            }
        });
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let dy = io.top_diff().data;
        let (run, tiles) = (self.run, self.tiles);
        let Some(dx) = io.bottom_diffs[0].as_mut().filter(|dx| !dx.data.is_empty()) else {
            return Ok(());
        };
        let rows = dx.data.len() / run;
        let parts = (Units(&mut *dx.data, run), Units(dy, run * tiles));
        cut::each(parts, rows, 4 * run * (tiles + 1), |_, (dx, dy)| {
            let rows = dx.0.chunks_exact_mut(run);
            for (dx, dy) in rows.zip(dy.0.chunks_exact(run * tiles)) {
                let mut copies = dy.chunks_exact(run);
                if let Some(first) = copies.next() {
                    dx.copy_from_slice(first);
                }
                for dy in copies {
                    dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy);
                }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, check_gradient, check_threads, error_of, noise, tensor};

    #[test]
    fn each_row_comes_again() {
        let x = tensor(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let mut bench = Bench::new("type: 'Tile' tile_param { tiles: 2 }", &[x]);
        assert_eq!(bench.forward(), [1., 2., 1., 2., 3., 4., 3., 4.]);
        assert_eq!(bench.tops[0].shape.dims(), [2, 4]);
        let dx = bench.backward(&[1., 2., 3., 4., 5., 6., 7., 8.], &[0]);
        assert_eq!(dx.bottoms[0].as_ref().unwrap().data, [4., 6., 12., 14.]);
    }

    #[test]
    fn gradients_threads_and_empty_bottoms() {
        for options in ["axis: 0 tiles: 3", "axis: -1 tiles: 2", "tiles: 1"] {
            let text = format!("type: 'Tile' tile_param {{ {options} }}");
            check_gradient(&text, &[noise(&[2, 3, 2], 1)], &[0], &[]);
            check_threads(&text, &[noise(&[30, 70, 40], 1)], &[0]);
            let mut bench = Bench::new(&text, &[noise(&[0, 3], 1)]);
            assert!(bench.forward().is_empty());
            bench.backward(&[], &[0]);
        }
    }

    #[test]
    fn errors() {
        for (options, why) in [
            ("", "tile_param.tiles: is 0 or missing"),
            ("tiles: 0", "tile_param.tiles: is 0"),
            ("tiles: -2", "tile_param.tiles: is -2"),
            ("tiles: 2 axis: 2", "tile_param.axis: axis 2"),
            ("tiles: 2147483647", "would hold more than"),
        ] {
            let text = format!("type: 'Tile' tile_param {{ {options} }}");
            let error = error_of(&text, &[noise(&[2, 3], 1)]);
            assert!(error.contains(why), "{error}");
        }
    }
}
