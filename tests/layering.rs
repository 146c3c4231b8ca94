//! Who may import whom: the table of rooms, held against every `use crate::` and `crate::` path in `src/`.

use std::{collections::BTreeMap, path::Path};

use crate::support::files;

/// Room, and the rooms that it may use. No row may grow without a review.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("nearest", &[]),
    ("number", &[]),
    ("rng", &[]),
    ("threads", &[]),
    ("schema", &[]),
    ("kernels", &[]),
    ("memory", &["error"]),
    ("tensor", &["error"]),
    ("params", &["tensor"]),
    ("metrics", &["error"]),
    // Metrics: what a test or a look at the layers found is told as it stands.
    ("events", &["tensor", "schema", "metrics"]),
    ("text", &["schema", "nearest", "number", "error"]),
    ("upgrade", &["schema", "error"]),
    ("load", &["text", "upgrade", "schema", "events", "error"]),
    ("filler", &["schema", "tensor", "rng", "error"]),
    (
        "layer",
        // Kernels: the activation that a layer may absorb is the one that they apply.
        &[
            "schema", "tensor", "params", "filler", "rng", "error", "kernels",
        ],
    ),
    (
        "optimize",
        // Schema and tensor: what is folded for good becomes weights of other layers.
        &["graph", "layer", "params", "schema", "tensor", "error"],
    ),
    (
        "feed",
        // Text: a detection database comes with a label map in prototxt.
        &[
            "schema", "tensor", "kernels", "rng", "threads", "nearest", "error", "model_io", "text",
        ],
    ),
    (
        "database",
        // Graph and params: labels are brought to the cells of a net's map, and the net says where they are.
        &[
            "feed", "graph", "metrics", "params", "schema", "tensor", "rng", "threads", "nearest",
            "error",
        ],
    ),
    (
        "layers",
        // Text and number: label maps are prototxts, and files of detections hold scores as Caffe prints them.
        &[
            "layer", "feed", "kernels", "tensor", "filler", "schema", "params", "nearest",
            "number", "text", "error",
        ],
    ),
    (
        "graph",
        &[
            "layer", "layers", "memory", "params", "filler", "rng", "schema", "tensor", "nearest",
            "error",
        ],
    ),
    (
        "net",
        &[
            "graph", "memory", "number", "layer", "optimize", "params", "tensor", "rng", "schema",
            "events", "error",
        ],
    ),
    (
        "model_io",
        &[
            "schema", "upgrade", "net", "graph", "layer", "params", "tensor", "error",
        ],
    ),
    (
        "solver",
        // Metrics: the sums of a detection test.
        &[
            "net", "graph", "model_io", "load", "kernels", "nearest", "number", "params", "schema",
            "tensor", "events", "metrics", "rng", "error",
        ],
    ),
    (
        "deploy",
        // Text and load: layers that are kept stand as they were written.
        &[
            "graph", "layer", "layers", "load", "text", "params", "schema", "tensor", "events",
            "error",
        ],
    ),
    (
        "anatomy",
        // Report: one way to make text safe in SVG.
        &[
            "graph", "layer", "layers", "net", "params", "report", "schema", "tensor", "error",
        ],
    ),
    (
        "onnx",
        // Layers: what a layer's options mean is read where the layer reads it.
        &[
            "net", "graph", "layer", "layers", "model_io", "params", "schema", "tensor", "rng",
            "nearest", "error",
        ],
    ),
    (
        "report",
        // Rng: an ascent starts from noise. Number: values in captions, as everywhere.
        &[
            "net", "graph", "params", "tensor", "events", "rng", "number", "error",
        ],
    ),
    (
        "watch",
        // Solver: what looks on is called by it. Layers and feed: whose scores, and which records.
        &[
            "solver", "net", "graph", "layer", "layers", "feed", "kernels", "params", "metrics",
            "report", "schema", "tensor", "events", "error",
        ],
    ),
    (
        "check",
        // A rule may build the net, run a batch of it, and look for the files that it names.
        &[
            "text", "load", "upgrade", "graph", "net", "layer", "layers", "filler", "feed",
            "model_io", "schema", "params", "report", "metrics", "events", "tensor", "nearest",
            "number", "error",
        ],
    ),
    (
        "doctor",
        // It trains for a while, with everything looking on.
        &[
            "check", "watch", "solver", "load", "graph", "net", "layer", "layers", "feed",
            "model_io", "schema", "params", "report", "metrics", "events", "tensor", "number",
            "rng", "error",
        ],
    ),
    (
        "journal",
        &[
            "events", "metrics", "model_io", "schema", "tensor", "number", "error",
        ],
    ),
    (
        "dashboard",
        // Model_io: a page is written beside and renamed, as a model is.
        &[
            "journal", "metrics", "model_io", "report", "load", "graph", "feed", "schema",
            "tensor", "events", "rng", "error",
        ],
    ),
];

/// The file's text without its tests: they may use what they like.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..end]
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The rooms that a file names after `crate::`, groups in braces included.
fn rooms_used(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    _ if depth > 0 => continue,
                    ',' => word.clear(),
                    c if c.is_alphanumeric() || c == '_' => word.push(c),
                    ':' if !word.is_empty() => rooms.push(std::mem::take(&mut word)),
                    _ => {}
                }
                if c == ':' {
                    word.push(' ');
                }
            }
        } else {
            rooms.push(
                rest.chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect(),
            );
        }
    }
    rooms.retain(|r| !r.trim().is_empty() && !r.starts_with(' '));
    rooms
}

#[test]
fn a_group_is_read_by_its_first_words() {
    let rooms = rooms_used(
        "use crate::{\n error::{Error, Result},\n text::{self, Document},\n layers,\n};",
    );
    assert_eq!(rooms, ["error", "text"]);
    assert_eq!(rooms_used("let x = crate::net::Net::new();"), ["net"]);
}

#[test]
fn rooms_use_only_what_the_table_allows() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let table: BTreeMap<&str, &[&str]> = ROOMS.iter().copied().collect();
    let mut breaches = Vec::new();
    for file in files(&src, ".rs") {
        let inside = file
            .strip_prefix(&src)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let room = inside.split(['/', '.']).next().unwrap();
        if ["cli", "lib", "main"].contains(&room)
            || inside.ends_with("tests.rs")
            || inside.ends_with("testing.rs")
        {
            continue;
        }
        let allowed = table
            .get(room)
            .unwrap_or_else(|| panic!("room '{room}' has no row in the table"));
        for used in rooms_used(&code(&file)) {
            if used != room && !allowed.contains(&used.as_str()) {
                breaches.push(format!("{inside} uses {used}"));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

/// No layer's file imports another layer's.
#[test]
fn layers_stand_alone() {
    let layers = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/layers");
    for file in files(&layers, ".rs") {
        let text = code(&file);
        assert!(
            file.ends_with("layers/mod.rs") || !text.contains("crate::layers::"),
            "{} reaches into another family",
            file.display()
        );
    }
}
