//! Lists of files, one entry a line, as records: in their order, or in a new one for each pass.

use std::{fs, ops::Range, path::Path, sync::Arc};

use rand::{RngExt as _, seq::SliceRandom as _};

use super::{
    resolve,
    source::{Record, Source},
};
use crate::{
    error::{Error, Place, Result},
    rng::{Use, stream},
};

/// What stands on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A path and a number: the path is all before the last blank, and without a number the label is 0.
    Label,
    /// Two paths without blanks.
    Pair,
    /// One path without blanks; what follows is not read.
    Path,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Entry {
    line: u32,
    path: Range<usize>,
    second: Range<usize>,
    /// The label of [`Form::Label`], else 0.
    pub label: i32,
}

impl Entry {
    /// Its line, from 1.
    pub fn line(&self) -> u32 {
        self.line
    }
}

/// A list in memory.
#[derive(Debug)]
pub struct List {
    name: String,
    text: String,
    entries: Vec<Entry>,
}

impl List {
    /// Reads the list that a network calls `source`; relative paths start at `root`. Blank lines are passed over.
    ///
    /// # Errors
    /// `Io` where it cannot be read; `Data` where it is empty, or a line has not this form.
    pub fn read(root: &Path, source: &str, form: Form) -> Result<Self> {
        let path = resolve(root, source);
        let text = fs::read(&path).map_err(|e| Error::io("open", &path, &e))?;
        let text = String::from_utf8(text).map_err(|_| {
            Error::data("the list is no text in UTF-8").at(Place::File(source.to_owned()))
        })?;
        Self::parse(source, text, form)
    }

    /// [`read`](Self::read) of a text that is called `name`.
    ///
    /// # Errors
    /// `Data` as there.
    pub fn parse(name: &str, text: String, form: Form) -> Result<Self> {
        let mut list = Self {
            name: name.to_owned(),
            entries: Vec::new(),
            text: String::new(),
        };
        let mut start = 0;
        let mut number = 0u32;
        for whole in text.split_inclusive('\n') {
            number = number.saturating_add(1);
            let line = whole.trim_end();
            let skipped = line.len() - line.trim_start().len();
            let at = start + skipped;
            let line = line.trim_start();
            start += whole.len();
            if line.is_empty() {
                continue;
            }
            let entry = entry(line, at, form).map_err(|why| {
                why.at(Place::Text {
                    file: name.to_owned(),
                    line: usize::try_from(number).unwrap_or(usize::MAX),
                    column: 1,
                    excerpt: line.to_owned(),
                    width: line.chars().count().max(1),
                })
            })?;
            list.entries.push(Entry {
                line: number,
                ..entry
            });
        }
        if list.entries.is_empty() {
            return Err(Error::data("the list is empty; it needs one image a line")
                .at(Place::File(name.to_owned())));
        }
        list.text = text;
        Ok(list)
    }

    /// A list of these paths, without labels.
    pub fn of_paths(name: &str, paths: &[String]) -> Self {
        let mut list = Self {
            name: name.to_owned(),
            text: String::new(),
            entries: Vec::new(),
        };
        for (line, path) in (1..).zip(paths) {
            let start = list.text.len();
            list.text.push_str(path);
            list.entries.push(Entry {
                line,
                path: start..list.text.len(),
                second: 0..0,
                label: 0,
            });
        }
        list
    }

    /// The entry that a record of a [`ListSource`] stands for.
    ///
    /// # Errors
    /// `Data` for a record of something else.
    pub fn entry(&self, record: &Record<'_>) -> Result<&Entry> {
        let index = record.value.try_into().map(u64::from_le_bytes).ok();
        index
            .and_then(|i| usize::try_from(i).ok())
            .and_then(|i| self.entries.get(i))
            .ok_or_else(|| Error::data("the record is no line of this list"))
    }

    /// The path of an entry, as listed.
    pub fn path(&self, entry: &Entry) -> &str {
        &self.text[entry.path.clone()]
    }

    /// The second path of an entry, or whatever follows the first.
    pub fn second(&self, entry: &Entry) -> &str {
        &self.text[entry.second.clone()]
    }

    /// Where an error in a record is: its line.
    pub fn place(&self, record: &Record<'_>) -> Place {
        match self.entry(record) {
            Ok(entry) => self.line(entry),
            Err(_) => Place::File(self.name.clone()),
        }
    }

