//! Operators on each value, and arithmetic between blobs and constants.

use super::{
    super::proto::Stored,
    moves::{reshaped, stretched},
    reader::{Op, Reader, layer},
};
use crate::{
    error::Result,
    schema::{
        BiasParameter, ClipParameter, EltwiseParameter, EluParameter, LayerParameter,
        PReLuParameter, PowerParameter, ReLuParameter, ScaleParameter, ThresholdParameter,
        eltwise_parameter::EltwiseOp,
    },
    tensor::{Shape, Tensor},
};

/// Operators that are a layer without options.
pub(super) fn plain(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&[])?;
    let kind = match op.kind() {
        "Abs" => "AbsVal",
        "Exp" => "Exp",
        "HardSwish" => "HSwish",
        "Log" => "Log",
        "Mish" => "Mish",
        "Relu" => "ReLU",
        "Sigmoid" => "Sigmoid",
        "Softplus" => "BNLL",
        _ => "TanH",
    };
    let x = op.x(reader, 0)?;
    reader.one(&op.name, layer(kind), &x, &op.y()?, Vec::new())
}

pub(super) fn leaky_relu(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["alpha"])?;
    let x = op.x(reader, 0)?;
    let param = LayerParameter {
        relu_param: Some(ReLuParameter {
            negative_slope: Some(op.float("alpha", 0.01)),
            ..ReLuParameter::default()
        }),
        ..layer("ReLU")
    };
    reader.one(&op.name, param, &x, &op.y()?, Vec::new())
}

pub(super) fn elu(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["alpha"])?;
    let x = op.x(reader, 0)?;
    let param = LayerParameter {
        elu_param: Some(EluParameter {
            alpha: Some(op.float("alpha", 1.0)),
        }),
        ..layer("ELU")
    };
    reader.one(&op.name, param, &x, &op.y()?, Vec::new())
}

pub(super) fn prelu(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&[])?;
    let x = op.x(reader, 0)?;
    let shape = reader.shape(&x);
    let slope = op.needs(reader, 1, "its slopes")?;
    let data = slope.floats();
    let shared = data.len() == 1;
    if !shared && spread(&shape, &slope.dims) != Some((1, 2)) {
        return Err(op.refuse(&format!(
            "slopes of shape {:?} are not one for each channel of {shape}",
            slope.dims
        )));
    }
    let own = if shared {
        Shape::default()
    } else {
        Shape::from([data.len()])
    };
    let blob = Tensor::new(own, data)?;
    let param = LayerParameter {
        prelu_param: shared.then(|| PReLuParameter {
            channel_shared: Some(true),
            ..PReLuParameter::default()
        }),
        ..layer("PReLU")
    };
    reader.one(&op.name, param, &x, &op.y()?, vec![blob])
}

/// An operand that is one number, or left out.
fn number(op: &Op<'_>, reader: &Reader<'_>, i: usize, default: f32) -> Result<f32> {
    if op.input(i).is_none() {
        return Ok(default);
    }
    match op.needs(reader, i, "its bounds")?.floats()[..] {
        [x] => Ok(x),
        _ => Err(op.refuse("its bounds are no single numbers")),
    }
}

pub(super) fn clip(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["min", "max"])?;
    // Before opset 11 the bounds are attributes.
    let low = number(op, reader, 1, op.float("min", f32::MIN))?;
    let high = number(op, reader, 2, op.float("max", f32::MAX))?;
    let x = op.x(reader, 0)?;
    clipped(reader, op, &x, low, high)
}

fn clipped(reader: &mut Reader<'_>, op: &Op<'_>, x: &str, low: f32, high: f32) -> Result<()> {
    let param = match (low, high) {
        (0.0, 6.0) => layer("ReLU6"),
        (0.0, high) if high >= f32::MAX => layer("ReLU"),
        (min, max) => LayerParameter {
            clip_param: Some(ClipParameter { min, max }),
            ..layer("Clip")
        },
    };
    reader.one(&op.name, param, x, &op.y()?, Vec::new())
}

pub(super) fn hard_sigmoid(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["alpha", "beta"])?;
    let x = op.x(reader, 0)?;
    let param = powered(1.0, op.float("alpha", 0.2), op.float("beta", 0.5));
    let line = reader.step(op, "line", param, &[x], Vec::new())?;
    clipped(reader, op, &line, 0.0, 1.0)
}

/// A layer Power.
pub(super) fn powered(power: f32, scale: f32, shift: f32) -> LayerParameter {
    let told = |x: f32, default: f32| (x != default).then_some(x);
    LayerParameter {
        power_param: Some(PowerParameter {
            power: told(power, 1.0),
            scale: told(scale, 1.0),
            shift: told(shift, 0.0),
        }),
        ..layer("Power")
    }
}

