//! How a unit's value falls where a patch of the picture is covered (Zeiler and Fergus, 2013).

use super::{Map, Probe, Progress, Unit};
use crate::error::{Error, Result};

/// How patches go over the picture.
#[derive(Clone, Copy, Debug, Default)]
pub struct OcclusionOptions {
    /// Side of a patch in pixels; 0 takes an eighth of the longer side.
    pub patch: usize,
    /// From one patch to the next; 0 takes half a patch.
    pub stride: usize,
    /// What covers; `None` takes the mean of each channel.
    pub fill: Option<f32>,
}

impl OcclusionOptions {
    /// Side and stride for a picture of this size.
    pub fn settle(&self, rows: usize, columns: usize) -> (usize, usize) {
        let patch = match self.patch {
            0 => (rows.max(columns) / 8).max(1),
            n => n,
        };
        let stride = match self.stride {
            0 => (patch / 2).max(1),
            n => n,
        };
        (patch, stride)
    }
}

/// The map of how far the unit's value falls where the pixel is covered: the mean over the patches that cover it. A
/// value below 0 says that it rises.
///
/// # Errors
/// `Shape` where the input is no picture or the unit is not there.
pub fn occlusion(
    probe: &mut Probe<'_>,
    sample: &[f32],
    unit: &Unit,
    options: &OcclusionOptions,
    progress: Progress<'_>,
) -> Result<Map> {
    let [_, rows, columns] = probe.picture()?;
    let plane = rows * columns;
    let output = probe.values(&[sample.to_vec()], unit)?;
    let output = output.first().copied().unwrap_or(0.0);
    let (patch, stride) = options.settle(rows, columns);
    let fills: Vec<f32> = sample
        .chunks_exact(plane.max(1))
        .map(|channel| {
            let mean = || channel.iter().sum::<f32>() / plane as f32;
            options.fill.unwrap_or_else(mean)
        })
        .collect();
    let downs = starts(rows, patch, stride);
    let acrosses = starts(columns, patch, stride);
    let of = downs
        .len()
        .checked_mul(acrosses.len())
        .ok_or_else(|| Error::shape("the picture is too large"))?;
    let window = |i: usize| {
        let (y, x) = (downs[i / acrosses.len()], acrosses[i % acrosses.len()]);
        (y..(y + patch).min(rows), x..(x + patch).min(columns))
    };
    let mut sums = vec![0.0f64; plane];
    let mut counts = vec![0u32; plane];
    let mut done = 0;
    while done < of {
        let count = probe.samples().min(of - done);
        let covered: Vec<Vec<f32>> = (done..done + count)
            .map(|i| {
                let (down, across) = window(i);
                let mut covered = sample.to_vec();
                for (channel, &fill) in covered.chunks_exact_mut(plane).zip(&fills) {
                    for y in down.clone() {
                        channel[y * columns..][across.clone()].fill(fill);
                    }
                }
                covered
            })
            .collect();
        for (i, value) in (done..).zip(probe.values(&covered, unit)?) {
            let (down, across) = window(i);
            for y in down {
                for x in across.clone() {
                    sums[y * columns + x] += output - value;
                    counts[y * columns + x] += 1;
                }
            }
        }
        done += count;
        progress(done as u64, of as u64);
    }
    let values = sums.iter().zip(&counts);
    Ok(Map {
        values: values
            .map(|(s, &n)| (s / f64::from(n.max(1))) as f32)
            .collect(),
        rows,
        columns,
        output,
    })
}

/// Where patches begin along a side: by the stride, and a last one that ends at the border. Strides longer than a
/// patch are cut to one, so that every pixel is covered.
fn starts(side: usize, patch: usize, stride: usize) -> Vec<usize> {
    let last = side.saturating_sub(patch);
    let mut starts: Vec<usize> = (0..last).step_by(stride.clamp(1, patch.max(1))).collect();
    starts.push(last);
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_reach_the_border() {
        assert_eq!(starts(10, 4, 2), [0, 2, 4, 6]);
        assert_eq!(starts(10, 4, 4), [0, 4, 6]);
        assert_eq!(starts(10, 4, 9), [0, 4, 6]);
        assert_eq!(starts(3, 4, 2), [0]);
        assert_eq!(OcclusionOptions::default().settle(48, 64), (8, 4));
        assert_eq!(OcclusionOptions::default().settle(1, 1), (1, 1));
    }
}
