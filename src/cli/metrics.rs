//! What 'train' and 'test' have in common about figures: flags, names of classes, the file of figures.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use super::{
    args::{Args, Flag},
    ui::Ui,
};
use crate::{
    error::{Error, Result},
    events::Event,
    journal::figures::{Test, Tests},
    metrics::precision::{VERSIONS, Version},
    model_io::atomic_write,
    schema::LabelMap,
    text,
};

pub(crate) const NO_METRICS: Flag = Flag::switch(
    "no-metrics",
    "Tell only what Caffe tells: no confusion matrix, recall, precision, IoU, top-k and average precision",
);
pub(crate) const METRICS_JSON: Flag = Flag::value(
    "metrics-json",
    "FILE",
    "Write the figures to this file as JSON: of 'test' one object, of 'train' a list that grows with each test",
);
pub(crate) const CLASS_NAMES: Flag = Flag::value(
    "class-names",
    "NAMES",
    "Names of the classes for the figures: separated by commas, a file of one a line, or a label map",
);
pub(crate) const AP_VERSION: Flag = Flag::value(
    "ap-version",
    "VERSION",
    "How average precision is summed: 11point, MaxIntegral or Integral (the default)",
);

/// What the flags say.
pub(crate) struct Wanted {
    /// Whether figures are wanted at all.
    pub(crate) on: bool,
    /// `--metrics-json`.
    file: Option<PathBuf>,
}

impl Wanted {
    /// # Errors
    /// `Param` where a file is asked for and no figures.
    pub(crate) fn of(args: &Args) -> Result<Self> {
        let (on, file) = (!args.switch("no-metrics"), args.path("metrics-json"));
        if !on && file.is_some() {
            return Err(Error::param(
                "--metrics-json",
                "there is nothing to write with --no-metrics",
            )
            .help("leave one of the two out"));
        }
        Ok(Self { on, file })
    }

    /// The file of a list of tests, begun anew.
    ///
    /// # Errors
    /// `Io` where it cannot be written.
    pub(crate) fn list(&self) -> Result<Option<List>> {
        let Some(path) = self.file.clone() else {
            return Ok(None);
        };
        let list = List {
            path,
            tests: Tests::default(),
            failed: false,
        };
        list.write()?;
        Ok(Some(list))
    }

    /// Writes the figures of a single test, where a file is asked for.
    ///
    /// # Errors
    /// `Io` where it cannot be written.
    pub(crate) fn write(&self, test: &Test) -> Result<()> {
        self.file.as_ref().map_or(Ok(()), |path| write(path, test))
    }
}

/// The file of the tests of a training.
pub(crate) struct List {
    path: PathBuf,
    tests: Tests,
    failed: bool,
}

impl List {
    /// Takes an event in and writes the file after each test. What fails is told once, and tried again.
    pub(crate) fn on(&mut self, event: &Event<'_>, ui: &mut Ui) {
        if self.tests.on(event) {
            self.save(ui);
        }
    }

    /// Ends the test under way.
    pub(crate) fn end(&mut self, ui: &mut Ui) {
        if self.tests.end() {
            self.save(ui);
        }
    }

    fn save(&mut self, ui: &mut Ui) {
        match self.write() {
            Ok(()) => self.failed = false,
            Err(error) if !self.failed => {
                self.failed = true;
                ui.warn(&format!("the figures are not saved: {error}"));
            }
            Err(_) => {}
        }
    }

    fn write(&self) -> Result<()> {
        write(&self.path, &self.tests.done)
    }
}

fn write(path: &Path, what: &impl serde::Serialize) -> Result<()> {
    atomic_write(path, |file| {
        let failed = |error: std::io::Error| Error::io("write", path, &error);
        serde_json::to_writer(&mut *file, what).map_err(|error| failed(error.into()))?;
        file.write_all(b"\n").map_err(failed)
    })
}

/// `--ap-version`.
///
/// # Errors
/// `Param` where there is no such version.
pub(crate) fn version(args: &Args) -> Result<Version> {
    Ok(args.word("ap-version", VERSIONS)?.unwrap_or_default())
}

/// `--class-names`, else those of the label map that the net names, if it can be read.
///
/// # Errors
/// `Io` where a file cannot be read; `Syntax` or `Schema` for a label map that is none.
pub(crate) fn class_names(args: &Args, map: Option<PathBuf>) -> Result<Vec<String>> {
    let Some(told) = args.text("class-names") else {
        // That it cannot be read, the layer that names it says.
        let read = map.and_then(|path| from_file(&path).ok());
        return Ok(read.unwrap_or_default());
    };
    if told.contains(',') {
        return Ok(told.split(',').map(|name| name.trim().to_owned()).collect());
    }
    from_file(Path::new(&told))
}

fn from_file(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::io("read", path, &error).help(
            "--class-names takes names separated by commas, or the name of a file with one a line",
        )
    })?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    if !lines.clone().any(|line| line.starts_with("item")) {
        return Ok(lines.map(str::to_owned).collect());
    }
    let source = text::Source::new(&path.display().to_string(), text);
    let map = text::parse::<LabelMap>("LabelMap", &source)?.message;
    let mut names = Vec::new();
    for item in map.item {
        // A map of more classes than this has a slip in it.
        let Some(at) = usize::try_from(item.label())
            .ok()
            .filter(|&at| at < 1 << 20)
        else {
            continue;
        };
        if names.len() <= at {
            names.resize(at + 1, String::new());
        }
        let shown = [item.display_name(), item.name()];
        names[at] = shown
            .into_iter()
            .find(|n| !n.is_empty())
            .unwrap_or_default()
            .to_owned();
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("names");
        std::fs::write(&path, "n01 tench, Tinca\n\nn02 goldfish \n").unwrap();
        assert_eq!(
            from_file(&path).unwrap(),
            ["n01 tench, Tinca", "n02 goldfish"]
        );
        let map = "item { name: 'none' label: 0 display_name: 'background' }\nitem { name: 'dog' label: 2 }\nitem { name: 'x' label: -1 }";
        std::fs::write(&path, map).unwrap();
        assert_eq!(from_file(&path).unwrap(), ["background", "", "dog"]);
        let error = from_file(&dir.path().join("none")).unwrap_err();
        assert!(error.to_string().contains("separated by commas"), "{error}");
    }
}
