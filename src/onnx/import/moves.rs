//! Operators that move values, or name them anew.

use super::reader::{Op, Reader, blob_shape, layer};
use crate::{
    error::Result,
    schema::{
        ArgMaxParameter, ConcatParameter, EmbedParameter, FlattenParameter, LayerParameter,
        PermuteParameter, ReshapeParameter, SliceParameter, SoftmaxParameter, TileParameter,
    },
    tensor::{Shape, Tensor},
};

pub(super) fn identity(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    if op.kind() == "Dropout" {
        op.knows(&["ratio", "seed"])?;
        if op.output(1).is_some_and(|mask| reader.readers(mask) > 0) {
            return Err(op.refuse("its mask is read"));
        }
    } else {
        op.knows(&[])?;
    }
    let x = op.x(reader, 0)?;
    reader.alias(&op.y()?, &x);
    Ok(())
}

/// Blobs hold floats, whole numbers included.
pub(super) fn cast(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["to", "saturate"])?;
    let x = op.x(reader, 0)?;
    let y = op.y()?;
    let is_float = matches!(op.int("to", 1), 1 | 11);
    let whole = matches!(op.int("to", 1), 6 | 7);
    let readers = reader.graph.node.iter().filter(|n| n.input.contains(&y));
    let as_index = |n: &super::super::proto::NodeProto| match n.op_type() {
        "Gather" | "RoiAlign" => n.input.last() == Some(&y),
        "ScatterElements" => n.input.get(1) == Some(&y),
        _ => false,
    };
    if is_float || (whole && readers.into_iter().all(as_index)) {
        reader.alias(&y, &x);
        return Ok(());
    }
    Err(op.refuse("it cuts numbers off, and blobs hold floats"))
}

/// The axis of an attribute or an input, of this shape.
fn axis_of(op: &Op<'_>, shape: &Shape, axis: i64) -> Result<usize> {
    let axis = i32::try_from(axis).unwrap_or(i32::MAX);
    shape.axis(axis).map_err(|e| op.refuse(e.message()))
}

/// A layer that sees its bottom with these extents.
pub(super) fn reshaped(dims: impl IntoIterator<Item = i64>) -> LayerParameter {
    LayerParameter {
        reshape_param: Some(ReshapeParameter {
            shape: Some(blob_shape(dims)),
            ..ReshapeParameter::default()
        }),
        ..layer("Reshape")
    }
}

/// Extents as a reshape tells them: the first as a copy where it stays.
fn copied(from: &Shape, to: &[usize]) -> Vec<i64> {
    let mut dims: Vec<i64> = to.iter().map(|&d| d as i64).collect();
    if let (Some(first), Some(&same)) = (dims.first_mut(), from.dims().first())
        && *first == same as i64
    {
        *first = 0;
    }
    dims
}

pub(super) fn flatten(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["axis"])?;
    let x = op.x(reader, 0)?;
    let shape = reader.shape(&x);
    let axis = op.int("axis", 1);
    let axes = shape.axes() as i64;
    let at = if axis < 0 { axis + axes } else { axis };
    let at = usize::try_from(at)
        .ok()
        .filter(|&a| a <= shape.axes())
        .ok_or_else(|| op.refuse(&format!("axis {axis} is outside {shape}")))?;
    let param = if at == 1 && shape.axes() > 1 {
        LayerParameter {
            flatten_param: Some(FlattenParameter::default()),
            ..layer("Flatten")
        }
    } else {
        let to = [shape.count_range(0, at), shape.count_from(at)];
        reshaped(copied(&shape, &to))
    };
    reader.one(&op.name, param, &x, &op.y()?, Vec::new())
}

pub(super) fn reshape(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["allowzero"])?;
    let x = op.x(reader, 0)?;
    let to = op.needs(reader, 1, "its extents")?.ints();
    let to = to
        .ok_or_else(|| op.refuse("its extents are no integers"))?
        .to_vec();
    if op.int("allowzero", 0) != 0 && to.contains(&0) {
        return Err(op.refuse("it makes a blob of no values"));
    }
    reader.one(&op.name, reshaped(to), &x, &op.y()?, Vec::new())
}

