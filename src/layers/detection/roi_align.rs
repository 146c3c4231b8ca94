//! ROIAlign: the mean of samples of each bin of each region, which is cut into `pooled_h` × `pooled_w` bins; samples are
//! interpolated between the four cells around them.   dx = the sum of dy · the weight of x in the bin. None by the regions.
//!
//! A region goes from x1 · s to x2 · s, s = `spatial_scale`, not rounded, and is at least 1 × 1. `sampling_ratio` samples lie
//! evenly along each side of a bin, or ⌈cells of the bin⌉ where it is not above 0; one beyond the map by more than a cell
//! counts as 0, one nearer takes the border's value. Samples of rows and columns are independent, so each bin is a sum of
//! cells with a weight for the row and one for the column.
//! Shapes: a map N × C × H × W and R regions R × 5 (image, x1, y1, x2, y2); top R × C × pooled_h × pooled_w. R may be 0 and
//! may change while a net runs. The layer keeps the weights: backward reads no data.
//! Source: He et al., Mask R-CNN (2017), section 3, with corners as in the first release of the authors' code: a cell's
//! value is at its corner. Option `sample_ratio` is the same as `sampling_ratio`.

use super::rois::{self, Roi};
use crate::{
    error::{Error, Result},
    kernels::cut::{self, Units},
    layer::{Arity, Backward, Forward, Layer, LayerDef, LayerType},
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("ROIAlign", |def| Ok(Box::new(RoiAlign::new(def)?)))
        .arity(Arity::Exact(2), Arity::Exact(1))
        .stops(&[1]);

/// Most samples along a side of a bin.
const MOST: f32 = 65_536.0;

struct RoiAlign {
    pooled: (usize, usize),
    scale: f32,
    /// Samples along a side of a bin; `None`: as many as cells.
    samples: Option<f32>,
    /// Images, channels, height and width of the map.
    dims: [usize; 4],
    rois: Vec<Roi>,
    /// For each region the weights of rows and of columns.
    weights: Vec<[Weights; 2]>,
}

/// The weights of the cells along one axis, for each bin.
#[derive(Debug, Default)]
struct Weights {
    values: Vec<f32>,
    /// The first cell of each bin, and where its weights end.
    bins: Vec<(usize, usize)>,
}

impl Weights {
    /// For `bins` bins from `start`, each `size` long, with `samples` samples.
    fn new(start: f32, size: f32, samples: usize, bins: usize, extent: usize) -> Self {
        let mut all = Self::default();
        let mut line = vec![0.0; extent];
        for b in 0..bins {
            let (mut first, mut end) = (extent, 0);
            for i in 0..samples {
                let step = (i as f32 + 0.5) * size / samples as f32;
                let at = start + b as f32 * size + step;
                if extent == 0 || at < -1.0 || at > extent as f32 {
                    continue;
                }
                let at = at.max(0.0);
                let low = (at as usize).min(extent - 1);
                let high = (low + 1).min(extent - 1);
                let part = if high == low { 0.0 } else { at - low as f32 };
                line[low] += 1.0 - part;
                line[high] += part;
                (first, end) = (first.min(low), end.max(high + 1));
            }
            let used = &mut line[first.min(end)..end];
            all.values.extend(used.iter().map(|w| w / samples as f32));
            used.fill(0.0);
            all.bins.push((first, all.values.len()));
        }
        all
    }

    /// For each bin its first cell and the weights from there.
    fn bins(&self) -> impl Iterator<Item = (usize, &[f32])> + Clone {
        let starts = std::iter::once(0).chain(self.bins.iter().map(|bin| bin.1));
        let bins = starts.zip(&self.bins);
        bins.map(|(start, &(first, end))| (first, &self.values[start..end]))
    }
}

impl RoiAlign {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.roi_align_param.unwrap_or_default();
        let extent =
            |name: &str, value| rois::extent(def, &format!("roi_align_param.{name}"), value);
        let samples = param.sampling_ratio.or(param.sample_ratio).unwrap_or(-1);
        if samples > 1024 {
            let why = format!("{samples} samples along a side; at most 1024 are possible");
            return Err(def.invalid("roi_align_param.sampling_ratio", why));
        }
        Ok(Self {
            pooled: (
                extent("pooled_h", param.pooled_h())?,
                extent("pooled_w", param.pooled_w())?,
            ),
            scale: rois::scale(def, "roi_align_param.spatial_scale", param.spatial_scale())?,
            samples: (samples > 0).then_some(samples as f32),
            dims: [0; 4],
            rois: Vec::new(),
            weights: Vec::new(),
        })
    }

    fn weigh(&mut self) -> Result<()> {
        self.weights.clear();
        let [_, _, height, width] = self.dims;
        for (r, roi) in self.rois.iter().enumerate() {
            let [x1, y1, x2, y2] = roi.corners;
            let along = |from: f32, to: f32, bins: usize, extent: usize| {
                let (start, end) = (from * self.scale, to * self.scale);
                let size = (end - start).max(1.0) / bins as f32;
                let samples = self.samples.unwrap_or(size.ceil());
                if !start.is_finite() || !end.is_finite() || samples > MOST {
                    return Err(Error::data(format!(
                        "region {r} goes from {from} to {to}, far beyond the map of {height} × {width} cells"
                    )));
                }
                Ok(Weights::new(start, size, samples as usize, bins, extent))
            };
            let rows = along(y1, y2, self.pooled.0, height)?;
            self.weights
                .push([rows, along(x1, x2, self.pooled.1, width)?]);
        }
        Ok(())
    }
}

