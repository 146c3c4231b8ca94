//! ROIPooling: the largest value of each bin of each region, which is cut into `pooled_h` × `pooled_w` bins.   dx = the
//! sum of dy over the bins whose largest value x is, the first of equals. None by the regions.
//!
//! Corners times `spatial_scale`, rounded half away from 0, are the first and last cells of the region; it is at least 1 × 1.
//! Bin b of n over e cells goes from ⌊b · e / n⌋ to ⌈(b + 1) · e / n⌉, cut off at the map; an empty one gives 0.
//! Shapes: a map N × C × H × W and R regions R × 5 (image, x1, y1, x2, y2); top R × C × pooled_h × pooled_w. R may be 0 and
//! may change while a net runs. The layer keeps which values were largest: backward reads no data.
//! Source: Girshick, Fast R-CNN (2015). Departure: where the first value of a bin is NaN, so is its top.

use super::rois::{self, Roi, cells};
use crate::{
    error::Result,
    kernels::cut::{self, Units},
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType},
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("ROIPooling", |def| Ok(Box::new(RoiPooling::new(def)?)))
        .arity(Arity::Exact(2), Arity::Exact(1))
        .stops(&[1]);

struct RoiPooling {
    pooled: (usize, usize),
    scale: f32,
    /// Images, channels, height and width of the map.
    dims: [usize; 4],
    rois: Vec<Roi>,
    /// For each value of the top where in its plane it came from, or [`NOWHERE`].
    largest: Vec<u32>,
}

const NOWHERE: u32 = u32::MAX;

impl RoiPooling {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.roi_pooling_param.unwrap_or_default();
        let extent =
            |name: &str, value| rois::extent(def, &format!("roi_pooling_param.{name}"), value);
        Ok(Self {
            pooled: (
                extent("pooled_h", param.pooled_h())?,
                extent("pooled_w", param.pooled_w())?,
            ),
            scale: rois::scale(
                def,
                "roi_pooling_param.spatial_scale",
                param.spatial_scale(),
            )?,
            dims: [0; 4],
            rois: Vec::new(),
            largest: Vec::new(),
        })
    }

    /// The bins of a region along one axis.
    fn bins(&self, ends: (f32, f32), bins: usize, extent: usize) -> Vec<(usize, usize)> {
        let first = (ends.0 * self.scale).round();
        let size = ((ends.1 * self.scale).round() - first + 1.0).max(1.0) / bins as f32;
        let bin = |b: usize| {
            let (from, to) = ((b as f32 * size).floor(), ((b + 1) as f32 * size).ceil());
            cells(from + first, to + first, extent)
        };
        (0..bins).map(bin).collect()
    }
}

/// Where the largest value of a bin is.
fn largest(plane: &[f32], width: usize, rows: (usize, usize), columns: (usize, usize)) -> u32 {
    if columns.0 >= columns.1 {
        return NOWHERE;
    }
    let mut best = NOWHERE;
    for row in rows.0..rows.1 {
        for at in row * width + columns.0..row * width + columns.1 {
            if best == NOWHERE || plane[at] > plane[best as usize] {
                best = at as u32;
            }
        }
    }
    best
}

