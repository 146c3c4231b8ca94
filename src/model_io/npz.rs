//! Named arrays in one file, NumPy's `.npz`: a zip archive of `.npy` members.
//!
//! Whatever a file claims about its sizes, memory grows only with the bytes that really come.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read, Seek, Write},
    path::Path,
};

use ndarray::{ArrayView, IxDyn, ShapeBuilder as _};
use zip::{CompressionMethod, ZipArchive, ZipWriter, result::ZipError, write::SimpleFileOptions};

use super::atomic_write;
use crate::{
    error::{Error, Place, Result},
    tensor::{Tensor, View},
};

mod header;

use header::{Header, Number};

/// Reads every array of a `.npz` by its name, converted to `f32` and C order.
///
/// Integers, booleans, `f4` and `f8` of either byte order are understood. Names may contain `/`.
///
/// # Errors
/// `Io` where the file cannot be opened, `Format` where it or a member is damaged, `Unsupported` for other kinds of
/// elements.
pub fn read_npz(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let file = File::open(path).map_err(|e| Error::io("open", path, &e))?;
    read_from(BufReader::new(file)).map_err(|e| e.at(Place::File(path.display().to_string())))
}

/// [`read_npz`] from anything that can seek.
///
/// # Errors
/// As [`read_npz`].
pub fn read_from(reader: impl Read + Seek) -> Result<BTreeMap<String, Tensor>> {
    let damaged = |e: ZipError| Error::format(format!("not a readable .npz archive: {e}"));
    let mut archive = ZipArchive::new(reader).map_err(damaged)?;
    let mut arrays = BTreeMap::new();
    for i in 0..archive.len() {
        let mut member = archive.by_index(i).map_err(damaged)?;
        let Some(name) = member.name().strip_suffix(".npy").map(str::to_owned) else {
            continue;
        };
        let tensor = read_npy(&mut member).map_err(|e| {
            let text = format!("array '{}': {}", name.escape_debug(), e.message());
            Error::new(e.kind(), text)
        })?;
        arrays.insert(name, tensor);
    }
    Ok(arrays)
}

/// Reads one `.npy`.
///
/// # Errors
/// As [`read_npz`].
pub fn read_npy(reader: &mut impl Read) -> Result<Tensor> {
    let Header {
        number,
        fortran,
        shape,
    } = Header::read(reader)?;
    let values = read_values(reader, &number, shape.count())?;
    let data = if fortran && shape.axes() > 1 {
        let stored = ArrayView::from_shape(IxDyn(shape.dims()).f(), &values)
            .map_err(|e| Error::format(format!("shape {shape}: {e}")))?;
        stored.iter().copied().collect()
    } else {
        values
    };
    Tensor::new(shape, data)
}

/// Reads exactly `count` numbers up to the end.
fn read_values(reader: &mut impl Read, number: &Number, count: usize) -> Result<Vec<f32>> {
    const CHUNK: usize = 1 << 16;
    let mut values = Vec::new();
    let mut bytes = vec![0u8; CHUNK.min(count.saturating_mul(number.size))];
    let mut left = count;
    while left > 0 {
        let now = left.min(CHUNK / number.size);
        let chunk = &mut bytes[..now * number.size];
        reader.read_exact(chunk).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => Error::format(format!(
                "cut short: {count} values of '{}' expected, fewer than {} found",
                number.descr,
                values.len() + now
            )),
            _ => Error::format(format!("cannot be read: {e}")),
        })?;
        number.convert(chunk, &mut values);
        left -= now;
    }
    match reader.read(&mut [0u8]) {
        Ok(0) => Ok(values),
        Ok(_) => Err(Error::format(format!(
            "more bytes than the {count} values of '{}' it states",
            number.descr
        ))),
        Err(e) => Err(Error::format(format!("cannot be read: {e}"))),
    }
}

/// Writes arrays under their names to a `.npz` that NumPy reads; `compress` trades time for size.
///
/// # Errors
/// `Io` where the file cannot be written; a file that was there then stays whole.
pub fn write_npz<'a, S: AsRef<str>>(
    path: &Path,
    arrays: impl IntoIterator<Item = (S, View<'a>)>,
    compress: bool,
) -> Result<()> {
    atomic_write(path, |file| {
        write_to(file, arrays, compress).map_err(|e| Error::io("write", path, &e))
    })
}