/// Squeeze and Unsqueeze: extents of 1 fewer, or more.
pub(super) fn squeeze(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["axes"])?;
    let x = op.x(reader, 0)?;
    let shape = reader.shape(&x);
    let told = match op.constant(reader, 1).and_then(|c| c.ints()) {
        Some(axes) => axes.to_vec(),
        None => op.ints("axes").to_vec(),
    };
    let mut to = shape.dims().to_vec();
    if op.kind() == "Squeeze" {
        let mut goes = Vec::new();
        for axis in told {
            goes.push(axis_of(op, &shape, axis)?);
        }
        let all = goes.is_empty();
        to = (to.iter().enumerate())
            .filter(|&(i, &d)| !(d == 1 && (all || goes.contains(&i))))
            .map(|(_, &d)| d)
            .collect();
    } else {
        let n = (to.len() + told.len()) as i64;
        let mut comes: Vec<i64> = told
            .iter()
            .map(|&a| if a < 0 { a + n } else { a })
            .collect();
        comes.sort_unstable();
        for axis in comes {
            match usize::try_from(axis) {
                Ok(at) if at <= to.len() => to.insert(at, 1),
                _ => return Err(op.refuse(&format!("its axes are {told:?} of {shape}"))),
            }
        }
    }
    let param = reshaped(copied(&shape, &to));
    reader.one(&op.name, param, &x, &op.y()?, Vec::new())
}

/// A layer that puts the axes in this order.
pub(super) fn permuted(order: &[usize]) -> LayerParameter {
    LayerParameter {
        permute_param: Some(PermuteParameter {
            order: order.iter().map(|&a| a as u32).collect(),
        }),
        ..layer("Permute")
    }
}

pub(super) fn transpose(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["perm"])?;
    let x = op.x(reader, 0)?;
    let mut order = op.extents("perm")?;
    if order.is_empty() {
        order = (0..reader.shape(&x).axes()).rev().collect();
    }
    reader.one(&op.name, permuted(&order), &x, &op.y()?, Vec::new())
}

pub(super) fn depth_to_space(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["blocksize", "mode"])?;
    let x = op.x(reader, 0)?;
    let &[n, c, h, w] = reader.shape(&x).dims() else {
        return Err(op.refuse("its input has no height and width"));
    };
    let block = usize::try_from(op.int("blocksize", 1)).unwrap_or(0);
    let (Some(square), true) = (block.checked_mul(block), block > 0) else {
        return Err(op.refuse(&format!("its block is {}", op.int("blocksize", 1))));
    };
    if c % square != 0 {
        return Err(op.refuse(&format!(
            "{c} channels do not divide into blocks of {block}"
        )));
    }
    let own = c / square;
    let (seen, order) = match op.text("mode", "DCR").as_str() {
        "CRD" => ([n, own, block, block, h, w], [0, 1, 4, 2, 5, 3]),
        _ => ([n, block, block, own, h, w], [0, 3, 4, 1, 5, 2]),
    };
    let as_dims = |dims: &[usize]| -> Vec<i64> { dims.iter().map(|&d| d as i64).collect() };
    let x = reader.step(op, "blocks", reshaped(as_dims(&seen)), &[x], Vec::new())?;
    let x = reader.step(op, "order", permuted(&order), &[x], Vec::new())?;
    let to = as_dims(&[n, own, h * block, w * block]);
    reader.one(&op.name, reshaped(to), &x, &op.y()?, Vec::new())
}

