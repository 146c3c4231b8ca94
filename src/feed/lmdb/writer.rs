//! Writing an LMDB that Caffe can read.

use std::{fs::File, path::Path};

use heed::{Env, EnvFlags, MdbError, PutFlags, WithoutTls, types::Bytes};

use super::{super::folder::NewFolder, lmdb_error, open_env};
use crate::error::{Error, Result};

/// So much is gathered before it is written in one transaction.
const BATCH_BYTES: usize = 16 << 20;
const BATCH_RECORDS: usize = 1000;
/// LMDB's limit of a key.
const MAX_KEY: usize = 511;

/// A new database. It is written beside its place and appears there, whole, by [`finish`](Self::finish); dropped
/// before, it leaves nothing.
pub struct LmdbWriter {
    // Fields drop in this order: the environment closes before its folder goes.
    env: Option<Env<WithoutTls>>,
    folder: NewFolder,
    map_size: u64,
    batch: Vec<(Vec<u8>, Vec<u8>)>,
    batch_bytes: usize,
    count: u64,
}

impl LmdbWriter {
    /// Begins the database that is to be the folder `path`.
    ///
    /// # Errors
    /// `Io` where something is there already, other than an empty folder, or the parent cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        Self::with_map_size(path, 64 << 20)
    }

    fn with_map_size(path: &Path, map_size: u64) -> Result<Self> {
        let folder = NewFolder::create(path)?;
        // LMDB would make the file private, too; it takes an empty one as new.
        File::create_new(folder.path().join("data.mdb"))
            .map_err(|e| Error::io("create", path, &e))?;
        let mut writer = Self {
            env: None,
            folder,
            map_size,
            batch: Vec::new(),
            batch_bytes: 0,
            count: 0,
        };
        writer.open()?;
        Ok(writer)
    }

    /// Opens the data file anew, with the map size of now.
    fn open(&mut self) -> Result<()> {
        self.env = None;
        // Nothing is lost without syncing: the file is of no use to anyone before `finish` has synced it.
        let flags = EnvFlags::NO_SYNC | EnvFlags::NO_META_SYNC;
        self.env = Some(open_env(
            &self.folder.path().join("data.mdb"),
            flags,
            self.map_size,
        )?);
        Ok(())
    }

    /// Adds a record. Readers get records in the order of their keys, whatever the order they are added in.
    ///
    /// # Errors
    /// `Data` where the key is empty, too long or there already, which may show only some records later; `Io` where
    /// the file cannot be written.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if key.is_empty() || key.len() > MAX_KEY {
            return Err(Error::data(format!(
                "a key of {} bytes; 1 to {MAX_KEY} are possible in an LMDB",
                key.len()
            ))
            .help("shorten the paths in the list, or make a LevelDB"));
        }
        self.batch_bytes += key.len() + value.len();
        self.batch.push((key.to_vec(), value.to_vec()));
        if self.batch_bytes >= BATCH_BYTES || self.batch.len() >= BATCH_RECORDS {
            self.commit()?;
        }
        Ok(())
    }

    /// Writes what has gathered.
    fn commit(&mut self) -> Result<()> {
        loop {
            match self.try_commit() {
                Err(Failure::Full) => {
                    self.map_size = self.map_size.checked_mul(2).ok_or_else(|| {
                        Error::unsupported("the database would pass the largest size possible")
                    })?;
                    self.open()?;
                }
                Err(Failure::Other(e)) => return Err(e),
                Ok(()) => break,
            }
        }
        self.count += u64::try_from(self.batch.len()).unwrap_or(u64::MAX);
        self.batch.clear();
        self.batch_bytes = 0;
        Ok(())
    }

    fn try_commit(&self) -> Result<(), Failure> {
        let Some(env) = &self.env else {
            return Err(Failure::Other(Error::data("the database is not open")));
        };
        let mut txn = env.write_txn()?;
        let records = env.create_database::<Bytes, Bytes>(&mut txn, None)?;
        for (key, value) in &self.batch {
            match records.put_with_flags(&mut txn, PutFlags::NO_OVERWRITE, key, value) {
                Err(heed::Error::Mdb(MdbError::KeyExist)) => {
                    return Err(Failure::Other(Error::data(format!(
                        "the key '{}' twice in one database",
                        key.escape_ascii()
                    ))));
                }
                other => other?,
            }
        }
        Ok(txn.commit()?)
    }

    /// Writes the rest, syncs, and gives the database its name; returns the number of its records.
    ///
    /// # Errors
    /// As [`put`](Self::put); `Io` where the name has been taken meanwhile.
    pub fn finish(mut self) -> Result<u64> {
        self.commit()?;
        if let Some(env) = self.env.take() {
            env.force_sync().map_err(lmdb_error)?;
        }
        self.folder.finish()?;
        Ok(self.count)
    }
}

/// Why a batch was not written.
enum Failure {
    /// The map is too small.
    Full,
    Other(Error),
}

impl From<heed::Error> for Failure {
    fn from(error: heed::Error) -> Self {
        match error {
            heed::Error::Mdb(MdbError::MapFull) => Self::Full,
            other => Self::Other(lmdb_error(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::LmdbSource, *};
    use crate::error::ErrorKind;

    #[test]
    fn grows_past_its_first_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let mut writer = LmdbWriter::with_map_size(&path, 1 << 16).unwrap();
        let value = vec![7u8; 10_000];
        for i in 0..300 {
            writer.put(format!("{i:08}").as_bytes(), &value).unwrap();
        }
        assert!(!path.exists());
        assert_eq!(writer.finish().unwrap(), 300);
        assert_eq!(LmdbSource::open(dir.path(), "db").unwrap().records(), 300);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_dropped_writer_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = LmdbWriter::create(&dir.path().join("db")).unwrap();
        writer.put(b"k", b"v").unwrap();
        drop(writer);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_empty_folder_is_taken_and_a_full_one_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        fs::create_dir(&path).unwrap();
        let mut writer = LmdbWriter::create(&path).unwrap();
        writer.put(b"k", b"v").unwrap();
        writer.finish().unwrap();
        let error = LmdbWriter::create(&path).err().unwrap();
        assert!(error.message().contains("not empty"), "{error}");
    }

    #[test]
    fn bad_keys_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = LmdbWriter::create(&dir.path().join("db")).unwrap();
        assert_eq!(writer.put(b"", b"v").unwrap_err().kind(), ErrorKind::Data);
        assert_eq!(
            writer.put(&[b'k'; 512], b"v").unwrap_err().kind(),
            ErrorKind::Data
        );
        writer.put(b"k", b"v").unwrap();
        writer.put(b"k", b"w").unwrap();
        let error = writer.finish().unwrap_err();
        assert!(error.message().contains("'k' twice"), "{error}");
    }
}
