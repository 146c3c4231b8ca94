//! Layers that normalize.

use super::{
    super::proto::{float, int, ints},
    activation::{plus, times},
    emit::Site,
};
use crate::{error::Result, schema::lrn_parameter::NormRegion};

pub(super) fn batch_norm(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().batch_norm_param.unwrap_or_default();
    let x = s.x(0);
    if p.use_global_stats == Some(false) {
        of_batch(s, &x, p.eps());
        return Ok(());
    }
    let factor = s.values(2).first().copied().unwrap_or(0.0);
    let by = if factor == 0.0 { 0.0 } else { 1.0 / factor };
    let moments =
        |s: &Site<'_, '_>, i: usize| -> Vec<f32> { s.values(i).iter().map(|x| by * x).collect() };
    let (mean, variance) = (moments(s, 0), moments(s, 1));
    if s.bottom(0).axes() < 2 {
        let inverse: Vec<f32> = variance
            .iter()
            .map(|v| 1.0 / (v + p.eps()).sqrt())
            .collect();
        let mean = s.floats("mean", &[1], &mean);
        let x = s.op("Sub", &[&x, &mean], Vec::new());
        let by = s.floats("factor", &[1], &inverse);
        s.last("Mul", &[&x, &by], Vec::new());
        return Ok(());
    }
    let channels = mean.len();
    let scale = s.floats("scale", &[channels], &vec![1.0; channels]);
    let shift = s.floats("shift", &[channels], &vec![0.0; channels]);
    let mean = s.floats("mean", &[channels], &mean);
    let variance = s.floats("variance", &[channels], &variance);
    s.last(
        "BatchNormalization",
        &[&x, &scale, &shift, &mean, &variance],
        vec![float("epsilon", p.eps())],
    );
    Ok(())
}

/// (x - μ) / √(v + ε) with the moments of the batch, by channel.
fn of_batch(s: &mut Site<'_, '_>, x: &str, eps: f32) {
    let axes = s.bottom(0).axes();
    let over: Vec<usize> = (0..axes).filter(|&a| a != 1 || axes < 2).collect();
    let (centred, variance) = moments(s, x, &over);
    let sum = plus(s, &variance, eps);
    let deviation = s.op("Sqrt", &[&sum], Vec::new());
    s.last("Div", &[&centred, &deviation], Vec::new());
}

/// x less its mean over some axes, and its variance.
fn moments(s: &mut Site<'_, '_>, x: &str, over: &[usize]) -> (String, String) {
    let mean = |s: &mut Site<'_, '_>, x: &str| {
        let attributes = vec![ints("axes", over.iter().copied()), int("keepdims", 1)];
        s.op("ReduceMean", &[x], attributes)
    };
    let centre = mean(s, x);
    let centred = s.op("Sub", &[x, &centre], Vec::new());
    let square = s.op("Mul", &[&centred, &centred], Vec::new());
    let variance = mean(s, &square);
    (centred, variance)
}

pub(super) fn bn(s: &mut Site<'_, '_>) -> Result<()> {
    let x = s.x(0);
    let mut channel = vec![1; s.bottom(0).axes() - 1];
    channel[0] = s.bottom(0).dims()[1];
    let layer = s.layer()?;
    if layer.tail().is_some()
        && let Some(map) = layer.affine(&s.own_params())
    {
        let by = s.floats("scale", &channel, &map.scale);
        let x = s.op("Mul", &[&x, &by], Vec::new());
        let shift = s.floats("shift", &channel, &map.shift);
        s.last("Add", &[&x, &shift], Vec::new());
        return Ok(());
    }
    // With moments of the batch: SegNet's, or ParseNet's where its own fields say so.
    let p = s.param().bn_param.clone().unwrap_or_default();
    let parse = p.var_eps.is_some() || p.decay.is_some() || p.moving_average.is_some();
    let eps = if parse { p.var_eps() } else { 1e-9 };
    let axes = s.bottom(0).axes();
    let over: Vec<usize> = (0..axes).filter(|&a| a != 1).collect();
    let (centred, variance) = moments(s, &x, &over);
    let sum = plus(s, &variance, eps);
    let deviation = s.op("Sqrt", &[&sum], Vec::new());
    let normal = s.op("Div", &[&centred, &deviation], Vec::new());
    let by = s.blob_as(0, &channel);
    let scaled = s.op("Mul", &[&normal, &by], Vec::new());
    let shift = s.blob_as(1, &channel);
    s.last("Add", &[&scaled, &shift], Vec::new());
    Ok(())
}

