//! All findings together, and the verdict.

use std::{fmt::Write as _, path::PathBuf};

use serde_json::{Value, json};

use super::{Options, data, finding::Finding, table::Table, trial};
use crate::{
    error::{Error, ErrorKind},
    events::Severity,
};

/// How a way out begins that follows another.
const AGAIN: &str = "then train again";
/// Lines of a verdict.
const MOST: usize = 8;

/// Codes of [`crate::check`] that say the same as the doctor's: the first has seen the files, the second the data or the
/// run. Of each pair the one that knows more is told.
const SAME: &[(&str, &str, Knows)] = &[
    ("N001", "D001", Knows::Files),
    ("N002", "D001", Knows::Files),
    ("N030", "D001", Knows::Files),
    ("N031", "D010", Knows::Run),
    ("N061", "D017", Knows::Run),
    ("N064", "D013", Knows::Run),
    ("N065", "D015", Knows::Files),
    ("N043", "D034", Knows::Run),
    ("N044", "D035", Knows::Run),
    ("N090", "D019", Knows::Files),
    ("N091", "D019", Knows::Files),
];

/// Which of two that say the same is told.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Knows {
    Files,
    Run,
}

/// What the doctor says.
#[derive(Clone, Debug, Default)]
pub struct Diagnosis {
    /// The solver's file, as named.
    pub solver: String,
    /// Everything that was found, in order of weight.
    pub findings: Vec<Finding>,
    /// The verdict: what is wrong, in order of weight; for a healthy net one line.
    pub lines: Vec<String>,
    /// What to type or to change, in the same order.
    pub todo: Vec<String>,
    /// Whether something is wrong.
    pub ill: bool,
    /// Figures.
    pub tables: Vec<Table>,
    /// What was looked at.
    pub looked: Vec<String>,
    /// Pictures that were written.
    pub pictures: Vec<PathBuf>,
    /// The loss of each iteration of training.
    pub losses: Vec<f32>,
    /// Rates of the range test, each with the loss before its update.
    pub rates: Vec<(f32, f32)>,
}

impl Diagnosis {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            solver: options.solver.display().to_string(),
            ..Self::default()
        }
    }

    pub(super) fn take_static(&mut self, findings: Vec<Finding>) {
        self.looked
            .push("the solver's file and its nets".to_owned());
        self.findings.extend(findings);
    }

    /// Takes what the data says and returns how labels are spread.
    pub(super) fn take_data(&mut self, found: data::Found) -> Vec<data::Balance> {
        self.findings.extend(found.findings);
        self.tables.extend(found.tables);
        self.looked.extend(found.looked);
        self.pictures.extend(found.pictures);
        found.balances
    }

    pub(super) fn take_trial(&mut self, found: trial::Found) {
        self.findings.extend(found.findings);
        self.tables.extend(found.tables);
        self.looked.extend(found.looked);
        self.losses = found.losses;
        self.rates = found.rates;
    }

    /// The net does not run. Where the data said why already, once is enough.
    pub(super) fn take_failure(&mut self, error: &Error) {
        self.looked
            .push("the net does not run, so nothing is known of its training".to_owned());
        let known = error.kind() == ErrorKind::Data
            && (self.findings.iter()).any(|f| ["D010", "D019"].contains(&&*f.code));
        let same = self
            .findings
            .iter()
            .any(|f| f.severity == Severity::Error && f.message.contains(error.message()));
        if !known && !same {
            self.findings.push(trial::failed(error));
        }
    }

    /// Sorts the findings and finds the words.
    pub(super) fn conclude(&mut self) {
        self.once();
        self.findings.sort_by_key(Finding::weight);
        let wrong: Vec<&Finding> = (self.findings.iter())
            .filter(|f| f.severity > Severity::Note)
            .collect();
        self.ill = !wrong.is_empty();
        self.lines = wrong.iter().take(MOST).map(|f| line(f)).collect();
        if wrong.len() > MOST {
            self.lines
                .push(format!("and {} further findings", wrong.len() - MOST));
        }
        self.todo.clear();
        for finding in wrong {
            let place = if finding.place.contains(':') && !finding.help.starts_with(AGAIN) {
                format!("{}: ", finding.place)
            } else {
                String::new()
            };
            let todo = format!("{place}{}", finding.help);
            let known = self.todo.iter().any(|known| known.ends_with(&finding.help));
            if !finding.help.is_empty() && !known {
                self.todo.push(todo);
            }
        }
        if !self.ill {
            self.lines = vec!["nothing found".to_owned()];
        }
    }

    /// Leaves out what another finding says better.
    fn once(&mut self) {
        let codes: Vec<String> = self.findings.iter().map(|f| f.code.clone()).collect();
        let has = |code: &str| codes.iter().any(|c| c == code);
        let told = |finding: &Finding| {
            !SAME.iter().any(|&(files, run, knows)| {
                let (more, less) = match knows {
                    Knows::Files => (files, run),
                    Knows::Run => (run, files),
                };
                finding.code == less && has(more)
            })
        };
        self.findings.retain(told);
        // The layer to delete is named by its own finding then.
        if has("N010") {
            let alike = self.findings.iter_mut().filter(|f| f.code == "D032");
            for finding in alike.filter(|f| f.help.starts_with("delete the layer")) {
                finding.help = format!("{AGAIN} from the start: channels that were shut stay so");
            }
        }
    }

    /// Tables, notes and the verdict, as a person reads them.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for table in &self.tables {
            text += &table.to_text();
            text.push('\n');
        }
        text += "Looked at:\n";
        for line in &self.looked {
            let _ = writeln!(text, "  {line}");
        }
        for picture in &self.pictures {
            let _ = writeln!(text, "  samples with their labels: {}", picture.display());
        }
        let notes: Vec<&Finding> = (self.findings.iter())
            .filter(|f| f.severity == Severity::Note)
            .collect();
        if !notes.is_empty() {
            text += "\nWorth knowing:\n";
            for note in notes {
                let _ = writeln!(text, "  - {}", line(note));
            }
        }
        text.push('\n');
        text += &self.verdict();
        text
    }

    /// The verdict alone: what is wrong, and what to do.
    pub fn verdict(&self) -> String {
        if !self.ill {
            return format!("Verdict on {}: well. Nothing found.\n", self.solver);
        }
        let mut text = format!("Verdict on {}: ill.\n", self.solver);
        for (i, line) in self.lines.iter().enumerate() {
            let _ = writeln!(text, "{:>3}. {line}", i + 1);
        }
        if !self.todo.is_empty() {
            text += "What to do, in this order:\n";
            for (i, line) in self.todo.iter().enumerate() {
                let _ = writeln!(text, "{:>3}. {line}", i + 1);
            }
        }
        let mut codes: Vec<&str> = Vec::new();
        for finding in self.findings.iter().filter(|f| f.severity > Severity::Note) {
            if !codes.contains(&&*finding.code) {
                codes.push(&finding.code);
            }
        }
        let _ = writeln!(
            text,
            "The reasons, at length: cortado explain {}",
            codes.join(" ")
        );
        text
    }

    /// Everything, for programs.
    pub fn to_json(&self) -> Value {
        let number = |v: f32| if v.is_finite() { json!(v) } else { Value::Null };
        json!({
            "solver": self.solver,
            "ill": self.ill,
            "lines": self.lines,
            "todo": self.todo,
            "looked": self.looked,
            "findings": self.findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
            "tables": self.tables.iter().map(Table::to_json).collect::<Vec<_>>(),
            "pictures": self.pictures.iter().map(|p| p.display().to_string()).collect::<Vec<_>>(),
            "losses": self.losses.iter().map(|&l| number(l)).collect::<Vec<_>>(),
            "rates": self.rates.iter().map(|&(r, l)| json!([number(r), number(l)])).collect::<Vec<_>>(),
        })
    }
}