pub(super) fn concat(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["axis"])?;
    let all: Vec<String> = (0..op.node.input.len())
        .map(|i| op.x(reader, i))
        .collect::<Result<_>>()?;
    let Some(first) = all.first() else {
        return Err(op.refuse("it joins nothing"));
    };
    let axis = axis_of(op, &reader.shape(first), op.int("axis", 1))?;
    let param = LayerParameter {
        concat_param: (axis != 1).then(|| ConcatParameter {
            axis: Some(axis as i32),
            ..ConcatParameter::default()
        }),
        ..layer("Concat")
    };
    reader.add(&op.name, param, &all, &[op.y()?], Vec::new())
}

fn sliced(axis: usize, points: Vec<u32>) -> LayerParameter {
    LayerParameter {
        slice_param: Some(SliceParameter {
            axis: Some(axis as i32),
            slice_point: points,
            ..SliceParameter::default()
        }),
        ..layer("Slice")
    }
}

pub(super) fn split(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["axis", "split", "num_outputs"])?;
    let x = op.x(reader, 0)?;
    let shape = reader.shape(&x);
    let axis = axis_of(op, &shape, op.int("axis", 0))?;
    let tops: Vec<String> = op.node.output.clone();
    if tops.iter().any(String::is_empty) {
        return Err(op.refuse("a piece of it has no name"));
    }
    let sizes: Vec<i64> = match op.input(1) {
        Some(_) => {
            let sizes = op.needs(reader, 1, "its sizes")?.ints();
            sizes
                .ok_or_else(|| op.refuse("its sizes are no integers"))?
                .to_vec()
        }
        None if op.has("split") => op.ints("split").to_vec(),
        None => {
            // The last piece may be smaller.
            let each = shape.dims()[axis].div_ceil(tops.len().max(1)) as i64;
            vec![each; tops.len()]
        }
    };
    let mut at = 0u32;
    let mut points = Vec::new();
    for &size in sizes.iter().take(tops.len().saturating_sub(1)) {
        at = u32::try_from(size)
            .ok()
            .and_then(|s| at.checked_add(s))
            .ok_or_else(|| op.refuse(&format!("its sizes are {sizes:?}")))?;
        points.push(at);
    }
    reader.add(&op.name, sliced(axis, points), &[x], &tops, Vec::new())
}

pub(super) fn slice(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["axes", "ends", "starts"])?;
    let mut x = op.x(reader, 0)?;
    let shape = reader.shape(&x);
    let read = |i: usize, name: &str| -> Result<Option<Vec<i64>>> {
        match op.input(i) {
            Some(_) => {
                let list = op.needs(reader, i, "its places")?.ints();
                let list = list.ok_or_else(|| op.refuse("its places are no integers"))?;
                Ok(Some(list.to_vec()))
            }
            None => Ok(op.has(name).then(|| op.ints(name).to_vec())),
        }
    };
    let missing = || op.refuse("it does not say where");
    let starts = read(1, "starts")?.ok_or_else(missing)?;
    let ends = read(2, "ends")?.ok_or_else(missing)?;
    let axes = read(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    if read(4, "")?.is_some_and(|steps| steps.iter().any(|&s| s != 1)) {
        return Err(op.refuse("it leaves values out between"));
    }
    let y = op.y()?;
    let mut cuts = Vec::new();
    for ((&axis, &start), &end) in axes.iter().zip(&starts).zip(&ends) {
        let axis = axis_of(op, &shape, axis)?;
        let n = shape.dims()[axis] as i64;
        let at = |i: i64| (if i < 0 { i.saturating_add(n) } else { i }).clamp(0, n);
        let (start, end) = (at(start), at(end));
        if start >= end {
            return Err(op.refuse("nothing is left"));
        }
        if (start, end) != (0, n) {
            cuts.push((axis, start as u32, end as u32, n as u32));
        }
    }
    if cuts.is_empty() {
        reader.alias(&y, &x);
        return Ok(());
    }
    // Pieces that nobody wants are silenced, so that they are no outputs of the net.
    let mut waste = Vec::new();
    let last = cuts.len() - 1;
    for (i, &(axis, start, end, n)) in cuts.iter().enumerate() {
        let kept = match i == last {
            true => y.clone(),
            false => reader.free(&format!("{y}/{axis}")),
        };
        let (mut points, mut tops) = (Vec::new(), Vec::new());
        if start > 0 {
            points.push(start);
            tops.push(reader.free(&format!("{y}/before{axis}")));
            waste.extend(tops.last().cloned());
        }
        tops.push(kept.clone());
        if end < n {
            points.push(end);
            tops.push(reader.free(&format!("{y}/behind{axis}")));
            waste.extend(tops.last().cloned());
        }
        let name = match i == last {
            true => op.name.clone(),
            false => format!("{}/{axis}", op.name),
        };
        reader.add(&name, sliced(axis, points), &[x], &tops, Vec::new())?;
        x = kept;
    }
    reader.add(
        &format!("{}/silence", op.name),
        layer("Silence"),
        &waste,
        &[],
        Vec::new(),
    )
}