fn write_to<'a, S: AsRef<str>>(
    writer: impl Write + Seek,
    arrays: impl IntoIterator<Item = (S, View<'a>)>,
    compress: bool,
) -> io::Result<()> {
    let method = if compress {
        CompressionMethod::Deflated
    } else {
        CompressionMethod::Stored
    };
    let mut archive = ZipWriter::new(writer);
    let mut bytes = Vec::new();
    for (name, view) in arrays {
        // Deflate may lengthen what it cannot shorten, so the limit of 4 GiB is kept well away from.
        let large = view.data.len() > (1 << 29);
        let options = SimpleFileOptions::default()
            .compression_method(method)
            .large_file(large);
        archive.start_file(format!("{}.npy", name.as_ref()), options)?;
        archive.write_all(&header::f32_header(view.shape))?;
        for chunk in view.data.chunks(1 << 14) {
            bytes.clear();
            bytes.extend(chunk.iter().flat_map(|v| v.to_le_bytes()));
            archive.write_all(&bytes)?;
        }
    }
    archive.finish()?.flush()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;
    use crate::{error::ErrorKind, tensor::Shape};

    /// An archive with one member of these bytes.
    fn archive(name: &str, bytes: &[u8]) -> Cursor<Vec<u8>> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
        zip.finish().unwrap()
    }

    /// A `.npy` with this header text and payload.
    fn npy(header: &str, payload: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        let length = u16::try_from(header.len() + 1).unwrap();
        bytes.extend(length.to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.push(b'\n');
        bytes.extend(payload);
        bytes
    }

    fn one(header: &str, payload: &[u8]) -> Result<Tensor> {
        let arrays = read_from(archive("in/x.npy", &npy(header, payload)))?;
        Ok(arrays["in/x"].clone())
    }

    #[test]
    fn kinds_of_numbers() {
        let cases: [(&str, Vec<u8>); 9] = [
            ("<f4", [1.0f32, -2.0].map(f32::to_le_bytes).concat()),
            (">f4", [1.0f32, -2.0].map(f32::to_be_bytes).concat()),
            ("<f8", [1.0f64, -2.0].map(f64::to_le_bytes).concat()),
            ("<i4", [1i32, -2].map(i32::to_le_bytes).concat()),
            ("<i8", [1i64, -2].map(i64::to_le_bytes).concat()),
            (">i2", [1i16, -2].map(i16::to_be_bytes).concat()),
            ("|i1", vec![1, 0xfe]),
            ("|u1", vec![1, 0xfe]),
            ("|b1", vec![1, 0]),
        ];
        for (descr, payload) in cases {
            let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (2,), }}");
            let second = match descr {
                "|u1" => 254.0,
                "|b1" => 0.0,
                _ => -2.0,
            };
            let tensor = one(&header, &payload).unwrap();
            assert_eq!(tensor.data, [1.0, second], "{descr}");
        }
    }

    #[test]
    fn fortran_order_and_scalars() {
        // | 1 2 3 |
        // | 4 5 6 |
        let columns = [1u8, 4, 2, 5, 3, 6];
        let tensor = one(
            "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }",
            &columns,
        )
        .unwrap();
        assert_eq!(tensor.shape, Shape::from([2, 3]));
        assert_eq!(tensor.data, [1., 2., 3., 4., 5., 6.]);

        let scalar = one(
            "{\"descr\":\"|u1\",\"fortran_order\":False,\"shape\":()}",
            &[9],
        );
        assert_eq!(scalar.unwrap(), Tensor::new([], vec![9.0]).unwrap());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let header =
            |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        for (header, payload, words) in [
            (header("(3,)"), 8, "cut short"),
            (header("(1,)"), 8, "more bytes"),
            (header("(99999999999999, 99999999999999)"), 8, "would hold"),
            (header("(2000000000,)"), 8, "cut short"),
            (header("(-1,)"), 8, "shape"),
            (header("3"), 8, "shape"),
            ("nonsense".into(), 8, "header"),
            (
                "{'descr': '<f4', 'shape': (2,)}".into(),
                8,
                "'fortran_order'",
            ),
        ] {
            let error = one(&header, &vec![0; payload]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Format, "{error}");
            assert!(error.message().contains("'in/x'"), "{error}");
            assert!(error.message().contains(words), "{error} has no '{words}'");
        }
        let error = one(
            "{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }",
            &[0; 8],
        )
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let error = read_from(Cursor::new(b"PK nothing".to_vec())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Format);
    }

    #[test]
    fn files_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npz");
        let long = Tensor::new([3, 7000], (0..21000u16).map(f32::from).collect()).unwrap();
        let arrays = BTreeMap::from([
            ("out/x".to_owned(), long),
            ("scalar".to_owned(), Tensor::new([], vec![-0.5]).unwrap()),
            ("none".to_owned(), Tensor::zeros([0, 3])),
        ]);
        for compress in [false, true] {
            write_npz(&path, arrays.iter().map(|(n, t)| (n, t.view())), compress).unwrap();
            assert_eq!(read_npz(&path).unwrap(), arrays);
        }
    }

    #[test]
    #[allow(clippy::print_stderr, reason = "a skipped test says so")]
    fn the_recorded_arrays() {
        let Ok(shared) = std::env::var("CORTADO_SHARED") else {
            eprintln!("skipped: CORTADO_SHARED is not set");
            return;
        };
        let mut seen = 0;
        for kind in std::fs::read_dir(Path::new(&shared).join("reference/layers")).unwrap() {
            for case in std::fs::read_dir(kind.unwrap().path()).unwrap() {
                let path = case.unwrap().path().join("blobs.npz");
                let arrays = read_npz(&path).unwrap();
                assert!(
                    arrays.keys().any(|k| k.starts_with("out/")),
                    "{}",
                    path.display()
                );
                seen += 1;
            }
        }
        assert!(seen > 400, "{seen}");
    }

    proptest! {
        #[test]
        fn any_header_is_read_or_refused(text in "[{}()'a-z:, 0-9<>|TF-]{0,80}", tail in any::<[u8; 8]>()) {
            let _ = one(&text, &tail);
        }

        #[test]
        fn a_damaged_file_is_read_or_refused(at in 0usize..400, bit in 0u8..8, cut in 0usize..400) {
            let mut file = Cursor::new(Vec::new());
            let x = Tensor::new([2, 3], vec![1.0; 6]).unwrap();
            write_to(&mut file, [("x", x.view())], true).unwrap();
            let mut bytes = file.into_inner();
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
            }
            bytes.truncate(bytes.len().saturating_sub(cut / 4));
            let _ = read_from(Cursor::new(bytes));
        }
    }
}
