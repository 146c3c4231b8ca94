//! Tables in plain text, and numbers in words.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// Figures under a title.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// What they are of.
    pub title: String,
    /// Heads of the columns.
    pub columns: Vec<String>,
    /// Cells.
    pub rows: Vec<Vec<String>>,
    /// Sentences under it.
    pub notes: Vec<String>,
}

impl Table {
    /// Over several lines: the title, then columns two blanks apart; numbers to the right.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n", self.title);
        let all = || std::iter::once(&self.columns).chain(&self.rows);
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|c| {
                let cells = all().filter_map(|row| row.get(c));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        if !self.rows.is_empty() {
            for row in all() {
                let mut line = String::from("  ");
                for (c, (cell, width)) in row.iter().zip(&widths).enumerate() {
                    if c == 0 {
                        let _ = write!(line, "{cell:<width$}");
                    } else {
                        let _ = write!(line, "  {cell:>width$}");
                    }
                }
                let _ = writeln!(text, "{}", line.trim_end());
            }
        }
        for note in &self.notes {
            let _ = writeln!(text, "  {note}");
        }
        text
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "title": self.title,
            "columns": self.columns,
            "rows": self.rows,
            "notes": self.notes,
        })
    }
}

/// "1", "1 and 3", "1 to 4", "1 to 3 and 7", "1, 3, 7 and 13 others". Takes them in rising order.
pub(super) fn list<T: Copy + std::fmt::Display + Into<i128>>(numbers: &[T]) -> String {
    const MOST: usize = 6;
    let mut parts: Vec<String> = Vec::new();
    let mut covered = 0;
    let mut at = 0;
    while at < numbers.len() && parts.len() < MOST {
        let start = at;
        while at + 1 < numbers.len() && numbers[at + 1].into() == numbers[at].into() + 1 {
            at += 1;
        }
        match at - start {
            0 => parts.push(numbers[at].to_string()),
            1 => parts.extend([numbers[start].to_string(), numbers[at].to_string()]),
            _ => parts.push(format!("{} to {}", numbers[start], numbers[at])),
        }
        at += 1;
        covered = at;
    }
    if covered < numbers.len() {
        parts.push(format!("{} others", numbers.len() - covered));
    }
    match parts.as_slice() {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Channel or index numbers for [`list`].
pub(super) fn indices(numbers: &[usize]) -> String {
    let numbers: Vec<i64> = numbers.iter().map(|&n| n as i64).collect();
    list(&numbers)
}

/// "93.8 %", "0.4 %", "100 %"; never 0 or 100 where it is not.
pub(super) fn percent(share: f64) -> String {
    let value = share * 100.0;
    if value > 0.0 && value < 0.1 {
        return "below 0.1 %".to_owned();
    }
    if value < 100.0 && value > 99.9 {
        return "over 99.9 %".to_owned();
    }
    let text = format!("{value:.1}");
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}

/// Three significant digits.
pub(super) fn short(value: f64) -> String {
    crate::number::general(value, 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_words() {
        assert_eq!(list::<i64>(&[]), "none");
        assert_eq!(list(&[5i64]), "5");
        assert_eq!(list(&[1i64, 2]), "1 and 2");
        assert_eq!(list(&[1i64, 2, 3, 4]), "1 to 4");
        assert_eq!(list(&[-1i64, 4, 6, 7, 8, 200]), "-1, 4, 6 to 8 and 200");
        let odd: Vec<i64> = (0..20).map(|n| 2 * n).collect();
        assert_eq!(list(&odd), "0, 2, 4, 6, 8, 10 and 14 others");
    }

    #[test]
    fn shares() {
        assert_eq!(percent(0.9375), "93.8 %");
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.9999), "over 99.9 %");
        assert_eq!(percent(0.00001), "below 0.1 %");
        assert_eq!(percent(0.0), "0 %");
    }

    #[test]
    fn columns_line_up() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let table = Table {
            title: "T".into(),
            columns: row(["class", "n"]),
            rows: vec![row(["0", "1000"]), row(["10", "2"])],
            notes: vec!["so".into()],
        };
        assert_eq!(
            table.to_text(),
            "T\n  class     n\n  0      1000\n  10        2\n  so\n"
        );
    }
}
