//! Databases in another order, in parts, or put together.

use std::path::{Path, PathBuf};

use rand::seq::SliceRandom as _;

use super::{Watch, compare::without_number};
use crate::{
    error::{Error, Result},
    feed::database::{Database, DatabaseWriter},
    rng::{Use, stream},
    schema::data_parameter::Db,
};

/// Numbers of records in an order that the seed draws; 0 below `count`.
fn order(count: u64, seed: u64) -> Result<Vec<usize>> {
    let count = usize::try_from(count).map_err(|_| Error::data("too many records"))?;
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut stream(seed, Use::Other, 0, 0));
    Ok(order)
}

/// A key that sorts as `number`, with the path that the old key has.
fn numbered(number: u64, old: &str) -> String {
    match without_number(old) {
        // A number alone says where a record was, and that is over.
        plain if plain.bytes().all(|b| b.is_ascii_digit()) => format!("{number:08}"),
        path => format!("{number:08}_{path}"),
    }
}

/// Writes each of `pairs` of a database and a new one with its records in another order, the same for all. Keys get new
/// numbers, since records are read in the order of their keys. Returns the number of records.
///
/// # Errors
/// `Data` where the databases do not hold the same number of records; `Io`.
pub fn shuffle(
    pairs: &mut [(Database, PathBuf)],
    backend: Option<Db>,
    seed: u64,
    watch: &mut dyn Watch,
) -> Result<u64> {
    let Some((first, _)) = pairs.first_mut() else {
        return Ok(0);
    };
    let (count, name) = (first.records()?, first.name().to_owned());
    for (database, _) in &mut *pairs {
        let other = database.records()?;
        if other != count {
            return Err(Error::data(format!(
                "'{name}' has {count} records and '{}' has {other}: they are no pair",
                database.name()
            ))
            .help("see where they part with 'db pair'"));
        }
    }
    let mut places = vec![0u64; usize::try_from(count).unwrap_or(0)];
    for (place, record) in (0..).zip(order(count, seed)?) {
        places[record] = place;
    }
    let mut writers = Vec::new();
    let mut done = 0;
    for (database, target) in pairs {
        let mut writer = DatabaseWriter::create(target, backend.unwrap_or(database.kind()))?;
        let integers = database.integer_keys();
        for &place in &places {
            let Some((key, value)) = database.next()? else {
                break;
            };
            let key = numbered(place, &crate::feed::database::key_text(key, integers));
            writer.put(key.as_bytes(), value)?;
            done += 1;
            watch.done(done)?;
        }
        writers.push(writer);
    }
    // Only when all are written, so that there is never one without its other half.
    writers.into_iter().try_for_each(|w| w.finish().map(drop))?;
    Ok(count)
}

/// Writes a `share` of the records, drawn by the seed, to the first of `targets` and the rest to the second, in their
/// order and with their keys. The same seed draws the same places of any database of as many records, so that pairs stay
/// pairs. Returns how many went where.
///
/// # Errors
/// `Data` where one of both would be empty; `Io`.
pub fn split(
    database: &mut Database,
    targets: [&Path; 2],
    share: f64,
    backend: Option<Db>,
    seed: u64,
    watch: &mut dyn Watch,
) -> Result<[u64; 2]> {
    let count = database.records()?;
    let first = ((count as f64 * share).round() as u64).min(count);
    if first == 0 || first == count {
        return Err(Error::data(format!(
            "a share of {share} of {count} records leaves one part without any"
        ))
        .help("choose another share, between 0 and 1"));
    }
    let mut side = vec![1; usize::try_from(count).unwrap_or(0)];
    for &record in order(count, seed)?
        .iter()
        .take(usize::try_from(first).unwrap_or(0))
    {
        side[record] = 0;
    }
    let kind = backend.unwrap_or(database.kind());
    let mut writers = [
        DatabaseWriter::create(targets[0], kind)?,
        DatabaseWriter::create(targets[1], kind)?,
    ];
    let integers = database.integer_keys();
    let mut done = 0;
    for side in side {
        let Some((key, value)) = database.next()? else {
            break;
        };
        put(&mut writers[side], key, value, integers)?;
        done += 1;
        watch.done(done)?;
    }
    let [a, b] = writers;
    Ok([a.finish()?, b.finish()?])
}

/// Puts a record under its own key; an integer becomes a text that sorts like it.
fn put(writer: &mut DatabaseWriter, key: &[u8], value: &[u8], integers: bool) -> Result<()> {
    if integers {
        let text = crate::feed::database::key_text(key, true);
        return writer.put(text.as_bytes(), value);
    }
    writer.put(key, value)
}

