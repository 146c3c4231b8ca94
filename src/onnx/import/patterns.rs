//! Several operators that together are one layer.

use super::{
    super::proto::{NodeProto, Stored},
    constants,
    reader::{Op, Reader, layer},
    regions::unpooled,
};
use crate::{
    error::Result,
    schema::{FaceNormalizeParameter, LayerParameter, NormalizeParameter},
    tensor::{Shape, Tensor},
};

/// Reads a node with those behind it as one layer, where they are one; whether they are.
pub(super) fn whole(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<bool> {
    let found = match op.kind() {
        "Abs" | "Mul" | "Pow" | "ReduceL1" | "ReduceL2" | "ReduceSumSquare" => {
            return Ok(match Unit::find(reader, op) {
                Some(unit) => unit.import(reader, op)?,
                None => false,
            });
        }
        "Reshape" => return unpool(reader, op),
        "Sigmoid" => gate(reader, op, &[], "Swish"),
        "Softplus" => gate(reader, op, &["Tanh"], "Mish"),
        _ => None,
    };
    let Some((kind, y, inside)) = found else {
        return Ok(false);
    };
    let x = op.x(reader, 0)?;
    reader.one(&op.name, layer(kind), &x, &y, Vec::new())?;
    reader.done.extend(inside);
    Ok(true)
}

/// The node that alone reads a value, and its place.
fn next<'m>(reader: &Reader<'m>, value: &str) -> Option<(usize, &'m NodeProto)> {
    if reader.readers(value) != 1 {
        return None;
    }
    let mut nodes = reader.graph.node.iter().enumerate();
    nodes.find(|(_, n)| n.input.iter().any(|i| i == value))
}

/// The only output of a node.
fn output(node: &NodeProto) -> Option<&str> {
    match &node.output[..] {
        [one] => Some(one),
        _ => None,
    }
}

/// A constant, also of a node that is still to come.
pub(super) fn known(reader: &Reader<'_>, value: &str) -> Option<Stored> {
    if let Some(stored) = reader.constants.get(value) {
        return Some(stored.clone());
    }
    let made = |n: &&NodeProto| n.op_type() == "Constant" && output(n) == Some(value);
    let node = reader.graph.node.iter().find(made)?;
    let name = value.to_owned();
    constants::constant(&Op { node, name }).ok()
}

/// The operand of a node of two that is a constant, where the other is this value.
fn operand(reader: &Reader<'_>, node: &NodeProto, value: &str) -> Option<Vec<f32>> {
    let other = match &node.input[..] {
        [a, b] if a == value => b,
        [a, b] if b == value => a,
        _ => return None,
    };
    Some(known(reader, other)?.floats())
}

/// x times what these operators make of it.
fn gate(
    reader: &Reader<'_>,
    op: &Op<'_>,
    between: &[&str],
    kind: &'static str,
) -> Option<(&'static str, String, Vec<usize>)> {
    let x = op.input(0)?;
    let mut value = output(op.node)?;
    let mut inside = Vec::new();
    for step in between.iter().chain(&["Mul"]) {
        let (at, node) = next(reader, value)?;
        let both = |i: &String| i == value || (*step == "Mul" && i == x);
        let arity = if *step == "Mul" { 2 } else { 1 };
        let fits = node.op_type() == *step && node.input.len() == arity;
        if !fits || !node.input.iter().all(both) {
            return None;
        }
        inside.push(at);
        value = output(node)?;
    }
    Some((kind, value.to_owned(), inside))
}

/// x over its length: Normalize.
struct Unit {
    /// Σ |x| instead of √Σ x².
    l1: bool,
    /// Added to the sum; before the root, where there is one.
    eps: f32,
    /// Where it was added behind the root.
    outside: bool,
    /// The axes that are summed over.
    axes: Vec<i64>,
    /// The value of the lengths, where others read it, too.
    length: Option<String>,
    /// By what the quotient is multiplied.
    factors: Option<(Vec<usize>, Vec<f32>)>,
    y: String,
    inside: Vec<usize>,
}