pub(super) fn softmax(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["axis"])?;
    let x = op.x(reader, 0)?;
    let shape = reader.shape(&x);
    let old = reader.opset < 13;
    let axis = axis_of(op, &shape, op.int("axis", if old { 1 } else { -1 }))?;
    // Before opset 13 all axes from this one on are one.
    if old && shape.count_from(axis + 1) != 1 {
        return Err(op.refuse("it takes several axes as one, as before opset 13"));
    }
    let param = LayerParameter {
        softmax_param: (axis != 1).then(|| SoftmaxParameter {
            axis: Some(axis as i32),
            ..SoftmaxParameter::default()
        }),
        ..layer("Softmax")
    };
    reader.one(&op.name, param, &x, &op.y()?, Vec::new())
}

pub(super) fn gather(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["axis"])?;
    if op.int("axis", 0) != 0 {
        return Err(op.refuse("it takes values along another axis than the first"));
    }
    let y = op.y()?;
    let Some(rows) = op.constant(reader, 0) else {
        let (x, index) = (op.x(reader, 0)?, op.x(reader, 1)?);
        return reader.add(
            &op.name,
            layer("BatchReindex"),
            &[x, index],
            &[y],
            Vec::new(),
        );
    };
    let &[count, width] = &rows.dims[..] else {
        return Err(op.refuse("its rows are no matrix"));
    };
    let blob = Tensor::new([count, width], rows.floats())?;
    let x = op.x(reader, 1)?;
    let param = LayerParameter {
        embed_param: Some(EmbedParameter {
            num_output: Some(width as u32),
            input_dim: Some(count as u32),
            bias_term: Some(false),
            ..EmbedParameter::default()
        }),
        ..layer("Embed")
    };
    reader.one(&op.name, param, &x, &y, vec![blob])
}

/// What `MaxPool` tells of places, within their plane.
pub(super) fn place_in_plane(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["fmod"])?;
    let x = op.x(reader, 0)?;
    let by = op.needs(reader, 1, "its divisors")?.ints();
    match (by, reader.masks.get(&x)) {
        (Some(&[by]), Some(&plane)) if by == plane as i64 => {
            reader.alias(&op.y()?, &x);
            Ok(())
        }
        _ => Err(op.refuse("no layer takes remainders")),
    }
}

/// The layers that stretch a blob over extents: axes of 1 are repeated, missing ones are in front. `None` where it does
/// not stretch so.
pub(super) fn stretched(from: &Shape, to: &[usize]) -> Option<Vec<(&'static str, LayerParameter)>> {
    let mut steps = Vec::new();
    let mut dims = vec![1; to.len().checked_sub(from.axes())?];
    if !dims.is_empty() {
        dims.extend(from.dims());
        steps.push(("axes", reshaped(dims.iter().map(|&d| d as i64))));
    } else {
        dims = from.dims().to_vec();
    }
    for (axis, (&d, &n)) in dims.iter().zip(to).enumerate() {
        if d == n {
            continue;
        }
        if d != 1 {
            return None;
        }
        steps.push(("over", tiled(axis, n as i64)));
    }
    Some(steps)
}

