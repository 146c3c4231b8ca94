//! The runs that are served: folders, and folders of folders.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{Controls, guard::is_picture};
use crate::{
    error::{Error, ErrorKind, Result},
    journal::{LINES, Line, PICTURES, RunFolder},
};

/// Runs at most.
const MOST: usize = 64;
/// A record that nobody wrote to for so long has been left.
const LEFT: Duration = Duration::from_secs(3600);

/// A run that is served.
#[derive(Clone, Debug)]
pub struct Served {
    /// What to call it.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Where this program is what runs.
    pub controls: Option<Controls>,
}

/// The runs of a server. Those in a folder of runs are found as they come.
#[derive(Debug)]
pub struct Runs {
    /// Folders to look in for more.
    parents: Vec<PathBuf>,
    found: Mutex<Vec<Served>>,
}

impl Runs {
    /// One run that is under way in this program.
    pub fn own(run: Served) -> Self {
        Self {
            parents: Vec::new(),
            found: Mutex::new(vec![run]),
        }
    }

    /// The runs of these folders; a folder without a record may hold folders with one.
    ///
    /// # Errors
    /// `Param` where a folder holds no run and no folder of runs.
    pub fn of(folders: &[PathBuf]) -> Result<Self> {
        let mut runs = Self {
            parents: Vec::new(),
            found: Mutex::default(),
        };
        for folder in folders {
            if RunFolder::holds_record(folder) {
                runs.add(folder);
                continue;
            }
            let inside = inside(folder)?;
            if inside.is_empty() {
                return Err(Error::new(
                    ErrorKind::Param,
                    format!("'{}' holds no run: there is no {LINES} in it", folder.display()),
                )
                .help("name the folder that 'train --run DIR' or 'train --dashboard' wrote, or one that holds several"));
            }
            for run in &inside {
                runs.add(run);
            }
            runs.parents.push(folder.clone());
        }
        Ok(runs)
    }

    fn add(&mut self, folder: &Path) {
        let found = self.found.get_mut().unwrap_or_else(PoisonError::into_inner);
        add(found, folder);
    }

    /// The runs as they are now; their places in the list are their numbers.
    pub fn all(&self) -> Vec<Served> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        for parent in &self.parents {
            for folder in inside(parent).unwrap_or_default() {
                add(&mut found, &folder);
            }
        }
        found.clone()
    }

    pub(super) fn get(&self, id: usize) -> Option<Served> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.get(id).cloned()
    }
}

/// Adds a run that is not there yet.
fn add(found: &mut Vec<Served>, folder: &Path) {
    if found.len() >= MOST || found.iter().any(|run| run.folder == folder) {
        return;
    }
    let absolute = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let name = absolute.file_name();
    found.push(Served {
        name: name.map_or_else(|| "run".to_owned(), |n| n.to_string_lossy().into_owned()),
        folder: folder.to_owned(),
        controls: None,
    });
}

/// The folders in a folder that hold a record, sorted.
fn inside(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|e| Error::io("open", folder, &e))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found: Vec<PathBuf> = paths.filter(|p| RunFolder::holds_record(p)).collect();
    found.sort();
    found.truncate(MOST);
    Ok(found)
}

impl Served {
    /// The file of its lines.
    pub(super) fn lines(&self) -> PathBuf {
        self.folder.join(LINES)
    }

    /// Whether more lines may come: it is under way here, or the record has no end and was written to of late.
    pub(super) fn live(&self) -> bool {
        if let Some(controls) = &self.controls {
            return controls.open();
        }
        let changed = fs::metadata(self.lines()).and_then(|m| m.modified());
        let age = changed.ok().and_then(|time| time.elapsed().ok());
        age.is_none_or(|age| age < LEFT) && !ended(&self.lines()).unwrap_or(true)
    }
}

