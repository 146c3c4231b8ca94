//! Operators on each value, and arithmetic between blobs and constants.

use super::{
    super::proto::Stored,
    reader::{Op, Reader, blob_shape, layer},
};
use crate::{
    error::Result,
    schema::{
        BiasParameter, ClipParameter, EltwiseParameter, EluParameter, LayerParameter,
        PReLuParameter, PowerParameter, ReLuParameter, ReshapeParameter, ScaleParameter,
        ThresholdParameter, eltwise_parameter::EltwiseOp,
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
fn powered(power: f32, scale: f32, shift: f32) -> LayerParameter {
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
    let Some((from, to)) = spread(&shape, &constant.dims) else {
        return Err(op.refuse(&format!(
            "a constant of shape {:?} does not stretch over {shape} along axes that follow each other",
            constant.dims
        )));
    };
    let blob = Tensor::new(Shape::new(&shape.dims()[from..to]), values)?;
    reader.one(&op.name, along(scales, from, to, 1), &x, &y, vec![blob])
}

/// Whether a constant undoes what the layer before does to means of cut windows.
fn undoes(reader: &Reader<'_>, x: &str, constant: &Stored) -> bool {
    reader.means.get(x).is_some_and(|(at, factors)| {
        let by = constant.floats();
        let one = |(a, b): (&f32, &f32)| (a * b - 1.0).abs() < 1e-5;
        *at + 1 == reader.layers.len()
            && by.len() == factors.len()
            && by.iter().zip(factors).all(one)
            && reader.readers(x) == 1
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
    let (mut a, mut b) = (op.x(reader, 0)?, op.x(reader, 1)?);
    let y = op.y()?;
    let (shape_a, shape_b) = (reader.shape(&a), reader.shape(&b));
    if op.kind() == "Div" {
        b = reader.step(op, "turned", powered(-1.0, 1.0, 0.0), &[b], Vec::new())?;
    }
    if shape_a == shape_b {
        let param = EltwiseParameter {
            operation: matches!(op.kind(), "Mul" | "Div").then_some(EltwiseOp::Prod.into()),
            coeff: match op.kind() {
                "Sub" => vec![1.0, -1.0],
                _ => Vec::new(),
            },
            ..EltwiseParameter::default()
        };
        let param = LayerParameter {
            eltwise_param: (param != EltwiseParameter::default()).then_some(param),
            ..layer("Eltwise")
        };
        return reader.add(&op.name, param, &[a, b], &[y], Vec::new());
    }
    if op.kind() == "Sub" {
        b = reader.step(op, "turned", powered(1.0, -1.0, 0.0), &[b], Vec::new())?;
    }
    // The smaller one stretches over the larger.
    if shape_a.count() < shape_b.count() {
        (a, b) = (b, a);
    }
    let (large, small) = (reader.shape(&a), reader.shape(&b));
    let Some((from, to)) = spread(&large, small.dims()) else {
        return Err(op.refuse(&format!(
            "{small} does not stretch over {large} along axes that follow each other"
        )));
    };
    let met = large.dims()[from..to].iter().map(|&d| d as i64);
    if small.dims() != &large.dims()[from..to] {
        let param = LayerParameter {
            reshape_param: Some(ReshapeParameter {
                shape: Some(blob_shape(met)),
                ..ReshapeParameter::default()
            }),
            ..layer("Reshape")
        };
        b = reader.step(op, "shape", param, &[b], Vec::new())?;
    }
    let scales = matches!(op.kind(), "Mul" | "Div");
    reader.add(
        &op.name,
        along(scales, from, to, 2),
        &[a, b],
        &[y],
        Vec::new(),
    )
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
