use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

use super::*;

/// A database of `n` records with the keys `00000000`, ... and the values `[i; size]`.
fn database(dir: &Path, name: &str, n: u8, size: usize) {
    let mut writer = LmdbWriter::create(&dir.join(name)).unwrap();
    for i in (0..n).rev() {
        writer
            .put(format!("{i:08}").as_bytes(), &vec![i; size])
            .unwrap();
    }
    writer.finish().unwrap();
}

/// Number, key and first byte of the next `count` records.
fn take(source: &mut LmdbSource, count: usize) -> Vec<(u64, String, u8)> {
    let mut seen = Vec::new();
    source
        .read(count, &mut |records| {
            for r in records {
                let key = String::from_utf8(r.key.to_vec()).unwrap();
                seen.push((r.number, key, r.value[0]));
            }
            Ok(())
        })
        .unwrap();
    seen
}

fn refused(dir: &Path, name: &str) -> Error {
    LmdbSource::open(dir, name).err().expect("an error")
}

fn patch(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn reads_in_key_order_and_starts_again() {
    let dir = tempfile::tempdir().unwrap();
    database(dir.path(), "db", 3, 5000);
    let mut source = LmdbSource::open(dir.path(), "db").unwrap();
    assert_eq!(source.records(), 3);
    let first = take(&mut source, 2);
    assert_eq!(
        first,
        [(0, "00000000".into(), 0), (1, "00000001".into(), 1)]
    );
    let values: Vec<_> = take(&mut source, 8).iter().map(|r| (r.0, r.2)).collect();
    let expected: Vec<_> = (2..10).map(|n| (n, u8::try_from(n % 3).unwrap())).collect();
    assert_eq!(values, expected);
    assert_eq!(source.position(), 10);
}

#[test]
fn seeks_to_any_record() {
    let dir = tempfile::tempdir().unwrap();
    database(dir.path(), "db", 5, 1);
    let mut source = LmdbSource::open(dir.path(), "db").unwrap();
    for (to, value) in [(0, 0), (4, 4), (5, 0), (13, 3), (2, 2)] {
        source.seek(to).unwrap();
        assert_eq!(take(&mut source, 1)[0].2, value, "record {to}");
        assert_eq!(source.position(), to + 1);
    }
}

#[test]
fn stays_where_it_was_when_the_reader_fails() {
    let dir = tempfile::tempdir().unwrap();
    database(dir.path(), "db", 3, 1);
    let mut source = LmdbSource::open(dir.path(), "db").unwrap();
    let error = source.read(2, &mut |_| Err(Error::data("no")));
    assert_eq!(error.unwrap_err().message(), "no");
    assert_eq!(take(&mut source, 1)[0].0, 0);
}

#[test]
fn the_data_file_itself_and_two_at_once() {
    let dir = tempfile::tempdir().unwrap();
    database(dir.path(), "db", 3, 1);
    let mut a = LmdbSource::open(dir.path(), "db").unwrap();
    let mut b = LmdbSource::open(dir.path(), "./db/data.mdb").unwrap();
    assert!(Arc::ptr_eq(&a.shared, &b.shared));
    take(&mut a, 2);
    assert_eq!(take(&mut b, 1)[0].2, 0);
    drop(a);
    assert_eq!(take(&mut b, 1)[0].2, 1);
}

#[test]
fn opens_and_closes_from_many_threads() {
    let dir = tempfile::tempdir().unwrap();
    database(dir.path(), "db", 3, 1);
    std::thread::scope(|s| {
        for _ in 0..8 {
            s.spawn(|| {
                for _ in 0..50 {
                    let mut source = LmdbSource::open(dir.path(), "db").unwrap();
                    assert_eq!(take(&mut source, 4).len(), 4);
                }
            });
        }
    });
}

#[cfg(unix)]
#[test]
fn leaves_a_read_only_folder_as_it_is() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    database(dir.path(), "db", 3, 1);
    let db = dir.path().join("db");
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&db.join("data.mdb"), 0o444);
    mode(&db, 0o555);
    let mut source = LmdbSource::open(dir.path(), "db").unwrap();
    assert_eq!(take(&mut source, 3).len(), 3);
    drop(source);
    let names: Vec<_> = fs::read_dir(&db)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, ["data.mdb"]);
    mode(&db, 0o755);
}

