//! Edits applied: in memory first, then written or shown as a diff. What the edits do not touch stays as it was, comments
//! and layout included.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use super::{Edit, Finding, Options, file_of};
use crate::{
    error::{Error, Result},
    model_io::atomic_write,
};

/// Texts of files that are not (yet) on the disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts(BTreeMap<PathBuf, String>);

impl Texts {
    pub(super) fn get(&self, path: &Path) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }
}

/// A file before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mended {
    /// Which.
    pub file: PathBuf,
    /// Its text as it is.
    pub before: String,
    /// Its text as the edits make it.
    pub after: String,
    /// What was mended, by code, in the order in which it was done.
    pub codes: Vec<&'static str>,
}

/// More rounds than this would mean edits that undo each other.
const ROUNDS: usize = 8;

/// Checks files and applies the edits of what is found, again and again until no finding has an edit left. Returns the
/// files that change, and what is found once they have.
///
/// # Errors
/// As [`super::file`]; `Io` where a text that is to be edited cannot be read.
pub fn mend(paths: &[PathBuf], options: &Options) -> Result<(Vec<Mended>, Vec<Finding>)> {
    let mut texts = Texts::default();
    let mut mended: Vec<Mended> = Vec::new();
    let mut round = 0;
    loop {
        let mut found = Vec::new();
        for path in paths {
            found.extend(file_of(path, options, &texts)?);
        }
        round += 1;
        let chosen = choose(&found);
        if chosen.is_empty() || round > ROUNDS {
            return Ok((mended, found));
        }
        for (file, (edits, codes)) in chosen {
            let text = match texts.get(&file) {
                Some(text) => text.to_owned(),
                None => read(&file)?,
            };
            let after = apply(&text, &edits);
            match mended.iter_mut().find(|m| m.file == file) {
                Some(m) => {
                    m.after.clone_from(&after);
                    m.codes.extend(codes);
                }
                None => mended.push(Mended {
                    file: file.clone(),
                    before: text,
                    after: after.clone(),
                    codes,
                }),
            }
            texts.0.insert(file, after);
        }
    }
}

/// The text of a file as spans count it: without its byte order mark.
fn read(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(|e| Error::io("read", path, &e))?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Error::format(format!(
            "'{}' is no UTF-8, so it is left as it is",
            path.display()
        ))
        .help("convert it to UTF-8 first")
    })?;
    Ok(text
        .strip_prefix('\u{FEFF}')
        .map_or(text.clone(), str::to_owned))
}

type Chosen = BTreeMap<PathBuf, (Vec<Edit>, Vec<&'static str>)>;

/// Edits that do not touch each other, those of worse findings first; a finding's edits are taken together or not at all.
fn choose(found: &[Finding]) -> Chosen {
    let mut order: Vec<&Finding> = found.iter().filter(|f| !f.edits.is_empty()).collect();
    order.sort_by_key(|f| std::cmp::Reverse(f.severity));
    let mut chosen: Chosen = BTreeMap::new();
    for finding in order {
        let free = finding.edits.iter().all(|edit| {
            let taken = chosen.get(&edit.file);
            let clash = |other: &Edit| {
                (edit.start < other.end && other.start < edit.end) || edit.start == other.start
            };
            !taken.is_some_and(|(edits, _)| edits.iter().any(clash))
        });
        if !free {
            continue;
        }
        for edit in &finding.edits {
            let entry = chosen.entry(edit.file.clone()).or_default();
            entry.0.push(edit.clone());
            if !entry.1.contains(&finding.code) {
                entry.1.push(finding.code);
            }
        }
    }
    chosen
}

/// The text with edits applied that do not touch each other; one that does not fit the text is left out.
fn apply(text: &str, edits: &[Edit]) -> String {
    let mut edits: Vec<&Edit> = edits.iter().collect();
    edits.sort();
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for edit in edits {
        let fits = edit.start >= at && edit.start <= edit.end;
        if let (true, Some(kept), Some(_)) = (fits, text.get(at..edit.start), text.get(edit.end..))
        {
            out += kept;
            out += &edit.text;
            at = edit.end;
        }
    }
    out + text.get(at..).unwrap_or_default()
}

/// Writes the files that change: beside, then renamed, with the permissions that they had.
///
/// # Errors
/// `Io` where the system refuses; files before the one that failed are changed.
pub fn write(mended: &[Mended]) -> Result<()> {
    for Mended { file, after, .. } in mended {
        let bytes = fs::read(file).map_err(|e| Error::io("read", file, &e))?;
        let marked = bytes.starts_with(b"\xEF\xBB\xBF");
        let before = fs::metadata(file).map(|m| m.permissions());
        atomic_write(file, |out| {
            let mark: &[u8] = if marked { b"\xEF\xBB\xBF" } else { b"" };
            (out.write_all(mark)
                .and_then(|()| out.write_all(after.as_bytes())))
            .map_err(|e| Error::io("write", file, &e))
        })?;
        if let Ok(permissions) = before {
            // The file is whole; that it has other permissions now is no reason to stop.
            let _ = fs::set_permissions(file, permissions);
        }
    }
    Ok(())
}

/// A unified diff of a file that changes, with three lines around each change.
pub fn diff(mended: &Mended) -> String {
    let file = mended.file.display();
    let (old, new) = (lines(&mended.before), lines(&mended.after));
    let steps = steps(&old, &new);
    let mut out = format!("--- {file}\n+++ {file}\n");
    let changed: Vec<usize> = (0..steps.len()).filter(|&i| steps[i].0 != ' ').collect();
    let mut next = 0;
    while let Some(&first) = changed.get(next) {
        let mut last = first;
        while let Some(&more) = changed.get(next).filter(|&&more| more <= last + 7) {
            last = more;
            next += 1;
        }
        let (from, to) = (first.saturating_sub(3), (last + 4).min(steps.len()));
        let count = |part: &[(char, &str)], side: char| {
            part.iter()
                .filter(|(mark, _)| *mark == ' ' || *mark == side)
                .count()
        };
        let (hunk, before) = (&steps[from..to], &steps[..from]);
        let start = |side: char| count(before, side) + usize::from(count(hunk, side) > 0);
        out += &format!(
            "@@ -{},{} +{},{} @@\n",
            start('-'),
            count(hunk, '-'),
            start('+'),
            count(hunk, '+')
        );
        for (mark, line) in hunk {
            out.push(*mark);
            out += line;
            if !line.ends_with('\n') {
                out += "\n\\ No newline at end of file\n";
            }
        }
    }
    out
}

fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// From the old lines to the new: kept (' '), gone ('-') and come ('+').
fn steps<'t>(old: &[&'t str], new: &[&'t str]) -> Vec<(char, &'t str)> {
    let mut steps = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        match (old.get(i), new.get(j)) {
            (Some(a), Some(b)) if a == b => {
                steps.push((' ', *a));
                (i, j) = (i + 1, j + 1);
            }
            _ => {
                // Edits are few and short: the nearest place where both go on alike.
                let (gone, come) = meeting(&old[i..], &new[j..]);
                steps.extend(old[i..i + gone].iter().map(|l| ('-', *l)));
                steps.extend(new[j..j + come].iter().map(|l| ('+', *l)));
                (i, j) = (i + gone, j + come);
            }
        }
    }
    steps
}

