//! Databases as tools read and write them: every record once, from the first to the last, or one by its key.

use std::path::Path;

use super::{
    find,
    leveldb::{LevelDbSource, LevelDbWriter, Pass},
    lmdb::{LmdbSource, LmdbWriter},
    resolve,
    source::Source as _,
};
use crate::{
    error::{Error, Place, Result},
    schema::data_parameter::Db,
};

/// An open database, LMDB or LevelDB, at one of its records.
pub struct Database {
    name: String,
    inner: Inner,
    key: Vec<u8>,
    value: Vec<u8>,
}

enum Inner {
    Lmdb {
        source: LmdbSource,
        left: u64,
    },
    LevelDb {
        source: Box<LevelDbSource>,
        pass: Box<Pass>,
    },
}

impl Database {
    /// Opens the database at `path`, of the kind that is there.
    ///
    /// # Errors
    /// As [`LmdbSource::open`] and [`LevelDbSource::open`].
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_as(path, None)
    }

    /// Opens the database at `path`, of this kind where one is given.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_as(path: &Path, backend: Option<Db>) -> Result<Self> {
        let name = path.to_string_lossy().into_owned();
        let root = Path::new("");
        let kind = backend.unwrap_or_else(|| find::kind(&resolve(root, &name)));
        let inner = match kind {
            Db::Lmdb => {
                let source = LmdbSource::open(root, &name)?;
                Inner::Lmdb {
                    left: source.records(),
                    source,
                }
            }
            Db::Leveldb => {
                let source = Box::new(LevelDbSource::open(root, &name)?);
                Inner::LevelDb {
                    pass: Box::new(source.pass()?),
                    source,
                }
            }
        };
        Ok(Self {
            name,
            inner,
            key: Vec::new(),
            value: Vec::new(),
        })
    }

    /// As the user named it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// LMDB or LevelDB.
    pub fn kind(&self) -> Db {
        match self.inner {
            Inner::Lmdb { .. } => Db::Lmdb,
            Inner::LevelDb { .. } => Db::Leveldb,
        }
    }

    /// Whether keys are integers (`MDB_INTEGERKEY`) instead of texts.
    pub fn integer_keys(&self) -> bool {
        match &self.inner {
            Inner::Lmdb { source, .. } => source.integer_keys(),
            Inner::LevelDb { .. } => false,
        }
    }

    /// Number of records. An LMDB knows it; a LevelDB is read for it, from end to end.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn records(&mut self) -> Result<u64> {
        match &mut self.inner {
            Inner::Lmdb { source, .. } => Ok(source.records()),
            Inner::LevelDb { source, .. } => source.records(),
        }
    }

    /// Number of records where it costs nothing to know it.
    pub fn records_known(&self) -> Option<u64> {
        match &self.inner {
            Inner::Lmdb { source, .. } => Some(source.records()),
            Inner::LevelDb { .. } => None,
        }
    }

    /// The next record, its key and its value; `None` behind the last.
    ///
    /// # Errors
    /// Where it cannot be read.
    #[allow(
        clippy::should_implement_trait,
        reason = "what it returns is borrowed until the next call"
    )]
    pub fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        let (key, value) = (&mut self.key, &mut self.value);
        let found = match &mut self.inner {
            Inner::Lmdb { left: 0, .. } => Ok(false),
            Inner::Lmdb { source, left } => source
                .read(1, &mut |records| {
                    for record in records {
                        key.clear();
                        key.extend_from_slice(record.key);
                        value.clear();
                        value.extend_from_slice(record.value);
                    }
                    Ok(())
                })
                .map(|()| {
                    *left -= 1;
                    true
                }),
            Inner::LevelDb { pass, .. } => pass.advance(value).inspect(|_| {
                key.clear();
                key.extend_from_slice(pass.key());
            }),
        };
        match found {
            Ok(true) => Ok(Some((&self.key, &self.value))),
            Ok(false) => Ok(None),
            Err(e) => Err(self.placed(e)),
        }
    }

    /// Makes the first record the next one.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn rewind(&mut self) -> Result<()> {
        match &mut self.inner {
            Inner::Lmdb { source, left } => {
                *left = source.records();
                source.seek(0)
            }
            Inner::LevelDb { source, pass } => {
                **pass = source.pass()?;
                Ok(())
            }
        }
    }

    /// Up to `count` records as their keys and values, empty behind the last.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn take(&mut self, count: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let Some((key, value)) = self.next()? else {
                break;
            };
            taken.push((key.to_vec(), value.to_vec()));
        }
        Ok(taken)
    }

    /// The record whose key reads so: its key and value. In a LevelDB it is looked for from the first on.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn find(&mut self, text: &str) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        if let Inner::Lmdb { source, .. } = &self.inner
            && !source.integer_keys()
        {
            let found = source.get(text.as_bytes())?;
            if let Some(value) = found {
                return Ok(Some((text.as_bytes().to_vec(), value.to_vec())));
            }
        }
        // Bytes that are no text, and integers, read otherwise than they are.
        self.rewind()?;
        let number: Option<u64> = text.parse().ok().filter(|_| self.integer_keys());
        let integer = self.integer_keys();
        while let Some((key, value)) = self.next()? {
            let same = match number {
                Some(number) => integer_of(key) == Some(number),
                None => key == text.as_bytes() || key_text(key, integer) == text,
            };
            if same {
                return Ok(Some((key.to_vec(), value.to_vec())));
            }
        }
        Ok(None)
    }

    /// A key as one reads it.
    pub fn text(&self, key: &[u8]) -> String {
        key_text(key, self.integer_keys())
    }

    /// The place of a record, for errors.
    pub fn place(&self, key: &[u8]) -> Place {
        Place::Record {
            source: self.name.clone(),
            key: self.text(key),
        }
    }

    fn placed(&self, e: Error) -> Error {
        match e.places() {
            [] => e.at(Place::File(self.name.clone())),
            _ => e,
        }
    }
}

