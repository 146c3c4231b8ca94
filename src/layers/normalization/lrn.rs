//! LRN: y = x · s^-β.
//!
//! ACROSS_CHANNELS: s = k + α/n · Σ x² over the `local_size` n channels around. WITHIN_CHANNEL: s = 1 + α · mean of x²
//! over the n×n pixels around, as average pooling counts them; `k` plays no part there. With t = Σ dy·y/s over the same
//! channels, dx = dy · s^-β - 2αβ/n · x · t; within a channel the sum goes through the mean's gradient instead.
//!
//! Shapes: x, y \[N, C, H, W\]. n is odd. Nothing is kept: backward reads the bottom and computes s anew. `engine` changes
//! nothing.

use crate::{
    error::{Error, Result},
    kernels::lrn::{self, Lrn},
    layer::{Backward, Forward, Layer, LayerDef, LayerType, Reads, Traits},
    schema::lrn_parameter::NormRegion,
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("LRN", |def| Ok(Box::new(Normalize::new(def)?)));

/// Larger neighbourhoods than any image; the time grows with it.
const LARGEST: u32 = 1 << 15;

struct Normalize {
    param: Lrn,
    across: bool,
    /// Channels, height, width.
    image: [usize; 3],
}

impl Normalize {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.lrn_param.unwrap_or_default();
        let size = param.local_size();
        if size.is_multiple_of(2) || size > LARGEST {
            return Err(def.invalid(
                "lrn_param.local_size",
                format!("must be odd, to have a middle, and at most {LARGEST}, not {size}"),
            ));
        }
        Ok(Self {
            param: Lrn {
                size: size as usize,
                alpha: param.alpha(),
                beta: param.beta(),
                k: param.k(),
            },
            across: param.norm_region() == NormRegion::AcrossChannels,
            image: [0; 3],
        })
    }
}

impl Layer for Normalize {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let [_, c, h, w] = *bottoms[0].dims() else {
            return Err(Error::shape(format!(
                "LRN needs a bottom of 4 axes (num, channels, height, width), not {}",
                bottoms[0]
            )));
        };
        self.image = [c, h, w];
        Ok(vec![bottoms[0].clone()])
    }

    fn traits(&self) -> Traits {
        Traits {
            backward_reads: Reads::BOTTOMS,
            ..Traits::default()
        }
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        let (x, y) = (io.bottoms[0].data, &mut *io.tops[0].data);
        let [c, h, w] = self.image;
        if x.is_empty() {
            return Ok(());
        }
        if self.across {
            lrn::across_forward(&self.param, x, (c, h * w), y);
        } else {
            lrn::within_forward(&self.param, x, [h, w], y);
        }
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let (x, dy) = (io.bottom(0).data, io.top_diff().data);
        let [c, h, w] = self.image;
        let Some(dx) = io.bottom_diffs[0].as_mut().filter(|_| !x.is_empty()) else {
            return Ok(());
        };
        if self.across {
            lrn::across_backward(&self.param, x, (c, h * w), dy, dx.data);
        } else {
            lrn::within_backward(&self.param, x, [h, w], dy, dx.data);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{
        Bench, assert_close, check_gradient, check_threads, error_of, noise, tensor,
    };

    #[test]
    fn across_channels_sums_over_neighbours() {
        // Three channels of one pixel; s = 1 + 3/3 · (sum of squares), β = 1.
        let text = "type: 'LRN' lrn_param { local_size: 3 alpha: 3 beta: 1 }";
        let mut bench = Bench::new(text, &[tensor(&[1, 3, 1, 1], &[1., 2., 3.])]);
        assert_close(bench.forward(), &[1. / 6., 2. / 15., 3. / 14.], 1e-6);
    }

    #[test]
    fn within_a_channel_takes_the_mean_over_pixels() {
        // Row 1 2; each 3×3 window holds both pixels; its mean divides by 9 padded pixels, whatever k.
        let text = "type: 'LRN' lrn_param { local_size: 3 alpha: 9 beta: 1 k: 7
                    norm_region: WITHIN_CHANNEL }";
        let mut bench = Bench::new(text, &[tensor(&[1, 1, 1, 2], &[1., 2.])]);
        assert_close(bench.forward(), &[1. / 6., 2. / 6.], 1e-6);
    }

    #[test]
    fn gradients_and_threads() {
        for options in [
            "local_size: 3 k: 2",
            "local_size: 5 beta: 0.6 norm_region: WITHIN_CHANNEL",
        ] {
            let text = format!("type: 'LRN' lrn_param {{ {options} }}");
            check_gradient(&text, &[noise(&[2, 4, 3, 3], 1)], &[0], &[]);
            check_threads(&text, &[noise(&[3, 16, 40, 30], 1)], &[0]);
            let mut bench = Bench::new(&text, &[noise(&[2, 4, 3, 3], 1)]);
            for empty in [[0, 4, 3, 3], [2, 0, 3, 3], [2, 4, 0, 3]] {
                bench.set_bottom(0, noise(&empty, 1)).unwrap();
                assert!(bench.forward().is_empty());
                bench.backward(&[], &[0]);
            }
        }
    }

    #[test]
    fn errors() {
        let x = [noise(&[1, 2, 2, 2], 1)];
        let even = error_of("type: 'LRN' lrn_param { local_size: 4 }", &x);
        assert!(even.contains("lrn_param.local_size: must be odd"), "{even}");
        let axes = error_of("type: 'LRN'", &[noise(&[1, 2, 2], 1)]);
        assert!(axes.contains("4 axes"), "{axes}");
    }
}
