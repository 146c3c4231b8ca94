//! PSROIPooling: the mean of each bin of each region, every bin from channels of its own: top channel o at bin (i, j) of g ×
//! g is cut from channel (o · g + i) · g + j.   dx = the sum of dy / cells of the bin over the bins that x is in. None by
//! the regions.
//!
//! A region goes from round(x1) · s to (round(x2) + 1) · s, s = `spatial_scale`, halves rounded away from 0, and is at least
//! 0.1 wide and high; bin b of g over e goes from ⌊start + b · e / g⌋ to ⌈start + (b + 1) · e / g⌉, cut off at the map; an
//! empty one gives 0. Options: `output_dim`, `group_size` (g) and `spatial_scale` must be given.
//! Shapes: a map N × output_dim · g² × H × W and R regions R × 5 (image, x1, y1, x2, y2); top R × output_dim × g × g. R may be
//! 0 and may change while a net runs. Backward reads no data.
//! Source: Dai et al., R-FCN (2016), equation 1.

use super::rois::{self, Roi, cells};
use crate::{
    error::{Error, Result},
    kernels::cut::{self, Units},
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType},
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("PSROIPooling", |def| Ok(Box::new(PsRoiPooling::new(def)?)))
        .arity(Arity::Exact(2), Arity::Exact(1))
        .stops(&[1]);

struct PsRoiPooling {
    outputs: usize,
    group: usize,
    scale: f32,
    /// Images, channels, height and width of the map.
    dims: [usize; 4],
    rois: Vec<Roi>,
}

/// From and to of a bin's rows and columns.
type Bin = ((usize, usize), (usize, usize));

fn area(((top, bottom), (left, right)): Bin) -> usize {
    bottom.saturating_sub(top) * right.saturating_sub(left)
}

impl PsRoiPooling {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.psroi_pooling_param.unwrap_or_default();
        let extent = |name: &str, value: i32| {
            let value = u32::try_from(value).unwrap_or(0);
            rois::extent(def, &format!("psroi_pooling_param.{name}"), value)
        };
        Ok(Self {
            outputs: extent("output_dim", param.output_dim())?,
            group: extent("group_size", param.group_size())?,
            scale: rois::scale(
                def,
                "psroi_pooling_param.spatial_scale",
                param.spatial_scale(),
            )?,
            dims: [0; 4],
            rois: Vec::new(),
        })
    }

    /// Bin `(i, j)` of a region.
    fn bin(&self, roi: &Roi, i: usize, j: usize) -> Bin {
        let [_, _, height, width] = self.dims;
        let [x1, y1, x2, y2] = roi.corners;
        let along = |from: f32, to: f32, b: usize, extent: usize| {
            let start = from.round() * self.scale;
            let size = ((to.round() + 1.0) * self.scale - start).max(0.1) / self.group as f32;
            cells(
                b as f32 * size + start,
                (b + 1) as f32 * size + start,
                extent,
            )
        };
        (along(y1, y2, i, height), along(x1, x2, j, width))
    }
}