pub(super) fn power(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&[])?;
    let x = op.x(reader, 0)?;
    let param = match op.kind() {
        "Neg" => powered(1.0, -1.0, 0.0),
        "Reciprocal" => powered(-1.0, 1.0, 0.0),
        _ => powered(0.5, 1.0, 0.0),
    };
    reader.one(&op.name, param, &x, &op.y()?, Vec::new())
}

pub(super) fn pow(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&[])?;
    let x = op.x(reader, 0)?;
    let power = number(op, reader, 1, 1.0)?;
    reader.one(&op.name, powered(power, 1.0, 0.0), &x, &op.y()?, Vec::new())
}

pub(super) fn greater(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&[])?;
    let x = op.x(reader, 0)?;
    let level = number(op, reader, 1, 0.0)?;
    let param = LayerParameter {
        threshold_param: Some(ThresholdParameter {
            threshold: Some(level),
        }),
        ..layer("Threshold")
    };
    reader.one(&op.name, param, &x, &op.y()?, Vec::new())
}

/// The axes of `x` that a smaller blob stretches over the others from: ones before and behind it aside, its extents are
/// those of the axes from the first number to the second. `None` where it is no such blob.
fn spread(x: &Shape, small: &[usize]) -> Option<(usize, usize)> {
    let skip = x.axes().checked_sub(small.len())?;
    let Some(first) = small.iter().position(|&d| d != 1) else {
        // One number: along axis 1 where that is one too, else along none.
        return (x.axes() > 1 && x.dims()[1] == 1).then_some((1, 2));
    };
    let end = small.iter().rposition(|&d| d != 1)? + 1;
    (small[first..end] == x.dims()[skip + first..skip + end]).then_some((skip + first, skip + end))
}

/// A layer that scales, or shifts, along some axes.
fn along(scales: bool, from: usize, to: usize, bottoms: usize) -> LayerParameter {
    let axis = (from != 1).then_some(from as i32);
    let num_axes = (to - from != 1 && bottoms == 1).then_some((to - from) as i32);
    if scales {
        LayerParameter {
            scale_param: Some(ScaleParameter {
                axis,
                num_axes,
                ..ScaleParameter::default()
            }),
            ..layer("Scale")
        }
    } else {
        LayerParameter {
            bias_param: Some(BiasParameter {
                axis,
                num_axes,
                ..BiasParameter::default()
            }),
            ..layer("Bias")
        }
    }
}

pub(super) fn arithmetic(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["axis", "broadcast"])?;
    if op.int("broadcast", 0) != 0 {
        return Err(op.refuse("it broadcasts as before opset 7"));
    }
    let constant = |i: usize| op.constant(reader, i).cloned();
    match (constant(0), constant(1)) {
        (None, Some(b)) => with_constant(reader, op, 0, &b, false),
        (Some(a), None) => with_constant(reader, op, 1, &a, true),
        _ => of_two(reader, op),
    }
}

/// Arithmetic of a blob with a constant, which `first` says comes first.
fn with_constant(
    reader: &mut Reader<'_>,
    op: &Op<'_>,
    bottom: usize,
    constant: &Stored,
    first: bool,
) -> Result<()> {
    let mut x = op.x(reader, bottom)?;
    let y = op.y()?;
    let mut values = constant.floats();
    if op.kind() == "Mul" && undoes(reader, &x, constant) {
        return undo(reader, &x, &y);
    }
    // c - x and c / x turn x over first; x - c and x / c turn c.
    let (scales, turned) = match (op.kind(), first) {
        ("Add", _) => (false, None),
        ("Mul", _) => (true, None),
        ("Sub", true) => (false, Some(powered(1.0, -1.0, 0.0))),
        ("Div", true) => (true, Some(powered(-1.0, 1.0, 0.0))),
        ("Sub", false) => {
            values.iter_mut().for_each(|v| *v = -*v);
            (false, None)
        }
        _ => {
            values.iter_mut().for_each(|v| *v = 1.0 / *v);
            (true, None)
        }
    };
    let turned_over = turned.is_some();
    if let Some(param) = turned {
        x = reader.step(op, "turned", param, &[x], Vec::new())?;
    }
    let shape = reader.shape(&x);
    if let ([value], true) = (&values[..], constant.dims.len() <= shape.axes()) {
        let param = match scales {
            true => powered(1.0, *value, 0.0),
            false => powered(1.0, 1.0, *value),
        };
        return reader.one(&op.name, param, &x, &y, Vec::new());
    }
    let Some((from, to, values)) = spread_values(&shape, &constant.dims, values) else {
        // The constant is the larger one, or each is along some axis.
        let c = op.x(reader, 1 - bottom)?;
        let (a, b) = if first { (c, x) } else { (x, c) };
        let kind = if turned_over {
            if scales { "Mul" } else { "Add" }
        } else {
            op.kind()
        };
        return combine(reader, op, kind, [a, b]);
    };
    let blob = Tensor::new(Shape::checked(&shape.dims()[from..to])?, values)?;
    let param = along(scales, from, to, 1);
    if let Some((scale, factors)) = scale_before(reader, &x, &param, &blob) {
        // y = s x + b is one layer.
        reader.take_back();
        let bottoms = scale.bottom.clone();
        return reader.add(
            &op.name,
            with_bias(scale),
            &bottoms,
            &[y],
            vec![factors, blob],
        );
    }
    reader.one(&op.name, param, &x, &y, vec![blob])
}

