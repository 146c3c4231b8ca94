//! A drawing in the language of Graphviz.

use std::fmt::Write as _;

use super::drawing::{Direction, Drawing};

/// The drawing as DOT.
pub fn dot(drawing: &Drawing) -> String {
    let mut out = String::new();
    let direction = match drawing.direction {
        Direction::Down => "TB",
        Direction::Right => "LR",
    };
    // Writing to a string does not fail.
    let _ = writeln!(out, "digraph {} {{", quoted(&drawing.name));
    let _ = writeln!(out, "  rankdir={direction};");
    out += "  node [shape=box style=\"rounded,filled\" fontname=\"Helvetica\" fontsize=11];\n";
    out += "  edge [fontname=\"Helvetica\" fontsize=9 color=\"#555555\" fontcolor=\"#555555\"];\n";
    for (i, figure) in drawing.figures.iter().enumerate() {
        let (fill, line) = figure.family.colours();
        let lines: Vec<String> = figure
            .lines
            .iter()
            .map(|l| format!("{}\n{}", l.name, l.about))
            .collect();
        let label = quoted(&lines.join("\n"));
        let _ = writeln!(
            out,
            "  n{i} [label={label} fillcolor=\"{fill}\" color=\"{line}\"];"
        );
    }
    for (i, (_, blob, _)) in drawing.outputs.iter().enumerate() {
        let _ = writeln!(
            out,
            "  o{i} [label={} shape=plaintext style=\"\"];",
            quoted(blob)
        );
    }
    for arrow in &drawing.arrows {
        let label = quoted(&label(&arrow.blob, &arrow.shape));
        let _ = writeln!(out, "  n{} -> n{} [label={label}];", arrow.from, arrow.to);
    }
    for (i, (from, _, shape)) in drawing.outputs.iter().enumerate() {
        let _ = writeln!(out, "  n{from} -> o{i} [label={}];", quoted(shape));
    }
    out += "}\n";
    out
}

/// What stands beside an arrow.
pub(super) fn label(blob: &str, shape: &str) -> String {
    format!("{blob}\n{shape}")
}

fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out += "\\n",
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted() {
        assert_eq!(quoted("a \"b\"\\\nc\t"), r#""a \"b\"\\\nc ""#);
    }
}
