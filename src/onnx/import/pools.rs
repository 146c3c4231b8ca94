//! Windows that pool, and sums over whole axes.

use super::{
    super::proto::NodeProto,
    filters::{pads, sizes},
    moves::{permuted, reshaped},
    patterns::known,
    pointwise::powered,
    reader::{Op, Reader, layer},
};
use crate::{
    error::Result,
    schema::{
        LayerParameter, PoolingParameter, ReductionParameter, ScaleParameter,
        pooling_parameter::{PoolMethod, RoundMode},
        reduction_parameter::ReductionOp,
    },
    tensor::{Shape, Tensor},
};

/// Windows of an operator, and how Caffe makes as many.
struct Windows {
    kernel: Vec<usize>,
    stride: Vec<usize>,
    pads: Vec<(usize, usize)>,
    input: Vec<usize>,
    output: Vec<usize>,
    floor: bool,
}

impl Windows {
    fn new(op: &Op<'_>, shape: &Shape) -> Result<Self> {
        let [_, _, input @ ..] = shape.dims() else {
            return Err(op.refuse(&format!("its input has shape {shape}")));
        };
        if input.len() != 2 {
            return Err(op.refuse(&format!(
                "Caffe pools planes, and its input has shape {shape}"
            )));
        }
        let kernel = sizes(op, "kernel_shape", 2)?;
        let stride = sizes(op, "strides", 2)?;
        let dilation = sizes(op, "dilations", 2)?;
        if dilation != [1, 1] {
            return Err(op.refuse("its windows have holes"));
        }
        let pads = pads(op, input, &kernel, &stride, &dilation)?;
        let ceil = op.int("ceil_mode", 0) != 0;
        let mut output = Vec::new();
        for i in 0..2 {
            let room = (input[i] + pads[i].0 + pads[i].1)
                .checked_sub(kernel[i])
                .ok_or_else(|| op.refuse("no window fits its input"))?;
            let mut n = match ceil {
                true => room.div_ceil(stride[i]) + 1,
                false => room / stride[i] + 1,
            };
            if ceil && (n - 1) * stride[i] >= input[i] + pads[i].0 {
                n -= 1;
            }
            output.push(n);
        }
        let mut windows = Self {
            kernel,
            stride,
            pads,
            input: input.to_vec(),
            output,
            floor: false,
        };
        for floor in [false, true] {
            if (0..2).all(|i| windows.caffe(i, floor) == Some(windows.output[i])) {
                windows.floor = floor;
                return Ok(windows);
            }
        }
        Err(op.refuse("its padding makes another number of windows than Caffe's"))
    }

    /// How many windows Caffe makes along an axis, padded on both sides as this is before.
    fn caffe(&self, i: usize, floor: bool) -> Option<usize> {
        let sizes = [
            self.input[i],
            self.kernel[i],
            self.stride[i],
            self.pads[i].0,
        ];
        let sizes = sizes.map(i64::try_from);
        let [Ok(n), Ok(k), Ok(s), Ok(p)] = sizes else {
            return None;
        };
        // A window larger than the padded axis is there, cut off.
        let room = n.checked_add(p.checked_mul(2)?)?.checked_sub(k)?;
        let mut windows = match floor {
            true => room.div_euclid(s) + 1,
            false => -(-room).div_euclid(s) + 1,
        };
        let padded = self.pads.iter().any(|p| p.0 > 0);
        if !floor && padded && (windows - 1).checked_mul(s)? >= n + p {
            windows -= 1;
        }
        usize::try_from(windows).ok().filter(|&w| w > 0)
    }

    fn param(&self, method: PoolMethod) -> LayerParameter {
        let mut p = PoolingParameter {
            pool: Some(method.into()),
            round_mode: self.floor.then_some(RoundMode::Floor.into()),
            ..PoolingParameter::default()
        };
        let pad: Vec<usize> = self.pads.iter().map(|p| p.0).collect();
        let pair = |of: &[usize]| (of[0] as u32, of[1] as u32);
        match pair(&self.kernel) {
            (h, w) if h == w => p.kernel_size = Some(h),
            (h, w) => (p.kernel_h, p.kernel_w) = (Some(h), Some(w)),
        }
        match pair(&self.stride) {
            (1, 1) => {}
            (h, w) if h == w => p.stride = Some(h),
            (h, w) => (p.stride_h, p.stride_w) = (Some(h), Some(w)),
        }
        match pair(&pad) {
            (0, 0) => {}
            (h, w) if h == w => p.pad = Some(h),
            (h, w) => (p.pad_h, p.pad_w) = (Some(h), Some(w)),
        }
        LayerParameter {
            pooling_param: Some(p),
            ..layer("Pooling")
        }
    }

    /// For each window what Caffe divides by, over what the operator divides by.
    fn factors(&self, padding: bool, ceil: bool) -> Vec<f32> {
        let counts = |i: usize, p: usize| {
            let start = p * self.stride[i];
            let (before, n, behind) = (self.pads[i].0, self.input[i], self.pads[i].1);
            let end = start + self.kernel[i];
            let caffe = end.min(n + 2 * before).saturating_sub(start);
            let own = match padding {
                true if ceil => end.min(n + before + behind).saturating_sub(start),
                true => self.kernel[i],
                false => end.min(n + before).saturating_sub(start.max(before)),
            };
            (caffe, own)
        };
        let mut factors = Vec::new();
        for h in 0..self.output[0] {
            for w in 0..self.output[1] {
                let ((a, b), (c, d)) = (counts(0, h), counts(1, w));
                factors.push((a * c) as f32 / (b * d).max(1) as f32);
            }
        }
        factors
    }
}

