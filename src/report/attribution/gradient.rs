//! By which pixels a unit changes most: the gradient of its value, largest magnitude over the channels (Simonyan et
//! al., 2013), where wanted as the mean over noisy copies of the picture (SmoothGrad, Smilkov et al., 2017).

use rand_distr::{Distribution as _, StandardNormal};

use super::{Map, Probe, Progress, Unit};
use crate::{
    error::Result,
    rng::{self, Use},
};

/// How gradients are taken.
#[derive(Clone, Copy, Debug)]
pub struct GradientOptions {
    /// So many noisy copies; 0 for the picture itself.
    pub smooth: usize,
    /// Standard deviation of the noise, as a share of the picture's range of values.
    pub noise: f32,
    /// Names the noise.
    pub seed: u64,
}

impl Default for GradientOptions {
    fn default() -> Self {
        Self {
            smooth: 0,
            noise: 0.1,
            seed: 0,
        }
    }
}

/// The map of `max over channels |d unit / d pixel|`.
///
/// # Errors
/// `Shape` where the input is no picture or the unit is not there; `Graph` where no gradient reaches the input.
pub fn gradient(
    probe: &mut Probe<'_>,
    sample: &[f32],
    unit: &Unit,
    options: &GradientOptions,
    progress: Progress<'_>,
) -> Result<Map> {
    let [_, rows, columns] = probe.picture()?;
    let clean = [sample.to_vec()];
    let (values, mut gradients) = probe.gradients(&clean, std::slice::from_ref(unit))?;
    let output = values.first().copied().unwrap_or(0.0);
    let mut sum = gradients.pop().unwrap_or_default();
    if options.smooth > 0 {
        sum.fill(0.0);
        let range = crate::report::channels::figures(sample);
        let deviation = options.noise * (range.high - range.low);
        let mut done = 0;
        while done < options.smooth {
            let count = probe.samples().min(options.smooth - done);
            let noisy: Vec<Vec<f32>> = (done..done + count)
                .map(|i| {
                    let mut rng = rng::stream(options.seed, Use::Other, 0, i as u64);
                    let mut draw = || -> f32 { StandardNormal.sample(&mut rng) };
                    sample.iter().map(|v| v + deviation * draw()).collect()
                })
                .collect();
            let (_, gradients) = probe.gradients(&noisy, &vec![unit.clone(); count])?;
            for gradient in &gradients {
                for (sum, g) in sum.iter_mut().zip(gradient) {
                    *sum += g;
                }
            }
            done += count;
            progress(done as u64, options.smooth as u64);
        }
        for sum in &mut sum {
            *sum /= options.smooth as f32;
        }
    }
    let mut map = vec![0.0f32; rows * columns];
    for plane in sum.chunks_exact(map.len().max(1)) {
        for (map, g) in map.iter_mut().zip(plane) {
            *map = map.max(g.abs());
        }
    }
    Ok(Map {
        values: map,
        rows,
        columns,
        output,
    })
}
