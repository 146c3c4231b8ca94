//! What a command leaves behind of what it did: a run's folder with its page, lines, event files.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    args::{Args, Flag},
    ui::Ui,
};
use crate::{
    dashboard,
    error::{Error, Result},
    events::{Event, Observer as _},
    journal::{Journal, LineFile, RunFolder, TensorBoard},
    schema::SolverParameter,
};

pub(crate) const LOG_JSON: Flag = Flag::value(
    "log_json",
    "FILE",
    "Write everything that happens as lines of JSON",
);
pub(crate) const TENSORBOARD: Flag = Flag::value(
    "tensorboard",
    "DIR",
    "Write event files for TensorBoard: curves, histograms, pictures",
);
pub(crate) const RUN: Flag = Flag::value(
    "run",
    "DIR",
    "Keep the run's record there, with pictures and, in the end, a page: report.html",
);

/// The page that a run leaves in its folder.
const REPORT: &str = "report.html";

/// A record under way; of nothing, where nothing was asked for.
pub(crate) struct Recording {
    journal: Option<Arc<Mutex<Journal>>>,
    folder: Option<PathBuf>,
    title: String,
    pictures: bool,
}

/// A run as its record names it.
pub(crate) struct Named<'a> {
    pub(crate) name: &'a str,
    /// The file that says what runs.
    pub(crate) file: &'a Path,
    /// The folder that it is kept in where none is named; `None` for no folder then.
    pub(crate) folder: Option<PathBuf>,
    /// It goes on with an earlier run.
    pub(crate) go_on: bool,
}

impl Recording {
    /// Begins what the flags ask for, and lets `ui` tell it everything.
    ///
    /// # Errors
    /// Where a file cannot be made, or a folder holds another run.
    pub(crate) fn start(args: &Args, named: Named<'_>, ui: &mut Ui) -> Result<Self> {
        let folder = args.path(RUN.name).or(named.folder);
        let mut journal = Journal::new(named.name, &named.file.display().to_string());
        let mut any = false;
        if let Some(folder) = &folder {
            journal = journal.to(RunFolder::open(folder, named.go_on)?);
            any = true;
        }
        if let Some(file) = args.path(LOG_JSON.name) {
            journal = journal.to(LineFile::open(&file, named.go_on)?);
            any = true;
        }
        let board = args.path(TENSORBOARD.name);
        if let Some(directory) = &board {
            journal = journal.to(TensorBoard::create(directory)?);
            any = true;
        }
        let journal = any.then(|| Arc::new(Mutex::new(journal)));
        if let Some(journal) = &journal {
            ui.record(journal.clone());
        }
        if let Some(folder) = &folder {
            say(ui, &format!("the run's record is in {}", folder.display()));
        }
        Ok(Self {
            journal,
            pictures: folder.is_some() || board.is_some(),
            folder,
            title: named.name.to_owned(),
        })
    }

    /// The run's folder.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Whether pictures and looks at layers are worth their time.
    pub(crate) fn pictures(&self) -> bool {
        self.pictures
    }

    fn journal(&self) -> Option<MutexGuard<'_, Journal>> {
        let journal = self.journal.as_ref()?;
        Some(journal.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes down what is told in other words elsewhere.
    pub(crate) fn tell(&self, event: &Event<'_>) {
        if let Some(mut journal) = self.journal() {
            journal.on(event);
        }
    }

    /// The end of it, and the page.
    pub(crate) fn end(&self, error: Option<&Error>, ui: &mut Ui) {
        let troubles = match self.journal() {
            Some(mut journal) => {
                journal.finish(error.map(Error::to_string).as_deref());
                journal.take_troubles()
            }
            None => return,
        };
        for trouble in troubles {
            ui.warn(&trouble);
        }
        if let Some(folder) = &self.folder {
            let path = folder.join(REPORT);
            let run = dashboard::Run {
                name: self.title.clone(),
                folder: folder.clone(),
            };
            match dashboard::write_report(&[run], &self.title, &path) {
                Ok(()) => say(ui, &format!("the run's page is {}", path.display())),
                Err(error) => ui.warn(&format!("the run's page cannot be written: {error}")),
            }
        }
    }
}

/// A line for the log and for a person alike.
pub(crate) fn say(ui: &mut Ui, text: &str) {
    ui.log("cortado:1", text);
    ui.tell(text);
}

/// The folder of a run that names none: `<snapshot_prefix>_run` or, without a prefix, that of the solver's file; with a
/// number behind it where it holds a run already. One that goes on takes the last of them.
pub(crate) fn folder_of(param: &SolverParameter, solver: &Path, go_on: bool) -> PathBuf {
    let prefix = match param.snapshot_prefix() {
        "" => solver.with_extension("").display().to_string(),
        prefix => prefix.trim_end_matches(['/', '\\']).to_owned(),
    };
    let mut last = None;
    let mut number = 1u64;
    loop {
        let name = match number {
            1 => format!("{prefix}_run"),
            n => format!("{prefix}_run{n}"),
        };
        let folder = PathBuf::from(name);
        if !RunFolder::began(&folder) {
            return last.filter(|_| go_on).unwrap_or(folder);
        }
        last = Some(folder);
        number += 1;
    }
}

/// The name of a run: that of its folder, or else of its file.
pub(crate) fn name_of(folder: Option<&Path>, file: &Path) -> String {
    let of = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
    let stem = || file.file_stem().map(|s| s.to_string_lossy().into_owned());
    folder
        .and_then(of)
        .or_else(stem)
        .unwrap_or_else(|| "run".to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::journal::LINES;

    #[test]
    fn each_run_has_a_folder_and_one_that_goes_on_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().join("snap").display().to_string();
        let param = SolverParameter {
            snapshot_prefix: Some(prefix.clone()),
            ..Default::default()
        };
        let solver = Path::new("solver.prototxt");
        for (go_on, wanted) in [(false, "_run"), (true, "_run"), (false, "_run2")] {
            let folder = folder_of(&param, solver, go_on);
            assert_eq!(folder, PathBuf::from(format!("{prefix}{wanted}")));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(LINES), "{\"kind\":\"step\"}").unwrap();
        }
        let none = folder_of(
            &SolverParameter::default(),
            &dir.path().join("s.prototxt"),
            false,
        );
        assert_eq!(none, dir.path().join("s_run"));
        assert_eq!(name_of(Some(Path::new("a/b_run")), solver), "b_run");
        assert_eq!(name_of(None, solver), "solver");
    }
}
