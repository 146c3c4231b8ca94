//! What a rule found: in words, at a place, with the way out and, where it is safe, the edit that mends it.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{error::Place, events::Severity};

/// A stretch of a file, in bytes of its text, and what is to stand there instead.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edit {
    /// The file, as it was read.
    pub file: PathBuf,
    /// Offset of the first byte that goes.
    pub start: usize,
    /// Offset behind the last byte that goes.
    pub end: usize,
    /// What comes.
    pub text: String,
}

/// One thing that is wrong, or may be. `Display` prints it as a compiler would, over several lines, without a trailing
/// newline.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The rule's code: `N010`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, with names and numbers, in one sentence without a full stop.
    pub message: String,
    /// Where it is.
    pub place: Option<Place>,
    /// Other spots that have to do with it, each with what it is.
    pub further: Vec<(String, Place)>,
    /// What follows from it, a sentence each.
    pub notes: Vec<String>,
    /// The way out: an imperative sentence.
    pub help: Option<String>,
    /// What mends it, where that is safe; together or not at all.
    pub edits: Vec<Edit>,
}

impl Finding {
    /// With its place, if there is one.
    #[must_use]
    pub(super) fn at(mut self, place: Option<Place>) -> Self {
        self.place = place;
        self
    }

    /// With another spot.
    #[must_use]
    pub(super) fn also(mut self, what: impl Into<String>, place: Option<Place>) -> Self {
        self.further.extend(place.map(|place| (what.into(), place)));
        self
    }

    /// With a consequence.
    #[must_use]
    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// With the way out.
    #[must_use]
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With what mends it.
    #[must_use]
    pub(super) fn edits(mut self, edits: Vec<Edit>) -> Self {
        self.edits = edits;
        self
    }

    /// No worse than this.
    #[must_use]
    pub(super) fn at_most(mut self, severity: Severity) -> Self {
        self.severity = self.severity.min(severity);
        self
    }

    /// Its place in short: `net.prototxt:31:3`; empty where it has none.
    pub fn spot(&self) -> String {
        match &self.place {
            Some(Place::Text {
                file, line, column, ..
            }) => format!("{file}:{line}:{column}"),
            Some(Place::File(file)) => file.clone(),
            Some(Place::Layer { name, .. }) => format!("layer '{name}'"),
            Some(Place::Record { source, key }) => format!("{source}, record '{key}'"),
            None => String::new(),
        }
    }

    /// As JSON: code, severity, message, file, line, column, further, notes, help, edits.
    pub fn to_json(&self) -> Value {
        let mut value = json!({
            "code": self.code,
            "severity": self.severity.name(),
            "message": self.message,
            "notes": self.notes,
            "help": self.help,
            "further": self.further.iter().map(|(what, place)| {
                let mut spot = json!({ "label": what });
                add_place(&mut spot, Some(place));
                spot
            }).collect::<Vec<_>>(),
            "edits": self.edits.iter().map(|edit| json!({
                "file": edit.file.to_string_lossy(),
                "start": edit.start,
                "end": edit.end,
                "text": edit.text,
            })).collect::<Vec<_>>(),
        });
        add_place(&mut value, self.place.as_ref());
        value
    }
}

fn add_place(value: &mut Value, place: Option<&Place>) {
    match place {
        Some(Place::Text {
            file, line, column, ..
        }) => {
            value["file"] = json!(file);
            value["line"] = json!(line);
            value["column"] = json!(column);
        }
        Some(Place::File(file)) => value["file"] = json!(file),
        Some(Place::Layer { name, .. }) => value["layer"] = json!(name),
        Some(Place::Record { source, key }) => {
            value["file"] = json!(source);
            value["record"] = json!(key);
        }
        None => {}
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}[{}]: {}",
            self.severity.name(),
            self.code,
            self.message
        )?;
        if let Some(place) = &self.place {
            write!(f, "\n{place}")?;
        }
        for (what, place) in &self.further {
            write!(f, "\n  {what}:\n{place}")?;
        }
        for note in &self.notes {
            write!(f, "\n  note: {note}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// How many there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Of errors.
    pub errors: usize,
    /// Of warnings.
    pub warnings: usize,
    /// Of notes.
    pub notes: usize,
}

impl Counts {
    /// Counts them.
    pub fn of(findings: &[Finding]) -> Self {
        let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
        Self {
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
            notes: count(Severity::Note),
        }
    }
}

/// `2 errors, 3 warnings, 1 note`; `nothing to say` where there are none.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = [
            (self.errors, "error"),
            (self.warnings, "warning"),
            (self.notes, "note"),
        ]
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}{}", if *count == 1 { "" } else { "s" }))
        .collect();
        match parts.is_empty() {
            true => f.write_str("no findings"),
            false => f.write_str(&parts.join(", ")),
        }
    }
}

/// In the order in which they are shown: file by file as they were read, and by line.
pub(super) fn sort(findings: &mut [Finding], files: &[&Path]) {
    let key = |finding: &Finding| match &finding.place {
        Some(Place::Text {
            file, line, column, ..
        }) => {
            let at = files.iter().position(|f| f.display().to_string() == *file);
            (at.map_or(files.len(), |at| at + 1), *line, *column)
        }
        _ => (0, 0, 0),
    };
    findings.sort_by_key(|finding| (key(finding), finding.code));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding() -> Finding {
        Finding {
            code: "N010",
            severity: Severity::Error,
            message: "it is wrong".into(),
            place: Some(Place::Text {
                file: "net".into(),
                line: 2,
                column: 3,
                excerpt: "a bc".into(),
                width: 2,
            }),
            further: Vec::new(),
            notes: vec!["so it goes".into()],
            help: Some("mend it".into()),
            edits: Vec::new(),
        }
    }

    #[test]
    fn printed_as_a_compiler_does() {
        let place = Place::File("other".into());
        let shown = finding().also("the other", Some(place)).to_string();
        assert_eq!(
            shown,
            "error[N010]: it is wrong\n --> net:2:3\n  |\n2 | a bc\n  |   ^^\n  the other:\n  --> other\n  note: so it goes\n  help: mend it"
        );
        let json = finding().to_json();
        assert_eq!(
            (json["line"].as_u64(), json["file"].as_str()),
            (Some(2), Some("net"))
        );
        assert_eq!(json["severity"], "error");
    }

    #[test]
    fn counts_in_words() {
        assert_eq!(Counts::of(&[]).to_string(), "no findings");
        let notes = [
            finding().at_most(Severity::Note),
            finding().at_most(Severity::Error),
        ];
        assert_eq!(Counts::of(&notes).to_string(), "1 error, 1 note");
    }
}
