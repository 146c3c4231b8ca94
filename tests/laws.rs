//! Laws over tables and files: names, order, documentation, fixtures, size.

use std::{collections::BTreeMap, path::Path};

use cortado::layers;

use crate::support::{files, fixtures};

/// Types without recorded cases of their own, each with what stands in.
const NO_CASES: &[(&str, &str)] = &[
    (
        "AnnotatedData",
        "it has no bottom; its own tests, and fixtures/feed for what it does to pixels",
    ),
    (
        "DenseImageData",
        "it has no bottom; its own tests, and fixtures/feed for what it does to pixels",
    ),
    (
        "ImageData",
        "it has no bottom; its own tests, and fixtures/feed for decoding and resizing",
    ),
    (
        "ImageSegData",
        "it has no bottom; its own tests, and DenseImageData's, which it shares its reading with",
    ),
    (
        "MemoryData",
        "its tops are set from outside, as Input's are, through which every case is fed",
    ),
    (
        "VideoData",
        "it has no bottom; its own tests, and fixtures/feed for what it does to pixels",
    ),
    (
        "WindowData",
        "it has no bottom; its own tests, and fixtures/feed for decoding and resizing",
    ),
    (
        "Data",
        "the runs in fixtures/reference/runs read their records through it",
    ),
    (
        "HDF5Data",
        "its tests read fixtures/hdf5, which h5py wrote; a case is fed through Input layers",
    ),
    (
        "HDF5Output",
        "its tests read back what it wrote; a file is no top",
    ),
    ("Input", "every recorded case is fed through it"),
];

/// `SoftmaxWithLoss` → `softmax_with_loss`.
fn file_name(kind: &str) -> String {
    let chars: Vec<char> = kind.chars().collect();
    let mut name = String::new();
    for (i, &c) in chars.iter().enumerate() {
        let starts = c.is_uppercase()
            && i > 0
            && (chars[i - 1].is_lowercase() || chars.get(i + 1).is_some_and(|n| n.is_lowercase()));
        if starts {
            name.push('_');
        }
        name.extend(c.to_lowercase());
    }
    name
}

/// Names that break the rule of [`file_name`].
const SPELLED: &[(&str, &str)] = &[
    ("PReLU", "prelu"),
    ("ReLU", "relu"),
    ("ReLU6", "relu6"),
    ("TanH", "tanh"),
    ("DummyData", "dummy_data"),
    // `normalize.rs` is what losses divide by.
    ("Normalize", "normalize_vectors"),
];

/// The name of a type's file, without its ending.
pub(crate) fn stem(kind: &str) -> String {
    let spelled = SPELLED.iter().find(|(name, _)| *name == kind);
    spelled.map_or_else(|| file_name(kind), |(_, file)| (*file).to_owned())
}

#[test]
fn types_are_unique_and_rows_sorted() {
    for family in layers::FAMILIES {
        let names: Vec<&str> = family.iter().map(|kind| kind.name).collect();
        assert!(names.is_sorted(), "{names:?}");
    }
    let mut all: Vec<&str> = layers::all().map(|kind| kind.name).collect();
    all.sort_unstable();
    let count = all.len();
    all.dedup();
    assert_eq!(all.len(), count, "a type is registered twice");
}

#[test]
fn every_layer_has_cases_and_a_formula() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/layers");
    let sources: BTreeMap<String, String> = files(&src, ".rs")
        .into_iter()
        .map(|path| {
            (
                path.file_stem().unwrap().to_string_lossy().into_owned(),
                std::fs::read_to_string(&path).unwrap(),
            )
        })
        .collect();
    for kind in layers::all() {
        let stem = stem(kind.name);
        let source = sources
            .get(&stem)
            .unwrap_or_else(|| panic!("{} has no file {stem}.rs", kind.name));
        let head: String = source
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .collect();
        assert!(
            head.starts_with(&format!("//! {}:", kind.name)),
            "{stem}.rs does not open with `//! {}: ` and what it computes",
            kind.name
        );
        assert!(
            head.contains("Shapes:"),
            "{stem}.rs says no shapes at its head"
        );
        let cases = fixtures().join("reference/layers").join(kind.name);
        let excused = NO_CASES.iter().any(|(name, _)| *name == kind.name);
        assert!(
            cases.is_dir() != excused,
            "{} has cases or an excuse, one of the two",
            kind.name
        );
    }
}

#[test]
fn the_readme_has_a_line_for_every_command() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let told: Vec<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `cortado ")?.split([' ', '`']).next())
        .collect();
    let mut known: Vec<&str> = cortado::cli::COMMANDS.iter().map(|c| c.name).collect();
    known.sort_unstable();
    let mut sorted = told.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, known, "one line for each command");
}

#[test]
fn files_stay_small() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut lengths: Vec<(usize, String)> = ["src", "tests", "benches"]
        .iter()
        .filter(|dir| root.join(dir).is_dir())
        .flat_map(|dir| files(&root.join(dir), ".rs"))
        .map(|path| {
            let lines = std::fs::read_to_string(&path).unwrap().lines().count();
            (lines, path.display().to_string())
        })
        .collect();
    lengths.sort();
    let (longest, path) = lengths.last().unwrap();
    assert!(
        *longest <= 800,
        "{path} has {longest} lines; split it by idea"
    );
    let median = lengths[lengths.len() / 2].0;
    assert!(median <= 200, "the median file has {median} lines");
}
