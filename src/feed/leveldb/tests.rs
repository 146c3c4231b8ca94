use std::{
    fs,
    path::{Path, PathBuf},
};

use proptest::prelude::*;

use super::*;
use crate::{error::ErrorKind, model_io::crc32c as crc};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/leveldb")
}

/// A copy of a database that may be spoiled.
fn copy(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixtures().join(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

/// Number, key and last byte of the next `count` records.
fn take(source: &mut LevelDbSource, count: usize) -> Vec<(u64, String, u8)> {
    let mut seen = Vec::new();
    source
        .read(count, &mut |records| {
            for r in records {
                let key = String::from_utf8(r.key.to_vec()).unwrap();
                seen.push((r.number, key, *r.value.last().unwrap()));
            }
            Ok(())
        })
        .unwrap();
    seen
}

fn refused(folder: &Path) -> Error {
    LevelDbSource::open(folder, ".").err().expect("an error")
}

#[test]
fn tables_and_log_are_one_in_the_order_of_their_keys() {
    for name in ["snappy", "plain"] {
        let mut source = LevelDbSource::open(&fixtures(), name).unwrap();
        // Twice round and on: what was deleted is gone, what was written again is new.
        for (i, (number, key, label)) in take(&mut source, 230).into_iter().enumerate() {
            let wanted = i % 100;
            assert_eq!(number, u64::try_from(i).unwrap());
            assert_eq!((key, usize::from(label)), (format!("{wanted:08}"), wanted));
        }
        assert_eq!(source.position(), 230);
    }
}

#[test]
fn seeks_to_any_record() {
    let mut source = LevelDbSource::open(&fixtures(), "snappy").unwrap();
    for (to, label) in [(0, 0), (40, 40), (99, 99), (100, 0), (363, 63), (2, 2)] {
        source.seek(to).unwrap();
        assert_eq!(take(&mut source, 1), [(to, format!("{label:08}"), label)]);
        assert_eq!(source.position(), to + 1);
    }
}

#[test]
fn stays_where_it_was_when_the_reader_fails() {
    let mut source = LevelDbSource::open(&fixtures(), "plain").unwrap();
    take(&mut source, 5);
    let error = source.read(2, &mut |_| Err(Error::data("no")));
    assert_eq!(error.unwrap_err().message(), "no");
    assert_eq!(take(&mut source, 1)[0].0, 5);
    assert_eq!(take(&mut source, 1)[0].1, "00000006");
}

#[test]
fn a_log_alone_with_values_longer_than_its_blocks() {
    let mut source = LevelDbSource::open(&fixtures(), "log").unwrap();
    let mut values = Vec::new();
    source
        .read(3, &mut |records| {
            values.extend(records.iter().map(|r| (r.key.to_vec(), r.value.to_vec())));
            Ok(())
        })
        .unwrap();
    assert_eq!(
        values,
        [
            (b"a".to_vec(), b"1".to_vec()),
            (b"b".to_vec(), vec![b'2'; 70_000]),
            (b"c".to_vec(), vec![b'3'; 40_000]),
        ]
    );
    // A record that was never finished does not count: the last batch here.
    let dir = copy("log");
    let log = dir.path().join("000003.log");
    let whole = fs::read(&log).unwrap();
    fs::write(&log, &whole[..whole.len() - 10]).unwrap();
    let mut source = LevelDbSource::open(dir.path(), ".").unwrap();
    let keys: Vec<_> = take(&mut source, 3)
        .into_iter()
        .map(|r| (r.1, r.2))
        .collect();
    assert_eq!(
        keys,
        [("b".into(), b'2'), ("c".into(), b'd'), ("b".into(), b'2')]
    );
}

#[test]
fn leaves_the_folder_as_it_is() {
    let dir = copy("snappy");
    let look = || {
        let entries = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap());
        let mut seen: Vec<_> = entries
            .map(|e| (e.file_name(), fs::read(e.path()).unwrap()))
            .collect();
        seen.sort();
        seen
    };
    let before = look();
    let mut source = LevelDbSource::open(dir.path(), ".").unwrap();
    take(&mut source, 150);
    assert_eq!(before, look());
}

#[test]
fn what_is_no_leveldb_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let error = LevelDbSource::open(dir.path(), "none").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(
        refused(dir.path())
            .message()
            .contains("without the file CURRENT")
    );
    fs::write(dir.path().join("data.mdb"), "").unwrap();
    let error = refused(dir.path());
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("say `backend: LMDB`"), "{error}");
    let text = refused(&fixtures()).to_string();
    assert!(
        text.contains("one level below: 'log', 'plain', 'snappy'"),
        "{text}"
    );

    let dir = copy("plain");
    fs::write(dir.path().join("CURRENT"), "../MANIFEST-000011\n").unwrap();
    assert!(
        refused(dir.path())
            .message()
            .contains("CURRENT names no manifest")
    );
    let dir = copy("plain");
    fs::remove_file(dir.path().join("000008.ldb")).unwrap();
    assert!(
        refused(dir.path())
            .message()
            .contains("000008.ldb is missing")
    );
}

