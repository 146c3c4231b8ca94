//! `compare a.npz b.npz` and `compare a.caffemodel b.caffemodel`: two sets of arrays.

use std::{collections::HashMap, path::Path};

use serde_json::{Value, json};

use super::{kind, row_json, spot, tolerance};
use crate::{
    cli::{args::Args, command::Status, nets, table::Table, ui::Ui},
    error::{Error, Result},
    events::Silent,
    load,
    model_io::{binaryproto::to_tensor, caffemodel, npz},
    number::g,
    report::compare::{Pair, compare_sets},
    tensor::Tensor,
};

/// Arrays by name, in order.
type Set = Vec<(String, Tensor)>;

/// Two dumps of blobs.
pub(super) fn dumps(args: &Args, a: &Path, b: &Path, ui: &mut Ui) -> Result<Status> {
    let order = order(args)?;
    let (mut ours, mut theirs) = (arrays(a)?, arrays(b)?);
    if let Some(order) = &order {
        for set in [&mut ours, &mut theirs] {
            set.sort_by_cached_key(|(key, _)| order.place(key));
        }
    }
    let what = match order {
        Some(_) => "in the order of the net",
        None => "in the order of the alphabet; --model=NET tells the net's",
    };
    tell(args, "blobs", what, &ours, &theirs, ui)
}

/// Two files of weights.
pub(super) fn weights(args: &Args, a: &Path, b: &Path, ui: &mut Ui) -> Result<Status> {
    let (mut ours, mut theirs) = (parameters(a)?, parameters(b)?);
    // HDF5 and NumPy keep names in the order of the alphabet: the other file knows better.
    let ordered = |path: &Path| path.extension().is_some_and(|e| e == "caffemodel");
    let mut what = "in the order of the file";
    if let Some(order) = order(args)? {
        for set in [&mut ours, &mut theirs] {
            set.sort_by_cached_key(|(key, _)| order.place(&format!("param/{key}")));
        }
        what = "in the order of the net";
    } else if !ordered(a) && ordered(b) {
        let places: HashMap<&str, usize> = theirs
            .iter()
            .enumerate()
            .map(|(i, (key, _))| (key.as_str(), i))
            .collect();
        let place = |key: &str| places.get(key).copied().unwrap_or(usize::MAX);
        ours.sort_by_key(|(key, _)| place(key));
    }
    tell(args, "weights", what, &ours, &theirs, ui)
}

fn tell(args: &Args, what: &str, how: &str, a: &Set, b: &Set, ui: &mut Ui) -> Result<Status> {
    let tolerance = tolerance(args)?;
    let pairs = compare_sets(a, b, tolerance);
    if pairs.is_empty() {
        return Err(Error::data("neither file has an array"));
    }
    if pairs.iter().all(|p| p.a.is_none() || p.b.is_none()) {
        let some = |set: &Set| {
            let names: Vec<&str> = set.iter().take(8).map(|(key, _)| key.as_str()).collect();
            names.join(", ")
        };
        return Err(
            Error::data("the files have no name in common").help(format!(
                "the first has {}; the second has {}",
                some(a),
                some(b)
            )),
        );
    }
    if args.switch("json") {
        let rows: Vec<Value> = pairs.iter().map(pair_json).collect();
        ui.json(&json!({ "kind": what, "arrays": rows }))?;
    } else {
        ui.print(&report(&pairs, how, what == "blobs"))?;
    }
    Ok(if pairs.iter().all(Pair::ok) {
        Status::Done
    } else {
        Status::Failed
    })
}

fn report(pairs: &[Pair], how: &str, blobs: bool) -> String {
    let head = [
        "array", "values", "max abs", "max rel", "", "furthest", "first", "second",
    ];
    let mut table = Table::new(1, &head);
    for pair in pairs {
        let shape = pair.a.as_ref().or(pair.b.as_ref());
        let count = shape.map_or(0, |s| s.count());
        let mut cells = vec![pair.key.clone(), count.to_string()];
        match (&pair.row, pair.trouble()) {
            (Some(row), _) => {
                cells.extend([g(row.max_abs), g(row.max_rel)]);
                cells.push(if row.ok { "ok" } else { "OUT" }.to_owned());
                if let Some((at, a, b)) = pair.worst().filter(|_| !row.ok) {
                    cells.extend([format!("{at:?}"), g(a), g(b)]);
                }
            }
            (None, trouble) => {
                cells.extend([String::new(), String::new(), "OUT".to_owned()]);
                cells.push(trouble.unwrap_or_default());
            }
        }
        table.row(cells);
    }
    let out = pairs.iter().filter(|p| !p.ok()).count();
    let mut text = format!("{table}{} of {} agree\n", pairs.len() - out, pairs.len());
    if let Some(pair) = pairs.iter().find(|p| !p.ok()) {
        text += &format!("the first apart, {how}: {}", pair.key);
        text += &match (pair.first(), pair.trouble()) {
            (Some((at, a, b)), _) => spot(&at, blobs && !pair.key.contains("param/"), a, b),
            (None, Some(trouble)) => format!(", {trouble}"),
            (None, None) => String::new(),
        };
        text.push('\n');
    }
    text
}

