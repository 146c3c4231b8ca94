//! Local response normalization.
//!
//! Across channels: scale_c = k + α/n · Σ x_j² over the n channels around c; y = x · scale^−β;
//! dx_c = dy_c · scale_c^−β − 2αβ/n · x_c · Σ dy_j · y_j / scale_j over the same channels.
//!
//! Within a channel: scale = 1 + α · mean of x² over the n×n pixels around (as average pooling counts them);
//! y = x · scale^−β. There is no k, and the mean divides in place of α/n².

use rayon::prelude::*;

use super::{
    map,
    pool::{self, PoolShape},
};

/// The parameters; `size` (n) is odd.
#[derive(Clone, Copy, Debug)]
pub struct Lrn {
    /// Channels, or pixels on a side, of the neighbourhood.
    pub size: usize,
    /// Weight of the squares.
    pub alpha: f32,
    /// Exponent.
    pub beta: f32,
    /// Constant part of the scale; across channels only.
    pub k: f32,
}

impl Lrn {
    fn per_channel(&self) -> f32 {
        self.alpha / self.size as f32
    }

    /// The channels around `c`.
    fn around(&self, c: usize, channels: usize) -> std::ops::Range<usize> {
        let reach = self.size / 2;
        c.saturating_sub(reach)..(c + reach + 1).min(channels)
    }
}

/// s^−β. The usual 0.75 goes by square roots, which a loop does several at a time.
fn power(s: f32, beta: f32) -> f32 {
    if beta == 0.75 {
        let root = s.sqrt();
        1.0 / (root * root.sqrt())
    } else {
        s.powf(-beta)
    }
}

/// y and scale, for x of n × channels × inner.
pub fn across_forward(
    p: &Lrn,
    x: &[f32],
    (channels, inner): (usize, usize),
    scale: &mut [f32],
    y: &mut [f32],
) {
    let image = channels * inner;
    assert!(scale.len() == x.len() && y.len() == x.len());
    assert!(image > 0 && x.len().is_multiple_of(image));
    scale
        .par_chunks_mut(image)
        .zip(x.par_chunks(image))
        .zip(y.par_chunks_mut(image))
        .for_each(|((scale, x), y)| {
            for c in 0..channels {
                let scale = &mut scale[c * inner..][..inner];
                scale.fill(0.0);
                for j in p.around(c, channels) {
                    let x = &x[j * inner..][..inner];
                    scale.iter_mut().zip(x).for_each(|(s, x)| *s += x * x);
                }
                scale
                    .iter_mut()
                    .for_each(|s| *s = p.k + p.per_channel() * *s);
            }
            let terms = y.iter_mut().zip(x.iter().zip(scale.iter()));
            terms.for_each(|(y, (x, s))| *y = x * power(*s, p.beta));
        });
}

/// dx, overwritten, from what [`across_forward`] took and gave. `workspace` has the length of `x`.
pub fn across_backward(
    p: &Lrn,
    (x, y, scale): (&[f32], &[f32], &[f32]),
    (channels, inner): (usize, usize),
    dy: &[f32],
    dx: &mut [f32],
    workspace: &mut [f32],
) {
    let (image, len) = (channels * inner, x.len());
    assert!(y.len() == len && scale.len() == len && dy.len() == len && dx.len() == len);
    assert!(image > 0 && len.is_multiple_of(image));
    let factor = 2.0 * p.beta * p.per_channel();
    dx.par_chunks_mut(image)
        .zip(workspace[..len].par_chunks_mut(image))
        .enumerate()
        .for_each(|(n, (dx, ratio))| {
            let at = n * image..(n + 1) * image;
            let (x, y) = (&x[at.clone()], &y[at.clone()]);
            let (scale, dy) = (&scale[at.clone()], &dy[at]);
            for i in 0..image {
                ratio[i] = dy[i] * y[i] / scale[i];
            }
            for c in 0..channels {
                let at = c * inner..(c + 1) * inner;
                let dx = &mut dx[at.clone()];
                dx.fill(0.0);
                for j in p.around(c, channels) {
                    let ratio = &ratio[j * inner..][..inner];
                    dx.iter_mut().zip(ratio).for_each(|(d, r)| *d += *r);
                }
                let (x, scale, dy) = (&x[at.clone()], &scale[at.clone()], &dy[at]);
                for i in 0..inner {
                    dx[i] = dy[i] * power(scale[i], p.beta) - factor * x[i] * dx[i];
                }
            }
        });
}

/// The average pooling over the neighbourhood of each pixel.
fn neighbourhood(p: &Lrn, plane: [usize; 2]) -> PoolShape {
    PoolShape {
        input: plane,
        pooled: plane,
        kernel: [p.size; 2],
        stride: [1; 2],
        pad: [p.size / 2; 2],
    }
}

/// y and scale, for planes of `plane` (height, width). `workspace` has the length of `x`.
pub fn within_forward(
    p: &Lrn,
    x: &[f32],
    plane: [usize; 2],
    scale: &mut [f32],
    y: &mut [f32],
    workspace: &mut [f32],
) {
    let squares = &mut workspace[..x.len()];
    map::map(x, squares, |x| x * x);
    pool::average_forward(&neighbourhood(p, plane), squares, scale);
    map::map_in_place(scale, |mean| 1.0 + p.alpha * mean);
    map::zip2(x, scale, y, |x, s| x * power(s, p.beta));
}

