//! Holds a net against a recorded run: feeds what was fed, compares what came out, blob by blob.
//!
//! Keys of a record: `in/<blob>` is fed; `out/<blob>` must come out; `grad_out/<blob>` starts backward, which must bring
//! `grad_in/<blob>` and `grad_param/<layer>/<i>`; `param_after/<layer>/<i>` is a parameter that forward itself changed.

mod sets;

use std::collections::BTreeMap;

use crate::{
    error::{Error, ErrorKind, Result},
    net::Net,
    params::{ParamId, Params},
    tensor::Tensor,
};

pub use sets::{Pair, compare_sets, coordinates};

/// How far apart two values may be: `|ours - theirs| <= atol + rtol * |theirs|`.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Relative to the reference.
    pub rtol: f32,
    /// Absolute.
    pub atol: f32,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self {
            rtol: 1e-4,
            atol: 1e-5,
        }
    }
}

/// One array held against its record.
#[derive(Clone, Debug)]
pub struct Row {
    /// The record's key.
    pub key: String,
    /// Elements compared.
    pub count: usize,
    /// The largest absolute difference.
    pub max_abs: f32,
    /// The largest difference relative to the reference, over elements where that is not 0.
    pub max_rel: f32,
    /// The element furthest out of tolerance (or nearest to it): index, ours, theirs.
    pub worst: Option<(usize, f32, f32)>,
    /// The first element out of tolerance: index, ours, theirs.
    pub first: Option<(usize, f32, f32)>,
    /// Why the arrays could not be compared.
    pub trouble: Option<String>,
    /// Whether every element is within tolerance.
    pub ok: bool,
}

/// Compares two arrays.
pub fn compare_arrays(key: &str, ours: &[f32], theirs: &[f32], tolerance: Tolerance) -> Row {
    let mut row = Row {
        key: key.to_owned(),
        count: theirs.len(),
        max_abs: 0.0,
        max_rel: 0.0,
        worst: None,
        first: None,
        trouble: None,
        ok: true,
    };
    if ours.len() != theirs.len() {
        row.ok = false;
        row.trouble = Some(format!("{} values, recorded {}", ours.len(), theirs.len()));
        return row;
    }
    let mut furthest = f32::NEG_INFINITY;
    for (i, (&a, &b)) in ours.iter().zip(theirs).enumerate() {
        if a == b || (a.is_nan() && b.is_nan()) {
            continue;
        }
        let apart = (a - b).abs();
        let excess = if apart.is_nan() {
            f32::INFINITY
        } else {
            apart - (tolerance.atol + tolerance.rtol * b.abs())
        };
        row.max_abs = row
            .max_abs
            .max(if apart.is_nan() { f32::INFINITY } else { apart });
        if b != 0.0 && !apart.is_nan() {
            row.max_rel = row.max_rel.max(apart / b.abs());
        }
        if excess > 0.0 && row.first.is_none() {
            row.first = Some((i, a, b));
        }
        if excess > furthest {
            furthest = excess;
            row.worst = Some((i, a, b));
        }
    }
    row.ok = furthest <= 0.0;
    row
}