fn pair_json(pair: &Pair) -> Value {
    let dims = |shape: &Option<crate::tensor::Shape>| shape.as_ref().map(|s| s.dims().to_vec());
    let mut value = match &pair.row {
        Some(row) => row_json(row, pair.a.as_ref()),
        None => json!({ "name": pair.key, "ok": false }),
    };
    value["shapes"] = json!([dims(&pair.a), dims(&pair.b)]);
    if let Some(trouble) = pair.trouble() {
        value["trouble"] = trouble.into();
    }
    value
}

/// The arrays of a dump; what a record calls `in/x` or `out/x` is the blob x.
fn arrays(path: &Path) -> Result<Set> {
    let all = npz::read_npz(path)?;
    let mut set: Set = Vec::with_capacity(all.len());
    for (key, tensor) in all {
        let bare = key.strip_prefix("out/").or_else(|| key.strip_prefix("in/"));
        let name = bare.unwrap_or(&key).to_owned();
        if !set.iter().any(|(known, _)| *known == name) {
            set.push((name, tensor));
        }
    }
    set.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(set)
}

/// The parameters of a file as `<layer>/<i>`; a second layer of a name is `<layer>#2`.
fn parameters(path: &Path) -> Result<Set> {
    if kind(path) == super::Kind::Arrays {
        return arrays(path);
    }
    let net = caffemodel::read(path)?;
    let mut set = Set::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for layer in net.layer {
        if layer.blobs.is_empty() {
            continue;
        }
        let count = seen.entry(layer.name().to_owned()).or_default();
        *count += 1;
        let name = match count {
            1 => layer.name().to_owned(),
            n => format!("{}#{n}", layer.name()),
        };
        for (i, blob) in layer.blobs.into_iter().enumerate() {
            // What one layer shares with another is an empty blob in HDF5.
            if blob.data.is_empty() && blob.double_data.is_empty() {
                continue;
            }
            set.push((format!("{name}/{i}"), to_tensor(blob)?));
        }
    }
    Ok(set)
}

/// Where names stand in a net.
struct Order {
    blobs: HashMap<String, i64>,
    layers: HashMap<String, i64>,
}

impl Order {
    /// Blobs first, in the order in which they are made; gradients from the last layer to the first; then parameters.
    fn place(&self, key: &str) -> (u8, i64, String) {
        let blob = |name: &str| self.blobs.get(name).copied();
        let layer = |name: &str| {
            let layer = name.rsplit_once('/').map_or(name, |(layer, _)| layer);
            self.layers.get(layer).copied().unwrap_or(i64::MAX)
        };
        let last = key.to_owned();
        if let Some(at) = blob(key) {
            return (0, at, last);
        }
        match key.split_once('/') {
            Some(("diff" | "grad_in" | "grad_out", name)) => {
                (2, -blob(name).unwrap_or(i64::MAX), last)
            }
            Some(("grad_param", name)) => (3, layer(name).saturating_neg(), last),
            Some(("param" | "param_after", name)) => (1, layer(name), last),
            _ => (4, 0, last),
        }
    }
}

/// The order of `--model`, from its text alone.
fn order(args: &Args) -> Result<Option<Order>> {
    let Some(path) = args.path("model") else {
        return Ok(None);
    };
    let file = load::net(&path, nets::options(args)?, &mut Silent)?;
    let mut order = Order {
        blobs: HashMap::new(),
        layers: HashMap::new(),
    };
    for (i, layer) in (0i64..).zip(&file.net.layer) {
        order.layers.entry(layer.name().to_owned()).or_insert(i);
        for top in &layer.top {
            // By the layer that makes it, not by one that writes over it.
            let next = order.blobs.len() as i64;
            order.blobs.entry(top.clone()).or_insert(next);
        }
    }
    Ok(Some(order))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_as_the_net_works() {
        let map = |names: &[&str]| {
            let pairs = names.iter().zip(0i64..);
            pairs.map(|(name, i)| ((*name).to_owned(), i)).collect()
        };
        let order = Order {
            blobs: map(&["data", "conv", "a/b"]),
            layers: map(&["data", "conv", "ip"]),
        };
        let mut keys = [
            "grad_param/conv/0",
            "grad_param/ip/0",
            "diff/data",
            "diff/conv",
            "unknown",
            "a/b",
            "conv",
            "data",
            "param/conv/1",
        ];
        keys.sort_by_key(|key| order.place(key));
        assert_eq!(
            keys,
            [
                "data",
                "conv",
                "a/b",
                "param/conv/1",
                "diff/conv",
                "diff/data",
                "grad_param/ip/0",
                "grad_param/conv/0",
                "unknown"
            ]
        );
    }
}
