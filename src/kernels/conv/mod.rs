//! Convolution of a batch, on any number of spatial axes, with groups, stride, padding and dilation.
//!
//! With X the columns of an image (im2col), W the weights as a matrix with one row per output channel, per group:
//!
//! - y = W · X + bias
//! - ∂x = col2im(Wᵀ · ∂y)
//! - ∂W += Σ over images of ∂y · Xᵀ
//! - ∂bias += Σ over images and pixels of ∂y
//!
//! Images are shared out in a fixed number of runs, each with its own piece of the workspace; within an image the
//! columns are made and used strip by strip. Both cuts depend on the sizes alone, and so do the results' bits.

mod geometry;
mod im2col;
#[cfg(test)]
pub(crate) mod plain;
mod split;

use rayon::prelude::*;

pub use geometry::{ConvParams, ConvShape, Dims};
use split::Split;

use super::{
    gemm::{Act, Bias, Gemm},
    reduce,
};

/// Floats of workspace that [`forward`], [`backward_data`] and [`backward_weights`] need for a batch.
pub fn workspace_len(s: &ConvShape, batch: usize) -> usize {
    forward_workspace_len(s, batch).max(Split::weights(s, batch).workspace_len())
}

/// Floats of workspace that [`forward`] alone needs for a batch.
pub fn forward_workspace_len(s: &ConvShape, batch: usize) -> usize {
    Split::images(s, batch).workspace_len()
}

/// y = act(w ∗ x + bias).
///
/// `x` holds whole images, `y` as many outputs; the bias has one value per output channel.
///
/// # Panics
/// If a length does not fit `s`.
pub fn forward(
    s: &ConvShape,
    x: &[f32],
    w: &[f32],
    (bias, act): (Option<&[f32]>, Act),
    y: &mut [f32],
    workspace: &mut [f32],
) {
    let split = Split::images(s, batch(s, x, y, w));
    let (out_group, in_group) = (s.out_len() / s.groups, s.in_len() / s.groups);
    let (w_group, channels) = (s.weights_len() / s.groups, s.out_channels / s.groups);
    let (rows, pixels) = (s.col_rows(), s.out_spatial());
    y.par_chunks_mut(split.images * s.out_len())
        .zip(x.par_chunks(split.images * s.in_len()))
        .zip(split.pieces(workspace))
        .with_max_len(1)
        .for_each(|((y, x), col)| {
            let images = y.chunks_exact_mut(out_group).zip(x.chunks_exact(in_group));
            for (i, (y, x)) in images.enumerate() {
                let group = i % s.groups;
                let w = &w[group * w_group..][..w_group];
                let bias = match bias {
                    Some(b) => Bias::PerRow(&b[group * channels..][..channels]),
                    None => Bias::None,
                };
                for cols in split.strips() {
                    let g = Gemm::new(channels, cols.len(), rows);
                    let g = g.ldc(pixels).bias(bias).act(act);
                    let y = &mut y[cols.start..];
                    if s.is_pointwise() {
                        split.multiply(&g.ldb(pixels), w, &x[cols.start..], y);
                    } else {
                        split.columns(s, x, cols, col);
                        split.multiply(&g, w, col, y);
                    }
                }
            }
        });
}

/// dx = the gradient of the input, from `dy`, that of the output. Overwrites.
///
/// # Panics
/// If a length does not fit `s`.
pub fn backward_data(s: &ConvShape, w: &[f32], dy: &[f32], dx: &mut [f32], workspace: &mut [f32]) {
    let split = Split::images(s, batch(s, dx, dy, w));
    let (out_group, in_group) = (s.out_len() / s.groups, s.in_len() / s.groups);
    let (w_group, channels) = (s.weights_len() / s.groups, s.out_channels / s.groups);
    let (rows, pixels) = (s.col_rows(), s.out_spatial());
    dx.par_chunks_mut(split.images * s.in_len())
        .zip(dy.par_chunks(split.images * s.out_len()))
        .zip(split.pieces(workspace))
        .with_max_len(1)
        .for_each(|((dx, dy), col)| {
            let images = dx
                .chunks_exact_mut(in_group)
                .zip(dy.chunks_exact(out_group));
            for (i, (dx, dy)) in images.enumerate() {
                let w = &w[i % s.groups * w_group..][..w_group];
                if !s.is_pointwise() {
                    dx.fill(0.0);
                }
                for cols in split.strips() {
                    let g = Gemm::new(rows, cols.len(), channels).trans_a().ldb(pixels);
                    let dy = &dy[cols.start..];
                    if s.is_pointwise() {
                        split.multiply(&g.ldc(pixels), w, dy, &mut dx[cols.start..]);
                    } else {
                        split.multiply(&g, w, dy, col);
                        split.add_columns(s, col, cols, dx);
                    }
                }
            }
        });
}

/// dw += the gradient of the weights, from the input and `dy`, the gradient of the output.
///
/// # Panics
/// If a length does not fit `s`.
pub fn backward_weights(
    s: &ConvShape,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    workspace: &mut [f32],
) {
    let split = Split::weights(s, batch(s, x, dy, dw));
    let (out_group, in_group) = (s.out_len() / s.groups, s.in_len() / s.groups);
    let (w_group, channels) = (s.weights_len() / s.groups, s.out_channels / s.groups);
    let (rows, pixels) = (s.col_rows(), s.out_spatial());
    x.par_chunks(split.images * s.in_len())
        .zip(dy.par_chunks(split.images * s.out_len()))
        .zip(split.pieces(workspace))
        .with_max_len(1)
        .for_each(|((x, dy), piece)| {
            let (col, partial) = split.cut(piece);
            let images = x.chunks_exact(in_group).zip(dy.chunks_exact(out_group));
            for (i, (x, dy)) in images.enumerate() {
                let group = i % s.groups;
                let partial = &mut partial[group * w_group..][..w_group];
                for cols in split.strips() {
                    let first = i < s.groups && cols.start == 0;
                    let g = Gemm::new(channels, rows, cols.len()).trans_b();
                    let g = g.lda(pixels).beta(if first { 0.0 } else { 1.0 });
                    let dy = &dy[cols.start..];
                    if s.is_pointwise() {
                        split.multiply(&g.ldb(pixels), dy, &x[cols.start..], partial);
                    } else {
                        split.columns(s, x, cols, col);
                        split.multiply(&g, dy, col, partial);
                    }
                }
            }
        });
    let partials = &workspace[..split.workspace_len()];
    dw.par_chunks_mut(4096).enumerate().for_each(|(i, dw)| {
        for piece in partials.chunks_exact(split.piece_len()) {
            let partial = &split.partial(piece)[i * 4096..][..dw.len()];
            dw.iter_mut().zip(partial).for_each(|(d, p)| *d += *p);
        }
    });
}

/// db += the gradient of the bias: for each output channel the sum of `dy` over images and pixels.
///
/// # Panics
/// If a length does not fit `s`.
pub fn backward_bias(s: &ConvShape, dy: &[f32], db: &mut [f32]) {
    reduce::channel_sum_add(dy, (s.out_channels, s.out_spatial()), db);
}

/// The number of images, after checking every length.
fn batch(s: &ConvShape, x: &[f32], y: &[f32], w: &[f32]) -> usize {
    let batch = x.len() / s.in_len();
    assert_eq!(x.len(), batch * s.in_len(), "input is not whole images");
    assert_eq!(
        y.len(),
        batch * s.out_len(),
        "output does not fit the input"
    );
    assert_eq!(w.len(), s.weights_len(), "weights do not fit");
    batch
}

#[cfg(test)]
mod tests;
