//! Products, and layers that move values about.

use super::{
    super::proto::{int, ints},
    activation::{FLOAT, INT64, times},
    emit::Site,
};
use crate::{
    error::Result,
    graph::Node,
    layer::Tail,
    schema::{eltwise_parameter::EltwiseOp, reduction_parameter::ReductionOp},
};

/// Whether the tops of a node are its bottom.
pub(super) fn is_pass(node: &Node) -> bool {
    match node.kind.name {
        "Split" => true,
        "Dropout" | "SpatialDropout" => {
            let layer = (node.kind.build)(&node.def);
            layer.is_ok_and(|layer| matches!(layer.tail(), Some(Tail::Identity)))
        }
        _ => false,
    }
}

pub(super) fn pass(s: &mut Site<'_, '_>) -> Result<()> {
    if is_pass(s.node) {
        for top in 0..s.node.tops.len() {
            s.pass(0, top);
        }
        return Ok(());
    }
    // A Python layer has a phase of its own: in TEST it scales, in TRAIN it drops.
    let made = s.computed(1.0)?;
    let values = made.first().map_or(&[][..], |top| &top.data);
    let Some(&by) = values.first() else {
        return Ok(());
    };
    if values.iter().any(|&v| v != by) {
        return Err(s.refuse("it drops at random, as its param_str asks for"));
    }
    let x = s.x(0);
    let by = s.scalar("factor", by);
    s.last("Mul", &[&x, &by], Vec::new());
    Ok(())
}

pub(super) fn nothing(_: &mut Site<'_, '_>) -> Result<()> {
    Ok(())
}

/// A reshape of any kind: only the shapes count.
pub(super) fn flatten(s: &mut Site<'_, '_>) -> Result<()> {
    let x = s.x(0);
    let (from, to) = (s.bottom(0).dims(), s.top(0).dims());
    let one_row = [
        from.first().copied().unwrap_or(1),
        from.iter().skip(1).product(),
    ];
    if to == one_row && from.len() > 1 {
        s.last("Flatten", &[&x], vec![int("axis", 1)]);
    } else {
        s.end_reshaped(&x, from, 0);
    }
    Ok(())
}

pub(super) fn parameter(s: &mut Site<'_, '_>) -> Result<()> {
    let w = s.blob(0);
    s.last("Identity", &[&w], Vec::new());
    Ok(())
}

