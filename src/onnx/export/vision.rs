//! Convolutions, and what else works on planes.

use super::{
    super::proto::{AttributeProto, int, ints, text},
    activation::INT64,
    emit::Site,
};
use crate::{
    error::Result,
    layers::vision::{filters::Filters, geometry::Window},
    schema::interp_parameter::Mode,
    tensor::Shape,
};

pub(super) fn convolution(s: &mut Site<'_, '_>) -> Result<()> {
    filter(s, "Conv", false)
}

pub(super) fn depthwise(s: &mut Site<'_, '_>) -> Result<()> {
    filter(s, "Conv", true)
}

pub(super) fn deconvolution(s: &mut Site<'_, '_>) -> Result<()> {
    filter(s, "ConvTranspose", false)
}

/// What an operator is told of its windows. Without an axis to slide along there is one of extent 1.
fn windows(window: &Window, groups: usize) -> Vec<AttributeProto> {
    let or = |dims: &[usize], none: usize| match dims {
        [] => vec![none],
        dims => dims.to_vec(),
    };
    let pad = or(&window.pad, 0);
    vec![
        ints("kernel_shape", or(&window.kernel, 1)),
        ints("strides", or(&window.stride, 1)),
        ints("pads", [&pad[..], &pad].concat()),
        ints("dilations", or(&window.dilation, 1)),
        int("group", groups as i64),
    ]
}

/// Items, channels and planes of a blob, whatever axes come before its channels.
fn plain(shape: &Shape, axis: usize) -> Vec<usize> {
    let mut dims = vec![shape.count_range(0, axis)];
    dims.extend(&shape.dims()[axis..]);
    if dims.len() < 3 {
        dims.push(1);
    }
    dims
}

fn filter(s: &mut Site<'_, '_>, op: &str, depthwise: bool) -> Result<()> {
    let p = s.param().convolution_param.clone().unwrap_or_default();
    for i in 0..s.node.bottoms.len() {
        let told = Filters::told(&p, depthwise, s.bottom(i))?;
        let attributes = windows(&told.window, told.groups);
        let (from, to) = (plain(s.bottom(i), told.axis), plain(s.top(i), told.axis));
        let x = s.x(i);
        let x = s.reshaped(&x, s.bottom(i).dims(), &from);
        let weights = match &told.window.kernel[..] {
            [] => {
                let groups = if op == "Conv" {
                    told.channels
                } else {
                    told.outputs
                };
                let rows = if op == "Conv" {
                    told.outputs
                } else {
                    told.channels
                };
                s.blob_as(0, &[rows, groups / told.groups, 1])
            }
            _ => s.blob(0),
        };
        let mut inputs = vec![x, weights];
        if s.blobs() > 1 {
            inputs.push(s.blob(1));
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        if s.top(i).dims() == to {
            s.end(op, &inputs, i, attributes);
        } else {
            let y = s.op(op, &inputs, attributes);
            s.end_reshaped(&y, &to, i);
        }
    }
    Ok(())
}

/// A convolution whose filters each copy one tap of one channel.
pub(super) fn im2col(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().convolution_param.clone().unwrap_or_default();
    let x_shape = s.bottom(0);
    let axis = x_shape.axis(p.axis())?;
    let window = Window::of_convolution(&p, x_shape.axes() - axis - 1)?;
    let channels = x_shape.dims()[axis];
    let taps: usize = window.kernel.iter().product();
    let mut weights = vec![0.0; channels * taps * taps];
    for (row, filter) in weights.chunks_exact_mut(taps.max(1)).enumerate() {
        filter[row % taps] = 1.0;
    }
    let dims = [&[channels * taps, 1], &window.kernel[..]].concat();
    let weights = s.floats("taps", &dims, &weights);
    let (from, to) = (plain(x_shape, axis), plain(s.top(0), axis));
    let x = s.x(0);
    let x = s.reshaped(&x, x_shape.dims(), &from);
    let attributes = windows(&window, channels);
    if s.top(0).dims() == to {
        s.last("Conv", &[&x, &weights], attributes);
    } else {
        let y = s.op("Conv", &[&x, &weights], attributes);
        s.end_reshaped(&y, &to, 0);
    }
    Ok(())
}

pub(super) fn crop(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().crop_param.clone().unwrap_or_default();
    let (from, to) = (s.bottom(0), s.top(0).dims());
    let axis = from.axis(p.axis())?;
    let x = s.x(0);
    let axes: Vec<usize> = (axis..from.axes()).collect();
    let at = |i: usize| {
        let own = p.offset.get(i - axis).or_else(|| p.offset.first());
        own.map_or(0, |&o| o as usize)
    };
    let starts: Vec<usize> = axes.iter().map(|&i| at(i)).collect();
    let ends: Vec<usize> = axes.iter().map(|&i| at(i) + to[i]).collect();
    let starts = s.extents("starts", &starts);
    let ends = s.extents("ends", &ends);
    let axes = s.extents("axes", &axes);
    s.last("Slice", &[&x, &starts, &ends, &axes], Vec::new());
    Ok(())
}

/// The last step: `x` at the size of the top.
fn resize(s: &mut Site<'_, '_>, x: &str, attributes: Vec<AttributeProto>) {
    let sizes = s.extents("sizes", s.top(0).dims());
    s.last("Resize", &[x, "", "", &sizes], attributes);
}

pub(super) fn interp(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().interp_param.unwrap_or_default();
    let dims = s.bottom(0).dims();
    let mut x = s.x(0);
    let [begin, end] = [p.pad_beg(), p.pad_end()].map(|pad| pad.unsigned_abs() as usize);
    if begin + end > 0 {
        x = s.cut(&x, &[2, 3], &[begin; 2], &[dims[2] - end, dims[3] - end]);
    }
    let corners = text("coordinate_transformation_mode", "align_corners");
    match p.mode() {
        Mode::Nearest => resize(
            s,
            &x,
            vec![
                text("mode", "nearest"),
                text("nearest_mode", "round_prefer_ceil"),
                corners,
            ],
        ),
        Mode::Linear => resize(s, &x, vec![text("mode", "linear"), corners]),
    }
    Ok(())
}

pub(super) fn upsample(s: &mut Site<'_, '_>) -> Result<()> {
    let x = s.x(0);
    if s.node.bottoms.len() < 2 {
        resize(
            s,
            &x,
            vec![
                text("mode", "nearest"),
                text("nearest_mode", "floor"),
                text("coordinate_transformation_mode", "asymmetric"),
            ],
        );
        return Ok(());
    }
    // Each value goes to the place in its plane that the mask tells, in planes of zeros.
    let (from, to) = (s.bottom(0).dims(), s.top(0).dims());
    let planes = from[0] * from[1];
    let mask = s.x(1);
    let flat = [planes, from[2] * from[3]];
    let x = s.reshaped(&x, from, &flat);
    let mask = s.reshaped(&mask, from, &flat);
    let mask = s.cast(&mask, INT64);
    let size = s.extents("size", &[planes, to[2] * to[3]]);
    let zeros = s.op("ConstantOfShape", &[&size], Vec::new());
    let y = s.op(
        "ScatterElements",
        &[&zeros, &mask, &x],
        vec![int("axis", 1)],
    );
    s.end_reshaped(&y, &[planes, to[2] * to[3]], 0);
    Ok(())
}
