//! As much XML as files of annotations use: elements and their text. Attributes, comments and declarations are passed
//! over.

use crate::error::{Error, Place, Result};

/// An element.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Element {
    pub(super) name: String,
    /// Its text, without that of the elements in it, blanks at both ends taken off.
    pub(super) text: String,
    pub(super) children: Vec<Element>,
}

/// Elements within elements, at most.
const DEPTH: usize = 200;

impl Element {
    /// The first child of this name.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|c| c.name == name)
    }

    /// The number that a child holds, in whole.
    pub(super) fn number(&self, name: &str) -> Option<f32> {
        let number: f32 = self.child(name)?.text.parse().ok()?;
        number.is_finite().then_some(number)
    }
}

/// Reads a document, `file` being its name for errors; returns its outermost element.
///
/// # Errors
/// `Syntax`, with the line, where it is no XML.
pub(super) fn parse(file: &str, text: &str) -> Result<Element> {
    let mut open: Vec<Element> = Vec::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let wrong = |rest: &str, what: &str| {
        let at = text.len() - rest.len();
        let before = text.get(..at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |n| n + 1);
        let excerpt = text.get(start..).unwrap_or_default();
        Error::new(crate::error::ErrorKind::Syntax, what).at(Place::Text {
            file: file.to_owned(),
            line,
            column: before.get(start..).unwrap_or_default().chars().count() + 1,
            excerpt: excerpt.lines().next().unwrap_or_default().to_owned(),
            width: 1,
        })
    };
    loop {
        let Some(at) = rest.find('<') else {
            return Err(match open.last() {
                Some(element) => wrong("", &format!("the element '{}' has no end", element.name)),
                None => wrong(rest, "the file holds no XML"),
            });
        };
        if let Some(element) = open.last_mut() {
            element.text.push_str(&unescape(&rest[..at]));
        }
        rest = &rest[at..];
        let past = |end: &str| rest.find(end).map(|at| &rest[at + end.len()..]);
        let skipped = if rest.starts_with("<!--") {
            past("-->")
        } else if rest.starts_with("<![CDATA[") {
            let after = past("]]>");
            if let (Some(after), Some(element)) = (after, open.last_mut()) {
                let text = &rest[9..rest.len() - after.len() - 3];
                element.text.push_str(text);
            }
            after
        } else if rest.starts_with("<?") || rest.starts_with("<!") {
            past(">")
        } else {
            let tag = rest.find('>').map(|end| &rest[1..end]);
            let tag = tag.ok_or_else(|| wrong(rest, "a tag has no '>'"))?;
            let after = &rest[tag.len() + 2..];
            if let Some(name) = tag.strip_prefix('/') {
                let Some(mut done) = open.pop().filter(|e| e.name == name.trim()) else {
                    return Err(wrong(rest, &format!("'</{name}>' ends nothing that began")));
                };
                done.text = done.text.trim().to_owned();
                match open.last_mut() {
                    Some(parent) => parent.children.push(done),
                    None => return Ok(done),
                }
            } else {
                let name = tag.split([' ', '\t', '\r', '\n', '/']).next();
                let element = Element {
                    name: name.unwrap_or_default().to_owned(),
                    ..Element::default()
                };
                if element.name.is_empty() || open.len() >= DEPTH {
                    return Err(wrong(rest, "a tag that no file of annotations has"));
                }
                match (tag.ends_with('/'), open.last_mut()) {
                    (true, Some(parent)) => parent.children.push(element),
                    (true, None) => return Ok(element),
                    (false, _) => open.push(element),
                }
            }
            Some(after)
        };
        rest = skipped.ok_or_else(|| wrong(rest, "a comment or declaration has no end"))?;
    }
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.find(';').unwrap_or(0);
        let name = rest.get(1..end).unwrap_or_default();
        let number = |digits: &str, radix| u32::from_str_radix(digits, radix).ok();
        let known = match name {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => match name.strip_prefix("#x") {
                Some(digits) => number(digits, 16),
                None => name.strip_prefix('#').and_then(|digits| number(digits, 10)),
            }
            .and_then(char::from_u32),
        };
        match known {
            Some(c) => {
                out.push(c);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn elements_and_text() {
        let text = "<?xml version='1.0'?>\n<!-- a > b --><a x='1'>\n <b> one &amp; &#50; </b><c/><b><![CDATA[<3>]]></b>\n</a>";
        let root = parse("f", text).unwrap();
        assert_eq!(root.name, "a");
        let texts: Vec<&str> = root.children.iter().map(|c| &*c.text).collect();
        assert_eq!(texts, ["one & 2", "", "<3>"]);
        assert_eq!(root.child("c").unwrap().name, "c");
        assert_eq!(root.number("b"), None);
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        for (text, place, what) in [
            ("<a>\n<b></a>", "f:2:4", "ends nothing"),
            ("<a>\n", "f:2:1", "no end"),
            ("plain", "f:1:1", "no XML"),
            ("<a\n", "f:1:1", "no '>'"),
        ] {
            let error = parse("f", text).unwrap_err().to_string();
            assert!(error.contains(place) && error.contains(what), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[<>/!?a&;#x\\[\\]\\- \n]{0,60}") {
            let _ = parse("f", &text);
        }
    }
}
