//! The text format from outside: fixtures, random input, and a folder of files from the wild.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use cortado::{
    error::Error,
    schema::{NetParameter, SolverParameter},
    text::{self, Options, Source, Warning},
};

/// Reads a file as what its name says: a solver's where it says so, else a net's.
fn read(name: &str, bytes: &[u8], options: Options) -> Result<Vec<Warning>, Error> {
    let source = Source::new(name, bytes);
    if name.contains("solver") {
        text::parse_with::<SolverParameter>("SolverParameter", &source, options).map(|p| p.warnings)
    } else {
        text::parse_with::<NetParameter>("NetParameter", &source, options).map(|p| p.warnings)
    }
}

fn files(folder: &Path, ending: &str, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, ending, out);
        } else if path.to_string_lossy().ends_with(ending) {
            out.push(path);
        }
    }
    out.sort();
}

/// Files of the corpus that are not protobuf text format, or not Caffe's.
const REFUSED: &[(&str, &str)] = &[];

/// Reads every prototxt below the folder that `CORTADO_CORPUS` names.
#[test]
fn files_from_the_wild_are_read() {
    let Some(folder) = env::var_os("CORTADO_CORPUS").map(PathBuf::from) else {
        eprintln!("skipped: CORTADO_CORPUS names no folder of prototxts");
        return;
    };
    let mut paths = Vec::new();
    files(&folder, ".prototxt", &mut paths);
    assert!(!paths.is_empty(), "no prototxt in {}", folder.display());
    let mut wrong = Vec::new();
    let verbose = env::var_os("CORTADO_CORPUS_WARNINGS").is_some();
    for path in paths {
        let name = path
            .strip_prefix(&folder)
            .unwrap()
            .to_string_lossy()
            .replace('\\', "/");
        let listed = REFUSED.iter().any(|(refused, _)| *refused == name);
        match read(&name, &fs::read(&path).unwrap(), Options::default()) {
            Ok(warnings) => {
                if listed {
                    wrong.push(format!("{name} is listed as refused, but is read"));
                }
                if verbose {
                    warnings.iter().for_each(|warning| eprintln!("{warning}"));
                }
            }
            Err(error) if !listed => wrong.push(error.to_string()),
            Err(_) => {}
        }
    }
    assert!(
        wrong.is_empty(),
        "{} files:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