/// How many old lines go and new ones come until both are alike again.
fn meeting(old: &[&str], new: &[&str]) -> (usize, usize) {
    let most = old.len() + new.len();
    for sum in 1..=most.min(400) {
        for gone in (0..=sum.min(old.len())).rev() {
            let come = sum - gone;
            let alike = match (old.get(gone), new.get(come)) {
                (Some(a), Some(b)) => a == b,
                (None, None) => gone == old.len() && come == new.len(),
                _ => false,
            };
            if come <= new.len() && alike {
                return (gone, come);
            }
        }
    }
    (old.len(), new.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Severity;

    fn edit(start: usize, end: usize, text: &str) -> Edit {
        Edit {
            file: "f".into(),
            start,
            end,
            text: text.into(),
        }
    }

    fn finding(severity: Severity, edits: Vec<Edit>) -> Finding {
        Finding {
            code: if severity == Severity::Error {
                "N001"
            } else {
                "N002"
            },
            severity,
            message: String::new(),
            place: None,
            further: Vec::new(),
            notes: Vec::new(),
            help: None,
            edits,
        }
    }

    #[test]
    fn edits_apply_by_their_places() {
        assert_eq!(
            apply(
                "abcdef",
                &[edit(4, 5, "X"), edit(0, 1, ""), edit(6, 6, "!")]
            ),
            "bcdXf!"
        );
        assert_eq!(
            apply("é", &[edit(1, 2, "x")]),
            "é",
            "not inside of a character"
        );
        assert_eq!(apply("ab", &[edit(1, 9, "x")]), "ab");
    }

    #[test]
    fn worse_findings_come_first_and_edits_stay_together() {
        let note = finding(Severity::Note, vec![edit(2, 4, "n"), edit(8, 9, "n")]);
        let error = finding(Severity::Error, vec![edit(3, 6, "e")]);
        let chosen = choose(&[note.clone(), error]);
        let (edits, codes) = &chosen[Path::new("f")];
        assert_eq!((edits.len(), &codes[..]), (1, &["N001"][..]));
        assert_eq!(choose(&[note])[Path::new("f")].0.len(), 2);
    }

    #[test]
    fn a_diff_as_patch_reads_it() {
        let before: String = (1..=12).map(|i| format!("{i}\n")).collect();
        let mended = Mended {
            file: "n".into(),
            after: before
                .replace("2\n3\n", "2\n")
                .replacen("9\n", "nine\n9b\n", 1),
            before,
            codes: Vec::new(),
        };
        let shown = diff(&mended);
        assert_eq!(
            shown,
            "--- n\n+++ n\n@@ -1,12 +1,12 @@\n 1\n 2\n-3\n 4\n 5\n 6\n 7\n 8\n-9\n+nine\n+9b\n 10\n 11\n 12\n"
        );
        let one = Mended {
            before: "a".into(),
            after: "b".into(),
            ..mended
        };
        assert!(
            diff(&one)
                .ends_with("-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n")
        );
    }
}
