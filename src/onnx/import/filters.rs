//! Operators with weights.

use super::{
    super::proto::{AttributeProto, NodeProto},
    pointwise::combine,
    reader::{Op, Reader, layer},
};
use crate::{
    error::Result,
    schema::{
        BatchNormParameter, ConvolutionParameter, FlattenParameter, InnerProductParameter,
        LayerParameter, LrnParameter, ParamSpec, ScaleParameter,
    },
    tensor::{Shape, Tensor},
};

/// The padding of an axis, before and behind.
pub(super) type Pads = Vec<(usize, usize)>;

/// The padding that an operator with windows is told, for these extents.
pub(super) fn pads(
    op: &Op<'_>,
    input: &[usize],
    kernel: &[usize],
    stride: &[usize],
    dilation: &[usize],
) -> Result<Pads> {
    let n = input.len();
    let own = op.extents("pads")?;
    match op.text("auto_pad", "NOTSET").as_str() {
        "NOTSET" if own.is_empty() => Ok(vec![(0, 0); n]),
        "NOTSET" if own.len() == 2 * n => Ok((0..n).map(|i| (own[i], own[n + i])).collect()),
        "NOTSET" => Err(op.refuse(&format!("'pads' has {} values for {n} axes", own.len()))),
        "VALID" => Ok(vec![(0, 0); n]),
        same @ ("SAME_UPPER" | "SAME_LOWER") => Ok((0..n)
            .map(|i| {
                let output = input[i].div_ceil(stride[i]);
                let taps = dilation[i] * kernel[i].saturating_sub(1);
                let reach = output.saturating_sub(1) * stride[i] + taps + 1;
                let all = reach.saturating_sub(input[i]);
                let (less, more) = (all / 2, all - all / 2);
                if same == "SAME_UPPER" {
                    (less, more)
                } else {
                    (more, less)
                }
            })
            .collect()),
        other => Err(op.refuse(&format!("auto_pad is '{other}'"))),
    }
}

/// A size for each axis of an attribute, 1 where it is not there.
pub(super) fn sizes(op: &Op<'_>, name: &str, axes: usize) -> Result<Vec<usize>> {
    let own = op.extents(name)?;
    match own.len() {
        0 => Ok(vec![1; axes]),
        n if n == axes && !own.contains(&0) => Ok(own),
        _ => Err(op.refuse(&format!("'{name}' is {own:?} for {axes} axes"))),
    }
}

fn told(sizes: &[usize], default: usize) -> Vec<u32> {
    if sizes.iter().all(|&s| s == default) {
        return Vec::new();
    }
    let all = sizes.iter().map(|&s| s as u32);
    match sizes {
        [first, rest @ ..] if rest.iter().all(|r| r == first) => all.take(1).collect(),
        _ => all.collect(),
    }
}

/// Weights and a bias as tensors.
fn weights(op: &Op<'_>, reader: &Reader<'_>, with_bias: bool) -> Result<(Tensor, Option<Tensor>)> {
    let w = op.needs(reader, 1, "its weights")?;
    let w = Tensor::new(Shape::checked(&w.dims)?, w.floats())?;
    let bias = match op.input(2).filter(|_| with_bias) {
        None => None,
        Some(_) => {
            let b = op.needs(reader, 2, "its biases")?.floats();
            Some(Tensor::new(Shape::checked(&[b.len()])?, b)?)
        }
    };
    Ok((w, bias))
}