impl Unit {
    /// Σ x² may be a Mul or a Pow and a sum, or one operator; a small number may be added before the root or behind it, or
    /// bound the length from below, as other frameworks have it.
    fn find(reader: &Reader<'_>, op: &Op<'_>) -> Option<Self> {
        let x = op.input(0)?;
        let mut unit = Unit {
            l1: matches!(op.kind(), "Abs" | "ReduceL1"),
            eps: 0.0,
            outside: false,
            axes: Vec::new(),
            length: None,
            factors: None,
            y: String::new(),
            inside: Vec::new(),
        };
        let mut node = op.node;
        match op.kind() {
            "Mul" if op.input(1) != Some(x) => return None,
            "Pow" if operand(reader, node, x)? != [2.0] => return None,
            "Abs" | "Mul" | "Pow" => node = unit.step(reader, node, &["ReduceSum"])?,
            _ => {}
        }
        let sum = Op {
            node,
            name: String::new(),
        };
        if sum.int("keepdims", 1) == 0 {
            return None;
        }
        unit.axes = match node.input.get(1) {
            Some(axes) => known(reader, axes)?.ints()?.to_vec(),
            None => sum.ints("axes").to_vec(),
        };
        let mut rooted = unit.l1 || node.op_type() == "ReduceL2";
        let mut told = false;
        loop {
            let value = output(node)?;
            let readers = reader.readers(value);
            if readers > 1 {
                // Others want the lengths themselves.
                unit.length = Some(value.to_owned());
                let nodes = reader.graph.node.iter().enumerate();
                let mut divided =
                    nodes.filter(|(_, n)| n.op_type() == "Div" && n.input == [x, value]);
                let (at, div) = divided.next()?;
                unit.inside.push(at);
                node = div;
                break;
            }
            node = unit.step(
                reader,
                node,
                &["Add", "Clip", "Div", "Expand", "Max", "Sqrt"],
            )?;
            match node.op_type() {
                "Sqrt" if !rooted => rooted = true,
                "Add" | "Max" | "Clip" if !told => {
                    told = true;
                    unit.outside = rooted;
                    let clips = node.op_type() == "Clip";
                    let least = match clips {
                        true if node.input.get(2).is_some_and(|i| !i.is_empty()) => return None,
                        true => known(reader, node.input.get(1)?)?.floats(),
                        false => operand(reader, node, value)?,
                    };
                    let [eps] = least[..] else { return None };
                    // A bound that is no small number is something else.
                    if !(0.0..1e-3).contains(&eps) || (node.op_type() != "Add" && !rooted) {
                        return None;
                    }
                    unit.eps = eps;
                }
                "Expand" if node.input.first().map(String::as_str) == Some(value) => {}
                "Div" if node.input == [x, value] => break,
                _ => return None,
            }
        }
        if !rooted {
            return None;
        }
        unit.y = output(node)?.to_owned();
        if unit.length.is_none()
            && !unit.l1
            && let Some((at, by)) = next(reader, &unit.y)
            && by.op_type() == "Mul"
            && let Some(other) = by.input.iter().find(|i| **i != unit.y)
            && let Some(factors) = known(reader, other)
        {
            unit.factors = Some((factors.dims.clone(), factors.floats()));
            unit.inside.push(at);
            unit.y = output(by)?.to_owned();
        }
        Some(unit)
    }

    /// The node behind, if it is one of these.
    fn step<'m>(
        &mut self,
        reader: &Reader<'m>,
        node: &NodeProto,
        kinds: &[&str],
    ) -> Option<&'m NodeProto> {
        let (at, node) = next(reader, output(node)?)?;
        self.inside.push(at);
        kinds.contains(&node.op_type()).then_some(node)
    }

    /// Adds the layer, if there is one of these options.
    fn import(self, reader: &mut Reader<'_>, op: &Op<'_>) -> Result<bool> {
        let x = op.x(reader, 0)?;
        let shape = reader.shape(&x);
        let n = shape.axes() as i64;
        let mut axes: Vec<i64> = self
            .axes
            .iter()
            .map(|&a| if a < 0 { a + n } else { a })
            .collect();
        axes.sort_unstable();
        let channels = axes == [1];
        let across = axes.iter().copied().eq(1..n);
        if shape.axes() < 2 || !(channels || across) {
            return Ok(false);
        }
        let face = self.factors.is_none() && channels && (self.eps - 1e-6).abs() < 1e-9;
        let face = face && self.outside == self.l1;
        let mut tops = vec![self.y.clone()];
        tops.extend(self.length.clone());
        let (param, blobs) = if face {
            let param = LayerParameter {
                normalize_param: Some(FaceNormalizeParameter {
                    normalize_type: self.l1.then(|| "L1".to_owned()),
                    ..FaceNormalizeParameter::default()
                }),
                ..layer("Normalize")
            };
            (param, Vec::new())
        } else {
            let Some(scale) = self.scale(&shape) else {
                return Ok(false);
            };
            let eps = match self.outside {
                true => self.eps * self.eps,
                false => self.eps,
            };
            let param = LayerParameter {
                norm_param: Some(NormalizeParameter {
                    across_spatial: (!across).then_some(false),
                    channel_shared: (scale.shape.axes() > 0).then_some(false),
                    // A length of 0 is a blob of 0: it stays 0.
                    eps: (eps != 1e-10).then(|| eps.max(1e-30)),
                    ..NormalizeParameter::default()
                }),
                ..layer("Normalize")
            };
            (param, vec![scale])
        };
        let name = reader.node_of(&self.y).unwrap_or(&op.name).to_owned();
        reader.add(&name, param, &[x], &tops, blobs)?;
        reader.done.extend(self.inside);
        Ok(true)
    }

    /// The factors as SSD's layer has them: one, or one for each channel.
    fn scale(&self, shape: &Shape) -> Option<Tensor> {
        if self.l1 || self.length.is_some() {
            return None;
        }
        let Some((dims, factors)) = &self.factors else {
            return Tensor::new(Shape::default(), vec![1.0]).ok();
        };
        if dims.iter().all(|&d| d == 1) && dims.len() <= shape.axes() {
            return Tensor::new(Shape::default(), factors.clone()).ok();
        }
        let at = (dims.len() + 1).checked_sub(shape.axes())?;
        let others = dims.iter().enumerate().all(|(i, &d)| i == at || d == 1);
        let own = dims.get(at) == shape.dims().get(1) && others;
        let blob = || Tensor::new([factors.len()], factors.clone()).ok();
        own.then(blob)?
    }
}

