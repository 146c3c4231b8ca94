//! What the doctor found, in words.

use serde_json::{Value, json};

use super::rules;
use crate::events::{Event, Observer, Severity};

/// One thing that is wrong, or may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The code that `explain` takes: `D010`, or `N…` and `S…` of [`crate::check`].
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, with names and numbers, in one sentence without a full stop.
    pub message: String,
    /// Where it is: `net.prototxt:31:3`, or a database; empty where it has no place.
    pub place: String,
    /// The way out: an imperative sentence; empty where there is none.
    pub help: String,
    /// The iteration in which it showed.
    pub iteration: Option<u64>,
}

impl Finding {
    /// With the severity that is usual for the code.
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            severity: rules::rule(code).map_or(Severity::Warning, |rule| rule.severity),
            message: message.into(),
            place: String::new(),
            help: String::new(),
            iteration: None,
        }
    }

    /// With the way out.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// With its place.
    pub(super) fn at(mut self, place: impl Into<String>) -> Self {
        self.place = place.into();
        self
    }

    /// In this iteration.
    pub(super) fn in_iteration(mut self, iteration: u64) -> Self {
        self.iteration = Some(iteration);
        self
    }

    /// As bad as this.
    pub(super) fn with_severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Where it stands in a verdict: the worst first, then by what tends to be the cause of what.
    pub(super) fn weight(&self) -> (std::cmp::Reverse<Severity>, u8) {
        (std::cmp::Reverse(self.severity), rules::rank(&self.code))
    }

    /// Tells an observer.
    pub(super) fn tell(&self, observer: &mut dyn Observer) {
        observer.on(&Event::Finding {
            severity: self.severity,
            code: &self.code,
            message: &self.message,
            place: &self.place,
            help: &self.help,
            iteration: self.iteration,
        });
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "severity": self.severity.name(),
            "code": self.code,
            "message": self.message,
            "place": self.place,
            "help": self.help,
            "iteration": self.iteration,
        })
    }
}
