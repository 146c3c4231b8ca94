//! THE TABLE of rules, by theme: one `const` row a rule, sorted by code.

mod build;
mod data;
mod deploy;
mod loss;
mod names;
mod normalization;
mod paths;
mod shapes;
mod solver;
mod unread;
mod weights;

pub(super) use paths::start;

use super::{finding::Finding, subject::Subject};
use crate::events::Severity;

/// A rule: when it speaks, why, and the way out.
pub struct Rule {
    /// What `explain` takes: `N010`.
    pub code: &'static str,
    /// How bad what it finds is, at worst.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub title: &'static str,
    /// What happens, and why.
    pub reason: &'static str,
    /// The way out.
    pub fix: &'static str,
    /// A text that it finds something in: of a net, or, for rules of solvers, of a solver.
    pub wrong: &'static str,
    /// The same, mended.
    pub right: &'static str,
    /// Looks for it.
    pub(super) run: fn(&Subject<'_>) -> Vec<Finding>,
}

impl Rule {
    /// A finding of this rule.
    pub(super) fn finds(&self, message: impl Into<String>) -> Finding {
        Finding {
            code: self.code,
            severity: self.severity,
            message: message.into(),
            place: None,
            further: Vec::new(),
            notes: Vec::new(),
            help: None,
            edits: Vec::new(),
        }
    }
}

/// Every rule.
pub const RULES: &[&Rule] = &[
    &build::BROKEN,
    &build::UNKNOWN_TYPE,
    &build::SKIPPED_FIELD,
    &loss::RELU,
    &loss::SQUASHED,
    &loss::DROPOUT,
    &loss::SOFTMAX_TWICE,
    &loss::SCALAR_ACCURACY,
    &unread::NO_LOSS,
    &unread::UNREAD,
    &loss::IGNORED_APART,
    &unread::NOTHING_TO_MINIMISE,
    &names::TWICE,
    &names::TWICE_WITH_WEIGHTS,
    &shapes::MAP_SIZES,
    &shapes::LABEL_RANGE,
    &shapes::CLASSES_UNSEEN,
    &shapes::COLOURED_LABELS,
    &weights::FROZEN,
    &weights::HALF_FROZEN,
    &weights::ALL_ZERO,
    &weights::VANISH,
    &weights::EXPLODE,
    &weights::ALIKE,
    &normalization::NO_SCALE,
    &normalization::LEARNED_STATISTICS,
    &normalization::BATCH_OF_ONE,
    &normalization::GLOBAL_STATS,
    &data::PHASES_DIFFER,
    &data::RAW,
    &data::DRAWN_APART,
    &data::SCALED_LABELS,
    &data::UNEQUAL_COUNTS,
    &data::TEST_ON_TRAIN,
    &deploy::DEPLOY_DIFFERS,
    &solver::POLICY,
    &solver::NEVER_REACHED,
    &solver::TEST_SIZE,
    &solver::MOMENTUM,
    &solver::NO_MOMENTUM,
    &solver::RATE,
    &solver::IDLE_FIELDS,
    &solver::NO_START,
    &paths::MISSING,
    &paths::OTHER_KIND,
    &paths::OTHER_FOLDER,
    &paths::NOTHING_HERE,
    &paths::NO_SNAPSHOT_FOLDER,
];

/// The rule of a code, in any case.
pub fn find(code: &str) -> Option<&'static Rule> {
    (RULES.iter().copied()).find(|rule| rule.code.eq_ignore_ascii_case(code.trim()))
}

/// What every rule finds, each thing once: the same words at the same place in two phases are one.
pub(super) fn run(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for rule in RULES {
        for finding in (rule.run)(subject) {
            let twin = |f: &Finding| {
                f.code == finding.code
                    && f.place == finding.place
                    && (f.place.is_some() || f.message == finding.message)
            };
            if !found.iter().any(twin) {
                found.push(finding);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