/// Values that go to the places of a mask, in planes of zeros, all seen as rows: Upsample.
fn unpool(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<bool> {
    let Some(found) = Unpool::find(reader, op) else {
        return Ok(false);
    };
    let x = op.x(reader, 0)?;
    let name = reader.node_of(&found.y).unwrap_or(&op.name).to_owned();
    let [h, w] = found.size;
    reader.add(
        &name,
        unpooled(h, w),
        &[x, found.mask],
        &[found.y],
        Vec::new(),
    )?;
    reader.done.extend(found.inside);
    Ok(true)
}

struct Unpool {
    mask: String,
    size: [usize; 2],
    y: String,
    inside: Vec<usize>,
}

impl Unpool {
    fn find(reader: &Reader<'_>, op: &Op<'_>) -> Option<Self> {
        let x = reader.blob(op.input(0)?)?;
        let shape = reader.shape(x);
        let &[n, c, ..] = shape.dims() else {
            return None;
        };
        let (scatter_at, scatter) = next(reader, output(op.node)?)?;
        let scatter = (scatter.op_type() == "ScatterElements").then_some(scatter)?;
        let [zeros, places, values] = &scatter.input[..] else {
            return None;
        };
        let sole = |value: &str, kind: &str| {
            let mut nodes = reader.graph.node.iter().enumerate();
            let (at, node) = nodes.find(|(_, m)| output(m) == Some(value))?;
            (node.op_type() == kind && reader.readers(value) == 1).then_some((at, node))
        };
        let mut inside = vec![scatter_at];
        if let Some((at, _)) = sole(zeros, "ConstantOfShape") {
            inside.push(at);
        }
        let mut places = places;
        if let Some((at, cast)) = sole(places, "Cast") {
            inside.push(at);
            places = cast.input.first()?;
        }
        let (rows_at, rows) = sole(places, "Reshape")?;
        let mask = reader.blob(rows.input.first()?)?;
        let (end_at, end) = next(reader, output(scatter)?)?;
        let to = known(reader, end.input.get(1)?)?;
        let &[to_n, to_c, h, w] = to.ints()? else {
            return None;
        };
        let same = |d: i64, n: usize| d == 0 || d == n as i64;
        let size = [usize::try_from(h).ok()?, usize::try_from(w).ok()?];
        let fits = values == output(op.node)?
            && end.op_type() == "Reshape"
            && reader.shape(mask) == shape
            && shape.axes() == 4
            && same(to_n, n)
            && to_c == c as i64
            && zeros_of(reader, zeros)? == [n * c, size[0].checked_mul(size[1])?];
        fits.then(|| Self {
            mask: mask.to_owned(),
            size,
            y: output(end).unwrap_or_default().to_owned(),
            inside: [inside, vec![rows_at, end_at]].concat(),
        })
    }
}

/// The extents of a constant of zeros, also of one that is still to come.
fn zeros_of(reader: &Reader<'_>, value: &str) -> Option<Vec<usize>> {
    if let Some(stored) = reader.constants.get(value) {
        let zero = stored.floats().iter().all(|&x| x == 0.0);
        return zero.then(|| stored.dims.clone());
    }
    let made = |n: &&NodeProto| n.op_type() == "ConstantOfShape" && output(n) == Some(value);
    let node = reader.graph.node.iter().find(made)?;
    let dims = known(reader, node.input.first()?)?;
    let dims = dims.ints()?.iter().map(|&d| usize::try_from(d).ok());
    // Without a value it holds zeros.
    node.attribute.is_empty().then(|| dims.collect())?
}

pub(super) fn lp_normalization(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["axis", "p"])?;
    let unit = Unit {
        l1: op.int("p", 2) == 1,
        eps: 0.0,
        outside: false,
        axes: vec![op.int("axis", -1)],
        length: None,
        factors: None,
        y: op.y()?,
        inside: Vec::new(),
    };
    if unit.import(reader, op)? {
        return Ok(());
    }
    Err(op.refuse("Caffe's Normalize takes the root of squares over the channels, or over all but the first axis"))
}