#[test]
fn damage_is_found() {
    // Every byte of a table counts but for the filters' index and what only searching needs.
    let dir = copy("plain");
    let table = dir.path().join("000005.ldb");
    let whole = fs::read(&table).unwrap();
    let reads_all = || -> Result<()> {
        let mut source = LevelDbSource::open(dir.path(), ".")?;
        source.read(150, &mut |_| Ok(()))
    };
    reads_all().unwrap();
    for at in (0..whole.len() / 2).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&table, bytes).unwrap();
        let error = reads_all().unwrap_err();
        assert!(error.message().contains("checksum"), "{at}: {error}");
    }
    for length in [0, 47, whole.len() - 1, whole.len() / 2] {
        fs::write(&table, &whole[..length]).unwrap();
        let error = reads_all().unwrap_err();
        assert!(
            error.to_string().contains("000005.ldb is cut short"),
            "{error}"
        );
    }
    fs::write(&table, &whole).unwrap();
    let log = dir.path().join("000013.log");
    let mut bytes = fs::read(&log).unwrap();
    bytes[10] ^= 1;
    fs::write(&log, bytes).unwrap();
    assert!(
        reads_all()
            .unwrap_err()
            .message()
            .contains("log of the database is damaged")
    );
}

/// Makes the checksums of a log or a table right again where the bytes before them have been changed, so that what lies
/// behind the checks is reached.
fn mend_log(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 7) {
        let length = usize::from(u16::from_le_bytes([head[4], head[5]]));
        let Some(body) = bytes.get(at + 6..at + 7 + length) else {
            return;
        };
        let sum = crc::masked(&[body]).to_le_bytes();
        bytes[at..at + 4].copy_from_slice(&sum);
        at += 7 + length;
    }
}

fn mend_table(bytes: &mut [u8], blocks: &[(usize, usize)]) {
    for &(at, length) in blocks {
        let sum = crc::masked(&[&bytes[at..=at + length]]).to_le_bytes();
        bytes[at + length + 1..at + length + 5].copy_from_slice(&sum);
    }
}

/// Places of the index block and the data blocks of a sound table.
fn blocks(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut rest = &bytes[bytes.len() - 48..];
    let mut numbers = || bytes::length(&mut rest).unwrap();
    let (_, _, at, length) = (numbers(), numbers(), numbers(), numbers());
    // Data blocks follow each other from the start, each with a tail of 5 bytes: only the first is needed.
    vec![(at, length), (0, first_length(bytes, at))]
}

fn first_length(bytes: &[u8], index: usize) -> usize {
    let mut rest = &bytes[index..];
    let (_, own, _) = (
        bytes::length(&mut rest).unwrap(),
        bytes::length(&mut rest).unwrap(),
        bytes::length(&mut rest).unwrap(),
    );
    bytes::take(&mut rest, own).unwrap();
    assert_eq!(bytes::length(&mut rest).unwrap(), 0);
    bytes::length(&mut rest).unwrap()
}

proptest! {
    /// A file of a database changed, with its checksums made right or left wrong: an answer or an error.
    #[test]
    fn damaged_databases_are_answered(
        which in 0..4usize,
        mend in any::<bool>(),
        changes in proptest::collection::vec(
            (any::<prop::sample::Index>(), prop_oneof![Just(0u8), Just(0xFF), any::<u8>()]),
            1..5,
        ),
    ) {
        let dir = copy("snappy");
        let file = ["000005.ldb", "000013.log", "MANIFEST-000011", "CURRENT"][which];
        let path = dir.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        let blocks = if which == 0 { blocks(&bytes) } else { Vec::new() };
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        match which {
            0 if mend => mend_table(&mut bytes, &blocks),
            1 | 2 if mend => mend_log(&mut bytes),
            _ => {}
        }
        fs::write(&path, bytes).unwrap();
        if let Ok(mut source) = LevelDbSource::open(dir.path(), ".") {
            let _ = source.read(250, &mut |_| Ok(()));
            let _ = source.seek(150).and_then(|()| source.read(3, &mut |_| Ok(())));
        }
    }

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for file in ["000005.ldb", "000013.log", "MANIFEST-000011"] {
            let dir = copy("plain");
            fs::write(dir.path().join(file), &bytes).unwrap();
            if let Ok(mut source) = LevelDbSource::open(dir.path(), ".") {
                let _ = source.read(120, &mut |_| Ok(()));
            }
        }
    }
}
