//! The pages of the rules, for the terminal.

use super::rules::{RULES, Rule};

/// Columns of a page.
const WIDTH: usize = 88;

/// A rule's page: what happens, why, the way out, an example wrong and right.
pub fn page(rule: &Rule) -> String {
    let mut text = format!(
        "{} ({}): {}\n\n",
        rule.code,
        rule.severity.name(),
        rule.title
    );
    text += &wrapped(rule.reason);
    text += "\nWhat to do\n\n";
    text += &wrapped(rule.fix);
    for (head, example) in [("Wrong", rule.wrong), ("Right", rule.right)] {
        text += &format!("\n{head}\n\n");
        for line in example.trim().lines() {
            text += &laid_out(line);
        }
    }
    text
}

/// Every rule in a line, by theme.
pub fn table() -> String {
    let mut text = String::new();
    let mut theme = "";
    for rule in RULES {
        let next = theme_of(rule.code);
        if next != theme {
            text += &format!("{}{next}\n", if theme.is_empty() { "" } else { "\n" });
            theme = next;
        }
        text += &format!(
            "  {}  {:<8}{}\n",
            rule.code,
            rule.severity.name(),
            rule.title
        );
    }
    text
}

fn theme_of(code: &str) -> &'static str {
    match code.get(..3) {
        Some("N00") => "Building the net",
        Some("N01") => "Loss and scores",
        Some("N02") => "Names",
        Some("N03") => "Labels beside scores",
        Some("N04") => "Weights",
        Some("N05") => "Normalization",
        Some("N06") => "Data",
        Some("N08") => "Solver",
        _ => "Files",
    }
}

/// Words in lines of at most [`WIDTH`] columns, with a line end.
fn wrapped(text: &str) -> String {
    let (mut out, mut column) = (String::new(), 0);
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > WIDTH {
            out.push('\n');
            column = 0;
        }
        if column > 0 {
            out.push(' ');
            column += 1;
        }
        out += word;
        column += width;
    }
    out.push('\n');
    out
}

/// A line of an example, indented; a long one broken before its blocks.
fn laid_out(line: &str) -> String {
    if line.chars().count() + 2 <= WIDTH {
        return format!("  {line}\n");
    }
    let (mut out, mut column) = (String::new(), 0);
    for part in parts(line) {
        let width = part.chars().count();
        if column > 0 && column + 1 + width > WIDTH {
            out += "\n    ";
            column = 4;
        } else {
            out += if column == 0 { "  " } else { " " };
            column += if column == 0 { 2 } else { 1 };
        }
        out += part;
        column += width;
    }
    out.push('\n');
    out
}

/// Fields of a line: pieces that are best not broken, `name: value` and the start of a block.
fn parts(line: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let bytes = line.as_bytes();
    for (at, _) in line.match_indices(' ') {
        // A space behind a colon belongs to the value that follows.
        if at > start && bytes.get(at - 1) != Some(&b':') {
            parts.push(&line[start..at]);
            start = at + 1;
        }
    }
    parts.push(&line[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_fit_a_terminal() {
        for rule in RULES {
            let page = page(rule);
            for part in ["What to do", "Wrong", "Right", rule.code, rule.title] {
                assert!(page.contains(part), "{}: {part}", rule.code);
            }
            let longest = page.lines().map(|l| l.chars().count()).max().unwrap();
            assert!(longest <= WIDTH + 30, "{}: {longest} columns", rule.code);
            assert!(table().contains(&format!("{}  {}", rule.code, rule.severity.name())));
        }
    }

    #[test]
    fn values_stay_with_their_fields() {
        assert_eq!(
            parts("a: 1 b { c: \"x\" }"),
            ["a: 1", "b", "{", "c: \"x\"", "}"]
        );
        assert!(
            wrapped(&"word ".repeat(40))
                .lines()
                .all(|l| l.len() <= WIDTH)
        );
    }
}
