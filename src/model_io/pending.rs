//! What is being made and has no name of its own yet. The program knows all of it, so that an end by a signal leaves
//! nothing behind; and it is told apart from what it is to become.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tempfile::Builder;

use crate::error::{Error, ErrorKind, Result};

/// How the names of files and folders in the making begin and end.
const PREFIX: &str = ".cortado-";
const SUFFIX: &str = ".part";

/// Names in `folder` for what is to be `path` there.
///
/// # Errors
/// `Io` where there is no such folder.
pub(crate) fn names(folder: &Path, path: &Path) -> Result<Builder<'static, 'static>> {
    if !folder.is_dir() {
        return Err(Error::new(
            ErrorKind::Io,
            format!(
                "cannot create '{}': there is no folder '{}'",
                path.display(),
                folder.display()
            ),
        )
        .help("make the folder first"));
    }
    let mut builder = Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX);
    Ok(builder)
}

/// Why `path` could not be begun: without the name that it had for the time, which says nothing to the user.
pub(crate) fn failed(path: &Path, e: &io::Error) -> Error {
    Error::io("create", path, &io::Error::from(e.kind()))
}

/// Whether this is the name of something in the making, or of what a killed program left of it.
pub(crate) fn is_part(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX))
}

static PENDING: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn all() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file or folder in the making, known until it is dropped.
#[derive(Debug)]
pub(crate) struct Pending(PathBuf);

impl Pending {
    pub(crate) fn new(path: &Path) -> Self {
        all().insert(path.to_owned());
        Self(path.to_owned())
    }

    /// Gives it its name by `rename`, which [`clear`] cannot interrupt: it comes before, or not at all.
    pub(crate) fn named<T>(self, rename: impl FnOnce() -> T) -> T {
        let mut all = all();
        let done = rename();
        all.remove(&self.0);
        done
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        all().remove(&self.0);
    }
}

/// Removes everything in the making, from a thread that ends the program right after: who goes on with one of them waits
/// from now on.
pub(crate) fn clear() {
    let all = all();
    for path in all.iter() {
        remove(path);
    }
    std::mem::forget(all);
}

fn remove(path: &Path) {
    // Another thread may put a file into a folder that is being emptied.
    for _ in 0..100 {
        let done = match path.is_dir() {
            true => fs::remove_dir_all(path),
            false => fs::remove_file(path),
        };
        match done {
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_by_their_names() {
        assert!(is_part(Path::new("a/.cortado-x1.part")));
        assert!(!is_part(Path::new("a/.cortado-x1.part/data.mdb")));
        assert!(!is_part(Path::new("cortado.part")));
        assert!(!is_part(Path::new("")));
    }

    #[test]
    fn what_has_a_name_is_known_no_longer() {
        let path = |name: &str| Path::new("/nowhere").join(name);
        let (kept, dropped) = (Pending::new(&path("a")), Pending::new(&path("b")));
        assert!(all().contains(&path("a")) && all().contains(&path("b")));
        assert_eq!(kept.named(|| 7), 7);
        drop(dropped);
        assert!(!all().contains(&path("a")) && !all().contains(&path("b")));
    }

    #[test]
    fn files_and_folders_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (file, folder) = (dir.path().join("f"), dir.path().join("d"));
        fs::write(&file, "x").unwrap();
        fs::create_dir_all(folder.join("deep")).unwrap();
        for path in [&file, &folder, &dir.path().join("gone")] {
            remove(path);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
