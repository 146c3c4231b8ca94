//! From the name in a network to the data file, with help where nothing is there.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::error::{Error, ErrorKind, Result};

const DATA: &str = "data.mdb";

/// The data file of the database at `path`, which the network calls `name`.
///
/// # Errors
/// `Io` where there is nothing, `Unsupported` for a LevelDB, `Format` for a folder without a database.
pub(super) fn data_file(path: &Path, name: &str) -> Result<PathBuf> {
    if name.is_empty() {
        return Err(Error::param("data_param.source", "names no database"));
    }
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(missing(path, name)),
        Err(e) => return Err(Error::io("open", path, &e)),
    };
    if !found.is_dir() {
        return Ok(path.to_owned());
    }
    let data = path.join(DATA);
    match fs::metadata(&data) {
        Ok(_) => Ok(data),
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("open", &data, &e)),
        Err(_) if path.join("CURRENT").exists() => Err(Error::unsupported(format!(
            "'{name}' is a LevelDB (the folder has a file CURRENT); LMDB can be read"
        ))
        .help(
            "make the database again with --backend=lmdb, and say `backend: LMDB` in data_param",
        )),
        Err(_) => {
            let mut error = Error::format(format!(
                "'{name}' is a folder without the file {DATA} of an LMDB"
            ));
            if let Some(inside) = databases_in(path) {
                error = error.help(format!("databases are one level below: {inside}"));
            }
            Err(error)
        }
    }
}

/// The folders in `path` that hold an LMDB.
fn databases_in(path: &Path) -> Option<String> {
    let mut names: Vec<_> = fs::read_dir(path)
        .ok()?
        .flatten()
        .filter(|e| e.path().join(DATA).exists())
        .map(|e| format!("'{}'", e.file_name().to_string_lossy()))
        .collect();
    names.sort();
    names.truncate(5);
    (!names.is_empty()).then(|| names.join(", "))
}

fn missing(path: &Path, name: &str) -> Error {
    let mut text = format!(
        "there is no database '{name}': {} does not exist",
        path.display()
    );
    if let Ok(cwd) = env::current_dir() {
        text.push_str(&format!(" (working directory {})", cwd.display()));
    }
    let there = path.ancestors().skip(1).find(|p| p.is_dir());
    let help = match (there, path.parent()) {
        (Some(there), Some(parent)) if there != parent => {
            format!("the path ends at {}, which exists", there.display())
        }
        (Some(there), _) => match near(there, path) {
            Some(near) => format!("did you mean {near}?"),
            None => "make the database, or name it relative to where the program is started".into(),
        },
        _ => "name a database that exists".into(),
    };
    Error::new(ErrorKind::Io, text).help(help)
}

/// Names in `parent` that `path`'s is perhaps a misspelling of, best first.
fn near(parent: &Path, path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_string_lossy().to_lowercase();
    let mut names: Vec<(f64, String)> = fs::read_dir(parent)
        .ok()?
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .map(|name| (strsim::jaro_winkler(&wanted, &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .collect();
    names.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    names.truncate(3);
    let names: Vec<_> = names.into_iter().map(|(_, n)| format!("'{n}'")).collect();
    (!names.is_empty()).then(|| names.join(" or "))
}
