//! Text files by path.

use std::{env, fs, io, path::Path};

use crate::error::{Error, Result};

use super::{Options, Parsed, Source, parse_with};

/// Reads a text file as a message of Caffe's schema.
///
/// # Errors
/// `Io` where the file cannot be read, with what is near it; otherwise as [`super::parse`].
pub fn read_file<T: prost::Message + Default>(
    message: &str,
    path: &Path,
    options: Options,
) -> Result<Parsed<T>> {
    let bytes = fs::read(path).map_err(|error| refused(path, &error))?;
    parse_with(
        message,
        &Source::new(&path.display().to_string(), bytes),
        options,
    )
}

fn refused(path: &Path, error: &io::Error) -> Error {
    let refused = Error::io("read", path, error);
    if error.kind() != io::ErrorKind::NotFound {
        return refused;
    }
    let mut help = Vec::new();
    if path.is_relative()
        && let Ok(here) = env::current_dir()
    {
        help.push(format!(
            "the path is relative to the current directory, {}",
            here.display()
        ));
    }
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        help.push(format!("there is no directory '{}'", folder.display()));
    } else if let Some(near) = near_names(path, folder) {
        help.push(format!("near it: {near}"));
    }
    if help.is_empty() {
        refused
    } else {
        refused.help(help.join("; "))
    }
}

/// Up to four names in `folder`: those most like the wanted one, and prototxts before others.
fn near_names(path: &Path, folder: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_string_lossy();
    let mut names: Vec<(usize, String)> = fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter_map(|name| {
            let distance = strsim::osa_distance(&wanted, &name);
            let near = distance <= 2 + wanted.chars().count() / 4;
            (near || name.ends_with(".prototxt")).then_some((distance, name))
        })
        .collect();
    names.sort();
    names.truncate(4);
    let quoted: Vec<_> = names.iter().map(|(_, name)| format!("'{name}'")).collect();
    (!quoted.is_empty()).then(|| quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::ErrorKind, schema::NetParameter};

    #[test]
    fn a_missing_file_names_its_neighbours() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("train_val.prototxt"), "name: 'x'").unwrap();
        let read = |name: &str| {
            let path = folder.path().join(name);
            read_file::<NetParameter>("NetParameter", &path, Options::default())
        };
        assert_eq!(read("train_val.prototxt").unwrap().message.name(), "x");
        let error = read("trainval.prototxt").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert_eq!(error.help_text(), Some("near it: 'train_val.prototxt'"));
        let error = read("no/such.prototxt").unwrap_err();
        assert!(error.help_text().unwrap().contains("there is no directory"));
        let path = Path::new("no_such_file.prototxt");
        let error =
            read_file::<NetParameter>("NetParameter", path, Options::default()).unwrap_err();
        assert!(
            error
                .help_text()
                .unwrap()
                .contains("relative to the current directory")
        );
    }
}
