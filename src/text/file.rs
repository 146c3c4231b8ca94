//! Text files by path.

use std::{env, fs, io, path::Path};

use crate::{
    error::{Error, Result},
    nearest,
};

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
    } else {
        let near = nearest::in_folder(folder, path, |name| name.ends_with(".prototxt"));
        if !near.is_empty() {
            help.push(format!("near it: {}", near.join(", ")));
        }
    }
    if help.is_empty() {
        refused
    } else {
        refused.help(help.join("; "))
    }
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
