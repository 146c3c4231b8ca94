//! A file as a database: it is checked, opened, and its first records are read.
#![no_main]

use cortado::feed::{lmdb::LmdbSource, source::Source as _};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(dir) = tempfile::tempdir() else { return };
    if std::fs::write(dir.path().join("data.mdb"), bytes).is_ok()
        && let Ok(mut source) = LmdbSource::open(dir.path(), ".")
    {
        let _ = source.read(4, &mut |_| Ok(()));
    }
});
