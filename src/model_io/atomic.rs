//! Writing a file so that its name always holds either the old content or the new one, whole.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use super::pending::{self, Pending};
use crate::error::{Error, Result};

/// What [`atomic_write`] lends: buffered, and able to seek.
pub type Writer = BufWriter<File>;

/// Writes `path` through `write`: first beside it, in the same directory, then on the disk, then under its name.
///
/// Where anything fails, a file that was there stays as it was and nothing is left beside it. A symbolic link is
/// followed. What is no regular file, such as `/dev/stdout`, is written in place.
///
/// # Errors
/// `Io` where the system refuses; else the error of `write`.
pub fn atomic_write<F>(path: &Path, write: F) -> Result<()>
where
    F: FnOnce(&mut Writer) -> Result<()>,
{
    let failed = |what: &str, e: &std::io::Error| Error::io(what, path, e);
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    if let Ok(found) = fs::metadata(&target)
        && !found.is_file()
        && !found.is_dir()
    {
        let file = File::options()
            .write(true)
            .open(&target)
            .map_err(|e| failed("open", &e))?;
        let mut writer = BufWriter::new(file);
        write(&mut writer)?;
        return writer.flush().map_err(|e| failed("write", &e));
    }

    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let mut builder = pending::names(&directory, path)?;
    // A temporary file is private by default; this one is to get the permissions any new file gets.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let (file, name) = builder
        .tempfile_in(&directory)
        .map_err(|e| pending::failed(path, &e))?
        .into_parts();
    let pending = Pending::new(&name);

    let mut writer = BufWriter::new(file);
    write(&mut writer)?;
    let file = writer
        .into_inner()
        .map_err(|e| failed("write", e.error()))?;
    file.sync_all().map_err(|e| failed("write", &e))?;
    drop(file);
    pending
        .named(|| name.persist(&target))
        .map_err(|e| failed("write", &e.error))?;
    // The new name itself survives a power cut only once the directory is on the disk. Not every file system can do
    // that, and the content is safe already.
    #[cfg(unix)]
    if let Ok(directory) = File::open(&directory) {
        let _ = directory.sync_all();
    }
    Ok(())
}

/// Writes these bytes to `path`, as [`atomic_write`] does.
///
/// # Errors
/// `Io` where the system refuses.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    atomic_write(path, |file| {
        file.write_all(bytes)
            .map_err(|e| Error::io("write", path, &e))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn replaces_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w");
        for text in ["old", "new"] {
            atomic_write(&path, |w| {
                w.write_all(text.as_bytes())
                    .map_err(|e| Error::io("write", &path, &e))
            })
            .unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(names(dir.path()), ["w"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w");
        fs::write(&path, "old").unwrap();
        let error = atomic_write(&path, |w| {
            w.write_all(b"half").unwrap();
            Err(Error::data("stop"))
        })
        .unwrap_err();
        assert_eq!(error.message(), "stop");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(dir.path()), ["w"]);
    }

    #[test]
    fn a_missing_directory_is_an_io_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("no/w");
        let error = atomic_write(&path, |_| Ok(())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.message().contains("no/w"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn follows_a_link_and_keeps_ordinary_permissions() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let ordinary = fs::metadata(&real).unwrap().permissions().mode();
        atomic_write(&link, |w| {
            w.write_all(b"new").unwrap();
            Ok(())
        })
        .unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode(), ordinary);
    }
}
