//! A new folder that appears under its name only when it is whole.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    error::{Error, ErrorKind, Result},
    model_io::pending::{self, Pending, is_part},
};

/// A folder in the making: beside its place and with another name until [`finish`](Self::finish); dropped before, it
/// leaves nothing.
pub(crate) struct NewFolder {
    // Fields drop in this order: the folder goes before it is forgotten and unlocked.
    folder: TempDir,
    pending: Pending,
    /// Says to other programs that somebody is at work here; `None` where the system has no locks of folders.
    _lock: Option<File>,
    target: PathBuf,
}

impl NewFolder {
    /// Begins what is to be the folder `path`. What a killed program left beside it, half made, is removed.
    ///
    /// # Errors
    /// `Io` where something is there already, other than an empty folder, or the parent cannot be written.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let failed = |e: io::Error| Error::io("create", path, &e);
        let path = std::path::absolute(path).map_err(failed)?;
        match fs::read_dir(&path) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return Err(Error::new(
                        ErrorKind::Io,
                        format!(
                            "cannot create '{}': it exists and is not empty",
                            path.display()
                        ),
                    )
                    .help("choose another name, or remove it first"));
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => {
                return Err(Error::io("create", &path, &e)
                    .help("choose another name, or remove what is there"));
            }
        }
        let parent = path.parent().unwrap_or(Path::new("."));
        remove_left(parent);
        let mut builder = pending::names(parent, &path)?;
        // A temporary folder is private by default; this one is to get the permissions any new folder gets.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        loop {
            let folder = builder
                .tempdir_in(parent)
                .map_err(|e| pending::failed(&path, &e))?;
            let pending = Pending::new(folder.path());
            let lock = File::open(folder.path()).ok();
            let lock = lock.filter(|file| file.lock().is_ok());
            // Between its making and its lock, another program may have taken it for one that was left.
            if folder.path().exists() {
                return Ok(Self {
                    folder,
                    pending,
                    _lock: lock,
                    target: path,
                });
            }
        }
    }

    /// Where it is being made.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// `Io` where the name has been taken meanwhile.
    pub(crate) fn finish(self) -> Result<()> {
        let Self {
            folder,
            pending,
            _lock,
            target,
        } = self;
        let rename = || {
            // Not every system renames onto an empty folder; removing fails on one that is not empty.
            match fs::remove_dir(&target) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            fs::rename(folder.path(), &target)
        };
        pending
            .named(rename)
            .map_err(|e| Error::io("create", &target, &e))
    }
}

/// Removes the half-made folders in `parent` that nobody works on any longer.
fn remove_left(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for part in entries.map(|entry| entry.path()).filter(|p| is_part(p)) {
        let is_folder = fs::symlink_metadata(&part).is_ok_and(|found| found.is_dir());
        if !is_folder {
            continue;
        }
        // The lock of a program goes with it, however it ends.
        if let Ok(folder) = File::open(&part)
            && folder.try_lock().is_ok()
        {
            // What cannot be removed now is in nobody's way.
            let _ = fs::remove_dir_all(&part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = names
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[cfg(unix)]
    #[test]
    fn what_was_left_goes_and_what_is_in_work_stays() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path();
        let left = here.join(".cortado-left.part");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("data.mdb"), "half").unwrap();
        // A file of that name is no half-made folder, and another hidden folder is somebody else's.
        fs::write(here.join(".cortado-file.part"), "").unwrap();
        fs::create_dir(here.join(".cortado")).unwrap();
        let one = NewFolder::create(&here.join("one")).unwrap();
        assert!(!left.exists());
        fs::write(one.path().join("x"), "1").unwrap();
        let two = NewFolder::create(&here.join("two")).unwrap();
        assert!(one.path().join("x").exists());
        one.finish().unwrap();
        drop(two);
        assert_eq!(names(here), [".cortado", ".cortado-file.part", "one"]);
        assert_eq!(names(&here.join("one")), ["x"]);
    }

    #[test]
    fn a_name_that_was_taken_meanwhile_stays_with_what_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("db");
        let folder = NewFolder::create(&target).unwrap();
        fs::create_dir(&target).unwrap();
        fs::write(target.join("theirs"), "").unwrap();
        assert!(folder.finish().is_err());
        assert_eq!(names(dir.path()), ["db"]);
        assert_eq!(names(&target), ["theirs"]);
    }
}