pub(super) fn expand(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&[])?;
    let x = op.x(reader, 0)?;
    let shape = reader.shape(&x);
    let told = op.needs(reader, 1, "its extents")?.ints();
    let told = told.ok_or_else(|| op.refuse("its extents are no integers"))?;
    let more = shape.axes().saturating_sub(told.len());
    // An extent of 1 leaves the axis as it is.
    let mut to = vec![1; more];
    for &d in told {
        to.push(usize::try_from(d).map_err(|_| op.refuse(&format!("its extents are {told:?}")))?);
    }
    let less = to.len() - shape.axes();
    for (d, &own) in to.iter_mut().skip(less).zip(shape.dims()) {
        if *d == 1 {
            *d = own;
        }
    }
    let steps = stretched(&shape, &to)
        .ok_or_else(|| op.refuse(&format!("{shape} does not stretch over {to:?}")))?;
    reader.steps(op, steps, x, &op.y()?)
}

fn tiled(axis: usize, tiles: i64) -> LayerParameter {
    LayerParameter {
        tile_param: Some(TileParameter {
            axis: Some(axis as i32),
            tiles: Some(i32::try_from(tiles).unwrap_or(0)),
        }),
        ..layer("Tile")
    }
}

pub(super) fn tile(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&[])?;
    let x = op.x(reader, 0)?;
    let repeats = op.needs(reader, 1, "its repetitions")?.ints();
    let repeats = repeats.ok_or_else(|| op.refuse("its repetitions are no integers"))?;
    let more = repeats.iter().enumerate().filter(|&(_, &r)| r != 1);
    let steps = more.map(|(axis, &r)| ("over", tiled(axis, r))).collect();
    reader.steps(op, steps, x, &op.y()?)
}

fn best(axis: usize, k: u32, values: bool) -> LayerParameter {
    LayerParameter {
        argmax_param: Some(ArgMaxParameter {
            axis: Some(axis as i32),
            top_k: (k != 1).then_some(k),
            out_max_val: values.then_some(true),
        }),
        ..layer("ArgMax")
    }
}

pub(super) fn arg_max(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["axis", "keepdims", "select_last_index"])?;
    let x = op.x(reader, 0)?;
    let shape = reader.shape(&x);
    let axis = axis_of(op, &shape, op.int("axis", 0))?;
    if op.int("select_last_index", 0) == 0 {
        let note = format!(
            "'{}' takes the first of equal values, Caffe's ArgMax the last",
            op.name
        );
        reader.notes.push(note);
    }
    let y = op.y()?;
    if op.int("keepdims", 1) != 0 {
        return reader.one(&op.name, best(axis, 1, false), &x, &y, Vec::new());
    }
    let found = reader.step(op, "index", best(axis, 1, false), &[x], Vec::new())?;
    let mut to = shape.dims().to_vec();
    to.remove(axis);
    let from = reader.shape(&found);
    reader.one(
        &op.name,
        reshaped(copied(&from, &to)),
        &found,
        &y,
        Vec::new(),
    )
}

pub(super) fn top_k(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<()> {
    op.knows(&["axis", "largest", "sorted"])?;
    let x = op.x(reader, 0)?;
    let shape = reader.shape(&x);
    let axis = axis_of(op, &shape, op.int("axis", -1))?;
    let k = match op.needs(reader, 1, "its count")?.ints() {
        Some(&[k]) => u32::try_from(k).unwrap_or(0),
        _ => return Err(op.refuse("its count is no integer")),
    };
    if op.int("largest", 1) == 0 {
        return Err(op.refuse("it looks for the smallest"));
    }
    for (i, values) in [(0, true), (1, false)] {
        let Some(top) = op.output(i) else { continue };
        if reader.readers(top) > 0 {
            let what = if values { "values" } else { "index" };
            let name = format!("{}/{what}", op.name);
            reader.one(&name, best(axis, k, values), &x, top, Vec::new())?;
        }
    }
    Ok(())
}
