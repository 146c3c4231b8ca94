//! What several tests need.

pub(crate) mod segments;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use cortado::{
    events::Silent,
    load::{self, LoadOptions, NetFile},
    model_io::{caffemodel, npz},
    net::{Keep, Net, NetOptions},
    params::Params,
    tensor::Tensor,
};

/// The folder of this repository's fixtures.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// The folders in `dir`, sorted.
pub(crate) fn folders(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    found
}

/// Every file below `dir` whose name ends so, sorted.
pub(crate) fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A recorded case of one layer: see `fixtures/reference/README.md`.
pub(crate) struct Case {
    /// `Convolution/00`.
    pub(crate) name: String,
    pub(crate) file: NetFile,
    pub(crate) record: BTreeMap<String, Tensor>,
    weights: Option<PathBuf>,
}

impl Case {
    pub(crate) fn read(dir: &Path) -> Self {
        let name = format!(
            "{}/{}",
            dir.parent().unwrap().file_name().unwrap().to_string_lossy(),
            dir.file_name().unwrap().to_string_lossy()
        );
        let weights = dir.join("weights.caffemodel");
        Self {
            name,
            file: load::net(
                &dir.join("net.prototxt"),
                LoadOptions::default(),
                &mut Silent,
            )
            .unwrap(),
            record: npz::read_npz(&dir.join("blobs.npz")).unwrap(),
            weights: weights.exists().then_some(weights),
        }
    }

    /// The net with its recorded weights.
    pub(crate) fn net(&self, keep: Keep) -> (Net, Params) {
        self.net_of(&self.file, keep)
    }

    /// Another spelling of the net with the recorded weights.
    pub(crate) fn net_of(&self, file: &NetFile, keep: Keep) -> (Net, Params) {
        let mut params = Params::new();
        let mut net = Net::new(
            &file.net,
            &mut params,
            &NetOptions {
                backward: true,
                keep,
                ..NetOptions::default()
            },
            &mut Silent,
        )
        .unwrap_or_else(|e| panic!("{}: {e}", self.name));
        self.fill(&mut net, &mut params);
        (net, params)
    }

    /// Sets the parameters as recorded.
    pub(crate) fn fill(&self, net: &mut Net, params: &mut Params) {
        if let Some(weights) = &self.weights {
            let model = caffemodel::read(weights).unwrap();
            caffemodel::load_weights(&model, net, params).unwrap();
        }
    }

    /// What is fed.
    pub(crate) fn inputs(&self) -> Vec<(&str, &Tensor)> {
        self.record
            .iter()
            .filter_map(|(key, tensor)| Some((key.strip_prefix("in/")?, tensor)))
            .collect()
    }
}

/// All recorded cases of single layers.
pub(crate) fn cases() -> Vec<Case> {
    folders(&fixtures().join("reference/layers"))
        .iter()
        .flat_map(|kind| folders(kind))
        .map(|dir| Case::read(&dir))
        .collect()
}

/// The Python of the environment variable CORTADO_PYTHON; without one that has these modules the test says that it is
/// skipped.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
pub(crate) fn python_or_skip(modules: &[&str]) -> Option<PathBuf> {
    let found = std::env::var_os("CORTADO_PYTHON").map(PathBuf::from);
    let found = found.filter(|python| {
        let check = format!("import {}", modules.join(", "));
        let status = std::process::Command::new(python)
            .args(["-c", &check])
            .status();
        status.is_ok_and(|status| status.success())
    });
    if found.is_none() {
        eprintln!(
            "skipped: CORTADO_PYTHON names no Python with {}",
            modules.join(", ")
        );
    }
    found
}

/// Asserts that onnxruntime makes the same of so many models in a folder as the records beside them say; `of` is what
/// the tolerance goes by, each `value` or an output's `largest`.
pub(crate) fn models_agree(python: &Path, folder: &Path, count: usize, of: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/run_onnx.py");
    let output = std::process::Command::new(python)
        .arg(script)
        .arg(folder)
        .arg(of)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let out: Vec<&str> = said.lines().filter(|l| !l.ends_with(" ok")).collect();
    assert!(
        out.is_empty() && said.lines().count() == count,
        "{}\n{}",
        out.join("\n"),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs a script of `tests/support` on a folder; `kind` says what it has to do there.
pub(crate) fn script(python: &Path, name: &str, kind: &str, dir: &Path) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support");
    let output = std::process::Command::new(python)
        .arg(file.join(name))
        .args([Path::new(kind), dir])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {kind}: {text}");
}
