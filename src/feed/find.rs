//! From the name of a database in a network to where it is, with help where nothing is there.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, ErrorKind, Place, Result},
    model_io::pending::is_part,
    nearest,
    schema::data_parameter::Db,
};

/// The data file of an LMDB, and what every LevelDB has.
const DATA: &str = "data.mdb";
const CURRENT: &str = "CURRENT";

/// What a database is that may be either; an LMDB where there is none.
pub(super) fn kind(path: &Path) -> Db {
    let holds = |file: &str| path.join(file).exists();
    if holds(CURRENT) && !holds(DATA) {
        Db::Leveldb
    } else {
        Db::Lmdb
    }
}

/// The data file of the LMDB at `path`, which the network calls `name`: in that folder, or the file itself.
///
/// # Errors
/// `Io` where there is nothing, `Unsupported` for a LevelDB, `Format` for a folder without a database.
pub(super) fn lmdb(path: &Path, name: &str) -> Result<PathBuf> {
    if !is_folder(path, name)? {
        return Ok(path.to_owned());
    }
    let data = path.join(DATA);
    match fs::metadata(&data) {
        Ok(_) => Ok(data),
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("open", &data, &e)),
        Err(_) if path.join(CURRENT).exists() => Err(Error::unsupported(format!(
            "'{name}' is a LevelDB (the folder has a file {CURRENT}), not an LMDB"
        ))
        .help("say `backend: LEVELDB` in data_param")),
        Err(_) => Err(no_database(
            path,
            format!("'{name}' is a folder without the file {DATA} of an LMDB"),
        )),
    }
}

/// The folder of the LevelDB at `path`, which the network calls `name`.
///
/// # Errors
/// `Io` where there is nothing, `Unsupported` for an LMDB, `Format` for what has no database.
pub(super) fn leveldb(path: &Path, name: &str) -> Result<PathBuf> {
    let folder = is_folder(path, name)?;
    if folder && path.join(CURRENT).exists() {
        return Ok(path.to_owned());
    }
    if path.join(DATA).exists() || path.file_name().is_some_and(|file| file == DATA) {
        return Err(
            Error::unsupported(format!("'{name}' is an LMDB, not a LevelDB"))
                .help("say `backend: LMDB` in data_param"),
        );
    }
    Err(no_database(
        path,
        if folder {
            format!("'{name}' is a folder without the file {CURRENT} of a LevelDB")
        } else {
            format!("'{name}' is a file; a LevelDB is a folder")
        },
    ))
}

fn is_folder(path: &Path, name: &str) -> Result<bool> {
    if name.is_empty() {
        return Err(Error::param("data_param.source", "names no database"));
    }
    let folder = if path.is_dir() {
        Some(path)
    } else {
        path.parent()
    };
    if folder.is_some_and(is_part) {
        return Err(Error::format(format!(
            "'{name}' is a database that was not finished: the program that made it is at work, or was killed"
        ))
        .help("make it again; what is left of it goes then"));
    }
    match fs::metadata(path) {
        Ok(found) => Ok(found.is_dir()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(missing(path, name)),
        Err(e) => Err(Error::io("open", path, &e)),
    }
}

fn no_database(path: &Path, text: String) -> Error {
    let error = Error::format(text);
    match databases_in(path) {
        Some(inside) => error.help(format!("databases are one level below: {inside}")),
        None => error,
    }
}

/// With the database as its place, unless that is told already.
pub(super) fn placed(error: Error, source: &str) -> Error {
    if error.message().contains(source) && !source.is_empty() {
        error
    } else {
        error.at(Place::File(source.to_owned()))
    }
}

pub(super) fn empty() -> Error {
    Error::data("the database has no records")
        .help("see whether the program that wrote it ended well, and write it again")
}

/// The folders in `path` that hold a database.
fn databases_in(path: &Path) -> Option<String> {
    let mut names: Vec<_> = fs::read_dir(path)
        .ok()?
        .flatten()
        .filter(|e| !is_part(&e.path()))
        .filter(|e| {
            [DATA, CURRENT]
                .iter()
                .any(|file| e.path().join(file).exists())
        })
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
        (Some(there), _) => match nearest::in_folder(there, path, |_| false) {
            near if near.is_empty() => {
                "make the database, or name it relative to where the program is started".into()
            }
            near => format!("did you mean {}?", near.join(" or ")),
        },
        _ => "name a database that exists".into(),
    };
    Error::new(ErrorKind::Io, text).help(help)
}