impl Layer for RoiAlign {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        self.dims = rois::map_dims(&bottoms[0])?;
        let (rois, (h, w)) = (rois::count(&bottoms[1])?, self.pooled);
        Ok(vec![Shape::checked(&[rois, self.dims[1], h, w])?])
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let [images, channels, height, width] = self.dims;
        rois::read(io.bottoms[1].data, images, &mut self.rois)?;
        self.weigh()?;
        let (x, plane) = (io.bottoms[0].data, height * width);
        let bins = self.pooled.0 * self.pooled.1;
        let unit = channels * bins;
        if unit == 0 {
            return Ok(());
        }
        let parts = (
            Units(&mut *io.tops[0].data, unit),
            Units(&self.rois[..], 1),
            Units(&self.weights[..], 1),
        );
        cut::each(
            parts,
            self.rois.len(),
            64 * unit,
            |_, (y, rois, weights)| {
                let tops = y.0.chunks_exact_mut(unit).zip(rois.0);
                for ((y, roi), [rows, columns]) in tops.zip(weights.0) {
                    for (c, y) in y.chunks_exact_mut(bins).enumerate() {
                        let x = &x[(roi.image * channels + c) * plane..][..plane];
                        let pairs = rows
                            .bins()
                            .flat_map(|r| columns.bins().map(move |c| (r, c)));
                        for (y, ((top, rows), (left, columns))) in y.iter_mut().zip(pairs) {
                            *y = 0.0;
                            for (row, weight) in (top..).zip(rows) {
                                let x = x[row * width..][..width].iter().skip(left);
                                let sum: f32 = x.zip(columns).map(|(x, w)| x * w).sum();
                                *y += weight * sum;
                            }
                        }
                    }
                }
            },
        );
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let [_, channels, _, width] = self.dims;
        let (dy, bins) = (io.top_diff().data, self.pooled.0 * self.pooled.1);
        if let Some(dx) = &mut io.bottom_diffs[0] {
            rois::scatter(&self.rois, self.dims, 64 * bins, dx.data, |r, c, dx| {
                let [rows, columns] = &self.weights[r];
                let dy = &dy[(r * channels + c) * bins..][..bins];
                let pairs = rows
                    .bins()
                    .flat_map(|r| columns.bins().map(move |c| (r, c)));
                for (dy, ((top, rows), (left, columns))) in dy.iter().zip(pairs) {
                    for (row, weight) in (top..).zip(rows) {
                        let dx = dx[row * width..][..width].iter_mut().skip(left);
                        dx.zip(columns).for_each(|(dx, w)| *dx += dy * weight * w);
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
        format!("type: 'ROIAlign' roi_align_param {{ {options} }}")
    }

    #[test]
    fn by_hand() {
        // x + 10y: a sample has the value of its place, and so has the mean of several.
        let x: Vec<f32> = (0u8..20).map(|i| f32::from(i % 5 + i / 5 * 10)).collect();
        let map = || tensor(&[1, 1, 4, 5], &x);
        let rois = || tensor(&[2, 5], &[0.0, 1.0, 0.0, 5.0, 2.0, 0.0, 2.0, 2.0, 2.0, 2.0]);
        for options in ["", "sampling_ratio: 3", "sample_ratio: 1"] {
            let options = format!("pooled_h: 1 pooled_w: 2 spatial_scale: 0.5 {options}");
            let mut bench = Bench::new(&text(&options), &[map(), rois()]);
            // Bins of 1 × 1 from 0.5, and of 1/2 × 1 from (1, 1).
            assert_close(bench.forward(), &[6.0, 7.0, 16.25, 16.75], 1e-5);
        }
    }

    #[test]
    fn beyond_the_border() {
        let map = tensor(&[1, 1, 1, 2], &[3.0, 5.0]);
        // Samples at −1.5, −0.5, 0.5, 1.5 and 2.5.
        let rois = tensor(&[1, 5], &[0.0, -2.0, 0.0, 3.0, 1.0]);
        let mut bench = Bench::new(&text("pooled_h: 1 pooled_w: 5"), &[map, rois]);
        assert_close(bench.forward(), &[0.0, 3.0, 4.0, 5.0, 0.0], 1e-6);
    }

    #[test]
    fn gradients() {
        let rois = tensor(
            &[3, 5],
            &[
                1.0, -3.0, 0.3, 9.2, 7.0, 0.0, 3.0, 2.2, 11.0, 13.0, 1.0, 5.0, 5.0, 4.0, 4.0,
            ],
        );
        for ratio in [-1, 2] {
            let options =
                format!("pooled_h: 2 pooled_w: 3 spatial_scale: 0.5 sampling_ratio: {ratio}");
            check_gradient(
                &text(&options),
                &[noise(&[2, 2, 5, 6], 1), rois.clone()],
                &[0],
                &[],
            );
        }
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
    fn errors() {
        let map = || noise(&[1, 2, 3, 3], 1);
        let roi = |image, x2| tensor(&[1, 5], &[image, 0.0, 0.0, x2, 1.0]);
        let good = "pooled_h: 2 pooled_w: 2";
        for (options, x, rois, why) in [
            (
                "pooled_w: 2",
                map(),
                roi(0.0, 1.0),
                "roi_align_param.pooled_h: is 0",
            ),
            (
                "pooled_h: 2",
                map(),
                roi(0.0, 1.0),
                "roi_align_param.pooled_w: is 0",
            ),
            (
                "pooled_h: 2 pooled_w: 2 spatial_scale: -1",
                map(),
                roi(0.0, 1.0),
                "spatial_scale: -1",
            ),
            (
                "pooled_h: 2 pooled_w: 2 sampling_ratio: 2000",
                map(),
                roi(0.0, 1.0),
                "2000 samples",
            ),
            (good, map(), roi(1.0, 1.0), "region 0 is of image 1"),
            (good, map(), roi(0.0, 1e30), "region 0 goes from 0 to"),
            (
                good,
                map(),
                roi(0.0, f32::NAN),
                "region 0 goes from 0 to NaN",
            ),
            (good, map(), noise(&[2, 4], 1), "each needs five values"),
            (good, noise(&[3, 3], 1), roi(0.0, 1.0), "images × channels"),
        ] {
            let error = error_of(&text(options), &[x, rois]);
            assert!(error.contains(why), "{error}");
        }
        let mut bench = Bench::new(&text(good), &[noise(&[1, 2, 0, 3], 1), roi(0.0, 1.0)]);
        assert_eq!(bench.forward(), [0.0; 8]);
        bench.backward(&[1.0; 8], &[0]);
    }
}
