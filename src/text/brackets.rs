//! The first look at a text: do strings end, do brackets pair up, is the nesting sane.
//!
//! Two reasons to look before the grammar does. A bracket that is never closed is best shown where it was opened, not at
//! the end of the file; and the grammar recurses, so its depth has to be bounded before it starts.

use crate::error::{Error, ErrorKind, Result};

use super::{Source, ast::Span};

/// Caffe's own messages nest five deep; unknown fields may go further.
const MAX_DEPTH: usize = 64;

struct Open {
    bracket: u8,
    at: usize,
}

pub(super) fn check(source: &Source) -> Result<()> {
    let bytes = source.text().as_bytes();
    let mut open: Vec<Open> = Vec::new();
    // The first bracket whose partner stands at another indentation: where a missing one is likely missing.
    let mut askew: Option<(usize, usize)> = None;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'#' => at += to_line_end(bytes, at),
            b'"' | b'\'' => at += string(source, bytes, at, byte)?,
            b'{' | b'<' | b'[' => {
                if open.len() == MAX_DEPTH {
                    return Err(syntax(source, at, "brackets are nested too deep")
                        .help(format!("{MAX_DEPTH} levels are the most that is read")));
                }
                open.push(Open { bracket: byte, at });
            }
            b'}' | b'>' | b']' => {
                let Some(opener) = open.pop() else {
                    return Err(unopened(source, at, byte, askew));
                };
                if closer(opener.bracket) != byte {
                    return Err(mismatch(source, &opener, at, byte));
                }
                if askew.is_none() && is_askew(source, opener.at, at) {
                    askew = Some((opener.at, at));
                }
            }
            _ => {}
        }
        at += 1;
    }
    match open.pop() {
        None => Ok(()),
        Some(opener) => Err(unclosed(source, &opener, askew)),
    }
}

/// Offset from `at` to the last byte before the line's end, so that the caller's step lands on the end.
fn to_line_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let length = rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
    length.saturating_sub(1)
}

/// Offset from the opening quote to the closing one.
fn string(source: &Source, bytes: &[u8], start: usize, quote: u8) -> Result<usize> {
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\n' => break,
            b'\\' if bytes.get(at + 1).is_some_and(|&next| next != b'\n') => at += 2,
            _ if byte == quote => return Ok(at - start),
            _ => at += 1,
        }
    }
    let quote = char::from(quote);
    let span = Span {
        start,
        end: at.min(bytes.len()),
    };
    Err(Error::new(
        ErrorKind::Syntax,
        format!("this string has no closing {quote} on its line"),
    )
    .help(format!(
        "close it with {quote}; a string that is long can be written as several side by side"
    ))
    .at(source.place(span)))
}

fn closer(opener: u8) -> u8 {
    match opener {
        b'{' => b'}',
        b'<' => b'>',
        _ => b']',
    }
}

fn syntax(source: &Source, at: usize, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Syntax, message).at(source.place(Span {
        start: at,
        end: at + 1,
    }))
}

/// True where the closing bracket is the first on its line, but indented unlike the line of the opening one.
fn is_askew(source: &Source, opened: usize, closed: usize) -> bool {
    let (first, last) = (source.line(opened), source.line(closed));
    let (first, last) = (source.line_text(first), source.line_text(last));
    last.trim_start().starts_with(['}', '>', ']']) && indentation(first) != indentation(last)
}

fn indentation(line: &str) -> &str {
    line.get(..line.len() - line.trim_start().len())
        .unwrap_or_default()
}

fn hint(source: &Source, askew: Option<(usize, usize)>) -> Option<String> {
    let (opened, closed) = askew?;
    Some(format!(
        "by the indentation, look between line {} and line {}",
        source.line(opened),
        source.line(closed)
    ))
}

fn unclosed(source: &Source, opener: &Open, askew: Option<(usize, usize)>) -> Error {
    let wanted = char::from(closer(opener.bracket));
    let error = syntax(
        source,
        opener.at,
        format!("'{}' is never closed", char::from(opener.bracket)),
    );
    error.help(match hint(source, askew) {
        Some(hint) => format!("add the missing '{wanted}'; {hint}"),
        None => format!("add the missing '{wanted}'"),
    })
}

fn unopened(source: &Source, at: usize, bracket: u8, askew: Option<(usize, usize)>) -> Error {
    let bracket = char::from(bracket);
    let error = syntax(source, at, format!("'{bracket}' closes nothing"));
    error.help(match hint(source, askew) {
        Some(hint) => format!("remove it, or add what it should close; {hint}"),
        None => "remove it, or add what it should close".into(),
    })
}

fn mismatch(source: &Source, opener: &Open, at: usize, bracket: u8) -> Error {
    let (opened, bracket) = (char::from(opener.bracket), char::from(bracket));
    let wanted = char::from(closer(opener.bracket));
    let line = source.line(opener.at);
    syntax(
        source,
        at,
        format!("expected '{wanted}' to close the '{opened}' of line {line}, found '{bracket}'"),
    )
    .help(format!(
        "write '{wanted}' here, or close the '{opened}' before"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        match check(&Source::new("a", text)) {
            Ok(()) => "ok".into(),
            Err(error) => error.message().into(),
        }
    }

    #[test]
    fn brackets_in_strings_and_comments_do_not_count() {
        assert_eq!(message("a: \"}\" # {\nb: '\\'{' # '\nc <>"), "ok");
    }

    #[test]
    fn wrong_brackets_are_named() {
        assert_eq!(message("a {"), "'{' is never closed");
        assert_eq!(message("a { } }"), "'}' closes nothing");
        assert_eq!(
            message("a: [1, 2 }"),
            "expected ']' to close the '[' of line 1, found '}'"
        );
        assert_eq!(
            message("a: \"b\nc"),
            "this string has no closing \" on its line"
        );
        assert_eq!(
            message("a: 'b\\"),
            "this string has no closing ' on its line"
        );
        assert_eq!(message(&"a{".repeat(9999)), "brackets are nested too deep");
    }
}