    /// The entries, in the order of the list.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The line of an entry.
    pub fn line(&self, entry: &Entry) -> Place {
        Place::Text {
            file: self.name.clone(),
            line: usize::try_from(entry.line).unwrap_or(usize::MAX),
            column: 1,
            excerpt: self.path(entry).to_owned(),
            width: self.path(entry).chars().count().max(1),
        }
    }

    /// Number of entries, at least 1.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Never: an empty list is an error where it is read.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn entry(line: &str, at: usize, form: Form) -> Result<Entry> {
    let range = |from: usize, to: usize| at + from..at + to;
    let blank = |c: char| c == ' ' || c == '\t';
    let entry = |path: usize, second: Range<usize>, label: i32| Entry {
        line: 0,
        path: range(0, path),
        second: range(second.start, second.end),
        label,
    };
    let first = line.find(blank).unwrap_or(line.len());
    let rest = line[first..].trim_start();
    let second = line.len() - rest.len()..line.len();
    match form {
        Form::Label => {
            let Some((path, label)) = line.rsplit_once(blank) else {
                return Ok(entry(line.len(), 0..0, 0));
            };
            let label = label.parse().map_err(|_| {
                Error::data(format!("the line ends with '{label}', which is no label"))
                    .help("write a path, a blank and a whole number on each line")
            })?;
            Ok(entry(path.trim_end().len(), 0..0, label))
        }
        Form::Pair if rest.is_empty() || rest.contains(blank) => {
            let words = line.split_whitespace().count();
            Err(Error::data(format!(
                "the line has {words} word{} instead of 2",
                if words == 1 { "" } else { "s" }
            ))
            .help("write the path of an image and the path of its label map on each line"))
        }
        Form::Pair | Form::Path => Ok(entry(first, second, 0)),
    }
}

/// The entries of a list as records.
pub struct ListSource {
    list: Arc<List>,
    /// Seed and layer that a new order of each pass is drawn from.
    shuffle: Option<(u64, u64)>,
    skip: u64,
    position: u64,
    /// The order of one pass.
    order: Option<(u64, Vec<usize>)>,
}

impl ListSource {
    /// In order, or shuffled anew for each pass.
    pub fn new(list: Arc<List>, shuffle: bool, seed: u64, layer: u64) -> Self {
        Self {
            list,
            shuffle: shuffle.then_some((seed, layer)),
            skip: 0,
            position: 0,
            order: None,
        }
    }

    /// Starts a number of records later that is drawn from 0 to below `most` (`rand_skip`).
    ///
    /// # Errors
    /// `Param` where that may be more than the list has.
    pub fn skip(mut self, most: u32, seed: u64, layer: u64) -> Result<Self> {
        if most > 0 {
            let skip = stream(seed, Use::Other, layer, u64::MAX).random_range(0..most);
            if usize::try_from(skip).map_or(true, |n| n >= self.list.len()) {
                return Err(Error::param(
                    "rand_skip",
                    format!(
                        "{skip} entries to skip, and the list has {}",
                        self.list.len()
                    ),
                ));
            }
            self.skip = skip.into();
        }
        Ok(self)
    }

    /// The entry at this place of all passes.
    fn index(&mut self, number: u64) -> usize {
        let len = u64::try_from(self.list.len()).unwrap_or(u64::MAX);
        let number = number.wrapping_add(self.skip);
        let within = usize::try_from(number % len).unwrap_or(0);
        let Some((seed, layer)) = self.shuffle else {
            return within;
        };
        let pass = number / len;
        if self.order.as_ref().is_none_or(|(of, _)| *of != pass) {
            let mut order: Vec<usize> = (0..self.list.len()).collect();
            order.shuffle(&mut stream(seed, Use::Other, layer, pass));
            self.order = Some((pass, order));
        }
        let order = self.order.as_ref();
        order.map_or(within, |(_, order)| order[within])
    }
}

