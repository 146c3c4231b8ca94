//! What the doctor can find: a row for each, with the page that `explain` shows.

use crate::events::Severity::{self, Error, Note, Warning};

/// A row of [`RULES`].
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// `D010`.
    pub code: &'static str,
    /// In a few words.
    pub title: &'static str,
    /// How bad it usually is.
    pub severity: Severity,
    /// Where it stands among others that are as bad: causes before what follows from them.
    rank: u8,
    /// What it means, why it harms, and what to do.
    pub page: &'static str,
}

const fn row(
    code: &'static str,
    severity: Severity,
    rank: u8,
    title: &'static str,
    page: &'static str,
) -> Rule {
    Rule {
        code,
        title,
        severity,
        rank,
        page,
    }
}

/// Every rule of the doctor, by code.
pub const RULES: &[Rule] = &[
    row(
        "D001",
        Error,
        0,
        "the net does not run",
        include_str!("pages/d001.txt"),
    ),
    row(
        "D010",
        Error,
        10,
        "a label is no class of the loss",
        include_str!("pages/d010.txt"),
    ),
    row(
        "D011",
        Error,
        11,
        "the labels name one class only",
        include_str!("pages/d011.txt"),
    ),
    row(
        "D012",
        Note,
        62,
        "one class makes up most of the labels",
        include_str!("pages/d012.txt"),
    ),
    row(
        "D013",
        Error,
        5,
        "images and labels are out of step",
        include_str!("pages/d013.txt"),
    ),
    row(
        "D014",
        Warning,
        30,
        "the samples are sorted by class",
        include_str!("pages/d014.txt"),
    ),
    row(
        "D015",
        Warning,
        70,
        "test pictures are in the training set",
        include_str!("pages/d015.txt"),
    ),
    row(
        "D016",
        Warning,
        32,
        "the mean is not the data's",
        include_str!("pages/d016.txt"),
    ),
    row(
        "D017",
        Warning,
        34,
        "large values go in unscaled",
        include_str!("pages/d017.txt"),
    ),
    row(
        "D018",
        Warning,
        66,
        "pictures of one colour",
        include_str!("pages/d018.txt"),
    ),
    row(
        "D019",
        Error,
        2,
        "a record cannot be read",
        include_str!("pages/d019.txt"),
    ),
    row(
        "D030",
        Error,
        14,
        "values that are not finite",
        include_str!("pages/d030.txt"),
    ),
    row(
        "D031",
        Warning,
        22,
        "a loss near 87.3365",
        include_str!("pages/d031.txt"),
    ),
    row(
        "D032",
        Error,
        20,
        "scores are alike",
        include_str!("pages/d032.txt"),
    ),
    row(
        "D033",
        Warning,
        60,
        "no better than always the same answer",
        include_str!("pages/d033.txt"),
    ),
    row(
        "D034",
        Warning,
        24,
        "activations vanish",
        include_str!("pages/d034.txt"),
    ),
    row(
        "D035",
        Warning,
        26,
        "activations explode",
        include_str!("pages/d035.txt"),
    ),
    row(
        "D036",
        Warning,
        18,
        "no gradient arrives",
        include_str!("pages/d036.txt"),
    ),
    row(
        "D037",
        Warning,
        40,
        "dead channels",
        include_str!("pages/d037.txt"),
    ),
    row(
        "D038",
        Warning,
        42,
        "updates too large for the weights",
        include_str!("pages/d038.txt"),
    ),
    row(
        "D039",
        Warning,
        44,
        "updates too small for the weights",
        include_str!("pages/d039.txt"),
    ),
    row(
        "D040",
        Warning,
        28,
        "the loss stays where guessing is",
        include_str!("pages/d040.txt"),
    ),
    row(
        "D041",
        Error,
        16,
        "the rate is too high",
        include_str!("pages/d041.txt"),
    ),
    row(
        "D042",
        Warning,
        46,
        "the rate is far too low",
        include_str!("pages/d042.txt"),
    ),
];

/// The rule of a code.
pub fn rule(code: &str) -> Option<&'static Rule> {
    RULES
        .iter()
        .find(|rule| rule.code.eq_ignore_ascii_case(code))
}

/// Where static findings stand: behind what makes the data useless, before what a run shows.
const STATIC: u8 = 12;

pub(super) fn rank(code: &str) -> u8 {
    rule(code).map_or(STATIC, |rule| rule.rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_have_pages() {
        assert!(RULES.windows(2).all(|pair| pair[0].code < pair[1].code));
        for rule in RULES {
            assert!(rule.page.len() > 200, "{}", rule.code);
            assert!(
                rule.page.lines().all(|l| l.chars().count() <= 110),
                "{}",
                rule.code
            );
        }
        assert_eq!(rule("d010").map(|r| r.code), Some("D010"));
        assert!(rule("N001").is_none());
    }
}
