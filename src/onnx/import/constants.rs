//! What can be computed while reading: shapes, and arithmetic on constants, of which exporters leave much in their models.

use super::{
    super::proto::{Numbers, Stored},
    reader::{Op, Reader},
};
use crate::error::Result;

/// Computes a node whose inputs are all known; whether it could be.
pub(super) fn fold(reader: &mut Reader<'_>, op: &Op<'_>) -> Result<bool> {
    let Some(name) = op.output(0) else {
        return Ok(false);
    };
    let known = match op.kind() {
        "Constant" => Some(constant(op)?),
        "ConstantOfShape" => of_shape(reader, op)?,
        "Shape" => shape(reader, op),
        _ => {
            let inputs: Option<Vec<&Stored>> = op
                .node
                .input
                .iter()
                .map(|i| reader.constants.get(i))
                .collect();
            match inputs {
                Some(inputs) if !inputs.is_empty() => compute(op, &inputs),
                _ => None,
            }
        }
    };
    let Some(known) = known else {
        return Ok(false);
    };
    reader.constants.insert(name.to_owned(), known);
    Ok(true)
}

fn list(data: Vec<i64>) -> Stored {
    Stored {
        dims: vec![data.len()],
        data: Numbers::Ints(data),
    }
}

/// What a node Constant holds.
pub(super) fn constant(op: &Op<'_>) -> Result<Stored> {
    if let Some(tensor) = op.tensor("value")? {
        return Ok(tensor);
    }
    let scalar = |data| Stored {
        dims: Vec::new(),
        data,
    };
    if op.has("value_float") {
        return Ok(scalar(Numbers::Floats(vec![op.float("value_float", 0.0)])));
    }
    if op.has("value_int") {
        return Ok(scalar(Numbers::Ints(vec![op.int("value_int", 0)])));
    }
    if op.has("value_ints") {
        return Ok(list(op.ints("value_ints").to_vec()));
    }
    Err(op.refuse("its value is of a kind that is not read"))
}

/// The most values that a constant which the model does not hold may have.
const MOST: usize = 1 << 28;

fn of_shape(reader: &Reader<'_>, op: &Op<'_>) -> Result<Option<Stored>> {
    let Some(dims) = op.constant(reader, 0).and_then(|c| c.ints()) else {
        return Ok(None);
    };
    let dims: Option<Vec<usize>> = dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let count = |dims: &[usize]| dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let Some((dims, count)) = dims.and_then(|d| count(&d).map(|c| (d, c))) else {
        return Ok(None);
    };
    if count > MOST {
        return Err(op.refuse(&format!("it would hold {count} values")));
    }
    let value = op.tensor("value")?.map(|v| v.data);
    let data = match value {
        Some(Numbers::Ints(v)) => Numbers::Ints(vec![v.first().copied().unwrap_or(0); count]),
        Some(Numbers::Floats(v)) => Numbers::Floats(vec![v.first().copied().unwrap_or(0.0); count]),
        None => Numbers::Floats(vec![0.0; count]),
    };
    Ok(Some(Stored { dims, data }))
}

fn shape(reader: &Reader<'_>, op: &Op<'_>) -> Option<Stored> {
    let dims: Vec<i64> = match op.constant(reader, 0) {
        Some(stored) => stored.dims.iter().map(|&d| d as i64).collect(),
        None => {
            let blob = reader.blob(op.input(0)?)?;
            reader
                .shape(blob)
                .dims()
                .iter()
                .map(|&d| d as i64)
                .collect()
        }
    };
    let at = |i: i64| {
        let n = dims.len() as i64;
        (if i < 0 { i + n } else { i }).clamp(0, n) as usize
    };
    let (start, end) = (at(op.int("start", 0)), at(op.int("end", dims.len() as i64)));
    Some(list(dims.get(start..end)?.to_vec()))
}

