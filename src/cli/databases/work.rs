//! Long work on records: a bar or log lines, and Ctrl-C.

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
            signals: Signals::listen(Action::Stop, Action::Stop)?,
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
        match self.signals.take() {
            Action::Continue => Ok(()),
            _ => Err(Error::new(
                ErrorKind::Io,
                "interrupted; nothing was written",
            )),
        }
    }

    fn warn(&mut self, text: &str) {
        self.ui.warn(text);
    }
}