impl Layer for RoiPooling {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        self.dims = rois::map_dims(&bottoms[0])?;
        let (rois, (h, w)) = (rois::count(&bottoms[1])?, self.pooled);
        let top = Shape::checked(&[rois, self.dims[1], h, w])?;
        self.largest.resize(top.count(), NOWHERE);
        Ok(vec![top])
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let [images, channels, height, width] = self.dims;
        rois::read(io.bottoms[1].data, images, &mut self.rois)?;
        let (x, (h, w), plane) = (io.bottoms[0].data, self.pooled, height * width);
        let unit = channels * h * w;
        if unit == 0 {
            return Ok(());
        }
        let mut all = std::mem::take(&mut self.largest);
        let parts = (
            Units(&mut *io.tops[0].data, unit),
            Units(&mut all[..], unit),
            Units(&self.rois[..], 1),
        );
        cut::each(parts, self.rois.len(), 64 * unit, |_, (y, all, rois)| {
            let tops = y.0.chunks_exact_mut(unit).zip(all.0.chunks_exact_mut(unit));
            for ((y, all), roi) in tops.zip(rois.0) {
                let [x1, y1, x2, y2] = roi.corners;
                let rows = self.bins((y1, y2), h, height);
                let columns = self.bins((x1, x2), w, width);
                let channels = y.chunks_exact_mut(h * w).zip(all.chunks_exact_mut(h * w));
                for (c, (y, all)) in channels.enumerate() {
                    let start = (roi.image * self.dims[1] + c) * plane;
                    let x = &x[start..start + plane];
                    let bins = rows
                        .iter()
                        .flat_map(|r| columns.iter().map(move |c| (*r, *c)));
                    for ((y, at), (r, c)) in y.iter_mut().zip(all).zip(bins) {
                        *at = largest(x, width, r, c);
                        *y = x.get(*at as usize).copied().unwrap_or(0.0);
                    }
                }
            }
        });
        self.largest = all;
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let channels = self.dims[1];
        let (dy, bins) = (io.top_diff().data, self.pooled.0 * self.pooled.1);
        if let Some(dx) = &mut io.bottom_diffs[0] {
            rois::scatter(&self.rois, self.dims, 8 * bins, dx.data, |r, c, dx| {
                let top = (r * channels + c) * bins..(r * channels + c + 1) * bins;
                for (&at, dy) in self.largest[top.clone()].iter().zip(&dy[top]) {
                    if at != NOWHERE {
                        dx[at as usize] += dy;
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
    use crate::layer::testing::{Bench, check_gradient, check_threads, error_of, noise, tensor};

    fn text(options: &str) -> String {
        format!("type: 'ROIPooling' roi_pooling_param {{ {options} }}")
    }

    #[test]
    fn by_hand() {
        // 0 to 15, the largest always the last of a bin.
        let x: Vec<f32> = (0u8..16).map(f32::from).collect();
        let rois = tensor(
            &[3, 5],
            &[
                0.0, 0.0, 0.0, 7.0, 7.0, // the whole, cells 0 to 4 by rounding 3.5 up
                0.0, 2.0, 4.0, 2.0, 4.0, // one cell
                0.0, 20.0, 0.0, 30.0, 2.0, // outside
            ],
        );
        let options = text("pooled_h: 2 pooled_w: 1 spatial_scale: 0.5");
        let mut bench = Bench::new(&options, &[tensor(&[1, 1, 4, 4], &x), rois]);
        assert_eq!(bench.forward(), [11.0, 15.0, 9.0, 9.0, 0.0, 0.0]);
        let got = bench.backward(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[0]);
        let dx = &got.bottoms[0].as_ref().unwrap().data;
        assert_eq!((dx[11], dx[15], dx[9]), (1.0, 2.0, 7.0));
        assert_eq!(dx.iter().sum::<f32>(), 10.0);
    }

    #[test]
    fn gradients() {
        let mut x = noise(&[2, 2, 5, 6], 1);
        // Far enough apart.
        for (i, x) in x.data.iter_mut().enumerate() {
            *x = (i * 37 % 120) as f32 * 0.05;
        }
        let rois = tensor(
            &[3, 5],
            &[
                1.0, 0.0, 0.0, 9.0, 7.0, 0.0, 3.0, 2.0, 11.0, 20.0, 1.0, 5.0, 5.0, 4.0, 4.0,
            ],
        );
        let options = text("pooled_h: 2 pooled_w: 3 spatial_scale: 0.5");
        check_gradient(&options, &[x, rois], &[0], &[]);
    }

    #[test]
    fn threads_change_nothing() {
        let inputs = [noise(&[2, 32, 30, 30], 1), many_rois()];
        check_threads(
            &text("pooled_h: 7 pooled_w: 7 spatial_scale: 0.5"),
            &inputs,
            &[0],
        );
    }

    #[test]
    fn any_number_is_a_corner_and_there_may_be_no_region() {
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30];
        for a in odd {
            for b in odd {
                let rois = tensor(&[1, 5], &[0.0, a, b, b, a]);
                let mut bench = Bench::new(
                    &text("pooled_h: 2 pooled_w: 2"),
                    &[noise(&[1, 1, 3, 3], 1), rois],
                );
                assert!(bench.forward().iter().all(|y| y.is_finite()));
                bench.backward(&[1.0; 4], &[0]);
            }
        }
        let inputs = [noise(&[1, 2, 3, 3], 1), noise(&[0, 5], 1)];
        let mut bench = Bench::new(&text("pooled_h: 2 pooled_w: 2"), &inputs);
        assert!(bench.forward().is_empty());
        let got = bench.backward(&[], &[0]);
        assert_eq!(got.bottoms[0].as_ref().unwrap().data, [0.0; 18]);
    }

    #[test]
    fn errors() {
        let map = || noise(&[1, 2, 3, 3], 1);
        let roi = |image| tensor(&[1, 5], &[image, 0.0, 0.0, 1.0, 1.0]);
        for (options, x, rois, why) in [
            (
                "pooled_w: 2",
                map(),
                roi(0.0),
                "roi_pooling_param.pooled_h: is 0",
            ),
            (
                "pooled_h: 2",
                map(),
                roi(0.0),
                "roi_pooling_param.pooled_w: is 0",
            ),
            (
                "pooled_h: 2 pooled_w: 2 spatial_scale: 0",
                map(),
                roi(0.0),
                "spatial_scale: 0",
            ),
            (
                "pooled_h: 2 pooled_w: 2",
                map(),
                roi(1.0),
                "region 0 is of image 1",
            ),
            (
                "pooled_h: 2 pooled_w: 2",
                map(),
                noise(&[2, 4], 1),
                "each needs five values",
            ),
            (
                "pooled_h: 2 pooled_w: 2",
                noise(&[3, 3], 1),
                roi(0.0),
                "images × channels",
            ),
            (
                "pooled_h: 4000000000 pooled_w: 4000000000",
                map(),
                roi(0.0),
                "would hold more",
            ),
        ] {
            let error = error_of(&text(options), &[x, rois]);
            assert!(error.contains(why), "{error}");
        }
    }
}