fn compute(op: &Op<'_>, inputs: &[&Stored]) -> Option<Stored> {
    let first = inputs[0];
    let same = |data: Numbers| {
        Some(Stored {
            dims: first.dims.clone(),
            data,
        })
    };
    match op.kind() {
        "Identity" => Some(first.clone()),
        "Cast" => match op.int("to", 1) {
            1 | 10 | 11 | 16 => same(Numbers::Floats(first.floats())),
            6 | 7 => same(Numbers::Ints(match &first.data {
                Numbers::Ints(data) => data.clone(),
                Numbers::Floats(data) => data.iter().map(|&x| x as i64).collect(),
            })),
            _ => None,
        },
        "Floor" => same(Numbers::Floats(
            first.floats().iter().map(|x| x.floor()).collect(),
        )),
        "Ceil" => same(Numbers::Floats(
            first.floats().iter().map(|x| x.ceil()).collect(),
        )),
        "Sqrt" => same(Numbers::Floats(
            first.floats().iter().map(|x| x.sqrt()).collect(),
        )),
        "Neg" => match &first.data {
            Numbers::Ints(data) => {
                let all: Option<Vec<i64>> = data.iter().map(|x| x.checked_neg()).collect();
                same(Numbers::Ints(all?))
            }
            Numbers::Floats(data) => same(Numbers::Floats(data.iter().map(|x| -x).collect())),
        },
        // Extents of 1 more or fewer, or others for as many values.
        "Unsqueeze" | "Squeeze" | "Reshape" | "Flatten" => reshaped(op, inputs),
        "Transpose" => transposed(op, first),
        "Gather" => gathered(op, first, inputs.get(1)?),
        "Concat" => joined(op, inputs),
        "Slice" => cut(inputs),
        "Add" | "Sub" | "Mul" | "Div" => arithmetic(op.kind(), first, inputs.get(1)?),
        _ => None,
    }
}

fn reshaped(op: &Op<'_>, inputs: &[&Stored]) -> Option<Stored> {
    let first = inputs[0];
    let mut dims = first.dims.clone();
    let told = || {
        let input = inputs.get(1).and_then(|i| i.ints());
        input.unwrap_or_else(|| op.ints("axes")).to_vec()
    };
    match op.kind() {
        "Unsqueeze" => {
            let mut axes = told();
            let axes_after = dims.len() + axes.len();
            for axis in &mut axes {
                if *axis < 0 {
                    *axis += axes_after as i64;
                }
            }
            axes.sort_unstable();
            for axis in axes {
                let at = usize::try_from(axis).ok().filter(|&a| a <= dims.len())?;
                dims.insert(at, 1);
            }
        }
        "Squeeze" => {
            let axes = told();
            let n = dims.len() as i64;
            let goes = |i: usize, d: usize| {
                let i = i as i64;
                d == 1 && (axes.is_empty() || axes.contains(&i) || axes.contains(&(i - n)))
            };
            dims = (dims.iter().enumerate())
                .filter(|&(i, &d)| !goes(i, d))
                .map(|(_, &d)| d)
                .collect();
        }
        "Reshape" => {
            let to = inputs.get(1)?.ints()?;
            let count: usize = first.dims.iter().product();
            let mut open = None;
            dims = Vec::new();
            for (i, &d) in to.iter().enumerate() {
                dims.push(match d {
                    -1 => {
                        open = Some(i);
                        1
                    }
                    0 => *first.dims.get(i)?,
                    d => usize::try_from(d).ok()?,
                });
            }
            if let Some(open) = open {
                let rest = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
                dims[open] = count.checked_div(rest)?;
            }
        }
        _ => return None,
    }
    let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
    (count == first.dims.iter().product::<usize>()).then(|| Stored {
        dims,
        data: first.data.clone(),
    })
}

