use proptest::prelude::*;

use super::*;
use crate::{error::ErrorKind, tensor::Tensor};

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/hdf5")
        .join(name)
}

fn open(name: &str) -> File {
    File::open(&fixture(name)).unwrap()
}

/// What `make.py` writes: element i is i - 3, or i % 200 where the type is unsigned.
fn numbers(count: usize, unsigned: bool) -> Vec<f32> {
    let signed = |i: usize| i as f32 - 3.0;
    (0..count)
        .map(|i| {
            if unsigned {
                (i % 200) as f32
            } else {
                signed(i)
            }
        })
        .collect()
}

#[track_caller]
fn holds(file: &File, name: &str, dims: &[usize]) {
    let dataset = file.dataset(name).unwrap().expect(name);
    assert_eq!(dataset.shape().dims(), dims, "{name}");
    let unsigned = name.starts_with("types/u");
    let wanted = numbers(dataset.shape().count(), unsigned);
    assert_eq!(dataset.read().unwrap(), wanted, "{name}");
}

const TYPES: [&str; 14] = [
    "f2", "f4", "f8", "big_f4", "big_f8", "i1", "i2", "i4", "big_i4", "i8", "u1", "u2", "u4", "u8",
];
const CHUNKED: [&str; 12] = [
    "one",
    "one_gzip",
    "plain",
    "gzip",
    "gzip_shuffle",
    "doubles",
    "checksum",
    "grows",
    "grows_gzip",
    "grows_twice",
    "grows_twice_gzip",
    "implicit",
];

#[test]
fn files_of_h5py_old_and_new() {
    for name in ["early.h5", "v108.h5", "late.h5"] {
        let file = open(name);
        for kind in TYPES {
            holds(&file, &format!("types/{kind}"), &[3, 5]);
        }
        holds(&file, "scalar", &[]);
        holds(&file, "five_axes", &[2, 1, 3, 2, 2]);
        holds(&file, "linked", &[2, 1, 3, 2, 2]);
        holds(&file, "soft", &[3, 5]);
        holds(&file, "no_rows", &[0, 4]);
        holds(&file, "compact", &[2, 3]);
        for kind in CHUNKED {
            holds(&file, &format!("chunked/{kind}"), &[7, 10]);
        }
        holds(&file, "chunked/lzf", &[40, 8]);
        holds(&file, "chunked/grows_long", &[600, 2]);
        holds(&file, "chunked/many", &[60, 60]);
        let hole = file.dataset("chunked/hole").unwrap().unwrap();
        let values = hole.read().unwrap();
        for (i, (got, whole)) in values.iter().zip(numbers(70, false)).enumerate() {
            let written = i / 10 < 3 && i % 10 < 4;
            assert_eq!(*got, if written { whole } else { 9.0 }, "{i}");
        }
        let never = file.dataset("never_written").unwrap().unwrap();
        assert_eq!(never.read().unwrap(), [2.5; 6]);

        let Some(Object::Group(many)) = file.find("many_links").unwrap() else {
            panic!("no group");
        };
        assert_eq!(many.names().count(), 300, "{name}");
        for i in [0, 7, 150, 299] {
            let Some(Object::Dataset(one)) = file.get(&many, &format!("layer {i}")).unwrap() else {
                panic!("no dataset {i}");
            };
            assert_eq!(one.read().unwrap(), [i as f32 - 3.0]);
        }
        let text = |path| file.dataset(path).unwrap().unwrap().text().unwrap();
        assert_eq!(text("text/fixed"), "some text");
        assert_eq!(text("text/variable"), "längerer Text");
        let whole = |path| file.dataset(path).unwrap().unwrap().integer();
        assert_eq!(whole("scalar").unwrap_err().kind(), ErrorKind::Format);
    }
    let file = open("userblock.h5");
    holds(&file, "x", &[2, 3]);
}

#[test]
fn what_is_not_there_or_cannot_be_read_is_told() {
    let file = open("late.h5");
    for path in ["none", "types/none", "scalar/none", "types/f4/none"] {
        assert!(file.dataset(path).unwrap().is_none(), "{path}");
    }
    let error = |path| file.dataset(path).err().unwrap().to_string();
    for (path, part) in [
        ("types", "is a group"),
        ("pair", "dataset 'pair': it holds compound elements"),
        ("around", "leads to itself"),
        ("elsewhere", "another file"),
    ] {
        assert!(error(path).contains(part), "{}", error(path));
    }
    let text = file.dataset("text/fixed").unwrap().unwrap();
    let error = text.read().unwrap_err();
    assert!(error.message().contains("holds text"), "{error}");
    assert!(file.dataset("types/f4").unwrap().unwrap().text().is_err());

    let error = File::from_bytes(b"no".to_vec()).err().unwrap();
    assert!(error.message().contains("signature"), "{error}");
    let whole = std::fs::read(fixture("late.h5")).unwrap();
    for length in [8, 20, 50, whole.len() / 2, whole.len() - 1] {
        let error = File::from_bytes(whole[..length].to_vec()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Format);
    }
}

/// A file of one group of `count` datasets and some more.
fn written(count: usize, floats: &Tensor) -> Vec<u8> {
    let mut root = Tree::default();
    let names: Vec<String> = (0..count).map(|i| format!("n{i}")).collect();
    for name in &names {
        let group = root.group("many").unwrap();
        group.dataset(name, Content::Integer(-5)).unwrap();
    }
    let inner = root.group("data/a/b").unwrap();
    inner.dataset("0", Content::Floats(floats.view())).unwrap();
    root.group("empty").unwrap();
    root.dataset("text", Content::Text("ä text")).unwrap();
    root.dataset("bytes", Content::Bytes(&[1, 2, 255])).unwrap();
    root.dataset("nothing", Content::Bytes(&[])).unwrap();
    let mut bytes = Vec::new();
    write(&mut bytes, &root).unwrap();
    bytes
}