pub(super) fn conv(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&[
        "auto_pad",
        "dilations",
        "group",
        "kernel_shape",
        "pads",
        "strides",
    ])?;
    let x = op.x(reader, 0)?;
    let shape = reader.shape(&x);
    let (mut w, bias) = weights(op, reader, true)?;
    let axes = shape.axes().saturating_sub(2);
    if axes == 0 || w.shape.axes() != axes + 2 || w.shape.count() == 0 {
        return Err(op.refuse(&format!(
            "its input has shape {shape}, its weights {}",
            w.shape
        )));
    }
    let kernel = w.shape.dims()[2..].to_vec();
    let stride = sizes(op, "strides", axes)?;
    let dilation = sizes(op, "dilations", axes)?;
    let pads = pads(op, &shape.dims()[2..], &kernel, &stride, &dilation)?;
    // Caffe pads both sides alike: taps of 0 stand where ONNX does not pad.
    let mut pad = Vec::new();
    let mut more = Vec::new();
    for (i, &(before, behind)) in pads.iter().enumerate() {
        let largest = before.max(behind);
        let (front, back) = (largest - before, largest - behind);
        if front % dilation[i] != 0 || back % dilation[i] != 0 {
            return Err(op.refuse("its padding differs by less than its dilation"));
        }
        pad.push(largest);
        more.push((front / dilation[i], back / dilation[i]));
    }
    if more.iter().any(|&m| m != (0, 0)) {
        w = widened(&w, &more)?;
        reader.notes.push(format!(
            "'{}' pads its sides differently; its kernel has got taps of 0 instead",
            op.name
        ));
    }
    let param = ConvolutionParameter {
        num_output: Some(w.shape.dims()[0] as u32),
        bias_term: bias.is_none().then_some(false),
        kernel_size: told(&w.shape.dims()[2..], 0),
        stride: told(&stride, 1),
        pad: told(&pad, 0),
        dilation: told(&dilation, 1),
        group: group(op)?,
        ..ConvolutionParameter::default()
    };
    let param = LayerParameter {
        convolution_param: Some(param),
        ..layer("Convolution")
    };
    let blobs = std::iter::once(w).chain(bias).collect();
    reader.one(&op.name, param, &x, &op.y()?, blobs)
}

fn group(op: &Op<'_>) -> Result<Option<u32>> {
    let group = op.int("group", 1);
    let wrong = |_| op.refuse(&format!("its group is {group}"));
    let group = u32::try_from(group).map_err(wrong)?;
    Ok((group != 1).then_some(group))
}

/// Weights with so many more taps of 0 before and behind, along each axis.
fn widened(w: &Tensor, more: &[(usize, usize)]) -> Result<Tensor> {
    let from = &w.shape.dims()[2..];
    let to: Vec<usize> = from
        .iter()
        .zip(more)
        .map(|(n, (front, back))| n + front + back)
        .collect();
    let shape = Shape::checked(&[&w.shape.dims()[..2], &to].concat())?;
    let mut wide = Tensor::zeros(shape);
    let (small, large): (usize, usize) = (from.iter().product(), to.iter().product());
    let filters = w.data.chunks_exact(small.max(1));
    for (from_filter, to_filter) in filters.zip(wide.data.chunks_exact_mut(large.max(1))) {
        for (i, &x) in from_filter.iter().enumerate() {
            let (mut rest, mut at, mut step) = (i, 0, 1);
            for ((n, m), (front, _)) in from.iter().zip(&to).zip(more).rev() {
                at += (rest % n + front) * step;
                rest /= n;
                step *= m;
            }
            to_filter[at] = x;
        }
    }
    Ok(wide)
}

pub(super) fn conv_transpose(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&[
        "auto_pad",
        "dilations",
        "group",
        "kernel_shape",
        "output_padding",
        "pads",
        "strides",
    ])?;
    let x = op.x(reader, 0)?;
    let shape = reader.shape(&x);
    let (w, bias) = weights(op, reader, true)?;
    let axes = shape.axes().saturating_sub(2);
    if axes == 0 || w.shape.axes() != axes + 2 {
        return Err(op.refuse(&format!(
            "its input has shape {shape}, its weights {}",
            w.shape
        )));
    }
    if op.ints("output_padding").iter().any(|&p| p != 0) || op.has("auto_pad") {
        return Err(op.refuse("its top is larger than Caffe makes it"));
    }
    let kernel = w.shape.dims()[2..].to_vec();
    let stride = sizes(op, "strides", axes)?;
    let dilation = sizes(op, "dilations", axes)?;
    let pads = pads(op, &shape.dims()[2..], &kernel, &stride, &dilation)?;
    if pads.iter().any(|(before, behind)| before != behind) {
        return Err(op.refuse("Caffe crops both sides alike"));
    }
    let pad: Vec<usize> = pads.iter().map(|p| p.0).collect();
    let group = group(op)?;
    let outputs = w.shape.dims()[1] * group.unwrap_or(1) as usize;
    let param = ConvolutionParameter {
        num_output: Some(outputs as u32),
        bias_term: bias.is_none().then_some(false),
        kernel_size: told(&kernel, 0),
        stride: told(&stride, 1),
        pad: told(&pad, 0),
        dilation: told(&dilation, 1),
        group,
        ..ConvolutionParameter::default()
    };
    let param = LayerParameter {
        convolution_param: Some(param),
        ..layer("Deconvolution")
    };
    let blobs = std::iter::once(w).chain(bias).collect();
    reader.one(&op.name, param, &x, &op.y()?, blobs)
}

