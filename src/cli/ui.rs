//! Where words go: log lines or bars to standard error, results to standard output.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{Arc, Mutex, PoisonError},
};

use indicatif::ProgressBar;

use super::{
    glog::{Glog, Level},
    progress::Progress,
};
use crate::{
    error::{Error, ErrorKind, Result},
    events::{Event, Observer},
    journal::Journal,
};

enum Mode {
    Log(Glog),
    Bars(Progress),
}

/// The face of the program. It is an [`Observer`] too.
pub struct Ui {
    mode: Mode,
    /// Who writes everything down.
    journal: Option<Arc<Mutex<Journal>>>,
}

impl Ui {
    /// Log lines where `log` asks for them or nobody sits before standard error, else bars.
    pub fn new(log: bool, year: bool) -> Self {
        Self {
            mode: if log || !io::stderr().is_terminal() {
                Mode::Log(Glog::stderr(year))
            } else {
                Mode::Bars(Progress::stderr())
            },
            journal: None,
        }
    }

    /// Lets a journal hear everything that is told from now on.
    pub(crate) fn record(&mut self, journal: Arc<Mutex<Journal>>) {
        self.journal = Some(journal);
    }

    fn write_down(&mut self, event: &Event<'_>) {
        let Some(journal) = &self.journal else {
            return;
        };
        let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal.on(event);
        let troubles = journal.take_troubles();
        drop(journal);
        for trouble in troubles {
            self.say_warning(&trouble);
        }
    }

    fn say_warning(&mut self, text: &str) {
        match &mut self.mode {
            Mode::Log(log) => log.line(Level::Warning, "cortado:1", text),
            Mode::Bars(bars) => bars.say(&format!("warning: {text}")),
        }
    }

    /// Whether log lines are written.
    pub fn is_log(&self) -> bool {
        matches!(self.mode, Mode::Log(_))
    }

    /// A line of Caffe's log, with its `file:line`; nothing on a terminal.
    pub fn log(&mut self, tag: &str, text: &str) {
        if let Mode::Log(log) = &mut self.mode {
            log.info(tag, text);
        }
    }

    /// A line that only a person wants; nothing in the log.
    pub fn tell(&mut self, text: &str) {
        if let Mode::Bars(bars) = &self.mode {
            bars.say(text);
        }
    }

    /// Something odd that the user should hear of.
    pub fn warn(&mut self, text: &str) {
        self.say_warning(text);
        self.write_down(&Event::Warning(text));
    }

    /// An error after which the command ends by itself.
    pub fn fail(&mut self, error: &Error) {
        match &mut self.mode {
            Mode::Log(log) => log.line(Level::Error, "cortado:1", &error.to_string()),
            Mode::Bars(bars) => bars.say(&format!("error: {error}")),
        }
    }

    /// A bar of `of` steps; one that is not seen, where there is a log.
    pub fn bar(&self, what: &str, of: u64) -> ProgressBar {
        match &self.mode {
            Mode::Log(_) => ProgressBar::hidden(),
            Mode::Bars(bars) => bars.bar(what, of),
        }
    }

    /// Whether whoever read standard error went away.
    pub fn gone(&self) -> bool {
        matches!(&self.mode, Mode::Log(log) if log.gone())
    }

    /// Prints a result to standard output.
    ///
    /// # Errors
    /// `Io` where it cannot be written; a closed pipe is told apart by the caller.
    pub fn print(&mut self, text: &str) -> Result<()> {
        match &self.mode {
            Mode::Log(_) => write(text),
            Mode::Bars(bars) => bars.suspend(|| write(text)),
        }
    }
}

impl Ui {
    /// Prints a result as [`json_text`].
    ///
    /// # Errors
    /// As [`print`](Self::print).
    pub(crate) fn json(&mut self, value: &serde_json::Value) -> Result<()> {
        self.print(&json_text(value))
    }
}

impl Observer for Ui {
    fn on(&mut self, event: &Event<'_>) {
        match &mut self.mode {
            Mode::Log(log) => log.on(event),
            Mode::Bars(bars) => bars.on(event),
        }
        self.write_down(event);
    }
}

/// JSON for a person to read and a program to parse.
pub(crate) fn json_text(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

/// Writes to standard output as a whole.
pub(crate) fn write(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| {
            let what = if error.kind() == io::ErrorKind::BrokenPipe {
                CLOSED.to_owned()
            } else {
                format!("cannot write to standard output: {error}")
            };
            Error::new(ErrorKind::Io, what)
        })
}

const CLOSED: &str = "standard output was closed";

/// Whether an error says only that the reader of standard output has seen enough.
pub(crate) fn closed(error: &Error) -> bool {
    error.kind() == ErrorKind::Io && error.message() == CLOSED
}