pub(super) fn lrn(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().lrn_param.unwrap_or_default();
    let x = s.x(0);
    let size = p.local_size() as usize;
    if p.norm_region() == NormRegion::AcrossChannels {
        let attributes = vec![
            int("size", size as i64),
            float("alpha", p.alpha()),
            float("beta", p.beta()),
            float("bias", p.k()),
        ];
        s.last("LRN", &[&x], attributes);
        return Ok(());
    }
    let square = s.op("Mul", &[&x, &x], Vec::new());
    let pad = (size - 1) / 2;
    let mean = s.op(
        "AveragePool",
        &[&square],
        vec![
            ints("kernel_shape", [size; 2]),
            ints("pads", [pad; 4]),
            int("count_include_pad", 1),
        ],
    );
    let sum = times(s, &mean, p.alpha());
    let sum = plus(s, &sum, 1.0);
    let power = s.scalar("power", -p.beta());
    let by = s.op("Pow", &[&sum, &power], Vec::new());
    s.last("Mul", &[&x, &by], Vec::new());
    Ok(())
}

pub(super) fn mvn(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().mvn_param.unwrap_or_default();
    let dims = s.bottom(0).dims();
    let x = s.x(0);
    // A blob of fewer axes has ones behind them here, as it has in the top.
    let x = s.reshaped(&x, dims, s.top(0).dims());
    // A blob of one axis is a value for each item.
    let first = if p.across_channels() || dims.len() < 2 {
        1
    } else {
        2
    };
    let over: Vec<usize> = (first..s.top(0).axes()).collect();
    if !p.normalize_variance() {
        let attributes = vec![ints("axes", over), int("keepdims", 1)];
        let mean = s.op("ReduceMean", &[&x], attributes);
        s.last("Sub", &[&x, &mean], Vec::new());
        return Ok(());
    }
    let (centred, variance) = moments(s, &x, &over);
    let deviation = s.op("Sqrt", &[&variance], Vec::new());
    let sum = plus(s, &deviation, p.eps());
    s.last("Div", &[&centred, &sum], Vec::new());
    Ok(())
}

pub(super) fn normalize(s: &mut Site<'_, '_>) -> Result<()> {
    let (ssd, face) = (
        s.param().norm_param.clone(),
        s.param().normalize_param.clone(),
    );
    let two = s.node.tops.len() > 1;
    let of_faces = face.is_some() || two;
    let ssd = ssd.unwrap_or_default();
    let x = s.x(0);
    let dims = s.bottom(0).dims();
    let across = !of_faces && ssd.across_spatial();
    let over: Vec<i64> = if across {
        (1..dims.len() as i64).collect()
    } else {
        vec![1]
    };
    let length = |s: &mut Site<'_, '_>, of: &str| {
        let over = s.list("axes", &over);
        s.op("ReduceSum", &[of, &over], vec![int("keepdims", 1)])
    };
    let m = if face.is_some_and(|f| f.normalize_type() == "L1") {
        let abs = s.op("Abs", &[&x], Vec::new());
        let sum = length(s, &abs);
        plus(s, &sum, 1e-6)
    } else {
        let square = s.op("Mul", &[&x, &x], Vec::new());
        let sum = length(s, &square);
        let sum = plus(s, &sum, if of_faces { 1e-6 } else { ssd.eps() });
        s.op("Sqrt", &[&sum], Vec::new())
    };
    if two {
        s.end("Identity", &[&m], 1, Vec::new());
    }
    if of_faces {
        s.last("Div", &[&x, &m], Vec::new());
        return Ok(());
    }
    let unit = s.op("Div", &[&x, &m], Vec::new());
    let shape = match s.values(0).len() {
        1 => Vec::new(),
        n => {
            let mut shape = vec![1; dims.len() - 1];
            shape[0] = n;
            shape
        }
    };
    let by = s.blob_as(0, &shape);
    s.last("Mul", &[&unit, &by], Vec::new());
    Ok(())
}