#[test]
fn what_is_written_is_read() {
    let floats = Tensor::new(
        [2, 3],
        vec![0.0, -1.5, f32::MIN_POSITIVE, 3.0, f32::MAX, 7.25],
    );
    let floats = floats.unwrap();
    // In one node, in several, in several levels of them.
    for count in [0, 1, 8, 9, 256, 257, 9000] {
        let file = File::from_bytes(written(count, &floats)).unwrap();
        if let Some(Object::Group(many)) = file.find("many").unwrap() {
            assert_eq!(many.names().count(), count);
            let last = format!("many/n{}", count - 1);
            let last = file.dataset(&last).unwrap().unwrap();
            assert_eq!(last.integer().unwrap(), -5);
        }
        let data = file.dataset("data/a/b/0").unwrap().unwrap();
        assert_eq!(data.shape().dims(), [2, 3]);
        assert_eq!(data.read().unwrap(), floats.data);
        let dataset = |name| file.dataset(name).unwrap().unwrap();
        assert_eq!(dataset("text").text().unwrap(), "ä text");
        assert_eq!(dataset("bytes").raw().unwrap(), [1, 2, 255]);
        assert!(dataset("nothing").raw().unwrap().is_empty());
        let Some(Object::Group(empty)) = file.find("empty").unwrap() else {
            panic!("no group");
        };
        assert_eq!(empty.names().count(), 0);
    }
}

#[test]
fn names_that_a_file_cannot_hold() {
    let mut root = Tree::default();
    root.dataset("a", Content::Integer(1)).unwrap();
    for name in ["a", "", ".", "b/c", "d\0"] {
        assert!(root.dataset(name, Content::Integer(1)).is_err(), "{name}");
    }
    for path in ["a", "a/b", "x//y", ""] {
        assert!(root.group(path).is_err(), "{path}");
    }
}

/// h5py reads what is written here, where `CORTADO_H5PY` names a Python that has it.
#[test]
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn h5py_reads_what_is_written() {
    let Ok(python) = std::env::var("CORTADO_H5PY") else {
        eprintln!("skipped: CORTADO_H5PY is not set");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.h5");
    let floats = Tensor::new([2, 3], vec![0.0, -1.5, 2.0, 3.0, 4.0, 7.25]).unwrap();
    std::fs::write(&path, written(1000, &floats)).unwrap();
    let program = "
import h5py, sys, numpy as np
f = h5py.File(sys.argv[1], 'r')
assert sorted(f) == ['bytes', 'data', 'empty', 'many', 'nothing', 'text'], list(f)
assert f['data/a/b/0'].dtype == np.float32
assert f['data/a/b/0'][...].tolist() == [[0, -1.5, 2], [3, 4, 7.25]]
assert len(f['many']) == 1000 and all(f['many'][f'n{i}'][0] == -5 for i in range(1000))
assert 'n1000' not in f['many'] and list(f['many']) == sorted(f['many'])
assert f['bytes'][...].tolist() == [1, 2, 255] and f['nothing'].shape == (0,)
assert f['text'][()].decode() == 'ä text', f['text'][()]
assert len(f['empty']) == 0
f.close()
f = h5py.File(sys.argv[1], 'r+')
f['many/new'] = 3
del f['many/n5']
f.close()
f = h5py.File(sys.argv[1], 'r')
assert len(f['many']) == 1000 and 'n5' not in f['many']
";
    let run = std::process::Command::new(python)
        .args(["-c", program])
        .arg(&path)
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
}

/// Reads all that a file has to give.
fn read_all(file: &File) {
    fn inside(file: &File, group: &Group, depth: usize, left: &mut usize) {
        for name in group.names() {
            if *left == 0 || depth == 0 {
                return;
            }
            *left -= 1;
            match file.get(group, name) {
                Ok(Some(Object::Group(group))) => inside(file, &group, depth - 1, left),
                Ok(Some(Object::Dataset(dataset))) => {
                    let _ = (dataset.read(), dataset.text(), dataset.integer());
                }
                _ => {}
            }
        }
    }
    if let Ok(root) = file.root() {
        inside(file, &root, 4, &mut 60);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut whole = header::SIGNATURE.to_vec();
        whole.extend(&bytes);
        for bytes in [bytes, whole] {
            if let Ok(file) = File::from_bytes(bytes) {
                read_all(&file);
            }
        }
    }

    /// Changed in a few places, most of them where a file's structure is.
    #[test]
    fn damaged_files_are_answered(
        which in 0..4usize,
        changes in proptest::collection::vec(
            (any::<prop::sample::Index>(), prop_oneof![Just(0u8), Just(0xFF), any::<u8>()], 1..9usize),
            1..6,
        ),
    ) {
        let name = ["early.h5", "late.h5", "net.solverstate.h5", "net.caffemodel.h5"][which];
        let mut bytes = std::fs::read(fixture(name)).unwrap();
        for (at, byte, count) in changes {
            let at = at.index(bytes.len());
            let end = (at + count).min(bytes.len());
            bytes[at..end].fill(byte);
        }
        if let Ok(file) = File::from_bytes(bytes) {
            read_all(&file);
        }
    }
}
