//! The readable reference: every product of a convolution, one after the other.

use super::ConvShape;

/// Calls `f` with the indices of output, weight and input of every product, in the output's order.
fn for_each_product(s: &ConvShape, batch: usize, mut f: impl FnMut(usize, usize, usize)) {
    let count = |dims: &[usize]| dims.iter().product::<usize>();
    let digit = |mut i: usize, dims: &[usize], axis: usize| {
        i /= count(&dims[axis + 1..]);
        i % dims[axis]
    };
    let (in_group, out_group) = (s.in_channels / s.groups, s.out_channels / s.groups);
    for n in 0..batch {
        for o in 0..s.out_channels {
            for out in 0..count(&s.output) {
                for c in 0..in_group {
                    'taps: for k in 0..count(&s.kernel) {
                        let mut pixel = 0;
                        for axis in 0..s.input.len() {
                            let at = digit(out, &s.output, axis) * s.stride[axis]
                                + digit(k, &s.kernel, axis) * s.dilation[axis];
                            if at < s.pad[axis] || at - s.pad[axis] >= s.input[axis] {
                                continue 'taps;
                            }
                            pixel = pixel * s.input[axis] + at - s.pad[axis];
                        }
                        let channel = o / out_group * in_group + c;
                        f(
                            n * s.out_len() + o * count(&s.output) + out,
                            (o * in_group + c) * count(&s.kernel) + k,
                            n * s.in_len() + channel * count(&s.input) + pixel,
                        );
                    }
                }
            }
        }
    }
}

/// y = w ∗ x + bias.
pub(crate) fn forward(s: &ConvShape, x: &[f32], w: &[f32], bias: &[f32]) -> Vec<f32> {
    let batch = x.len() / s.in_len();
    let mut y: Vec<f32> = (0..batch * s.out_len())
        .map(|i| bias[i % s.out_len() / (s.out_len() / s.out_channels)])
        .collect();
    for_each_product(s, batch, |yi, wi, xi| y[yi] += w[wi] * x[xi]);
    y
}

/// ∂/∂x of ⟨dy, y⟩.
pub(crate) fn backward_data(s: &ConvShape, w: &[f32], dy: &[f32]) -> Vec<f32> {
    let batch = dy.len() / s.out_len();
    let mut dx = vec![0.0; batch * s.in_len()];
    for_each_product(s, batch, |yi, wi, xi| dx[xi] += w[wi] * dy[yi]);
    dx
}

/// ∂/∂w of ⟨dy, y⟩.
pub(crate) fn backward_weights(s: &ConvShape, x: &[f32], dy: &[f32]) -> Vec<f32> {
    let mut dw = vec![0.0; s.weights_len()];
    for_each_product(s, x.len() / s.in_len(), |yi, wi, xi| {
        dw[wi] += dy[yi] * x[xi]
    });
    dw
}
