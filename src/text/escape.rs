//! Escapes of the text format: what stands between quotes, as bytes, and back.

use std::fmt::Write as _;

/// An escape that means nothing: its offset in the text between the quotes, its length, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadEscape {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) why: &'static str,
}

/// The bytes that the text between two quotes stands for.
pub(super) fn unescape(text: &str, out: &mut Vec<u8>) -> Result<(), BadEscape> {
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        let length = one(escape, out).map_err(|(length, why)| {
            let start = text.len() - escape.len();
            BadEscape {
                start,
                end: start + length,
                why,
            }
        })?;
        rest = escape.get(length..).unwrap_or_default();
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(())
}

/// Reads the escape that `text` starts with; returns its length, or how much of it is wrong and why.
fn one(text: &str, out: &mut Vec<u8>) -> Result<usize, (usize, &'static str)> {
    let Some(letter) = text.chars().nth(1) else {
        return Err((1, "a backslash at the end"));
    };
    let simple = match letter {
        'a' => 7,
        'b' => 8,
        't' => b'\t',
        'n' => b'\n',
        'v' => 11,
        'f' => 12,
        'r' => b'\r',
        '\\' | '\'' | '"' | '?' => u8::try_from(letter).unwrap_or(b'?'),
        '0'..='7' => return octal(text, out),
        'x' | 'X' => {
            let (value, length) = digits(text, 2, 16, 2);
            let value = value.ok_or((2, "\\x needs hexadecimal digits behind it"))?;
            out.push(u8::try_from(value).unwrap_or(u8::MAX));
            return Ok(2 + length);
        }
        'u' | 'U' => return unicode(text, out),
        _ => return Err((1 + letter.len_utf8(), "no such escape")),
    };
    out.push(simple);
    Ok(2)
}

fn octal(text: &str, out: &mut Vec<u8>) -> Result<usize, (usize, &'static str)> {
    let (value, length) = digits(text, 1, 8, 3);
    let byte = value
        .and_then(|value| u8::try_from(value).ok())
        .ok_or((1 + length, "more than a byte holds; the last is \\377"))?;
    out.push(byte);
    Ok(1 + length)
}

fn unicode(text: &str, out: &mut Vec<u8>) -> Result<usize, (usize, &'static str)> {
    const WHY: &str = "not a character; write \\u and four hexadecimal digits, or \\U and eight";
    let long = text.starts_with("\\U");
    let wanted = if long { 8 } else { 4 };
    let (value, mut length) = digits(text, 2, 16, wanted);
    if length < wanted {
        return Err((2 + length, WHY));
    }
    let mut code = value.ok_or((2 + length, WHY))?;
    // Characters beyond the first 65536 may come as two halves, as in UTF-16.
    if (0xD800..0xDC00).contains(&code)
        && let Some(second) = text.get(2 + length..).filter(|t| t.starts_with("\\u"))
        && let (Some(low @ 0xDC00..0xE000), 4) = digits(second, 2, 16, 4)
    {
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        length += 6;
    }
    let character = char::from_u32(code).ok_or((2 + length, WHY))?;
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(2 + length)
}

/// The number that stands at `from`, of at most `most` digits, and how many digits it has.
fn digits(text: &str, from: usize, radix: u32, most: usize) -> (Option<u32>, usize) {
    let rest = text.get(from..).unwrap_or_default();
    let length = rest
        .chars()
        .take(most)
        .take_while(|c| c.is_digit(radix))
        .count();
    let value = rest
        .get(..length)
        .and_then(|digits| u32::from_str_radix(digits, radix).ok());
    (value, length)
}

/// Bytes as they stand between double quotes, in the spelling that protobuf prints: everything that is not printable
/// ASCII by three octal digits.
pub(super) fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'"' => out.push_str("\\\""),
            b'\'' => out.push_str("\\'"),
            b'\\' => out.push_str("\\\\"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\{byte:03o}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<u8>, BadEscape> {
        let mut out = Vec::new();
        unescape(text, &mut out).map(|()| out)
    }

    #[test]
    fn escapes_mean_what_protobuf_says() {
        assert_eq!(
            read(r"a\n\t\\\'\x41\x4\101\0\1018").unwrap(),
            b"a\n\t\\'A\x04A\0A8"
        );
        assert_eq!(
            read(r"\u00e9\U0001F600\ud83d\ude00").unwrap(),
            "é😀😀".as_bytes()
        );
    }

    #[test]
    fn wrong_escapes_are_found() {
        let place = |text| read(text).map_err(|e| (e.start, e.end)).unwrap_err();
        assert_eq!(place(r"ab\q"), (2, 4));
        assert_eq!(place(r"\777"), (0, 4));
        assert_eq!(place(r"\xg"), (0, 2));
        assert_eq!(place(r"\ud83d"), (0, 6));
        assert_eq!(place(r"\Uffffffff"), (0, 10));
        assert_eq!(place(r"\é"), (0, 3));
    }

    #[test]
    fn every_byte_survives() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(read(&escape(&all)).unwrap(), all);
    }
}