pub(super) fn inner_product(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().inner_product_param.clone().unwrap_or_default();
    let x_shape = s.bottom(0);
    let axis = x_shape.axis(p.axis())?;
    let x = s.x(0);
    let rows = x_shape.count_range(0, axis);
    let flat = [rows, x_shape.count_from(axis)];
    let x = if x_shape.dims() == flat {
        x
    } else {
        s.op("Flatten", &[&x], vec![int("axis", axis as i64)])
    };
    let weights = s.blob(0);
    let mut inputs = vec![x, weights];
    if s.blobs() > 1 {
        inputs.push(s.blob(1));
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let attributes = vec![int("transB", i64::from(!p.transpose()))];
    let outputs = p.num_output() as usize;
    if s.top(0).dims() == [rows, outputs] {
        s.last("Gemm", &inputs, attributes);
    } else {
        let y = s.op("Gemm", &inputs, attributes);
        s.end_reshaped(&y, &[rows, outputs], 0);
    }
    Ok(())
}

pub(super) fn embed(s: &mut Site<'_, '_>) -> Result<()> {
    let x = s.x(0);
    let index = s.cast(&x, INT64);
    let weights = s.blob(0);
    if s.blobs() > 1 {
        let y = s.op("Gather", &[&weights, &index], vec![int("axis", 0)]);
        let bias = s.blob(1);
        s.last("Add", &[&y, &bias], Vec::new());
    } else {
        s.last("Gather", &[&weights, &index], vec![int("axis", 0)]);
    }
    Ok(())
}

pub(super) fn softmax(s: &mut Site<'_, '_>) -> Result<()> {
    let axis = s.param().softmax_param.as_ref().map_or(1, |p| p.axis());
    let axis = s.bottom(0).axis(axis)?;
    let x = s.x(0);
    s.last("Softmax", &[&x], vec![int("axis", axis as i64)]);
    Ok(())
}

pub(super) fn concat(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().concat_param.unwrap_or_default();
    let axis = match p.concat_dim {
        Some(dim) => dim as usize,
        None => s.bottom(0).axis(p.axis())?,
    };
    let inputs: Vec<String> = (0..s.node.bottoms.len()).map(|i| s.x(i)).collect();
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    s.last("Concat", &inputs, vec![int("axis", axis as i64)]);
    Ok(())
}

pub(super) fn slice(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().slice_param.clone().unwrap_or_default();
    let axis = match p.slice_dim {
        Some(dim) => dim as usize,
        None => s.bottom(0).axis(p.axis())?,
    };
    let x = s.x(0);
    if s.node.tops.len() == 1 {
        s.last("Identity", &[&x], Vec::new());
        return Ok(());
    }
    let sizes: Vec<usize> = (0..s.node.tops.len())
        .map(|i| s.top(i).dims()[axis])
        .collect();
    let sizes = s.extents("sizes", &sizes);
    s.end_all("Split", &[&x, &sizes], vec![int("axis", axis as i64)]);
    Ok(())
}

pub(super) fn eltwise(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().eltwise_param.clone().unwrap_or_default();
    let mut inputs: Vec<String> = (0..s.node.bottoms.len()).map(|i| s.x(i)).collect();
    match p.operation() {
        EltwiseOp::Prod => {
            let (first, rest) = (inputs.remove(0), inputs);
            let mut product = first;
            for (i, x) in rest.iter().enumerate() {
                if i + 1 == rest.len() {
                    s.last("Mul", &[&product, x], Vec::new());
                } else {
                    product = s.op("Mul", &[&product, x], Vec::new());
                }
            }
        }
        EltwiseOp::Sum => {
            for (x, &by) in inputs.iter_mut().zip(&p.coeff) {
                *x = times(s, x, by);
            }
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            let op = if inputs.len() == 2 { "Add" } else { "Sum" };
            s.last(op, &inputs, Vec::new());
        }
        EltwiseOp::Max => {
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            s.last("Max", &inputs, Vec::new());
        }
    }
    Ok(())
}

pub(super) fn axpy(s: &mut Site<'_, '_>) -> Result<()> {
    let (a, x, b) = (s.x(0), s.x(1), s.x(2));
    let (from, like) = (s.bottom(0).dims(), s.bottom(1).dims());
    let mut to = from[..2].to_vec();
    to.resize(like.len(), 1);
    let a = s.reshaped(&a, from, &to);
    let scaled = s.op("Mul", &[&a, &x], Vec::new());
    s.last("Add", &[&scaled, &b], Vec::new());
    Ok(())
}

pub(super) fn batch_reindex(s: &mut Site<'_, '_>) -> Result<()> {
    let (x, index) = (s.x(0), s.x(1));
    let index = s.cast(&index, INT64);
    s.last("Gather", &[&x, &index], vec![int("axis", 0)]);
    Ok(())
}

pub(super) fn permute(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().permute_param.clone().unwrap_or_default();
    let mut order: Vec<usize> = p.order.iter().map(|&a| a as usize).collect();
    order.extend((0..s.bottom(0).axes()).filter(|a| !p.order.contains(&(*a as u32))));
    let x = s.x(0);
    s.last("Transpose", &[&x], vec![ints("perm", order)]);
    Ok(())
}

/// `x` seen with other extents, its axes in another order, seen as the top.
fn moved(s: &mut Site<'_, '_>, seen: &[usize], order: &[usize], top: &[usize]) {
    let x = s.x(0);
    let from = s.bottom(0).dims();
    let x = s.reshaped(&x, from, seen);
    let y = s.op(
        "Transpose",
        &[&x],
        vec![ints("perm", order.iter().copied())],
    );
    let turned: Vec<usize> = order.iter().map(|&a| seen[a]).collect();
    if turned == top {
        s.last("Identity", &[&y], Vec::new());
    } else {
        s.end_reshaped(&y, &turned, 0);
    }
}

pub(super) fn shuffle_channel(s: &mut Site<'_, '_>) -> Result<()> {
    let groups = s.param().shuffle_channel_param.unwrap_or_default().group() as usize;
    let shape = s.bottom(0);
    let dims = shape.dims();
    let plane = shape.count_from(2);
    moved(
        s,
        &[dims[0], groups, dims[1] / groups, plane],
        &[0, 2, 1, 3],
        dims,
    );
    Ok(())
}

pub(super) fn reorg(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().reorg_param.unwrap_or_default();
    let stride = p.stride.unwrap_or(1) as usize;
    let [n, c, h, w] = *s.bottom(0).dims() else {
        return Err(s.refuse("its bottom has no height and width"));
    };
    let wide = c / (stride * stride);
    let top = s.top(0).dims();
    if p.reverse() {
        // Channel (p, q, c) at (i, j) goes to channel c at (s·i + p, s·j + q).
        moved(
            s,
            &[n, stride, stride, wide, h, w],
            &[0, 3, 4, 1, 5, 2],
            top,
        );
    } else {
        // The values as c, s·i + p, s·j + q, taken apart.
        moved(
            s,
            &[n, wide, h, stride, w, stride],
            &[0, 3, 5, 1, 2, 4],
            top,
        );
    }
    Ok(())
}

pub(super) fn tile(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().tile_param.unwrap_or_default();
    let x = s.x(0);
    let axis = s.bottom(0).axis(p.axis())?;
    let mut repeats = vec![1; s.bottom(0).axes()];
    repeats[axis] = usize::try_from(p.tiles()).unwrap_or(1);
    let repeats = s.extents("repeats", &repeats);
    s.last("Tile", &[&x, &repeats], Vec::new());
    Ok(())
}

pub(super) fn reduction(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().reduction_param.unwrap_or_default();
    let shape = s.bottom(0);
    let x = s.x(0);
    if shape.axes() == 0 {
        return Err(s.refuse("its bottom has no axis to sum over"));
    }
    let axis = shape.axis(p.axis())?;
    let over: Vec<usize> = (axis..shape.axes()).collect();
    let keep = int("keepdims", 0);
    let coeff = p.coeff();
    // Sums take their axes as an input from opset 13 on, the others as an attribute.
    let (op, inputs, attributes) = match p.operation() {
        ReductionOp::Sum => {
            let axes = s.extents("axes", &over);
            ("ReduceSum", vec![x, axes], vec![keep])
        }
        ReductionOp::Mean => ("ReduceMean", vec![x], vec![ints("axes", over), keep]),
        ReductionOp::Asum => ("ReduceL1", vec![x], vec![ints("axes", over), keep]),
        ReductionOp::Sumsq => ("ReduceSumSquare", vec![x], vec![ints("axes", over), keep]),
    };
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    if coeff == 1.0 {
        s.last(op, &inputs, attributes);
    } else {
        let y = s.op(op, &inputs, attributes);
        let by = s.scalar("coeff", coeff);
        s.last("Mul", &[&y, &by], Vec::new());
    }
    Ok(())
}

pub(super) fn arg_max(s: &mut Site<'_, '_>) -> Result<()> {
    let p = s.param().argmax_param.unwrap_or_default();
    let shape = s.bottom(0);
    let k = p.top_k() as usize;
    let x = s.x(0);
    let (x, axis) = match p.axis {
        Some(axis) => (x, shape.axis(axis)?),
        None if shape.axes() == 2 => (x, 1),
        None => (s.op("Flatten", &[&x], vec![int("axis", 1)]), 1),
    };
    let mut found = match p.axis {
        Some(_) => shape.dims().to_vec(),
        None => vec![shape.dims()[0], 0],
    };
    found[axis] = k;
    // One index: among equals the later, as in Caffe. Several: ONNX takes the earlier.
    if k == 1 && !p.out_max_val() {
        let attributes = vec![
            int("axis", axis as i64),
            int("keepdims", 1),
            int("select_last_index", 1),
        ];
        let index = s.op("ArgMax", &[&x], attributes);
        if s.top(0).dims() == found {
            s.last("Cast", &[&index], vec![int("to", FLOAT)]);
        } else {
            let index = s.cast(&index, FLOAT);
            s.end_reshaped(&index, &found, 0);
        }
        return Ok(());
    }
    let count = s.list("k", &[k as i64]);
    let attributes = vec![
        int("axis", axis as i64),
        int("largest", 1),
        int("sorted", 1),
    ];
    let best = s.ops("TopK", &[&x, &count], 2, attributes);
    let [values, index] = &best[..] else {
        return Ok(());
    };
    if p.axis.is_some() && p.out_max_val() {
        s.last("Identity", &[values], Vec::new());
        return Ok(());
    }
    let index = s.cast(index, FLOAT);
    if p.axis.is_some() {
        s.last("Identity", &[&index], Vec::new());
    } else if p.out_max_val() {
        let both = s.op("Concat", &[&index, values], vec![int("axis", 1)]);
        s.end_reshaped(&both, &[found[0], 2 * k], 0);
    } else {
        s.end_reshaped(&index, &found, 0);
    }
    Ok(())
}
