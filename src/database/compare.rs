//! Two databases beside each other: what differs, and whether they are a pair.

use std::{cmp::Ordering, path::Path};

use super::Watch;
use crate::{
    error::{Error, Result},
    feed::{
        database::Database,
        datum::{Color, Sample},
        record::Stored,
    },
};

/// How one key differs between two databases.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// The first alone has it.
    OnlyFirst,
    /// The second alone has it.
    OnlySecond,
    /// Both have it, with other values; in words.
    Value(String),
}

/// What differs between two databases.
#[derive(Debug, Default)]
pub struct Differences {
    /// Records of both.
    pub records: [u64; 2],
    /// Keys that the first alone has.
    pub only_first: u64,
    /// Keys that the second alone has.
    pub only_second: u64,
    /// Keys with other values.
    pub values: u64,
    /// Keys whose bytes differ and whose labels and pixels do not.
    pub same_content: u64,
    /// The first differences, by key.
    pub first: Vec<(String, Difference)>,
}

impl Differences {
    /// Whether nothing differs but the bytes that something is packed in.
    pub fn none(&self) -> bool {
        self.only_first + self.only_second + self.values == 0
    }
}

/// Compares two databases key by key and tells the first `most` differences.
///
/// # Errors
/// `Unsupported` where one has integers for keys and the other texts; `Data` where a record that differs cannot be read.
pub fn diff(
    first: &mut Database,
    second: &mut Database,
    most: usize,
    watch: &mut dyn Watch,
) -> Result<Differences> {
    if first.integer_keys() != second.integer_keys() {
        return Err(Error::unsupported(
            "one database has integers for keys and the other texts: no key of one is in the other",
        )
        .help("compare them by their order with 'db pair'"));
    }
    let integers = first.integer_keys();
    let mut found = Differences::default();
    let mut done = 0;
    let (mut more_a, mut more_b) = (step(first)?, step(second)?);
    while more_a.is_some() || more_b.is_some() {
        let order = match (&more_a, &more_b) {
            (Some((a, _)), Some((b, _))) => compare(a, b, integers),
            (Some(_), None) => Ordering::Less,
            _ => Ordering::Greater,
        };
        let mut tell = |key: &[u8], difference| {
            if found.first.len() < most {
                found.first.push((first.text(key), difference));
            }
        };
        match (order, &more_a, &more_b) {
            (Ordering::Less, Some((key, _)), _) => {
                found.only_first += 1;
                tell(key, Difference::OnlyFirst);
            }
            (Ordering::Greater, _, Some((key, _))) => {
                found.only_second += 1;
                tell(key, Difference::OnlySecond);
            }
            (_, Some((key, a)), Some((_, b))) if a != b => {
                match values(a, b).map_err(|e| e.at(first.place(key)))? {
                    Some(words) => {
                        found.values += 1;
                        tell(key, Difference::Value(words));
                    }
                    None => found.same_content += 1,
                }
            }
            _ => {}
        }
        if order != Ordering::Greater {
            found.records[0] += 1;
            more_a = step(first)?;
        }
        if order != Ordering::Less {
            found.records[1] += 1;
            more_b = step(second)?;
        }
        done += 1;
        watch.done(done)?;
    }
    Ok(found)
}

type Owned = (Vec<u8>, Vec<u8>);

fn step(database: &mut Database) -> Result<Option<Owned>> {
    let record = database.next()?;
    Ok(record.map(|(key, value)| (key.to_vec(), value.to_vec())))
}

fn compare(a: &[u8], b: &[u8], integers: bool) -> Ordering {
    use crate::feed::database::key_text;
    match integers {
        // Numbers are as long as their zeros make them, or longer and larger.
        true => {
            let (a, b) = (key_text(a, true), key_text(b, true));
            a.len().cmp(&b.len()).then_with(|| a.cmp(&b))
        }
        false => a.cmp(b),
    }
}