#[test]
fn a_missing_database_is_searched_for() {
    let dir = tempfile::tempdir().unwrap();
    database(dir.path(), "train_lmdb", 1, 1);
    let error = refused(dir.path(), "tran_lmdb");
    assert_eq!(error.kind(), ErrorKind::Io);
    let text = error.to_string();
    for part in [
        dir.path().join("tran_lmdb").display().to_string(),
        "working directory".into(),
        "did you mean 'train_lmdb'?".into(),
    ] {
        assert!(text.contains(&part), "{text} has no '{part}'");
    }
    let text = refused(dir.path(), "a/b/train_lmdb").to_string();
    assert!(text.contains("the path ends at"), "{text}");
    let text = refused(dir.path(), ".").to_string();
    assert!(text.contains("one level below: 'train_lmdb'"), "{text}");
}

#[test]
fn a_leveldb_is_recognised() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("db")).unwrap();
    fs::write(dir.path().join("db/CURRENT"), "MANIFEST-000002\n").unwrap();
    let error = refused(dir.path(), "db");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let text = error.to_string();
    assert!(
        text.contains("LevelDB") && text.contains("backend: LEVELDB"),
        "{text}"
    );
}

/// A database whose keys are the numbers below `n`, of `bytes` bytes each.
fn integer_keys(dir: &Path, n: u64, bytes: usize) -> PathBuf {
    let file = dir.join("data.mdb");
    File::create(&file).unwrap();
    let env = open_env(&file, EnvFlags::empty(), 1 << 22).unwrap();
    let mut txn = env.write_txn().unwrap();
    let records = env
        .database_options()
        .types::<Bytes, Bytes>()
        .key_comparator::<heed::IntegerComparator>()
        .create(&mut txn)
        .unwrap();
    for i in (0..n).rev() {
        let value = [&i.to_le_bytes()[..], &[7; 100]].concat();
        records
            .put(&mut txn, &i.to_le_bytes()[..bytes], &value)
            .unwrap();
    }
    txn.commit().unwrap();
    file
}

#[test]
fn integer_keys_come_in_the_order_of_their_numbers() {
    for bytes in [4, 8] {
        let dir = tempfile::tempdir().unwrap();
        let file = integer_keys(dir.path(), 700, bytes);
        let mut source = LmdbSource::open(dir.path(), "data.mdb").unwrap();
        assert_eq!(source.records(), 700);
        let mut seen = Vec::new();
        for count in [1, 300, 400] {
            source
                .read(count, &mut |records| {
                    let number = |r: &Record<'_>| int_of(r.value);
                    seen.extend(records.iter().map(number));
                    Ok(())
                })
                .unwrap();
        }
        let wanted: Vec<u64> = (0..700).chain([0]).collect();
        assert_eq!(seen, wanted);
        source.seek(256).unwrap();
        source
            .read(1, &mut |r| {
                assert_eq!(int_of(r[0].value), 256);
                Ok(())
            })
            .unwrap();
        drop(source);

        // A key of another length would have LMDB read beyond it.
        let whole = fs::read(&file).unwrap();
        let key = &699u64.to_le_bytes()[..bytes];
        let at = whole
            .windows(bytes + 8)
            .position(|w| w[..bytes] == *key && w[bytes..] == 699u64.to_le_bytes());
        let at = u64::try_from(at.unwrap()).unwrap() - 2;
        patch(&file, at, &[3, 0]);
        let error = refused(dir.path(), "data.mdb");
        assert!(error.message().contains("is damaged"), "{error}");
    }
}

/// The number that a value begins with.
fn int_of(value: &[u8]) -> u64 {
    u64::from_le_bytes(*value.first_chunk().unwrap())
}

