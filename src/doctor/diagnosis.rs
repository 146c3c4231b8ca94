//! All findings together, and the verdict.

use std::{fmt::Write as _, path::PathBuf};

use serde_json::{Value, json};

use super::{Options, data, finding::Finding, table::Table, trial};
use crate::{
    error::{Error, ErrorKind},
    events::Severity,
};

/// Lines of a verdict.
const MOST: usize = 8;

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
            let place = if finding.place.contains(':') {
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
        if let Some(finding) = self.findings.first() {
            let _ = writeln!(
                text,
                "The reasons, at length: cortado explain {}, and so on.",
                finding.code
            );
        }
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
