//! Plain words for the grammar's refusals.

use pest::error::{Error as PestError, ErrorVariant, InputLocation};

use crate::error::{Error, ErrorKind};

use super::{Source, ast::Span, parse::grammar::Rule};

/// Turns pest's error into ours: what was expected, what stands there, and where.
pub(super) fn explain(source: &Source, error: &PestError<Rule>) -> Error {
    let at = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
    };
    let expected: &[Rule] = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => positives,
        ErrorVariant::CustomError { .. } => &[],
    };
    let found = token(source, at);
    if let Some(error) = missing_value(source, at, found) {
        return error;
    }
    let before = before(source, at);
    if found == ":" && before.starts_with(|c: char| c.is_ascii_digit()) {
        let message = format!("'{before}' runs a value into the next field's name");
        return Error::new(ErrorKind::Syntax, message)
            .help("put a space, or a new line, between them")
            .at(source.place(Span {
                start: at - before.len(),
                end: at,
            }));
    }
    // Of a rule that starts with one other, pest may tell the other.
    let is_value = expected.contains(&Rule::number) || expected.contains(&Rule::digits);
    let name_is_read = expected.contains(&Rule::colon);
    let wanted = if name_is_read {
        format!("':' or '{{' after '{before}'")
    } else if is_value && expected.contains(&Rule::end_list) {
        "a value or ']'".to_owned()
    } else if is_value {
        format!("a value after '{before}'")
    } else if expected.contains(&Rule::message) {
        "'{', as only messages go without a colon".to_owned()
    } else if expected.contains(&Rule::end_list) {
        "',' or ']'".to_owned()
    } else if expected.contains(&Rule::end_brace) {
        "a field name or '}'".to_owned()
    } else if expected.contains(&Rule::end_angle) {
        "a field name or '>'".to_owned()
    } else {
        "a field name".to_owned()
    };
    let shown = match found.chars().next() {
        None => "the end of the file".to_owned(),
        Some(c) if is_invisible(c) => format!("the invisible character U+{:04X}", u32::from(c)),
        Some(_) => format!("'{found}'"),
    };
    let error = Error::new(
        ErrorKind::Syntax,
        format!("expected {wanted}, found {shown}"),
    );
    let error = match help(source, at, found, name_is_read) {
        Some(help) => error.help(help),
        None => error,
    };
    error.at(source.place(Span {
        start: at,
        end: at + found.len(),
    }))
}

/// The word, number or character that stands at `at`; empty at the end.
fn token(source: &Source, at: usize) -> &str {
    let rest = source.slice(at, source.text().len());
    let word = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
    let first = rest.chars().next().map_or(0, char::len_utf8);
    rest.get(..word.max(first)).unwrap_or_default()
}

/// The word, with a colon if there is one, or the character that stands before `at`.
fn before(source: &Source, at: usize) -> &str {
    let text = source.slice(0, at).trim_end();
    let word = text.trim_end_matches(':').trim_end_matches(is_word).len();
    let last = text.chars().next_back().map_or(0, char::len_utf8);
    text.get(word.min(text.len() - last)..).unwrap_or_default()
}

fn is_invisible(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '\u{200B}'..='\u{200F}' | '\u{FEFF}')
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// `num_output:` with nothing behind it swallows the next line's name; the mistake shows only at that line's colon or
/// bracket, which is no place to point at.
fn missing_value(source: &Source, at: usize, found: &str) -> Option<Error> {
    let swallowed = source.slice(0, at).trim_end();
    let start = swallowed.trim_end_matches(is_word).len();
    let name = source.slice(0, start).trim_end();
    let colon = name.len().checked_sub(1)?;
    let name = name.strip_suffix(':')?.trim_end();
    let field = name.trim_end_matches(is_word).len();
    let fits = matches!(found, ":" | "{" | "<")
        && start < swallowed.len()
        && field < name.len()
        && source.line(field) < source.line(start);
    fits.then(|| {
        let name = source.slice(field, name.len());
        Error::new(ErrorKind::Syntax, format!("field '{name}' has no value"))
            .help(format!(
                "write its value behind the colon, or remove '{name}'"
            ))
            .at(source.place(Span {
                start: field,
                end: colon + 1,
            }))
    })
}

fn help(source: &Source, at: usize, found: &str, name_is_read: bool) -> Option<String> {
    let first = found.chars().next()?;
    match first {
        '=' if name_is_read => Some("write ':' instead of '='".into()),
        '\u{201C}' | '\u{201D}' | '\u{2018}' | '\u{2019}' => {
            Some("write straight quotes, \" or '".into())
        }
        '\u{FF1A}' => Some("write ':'; this is a wide colon".into()),
        '/' if source.slice(at, at + 2) == "//" || source.slice(at, at + 2) == "/*" => {
            Some("a comment starts with '#'".into())
        }
        '\u{FFFD}' => Some("remove these bytes; they are not text".into()),
        _ if is_invisible(first) => Some("remove it, or put a space in its place".into()),
        ']' if source.slice(0, at).trim_end().ends_with(',') => {
            Some("remove the ',' before it".into())
        }
        '$' | '@' | '%' => {
            Some("this looks like a template whose placeholders are not filled in".into())
        }
        '{' if source.slice(at, at + 2) == "{{" => {
            Some("this looks like a template whose placeholders are not filled in".into())
        }
        '"' | '\'' if name_is_read => Some("put ':' between a field and its value".into()),
        _ if name_is_read && is_word(first) => Some("put ':' between a field and its value".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::document;
    use super::*;

    fn message(text: &str) -> String {
        document(&Source::new("a", text))
            .unwrap_err()
            .message()
            .into()
    }

    #[test]
    fn what_was_expected_and_what_is_there() {
        assert_eq!(message("a 1"), "expected ':' or '{' after 'a', found '1'");
        assert_eq!(message("a: }").as_str(), "'}' closes nothing");
        assert_eq!(
            message("m { a: }"),
            "expected a value after 'a:', found '}'"
        );
        assert_eq!(
            message("a:"),
            "expected a value after 'a:', found the end of the file"
        );
        assert_eq!(
            message("m { : }"),
            "expected a field name or '}', found ':'"
        );
        assert_eq!(
            message("m < 1 >"),
            "expected a field name or '>', found '1'"
        );
        assert_eq!(message("a: 1 2"), "expected a field name, found '2'");
        assert_eq!(message("a: [1 2]"), "expected ',' or ']', found '2'");
        assert_eq!(message("a: [1,]"), "expected a value after ',', found ']'");
        assert_eq!(message("a: [:]"), "expected a value or ']', found ':'");
        assert_eq!(
            message("a [1]"),
            "expected '{', as only messages go without a colon, found '1'"
        );
        assert_eq!(
            message("a: 1b: 2"),
            "'1b' runs a value into the next field's name"
        );
        assert_eq!(message("a:\n  b: 1"), "field 'a' has no value");
    }
}