#[test]
fn a_file_cut_short_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    database(dir.path(), "db", 50, 10_000);
    let path = dir.path().join("db/data.mdb");
    let mut whole = Vec::new();
    File::open(&path).unwrap().read_to_end(&mut whole).unwrap();
    for length in [whole.len() - 1, whole.len() / 2, 8192, 4097, 100, 0] {
        fs::write(&path, &whole[..length]).unwrap();
        let error = refused(dir.path(), "db");
        assert_eq!(error.kind(), ErrorKind::Format);
        let words = if length == 0 { "empty" } else { "cut short" };
        assert!(error.message().contains(words), "{length}: {error}");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(LmdbSource::open(dir.path(), "db").unwrap().records(), 50);
}

#[test]
fn pages_at_the_end_that_nothing_uses_may_be_missing() {
    let dir = tempfile::tempdir().unwrap();
    database(dir.path(), "db", 50, 10_000);
    let path = dir.path().join("db/data.mdb");
    // The last page counts 1000 more in both meta pages.
    let whole = fs::read(&path).unwrap();
    for page in [0, 4096] {
        let last = u64::from_le_bytes(whole[page + 136..page + 144].try_into().unwrap());
        let at = u64::try_from(page).unwrap() + 136;
        patch(&path, at, &(last + 1000).to_le_bytes());
    }
    let mut source = LmdbSource::open(dir.path(), "db").unwrap();
    assert_eq!(take(&mut source, 50)[49].2, 49);
}

#[test]
fn a_hole_in_the_file_is_found_before_lmdb_meets_it() {
    let dir = tempfile::tempdir().unwrap();
    database(dir.path(), "db", 200, 300);
    let path = dir.path().join("db/data.mdb");
    let whole = fs::read(&path).unwrap();
    let mut refusals = 0;
    for page in 2..whole.len() / 4096 {
        let mut holed = whole.clone();
        holed[page * 4096..][..4096].fill(0);
        fs::write(&path, &holed).unwrap();
        // A page that no record needs may be anything.
        match LmdbSource::open(dir.path(), "db") {
            Ok(mut source) => assert_eq!(take(&mut source, 200)[199].2, 199),
            Err(error) => {
                let words = format!("page {page} is not");
                assert!(error.message().contains(&words), "{error}");
                refusals += 1;
            }
        }
    }
    assert!(refusals > 10, "{refusals}");
}

#[test]
fn foreign_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("db");
    for (bytes, words) in [
        (vec![b'x'; 20_000], "magic number"),
        (vec![0; 20_000], "magic number"),
        (vec![b'x'; 10], "cut short"),
    ] {
        fs::write(&file, bytes).unwrap();
        let error = refused(dir.path(), "db");
        assert_eq!(error.kind(), ErrorKind::Format);
        assert!(error.message().contains(words), "{error}");
    }
    database(dir.path(), "other", 1, 1);
    patch(&dir.path().join("other/data.mdb"), 20, &[9]);
    let error = refused(dir.path(), "other");
    assert!(error.message().contains("data format 9"), "{error}");
}

#[test]
fn an_empty_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    LmdbWriter::create(&dir.path().join("db"))
        .unwrap()
        .finish()
        .unwrap();
    let error = refused(dir.path(), "db");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(
        error.to_string().contains("no records\n  --> db"),
        "{error}"
    );
}

#[test]
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn the_recorded_databases() {
    let Ok(shared) = std::env::var("CORTADO_SHARED") else {
        eprintln!("skipped: CORTADO_SHARED is not set");
        return;
    };
    let mut seen = 0;
    for run in fs::read_dir(Path::new(&shared).join("reference/runs")).unwrap() {
        let run = run.unwrap().path();
        for name in ["train_lmdb", "test_lmdb"] {
            let mut source = LmdbSource::open(&run, name).unwrap();
            let len = usize::try_from(source.records()).unwrap();
            let keys = take(&mut source, len + 1);
            assert!(keys[..keys.len() - 1].is_sorted_by(|a, b| a.1 < b.1));
            assert_eq!(keys[0].1, keys[keys.len() - 1].1);
            seen += 1;
        }
    }
    assert!(seen > 0);
}
