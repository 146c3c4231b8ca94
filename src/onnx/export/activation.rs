//! Activations, and the layers that scale and shift.

use super::{
    super::proto::{float, int},
    emit::Site,
};
use crate::{error::Result, tensor::Shape};

/// `TensorProto.DataType`: what a Cast makes.
pub(super) const FLOAT: i64 = 1;
pub(super) const INT64: i64 = 7;

pub(super) fn abs_val(s: &mut Site<'_, '_>) -> Result<()> {
    one(s, "Abs")
}

pub(super) fn bnll(s: &mut Site<'_, '_>) -> Result<()> {
    one(s, "Softplus")
}

pub(super) fn sigmoid(s: &mut Site<'_, '_>) -> Result<()> {
    one(s, "Sigmoid")
}

pub(super) fn tanh(s: &mut Site<'_, '_>) -> Result<()> {
    one(s, "Tanh")
}

pub(super) fn h_swish(s: &mut Site<'_, '_>) -> Result<()> {
    one(s, "HardSwish")
}

fn one(s: &mut Site<'_, '_>, op: &str) -> Result<()> {
    let x = s.x(0);
    s.last(op, &[&x], Vec::new());
    Ok(())
}

pub(super) fn relu(s: &mut Site<'_, '_>) -> Result<()> {
    let slope = s.param().relu_param.unwrap_or_default().negative_slope();
    let x = s.x(0);
    match slope {
        0.0 => s.last("Relu", &[&x], Vec::new()),
        _ => s.last("LeakyRelu", &[&x], vec![float("alpha", slope)]),
    }
    Ok(())
}

pub(super) fn relu6(s: &mut Site<'_, '_>) -> Result<()> {
    let slope = s.param().relu6_param.unwrap_or_default().negative_slope();
    let x = s.x(0);
    if slope == 0.0 {
        clipped(s, &x, 0.0, 6.0);
        return Ok(());
    }
    // Cut above first: with a negative slope what is below may rise above 6, and stays.
    let six = s.scalar("max", 6.0);
    let cut = s.op("Clip", &[&x, "", &six], Vec::new());
    s.last("LeakyRelu", &[&cut], vec![float("alpha", slope)]);
    Ok(())
}

pub(super) fn clip(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().clip_param.unwrap_or_default();
    let x = s.x(0);
    clipped(s, &x, p.min, p.max);
    Ok(())
}

fn clipped(s: &mut Site<'_, '_>, x: &str, low: f32, high: f32) {
    let (low, high) = (s.scalar("min", low), s.scalar("max", high));
    s.last("Clip", &[x, &low, &high], Vec::new());
}

pub(super) fn elu(s: &mut Site<'_, '_>) -> Result<()> {
    let alpha = s.param().elu_param.unwrap_or_default().alpha();
    let x = s.x(0);
    s.last("Elu", &[&x], vec![float("alpha", alpha)]);
    Ok(())
}

pub(super) fn prelu(s: &mut Site<'_, '_>) -> Result<()> {
    let x = s.x(0);
    let dims = s.bottom(0).dims();
    let slope = if s.values(0).len() == 1 {
        s.blob_as(0, &[1])
    } else {
        let mut shape = vec![1; dims.len() - 1];
        shape[0] = dims[1];
        s.blob_as(0, &shape)
    };
    s.last("PRelu", &[&x, &slope], Vec::new());
    Ok(())
}

pub(super) fn swish(s: &mut Site<'_, '_>) -> Result<()> {
    let beta = s.param().swish_param.unwrap_or_default().beta();
    let x = s.x(0);
    let inner = times(s, &x, beta);
    let gate = s.op("Sigmoid", &[&inner], Vec::new());
    s.last("Mul", &[&x, &gate], Vec::new());
    Ok(())
}

pub(super) fn mish(s: &mut Site<'_, '_>) -> Result<()> {
    let x = s.x(0);
    let soft = s.op("Softplus", &[&x], Vec::new());
    let gate = s.op("Tanh", &[&soft], Vec::new());
    s.last("Mul", &[&x, &gate], Vec::new());
    Ok(())
}

pub(super) fn threshold(s: &mut Site<'_, '_>) -> Result<()> {
    let level = s.param().threshold_param.unwrap_or_default().threshold();
    let x = s.x(0);
    let level = s.scalar("threshold", level);
    let above = s.op("Greater", &[&x, &level], Vec::new());
    s.last("Cast", &[&above], vec![int("to", FLOAT)]);
    Ok(())
}

/// `x` by a number; itself by 1.
pub(super) fn times(s: &mut Site<'_, '_>, x: &str, by: f32) -> String {
    if by == 1.0 {
        return x.to_owned();
    }
    let by = s.scalar("factor", by);
    s.op("Mul", &[x, &by], Vec::new())
}