/// The number that a key of 4 or 8 bytes is.
fn integer_of(key: &[u8]) -> Option<u64> {
    match key.len() {
        4 => Some(u32::from_ne_bytes(key.try_into().ok()?).into()),
        8 => Some(u64::from_ne_bytes(key.try_into().ok()?)),
        _ => None,
    }
}

/// A key as one reads it: an integer as ten digits or more, so that texts have its order, what is no text escaped.
pub fn key_text(key: &[u8], integer: bool) -> String {
    if let Some(number) = integer_of(key).filter(|_| integer) {
        return format!("{number:010}");
    }
    match std::str::from_utf8(key) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => key.escape_ascii().to_string(),
    }
}

/// A new database of either kind. It appears, whole, by [`finish`](Self::finish); dropped before, it leaves nothing.
pub enum DatabaseWriter {
    /// An LMDB.
    Lmdb(Box<LmdbWriter>),
    /// A LevelDB.
    LevelDb(Box<LevelDbWriter>),
}

impl DatabaseWriter {
    /// Begins the database that is to be the folder `path`.
    ///
    /// # Errors
    /// `Io` where something is there already, other than an empty folder, or the parent cannot be written.
    pub fn create(path: &Path, backend: Db) -> Result<Self> {
        Ok(match backend {
            Db::Lmdb => Self::Lmdb(Box::new(LmdbWriter::create(path)?)),
            Db::Leveldb => Self::LevelDb(Box::new(LevelDbWriter::create(path)?)),
        })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// As [`LmdbWriter::put`] and [`LevelDbWriter::put`].
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match self {
            Self::Lmdb(writer) => writer.put(key, value),
            Self::LevelDb(writer) => writer.put(key, value),
        }
    }

    /// Gives the database its name; returns the number of its records.
    ///
    /// # Errors
    /// As [`LmdbWriter::finish`] and [`LevelDbWriter::finish`].
    pub fn finish(self) -> Result<u64> {
        match self {
            Self::Lmdb(writer) => writer.finish(),
            Self::LevelDb(writer) => writer.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_read_alike() {
        let dir = tempfile::tempdir().unwrap();
        for kind in [Db::Lmdb, Db::Leveldb] {
            let path = dir.path().join(format!("{kind:?}"));
            let mut writer = DatabaseWriter::create(&path, kind).unwrap();
            for key in ["b", "a", "c"] {
                writer
                    .put(key.as_bytes(), key.repeat(3).as_bytes())
                    .unwrap();
            }
            assert_eq!(writer.finish().unwrap(), 3);
            let mut database = Database::open(&path).unwrap();
            assert_eq!(database.kind(), kind);
            assert_eq!(database.records().unwrap(), 3);
            for _ in 0..2 {
                let (key, value) = database.next().unwrap().unwrap();
                assert_eq!((key, value), (&b"a"[..], &b"aaa"[..]));
                assert_eq!(database.take(9).unwrap().len(), 2);
                assert!(database.next().unwrap().is_none());
                database.rewind().unwrap();
            }
            assert_eq!(database.find("c").unwrap().unwrap().1, b"ccc");
            assert!(database.find("d").unwrap().is_none());
            assert!(Database::open_as(&path, Some(kind)).is_ok());
        }
    }

    #[test]
    fn keys_as_text() {
        assert_eq!(
            key_text("00000001_ü.png".as_bytes(), false),
            "00000001_ü.png"
        );
        assert_eq!(key_text(b"\xff\n", false), "\\xff\\n");
        assert_eq!(key_text(&7u32.to_ne_bytes(), true), "0000000007");
        assert_eq!(key_text(&7u64.to_ne_bytes(), true), "0000000007");
    }
}