/// Writes the records of all `databases`, one after the other, to the database `target`. Keys get new numbers, or stay
/// with `keep_keys`, and then have to be different ones. Returns the number of records.
///
/// # Errors
/// `Data` where a key that is to stay is there already; `Io`.
pub fn merge(
    databases: &mut [Database],
    target: &Path,
    backend: Db,
    keep_keys: bool,
    watch: &mut dyn Watch,
) -> Result<u64> {
    let mut writer = DatabaseWriter::create(target, backend)?;
    let mut done = 0;
    for database in databases {
        let integers = database.integer_keys();
        while let Some((key, value)) = database.next()? {
            if keep_keys {
                put(&mut writer, key, value, integers)?;
            } else {
                let old = crate::feed::database::key_text(key, integers);
                writer.put(numbered(done, &old).as_bytes(), value)?;
            }
            done += 1;
            watch.done(done)?;
        }
    }
    writer.finish().map_err(|e| {
        if keep_keys && e.message().contains("twice") {
            e.help("leave --keep_keys out, and all get new numbers")
        } else {
            e
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(dir: &Path, name: &str, kind: Db, keys: &[String]) -> Database {
        let path = dir.join(name);
        let mut writer = DatabaseWriter::create(&path, kind).unwrap();
        for key in keys {
            writer
                .put(key.as_bytes(), without_number(key).as_bytes())
                .unwrap();
        }
        writer.finish().unwrap();
        Database::open(&path).unwrap()
    }

    fn keys(ending: &str) -> Vec<String> {
        (0..20u8)
            .map(|i| format!("{i:08}_{}{ending}", char::from(b'a' + i)))
            .collect()
    }

    fn all(path: &Path) -> Vec<(String, String)> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let records = Database::open(path).unwrap().take(99).unwrap();
        records
            .into_iter()
            .map(|(k, v)| (text(k), text(v)))
            .collect()
    }

    #[test]
    fn a_pair_is_shuffled_together() {
        let dir = tempfile::tempdir().unwrap();
        let out = |name: &str| dir.path().join(name);
        let mut pairs = [
            (make(dir.path(), "i", Db::Lmdb, &keys(".jpg")), out("i2")),
            (make(dir.path(), "l", Db::Leveldb, &keys(".png")), out("l2")),
        ];
        assert_eq!(shuffle(&mut pairs, None, 3, &mut ()).unwrap(), 20);
        let (images, labels) = (all(&out("i2")), all(&out("l2")));
        assert_ne!(images, all(&out("i")));
        for (n, ((a, value), (b, _))) in images.iter().zip(&labels).enumerate() {
            assert_eq!(a.replace("jpg", "png"), *b);
            assert_eq!(*a, format!("{n:08}_{value}"));
        }
        let mut letters: Vec<&String> = images.iter().map(|(_, v)| v).collect();
        letters.sort();
        assert_eq!(letters.len(), 20);
        assert_eq!(letters[19], "t.jpg");
    }

    #[test]
    fn databases_of_other_lengths_are_no_pair() {
        let dir = tempfile::tempdir().unwrap();
        let mut pairs = [
            (
                make(dir.path(), "a", Db::Lmdb, &keys("")),
                dir.path().join("x"),
            ),
            (
                make(dir.path(), "b", Db::Lmdb, &keys("")[1..]),
                dir.path().join("y"),
            ),
        ];
        let error = shuffle(&mut pairs, None, 0, &mut ()).unwrap_err();
        assert!(error.message().contains("20 records"), "{error}");
        assert!(!dir.path().join("x").exists());
    }

    #[test]
    fn parts_have_every_record_once_and_the_same_places() {
        let dir = tempfile::tempdir().unwrap();
        let out = |name: &str| dir.path().join(name);
        let part = |database: &mut Database, a: &str, b: &str| {
            let targets = (out(a), out(b));
            split(database, [&targets.0, &targets.1], 0.75, None, 5, &mut ()).unwrap()
        };
        let mut images = make(dir.path(), "i", Db::Lmdb, &keys(".jpg"));
        let mut labels = make(dir.path(), "l", Db::Leveldb, &keys(".png"));
        assert_eq!(part(&mut images, "ia", "ib"), [15, 5]);
        part(&mut labels, "la", "lb");
        let mut both = [all(&out("ia")), all(&out("ib"))].concat();
        both.sort();
        assert_eq!(both, all(&out("i")));
        for (a, b) in all(&out("ib")).iter().zip(all(&out("lb"))) {
            assert_eq!(a.0.replace("jpg", "png"), b.0);
        }
        images.rewind().unwrap();
        let error = split(&mut images, [&out("x"), &out("y")], 0.01, None, 0, &mut ());
        assert!(error.unwrap_err().message().contains("without any"));
    }

    #[test]
    fn put_together() {
        let dir = tempfile::tempdir().unwrap();
        let mut two = [
            make(dir.path(), "a", Db::Lmdb, &keys("")[..2]),
            make(dir.path(), "b", Db::Leveldb, &keys("")[..2]),
        ];
        let target = dir.path().join("c");
        assert_eq!(
            merge(&mut two, &target, Db::Leveldb, false, &mut ()).unwrap(),
            4
        );
        let keys: Vec<String> = all(&target).into_iter().map(|(k, _)| k).collect();
        assert_eq!(
            keys,
            ["00000000_a", "00000001_b", "00000002_a", "00000003_b"]
        );
        two.iter_mut().for_each(|d| d.rewind().unwrap());
        let target = dir.path().join("d");
        let error = merge(&mut two, &target, Db::Lmdb, true, &mut ()).unwrap_err();
        assert!(
            error.help_text().unwrap().contains("--keep_keys"),
            "{error}"
        );
        assert!(!target.exists());
        assert_eq!(numbered(3, "0000000017"), "00000003");
    }
}