fn with_bias(mut scale: LayerParameter) -> LayerParameter {
    scale.blobs.clear();
    scale.scale_param.get_or_insert_default().bias_term = Some(true);
    scale
}

/// The Scale right before a Bias of the same axes, for it alone, with its factors.
fn scale_before(
    reader: &Reader<'_>,
    x: &str,
    bias: &LayerParameter,
    shifts: &Tensor,
) -> Option<(LayerParameter, Tensor)> {
    let p = bias.bias_param.as_ref()?;
    let last = reader.last_for(x)?;
    let own = last.scale_param.as_ref()?;
    let same = own.axis == p.axis && own.num_axes == p.num_axes && own.bias_term.is_none();
    let [blob] = &last.blobs[..] else {
        return None;
    };
    if !same || last.bottom.len() != 1 || reader.means.contains_key(x) {
        return None;
    }
    let factors = Tensor::new(shifts.shape.clone(), blob.data.clone()).ok()?;
    Some((last.clone(), factors))
}

/// As [`spread`], with the values repeated over axes of 1 between others.
fn spread_values(x: &Shape, small: &[usize], values: Vec<f32>) -> Option<(usize, usize, Vec<f32>)> {
    if let Some((from, to)) = spread(x, small) {
        return Some((from, to, values));
    }
    let skip = x.axes().checked_sub(small.len())?;
    let first = small.iter().position(|&d| d != 1)?;
    let end = small.iter().rposition(|&d| d != 1)? + 1;
    let (own, over) = (&small[first..end], &x.dims()[skip + first..skip + end]);
    if own.iter().zip(over).any(|(&d, &n)| d != 1 && d != n) {
        return None;
    }
    let count = over.iter().product();
    let from = |mut i: usize| {
        let (mut at, mut step) = (0, 1);
        for (&d, &n) in own.iter().zip(over).rev() {
            at += (i % n) % d * step;
            step *= d;
            i /= n;
        }
        values.get(at).copied()
    };
    let all: Option<Vec<f32>> = (0..count).map(from).collect();
    Some((skip + first, skip + end, all?))
}

/// Whether a constant undoes what the layer before does to means of cut windows.
fn undoes(reader: &Reader<'_>, x: &str, constant: &Stored) -> bool {
    reader.means.get(x).is_some_and(|(at, factors)| {
        let by = constant.floats();
        let one = |(a, b): (&f32, &f32)| (a * b - 1.0).abs() < 1e-5;
        *at + 1 == reader.layers.len()
            && by.len() == factors.len()
            && by.iter().zip(factors).all(one)
            && reader.last_for(x).is_some()
    })
}

/// Takes the factors of cut windows back; the means themselves are the product.
fn undo(reader: &mut Reader<'_>, x: &str, y: &str) -> Result<()> {
    reader.means.remove(x);
    reader.take_back();
    let Some(mut pooling) = reader.layers.last().cloned() else {
        return Ok(());
    };
    let bottoms = std::mem::take(&mut pooling.bottom);
    reader.take_back();
    let name = pooling.name().trim_end_matches("/mean").to_owned();
    reader.add(&name, pooling, &bottoms, &[y.to_owned()], Vec::new())
}

fn of_two(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    let both = [op.x(reader, 0)?, op.x(reader, 1)?];
    combine(reader, op, op.kind(), both)
}