impl Layer for PsRoiPooling {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        self.dims = rois::map_dims(&bottoms[0])?;
        let rois = rois::count(&bottoms[1])?;
        let bins = self.group.checked_mul(self.group);
        let wanted = bins.and_then(|bins| bins.checked_mul(self.outputs));
        if wanted != Some(self.dims[1]) {
            return Err(Error::shape(format!(
                "the feature map {} has {} channels; output_dim {} and group_size {} need {} · {}²",
                bottoms[0], self.dims[1], self.outputs, self.group, self.outputs, self.group
            )));
        }
        let top = Shape::checked(&[rois, self.outputs, self.group, self.group])?;
        Ok(vec![top])
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let [images, channels, height, width] = self.dims;
        rois::read(io.bottoms[1].data, images, &mut self.rois)?;
        let (x, plane, g) = (io.bottoms[0].data, height * width, self.group);
        let unit = self.outputs * g * g;
        let parts = (Units(&mut *io.tops[0].data, unit), Units(&self.rois[..], 1));
        cut::each(parts, self.rois.len(), 64 * unit, |_, (y, rois)| {
            for (y, roi) in y.0.chunks_exact_mut(unit).zip(rois.0) {
                for (channel, y) in y.iter_mut().enumerate() {
                    let bin = self.bin(roi, channel / g % g, channel % g);
                    let start = (roi.image * channels + channel) * plane;
                    let (rows, columns) = bin;
                    let mut sum = 0.0;
                    if area(bin) > 0 {
                        for row in rows.0..rows.1 {
                            let row = start + row * width;
                            sum += x[row + columns.0..row + columns.1].iter().sum::<f32>();
                        }
                    }
                    *y = sum / area(bin).max(1) as f32;
                }
            }
        });
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let [_, channels, _, width] = self.dims;
        let (dy, g) = (io.top_diff().data, self.group);
        if let Some(dx) = &mut io.bottom_diffs[0] {
            rois::scatter(&self.rois, self.dims, 64, dx.data, |r, channel, dx| {
                let bin = self.bin(&self.rois[r], channel / g % g, channel % g);
                if area(bin) > 0 {
                    let share = dy[r * channels + channel] / area(bin) as f32;
                    let (rows, columns) = bin;
                    for row in rows.0..rows.1 {
                        let row = &mut dx[row * width..][columns.0..columns.1];
                        row.iter_mut().for_each(|dx| *dx += share);
                    }
                }
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::rois::many_rois;
    use crate::layer::testing::{
        Bench, assert_close, check_gradient, check_threads, error_of, noise, tensor,
    };

    fn text(options: &str) -> String {
        format!("type: 'PSROIPooling' psroi_pooling_param {{ {options} }}")
    }

    #[test]
    fn by_hand() {
        // Channel c holds 10c + the cell's index, of 2 × 2.
        let x: Vec<f32> = (0u8..16).map(|i| f32::from(i / 4 * 10 + i % 4)).collect();
        let rois = tensor(
            &[2, 5],
            &[0.0, 0.0, 0.0, 3.0, 3.0, 0.0, 40.0, 0.0, 50.0, 3.0],
        );
        let options = text("output_dim: 1 group_size: 2 spatial_scale: 0.5");
        let mut bench = Bench::new(&options, &[tensor(&[1, 4, 2, 2], &x), rois]);
        assert_eq!(bench.forward(), [0.0, 11.0, 22.0, 33.0, 0.0, 0.0, 0.0, 0.0]);
        let got = bench.backward(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], &[0]);
        let dx = &got.bottoms[0].as_ref().unwrap().data;
        assert_eq!((dx[0], dx[5], dx[10], dx[15]), (1.0, 2.0, 3.0, 4.0));
        assert_eq!(dx.iter().sum::<f32>(), 10.0);
    }

    #[test]
    fn bins_that_share_cells() {
        let x = tensor(
            &[1, 4, 1, 3],
            &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0, 0.0, 0.0, 1.0, 1.0, 7.0],
        );
        let options = text("output_dim: 1 group_size: 2 spatial_scale: 1");
        let mut bench = Bench::new(&options, &[x, tensor(&[1, 5], &[0.0, 0.0, 0.0, 2.0, 0.0])]);
        assert_close(bench.forward(), &[1.5, 5.5, 0.0, 4.0], 1e-6);
    }

    #[test]
    fn gradients() {
        let rois = tensor(
            &[3, 5],
            &[
                1.0, 0.0, 0.0, 9.0, 7.0, 0.0, 3.0, 2.0, 11.0, 20.0, 1.0, 5.0, 5.0, 4.0, 4.0,
            ],
        );
        let options = text("output_dim: 2 group_size: 2 spatial_scale: 0.5");
        check_gradient(&options, &[noise(&[2, 8, 5, 6], 1), rois], &[0], &[]);
    }

    #[test]
    fn threads_change_nothing() {
        let inputs = [noise(&[2, 36, 30, 30], 1), many_rois()];
        check_threads(
            &text("output_dim: 4 group_size: 3 spatial_scale: 0.5"),
            &inputs,
            &[0],
        );
    }

    #[test]
    fn errors() {
        let map = |channels| noise(&[1, channels, 3, 3], 1);
        let roi = |image| tensor(&[1, 5], &[image, 0.0, f32::NAN, 1e30, 1.0]);
        let good = "output_dim: 2 group_size: 2 spatial_scale: 1";
        for (options, x, rois, why) in [
            (
                "output_dim: 2 group_size: 2",
                map(8),
                roi(0.0),
                "psroi_pooling_param.spatial_scale",
            ),
            (
                "group_size: 2 spatial_scale: 1",
                map(8),
                roi(0.0),
                "psroi_pooling_param.output_dim",
            ),
            (
                "output_dim: 2 group_size: -1 spatial_scale: 1",
                map(8),
                roi(0.0),
                "group_size",
            ),
            (good, map(4), roi(0.0), "has 4 channels"),
            (good, map(8), roi(3.0), "region 0 is of image 3"),
            (good, map(8), noise(&[5], 1), "each needs five values"),
            (good, noise(&[8], 1), roi(0.0), "images × channels"),
        ] {
            let error = error_of(&text(options), &[x, rois]);
            assert!(error.contains(why), "{error}");
        }
        let mut bench = Bench::new(&text(good), &[map(8), roi(0.0)]);
        assert!(bench.forward().iter().all(|y| y.is_finite()));
        bench.backward(&[1.0; 8], &[0]);
    }
}