pub(super) fn gemm(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["alpha", "beta", "transA", "transB"])?;
    let x = op.x(reader, 0)?;
    let (alpha, beta) = (op.float("alpha", 1.0), op.float("beta", 1.0));
    if op.int("transA", 0) != 0 {
        return Err(op.refuse("it turns its first factor"));
    }
    // What is added may be computed, too.
    let added = match op.input(2) {
        Some(_) if op.constant(reader, 2).is_none() => Some(op.x(reader, 2)?),
        _ => None,
    };
    let (mut w, bias) = weights(op, reader, added.is_none())?;
    if w.shape.axes() != 2 || reader.shape(&x).axes() != 2 {
        return Err(op.refuse("its factors are no matrices"));
    }
    if added.is_some() && beta != 1.0 {
        return Err(op.refuse("it scales what it adds"));
    }
    let transpose = op.int("transB", 0) == 0;
    let outputs = w.shape.dims()[usize::from(transpose)];
    w.data.iter_mut().for_each(|w| *w *= alpha);
    // One bias may serve all.
    let bias = match bias {
        Some(b) if b.data.len() == 1 => Some(vec![b.data[0]; outputs]),
        other => other.map(|b| b.data),
    };
    let bias = match bias {
        Some(data) => Some(Tensor::new(
            [data.len()],
            data.iter().map(|b| beta * b).collect(),
        )?),
        None => None,
    };
    let param = InnerProductParameter {
        num_output: Some(outputs as u32),
        bias_term: bias.is_none().then_some(false),
        transpose: transpose.then_some(true),
        ..InnerProductParameter::default()
    };
    let param = LayerParameter {
        inner_product_param: Some(param),
        param: shared(reader, op, bias.is_some()),
        ..layer("InnerProduct")
    };
    let blobs = std::iter::once(w).chain(bias).collect();
    if let Some(added) = added {
        let product = reader.step(op, "product", param, &[x], blobs)?;
        return combine(reader, op, "Add", [product, added]);
    }
    // The layer takes all axes behind the first as one itself.
    let flat = reader.last_for(&x).filter(|last| {
        last.r#type() == "Flatten" && last.flatten_param == Some(FlattenParameter::default())
    });
    let x = match flat.map(|last| last.bottom.clone()) {
        Some(bottom) => {
            reader.take_back();
            bottom.into_iter().next().unwrap_or_default()
        }
        None => x,
    };
    reader.one(&op.name, param, &x, &op.y()?, blobs)
}

/// Names for weights that several nodes read as they are, so that the layers have them together.
fn shared(reader: &Reader<'_>, op: &Op<'_>, bias: bool) -> Vec<ParamSpec> {
    let plain = |n: &&NodeProto| {
        let told = |a: &AttributeProto| match a.name() {
            "transB" => a.i() == 1,
            "alpha" | "beta" => a.f() == 1.0,
            _ => false,
        };
        n.op_type() == "Gemm" && n.attribute.iter().all(told) && !n.attribute.is_empty()
    };
    let inputs = if bias { 1..3 } else { 1..2 };
    let names: Vec<&str> = inputs.filter_map(|i| op.input(i)).collect();
    let same = |name: &&str| {
        let users = reader.graph.node.iter();
        users
            .filter(|n| n.input.iter().any(|i| i == name))
            .filter(plain)
            .count()
            > 1
    };
    if !plain(&op.node) || !names.iter().all(same) {
        return Vec::new();
    }
    let named = |name: &str| ParamSpec {
        name: Some(name.to_owned()),
        ..ParamSpec::default()
    };
    names.into_iter().map(named).collect()
}