fn transposed(op: &Op<'_>, x: &Stored) -> Option<Stored> {
    let n = x.dims.len();
    let order: Vec<usize> = match op.ints("perm") {
        [] => (0..n).rev().collect(),
        perm => perm
            .iter()
            .map(|&p| usize::try_from(p))
            .collect::<Result<_, _>>()
            .ok()?,
    };
    let mut seen = order.clone();
    seen.sort_unstable();
    if seen.iter().copied().ne(0..n) {
        return None;
    }
    let steps: Vec<usize> = (0..n).map(|a| x.dims[a + 1..].iter().product()).collect();
    let dims: Vec<usize> = order.iter().map(|&a| x.dims[a]).collect();
    let count: usize = dims.iter().product();
    let from = |mut i: usize| {
        let mut at = 0;
        for (&axis, &d) in order.iter().zip(&dims).rev() {
            at += i % d * steps[axis];
            i /= d;
        }
        at
    };
    let data = match &x.data {
        Numbers::Floats(data) => Numbers::Floats((0..count).map(|i| data[from(i)]).collect()),
        Numbers::Ints(data) => Numbers::Ints((0..count).map(|i| data[from(i)]).collect()),
    };
    Some(Stored { dims, data })
}

/// Elements of a list.
fn gathered(op: &Op<'_>, from: &Stored, index: &Stored) -> Option<Stored> {
    if from.dims.len() != 1 || op.int("axis", 0) != 0 {
        return None;
    }
    let data = from.ints()?;
    let take = |&i: &i64| {
        let at = if i < 0 { i + data.len() as i64 } else { i };
        data.get(usize::try_from(at).ok()?).copied()
    };
    let taken: Option<Vec<i64>> = index.ints()?.iter().map(take).collect();
    Some(Stored {
        dims: index.dims.clone(),
        data: Numbers::Ints(taken?),
    })
}

/// Lists one after the other.
fn joined(op: &Op<'_>, inputs: &[&Stored]) -> Option<Stored> {
    if !matches!(op.int("axis", 0), 0 | -1) || inputs.iter().any(|i| i.dims.len() != 1) {
        return None;
    }
    let all: Option<Vec<&[i64]>> = inputs.iter().map(|i| i.ints()).collect();
    Some(list(all?.concat()))
}

/// A stretch of a list.
fn cut(inputs: &[&Stored]) -> Option<Stored> {
    let [from, starts, ends, rest @ ..] = inputs else {
        return None;
    };
    let plain = rest.iter().all(|r| matches!(r.ints(), Some([0 | 1])));
    if from.dims.len() != 1 || !plain {
        return None;
    }
    let data = from.ints()?;
    let n = data.len() as i64;
    let at = |of: &Stored| {
        let &[i] = of.ints()? else {
            return None;
        };
        Some((if i < 0 { i + n } else { i }).clamp(0, n) as usize)
    };
    Some(list(data.get(at(starts)?..at(ends)?)?.to_vec()))
}

/// Of equal shapes, or with one number.
fn arithmetic(kind: &str, a: &Stored, b: &Stored) -> Option<Stored> {
    fn each<T: Copy>(a: &[T], b: &[T], f: impl Fn(T, T) -> Option<T>) -> Option<Vec<T>> {
        match (a, b) {
            (a, &[b]) => a.iter().map(|&a| f(a, b)).collect(),
            (&[a], b) => b.iter().map(|&b| f(a, b)).collect(),
            (a, b) if a.len() == b.len() => a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect(),
            _ => None,
        }
    }
    let count = |s: &Stored| s.dims.iter().product::<usize>();
    let dims = if count(a) >= count(b) {
        &a.dims
    } else {
        &b.dims
    };
    if count(a) == count(b) && count(a) > 1 && a.dims != b.dims {
        return None;
    }
    let data = match (&a.data, &b.data) {
        (Numbers::Ints(a), Numbers::Ints(b)) => Numbers::Ints(each(a, b, |a, b| match kind {
            "Add" => a.checked_add(b),
            "Sub" => a.checked_sub(b),
            "Mul" => a.checked_mul(b),
            _ => a.checked_div(b),
        })?),
        _ => Numbers::Floats(each(&a.floats(), &b.floats(), |a, b| {
            Some(match kind {
                "Add" => a + b,
                "Sub" => a - b,
                "Mul" => a * b,
                _ => a / b,
            })
        })?),
    };
    Some(Stored {
        dims: dims.clone(),
        data,
    })
}