/// `x` and a number; itself for 0.
pub(super) fn plus(s: &mut Site<'_, '_>, x: &str, shift: f32) -> String {
    if shift == 0.0 {
        return x.to_owned();
    }
    let shift = s.scalar("shift", shift);
    s.op("Add", &[x, &shift], Vec::new())
}

/// The last step: `x` by a number.
fn end_times(s: &mut Site<'_, '_>, x: &str, by: f32) {
    if by == 1.0 {
        return s.last("Identity", &[x], Vec::new());
    }
    let by = s.scalar("factor", by);
    s.last("Mul", &[x, &by], Vec::new());
}

pub(super) fn power(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().power_param.unwrap_or_default();
    let (power, scale, shift) = (p.power(), p.scale(), p.shift());
    let x = s.x(0);
    if power != 1.0 {
        let x = times(s, &x, scale);
        let x = plus(s, &x, shift);
        let power = s.scalar("power", power);
        s.last("Pow", &[&x, &power], Vec::new());
    } else if shift == 0.0 {
        end_times(s, &x, scale);
    } else {
        let x = times(s, &x, scale);
        let shift = s.scalar("shift", shift);
        s.last("Add", &[&x, &shift], Vec::new());
    }
    Ok(())
}

/// The natural logarithm of a base, 1 for -1.
fn ln(base: f32) -> f32 {
    if base == -1.0 { 1.0 } else { base.ln() }
}

pub(super) fn exp(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().exp_param.unwrap_or_default();
    let ln = ln(p.base());
    let outer = (f64::from(ln) * f64::from(p.shift())).exp() as f32;
    let x = s.x(0);
    let x = times(s, &x, ln * p.scale());
    if outer == 1.0 {
        s.last("Exp", &[&x], Vec::new());
    } else {
        let x = s.op("Exp", &[&x], Vec::new());
        end_times(s, &x, outer);
    }
    Ok(())
}

pub(super) fn log(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().log_param.unwrap_or_default();
    let by = 1.0 / ln(p.base());
    let x = s.x(0);
    let x = times(s, &x, p.scale());
    let x = plus(s, &x, p.shift());
    if by == 1.0 {
        s.last("Log", &[&x], Vec::new());
    } else {
        let x = s.op("Log", &[&x], Vec::new());
        end_times(s, &x, by);
    }
    Ok(())
}

/// The extents in which a small blob meets a large one from an axis on: those of 1 behind stretch.
fn meeting(large: &Shape, small: &Shape, axis: i32) -> Result<Vec<usize>> {
    if small.axes() == 0 {
        return Ok(Vec::new());
    }
    let start = large.axis(axis)?;
    let mut dims = small.dims().to_vec();
    dims.resize(large.axes() - start, 1);
    Ok(dims)
}

/// What a layer multiplies by or adds: its second bottom, or a parameter.
fn operand(s: &mut Site<'_, '_>, blob: usize, axis: i32, bottom: bool) -> Result<String> {
    let large = s.bottom(0);
    if bottom {
        let small = s.bottom(1);
        let dims = meeting(large, small, axis)?;
        let x = s.x(1);
        // A copied first extent would be that of another axis.
        if dims == small.dims() {
            return Ok(x);
        }
        let shape = s.extents("shape", &dims);
        return Ok(s.op("Reshape", &[&x, &shape], Vec::new()));
    }
    let small = match s.node.params.get(blob) {
        Some(&id) => s.emit.params[id].value.shape.clone(),
        None => Shape::default(),
    };
    let dims = meeting(large, &small, axis)?;
    Ok(s.blob_as(blob, &dims))
}

pub(super) fn scale(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().scale_param.clone().unwrap_or_default();
    let two = s.node.bottoms.len() > 1;
    let x = s.x(0);
    let by = operand(s, 0, p.axis(), two)?;
    if !p.bias_term() {
        s.last("Mul", &[&x, &by], Vec::new());
        return Ok(());
    }
    let y = s.op("Mul", &[&x, &by], Vec::new());
    let bias = usize::from(!two);
    // The bias has the shape of the factors, also where these are a bottom.
    let shift = operand(s, bias, p.axis(), false)?;
    s.last("Add", &[&y, &shift], Vec::new());
    Ok(())
}

pub(super) fn bias(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().bias_param.clone().unwrap_or_default();
    let two = s.node.bottoms.len() > 1;
    let x = s.x(0);
    let shift = operand(s, 0, p.axis(), two)?;
    s.last("Add", &[&x, &shift], Vec::new());
    Ok(())
}