/// dx, overwritten, from what [`within_forward`] took and gave. `workspace` has the length of `x`.
pub fn within_backward(
    p: &Lrn,
    (x, scale): (&[f32], &[f32]),
    plane: [usize; 2],
    dy: &[f32],
    dx: &mut [f32],
    workspace: &mut [f32],
) {
    // Gradient of the mean: −αβ · scale^(−β−1) · x · dy; then through the pooling, and 2x for the square.
    let dmean = &mut workspace[..x.len()];
    map::zip2(x, dy, dmean, |x, d| x * d);
    let factor = -p.alpha * p.beta;
    map::zip_into(dmean, scale, |d, s| factor * d * power(s, p.beta) / s);
    pool::average_backward(&neighbourhood(p, plane), dmean, dx);
    map::zip_into(dx, x, |d, x| 2.0 * x * d);
    map::zip2_into(dx, dy, scale, |d, dy, s| d + dy * power(s, p.beta));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{assert_close, noise, same_bits};

    const LRN: Lrn = Lrn {
        size: 3,
        alpha: 0.9,
        beta: 0.75,
        k: 1.5,
    };

    /// y by the formulas, one element after the other; x is n × channels × height × width.
    fn plain(p: &Lrn, x: &[f32], [c, h, w]: [usize; 3], across: bool) -> Vec<f32> {
        let reach = (p.size / 2) as isize;
        let near = |a: usize, b: usize| (a as isize - b as isize).abs() <= reach;
        let index = |i: usize| [i / (c * h * w), i / (h * w) % c, i / w % h, i % w];
        let clipped = |at: usize, size: usize| {
            let (from, to) = (at as isize - reach, at as isize + reach + 1);
            (to.min(size as isize + reach) - from) as f32
        };
        (0..x.len())
            .map(|i| {
                let a = index(i);
                let sum: f32 = (0..x.len())
                    .filter(|&j| {
                        let b = index(j);
                        let same = |axes: &[usize]| axes.iter().all(|&i| a[i] == b[i]);
                        if across {
                            same(&[0, 2, 3]) && near(a[1], b[1])
                        } else {
                            same(&[0, 1]) && near(a[2], b[2]) && near(a[3], b[3])
                        }
                    })
                    .map(|j| x[j] * x[j])
                    .sum();
                let scale = if across {
                    p.k + p.alpha / p.size as f32 * sum
                } else {
                    1.0 + p.alpha * sum / (clipped(a[2], h) * clipped(a[3], w))
                };
                x[i] * scale.powf(-p.beta)
            })
            .collect()
    }

    fn run(p: &Lrn, x: &[f32], dims: [usize; 3], across: bool, dy: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let [c, h, w] = dims;
        let blank = vec![f32::NAN; x.len()];
        let (mut y, mut scale, mut dx, mut ws) =
            (blank.clone(), blank.clone(), blank.clone(), blank);
        if across {
            across_forward(p, x, (c, h * w), &mut scale, &mut y);
            across_backward(p, (x, &y, &scale), (c, h * w), dy, &mut dx, &mut ws);
        } else {
            within_forward(p, x, [h, w], &mut scale, &mut y, &mut ws);
            within_backward(p, (x, &scale), [h, w], dy, &mut dx, &mut ws);
        }
        (y, dx)
    }

    #[test]
    fn both_regions_agree_with_the_formulas_and_their_derivatives() {
        for across in [true, false] {
            for (p, dims) in [
                (LRN, [5, 2, 3]),
                (
                    Lrn {
                        size: 5,
                        beta: 0.6,
                        ..LRN
                    },
                    [3, 4, 2],
                ),
                (Lrn { size: 1, ..LRN }, [2, 2, 2]),
            ] {
                let len = 2 * dims.iter().product::<usize>();
                let (x, dy) = (noise(len, 1), noise(len, 2));
                let (y, dx) = run(&p, &x, dims, across, &dy);
                assert_close(&y, &plain(&p, &x, dims, across), 1e-5, "forward");
                let value = |x: &[f32]| -> f64 {
                    let y = plain(&p, x, dims, across);
                    y.iter().zip(&dy).map(|(y, d)| f64::from(y * d)).sum()
                };
                for i in 0..len {
                    let moved = |by: f32| {
                        let mut x = x.clone();
                        x[i] += by;
                        value(&x)
                    };
                    let want = ((moved(1e-2) - moved(-1e-2)) / 2e-2) as f32;
                    assert_close(&[dx[i]], &[want], 5e-4, "backward");
                }
            }
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let dims = [7, 23, 29];
        let (x, dy) = (noise(11 * 7 * 23 * 29, 1), noise(11 * 7 * 23 * 29, 2));
        for across in [true, false] {
            same_bits("lrn", || {
                let (y, dx) = run(&LRN, &x, dims, across, &dy);
                [y, dx].concat()
            });
        }
    }
}
