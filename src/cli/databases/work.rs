//! Long work on records: a bar or log lines, and Ctrl-C.

use std::{collections::BTreeSet, path::Path};

use indicatif::ProgressBar;

use crate::{
    cli::{signals::Signals, ui::Ui},
    database::Watch,
    error::{Error, ErrorKind, Result},
    solver::Action,
};

/// Shows how far work is, and ends it where the user wants that.
pub(in crate::cli) struct Work<'u> {
    ui: &'u mut Ui,
    bar: ProgressBar,
    signals: Signals,
    /// Where Caffe says it: `file:line`.
    tag: &'static str,
    /// After how many records it is said.
    every: u64,
    done: u64,
}

impl<'u> Work<'u> {
    /// Begins work on `of` records, 0 where their number is not known.
    pub(in crate::cli) fn begin(
        ui: &'u mut Ui,
        what: &str,
        of: u64,
        tag: &'static str,
        every: u64,
    ) -> Result<Self> {
        let bar = ui.bar(what, of);
        if of == 0 {
            bar.unset_length();
        }
        Ok(Self {
            bar,
            signals: Signals::ending()?,
            ui,
            tag,
            every,
            done: 0,
        })
    }

    /// Ends it: says the number of records where that was not just said, as Caffe does.
    pub(in crate::cli) fn end(self) -> u64 {
        self.bar.finish_and_clear();
        if !self.done.is_multiple_of(self.every) {
            self.ui.log(self.tag, &processed(self.done));
        }
        self.ui.tell(&processed(self.done));
        self.done
    }

    /// Ends it without a word.
    pub(in crate::cli) fn quiet(self) -> u64 {
        self.bar.finish_and_clear();
        self.done
    }
}

/// Goes on unless the user wants otherwise.
pub(in crate::cli) fn go_on(signals: &Signals) -> Result<()> {
    match signals.take() {
        Action::Continue => Ok(()),
        _ => Err(Error::new(
            ErrorKind::Io,
            "interrupted; nothing was written",
        )),
    }
}

/// Whether a file can be written there, asked before the work for it begins.
pub(in crate::cli) fn writable(path: &Path) -> Result<()> {
    let wrong = |why: &str| {
        Error::new(
            ErrorKind::Io,
            format!("cannot write '{}': {why}", path.display()),
        )
    };
    if path.is_dir() {
        return Err(wrong("it is a folder").help("name a file in it"));
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => {
            Err(wrong("there is no such folder").help("make the folder first"))
        }
        _ => Ok(()),
    }
}

/// Makes sure that no two things to make are to have one name.
pub(in crate::cli) fn distinct<'p>(targets: impl IntoIterator<Item = &'p Path>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for target in targets {
        if !seen.insert(std::path::absolute(target).unwrap_or_else(|_| target.to_owned())) {
            return Err(Error::new(
                ErrorKind::Param,
                format!("the name '{}' is given to two of them", target.display()),
            )
            .help("give each a name of its own"));
        }
    }
    Ok(())
}

fn processed(count: u64) -> String {
    format!("Processed {count} files.")
}

impl Watch for Work<'_> {
    fn done(&mut self, records: u64) -> Result<()> {
        let before = self.done;
        self.done = records;
        self.bar.set_position(records);
        if records / self.every > before / self.every {
            let round = records - records % self.every;
            self.ui.log(self.tag, &processed(round));
        }
        go_on(&self.signals)
    }

    fn warn(&mut self, text: &str) {
        self.ui.warn(text);
    }
}