/// A finding as a sentence with its code.
fn line(finding: &Finding) -> String {
    format!("{} [{}]", finding.message, finding.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(code: &str, severity: Severity) -> Finding {
        Finding {
            code: code.to_owned(),
            severity,
            message: format!("message of {code}"),
            place: String::new(),
            help: format!("help of {code}"),
            iteration: None,
        }
    }

    fn verdict(findings: Vec<Finding>) -> Diagnosis {
        let mut diagnosis = Diagnosis {
            solver: "s".into(),
            findings,
            ..Diagnosis::default()
        };
        diagnosis.conclude();
        diagnosis
    }

    #[test]
    fn the_worst_first_and_causes_before_what_follows() {
        let made = verdict(vec![
            finding("D012", Severity::Warning),
            finding("D034", Severity::Warning),
            finding("D014", Severity::Note),
            finding("D032", Severity::Error),
            finding("N010", Severity::Error),
        ]);
        let codes: Vec<&str> = made.findings.iter().map(|f| &*f.code).collect();
        assert_eq!(codes, ["N010", "D032", "D034", "D012", "D014"]);
        assert!(made.ill);
        assert_eq!(made.lines[0], "message of N010 [N010]");
        assert_eq!((made.lines.len(), made.todo.len()), (4, 4));
        let text = made.to_text();
        assert!(
            text.contains("Worth knowing:\n  - message of D014"),
            "{text}"
        );
        assert!(text.contains("ill.\n  1. message of N010"), "{text}");
    }

    #[test]
    fn notes_make_nobody_ill() {
        let made = verdict(vec![finding("D012", Severity::Note)]);
        assert!(!made.ill && made.todo.is_empty());
        assert!(made.verdict().contains("well"));
        assert_eq!(made.lines, ["nothing found"]);
    }

    #[test]
    fn what_is_said_twice_is_told_once() {
        let made = verdict(vec![
            finding("N031", Severity::Error),
            finding("D010", Severity::Error),
            finding("D019", Severity::Error),
            finding("N090", Severity::Error),
            finding("N061", Severity::Note),
        ]);
        let codes: Vec<&str> = made.findings.iter().map(|f| &*f.code).collect();
        assert_eq!(codes, ["D010", "N090", "N061"]);
        let mut alike = finding("D032", Severity::Error);
        alike.help = "delete the layer 'relu2'".into();
        let made = verdict(vec![alike, finding("N010", Severity::Error)]);
        assert_eq!(made.todo[0], "help of N010");
        assert!(
            made.todo[1].starts_with("then train again"),
            "{:?}",
            made.todo
        );
    }

    #[test]
    fn json_has_no_number_that_is_not_finite() {
        let mut made = verdict(Vec::new());
        made.losses = vec![1.0, f32::NAN];
        made.rates = vec![(0.5, f32::INFINITY)];
        let value = made.to_json();
        assert_eq!(value["losses"], json!([1.0, null]));
        assert_eq!(value["rates"], json!([[0.5, null]]));
        assert_eq!(value["ill"], false);
    }
}