impl Source for ListSource {
    fn name(&self) -> &str {
        &self.list.name
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn count(&mut self) -> Result<Option<u64>> {
        Ok(u64::try_from(self.list.len()).ok())
    }

    fn seek(&mut self, record: u64) -> Result<()> {
        self.position = record;
        Ok(())
    }

    fn read(&mut self, count: usize, f: &mut dyn FnMut(&[Record<'_>]) -> Result<()>) -> Result<()> {
        let mut number = self.position;
        let mut indices = Vec::with_capacity(count.min(1 << 12));
        for _ in 0..count {
            let index = self.index(number);
            indices.push((
                number,
                index,
                u64::try_from(index).unwrap_or(0).to_le_bytes(),
            ));
            number = number.wrapping_add(1);
        }
        let batch: Vec<Record<'_>> = indices
            .iter()
            .map(|(number, index, bytes)| Record {
                number: *number,
                key: self.list.path(&self.list.entries[*index]).as_bytes(),
                value: bytes,
            })
            .collect();
        f(&batch)?;
        self.position = number;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str, form: Form) -> Vec<(String, String, i32)> {
        let list = List::parse("list", text.to_owned(), form).unwrap();
        let each = list
            .entries
            .iter()
            .map(|e| (list.path(e).to_owned(), list.second(e).to_owned(), e.label));
        each.collect()
    }

    #[test]
    fn lines() {
        let label = |path: &str, label| (path.to_owned(), String::new(), label);
        assert_eq!(
            paths("a.jpg 3\r\n\nmy dir/b c.png  -1 \nplain.bmp", Form::Label),
            [
                label("a.jpg", 3),
                label("my dir/b c.png", -1),
                label("plain.bmp", 0)
            ]
        );
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned(), 0);
        assert_eq!(
            paths("a.jpg\tb.png\n  c d", Form::Pair),
            [pair("a.jpg", "b.png"), pair("c", "d")]
        );
        assert_eq!(paths("a b c", Form::Path), [pair("a", "b c")]);
    }

    #[test]
    fn what_is_wrong_names_its_line() {
        let fails = |text: &str, form, part: &str| {
            let error = List::parse("list.txt", text.to_owned(), form).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        };
        fails("a 1\nb cat", Form::Label, "list.txt:2:1");
        fails("a 1\nb cat", Form::Label, "'cat', which is no label");
        fails("a b\nc", Form::Pair, "1 word instead of 2");
        fails("a b c", Form::Pair, "3 words");
        fails("\n \n", Form::Label, "empty");
        let error = List::read(Path::new("/nowhere"), "x.txt", Form::Label).unwrap_err();
        assert!(error.message().contains("/nowhere/x.txt"), "{error}");
    }

    fn order(source: &mut ListSource, count: usize) -> Vec<String> {
        let mut seen = Vec::new();
        source
            .read(count, &mut |records| {
                seen.extend(records.iter().map(|r| r.key.escape_ascii().to_string()));
                Ok(())
            })
            .unwrap();
        seen
    }

    #[test]
    fn each_pass_has_an_order_of_its_own_that_seeking_finds_again() {
        let list = Arc::new(List::parse("l", "a\nb\nc\nd\ne\nf".into(), Form::Label).unwrap());
        let mut plain = ListSource::new(list.clone(), false, 1, 2);
        assert_eq!(order(&mut plain, 8).concat(), "abcdefab");
        let mut shuffled = ListSource::new(list.clone(), true, 1, 2);
        let two: Vec<_> = order(&mut shuffled, 12);
        for pass in two.chunks(6) {
            let mut pass = pass.to_vec();
            pass.sort();
            assert_eq!(pass.concat(), "abcdef");
        }
        assert_ne!(two[..6], two[6..]);
        let mut again = ListSource::new(list.clone(), true, 1, 2);
        again.seek(4).unwrap();
        assert_eq!(order(&mut again, 8), two[4..]);
        let mut other = ListSource::new(list, true, 2, 2);
        assert_ne!(order(&mut other, 12), two);
    }

    #[test]
    fn skipping() {
        let list = Arc::new(List::parse("l", "a\nb\nc\nd".into(), Form::Label).unwrap());
        let mut firsts = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let source = ListSource::new(list.clone(), false, seed, 0);
            firsts.insert(order(&mut source.skip(4, seed, 0).unwrap(), 1));
        }
        assert_eq!(firsts.len(), 4);
        let error = (0..50)
            .find_map(|seed| {
                let source = ListSource::new(list.clone(), false, seed, 0);
                source.skip(1000, seed, 0).err()
            })
            .unwrap();
        assert!(error.message().contains("the list has 4"), "{error}");
    }
}