/// What differs between two records of one key, in words; nothing where they say the same in other bytes.
fn values(a: &[u8], b: &[u8]) -> Result<Option<String>> {
    let (a, b) = (Stored::read(a)?, Stored::read(b)?);
    let mut words = Vec::new();
    if a.label() != b.label() {
        words.push(format!("label {} and {}", a.label(), b.label()));
    }
    if a.annotations() != b.annotations() {
        words.push("other annotations".to_owned());
    }
    if a.datum() != b.datum() {
        let (a, b) = (a.sample(Color::AsStored)?, b.sample(Color::AsStored)?);
        let size = |[c, h, w]: [usize; 3]| format!("{c}x{h}x{w}");
        if a.dims() != b.dims() {
            words.push(format!("size {} and {}", size(a.dims()), size(b.dims())));
        } else {
            let (count, most) = pixels(&a, &b);
            if count > 0 {
                words.push(format!(
                    "{count} of {} values, by up to {most}",
                    a.dims().iter().product::<usize>()
                ));
            }
        }
    }
    Ok((!words.is_empty()).then(|| words.join("; ")))
}

/// How many values differ, and by how much at most.
fn pixels(a: &Sample<'_>, b: &Sample<'_>) -> (usize, f32) {
    let (a, b) = (a.floats(), b.floats());
    let apart = a.iter().zip(&b).filter(|(a, b)| a.to_bits() != b.to_bits());
    apart.fold((0, 0.0), |(count, most), (a, b)| {
        (count + 1, f32::max(most, (a - b).abs()))
    })
}

/// Whether two databases are read side by side: image `n` with label map `n`.
#[derive(Debug)]
pub struct Pairing {
    /// Records of both.
    pub records: [u64; 2],
    /// Channels, height and width of the first records.
    pub dims: [[usize; 3]; 2],
    /// Keys that are equal at the same place.
    pub equal: u64,
    /// Keys at the same place that are equal but for the endings of their files.
    pub alike: u64,
    /// The first place at which the keys are neither: its number and both keys.
    pub first_apart: Option<(u64, String, String)>,
    /// Whether all keys are plain numbers of one kind or another, in step.
    pub numbered: bool,
}

impl Pairing {
    /// Whether they hold the same keys, endings aside, in the same order.
    pub fn holds(&self) -> bool {
        self.records[0] == self.records[1] && (self.first_apart.is_none() || self.numbered)
    }
}

/// Compares the keys of two databases place by place.
///
/// # Errors
/// `Data` where a first record cannot be read.
pub fn pair(first: &mut Database, second: &mut Database, watch: &mut dyn Watch) -> Result<Pairing> {
    let mut pairing = Pairing {
        records: [0; 2],
        dims: [[0; 3]; 2],
        equal: 0,
        alike: 0,
        first_apart: None,
        numbered: true,
    };
    loop {
        let number = pairing.records[0].max(pairing.records[1]);
        let mut keys = [None, None];
        let both = [&mut *first, &mut *second];
        for (i, database) in both.into_iter().enumerate() {
            let integers = database.integer_keys();
            let Some((key, value)) = database.next()? else {
                continue;
            };
            let key = key.to_vec();
            if number == 0 {
                let sample = Stored::read(value).and_then(|r| r.sample(Color::AsStored));
                pairing.dims[i] = match sample {
                    Ok(sample) => sample.dims(),
                    Err(e) => return Err(e.at(database.place(&key))),
                };
            }
            keys[i] = Some(crate::feed::database::key_text(&key, integers));
            pairing.records[i] += 1;
        }
        match keys {
            [Some(a), Some(b)] => {
                if a == b {
                    pairing.equal += 1;
                } else if stem(&a) == stem(&b) {
                    pairing.alike += 1;
                } else if pairing.first_apart.is_none() {
                    pairing.first_apart = Some((number, a.clone(), b.clone()));
                }
                let is = |key: &str| key.parse::<u64>() == Ok(number);
                pairing.numbered &= is(&a) && is(&b);
            }
            [None, None] => return Ok(pairing),
            _ => {}
        }
        watch.done(number + 1)?;
    }
}

/// A key without the ending of its file.
fn stem(key: &str) -> &str {
    let name = Path::new(key).extension();
    match name {
        Some(ending) => &key[..key.len() - ending.len() - 1],
        None => key,
    }
}

