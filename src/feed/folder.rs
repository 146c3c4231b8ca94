//! A new folder that appears under its name only when it is whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::error::{Error, ErrorKind, Result};

/// A folder in the making: beside its place and with another name until [`finish`](Self::finish); dropped before, it
/// leaves nothing.
pub(crate) struct NewFolder {
    folder: TempDir,
    target: PathBuf,
}

impl NewFolder {
    /// Begins what is to be the folder `path`.
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
            Err(e) => return Err(Error::io("create", &path, &e)),
        }
        let parent = path.parent().unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".cortado-").suffix(".part");
        // A temporary folder is private by default; this one is to get the permissions any new folder gets.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        let folder = builder.tempdir_in(parent).map_err(failed)?;
        Ok(Self {
            folder,
            target: path,
        })
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
        let failed = |e: io::Error| Error::io("create", &self.target, &e);
        // Not every system renames onto an empty folder; removing fails on one that is not empty.
        match fs::remove_dir(&self.target) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        fs::rename(self.folder.path(), &self.target).map_err(failed)
    }
}