/// Runs `net` on a record and compares everything that the record tells, in the order in which the net works: blobs,
/// parameters that forward changes, then gradients from the last layer to the first. The net must keep all blobs.
///
/// # Errors
/// `Graph` where a key names an input, blob, layer or parameter that the net does not have; whatever running it raises.
pub fn compare(
    net: &mut Net,
    params: &mut Params,
    record: &BTreeMap<String, Tensor>,
    tolerance: Tolerance,
) -> Result<Vec<Row>> {
    let with = |prefix: &'static str| {
        record.iter().filter_map(move |(key, tensor)| {
            Some((key.as_str(), key.strip_prefix(prefix)?, tensor))
        })
    };
    let inputs: Vec<(&str, &Tensor)> = with("in/")
        .map(|(_, name, tensor)| (name, tensor))
        .collect();
    net.set_inputs(&inputs)?;
    net.forward(params)?;
    let mut rows = Vec::new();
    for (key, name, theirs) in with("out/") {
        let ours = net.blob(name).ok_or_else(|| no_blob(net, key, name))?;
        rows.push(compare_arrays(key, ours.data, &theirs.data, tolerance));
    }
    for (key, name, theirs) in with("param_after/") {
        let id = param(net, key, name)?;
        rows.push(compare_arrays(
            key,
            &params[id].value.data,
            &theirs.data,
            tolerance,
        ));
    }
    if !["grad_in/", "grad_param/"]
        .iter()
        .any(|&prefix| with(prefix).next().is_some())
    {
        return Ok(in_order(net, rows));
    }
    for (_, name, tensor) in with("grad_out/") {
        if net.starts_backward(name) {
            net.set_diff(name, tensor)?;
        }
    }
    params.clear_grads();
    net.backward(params)?;
    for (key, name, theirs) in with("grad_in/") {
        let zeros = vec![0.0; theirs.data.len()];
        let row = match net.diff(name) {
            Some(ours) => compare_arrays(key, ours.data, &theirs.data, tolerance),
            None if net.blob(name).is_none() => return Err(no_blob(net, key, name)),
            None => compare_arrays(key, &zeros, &theirs.data, tolerance),
        };
        rows.push(row);
    }
    for (key, name, theirs) in with("grad_param/") {
        let id = param(net, key, name)?;
        // Where nothing asks for a gradient there is none to hold.
        let zeros = vec![0.0; theirs.data.len()];
        let ours = match params[id].wants_grad() {
            true => &params[id].grad,
            false => &zeros,
        };
        rows.push(compare_arrays(key, ours, &theirs.data, tolerance));
    }
    Ok(in_order(net, rows))
}

/// Rows in the order in which the net works.
fn in_order(net: &Net, mut rows: Vec<Row>) -> Vec<Row> {
    let blobs = net.blob_names();
    let nodes = &net.graph().nodes;
    rows.sort_by_cached_key(|row| {
        let (kind, name) = row.key.split_once('/').unwrap_or(("", &row.key));
        let layer = || {
            let name = name.rsplit_once('/').map_or(name, |(layer, _)| layer);
            nodes.iter().position(|n| &*n.name == name).unwrap_or(0) as i64
        };
        let blob = || blobs.iter().position(|&b| b == name).unwrap_or(0) as i64;
        match kind {
            "out" => (0, blob()),
            "param_after" => (1, layer()),
            "grad_in" => (2, -blob()),
            _ => (3, -layer()),
        }
    });
    rows
}

fn no_blob(net: &Net, key: &str, name: &str) -> Error {
    Error::new(
        ErrorKind::Graph,
        format!("the record has '{key}', but the net has no blob '{name}'"),
    )
    .help(format!("its blobs are: {}", net.blob_names().join(", ")))
}

/// The parameter that `<layer>/<i>` names.
fn param(net: &Net, key: &str, name: &str) -> Result<ParamId> {
    name.rsplit_once('/')
        .and_then(|(layer, i)| {
            let node = net
                .graph()
                .nodes
                .iter()
                .find(|n| &*n.name == layer && !n.params.is_empty())?;
            node.params.get(i.parse::<usize>().ok()?).copied()
        })
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Graph,
                format!("the record has '{key}', but the net has no such parameter"),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worst_element_and_verdict() {
        let row = compare_arrays(
            "out/x",
            &[1.0, 2.0, 3.0],
            &[1.0, 2.1, 3.0],
            Tolerance::default(),
        );
        assert!(!row.ok);
        assert_eq!(row.worst, Some((1, 2.0, 2.1)));
        assert_eq!(row.first, row.worst);
        assert!((row.max_abs - 0.1).abs() < 1e-6);
    }

    #[test]
    fn nan_never_passes_for_a_number() {
        let row = compare_arrays("out/x", &[f32::NAN], &[1.0], Tolerance::default());
        assert!(!row.ok && row.max_abs.is_infinite());
        assert!(compare_arrays("out/x", &[f32::NAN], &[f32::NAN], Tolerance::default()).ok);
    }

    #[test]
    fn counts_that_differ_are_told() {
        assert!(!compare_arrays("out/x", &[1.0], &[1.0, 2.0], Tolerance::default()).ok);
    }
}