pub(super) fn max(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&[
        "auto_pad",
        "ceil_mode",
        "dilations",
        "kernel_shape",
        "pads",
        "storage_order",
        "strides",
    ])?;
    let x = op.x(reader, 0)?;
    let shape = reader.shape(&x);
    let windows = Windows::new(op, &shape)?;
    let mut tops = vec![op.y()?];
    if let Some(places) = op.output(1).filter(|&places| reader.readers(places) > 0) {
        // ONNX counts through the whole blob, Caffe within a plane, which a Mod makes of it.
        let plane = windows.input.iter().product();
        let within = |n: &NodeProto| {
            let by = n.input.get(1).and_then(|i| known(reader, i));
            n.op_type() == "Mod" && by.is_some_and(|b| b.ints() == Some(&[plane as i64][..]))
        };
        let mut users = reader
            .graph
            .node
            .iter()
            .filter(|n| n.input.iter().any(|i| i == places));
        let given = reader.graph.output.iter().any(|o| o.name() == places);
        if given || !users.all(within) {
            return Err(op.refuse(
                "it tells where in the whole blob the largest values were, Caffe's Pooling where in their plane",
            ));
        }
        reader.masks.insert(places.to_owned(), plane);
        tops.push(places.to_owned());
    }
    reader.add(
        &op.name,
        windows.param(PoolMethod::Max),
        &[x],
        &tops,
        Vec::new(),
    )
}

pub(super) fn average(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&[
        "auto_pad",
        "ceil_mode",
        "count_include_pad",
        "dilations",
        "kernel_shape",
        "pads",
        "strides",
    ])?;
    let x = op.x(reader, 0)?;
    let windows = Windows::new(op, &reader.shape(&x))?;
    let padding = op.int("count_include_pad", 0) != 0;
    let factors = windows.factors(padding, op.int("ceil_mode", 0) != 0);
    let param = windows.param(PoolMethod::Ave);
    let y = op.y()?;
    if factors.iter().all(|&f| f == 1.0) {
        return reader.one(&op.name, param, &x, &y, Vec::new());
    }
    // What counts is not the same in both: each window has a factor of its own.
    let mean = reader.step(op, "mean", param, &[x], Vec::new())?;
    let blob = Tensor::new(Shape::new(&windows.output), factors.clone())?;
    let param = LayerParameter {
        scale_param: Some(ScaleParameter {
            axis: Some(2),
            num_axes: Some(2),
            ..ScaleParameter::default()
        }),
        ..layer("Scale")
    };
    let at = reader.layers.len();
    reader.one(&op.name, param, &mean, &y, vec![blob])?;
    reader.means.insert(y, (at, factors));
    Ok(())
}

fn global_param(method: PoolMethod) -> LayerParameter {
    LayerParameter {
        pooling_param: Some(PoolingParameter {
            pool: Some(method.into()),
            global_pooling: Some(true),
            ..PoolingParameter::default()
        }),
        ..layer("Pooling")
    }
}

pub(super) fn global(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&[])?;
    let method = match op.kind() {
        "GlobalMaxPool" => PoolMethod::Max,
        _ => PoolMethod::Ave,
    };
    let x = op.x(reader, 0)?;
    reader.one(&op.name, global_param(method), &x, &op.y()?, Vec::new())
}

pub(super) fn reduce(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["axes", "keepdims", "noop_with_empty_axes"])?;
    let x = op.x(reader, 0)?;
    let y = op.y()?;
    let shape = reader.shape(&x);
    let told = match op.constant(reader, 1).and_then(|c| c.ints()) {
        Some(axes) => axes.to_vec(),
        None if op.input(1).is_some() => return Err(op.refuse("its axes are computed")),
        None => op.ints("axes").to_vec(),
    };
    let mut axes: Vec<usize> = Vec::new();
    for axis in told {
        let axis = i32::try_from(axis).unwrap_or(i32::MAX);
        axes.push(shape.axis(axis).map_err(|e| op.refuse(e.message()))?);
    }
    axes.sort_unstable();
    if axes.is_empty() {
        axes = (0..shape.axes()).collect();
    }
    let keeps = op.int("keepdims", 1) != 0;
    let operation = match op.kind() {
        "ReduceMean" => ReductionOp::Mean,
        "ReduceL1" => ReductionOp::Asum,
        "ReduceL2" | "ReduceSumSquare" => ReductionOp::Sumsq,
        _ => ReductionOp::Sum,
    };
    if operation == ReductionOp::Mean && keeps && shape.axes() == 4 && axes == [2, 3] {
        let param = global_param(PoolMethod::Ave);
        return reader.one(&op.name, param, &x, &y, Vec::new());
    }
    // Caffe sums over all axes from one on: those that are summed over go behind the others.
    let mut order: Vec<usize> = (0..shape.axes()).filter(|a| !axes.contains(a)).collect();
    let first = order.len();
    order.extend(&axes);
    let mut steps = Vec::new();
    if !order.is_sorted() {
        steps.push(("order", permuted(&order)));
    }
    let param = LayerParameter {
        reduction_param: Some(ReductionParameter {
            operation: Some(operation.into()),
            axis: Some(first as i32),
            ..ReductionParameter::default()
        }),
        ..layer("Reduction")
    };
    steps.push(("sum", param));
    if keeps {
        let mut dims = shape.dims().to_vec();
        axes.iter().for_each(|&a| dims[a] = 1);
        steps.push(("shape", reshaped(dims.iter().map(|&d| d as i64))));
    }
    if op.kind() == "ReduceL2" {
        steps.push(("root", powered(0.5, 1.0, 0.0)));
    }
    reader.steps(op, steps, x, &y)
}