pub(super) fn mat_mul(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&[])?;
    let x = op.x(reader, 0)?;
    let (w, _) = weights(op, reader, true)?;
    let &[_, outputs] = w.shape.dims() else {
        return Err(op.refuse("its second factor is no matrix"));
    };
    let param = InnerProductParameter {
        num_output: Some(outputs as u32),
        bias_term: Some(false),
        axis: (reader.shape(&x).axes() != 2).then_some(-1),
        transpose: Some(true),
        ..InnerProductParameter::default()
    };
    let param = LayerParameter {
        inner_product_param: Some(param),
        ..layer("InnerProduct")
    };
    reader.one(&op.name, param, &x, &op.y()?, vec![w])
}

pub(super) fn batch_normalization(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["epsilon", "momentum", "spatial", "training_mode"])?;
    if op.int("training_mode", 0) != 0 || op.int("spatial", 1) != 1 {
        return Err(op.refuse("it takes the moments of its batch"));
    }
    let x = op.x(reader, 0)?;
    let read = |i: usize, what: &str| -> Result<Tensor> {
        let data = op.needs(reader, i, what)?.floats();
        Tensor::new(Shape::checked(&[data.len()])?, data)
    };
    let (scale, shift) = (read(1, "its factors")?, read(2, "its shifts")?);
    let (mean, variance) = (read(3, "its means")?, read(4, "its variances")?);
    let param = LayerParameter {
        batch_norm_param: Some(BatchNormParameter {
            eps: Some(op.float("epsilon", 1e-5)),
            ..BatchNormParameter::default()
        }),
        ..layer("BatchNorm")
    };
    let blobs = vec![mean, variance, Tensor::new([1], vec![1.0])?];
    let plain = scale.data.iter().all(|&s| s == 1.0) && shift.data.iter().all(|&b| b == 0.0);
    if plain {
        return reader.one(&op.name, param, &x, &op.y()?, blobs);
    }
    let normal = reader.step(op, "normal", param, &[x], blobs)?;
    let param = LayerParameter {
        scale_param: Some(ScaleParameter {
            bias_term: Some(true),
            ..ScaleParameter::default()
        }),
        ..layer("Scale")
    };
    reader.one(&op.name, param, &normal, &op.y()?, vec![scale, shift])
}

pub(super) fn lrn(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["alpha", "beta", "bias", "size"])?;
    let size = op.int("size", 1);
    if size % 2 == 0 {
        return Err(op.refuse(&format!("a neighbourhood of {size} has no middle")));
    }
    let param = LayerParameter {
        lrn_param: Some(LrnParameter {
            local_size: Some(u32::try_from(size).unwrap_or(0)),
            alpha: Some(op.float("alpha", 1e-4)),
            beta: Some(op.float("beta", 0.75)),
            k: Some(op.float("bias", 1.0)),
            ..LrnParameter::default()
        }),
        ..layer("LRN")
    };
    let x = op.x(reader, 0)?;
    reader.one(&op.name, param, &x, &op.y()?, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_of_zero_stand_where_they_are_asked_for() {
        // 1 2      0 1 2
        // 3 4  ->  0 3 4
        //          0 0 0
        let w = Tensor::new([1, 1, 2, 2], vec![1., 2., 3., 4.]).unwrap();
        let wide = widened(&w, &[(0, 1), (1, 0)]).unwrap();
        assert_eq!(wide.shape, Shape::from([1, 1, 3, 3]));
        assert_eq!(wide.data, [0., 1., 2., 0., 3., 4., 0., 0., 0.]);
    }

    #[test]
    fn sizes_are_told_as_shortly_as_they_can() {
        assert!(told(&[1, 1], 1).is_empty());
        assert_eq!(told(&[3, 3], 1), [3]);
        assert_eq!(told(&[3, 1], 1), [3, 1]);
    }
}