/// A key without the eight digits and `_` that Caffe's tools put before a path.
pub(super) fn without_number(key: &str) -> &str {
    match key.split_at_checked(9) {
        Some((number, path))
            if !path.is_empty()
                && number.ends_with('_')
                && number[..8].bytes().all(|b| b.is_ascii_digit()) =>
        {
            path
        }
        _ => key,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::{
        feed::database::DatabaseWriter,
        schema::{Datum, data_parameter::Db},
    };

    fn database(dir: &Path, name: &str, records: &[(&str, &[u8], i32)]) -> Database {
        let path = dir.join(name);
        let kind = if name.len().is_multiple_of(2) {
            Db::Lmdb
        } else {
            Db::Leveldb
        };
        let mut writer = DatabaseWriter::create(&path, kind).unwrap();
        for (key, data, label) in records {
            let datum = Datum {
                channels: Some(1),
                height: Some(1),
                width: Some(i32::try_from(data.len()).unwrap()),
                data: Some(data.to_vec()),
                label: Some(*label),
                ..Datum::default()
            };
            writer.put(key.as_bytes(), &datum.encode_to_vec()).unwrap();
        }
        writer.finish().unwrap();
        Database::open(&path).unwrap()
    }

    #[test]
    fn differences_by_key() {
        let dir = tempfile::tempdir().unwrap();
        let mut a = database(
            dir.path(),
            "a",
            &[
                ("a", &[1, 2], 0),
                ("b", &[1, 2], 1),
                ("c", &[1, 2], 0),
                ("e", &[1], 0),
            ],
        );
        let mut b = database(
            dir.path(),
            "bb",
            &[
                ("b", &[1, 5], 2),
                ("c", &[1, 2], 0),
                ("d", &[1, 2], 0),
                ("e", &[1, 2], 0),
            ],
        );
        let found = diff(&mut a, &mut b, 10, &mut ()).unwrap();
        assert_eq!(found.records, [4, 4]);
        assert_eq!(
            (found.only_first, found.only_second, found.values),
            (1, 1, 2)
        );
        let words = |i: usize| match &found.first[i] {
            (key, Difference::Value(words)) => format!("{key}: {words}"),
            (key, other) => format!("{key}: {other:?}"),
        };
        assert_eq!(words(0), "a: OnlyFirst");
        assert_eq!(words(1), "b: label 1 and 2; 1 of 2 values, by up to 3");
        assert_eq!(words(2), "d: OnlySecond");
        assert_eq!(words(3), "e: size 1x1x1 and 1x1x2");
        a.rewind().unwrap();
        let mut again = Database::open(&dir.path().join("a")).unwrap();
        assert!(diff(&mut a, &mut again, 1, &mut ()).unwrap().none());
    }

    #[test]
    fn pairs() {
        let dir = tempfile::tempdir().unwrap();
        let open = |name: &str, keys: [&str; 2]| {
            database(dir.path(), name, &keys.map(|key| (key, &[1u8, 2][..], 0)))
        };
        let mut images = open("i", ["00000000_a.jpg", "00000001_b.jpg"]);
        let mut maps = open("maps", ["00000000_a.png", "00000001_b.png"]);
        let mut other = open("other", ["00000000_b.png", "00000001_a.png"]);
        let pairing = pair(&mut images, &mut maps, &mut ()).unwrap();
        assert!(pairing.holds());
        assert_eq!((pairing.equal, pairing.alike), (0, 2));
        assert_eq!(pairing.dims[0], [1, 1, 2]);
        images.rewind().unwrap();
        let pairing = pair(&mut images, &mut other, &mut ()).unwrap();
        assert!(!pairing.holds());
        let (number, a, b) = pairing.first_apart.unwrap();
        assert_eq!((number, &*a, &*b), (0, "00000000_a.jpg", "00000000_b.png"));
        let mut five = open("five5", ["00000", "00001"]);
        let mut eight = open("eight", ["00000000", "00000001"]);
        assert!(pair(&mut five, &mut eight, &mut ()).unwrap().holds());
    }

    #[test]
    fn numbers_before_paths() {
        assert_eq!(without_number("00000012_a/b.png"), "a/b.png");
        for same in ["00000012", "0000012_a", "x", "00000012_"] {
            assert_eq!(without_number(same), same);
        }
    }
}