/// A picture of a run, by its name; `None` where there is none, or what has the name is not in the run's folder.
pub(super) fn picture(folder: &Path, name: &str) -> Option<Vec<u8>> {
    const LARGEST: u64 = 16 << 20;
    if !is_picture(name) {
        return None;
    }
    let pictures = fs::canonicalize(folder).ok()?.join(PICTURES);
    let path = pictures.join(name);
    // A link, of the file or of the folder, may lead anywhere.
    if fs::canonicalize(&path).ok()? != path {
        return None;
    }
    let found = fs::metadata(&path).ok()?;
    if !found.is_file() || found.len() > LARGEST {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|f| f.take(LARGEST).read_to_end(&mut bytes))
        .ok()?;
    bytes.starts_with(b"\x89PNG").then_some(bytes)
}

/// Whether the last line of a record says that the run has ended.
fn ended(path: &Path) -> std::io::Result<bool> {
    const TAIL: u64 = 1 << 16;
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let mut lines = tail.split(|&b| b == b'\n').rev();
    let last = lines.find(|line| !line.is_empty()).unwrap_or_default();
    let line = serde_json::from_slice::<Line>(last);
    Ok(matches!(line, Ok(Line::End { .. })))
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: &str = r#"{"kind":"end","t":1,"iteration":4,"early":false,"error":null}"#;
    const STEP: &str = r#"{"kind":"step","t":1,"iteration":4,"loss":1,"rate":1}"#;

    fn run(folder: &Path, text: &str) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(LINES), text).unwrap();
    }

    #[test]
    fn folders_of_runs_grow() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        assert!(Runs::of(&[dir.path().to_owned()]).is_err());
        assert!(Runs::of(&[path("none")]).is_err());
        run(&path("b"), STEP);
        fs::create_dir(path("c")).unwrap();
        let runs = Runs::of(&[dir.path().to_owned()]).unwrap();
        let names = |runs: &Runs| {
            runs.all()
                .iter()
                .map(|r| r.name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&runs), ["b"]);
        run(&path("a"), STEP);
        assert_eq!(names(&runs), ["b", "a"]);
        assert_eq!(names(&Runs::of(&[path("a")]).unwrap()), ["a"]);
    }

    #[cfg(unix)]
    #[test]
    fn pictures_are_of_the_run_alone() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        fs::create_dir_all(run.join(PICTURES)).unwrap();
        let png = b"\x89PNG and so on";
        fs::write(run.join(PICTURES).join("a.png"), png).unwrap();
        assert_eq!(picture(&run, "a.png").as_deref(), Some(&png[..]));
        fs::write(dir.path().join("secret.png"), png).unwrap();
        fs::write(run.join("above.png"), png).unwrap();
        let link = |to: &str, at: &str| {
            std::os::unix::fs::symlink(dir.path().join(to), run.join(PICTURES).join(at)).unwrap();
        };
        link("secret.png", "link.png");
        fs::write(run.join(PICTURES).join("text.png"), "no picture").unwrap();
        fs::create_dir(run.join(PICTURES).join("folder.png")).unwrap();
        for name in [
            "../above.png",
            "link.png",
            "text.png",
            "folder.png",
            "none.png",
        ] {
            assert_eq!(picture(&run, name), None, "{name}");
        }
        // A folder of pictures that leads elsewhere.
        let other = dir.path().join("other");
        fs::create_dir(&other).unwrap();
        std::os::unix::fs::symlink(dir.path(), other.join(PICTURES)).unwrap();
        assert_eq!(picture(&other, "secret.png"), None);
    }

    #[test]
    fn a_run_is_live_until_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let served = Served {
            name: String::new(),
            folder: dir.path().to_owned(),
            controls: None,
        };
        assert!(!served.live());
        run(dir.path(), &format!("{STEP}\n"));
        assert!(served.live());
        run(dir.path(), &format!("{STEP}\n{END}\n"));
        assert!(!served.live());
        // It was resumed.
        run(dir.path(), &format!("{END}\n{STEP}\n"));
        assert!(served.live());
        let controls = Controls::default();
        let own = Served {
            controls: Some(controls.clone()),
            ..served
        };
        assert!(own.live());
        controls.close();
        assert!(!own.live());
    }
}
