//! Reading a record back, whatever became of it: cut short, from a later version, still being written.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use super::Line;
use crate::error::{Error, Result};

/// What is taken in at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a line; longer ones are skipped.
    pub line: usize,
    /// Lines; what follows is left.
    pub lines: usize,
}

impl Default for Limits {
    /// 8 MiB a line, a million lines.
    fn default() -> Self {
        Self {
            line: 8 << 20,
            lines: 1_000_000,
        }
    }
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The lines that were understood.
    pub lines: Vec<Line>,
    /// Lines that are no line of a record, or too long.
    pub skipped: usize,
    /// Whether the last line has no end: its writer was cut off, or is at it.
    pub cut: bool,
    /// Whether there are more lines than were taken in.
    pub more: bool,
}

/// The record in a file.
///
/// # Errors
/// `Io` where it cannot be read.
pub fn read(path: &Path) -> Result<Record> {
    let file = File::open(path).map_err(|e| Error::io("open", path, &e))?;
    read_from(&mut BufReader::new(file), Limits::default()).map_err(|e| Error::io("read", path, &e))
}

/// The record in any bytes.
///
/// # Errors
/// Of the reader.
pub fn read_from(from: &mut dyn BufRead, limits: Limits) -> io::Result<Record> {
    let mut record = Record::default();
    let mut line = Vec::new();
    loop {
        let end = next(from, &mut line, limits.line)?;
        if end == End::Nothing {
            return Ok(record);
        }
        if record.lines.len() >= limits.lines {
            record.more = true;
            return Ok(record);
        }
        let parsed = match end {
            End::Long => None,
            _ => serde_json::from_slice::<Line>(&line).ok(),
        };
        match parsed {
            Some(Line::Unknown) => {}
            Some(line) => record.lines.push(line),
            None if line.iter().all(u8::is_ascii_whitespace) && end != End::Long => {}
            None if end == End::File => record.cut = true,
            None => record.skipped += 1,
        }
    }
}

/// How a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// With an end of line.
    Line,
    /// With the file.
    File,
    /// It is longer than it may be; its end was looked for all the same.
    Long,
    /// There was none.
    Nothing,
}

/// The next line, without its end; empty where it is too long.
fn next(from: &mut dyn BufRead, line: &mut Vec<u8>, most: usize) -> io::Result<End> {
    line.clear();
    let (mut any, mut long) = (false, false);
    loop {
        let bytes = match from.fill_buf() {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        if bytes.is_empty() {
            return Ok(match (any, long) {
                (false, _) => End::Nothing,
                (true, true) => End::Long,
                (true, false) => End::File,
            });
        }
        any = true;
        let end = bytes.iter().position(|&b| b == b'\n');
        let part = &bytes[..end.unwrap_or(bytes.len())];
        long |= line.len() + part.len() > most;
        if long {
            line.clear();
        } else {
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(end.is_some());
        from.consume(used);
        if end.is_some() {
            return Ok(if long { End::Long } else { End::Line });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str, limits: Limits) -> Record {
        read_from(&mut text.as_bytes(), limits).unwrap()
    }

    const LOG: &str = r#"{"kind":"log","t":0.5,"level":"info","text":"x"}"#;

    #[test]
    fn a_cut_line_and_foreign_ones_are_left_out() {
        let later = r#"{"kind":"hologram","depth":3}"#;
        let field = r#"{"kind":"log","t":1,"level":"info","text":"x","mood":"good"}"#;
        let text = format!("{LOG}\n\n{later}\nnoise\n{field}\n{{\"kind\":\"log\",\"t\":");
        let record = of(&text, Limits::default());
        assert_eq!((record.lines.len(), record.skipped), (2, 1));
        assert!(record.cut && !record.more);
        // A last line that is whole but for its end counts.
        assert_eq!(of(LOG, Limits::default()).lines.len(), 1);
    }

    #[test]
    fn what_is_too_much_is_left() {
        let text = format!("{LOG}\n{}\n{LOG}\n{LOG}\n", "y".repeat(1000));
        let limits = Limits {
            line: 100,
            lines: 2,
        };
        let record = of(&text, limits);
        assert_eq!(
            (record.lines.len(), record.skipped, record.more),
            (2, 1, true)
        );
    }

    #[test]
    fn numbers_that_are_none() {
        let text = r#"{"kind":"step","t":1,"iteration":3,"loss":null,"rate":0.1}"#;
        let record = of(text, Limits::default());
        assert!(matches!(
            record.lines[0],
            Line::Step {
                loss: None,
                rate: Some(_),
                ..
            }
        ));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let limits = Limits { line: 50, lines: 3 };
            read_from(&mut &bytes[..], limits).unwrap();
        }
    }
}