/// Add, Sub, Mul or Div of two blobs: the operator's output.
pub(super) fn combine(
    reader: &mut Reader<'_>,
    op: &Op<'_>,
    kind: &str,
    [mut a, mut b]: [String; 2],
) -> Result<()> {
    let y = op.y()?;
    let (shape_a, shape_b) = (reader.shape(&a), reader.shape(&b));
    let scales = matches!(kind, "Mul" | "Div");
    if kind == "Div" {
        b = reader.step(op, "turned", powered(-1.0, 1.0, 0.0), &[b], Vec::new())?;
    }
    let eltwise = |coeff: Vec<f32>| {
        let param = EltwiseParameter {
            operation: scales.then_some(EltwiseOp::Prod.into()),
            coeff,
            ..EltwiseParameter::default()
        };
        LayerParameter {
            eltwise_param: (param != EltwiseParameter::default()).then_some(param),
            ..layer("Eltwise")
        }
    };
    if shape_a == shape_b {
        let coeff = match kind {
            "Sub" => vec![1.0, -1.0],
            _ => Vec::new(),
        };
        return reader.add(&op.name, eltwise(coeff), &[a, b], &[y], Vec::new());
    }
    if kind == "Sub" {
        b = reader.step(op, "turned", powered(1.0, -1.0, 0.0), &[b], Vec::new())?;
    }
    // The smaller one stretches over the larger.
    if shape_a.count() < shape_b.count() {
        (a, b) = (b, a);
    }
    let (large, small) = (reader.shape(&a), reader.shape(&b));
    let met = match spread(&large, small.dims()) {
        None if small.count() == 1 && small.axes() <= large.axes() => Some((0, 0)),
        met => met,
    };
    if let Some((from, to)) = met {
        let met = &large.dims()[from..to];
        if small.dims() != met {
            let param = reshaped(met.iter().map(|&d| d as i64));
            b = reader.step(op, "shape", param, &[b], Vec::new())?;
        }
        let param = along(scales, from, to, 2);
        return reader.add(&op.name, param, &[a, b], &[y], Vec::new());
    }
    // Each is made as large as both together.
    let axes = large.axes().max(small.axes());
    let extent = |shape: &Shape, i: usize| match (i + shape.axes()).checked_sub(axes) {
        Some(at) => shape.dims()[at],
        None => 1,
    };
    let to: Vec<usize> = (0..axes)
        .map(|i| extent(&large, i).max(extent(&small, i)))
        .collect();
    let (Some(over_a), Some(over_b)) = (stretched(&large, &to), stretched(&small, &to)) else {
        return Err(op.refuse(&format!("{small} does not stretch over {large}")));
    };
    for (blob, steps) in [(&mut a, over_a), (&mut b, over_b)] {
        for (what, param) in steps {
            *blob = reader.step(op, what, param, std::slice::from_ref(blob), Vec::new())?;
        }
    }
    reader.add(&op.name, eltwise(Vec::new()), &[a, b], &[y], Vec::new())
}

pub(super) fn sum(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&[])?;
    several(reader, op, EltwiseOp::Sum)
}

pub(super) fn max(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&[])?;
    if op.node.input.len() == 2
        && let Some(low) = op.constant(reader, 1).map(Stored::floats)
        && let [low] = low[..]
    {
        let x = op.x(reader, 0)?;
        return clipped(reader, op, &x, low, f32::MAX);
    }
    several(reader, op, EltwiseOp::Max)
}

fn several(reader: &mut Reader<'_>, op: &Op<'_>, operation: EltwiseOp) -> Result<()> {
    let all: Vec<String> = (0..op.node.input.len())
        .map(|i| op.x(reader, i))
        .collect::<Result<_>>()?;
    let y = op.y()?;
    if let [one] = &all[..] {
        reader.alias(&y, one);
        return Ok(());
    }
    if let Some(other) = all
        .iter()
        .find(|b| reader.shape(b) != reader.shape(&all[0]))
    {
        return Err(op.refuse(&format!(
            "its inputs have shapes {} and {}",
            reader.shape(&all[0]),
            reader.shape(other)
        )));
    }
    let param = LayerParameter {
        eltwise_param: (operation != EltwiseOp::Sum).then(|| EltwiseParameter {
            operation: Some(operation.into()),
            ..EltwiseParameter::default()
        }),
        ..layer("Eltwise")
    };
    reader.add(&op.name, param, &all, &[y], Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_small_blob_meets_a_large_one() {
        let x = Shape::from([2, 3, 4, 5]);
        for (small, axes) in [
            (&[3, 1, 1][..], Some((1, 2))),
            (&[1, 3, 1, 1], Some((1, 2))),
            (&[4, 5], Some((2, 4))),
            (&[5], Some((3, 4))),
            (&[2, 1, 1, 1], Some((0, 1))),
            (&[3, 1, 5], None),
            (&[4], None),
            (&[1, 1, 1, 1, 5], None),
        ] {
            assert_eq!(spread(&x, small), axes, "{small:?}");
        }
    }
}
