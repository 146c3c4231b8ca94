//! A text with its name, and places in it.

use std::sync::Arc;

use crate::error::Place;

use super::ast::Span;

/// A text and the name that errors call it by. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Source {
    name: Arc<str>,
    text: Arc<str>,
    /// Offset of the first byte of each line.
    lines: Arc<[usize]>,
}

impl Source {
    /// Takes the text as it stands in a file. A byte order mark is dropped; bytes that are not UTF-8, which old
    /// comments have, become replacement characters.
    pub fn new(name: &str, text: impl AsRef<[u8]>) -> Self {
        let bytes = text.as_ref();
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let text = String::from_utf8_lossy(bytes);
        let lines = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self {
            name: name.into(),
            text: text.into(),
            lines,
        }
    }

    /// The name that errors call it by: the file as the user named it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text as spans count it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line of an offset, from 1.
    pub fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|&start| start <= offset).max(1)
    }

    /// The text of a line, counted from 1, without its end; empty behind the last.
    pub fn line_text(&self, line: usize) -> &str {
        let start = self.line_start(line);
        let end = self.lines.get(line).copied().unwrap_or(self.text.len());
        self.slice(start, end).trim_end_matches(['\n', '\r'])
    }

    /// The place of a stretch; where it runs over several lines, the place is its part of the first.
    pub fn place(&self, span: Span) -> Place {
        let line = self.line(span.start);
        let start = self.line_start(line);
        let excerpt = self.line_text(line);
        let line_end = start + excerpt.len();
        let column = self.slice(start, span.start).chars().count() + 1;
        let width = self
            .slice(span.start, span.end.min(line_end))
            .chars()
            .count();
        Place::Text {
            file: self.name.to_string(),
            line,
            column,
            excerpt: excerpt.to_owned(),
            width: width.max(1),
        }
    }

    /// The text of a stretch; empty where the offsets do not fit the text.
    pub fn slice(&self, start: usize, end: usize) -> &str {
        self.text.get(start..end).unwrap_or_default()
    }

    fn line_start(&self, line: usize) -> usize {
        self.lines
            .get(line.saturating_sub(1))
            .copied()
            .unwrap_or(self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(source: &Source, start: usize, end: usize) -> (usize, usize, String, usize) {
        match source.place(Span { start, end }) {
            Place::Text {
                line,
                column,
                excerpt,
                width,
                ..
            } => (line, column, excerpt, width),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn columns_count_characters_and_lines_end_in_crlf_too() {
        let source = Source::new("a", "\u{FEFF}é: 1\r\nb: 22\r\n");
        assert_eq!(spot(&source, 0, 2), (1, 1, "é: 1".into(), 1));
        assert_eq!(spot(&source, 4, 5), (1, 4, "é: 1".into(), 1));
        assert_eq!(spot(&source, 10, 12), (2, 4, "b: 22".into(), 2));
        assert_eq!(spot(&source, 14, 14), (3, 1, String::new(), 1));
    }

    #[test]
    fn a_span_over_lines_is_shown_by_its_first() {
        let source = Source::new("a", "l {\n  x: 1\n}");
        assert_eq!(spot(&source, 2, 12), (1, 3, "l {".into(), 1));
    }
}
