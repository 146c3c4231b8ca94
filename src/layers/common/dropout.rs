//! Dropout: TRAIN: y = m · x / (1 − r), m = 0 with probability r = `dropout_ratio`, else 1.   dx = m · dy / (1 − r).
//! TEST: y = x, dx = dy, without work.
//!
//! Shapes: x, y any, equal. The mask is the layer's own; backward reads nothing else.
//! Departure: r = 0 keeps everything, as in Caffe's release build; r outside [0, 1) is an error, where Caffe makes NaN.

use rand::Rng as _;
use rayon::prelude::*;

use crate::{
    error::Result,
    kernels::{
        cut::{self, Units},
        simd::wide,
    },
    layer::{
        Backward, Forward, InPlace, InPlaceBackward, Layer, LayerDef, LayerType, Rng, Sharing,
        Tail, Traits,
    },
    tensor::Shape,
};

pub(super) const TYPE: LayerType =
    LayerType::new("Dropout", |def| Ok(Box::new(Dropout::new(def)?)));

/// Elements that one task draws for; fixed. A task's random numbers are a fixed part of the stream.
const CHUNK: usize = 1 << 14;
/// Words drawn at a time.
const WORDS: usize = 256;

struct Dropout {
    active: bool,
    /// A draw below this drops; of 2^32.
    threshold: u32,
    scale: f32,
    /// 1 where an element was kept, else 0.
    mask: Vec<u8>,
}

impl Dropout {
    fn new(def: &LayerDef) -> Result<Self> {
        let ratio = def
            .param
            .dropout_param
            .as_ref()
            .map_or(0.5, |param| param.dropout_ratio());
        if !(0.0..1.0).contains(&ratio) {
            return Err(def.invalid(
                "dropout_param.dropout_ratio",
                format!("is {ratio}; it must be at least 0 and below 1"),
            ));
        }
        Ok(Self {
            active: def.is_train() && ratio > 0.0,
            threshold: (f64::from(ratio) * (u64::from(u32::MAX) + 1) as f64) as u32,
            scale: 1.0 / (1.0 - ratio),
            mask: Vec::new(),
        })
    }

    fn draw(&mut self, rng: &mut Rng) {
        let threshold = self.threshold;
        let start = rng.get_word_pos();
        let run = |(i, mask): (usize, &mut [u8])| {
            let mut rng = rng.clone();
            rng.set_word_pos(start + (i * CHUNK) as u128);
            let mut words = [0; 4 * WORDS];
            for mask in mask.chunks_mut(WORDS) {
                let bytes = &mut words[..4 * mask.len()];
                rng.fill_bytes(bytes);
                let (words, _) = bytes.as_chunks::<4>();
                for (m, word) in mask.iter_mut().zip(words) {
                    *m = u8::from(u32::from_le_bytes(*word) >= threshold);
                }
            }
        };
        if self.mask.len() <= CHUNK {
            run((0, &mut self.mask));
        } else {
            self.mask.par_chunks_mut(CHUNK).enumerate().for_each(run);
        }
        rng.set_word_pos(start + self.mask.len() as u128);
    }

    fn apply(&self, data: &mut [f32]) {
        let (units, parts) = (data.len(), (Units(data, 1), Units(&self.mask[..], 1)));
        cut::each(parts, units, 9, |_, (data, mask)| {
            masked_in_place(data.0, mask.0, self.scale)
        });
    }

    fn apply_to(&self, x: &[f32], y: &mut [f32]) {
        let parts = (Units(x, 1), Units(y, 1), Units(&self.mask[..], 1));
        cut::each(parts, x.len(), 13, |_, (x, y, mask)| {
            masked(x.0, y.0, mask.0, self.scale)
        });
    }
}

wide! {
    fn masked_in_place(data: &mut [f32], mask: &[u8], scale: f32) {
        data.iter_mut().zip(mask).for_each(|(x, &m)| *x = *x * f32::from(m) * scale);
    }

    fn masked(x: &[f32], y: &mut [f32], mask: &[u8], scale: f32) {
        let from = x.iter().zip(mask);
        y.iter_mut().zip(from).for_each(|(y, (x, &m))| *y = x * f32::from(m) * scale);
    }
}

impl Layer for Dropout {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        if self.active {
            self.mask.resize(bottoms[0].count(), 0);
        }
        Ok(vec![bottoms[0].clone()])
    }

    fn traits(&self) -> Traits {
        Traits {
            sharing: if self.active {
                Sharing::InPlace
            } else {
                Sharing::Alias
            },
            ..Traits::default()
        }
    }

    fn tail(&self) -> Option<Tail> {
        (!self.active).then_some(Tail::Identity)
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        self.draw(io.rng);
        self.apply_to(io.bottoms[0].data, io.tops[0].data);
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let dy = io.top_diff();
        if let Some(dx) = &mut io.bottom_diffs[0] {
            self.apply_to(dy.data, dx.data);
        }
        Ok(())
    }

    fn forward_in_place(&mut self, io: &mut InPlace<'_>) -> Result<()> {
        self.draw(io.rng);
        self.apply(io.data.data);
        Ok(())
    }

    fn backward_in_place(&mut self, io: &mut InPlaceBackward<'_>) -> Result<()> {
        self.apply(io.diff.data);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::{
        Sharing,
        testing::{Bench, check_gradient, check_threads, error_of, noise, tensor},
    };

    const THIRD: &str = "type: 'Dropout' dropout_param { dropout_ratio: 0.25 }";

    #[test]
    fn train_drops_and_scales_as_told() {
        let n = 40_000;
        let mut bench = Bench::new(THIRD, &[tensor(&[n], &vec![3.0; n])]);
        let y = bench.forward().to_vec();
        assert!(y.iter().all(|&y| y == 0.0 || y == 4.0));
        let kept = y.iter().filter(|&&y| y == 4.0).count() as f64;
        // Four standard deviations of a binomial.
        let spread = 4.0 * (n as f64 * 0.25 * 0.75).sqrt();
        assert!((kept - 0.75 * n as f64).abs() < spread, "{kept} of {n}");
        let dx = bench.backward(&vec![1.0; n], &[0]).bottoms[0]
            .take()
            .unwrap();
        for (dx, y) in dx.data.iter().zip(&y) {
            assert_eq!(dx * 3.0, *y);
        }
        bench.pass = 1;
        assert_ne!(bench.forward(), y, "each pass draws anew");
    }

    #[test]
    fn in_place_threads_and_gradients() {
        Bench::new(THIRD, &[noise(&[2, 30], 1)]).check_in_place();
        check_threads(THIRD, &[noise(&[50_000], 1)], &[0]);
        check_gradient(THIRD, &[noise(&[2, 30], 1)], &[0], &[]);
    }

    #[test]
    fn test_is_free() {
        let mut bench = Bench::new("type: 'Dropout' phase: TEST", &[noise(&[2, 3], 1)]);
        assert_eq!(bench.layer.traits().sharing, Sharing::Alias);
        assert_eq!(bench.forward(), noise(&[2, 3], 1).data);
    }

    #[test]
    fn nothing_may_come() {
        assert!(Bench::new(THIRD, &[noise(&[0, 3], 1)]).forward().is_empty());
    }

    #[test]
    fn a_ratio_outside_the_range_is_an_error() {
        for ratio in ["1", "-0.1", "nan"] {
            let text = format!("type: 'Dropout' dropout_param {{ dropout_ratio: {ratio} }}");
            let error = error_of(&text, &[noise(&[2], 1)]);
            assert!(error.contains("below 1"), "{error}");
        }
    }
}
